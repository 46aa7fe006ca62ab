use std::fs;

use faasm_vm::{ArtifactConfig, EngineConfig};
use tempfile::TempDir;

use super::*;
use crate::module::missing_imports;

const PROGRAM: &str = r#"(module
    (import "mpi" "MPI_Init" (func (param i32 i32) (result i32)))
    (import "mpi" "MPI_Fly" (func))
    (import "env" "launch" (func))
    (import "env" "launch" (func))
    (memory (export "memory") 1)
    (func (export "_start")))"#;

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is correct")
}

fn loader(dir: &Path) -> ModuleLoader {
    let engine = VmEngine::new(&EngineConfig::default()).expect("engine");
    let config = ArtifactConfig { dir: Some(dir.to_owned()), ..ArtifactConfig::default() };
    ModuleLoader::new(engine, ArtifactCache::new(config))
}

/// What the user is told about a file that holds `bytes`.
fn refusal(bytes: &[u8]) -> String {
    let dir = TempDir::new().expect("temporary directory");
    let path = dir.path().join("prog");
    fs::write(&path, bytes).expect("writable");
    let error = loader(dir.path()).load_file(&path).expect_err("must be refused").to_string();
    assert!(error.starts_with("prog "), "names the program: {error}");
    error
}

#[test]
fn a_program_is_compiled_once_and_then_found() {
    let dir = TempDir::new().expect("temporary directory");
    let path = dir.path().join("prog.wasm");
    fs::write(&path, assemble(PROGRAM)).expect("writable");
    let first = loader(dir.path()).load_file(&path).expect("loads");
    assert!(first.compile_time().is_some());
    let second = loader(dir.path()).load_file(&path).expect("loads");
    assert!(second.compile_time().is_none(), "in the cache");
    assert_eq!(second.name(), "prog.wasm");
    assert_eq!(second.content_hash(), first.content_hash());
    assert_eq!(second.facts(), first.facts());
    assert!(second.code().exports().any(|export| export.name() == "faasm.memory.0"));
    second.check_program().expect("it has _start");
}

#[test]
fn missing_imports_are_listed_once_each() {
    let dir = TempDir::new().expect("temporary directory");
    let module = loader(dir.path()).load_bytes("prog", &assemble(PROGRAM)).expect("loads");
    let missing =
        missing_imports(module.facts(), &|module, name| (module, name) == ("mpi", "MPI_Init"));
    let expected = [("env", "launch"), ("mpi", "MPI_Fly")];
    assert_eq!(missing, expected.map(|(module, name)| (module.to_owned(), name.to_owned())));
    assert!(missing_imports(module.facts(), &|_, _| true).is_empty());
}

#[test]
fn without_a_cache_directory_programs_still_load() {
    let dir = TempDir::new().expect("temporary directory");
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("writable");
    let loader = loader(&file.join("cache"));
    for _ in 0..2 {
        let module = loader.load_bytes("prog", &assemble(PROGRAM)).expect("loads");
        assert!(module.compile_time().is_some());
    }
}

#[test]
fn a_damaged_cache_entry_is_compiled_again() {
    let dir = TempDir::new().expect("temporary directory");
    let bytes = assemble(PROGRAM);
    loader(dir.path()).load_bytes("prog", &bytes).expect("loads");
    let shelf = fs::read_dir(dir.path().join("compiled-1")).expect("made").next();
    let shelf = shelf.expect("one folder").expect("readable").path();
    let entry = fs::read_dir(shelf).expect("made").next().expect("one").expect("readable").path();
    let mut code = fs::read(&entry).expect("readable");
    let middle = code.len() / 2;
    code[middle] ^= 0xff;
    fs::write(&entry, code).expect("writable");
    let again = loader(dir.path()).load_bytes("prog", &bytes).expect("loads");
    assert!(again.compile_time().is_some(), "not used");
    let after = loader(dir.path()).load_bytes("prog", &bytes).expect("loads");
    assert!(after.compile_time().is_none(), "repaired");
}

#[test]
fn a_file_that_is_not_there_or_is_none_is_told() {
    let dir = TempDir::new().expect("temporary directory");
    let loader = loader(dir.path());
    let told = |path: &Path| loader.load_file(path).expect_err("must be refused").to_string();
    assert!(told(&dir.path().join("prog")).contains("does not exist; check the name"));
    fs::write(dir.path().join("prog.wasm"), b"").expect("writable");
    let hint = told(&dir.path().join("prog"));
    assert!(hint.contains("did you mean") && hint.contains("prog.wasm?"), "{hint}");
    assert!(told(dir.path()).contains("is a directory"));
    let below_file = dir.path().join("prog.wasm/prog");
    assert!(told(&below_file).contains("cannot be read"), "{}", told(&below_file));
}

#[test]
fn files_of_other_formats_are_named_with_the_remedy() {
    assert!(refusal(b"\x7fELF\x02\x01\x01\0\0\0").contains("compiled for the host (ELF)"));
    assert!(refusal(b"\xcf\xfa\xed\xfe\x07\0\0\x01").contains("compiled for the host (Mach-O)"));
    assert!(refusal(b"#!/bin/sh\nmpirun prog\n").contains("it is a script"));
    assert!(refusal(b"!<arch>\n").contains("static library"));
    assert!(refusal(b"BC\xc0\xde\x35\x14").contains("LLVM bitcode"));
    assert!(refusal(b"").contains("is empty"));
    assert!(refusal(b"int main() {}").contains("not a WebAssembly module"));
    assert!(refusal(b"(module)").contains("WebAssembly text"));
    let code = wasmtime::Engine::default().precompile_module(&assemble(PROGRAM));
    assert!(refusal(&code.expect("compiles")).contains("wasmtime compiled already"));
}

#[test]
fn modules_that_are_no_programs_are_told_apart() {
    let object =
        r#"(module (import "env" "__linear_memory" (memory 0)) (@custom "linking" "\02"))"#;
    assert!(refusal(&assemble(object)).contains("it is an object file"));
    assert!(refusal(&assemble("(component)")).contains("WebAssembly component"));
    let invalid = r#"(module (memory 1) (func (export "_start") (result i32)))"#;
    assert!(refusal(&assemble(invalid)).contains("cannot be compiled"));

    let dir = TempDir::new().expect("temporary directory");
    let check = |text: &str| {
        let module = loader(dir.path()).load_bytes("prog", &assemble(text)).expect("loads");
        module.check_program().expect_err("no program").to_string()
    };
    assert!(check("(module (memory 1))").contains("a bare module"));
    let reactor = r#"(module (memory 1) (func (export "_initialize")))"#;
    assert!(check(reactor).contains("reactor"));
}
