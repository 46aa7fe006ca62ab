//! Messages between nodes.
//!
//! An [`Endpoint`] is one node's end of its links to all others. Pure cores decide
//! (`frame`, `lane`, `membership`, `bootstrap`), thin drivers carry out (`link`, `endpoint`).

pub mod bootstrap;
pub mod config;
pub mod control_port;
pub mod endpoint;
pub mod envelope;
pub mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod handler;
mod hex;
pub mod id;
pub mod lane;
mod link;
pub mod membership;
pub mod payload;
pub mod random;
pub mod tls;

pub use bootstrap::{Admission, Build, Joined, Token};
pub use config::EndpointConfig;
pub use endpoint::Endpoint;
pub use envelope::{Envelope, Service};
pub use error::Error;
pub use handler::{Event, Handler, LostReason};
pub use id::{Lane, NodeId};
pub use link::local::LocalNetwork;
pub use link::sim::{Faults, SimNetwork};
pub use payload::Payload;
pub use tls::{Authority, ClusterId, KeyRequest, UserToken};
