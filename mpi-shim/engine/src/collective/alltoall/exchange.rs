//! All-to-all operations in place: each pair of members exchanges its two blocks through a small
//! buffer. Cost: n(n-1)/2 exchanges of four copies each.

use alloc::format;

use crate::collective::contribution::{Contribution, Operand};
use crate::collective::members::{Failures, MemberFault, Members};
use crate::collective::transfer::{data_bytes, swap};
use crate::error::{ErrorClass, MpiError};

/// Exchanges the blocks of the members `range` with all members of higher rank.
pub(in crate::collective) fn run<M: Members>(
    contributions: &[Contribution],
    range: core::ops::Range<usize>,
    members: &M,
) -> Result<(), Failures> {
    let n = contributions.len();
    let mut failures = Failures::default();
    for low in range {
        for high in low + 1..n {
            let (Some(a), Some(b)) = (
                contributions[low].recv.block(low, high),
                contributions[high].recv.block(high, low),
            ) else {
                continue;
            };
            pair(a, b, members, &mut failures).map_err(|fault| fault.everywhere(n))?;
        }
    }
    failures.into_result()
}

/// Exchanges two blocks, the first of which is that of the member with the lower rank.
pub(in crate::collective) fn pair<M: Members>(
    a: Operand<'_>,
    b: Operand<'_>,
    members: &M,
    failures: &mut Failures,
) -> Result<(), MemberFault> {
    let (low, high) = (a.member, b.member);
    let (ours, theirs) = (data_bytes(a)?, data_bytes(b)?);
    if ours == theirs {
        return swap(members, a, b);
    }
    let detail =
        format!("rank {low} exchanges {ours} bytes in place with rank {high}, which has {theirs}");
    let (low_class, high_class) = match ours > theirs {
        true => (ErrorClass::Count, ErrorClass::Truncate),
        false => (ErrorClass::Truncate, ErrorClass::Count),
    };
    failures.push(low, MpiError::new(low_class, detail.clone()));
    failures.push(high, MpiError::new(high_class, detail));
    Ok(())
}

/// Either all members or none must be in place.
pub(in crate::collective) fn check(contributions: &[Contribution]) -> Result<bool, MpiError> {
    let in_place = |this: &Contribution| this.send.is_in_place();
    let first = contributions.first().is_some_and(in_place);
    match contributions.iter().position(|this| in_place(this) != first) {
        None => Ok(first),
        Some(rank) => {
            let (with, without) = if first { (0, rank) } else { (rank, 0) };
            let detail = format!("rank {with} passed MPI_IN_PLACE but rank {without} did not");
            Err(MpiError::argument(ErrorClass::NotSame, "sendbuf", detail))
        }
    }
}
