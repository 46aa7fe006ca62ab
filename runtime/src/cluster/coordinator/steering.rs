//! Looks now and then where a job's ranks should be, and has them moved there.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Remote, shuffle};
use crate::cluster::policy::{History, MovePolicy, Plan, PolicyOptions, decide, scene};
use crate::job::{JobStatus, MoveOrder, RemoteJob as _};

/// What ranks do is looked at over this time, at most.
const WINDOW_MAX: Duration = Duration::from_secs(5);
/// Who has moved stays at least so long.
const REST_MIN: Duration = Duration::from_secs(30);
/// The same in looks.
const REST_LOOKS: u32 = 3;
/// A job that cannot be moved is left alone for so many times longer, at most.
const PATIENCE_MAX: u32 = 16;

/// See the module's documentation.
struct Steering {
    job: Weak<Remote>,
    options: PolicyOptions,
    history: History,
    /// So many times longer than usual until the next look.
    patience: u32,
}

/// Steers a job until it ends.
///
/// # Errors
/// No thread can be had.
pub(super) fn begin(job: &Arc<Remote>, options: PolicyOptions) -> std::io::Result<()> {
    if options.policy == MovePolicy::None {
        return Ok(());
    }
    let (job, history) = (Arc::downgrade(job), History::default());
    let steering = Steering { job, options, history, patience: 1 };
    let thread = std::thread::Builder::new().name("faasm-steer".to_owned());
    let run = move || match options.policy {
        MovePolicy::Shuffle => shuffle::run(&steering.job),
        _ => steering.run(),
    };
    thread.spawn(run).map(drop)
}

impl Steering {
    fn run(mut self) {
        let window = (self.options.every / 2).min(WINDOW_MAX);
        loop {
            std::thread::sleep(self.options.every.saturating_mul(self.patience) - window);
            let Some(before) = self.status() else { return };
            std::thread::sleep(window);
            let Some(now) = self.status() else { return };
            let rest = REST_MIN.max(self.options.every * REST_LOOKS);
            let scene = scene((&before, &now), (&self.history, rest, Instant::now()));
            tracing::trace!(?scene, "where should the ranks be?");
            if let Some(plan) = decide(self.options.policy, &scene) {
                self.carry_out(&plan);
            }
        }
    }

    /// How the job is doing; `None` when it is over.
    fn status(&self) -> Option<JobStatus> {
        let status = self.job.upgrade()?.status(true).ok()?;
        (!status.ranks.is_empty()).then_some(status)
    }

    fn carry_out(&mut self, plan: &Plan) {
        let Some(job) = self.job.upgrade() else { return };
        let (gain_s, cost_s) = (plan.gain_s, plan.cost_s);
        for order in orders(plan) {
            let (why, node) = (&plan.why, order.to.as_deref().unwrap_or_default());
            tracing::info!("{why}: ranks {:?} go to node {node}", order.ranks);
            tracing::debug!("that brings about {gain_s:.1} s a minute and costs {cost_s:.3} s");
            match job.carry_out(&order, why) {
                Ok(report) => {
                    tracing::info!("{report}");
                    self.history.add(order.ranks.into_iter(), Instant::now());
                    self.patience = 1;
                }
                Err(why) => {
                    tracing::info!("the ranks stay where they are: {why}");
                    self.patience = (2 * self.patience).min(PATIENCE_MAX);
                    return;
                }
            }
        }
    }
}

/// An order for each node that ranks go to.
pub(super) fn orders(plan: &Plan) -> Vec<MoveOrder> {
    let mut nodes: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (rank, node) in &plan.moves {
        nodes.entry(*node).or_default().push(*rank);
    }
    let order = |(node, ranks): (usize, Vec<u32>)| {
        let to = Some(node.to_string());
        MoveOrder { ranks, from: None, to }
    };
    nodes.into_iter().map(order).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_an_order_for_each_node() {
        let plan = Plan { moves: vec![(4, 1), (0, 2), (1, 1)], ..Plan::default() };
        let orders = orders(&plan);
        let shown: Vec<_> = orders.iter().map(|o| (o.to.as_deref(), &o.ranks[..])).collect();
        assert_eq!(shown, [(Some("1"), &[4, 1][..]), (Some("2"), &[0][..])]);
    }
}
