//! Command lines as makefiles, configure scripts and CMake write them.

use crate::workplace::{Workplace, source};

#[test]
fn compile_then_archive_then_link() {
    let place = Workplace::new();
    place.write("part.c", "int part(void) { return 7; }");
    place.write("main.c", "int part(void);\nint main(void) { return part() - 7; }");
    place.succeed("faasm-cc", "-c part.c -o part.o");
    place.succeed("faasm-cc", "-c main.c");
    place.succeed("faasm-ar", "rc libpart.a part.o");
    place.succeed("faasm-ranlib", "libpart.a");
    assert_eq!(place.succeed("faasm-ar", "t libpart.a").trim(), "part.o");
    for line in [
        "main.o -L. -lpart -o one",
        "main.o libpart.a -o two",
        "main.o part.o -L . -l part -o three",
    ] {
        place.succeed("faasm-cc", line);
    }
    for name in ["one", "two", "three"] {
        assert!(place.module(name).contains("part"), "{name}");
    }
}

#[test]
fn several_sources_in_one_command() {
    let place = Workplace::new();
    place.write(
        "a.c",
        "#include \"inc/v.h\"\nint b(void);\nint main(void) { return b() - VALUE - EXTRA; }",
    );
    place.write("b.c", "int b(void) { return 5; }");
    std::fs::create_dir(place.path("inc")).expect("created");
    place.write("inc/v.h", "#define VALUE 3\n");
    place.succeed(
        "faasm-cc",
        "-std=c99 -O3 -Wall -I . -D EXTRA=2 a.c b.c -lm -lrt -ldl -lpthread -lmpi -o ab",
    );
    assert!(place.module("ab").exports.contains("_start"));
    place.succeed("faasm-cc", "-I. -DEXTRA=2 a.c b.c");
    assert!(place.path("a.out").is_file());
}

#[test]
fn response_files_hold_options_and_sources() {
    let place = Workplace::new();
    place.write("a b.c", "int main(void) { return VALUE; }");
    place.write("inner.rsp", "-DVALUE=0\n");
    place.write("args.rsp", "\"a b.c\" @inner.rsp -o 'out file'\n");
    place.succeed("faasm-cc", "@args.rsp");
    assert!(place.path("out file").is_file());
}

#[test]
fn a_very_long_link_line_is_handed_over_in_a_file() {
    let place = Workplace::new();
    place.write("a.c", "int main(void) { return 0; }");
    place.succeed("faasm-cc", "-c a.c");
    let directories: String = (0..20_000).map(|n| format!("-Ldirectory_{n}\n")).collect();
    place.write("many.rsp", &format!("{directories}a.o"));
    place.succeed("faasm-cc", "@many.rsp -o a");
}

#[test]
fn configure_finds_mpi_by_linking() {
    let place = Workplace::new();
    place.write("conftest.c", "char MPI_Init();\nint main(void) { return MPI_Init(); }");
    place.fail("faasm-cc", "conftest.c -o conftest");
    place.succeed("faasm-cc", "conftest.c -o conftest -lmpi");
    place.succeed("faasm-cc", &format!("{} -lmpi -o hello", source("hello.c")));
    assert!(!place.module("hello").imports.iter().any(|name| name.starts_with("env.")));
}

#[test]
fn c_and_cxx_in_one_command_keep_their_languages() {
    let place = Workplace::new();
    place.write("a.c", "int b(void);\nint main(void) { int new = b(); return new; }");
    place.write("b.cpp", "#include <string>\nextern \"C\" int b() { return std::stoi(\"0\"); }");
    place.succeed("faasm-cc", "-Werror a.c b.cpp -o ab");
    place.succeed("faasm-cc", "-Werror -c a.c b.cpp");
    place.succeed("faasm-cc", "a.o b.o -lstdc++ -o ab");
    place.succeed("faasm-c++", "a.o b.o -o ab");
}

#[test]
fn options_of_native_builds_are_taken() {
    let place = Workplace::new();
    let line = "-O3 -march=native -mtune=native -m64 -mavx2 -mfma -mcmodel=medium -fPIC -pthread -rdynamic \
                -static -fstack-protector-strong -Wl,-rpath,/opt/lib -Wl,--as-needed -Wl,--start-group -lmpi \
                -lmpi_cxx -lstdc++ -lm -Wl,--end-group -flto -Werror -Ofast -pipe -fopt-info -I/usr/include";
    let output = place.run("faasm-cc", &format!("{} {line} -o hello", source("hello.c")));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    for note in ["-m64", "-I/usr/include"] {
        assert!(errors.contains(&format!("note: {note}")), "{note} in {errors}");
    }
    assert!(place.module("hello").imports.contains("mpi.MPI_Finalize"));
}

#[test]
fn dependencies_preprocessing_and_assembly() {
    let place = Workplace::new();
    place.write("h.h", "#define X 1\n");
    place.write("a.c", "#include \"h.h\"\nint x = X;\n");
    place.succeed("faasm-cc", "-c a.c -MMD -MP -MF a.d -o a.o");
    let rule = std::fs::read_to_string(place.path("a.d")).expect("a dependency file");
    assert!(rule.contains("h.h"), "{rule}");
    assert!(place.succeed("faasm-cc", "-MM a.c").contains("h.h"));
    assert!(place.succeed("faasm-cc", "-E a.c").contains("int x = 1;"));
    place.succeed("faasm-cc", "-S a.c -o a.s");
    let assembly = std::fs::read_to_string(place.path("a.s")).expect("assembly");
    assert!(assembly.contains(".globl\tx"), "{assembly}");
    place.succeed("faasm-cc", "-c a.s -o from_assembly.o");
}

#[test]
fn sources_come_from_standard_input_with_a_language() {
    use std::{io::Write as _, process::Stdio};
    let place = Workplace::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_faasm-cc"))
        .args(["-x", "c", "-", "-o"])
        .arg(place.path("out"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"int main(void) { return 0; }").expect("written");
    drop(input);
    assert!(child.wait().expect("ended").success());
    assert!(place.module("out").exports.contains("_start"));
}

#[test]
fn questions_are_answered() {
    let place = Workplace::new();
    assert!(place.succeed("faasm-cc", "-dumpmachine").starts_with("wasm32"));
    assert!(place.succeed("faasm-cc", "-dumpversion").contains('.'));
    assert!(place.succeed("faasm-cc", "-print-file-name=libc.a").trim().ends_with("/libc.a"));
    let version = place.succeed("faasm-c++", "--version");
    assert!(version.starts_with("faasm-c++") && version.contains("clang version"), "{version}");
    assert!(place.succeed("faasm-cc", "--help").contains("WASI_SDK_PATH"));
    assert!(place.succeed("faasm-cc", "--faasm-info").contains("sysroot"));
}

#[test]
fn show_prints_a_command_that_works_in_a_shell() {
    let place = Workplace::new();
    place.write("a.c", "#include <mpi.h>\nint main(void) { return MPI_VERSION < 3; }");
    for option in ["-show", "--showme", "-showme"] {
        let command = place.succeed("faasm-cc", &format!("{option} a.c -o shown"));
        assert!(!place.path("shown").exists(), "nothing is run");
        place.write("show.sh", &command);
        place.succeed("sh", "show.sh");
        std::fs::remove_file(place.path("shown")).expect("the shown command links");
    }
    let compile = place.succeed("faasm-cc", "--showme:compile");
    assert!(compile.contains("-isystem") && !compile.contains("-Wl,"), "{compile}");
    assert!(place.succeed("faasm-cc", "--showme:link").contains("-Wl,"));
    let directory = place.succeed("faasm-cc", "--showme:incdirs");
    assert!(std::path::Path::new(directory.trim()).join("mpi.h").is_file(), "{directory}");
}
