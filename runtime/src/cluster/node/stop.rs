//! What a node does about orders to stop a job: what takes long is done in a thread.

use std::sync::Arc;
use std::time::Duration;

use faasm_transport::NodeId;

use super::ahead::Ahead;
use super::moving::Mover;
use super::part::legacy;
use crate::checkpoint::CheckpointError;
use crate::cluster::codec::Outbox;
use crate::cluster::message::{Standstill, ToCoordinator, Totals};
use crate::cluster::stop::{
    Departed, Done, MoveTask, Stands, StopAnswer, StopOrder, Target, Task, Together, WriteTask,
    Written,
};
use crate::job::{Halt, NodeCut, NotLeft};

/// How long ranks that were told to leave may take for it; all that they do is to hand over their frames.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(30);
/// So long no thread is worth while for it.
const SOON: Duration = Duration::from_micros(500);

/// Carries an order out, and answers it. `name` is the order's.
pub(super) fn obey(
    (halt, mover): (&Arc<Halt>, Option<&Arc<Mover>>),
    outbox: &Arc<Outbox>,
    (job, name): (u32, u32),
    order: StopOrder,
) {
    let answer = match order {
        StopOrder::Look { targets } => look(halt, targets),
        StopOrder::Hold(whom) => {
            halt.hold(whom.into()).map_or_else(failed, |all_wait| StopAnswer::Held { all_wait })
        }
        StopOrder::Act(Task::Renew) => act(halt, mover.map(AsRef::as_ref), Task::Renew),
        StopOrder::Pause => return halt.go_on(false),
        StopOrder::GoOn { is_level } => {
            if let Some(mover) = mover {
                mover.go_on(halt);
            }
            return halt.go_on(is_level);
        }
        StopOrder::Leave | StopOrder::Act(_) | StopOrder::Ahead(_) => {
            // The next order may come before a thread has begun.
            let round = match &order {
                StopOrder::Leave => {
                    let round = halt.ask_to_leave();
                    let answer = leave(halt, round, SOON);
                    if !matches!(answer, StopAnswer::Failed { .. }) {
                        return tell(outbox, (job, name), answer);
                    }
                    round
                }
                StopOrder::Ahead(_) => halt.job().moves_ended(),
                _ => 0,
            };
            let (halt, way, mover) = (halt.clone(), outbox.clone(), mover.cloned());
            let work = move || {
                let mut ahead = None;
                let answer = match order {
                    StopOrder::Act(task) => act(&halt, mover.as_deref(), task),
                    StopOrder::Ahead(task) => {
                        let begun = begin(&halt, mover.as_deref(), &task, round);
                        begun.map_or_else(failed, |begun| {
                            ahead = Some(begun);
                            StopAnswer::Done(Done::Nothing)
                        })
                    }
                    _ => leave(&halt, round, LEAVE_TIME_MAX),
                };
                tell(&way, (job, name), answer);
                if let Some(mover) = &mover {
                    mover.tidy();
                }
                if let Some(ahead) = ahead {
                    ahead.go_on();
                }
            };
            let thread = std::thread::Builder::new().name(format!("faasm-stop-{job}"));
            match thread.spawn(work) {
                Ok(_) => return,
                Err(cause) => failed(format!("no thread can be had ({cause}); check `ulimit -u`")),
            }
        }
    };
    tell(outbox, (job, name), answer);
}

fn tell(outbox: &Outbox, (job, name): (u32, u32), answer: StopAnswer) {
    outbox.send(NodeId::COORDINATOR, &ToCoordinator::Stop { job, name, answer });
}

const fn failed(why: String) -> StopAnswer {
    StopAnswer::Failed { why }
}

/// Does what can be done of a move while the ranks run.
fn begin(
    halt: &Halt,
    mover: Option<&Mover>,
    task: &MoveTask,
    ended: u64,
) -> Result<Arc<Ahead>, String> {
    let mover = mover.ok_or("its ranks on this node cannot be moved")?;
    mover.begin(halt, task, ended)
}

fn look(halt: &Halt, targets: Option<Vec<Target>>) -> StopAnswer {
    let targets = targets.map(|targets| targets.into_iter().map(Into::into).collect());
    match halt.look(targets) {
        Ok(None) => StopAnswer::Stands(Stands::default()),
        Ok(Some((quiet, begun))) => StopAnswer::Stands(Stands {
            standstill: Some(Standstill::from(quiet)),
            together: begun.into_iter().map(Together::from).collect(),
        }),
        Err(why) => failed(why),
    }
}

fn leave(halt: &Halt, round: u64, limit: Duration) -> StopAnswer {
    match halt.leave(round, limit) {
        Ok(()) => StopAnswer::Left,
        Err(NotLeft::Refused(why)) => StopAnswer::Refused { why },
        Err(NotLeft::Failed(why)) => failed(why),
    }
}

fn act(halt: &Halt, mover: Option<&Mover>, task: Task) -> StopAnswer {
    let mover = mover.ok_or_else(|| "its ranks on this node cannot be moved".to_owned());
    let done = match task {
        Task::Write(task) => write(halt, task).map(Done::Written),
        Task::Move(task) => mover.and_then(|mover| mover.prepare(halt, &task)).map(Done::Moved),
        Task::Renew => mover.and_then(|mover| mover.renew(halt)).map(|()| Done::Nothing),
        Task::Depart => Ok(Done::Departed(depart(halt))),
        Task::Stay => mover.map(|mover| mover.stay(halt)).map(|()| Done::Nothing),
    };
    match done {
        Ok(done) => StopAnswer::Done(done),
        Err(why) => failed(why),
    }
}

fn depart(halt: &Halt) -> Departed {
    let (messages, bytes) = halt.job().traffic();
    Departed { totals: Totals { messages, bytes, left_running: 0 }, legacy: legacy(halt) }
}

fn write(halt: &Halt, task: WriteTask) -> Result<Written, String> {
    let reason = |error: CheckpointError| match error {
        CheckpointError::Hindered(why) => why,
        error => error.to_string(),
    };
    let NodeCut { world, elapsed, ranks } = halt.write(&task.unfinished()).map_err(reason)?;
    let ranks = postcard::to_stdvec(&ranks).map_err(|error| error.to_string())?;
    Ok(Written { world, elapsed_ns: elapsed.as_nanos() as u64, ranks })
}
