//! What one process knows of failures.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};
use crate::group::Group;

/// The failures and revocations that a process has been told of. Processes are named by world rank.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// In the order in which they became known.
    failed: Vec<u32>,
    /// Those of them whose memory is out of reach.
    unreachable: BTreeSet<u32>,
    /// Revoked contexts, and who told of each first.
    revoked: BTreeMap<u32, u32>,
}

impl Known {
    /// A process has failed; with `is_lost` its whole node has. Returns whether that is news.
    pub fn learn_failure(&mut self, rank: u32, is_lost: bool) -> bool {
        if is_lost {
            self.unreachable.insert(rank);
        }
        let is_news = !self.failed.contains(&rank);
        if is_news {
            self.failed.push(rank);
        }
        is_news
    }

    /// The communicator with this context is revoked, says `by`. Returns whether that is news.
    pub fn learn_revocation(&mut self, context: u32, by: u32) -> bool {
        let is_news = !self.revoked.contains_key(&context);
        if is_news {
            self.revoked.insert(context, by);
        }
        is_news
    }

    /// A number that changes with everything that is learned.
    pub fn news(&self) -> usize {
        self.failed.len() + self.revoked.len()
    }

    /// Whether nothing has happened that could fail an operation.
    pub fn is_quiet(&self) -> bool {
        self.failed.is_empty() && self.revoked.is_empty()
    }

    /// Whether a process has failed.
    pub fn has_failed(&self, rank: u32) -> bool {
        self.failed.contains(&rank)
    }

    /// Whether a process has failed with its node, so that nothing can be had of it any more.
    pub fn is_unreachable(&self, rank: u32) -> bool {
        self.unreachable.contains(&rank)
    }

    /// Processes that have failed with their nodes.
    pub fn unreachable(&self) -> impl Iterator<Item = u32> + '_ {
        self.unreachable.iter().copied()
    }

    /// The failed members of a group, in the order in which they became known.
    pub fn failed_of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = u32> + 'a {
        self.failed.iter().copied().filter(|rank| group.rank_of(*rank).is_some())
    }

    /// Whether the communicator with this context is revoked.
    pub fn is_revoked(&self, context: u32) -> bool {
        self.revoked.contains_key(&context)
    }

    /// The contexts whose revocation `rank` was the first to tell of. When it fails, others may not have
    /// heard of it.
    pub fn revoked_by(&self, rank: u32) -> Vec<u32> {
        let told = self.revoked.iter().filter(|(_, by)| **by == rank);
        told.map(|(context, _)| *context).collect()
    }

    /// Refuses operations of a communicator that is revoked.
    ///
    /// # Errors
    /// `MPIX_ERR_REVOKED`.
    pub fn check_context(&self, context: u32) -> Result<()> {
        if !self.is_revoked(context) {
            return Ok(());
        }
        let detail =
            "a member has revoked this communicator; go on with one that MPIX_Comm_shrink makes";
        Err(MpiError::new(ErrorClass::Revoked, detail))
    }

    /// Refuses operations with the process that has this rank in the communicator and in the world.
    ///
    /// # Errors
    /// `MPIX_ERR_REVOKED`; `MPIX_ERR_PROC_FAILED` when it has failed.
    pub fn check_peer(&self, context: u32, rank: i32, world_rank: u32) -> Result<()> {
        self.check_context(context)?;
        if !self.has_failed(world_rank) {
            return Ok(());
        }
        let detail = format!("the process with rank {rank} (world rank {world_rank}) has failed");
        Err(MpiError::new(ErrorClass::ProcFailed, detail))
    }

    /// Refuses collective operations of these members.
    ///
    /// # Errors
    /// `MPIX_ERR_REVOKED`; `MPIX_ERR_PROC_FAILED` when any of them has failed.
    pub fn check_all(&self, context: u32, members: &Group) -> Result<()> {
        self.check_context(context)?;
        let Some(failed) = self.failed_of(members).next() else { return Ok(()) };
        let rank = members.rank_of(failed).unwrap_or(0);
        let detail = format!(
            "the member with rank {rank} (world rank {failed}) has failed, and the operation needs all; \
             go on with a communicator that MPIX_Comm_shrink makes"
        );
        Err(MpiError::new(ErrorClass::ProcFailed, detail))
    }

    /// Refuses to wait for a message of any of the `senders` among these members, of whose failures the first `acked`
    /// are acknowledged.
    ///
    /// # Errors
    /// `MPIX_ERR_REVOKED`; `MPIX_ERR_PROC_FAILED_PENDING` when the message may never come.
    pub fn check_any(
        &self,
        context: u32,
        (members, senders): (&Group, &Group),
        acked: usize,
    ) -> Result<()> {
        self.check_context(context)?;
        let mut unheard = self.failed_of(members).skip(acked);
        let failed = unheard.find(|rank| senders.rank_of(*rank).is_some());
        let Some(failed) = failed else { return Ok(()) };
        let detail = format!(
            "world rank {failed} has failed, and the message may have been its; MPIX_Comm_failure_ack lets \
             receives from MPI_ANY_SOURCE wait for the others"
        );
        Err(MpiError::new(ErrorClass::ProcFailedPending, detail))
    }
}
