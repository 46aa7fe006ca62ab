//! Why an endpoint could not be made.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use rustix::io::Errno;

use crate::id::NodeId;

/// An endpoint could not be made, or was asked for something that it cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("{what}: {}", Shortage(cause))]
    Io {
        /// What was asked of it.
        what: String,
        /// What it answered.
        cause: io::Error,
    },
    /// Two endpoints of one network want the same name.
    #[error("{0} is already on this network: each node needs a number of its own")]
    NodeTaken(NodeId),
    /// A certificate cannot be used.
    #[error("this node's certificate cannot be used: {reason}")]
    Certificate {
        /// Why, and what to do.
        reason: String,
    },
    /// A file does not hold a cluster's authority, or does not keep it secret.
    #[error("{}: {reason}", path.display())]
    AuthorityFile {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// A text is no token.
    #[error("this is not a token of a cluster: {reason}")]
    BadToken {
        /// What is wrong with it; never the text itself.
        reason: &'static str,
    },
    /// A text is no user's token.
    #[error(
        "this is not a user's token of a cluster: {reason}; `faasm-run cluster token --client` on the \
         coordinator's machine makes one"
    )]
    BadUserToken {
        /// What is wrong with it; never the text itself.
        reason: &'static str,
    },
    /// No more tokens can be made at the moment.
    #[error("{max} tokens are open: wait until some are used or expire")]
    TooManyTokens {
        /// Tokens that may be open at once.
        max: usize,
    },
    /// No more nodes can become members.
    #[error("the cluster has had {max} nodes: start a new one")]
    TooManyNodes {
        /// Nodes that a cluster can have in its life.
        max: usize,
    },
    /// The coordinator did not admit this machine.
    #[error("the coordinator refused this machine: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// No coordinator could be reached.
    #[error("no coordinator could be reached at {}: {reason}", list(addrs))]
    NotReached {
        /// Where it was looked for.
        addrs: Vec<SocketAddr>,
        /// What happened at the last of them.
        reason: String,
    },
}

/// What the operating system said, and what to do where something has run out.
#[derive(Debug)]
pub struct Shortage<'a>(pub &'a io::Error);

impl fmt::Display for Shortage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)?;
        f.write_str(match self.0.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::MFILE) => {
                ": this process has no descriptor left; allow more with `ulimit -n`"
            }
            Some(Errno::NFILE) => {
                ": this machine has no descriptor left; allow more with `sysctl fs.file-max`"
            }
            Some(Errno::NOSPC | Errno::DQUOT) => ": the disk is full; make room there",
            _ => "",
        })
    }
}

fn list(addrs: &[SocketAddr]) -> String {
    addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_run_out_is_told_with_its_remedy() {
        let said = |errno: Errno| {
            let cause = io::Error::from(errno);
            Error::Io { what: "a socket".into(), cause }.to_string()
        };
        assert!(said(Errno::MFILE).contains("`ulimit -n`"), "{}", said(Errno::MFILE));
        assert!(said(Errno::NFILE).contains("fs.file-max"));
        assert!(said(Errno::NOSPC).contains("disk is full"));
        assert!(said(Errno::ACCESS).ends_with(')'), "{}", said(Errno::ACCESS));
    }
}
