//! Sending a rank of this node to another one: its memory while it still runs here, and again what it writes meanwhile,
//! and the rest of it when it has stopped. What is sent is drawn in [`arrival`](super::arrival).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use faasm_transport::config::FRAME_PAYLOAD_BYTES_MAX;
use faasm_transport::{Envelope, Lane};
use faasm_vm::snapshot::{Tracker, TrackerKind, content};
use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::{Condvar, Mutex};

use super::arrival::{BLOCK, BLOCK_BYTES, END, IMAGE, SIZE, ZERO};
use super::shared::JobShared;
use crate::checkpoint::Deposit;

/// Bytes on their way beyond which nothing more is read.
const BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Between two looks at whether there is room on the links.
const LOOK_INTERVAL: Duration = Duration::from_micros(50);
/// After so many bytes of a rank that runs it is rested for as long as they took: ranks need the links and a processor, too.
const PACED_BYTES: u64 = 1 << 20;
/// Longest such rest.
const REST_MAX: Duration = Duration::from_millis(20);

/// A rank on its way to another node.
#[derive(Debug)]
pub(crate) struct Courier {
    job: Arc<JobShared>,
    rank: u32,
    node: u32,
    number: u32,
    memory: GuestMemory,
    /// Finds what the rank writes while it runs; none for one that has stopped.
    tracker: Option<Tracker>,
    /// Since it is followed it has had pages that others share.
    is_blind: bool,
    /// All below has been sent once or is to be, but for what was zero.
    reached: u64,
    /// What of that is to be sent, maybe again.
    written: Vec<Range<u64>>,
    /// What the other node was told of the memory's size.
    told_bytes: u64,
    hasher: blake3::Hasher,
    blocks: u64,
    /// How often moves had ended when this one began.
    ended: u64,
}

/// A round of sending what a rank has written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Round {
    /// Bytes that were to be sent.
    pub(crate) bytes: u64,
    /// Whether all were.
    pub(crate) is_whole: bool,
}

impl Courier {
    /// For rank `rank` of this node, with this memory, to node `node` in move `number`; moves have ended `ended` times.
    pub(crate) fn new(
        job: Arc<JobShared>,
        (rank, memory): (u32, GuestMemory),
        (node, number): (u32, u32),
        ended: u64,
    ) -> Self {
        Self {
            job,
            rank,
            node,
            number,
            memory,
            tracker: None,
            is_blind: false,
            reached: 0,
            written: Vec::new(),
            told_bytes: 0,
            hasher: blake3::Hasher::new(),
            blocks: 0,
            ended,
        }
    }

    /// Whether it takes this rank to that node.
    pub(crate) const fn is_for(&self, rank: u32, node: u32) -> bool {
        self.rank == rank && self.node == node
    }

    /// The rank runs: waits until there is a memory for it on the other node, and notes from now on what it writes.
    ///
    /// # Errors
    /// This machine cannot tell what is written, or the other node has no room.
    pub(crate) fn follow(&mut self, deadline: Instant) -> Result<(), String> {
        if self.memory.has_shared() {
            return Err("other ranks write to its memory, too (MPI_Win_allocate_shared)".to_owned());
        }
        let tracker = Tracker::with(&self.memory, TrackerKind::WriteProtection);
        let tracker = tracker.map_err(|error| format!("written pages cannot be found: {error}"))?;
        self.tracker = Some(tracker);
        self.await_welcome(0, deadline)?;
        self.tell_size();
        self.begin();
        self.await_welcome(self.told_bytes, deadline)
    }

    /// Sends what the rank, which runs, has written since the last time, at half of the speed that would be
    /// possible; ends early when it is to `hurry`, and the rest is kept.
    ///
    /// # Errors
    /// The move was given up, or takes too long.
    pub(crate) fn round(&mut self, hurry: &Hurry, deadline: Instant) -> Result<Round, String> {
        self.check()?;
        self.find_written()?;
        self.tell_size();
        let bytes = self.left_bytes();
        let mut pace = Pace { since: Instant::now(), bytes: 0 };
        while let Some(sent) = self.send_next(deadline)? {
            if hurry.is_on() {
                return Ok(Round { bytes, is_whole: false });
            }
            pace.keep(sent, hurry);
        }
        Ok(Round { bytes, is_whole: true })
    }

    /// Sends all that is left of the rank, which has stopped; gives the bytes of memory among that.
    ///
    /// # Errors
    /// The move was given up, or it takes too long.
    pub(crate) fn finish(&mut self, deposit: &Deposit, deadline: Instant) -> Result<u64, String> {
        if self.tracker.is_none() {
            self.await_welcome(0, deadline)?;
        }
        self.find_written()?;
        self.tell_size();
        if self.tracker.is_none() {
            self.begin();
        }
        self.send_image(deposit, deadline)?;
        let bytes = self.left_bytes();
        while self.send_next(deadline)?.is_some() {}
        let hash = Bytes::copy_from_slice(self.hasher.finalize().as_bytes());
        self.send(Envelope { kind: END, len: self.blocks, ..Envelope::default() }, hash);
        Ok(bytes)
    }

    /// Whether what has been sent so far is of use to nobody any more.
    fn check(&self) -> Result<(), String> {
        match self.job.moves_ended() == self.ended && !self.job.is_ending() {
            true => Ok(()),
            false => Err("the move was given up".to_owned()),
        }
    }

    fn await_welcome(&self, bytes: u64, deadline: Instant) -> Result<(), String> {
        let whom = (self.rank, self.number);
        self.job.moving().await_welcome(whom, bytes, (self.ended, deadline))
    }

    fn find_written(&mut self) -> Result<(), String> {
        let Some(tracker) = &mut self.tracker else { return Ok(()) };
        self.is_blind |= self.memory.has_shared();
        if self.is_blind {
            // Nothing tells what others have written.
            self.written = self.below(content(&self.memory));
            return Ok(());
        }
        let written = tracker.written().map_err(|error| error.to_string())?;
        // What lies beyond is sent for the first time later on.
        let written = self.below(written);
        self.written.extend(written);
        Ok(())
    }

    /// All that may not be zero is to be sent. From now on it is known what is written.
    fn begin(&mut self) {
        self.reached = self.told_bytes;
        self.written = self.below(content(&self.memory));
    }

    /// What of these ranges lies below what was reached.
    fn below(&self, ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
        let below = ranges.into_iter().map(|range| range.start..range.end.min(self.reached));
        below.filter(|range| !range.is_empty()).collect()
    }

    /// The size of the rank's memory. One of threads has all that it may ask for from the start.
    fn memory_bytes(&self) -> u64 {
        let threads = self.job.rank(self.rank).threads();
        threads.map_or(self.memory.len(), |threads| threads.memory_bytes())
    }

    fn left_bytes(&self) -> u64 {
        let again: u64 = self.written.iter().map(|range| range.end - range.start).sum();
        again + (self.memory_bytes() - self.reached)
    }

    /// Sends the next piece of memory; its bytes, `None` when nothing is left.
    fn send_next(&mut self, deadline: Instant) -> Result<Option<u64>, String> {
        let (at, bytes, is_new) = match self.written.pop() {
            Some(range) => {
                let bytes = (range.end - range.start).min(BLOCK_BYTES);
                if range.start + bytes < range.end {
                    self.written.push(range.start + bytes..range.end);
                }
                (range.start, bytes, false)
            }
            // It may have grown; the size that was told bounds what may be sent.
            None if self.reached < self.told_bytes => {
                let at = self.reached;
                let bytes = BLOCK_BYTES.min(self.told_bytes - at);
                self.reached += bytes;
                (at, bytes, true)
            }
            None => return Ok(None),
        };
        let block = self.memory.read_vec(GuestAddr::new(at), bytes);
        let block = block.map_err(|fault| fault.to_string())?;
        let (addr, is_zero) = (at, is_zero(&block));
        if is_zero && is_new {
            return Ok(Some(0));
        }
        self.await_room(deadline)?;
        self.blocks += 1;
        self.hasher.update(&addr.to_le_bytes());
        if is_zero {
            self.hasher.update(&bytes.to_le_bytes());
            let about = Envelope { kind: ZERO, addr, len: bytes, ..Envelope::default() };
            self.send(about, Bytes::new());
            return Ok(Some(0));
        }
        self.hasher.update(&block);
        self.send(Envelope { kind: BLOCK, addr, ..Envelope::default() }, block.into());
        Ok(Some(bytes))
    }

    fn send_image(&mut self, deposit: &Deposit, deadline: Instant) -> Result<(), String> {
        let image = postcard::to_stdvec(&deposit.image).map_err(|error| error.to_string())?;
        let mut image = Bytes::from(image);
        let (len, mut addr) = (image.len() as u64, 0);
        while !image.is_empty() {
            self.await_room(deadline)?;
            let piece = image.split_to(image.len().min(FRAME_PAYLOAD_BYTES_MAX));
            self.hasher.update(&piece);
            let about = Envelope { kind: IMAGE, addr, len, ..Envelope::default() };
            addr += piece.len() as u64;
            self.send(about, piece);
        }
        Ok(())
    }

    fn tell_size(&mut self) {
        let len = self.memory_bytes();
        if len > self.told_bytes {
            self.told_bytes = len;
            self.send(Envelope { kind: SIZE, len, ..Envelope::default() }, Bytes::new());
        }
    }

    fn send(&self, about: Envelope, payload: Bytes) {
        let Some(far) = self.job.far() else { return };
        let about = Envelope { to: self.rank, request: self.number, ..about };
        far.links.send_moved(self.node, about, payload);
    }

    fn await_room(&self, deadline: Instant) -> Result<(), String> {
        let far = self.job.far().ok_or("there is no other node")?;
        self.check()?;
        while far.links.backlog_bytes(self.node, Lane::Bulk) > BACKLOG_BYTES_MAX {
            self.check()?;
            if Instant::now() > deadline {
                return Err("the node that it is to go to takes nothing".to_owned());
            }
            if !far.links.endpoint().poll() {
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(())
    }
}

/// Rests now and then.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn keep(&mut self, sent: u64, hurry: &Hurry) {
        self.bytes += sent;
        if self.bytes >= PACED_BYTES {
            hurry.rest(self.since.elapsed().min(REST_MAX));
            *self = Self { since: Instant::now(), bytes: 0 };
        }
    }
}

/// Tells who sends at leisure that it is time to end.
#[derive(Debug, Default)]
pub(crate) struct Hurry {
    is_on: Mutex<bool>,
    has_come: Condvar,
}

impl Hurry {
    /// It is time.
    pub(crate) fn begin(&self) {
        *self.is_on.lock() = true;
        self.has_come.notify_all();
    }

    /// Whether it is.
    pub(crate) fn is_on(&self) -> bool {
        *self.is_on.lock()
    }

    /// Rests for so long, or until it is.
    pub(crate) fn rest(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut is_on = self.is_on.lock();
        while !*is_on && !self.has_come.wait_until(&mut is_on, deadline).timed_out() {}
    }
}

impl JobShared {
    /// A number that changes when the moves that go on now have ended.
    pub(crate) fn moves_ended(&self) -> u64 {
        self.moving().ended()
    }
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
