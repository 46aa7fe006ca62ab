//! Groups of processes (MPI-5.0 section 7.3). All of these are local.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::{Group, RankRange};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, bad_handle};
use crate::port::MpiPort;
use crate::table::host_functions;

host_functions! {
    /// Number of members. Section 7.3.1.
    call fn MPI_Group_size(group: i32, size: GuestAddr) = group_size;
    /// Rank of this process. Section 7.3.1.
    call fn MPI_Group_rank(group: i32, rank: GuestAddr) = group_rank;
    /// Ranks in another group. Section 7.3.1.
    call fn MPI_Group_translate_ranks(group1: i32, n: i32, ranks1: GuestAddr, group2: i32, ranks2: GuestAddr) = group_translate_ranks;
    /// Compares members and order. Section 7.3.1.
    call fn MPI_Group_compare(group1: i32, group2: i32, result: GuestAddr) = group_compare;
    /// Members of either group. Section 7.3.2.
    call fn MPI_Group_union(group1: i32, group2: i32, newgroup: GuestAddr) = group_union;
    /// Members of both groups. Section 7.3.2.
    call fn MPI_Group_intersection(group1: i32, group2: i32, newgroup: GuestAddr) = group_intersection;
    /// Members of the first group only. Section 7.3.2.
    call fn MPI_Group_difference(group1: i32, group2: i32, newgroup: GuestAddr) = group_difference;
    /// The members with these ranks. Section 7.3.2.
    call fn MPI_Group_incl(group: i32, n: i32, ranks: GuestAddr, newgroup: GuestAddr) = group_incl;
    /// The members without these ranks. Section 7.3.2.
    call fn MPI_Group_excl(group: i32, n: i32, ranks: GuestAddr, newgroup: GuestAddr) = group_excl;
    /// The members in these ranges. Section 7.3.2.
    call fn MPI_Group_range_incl(group: i32, n: i32, ranges: GuestAddr, newgroup: GuestAddr) = group_range_incl;
    /// The members outside these ranges. Section 7.3.2.
    call fn MPI_Group_range_excl(group: i32, n: i32, ranges: GuestAddr, newgroup: GuestAddr) = group_range_excl;
    /// Frees a group. Section 7.3.3.
    call fn MPI_Group_free(group: GuestAddr) = group_free;
}

/// The group behind `handle`.
///
/// # Errors
/// `MPI_ERR_GROUP` when it is null, freed or not a group.
pub(crate) fn group<P: MpiPort>(mpi: &MpiCtx<P>, handle: i32) -> Result<Group> {
    if handle == abi::MPI_GROUP_EMPTY {
        return Ok(Group::empty());
    }
    mpi.groups
        .get(handle)
        .cloned()
        .ok_or_else(|| bad_handle(ErrorClass::Group, "group", handle, abi::MPI_GROUP_NULL))
}

/// Enters a new group and gives its handle to the guest; an empty one is `MPI_GROUP_EMPTY`.
pub(crate) fn put<T: MpiView>(
    call: &mut Call<'_, T>,
    argument: &'static str,
    addr: GuestAddr,
    group: Group,
) -> Result<()> {
    let handle = if group.is_empty() {
        abi::MPI_GROUP_EMPTY
    } else {
        call.mpi().groups.insert(group).ok_or_else(|| {
            MpiError::new(ErrorClass::NoMem, "a million groups are alive; free some")
        })?
    };
    call.write_i32(argument, addr, handle)
}

/// An array of `n` ranks.
fn ranks<T: MpiView>(
    call: &mut Call<'_, T>,
    n: i32,
    argument: &'static str,
    addr: GuestAddr,
) -> Result<Vec<i32>> {
    call.read_i32s(argument, addr, length(n)?)
}

fn length(n: i32) -> Result<usize> {
    usize::try_from(n)
        .map_err(|_| MpiError::argument(ErrorClass::Arg, "n", format!("{n} is negative")))
}

/// An array of `n` ranges.
fn ranges<T: MpiView>(call: &mut Call<'_, T>, n: i32, addr: GuestAddr) -> Result<Vec<RankRange>> {
    let words = call.read_i32s("ranges", addr, 3 * length(n)?)?;
    Ok(words.chunks_exact(3).map(|range| [range[0], range[1], range[2]]).collect())
}

async fn group_size<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    size: GuestAddr,
) -> Result<()> {
    let members = group(call.mpi(), handle)?.len();
    call.write_i32("size", size, members as i32)
}

async fn group_rank<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    rank: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    let found = group(mpi, handle)?.rank_of(mpi.port.rank());
    call.write_i32("rank", rank, found.map_or(abi::MPI_UNDEFINED, |rank| rank as i32))
}

async fn group_translate_ranks<T: MpiView>(
    call: &mut Call<'_, T>,
    group1: i32,
    n: i32,
    ranks1: GuestAddr,
    group2: i32,
    ranks2: GuestAddr,
) -> Result<()> {
    let (from, to) = (group(call.mpi(), group1)?, group(call.mpi(), group2)?);
    let asked = ranks(call, n, "ranks1", ranks1)?;
    let is_real = |rank: &i32| *rank != abi::MPI_PROC_NULL;
    let real: Vec<_> = asked.iter().copied().filter(is_real).collect();
    let mut translated = from.translate(&real, &to)?.into_iter();
    let mut bytes = Vec::with_capacity(4 * asked.len());
    for rank in &asked {
        let answer = match is_real(rank) {
            true => translated.next().flatten().map_or(abi::MPI_UNDEFINED, |rank| rank as i32),
            false => abi::MPI_PROC_NULL,
        };
        bytes.extend(answer.to_le_bytes());
    }
    call.write("ranks2", ranks2, &bytes)
}

async fn group_compare<T: MpiView>(
    call: &mut Call<'_, T>,
    group1: i32,
    group2: i32,
    result: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    let comparison = group(mpi, group1)?.compare(&group(mpi, group2)?);
    call.write_i32("result", result, comparison as i32)
}

/// Makes a group of two.
fn combine<T: MpiView>(
    call: &mut Call<'_, T>,
    (group1, group2): (i32, i32),
    newgroup: GuestAddr,
    operation: fn(&Group, &Group) -> Group,
) -> Result<()> {
    let mpi = call.mpi();
    let made = operation(&group(mpi, group1)?, &group(mpi, group2)?);
    put(call, "newgroup", newgroup, made)
}

async fn group_union<T: MpiView>(
    call: &mut Call<'_, T>,
    group1: i32,
    group2: i32,
    newgroup: GuestAddr,
) -> Result<()> {
    combine(call, (group1, group2), newgroup, Group::union)
}

async fn group_intersection<T: MpiView>(
    call: &mut Call<'_, T>,
    group1: i32,
    group2: i32,
    newgroup: GuestAddr,
) -> Result<()> {
    combine(call, (group1, group2), newgroup, Group::intersection)
}

async fn group_difference<T: MpiView>(
    call: &mut Call<'_, T>,
    group1: i32,
    group2: i32,
    newgroup: GuestAddr,
) -> Result<()> {
    combine(call, (group1, group2), newgroup, Group::difference)
}

async fn group_incl<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    n: i32,
    chosen: GuestAddr,
    newgroup: GuestAddr,
) -> Result<()> {
    let from = group(call.mpi(), handle)?;
    let chosen = ranks(call, n, "ranks", chosen)?;
    put(call, "newgroup", newgroup, from.incl(&chosen)?)
}

async fn group_excl<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    n: i32,
    left_out: GuestAddr,
    newgroup: GuestAddr,
) -> Result<()> {
    let from = group(call.mpi(), handle)?;
    let left_out = ranks(call, n, "ranks", left_out)?;
    put(call, "newgroup", newgroup, from.excl(&left_out)?)
}

async fn group_range_incl<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    n: i32,
    chosen: GuestAddr,
    newgroup: GuestAddr,
) -> Result<()> {
    let from = group(call.mpi(), handle)?;
    let chosen = ranges(call, n, chosen)?;
    put(call, "newgroup", newgroup, from.range_incl(&chosen)?)
}

async fn group_range_excl<T: MpiView>(
    call: &mut Call<'_, T>,
    handle: i32,
    n: i32,
    left_out: GuestAddr,
    newgroup: GuestAddr,
) -> Result<()> {
    let from = group(call.mpi(), handle)?;
    let left_out = ranges(call, n, left_out)?;
    put(call, "newgroup", newgroup, from.range_excl(&left_out)?)
}

async fn group_free<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<()> {
    let handle = call.read_i32("group", addr)?;
    let mpi = call.mpi();
    // A call that makes a group may have given MPI_GROUP_EMPTY, which the program then frees.
    group(mpi, handle)?;
    mpi.groups.remove(handle);
    mpi.group_sessions.remove(&handle);
    call.write_i32("group", addr, abi::MPI_GROUP_NULL)
}
