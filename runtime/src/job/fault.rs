//! Ranks that fail while their job goes on.
//!
//! A failure is a message to every rank, behind what the failed rank has sent before: so nobody can miss it, and jobs
//! that end with their first failed rank pay nothing. What the ranks that are left agree on is decided here if all
//! members are of this node, and by the coordinator otherwise, who hears of every failure.

use std::sync::{Arc, OnceLock};

use faasm_mpi_engine::fault::{Council, Decided, Decision, Proposal, Topic};
use faasm_mpi_shim::port::{Header, Kind, Message, Payload};
use faasm_transport::{Envelope, Lane, Service};
use parking_lot::Mutex;

use super::shared::{Doing, JobShared};

/// Brings a proposal to the coordinator.
type Messenger = Arc<dyn Fn(Topic, &[u32], u32, Proposal) + Send + Sync>;

/// What a node does about failures of ranks.
#[derive(Default)]
pub(crate) struct Mourning {
    /// Decides for communicators of this node.
    council: Mutex<Council>,
    messenger: OnceLock<Messenger>,
}

impl Mourning {
    /// The same for the job's next life, in which nobody has failed yet.
    pub(super) fn again(&self) -> Self {
        Self { council: Mutex::default(), messenger: self.messenger.clone() }
    }
}

impl JobShared {
    /// Proposals of communicators on several nodes go this way; once.
    pub(crate) fn set_messenger(
        &self,
        messenger: impl Fn(Topic, &[u32], u32, Proposal) + Send + Sync + 'static,
    ) {
        // A second one would be no better than the first.
        let _ = self.mourning.messenger.set(Arc::new(messenger));
    }

    /// A rank of this node has failed, and the job goes on. Everybody is told.
    pub(crate) fn lose_rank(&self, rank: u32) {
        self.mourn(&[rank], false);
        let Some(far) = self.far() else { return };
        let world = self.world();
        for node in (0..world.nodes()).filter(|node| *node != world.this_node()) {
            // It is for all ranks there, if there are any.
            let about = Envelope { kind: Kind::Failed as u16, from: rank, ..Envelope::default() };
            far.links.send(node, Lane::Message, Service::Message, about, &[]);
        }
    }

    /// These ranks have failed, with their whole node if it `is_lost`: tells the ranks of this node.
    pub(crate) fn mourn(&self, ranks: &[u32], is_lost: bool) {
        for rank in ranks {
            if !self.world().keep_failure(*rank) && !is_lost {
                continue;
            }
            let header = Header {
                kind: Kind::Failed,
                context: 0,
                source: 0,
                tag: i32::from(is_lost),
                sender: *rank,
                request: 0,
            };
            for mourner in self.local_ranks().filter(|mourner| mourner != rank) {
                self.tell(mourner, header, &[]);
            }
            self.mourning.council.lock().handle_failure(*rank);
        }
        self.announce();
    }

    /// `rank` takes part in deciding `topic`.
    pub(crate) fn propose(
        &self,
        rank: u32,
        (topic, members): (Topic, &[u32]),
        is_spread: bool,
        proposal: Proposal,
    ) {
        if is_spread {
            match self.mourning.messenger.get() {
                Some(messenger) => messenger(topic, members, rank, proposal),
                None => {
                    tracing::error!(rank, "a job on several nodes has no way to its coordinator")
                }
            }
            return;
        }
        let taken = self.mourning.council.lock().handle_proposal(topic, members, rank, proposal);
        if let Err(refused) = taken {
            // The rank waits for ever, and is found to.
            tracing::error!(rank, ?topic, ?refused, "a proposal breaks the rules");
        }
        self.announce();
    }

    /// Tells the members what was decided here.
    fn announce(&self) {
        loop {
            let decided = self.mourning.council.lock().poll_decided();
            let Some(Decided { topic, decision, members }) = decided else { return };
            self.tell_decision(topic, &decision, &members);
        }
    }

    /// Tells those of the members who are of this node.
    pub(crate) fn tell_decision(&self, topic: Topic, decision: &Decision, members: &[u32]) {
        let header = Header {
            kind: Kind::Decided,
            context: topic.context,
            source: 0,
            tag: 0,
            sender: 0,
            request: topic.number,
        };
        let bytes: Arc<[u8]> = decision.to_bytes().into();
        for rank in members.iter().filter(|rank| self.world().is_local(**rank)) {
            self.tell(*rank, header, &bytes);
        }
    }

    fn tell(&self, rank: u32, header: Header, bytes: &[u8]) {
        let shared = self.rank(rank);
        if shared.doing().0 == Doing::Ended {
            return;
        }
        let payload = Payload::copied(bytes);
        shared.mailbox().push_overflow(Message { header, payload });
        shared.wake_if_waiting();
    }
}
