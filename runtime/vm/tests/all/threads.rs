//! Modules whose memory is shared: what the pass makes of them, and instances on one memory.

use faasm_vm::rewrite::{ADDED_IMPORTS, RewriteError, THREAD_MODULE, inspect, rewrite};
use faasm_vm::{EngineConfig, GuestAddr, VmEngine, on_memory};
use wasmtime::{Caller, Engine, Linker, Module, Store};

use crate::assemble;

/// Everything that counts functions, and every operation that becomes a call.
const THREADED: &str = r#"(module
    (import "env" "first" (func $first (result i32)))
    (import "env" "memory" (memory 1 20 shared))
    (type $answer (func (result i32)))
    (table (export "table") 3 funcref)
    (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 4096))
    (global $reference funcref (ref.func $two))
    (elem (i32.const 0) $first $one $two)
    (elem declare func $two)
    (start $begin)
    (data $greeting "hello")
    (func $begin (if (i32.eqz (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 0) (i32.const 1)))
        (then (memory.init $greeting (i32.const 16) (i32.const 0) (i32.const 5)))))
    (func $one (result i32) (i32.const 1))
    (func $two (result i32) (i32.add (call $one) (i32.const 1)))
    (func (export "by_table") (param i32) (result i32) (call_indirect (type $answer) (local.get 0)))
    (func (export "direct") (result i32) (i32.add (call $first) (call $two)))
    (func (export "wait") (result i32)
        (memory.atomic.wait32 offset=8 (i32.const 16) (i32.const 3) (i64.const 5)))
    (func (export "wait_long") (result i32)
        (memory.atomic.wait64 offset=16 (i32.const 16) (i64.const 3) (i64.const 5)))
    (func (export "notify") (result i32) (memory.atomic.notify offset=4 (i32.const 16) (i32.const 2)))
    (func (export "size") (result i32) (memory.size))
    (func (export "grow") (result i32) (memory.grow (i32.const 2)))
    (func (export "down") (param i32)
        (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (local.get 0))))
    (func (export "add") (param i32) (result i32)
        (i32.atomic.rmw.add (i32.const 64) (local.get 0)))
    (func (export "poll") (param i32) (result i32)
        (loop $again
            (br_if $again (i32.lt_u (i32.atomic.rmw.add (i32.const 128) (i32.const 1)) (local.get 0))))
        (i32.load (i32.const 128)))
    (func (export "trap") unreachable))"#;

/// What the added functions were called with.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<String>,
}

fn linker(engine: &Engine) -> Linker<Seen> {
    let mut linker = Linker::new(engine);
    let module = THREAD_MODULE;
    let note = |caller: &mut Caller<'_, Seen>, text: String| caller.data_mut().calls.push(text);
    linker.func_wrap("env", "first", || 40).expect("new");
    linker
        .func_wrap(
            module,
            ADDED_IMPORTS[0],
            move |mut c: Caller<'_, Seen>, a: i32, e: i32, t: i64, o: i32| {
                note(&mut c, format!("wait32 {a} {e} {t} {o}"));
                1
            },
        )
        .expect("new");
    linker
        .func_wrap(
            module,
            ADDED_IMPORTS[1],
            move |mut c: Caller<'_, Seen>, a: i32, e: i64, t: i64, o: i32| {
                note(&mut c, format!("wait64 {a} {e} {t} {o}"));
                2
            },
        )
        .expect("new");
    linker
        .func_wrap(
            module,
            ADDED_IMPORTS[2],
            move |mut c: Caller<'_, Seen>, a: i32, n: i32, o: i32| {
                note(&mut c, format!("notify {a} {n} {o}"));
                7
            },
        )
        .expect("new");
    linker.func_wrap(module, ADDED_IMPORTS[3], || 1).expect("new");
    linker.func_wrap(module, ADDED_IMPORTS[4], |pages: i32| 10 + pages).expect("new");
    linker
        .func_wrap(module, ADDED_IMPORTS[5], || -> wasmtime::Result<()> {
            Err(wasmtime::Error::msg("the stack is full"))
        })
        .expect("new");
    linker
        .func_wrap(module, ADDED_IMPORTS[6], move |mut c: Caller<'_, Seen>| {
            note(&mut c, "poll".into())
        })
        .expect("new");
    linker
}

/// Waits for a future that is never pending.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

struct Rank {
    vm: VmEngine,
    module: Module,
    linker: Linker<Seen>,
}

impl Rank {
    fn new() -> Self {
        let vm = VmEngine::new(&EngineConfig::default()).expect("the host runs WebAssembly");
        let rewritten = rewrite(&assemble(THREADED)).expect("a good module");
        let module = Module::new(vm.engine(), &rewritten.bytes).expect("the pass keeps it valid");
        let linker = linker(vm.engine());
        Self { vm, module, linker }
    }

    fn thread(&self, of: Option<&faasm_vm::GuestMemory>) -> Thread {
        let mut store = Store::new(self.vm.engine(), Seen::default());
        let made = Box::pin(self.linker.instantiate_async(&mut store, &self.module));
        let instance = match of {
            Some(memory) => ready(on_memory(memory, made)),
            None => ready(made),
        };
        let instance = instance.expect("an instance");
        Thread { store, instance }
    }
}

struct Thread {
    store: Store<Seen>,
    instance: wasmtime::Instance,
}

impl Thread {
    fn call(&mut self, name: &str) -> i32 {
        let function = self.instance.get_typed_func::<(), i32>(&mut self.store, name);
        ready(function.expect("exported").call_async(&mut self.store, ())).expect("no trap")
    }

    fn call_with(&mut self, name: &str, argument: i32) -> i32 {
        let function = self.instance.get_typed_func::<i32, i32>(&mut self.store, name);
        ready(function.expect("exported").call_async(&mut self.store, argument)).expect("no trap")
    }

    fn memory(&mut self, rank: &Rank) -> faasm_vm::GuestMemory {
        let memory = self.instance.get_memory(&mut self.store, "faasm.memory.0").expect("exported");
        rank.vm.pool().memory_at(memory.data_ptr(&self.store)).expect("of the pool")
    }
}

#[test]
fn functions_are_found_after_the_imports_were_added() {
    let rank = Rank::new();
    let mut thread = rank.thread(None);
    assert_eq!(thread.call("direct"), 42);
    assert_eq!([0, 1, 2].map(|index| thread.call_with("by_table", index)), [40, 1, 2]);
    let facts = inspect(&rewrite(&assemble(THREADED)).expect("good").bytes).expect("still good");
    assert!(!facts.memory.shared && !facts.memory.imported);
    assert_eq!((facts.memory.min_pages, facts.memory.max_pages), (20, Some(20)));
    let again = rewrite(&rewrite(&assemble(THREADED)).expect("good").bytes).expect("still good");
    assert_eq!(again.bytes, rewrite(&assemble(THREADED)).expect("good").bytes, "idempotent");
}

#[test]
fn names_of_functions_survive() {
    let rank = Rank::new();
    let mut thread = rank.thread(None);
    let trap = thread.instance.get_typed_func::<(), ()>(&mut thread.store, "trap").expect("there");
    let cause = ready(trap.call_async(&mut thread.store, ())).expect_err("it traps");
    assert!(cause.is::<wasmtime::Trap>());
    let named = rewrite(&assemble(
        r#"(module (memory 1 1 shared) (func $culprit (export "f") unreachable))"#,
    ));
    let module = Module::new(rank.vm.engine(), named.expect("good").bytes).expect("valid");
    let mut store = Store::new(rank.vm.engine(), Seen::default());
    let instance = ready(rank.linker.instantiate_async(&mut store, &module)).expect("instance");
    let culprit = instance.get_typed_func::<(), ()>(&mut store, "f").expect("there");
    let cause = ready(culprit.call_async(&mut store, ())).expect_err("it traps");
    assert!(format!("{cause:?}").contains("culprit"), "{cause:?}");
}

#[test]
fn waits_and_growth_are_calls_of_the_host() {
    let rank = Rank::new();
    let mut thread = rank.thread(None);
    assert_eq!((thread.call("wait"), thread.call("wait_long"), thread.call("notify")), (1, 2, 7));
    assert_eq!((thread.call("size"), thread.call("grow")), (1, 12));
    assert_eq!(thread.store.data().calls, ["wait32 16 3 5 8", "wait64 16 3 5 16", "notify 16 2 4"]);
}

#[test]
fn a_polling_loop_calls_the_host_now_and_then() {
    let rank = Rank::new();
    let mut thread = rank.thread(None);
    assert_eq!(thread.call_with("poll", 639), 640);
    let polls = thread.store.data().calls.iter().filter(|call| *call == "poll").count();
    assert_eq!(polls, 10);
}

#[test]
fn a_stack_below_its_limit_ends_the_thread() {
    let rank = Rank::new();
    let mut thread = rank.thread(None);
    let limit = thread.instance.get_global(&mut thread.store, "faasm.stack_limit").expect("there");
    limit.set(&mut thread.store, wasmtime::Val::I32(1024)).expect("mutable");
    let down = thread.instance.get_typed_func::<i32, ()>(&mut thread.store, "down").expect("there");
    ready(down.call_async(&mut thread.store, 3072)).expect("just at the limit");
    let full = ready(down.call_async(&mut thread.store, 16)).expect_err("below it");
    assert!(format!("{full:?}").contains("the stack is full"), "{full:?}");
}

#[test]
fn threads_see_one_memory_whose_data_is_copied_in_once() {
    let rank = Rank::new();
    let mut first = rank.thread(None);
    let memory = first.memory(&rank);
    assert_eq!(memory.read_vec(GuestAddr::new(16), 5).as_deref(), Ok(&b"hello"[..]));
    memory.write(GuestAddr::new(16), b"world").expect("inside");
    let mut second = rank.thread(Some(&memory));
    assert!(second.memory(&rank).is_same(&memory));
    assert_eq!(memory.read_vec(GuestAddr::new(16), 5).as_deref(), Ok(&b"world"[..]));
    assert_eq!((first.call_with("add", 5), second.call_with("add", 7)), (0, 5));
    drop(first);
    assert_eq!(second.call_with("add", 0), 12, "the memory lives as long as one instance");
    // Whoever comes next has a memory of its own.
    let mut third = rank.thread(None);
    assert_eq!(third.call_with("add", 0), 0);
    assert!(!third.memory(&rank).is_same(&memory));
}

#[test]
fn a_slot_is_empty_when_a_rank_with_threads_has_used_it() {
    let rank = Rank::new();
    for _ in 0..3 {
        let mut thread = rank.thread(None);
        let memory = thread.memory(&rank);
        assert_eq!(memory.read_u8(GuestAddr::new(1_000_000)), Ok(0));
        memory.write_u8(GuestAddr::new(1_000_000), 7).expect("all of it is there");
    }
}

#[test]
fn data_that_every_thread_would_copy_in_is_refused() {
    let refused = rewrite(&assemble(
        r#"(module (memory 1 1 shared) (data (i32.const 0) "x") (func (export "_start")))"#,
    ));
    assert!(matches!(refused, Err(RewriteError::ActiveData)));
    let large = rewrite(&assemble("(module (memory 65536 65536 shared) (func))"));
    assert!(matches!(large, Err(RewriteError::SharedTooLarge { pages: 65_536 })));
}
