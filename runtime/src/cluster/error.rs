//! Why a cluster, a node or a job on a cluster could not be started.

use std::path::PathBuf;
use std::time::Duration;

use faasm_transport::error::Shortage;

use crate::error::Error;
use crate::module::ModuleError;

/// Something about a cluster that does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// What a job on one node would fail of, too.
    #[error(transparent)]
    Runtime(#[from] Error),
    /// The links between nodes.
    #[error(transparent)]
    Transport(#[from] faasm_transport::Error),
    /// Nodes that were expected have not come.
    #[error(
        "{joined} of {expected} nodes have joined after {:.0} s; look whether their processes were started, what those say, and whether a firewall lets UDP pass to and from this machine",
        .patience.as_secs_f64()
    )]
    TooFewNodes {
        /// Nodes that are there.
        joined: u32,
        /// Nodes that were expected.
        expected: u32,
        /// How long they were waited for.
        patience: Duration,
    },
    /// The job cannot run on this cluster.
    #[error("the job cannot run: {reason}; no rank was started")]
    Rejected {
        /// Why not.
        reason: String,
    },
    /// An address cannot be found out.
    #[error(
        "{address} is no address that this machine knows: {cause}; check the name and the port"
    )]
    Address {
        /// As given.
        address: String,
        /// What the resolver said.
        cause: std::io::Error,
    },
    /// Nobody can join.
    #[error("this cluster is inside one process, and no machine can join it")]
    NotOpen,
    /// Nothing says where a coordinator keeps its state.
    #[error("nothing says where the coordinator keeps its state; set HOME or FAASM_STATE_DIR")]
    NoStateDirectory,
    /// The coordinator's directory cannot be used.
    #[error("the coordinator's directory {} cannot be used: {}; name another in FAASM_STATE_DIR", dir.display(), Shortage(cause))]
    StateDirectory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A coordinator runs already.
    #[error("a coordinator runs already for {}: ask it with `faasm-run cluster status`, end it first, or name another directory in FAASM_STATE_DIR", dir.display())]
    SecondCoordinator {
        /// Its directory.
        dir: PathBuf,
    },
    /// No coordinator runs.
    #[error("no coordinator answers at {}: {}; start one with `faasm-run cluster init`, or name its directory in FAASM_STATE_DIR", dir.display(), Shortage(cause))]
    NoCoordinator {
        /// Its directory.
        dir: PathBuf,
        /// What happened.
        cause: std::io::Error,
    },
    /// The coordinator is gone.
    #[error("the coordinator is gone: {}", Shortage(cause))]
    CoordinatorGone {
        /// What happened.
        cause: std::io::Error,
    },
    /// The coordinator will not.
    #[error("{reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// There is no such node.
    #[error(
        "there is no node {node} in this cluster; `faasm-run cluster status` shows those that are there"
    )]
    NoSuchNode {
        /// As given.
        node: String,
    },
    /// Several nodes have this name.
    #[error(
        "several nodes are called {node}; name one by its number, which `faasm-run cluster status` shows"
    )]
    SeveralNodes {
        /// As given.
        node: String,
    },
    /// A path cannot be told to another machine.
    #[error("{} is no text that another machine could be told; rename the directory", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
}

impl ClusterError {
    /// Whether nobody has answered, so that another attempt may succeed.
    pub const fn is_unanswered(&self) -> bool {
        matches!(self, Self::Transport(faasm_transport::Error::NotReached { .. }))
    }
}

impl From<ModuleError> for ClusterError {
    fn from(error: ModuleError) -> Self {
        Self::Runtime(error.into())
    }
}
