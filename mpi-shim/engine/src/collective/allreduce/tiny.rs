//! `MPI_Allreduce` of at most 64 bytes: checked, read and combined in one loop over the members,
//! without allocating. The usual dot product of 8 bytes costs a few nanoseconds a member.

use crate::collective::contribution::{Buffer, Contribution, Kind, Operator, Side};
use crate::collective::members::{Failures, MemberFault, Members};
use crate::datatype::{Datatype, Predefined};
use crate::op::Kernel;

/// What all members must have in common.
#[derive(Copy, Clone)]
struct Call {
    op: Operator,
    predefined: Predefined,
    count: i64,
    kernel: Kernel,
}

/// Runs the call, or returns `None` without having written anything when it is not a correct tiny
/// call; the general path then runs it or finds the error.
pub(in crate::collective) fn run<M: Members>(
    contributions: &[Contribution],
    members: &M,
) -> Option<Result<(), Failures>> {
    let call = Call::of(contributions.first()?)?;
    let bytes = usize::try_from(call.count).ok()?.checked_mul(call.predefined.extent())?;
    match bytes {
        4 => sized::<4, M>(call, contributions, 4, members),
        8 => sized::<8, M>(call, contributions, 8, members),
        1..=BYTES_MAX => sized::<BYTES_MAX, M>(call, contributions, bytes, members),
        _ => None,
    }
}

/// Inlined with a constant `len` for the two commonest sizes, so that copies need no call.
#[inline(always)]
fn sized<const N: usize, M: Members>(
    call: Call,
    contributions: &[Contribution],
    len: usize,
    members: &M,
) -> Option<Result<(), Failures>> {
    let (mut result, mut operand) = ([0; N], [0; N]);
    let failed = |member, fault| Err(MemberFault { member, fault }.everywhere(contributions.len()));
    for (member, this) in contributions.iter().enumerate() {
        let addr = call.input_addr(this)?;
        let target = if member == 0 { &mut result } else { &mut operand };
        if let Err(fault) = members.read(member, addr, &mut target[..len]) {
            return Some(failed(member, fault));
        }
        if member > 0 {
            (call.kernel)(&mut result[..len], &operand[..len]);
        }
    }
    for (member, this) in contributions.iter().enumerate() {
        let addr = this.recv.addr()?;
        if let Err(fault) = members.write(member, addr, &result[..len]) {
            return Some(failed(member, fault));
        }
    }
    Some(Ok(()))
}

impl Call {
    fn of(first: &Contribution) -> Option<Self> {
        if first.kind != Kind::Allreduce {
            return None;
        }
        let input = input(first)?;
        let (Some(Operator::Predefined(op)), Datatype::Predefined(predefined)) =
            (first.op, &input.datatype)
        else {
            return None;
        };
        let (predefined, kernel) = op.reduction(&(*predefined).into()).ok()?;
        Some(Self { op: Operator::Predefined(op), predefined, count: input.count, kernel })
    }

    /// Where a member's input is, if it made the same call.
    #[inline]
    fn input_addr(&self, this: &Contribution) -> Option<u64> {
        let input = input(this)?;
        let same_type = matches!(&input.datatype, Datatype::Predefined(p) if *p == self.predefined);
        let same = this.kind == Kind::Allreduce
            && this.op == Some(self.op)
            && same_type
            && input.count == self.count
            && matches!(this.recv, Side::Buffer(_));
        same.then_some(input.addr)
    }
}

#[inline]
fn input(this: &Contribution) -> Option<&Buffer> {
    match (&this.send, &this.recv) {
        (Side::Buffer(buffer), _) | (Side::InPlace, Side::Buffer(buffer)) => Some(buffer),
        _ => None,
    }
}

const BYTES_MAX: usize = 64;
