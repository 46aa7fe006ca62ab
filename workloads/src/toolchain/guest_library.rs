//! The guest library: `mpi.h`, headers that complete the sysroot's, and `libfaasm.a`.
//!
//! Its sources are part of this program. They are compiled once for each toolchain and each content, into a
//! cache entry named by both. Every function is weak, so a program or a libc that has its own wins.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{Toolchain, fetch::hexadecimal};
use crate::{
    error::{Error, Result},
    process::run_quietly,
    progress,
};

/// The library as it lies in the cache.
#[derive(Debug)]
pub(crate) struct GuestLibrary {
    /// Headers, to be searched before the sysroot's.
    pub(crate) include: PathBuf,
    /// The archive of the functions that the sysroot lacks.
    pub(crate) archive: PathBuf,
    /// Holds what `-lmpi` finds.
    pub(crate) directory: PathBuf,
}

impl GuestLibrary {
    /// Returns the library for `toolchain`, building it first where it is missing.
    ///
    /// # Errors
    /// Fails when the cache cannot be written or a source does not compile with this toolchain.
    pub(crate) fn locate(toolchain: &Toolchain) -> Result<Self> {
        let name = format!("guest-{}-{}", toolchain.identity(), content_hash());
        let directory = toolchain.cache().entry(&name, |directory| build(toolchain, directory))?;
        Ok(Self {
            include: directory.join("include"),
            archive: directory.join("libfaasm.a"),
            directory,
        })
    }
}

fn build(toolchain: &Toolchain, directory: &Path) -> Result<()> {
    progress::say("first use: building the guest library");
    for (name, text) in HEADERS {
        write(&directory.join("include").join(name), text)?;
    }
    let declarations = preprocess(toolchain, &directory.join("include/mpi-ext.h"))?;
    write(&directory.join("libmpi.a"), &mpi_stub(&declarations))?;
    let mut objects = Vec::new();
    for (name, text) in SOURCES {
        let source = directory.join("source").join(name);
        let object = source.with_extension("o");
        write(&source, text)?;
        let mut clang = toolchain.clang();
        clang.arg("-isystem").arg(directory.join("include")).args(OPTIONS);
        clang.arg("-c").arg(&source).arg("-o").arg(&object);
        run_quietly(&mut clang, &format!("compiling the guest library's {name}"))?;
        objects.push(object);
    }
    let mut archiver = toolchain.archiver();
    archiver.arg("rcs").arg(directory.join("libfaasm.a")).args(&objects);
    run_quietly(&mut archiver, "archiving the guest library")?;
    Ok(())
}

fn preprocess(toolchain: &Toolchain, header: &Path) -> Result<String> {
    let mut clang = toolchain.clang();
    clang.args(["-E", "-P", "-x", "c"]).arg(header);
    let output = run_quietly(&mut clang, "preprocessing mpi.h")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The text of a stub library: the linker takes the functions it names for imports.
///
/// A program that includes `mpi.h` does not need it. Without the header the imports are in module `env` and
/// have whatever types the caller made up, so such a program links, as it does elsewhere, but does not run.
fn mpi_stub(declarations: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = BTreeSet::new();
    for (position, _) in declarations.match_indices('(') {
        let before = declarations[..position].trim_end();
        let start = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        let name = &before[start..];
        let mixed_case = name.chars().any(|c| c.is_ascii_lowercase());
        if mixed_case
            && (["MPI_", "PMPI_", "MPIX_", "PMPIX_"].iter().any(|prefix| name.starts_with(prefix)))
        {
            names.insert(name);
        }
    }
    names.into_iter().fold("#STUB\n".to_owned(), |text, name| text + name + "\n")
}

/// Writes a file of the library, and the directory for it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    fs::write(path, text).map_err(Error::file("write", path))
}

/// Names what the library is made of.
pub(crate) fn content_hash() -> String {
    let mut digest = Sha256::new();
    digest.update(RECIPE);
    for (name, text) in HEADERS.iter().chain(SOURCES) {
        for part in [name, text] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
    }
    OPTIONS.iter().for_each(|option| digest.update(option.as_bytes()));
    hexadecimal(&digest.finalize()[..8])
}

/// Changes with what `build` makes of the sources, so that a cache filled by another version is not used.
const RECIPE: &str = "libfaasm.a libmpi.a 2";

/// How the library itself is compiled.
pub(crate) const OPTIONS: &[&str] = &[
    "-O2",
    "-std=gnu17",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffunction-sections",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_MMAN",
    "-D_GNU_SOURCE",
];

const OMP_HEADER: &str = include_str!("../../../omp-shim/include/omp.h");

const MPI_HEADER: &str = include_str!("../../../mpi-shim/include/mpi.h");

/// Headers by the name they are included with.
const HEADERS: &[(&str, &str)] = &[
    ("mpi.h", MPI_HEADER),
    ("mpi-ext.h", include_str!("../../../mpi-shim/include/mpi-ext.h")),
    ("omp.h", OMP_HEADER),
    ("__struct_rusage.h", include_str!("../../libc/include/__struct_rusage.h")),
    ("__typedef_sigset_t.h", include_str!("../../libc/include/__typedef_sigset_t.h")),
    ("execinfo.h", include_str!("../../libc/include/execinfo.h")),
    ("fenv.h", include_str!("../../libc/include/fenv.h")),
    ("grp.h", include_str!("../../libc/include/grp.h")),
    ("malloc.h", include_str!("../../libc/include/malloc.h")),
    ("netdb.h", include_str!("../../libc/include/netdb.h")),
    ("pthread.h", include_str!("../../libc/include/pthread.h")),
    ("pwd.h", include_str!("../../libc/include/pwd.h")),
    ("sched.h", include_str!("../../libc/include/sched.h")),
    ("setjmp.h", include_str!("../../libc/include/setjmp.h")),
    ("signal.h", include_str!("../../libc/include/signal.h")),
    ("stdio.h", include_str!("../../libc/include/stdio.h")),
    ("stdlib.h", include_str!("../../libc/include/stdlib.h")),
    ("sys/ipc.h", include_str!("../../libc/include/sys/ipc.h")),
    ("sys/resource.h", include_str!("../../libc/include/sys/resource.h")),
    ("sys/shm.h", include_str!("../../libc/include/sys/shm.h")),
    ("sys/socket.h", include_str!("../../libc/include/sys/socket.h")),
    ("sys/stat.h", include_str!("../../libc/include/sys/stat.h")),
    ("sys/time.h", include_str!("../../libc/include/sys/time.h")),
    ("sys/wait.h", include_str!("../../libc/include/sys/wait.h")),
    ("syslog.h", include_str!("../../libc/include/syslog.h")),
    ("time.h", include_str!("../../libc/include/time.h")),
    ("unistd.h", include_str!("../../libc/include/unistd.h")),
];

/// Sources by file name.
pub(crate) const SOURCES: &[(&str, &str)] = &[
    ("at_once.c", include_str!("../../../mpi-shim/guest/at_once.c")),
    ("descriptor.c", include_str!("../../libc/descriptor.c")),
    ("identity.c", include_str!("../../libc/identity.c")),
    ("machine.c", include_str!("../../libc/machine.c")),
    ("memory.c", include_str!("../../libc/memory.c")),
    ("network.c", include_str!("../../libc/network.c")),
    ("process.c", include_str!("../../libc/process.c")),
    ("report.c", include_str!("../../libc/report.c")),
    ("resource.c", include_str!("../../libc/resource.c")),
    ("sched.c", include_str!("../../libc/sched.c")),
    ("signal.c", include_str!("../../libc/signal.c")),
    ("tempfile.c", include_str!("../../libc/tempfile.c")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stub_names_functions_once_and_no_types() {
        let stub = mpi_stub("typedef int (*MPI_F)(int);int MPI_Send (MPI_Comm);int MPI_Send(int);");
        assert_eq!(stub, "#STUB\nMPI_Send\n");
    }
}
