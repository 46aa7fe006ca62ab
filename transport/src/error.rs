//! Why an endpoint could not be made.

use std::io;

use crate::id::NodeId;

/// An endpoint could not be made, or was asked for something that it cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was asked of it.
        what: String,
        /// What it answered.
        source: io::Error,
    },
    /// Two endpoints of one network want the same name.
    #[error("{0} is already on this network: each node needs a number of its own")]
    NodeTaken(NodeId),
}
