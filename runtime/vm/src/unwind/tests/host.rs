//! A host that moves a program to a fresh instance at chosen calls.

use wasmtime::{
    Caller, Config, Engine, Extern, Global, Instance, Linker, Module, Mutability, Store, V128, Val,
};

use crate::unwind::{
    HELD_EXPORT, Migratable, STACK_MODULE, STATE_EXPORT, STATE_REWINDING, STATE_RUNNING,
    STATE_UNWINDING, make_migratable,
};

/// Calls of `env.point` after which a program is given up.
const POINTS_MAX: u32 = 2000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Result of `run`, or how it ended otherwise.
    pub(super) result: Result<i64, String>,
    /// Everything that was told to the host.
    pub(super) trace: Vec<(&'static str, i32, i64)>,
    /// Memory and globals at the end.
    pub(super) memory: Vec<u8>,
    pub(super) globals: Vec<String>,
}

#[derive(Default)]
struct Host {
    trace: Vec<(&'static str, i32, i64)>,
    points: u32,
    /// Move at each so many-th point; 0 for never.
    every: u32,
    frames: Vec<Value>,
    /// Arguments of the point at which the stack was taken.
    pending: Option<(i32, i64)>,
    moves: u32,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    One(i64),
    Wide(u128),
}

pub(super) fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_exceptions(true).wasm_tail_call(true);
    Engine::new(&config).expect("an engine")
}

fn is_point(module: &str, name: &str) -> bool {
    module == "env" && name == "point"
}

/// The module after the pass.
pub(super) fn migratable(text: &str) -> Migratable {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    make_migratable(&bytes, &is_point).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs `text` as it is.
pub(super) fn plain(engine: &Engine, text: &str) -> Outcome {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let module = Module::new(engine, bytes).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    run(engine, &module, 0).0
}

/// Runs the module after the pass, with a move at each so many-th point; says how many moves there were.
pub(super) fn moved(engine: &Engine, bytes: &[u8], every: u32) -> (Outcome, u32) {
    let module = Module::new(engine, bytes).expect("a valid module");
    run(engine, &module, every)
}

fn run(engine: &Engine, module: &Module, every: u32) -> (Outcome, u32) {
    let (mut store, mut instance) = instantiate(engine, module, Host { every, ..Host::default() });
    loop {
        let run = instance.get_typed_func::<(), i64>(&mut store, "run").expect("run");
        let result = run.call(&mut store, ());
        if state(&mut store, &instance).is_none_or(|state| state == STATE_RUNNING) {
            let outcome = Outcome {
                result: result.map_err(|error| format!("{}", error.root_cause())),
                trace: store.data().trace.clone(),
                memory: memory(&mut store, &instance),
                globals: globals(&mut store, &instance)
                    .iter()
                    .map(|(name, value)| format!("{name} {value:?}"))
                    .collect(),
            };
            let moves = store.data().moves;
            return (outcome, moves);
        }
        (store, instance) = migrate(engine, module, store, &instance);
    }
}

/// Copies everything to a fresh instance.
fn migrate(
    engine: &Engine,
    module: &Module,
    mut store: Store<Host>,
    instance: &Instance,
) -> (Store<Host>, Instance) {
    let memory = memory(&mut store, instance);
    let globals = globals(&mut store, instance);
    let host = std::mem::take(store.data_mut());
    let (mut store, instance) = instantiate(engine, module, host);
    if let Some(target) = instance.get_memory(&mut store, "memory") {
        target.write(&mut store, 0, &memory).expect("the memory fits");
    }
    for (name, value) in globals {
        global(&mut store, &instance, &name)
            .expect("a global")
            .set(&mut store, value)
            .expect("its type");
    }
    let state = global(&mut store, &instance, STATE_EXPORT).expect("the state");
    state.set(&mut store, Val::I32(STATE_REWINDING)).expect("an i32");
    store.data_mut().moves += 1;
    (store, instance)
}

fn instantiate(engine: &Engine, module: &Module, host: Host) -> (Store<Host>, Instance) {
    let mut store = Store::new(engine, host);
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("env", "point", point)
        .and_then(|linker| {
            linker.func_wrap("env", "note", |mut caller: Caller<'_, Host>, number: i32| {
                caller.data_mut().trace.push(("note", number, 0));
            })
        })
        .expect("imports");
    add_stack(&mut linker);
    let instance = linker.instantiate(&mut store, module).expect("an instance");
    (store, instance)
}

fn add_stack(linker: &mut Linker<Host>) {
    type Four = (i64, i64, i64, i64);
    let push = |caller: &mut Caller<'_, Host>, value| caller.data_mut().frames.push(value);
    let pop = |caller: &mut Caller<'_, Host>| match caller.data_mut().frames.pop() {
        Some(Value::One(value)) => value,
        other => panic!("{other:?} where 64 bits were saved"),
    };
    let added = linker
        .func_wrap(STACK_MODULE, "push", move |mut caller: Caller<'_, Host>, value: i64| {
            push(&mut caller, Value::One(value));
        })
        .and_then(|linker| {
            let push4 = move |mut caller: Caller<'_, Host>, a: i64, b: i64, c: i64, d: i64| {
                [a, b, c, d].into_iter().for_each(|value| push(&mut caller, Value::One(value)));
            };
            linker.func_wrap(STACK_MODULE, "push4", push4)
        })
        .and_then(|linker| {
            let push128 = move |mut caller: Caller<'_, Host>, value: V128| {
                push(&mut caller, Value::Wide(value.as_u128()));
            };
            linker.func_wrap(STACK_MODULE, "push128", push128)
        })
        .and_then(|linker| {
            let zeros = move |mut caller: Caller<'_, Host>, count: i32| {
                (0..count).for_each(|_| push(&mut caller, Value::One(0)));
            };
            linker.func_wrap(STACK_MODULE, "zeros", zeros)
        })
        .and_then(|linker| {
            let pop = move |mut caller: Caller<'_, Host>| pop(&mut caller);
            linker.func_wrap(STACK_MODULE, "pop", pop)
        })
        .and_then(|linker| {
            let pop4 = move |mut caller: Caller<'_, Host>| -> Four {
                let [d, c, b, a] = std::array::from_fn(|_| pop(&mut caller));
                (a, b, c, d)
            };
            linker.func_wrap(STACK_MODULE, "pop4", pop4)
        })
        .and_then(|linker| {
            linker.func_wrap(STACK_MODULE, "pop128", |mut caller: Caller<'_, Host>| {
                match caller.data_mut().frames.pop() {
                    Some(Value::Wide(value)) => V128::from(value),
                    other => panic!("{other:?} where 128 bits were saved"),
                }
            })
        });
    added.expect("imports");
}

/// The switch point: an answer that depends on its arguments and on how often it was called.
fn point(mut caller: Caller<'_, Host>, a: i32, b: i64) -> wasmtime::Result<i32> {
    let held = export_i32(&mut caller, HELD_EXPORT).unwrap_or(0);
    match export_i32(&mut caller, STATE_EXPORT) {
        Some(STATE_REWINDING) => {
            set_state(&mut caller, STATE_RUNNING);
            let host = caller.data_mut();
            assert!(host.frames.is_empty(), "all frames are back: {:?}", host.frames);
            assert_eq!(host.pending.take(), Some((a, b)), "the call is made again as it was");
        }
        Some(STATE_RUNNING) => {
            let host = caller.data_mut();
            if host.every > 0 && held == 0 && (host.points + 1).is_multiple_of(host.every) {
                host.pending = Some((a, b));
                set_state(&mut caller, STATE_UNWINDING);
                return Ok(0);
            }
        }
        Some(other) => panic!("called in state {other}"),
        None => {}
    }
    let host = caller.data_mut();
    host.points += 1;
    if host.points > POINTS_MAX {
        return Err(wasmtime::Error::msg("too long"));
    }
    host.trace.push(("point", a, b));
    Ok(a.wrapping_mul(31).wrapping_add(b as i32).wrapping_add(host.points.cast_signed()))
}

fn export_i32(caller: &mut Caller<'_, Host>, name: &str) -> Option<i32> {
    let Some(Extern::Global(global)) = caller.get_export(name) else { return None };
    global.get(caller).i32()
}

fn set_state(caller: &mut Caller<'_, Host>, state: i32) {
    let Some(Extern::Global(global)) = caller.get_export(STATE_EXPORT) else {
        panic!("no state");
    };
    global.set(caller, Val::I32(state)).expect("an i32");
}

fn state(store: &mut Store<Host>, instance: &Instance) -> Option<i32> {
    global(store, instance, STATE_EXPORT).and_then(|global| global.get(store).i32())
}

fn global(store: &mut Store<Host>, instance: &Instance, name: &str) -> Option<Global> {
    instance.get_global(store, name)
}

fn memory(store: &mut Store<Host>, instance: &Instance) -> Vec<u8> {
    instance
        .get_memory(&mut *store, "memory")
        .map(|memory| memory.data(&*store).to_vec())
        .unwrap_or_default()
}

/// The program's own exported globals.
fn globals(store: &mut Store<Host>, instance: &Instance) -> Vec<(String, Val)> {
    let exports: Vec<(String, Global)> = instance
        .exports(&mut *store)
        .filter_map(|export| {
            let name = export.name().to_owned();
            export.into_global().map(|global| (name, global))
        })
        .filter(|(name, _)| !name.starts_with("faasm."))
        .collect();
    let mut values = Vec::new();
    for (name, global) in exports {
        if global.ty(&*store).mutability() == Mutability::Var {
            values.push((name, global.get(&mut *store)));
        }
    }
    values
}

/// Compares a program without and with moves; says how many moves there were at most.
pub(super) fn compare(engine: &Engine, text: &str) -> u32 {
    let expected = plain(engine, text);
    if expected.result.as_ref().is_err_and(|error| error == "too long") {
        return 0;
    }
    let migratable = migratable(text);
    let mut moves = 0;
    for every in [0, 1, 2, 3, 7] {
        let (outcome, count) = moved(engine, &migratable.bytes, every);
        assert_eq!(outcome, expected, "moved at each {every}th point\n{text}");
        moves = moves.max(count);
    }
    moves
}
