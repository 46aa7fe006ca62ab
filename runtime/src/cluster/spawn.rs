//! What the coordinator and the nodes of a job tell each other when processes are spawned (`MPI_Comm_spawn`).
//!
//! ```text
//! node of the call's root              coordinator                 nodes where processes come
//!      |-- Offer, chunks ------------------> |                             |   programs that the job did not begin with
//!      |-- Ask ----------------------------> |                             |
//!      |                                     |-- Prepare ----------------> |   so many processes of these programs
//!      |                                     | <------------ Able, Unable -|
//!      |                                     |-- Settle -----------------> |   once all are able: the numbers of all
//!      |                                     | <------------ Able, Unable -|
//!      | <----------------------------- Done-|-- Begin ------------------> |   once all can be sent to
//!      | <--------------------------- Failed-|-- Drop -------------------> |   or none, because one is not able
//! ```
//! What a node prepares has a name, which its answers bear; so has a call at its root's node. A node tells what its processes
//! were spawned with in a [`Born`](super::message::ToCoordinator::Born) before they run.

use rkyv::{Archive, Deserialize, Serialize};

use super::message::{APPS_MAX, Dir, JOB_RANKS_MAX, MODULE_BYTES_MAX};
use super::offer::Offer;
use crate::job::MAX_RANKS;

/// From the coordinator to a node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum SpawnOrder {
    /// Get ready for processes.
    Prepare { birth: u32, nest: Box<Nest> },
    /// Make them, so that others can send to them.
    Settle { birth: u32, tribe: Box<Tribe> },
    /// Let them run.
    Begin { birth: u32 },
    /// Forget them.
    Drop { birth: u32 },
    /// The processes that a rank of this node has asked for are there.
    Done { call: u32, group: Vec<u32> },
    /// None of them is.
    Failed { call: u32, why: String },
}

/// From a node to the coordinator.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum SpawnNews {
    /// A program follows in chunks.
    Offer(Offer),
    /// A rank of this node wants processes.
    Ask(Box<SpawnAsk>),
    /// What was ordered is done.
    Able { birth: u32 },
    /// It cannot be.
    Unable { birth: u32, why: String },
}

/// The processes that one call wants.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct SpawnAsk {
    /// Names the call at its root's node.
    pub(crate) call: u32,
    /// What the machine of that node calls itself.
    pub(crate) here: String,
    /// Contexts of the processes' `MPI_COMM_WORLD` and of the intercommunicator.
    pub(crate) contexts: [u32; 2],
    /// The processes that spawn them.
    pub(crate) parents: Vec<u32>,
    pub(crate) programs: Vec<Wanted>,
}

/// Processes of one program that are wanted.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) germ: Germ,
    pub(crate) processes: u32,
    /// The hosts that they may be on, with slots, if not all.
    pub(crate) hosts: Option<Vec<(String, Option<u32>)>>,
}

/// What processes of a program are spawned from.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Germ {
    /// What the program is called.
    pub(crate) name: String,
    /// Its bytes; of none it is one that the job began with.
    pub(crate) program: Offer,
    /// Its arguments after its name.
    pub(crate) args: Vec<String>,
    pub(crate) dirs: Vec<Dir>,
}

/// Processes that come to a node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Nest {
    /// The node of the call's root, by its number in the job, and the name of the call there.
    pub(crate) asker: (u32, u32),
    /// The numbers of their programs, what these are, and how many processes each has here.
    pub(crate) programs: Vec<(u32, Germ, u32)>,
}

/// All processes of a call.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Tribe {
    pub(crate) contexts: [u32; 2],
    pub(crate) parents: Vec<u32>,
    /// Their numbers, in rank order.
    pub(crate) group: Vec<u32>,
    /// For each of them the number of its program.
    pub(crate) apps: Vec<u32>,
}

impl SpawnOrder {
    /// What a node says that cannot carry it out, if anything is to be said.
    pub(crate) fn refused(&self, why: &str) -> Option<SpawnNews> {
        match self {
            Self::Prepare { birth, .. } | Self::Settle { birth, .. } => {
                Some(SpawnNews::Unable { birth: *birth, why: why.to_owned() })
            }
            _ => None,
        }
    }
}

impl SpawnAsk {
    /// Checks what no part of the coordinator would check by itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let wanted: u64 = self.programs.iter().map(|one| u64::from(one.processes)).sum();
        let [own, with_parents] = self.contexts;
        if self.programs.is_empty() || self.programs.len() > APPS_MAX {
            return Err("no or too many programs");
        }
        if wanted == 0 || self.parents.is_empty() || self.parents.len() > JOB_RANKS_MAX as usize {
            return Err("no processes, or nobody who spawns them");
        }
        if own < 2 || with_parents < 2 || own == with_parents {
            return Err("contexts that cannot be");
        }
        if self.programs.iter().any(|one| one.germ.program.bytes > MODULE_BYTES_MAX) {
            return Err("a program that is too long");
        }
        Ok(())
    }
}

impl Nest {
    /// Checks what no part of a node would check by itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let count: u64 = self.programs.iter().map(|(_, _, count)| u64::from(*count)).sum();
        if self.programs.len() > APPS_MAX || count == 0 || count > u64::from(MAX_RANKS) {
            return Err("no or too many processes");
        }
        if self.programs.iter().any(|(_, germ, _)| germ.program.bytes > MODULE_BYTES_MAX) {
            return Err("a program that is too long");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(processes: &[u32]) -> Nest {
        let (name, args, dirs) = Default::default();
        let germ = Germ { name, program: Offer { hash: [1; 32], bytes: 1 }, args, dirs };
        let programs = (0..).zip(processes).map(|(app, count)| (app, germ.clone(), *count));
        Nest { asker: (0, 1), programs: programs.collect() }
    }

    #[test]
    fn nobody_prepares_nothing_or_more_than_there_can_be() {
        assert_eq!(nest(&[1, 2]).check(), Ok(()));
        for processes in [&[][..], &[0], &[MAX_RANKS, 1], &[u32::MAX, u32::MAX]] {
            assert!(nest(processes).check().is_err(), "{processes:?}");
        }
        let mut long = nest(&[1]);
        long.programs[0].1.program.bytes = MODULE_BYTES_MAX + 1;
        assert!(long.check().is_err());
    }
}
