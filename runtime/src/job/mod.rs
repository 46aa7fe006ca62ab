//! Jobs: what to run, what its ranks share, and the supervisor that sees it to its end.

mod deadlock;
mod handle;
mod report;
mod shared;
mod spec;
mod supervisor;

pub use handle::{JobHandle, RankEvent};
pub use report::{JobReport, Outcome, RankState, RankStatus};
pub(crate) use shared::{JobShared, OutsideWaits, block};
pub(crate) use spec::MAX_RANKS;
pub use spec::{AppSpec, JobBuilder, JobSpec, StdinPolicy};
pub(crate) use supervisor::{End, RankExited, Supervisor};
