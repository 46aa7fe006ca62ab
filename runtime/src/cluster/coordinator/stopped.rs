//! A job that is stopped, for whoever does something with it meanwhile; and what is done for a checkpoint.

use std::time::{Duration, Instant};

use faasm_mpi_shim::world::World;
use faasm_transport::NodeId;

use super::Cluster;
use super::driver::Input;
use super::halting::StopNews;
use super::stop::{Course, Plan};
use crate::checkpoint::{CheckpointError, Common, Cut, Unfinished, Writer, WrittenRank};
use crate::cluster::stop::{Done, Legacy, Task, WriteTask, Written};
use crate::job::{ENDING, Outcome};

/// How long whoever wants to stop a job waits for another one who does.
const TURN_TIME_MAX: Duration = Duration::from_secs(60);

/// A job none of whose ranks runs, on any node; it goes on when this is dropped.
#[derive(Debug)]
pub(crate) struct StoppedJob {
    cluster: Cluster,
    job: u32,
    nodes: Vec<NodeId>,
    course: Course,
    news: flume::Receiver<StopNews>,
}

impl Cluster {
    /// Stops a job at an instant at which nothing of it is under way. That takes at least until each rank calls a function
    /// of MPI in which it may wait.
    ///
    /// # Errors
    /// Why it cannot be stopped; it goes on all the same.
    pub(crate) fn stop(&self, job: u32) -> Result<StoppedJob, String> {
        self.stop_after(job, None)
    }

    /// As [`Cluster::stop`], after what can be done of a move while the ranks still run. The course tells whether the rest of it
    /// follows by itself.
    ///
    /// # Errors
    /// Why it cannot be stopped; it goes on all the same.
    pub(super) fn stop_after(&self, job: u32, plan: Option<&Plan>) -> Result<StoppedJob, String> {
        let begun = Instant::now();
        let received = loop {
            let (news, received) = flume::unbounded();
            let (reply, replied) = flume::bounded(1);
            let plan = plan.cloned();
            self.tell(Input::Halt { job, plan, news, reply });
            match replied.recv().unwrap_or_else(|_| Err((ended(), false))) {
                Ok(()) => break received,
                Err((_, true)) if begun.elapsed() < TURN_TIME_MAX => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((why, _)) => return Err(why),
            }
        };
        let (cluster, nodes, course) = (self.clone(), Vec::new(), Course::default());
        let mut stopped = StoppedJob { cluster, job, nodes, course, news: received };
        match stopped.next() {
            StopNews::Stopped(nodes, course) => {
                (stopped.nodes, stopped.course) = (nodes, course);
                Ok(stopped)
            }
            StopNews::Failed(why) => Err(why),
            StopNews::Done(_) => Err("the coordinator said what nobody asked".to_owned()),
        }
    }
}

impl StoppedJob {
    /// Its nodes.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// How stopping it went.
    pub(super) const fn course(&self) -> &Course {
        &self.course
    }

    /// Has nodes do something, each its own, and waits until all of them have.
    ///
    /// # Errors
    /// The first reason of a node that has not; others may have.
    pub(crate) fn act(&self, tasks: Vec<(NodeId, Task)>) -> Result<Vec<(NodeId, Done)>, String> {
        let (job, cluster) = (self.job, &self.cluster);
        cluster.tell(Input::Act { job, tasks });
        self.done()
    }

    /// Waits until all nodes have done what they were told.
    ///
    /// # Errors
    /// As [`StoppedJob::act`].
    pub(super) fn done(&self) -> Result<Vec<(NodeId, Done)>, String> {
        match self.next() {
            StopNews::Done(done) => Ok(done),
            StopNews::Failed(why) => Err(why),
            StopNews::Stopped(..) => Err("the coordinator said what nobody asked".to_owned()),
        }
    }

    /// What is left of nodes that have left the job.
    fn legacies(&self) -> Result<Vec<Legacy>, String> {
        let (reply, replied) = flume::bounded(1);
        self.cluster.tell(Input::Legacies { job: self.job, reply });
        replied.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Lets a node go, none of whose ranks lives, once the job goes on.
    ///
    /// # Errors
    /// It does not say what is left of the job there.
    pub(super) fn release(&self, node: NodeId) -> Result<(), String> {
        let done = self.act(vec![(node, Task::Depart)])?.pop();
        let Some((_, Done::Departed(departed))) = done else {
            return Err(format!("{node} did something else"));
        };
        self.cluster.tell(Input::Depart { job: self.job, node, departed });
        Ok(())
    }

    fn next(&self) -> StopNews {
        self.news.recv().unwrap_or_else(|_| StopNews::Failed(ended()))
    }
}

impl Drop for StoppedJob {
    fn drop(&mut self) {
        self.cluster.tell(Input::GoOn { job: self.job });
    }
}

fn ended() -> String {
    "the cluster has ended".to_owned()
}

/// Makes a checkpoint of a job: its nodes write the files of their ranks, and what concerns all of them is written here. Then
/// the job goes on, or ends with this exit code.
pub(super) fn cut(
    (cluster, job): (&Cluster, u32),
    writer: &mut Writer,
    end: Option<i32>,
) -> Result<Cut, CheckpointError> {
    let stopped = cluster.stop(job).map_err(hindered)?;
    let unfinished = writer.begin()?;
    let written = write(&stopped, &unfinished);
    // What is left to do needs no rank, so that those of a job that does not end go on.
    let stopped = end.is_some().then_some(stopped);
    match written {
        Ok((common, ranks)) => {
            let cut = writer.finish(&unfinished, common, ranks)?;
            if let Some(code) = end {
                // Told before the ranks could go on.
                cluster.tell(Input::End { job, outcome: Outcome::Killed { code } });
            }
            drop(stopped);
            Ok(cut)
        }
        Err(error) => {
            writer.abandon(&unfinished);
            Err(error)
        }
    }
}

/// Why there is no checkpoint. The end of a job is not worth a word.
fn hindered(why: String) -> CheckpointError {
    if why == ENDING { CheckpointError::Ending } else { CheckpointError::Hindered(why) }
}

/// What is not of one rank, and where the files of the ranks are.
fn write(
    stopped: &StoppedJob,
    unfinished: &Unfinished,
) -> Result<(Common, Vec<WrittenRank>), CheckpointError> {
    let task = WriteTask::new(unfinished)
        .ok_or_else(|| hindered(format!("{} is not UTF-8", unfinished.dir.display())))?;
    let tasks = stopped.nodes().iter().map(|node| (*node, Task::Write(task.clone())));
    let done = stopped.act(tasks.collect()).map_err(hindered)?;
    let (mut worlds, mut elapsed_ns, mut ranks) = (Vec::new(), 0, Vec::new());
    for (node, done) in done {
        let Done::Written(Written { world, elapsed_ns: elapsed, ranks: bytes }) = done else {
            return Err(hindered(format!("{node} did something else")));
        };
        let more: Vec<WrittenRank> = postcard::from_bytes(&bytes)
            .map_err(|error| hindered(format!("{node} told of files that cannot be: {error}")))?;
        worlds.push(world);
        elapsed_ns = elapsed.max(elapsed_ns);
        ranks.extend(more);
    }
    let left = stopped.legacies().map_err(hindered)?;
    for Legacy { world, ended } in left {
        worlds.push(world);
        ranks.extend(ended.into_iter().map(|stone| WrittenRank::ended(stone.into())));
    }
    let merged = World::merge(&worlds).map_err(|error| hindered(error.to_string()));
    let (world, processes) = merged?;
    Ok((Common { world, processes, elapsed_ns }, ranks))
}
