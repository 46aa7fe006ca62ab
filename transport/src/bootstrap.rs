//! How a machine becomes a node: the join protocol, decided without any I/O.
//!
//! The joining side has an address and a [`Token`]. Over a TLS connection to a server that it
//! recognises by the authority's fingerprint in the token, and on which only this protocol can be
//! spoken, four messages are exchanged, each with a length in front (see `bootstrap/message.rs`):
//!
//! ```text
//! joiner                                          coordinator
//!   Hello{magic, protocol, version, build, host,
//!         token's name, nonce}                  -->
//!                                               <--  Challenge{version, build, nonce, proof}
//!   Proof{proof, public key}                    -->
//!                                               <--  Admitted{node, certificate, authority}
//! ```
//!
//! Instead of its message the coordinator may answer `Refused{reason}`, a sentence for the user.
//! A proof is a BLAKE3 hash keyed with what both sides derive from the token's secret, over the
//! connection's TLS exporter and both nonces: it is good for this connection only, and the secret
//! itself is never sent. The coordinator keeps no secret, only the derived key.

mod admission;
mod fuzz;
mod join;
mod joiner;
mod message;
mod token;

pub use admission::{Admission, Admitted};
#[doc(hidden)]
pub use fuzz::fuzz_join;
pub use join::join;
pub use joiner::Joined;
pub use token::Token;

pub(crate) use admission::{Answer, Session};

/// Number of the protocol between nodes; nodes of different numbers cannot talk.
pub const PROTOCOL: u32 = 1;
/// One message of the join protocol, in bytes.
pub(crate) const JOIN_MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Label and length of what both sides derive from the TLS connection.
pub(crate) const EXPORTER_LABEL: &[u8] = b"EXPORTER faasm join 1";

/// What proves that both sides are at the ends of the same TLS connection.
pub(crate) type Exporter = [u8; 32];

/// Which program a node runs. Only equal builds form a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Build {
    /// The version, as users know it.
    pub version: String,
    /// What tells builds of one version apart.
    pub build: String,
}

impl Build {
    /// Cuts what is too long for a message.
    pub fn new(version: &str, build: &str) -> Self {
        Self { version: message::cut(version), build: message::cut(build) }
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faasm {} (build {})", self.version, self.build)
    }
}

#[cfg(test)]
mod tests;
