//! A node says that it goes away soon: its ranks go elsewhere, as far as they can, and then it may go.

use std::sync::Weak;
use std::time::{Duration, Instant};

use faasm_transport::NodeId;

use super::core::Core;
use super::relocate::relocate;
use super::{Cluster, Inner, steering};
use crate::cluster::message::ToNode;
use crate::cluster::policy::{History, MovePolicy, decide, scene};

impl Core {
    /// A node goes away after this time. Nothing goes there any more. Returns whether jobs run there: it is let go at once
    /// if not.
    pub(super) fn notice(&mut self, node: NodeId, grace: Duration, now: Instant) -> bool {
        if self.drain(node, now).is_err() {
            return false;
        }
        self.leaving.insert(node, now + grace.min(GRACE_MAX));
        let is_needed = self.jobs.values().any(|job| job.active_nodes().contains(&node));
        if !is_needed {
            self.send(node, ToNode::Leave);
        }
        is_needed
    }
}

/// Empties a node that goes away soon, in a thread. One whose jobs cannot be moved goes at once, as it would have without
/// a notice.
pub(super) fn begin(cluster: Weak<Inner>, node: NodeId) {
    let evict = move || {
        if let Some(inner) = cluster.upgrade() {
            evict(&Cluster { inner, admission: None }, node);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("faasm-evict".to_owned()).spawn(evict) {
        tracing::warn!(%error, "no thread can be had to empty {node}; check `ulimit -u`");
    }
}

fn evict(cluster: &Cluster, node: NodeId) {
    tracing::info!("{node} is about to leave: its ranks go elsewhere");
    let status = cluster.status();
    let member = status.nodes.into_iter().find(|member| member.node == node);
    for job in member.map(|member| member.jobs).unwrap_or_default() {
        if let Err(why) = move_to_room(cluster, job) {
            tracing::info!("ranks of job {job} do not go where there is most room: {why}");
        }
    }
    // What is left, and who leaves which job.
    let drained = cluster.drain(node).unwrap_or_default();
    drained.iter().for_each(|job| tracing::info!("{job}"));
    if drained.iter().any(|job| job.moved.is_err()) {
        tracing::warn!("{node} leaves, and with it ranks that cannot be moved");
        cluster.dismiss(node);
    }
}

/// Moves a job's ranks from nodes that leave, first from the one that leaves first, to where there is most room.
fn move_to_room(cluster: &Cluster, job: u32) -> Result<(), String> {
    let status = cluster.job_status(job, false)?;
    let history = (&History::default(), Duration::ZERO, Instant::now());
    let plan = decide(MovePolicy::None, &scene((&status, &status), history));
    for order in plan.iter().flat_map(steering::orders) {
        let report = relocate(cluster, job, &order)?;
        cluster.remember(job, &report, "its node is about to leave");
    }
    Ok(())
}

/// Nobody announces more.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
