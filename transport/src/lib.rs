//! Messages between nodes.
//!
//! An [`Endpoint`](endpoint) is one node's end of its links to all others. Pure cores decide
//! (`frame`, `lane`, `membership`, `bootstrap`), thin drivers carry out (`link`, `endpoint`).

pub mod envelope;
pub mod id;

pub use envelope::{Envelope, Service};
pub use id::{Lane, NodeId};
