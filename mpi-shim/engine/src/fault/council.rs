//! Deciding for the processes that are left.
//!
//! Each member of a communicator proposes; once every member has proposed or failed, the topic is decided, and all
//! living members are told the same. A member that failed after it had proposed has its say in the flags, but is among
//! the failed. Across an intercommunicator each group hears the flag of the other one. A failure that a member knew of
//! when it proposed is always among the failed: the council waits until it has heard of it, too.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Topics that are open at the same time. Each member of each communicator can have few.
pub const TOPICS_MAX: usize = 1 << 16;

/// What is to be decided: the n-th agreement of the communicator with this context.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Topic {
    /// Context of the communicator.
    pub context: u32,
    /// Number of the agreement there.
    pub number: u32,
}

/// What a member brings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Proposal {
    /// What it has to say to the low group and to the high one; everybody is in the low group of an intracommunicator.
    pub flags: [u32; 2],
    /// A context that it could give to a new communicator.
    pub context: u32,
    /// Members that it knows to have failed.
    pub failed: Vec<u32>,
    /// How many of those, from the first on, it has acknowledged.
    pub acked: u32,
}

/// What was decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// For each group the bits that every proposal has set.
    pub flags: [u32; 2],
    /// The context of the living member that comes first.
    pub context: u32,
    /// Whether some member has not acknowledged all failures.
    pub is_news: bool,
    /// The members that have failed.
    pub failed: Vec<u32>,
}

/// A decision, and who is to hear of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decided {
    /// What was to be decided.
    pub topic: Topic,
    /// What was decided.
    pub decision: Decision,
    /// The living members, by world rank.
    pub members: Vec<u32>,
}

/// Why a proposal was not taken.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Who proposes is no member, or members differ from those that others gave.
    Member,
    /// It has proposed already.
    Twice,
    /// Too many topics are open.
    TooMany,
}

/// Decides what processes agree on. See the module's documentation.
///
/// What happened comes in by [`Council::handle_proposal`] and [`Council::handle_failure`]; what is to be told comes
/// out by [`Council::poll_decided`], to be asked until it has nothing.
#[derive(Debug, Default)]
pub struct Council {
    failed: BTreeSet<u32>,
    open: BTreeMap<Topic, Debate>,
    decided: VecDeque<Decided>,
}

/// A topic that is not decided.
#[derive(Debug)]
struct Debate {
    /// In the order of the communicator's ranks.
    members: Vec<u32>,
    proposals: BTreeMap<u32, Proposal>,
    /// Members that have neither proposed nor failed.
    missing: BTreeSet<u32>,
    /// Failures that members know of and the council does not.
    rumours: BTreeSet<u32>,
}

impl Council {
    /// A member of the communicator with these `members` proposes. What a failed process says is not heard.
    ///
    /// # Errors
    /// When the proposal breaks a rule; nothing has changed then.
    pub fn handle_proposal(
        &mut self,
        topic: Topic,
        members: &[u32],
        member: u32,
        proposal: Proposal,
    ) -> Result<(), Refused> {
        if self.failed.contains(&member) {
            return Ok(());
        }
        if !self.open.contains_key(&topic) && self.open.len() >= TOPICS_MAX {
            return Err(Refused::TooMany);
        }
        if !members.contains(&member) {
            return Err(Refused::Member);
        }
        let failed = &self.failed;
        let debate = self.open.entry(topic).or_insert_with(|| Debate::new(members, failed));
        if debate.members != members {
            return Err(Refused::Member);
        }
        if !debate.missing.remove(&member) {
            return Err(Refused::Twice);
        }
        let is_member = |rank: &&u32| members.contains(rank);
        let unheard =
            proposal.failed.iter().filter(is_member).filter(|rank| !failed.contains(rank));
        debate.rumours.extend(unheard);
        debate.proposals.insert(member, proposal);
        self.decide(topic);
        Ok(())
    }

    /// A process has failed.
    pub fn handle_failure(&mut self, rank: u32) {
        if !self.failed.insert(rank) {
            return;
        }
        let mut concerned = Vec::new();
        for (topic, debate) in &mut self.open {
            let was_missed = debate.missing.remove(&rank);
            if debate.rumours.remove(&rank) || was_missed {
                concerned.push(*topic);
            }
        }
        concerned.into_iter().for_each(|topic| self.decide(topic));
    }

    /// The next decision.
    pub fn poll_decided(&mut self) -> Option<Decided> {
        self.decided.pop_front()
    }

    /// Number of topics that are open.
    pub fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Decides the topic if nothing is missing any more.
    fn decide(&mut self, topic: Topic) {
        let is_ripe = |debate: &Debate| debate.missing.is_empty() && debate.rumours.is_empty();
        if self.open.get(&topic).is_some_and(is_ripe)
            && let Some(debate) = self.open.remove(&topic)
        {
            self.decided.extend(debate.conclude(topic, &self.failed));
        }
    }
}

impl Debate {
    fn new(members: &[u32], failed: &BTreeSet<u32>) -> Self {
        let missing = members.iter().filter(|rank| !failed.contains(rank)).copied().collect();
        Self {
            members: members.to_vec(),
            proposals: BTreeMap::new(),
            missing,
            rumours: BTreeSet::new(),
        }
    }

    /// The decision; none if nobody is left.
    fn conclude(self, topic: Topic, failed: &BTreeSet<u32>) -> Option<Decided> {
        let (lost, living): (Vec<u32>, Vec<u32>) =
            self.members.iter().partition(|rank| failed.contains(rank));
        let first = self.proposals.get(living.first()?)?;
        let knows_all = |proposal: &Proposal| {
            let acked = proposal.failed.iter().take(proposal.acked as usize);
            let acked: BTreeSet<u32> = acked.copied().collect();
            lost.iter().all(|rank| acked.contains(rank))
        };
        let mut heard = living.iter().filter_map(|rank| self.proposals.get(rank));
        let is_news = !heard.all(knows_all);
        let both = |[low, high]: [u32; 2], proposal: &Proposal| {
            [low & proposal.flags[0], high & proposal.flags[1]]
        };
        let flags = self.proposals.values().fold([u32::MAX; 2], both);
        let decision = Decision { flags, context: first.context, is_news, failed: lost };
        Some(Decided { topic, decision, members: living })
    }
}

impl Decision {
    /// The decision as bytes, for a message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let [low, high] = self.flags;
        let head = [low, high, self.context, u32::from(self.is_news)];
        head.iter().chain(&self.failed).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Reads what [`Decision::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        let flags = [words.next()?, words.next()?];
        let (context, is_news) = (words.next()?, words.next()?);
        let decision = Self { flags, context, is_news: is_news != 0, failed: words.collect() };
        (rest.is_empty() && is_news < 2).then_some(decision)
    }
}
