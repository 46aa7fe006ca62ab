//! What comes out: modules with the imports, exports and sections that the runtime relies on.

use crate::workplace::{Workplace, source};

#[test]
fn an_mpi_program_imports_mpi_and_wasi_and_exports_what_the_runtime_needs() {
    let place = Workplace::new();
    place.succeed("faasm-cc", &format!("{} -o hello", source("hello.c")));
    let module = place.module("hello");
    for name in ["_start", "malloc", "free", "__stack_pointer", "__indirect_function_table"] {
        assert!(module.exports.contains(name), "{name} of {:?}", module.exports);
    }
    assert!(module.exported_memory);
    assert!(module.imports.contains("mpi.MPI_Comm_rank"), "{:?}", module.imports);
    for import in &module.imports {
        let known = import.starts_with("mpi.") || import.starts_with("wasi_snapshot_preview1.");
        assert!(known, "{import}");
    }
}

#[test]
fn a_program_with_threads_has_what_the_runtime_needs_for_them() {
    let place = Workplace::new();
    place.write("a.c", "#include <pthread.h>\nstatic void *f(void *x) { return x; }\nint main(void) { pthread_t t; pthread_create(&t, 0, f, 0); return pthread_join(t, 0); }");
    place.succeed("faasm-cc", "-pthread -c a.c");
    // The objects say that they have threads, so the linking command need not.
    place.succeed("faasm-cc", "a.o -o a");
    let module = place.module("a");
    for name in ["_start", "__stack_pointer", "__wasm_init_tls", "__faasm_thread_main", "memory"] {
        assert!(module.exports.contains(name), "{name} of {:?}", module.exports);
    }
    for name in ["env.memory", "faasm_thread.spawn", "faasm_thread.guard"] {
        assert!(module.imports.contains(name), "{name} of {:?}", module.imports);
    }
}

#[test]
fn function_names_are_kept_and_debug_information_is_not() {
    let place = Workplace::new();
    place.write("a.c", "int work(int x) __attribute__((noinline));\nint work(int x) { return x * 3; }\nint main(int c, char **v) { (void)v; return work(c) - 3; }");
    place.succeed("faasm-cc", "a.c -o plain");
    let plain = place.module("plain");
    assert!(plain.sections.contains("name") && plain.contains("work"));
    assert!(!plain.sections.iter().any(|name| name.starts_with(".debug")), "{:?}", plain.sections);
    place.succeed("faasm-cc", "-g a.c -o debug");
    assert!(place.module("debug").sections.contains(".debug_line"));
}

#[test]
fn the_guest_library_completes_libc() {
    let place = Workplace::new();
    place.succeed("faasm-cc", &format!("-Wall -Werror {} -o libc", source("libc.c")));
    assert!(place.module("libc").exports.contains("_start"));
}

#[test]
fn cxx_with_exceptions_links_from_both_drivers() {
    let place = Workplace::new();
    for driver in ["faasm-c++", "faasm-cc"] {
        place.succeed(driver, &format!("-Wall -Werror {} -o program", source("exceptions.cpp")));
        assert!(place.module("program").contains("__cxa_throw"), "{driver}");
    }
}

#[test]
fn cxx_without_exceptions_has_none() {
    let place = Workplace::new();
    place.write("a.cpp", "#include <iostream>\nint main() { std::cout << \"hi\" << std::endl; }");
    place.succeed("faasm-c++", "-fno-exceptions a.cpp -o a");
    assert!(!place.module("a").contains("_Unwind_RaiseException"));
}

#[test]
fn simd_is_on_and_can_be_turned_off() {
    let place = Workplace::new();
    place.write("a.c", "#ifdef __wasm_simd128__\nsimd on\n#else\nsimd off\n#endif\n__OPTIMIZE__");
    let on = place.succeed("faasm-cc", "-E a.c");
    assert!(on.contains("simd on") && on.trim_end().ends_with('1'), "{on}");
    let off = place.succeed("faasm-cc", "-mno-simd128 -O0 -E a.c");
    assert!(off.contains("simd off") && off.contains("__OPTIMIZE__"), "{off}");
}

#[test]
fn a_stack_size_of_the_user_wins() {
    let place = Workplace::new();
    place.write("a.c", "int main(void) { return 0; }");
    place.succeed("faasm-cc", "a.c -o a -Wl,-z,stack-size=65536");
    place.succeed("faasm-cc", "a.c -o b");
    let pages = |name| initial_pages(&std::fs::read(place.path(name)).expect("the output"));
    assert!(pages("a") < 8 && pages("b") > 128, "{} {}", pages("a"), pages("b"));
}

fn initial_pages(bytes: &[u8]) -> u64 {
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        if let wasmparser::Payload::MemorySection(section) = payload.expect("valid") {
            return section.into_iter().next().expect("a memory").expect("valid").initial;
        }
    }
    panic!("no memory section");
}
