use std::sync::atomic::{AtomicU32, Ordering};

use wasmtime::{Caller, TypedFunc};

use super::*;
use crate::{EngineConfig, GuestAddr, PoolConfig};

const PAGE: u64 = 4096;
/// What each user leaves behind, everywhere.
const SECRET: u8 = 0x5e;

/// A program with all that a user can change. `look` gives the sum of what may have been left.
const PROGRAM: &str = r#"(module
    (import "host" "note" (func $note (param i32)))
    (memory (export "memory") 2 8)
    (data (i32.const 4090) "0123456789")
    (global $small (mut i32) (i32.const 3)) (global $float (mut f64) (f64.const 1.5)) (global $wide (mut i64) (i64.const 7))
    (table 2 funcref) (elem (i32.const 0) $seven)
    (func $seven (result i32) (i32.const 7))
    (func (export "begin") (global.set $wide (i64.const 11)) (i32.store (i32.const 70000) (i32.const 0x01020304)))
    (func (export "look") (result i64)
        (local $at i32) (local $sum i64)
        (loop
            (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load8_u (local.get $at))))
            (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 131072))))
        (i64.add (local.get $sum) (i64.add (global.get $wide)
            (i64.add (i64.extend_i32_u (global.get $small)) (i64.trunc_f64_s (global.get $float))))))
    (func (export "spoil") (param $from i32) (param $to i32) (param $value i32)
        (call $note (local.get $value))
        (global.set $small (i32.const -1)) (global.set $float (f64.const 99)) (global.set $wide (i64.const -5))
        (memory.fill (local.get $from) (local.get $value) (i32.sub (local.get $to) (local.get $from))))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "trap") (i32.store8 (i32.const 9) (i32.const 0x5e)) unreachable))"#;

/// What the host knows of a Faaslet.
#[derive(Default)]
struct Notes(Vec<i32>);

/// Exported functions.
struct Functions {
    look: TypedFunc<(), i64>,
    spoil: TypedFunc<(i32, i32, i32), ()>,
    grow: TypedFunc<(), i32>,
    trap: TypedFunc<(), ()>,
}

struct Host;

impl WarmHost for Host {
    type State = Notes;
    type Handles = Functions;

    fn state(&self) -> Notes {
        Notes::default()
    }

    fn begin(&self, store: &mut Store<Notes>, instance: &Instance) -> wasmtime::Result<()> {
        instance.get_typed_func::<(), ()>(&mut *store, "begin")?.call(&mut *store, ())
    }

    fn handles(
        &self,
        store: &mut Store<Notes>,
        instance: &Instance,
    ) -> wasmtime::Result<Functions> {
        Ok(Functions {
            look: instance.get_typed_func(&mut *store, "look")?,
            spoil: instance.get_typed_func(&mut *store, "spoil")?,
            grow: instance.get_typed_func(&mut *store, "grow")?,
            trap: instance.get_typed_func(&mut *store, "trap")?,
        })
    }
}

type Faaslet<'a> = WarmFaaslet<'a, Host>;

fn warm(vm: &VmEngine) -> WarmFaaslets<Host> {
    let mut linker = Linker::new(vm.engine());
    let note = |mut caller: Caller<'_, Notes>, value: i32| caller.data_mut().0.push(value);
    linker.func_wrap("host", "note", note).expect("a name");
    let bytes = wat::parse_str(PROGRAM).expect("a module");
    WarmFaaslets::new(vm, &linker, &bytes, Host).expect("it can be kept")
}

fn engine(small: bool) -> VmEngine {
    let pool = PoolConfig { small_memory_bytes: small.then_some(1 << 20), ..PoolConfig::default() };
    VmEngine::new(&EngineConfig { pool, ..EngineConfig::default() }).expect("an engine")
}

fn look(faaslet: &mut Faaslet<'_>) -> i64 {
    let (store, functions) = faaslet.parts();
    functions.look.call(store, ()).expect("it looks")
}

fn spoil(faaslet: &mut Faaslet<'_>, (from, to): (u64, u64)) {
    let (store, functions) = faaslet.parts();
    let places = (from as i32, to as i32, i32::from(SECRET));
    functions.spoil.call(store, places).expect("it spoils");
}

/// Faaslets of the calling thread that nobody uses.
fn idle(warm: &WarmFaaslets<Host>) -> usize {
    let shelf = warm.shard().lock();
    shelf.used.len() + shelf.clean.len()
}

#[test]
fn nothing_of_a_user_is_left_for_the_next() {
    for small in [false, true] {
        let vm = engine(small);
        let warm = warm(&vm);
        let mut new = warm.take().expect("room");
        let clean = look(&mut new);
        let mut begun = [0; 4];
        new.memory().read(GuestAddr::new(70_000), &mut begun).expect("inside");
        assert_eq!(begun, [4, 3, 2, 1], "what was begun is there");
        drop(new);
        let whole = (0, 2 << 16);
        let places = [whole, (0, 1), (PAGE, 2 * PAGE), (4090, 4100), (131_071, 131_072), whole];
        for round in 0..10 * RESET_TOGETHER {
            let mut faaslet = warm.take().expect("room");
            assert_eq!(look(&mut faaslet), clean, "round {round}");
            assert_eq!(faaslet.parts().0.data().0, Vec::<i32>::new(), "the host's part is new");
            spoil(&mut faaslet, places[round % places.len()]);
            assert_eq!(faaslet.parts().0.data().0, [i32::from(SECRET)]);
        }
        assert_eq!(idle(&warm), RESET_TOGETHER, "they take turns, and no more are made");
    }
}

#[test]
fn a_trap_leaves_nothing_and_what_has_grown_is_not_kept() {
    let vm = engine(false);
    let warm = warm(&vm);
    let clean = look(&mut warm.take().expect("room"));
    warm.clear();
    for _ in 0..3 * RESET_TOGETHER {
        let mut faaslet = warm.take().expect("room");
        assert_eq!(look(&mut faaslet), clean);
        let (store, functions) = faaslet.parts();
        functions.trap.call(store, ()).expect_err("it traps");
    }
    warm.clear();
    for _ in 0..3 * RESET_TOGETHER {
        let mut faaslet = warm.take().expect("room");
        assert_eq!(look(&mut faaslet), clean);
        let (store, functions) = faaslet.parts();
        let before = functions.grow.call(store, ()).expect("it grows");
        assert_eq!(before, 2, "none has grown before");
    }
    assert_eq!(idle(&warm), 0);
}

#[test]
fn a_memory_that_somebody_still_holds_is_not_used_again() {
    let vm = engine(false);
    let warm = warm(&vm);
    let held: Vec<GuestMemory> =
        (0..RESET_TOGETHER).map(|_| warm.take().expect("room").memory().clone()).collect();
    for _ in 0..2 * RESET_TOGETHER {
        let faaslet = warm.take().expect("room");
        assert!(!held.iter().any(|memory| memory.is_same(faaslet.memory())));
    }
}

#[test]
fn a_faaslet_whose_user_panicked_is_not_used_again() {
    let vm = engine(false);
    let warm = warm(&vm);
    let user = || {
        let _faaslet = warm.take().expect("room");
        panic!("as a user's code may");
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(user)).expect_err("it panics");
    assert_eq!(idle(&warm), 0);
}

#[test]
fn many_threads_have_faaslets_of_their_own() {
    let vm = engine(false);
    let warm = warm(&vm);
    let clean = look(&mut warm.take().expect("room"));
    let rounds = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut one = warm.take().expect("room");
                    let mut other = warm.take().expect("room");
                    assert_eq!((look(&mut one), look(&mut other)), (clean, clean));
                    spoil(&mut one, (0, 3 * PAGE));
                    assert_eq!(look(&mut other), clean, "it is another's");
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(rounds.into_inner(), 200);
}

#[test]
fn programs_that_cannot_be_made_as_new_are_refused() {
    let vm = engine(false);
    let changes = "(table 2 funcref) (func (table.set (i32.const 0) (ref.null func)))";
    let starts = "(func $run) (start $run)";
    let drops = "(data $d \"x\") (func (data.drop $d))";
    for body in [changes, starts, drops] {
        let bytes = wat::parse_str(format!("(module (memory 1) {body})")).expect("a module");
        let made = WarmFaaslets::new(&vm, &Linker::new(vm.engine()), &bytes, Host);
        assert!(matches!(made, Err(WarmError::Unlike)), "{body}: {made:?}");
    }
    let bytes = wat::parse_str("(module (memory 1) (func (export \"begin\")))").expect("a module");
    let made = WarmFaaslets::new(&vm, &Linker::new(vm.engine()), &bytes, Host).expect("it begins");
    made.take().expect_err("it has not the functions that the host needs");
}
