//! Letting a node go without harm: the ranks that run there move to the other nodes of their jobs.

use std::fmt;

use faasm_transport::NodeId;

use super::Cluster;
use super::driver::Input;
use super::relocate::evacuate;
use crate::cluster::error::ClusterError;
use crate::job::{ENDING, MoveReport};

/// What became of a job on a node that is drained.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DrainedJob {
    /// The job's number.
    pub job: u32,
    /// Its ranks that moved; or why they stay, for which the node waits.
    pub moved: Result<MoveReport, String>,
}

impl fmt::Display for DrainedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.moved {
            Ok(report) => write!(f, "job {}: {report}", self.job),
            Err(why) => write!(f, "job {} stays there until it ends: {why}", self.job),
        }
    }
}

impl Cluster {
    /// Takes no further jobs to a node, moves the ranks that run there to the other nodes of their jobs, as far as they
    /// can be moved, and lets the node go once it has none. What became of its jobs is told.
    ///
    /// # Errors
    /// There is no such node.
    pub fn drain(&self, node: NodeId) -> Result<Vec<DrainedJob>, ClusterError> {
        let (reply, replied) = flume::bounded(1);
        self.tell(Input::Drain { node, reply });
        let answer = replied.recv().unwrap_or_else(|_| Err("the cluster has ended".to_owned()));
        answer.map_err(|reason| ClusterError::Rejected { reason })?;
        let nodes = self.status().nodes;
        let jobs = nodes.into_iter().filter(|member| member.node == node);
        let moved = jobs.flat_map(|member| member.jobs).map(|job| {
            let moved = evacuate(self, job, node);
            if let Ok(report) = &moved {
                self.remember(job, report, "its node is drained");
            }
            DrainedJob { job, moved }
        });
        // One that has ended meanwhile is nobody's concern.
        let goes_on = |job: &DrainedJob| !matches!(&job.moved, Err(why) if why == ENDING);
        Ok(moved.filter(goes_on).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_a_job_is_one_line() {
        let moved = MoveReport { moved: vec![(1, "b".to_owned())], ..MoveReport::default() };
        let text = DrainedJob { job: 3, moved: Ok(moved) }.to_string();
        assert!(text.starts_with("job 3: rank 1 runs on b ("), "{text}");
        let text = DrainedJob { job: 4, moved: Err("why".to_owned()) }.to_string();
        assert_eq!(text, "job 4 stays there until it ends: why");
    }
}
