//! The processes that calls of `MPI_Comm_spawn` want, until they are there or it is known that they cannot be.
//!
//! The nodes where they come are asked twice: whether they are able to have them, and, when all are and the processes have
//! numbers, to make them, so that nobody can miss a message. Only then they run. If one node is not able, or is lost
//! meanwhile, none of them does.
//!
//! Pure: what happens goes in, what is to be told to whom comes out.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::spawn::{Germ, Nest, SpawnAsk, SpawnOrder, Tribe};

/// Calls of one job that are served at the same time.
const CALLS_MAX: usize = 4096;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Nursery {
    births: BTreeMap<u32, Birth>,
    last: u32,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum NurseryEvent {
    /// Send this order to the part of a job with this index.
    Order { job: u32, part: usize, order: SpawnOrder },
    /// These processes run from now on.
    Born { job: u32, group: Vec<u32> },
}

/// The processes of one call.
#[derive(Debug)]
struct Birth {
    job: u32,
    /// Index of the part whose rank has called, and the name of the call there.
    asker: usize,
    call: u32,
    contexts: [u32; 2],
    parents: Vec<u32>,
    /// For each program the number of its processes on each part.
    counts: Vec<Vec<u32>>,
    /// Parts that have not answered.
    waiting: BTreeSet<usize>,
    /// Their numbers, once they have them.
    group: Option<Vec<u32>>,
}

impl Birth {
    /// Processes on a part.
    fn count(&self, part: usize) -> u32 {
        self.counts.iter().filter_map(|counts| counts.get(part)).sum()
    }

    /// Indices of the parts where they come.
    fn parts(&self) -> impl Iterator<Item = usize> {
        let parts = self.counts.iter().map(Vec::len).max().unwrap_or(0);
        (0..parts).filter(|part| self.count(*part) > 0)
    }

    /// For each process the number of its program and the index of its part, in rank order: those of a program that are on
    /// one node follow each other.
    fn members(&self) -> impl Iterator<Item = (u32, usize)> {
        (0..).zip(&self.counts).flat_map(|(app, counts)| {
            let one = move |(part, count): (usize, &u32)| {
                std::iter::repeat_n((app, part), *count as usize)
            };
            counts.iter().enumerate().flat_map(one)
        })
    }

    fn order(&self, part: usize, order: SpawnOrder) -> NurseryEvent {
        NurseryEvent::Order { job: self.job, part, order }
    }

    fn orders(&self, order: &SpawnOrder) -> Vec<NurseryEvent> {
        self.parts().map(|part| self.order(part, order.clone())).collect()
    }

    /// Its numbers; `number` gives as many of a part.
    fn give_numbers(
        &self,
        mut number: impl FnMut(usize, u32) -> Option<Vec<u32>>,
    ) -> Option<Vec<u32>> {
        let numbers = self.parts().map(|part| Some((part, number(part, self.count(part))?)));
        let numbers: BTreeMap<usize, Vec<u32>> = numbers.collect::<Option<_>>()?;
        let mut next: BTreeMap<usize, _> =
            numbers.into_iter().map(|(part, numbers)| (part, numbers.into_iter())).collect();
        self.members().map(|(_, part)| next.get_mut(&part)?.next()).collect()
    }
}

impl Nursery {
    /// A rank of the part with index `asker` wants processes, and so many of each program come to each part; there is at
    /// least one.
    ///
    /// # Errors
    /// They cannot come now, in words.
    pub(super) fn begin(
        &mut self,
        job: u32,
        (asker, ask): (usize, SpawnAsk),
        counts: Vec<Vec<u32>>,
    ) -> Result<Vec<NurseryEvent>, String> {
        if self.of(job).count() == CALLS_MAX {
            return Err(format!("more than {CALLS_MAX} calls spawn processes at the same time"));
        }
        self.last = self.last.wrapping_add(1);
        let SpawnAsk { call, contexts, parents, programs, .. } = ask;
        let (waiting, group) = Default::default();
        let mut birth = Birth { job, asker, call, contexts, parents, counts, waiting, group };
        birth.waiting = birth.parts().collect();
        let germs: Vec<Germ> = programs.into_iter().map(|wanted| wanted.germ).collect();
        let nest = |part: usize| {
            let all = (0..).zip(germs.iter().zip(&birth.counts));
            let here = all.map(|(app, (germ, counts))| (app, germ, counts[part]));
            let here = here.filter(|(_, _, count)| *count > 0);
            let programs = here.map(|(app, germ, count)| (app, germ.clone(), count)).collect();
            Nest { asker: (birth.asker as u32, birth.call), programs }
        };
        let prepare = |part| {
            let nest = Box::new(nest(part));
            birth.order(part, SpawnOrder::Prepare { birth: self.last, nest })
        };
        let events = birth.parts().map(prepare).collect();
        self.births.insert(self.last, birth);
        Ok(events)
    }

    /// A part has done what it was told, or cannot. `number` gives so many numbers of processes of a part, if there are as many.
    pub(super) fn handle_answer(
        &mut self,
        job: u32,
        (part, name): (usize, u32),
        answer: Result<(), String>,
        number: impl FnMut(usize, u32) -> Option<Vec<u32>>,
    ) -> Vec<NurseryEvent> {
        let Some(birth) = self.births.get_mut(&name).filter(|birth| birth.job == job) else {
            return Vec::new();
        };
        if !birth.waiting.remove(&part) {
            return Vec::new();
        }
        match answer {
            Err(why) => self.fail(name, None, &why),
            Ok(()) if !birth.waiting.is_empty() => Vec::new(),
            Ok(()) if birth.group.is_some() => self.end(name),
            Ok(()) => match birth.give_numbers(number) {
                Some(group) => self.settle(name, group),
                None => self.fail(name, None, "more processes than there can be"),
            },
        }
    }

    /// A part is over. What it was to have does not come anywhere.
    pub(super) fn handle_gone(&mut self, job: u32, part: usize, why: &str) -> Vec<NurseryEvent> {
        let is_there = |birth: &Birth| birth.asker == part || birth.count(part) > 0;
        let names: Vec<u32> =
            self.of(job).filter(|(_, birth)| is_there(birth)).map(|(name, _)| name).collect();
        names.into_iter().flat_map(|name| self.fail(name, Some(part), why)).collect()
    }

    /// A job ends, and whatever was to become of it.
    pub(super) fn forget(&mut self, job: u32) {
        self.births.retain(|_, birth| birth.job != job);
    }

    /// Whether processes of a job are on their way.
    pub(super) fn is_busy(&self, job: u32) -> bool {
        self.of(job).next().is_some()
    }

    /// Processes of a job that are on their way to a part.
    pub(super) fn count(&self, job: u32, part: usize) -> u32 {
        self.of(job).map(|(_, birth)| birth.count(part)).sum()
    }

    fn of(&self, job: u32) -> impl Iterator<Item = (u32, &Birth)> {
        let births = self.births.iter().map(|(name, birth)| (*name, birth));
        births.filter(move |(_, birth)| birth.job == job)
    }

    /// All are able: they get their numbers.
    fn settle(&mut self, name: u32, group: Vec<u32>) -> Vec<NurseryEvent> {
        let Some(birth) = self.births.get_mut(&name) else { return Vec::new() };
        let (contexts, parents) = (birth.contexts, birth.parents.clone());
        let apps = birth.members().map(|(app, _)| app).collect();
        let tribe = Box::new(Tribe { contexts, parents, group: group.clone(), apps });
        birth.group = Some(group);
        birth.waiting = birth.parts().collect();
        birth.orders(&SpawnOrder::Settle { birth: name, tribe })
    }

    /// All can be sent to: they run.
    fn end(&mut self, name: u32) -> Vec<NurseryEvent> {
        let Some(mut birth) = self.births.remove(&name) else { return Vec::new() };
        let (job, call) = (birth.job, birth.call);
        let group = birth.group.take().unwrap_or_default();
        let mut events = vec![NurseryEvent::Born { job, group: group.clone() }];
        events.extend(birth.orders(&SpawnOrder::Begin { birth: name }));
        events.push(birth.order(birth.asker, SpawnOrder::Done { call, group }));
        events
    }

    /// None of them comes; the part `gone` is told nothing.
    fn fail(&mut self, name: u32, gone: Option<usize>, why: &str) -> Vec<NurseryEvent> {
        let Some(birth) = self.births.remove(&name) else { return Vec::new() };
        let mut events = birth.orders(&SpawnOrder::Drop { birth: name });
        let failed = SpawnOrder::Failed { call: birth.call, why: why.to_owned() };
        events.push(birth.order(birth.asker, failed));
        let is_told = |event: &NurseryEvent| !matches!(event, NurseryEvent::Order { part, .. } if Some(*part) == gone);
        events.retain(is_told);
        events
    }
}

#[cfg(test)]
#[path = "nursery_tests.rs"]
mod tests;
