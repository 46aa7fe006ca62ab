//! What every node must know of a member's call before data moves.
//!
//! ```text
//! announcement of a node:  groups: u32 | group ... | inlined: u8 | data
//! group of equal members:  members: u32 | head
//! head:                    function: u8 | flags: u8 | (rest, unless it is a barrier without error)
//! rest:                    root: u32 | operator: u8 | element: u32 | count: u64 | counts: u64
//!                          | name (another function) | error (if flagged)
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use super::wire::{Reader, Writer};
use crate::collective::check::check_sides;
use crate::collective::contribution::{Contribution, Kind, Operand, Operator, Side};
use crate::collective::members::{MemberFault, Members};
use crate::datatype::{Datatype, Fault, Predefined, address};
use crate::error::{ErrorClass, MpiError};
use crate::op::Op;

/// The function a member called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Function {
    /// A collective of the engine.
    Collective(Kind),
    /// Another one, by its name.
    Other(String),
}

/// The elements that a member sends or puts into a reduction.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Element {
    /// None of its own.
    #[default]
    None,
    /// A predefined type.
    Predefined(Predefined),
    /// A derived type with so many data bytes.
    Derived(u32),
}

/// A member's call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) function: Function,
    pub(super) root: u32,
    pub(super) op: Option<Operator>,
    pub(super) in_place: bool,
    pub(super) element: Element,
    pub(super) count: i64,
    /// Hash of the receive counts of `MPI_Reduce_scatter`.
    pub(super) counts: u64,
    pub(super) wrong: Option<Wrong>,
}

/// What is wrong with a member's call by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    /// Arguments; looked at right after the function, its root and its operator.
    Arguments(MpiError),
    /// Memory; looked at when everything else is right.
    Memory(MpiError),
}

impl Function {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Collective(kind) => kind.name(),
            Self::Other(name) => name,
        }
    }
}

impl Element {
    fn of(datatype: &Datatype) -> Self {
        match datatype.operand() {
            Some(predefined) => Self::Predefined(predefined),
            // A size beyond 32 bits is more than a guest has memory.
            None => Self::Derived(u32::try_from(datatype.size()).unwrap_or(u32::MAX)),
        }
    }

    /// Data bytes of one.
    pub(super) const fn size(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Predefined(predefined) => predefined.size() as u64,
            Self::Derived(size) => size as u64,
        }
    }
}

impl Head {
    /// The call of another function, with the member's own error.
    pub(super) fn other(name: &str, error: Option<MpiError>) -> Self {
        let function = Function::Other(String::from(name));
        let wrong = error.map(Wrong::Arguments);
        Self { wrong, ..Self::new(function) }
    }

    /// The call of a collective by `member`, one of `peers`.
    pub(super) fn of<M: Members>(
        this: &Contribution,
        member: usize,
        peers: usize,
        members: &M,
    ) -> Self {
        let mut head = Self::new(Function::Collective(this.kind));
        if this.kind == Kind::Barrier {
            return head;
        }
        (head.root, head.op) = (this.root, this.op.map(anonymous));
        head.in_place = this.send.is_in_place();
        if let Err(error) = check_sides(this, member, peers) {
            head.wrong = Some(Wrong::Arguments(error));
            return head;
        }
        if this.kind == Kind::Across {
            head.describe_across(this);
        } else if this.kind.is_reduction() {
            match input(this, member, peers) {
                Ok(input) => {
                    (head.element, head.count) = (Element::of(input.datatype), input.count);
                }
                Err(error) => {
                    head.wrong = Some(Wrong::Arguments(error));
                    return head;
                }
            }
            if let (Kind::ReduceScatter, Side::Vector(vector)) = (this.kind, &this.recv) {
                head.counts = hash(&vector.counts);
            }
        } else if this.kind == Kind::Bcast
            && let Side::Buffer(buffer) = &this.send
        {
            (head.element, head.count) = (Element::of(&buffer.datatype), buffer.count);
        }
        if let Err(fault) = probe(this, member, peers, members) {
            head.wrong = Some(Wrong::Memory(fault.into()));
        }
        head
    }

    const fn new(function: Function) -> Self {
        Self {
            function,
            root: 0,
            op: None,
            in_place: false,
            element: Element::None,
            count: 0,
            counts: 0,
            wrong: None,
        }
    }

    /// What nodes must know of a reduction across groups: the operand, or the type of the result where
    /// there is none, and up to which element a result is wanted.
    fn describe_across(&mut self, this: &Contribution) {
        self.count = NO_OPERAND;
        if let Side::Buffer(result) = &this.recv {
            (self.in_place, self.element) = (true, Element::of(&result.datatype));
        }
        if let Side::Buffer(operand) = &this.send {
            (self.element, self.count) = (Element::of(&operand.datatype), operand.count);
        }
        let end = match &this.recv {
            Side::Buffer(result) => this.share.first.saturating_add(result.count),
            _ => 0,
        };
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        self.counts = u64::from(this.share.low) | u64::from(end) << 32;
    }

    /// In a reduction across groups: the size of the low group.
    pub(super) const fn low(&self) -> usize {
        (self.counts & 0xffff_ffff) as usize
    }

    /// In a reduction across groups: up to which element the member wants a result.
    pub(super) const fn end(&self) -> i64 {
        (self.counts >> 32) as i64
    }

    /// In a reduction across groups: whether the member gets a part of the result.
    pub(super) const fn wants(&self) -> bool {
        self.in_place
    }

    /// Data bytes of the elements, saturating.
    pub(super) const fn bytes(&self) -> u64 {
        let count = if self.count > 0 { self.count as u64 } else { 0 };
        count.saturating_mul(self.element.size())
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let number = match &self.function {
            Function::Collective(kind) => KINDS.iter().position(|other| other == kind),
            Function::Other(_) => None,
        };
        let is_barrier = self.function == Function::Collective(Kind::Barrier);
        out.u8(number.map_or(OTHER, |index| index as u8));
        let (wrong, error) = match &self.wrong {
            None => (0, None),
            Some(Wrong::Arguments(error)) => (1, Some(error)),
            Some(Wrong::Memory(error)) => (2, Some(error)),
        };
        let op = match self.op {
            None => 0,
            Some(Operator::Predefined(_)) => 1,
            Some(Operator::User { commutative: false, .. }) => 2,
            Some(Operator::User { commutative: true, .. }) => 3,
        };
        let is_short = is_barrier && wrong == 0;
        out.u8(wrong | op << 2 | u8::from(self.in_place) << 4 | u8::from(is_short) << 5);
        if is_short {
            return;
        }
        out.u32(self.root);
        out.u8(match self.op {
            Some(Operator::Predefined(op)) => op.handle() as u8,
            _ => 0,
        });
        match self.element {
            Element::None => (out.u8(0), out.u32(0)),
            Element::Predefined(predefined) => (out.u8(1), out.i32(predefined.handle())),
            Element::Derived(size) => (out.u8(2), out.u32(size)),
        };
        out.u64(self.count.cast_unsigned());
        out.u64(self.counts);
        if let Function::Other(name) = &self.function {
            out.bytes(name.as_bytes());
        }
        if let Some(error) = error {
            out.error(error);
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let number = from.u8()?;
        let flags = from.u8()?;
        let kind = match number {
            OTHER => None,
            number => Some(*KINDS.get(number as usize)?),
        };
        let function = match kind {
            Some(kind) => Function::Collective(kind),
            None => Function::Other(String::new()),
        };
        let mut head = Self::new(function);
        if flags >> 5 & 1 != 0 {
            return (kind == Some(Kind::Barrier)).then_some(head);
        }
        head.root = from.u32()?;
        let op = from.u8()?;
        head.op = match flags >> 2 & 3 {
            0 => None,
            1 => Some(Operator::Predefined(Op::from_handle(i32::from(op))?)),
            number => Some(Operator::User { handle: 0, commutative: number == 3 }),
        };
        head.in_place = flags >> 4 & 1 != 0;
        head.element = match from.u8()? {
            0 => (from.u32()?, Element::None).1,
            1 => Element::Predefined(Predefined::from_handle(from.i32()?)?),
            2 => Element::Derived(from.u32()?),
            _ => return None,
        };
        head.count = from.u64()?.cast_signed();
        head.counts = from.u64()?;
        if kind.is_none() {
            let name = core::str::from_utf8(from.bytes()?).ok()?;
            head.function = Function::Other(String::from(name.get(..name.len().min(64))?));
        }
        head.wrong = match flags & 3 {
            0 => None,
            1 => Some(Wrong::Arguments(from.error()?)),
            2 => Some(Wrong::Memory(from.error()?)),
            _ => return None,
        };
        Some(head)
    }
}

/// Handles of user operators differ from member to member.
const fn anonymous(op: Operator) -> Operator {
    match op {
        Operator::Predefined(_) => op,
        Operator::User { commutative, .. } => Operator::User { handle: 0, commutative },
    }
}

/// The elements that `member` puts into a reduction.
pub(super) fn input(
    this: &Contribution,
    member: usize,
    peers: usize,
) -> Result<Operand<'_>, MpiError> {
    use alloc::format;
    let side = if this.send.is_in_place() { &this.recv } else { &this.send };
    let missing = || MpiError::new(ErrorClass::Buffer, format!("rank {member} has no buffer"));
    let addr = side.addr().ok_or_else(missing)?;
    let overflow = || MpiError::argument(ErrorClass::Count, "recvcounts", "their sum overflows");
    let (count, datatype) = match (this.kind, &this.recv) {
        (Kind::ReduceScatter, Side::Vector(vector)) => {
            if vector.counts.len() != peers {
                let detail = format!("rank {member} has {} entries", vector.counts.len());
                return Err(MpiError::argument(ErrorClass::Arg, "recvcounts", detail));
            }
            let mut counts = vector.counts.iter();
            let sum = counts.try_fold(0_i64, |sum, &count| sum.checked_add(count.max(0)));
            (sum.ok_or_else(overflow)?, &vector.datatype)
        }
        (Kind::ReduceScatterBlock, Side::Buffer(buffer)) => {
            (buffer.count.checked_mul(peers as i64).ok_or_else(overflow)?, &buffer.datatype)
        }
        _ => match side {
            Side::Buffer(buffer) => (buffer.count, &buffer.datatype),
            _ => return Err(missing()),
        },
    };
    Ok(Operand { member, addr, count, datatype })
}

/// Looks at both ends of every buffer that the call will touch, so that nothing fails later.
fn probe<M: Members>(
    this: &Contribution,
    member: usize,
    peers: usize,
    members: &M,
) -> Result<(), MemberFault> {
    let is_root = this.root as usize == member;
    let all = |side: &Side| -> Result<(), MemberFault> {
        let all = |index: usize| match side.block(member, index) {
            Some(block) => probe_operand(block, members),
            None => Ok(()),
        };
        match side {
            // The blocks between lie between.
            Side::Buffer(_) => all(0).and_then(|()| all(peers.saturating_sub(1))),
            _ => (0..peers).try_for_each(all),
        }
    };
    let one = |side: &Side| match side.block(member, 0) {
        Some(block) => probe_operand(block, members),
        None => Ok(()),
    };
    match this.kind {
        Kind::Barrier => Ok(()),
        Kind::Bcast => one(&this.send),
        Kind::Gather | Kind::Gatherv => {
            one(&this.send).and_then(|()| if is_root { all(&this.recv) } else { Ok(()) })
        }
        Kind::Scatter | Kind::Scatterv => {
            one(&this.recv).and_then(|()| if is_root { all(&this.send) } else { Ok(()) })
        }
        Kind::Allgather | Kind::Allgatherv => one(&this.send).and_then(|()| all(&this.recv)),
        Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw => {
            all(&this.send).and_then(|()| all(&this.recv))
        }
        _ => {
            let given =
                input(this, member, peers).map_or(Ok(()), |input| probe_operand(input, members));
            given.and_then(|()| match (&this.recv, this.kind) {
                (Side::Vector(vector), _) => {
                    let count = vector.counts.get(member).copied().unwrap_or(0);
                    let (addr, datatype) = (vector.addr, &vector.datatype);
                    probe_operand(Operand { member, addr, count, datatype }, members)
                }
                (_, Kind::Reduce) if !is_root => Ok(()),
                (_, Kind::Exscan) if member == 0 => Ok(()),
                (side, _) => one(side),
            })
        }
    }
}

fn probe_operand<M: Members>(operand: Operand<'_>, members: &M) -> Result<(), MemberFault> {
    let Some((low, high)) = operand.datatype.span(operand.count) else { return Ok(()) };
    let at = address(operand.addr, low);
    let len = high.abs_diff(low);
    let outside = |_| MemberFault { member: operand.member, fault: Fault { addr: at, len } };
    let mut byte = [0];
    members.read(operand.member, at, &mut byte).map_err(outside)?;
    // Predefined operators read and write predefined types with what lies between.
    let high = match operand.datatype {
        Datatype::Predefined(_) => operand.datatype.extent().saturating_mul(operand.count),
        Datatype::Derived(_) => high,
    };
    let last = address(operand.addr, high.saturating_sub(1));
    members.read(operand.member, last, &mut byte).map_err(outside)
}

/// FNV-1a over the counts: a difference is found, and nobody gains from hiding one.
fn hash(counts: &[i64]) -> u64 {
    let bytes = counts.iter().flat_map(|count| count.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Members of a node with equal heads that follow each other.
pub(super) type Groups = Vec<(u32, Head)>;

/// Folds equal neighbours.
pub(super) fn grouped(heads: impl Iterator<Item = Head>) -> Groups {
    let mut groups = Groups::new();
    for head in heads {
        match groups.last_mut() {
            Some((count, last)) if *last == head => *count += 1,
            _ => groups.push((1, head)),
        }
    }
    groups
}

/// Writes the heads of a node.
pub(super) fn write_groups(groups: &Groups, out: &mut Writer) {
    out.u32(groups.len() as u32);
    for (count, head) in groups {
        out.u32(*count);
        head.write(out);
    }
}

/// Reads the heads of a node with this many members.
pub(super) fn read_groups(from: &mut Reader<'_>, members: usize) -> Option<Groups> {
    let len = from.u32()? as usize;
    let (mut groups, mut total) = (Groups::new(), 0_usize);
    for _ in 0..len {
        let count = from.u32()?;
        total = total.checked_add(count as usize).filter(|total| count > 0 && *total <= members)?;
        groups.push((count, Head::read(from)?));
    }
    (total == members).then_some(groups)
}

/// The count of a member that puts nothing into a reduction across groups.
pub(super) const NO_OPERAND: i64 = -1;

/// Number of a function that is none of [`KINDS`].
const OTHER: u8 = 255;

/// The kinds in the order of their numbers in messages.
const KINDS: [Kind; 18] = [
    Kind::Barrier,
    Kind::Bcast,
    Kind::Gather,
    Kind::Gatherv,
    Kind::Scatter,
    Kind::Scatterv,
    Kind::Allgather,
    Kind::Allgatherv,
    Kind::Alltoall,
    Kind::Alltoallv,
    Kind::Alltoallw,
    Kind::Reduce,
    Kind::Allreduce,
    Kind::ReduceScatter,
    Kind::ReduceScatterBlock,
    Kind::Scan,
    Kind::Exscan,
    Kind::Across,
];
