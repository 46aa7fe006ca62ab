//! What a node tells of its ranks to whoever watches the job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rkyv::{Archive, Deserialize, Serialize};

use super::deadlock::state_of;
use super::report::RankStatus;
use super::sampler::Counted;
use super::shared::{JobShared, RankShared};
use super::status::{Activity, PARTNERS_MAX};
use crate::scheduler::process_time;

/// A node's part of a job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct Survey {
    /// Its ranks, and what those used here that were here before.
    pub(crate) ranks: Vec<RankSurvey>,
    /// Those that share memory, group by group.
    pub(crate) bonds: Vec<Vec<u32>>,
    /// Messages and bytes to each of the job's nodes.
    pub(crate) sent: Vec<(u64, u64)>,
    /// How long the job has run.
    pub(crate) elapsed_us: u64,
    /// Processor time of the process.
    pub(crate) processor_us: u64,
    /// Memory of the process that is present.
    pub(crate) resident_bytes: u64,
}

/// A rank on a node.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub(crate) struct RankSurvey {
    pub(crate) rank: u32,
    /// Not for one that has gone elsewhere.
    pub(crate) is_here: bool,
    pub(crate) activity: Doing,
    pub(crate) what: String,
    pub(crate) busy_us: u64,
    pub(crate) ready_us: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) partners: Vec<(u32, u64)>,
}

/// An [`Activity`] that travels.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, PartialEq)]
pub(crate) enum Doing {
    Starting,
    Running,
    Waiting,
    Outside,
    #[default]
    Ended,
}

/// What a rank has sent so far.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Bytes to each rank, where they are counted.
    partners: Mutex<BTreeMap<u32, u64>>,
}

impl Sent {
    /// So many messages and bytes so far. Only the rank itself says so.
    #[inline]
    pub(crate) fn set(&self, (messages, bytes): (u64, u64)) {
        self.messages.store(messages, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes went to `dest`.
    #[cold]
    pub(crate) fn add(&self, dest: u32, bytes: u64) {
        let mut partners = self.partners.lock();
        if partners.len() < PARTNERS_MAX || partners.contains_key(&dest) {
            *partners.entry(dest).or_default() += bytes;
        }
    }
}

impl JobShared {
    /// What the ranks of this node are doing. From now on they are watched for a while; with `partners` it is counted
    /// who sends to whom, as long.
    pub(crate) fn survey(self: &Arc<Self>, partners: bool) -> Survey {
        if partners {
            self.set_counts_partners(true);
        }
        self.sampler().watch(self);
        let mut counted = self.sampler().counted();
        let here = self.local_ranks().map(|rank| {
            let counted = counted.remove(&rank).unwrap_or_default();
            survey_of(rank, self.rank(rank), counted)
        });
        let mut ranks: Vec<RankSurvey> = here.collect();
        ranks.extend(counted.into_iter().map(|(rank, counted)| RankSurvey {
            rank,
            busy_us: counted.busy_ns / 1000,
            ready_us: counted.ready_ns / 1000,
            ..RankSurvey::default()
        }));
        Survey {
            ranks,
            bonds: self.world().bonds(),
            sent: self.far().map(|far| far.links.sent_to()).unwrap_or_default(),
            elapsed_us: self.elapsed().as_micros() as u64,
            processor_us: process_time().as_micros() as u64,
            resident_bytes: resident_bytes(),
        }
    }
}

fn survey_of(rank: u32, shared: &RankShared, counted: Counted) -> RankSurvey {
    let status = state_of(rank, shared).status;
    let activity = match status {
        RankStatus::Starting => Doing::Starting,
        RankStatus::Running => Doing::Running,
        RankStatus::Waiting(_) => Doing::Waiting,
        RankStatus::Outside(_) => Doing::Outside,
        RankStatus::Ended => Doing::Ended,
    };
    let sent = shared.sent();
    let partners = sent.partners.lock().iter().map(|(rank, bytes)| (*rank, *bytes)).collect();
    RankSurvey {
        rank,
        is_here: true,
        activity,
        what: status.to_string(),
        busy_us: counted.busy_ns / 1000,
        ready_us: counted.ready_ns / 1000,
        memory_bytes: shared.memory().map_or(0, |memory| memory.len()),
        messages: sent.messages.load(Ordering::Relaxed),
        bytes: sent.bytes.load(Ordering::Relaxed),
        partners,
    }
}

/// Memory of this process that is present; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

impl From<Doing> for Activity {
    fn from(doing: Doing) -> Self {
        match doing {
            Doing::Starting => Self::Starting,
            Doing::Running => Self::Running,
            Doing::Waiting => Self::Waiting,
            Doing::Outside => Self::Outside,
            Doing::Ended => Self::Ended,
        }
    }
}
