//! The C++ runtime with exceptions: libc++, libc++abi and libunwind as the sysroot does not have them.
//!
//! The sysroot's libc++ is compiled without exceptions. At first C++ use the ABI library, the unwinder and
//! those files of libc++ that throw are compiled again, with exceptions, from the sources that the pinned
//! compiler carries; the other members of the sysroot's archive are used as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Toolchain,
    guest_library::GuestLibrary,
    units::{self, Unit},
};
use crate::{
    error::{Error, Result},
    process::run_quietly,
    progress,
};

/// The runtime as it lies in the cache.
#[derive(Debug)]
pub(crate) struct CxxRuntime {
    /// Holds `libc++.a`, `libc++abi.a` and `libunwind.a`; searched before the sysroot.
    pub(crate) directory: PathBuf,
}

impl CxxRuntime {
    /// Returns the runtime for `toolchain`, building it first where it is missing; one for programs with
    /// threads is another one.
    ///
    /// # Errors
    /// Fails when the sources cannot be fetched or do not compile with this toolchain.
    pub(crate) fn locate(
        toolchain: &Toolchain,
        guest: &GuestLibrary,
        threads: bool,
    ) -> Result<Self> {
        let kind = if threads { "cxx-threads" } else { "cxx" };
        let name = format!("{kind}-{RECIPE}-{}", toolchain.identity());
        let build = |directory: &Path| {
            let sources = toolchain.runtime_sources()?;
            progress::say(
                "first C++ use: building the C++ runtime with exceptions (10 to 30 seconds, once)",
            );
            Build { toolchain, guest, threads, sources, directory }.all()
        };
        Ok(Self { directory: toolchain.cache().entry(&name, build)? })
    }
}

struct Build<'t> {
    toolchain: &'t Toolchain,
    guest: &'t GuestLibrary,
    threads: bool,
    sources: PathBuf,
    directory: &'t Path,
}

impl Build<'_> {
    fn all(&self) -> Result<()> {
        let objects = self.directory.join("objects");
        let units = |part: &str, files: &[&str], options: &[&str]| -> Result<Vec<Unit>> {
            let home = objects.join(part);
            fs::create_dir_all(&home).map_err(Error::file("create", &home))?;
            let unit = |file: &&str| {
                let source = self.sources.join(part).join("src").join(file);
                // The member's name in the sysroot's archive, which it replaces.
                let name = format!("{}.obj", file.rsplit('/').next().unwrap_or(file));
                Unit { source, object: home.join(name), options: self.options(options) }
            };
            Ok(files.iter().map(unit).collect())
        };
        let mut libcxx = units("libcxx", LIBCXX, CXX)?;
        if self.threads {
            libcxx.extend(units("libcxx", LIBCXX_THREADS, CXX)?);
        }
        let mut abi = units("libcxxabi", LIBCXXABI, ABI)?;
        abi.push(self.own_unit(&objects, "main_guard.cpp", MAIN_GUARD_SOURCE)?);
        let mut unwind = units("libunwind", LIBUNWIND, UNWIND)?;
        unwind.push(self.own_unit(&objects, "exception_tag.S", EXCEPTION_TAG)?);
        let all: Vec<&Unit> = libcxx.iter().chain(&abi).chain(&unwind).collect();
        units::compile(self.toolchain, &all, "the C++ runtime")?;
        let stock = self.toolchain.sysroot().join("lib").join(super::TARGET).join("libc++.a");
        let ours = self.directory.join("libc++.a");
        fs::copy(&stock, &ours).map_err(Error::file("copy", &stock))?;
        self.archive("libc++.a", &libcxx)?;
        self.archive("libc++abi.a", &abi)?;
        self.archive("libunwind.a", &unwind)?;
        fs::remove_dir_all(&objects).map_err(Error::file("delete", objects))
    }

    fn own_unit(&self, objects: &Path, name: &str, text: &str) -> Result<Unit> {
        let source = objects.join(name);
        fs::write(&source, text).map_err(Error::file("write", &source))?;
        Ok(Unit { object: source.with_extension("o"), source, options: self.options(&[]) })
    }

    fn options(&self, own: &[&str]) -> Vec<String> {
        let mut options = Vec::new();
        if own == CXX || own == ABI {
            options.push("--driver-mode=g++".to_owned());
        }
        // Declares what the sysroot's headers lack, as for every guest.
        options.push("-isystem".to_owned());
        options.push(self.guest.include.display().to_string());
        for include in
            ["libcxxabi/include", "libcxxabi/src", "libcxx", "libcxx/src", "libunwind/include"]
        {
            options.push(format!("-I{}", self.sources.join(include).display()));
        }
        let threads = if self.threads { THREADS } else { &[] };
        // Only the ABI library asks whether there are threads; libc++ always has them.
        let alone =
            if own == ABI && !self.threads { &["-D_LIBCXXABI_HAS_NO_THREADS"][..] } else { &[] };
        let all = COMMON.iter().chain(own).chain(threads).chain(alone);
        options.extend(all.map(|&option| option.to_owned()));
        options
    }

    fn archive(&self, name: &str, units: &[Unit]) -> Result<()> {
        let mut archiver = self.toolchain.archiver();
        archiver.arg("rcs").arg(self.directory.join(name));
        archiver.args(units.iter().map(|unit| &unit.object));
        run_quietly(&mut archiver, &format!("archiving {name}")).map(drop)
    }
}

/// Counts up when the recipe below changes, so that a cache filled by an older one is not used.
const RECIPE: &str = "3";

const COMMON: &[&str] = &[
    "-O2",
    "-w",
    "-msimd128",
    "-DNDEBUG",
    "-fwasm-exceptions",
    "-mllvm",
    "-wasm-use-legacy-eh=false",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_MMAN",
    "-D_WASI_EMULATED_GETPID",
];
const CXX: &[&str] = &["-std=c++23", "-D_LIBCPP_BUILDING_LIBRARY", "-DLIBCXX_BUILDING_LIBCXXABI"];
const ABI: &[&str] = &[
    "-std=c++23",
    "-D_LIBCXXABI_BUILDING_LIBRARY",
    "-D_LIBCPP_BUILDING_LIBRARY",
    "-DLIBCXX_BUILDING_LIBCXXABI",
];
const UNWIND: &[&str] = &["-std=gnu23", "-D_LIBUNWIND_HIDE_SYMBOLS"];

/// How everything is compiled for programs with threads.
const THREADS: &[&str] = &["-pthread", "-matomics", "-mbulk-memory", "-ftls-model=local-exec"];

/// The tag of C++ exceptions: its definition can only be written in assembler.
const EXCEPTION_TAG: &str = "\
    .tagtype __cpp_exception i32
    .globl __cpp_exception
__cpp_exception:
";

/// Puts a frame around main that catches what nobody else does.
///
/// In WebAssembly an exception that nobody catches is found out only when it has left the last frame. Ending
/// the program from inside a handler lets the runtime print its type and text, as native programs do.
const MAIN_GUARD_SOURCE: &str = r#"namespace std { [[noreturn]] void terminate() noexcept; }
extern "C" int __real___main_void();
extern "C" int __wrap___main_void() {
    try {
        return __real___main_void();
    } catch (...) {
        std::terminate();
    }
}
"#;

/// The linker option that puts the guard around main.
pub(crate) const MAIN_GUARD: &str = "-Wl,--wrap=__main_void,--undefined=__main_void";

/// The files of libc++ that throw, or through which an exception passes with something to clean up; those
/// that take longest to compile come first, so that no core waits for them at the end.
const LIBCXX: &[&str] = &[
    "locale.cpp",
    "ios.instantiations.cpp",
    "filesystem/directory_iterator.cpp",
    "filesystem/operations.cpp",
    "filesystem/directory_entry.cpp",
    "filesystem/path.cpp",
    "filesystem/filesystem_error.cpp",
    "string.cpp",
    "ios.cpp",
    "future.cpp",
    "vector.cpp",
    "system_error.cpp",
    "functional.cpp",
    "stdexcept.cpp",
    "new_handler.cpp",
    "optional.cpp",
    "variant.cpp",
    "any.cpp",
    "expected.cpp",
    "new_helpers.cpp",
    "exception.cpp",
    "typeinfo.cpp",
];

/// Files that threads make different: those that count references, lock, or look at errno.
const LIBCXX_THREADS: &[&str] = &[
    "iostream.cpp",
    "chrono.cpp",
    "memory.cpp",
    "memory_resource.cpp",
    "thread.cpp",
    "atomic.cpp",
    "mutex.cpp",
    "mutex_destructor.cpp",
    "condition_variable.cpp",
    "condition_variable_destructor.cpp",
    "shared_mutex.cpp",
    "barrier.cpp",
    "call_once.cpp",
    "random.cpp",
    "error_category.cpp",
    "filesystem/filesystem_clock.cpp",
];

const LIBCXXABI: &[&str] = &[
    "abort_message.cpp",
    "cxa_aux_runtime.cpp",
    "cxa_default_handlers.cpp",
    "cxa_demangle.cpp",
    "cxa_exception.cpp",
    "cxa_exception_storage.cpp",
    "cxa_guard.cpp",
    "cxa_handlers.cpp",
    "cxa_personality.cpp",
    "cxa_thread_atexit.cpp",
    "cxa_vector.cpp",
    "cxa_virtual.cpp",
    "fallback_malloc.cpp",
    "private_typeinfo.cpp",
    "stdlib_exception.cpp",
    "stdlib_new_delete.cpp",
    "stdlib_stdexcept.cpp",
    "stdlib_typeinfo.cpp",
];

const LIBUNWIND: &[&str] = &["Unwind-wasm.c"];
