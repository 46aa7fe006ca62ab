//! Intercommunicators (MPI-5.0 section 7.6): construction and merging.
//!
//! The processes of both groups are one row, whose *low* group is that of the leader with the lower
//! number in the job; both sides know the same row. Collectives, duplication and splitting meet at a
//! site of all of them.

pub(crate) mod letter;
pub(crate) mod meeting;
pub(crate) mod split;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView, check_pointer};
use crate::ctx::MpiCtx;
use crate::host::communicator::{Made, Maker, exchange, gather_context, install, put_made};
use crate::host::{error, group, info};
use crate::port::MpiPort;
use crate::table::host_functions;
use meeting::{Found, Pair, agree_on, conclude, introduce, why_leave};

host_functions! {
    /// Makes an intercommunicator of two intracommunicators. Section 7.6.2.
    call fn MPI_Intercomm_create(local_comm: i32, local_leader: i32, peer_comm: i32, remote_leader: i32, tag: i32, newintercomm: GuestAddr) = intercomm_create;
    /// Makes an intercommunicator of two groups. Section 7.6.2.
    call fn MPI_Intercomm_create_from_groups(local_group: i32, local_leader: i32, remote_group: i32, remote_leader: i32, stringtag: GuestAddr, info: i32, errhandler: i32, newintercomm: GuestAddr) = create_from_groups;
    /// Makes an intracommunicator of both groups. Section 7.6.2.
    call fn MPI_Intercomm_merge(intercomm: i32, high: i32, newintracomm: GuestAddr) = intercomm_merge;
}

/// Checks that `rank` is one of `size`.
fn checked_rank(argument: &'static str, rank: i32, size: usize) -> Result<usize> {
    usize::try_from(rank).ok().filter(|rank| *rank < size).ok_or_else(|| {
        let detail = format!("{rank} is not a rank of the group, which has {size}");
        MpiError::argument(ErrorClass::Rank, argument, detail)
    })
}

/// What a leader knows of the other one: its process, and how to name the call between both.
#[derive(Copy, Clone, Debug)]
struct Peer {
    process: u32,
    context: u32,
    tag: i32,
}

async fn intercomm_create<T: MpiView>(
    call: &mut Call<'_, T>,
    local_comm: i32,
    local_leader: i32,
    peer_comm: i32,
    remote_leader: i32,
    tag: i32,
    newintercomm: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    let local = call.mpi().intracomm(local_comm)?;
    let (own, rank) = (local.group.clone(), local.rank);
    let leader = checked_rank("local_leader", local_leader, own.len());
    let leads = leader.as_ref().is_ok_and(|leader| *leader == rank as usize);
    let peer = leads.then(|| peer(call.mpi(), (peer_comm, remote_leader), tag));
    call.mpi().error_comm = local_comm;
    let input = match (check_pointer("newintercomm", newintercomm, 1), &peer, leader) {
        (Err(error), ..) => Err(error),
        (_, Some(Err(error)), _) => Err(error.clone()),
        (.., leader) => leader.map(|leader| leader as i32),
    };
    let agreed = agree_on(call, local_comm, ("local_leader", input)).await;
    // A leader whose group fails still tells the other one, so that nobody waits for it.
    let found = match peer {
        Some(Ok(peer)) => {
            let own = agreed.clone().map(|()| own);
            Some(find(call, local_comm, peer, own).await)
        }
        Some(Err(_)) | None => None,
    };
    agreed?;
    let handle = conclude(call, local_comm, found).await?;
    call.write_i32("newintercomm", newintercomm, handle)
}

/// The pair that the leader of `comm`, which has the group `own`, finds with the other one.
async fn find<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    peer: Peer,
    own: Result<Group>,
) -> Result<Found> {
    let context = agree_on_context(call, peer).await?;
    let leave = |mpi: &mut MpiCtx<T::Port>| {
        let revoked = mpi.check_peer(peer.context, 0, peer.process).err();
        why_leave(mpi, comm, peer.process).or(revoked)
    };
    introduce(call, (peer.process, context), own, leave).await
}

/// Checks a leader's own arguments.
fn peer<P: MpiPort>(mpi: &mut MpiCtx<P>, (comm, rank): (i32, i32), tag: i32) -> Result<Peer> {
    let own = mpi.port.rank();
    let between = mpi
        .intracomm(comm)
        .map_err(|error| MpiError { argument: error.argument.map(|_| "peer_comm"), ..error })?;
    let (context, members) = (between.context, between.group.clone());
    let remote = checked_rank("remote_leader", rank, members.len())?;
    if tag < 0 {
        let detail = format!("{tag} is not between 0 and MPI_TAG_UB ({})", i32::MAX);
        return Err(MpiError::argument(ErrorClass::Tag, "tag", detail));
    }
    let process = members.world_rank(remote).unwrap_or(own);
    if process == own {
        let detail = "the remote leader is this process; it leads the other group";
        return Err(MpiError::argument(ErrorClass::Rank, "remote_leader", detail));
    }
    mpi.check_peer(context, rank, process)?;
    Ok(Peer { process, context, tag })
}

/// A new context that both leaders get; the tag keeps it apart from those of other constructors.
async fn agree_on_context<T: MpiView>(call: &mut Call<'_, T>, peer: Peer) -> Result<u32> {
    const BELOW_IDUP: i32 = -2;
    let own = call.mpi().port.rank();
    let leaders = [own.min(peer.process), own.max(peer.process)];
    let key = (peer.context, BELOW_IDUP.saturating_sub(peer.tag), &leaders[..]);
    gather_context(call, key, u32::from(own > peer.process)).await
}

async fn create_from_groups<T: MpiView>(
    call: &mut Call<'_, T>,
    local_group: i32,
    local_leader: i32,
    remote_group: i32,
    remote_leader: i32,
    stringtag: GuestAddr,
    hints: i32,
    errhandler: i32,
    newintercomm: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    let mpi = call.mpi();
    error::check_attachable(mpi, errhandler)?;
    mpi.error_comm = errhandler;
    let (local, remote) = (group::group(mpi, local_group)?, group::group(mpi, remote_group)?);
    let leader = |group: &Group, argument, rank| {
        let rank = checked_rank(argument, rank, group.len());
        rank.map(|rank| group.world_rank(rank).unwrap_or(0))
    };
    let own = leader(&local, "local_leader", local_leader)?;
    let other = leader(&remote, "remote_leader", remote_leader)?;
    if local.rank_of(mpi.port.rank()).is_none() {
        let detail = "the calling process is not in its local group";
        return Err(MpiError::argument(ErrorClass::Group, "local_group", detail));
    }
    let hints = info::hints(mpi, hints)?;
    let tag_bytes_max = abi::MPI_MAX_STRINGTAG_LEN as usize;
    let tag = call.read_string("stringtag", stringtag, tag_bytes_max)?;
    let pair = Pair::of(0, (own, local), (other, remote))
        .map_err(|error| MpiError { class: ErrorClass::Group, ..error })?;
    let all = pair.low.union(&pair.high);
    let members: Vec<u32> = all.iter().collect();
    let member = all.rank_of(call.mpi().port.rank()).unwrap_or(0) as u32;
    let (high, low) = hash(&tag);
    let context = gather_context(call, (high, low, &members), member).await?;
    let mut new = Pair { context, ..pair }.communicator(call.mpi(), errhandler)?;
    new.info = hints;
    let handle = install(call.mpi(), new)?;
    call.write_i32("newintercomm", newintercomm, handle)
}

/// What names a call without a parent communicator: 63 bits of the tag's hash, in two numbers the
/// second of which no other constructor uses.
pub(crate) fn hash(tag: &str) -> (u32, i32) {
    // FNV-1a: two tags in use at the same time with equal members will not meet by chance.
    let hash = tag.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((hash >> 32) as u32, (hash as u32 | 1 << 31).cast_signed())
}

async fn intercomm_merge<T: MpiView>(
    call: &mut Call<'_, T>,
    intercomm: i32,
    high: i32,
    newintracomm: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    let Some(between) = call.mpi().comm(intercomm)?.between.clone() else {
        return Err(not_inter("intercomm"));
    };
    let (all, low) = (between.all.clone(), between.position.low as usize);
    let combine = |maker: &mut Maker<'_>, highs: Vec<i32>| merge(maker, (&all, low), &highs);
    let made = exchange(call, intercomm, Ok(i32::from(high != 0)), combine).await?;
    put_made(call, intercomm, Some(made), newintracomm)
}

/// One communicator of both groups: first the group that said it is not the high one.
fn merge(maker: &mut Maker<'_>, (all, low): (&Group, usize), highs: &[i32]) -> Result<Vec<Made>> {
    let (first, second) = highs.split_at(low.min(highs.len()));
    for group in [first, second] {
        if group.iter().any(|high| Some(high) != group.first()) {
            let detail = "members of one group gave different values";
            return Err(MpiError::argument(ErrorClass::NotSame, "high", detail));
        }
    }
    let turned = first.first() > second.first();
    let order: Vec<u32> = match turned {
        true => all.iter().skip(low).chain(all.iter().take(low)).collect(),
        false => all.iter().collect(),
    };
    let made = maker.make(Group::new(order)?)?;
    let rank = |number: usize| match turned {
        false => number,
        true if number < low => number + (highs.len() - low),
        true => number - low,
    };
    Ok((0..highs.len()).map(|number| made.at(rank(number) as u32)).collect())
}

/// The error of a call that needs an intercommunicator.
pub(crate) fn not_inter(argument: &'static str) -> MpiError {
    let detail = "only an intercommunicator has a remote group; ask MPI_Comm_test_inter first";
    MpiError::argument(ErrorClass::Comm, argument, detail)
}
