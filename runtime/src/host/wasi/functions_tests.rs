use std::fmt::Write as _;
use std::sync::Arc;

use wasmtime::{Engine, Module, Store};

use super::super::output::Stream;
use super::super::process::ProcRaised;
use super::super::testing::{Collected, block_on};
use super::*;

struct Rank {
    ctx: WasiCtx,
    memory: Option<GuestMemory>,
}

impl WasiView for Rank {
    fn wasi(&mut self) -> (&mut WasiCtx, &GuestMemory) {
        (&mut self.ctx, self.memory.as_ref().expect("set before the first call"))
    }
}

/// Signatures of the standard's witx, parameters only; every function but the last two named here
/// returns an i32.
const SIGNATURES: &[(&str, &str)] = &[
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_datasync", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_fdstat_set_rights", "i32 i64 i64"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_sync", "i32"),
    ("fd_tell", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_exit", "i32"),
    ("proc_raise", "i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ("sock_send", "i32 i32 i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];

fn linker(engine: &Engine) -> Linker<Rank> {
    let mut linker = Linker::new(engine);
    add_to_linker(&mut linker).expect("the names are free");
    linker
}

#[test]
fn the_table_holds_the_whole_standard() {
    let mut ours = FUNCTIONS.to_vec();
    ours.sort_unstable();
    let standard: Vec<_> = SIGNATURES.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, standard);
}

#[test]
fn a_module_importing_every_function_links() {
    let mut text = String::from("(module\n");
    for (name, parameters) in SIGNATURES {
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        writeln!(text, r#"(import "{MODULE}" "{name}" (func (param {parameters}) {result}))"#)
            .expect("strings grow");
    }
    text.push(')');
    let engine = Engine::default();
    let module = Module::new(&engine, wat::parse_str(&text).expect("valid")).expect("valid");
    linker(&engine).instantiate_pre(&module).expect("every import is there with its type");
}

/// Runs `_start` of a module with these imports and body; its memory holds `data` at 0.
fn run(imports: &str, body: &str) -> (Arc<Collected>, GuestMemory, wasmtime::Result<()>) {
    let engine = Engine::default();
    let text = format!(
        r#"(module {imports} (memory (export "memory") 1) (func (export "_start") {body}))"#
    );
    let module = Module::new(&engine, wat::parse_str(&text).expect("valid")).expect("valid");
    let output = Arc::new(Collected::default());
    let ctx = WasiCtx::builder().output(output.clone()).build().expect("plain");
    let memory = GuestMemory::for_test(64 * 1024);
    // One buffer of three bytes at 8.
    memory.write_u32(GuestAddr::new(0), 8).expect("in bounds");
    memory.write_u32(GuestAddr::new(4), 3).expect("in bounds");
    memory.write(GuestAddr::new(8), b"hi\n").expect("in bounds");
    let mut store = Store::new(&engine, Rank { ctx, memory: Some(memory.clone()) });
    let linker = linker(&engine);
    let result = block_on(async {
        let instance = linker.instantiate_async(&mut store, &module).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    });
    (output, memory, result)
}

#[test]
fn calls_reach_their_functions_through_wasm() {
    let imports = r#"
        (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "sched_yield" (func $y (result i32)))
        (import "wasi_snapshot_preview1" "sock_shutdown" (func $s (param i32 i32) (result i32)))"#;
    let body = "
        (if (call $y) (then unreachable))
        (if (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
        (if (i32.ne (call $w (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 8))
            (then unreachable))
        (if (i32.ne (call $s (i32.const 1) (i32.const 0)) (i32.const 57)) (then unreachable))";
    let (output, memory, result) = run(imports, body);
    result.expect("no call failed");
    assert_eq!(*output.0.lock(), [(0, Stream::Stdout, b"hi\n".to_vec())]);
    assert_eq!(memory.read_u32(GuestAddr::new(16)), Ok(3));
}

#[test]
fn exit_and_signals_are_typed_errors() {
    let import =
        |name, result| format!(r#"(import "{MODULE}" "{name}" (func $f (param i32) {result}))"#);
    let (_, _, result) = run(&import("proc_exit", ""), "(call $f (i32.const 42))");
    let error = result.expect_err("it exits");
    assert_eq!(error.downcast_ref::<ProcExit>(), Some(&ProcExit(42)));
    let raise = import("proc_raise", "(result i32)");
    let (_, _, result) = run(&raise, "(drop (call $f (i32.const 15)))");
    let error = result.expect_err("it is terminated");
    assert_eq!(error.downcast_ref::<ProcRaised>(), Some(&ProcRaised(15)));
    let ignored = "(if (call $f (i32.const 27)) (then unreachable))";
    run(&raise, ignored).2.expect("the signal is ignored");
}
