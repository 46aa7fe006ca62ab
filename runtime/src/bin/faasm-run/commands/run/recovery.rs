//! What is done when a node is lost: the job goes on from its last checkpoint, a bounded number of times.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use faasm_runtime::{Checkpoint, CheckpointError, ClusterOrigin, JobReport, Outcome};

use crate::args::Invocation;

/// From where, and how often, a job may go on.
#[derive(Debug)]
pub(super) struct Recovery {
    tries: Option<Tries>,
    /// The directory of its checkpoints, if it has one.
    dir: Option<PathBuf>,
    /// Cuts up to this number are of earlier jobs.
    earlier: u32,
    /// Where this process let the job go on from.
    origin: Option<u32>,
    has_begun: bool,
}

/// How often a job may go on without having made a newer checkpoint meanwhile.
#[derive(Debug)]
struct Tries {
    most: u32,
    left: u32,
    newest: Option<u32>,
}

impl Tries {
    const fn new(most: u32) -> Self {
        Self { most, left: most, newest: None }
    }

    /// Whether the job may go on, whose newest checkpoint has this number.
    fn take(&mut self, newest: Option<u32>) -> bool {
        if newest > self.newest {
            (self.newest, self.left) = (newest, self.most);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// Where a job goes on from: a checkpoint, or its beginning.
pub(super) type From = Option<ClusterOrigin>;

impl Recovery {
    /// For a job that begins, or goes on from this checkpoint, which lies in `dir`.
    pub(super) fn new(job: &Invocation, from: Option<&ClusterOrigin>) -> anyhow::Result<Self> {
        let tries = job.on_failure.map(Tries::new);
        let kept = job.checkpoints.dir.as_deref().filter(|_| tries.is_some());
        let dir = match (from, kept) {
            (Some(from), _) => Some(from.dir.clone()),
            (None, Some(dir)) => {
                Some(std::path::absolute(dir).with_context(|| format!("--checkpoint-dir {dir}"))?)
            }
            (None, None) => None,
        };
        let earlier = match (from, &dir) {
            (Some(from), _) => from.cut,
            (None, Some(dir)) => newest(dir)?.unwrap_or(0),
            (None, None) => 0,
        };
        let origin = from.map(|from| from.cut);
        Ok(Self { tries, dir, earlier, origin, has_begun: false })
    }

    /// Whether this job may ever go on.
    pub(super) const fn is_wanted(&self) -> bool {
        self.tries.is_some()
    }

    /// Whether the job is on its way from one start to the next.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Where the job that ended so goes on from, and what the user is told; `None` if it does not.
    pub(super) fn after(&mut self, report: &JobReport) -> anyhow::Result<Option<(From, String)>> {
        let Outcome::NodeLost { node, .. } = report.outcome else { return Ok(None) };
        // A coordinator on its own takes its nodes along.
        if node == 0 {
            return Ok(None);
        }
        self.has_begun = true;
        self.again()
    }

    /// The same for a job that could not go on because a further node was lost.
    pub(super) fn again(&mut self) -> anyhow::Result<Option<(From, String)>> {
        let found = match &self.dir {
            Some(dir) => newest_since(dir, self.earlier)?.or(self.origin),
            None => None,
        };
        let Some(tries) = &mut self.tries else { return Ok(None) };
        if !tries.take(found) {
            let note = match tries.most {
                1 => "once".to_owned(),
                most => format!("{most} times"),
            };
            eprintln!(
                "faasm-run: the job has gone on {note} since its last checkpoint, and ends now; \
                 --on-failure restart:N sets another number"
            );
            return Ok(None);
        }
        let origin = |cut| Some(ClusterOrigin { dir: self.dir.clone()?, cut });
        let from = found.and_then(origin);
        let text = match &from {
            Some(from) => format!("goes on from checkpoint {}", from.cut),
            None => "begins anew, for it has no checkpoint".to_owned(),
        };
        Ok(Some((from, text)))
    }
}

/// The number of the newest cut in a directory, also of one that is damaged.
fn newest(dir: &Path) -> anyhow::Result<Option<u32>> {
    match Checkpoint::open(dir, None) {
        Ok(checkpoint) => Ok(Some(checkpoint.number())),
        // Nothing in it, or it is not there.
        Err(CheckpointError::None { there, .. }) => Ok(there.last().copied()),
        Err(CheckpointError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(CheckpointError::Damaged { .. } | CheckpointError::Version { .. }) => {
            // Zero is no cut's number: the answer names those that there are.
            match Checkpoint::open(dir, Some(0)) {
                Err(CheckpointError::None { there, .. }) => Ok(there.last().copied()),
                other => Ok(Some(other?.number())),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The newest cut after `earlier` that can be used.
fn newest_since(dir: &Path, earlier: u32) -> anyhow::Result<Option<u32>> {
    let Some(newest) = newest(dir)? else { return Ok(None) };
    for cut in (earlier.saturating_add(1)..=newest).rev() {
        match Checkpoint::open(dir, Some(cut)) {
            Ok(_) => return Ok(Some(cut)),
            Err(CheckpointError::None { .. }) => {}
            Err(error) => eprintln!("faasm-run: checkpoint {cut} is passed over: {error}"),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_anew_after_each_newer_checkpoint() {
        let mut tries = Tries::new(2);
        assert_eq!([None, None, None].map(|newest| tries.take(newest)), [true, true, false]);
        assert_eq!(
            [Some(1), Some(1), Some(1)].map(|newest| tries.take(newest)),
            [true, true, false]
        );
        assert!(tries.take(Some(4)) && tries.take(Some(4)) && !tries.take(Some(4)));
        assert!(!Tries::new(0).take(None));
    }

    #[test]
    fn cuts_of_earlier_jobs_do_not_count() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(newest(dir.path()).expect("it is empty"), None);
        assert_eq!(newest_since(&dir.path().join("absent"), 0).expect("none"), None);
    }
}
