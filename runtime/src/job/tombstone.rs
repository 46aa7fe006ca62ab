//! What is left of ranks that have ended, for checkpoints.

use super::shared::{Doing, JobShared};
use crate::checkpoint::{CheckpointError, Tombstone};

impl JobShared {
    /// What is left of the ranks of this node that have ended.
    ///
    /// # Errors
    /// One of them has failed: the others know of that, and could not be told of it at a restart.
    pub(crate) fn tombstones(&self) -> Result<Vec<Tombstone>, CheckpointError> {
        let has_ended = |rank: &u32| self.rank(*rank).doing().0 == Doing::Ended;
        let stone = |rank| {
            let failed = || CheckpointError::Hindered(format!("rank {rank} has failed"));
            self.rank(rank).tombstone(rank).ok_or_else(failed)
        };
        self.local_ranks().filter(has_ended).map(stone).collect()
    }
}
