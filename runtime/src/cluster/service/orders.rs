//! Orders to a job that runs on a cluster, and to the jobs of a node that is drained, as they travel.

use std::path::PathBuf;
use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};

use crate::checkpoint::{CheckpointError, CheckpointOptions, Cut};
use crate::cluster::coordinator::DrainedJob;
use crate::cluster::error::ClusterError;
use crate::job::{MoveOrder, MoveReport};
use crate::module::Program;

/// [`CheckpointOptions`] that travel; paths mean the same everywhere.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Kept {
    dir: String,
    keep: u64,
    command: Vec<String>,
    directory: String,
}

/// A [`MoveOrder`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Order {
    ranks: Vec<u32>,
    from: Option<String>,
    to: Option<String>,
}

/// What came of the order to make a checkpoint.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum CutTold {
    /// It is there.
    Made { number: u32, bytes: u64 },
    /// The job ends.
    Ending,
    /// It could not be made.
    Hindered(String),
}

/// A [`MoveReport`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Moves {
    moved: Vec<(u32, String)>,
    stopped_ns: u64,
    stopping_ns: u64,
    copying_ns: Option<u64>,
    bytes: u64,
}

/// A [`DrainedJob`] that travels.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Drained {
    job: u32,
    moved: Result<Moves, String>,
}

impl Kept {
    /// For a coordinator, which has another working directory.
    ///
    /// # Errors
    /// A path cannot be sent.
    pub(super) fn new(options: CheckpointOptions) -> Result<Self, ClusterError> {
        let CheckpointOptions { dir, keep, command, directory, .. } = options;
        let text = |path: PathBuf| {
            let absolute = std::path::absolute(&path).ok();
            let text = absolute.and_then(|path| path.to_str().map(str::to_owned));
            text.ok_or(ClusterError::Path { path })
        };
        let directory = text(directory.unwrap_or_else(|| PathBuf::from(".")))?;
        Ok(Self { dir: text(dir)?, keep: keep as u64, command, directory })
    }

    /// The options for a job of these programs.
    pub(super) fn options(self, programs: Vec<Program>) -> CheckpointOptions {
        let Self { dir, keep, command, directory } = self;
        let (dir, directory) = (dir.into(), Some(directory.into()));
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        CheckpointOptions { dir, keep, command, directory, programs }
    }
}

impl From<MoveOrder> for Order {
    fn from(MoveOrder { ranks, from, to }: MoveOrder) -> Self {
        Self { ranks, from, to }
    }
}

impl From<Order> for MoveOrder {
    fn from(Order { ranks, from, to }: Order) -> Self {
        Self { ranks, from, to }
    }
}

impl From<Result<Cut, CheckpointError>> for CutTold {
    fn from(made: Result<Cut, CheckpointError>) -> Self {
        match made {
            Ok(Cut { number, bytes }) => Self::Made { number, bytes },
            Err(CheckpointError::Ending) => Self::Ending,
            Err(CheckpointError::Hindered(why)) => Self::Hindered(why),
            Err(error) => Self::Hindered(error.to_string()),
        }
    }
}

impl From<CutTold> for Result<Cut, CheckpointError> {
    fn from(told: CutTold) -> Self {
        match told {
            CutTold::Made { number, bytes } => Ok(Cut { number, bytes }),
            CutTold::Ending => Err(CheckpointError::Ending),
            CutTold::Hindered(why) => Err(CheckpointError::Hindered(why)),
        }
    }
}

impl From<MoveReport> for Moves {
    fn from(MoveReport { moved, stopped, stopping, copying, bytes }: MoveReport) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (stopped_ns, stopping_ns) = (ns(stopped), ns(stopping));
        Self { moved, stopped_ns, stopping_ns, copying_ns: copying.map(ns), bytes }
    }
}

impl From<Moves> for MoveReport {
    fn from(Moves { moved, stopped_ns, stopping_ns, copying_ns, bytes }: Moves) -> Self {
        let time = Duration::from_nanos;
        let (stopped, stopping) = (time(stopped_ns), time(stopping_ns));
        Self { moved, stopped, stopping, copying: copying_ns.map(time), bytes }
    }
}

impl From<DrainedJob> for Drained {
    fn from(DrainedJob { job, moved }: DrainedJob) -> Self {
        Self { job, moved: moved.map(Moves::from) }
    }
}

impl From<Drained> for DrainedJob {
    fn from(Drained { job, moved }: Drained) -> Self {
        Self { job, moved: moved.map(MoveReport::from) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_checkpoint_arrives_as_it_was() {
        let there_and_back = |made| Result::<Cut, _>::from(CutTold::from(made));
        let cut = Cut { number: 3, bytes: 9 };
        assert_eq!(there_and_back(Ok(cut)).expect("it was made"), cut);
        let ending = there_and_back(Err(CheckpointError::Ending));
        assert!(matches!(ending, Err(CheckpointError::Ending)), "{ending:?}");
        let error = there_and_back(Err(CheckpointError::Hindered("x".to_owned())));
        assert_eq!(
            error.expect_err("it was hindered").to_string(),
            CheckpointError::Hindered("x".to_owned()).to_string()
        );
    }

    #[test]
    fn relative_paths_are_those_of_whoever_begins_the_job() {
        let options = CheckpointOptions {
            dir: "kept".into(),
            keep: 2,
            command: vec!["p".to_owned()],
            directory: None,
            programs: Vec::new(),
        };
        let here = std::env::current_dir().expect("there is one");
        let arrived = Kept::new(options).expect("UTF-8").options(Vec::new());
        assert_eq!((arrived.dir, arrived.directory), (here.join("kept"), Some(here)));
    }
}
