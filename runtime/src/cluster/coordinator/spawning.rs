//! Processes that are spawned: where they come, and what has to be told to whom until they are there.

use std::time::Instant;

use faasm_mpi_engine::dynamic::HostShare;
use faasm_transport::NodeId;

use super::core::{Command, Core};
use super::nursery::NurseryEvent;
use crate::cluster::message::ToNode;
use crate::cluster::placement::spawned::{Room, Wish, spread};
use crate::cluster::spawn::{SpawnAsk, SpawnNews, SpawnOrder, Wanted};
use crate::job::MAX_RANKS;

impl Core {
    /// A node has said something about processes that are spawned.
    pub(super) fn spawn_told(&mut self, from: NodeId, number: u32, news: SpawnNews, now: Instant) {
        let Some(job) = self.jobs.get(&number).filter(|job| job.has_started()) else { return };
        let Some(part) = job.parts().iter().position(|part| part.node == from) else { return };
        match news {
            // Programs are the driver's.
            SpawnNews::Offer(_) => {}
            SpawnNews::Ask(ask) => self.asked((from, part), number, *ask, now),
            SpawnNews::Able { birth } => self.answered_birth(number, (part, birth), Ok(())),
            SpawnNews::Unable { birth, why } => {
                let why = format!("{}: {why}", job.parts()[part].host);
                self.answered_birth(number, (part, birth), Err(why));
            }
        }
    }

    /// What was to come to a node of a job does not come anywhere, and nobody waits for it there.
    pub(super) fn abort_births(&mut self, number: u32, node: NodeId, why: &str) {
        let Some(job) = self.jobs.get(&number) else { return };
        let mut parts = job.parts().iter().enumerate();
        let Some((part, about)) = parts.find(|(_, part)| part.node == node) else { return };
        let why = format!("{}: {why}", about.host);
        let events = self.nursery.handle_gone(number, part, &why);
        self.carry_births(events);
    }

    /// Ends the part of a draining node where nobody lives any more, and nobody will.
    pub(super) fn close_if_idle(&mut self, number: u32, node: NodeId) {
        let is_draining = self.nodes().get(&node).is_some_and(|member| member.draining);
        let Some(job) = self.jobs.get_mut(&number).filter(|_| is_draining) else { return };
        let part = job.parts().iter().position(|part| part.node == node);
        let is_expected = part.is_some_and(|part| self.nursery.count(number, part) > 0);
        if !is_expected && job.close(node) {
            self.send(node, ToNode::End { job: number });
        }
    }

    /// A rank of this node wants processes.
    fn asked(&mut self, (from, part): (NodeId, usize), number: u32, ask: SpawnAsk, now: Instant) {
        let Some(job) = self.jobs.get(&number) else { return };
        let is_known = ask.parents.iter().all(|parent| job.knows(*parent));
        let wrong = ask.check().err().or((!is_known).then_some("parents that nobody knows"));
        if let Some(wrong) = wrong {
            let why = format!("it asked for processes in a way that breaks the rules: {wrong}");
            self.lose(from, &why, now);
            return self.commands.push_back(Command::Forget { node: from, why: Some(why) });
        }
        if job.is_ending() {
            return;
        }
        let call = ask.call;
        let begun = self.place_births((number, part), &ask);
        let begun = begun.and_then(|counts| self.nursery.begin(number, (part, ask), counts));
        match begun {
            Ok(events) => self.carry_births(events),
            Err(why) => {
                let order = SpawnOrder::Failed { call, why };
                self.send(from, ToNode::Spawn { job: number, order });
            }
        }
    }

    /// For each program of a call of a rank of this part, how many of its processes come to which part.
    fn place_births(
        &self,
        (number, part): (u32, usize),
        ask: &SpawnAsk,
    ) -> Result<Vec<Vec<u32>>, String> {
        let Some(job) = self.jobs.get(&number).filter(|job| job.spawns()) else {
            return Err("the programs that the job began with do not spawn processes".to_owned());
        };
        let wishes: Vec<Wish> = ask.programs.iter().map(wish).collect();
        let here = [&*job.parts()[part].host, &*ask.here];
        spread(&wishes, self.rooms(number), &here)
    }

    /// Room for processes of a job on its nodes.
    fn rooms(&self, number: u32) -> Vec<Room> {
        let Some(job) = self.jobs.get(&number) else { return Vec::new() };
        let room = |(place, part): (usize, &super::spread::Part)| {
            let (node, coming) = (part.node, self.nursery.count(number, place));
            let living = |job: &super::spread::SpreadJob| job.running_on(node).len() as u64;
            let used = self.jobs.values().map(living).sum::<u64>() + u64::from(coming);
            let here = living(job) + u64::from(coming);
            let left = job.has_room_for(place).saturating_sub(coming as usize);
            let member = self.nodes().get(&node).filter(|member| !member.draining);
            let weight = member.map_or(1, |member| {
                let slots = job.slots(node).or(member.info.slots);
                slots.unwrap_or(member.info.workers).max(1)
            });
            let free = u64::from(MAX_RANKS).saturating_sub(here).min(left as u64);
            let free = if member.is_some() { free as u32 } else { 0 };
            Room { host: part.host.to_string(), used, weight: u64::from(weight), free }
        };
        job.parts().iter().enumerate().map(room).collect()
    }

    fn answered_birth(&mut self, number: u32, whose: (usize, u32), answer: Result<(), String>) {
        let Some(job) = self.jobs.get_mut(&number).filter(|job| !job.is_ending()) else { return };
        let numbers = |part, count| job.number(part, count);
        let events = self.nursery.handle_answer(number, whose, answer, numbers);
        self.carry_births(events);
    }

    fn carry_births(&mut self, events: Vec<NurseryEvent>) {
        for event in events {
            match event {
                NurseryEvent::Born { job, group } => {
                    if let Some(job) = self.jobs.get_mut(&job) {
                        job.begin_all(&group);
                    }
                }
                NurseryEvent::Order { job, part, order } => {
                    let node =
                        self.jobs.get(&job).and_then(|job| Some(job.parts().get(part)?.node));
                    if let Some(node) = node.filter(|node| self.nodes().contains_key(node)) {
                        self.send(node, ToNode::Spawn { job, order });
                    }
                }
            }
        }
    }
}

fn wish(wanted: &Wanted) -> Wish {
    let share =
        |(name, slots): &(String, Option<u32>)| HostShare { name: name.clone(), slots: *slots };
    let hosts = wanted.hosts.as_ref().map(|hosts| hosts.iter().map(share).collect());
    Wish { processes: wanted.processes, hosts }
}

#[cfg(test)]
#[path = "spawning_tests.rs"]
mod tests;
