//! Jobs: what to run, what its ranks share, and the supervisor that sees it to its end.

mod arrival;
mod cut;
mod deadlock;
mod far;
mod fault;
mod halt;
mod handle;
mod pull;
mod relocation;
mod renewal;
mod report;
mod shared;
mod spawn;
mod spec;
mod supervisor;
mod tombstone;

pub(crate) use arrival::{Arrival, MoveRefused};
pub(crate) use cut::Cutter;
pub(crate) use deadlock::{Quiet, is_stuck};
pub(crate) use far::{CALL_ASK, CALL_OBJECT, Far};
pub(crate) use halt::{ENDING, Halt, NodeCut, NotLeft};
pub(crate) use handle::{Control, RemoteJob};
pub use handle::{JobHandle, RankEvent};
pub(crate) use pull::{PULL_ASK, PULL_RELEASE};
pub use relocation::{MoveOrder, MoveReport};
pub(crate) use renewal::{Decision, Renewal};
pub use report::{JobReport, Outcome, RankState, RankStatus};
pub(crate) use shared::{JobShared, OutsideWaits};
pub(crate) use spawn::Spawner;
pub(crate) use spec::MAX_RANKS;
pub use spec::{AppSpec, JobBuilder, JobSpec, StdinPolicy};
pub(crate) use supervisor::{Born, End, RankExited, Renewed, Supervisor, outcome_of_all};
