//! Moving messages: starting sends and receives, and everything an arrived message causes.

mod collective;
mod credit;
mod event;
mod far;
mod fault;
mod partitioned;
mod pull;

use faasm_mpi_engine::datatype;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::matching::{Envelope, Pattern};
use faasm_vm::{GuestAddr, GuestMemory};

use crate::abi::{self, Status};
use crate::ctx::{Arrived, Bytes, MpiCtx};
use crate::port::{
    FAR_EAGER_BYTES_MAX, Header, Kind, Message, MpiPort, Payload, SMALL_BYTES_MAX, Scattered,
};
use crate::request::{Buffer, Completion, Operation, Request, SendMode, State};
use crate::tool::EventType;

pub(crate) use collective::{Wanted, listen};
pub(crate) use credit::Credits;
pub(crate) use event::TICKS_PER_SECOND;
pub(crate) use fault::for_good;
pub(crate) use pull::Pulls;

/// Contiguous messages up to this size are copied into the message; longer ones stay where they
/// are until the receiver copies them.
pub(crate) const EAGER_BYTES_MAX: u64 = 8 * 1024;

/// As [`FAR_EAGER_BYTES_MAX`] while much waits to be sent: then what is longer waits in its buffer.
const CONGESTED_EAGER_BYTES_MAX: u64 = 1024;

/// Messages up to this size, which take no more room than an announcement, still carry their data where nothing
/// may be sent unasked, but their senders wait until they are matched.
const WAITING_BYTES_MAX: u64 = 128;

/// Contiguous messages up to this size are handed over as borrowed bytes; longer ones are read into
/// a payload of their own at once.
const STAGED_BYTES_MAX: u64 = 928;

impl<P: MpiPort> MpiCtx<P> {
    /// Handles every message that has arrived.
    #[inline]
    pub fn progress(&mut self) {
        while let Some(message) = self.port.receive() {
            self.handle_message(message);
        }
        if !self.underway.is_empty() {
            self.advance();
        }
        if !self.partitioned.is_empty() {
            self.advance_partitioned();
        }
    }

    fn handle_message(&mut self, message: Message) {
        let Message { header, payload } = message;
        match header.kind {
            Kind::Eager | Kind::EagerSync | Kind::Reference => {
                let envelope =
                    Envelope { context: header.context, source: header.source, tag: header.tag };
                let arrived = Arrived { header, payload };
                let cost = credit::cost(&arrived);
                let wanted = self.tool.events.are_wanted().then(|| arrived.payload.len());
                if let Some((ticket, arrived)) = self.matching.arrive(envelope, arrived) {
                    self.note_message(EventType::ReceiveMatched, &arrived);
                    self.let_pass(&arrived);
                    self.deliver(ticket.cast_signed(), &arrived);
                } else {
                    self.keep(header.sender, cost);
                    if let Some(len) = wanted {
                        self.note_wanted_message(EventType::MessageUnexpected, &header, len);
                    }
                }
            }
            Kind::Matched => self.complete(header.request.cast_signed(), Completion::SENT),
            Kind::Cancelled => {
                let status = Status { cancelled: true, ..Status::EMPTY };
                self.complete(header.request.cast_signed(), Completion { status, error: None });
            }
            Kind::NotCancelled => {}
            Kind::Cancel => self.withdraw(&header),
            Kind::Credit => self.credits.returned(header.sender, header.request),
            Kind::Pulled => self.pulled(header.request, payload),
            Kind::Failed => self.mourn(header.sender, header.tag == 1),
            Kind::Revoked => self.hear_revocation(header.context, header.sender),
            Kind::Decided => self.hear_decision(&header, &payload),
            Kind::Answer => {
                if !self.complete_far(header.request, &payload) {
                    self.answers.push(Message { header, payload });
                }
            }
        }
    }

    /// A sender wants its unmatched message back.
    fn withdraw(&mut self, cancel: &Header) {
        let found = self.matching.withdraw(|arrived| {
            arrived.header.sender == cancel.sender && arrived.header.request == cancel.request
        });
        if let Some(arrived) = &found {
            self.let_go(arrived);
        }
        if let Some(Arrived { payload: Payload::Remote { token, .. }, .. }) = found {
            self.port.release(cancel.sender, token);
        }
        let kind = if found.is_some() { Kind::Cancelled } else { Kind::NotCancelled };
        self.answer(cancel, kind);
    }

    /// Sends an answer about the message `about` back to its sender.
    fn answer(&mut self, about: &Header, kind: Kind) {
        let header = Header { kind, sender: self.port.rank(), ..*about };
        self.port.send(about.sender, header, &[]);
    }

    /// Starts the send of `request`; returns whether it is complete already.
    ///
    /// `name` is the request's handle, which answers carry; `eager_bytes_max` is from
    /// `MpiCtx::eager_bytes_max`.
    ///
    /// # Errors
    /// `MPI_ERR_BUFFER` when the data is not inside the guest's memory.
    pub fn start_send(
        &mut self,
        request: &Request,
        name: i32,
        eager_bytes_max: Option<u64>,
    ) -> Result<bool> {
        let Operation::Send { mode, dest } = request.operation else {
            return Ok(false);
        };
        if dest == abi::MPI_PROC_NULL {
            return Ok(true);
        }
        self.send_data(request, mode, name, eager_bytes_max)
    }

    #[inline]
    fn send_data(
        &mut self,
        request: &Request,
        mode: SendMode,
        name: i32,
        eager_bytes_max: Option<u64>,
    ) -> Result<bool> {
        let Request { buffer, peer, context, tag, comm, .. } = request;
        let (peer, context, tag) = (*peer, *context, *tag);
        let source = self.comm(*comm)?.rank.cast_signed();
        let kind = if mode == SendMode::Synchronous { Kind::EagerSync } else { Kind::Eager };
        let sender = self.port.rank();
        let request = name.cast_unsigned();
        let header = Header { kind, context, source, tag, sender, request };
        let bytes = buffer.bytes()?;
        self.count_sent(peer, bytes);
        let run = buffer.run();
        if Some(bytes) <= eager_bytes_max {
            self.credits.sent(peer, self.is_far(peer), bytes);
            self.send_copied(peer, header, buffer, run, bytes)?;
        } else if bytes <= WAITING_BYTES_MAX && mode != SendMode::Buffered {
            // As long as it lies there unmatched its sender waits, so that there are few of them.
            let header = Header { kind: Kind::EagerSync, ..header };
            self.credits.sent(peer, self.is_far(peer), bytes);
            self.send_copied(peer, header, buffer, run, bytes)?;
            return Ok(false);
        } else if let (Some(addr), true) = (run, mode != SendMode::Buffered) {
            self.memory()?.check(GuestAddr::new(addr), bytes).map_err(crate::ctx::fault("buf"))?;
            let header = Header { kind: Kind::Reference, ..header };
            self.port.send_payload(peer, header, Payload::Reference { addr, len: bytes });
            return Ok(false);
        } else if mode != SendMode::Buffered && !self.is_far(peer) {
            let Buffer { addr, count, datatype } = buffer.clone();
            datatype::probe(&Bytes(self.memory()?), addr, count, &datatype)?;
            let elements = Scattered { addr, count, datatype, len: bytes };
            let header = Header { kind: Kind::Reference, ..header };
            self.port.send_payload(peer, header, Payload::Scattered(Box::new(elements)));
            return Ok(false);
        } else {
            let mut packed = Vec::new();
            let memory = Bytes(self.memory()?);
            datatype::pack(&memory, buffer.addr, buffer.count, &buffer.datatype, &mut packed)?;
            // The copy is kept until the other node wants it; only a buffered send need not wait.
            let waits = self.is_far(peer) && mode != SendMode::Buffered;
            let kind = if waits { Kind::Reference } else { kind };
            if !waits && bytes <= FAR_EAGER_BYTES_MAX {
                self.credits.sent(peer, self.is_far(peer), bytes);
            }
            let header = Header { kind, ..header };
            self.port.send_payload(peer, header, Payload::Owned(packed.into()));
            return Ok(kind == Kind::Eager);
        }
        Ok(kind == Kind::Eager)
    }

    /// Longest message to `peer` that carries its data now: on this node what is copied twice as
    /// quickly as once, to another node what it can be sent unasked. `None` if not even an empty one does,
    /// because too much lies there that nobody has asked for.
    #[inline]
    pub(crate) fn eager_bytes_max(&self, peer: u32) -> Option<u64> {
        if !self.is_far(peer) {
            (!self.port.is_full(peer)).then_some(EAGER_BYTES_MAX)
        } else if !self.credits.may_send(peer) {
            None
        } else if self.port.is_congested(peer) {
            Some(CONGESTED_EAGER_BYTES_MAX)
        } else {
            Some(FAR_EAGER_BYTES_MAX)
        }
    }

    /// A message of so many bytes goes to `peer`.
    #[inline]
    pub(crate) fn count_sent(&mut self, peer: u32, bytes: u64) {
        self.sent_messages += 1;
        self.sent_bytes += bytes;
        self.port.count_sent(peer, bytes, (self.sent_messages, self.sent_bytes));
    }

    /// Whether `rank` runs on another node.
    #[inline]
    pub(crate) fn is_far(&self, rank: u32) -> bool {
        self.is_spread && !self.port.world().is_local(rank)
    }

    /// Sends a short message with a copy of its data.
    #[inline]
    fn send_copied(
        &mut self,
        peer: u32,
        header: Header,
        buffer: &Buffer,
        run: Option<u64>,
        bytes: u64,
    ) -> Result<()> {
        if let (Some(addr), true) = (run, bytes <= SMALL_BYTES_MAX as u64) {
            let mut small = [0; SMALL_BYTES_MAX];
            let small = &mut small[..bytes as usize];
            let memory = self.memory()?;
            memory.read(GuestAddr::new(addr), small).map_err(crate::ctx::fault("buf"))?;
            self.port.send(peer, header, small);
            return Ok(());
        }
        if let (Some(addr), true) = (run, bytes > STAGED_BYTES_MAX) {
            let data = self.memory()?.read_vec(GuestAddr::new(addr), bytes);
            let data = data.map_err(crate::ctx::fault("buf"))?;
            self.port.send_payload(peer, header, Payload::Owned(data.into()));
            return Ok(());
        }
        let mut staging = std::mem::take(&mut self.staging);
        staging.clear();
        let memory = Bytes(self.memory()?);
        datatype::pack(&memory, buffer.addr, buffer.count, &buffer.datatype, &mut staging)?;
        self.port.send(peer, header, &staging);
        self.staging = staging;
        Ok(())
    }

    /// Posts the receive of the request `name`, which may complete at once.
    pub fn start_receive(&mut self, name: i32) {
        let Some(request) = self.requests.get(name) else { return };
        let Operation::Receive { source } = request.operation else { return };
        if source == abi::MPI_PROC_NULL {
            let completion = Completion { status: Status::PROC_NULL, error: None };
            self.complete(name, completion);
            return;
        }
        let pattern = pattern(request.context, source, request.tag);
        self.progress();
        if let Some(arrived) = self.post(pattern, name) {
            self.deliver(name, &arrived);
        }
    }

    /// Copies an arrived message into the buffer of the receive `name` and completes it.
    pub fn deliver(&mut self, name: i32, arrived: &Arrived) {
        let Some(request) = self.requests.get(name) else { return };
        if matches!(arrived.payload, Payload::Remote { .. }) {
            let buffer = request.buffer.clone();
            self.start_pull(name, buffer, arrived);
            return;
        }
        let completion = self.received(&request.buffer, arrived);
        self.complete(name, completion);
        if matches!(arrived.header.kind, Kind::EagerSync | Kind::Reference) {
            self.answer(&arrived.header, Kind::Matched);
        }
    }

    /// Receives into `buffer` without an entry in the table of requests: for a blocking receive of
    /// a rank that has no other receive posted, so that nothing else can match its message.
    ///
    /// Takes unexpected messages first and then arriving ones, in order. `None` when none matches yet.
    #[inline]
    pub fn receive_directly(&mut self, pattern: &Pattern, buffer: &Buffer) -> Option<Received> {
        let arrived = self.take_matching(pattern)?;
        Some(self.take_over(buffer, arrived))
    }

    /// The next message for a receive that nothing was posted before.
    #[inline]
    pub(crate) fn take_matching(&mut self, pattern: &Pattern) -> Option<Arrived> {
        if let Some((_, arrived)) = self.extract(pattern) {
            self.note_message(EventType::ReceiveMatched, &arrived);
            return Some(arrived);
        }
        while let Some(message) = self.port.receive() {
            let header = &message.header;
            let envelope =
                Envelope { context: header.context, source: header.source, tag: header.tag };
            if header.kind.is_data() && pattern.accepts(&envelope) {
                let Message { header, payload } = message;
                let arrived = Arrived { header, payload };
                self.note_message(EventType::ReceiveMatched, &arrived);
                self.let_pass(&arrived);
                return Some(arrived);
            }
            self.handle_message(message);
        }
        None
    }

    /// Copies a matched message into `buffer` and answers its sender, unless its data is far away.
    #[inline]
    pub(crate) fn take_over(&mut self, buffer: &Buffer, arrived: Arrived) -> Received {
        if matches!(arrived.payload, Payload::Remote { .. }) {
            return Received::Far(Box::new(arrived));
        }
        let arrived = &arrived;
        let completion = self.received(buffer, arrived);
        if matches!(arrived.header.kind, Kind::EagerSync | Kind::Reference) {
            self.answer(&arrived.header, Kind::Matched);
        }
        Received::Here(completion)
    }

    /// Copies an arrived message into `buffer`.
    fn received(&self, buffer: &Buffer, arrived: &Arrived) -> Completion {
        match self.fill(buffer, arrived) {
            Ok(()) => self.outcome(buffer, arrived),
            Err(error) => Completion { status: status(arrived), error: Some(error) },
        }
    }

    /// What a receive into `buffer` reports when the message's data is there, as far as it fits.
    fn outcome(&self, buffer: &Buffer, arrived: &Arrived) -> Completion {
        let mut status = status(arrived);
        let (len, room) = (arrived.payload.len(), buffer.bytes().unwrap_or(0));
        if len <= room {
            return Completion { status, error: None };
        }
        status.count_bytes = room.cast_signed();
        let detail = format!(
            "a message of {len} bytes from rank {} with tag {} does not fit the {room} bytes of the \
             receive buffer",
            arrived.header.source, arrived.header.tag
        );
        let error = MpiError::argument(ErrorClass::Truncate, "count", detail);
        Completion { status, error: Some(error) }
    }

    fn fill(&self, buffer: &Buffer, arrived: &Arrived) -> Result<()> {
        let taken = arrived.payload.len().min(buffer.bytes()?);
        let memory = self.memory()?;
        match &arrived.payload {
            payload @ (Payload::Small(..) | Payload::Owned(_) | Payload::Shared(_)) => {
                write(memory, buffer, &payload.bytes()[..taken as usize])
            }
            Payload::Reference { addr, .. } => {
                copy(memory, buffer, self.memory_of(arrived)?, *addr, taken)
            }
            Payload::Scattered(elements) => {
                copy_scattered(memory, buffer, self.memory_of(arrived)?, elements, taken)
            }
            Payload::Remote { .. } => {
                let detail = "the data of a message from another node was not asked for";
                Err(MpiError::new(ErrorClass::Intern, detail))
            }
        }
    }

    /// A copy of the data of a message of this node that is in its sender's memory.
    pub(crate) fn data_of(&self, arrived: &Arrived) -> Result<Vec<u8>> {
        let mut data = vec![0; arrived.payload.len() as usize];
        let memory = self.memory_of(arrived)?;
        match &arrived.payload {
            Payload::Reference { addr, .. } => {
                memory.read(GuestAddr::new(*addr), &mut data).map_err(crate::ctx::fault("buf"))?;
            }
            Payload::Scattered(elements) => {
                let Scattered { addr, count, datatype, .. } = &**elements;
                datatype::pack_window(&Bytes(memory), *addr, *count, datatype, 0, &mut data)?;
            }
            other => data.copy_from_slice(other.bytes()),
        }
        Ok(data)
    }

    /// The memory of the sender of a message of this node.
    fn memory_of(&self, arrived: &Arrived) -> Result<&GuestMemory> {
        self.port
            .memory(arrived.header.sender)
            .ok_or_else(|| MpiError::new(ErrorClass::Other, "the sender's memory is gone"))
    }

    /// Ends the request `name`, if it still exists and is under way.
    pub fn complete(&mut self, name: i32, completion: Completion) {
        let Some(request) = self.requests.get_mut(name) else { return };
        if request.is_done() {
            return;
        }
        request.state = State::Complete(completion);
        if request.freed {
            self.requests.remove(name);
        }
    }

    /// The probed message's status, without taking it.
    pub fn probe(&mut self, pattern: &Pattern) -> Option<Status> {
        self.progress();
        self.matching.probe(pattern).map(|(envelope, arrived)| Status {
            source: envelope.source,
            tag: envelope.tag,
            count_bytes: arrived.payload.len().cast_signed(),
            ..Status::EMPTY
        })
    }

    /// Asks the receiver of the unmatched send `name` to drop it.
    pub fn cancel_send(&mut self, name: i32) {
        let Some(request) = self.requests.get(name) else { return };
        let (peer, context) = (request.peer, request.context);
        let header = Header {
            kind: Kind::Cancel,
            context,
            source: 0,
            tag: 0,
            sender: self.port.rank(),
            request: name.cast_unsigned(),
        };
        self.port.send(peer, header, &[]);
    }
}

/// What became of a message that a receive has matched.
#[derive(Debug)]
pub enum Received {
    /// It is in the buffer.
    Here(Completion),
    /// Its data is on another node and has to be asked for.
    Far(Box<Arrived>),
    /// There is none, and there may never be one.
    Refused(MpiError),
}

/// The status of a whole message.
#[inline]
pub(crate) fn status(arrived: &Arrived) -> Status {
    Status {
        source: arrived.header.source,
        tag: arrived.header.tag,
        count_bytes: arrived.payload.len().cast_signed(),
        ..Status::EMPTY
    }
}

/// The pattern of a receive or probe; the arguments have been checked.
pub(crate) fn pattern(context: u32, source: i32, tag: i32) -> Pattern {
    Pattern {
        context,
        source: (source != abi::MPI_ANY_SOURCE).then_some(source),
        tag: (tag != abi::MPI_ANY_TAG).then_some(tag),
    }
}

impl Buffer {
    /// Bytes of data in the whole buffer.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when they do not fit 64 bits.
    #[inline]
    pub fn bytes(&self) -> Result<u64> {
        self.datatype.bytes(self.count).ok_or_else(|| {
            let detail = format!("{} elements of this type exceed 2^63 bytes", self.count);
            MpiError::argument(ErrorClass::Count, "count", detail)
        })
    }

    /// Address of the data when it is one run of bytes without gaps.
    #[inline]
    pub fn run(&self) -> Option<u64> {
        self.datatype.run_address(self.addr, self.count)
    }
}

/// Writes packed data into a buffer of the guest.
fn write(memory: &GuestMemory, buffer: &Buffer, data: &[u8]) -> Result<()> {
    match buffer.run() {
        Some(addr) => {
            memory.write(GuestAddr::new(addr), data).map_err(crate::ctx::fault("buf"))?;
        }
        None => {
            let into = Bytes(memory);
            datatype::unpack(&into, buffer.addr, buffer.count, &buffer.datatype, data)?;
        }
    }
    Ok(())
}

/// Copies contiguous data from another rank's memory into a buffer of the guest.
fn copy(
    memory: &GuestMemory,
    buffer: &Buffer,
    source: &GuestMemory,
    from: u64,
    len: u64,
) -> Result<()> {
    if let Some(addr) = buffer.run() {
        let (to, from) = (GuestAddr::new(addr), GuestAddr::new(from));
        return memory.copy_from(to, source, from, len).map_err(crate::ctx::fault("buf"));
    }
    in_chunks(len, |done, part| {
        source.read(GuestAddr::new(from + done), part).map_err(crate::ctx::fault("buf"))?;
        write_window(memory, buffer, done, part)
    })
}

/// Copies elements from another rank's memory into a buffer of the guest.
fn copy_scattered(
    memory: &GuestMemory,
    buffer: &Buffer,
    source: &GuestMemory,
    elements: &Scattered,
    len: u64,
) -> Result<()> {
    let Scattered { addr, count, datatype, .. } = elements;
    in_chunks(len, |done, part| {
        datatype::pack_window(&Bytes(source), *addr, *count, datatype, done, part)?;
        match buffer.run() {
            Some(to) => {
                memory.write(GuestAddr::new(to + done), part).map_err(crate::ctx::fault("buf"))
            }
            None => write_window(memory, buffer, done, part),
        }
    })
}

/// Unpacks bytes from position `done` on into a buffer of the guest.
fn write_window(memory: &GuestMemory, buffer: &Buffer, done: u64, part: &[u8]) -> Result<()> {
    let Buffer { addr, count, datatype } = buffer;
    Ok(datatype::unpack_window(&Bytes(memory), *addr, *count, datatype, done, part)?)
}

/// Calls `f` with the position and a chunk for each part of `len` bytes.
fn in_chunks(len: u64, mut f: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<()> {
    let mut chunk = vec![0; len.min(CHUNK_BYTES) as usize];
    let mut done = 0;
    while done < len {
        let part = &mut chunk[..(len - done).min(CHUNK_BYTES) as usize];
        f(done, part)?;
        done += part.len() as u64;
    }
    Ok(())
}

/// Bytes moved at a time between two layouts.
const CHUNK_BYTES: u64 = 16 * 1024;
