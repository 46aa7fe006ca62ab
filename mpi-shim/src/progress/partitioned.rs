//! Partitioned operations (MPI-5.0 chapter 4).
//!
//! A sender introduces itself when it is made: a message of its own kind tells the number of its
//! partitions, their bytes, and the tags that they travel with. Introductions are taken in the order in
//! which receivers with the same envelope were made, which is how the standard matches the two. From then
//! on each partition is a message with a tag that no other message of the sender has. Their tags are
//! negative, and no receive of a program accepts those.
//!
//! The borders of the sender's partitions may lie anywhere in the receiver's elements: such a partition is received as one
//! element of a type that describes just its bytes.

use faasm_mpi_engine::datatype::Predefined;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::matching::Pattern;

use crate::abi::{self, Status};
use crate::ctx::MpiCtx;
use crate::port::{Header, Kind, MpiPort};
use crate::request::{
    Buffer, Completion, Operation, Partitioned, Request, SendMode, State, Stream, too_many,
};

/// The largest tag of a partition; the next one has the tag below.
const FIRST_TAG: i32 = -16;
/// Distinguishes the sources of introductions from the ranks of other messages, and from sentinels.
const INTRODUCTION: i32 = -16;

impl<P: MpiPort> MpiCtx<P> {
    /// Tells the receiver about the send `handle`, which was just made.
    ///
    /// # Errors
    /// `MPI_ERR_OTHER` when the tags between two processes are used up.
    pub(crate) fn introduce_partitions(&mut self, handle: i32) -> Result<()> {
        let Some(request) = self.requests.get(handle) else { return Ok(()) };
        let Operation::Partitioned(partitioned) = &request.operation else { return Ok(()) };
        if partitioned.peer == abi::MPI_PROC_NULL {
            return Ok(());
        }
        let (partitions, count) = (partitioned.partitions, partitioned.count);
        let bytes = request.buffer.datatype.bytes(count).unwrap_or(0);
        let (peer, context, tag, comm) = (request.peer, request.context, request.tag, request.comm);
        let rank = self.comm(comm)?.rank.cast_signed();
        let next = self.partition_tags.entry((context, peer)).or_insert(FIRST_TAG);
        let first_tag = *next;
        let Some(after) = next.checked_sub_unsigned(partitions) else {
            self.requests.remove(handle);
            let detail = "two thousand million partitions have been made for this receiver; make \
                          requests once and start them often";
            return Err(MpiError::new(ErrorClass::Other, detail));
        };
        *next = after;
        let stream = Stream { first_tag, partitions, bytes };
        let header = Header {
            kind: Kind::Eager,
            context,
            source: INTRODUCTION - rank,
            tag: -1 - tag,
            sender: self.port.rank(),
            request: 0,
        };
        self.port.send(peer, header, &stream.to_bytes());
        if let Some(partitioned) = self.partitioned_mut(handle) {
            partitioned.stream = Some(stream);
        }
        Ok(())
    }

    fn partitioned_mut(&mut self, handle: i32) -> Option<&mut Partitioned> {
        match &mut self.requests.get_mut(handle)?.operation {
            Operation::Partitioned(partitioned) => Some(partitioned),
            _ => None,
        }
    }

    /// Starts a round of the partitioned request `handle`.
    pub(crate) fn start_partitioned(&mut self, handle: i32) {
        let Some(partitioned) = self.partitioned_mut(handle) else { return };
        partitioned.begin();
        let (peer, is_send) = (partitioned.peer, partitioned.is_send);
        if peer == abi::MPI_PROC_NULL {
            if !is_send {
                self.complete(handle, Completion { status: Status::PROC_NULL, error: None });
            } else if self.partitioned_mut(handle).is_some_and(|it| it.partitions == 0) {
                self.complete(handle, Completion::SENT);
            }
            return;
        }
        if !self.partitioned.contains(&handle) {
            self.partitioned.push(handle);
        }
        self.progress();
    }

    /// Sends a partition of a send that was started, which is not ready yet. Where the receiver has failed nothing is sent:
    /// the end of the operation tells.
    ///
    /// # Errors
    /// `MPI_ERR_BUFFER` when the data is not inside the guest's memory.
    pub(crate) fn send_partition(&mut self, handle: i32, partition: u32) -> Result<()> {
        let Some(request) = self.requests.get(handle) else { return Ok(()) };
        let Operation::Partitioned(partitioned) = &request.operation else { return Ok(()) };
        let count = partitioned.count;
        let is_active = matches!(request.state, State::Active);
        if let Some(stream) = partitioned.stream.filter(|_| is_active) {
            let Buffer { addr, datatype, .. } = &request.buffer;
            let addr = element(*addr, i64::from(partition) * count, datatype.extent());
            let buffer = Buffer { addr, count, datatype: datatype.clone() };
            let operation = Operation::Send { mode: SendMode::Standard, dest: partitioned.peer };
            let part = part(request, operation, buffer, stream.tag(partition));
            let child = self.insert_part(part.clone())?;
            let eager_bytes_max = self.eager_bytes_max(part.peer);
            match self.start_send(&part, child, eager_bytes_max) {
                Ok(true) => self.complete(child, Completion::SENT),
                Ok(false) => {}
                Err(error) => {
                    self.requests.remove(child);
                    return Err(error);
                }
            }
            if let Some(partitioned) = self.partitioned_mut(handle) {
                partitioned.underway.push((partition, child));
            }
        }
        if let Some(partitioned) = self.partitioned_mut(handle) {
            partitioned.mark_ready(partition);
            let is_null = partitioned.peer == abi::MPI_PROC_NULL;
            if is_null && partitioned.is_all_ready() {
                self.complete(handle, Completion::SENT);
            }
        }
        self.progress();
        Ok(())
    }

    fn insert_part(&mut self, part: Request) -> Result<i32> {
        self.requests.insert(part).ok_or_else(too_many)
    }

    /// Gives up a round that can never end; parts that have been matched still end by themselves.
    pub(super) fn give_up_partitions(&mut self, handle: i32) {
        self.partitioned.retain(|other| *other != handle);
        let Some(partitioned) = self.partitioned_mut(handle) else { return };
        for (_, child) in std::mem::take(&mut partitioned.underway) {
            let is_posted = self.matching.cancel(child.cast_unsigned());
            match self.requests.get_mut(child) {
                Some(request) if !is_posted && !request.is_done() => request.freed = true,
                _ => {
                    self.requests.remove(child);
                }
            }
        }
    }

    /// Moves all partitioned operations on that wait for something.
    #[cold]
    pub(crate) fn advance_partitioned(&mut self) {
        let mut index = 0;
        while let Some(handle) = self.partitioned.get(index).copied() {
            if self.is_partitioned_underway(handle) {
                index += 1;
            } else {
                self.partitioned.remove(index);
            }
        }
    }

    /// Moves one on; `false` when it waits for nothing any more.
    fn is_partitioned_underway(&mut self, handle: i32) -> bool {
        let Some(request) = self.requests.get(handle) else { return false };
        let Operation::Partitioned(partitioned) = &request.operation else { return false };
        if partitioned.stream.is_none() && !self.meet_sender(handle) {
            return true;
        }
        let Some(request) = self.requests.get(handle) else { return false };
        if request.freed {
            self.requests.remove(handle);
            return false;
        }
        if !matches!(request.state, State::Active) {
            return false;
        }
        self.post_partitions(handle);
        self.collect_partitions(handle);
        self.requests.get(handle).is_some_and(|request| !request.is_done())
    }

    /// Looks for the introduction of the sender.
    fn meet_sender(&mut self, handle: i32) -> bool {
        let Some(request) = self.requests.get(handle) else { return false };
        let Operation::Partitioned(partitioned) = &request.operation else { return false };
        let pattern = Pattern {
            context: request.context,
            source: Some(INTRODUCTION - partitioned.peer),
            tag: Some(-1 - request.tag),
        };
        let Some((_, arrived)) = self.extract(&pattern) else { return false };
        let stream = Stream::from_bytes(arrived.payload.bytes());
        if let Some(partitioned) = self.partitioned_mut(handle) {
            partitioned.stream = Some(stream);
        }
        true
    }

    /// Posts the receives of this round, once.
    fn post_partitions(&mut self, handle: i32) {
        let Some(request) = self.requests.get(handle) else { return };
        let Operation::Partitioned(partitioned) = &request.operation else { return };
        let Some(stream) = partitioned.stream.filter(|_| !partitioned.has_posted()) else { return };
        let mut failed = fitting(&request.buffer, stream).err();
        let buffer = failed.is_none().then(|| request.buffer.clone());
        let operation = Operation::Receive { source: partitioned.peer };
        let nothing = Buffer { addr: 0, count: 0, datatype: Predefined::Byte.into() };
        let pattern = part(request, operation, nothing.clone(), 0);
        let mut underway = Vec::new();
        for index in 0..stream.partitions {
            let place = buffer.as_ref().map(|buffer| place(buffer, index, stream.bytes));
            let place = place.transpose().unwrap_or_else(|error| {
                failed.get_or_insert(error);
                None
            });
            let new = Request {
                buffer: place.unwrap_or_else(|| nothing.clone()),
                tag: stream.tag(index),
                ..pattern.clone()
            };
            let Some(child) = self.requests.insert(new) else {
                failed = failed.or_else(|| Some(too_many()));
                break;
            };
            self.post_partition(child);
            underway.push((index, child));
        }
        if let Some(partitioned) = self.partitioned_mut(handle) {
            let posted = underway.len() as u32;
            partitioned.post(underway, failed);
            (posted..stream.partitions).for_each(|index| partitioned.mark_done(index, None));
        }
    }

    /// As [`MpiCtx::start_receive`], which would move this operation on again.
    fn post_partition(&mut self, child: i32) {
        let Some(request) = self.requests.get(child) else { return };
        let Operation::Receive { source } = request.operation else { return };
        let pattern =
            Pattern { context: request.context, source: Some(source), tag: Some(request.tag) };
        if let Some(arrived) = self.post(pattern, child) {
            self.deliver(child, &arrived);
        }
    }

    /// Takes the partitions that are done, and ends the round with the last one.
    fn collect_partitions(&mut self, handle: i32) {
        let Some(partitioned) = self.partitioned_mut(handle) else { return };
        let mut underway = std::mem::take(&mut partitioned.underway);
        let mut done = Vec::new();
        underway.retain(|(index, child)| {
            let is_done = self.requests.get(*child).is_none_or(Request::is_done);
            if is_done {
                let state = self.requests.remove(*child).map(|request| request.state);
                let error = match state {
                    Some(State::Complete(completion)) => completion.error,
                    _ => None,
                };
                done.push((*index, error));
            }
            !is_done
        });
        let Some(partitioned) = self.partitioned_mut(handle) else { return };
        partitioned.underway = underway;
        for (index, error) in done {
            partitioned.mark_done(index, error);
        }
        if !partitioned.is_over() {
            return;
        }
        let (error, is_send, peer) =
            (partitioned.error.take(), partitioned.is_send, partitioned.peer);
        let status = match self.requests.get(handle) {
            Some(request) if !is_send => Status {
                source: peer,
                tag: request.tag,
                count_bytes: request.buffer.bytes().unwrap_or(0).cast_signed(),
                ..Status::EMPTY
            },
            _ => Status::EMPTY,
        };
        self.complete(handle, Completion { status, error });
    }
}

/// The request of one partition of `whole`.
fn part(whole: &Request, operation: Operation, buffer: Buffer, tag: i32) -> Request {
    Request {
        operation,
        buffer,
        tag,
        comm: whole.comm,
        context: whole.context,
        peer: whole.peer,
        state: State::Active,
        persistent: false,
        freed: false,
        cancelling: false,
        also: None,
    }
}

/// Address of an element of an array.
const fn element(addr: u64, index: i64, extent: i64) -> u64 {
    addr.wrapping_add_signed(index.wrapping_mul(extent))
}

/// Whether the sender's partitions are as many bytes as this buffer has.
fn fitting(buffer: &Buffer, stream: Stream) -> Result<()> {
    let room = buffer.bytes()?;
    let sent = stream.bytes.saturating_mul(u64::from(stream.partitions));
    if sent == room {
        return Ok(());
    }
    let detail = format!(
        "the sender's {} partitions are {sent} bytes, this receive has {room}; both sides of a \
         partitioned operation must have the same amount of data",
        stream.partitions
    );
    let class = if sent > room { ErrorClass::Truncate } else { ErrorClass::Count };
    Err(MpiError::argument(class, "count", detail))
}

/// Where a partition of the sender goes, whose partitions have been found to fit.
///
/// # Errors
/// `MPI_ERR_ARG` when an address overflows.
fn place(buffer: &Buffer, index: u32, bytes: u64) -> Result<Buffer> {
    let size = buffer.datatype.size().cast_unsigned();
    let before = u64::from(index) * bytes;
    Ok(match buffer.run() {
        Some(addr) => Buffer {
            addr: addr + before,
            count: bytes.cast_signed(),
            datatype: Predefined::Byte.into(),
        },
        None if size == 0 => Buffer { count: 0, ..buffer.clone() },
        None if bytes.is_multiple_of(size) => Buffer {
            addr: element(buffer.addr, (before / size).cast_signed(), buffer.datatype.extent()),
            count: (bytes / size).cast_signed(),
            datatype: buffer.datatype.clone(),
        },
        None => {
            Buffer { addr: buffer.addr, count: 1, datatype: buffer.datatype.window(before, bytes)? }
        }
    })
}
