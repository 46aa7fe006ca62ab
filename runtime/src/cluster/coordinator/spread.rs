//! One job, as its coordinator sees it: pure state, changed by what its nodes tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_mpi_engine::fault::{Council, Decided, Refused};
use faasm_transport::NodeId;

use super::relocate::Places;
use super::spawned::Spawned;
use crate::cluster::message::{Motion, Stdin, Totals};
use crate::cluster::offer::Newborn;
use crate::cluster::stop::Legacy;
use crate::faaslet::RankExit;
use crate::job::{JobReport, Outcome, Quiet, RankState, is_stuck, outcome_of_all};

/// A job on its nodes.
///
/// The core asks and changes it; it never speaks to anybody itself.
#[derive(Debug)]
pub(super) struct SpreadJob {
    /// For each rank, and each spawned process, the index of its node among `parts`.
    placement: Vec<u32>,
    spawned: Spawned,
    parts: Vec<Part>,
    /// Indices of those that do not end with their last rank: ranks have left them for others, or may be spawned there.
    emptied: BTreeSet<usize>,
    /// The slots of nodes, as far as somebody has said so, if processes may be spawned on any of its nodes.
    slots: Option<BTreeMap<NodeId, u32>>,
    exits: Vec<Option<RankExit>>,
    started: Option<Instant>,
    timeout: Option<Duration>,
    /// A rank that ended in order but with an exit code that is not zero.
    first_failed: Option<u32>,
    /// Ranks that failed and without which the job went on.
    lost: Vec<u32>,
    /// Whether the job goes on when a rank fails.
    is_tolerant: bool,
    /// Which ranks read the standard input.
    readers: Stdin,
    /// Decides what ranks on several nodes agree on.
    council: Council,
    outcome: Option<Outcome>,
    /// When nodes that do not answer any more are not waited for.
    give_up_at: Option<Instant>,
    /// Whether its end is near and its ranks' states are being asked for.
    pub(super) is_doomed: bool,
    /// What each part last said about standing still.
    quiet: Vec<Option<Quiet>>,
    /// The question whether all parts still do.
    round: Option<Round>,
}

/// All parts stood still at some time; each is asked whether it still does.
#[derive(Debug)]
struct Round {
    name: u32,
    first: Vec<Option<Quiet>>,
    second: Vec<Option<Quiet>>,
    /// Indices of the parts that have not answered.
    waiting: Vec<usize>,
}

/// A node's part of a job.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) node: NodeId,
    pub(super) host: Arc<str>,
    state: PartState,
    /// What is left of it, once all of its ranks have ended.
    legacy: Legacy,
    /// No rank has ever been there.
    is_spare: bool,
    /// All of its ranks have ended, with which it ends.
    is_closing: bool,
}

#[derive(Debug)]
enum PartState {
    Preparing,
    Ready,
    Running,
    Ended(Totals),
    /// The same, and the node has left the job.
    Departed(Totals),
    Lost,
}

impl SpreadJob {
    pub(super) fn new(
        placement: Vec<u32>,
        nodes: Vec<(NodeId, Arc<str>)>,
        (timeout, is_tolerant): (Option<Duration>, bool),
        readers: Stdin,
    ) -> Self {
        let quiet = vec![None; nodes.len()];
        let part = |(index, (node, host)): (u32, _)| Part {
            node,
            host,
            state: PartState::Preparing,
            legacy: Legacy::default(),
            is_spare: !placement.contains(&index),
            is_closing: false,
        };
        let parts: Vec<Part> = (0..).zip(nodes).map(part).collect();
        let spares = parts.iter().enumerate().filter(|(_, part)| part.is_spare);
        Self {
            exits: vec![None; placement.len()],
            spawned: Spawned::new(placement.len(), parts.len()),
            placement,
            emptied: spares.map(|(index, _)| index).collect(),
            slots: None,
            parts,
            started: None,
            timeout,
            first_failed: None,
            lost: Vec::new(),
            is_tolerant,
            readers,
            council: Council::default(),
            outcome: None,
            give_up_at: None,
            is_doomed: false,
            quiet,
            round: None,
        }
    }

    /// Processes may be spawned on any of its nodes, some of which have so many slots.
    pub(super) fn may_spawn(&mut self, slots: BTreeMap<NodeId, u32>) {
        self.emptied = (0..self.parts.len()).collect();
        self.slots = Some(slots);
    }

    /// The part of `node` can start; false when it could already.
    pub(super) fn ready(&mut self, node: NodeId) -> bool {
        if let Some(part) = self.part_mut(node)
            && matches!(part.state, PartState::Preparing)
        {
            part.state = PartState::Ready;
            return true;
        }
        false
    }

    /// Whether all parts can start and none has.
    pub(super) fn is_ready(&self) -> bool {
        let is_ready = |part: &Part| !part.is_present() || matches!(part.state, PartState::Ready);
        !self.has_started() && self.parts.iter().all(is_ready)
    }

    /// Whether no rank has ever been on this node, which is there for those that may come.
    pub(super) fn is_spare(&self, node: NodeId) -> bool {
        self.parts.iter().any(|part| part.node == node && part.is_spare && part.is_present())
    }

    /// All parts start.
    pub(super) fn start(&mut self, now: Instant) {
        self.started = Some(now);
        for part in self.parts.iter_mut().filter(|part| part.is_present()) {
            part.state = PartState::Running;
        }
    }

    /// A rank has ended. Returns the outcome if the others are to end with it.
    ///
    /// # Errors
    /// The rank is not of that node.
    pub(super) fn exited(
        &mut self,
        node: NodeId,
        rank: u32,
        exit: &RankExit,
    ) -> Result<Exited, ForeignRank> {
        let place = self.place(rank).ok_or(ForeignRank)?;
        if self.parts.get(place).is_none_or(|part| part.node != node) {
            return Err(ForeignRank);
        }
        // Of those that are spawned it was told before.
        let slot = self.exits.get_mut(rank as usize).ok_or(ForeignRank)?;
        if slot.is_some() {
            return Ok(Exited::Again);
        }
        *slot = Some(exit.clone());
        self.parts[place].is_closing |= self.slots.is_none() && !self.is_anyone_at(place);
        if self.is_tolerant && exit.is_survivable() {
            self.council.handle_failure(rank);
            self.lost.push(rank);
            return Ok(Exited::InOrder);
        }
        if exit.dooms_job() {
            return Ok(Exited::Dooms(Outcome::RankFailed { rank }));
        }
        if exit.is_failure() {
            self.first_failed.get_or_insert(rank);
        }
        Ok(Exited::InOrder)
    }

    /// Whether a rank of the part with this index has not ended.
    fn is_anyone_at(&self, place: usize) -> bool {
        let lives = |(rank, exit): (usize, &Option<RankExit>)| {
            exit.is_none() && self.place(rank as u32) == Some(place)
        };
        // Most often the first ones end first.
        self.exits.iter().enumerate().rev().any(lives)
    }

    /// Index of the part that a rank is of.
    fn place(&self, rank: u32) -> Option<usize> {
        let known = self.placement.get(rank as usize).map(|place| *place as usize);
        known.or_else(|| self.spawned.place(rank, self.parts.len()))
    }

    /// Whether this number, between those of processes that were spawned, is of none.
    pub(super) fn is_nobody(&self, rank: u32) -> bool {
        self.spawned.is_nobody(rank)
    }

    /// Whether processes may be spawned on any of its nodes.
    pub(super) const fn spawns(&self) -> bool {
        self.slots.is_some()
    }

    /// The slots of a node, if somebody has said how many there are.
    pub(super) fn slots(&self, node: NodeId) -> Option<u32> {
        self.slots.as_ref()?.get(&node).copied()
    }

    /// How many processes can still be spawned on the part with this index.
    pub(super) fn has_room_for(&self, place: usize) -> usize {
        let takes = self.parts.get(place).is_some_and(Part::takes_ranks);
        if takes { self.spawned.left(place) } else { 0 }
    }

    /// So many numbers of processes of the part with this index, if there are as many.
    pub(super) fn number(&mut self, place: usize, count: u32) -> Option<Vec<u32>> {
        self.spawned.give(place, count)
    }

    /// Processes with these numbers, which were given to them, run from now on.
    pub(super) fn begin_all(&mut self, numbers: &[u32]) {
        self.spawned.begin(numbers);
        for rank in numbers {
            // They were given in this life.
            if self.make_place(*rank).is_ok() {
                self.exits[*rank as usize] = None;
            }
        }
    }

    /// Whether there is or was a process with this number.
    pub(super) fn knows(&self, rank: u32) -> bool {
        (rank as usize) < self.placement.len() && !self.is_nobody(rank)
    }

    /// Whether a node could end its part with its last rank, which has ended.
    fn is_idle(&self, node: NodeId) -> bool {
        let idle = |place: usize| {
            let Part { state, is_spare, .. } = &self.parts[place];
            let runs = matches!(state, PartState::Running) && !is_spare;
            runs && !self.is_anyone_at(place)
        };
        self.spawns() && self.index_of(node).is_some_and(idle)
    }

    /// No more processes are spawned on a node. Returns whether its part can end at once.
    pub(super) fn close(&mut self, node: NodeId) -> bool {
        let is_idle = self.is_idle(node);
        if let Some(part) = self.part_mut(node).filter(|_| is_idle) {
            part.is_closing = true;
        }
        is_idle
    }

    /// Processes were spawned on a node, or came back there after a restart.
    ///
    /// # Errors
    /// One of them is not of that node.
    pub(super) fn born(&mut self, node: NodeId, born: Vec<Newborn>) -> Result<(), ForeignRank> {
        for newborn in born {
            let rank = newborn.rank;
            let place = self.place(rank).ok_or(ForeignRank)?;
            if self.parts.get(place).is_none_or(|part| part.node != node) {
                return Err(ForeignRank);
            }
            self.make_place(rank)?;
            if self.spawned.is_nobody(rank) {
                self.exits[rank as usize] = None;
            }
            self.spawned.add(newborn);
        }
        Ok(())
    }

    /// Sees to it that there are all numbers up to this one, which may be nobody's.
    fn make_place(&mut self, rank: u32) -> Result<(), ForeignRank> {
        let place = self.place(rank).ok_or(ForeignRank)?;
        while self.placement.len() <= rank as usize {
            let between = self.placement.len() as u32;
            let place = self.place(between).ok_or(ForeignRank)?;
            self.placement.push(place as u32);
        }
        let nobody = Some(RankExit::Completed { code: 0 });
        let processes = self.placement.len().max(self.exits.len());
        self.exits.resize(processes, nobody);
        self.parts.get_mut(place).ok_or(ForeignRank)?.is_spare = false;
        Ok(())
    }

    /// All ranks of a part have ended.
    pub(super) fn part_ended(&mut self, node: NodeId, totals: Totals, legacy: Legacy) {
        if let Some(part) = self.part_mut(node)
            && part.is_present()
        {
            (part.state, part.legacy) = (PartState::Ended(totals), legacy);
        }
    }

    /// No rank of this node lives, and it leaves the job.
    pub(super) fn depart(&mut self, node: NodeId, totals: Totals, legacy: Legacy) {
        self.part_ended(node, totals, legacy);
        self.left(node);
    }

    /// A node is a member no more. Returns whether it leaves nothing behind, for its ranks have all ended.
    pub(super) fn left(&mut self, node: NodeId) -> bool {
        let Some(index) = self.index_of(node) else { return false };
        let totals = match self.parts[index].state {
            PartState::Ended(totals) => totals,
            _ if self.is_idle(node) => Totals::default(),
            _ => return false,
        };
        self.parts[index].state = PartState::Departed(totals);
        // It stands still for ever, and a round that it was asked in begins anew.
        self.quiet[index] = Some(Quiet::default());
        self.round = None;
        true
    }

    /// What is left of nodes that have left the job: what their ranks shared, and the ranks.
    ///
    /// # Errors
    /// Not all of it is known, in words.
    pub(super) fn legacies(&self) -> Result<Vec<Legacy>, String> {
        let departed = |part: &Part| !part.is_present() && !part.is_spare;
        let departed = (0..).zip(&self.parts).filter(|(_, part)| departed(part));
        let legacy = |(index, part): (u32, &Part)| {
            let here = (0..).zip(&self.placement).filter(|(_, place)| **place == index);
            let is_known = |rank| {
                let mut ended = part.legacy.ended.iter();
                self.spawned.is_nobody(rank) || ended.any(|stone| stone.rank == rank)
            };
            match here.map(|(rank, _)| rank).find(|rank: &u32| !is_known(*rank)) {
                Some(rank) => Err(format!("rank {rank} has failed, and its node has left")),
                None => Ok(part.legacy.clone()),
            }
        };
        departed.map(legacy).collect()
    }

    /// A node is lost. Returns the ranks that were still running there, if its part had not ended.
    pub(super) fn lost(&mut self, node: NodeId) -> Option<Vec<u32>> {
        let part = self.part_mut(node)?;
        if !part.is_active() {
            return None;
        }
        part.state = PartState::Lost;
        Some(self.running_on(node))
    }

    /// The ranks of a node that have not ended.
    pub(super) fn running_on(&self, node: NodeId) -> Vec<u32> {
        let index = self.index_of(node);
        let running = |(rank, place): (u32, &u32)| {
            let is_there = Some(*place as usize) == index;
            (is_there && self.exits[rank as usize].is_none()).then_some(rank)
        };
        (0..).zip(&self.placement).filter_map(running).collect()
    }

    /// Whether no rank of this part, of which so many wait, has ended without its end having been told. The others learn
    /// of a failure only when it has, and go on then.
    pub(super) fn knows_of_all_ends(&self, node: NodeId, waiting: u32) -> bool {
        waiting as usize >= self.running_on(node).len()
    }

    /// Whether the job goes on when a rank fails.
    pub(super) const fn is_tolerant(&self) -> bool {
        self.is_tolerant
    }

    /// These ranks are lost with their node, and the job goes on.
    pub(super) fn give_up(&mut self, ranks: &[u32], exit: &RankExit) {
        for rank in ranks {
            if let Some(slot) = self.exits.get_mut(*rank as usize) {
                *slot = Some(exit.clone());
            }
            self.lost.push(*rank);
            self.council.handle_failure(*rank);
        }
    }

    /// A rank takes part in an agreement.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub(super) fn propose(&mut self, node: NodeId, motion: Motion) -> Result<(), &'static str> {
        let (topic, members, rank, proposal) = motion.into_parts();
        let part = self.place(rank).and_then(|place| self.parts.get(place));
        if part.is_none_or(|part| part.node != node) {
            return Err("the rank is not its own");
        }
        let taken = self.council.handle_proposal(topic, &members, rank, proposal);
        taken.map_err(|refused| match refused {
            Refused::Member => "the members are not those that others gave",
            Refused::Twice => "the rank has proposed already",
            Refused::TooMany => "too many agreements are open",
        })
    }

    /// What ranks have agreed on.
    pub(super) fn poll_decided(&mut self) -> Option<Decided> {
        self.council.poll_decided()
    }

    /// The nodes on which these ranks run and whose parts have not ended.
    pub(super) fn active_nodes_of(&self, ranks: &[u32]) -> Vec<NodeId> {
        let places: BTreeSet<usize> = ranks.iter().filter_map(|rank| self.place(*rank)).collect();
        let parts = self.parts.iter().enumerate();
        let there = parts.filter(|(place, part)| part.is_active() && places.contains(place));
        there.map(|(_, part)| part.node).collect()
    }

    /// From now on the job ends with this outcome, unless it does already. Returns whether it did
    /// not.
    pub(super) fn end(&mut self, outcome: Outcome, now: Instant) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(outcome);
        self.give_up_at = Some(now + END_PATIENCE);
        true
    }

    /// Where its ranks are.
    pub(super) fn places(&self) -> Places {
        Places {
            ranks: self.placement.clone(),
            ended: self.exits.iter().map(Option::is_some).take(self.placement.len()).collect(),
            nodes: self.parts.iter().map(|part| (part.node, part.host.to_string())).collect(),
            open: self.parts.iter().map(Part::takes_ranks).collect(),
            readers: self.readers,
            births: self.spawned.births().clone(),
            ..Places::default()
        }
    }

    /// Whether its ranks are there.
    pub(super) fn is_placed(&self, places: &[u32]) -> bool {
        self.placement == places
    }

    /// Whether its ranks can go there: those that would have not ended, and the parts have not either.
    pub(super) fn can_place(&self, places: impl Iterator<Item = u32>) -> bool {
        let takes = |place: u32| self.parts.get(place as usize).is_some_and(Part::takes_ranks);
        let places: Vec<u32> = places.collect();
        let mut ranks = self.placement.iter().zip(&self.exits).zip(&places);
        // Others may have been spawned meanwhile, and would be nowhere.
        places.len() == self.placement.len()
            && ranks.all(|((old, exit), new)| old == new || (exit.is_none() && takes(*new)))
    }

    /// Its ranks, which are stopped, are there now. Gives those that have moved, with their hosts.
    pub(super) fn place_anew(&mut self, places: Vec<u32>) -> Vec<(u32, Arc<str>)> {
        let nodes = self.parts.len() as u32;
        if places.len() != self.placement.len() || places.iter().any(|place| *place >= nodes) {
            return Vec::new();
        }
        let left = self.placement.iter().zip(&places).filter(|(old, new)| old != new);
        self.emptied.extend(left.map(|(old, _)| *old as usize));
        let moved =
            (0..).zip(self.placement.iter().zip(&places)).filter(|(_, (old, new))| old != new);
        let moved = moved.map(|(rank, (_, new))| (rank, self.host(*new))).collect();
        for place in &places {
            self.parts[*place as usize].is_spare = false;
        }
        self.spawned.begin_again(places.len());
        self.placement = places;
        moved
    }

    /// Whether all ranks have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.exits.iter().all(Option::is_some)
    }

    /// The nodes that ranks have left for others.
    pub(super) fn emptied_nodes(&self) -> Vec<NodeId> {
        let active = |place: &usize| self.parts.get(*place).filter(|part| part.is_active());
        self.emptied.iter().filter_map(active).map(|part| part.node).collect()
    }

    /// Whether nothing of the job is left, or nobody waits for what is left.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let given_up = self.give_up_at.is_some_and(|at| at <= now);
        given_up || self.parts.iter().all(|part| !part.is_active())
    }

    /// The result.
    pub(super) fn report(&mut self, now: Instant) -> JobReport {
        let totals = self.parts.iter().map(|part| match part.state {
            PartState::Ended(totals) | PartState::Departed(totals) => totals,
            _ => Totals::default(),
        });
        let (mut messages, mut bytes, mut left_running) = (0, 0, 0);
        for totals in totals {
            messages += totals.messages;
            bytes += totals.bytes;
            left_running += totals.left_running;
        }
        let silent = |part: &Part| matches!(part.state, PartState::Running);
        let silent_ranks = self
            .placement
            .iter()
            .zip(&self.exits)
            .filter(|(place, exit)| exit.is_none() && silent(&self.parts[**place as usize]));
        left_running += silent_ranks.count() as u32;
        let exits = self.exits.iter().map(|exit| exit.clone().unwrap_or(RankExit::Killed));
        JobReport {
            outcome: self
                .outcome
                .take()
                .unwrap_or_else(|| outcome_of_all(&self.exits, self.first_failed, &self.lost)),
            ranks: exits.collect(),
            wall: self.started.map_or(Duration::ZERO, |started| now - started),
            messages,
            bytes,
            left_running,
            hosts: self.placement.iter().map(|place| self.host(*place)).collect(),
            nodes: self.parts.iter().filter(|part| !part.is_spare).count() as u32,
        }
    }

    /// A part has said whether it stands still. Returns whether all parts are to be asked again.
    pub(super) fn stands_still(&mut self, node: NodeId, quiet: Option<Quiet>) -> bool {
        if let Some(index) = self.index_of(node) {
            self.quiet[index] = quiet;
        }
        // Twice the same answers in one round: whether that is a deadlock needs a second.
        self.round.is_none() && !self.is_doomed && is_stuck(&self.quiet, &self.quiet)
    }

    /// Begins the second round of questions; gives the nodes to ask.
    pub(super) fn begin_round(&mut self, name: u32) -> Vec<NodeId> {
        let first = self.quiet.clone();
        let away = |part: &Part| (!part.is_present()).then(Quiet::default);
        let second = self.parts.iter().map(away).collect();
        let present = (0..).zip(&self.parts).filter(|(_, part)| part.is_present());
        let (waiting, nodes) = present.map(|(index, part)| (index, part.node)).unzip();
        self.round = Some(Round { name, first, second, waiting });
        nodes
    }

    /// A part has answered in the second round. Returns whether the job can never go on.
    pub(super) fn confirm(&mut self, node: NodeId, name: u32, quiet: Option<Quiet>) -> bool {
        let Some(index) = self.index_of(node) else { return false };
        let Some(round) = self.round.as_mut().filter(|round| round.name == name) else {
            return false;
        };
        round.waiting.retain(|waiting| *waiting != index);
        round.second[index] = quiet;
        self.quiet[index] = quiet;
        if !round.waiting.is_empty() {
            return false;
        }
        self.round.take().is_some_and(|round| is_stuck(&round.first, &round.second))
    }

    /// When something is to be done though nobody has said anything.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let limit = match (self.started, self.timeout, &self.outcome, self.is_doomed) {
            (Some(started), Some(timeout), None, false) => started.checked_add(timeout),
            _ => None,
        };
        self.give_up_at.into_iter().chain(limit).min()
    }

    /// Whether the job's time is over, and nothing was done about it.
    pub(super) fn has_timed_out(&self, now: Instant) -> bool {
        self.outcome.is_none() && !self.is_doomed && self.next_timeout().is_some_and(|at| at <= now)
    }

    /// How long it has run.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.started.map_or(Duration::ZERO, |started| now.saturating_duration_since(started))
    }

    pub(super) const fn has_started(&self) -> bool {
        self.started.is_some()
    }

    pub(super) const fn is_ending(&self) -> bool {
        self.outcome.is_some()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn has_part(&self, node: NodeId) -> bool {
        self.parts.iter().any(|part| part.node == node)
    }

    /// Whether no node is lost.
    pub(super) fn is_whole(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part.state, PartState::Lost))
    }

    /// The nodes whose parts have not ended.
    pub(super) fn active_nodes(&self) -> Vec<NodeId> {
        self.parts.iter().filter(|part| part.is_active()).map(|part| part.node).collect()
    }

    /// The states of all ranks, from what nodes have told; with the host of each.
    pub(super) fn complete(&self, mut told: Vec<RankState>) -> Vec<RankState> {
        told.retain(|state| self.place(state.rank).is_some());
        told.sort_by_key(|state| state.rank);
        told.dedup_by_key(|state| state.rank);
        for state in &mut told {
            let part = self.place(state.rank).and_then(|place| self.parts.get(place));
            state.host = part.map(|part| part.host.clone());
        }
        told
    }

    fn host(&self, place: u32) -> Arc<str> {
        self.parts[place as usize].host.clone()
    }

    fn index_of(&self, node: NodeId) -> Option<usize> {
        self.parts.iter().position(|part| part.node == node)
    }

    fn part_mut(&mut self, node: NodeId) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.node == node)
    }
}

impl Part {
    const fn is_active(&self) -> bool {
        self.is_present() && !matches!(self.state, PartState::Ended(_))
    }

    /// Whether ranks can come to its node.
    const fn takes_ranks(&self) -> bool {
        self.is_active() && !self.is_closing
    }

    /// Whether its node still takes part, though maybe all of its ranks have ended.
    pub(super) const fn is_present(&self) -> bool {
        !matches!(self.state, PartState::Departed(_) | PartState::Lost)
    }
}

/// What the end of a rank means for its job.
#[derive(Debug, PartialEq)]
pub(super) enum Exited {
    /// It was told before.
    Again,
    /// The others go on.
    InOrder,
    /// The others end as well.
    Dooms(Outcome),
}

/// A node spoke of a rank that is not its own.
#[derive(Debug, PartialEq)]
pub(super) struct ForeignRank;

/// How long nodes may take to end their ranks. Those give their computing ranks less.
const END_PATIENCE: Duration = Duration::from_millis(600);
