//! The load-time pass: what it adds, keeps, reports and refuses.

use faasm_vm::rewrite::{
    ExternalKind, FunctionType, ImportType, MemoryFacts, RewriteError, ValueType, global_export,
    inspect, rewrite, table_export,
};
use wasmparser::{Parser, Payload};
use wasmtime::{Engine, Extern, Instance, Module, Store, Val};

use crate::assemble;

const PROGRAM: &str = r#"(module
    (import "mpi" "MPI_Comm_rank" (func (param i32 i32) (result i32)))
    (import "env" "clock" (global i64))
    (memory (export "memory") 2 10)
    (table 4 funcref)
    (table (export "callbacks") 1 funcref)
    (global $__stack_pointer (mut i32) (i32.const 65536))
    (global i32 (i32.const 7))
    (global $counter (mut i64) (i64.const 5))
    (func $_start (export "_start") (call $inner))
    (func $inner unreachable)
    (data (i32.const 16) "hello"))"#;

const STANDALONE: &str = r#"(module
    (memory 1)
    (table 3 funcref)
    (global $counter (mut i64) (i64.const 5))
    (func $_start (export "_start") (call $inner))
    (func $inner (global.set $counter (i64.const 9)) unreachable)
    (data (i32.const 16) "hello"))"#;

#[test]
fn state_is_reachable_after_the_pass_and_old_exports_are_kept() {
    let rewritten = rewrite(&assemble(STANDALONE)).expect("a good module");
    let engine = Engine::default();
    let module = Module::new(&engine, &rewritten.bytes).expect("the pass keeps it valid");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("instance");

    let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("kept");
    let trap = start.call(&mut store, ()).expect_err("it traps");
    assert!(format!("{trap:?}").contains("inner"), "function names survive: {trap:?}");

    let global = instance.get_global(&mut store, &global_export(0)).expect("exported");
    assert!(matches!(global.get(&mut store), Val::I64(9)));
    global.set(&mut store, Val::I64(3)).expect("mutable");
    let table = instance.get_table(&mut store, &table_export(0)).expect("exported");
    assert_eq!(table.size(&store), 3);
    let memory = instance.get_export(&mut store, "faasm.memory.0").and_then(Extern::into_memory);
    assert_eq!(&memory.expect("exported").data(&store)[16..21], b"hello");
}

#[test]
fn indices_count_imports_first_and_immutable_globals_stay_private() {
    let rewritten = rewrite(&assemble(PROGRAM)).expect("a good module");
    let facts = inspect(&rewritten.bytes).expect("still good");
    let added: Vec<_> = facts
        .exports
        .iter()
        .filter(|export| export.name.starts_with("faasm."))
        .map(|export| (export.name.as_str(), export.kind, export.index))
        .collect();
    assert_eq!(
        added,
        [
            ("faasm.memory.0", ExternalKind::Memory, 0),
            ("faasm.table.0", ExternalKind::Table, 0),
            ("faasm.table.1", ExternalKind::Table, 1),
            ("faasm.global.1", ExternalKind::Global, 1),
            ("faasm.global.3", ExternalKind::Global, 3),
        ]
    );
    assert_eq!(facts.exports[..3], rewritten.facts.exports[..], "the program's own come first");
}

#[test]
fn a_second_pass_changes_nothing() {
    for text in [PROGRAM, STANDALONE] {
        let once = rewrite(&assemble(text)).expect("a good module").bytes;
        assert_eq!(rewrite(&once).expect("still good").bytes, once);
    }
}

#[test]
fn every_other_section_is_the_same_and_in_the_same_place() {
    let without_exports = r#"(module
        (@custom "before" (before first) "1")
        (memory 1)
        (@custom ".debug_line" (after memory) "2")
        (func $f)
        (start $f)
        (@custom "after" (after last) "3"))"#;
    for text in [PROGRAM, STANDALONE, without_exports] {
        let original = assemble(text);
        let rewritten = rewrite(&original).expect("a good module").bytes;
        assert!(Module::new(&Engine::default(), &rewritten).is_ok());
        assert_eq!(sections_but_exports(&rewritten), sections_but_exports(&original));
    }
}

fn sections_but_exports(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    Parser::new(0)
        .parse_all(bytes)
        .map(|payload| payload.expect("well formed"))
        .filter(|payload| !matches!(payload, Payload::ExportSection(_)))
        .filter_map(|payload| payload.as_section())
        .map(|(id, range)| (id, bytes[range].to_vec()))
        .collect()
}

#[test]
fn facts_say_what_the_module_is() {
    let facts = inspect(&assemble(PROGRAM)).expect("a good module");
    let rank = &facts.imports[0];
    assert_eq!((rank.module.as_str(), rank.name.as_str()), ("mpi", "MPI_Comm_rank"));
    let ty = FunctionType {
        params: vec![ValueType::I32, ValueType::I32],
        results: vec![ValueType::I32],
    };
    assert_eq!(ty.to_string(), "(i32, i32) -> (i32)");
    assert_eq!(rank.ty, ImportType::Function(ty));
    assert_eq!(facts.imports[1].ty, ImportType::Global { value: ValueType::I64, mutable: false });
    assert!(facts.imports_mpi() && facts.has_start() && !facts.has_initialize());
    let memory = MemoryFacts { min_pages: 2, max_pages: Some(10), imported: false, shared: false };
    assert_eq!(facts.memory, memory);
    assert_eq!((facts.functions, facts.tables), (2, 2));
    assert_eq!(facts.mutable_globals, [1, 3]);
    assert_eq!(facts.stack_pointer, Some(1));
    assert!(facts.has_names && !facts.has_line_tables);
}

#[test]
fn the_stack_pointer_is_found_without_names_only_where_the_linker_puts_it() {
    let stack_pointer = |global: &str| {
        let text =
            format!("(module (memory 1) (global {global}) (global (mut i32) (i32.const 0)))");
        inspect(&assemble(&text)).expect("a good module").stack_pointer
    };
    assert_eq!(stack_pointer("(mut i32) (i32.const 65536)"), Some(0));
    assert_eq!(stack_pointer("(mut i32) (i32.const 65537)"), None, "outside of memory");
    assert_eq!(stack_pointer("(mut i32) (i32.const 1000)"), None, "not aligned");
    assert_eq!(stack_pointer("(mut i64) (i64.const 1024)"), None, "not an address");
    assert_eq!(stack_pointer("i32 (i32.const 1024)"), None, "not mutable");
}

#[test]
fn refuses_what_a_faaslet_cannot_be() {
    use RewriteError as E;
    let refusal = |text: &str| inspect(&assemble(text)).expect_err("must be refused");
    assert!(matches!(refusal("(module)"), E::NoMemory));
    assert!(matches!(refusal("(module (memory 1) (memory 1))"), E::Memories { count: 2 }));
    assert!(matches!(
        refusal(r#"(module (import "a" "b" (memory 1)) (memory 1))"#),
        E::Memories { count: 2 }
    ));
    assert!(matches!(refusal("(module (memory i64 1))"), E::SixtyFourBit { item: "memory" }));
    assert!(matches!(
        refusal("(module (memory 1) (table i64 1 funcref))"),
        E::SixtyFourBit { item: "table" }
    ));
    assert!(matches!(
        refusal("(module (memory 1 (pagesize 1)))"),
        E::PageSize { page_size_log2: 0 }
    ));
    assert!(matches!(refusal("(component)"), E::Component));
    assert!(matches!(
        refusal(
            r#"(module (import "env" "__linear_memory" (memory 1)) (@custom "linking" "\02"))"#
        ),
        E::ObjectFile
    ));
    assert!(matches!(
        refusal(r#"(module (@custom "dylink.0" (before first) "") (memory 1))"#),
        E::DynamicLibrary
    ));
}

#[test]
fn refuses_what_is_no_binary_module() {
    use RewriteError as E;
    let refusal = |bytes: &[u8]| inspect(bytes).expect_err("must be refused");
    assert!(matches!(refusal(b""), E::NotWasm));
    assert!(matches!(refusal(b"\x7fELF\x02\x01\x01"), E::NotWasm));
    assert!(matches!(refusal(b"  (module (memory 1))"), E::Text));
    assert!(matches!(refusal(b";; a program\n(module)"), E::Text));
    assert!(matches!(refusal(b"\0asm\x02\0\0\0"), E::Version { version: 2 }));
    assert!(matches!(refusal(b"\0asm\x01"), E::Malformed { offset: 5, .. }));
    assert!(matches!(refusal(b"\0asm\x01\0\0\0\x05\xff\x01"), E::Malformed { .. }));
}

#[test]
fn a_reserved_name_for_something_else_is_refused() {
    let text = r#"(module (memory 1) (func (export "faasm.memory.0")))"#;
    let error = rewrite(&assemble(text)).expect_err("must be refused");
    assert!(matches!(&error, RewriteError::ReservedName { name } if name == "faasm.memory.0"));
    assert!(error.to_string().contains("rename the export"), "{error}");
}

#[test]
fn damaged_modules_are_errors_and_never_panics() {
    let good = assemble(PROGRAM);
    for length in 0..good.len() {
        let _ = rewrite(&good[..length]);
    }
    for at in 0..good.len() {
        for flip in [0x01, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            if let Ok(rewritten) = rewrite(&bad) {
                assert!(inspect(&rewritten.bytes).is_ok(), "byte {at} ^ {flip:#x}");
            }
        }
    }
}
