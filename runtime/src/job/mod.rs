//! Jobs: what to run, what its ranks share, and the supervisor that sees it to its end.

mod cut;
mod deadlock;
mod far;
mod fault;
mod handle;
mod report;
mod shared;
mod spawn;
mod spec;
mod supervisor;

pub(crate) use cut::Cutter;
pub(crate) use deadlock::{Quiet, is_stuck};
pub(crate) use far::{CALL_ASK, CALL_OBJECT, Far, PULL_ASK, PULL_RELEASE};
pub(crate) use handle::{Control, RemoteJob};
pub use handle::{JobHandle, RankEvent};
pub use report::{JobReport, Outcome, RankState, RankStatus};
pub(crate) use shared::{JobShared, OutsideWaits};
pub(crate) use spawn::Spawner;
pub(crate) use spec::MAX_RANKS;
pub use spec::{AppSpec, JobBuilder, JobSpec, StdinPolicy};
pub(crate) use supervisor::{Born, End, RankExited, Supervisor, outcome_of_all};
