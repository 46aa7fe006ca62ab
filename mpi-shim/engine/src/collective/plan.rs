//! Checking a call and cutting it into parts that may run in any order and on any thread.

use alloc::vec::Vec;
use core::ops::Range;

use super::allgather;
use super::alltoall::{self, exchange};
use super::contribution::{Contribution, Kind};
use super::intercomm::reduction::Across;
use super::members::{Failures, MemberFault, Members};
use super::movement::Movement;
use super::reduction::{Reduction, shares};
use super::{allreduce, bcast, exscan, gather, reduce, reduce_scatter, scan, scatter};
use crate::error::MpiError;

/// A checked collective call, ready to run.
///
/// [`Plan::new`] checks the arguments; then each part `0..parts()` is run exactly once with
/// [`Plan::run_part`], in any order. Results do not depend on the number of parts.
#[derive(Debug)]
pub struct Plan<'a> {
    contributions: &'a [Contribution],
    work: Work<'a>,
    bytes: u64,
    parts: usize,
}

#[derive(Debug)]
enum Work<'a> {
    /// Nothing moves.
    Nothing,
    /// Independent transfers.
    Move(Movement),
    /// Small equal blocks for everyone, by way of one buffer.
    Gathered { block_bytes: u64 },
    /// Small equal blocks from everyone for everyone, by way of one buffer.
    Transposed { block_bytes: u64 },
    /// Equal blocks from everyone for everyone.
    Uniform { block_bytes: u64 },
    /// Blocks exchanged in place.
    Exchange,
    /// Elements are combined.
    Reduce(Reduction<'a>),
    /// Elements are combined, and each member gets its share.
    ReduceScatter(Reduction<'a>, Vec<(u64, u64)>),
    /// Elements of one group are combined for the other.
    Across(Vec<Across<'a>>),
}

impl<'a> Plan<'a> {
    /// Checks a call in which rank `i` brings `contributions[i]`.
    ///
    /// # Errors
    /// The members at which the call fails before any data moves: see [`super::check`], and
    /// `MPI_ERR_OP`, `MPI_ERR_TYPE` or `MPI_ERR_COUNT` when operands do not fit together.
    pub fn new(contributions: &'a [Contribution]) -> Result<Self, Failures> {
        let everywhere = |error: MpiError| Failures::everywhere(contributions.len(), &error);
        super::check(contributions).map_err(everywhere)?;
        let work = Work::new(contributions).map_err(everywhere)?;
        let bytes = work.bytes(contributions);
        let parts = work.parts(contributions.len(), bytes);
        Ok(Self { contributions, work, bytes, parts })
    }

    /// Number of parts; 1 when the call is too small to gain from several threads.
    pub const fn parts(&self) -> usize {
        self.parts
    }

    /// About how many bytes move, saturating; a measure of whether threads pay.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Runs all parts one after the other.
    ///
    /// # Errors
    /// The members at which the call failed.
    pub fn run<M: Members>(&self, members: &M) -> Result<(), Failures> {
        let mut failures = Failures::default();
        for part in 0..self.parts {
            if let Err(failed) = self.run_part(part, members) {
                failures.merge(failed);
            }
        }
        failures.into_result()
    }

    /// Runs one part.
    ///
    /// # Errors
    /// The members at which this part failed; the caller merges them with [`Failures::merge`].
    pub fn run_part<M: Members>(&self, part: usize, members: &M) -> Result<(), Failures> {
        assert!(part < self.parts, "a part of this plan");
        let n = self.contributions.len();
        let slice = |total: u64| slice(total, part, self.parts);
        let indices = |total: usize| {
            let range = slice(total as u64);
            range.start as usize..range.end as usize
        };
        let everywhere = |fault: MemberFault| fault.everywhere(n);
        match &self.work {
            Work::Nothing => Ok(()),
            Work::Move(movement) => {
                movement.run(self.contributions, indices((movement.transfers)(n)), members)
            }
            Work::Gathered { block_bytes } => {
                allgather::gathered::run(self.contributions, *block_bytes, members)
            }
            Work::Transposed { block_bytes } => {
                alltoall::transposed::run(self.contributions, *block_bytes, members)
            }
            Work::Uniform { block_bytes } => {
                alltoall::uniform::run(self.contributions, *block_bytes, indices(n), members)
            }
            Work::Exchange => exchange::run(self.contributions, indices(n), members),
            Work::Reduce(reduction) => {
                run_reduction(reduction, slice(reduction.elements), members).map_err(everywhere)
            }
            Work::ReduceScatter(reduction, shares) => {
                let range = slice(reduction.elements);
                reduce_scatter::rank_order::run(reduction, shares, range, members)
                    .map_err(everywhere)
            }
            Work::Across(directions) => directions
                .iter()
                .try_for_each(|one| one.run(slice(one.elements()), members))
                .map_err(everywhere),
        }
    }
}

impl<'a> Work<'a> {
    fn new(contributions: &'a [Contribution]) -> Result<Self, MpiError> {
        let Some(first) = contributions.first() else { return Ok(Self::Nothing) };
        Ok(match first.kind {
            Kind::Barrier => Self::Nothing,
            Kind::Bcast => Self::Move(bcast::fan_out::FAN_OUT),
            Kind::Gather | Kind::Gatherv => Self::Move(gather::direct::DIRECT),
            Kind::Scatter | Kind::Scatterv => Self::Move(scatter::direct::DIRECT),
            Kind::Allgather | Kind::Allgatherv => {
                match allgather::gathered::block_bytes(contributions) {
                    Some(block_bytes) => Self::Gathered { block_bytes },
                    None => Self::Move(allgather::direct::DIRECT),
                }
            }
            Kind::Alltoall | Kind::Alltoallv | Kind::Alltoallw => {
                let in_place = exchange::check(contributions)?;
                match alltoall::uniform::block_bytes(contributions) {
                    _ if in_place => Self::Exchange,
                    Some(block_bytes)
                        if alltoall::transposed::applies(contributions, block_bytes) =>
                    {
                        Self::Transposed { block_bytes }
                    }
                    Some(block_bytes) => Self::Uniform { block_bytes },
                    None => Self::Move(alltoall::direct::DIRECT),
                }
            }
            Kind::ReduceScatter | Kind::ReduceScatterBlock => {
                Self::ReduceScatter(Reduction::new(contributions)?, shares(contributions))
            }
            Kind::Reduce | Kind::Allreduce | Kind::Scan | Kind::Exscan => {
                Self::Reduce(Reduction::new(contributions)?)
            }
            Kind::Across => Self::Across(Across::all(contributions)?),
        })
    }

    fn bytes(&self, contributions: &[Contribution]) -> u64 {
        let n = contributions.len();
        let copies = n as u64;
        match self {
            Self::Nothing => 0,
            Self::Gathered { block_bytes }
            | Self::Transposed { block_bytes }
            | Self::Uniform { block_bytes } => block_bytes.saturating_mul(copies * copies),
            Self::Exchange => side_bytes(contributions, |this| this.recv.bytes(n)),
            Self::Across(both) => both.iter().map(Across::bytes).fold(0, u64::saturating_add),
            Self::Reduce(reduction) | Self::ReduceScatter(reduction, _) => reduction.bytes(),
            Self::Move(_) => match contributions[0].kind {
                Kind::Bcast => contributions[0].send.bytes(1).saturating_mul(copies),
                Kind::Gather | Kind::Gatherv => {
                    side_bytes(contributions, |this| this.send.bytes(1))
                }
                Kind::Scatter | Kind::Scatterv => {
                    side_bytes(contributions, |this| this.recv.bytes(1))
                }
                _ => side_bytes(contributions, |this| this.recv.bytes(n)),
            },
        }
    }

    /// How many pieces of at least [`PART_BYTES_MIN`] there are, if pieces may run in any order.
    fn parts(&self, n: usize, bytes: u64) -> usize {
        let pieces = match self {
            Self::Nothing | Self::Gathered { .. } | Self::Transposed { .. } => 1,
            Self::Move(movement) => (movement.transfers)(n),
            Self::Uniform { .. } | Self::Exchange => n,
            Self::Reduce(reduction) => usize::try_from(reduction.elements).unwrap_or(PARTS_MAX),
            Self::Across(both) => {
                let elements = both.iter().map(Across::elements).max().unwrap_or(0);
                usize::try_from(elements).unwrap_or(PARTS_MAX)
            }
            Self::ReduceScatter(reduction, _) => {
                let in_place = |this: &Contribution| this.send.is_in_place();
                match reduction.contributions.iter().any(in_place) {
                    true => 1,
                    false => usize::try_from(reduction.elements).unwrap_or(PARTS_MAX),
                }
            }
        };
        let wanted = (bytes / PART_BYTES_MIN).clamp(1, PARTS_MAX as u64) as usize;
        wanted.min(pieces).max(1)
    }
}

fn run_reduction<M: Members>(
    reduction: &Reduction<'_>,
    range: Range<u64>,
    members: &M,
) -> Result<(), MemberFault> {
    match reduction.contributions[0].kind {
        Kind::Reduce => reduce::rank_order::run(reduction, range, members),
        Kind::Allreduce => allreduce::rank_order::run(reduction, range, members),
        Kind::Scan => scan::linear::run(reduction, range, members),
        Kind::Exscan => exscan::linear::run(reduction, range, members),
        kind => unreachable!("{} is not an elementwise reduction", kind.name()),
    }
}

/// Part `part` of `parts` nearly equal pieces of `0..total`.
fn slice(total: u64, part: usize, parts: usize) -> Range<u64> {
    let cut = |index: usize| (u128::from(total) * index as u128 / parts as u128) as u64;
    cut(part)..cut(part + 1)
}

fn side_bytes(contributions: &[Contribution], bytes: impl Fn(&Contribution) -> u64) -> u64 {
    contributions.iter().map(bytes).fold(0, u64::saturating_add)
}

/// A part moves at least this much, about 100 µs of work, so that handing it out is worth it.
const PART_BYTES_MIN: u64 = 512 << 10;

/// More parts than any machine has cores gain nothing.
const PARTS_MAX: usize = 256;
