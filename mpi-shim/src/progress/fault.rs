//! Failures, revocations and decisions: what a rank does when it hears of them (ULFM).

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::fault::{Decision, Proposal, Topic};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use crate::abi::{self, Status};
use crate::communicator::Communicator;
use crate::ctx::{MpiCtx, OtherEntry};
use crate::fault::{Agreed, Agreement, Inherited};
use crate::port::{Header, Kind, MpiPort, Payload};
use crate::request::{Completion, Operation, Request, State};

impl<P: MpiPort> MpiCtx<P> {
    /// A process has failed; with `is_lost` its whole node has.
    #[cold]
    pub(super) fn mourn(&mut self, rank: u32, is_lost: bool) {
        let node = self.port.world().node(rank);
        let is_lost = is_lost || self.check_node(node).is_err();
        let is_news = self.faults.known.learn_failure(rank, is_lost);
        if is_lost {
            self.give_up_node(node);
        }
        if !is_news {
            return;
        }
        for context in self.faults.known.revoked_by(rank) {
            self.tell_revocation(context);
        }
        self.settle_all();
    }

    /// A node is lost, and with it the memories of those that had failed there before.
    fn give_up_node(&mut self, node: u32) {
        let world = self.port.world().clone();
        let known = |rank: &u32| self.faults.known.has_failed(*rank) && world.node(*rank) == node;
        let there: Vec<u32> = world.failures().into_iter().filter(known).collect();
        for rank in there {
            self.faults.known.learn_failure(rank, true);
            self.give_up_data_of(rank);
        }
    }

    /// Nothing comes any more of what a process has announced or was asked for.
    fn give_up_data_of(&mut self, rank: u32) {
        for request in self.pulls.give_up(rank) {
            let error = self.faults.known.check_peer(u32::MAX, -1, rank).err();
            self.complete(request, Completion { status: Status::EMPTY, error });
        }
        for context in self.far_ops.give_up(rank) {
            if let Err(error) = self.check_reach(rank) {
                self.far_ops.fail(context, error);
            }
        }
    }

    /// The process `by` says that a communicator is revoked.
    #[cold]
    pub(super) fn hear_revocation(&mut self, context: u32, by: u32) {
        if self.faults.known.learn_revocation(context, by) {
            self.settle_all();
        }
    }

    /// Revokes a communicator.
    pub(crate) fn revoke(&mut self, context: u32) {
        let own = self.port.rank();
        if self.faults.known.learn_revocation(context, own) {
            self.tell_revocation(context);
            self.settle_all();
        }
    }

    /// Revokes a communicator that `everyone` was to have, and some may never get.
    pub(crate) fn revoke_unborn(&mut self, context: u32, everyone: &Group) {
        self.faults.known.learn_revocation(context, self.port.rank());
        self.tell_all(context, everyone);
    }

    /// Tells the other members of the communicator with this context, if it is still here.
    fn tell_revocation(&mut self, context: u32) {
        let others = self.comms.iter().map(|(_, comm)| comm);
        let found = std::iter::once(&self.comm_world).chain(others).find(|c| c.context == context);
        if let Some(everyone) = found.map(|comm| comm.everyone().clone()) {
            self.tell_all(context, &everyone);
        }
    }

    fn tell_all(&mut self, context: u32, everyone: &Group) {
        let own = self.port.rank();
        let header =
            Header { kind: Kind::Revoked, context, source: 0, tag: 0, sender: own, request: 0 };
        for rank in everyone.iter().filter(|rank| *rank != own) {
            if !self.faults.known.has_failed(rank) {
                self.port.send(rank, header, &[]);
            }
        }
    }

    /// Ends everything under way that can never end by itself.
    fn settle_all(&mut self) {
        let active = |(_, request): &(i32, &Request)| matches!(request.state, State::Active);
        let handles: Vec<i32> =
            self.requests.iter().filter(active).map(|(handle, _)| handle).collect();
        for handle in handles {
            self.settle(handle);
        }
        let underway = std::mem::take(&mut self.underway);
        for one in &underway {
            self.break_off(one.handle, &one.appointment);
        }
        self.underway = underway;
    }

    /// Ends the request `handle` if it is active and can never end by itself.
    pub(crate) fn settle(&mut self, handle: i32) {
        let Some(request) = self.requests.get(handle) else { return };
        if request.is_done() {
            return;
        }
        let (context, peer, known) = (request.context, request.peer, &self.faults.known);
        let refused = match &request.operation {
            Operation::Send { dest: abi::MPI_PROC_NULL, .. }
            | Operation::Receive { source: abi::MPI_PROC_NULL } => Ok(()),
            Operation::Receive { source: abi::MPI_ANY_SOURCE } => known.check_context(context),
            Operation::Send { dest: rank, .. } | Operation::Receive { source: rank } => {
                known.check_peer(context, *rank, peer)
            }
            Operation::Partitioned(partitioned) if partitioned.peer != abi::MPI_PROC_NULL => {
                known.check_peer(context, partitioned.peer, peer)
            }
            Operation::Collective(_)
            | Operation::Generalized(_)
            | Operation::Partitioned(_)
            | Operation::Agreement(_) => Ok(()),
        };
        let Err(error) = refused else { return };
        match &request.operation {
            // One that is not posted any more has got its message, and that is on its way.
            Operation::Receive { .. } if !self.matching.cancel(handle.cast_unsigned()) => return,
            Operation::Partitioned(_) => self.give_up_partitions(handle),
            _ => {}
        }
        self.complete(handle, Completion { status: Status::EMPTY, error: Some(error) });
    }

    /// Breaks off a collective that not all members can complete.
    fn break_off(&self, handle: i32, appointment: &crate::appointment::Appointment) {
        let Some(request) = self.requests.get(handle) else { return };
        let Operation::Collective(collective) = &request.operation else { return };
        let known = &self.faults.known;
        let Err(error) = known.check_all(request.context, &collective.group) else { return };
        let has_failed = |seat| {
            let rank = collective.site.world_rank(seat, &collective.group);
            rank.is_some_and(|rank| known.has_failed(rank))
        };
        if let Some((context, meeting)) = appointment.break_off(&error, has_failed) {
            self.port.world().end_parts(context, meeting);
        }
    }

    /// Refuses collectives of `comm` that can never complete.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED` and `MPIX_ERR_REVOKED`.
    #[inline]
    pub(crate) fn check_members(&mut self, comm: i32) -> Result<()> {
        if !self.faults.is_active() {
            return Ok(());
        }
        let communicator = self.comm(comm)?;
        let (context, everyone) = (communicator.context, communicator.everyone().clone());
        self.faults.known.check_all(context, &everyone)
    }

    /// Refuses operations with a process that has this rank in `comm`.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED` and `MPIX_ERR_REVOKED`.
    #[inline]
    pub(crate) fn check_peer(&self, context: u32, rank: i32, world_rank: u32) -> Result<()> {
        if !self.faults.is_active() || rank == abi::MPI_PROC_NULL {
            return Ok(());
        }
        self.faults.known.check_peer(context, rank, world_rank)
    }

    /// Refuses to wait for the members of `group`, of whom one has failed.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED` and `MPIX_ERR_REVOKED`.
    pub(crate) fn check_group(&self, context: u32, group: &Group) -> Result<()> {
        if self.faults.is_active() { self.faults.known.check_all(context, group) } else { Ok(()) }
    }

    /// Refuses to wait for a process, which is known by its number in the job.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED`.
    pub(crate) fn check_process(&self, process: u32) -> Result<()> {
        if !self.faults.is_active() || !self.faults.known.has_failed(process) {
            return Ok(());
        }
        let detail = format!("process {process} of the job has failed, which the call waits for");
        Err(MpiError::new(ErrorClass::ProcFailed, detail))
    }

    /// Refuses to ask a node that is lost.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED`.
    pub(crate) fn check_node(&self, node: u32) -> Result<()> {
        let world = self.port.world();
        let lost = |rank: &u32| world.node(*rank) == node;
        self.faults.known.unreachable().find(lost).map_or(Ok(()), |rank| self.check_reach(rank))
    }

    /// Refuses to ask the node of a rank that is lost with it.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED`.
    pub(crate) fn check_reach(&self, rank: u32) -> Result<()> {
        if !self.faults.is_active() || !self.faults.known.is_unreachable(rank) {
            return Ok(());
        }
        let detail = format!("world rank {rank} has failed with its whole node");
        Err(MpiError::new(ErrorClass::ProcFailed, detail))
    }

    /// Refuses to wait for a message from `source` in `comm` that may never come.
    ///
    /// # Errors
    /// `MPIX_ERR_PROC_FAILED` and `MPIX_ERR_REVOKED`.
    pub(crate) fn check_source(&mut self, comm: i32, source: i32) -> Result<()> {
        if !self.faults.is_active() || source == abi::MPI_PROC_NULL {
            return Ok(());
        }
        let communicator = self.comm(comm)?;
        let (context, acked) = (communicator.context, communicator.acked);
        let (everyone, peers) = (communicator.everyone().clone(), communicator.peers().clone());
        let known = &self.faults.known;
        match usize::try_from(source).ok().and_then(|rank| peers.world_rank(rank)) {
            Some(peer) => known.check_peer(context, source, peer),
            None => known.check_any(context, (&everyone, &peers), acked).map_err(for_good),
        }
    }

    /// Why the active receive `handle`, which takes messages of any source, may wait for ever.
    pub(crate) fn why_pending(&self, handle: i32) -> Option<MpiError> {
        if !self.faults.is_active() {
            return None;
        }
        let request = self.requests.get(handle)?;
        let from_any =
            matches!(request.operation, Operation::Receive { source: abi::MPI_ANY_SOURCE });
        if !from_any || request.is_done() || !self.matching.is_posted(handle.cast_unsigned()) {
            return None;
        }
        let comm = match request.comm {
            abi::MPI_COMM_WORLD => &self.comm_world,
            abi::MPI_COMM_SELF => &self.comm_self,
            comm => self.comms.get(comm)?,
        };
        let members = (comm.everyone(), comm.peers());
        self.faults.known.check_any(request.context, members, comm.acked).err()
    }

    /// Takes part in an agreement of the members of `comm`; gives the request.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when requests or contexts are used up.
    pub(crate) fn propose(&mut self, comm: i32, flag: u32, result: Agreed) -> Result<i32> {
        self.comm_mut(comm)?.agreements += 1;
        let communicator = match comm {
            abi::MPI_COMM_WORLD => &self.comm_world,
            abi::MPI_COMM_SELF => &self.comm_self,
            comm => self.comms.get(comm).ok_or_else(unexplained)?,
        };
        let topic = Topic { context: communicator.context, number: communicator.agreements };
        let members = communicator.everyone().clone();
        let position = communicator.between.as_ref().map(|between| between.position);
        let low = position.map(|position| position.low);
        let is_high = position.is_some_and(|position| position.number >= position.low);
        let flags = match (position.is_some(), is_high) {
            (false, _) => [flag; 2],
            (true, false) => [u32::MAX, flag],
            (true, true) => [flag, u32::MAX],
        };
        let Communicator { errhandler, session, shares, .. } = *communicator;
        let inherited = Inherited { errhandler, session, shares };
        let is_spread = communicator.site.elsewhere().is_some();
        // Those that the program has acknowledged come first.
        let failed: Vec<u32> = self.faults.known.failed_of(&members).collect();
        let acked = communicator.acked as u32;
        let context = match result {
            Agreed::Communicator(_) => self.port.world().new_context()?,
            Agreed::Flag(_) | Agreed::Nothing => 0,
        };
        let proposal = Proposal { flags, context, failed, acked };
        let group = usize::from(is_high);
        let agreement =
            Agreement { topic, result, members: members.clone(), low, group, inherited };
        let handle = self.requests.insert(Request::agreement(agreement, comm));
        let handle = handle.ok_or_else(crate::request::too_many)?;
        self.faults.debates.push((topic, handle));
        if members.len() == 1 {
            let decision = Decision { flags, context, is_news: false, failed: Vec::new() };
            self.decided(topic, &decision);
        } else {
            let members: Vec<u32> = members.iter().collect();
            self.port.propose(topic, &members, is_spread, proposal);
        }
        Ok(handle)
    }

    /// A decision has come, as bytes of a message.
    #[cold]
    pub(super) fn hear_decision(&mut self, header: &Header, payload: &Payload) {
        let topic = Topic { context: header.context, number: header.request };
        match Decision::from_bytes(payload.bytes()) {
            Some(decision) => self.decided(topic, &decision),
            None => debug_assert!(false, "the rank's own node sends whole decisions"),
        }
    }

    fn decided(&mut self, topic: Topic, decision: &Decision) {
        for rank in &decision.failed {
            self.mourn(*rank, false);
        }
        let Some(index) = self.faults.debates.iter().position(|(open, _)| *open == topic) else {
            return;
        };
        let (_, handle) = self.faults.debates.swap_remove(index);
        let error = match self.requests.get(handle).map(|request| &request.operation) {
            Some(Operation::Agreement(agreement)) => {
                let agreement = agreement.clone();
                self.carry_out(&agreement, decision).err()
            }
            _ => None,
        };
        self.complete(handle, Completion { status: Status::EMPTY, error });
    }

    /// Does what was agreed on.
    fn carry_out(&mut self, agreement: &Agreement, decision: &Decision) -> Result<()> {
        match agreement.result {
            Agreed::Nothing => Ok(()),
            Agreed::Flag(addr) => {
                self.write_word("flag", addr, decision.flags[agreement.group])?;
                if !decision.is_news {
                    return Ok(());
                }
                let members = &agreement.members;
                self.faults.known.check_all(u32::MAX, members).and_then(|()| Err(unexplained()))
            }
            Agreed::Communicator(addr) => {
                let new = self.of_the_living(agreement, decision)?;
                new.bind(self.port.world());
                let errhandler = new.errhandler;
                let handle = self.comms.insert(new).ok_or_else(|| {
                    MpiError::new(ErrorClass::NoMem, "a million communicators are alive; free some")
                })?;
                if let Some(OtherEntry::Errhandler { users, .. }) = self.others.get_mut(errhandler)
                {
                    *users += 1;
                }
                self.write_word("newcomm", addr, handle.cast_unsigned())
            }
        }
    }

    /// The communicator of the members that have not failed.
    fn of_the_living(&self, agreement: &Agreement, decision: &Decision) -> Result<Communicator> {
        let lives = |rank: &u32| !decision.failed.contains(rank);
        let living: Vec<u32> = agreement.members.iter().filter(lives).collect();
        let own = living.iter().position(|rank| *rank == self.port.rank());
        let own = own.ok_or_else(|| {
            let detail = "the other members take this process for failed";
            MpiError::new(ErrorClass::ProcFailed, detail)
        })? as u32;
        let site = self.port.world().gather_site(decision.context, &living);
        let low = agreement.low.map(|low| {
            let low = agreement.members.iter().take(low as usize);
            low.filter(lives).count() as u32
        });
        let Inherited { errhandler, session, shares } = agreement.inherited;
        let size = living.len() as u32;
        let group = Group::new(living)?;
        let new = match low {
            None => Communicator::new(decision.context, group, own, site, errhandler),
            Some(low) if low == 0 || low == size => {
                let detail = "no process of one of the two groups is left";
                return Err(MpiError::new(ErrorClass::ProcFailed, detail));
            }
            Some(low) => {
                Communicator::between(decision.context, (group, low), own, site, errhandler)?
            }
        };
        Ok(Communicator { session, shares, ..new })
    }

    fn write_word(&self, argument: &'static str, addr: u64, value: u32) -> Result<()> {
        let written = self.memory()?.write(GuestAddr::new(addr), &value.to_le_bytes());
        written.map_err(|fault| MpiError::argument(ErrorClass::Arg, argument, fault.to_string()))
    }
}

/// The error of a call that waits itself and ends with it.
pub(crate) fn for_good(error: MpiError) -> MpiError {
    match error.class {
        ErrorClass::ProcFailedPending => MpiError { class: ErrorClass::ProcFailed, ..error },
        _ => error,
    }
}

fn unexplained() -> MpiError {
    MpiError::new(ErrorClass::ProcFailed, "a member has failed")
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
