//! Ports and published names.

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_vm::GuestAddr;

use crate::abi;
use crate::call::{Call, MpiView};
use crate::ctx::MpiCtx;
use crate::host::info;
use crate::port::{Message, MpiPort, Payload, Pending};
use crate::registry::{self, REGISTRY_NODE, What};
use crate::world::CONTEXT_SELF;

/// Longest name of a service.
const SERVICE_BYTES_MAX: usize = 1024;

/// Asks the node that keeps ports and names.
pub(super) async fn ask<T: MpiView>(
    call: &mut Call<'_, T>,
    what: What,
    service: &str,
    port: &str,
) -> Result<String> {
    let mpi = call.mpi();
    let question = registry::question(what, mpi.port.rank(), service, port);
    let world = mpi.port.world().clone();
    if world.this_node() == REGISTRY_NODE {
        return registry::told(&registry::answer(&world, &question));
    }
    mpi.check_node(REGISTRY_NODE)?;
    let name = mpi.port.ask(REGISTRY_NODE, &question);
    call.commit();
    let function = call.function;
    let pending = Pending { function, peer: None, tag: None, context: CONTEXT_SELF };
    let ready = |mpi: &mut MpiCtx<T::Port>| {
        answer(mpi, name).or_else(|| mpi.check_node(REGISTRY_NODE).err().map(Err))
    };
    call.wait(&pending, &|| false, ready).await
}

/// Takes the answer to the question `name`, if it has come.
fn answer<P: MpiPort>(mpi: &mut MpiCtx<P>, name: u32) -> Option<Result<String>> {
    let index = mpi.answers.iter().position(|answer| answer.header.request == name)?;
    let Message { payload, .. } = mpi.answers.swap_remove(index);
    Some(match payload {
        Payload::Shared(bytes) => registry::told(&bytes),
        _ => registry::told(&[]),
    })
}

pub(super) fn read_port<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<String> {
    let read = call.read_string("port_name", addr, abi::MPI_MAX_PORT_NAME as usize);
    read.map_err(|error| MpiError { class: ErrorClass::Port, ..error })
}

fn read_service<T: MpiView>(call: &mut Call<'_, T>, addr: GuestAddr) -> Result<String> {
    let name = call.read_string("service_name", addr, SERVICE_BYTES_MAX)?;
    if name.is_empty() {
        let detail = "the name of the service is empty";
        return Err(MpiError::argument(ErrorClass::Service, "service_name", detail));
    }
    Ok(name)
}

pub(super) async fn open_port<T: MpiView>(
    call: &mut Call<'_, T>,
    hints: i32,
    port_name: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    info::hints(call.mpi(), hints)?;
    let port = ask(call, What::Open, "", "").await?;
    let room = abi::MPI_MAX_PORT_NAME as usize;
    call.write_string("port_name", port_name, &port, room).map(|_| ())
}

pub(super) async fn close_port<T: MpiView>(
    call: &mut Call<'_, T>,
    port_name: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    let port = read_port(call, port_name)?;
    ask(call, What::Close, "", &port).await.map(|_| ())
}

pub(super) async fn publish_name<T: MpiView>(
    call: &mut Call<'_, T>,
    service_name: GuestAddr,
    hints: i32,
    port_name: GuestAddr,
) -> Result<()> {
    tell(call, What::Publish, service_name, hints, port_name).await
}

pub(super) async fn unpublish_name<T: MpiView>(
    call: &mut Call<'_, T>,
    service_name: GuestAddr,
    hints: i32,
    port_name: GuestAddr,
) -> Result<()> {
    tell(call, What::Unpublish, service_name, hints, port_name).await
}

async fn tell<T: MpiView>(
    call: &mut Call<'_, T>,
    what: What,
    service_name: GuestAddr,
    hints: i32,
    port_name: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    info::hints(call.mpi(), hints)?;
    let (service, port) = (read_service(call, service_name)?, read_port(call, port_name)?);
    ask(call, what, &service, &port).await.map(|_| ())
}

pub(super) async fn lookup_name<T: MpiView>(
    call: &mut Call<'_, T>,
    service_name: GuestAddr,
    hints: i32,
    port_name: GuestAddr,
) -> Result<()> {
    call.require_running()?;
    info::hints(call.mpi(), hints)?;
    let service = read_service(call, service_name)?;
    let port = ask(call, What::LookUp, &service, "").await?;
    let room = abi::MPI_MAX_PORT_NAME as usize;
    call.write_string("port_name", port_name, &port, room).map(|_| ())
}
