//! Dynamic processes (MPI-5.0 chapter 11): spawning, connecting, ports and published names.
//!
//! Spawned processes are further ranks of the job with an `MPI_COMM_WORLD` of their own, on whichever of its nodes the
//! runtime chooses; the info key `host` restricts these. Ports and names are kept by the job's first node.
//!
//! # Unfinished features
//! Processes of different jobs cannot be connected: a port or name of another job is not found.
//! `MPI_Comm_join` finds no socket, for programs on WASI preview 1 cannot make one.

mod arguments;
mod connect;
mod port;
mod spawn;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, Ending, Failure, MpiView, ending};
use crate::host::communicator::free;
use crate::host::fault::meet_the_living;
use crate::table::host_functions;
use connect::{comm_accept, comm_connect};
use port::{close_port, lookup_name, open_port, publish_name, unpublish_name};
use spawn::{comm_spawn, comm_spawn_multiple};

host_functions! {
    /// Spawns processes of one program. Section 11.8.2.
    call fn MPI_Comm_spawn(command: GuestAddr, argv: GuestAddr, maxprocs: i32, info: i32, root: i32, comm: i32, intercomm: GuestAddr, array_of_errcodes: GuestAddr) = comm_spawn;
    /// Spawns processes of several programs. Section 11.8.3.
    call fn MPI_Comm_spawn_multiple(count: i32, array_of_commands: GuestAddr, array_of_argv: GuestAddr, array_of_maxprocs: GuestAddr, array_of_info: GuestAddr, root: i32, comm: i32, intercomm: GuestAddr, array_of_errcodes: GuestAddr) = comm_spawn_multiple;
    /// The intercommunicator with the processes that spawned this one. Section 11.8.2.
    call fn MPI_Comm_get_parent(parent: GuestAddr) = comm_get_parent;
    /// Opens a port. Section 11.9.2.
    call fn MPI_Open_port(info: i32, port_name: GuestAddr) = open_port;
    /// Closes a port. Section 11.9.2.
    call fn MPI_Close_port(port_name: GuestAddr) = close_port;
    /// Waits for a group that connects. Section 11.9.2.
    call fn MPI_Comm_accept(port_name: GuestAddr, info: i32, root: i32, comm: i32, newcomm: GuestAddr) = comm_accept;
    /// Connects to a group that accepts. Section 11.9.3.
    call fn MPI_Comm_connect(port_name: GuestAddr, info: i32, root: i32, comm: i32, newcomm: GuestAddr) = comm_connect;
    /// Publishes a port under a name. Section 11.9.4.
    call fn MPI_Publish_name(service_name: GuestAddr, info: i32, port_name: GuestAddr) = publish_name;
    /// Takes a published name back. Section 11.9.4.
    call fn MPI_Unpublish_name(service_name: GuestAddr, info: i32, port_name: GuestAddr) = unpublish_name;
    /// The port that is published under a name. Section 11.9.4.
    call fn MPI_Lookup_name(service_name: GuestAddr, info: i32, port_name: GuestAddr) = lookup_name;
    /// Ends a connection once everybody has finished with it. Section 11.10.4.
    ending fn MPI_Comm_disconnect(comm: GuestAddr) = comm_disconnect;
    /// Connects two processes over a socket. Section 11.10.5.
    call fn MPI_Comm_join(fd: i32, intercomm: GuestAddr) = comm_join;
}

async fn comm_get_parent<T: MpiView>(call: &mut Call<'_, T>, parent: GuestAddr) -> Result<()> {
    call.require_running()?;
    let mpi = call.mpi();
    let handle = match mpi.comms.get(mpi.parent) {
        Some(_) => mpi.parent,
        None => abi::MPI_COMM_NULL,
    };
    call.write_i32("parent", parent, handle)
}

async fn comm_disconnect<T: MpiView>(call: &mut Call<'_, T>, comm: GuestAddr) -> Ending {
    ending(disconnect(call, comm).await)
}

async fn disconnect<T: MpiView>(
    call: &mut Call<'_, T>,
    comm: GuestAddr,
) -> std::result::Result<(), Failure> {
    call.require_running()?;
    let handle = call.read_i32("comm", comm)?;
    if !matches!(handle, abi::MPI_COMM_WORLD | abi::MPI_COMM_SELF) {
        meet_the_living(call, handle).await?;
    }
    free(call, comm).await
}

async fn comm_join<T: MpiView>(
    call: &mut Call<'_, T>,
    fd: i32,
    intercomm: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    call.write_i32("intercomm", intercomm, abi::MPI_COMM_NULL)?;
    if fd < 0 {
        let detail = format!("{fd} is not a file descriptor");
        return Err(MpiError::argument(ErrorClass::Arg, "fd", detail));
    }
    let detail = format!(
        "descriptor {fd} is not a connected socket: programs on WASI preview 1 cannot make one. Use \
         MPI_Open_port with MPI_Comm_accept and MPI_Comm_connect to connect processes of a job"
    );
    Err(MpiError::argument(ErrorClass::UnsupportedOperation, "fd", detail))
}

/// Checks that `root` is a rank of the intracommunicator `comm`; tells whether it is this process.
fn is_root<T: MpiView>(call: &mut Call<'_, T>, root: i32, comm: i32) -> Result<bool> {
    call.require_running()?;
    let communicator = call.mpi().intracomm(comm)?;
    let (rank, size) = (communicator.rank, communicator.size());
    if u32::try_from(root).is_ok_and(|root| root < size) {
        return Ok(root.cast_unsigned() == rank);
    }
    let detail = format!("{root} is not a rank of the communicator, which has {size}");
    Err(MpiError::argument(ErrorClass::Root, "root", detail))
}
