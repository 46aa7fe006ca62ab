//! Communicators (MPI-5.0 sections 7.4 and 7.8): inquiry, construction, names, hints.
//!
//! Blocking constructors meet at the parent's site (`exchange`), and the last member computes who
//! is where (`construct`). `MPI_Comm_idup` and `MPI_Comm_create_group` wait for no other member: the
//! first to come makes the context, on the node of the group's first member, and on its own node the
//! site that the others there will find.
//!
//! What all members of an intercommunicator do, both groups do at one site; `intercomm` makes them.

mod construct;
mod exchange;
mod wire;

use std::sync::Arc;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::{Comparison, Group};
use faasm_mpi_engine::info::Info;
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::communicator::Communicator;
use crate::ctx::{MpiCtx, bad_handle};
use crate::host::attribute::{self, Object};
use crate::host::intercomm::split::MadeBetween;
use crate::host::point_to_point::{insert_complete, insert_failed};
use crate::host::{error, group, info, intercomm};
use crate::port::{Message, MpiPort, Payload, Pending};
use crate::site::Site;
use crate::table::host_functions;

pub(crate) use construct::{Color, Made, Maker, duplicate, install, install_unseen, split};
pub(crate) use exchange::exchange;
pub(crate) use wire::Wire;

host_functions! {
    /// Number of members. Section 7.4.1.
    call fn MPI_Comm_size(comm: i32, size: GuestAddr) = comm_size, at_once;
    /// Rank of this process. Section 7.4.1.
    call fn MPI_Comm_rank(comm: i32, rank: GuestAddr) = comm_rank, at_once;
    /// Compares members, order and context. Section 7.4.1.
    call fn MPI_Comm_compare(comm1: i32, comm2: i32, result: GuestAddr) = comm_compare;
    /// The group of the members. Section 7.3.2.
    call fn MPI_Comm_group(comm: i32, group: GuestAddr) = comm_group;
    /// Duplicates with attributes, topology and hints. Section 7.4.2.
    ending fn MPI_Comm_dup(comm: i32, newcomm: GuestAddr) = comm_dup;
    /// Duplicates with other hints. Section 7.4.2.
    ending fn MPI_Comm_dup_with_info(comm: i32, info: i32, newcomm: GuestAddr) = comm_dup_with_info;
    /// Duplicates without waiting. Section 7.4.2.
    ending fn MPI_Comm_idup(comm: i32, newcomm: GuestAddr, request: GuestAddr) = comm_idup;
    /// Duplicates with other hints, without waiting. Section 7.4.2.
    ending fn MPI_Comm_idup_with_info(comm: i32, info: i32, newcomm: GuestAddr, request: GuestAddr) = comm_idup_with_info;
    /// Makes communicators of groups; all members call it. Section 7.4.2.
    call fn MPI_Comm_create(comm: i32, group: i32, newcomm: GuestAddr) = comm_create;
    /// Makes a communicator of a group; its members call it. Section 7.4.2.
    call fn MPI_Comm_create_group(comm: i32, group: i32, tag: i32, newcomm: GuestAddr) = comm_create_group;
    /// Makes a communicator for each colour. Section 7.4.2.
    call fn MPI_Comm_split(comm: i32, color: i32, key: i32, newcomm: GuestAddr) = comm_split;
    /// Makes a communicator for each resource of a kind. Section 7.4.2.
    call fn MPI_Comm_split_type(comm: i32, split_type: i32, key: i32, info: i32, newcomm: GuestAddr) = comm_split_type;
    /// Frees a communicator; what is under way goes on. Section 7.4.3.
    ending fn MPI_Comm_free(comm: GuestAddr) = comm_free;
    /// Sets the name. Section 7.8.
    call fn MPI_Comm_set_name(comm: i32, comm_name: GuestAddr) = comm_set_name;
    /// The name. Section 7.8.
    call fn MPI_Comm_get_name(comm: i32, comm_name: GuestAddr, resultlen: GuestAddr) = comm_get_name;
    /// Replaces the hints. Section 7.4.4.
    call fn MPI_Comm_set_info(comm: i32, info: i32) = comm_set_info;
    /// A copy of the hints. Section 7.4.4.
    call fn MPI_Comm_get_info(comm: i32, info_used: GuestAddr) = comm_get_info;
    /// Whether it is an intercommunicator. Section 7.6.1.
    call fn MPI_Comm_test_inter(comm: i32, flag: GuestAddr) = comm_test_inter;
    /// Size of the remote group of an intercommunicator. Section 7.6.1.
    call fn MPI_Comm_remote_size(comm: i32, size: GuestAddr) = comm_remote_size;
    /// The remote group of an intercommunicator. Section 7.6.1.
    call fn MPI_Comm_remote_group(comm: i32, group: GuestAddr) = comm_remote_group;
}

/// The tag under which members of a communicator find each other for `MPI_Comm_idup`; those of
/// `MPI_Comm_create_group` are not negative.
const IDUP_TAG: i32 = -1;

/// Gives the guest the handle of its new communicator, or `MPI_COMM_NULL` when it is not a member.
pub(crate) fn put_made<T: MpiView>(
    call: &mut Call<'_, T>,
    parent: i32,
    made: Option<Made>,
    newcomm: GuestAddr,
) -> Result<()> {
    let new = made.map(|made| made.communicator(call.mpi(), parent)).transpose()?;
    put(call, new, newcomm)
}

/// The same for a communicator that has got everything.
fn put<T: MpiView>(
    call: &mut Call<'_, T>,
    new: Option<Communicator>,
    newcomm: GuestAddr,
) -> Result<()> {
    let handle = new.map_or(Ok(abi::MPI_COMM_NULL), |new| install(call.mpi(), new))?;
    call.write_i32("newcomm", newcomm, handle)
}

/// As [`put_made`] for a member of a new intercommunicator.
fn put_made_between<T: MpiView>(
    call: &mut Call<'_, T>,
    parent: i32,
    made: MadeBetween,
    newcomm: GuestAddr,
) -> Result<()> {
    let handle = match made {
        Some((made, low)) => {
            let new = made.intercommunicator(call.mpi(), parent, low)?;
            install(call.mpi(), new)?
        }
        None => abi::MPI_COMM_NULL,
    };
    call.write_i32("newcomm", newcomm, handle)
}

async fn comm_size<T: MpiView>(call: &mut Call<'_, T>, comm: i32, size: GuestAddr) -> Result<()> {
    let members = call.mpi().comm(comm)?.size();
    call.write_i32("size", size, members.cast_signed())
}

async fn comm_rank<T: MpiView>(call: &mut Call<'_, T>, comm: i32, rank: GuestAddr) -> Result<()> {
    let own = call.mpi().comm(comm)?.rank;
    call.write_i32("rank", rank, own.cast_signed())
}

async fn comm_compare<T: MpiView>(
    call: &mut Call<'_, T>,
    comm1: i32,
    comm2: i32,
    result: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    let second = mpi.comm(comm2)?.clone();
    let first = mpi.comm(comm1)?;
    let comparison = compare(first, &second);
    let code = match comparison {
        Comparison::Ident if comm1 == comm2 => abi::MPI_IDENT,
        Comparison::Ident => abi::MPI_CONGRUENT,
        Comparison::Similar => abi::MPI_SIMILAR,
        Comparison::Unequal => abi::MPI_UNEQUAL,
    };
    call.write_i32("result", result, code)
}

/// Compares the groups of two communicators; of intercommunicators both.
fn compare(first: &Communicator, second: &Communicator) -> Comparison {
    let local = first.group.compare(&second.group);
    let remote = match (&first.between, &second.between) {
        (None, None) => return local,
        (Some(first), Some(second)) => first.remote.compare(&second.remote),
        _ => return Comparison::Unequal,
    };
    match (local, remote) {
        (Comparison::Unequal, _) | (_, Comparison::Unequal) => Comparison::Unequal,
        (Comparison::Ident, Comparison::Ident) => Comparison::Ident,
        _ => Comparison::Similar,
    }
}

async fn comm_group<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    newgroup: GuestAddr,
) -> Result<()> {
    let members = call.mpi().comm(comm)?.group.clone();
    group::put(call, "group", newgroup, members)
}

async fn comm_dup<T: MpiView>(call: &mut Call<'_, T>, comm: i32, newcomm: GuestAddr) -> Ending {
    ending(dup(call, comm, None, newcomm).await)
}

async fn comm_dup_with_info<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    info: i32,
    newcomm: GuestAddr,
) -> Ending {
    ending(dup(call, comm, Some(info), newcomm).await)
}

/// Duplicates `comm`, with the hints of `info` instead of its own where given.
async fn dup<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    info: Option<i32>,
    newcomm: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let parent = call.mpi().comm(comm)?.everyone().clone();
    // A member whose callback fails still meets the others, so that the call fails everywhere.
    let prepared = match Inherited::prepare(call, comm, info).await {
        Err(Failure::End(error)) => return Err(Failure::End(error)),
        Err(Failure::Mpi(error)) => Err(error),
        Ok(inherited) => Ok(inherited),
    };
    let input = prepared.as_ref().map(|_| ()).map_err(Clone::clone);
    let input = input.and_then(|()| construct::check_room(call.mpi()));
    let made = exchange(call, comm, input, |maker, inputs: Vec<()>| {
        debug_assert_eq!(inputs.len(), parent.len(), "every member brings an input");
        construct::duplicate(maker, &parent)
    })
    .await;
    match (prepared, made) {
        (Ok(inherited), Ok(made)) => inherited.install(call, comm, made, newcomm)?,
        (Ok(inherited), Err(error)) => {
            attribute::discard(call.mpi(), &inherited.attributes);
            return Err(error.into());
        }
        (Err(error), _) => return Err(error.into()),
    }
    Ok(())
}

/// What a duplicate takes over from its original.
struct Inherited {
    attributes: faasm_mpi_engine::attribute::Attributes,
    info: Info,
}

impl Inherited {
    async fn prepare<T: MpiView>(
        call: &mut Call<'_, T>,
        comm: i32,
        info: Option<i32>,
    ) -> std::result::Result<Self, Failure> {
        let info = match info {
            Some(handle) => info::hints(call.mpi(), handle)?,
            None => call.mpi().comm(comm)?.info.clone(),
        };
        let attributes = attribute::copy_all(call, Object::Communicator(comm)).await?;
        Ok(Self { attributes, info })
    }

    fn install<T: MpiView>(
        self,
        call: &mut Call<'_, T>,
        comm: i32,
        made: Made,
        newcomm: GuestAddr,
    ) -> Result<()> {
        let mpi = call.mpi();
        let parent = mpi.comm(comm)?;
        let (topology, between) = (parent.topology.clone(), parent.between.clone());
        let mut new = match between {
            None => made.communicator(mpi, comm)?,
            Some(between) => made.intercommunicator(mpi, comm, between.position.low)?,
        };
        (new.topology, new.attributes, new.info) = (topology, self.attributes, self.info);
        let handle = install(mpi, new)?;
        call.write_i32("newcomm", newcomm, handle)
    }
}

async fn comm_idup<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    newcomm: GuestAddr,
    request: GuestAddr,
) -> Ending {
    ending(idup(call, comm, None, newcomm, request).await)
}

async fn comm_idup_with_info<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    info: i32,
    newcomm: GuestAddr,
    request: GuestAddr,
) -> Ending {
    ending(idup(call, comm, Some(info), newcomm, request).await)
}

/// Duplicates `comm` without waiting: the request is complete when the call returns.
async fn idup<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    info: Option<i32>,
    newcomm: GuestAddr,
    request: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let parent = call.mpi().comm(comm)?;
    let (parent_context, rank) = (parent.context, parent.number());
    let group = parent.everyone().clone();
    // Joining comes first: a member whose callback fails must not shift its later calls.
    let members: Vec<_> = group.iter().collect();
    let key = (parent_context, IDUP_TAG, members.as_slice());
    let (context, site) = gather(call, key, rank).await?;
    let handle = match construct::check_room(call.mpi()) {
        Ok(()) => {
            let inherited = Inherited::prepare(call, comm, info).await?;
            inherited.install(call, comm, Made { context, group, rank, site }, newcomm)?;
            insert_complete(call.mpi(), comm)?
        }
        // No argument is wrong: the operation itself fails, which its completion tells.
        Err(error) => {
            call.write_i32("newcomm", newcomm, abi::MPI_COMM_NULL)?;
            insert_failed(call.mpi(), comm, error)?
        }
    };
    call.write_i32("request", request, handle)?;
    Ok(())
}

/// Context and site of a communicator whose members wait for nobody: its context comes from the node
/// of the first member, which may have to be asked, and its site is this node's.
async fn gather<T: MpiView>(
    call: &mut Call<'_, T>,
    key: (u32, i32, &[u32]),
    member: u32,
) -> Result<(u32, Arc<Site>)> {
    let made = gather_context(call, key, member).await?;
    let world = call.mpi().port.world();
    Ok((made, world.gather_site(made, key.2)))
}

/// The context of such a communicator.
pub(crate) async fn gather_context<T: MpiView>(
    call: &mut Call<'_, T>,
    (context, tag, members): (u32, i32, &[u32]),
    member: u32,
) -> Result<u32> {
    let world = call.mpi().port.world().clone();
    let (node, key) = (world.gathering_node(members), (context, tag, members));
    if node == world.this_node() {
        world.gather_context(key, member)
    } else {
        let name = call.mpi().port.ask_to_gather(node, key, member);
        call.commit();
        let pending = Pending { function: call.function, peer: None, tag: Some(tag), context };
        let first = members.first().copied().unwrap_or(0);
        let ready = |mpi: &mut MpiCtx<T::Port>| {
            answer(mpi, name).or_else(|| mpi.check_reach(first).err().map(Err))
        };
        Box::pin(call.wait(&pending, &|| false, ready)).await
    }
}

/// Takes the answer to the question `name`, if it has come.
fn answer<P: MpiPort>(mpi: &mut MpiCtx<P>, name: u32) -> Option<Result<u32>> {
    let index = mpi.answers.iter().position(|answer| answer.header.request == name)?;
    let Message { header, payload } = mpi.answers.swap_remove(index);
    Some(match payload {
        Payload::Shared(detail) => {
            let detail = String::from_utf8_lossy(&detail).into_owned();
            Err(MpiError::new(ErrorClass::NoMem, detail))
        }
        _ => Ok(header.context),
    })
}

async fn comm_create<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    handle: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().comm(comm)?;
    let (parent, between) = (communicator.group.clone(), communicator.between.clone());
    let room = construct::check_room(call.mpi());
    let input = room.and_then(|()| subgroup(call.mpi(), &parent, handle));
    if let Some(between) = between {
        let made = exchange(call, comm, input, |maker, groups: Vec<Group>| {
            intercomm::split::create(maker, &between, &groups)
        })
        .await?;
        return put_made_between(call, comm, made, newcomm);
    }
    let combine =
        |maker: &mut Maker<'_>, groups: Vec<Group>| construct::create(maker, &parent, &groups);
    let made = exchange(call, comm, input, combine).await?;
    put_made(call, comm, made, newcomm)
}

async fn comm_create_group<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    handle: i32,
    tag: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    let own = mpi.port.rank();
    let communicator = mpi.intracomm(comm)?;
    let (parent, parent_context) = (communicator.group.clone(), communicator.context);
    let group = subgroup(mpi, &parent, handle)?;
    if tag < 0 {
        let detail = format!("{tag} is not between 0 and MPI_TAG_UB ({})", i32::MAX);
        return Err(MpiError::argument(ErrorClass::Tag, "tag", detail));
    }
    let made = match group.rank_of(own) {
        Some(rank) => {
            let members: Vec<_> = group.iter().collect();
            let rank = rank as u32;
            let key = (parent_context, tag, members.as_slice());
            let (context, site) = gather(call, key, rank).await?;
            Some(Made { context, group, rank, site })
        }
        None => None,
    };
    put_made(call, comm, made, newcomm)
}

/// The group behind `handle`, all of whose members must be in `parent`.
fn subgroup<P: MpiPort>(mpi: &MpiCtx<P>, parent: &Group, handle: i32) -> Result<Group> {
    let found = group::group(mpi, handle)?;
    let stranger = found.iter().find(|rank| parent.rank_of(*rank).is_none());
    match stranger {
        None => Ok(found),
        Some(rank) => {
            let detail = format!("world rank {rank} of the group is not in the communicator");
            Err(MpiError::argument(ErrorClass::Group, "group", detail))
        }
    }
}

async fn comm_split<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    color: i32,
    key: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().comm(comm)?;
    let (parent, between) = (communicator.group.clone(), communicator.between.clone());
    let input = construct::check_room(call.mpi()).and_then(|()| construct::color(color, key));
    if let Some(between) = between {
        let made = exchange(call, comm, input, |maker, colors: Vec<Color>| {
            intercomm::split::split(maker, &between, &colors)
        })
        .await?;
        return put_made_between(call, comm, made, newcomm);
    }
    let combine = |maker: &mut Maker<'_>, colors: Vec<Color>| split(maker, &parent, &colors);
    let made = exchange(call, comm, input, combine).await?;
    put_made(call, comm, made, newcomm)
}

async fn comm_split_type<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    split_type: i32,
    key: i32,
    info: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    let communicator = call.mpi().intracomm(comm)?;
    let (parent, rank) = (communicator.group.clone(), communicator.rank);
    let room = construct::check_room(call.mpi());
    let hints = room.and_then(|()| info::hints(call.mpi(), info));
    let world = call.mpi().port.world();
    let node = world.node(parent.world_rank(rank as usize).unwrap_or_default());
    let resource = hints.and_then(|hints| resource(split_type, &hints));
    let shares = world.expects_shared_windows() && resource == Ok(Some(Resource::Node));
    let color = |resource: Option<Resource>| {
        resource.map(|resource| match resource {
            Resource::Everybody => 0,
            Resource::Node => node.cast_signed(),
            Resource::Itself => rank.cast_signed(),
        })
    };
    let input = resource.map(color).map(|color| (split_type, (color, key)));
    let made = exchange(call, comm, input, |maker, inputs: Vec<(i32, Color)>| {
        let given = |(kind, _): &&(i32, Color)| *kind != abi::MPI_UNDEFINED;
        let first = inputs.iter().find(given).map(|(kind, _)| *kind);
        if let Some(other) = inputs.iter().filter(given).find(|(kind, _)| Some(*kind) != first) {
            let detail = format!("members gave {} and {}", first.unwrap_or_default(), other.0);
            return Err(MpiError::argument(ErrorClass::NotSame, "split_type", detail));
        }
        let colors: Vec<Color> = inputs.into_iter().map(|(_, color)| color).collect();
        split(maker, &parent, &colors)
    })
    .await?;
    let new = made.map(|made| made.communicator(call.mpi(), comm)).transpose()?;
    let new = new.map(|new| Communicator { shares: shares || new.shares, ..new });
    put(call, new, newcomm)
}

/// The processes that have one resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Resource {
    Everybody,
    /// Those of a node, which share its memory.
    Node,
    Itself,
}

/// Whom a split by a kind of resource puts together. No smaller resource than a node's memory is known, for ranks may move between
/// cores.
fn resource(split_type: i32, hints: &Info) -> Result<Option<Resource>> {
    match split_type {
        abi::MPI_COMM_TYPE_SHARED => Ok(Some(Resource::Node)),
        abi::MPI_UNDEFINED | abi::MPI_COMM_TYPE_HW_UNGUIDED => Ok(None),
        abi::MPI_COMM_TYPE_HW_GUIDED | abi::MPI_COMM_TYPE_RESOURCE_GUIDED => {
            let shared = hints.value("mpi_hw_resource_type")? == Some("mpi_shared_memory");
            let guided = split_type == abi::MPI_COMM_TYPE_RESOURCE_GUIDED;
            Ok(match hints.value("mpi_pset_name")?.filter(|_| guided) {
                _ if shared => Some(Resource::Node),
                Some("mpi://WORLD") => Some(Resource::Everybody),
                Some("mpi://SELF") => Some(Resource::Itself),
                _ => None,
            })
        }
        _ => {
            let detail = format!("{split_type} is not one of the MPI_COMM_TYPE constants");
            Err(MpiError::argument(ErrorClass::Arg, "split_type", detail))
        }
    }
}

async fn comm_free<T: MpiView>(call: &mut Call<'_, T>, comm: GuestAddr) -> Ending {
    ending(free(call, comm).await)
}

/// Frees a communicator, as `MPI_Comm_free` does.
pub(crate) async fn free<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let handle = call.read_i32("comm", comm)?;
    call.mpi().comm(handle)?;
    if matches!(handle, abi::MPI_COMM_WORLD | abi::MPI_COMM_SELF) {
        let detail = "a predefined communicator lives until MPI_Finalize; free only what you made";
        return Err(MpiError::argument(ErrorClass::Comm, "comm", detail).into());
    }
    attribute::delete_all(call, Object::Communicator(handle)).await?;
    let mpi = call.mpi();
    // A delete callback may have freed it already.
    let Some(freed) = mpi.comms.remove(handle) else {
        return Err(bad_handle(ErrorClass::Comm, "comm", handle, abi::MPI_COMM_NULL).into());
    };
    freed.unbind(mpi.port.world());
    error::detach(mpi, freed.errhandler);
    call.write_i32("comm", comm, abi::MPI_COMM_NULL)?;
    Ok(())
}

async fn comm_set_name<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    comm_name: GuestAddr,
) -> Result<()> {
    const NAME_BYTES_MAX: usize = 64 * 1024;
    call.mpi().comm(comm)?;
    let mut name = call.read_string("comm_name", comm_name, NAME_BYTES_MAX)?;
    // The standard cuts longer names.
    let mut len = name.len().min(abi::MPI_MAX_OBJECT_NAME as usize - 1);
    while !name.is_char_boundary(len) {
        len -= 1;
    }
    name.truncate(len);
    call.mpi().comm_mut(comm)?.name = name;
    Ok(())
}

async fn comm_get_name<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    comm_name: GuestAddr,
    resultlen: GuestAddr,
) -> Result<()> {
    // The null handles have names, too (MPI-5.0 section 7.8).
    let name = match comm {
        abi::MPI_COMM_NULL => "MPI_COMM_NULL".to_owned(),
        _ => call.mpi().comm(comm)?.name.clone(),
    };
    let room = abi::MPI_MAX_OBJECT_NAME as usize;
    let len = call.write_string("comm_name", comm_name, &name, room)?;
    call.write_i32("resultlen", resultlen, len as i32)
}

async fn comm_set_info<T: MpiView>(call: &mut Call<'_, T>, comm: i32, info: i32) -> Result<()> {
    let mpi = call.mpi();
    mpi.comm(comm)?;
    let hints = info::info(mpi, info)?;
    mpi.comm_mut(comm)?.info = hints;
    Ok(())
}

async fn comm_get_info<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    info_used: GuestAddr,
) -> Result<()> {
    let hints = call.mpi().comm(comm)?.info.clone();
    info::put(call, "info_used", info_used, hints)
}

async fn comm_test_inter<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    flag: GuestAddr,
) -> Result<()> {
    let is_inter = call.mpi().comm(comm)?.between.is_some();
    call.write_i32("flag", flag, i32::from(is_inter))
}

async fn comm_remote_size<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    size: GuestAddr,
) -> Result<()> {
    let remote = remote_group(call.mpi(), comm)?.len();
    call.write_i32("size", size, remote as i32)
}

async fn comm_remote_group<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: i32,
    group: GuestAddr,
) -> Result<()> {
    let remote = remote_group(call.mpi(), comm)?;
    group::put(call, "group", group, remote)
}

fn remote_group<P: MpiPort>(mpi: &mut MpiCtx<P>, comm: i32) -> Result<Group> {
    match &mpi.comm(comm)?.between {
        Some(between) => Ok(between.remote.clone()),
        None => Err(intercomm::not_inter("comm")),
    }
}
