//! A rank whose job goes on with its ranks placed anew: it stays, leaves or arrives.

use std::sync::Arc;

use faasm_mpi_shim::MpiCtx;
use faasm_vm::snapshot::content;
use faasm_vm::{GuestAddr, GuestMemory};
use futures_util::future::{Either, select};
use wasmtime::{Instance, Store};

use super::image;
use super::stack::{self, StackState};
use super::state::FaasletState;
use crate::checkpoint::Deposit;
use crate::job::{Arrival, Decision, JobShared, Next, OutsideWaits, Renewal};

/// Bytes that are looked at at a time.
const BLOCK_BYTES: u64 = 64 << 10;

/// The rank has left in the round with this number: hands over what it is, and waits until it may go on. Returns whether
/// it does so on this node; `job` is the job's life in which it does.
pub(super) async fn leave(
    store: &mut Store<FaasletState>,
    job: &mut Arc<JobShared>,
    (rank, number): (u32, u64),
    taken: Result<Deposit, String>,
) -> bool {
    let mpi = taken.as_ref().ok().map(|deposit| deposit.image.mpi.clone());
    let (before, mut renewals) = (job.clone(), job.renewals());
    let mut round = std::pin::pin!(before.rounds().leave(number, taken.map_err(|why| (rank, why))));
    loop {
        // The round is looked at first: with that the rank leaves what it is.
        let is_over = {
            let announced = std::pin::pin!(renewals.changed());
            // The job holds the other end of the channel.
            matches!(select(round.as_mut(), announced).await, Either::Left(_))
        };
        if is_over {
            // Nobody waits until one that leaves has heard of it.
            return !before.has_renewed();
        }
        let renewal = renewals.borrow_and_update().clone();
        let (Some(renewal), Some(mpi)) = (renewal, &mpi) else { continue };
        let stays = renewal.job.world().is_local(rank);
        let made = stays.then(|| restore(store, &renewal, mpi));
        let new = match made {
            Some(Ok(new)) => {
                renewal.carry_over(&before, rank, store.data().memory.clone());
                renewal.tell(rank, Ok(()));
                Some(new)
            }
            Some(Err(why)) => {
                renewal.tell(rank, Err(why));
                None
            }
            None => None,
        };
        if renewal.decided().await != Decision::Renew {
            continue;
        }
        let Some(new) = new else { return false };
        go_over(store, new, &renewal, rank);
        *job = renewal.job.clone();
        round.await;
        return true;
    }
}

/// A rank may come to this node, to this instance: makes it what it was elsewhere. Returns whether it goes on here; `job` is
/// then the job's life in which it does.
pub(super) async fn arrive(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    arrival: &Arrival,
    job: &mut Arc<JobShared>,
) -> wasmtime::Result<bool> {
    let rank = arrival.rank();
    let expected = expect(store, instance, arrival, job).await;
    let Some(renewal) = expected.map_err(wasmtime::Error::msg)? else { return Ok(false) };
    // The instance may have been made before this life was.
    let before = std::mem::replace(job, renewal.job.clone());
    renewal.carry_over(&before, rank, store.data().memory.clone());
    drop(before);
    let round = job.rounds().next_end();
    let came = put(store, instance, arrival, &renewal).await;
    if let Err(why) = &came {
        renewal.tell(rank, Err(why.clone()));
        return Ok(false);
    }
    stack::rewinds(store, instance)?;
    renewal.tell(rank, Ok(()));
    if renewal.decided().await != Decision::Renew {
        return Ok(false);
    }
    round.await;
    Ok(true)
}

/// Has a memory ready for the rank until it comes; gives the job's life in which it does, if it does.
async fn expect(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    arrival: &Arrival,
    job: &JobShared,
) -> Result<Option<Arc<Renewal>>, String> {
    let memory = store.data().memory.clone();
    // The program's own data is there; what does not come is zero.
    let threads = store.data().thread.as_ref();
    clear(&memory, threads.map_or(memory.len(), |thread| thread.group.memory_bytes()))?;
    loop {
        arrival.give_memory(&memory)?;
        job.welcome(arrival, memory.len());
        match arrival.next(memory.len()).await {
            Next::Grow(bytes) => image::grow(store, instance, bytes)?,
            Next::Come(renewal) => return Ok(Some(renewal)),
            Next::GiveUp => return Ok(None),
        }
    }
}

async fn put(
    store: &mut Store<FaasletState>,
    instance: &Instance,
    arrival: &Arrival,
    renewal: &Renewal,
) -> Result<(), String> {
    let (memory, rank) = (store.data().memory.clone(), arrival.rank());
    let image = arrival.image().await?;
    image::put(store, instance, &image)?;
    arrival.give_memory(&memory)?;
    let wasi = &mut store.data_mut().wasi;
    wasi.restore_files(&image.files).map_err(|error| error.to_string())?;
    let mpi = restore(store, renewal, &image.mpi)?;
    renewal.job.adopt_offers(rank, &image.offers)?;
    go_over(store, mpi, renewal, rank);
    let state = store.data_mut();
    let every = state.stack.as_ref().and_then(StackState::every);
    state.stack = Some(StackState::arriving(every, image.frames));
    let group = state.thread.as_ref().map(|thread| thread.group.clone());
    arrival.complete().await?;
    image::share_windows(store)?;
    match (group, image.threads) {
        (Some(group), Some(threads)) => group.begin_again(threads.others).await,
        _ => Ok(()),
    }
}

/// The rank's MPI state in the job's next life.
fn restore(
    store: &Store<FaasletState>,
    renewal: &Renewal,
    saved: &[u8],
) -> Result<MpiCtx<super::RankPort>, String> {
    let state = store.data();
    let port = state.mpi.port.again(renewal.job.clone());
    MpiCtx::restore(port, &state.wasi, saved).map_err(|error| error.to_string())
}

fn go_over(
    store: &mut Store<FaasletState>,
    new: MpiCtx<super::RankPort>,
    renewal: &Renewal,
    rank: u32,
) {
    let state = store.data_mut();
    let mut new = new;
    new.set_memory(state.memory.clone());
    match &state.thread {
        None => state.mpi = new,
        Some(thread) => {
            thread.group.go_over(&renewal.job, new);
            if let Some(stand_in) = thread.group.stand_in() {
                state.mpi = stand_in;
            }
        }
    }
    state.wasi.hooks = Arc::new(OutsideWaits { job: renewal.job.clone(), rank });
}

/// Makes so much of a new memory zero, without touching what is.
fn clear(memory: &GuestMemory, bytes: u64) -> Result<(), String> {
    let ranges = content(memory).into_iter().map(|range| range.start..range.end.min(bytes));
    for range in ranges {
        for at in range.clone().step_by(BLOCK_BYTES as usize) {
            let len = BLOCK_BYTES.min(range.end - at);
            let at = GuestAddr::new(at);
            let block = memory.read_vec(at, len).map_err(|fault| fault.to_string())?;
            if block.iter().any(|byte| *byte != 0) {
                memory.fill(at, 0, len).map_err(|fault| fault.to_string())?;
            }
        }
    }
    Ok(())
}
