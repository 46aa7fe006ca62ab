//! Receiving what stayed on the sender's node until it was matched.
//!
//! A long message to another node only names its data. The receiver, once it has matched it, asks the
//! sender's node for the bytes; that node sends them without the sending rank's help, and tells the
//! rank when its buffer is free. Into a buffer without gaps this node writes what arrives by itself,
//! and one message at the end tells the receiving rank. Into any other buffer the rank unpacks the
//! pieces as they come, and asks for no more than it can hold.

use std::collections::{BTreeMap, VecDeque};

use faasm_mpi_engine::datatype;
use faasm_mpi_engine::error::{MpiError, Result};
use faasm_vm::GuestAddr;

use crate::ctx::{Arrived, Bytes, MpiCtx};
use crate::port::{MpiPort, Payload, PullRequest};
use crate::request::{Buffer, Completion};

/// Bytes that a receive with gaps in its buffer has asked for and not unpacked yet, at most.
pub(crate) const WINDOW_BYTES: u64 = 1024 * 1024;
/// Receives of one rank with gaps in their buffers that ask at the same time.
pub(crate) const UNPACKED_AT_ONCE_MAX: usize = 8;

/// The receives of one rank whose data is on its way.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    last_name: u32,
    pulls: BTreeMap<u32, Pull>,
    /// Receives that unpack: as many as may have asked, then those that wait for their turn.
    unpacked: VecDeque<u32>,
}

/// A receive whose data is on its way.
#[derive(Debug)]
struct Pull {
    /// The request that it completes.
    request: i32,
    buffer: Buffer,
    /// The sender's world rank and its node's name for the data.
    sender: u32,
    token: u64,
    /// Bytes that fit the buffer.
    taken: u64,
    /// Bytes asked for, and bytes unpacked.
    asked: u64,
    unpacked: u64,
    completion: Completion,
}

impl Pulls {
    /// The receives that have unpacked a turn's worth or were added go on.
    fn turns(&self) -> impl Iterator<Item = u32> {
        self.unpacked.iter().take(UNPACKED_AT_ONCE_MAX).copied()
    }

    /// Gives up what was to come from `sender`, which is out of reach; gives the requests.
    pub(crate) fn give_up(&mut self, sender: u32) -> Vec<i32> {
        let lost = self.pulls.extract_if(.., |_, pull| pull.sender == sender);
        let (names, requests): (Vec<u32>, Vec<i32>) =
            lost.map(|(name, pull)| (name, pull.request)).unzip();
        self.unpacked.retain(|name| !names.contains(name));
        requests
    }

    /// Forgets the receive of `request`: what still comes for it is dropped.
    pub(crate) fn forget(&mut self, request: i32) {
        if let Some(pull) = self.pulls.values_mut().find(|pull| pull.request == request) {
            pull.request = 0;
        }
    }
}

impl<P: MpiPort> MpiCtx<P> {
    /// Asks for the data of a matched message; the request `name` completes when it is there.
    pub(super) fn start_pull(&mut self, name: i32, buffer: Buffer, arrived: &Arrived) {
        let Payload::Remote { token, len } = arrived.payload else { return };
        let mut completion = self.outcome(&buffer, arrived);
        let place = self.place(&buffer, len);
        let (taken, run) = match place {
            Ok(place) => place,
            Err(error) => {
                completion.error = Some(error);
                (0, None)
            }
        };
        let sender = arrived.header.sender;
        if self.faults.is_active() && self.faults.known.is_unreachable(sender) {
            completion.error = self.faults.known.check_peer(u32::MAX, -1, sender).err();
            self.complete(name, completion);
            return;
        }
        self.pulls.last_name = self.pulls.last_name.wrapping_add(1);
        let pull_name = self.pulls.last_name;
        if run.is_some() || taken == 0 {
            let request = PullRequest {
                name: pull_name,
                sender,
                token,
                offset: 0,
                len: taken,
                is_last: true,
                into: run,
            };
            self.port.pull(&request);
        }
        if taken == 0 {
            self.complete(name, completion);
            return;
        }
        let asked = if run.is_some() { taken } else { 0 };
        let pull =
            Pull { request: name, buffer, sender, token, taken, asked, unpacked: 0, completion };
        self.pulls.pulls.insert(pull_name, pull);
        if run.is_none() {
            self.pulls.unpacked.push_back(pull_name);
            self.ask_for_more();
        }
    }

    /// How many bytes of a message of `len` bytes are taken, and where they go without gaps.
    fn place(&self, buffer: &Buffer, len: u64) -> Result<(u64, Option<u64>)> {
        let taken = len.min(buffer.bytes()?);
        let run = buffer.run();
        if let Some(addr) = run {
            let check = self.memory()?.check(GuestAddr::new(addr), taken);
            check.map_err(crate::ctx::fault("buf"))?;
        }
        Ok((taken, run))
    }

    /// News of the data asked for under `name`: the next piece, or that all of it is in its place.
    pub(super) fn pulled(&mut self, name: u32, payload: Payload) {
        let Some(mut pull) = self.pulls.pulls.remove(&name) else { return };
        if let Payload::Shared(piece) = payload {
            let memory = self.memory.as_ref();
            if let (Some(memory), None) = (memory, &pull.completion.error) {
                let into = Bytes(memory);
                let Buffer { addr, count, datatype } = &pull.buffer;
                let (done, piece) = (pull.unpacked, &piece[..]);
                let written = datatype::unpack_window(&into, *addr, *count, datatype, done, piece);
                pull.completion.error = written.err().map(MpiError::from);
            }
            pull.unpacked += piece.len() as u64;
            if pull.unpacked < pull.taken {
                self.pulls.pulls.insert(name, pull);
                self.ask_for_more();
                return;
            }
            self.pulls.unpacked.retain(|other| *other != name);
            self.ask_for_more();
        }
        self.complete(pull.request, pull.completion);
    }

    /// Asks for the next bytes of the receives whose turn it is.
    fn ask_for_more(&mut self) {
        let turns: Vec<u32> = self.pulls.turns().collect();
        for name in turns {
            let Some(pull) = self.pulls.pulls.get_mut(&name) else { continue };
            let room = WINDOW_BYTES - (pull.asked - pull.unpacked);
            let len = room.min(pull.taken - pull.asked);
            // Half a window at least, so that there are few requests.
            if len == 0 || (room < WINDOW_BYTES / 2 && len == room) {
                continue;
            }
            let offset = pull.asked;
            pull.asked += len;
            let is_last = pull.asked == pull.taken;
            let (sender, token) = (pull.sender, pull.token);
            let request = PullRequest { name, sender, token, offset, len, is_last, into: None };
            self.port.pull(&request);
        }
    }
}

#[cfg(test)]
#[path = "pull_tests.rs"]
pub(super) mod tests;
