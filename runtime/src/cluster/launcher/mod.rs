//! How node processes get to their machines.
//!
//! [`Launcher`] starts `faasm-run node` for each host and hands it a token through its standard
//! input, which stays open: a node whose input ends knows that its launcher is gone. What a command
//! looks like, what a failure means and what Slurm's variables say are pure functions; `process` runs
//! the commands.
//!
//! # What always holds
//! - A token is never an argument: every user of a machine can read those.
//! - Every process that was started is reaped, and ends when [`Launched`] is dropped.

mod addresses;
mod command;
mod failure;
pub mod kubernetes;
mod process;
pub mod slurm;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use super::hostfile::Host;

pub use addresses::{address_towards, is_this_machine, local_addresses, this_host};
pub use failure::LaunchFailure;
pub use process::{Launched, LaunchedNode};

/// A way to start node processes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Launcher {
    /// As children on this machine.
    Local,
    /// With ssh, or a program that is called as ssh is.
    Ssh(SshLauncher),
    /// With one srun inside an allocation of Slurm.
    Slurm(SlurmLauncher),
}

/// How ssh is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshLauncher {
    /// The program.
    pub program: PathBuf,
    /// Its further arguments, before the host.
    pub args: Vec<String>,
    /// `faasm-run` on the other machines.
    pub remote_program: PathBuf,
    /// Whether the node of this very machine is started with ssh, too, and not as a child.
    pub here_too: bool,
}

impl SshLauncher {
    /// The ssh of the search path; `remote_program` is `faasm-run` on the other machines.
    pub fn new(remote_program: PathBuf) -> Self {
        Self { program: "ssh".into(), args: Vec::new(), remote_program, here_too: false }
    }
}

/// How srun is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlurmLauncher {
    /// The program.
    pub program: PathBuf,
    /// Its further arguments.
    pub args: Vec<String>,
    /// `faasm-run` on the allocation's machines.
    pub remote_program: PathBuf,
}

impl SlurmLauncher {
    /// The srun of the search path; `remote_program` is `faasm-run` on the allocation's machines.
    pub fn new(remote_program: PathBuf) -> Self {
        Self { program: "srun".into(), args: Vec::new(), remote_program }
    }
}

/// Gets a host's name and a line of its standard error.
pub type OnLine = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What is to be started.
#[derive(Clone)]
pub struct LaunchOrder {
    /// A node for each of these hosts.
    pub hosts: Vec<Host>,
    /// This program.
    pub program: PathBuf,
    /// Where the coordinator is found, `address:port` each, in the order in which nodes try them.
    pub join: Vec<String>,
    /// Tokens, as many as [`Launcher::token_uses`] says.
    pub tokens: Vec<String>,
    /// Further arguments of `faasm-run node`, such as `--workers 2`.
    pub node_args: Vec<String>,
    /// Gets each line of a node process's (or of ssh's or srun's) standard error.
    pub on_line: OnLine,
}

impl std::fmt::Debug for LaunchOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaunchOrder")
            .field("hosts", &self.hosts)
            .field("join", &self.join)
            .finish_non_exhaustive()
    }
}

impl Launcher {
    /// For each token that is needed for so many nodes how many of them use it.
    pub fn token_uses(&self, nodes: u32) -> Vec<u32> {
        match self {
            Self::Local | Self::Ssh(_) => vec![1; nodes as usize],
            // srun copies its one standard input to all its tasks.
            Self::Slurm(_) => vec![nodes],
        }
    }

    /// Starts a process for each host. That they run does not mean that they join: watch
    /// [`Launched::next_end`] for those that cannot.
    ///
    /// # Errors
    /// A process cannot be started; none is left running then.
    pub fn start(&self, order: &LaunchOrder) -> Result<Launched, LaunchFailure> {
        let nodes = u32::try_from(order.hosts.len()).unwrap_or(u32::MAX);
        assert_eq!(order.tokens.len(), self.token_uses(nodes).len(), "a token for each process");
        let mut launched = Launched::default();
        for (call, token) in self.calls(order).iter().zip(&order.tokens) {
            launched.start(call, token, order.on_line.clone())?;
        }
        Ok(launched)
    }

    fn calls(&self, order: &LaunchOrder) -> Vec<Call> {
        match self {
            Self::Local => order.hosts.iter().map(|host| command::local(order, host)).collect(),
            Self::Ssh(ssh) => {
                let call = |host: &Host| {
                    let here = !ssh.here_too && host.user.is_none() && is_this_machine(&host.name);
                    if here { command::local(order, host) } else { command::ssh(ssh, order, host) }
                };
                order.hosts.iter().map(call).collect()
            }
            Self::Slurm(_) if order.hosts.is_empty() => Vec::new(),
            Self::Slurm(slurm) => vec![command::slurm(slurm, order)],
        }
    }
}

/// A command to run.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Call {
    /// What failures are told of: a host, or the hosts of an srun.
    host: String,
    kind: CallKind,
    program: OsString,
    args: Vec<OsString>,
}

/// What a command's exit status means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CallKind {
    /// `faasm-run node` itself.
    Local,
    /// ssh: 255 is its own failure.
    Ssh,
    /// srun: the largest of its tasks, or its own failure.
    Slurm,
}
