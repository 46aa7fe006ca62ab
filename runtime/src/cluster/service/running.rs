//! A job that runs for a user's process: it is told of it, and gives it orders.

use std::io;
use std::sync::Arc;

use super::message::Tell;
use super::orders::{CutTold, Moves, Order};
use super::wire::Sender;
use crate::host::wasi::StdinStream;
use crate::job::{JobHandle, RankEvent};

/// Orders of one process that may wait for their turn.
const ORDERS_MAX: usize = 16;

/// See the module's documentation.
pub(super) struct RunningJob {
    pub(super) handle: JobHandle,
    pub(super) input: StdinStream,
    orders: flume::Sender<JobOrder>,
}

/// What the job is to do, as soon as what was ordered before is done.
pub(super) enum JobOrder {
    Checkpoint { end: Option<i32> },
    Move(Order),
}

impl RunningJob {
    /// Tells of the job from now on.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn begin(
        handle: JobHandle,
        input: StdinStream,
        sender: &Arc<Sender>,
    ) -> io::Result<Self> {
        let (orders, received) = flume::bounded(ORDERS_MAX);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (job, way) = (handle.clone(), sender.clone());
        thread("faasm-serve-job").spawn(move || follow(&job, &way))?;
        let (job, way) = (handle.clone(), sender.clone());
        thread("faasm-serve-orders").spawn(move || obey(&job, &received, &way))?;
        Ok(Self { handle, input, orders })
    }

    /// Gives an order; what came of it is told later.
    ///
    /// # Errors
    /// So many wait that nobody can mean them.
    pub(super) fn order(&self, order: JobOrder) -> io::Result<()> {
        self.orders.try_send(order).map_err(|_| io::Error::other("it gives too many orders"))
    }
}

/// Tells of a job until its end.
fn follow(handle: &JobHandle, sender: &Sender) {
    let report = handle.follow(|RankEvent { rank, exit }| {
        // The user's process is gone, and the job ends.
        let _ = sender.send(&Tell::Exited { rank, exit: exit.into() });
    });
    if let Some(report) = report {
        let _ = sender.send(&Tell::Report(Box::new((&*report).into())));
    }
}

/// Carries orders out until there are no more.
fn obey(handle: &JobHandle, orders: &flume::Receiver<JobOrder>, sender: &Sender) {
    for order in orders {
        let told = match order {
            JobOrder::Checkpoint { end } => Tell::Cut(CutTold::from(match end {
                None => handle.checkpoint(),
                Some(code) => handle.checkpoint_and_end(code),
            })),
            JobOrder::Move(order) => Tell::Moved(handle.migrate(order.into()).map(Moves::from)),
        };
        // The user's process is gone, and the job ends.
        let _ = sender.send(&told);
    }
}
