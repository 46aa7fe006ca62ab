//! Ranks that begin where one of them was after its program's own initialisation.
//!
//! A program may export `_initialize` or `faasm_zygote`: what they do is done once a cluster, not once a rank, and before
//! `_start`. The first rank that starts runs them in its own instance, whose memory and globals are then what the
//! others begin with, page by page as they write to it; the first rank of any other node gets them by their hash. They compute only: what they open or print is the first rank's, and they
//! call nothing of MPI.
//!
//! A program whose instances cannot begin alike (see `faasm_vm::rewrite::without_data`), or which has threads, runs them in each rank.

use faasm_vm::{GuestMemory, Proto, on_image};
use wasmtime::{Instance, InstancePre, Store};

use super::FaasletState;
use crate::module::{Beginning, INITIALISERS, Turn};

/// Makes an instance of `program`, and initialises it if it says how. `settle` is called as soon as the instance has
/// its memory, and gives that.
pub(super) async fn begin(
    store: &mut Store<FaasletState>,
    program: &InstancePre<FaasletState>,
    beginning: Option<&Beginning>,
    settle: impl Fn(&mut Store<FaasletState>, &Instance) -> wasmtime::Result<GuestMemory>,
) -> wasmtime::Result<Instance> {
    let Some(Beginning::Once(first)) = beginning else {
        let instance = program.instantiate_async(&mut *store).await?;
        settle(store, &instance)?;
        if beginning.is_some() {
            initialise(store, &instance).await?;
        }
        return Ok(instance);
    };
    let mut own = None;
    let make = async {
        let maker = match first.turn().await {
            Turn::Take(proto) => return Ok(proto),
            Turn::Make(maker) => maker,
        };
        let instance =
            on_image(&first.data, Box::pin(program.instantiate_async(&mut *store))).await?;
        let memory = settle(store, &instance)?;
        initialise(store, &instance).await?;
        own = Some(instance);
        let proto = Proto::capture(&mut *store, &instance, &memory, &first.mutable_globals)?;
        maker.made(&proto);
        Ok::<_, wasmtime::Error>(proto)
    };
    let proto = first.proto.get_or_try_init(|| make).await?;
    if let Some(instance) = own {
        return Ok(instance);
    }
    let made = on_image(proto.memory(), Box::pin(program.instantiate_async(&mut *store)));
    let instance = made.await?;
    settle(store, &instance)?;
    proto.set_globals(&mut *store, &instance)?;
    Ok(instance)
}

async fn initialise(store: &mut Store<FaasletState>, instance: &Instance) -> wasmtime::Result<()> {
    for name in INITIALISERS {
        if let Some(function) = instance.get_func(&mut *store, name) {
            function.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await?;
        }
    }
    Ok(())
}
