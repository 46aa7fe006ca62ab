//! What guests import as `faasm_thread`, and what the load-time pass makes their code call.

use faasm_mpi_shim::{MpiView, waypoint};
use faasm_vm::rewrite::THREAD_MODULE;
use wasmtime::{Caller, Linker};

use super::park::WaitsFor;
use super::run::{Thread, ThreadExit, ThreadFault};
use super::wait::Expected;
use super::word;
use crate::faaslet::FaasletState;
use crate::host::wasi::{ProcExit, Yield};
use crate::scheduler::LocalQueue;

/// `EAGAIN` of the C library of WASI.
const EAGAIN: i32 = 6;
/// `EINVAL` of the C library of WASI.
const EINVAL: i32 = 28;

/// Calls of polling loops between two times that the fiber is left although nothing else waits
/// for the worker: its timers have to be looked at.
const POLLS_BETWEEN_YIELDS: u32 = 16;
/// The same for the processor: the thread that is waited for may be another worker's, which the system has taken it
/// from. Without this each such wait lasts for a time slice of the system.
const POLLS_BETWEEN_SYSTEM_YIELDS: u32 = 64;

type Linked = wasmtime::Result<()>;

/// Offers the functions to a program with threads.
pub(crate) fn add_to_linker(linker: &mut Linker<FaasletState>) -> Linked {
    add_threads(linker)?;
    add_memory(linker)?;
    add_waits(linker)
}

fn add_threads(linker: &mut Linker<FaasletState>) -> Linked {
    let module = THREAD_MODULE;
    linker.func_wrap_async(
        module,
        "spawn",
        |mut caller: Caller<'_, FaasletState>, (argument, stack_top, tls): (i32, i32, i32)| {
            Box::new(async move {
                let group = thread(&mut caller)?.group.clone();
                let id = group.spawn(argument, stack_top, tls);
                if id.is_none() && group.is_ending() {
                    // The rank is about to be ended where it stands: that is no failure of its own.
                    std::future::pending::<()>().await;
                }
                wasmtime::Result::Ok(id.map_or(-EAGAIN, u32::cast_signed))
            })
        },
    )?;
    linker.func_wrap(module, "self", |mut caller: Caller<'_, FaasletState>| {
        wasmtime::Result::Ok(thread(&mut caller)?.shared.id().cast_signed())
    })?;
    linker.func_wrap(module, "processors", |mut caller: Caller<'_, FaasletState>| {
        wasmtime::Result::Ok(thread(&mut caller)?.group.scheduler().regular().cast_signed())
    })?;
    linker.func_wrap_async(module, "exit", |mut caller: Caller<'_, FaasletState>, (): ()| {
        Box::new(async move {
            if thread(&mut caller)?.shared.id() > 0 {
                return wasmtime::Result::<()>::Err(ThreadExit.into());
            }
            main_exit(caller).await
        })
    })?;
    linker.func_wrap_async(module, "yield", |mut caller: Caller<'_, FaasletState>, (): ()| {
        Box::new(async move {
            if FaasletState::leaves(&mut caller) {
                return Ok(());
            }
            let (mut caller, passes) = pass(caller, "sched_yield").await?;
            if !passes {
                return Ok(());
            }
            if let Some(thread) = caller.data_mut().thread.as_mut() {
                // Who calls this has looked often enough already.
                give_way(&mut thread.polls, POLLS_BETWEEN_YIELDS);
            }
            Yield::default().await;
            wasmtime::Result::Ok(())
        })
    })?;
    linker.func_wrap_async(module, "poll", |mut caller: Caller<'_, FaasletState>, (): ()| {
        Box::new(async move {
            if FaasletState::leaves(&mut caller) {
                return Ok(());
            }
            let (mut caller, passes) = pass(caller, "a loop that waits").await?;
            if !passes {
                return Ok(());
            }
            let thread = thread(&mut caller)?;
            if give_way(&mut thread.polls, 1) || !LocalQueue::is_worker_idle() {
                Yield::default().await;
            }
            wasmtime::Result::Ok(())
        })
    })?;
    Ok(())
}

/// Waits where the thread has to, if the job's gate is not open; `false` when it leaves there.
async fn pass<'a>(
    caller: Caller<'a, FaasletState>,
    function: &'static str,
) -> wasmtime::Result<(Caller<'a, FaasletState>, bool)> {
    if caller.data().door.is_none() {
        return Ok((caller, true));
    }
    Box::pin(waypoint::pass(caller, function)).await
}

/// The main thread is over: ends the rank when the others are, too.
async fn main_exit(mut caller: Caller<'_, FaasletState>) -> wasmtime::Result<()> {
    const FUNCTION: &str = "pthread_exit";
    if FaasletState::leaves(&mut caller) {
        return Ok(());
    }
    loop {
        let (passed, passes) = pass(caller, FUNCTION).await?;
        caller = passed;
        if !passes {
            return Ok(());
        }
        let door = caller.data().door.clone();
        let Thread { group, shared, .. } = thread(&mut caller)?;
        let (group, shared) = (group.clone(), shared.clone());
        let is_told = || door.as_ref().is_some_and(|door| door.interrupts());
        shared.park_until(WaitsFor::Threads, || group.is_alone() || is_told()).await;
        if group.is_alone() {
            return Err(ProcExit(0).into());
        }
        if waypoint::leaves(&mut caller, FUNCTION) {
            return Ok(());
        }
    }
}

/// Counts `weight` polls, and now and then leaves the processor to another thread of the system; whether it is time to
/// leave the fiber.
fn give_way(polls: &mut u32, weight: u32) -> bool {
    *polls += weight;
    if *polls >= POLLS_BETWEEN_SYSTEM_YIELDS {
        *polls = 0;
        std::thread::yield_now();
    }
    polls.is_multiple_of(POLLS_BETWEEN_YIELDS)
}

fn add_memory(linker: &mut Linker<FaasletState>) -> Linked {
    let module = THREAD_MODULE;
    linker.func_wrap(
        module,
        "guard",
        |mut caller: Caller<'_, FaasletState>, addr: i32, len: i32| {
            let (start, len) = (addr.cast_unsigned(), len.cast_unsigned());
            let Some(end) = start.checked_add(len) else { return wasmtime::Result::Ok(-EINVAL) };
            Ok(if thread(&mut caller)?.group.guard(start, end) { 0 } else { -EAGAIN })
        },
    )?;
    linker.func_wrap(module, "memory_size", |mut caller: Caller<'_, FaasletState>| {
        wasmtime::Result::Ok(thread(&mut caller)?.group.pages().cast_signed())
    })?;
    linker.func_wrap(
        module,
        "memory_grow",
        |mut caller: Caller<'_, FaasletState>, pages: i32| {
            let grown = thread(&mut caller)?.group.grow(pages.cast_unsigned());
            wasmtime::Result::Ok(grown.map_or(-1, u32::cast_signed))
        },
    )?;
    linker.func_wrap(module, "stack_overflow", |mut caller: Caller<'_, FaasletState>| {
        let thread = thread(&mut caller)?.shared.id();
        wasmtime::Result::<()>::Err(ThreadFault::StackOverflow { thread }.into())
    })?;
    Ok(())
}

fn add_waits(linker: &mut Linker<FaasletState>) -> Linked {
    let module = THREAD_MODULE;
    linker.func_wrap_async(
        module,
        "wait32",
        |caller, (addr, expected, timeout): (i32, i32, i64)| {
            let expected = Expected::Word32(expected.cast_unsigned());
            Box::new(word::wait(caller, address(addr, 0), expected, timeout))
        },
    )?;
    linker.func_wrap_async(
        module,
        "wait64",
        |caller, (addr, expected, timeout): (i32, i64, i64)| {
            let expected = Expected::Word64(expected.cast_unsigned());
            Box::new(word::wait(caller, address(addr, 0), expected, timeout))
        },
    )?;
    linker.func_wrap_async(
        module,
        "atomic_wait32",
        |caller, (addr, expected, timeout, offset): (i32, i32, i64, i32)| {
            let expected = Expected::Word32(expected.cast_unsigned());
            Box::new(word::wait(caller, address(addr, offset), expected, timeout))
        },
    )?;
    linker.func_wrap_async(
        module,
        "atomic_wait64",
        |caller, (addr, expected, timeout, offset): (i32, i64, i64, i32)| {
            let expected = Expected::Word64(expected.cast_unsigned());
            Box::new(word::wait(caller, address(addr, offset), expected, timeout))
        },
    )?;
    linker.func_wrap(
        module,
        "notify",
        |caller: Caller<'_, FaasletState>, addr: i32, count: i32| {
            notify(caller, address(addr, 0), count)
        },
    )?;
    linker.func_wrap(
        module,
        "atomic_notify",
        |caller: Caller<'_, FaasletState>, addr: i32, count: i32, offset: i32| {
            notify(caller, address(addr, offset), count)
        },
    )?;
    Ok(())
}

pub(super) fn thread<'a>(
    caller: &'a mut Caller<'_, FaasletState>,
) -> wasmtime::Result<&'a mut Thread> {
    let thread = caller.data_mut().thread.as_mut();
    thread.ok_or_else(|| {
        wasmtime::Error::msg(
            "the program uses threads but its memory is not shared; compile and link all of it with \
             faasm-cc -pthread or -fopenmp",
        )
    })
}

/// Where an instruction with this operand and offset reads; it may lie beyond 32 bits.
fn address(addr: i32, offset: i32) -> u64 {
    u64::from(addr.cast_unsigned()) + u64::from(offset.cast_unsigned())
}

fn notify(mut caller: Caller<'_, FaasletState>, addr: u64, count: i32) -> wasmtime::Result<i32> {
    let group = &thread(&mut caller)?.group;
    Ok(group.waits.notify(addr, count.cast_unsigned()).cast_signed())
}
