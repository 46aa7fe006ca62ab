//! The libraries of programs with threads: a C library that may be called from all of them, and OpenMP's part
//! inside the guest.
//!
//! The sysroot's C library is made for one thread. Those of its members that keep state (errno, files, locks,
//! the locale) are compiled again with threads from the sources that the pinned compiler carries; allocation,
//! threads, mutexes and conditions are our own; everything else is taken from the sysroot's archive. This takes
//! seconds, once for each toolchain.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    TARGET, Toolchain,
    fetch::hexadecimal,
    guest_library::{self, GuestLibrary},
    units::{self, Unit},
};
use crate::{
    error::{Error, Result},
    process::run_quietly,
    progress,
};

/// The libraries as they lie in the cache.
#[derive(Debug)]
pub(crate) struct ThreadLibrary {
    /// Holds `libc.a` and the archives beside it; searched before the sysroot.
    pub(crate) directory: PathBuf,
    /// The guest library, compiled with threads.
    pub(crate) archive: PathBuf,
    /// OpenMP's part inside the guest.
    pub(crate) openmp: PathBuf,
}

impl ThreadLibrary {
    /// Returns the libraries for `toolchain`, building them first where they are missing.
    ///
    /// # Errors
    /// Fails when the sources cannot be fetched or do not compile with this toolchain.
    pub(crate) fn locate(toolchain: &Toolchain, guest: &GuestLibrary) -> Result<Self> {
        let name = format!("threads-{}-{}", toolchain.identity(), content_hash());
        let build = |directory: &Path| {
            let sources = toolchain.libc_sources()?;
            progress::say("first use of threads: building the C library for them (seconds, once)");
            Build { toolchain, guest, sources, directory }.all()
        };
        let directory = toolchain.cache().entry(&name, build)?;
        Ok(Self {
            archive: directory.join("libfaasm.a"),
            openmp: directory.join("libfaasm-omp.a"),
            directory,
        })
    }
}

struct Build<'t> {
    toolchain: &'t Toolchain,
    guest: &'t GuestLibrary,
    sources: PathBuf,
    directory: &'t Path,
}

impl Build<'_> {
    fn all(&self) -> Result<()> {
        let objects = self.directory.join("objects");
        for part in ["libc", "own", "guest", "openmp"] {
            let home = objects.join(part);
            fs::create_dir_all(&home).map_err(Error::file("create", &home))?;
        }
        let members = Members::parse(MEMBERS);
        let libc: Vec<Unit> =
            members.compiled.iter().map(|path| self.member(path, &objects.join("libc"))).collect();
        let own = self.own(&objects.join("own"))?;
        let guest = self.plain(guest_library::SOURCES, &objects.join("guest"))?;
        let openmp = self.plain(OPENMP, &objects.join("openmp"))?;
        let all: Vec<&Unit> = libc.iter().chain(&own).chain(&guest).chain(&openmp).collect();
        units::compile(self.toolchain, &all, "the library for threads")?;
        self.archive_libc(&members, libc.iter().chain(&own))?;
        self.archive("libfaasm.a", guest.iter())?;
        self.archive("libfaasm-omp.a", openmp.iter())?;
        for name in PART_OF_LIBC {
            self.archive(name, [].into_iter())?;
        }
        fs::remove_dir_all(&objects).map_err(Error::file("delete", objects))
    }

    /// A member of the C library, compiled as its own makefile does.
    fn member(&self, path: &str, home: &Path) -> Unit {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut options = texts(COMPILE);
        options.extend(texts(MEMBER));
        let bottom = path.starts_with("wasi/libc-bottom-half") || path.starts_with("wasi/fts");
        // Signals are compiled as a program's own source would be: with the public headers.
        let directories = match path {
            "wasi/libc-bottom-half/signal/signal" => &[][..],
            _ if bottom => BOTTOM_HALF,
            _ => TOP_HALF,
        };
        // Where a thread finds its record.
        options.push(format!("-I{}", self.directory.join("objects/own").display()));
        options.extend(self.include(directories));
        Unit {
            source: self.sources.join(format!("{path}.c")),
            object: home.join(format!("{name}.c.obj")),
            options,
        }
    }

    /// Our own members: those that know the C library's insides, and those that do not.
    fn own(&self, home: &Path) -> Result<Vec<Unit>> {
        for (name, text) in OWN_HEADERS {
            guest_library::write(&home.join(name), text)?;
        }
        let mut units = self.plain(OWN, home)?;
        for (name, text) in INSIDERS {
            let source = home.join(name);
            guest_library::write(&source, text)?;
            let mut options = texts(COMPILE);
            options.extend(texts(&["-Wno-everything", "-D_GNU_SOURCE"]));
            options.push(format!("-I{}", home.display()));
            options.extend(self.include(TOP_HALF));
            units.push(Unit { object: source.with_extension("o"), source, options });
        }
        Ok(units)
    }

    fn plain(&self, sources: &[(&str, &str)], home: &Path) -> Result<Vec<Unit>> {
        let unit = |(name, text): (&str, &str)| {
            let source = home.join(name);
            guest_library::write(&source, text)?;
            let mut options = texts(COMPILE);
            options.extend(texts(guest_library::OPTIONS));
            options.push(format!("-I{}", home.display()));
            options.push("-isystem".to_owned());
            options.push(self.guest.include.display().to_string());
            Ok(Unit { object: source.with_extension("o"), source, options })
        };
        // Headers among the sources are only written.
        let (sources, headers): (Vec<_>, Vec<_>) = sources
            .iter()
            .copied()
            .partition(|(name, _)| Path::new(name).extension().is_some_and(|e| e == "c"));
        for (name, text) in headers {
            guest_library::write(&home.join(name), text)?;
        }
        sources.into_iter().map(unit).collect()
    }

    fn include(&self, directories: &[&str]) -> Vec<String> {
        directories.iter().map(|name| format!("-I{}", self.sources.join(name).display())).collect()
    }

    fn archive_libc<'u>(
        &self,
        members: &Members,
        units: impl Iterator<Item = &'u Unit>,
    ) -> Result<()> {
        let stock = self.toolchain.sysroot().join("lib").join(TARGET).join("libc.a");
        let ours = self.directory.join("libc.a");
        fs::copy(&stock, &ours).map_err(Error::file("copy", &stock))?;
        let names: Vec<String> = members.replaced().map(|name| format!("{name}.c.obj")).collect();
        // A name may be there twice, and each pass takes one of them.
        for _ in 0..2 {
            let mut archiver = self.toolchain.archiver();
            archiver.arg("d").arg(&ours).args(&names);
            run_quietly(&mut archiver, "taking the C library apart")?;
        }
        self.archive("libc.a", units)
    }

    fn archive<'u>(&self, name: &str, units: impl Iterator<Item = &'u Unit>) -> Result<()> {
        let mut archiver = self.toolchain.archiver();
        archiver.arg("rcs").arg(self.directory.join(name));
        archiver.args(units.map(|unit| &unit.object));
        run_quietly(&mut archiver, &format!("archiving {name}")).map(drop)
    }
}

/// What the list of members says.
struct Members<'t> {
    /// Paths below the sources, without suffix.
    compiled: Vec<String>,
    /// Names that our own members stand for.
    left_out: Vec<&'t str>,
}

impl<'t> Members<'t> {
    fn parse(text: &'t str) -> Self {
        let mut members = Self { compiled: Vec::new(), left_out: Vec::new() };
        let mut directory = "";
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if !line.starts_with(' ') {
                directory = line;
            } else if directory == "-" {
                members.left_out.extend(line.split_whitespace());
            } else {
                let paths = line.split_whitespace().map(|name| format!("{directory}/{name}"));
                members.compiled.extend(paths);
            }
        }
        members
    }

    /// Names of the sysroot's members that must not be used.
    fn replaced(&self) -> impl Iterator<Item = &str> {
        let names = self.compiled.iter().map(|path| path.rsplit('/').next().unwrap_or(path));
        names.chain(self.left_out.iter().copied())
    }
}

fn texts(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

fn content_hash() -> String {
    let mut digest = Sha256::new();
    digest.update(guest_library::content_hash());
    let files = OWN_HEADERS.iter().chain(OWN).chain(INSIDERS).chain(OPENMP);
    for (name, text) in files.chain([&("members", MEMBERS)]) {
        for part in [name, text] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
    }
    for options in [COMPILE, MEMBER, TOP_HALF, BOTTOM_HALF, PART_OF_LIBC] {
        options.iter().for_each(|option| digest.update(option.as_bytes()));
    }
    hexadecimal(&digest.finalize()[..8])
}

/// How everything here is compiled.
const COMPILE: &[&str] = &[
    "-O2",
    "-std=gnu17",
    "-pthread",
    "-matomics",
    "-mbulk-memory",
    "-msimd128",
    "-ftls-model=local-exec",
    "-ffunction-sections",
    "-fno-strict-aliasing",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_MMAN",
];

/// What members of the C library need besides.
const MEMBER: &[&str] = &[
    "-Wno-everything",
    "-DBULK_MEMORY_THRESHOLD=32",
    "-D__wasilibc_printscan_full_support_option=\"\"",
    "-include",
    "stdbool.h",
    "-include",
    "stddef.h",
];

const TOP_HALF: &[&str] = &[
    "wasi/libc-top-half/musl/src/include",
    "wasi/libc-top-half/musl/src/internal",
    "musl/src/include",
    "musl/src/internal",
    "wasi/libc-top-half/musl/arch/wasm32",
    "musl/arch/generic",
    "wasi/libc-top-half/headers/private",
    "wasi/libc-bottom-half/cloudlibc/src",
];

const BOTTOM_HALF: &[&str] = &[
    "wasi/libc-bottom-half/headers/private",
    "wasi/libc-bottom-half/cloudlibc/src/include",
    "wasi/libc-bottom-half/cloudlibc/src",
    "wasi/libc-top-half/musl/src/include",
    "wasi/libc-top-half/musl/src/internal",
    "musl/src/include",
    "musl/src/internal",
    "wasi/libc-top-half/headers/private",
    "wasi/fts",
];

/// Archives whose members are in `libc.a` here.
const PART_OF_LIBC: &[&str] = &[
    "libwasi-emulated-signal.a",
    "libwasi-emulated-process-clocks.a",
    "libwasi-emulated-mman.a",
    "libwasi-emulated-getpid.a",
    "libc-printscan-long-double.a",
];

const MEMBERS: &str = include_str!("../../libc/threads/members.txt");

const OWN_HEADERS: &[(&str, &str)] = &[
    ("faasm_thread.h", include_str!("../../libc/threads/faasm_thread.h")),
    ("pthread_arch.h", include_str!("../../libc/threads/pthread_arch.h")),
    ("thread.h", include_str!("../../libc/threads/thread.h")),
];

const OWN: &[(&str, &str)] = &[
    ("affinity.c", include_str!("../../libc/threads/affinity.c")),
    ("malloc.c", include_str!("../../libc/threads/malloc.c")),
];

/// Those that are compiled against the C library's internal headers.
const INSIDERS: &[(&str, &str)] = &[
    ("condition.c", include_str!("../../libc/threads/condition.c")),
    ("mutex.c", include_str!("../../libc/threads/mutex.c")),
    ("private.c", include_str!("../../libc/threads/private.c")),
    ("rest.c", include_str!("../../libc/threads/rest.c")),
    ("spin.c", include_str!("../../libc/threads/spin.c")),
    ("thread.c", include_str!("../../libc/threads/thread.c")),
    ("wait.c", include_str!("../../libc/threads/wait.c")),
];

/// OpenMP inside the guest.
const OPENMP: &[(&str, &str)] = &[
    ("faasm_thread.h", include_str!("../../libc/threads/faasm_thread.h")),
    ("runtime.h", include_str!("../../../omp-shim/guest/runtime.h")),
    ("atomic.c", include_str!("../../../omp-shim/guest/atomic.c")),
    ("atomic_entry.c", include_str!("../../../omp-shim/guest/atomic_entry.c")),
    ("call.c", include_str!("../../../omp-shim/guest/call.c")),
    ("depend.c", include_str!("../../../omp-shim/guest/depend.c")),
    ("group.c", include_str!("../../../omp-shim/guest/group.c")),
    ("icv.c", include_str!("../../../omp-shim/guest/icv.c")),
    ("lock.c", include_str!("../../../omp-shim/guest/lock.c")),
    ("loop.c", include_str!("../../../omp-shim/guest/loop.c")),
    ("memory.c", include_str!("../../../omp-shim/guest/memory.c")),
    ("span.c", include_str!("../../../omp-shim/guest/span.c")),
    ("sync.c", include_str!("../../../omp-shim/guest/sync.c")),
    ("task.c", include_str!("../../../omp-shim/guest/task.c")),
    ("team.c", include_str!("../../../omp-shim/guest/team.c")),
    ("wait.c", include_str!("../../../omp-shim/guest/wait.c")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_named_once() {
        let members = Members::parse(MEMBERS);
        let mut names: Vec<&str> = members.replaced().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a member is listed twice");
        assert!(count > 300, "{count}");
    }
}
