//! What a program imports whose teams may span nodes.
//!
//! ```text
//! span_nodes, span_node   how many nodes there are, and which this one is; 1 and 0 for an ordinary program
//! span_arena              the pages from which this node's threads get memory
//! span_keep               bytes that each node has for itself, or that a node brings along
//! span_idle, span_next    another node's main thread waits for the end; its threads for the next region
//! span_fork, span_join    the first node's thread begins a region, and ends it
//! span_barrier            the last of a node's threads has come to a barrier
//! span_lock, _try, _unlock, _flush, _chunk, _turn, _pass   critical regions and locks, flushes, loops, ordered parts
//! span_load.., _store.., _update.., _exchange..            atomic operations, which a load-time pass makes calls
//! ```

use faasm_omp_engine::Construct;
use faasm_omp_engine::span::{Atomic, ChunkOrder, Outcome, Wanted};
use faasm_vm::{GuestAddr, GuestMemory};
use wasmtime::{Caller, Linker, Result};

use crate::table::{FunctionInfo, MODULE};

/// Every function.
pub const FUNCTIONS: [FunctionInfo; 24] = [
    sync("span_nodes", "int(void)"),
    sync("span_node", "int(void)"),
    sync("span_arena", "int(int end)"),
    sync("span_keep", "void(int kind, const volatile void *address, size_t length)"),
    waits("span_idle", "void(void)"),
    waits("span_next", "void *(void)"),
    waits("span_fork", "void(const void *region)"),
    waits("span_join", "void(void)"),
    waits("span_barrier", "void(int construct)"),
    waits("span_flush", "void(void)"),
    waits("span_lock", "void(const volatile void *lock, int construct)"),
    waits("span_try", "int(const volatile void *lock)"),
    sync("span_unlock", "void(const volatile void *lock)"),
    waits("span_chunk", "void(void *order)"),
    waits("span_turn", "void(int loop, long long iteration)"),
    sync("span_pass", "void(int loop, long long count)"),
    waits("span_load32", "int(const void *at, int offset, int operation)"),
    waits("span_load64", "long long(const void *at, int offset, int operation)"),
    waits("span_store32", "void(void *at, int value, int offset, int operation)"),
    waits("span_store64", "void(void *at, long long value, int offset, int operation)"),
    waits("span_update32", "int(void *at, int value, int offset, int operation)"),
    waits("span_update64", "long long(void *at, long long value, int offset, int operation)"),
    waits("span_exchange32", "int(void *at, int expected, int value, int offset, int operation)"),
    waits(
        "span_exchange64",
        "long long(void *at, long long expected, long long value, int offset, int operation)",
    ),
];

/// Store data of a thread whose program may span nodes.
pub trait SpanView: Send + Sized + 'static {
    /// This node's number among the program's, and how many there are.
    fn span(&self) -> (u32, u32);

    /// First page of 64 KiB from which this node's threads get memory, and the page behind the last one.
    fn arena(&self) -> (u32, u32);

    /// The bytes are each node's own (`is_shared` is `false`), or the node's contribution when it begins.
    ///
    /// # Errors
    /// That cannot be.
    fn keep(&self, is_shared: bool, start: u32, len: u32) -> Result<()>;

    /// Tells the home something that has no answer.
    ///
    /// # Errors
    /// The program cannot go on.
    fn tell(&mut self, wanted: Wanted) -> Result<()>;

    /// Asks the home, and leaves the fiber until the answer is there.
    ///
    /// # Errors
    /// The program cannot go on, or has ended.
    fn ask(
        caller: &mut Caller<'_, Self>,
        wanted: Wanted,
        construct: Construct,
    ) -> impl Future<Output = Result<Outcome>> + Send;

    /// Leaves the fiber until the program ends.
    ///
    /// # Errors
    /// The program has ended; nothing else is given.
    fn idle(caller: &mut Caller<'_, Self>) -> impl Future<Output = Result<()>> + Send;

    /// Whether an operation on these bytes concerns no other node.
    fn is_own(&self, address: u32, len: u32) -> bool;

    /// The thread's memory.
    fn memory(&self) -> &GuestMemory;
}

const fn sync(name: &'static str, prototype: &'static str) -> FunctionInfo {
    FunctionInfo { name, prototype, waits: false }
}

const fn waits(name: &'static str, prototype: &'static str) -> FunctionInfo {
    FunctionInfo { name, prototype, waits: true }
}

/// Constructs by the numbers of [`Construct`].
const LIBRARY: i32 = 0;
const BARRIER: i32 = 1;
const JOIN: i32 = 2;
const IDLE: i32 = 3;
const LOCK: i32 = 5;
const ORDERED: i32 = 7;
const LOOP: i32 = 11;
const PARALLEL: i32 = 15;

fn construct(number: i32) -> Result<Construct> {
    let found = Construct::from_number(number);
    found.ok_or_else(|| wasmtime::Error::msg(format!("there is no OpenMP construct {number}")))
}

async fn ask<T: SpanView>(
    mut caller: Caller<'_, T>,
    wanted: Wanted,
    number: i32,
) -> Result<Outcome> {
    let construct = construct(number)?;
    T::ask(&mut caller, wanted, construct).await
}

/// What has no other outcome than that the thread goes on.
async fn go<T: SpanView>(caller: Caller<'_, T>, wanted: Wanted, number: i32) -> Result<()> {
    match ask(caller, wanted, number).await? {
        Outcome::Go => Ok(()),
        other => Err(apart(&other)),
    }
}

fn apart(outcome: &Outcome) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the home gave an answer to another question: {outcome:?}"))
}

/// Gives the thread iterations of a loop. The order is `{u32 number, guided; u64 count, chunk; u32 threads, unused; u64
/// first, length}`, of which the last two are the answer.
async fn chunk<T: SpanView>(caller: &mut Caller<'_, T>, at: GuestAddr) -> Result<()> {
    let memory = caller.data().memory().clone();
    let bytes: [u8; 32] = memory.read_array(at)?;
    let word = |index: usize| {
        let bytes = bytes[index..].first_chunk().copied().unwrap_or_default();
        u32::from_le_bytes(bytes)
    };
    let long = |index: usize| u64::from(word(index)) | u64::from(word(index + 4)) << 32;
    let (number, guided) = (word(0), word(4) as u8);
    let order = ChunkOrder { number, guided, count: long(8), chunk: long(16), threads: word(24) };
    match T::ask(caller, Wanted::Chunk(order), construct(LOOP)?).await? {
        Outcome::Chunk { first, len } => {
            let answer = at.checked_add(32).unwrap_or(at);
            memory.write_u64(answer, first)?;
            Ok(memory.write_u64(answer.checked_add(8).unwrap_or(at), len)?)
        }
        other => Err(apart(&other)),
    }
}

/// An atomic operation: its operands, where its instruction points to, and its number.
async fn atomic<T: SpanView>(
    mut caller: Caller<'_, T>,
    (first, second): (u64, u64),
    (at, offset, number): (i32, i32, i32),
) -> Result<u64> {
    let operation = u8::try_from(number).ok().and_then(|n| Some((n, Atomic::from_number(n)?)));
    let place = u64::from(at.cast_unsigned()) + u64::from(offset.cast_unsigned());
    let memory = caller.data().memory().clone();
    let (Some((number, operation)), Ok(address)) = (operation, u32::try_from(place)) else {
        return Err(no_atomic(place));
    };
    if caller.data().is_own(address, operation.bytes.into()) {
        let change = |old| operation.apply(old, first, second);
        let old = memory.atomic_update(GuestAddr::from(address), operation.bytes, change)?;
        return old.ok_or_else(|| no_atomic(place));
    }
    let wanted = Wanted::Atomic { operation: number, address, first, second };
    match T::ask(&mut caller, wanted, construct(LIBRARY)?).await? {
        Outcome::Value(old) => Ok(old),
        other => Err(apart(&other)),
    }
}

fn no_atomic(place: u64) -> wasmtime::Error {
    wasmtime::Error::msg(format!(
        "an atomic operation at {place:#x}, which is outside or not aligned"
    ))
}

fn wide(value: i32) -> u64 {
    value.cast_unsigned().into()
}

fn narrow(value: u64) -> i32 {
    (value as u32).cast_signed()
}

fn add_atomics<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    type Place = (i32, i32, i32);
    linker.func_wrap_async(MODULE, "span_load32", |caller: Caller<'_, T>, place: Place| {
        Box::new(async move { atomic(caller, (0, 0), place).await.map(narrow) })
    })?;
    linker.func_wrap_async(MODULE, "span_load64", |caller: Caller<'_, T>, place: Place| {
        Box::new(atomic(caller, (0, 0), place))
    })?;
    linker.func_wrap_async(
        MODULE,
        "span_store32",
        |caller: Caller<'_, T>, (at, value, offset, number): (i32, i32, i32, i32)| {
            Box::new(async move {
                atomic(caller, (wide(value), 0), (at, offset, number)).await.map(drop)
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_store64",
        |caller: Caller<'_, T>, (at, value, offset, number): (i32, u64, i32, i32)| {
            Box::new(
                async move { atomic(caller, (value, 0), (at, offset, number)).await.map(drop) },
            )
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_update32",
        |caller: Caller<'_, T>, (at, value, offset, number): (i32, i32, i32, i32)| {
            Box::new(async move {
                atomic(caller, (wide(value), 0), (at, offset, number)).await.map(narrow)
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_update64",
        |caller: Caller<'_, T>, (at, value, offset, number): (i32, u64, i32, i32)| {
            Box::new(atomic(caller, (value, 0), (at, offset, number)))
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_exchange32",
        |caller: Caller<'_, T>, (at, old, new, offset, number): (i32, i32, i32, i32, i32)| {
            Box::new(async move {
                let operands = (wide(old), wide(new));
                atomic(caller, operands, (at, offset, number)).await.map(narrow)
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_exchange64",
        |caller: Caller<'_, T>, (at, old, new, offset, number): (i32, u64, u64, i32, i32)| {
            Box::new(atomic(caller, (old, new), (at, offset, number)))
        },
    )?;
    Ok(())
}

/// Registers the functions.
///
/// # Errors
/// When the linker holds one of the names already.
pub fn add_to_linker<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    add_facts(linker)?;
    add_regions(linker)?;
    add_locks(linker)?;
    add_loops(linker)?;
    add_atomics(linker)
}

fn add_facts<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    let of = |caller: Caller<'_, T>| caller.data().span();
    linker.func_wrap(MODULE, "span_nodes", move |caller: Caller<'_, T>| of(caller).1)?;
    linker.func_wrap(MODULE, "span_node", move |caller: Caller<'_, T>| of(caller).0)?;
    linker.func_wrap(MODULE, "span_arena", |caller: Caller<'_, T>, end: i32| {
        let arena = caller.data().arena();
        if end == 0 { arena.0 } else { arena.1 }
    })?;
    linker.func_wrap(
        MODULE,
        "span_keep",
        |caller: Caller<'_, T>, kind: i32, address: i32, length: i32| {
            let (start, len) = (address.cast_unsigned(), length.cast_unsigned());
            caller.data().keep(kind != 0, start, len)
        },
    )?;
    Ok(())
}

fn add_regions<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    linker.func_wrap_async(MODULE, "span_idle", |mut caller: Caller<'_, T>, (): ()| {
        Box::new(async move { T::idle(&mut caller).await })
    })?;
    linker.func_wrap_async(MODULE, "span_next", |caller: Caller<'_, T>, (): ()| {
        Box::new(async move {
            match ask(caller, Wanted::Next, IDLE).await? {
                Outcome::Region { region } => Ok(region),
                other => Err(apart(&other)),
            }
        })
    })?;
    linker.func_wrap_async(MODULE, "span_fork", |caller: Caller<'_, T>, (region,): (i32,)| {
        Box::new(go(caller, Wanted::Fork { region: region.cast_unsigned() }, PARALLEL))
    })?;
    linker.func_wrap_async(MODULE, "span_join", |caller: Caller<'_, T>, (): ()| {
        Box::new(go(caller, Wanted::Join, JOIN))
    })?;
    linker.func_wrap_async(
        MODULE,
        "span_barrier",
        |caller: Caller<'_, T>, (number,): (i32,)| Box::new(go(caller, Wanted::Barrier, number)),
    )?;
    linker.func_wrap_async(MODULE, "span_flush", |caller: Caller<'_, T>, (): ()| {
        Box::new(go(caller, Wanted::Flush, BARRIER))
    })?;
    Ok(())
}

fn add_locks<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    linker.func_wrap_async(
        MODULE,
        "span_lock",
        |caller: Caller<'_, T>, (lock, number): (i32, i32)| {
            Box::new(go(caller, Wanted::Lock { address: lock.cast_unsigned() }, number))
        },
    )?;
    linker.func_wrap_async(MODULE, "span_try", |caller: Caller<'_, T>, (lock,): (i32,)| {
        Box::new(async move {
            match ask(caller, Wanted::TryLock { address: lock.cast_unsigned() }, LOCK).await? {
                Outcome::Go => Ok(1),
                Outcome::Busy => Ok(0),
                other => Err(apart(&other)),
            }
        })
    })?;
    linker.func_wrap(MODULE, "span_unlock", |mut caller: Caller<'_, T>, lock: i32| {
        caller.data_mut().tell(Wanted::Unlock { address: lock.cast_unsigned() })
    })?;
    Ok(())
}

fn add_loops<T: SpanView>(linker: &mut Linker<T>) -> Result<()> {
    linker.func_wrap_async(
        MODULE,
        "span_chunk",
        |mut caller: Caller<'_, T>, (order,): (i32,)| {
            Box::new(async move { chunk(&mut caller, GuestAddr::from(order)).await })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "span_turn",
        |caller: Caller<'_, T>, (number, iteration): (i32, i64)| {
            let (number, iteration) = (number.cast_unsigned(), iteration.cast_unsigned());
            Box::new(go(caller, Wanted::Turn { number, iteration }, ORDERED))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "span_pass",
        |mut caller: Caller<'_, T>, number: i32, count: i64| {
            let (number, count) = (number.cast_unsigned(), count.cast_unsigned());
            caller.data_mut().tell(Wanted::Pass { number, count })
        },
    )?;
    Ok(())
}
