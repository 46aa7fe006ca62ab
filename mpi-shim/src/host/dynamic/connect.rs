//! Connecting two groups through a port.
//!
//! The root that connects writes to the process that opened the port, under a context that is for
//! ports alone, and names the context of the new intercommunicator; the root that accepts answers
//! there. Letters that nobody accepts yet wait with the process, even if its group fails meanwhile and others accept later,
//! and are passed over when their sender has failed or given up.

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::dynamic::Port;
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;
use faasm_vm::GuestAddr;

use super::is_root;
use super::port::{ask, read_port};
use crate::call::{Call, MpiView};
use crate::ctx::{Interrupted, MpiCtx};
use crate::host::info;
use crate::host::intercomm::letter::{self, Address, malformed};
use crate::host::intercomm::meeting::{
    Found, Pair, agree_on, conclude, decoded, encoded, greeting, has_given_up, hear, why_leave,
};
use crate::port::MpiPort;
use crate::registry::What;

/// Context of letters to ports; no communicator has it.
const CONTEXT_PORTS: u32 = u32::MAX;

pub(super) async fn comm_accept<T: MpiView>(
    call: &mut Call<'_, T>,
    port_name: GuestAddr,
    hints: i32,
    root: i32,
    comm: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    connect(call, (port_name, hints), (root, comm), newcomm, false).await
}

pub(super) async fn comm_connect<T: MpiView>(
    call: &mut Call<'_, T>,
    port_name: GuestAddr,
    hints: i32,
    root: i32,
    comm: i32,
    newcomm: GuestAddr,
) -> Result<()> {
    connect(call, (port_name, hints), (root, comm), newcomm, true).await
}

/// Either side; `connects` tells which. Others may keep it waiting for long, so it can be left there: what was done before is
/// noted.
async fn connect<T: MpiView>(
    call: &mut Call<'_, T>,
    (port_name, hints): (GuestAddr, i32),
    (root, comm): (i32, i32),
    newcomm: GuestAddr,
    connects: bool,
) -> Result<()> {
    let has_knocked = match call.resume() {
        Some(Interrupted::Agreed(knocked)) => Some(knocked),
        _ => None,
    };
    let leads = is_root(call, root, comm);
    if let Err(error) = &leads
        && error.class != ErrorClass::Root
    {
        return Err(error.clone());
    }
    let port = match (&leads, has_knocked) {
        (Ok(true), Some(_)) => Some(read_port(call, port_name).and_then(|name| Port::parse(&name))),
        (Ok(true), None) => Some(checked_port(call, (port_name, hints), connects).await),
        _ => None,
    };
    call.mpi().error_comm = comm;
    let input = match (&leads, &port) {
        (Err(error), _) | (_, Some(Err(error))) => Err(error.clone()),
        _ => Ok(root),
    };
    if has_knocked.is_none() {
        agree_on(call, comm, ("root", input)).await?;
    }
    let port = port.and_then(Result::ok);
    call.go_on_from(Interrupted::Agreed(has_knocked.flatten()));
    let made = meet(call, port, (comm, connects), has_knocked.flatten()).await;
    call.resume();
    call.write_i32("newcomm", newcomm, made?)
}

/// Makes the communicator; only the root has a port.
async fn meet<T: MpiView>(
    call: &mut Call<'_, T>,
    port: Option<Port>,
    (comm, connects): (i32, bool),
    knocked: Option<u32>,
) -> Result<i32> {
    let found = match port {
        Some(port) => {
            let own = call.mpi().comm(comm)?.group.clone();
            Some(match connects {
                true => knock(call, port, (comm, own), knocked).await,
                false => answer(call, port, (comm, own)).await,
            })
        }
        None => None,
    };
    conclude(call, comm, found).await
}

/// The port of the root's arguments, which is open; one's own when accepting.
async fn checked_port<T: MpiView>(
    call: &mut Call<'_, T>,
    (port_name, hints): (GuestAddr, i32),
    connects: bool,
) -> Result<Port> {
    info::hints(call.mpi(), hints)?;
    let name = read_port(call, port_name)?;
    let port = Port::parse(&name)?;
    ask(call, What::Find, "", &name).await?;
    let own = call.mpi().port.rank();
    if !connects && port.process != own {
        let detail = format!(
            "the port was opened by process {} of the job; only that process accepts at it",
            port.process
        );
        return Err(MpiError::argument(ErrorClass::Port, "port_name", detail));
    }
    if !call.mpi().port.world().exists(port.process) {
        let detail = format!("the port names process {}, which there is not", port.process);
        return Err(MpiError::argument(ErrorClass::Port, "port_name", detail));
    }
    Ok(port)
}

const fn address(port: Port) -> Address {
    Address { context: CONTEXT_PORTS, tag: port.number.cast_signed() }
}

/// Asks the process of the port to accept this group, unless it has `knocked` already under this context.
async fn knock<T: MpiView>(
    call: &mut Call<'_, T>,
    port: Port,
    (comm, own): (i32, Group),
    knocked: Option<u32>,
) -> Result<Found> {
    let context = match knocked {
        Some(context) => context,
        None => {
            let mpi = call.mpi();
            let context = mpi.port.world().new_context()?;
            let mut out = Writer::new();
            out.u32(context);
            out.raw(&encoded(&Ok(own.clone())));
            letter::send(mpi, port.process, address(port), &out.into_bytes());
            call.note(Interrupted::Agreed(Some(context)));
            context
        }
    };
    let peer = port.process;
    let leave = |mpi: &mut MpiCtx<T::Port>| why_leave(mpi, comm, peer);
    let other = hear(call, (peer, context), leave).await?;
    let leader = call.mpi().port.rank();
    let pair = Pair::of(context, (leader, own), (peer, other))?;
    Ok(Found { pair, peer })
}

/// Accepts the first group that has asked and still waits.
async fn answer<T: MpiView>(
    call: &mut Call<'_, T>,
    port: Port,
    (comm, own): (i32, Group),
) -> Result<Found> {
    let (peer, letter, context) = loop {
        let leave = |mpi: &mut MpiCtx<T::Port>| mpi.check_members(comm).err();
        let (peer, letter) = letter::receive(call, None, address(port), leave).await?;
        let context = Reader::new(&letter).u32().ok_or_else(malformed)?;
        if !has_given_up(call.mpi(), (peer, context)) {
            break (peer, letter, context);
        }
        // Nobody will miss that one.
        call.go_on_from(Interrupted::Agreed(None));
    };
    let mut reader = Reader::new(&letter);
    reader.u32().ok_or_else(malformed)?;
    let other = decoded(reader.rest())?;
    let mpi = call.mpi();
    letter::send(mpi, peer, greeting(context), &encoded(&Ok(own.clone())));
    let pair = Pair::of(context, (mpi.port.rank(), own), (peer, other))?;
    Ok(Found { pair, peer })
}
