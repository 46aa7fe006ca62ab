//! Partitioned point-to-point communication (MPI-5.0 chapter 4).
//!
//! Each partition of the sender is a message of its own, which the receiver takes into the place of its
//! data; `progress::partitioned` has the rules.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::{MpiCtx, bad_handle};
use crate::host::info;
use crate::host::point_to_point::{check_rank, check_tag, insert, request};
use crate::port::MpiPort;
use crate::request::{Buffer, Operation, PARTITIONS_MAX, Partitioned, Request, State};
use crate::table::{Count, host_functions};

host_functions! {
    /// Makes a partitioned send. Section 4.2.1.
    call fn MPI_Psend_init or MPI_Psend_init_c(buf: GuestAddr, partitions: i32, count: Count, datatype: i32, dest: i32, tag: i32, comm: i32, info: i32, request: GuestAddr) = psend_init;
    /// Makes a partitioned receive. Section 4.2.1.
    call fn MPI_Precv_init or MPI_Precv_init_c(buf: GuestAddr, partitions: i32, count: Count, datatype: i32, source: i32, tag: i32, comm: i32, info: i32, request: GuestAddr) = precv_init;
    /// Tells that a partition may be sent. Section 4.2.1.
    call fn MPI_Pready(partition: i32, request: i32) = pready;
    /// Tells that a range of partitions may be sent. Section 4.2.1.
    call fn MPI_Pready_range(partition_low: i32, partition_high: i32, request: i32) = pready_range;
    /// Tells that the listed partitions may be sent. Section 4.2.1.
    call fn MPI_Pready_list(length: i32, array_of_partitions: GuestAddr, request: i32) = pready_list;
    /// Whether a partition has been received. Section 4.2.1.
    call fn MPI_Parrived(request: i32, partition: i32, flag: GuestAddr) = parrived;
}

/// The arguments that both constructors share.
#[derive(Copy, Clone, Debug)]
struct Args {
    buf: GuestAddr,
    partitions: i32,
    count: i64,
    datatype: i32,
    peer: i32,
    tag: i32,
    comm: i32,
    hints: i32,
}

async fn psend_init<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    partitions: i32,
    count: i64,
    datatype: i32,
    dest: i32,
    tag: i32,
    comm: i32,
    hints: i32,
    addr: GuestAddr,
) -> Result<()> {
    let args = Args { buf, partitions, count, datatype, peer: dest, tag, comm, hints };
    let new = described(call.mpi(), args, true)?;
    let handle = enter(call, new, addr)?;
    call.mpi().introduce_partitions(handle)
}

async fn precv_init<T: MpiView>(
    call: &mut Call<'_, T>,
    buf: GuestAddr,
    partitions: i32,
    count: i64,
    datatype: i32,
    source: i32,
    tag: i32,
    comm: i32,
    hints: i32,
    addr: GuestAddr,
) -> Result<()> {
    let args = Args { buf, partitions, count, datatype, peer: source, tag, comm, hints };
    let new = described(call.mpi(), args, false)?;
    let handle = enter(call, new, addr)?;
    if source != abi::MPI_PROC_NULL {
        call.mpi().partitioned.push(handle);
    }
    Ok(())
}

fn enter<T: MpiView>(call: &mut Call<'_, T>, new: Request, addr: GuestAddr) -> Result<i32> {
    let handle = insert(call.mpi(), new)?;
    call.write_i32("request", addr, handle).inspect_err(|_| {
        call.mpi().requests.remove(handle);
    })?;
    Ok(handle)
}

/// Checks the arguments and makes the request, which is inactive.
fn described<P: MpiPort>(mpi: &mut MpiCtx<P>, args: Args, is_send: bool) -> Result<Request> {
    let communicator = mpi.comm(args.comm)?;
    let (context, size) = (communicator.context, communicator.peer_count());
    check_rank(if is_send { "dest" } else { "source" }, args.peer, size, false)?;
    check_tag(args.tag, false)?;
    let peers = communicator.peers();
    let peer = usize::try_from(args.peer).ok().and_then(|rank| peers.world_rank(rank));
    let Some(partitions) = u32::try_from(args.partitions).ok().filter(|n| *n <= PARTITIONS_MAX)
    else {
        let detail = format!("{} is not between 0 and {PARTITIONS_MAX}", args.partitions);
        return Err(MpiError::argument(ErrorClass::Arg, "partitions", detail));
    };
    let each = MpiCtx::<P>::count(args.count)?;
    let datatype = mpi.datatype(args.datatype)?;
    info::hints(mpi, args.hints)?;
    let count = each.checked_mul(i64::from(partitions)).ok_or_else(|| {
        let detail = format!("{partitions} partitions of {each} elements are more than 2^63");
        MpiError::argument(ErrorClass::Count, "count", detail)
    })?;
    let buffer = Buffer { addr: args.buf.get(), count, datatype };
    if buffer.bytes()? > 0
        && args.buf.is_null()
        && buffer.datatype.predefined().is_some()
        && args.peer != abi::MPI_PROC_NULL
    {
        let detail = "the buffer is a null pointer; give the address of the data";
        return Err(MpiError::argument(ErrorClass::Buffer, "buf", detail));
    }
    let partitioned = Partitioned::new(is_send, partitions, each, args.peer);
    let mut new = request(Operation::Partitioned(Box::new(partitioned)), buffer, args.comm);
    (new.tag, new.context, new.peer) = (args.tag, context, peer.unwrap_or(0));
    (new.persistent, new.state) = (true, State::Inactive);
    Ok(new)
}

/// The partitioned operation behind `handle`, which must be one of this direction.
fn operation<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    is_send: bool,
) -> Result<(&Partitioned, bool)> {
    let null = abi::MPI_REQUEST_NULL;
    let found = mpi.requests.get(handle);
    let request = found.ok_or_else(|| bad_handle(ErrorClass::Request, "request", handle, null))?;
    mpi.error_comm = request.comm;
    match &request.operation {
        Operation::Partitioned(found) if found.is_send == is_send => {
            Ok((found, matches!(request.state, State::Active)))
        }
        _ => {
            let kind = if is_send { "MPI_Psend_init" } else { "MPI_Precv_init" };
            let detail = format!("it is not a request of {kind}");
            Err(MpiError::argument(ErrorClass::Request, "request", detail))
        }
    }
}

/// Checks that each of `partitions` of an active send is there and not ready yet.
fn check_ready<P: MpiPort>(
    mpi: &mut MpiCtx<P>,
    handle: i32,
    partitions: &[i32],
    argument: &'static str,
) -> Result<()> {
    operation(mpi, handle, true)?;
    // One that has ended already, because the receiver has failed, was started as well.
    let state = mpi.requests.get(handle).map(|request| &request.state);
    let is_inactive = matches!(state, Some(State::Inactive));
    let (found, _) = operation(mpi, handle, true)?;
    if is_inactive {
        let detail = "the request has not been started; call MPI_Start first";
        return Err(MpiError::argument(ErrorClass::Request, "request", detail));
    }
    for partition in partitions {
        let index = checked(found, *partition, argument)?;
        if found.is_ready(index) {
            let detail = format!("partition {partition} has been marked ready already");
            return Err(MpiError::argument(ErrorClass::Arg, argument, detail));
        }
    }
    Ok(())
}

fn checked(found: &Partitioned, partition: i32, argument: &'static str) -> Result<u32> {
    u32::try_from(partition).ok().filter(|index| *index < found.partitions).ok_or_else(|| {
        let detail = format!("{partition} is not one of the {} partitions", found.partitions);
        MpiError::argument(ErrorClass::Arg, argument, detail)
    })
}

async fn pready<T: MpiView>(call: &mut Call<'_, T>, partition: i32, request: i32) -> Result<()> {
    let mpi = call.mpi();
    check_ready(mpi, request, &[partition], "partition")?;
    mpi.send_partition(request, partition.cast_unsigned())
}

async fn pready_range<T: MpiView>(
    call: &mut Call<'_, T>,
    partition_low: i32,
    partition_high: i32,
    request: i32,
) -> Result<()> {
    let mpi = call.mpi();
    check_ready(mpi, request, &[partition_low, partition_high], "partition_low")?;
    if partition_low > partition_high {
        let detail = format!("{partition_low} is above partition_high, {partition_high}");
        return Err(MpiError::argument(ErrorClass::Arg, "partition_low", detail));
    }
    let partitions: Vec<i32> = (partition_low..=partition_high).collect();
    check_ready(mpi, request, &partitions, "partition_low")?;
    partitions.iter().try_for_each(|one| mpi.send_partition(request, one.cast_unsigned()))
}

async fn pready_list<T: MpiView>(
    call: &mut Call<'_, T>,
    length: i32,
    array_of_partitions: GuestAddr,
    request: i32,
) -> Result<()> {
    operation(call.mpi(), request, true)?;
    let length = usize::try_from(length).map_err(|_| {
        MpiError::argument(ErrorClass::Arg, "length", format!("{length} is negative"))
    })?;
    let partitions = call.read_i32s("array_of_partitions", array_of_partitions, length)?;
    let mpi = call.mpi();
    check_ready(mpi, request, &partitions, "array_of_partitions")?;
    let mut sorted = partitions.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let detail = format!("partition {} is twice in the list", twice[0]);
        return Err(MpiError::argument(ErrorClass::Arg, "array_of_partitions", detail));
    }
    partitions.iter().try_for_each(|one| mpi.send_partition(request, one.cast_unsigned()))
}

async fn parrived<T: MpiView>(
    call: &mut Call<'_, T>,
    request: i32,
    partition: i32,
    flag: GuestAddr,
) -> Result<()> {
    let mpi = call.mpi();
    operation(mpi, request, false)?;
    mpi.progress();
    let each = mpi.requests.get(request).map_or(Ok(0), |request| request.buffer.bytes())?;
    let (found, is_active) = operation(mpi, request, false)?;
    let index = checked(found, partition, "partition")?;
    let has_arrived = !is_active || found.has_arrived(index, each);
    call.write_i32("flag", flag, i32::from(has_arrived))?;
    if !has_arrived {
        call.yield_if_due().await;
    }
    Ok(())
}
