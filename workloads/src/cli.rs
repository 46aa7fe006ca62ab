//! The command-line programs, callable as functions.

use std::{
    ffi::OsString,
    process::{Command, ExitCode, ExitStatus},
};

use crate::{
    driver,
    error::{Error, Result},
    process::start_error,
    toolchain::{
        Toolchain, cxx_runtime::CxxRuntime, guest_library::GuestLibrary,
        thread_library::ThreadLibrary,
    },
};

/// `faasm-cc`: compiles and links C, with the arguments of gcc.
pub fn cc(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    finish("faasm-cc", compiler("faasm-cc", arguments, false))
}

/// `faasm-c++`: compiles and links C++, with the arguments of g++.
pub fn cxx(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    finish("faasm-c++", compiler("faasm-c++", arguments, true))
}

/// `faasm-ar`: makes archives of guest objects, with the arguments of ar.
pub fn ar(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    finish("faasm-ar", companion(Toolchain::archiver, arguments))
}

/// `faasm-ranlib`: indexes archives of guest objects, with the arguments of ranlib.
pub fn ranlib(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    finish("faasm-ranlib", companion(Toolchain::ranlib, arguments))
}

fn compiler(
    name: &str,
    arguments: impl Iterator<Item = OsString>,
    cxx: bool,
) -> Result<Option<ExitStatus>> {
    let arguments = arguments.map(utf8).collect::<Result<Vec<_>>>()?;
    match arguments.first().map(String::as_str) {
        Some("--faasm-install") => install().map(|()| None),
        Some("--faasm-info") => info().map(|()| None),
        Some("--help") if arguments.len() == 1 => {
            print!("{}", help(name));
            Ok(None)
        }
        Some("--version") if arguments.len() == 1 => {
            println!(
                "{name} {}, a compiler for faasm-run guests, using",
                env!("CARGO_PKG_VERSION")
            );
            driver::run(arguments, cxx)
        }
        _ => driver::run(arguments, cxx),
    }
}

fn companion(
    tool: fn(&Toolchain) -> Command,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Option<ExitStatus>> {
    let mut command = tool(&Toolchain::locate()?);
    command.args(arguments);
    let status = command.status().map_err(|source| start_error(command.get_program(), source))?;
    Ok(Some(status))
}

/// Installs and builds everything now, so that later uses need no network.
fn install() -> Result<()> {
    let toolchain = Toolchain::locate()?;
    let guest = GuestLibrary::locate(&toolchain)?;
    ThreadLibrary::locate(&toolchain, &guest)?;
    for threads in [false, true] {
        CxxRuntime::locate(&toolchain, &guest, threads)?;
    }
    info()
}

fn info() -> Result<()> {
    let toolchain = Toolchain::locate()?;
    let guest = GuestLibrary::locate(&toolchain)?;
    println!("cache     {}", toolchain.cache().root().display());
    println!("compiler  {}", toolchain.describe_compiler());
    println!("sysroot   {}", toolchain.sysroot().display());
    println!("headers   {}", guest.include.display());
    println!("library   {}", guest.archive.display());
    Ok(())
}

fn utf8(argument: OsString) -> Result<String> {
    argument
        .into_string()
        .map_err(|argument| Error::NotUtf8 { argument: argument.to_string_lossy().into_owned() })
}

fn finish(name: &str, result: Result<Option<ExitStatus>>) -> ExitCode {
    match result {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(status)) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => ExitCode::from(code),
            None => {
                eprintln!("{name}: error: the compiler was ended by a signal ({status})");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{name}: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn help(name: &str) -> String {
    format!(
        "\
{name}: compiles C and C++ programs, MPI included, to wasm files for faasm-run

usage: {name} [gcc options] file...

    {name} -O3 hello.c -o hello.wasm && faasm-run -n 4 hello.wasm
    make CC=faasm-cc CXX=faasm-c++ AR=faasm-ar RANLIB=faasm-ranlib
    cmake -DCMAKE_C_COMPILER=faasm-cc -DCMAKE_CXX_COMPILER=faasm-c++ -DCMAKE_AR=$(which faasm-ar) ..

  --faasm-install     fetch and build everything now, so that later uses need no network
  --faasm-info        print what is used and where it is
  --showme[:compile|:link|:incdirs|:libdirs|:libs], -show
                      print the underlying command instead of running it
  -pthread, -fopenmp  programs with threads; objects remember it, so that linking them needs no option
  all other options   as for gcc; -O2 and 128-bit SIMD are on by default

environment:
  FAASM_CACHE_DIR     where the toolchain is kept (default: $XDG_CACHE_HOME/faasm or ~/.cache/faasm)
  WASI_SDK_PATH       use this wasi-sdk instead of the pinned compiler and system root
  FAASM_CLANG         use this clang (19 or newer) instead of the pinned one
  FAASM_THREADS       1: compile and link everything as with -pthread
  FAASM_SYSROOT       use this wasm32-wasip1 system root instead of the pinned one
"
    )
}
