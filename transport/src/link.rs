//! The ways between nodes: thin drivers of the cores.

pub(crate) mod local;
pub(crate) mod quic;
pub(crate) mod sim;
