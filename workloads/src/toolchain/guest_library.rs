//! The guest library: `mpi.h`, headers that complete the sysroot's, and `libfaasm.a`.
//!
//! Its sources are part of this program. They are compiled once for each toolchain and each content, into a
//! cache entry named by both. Every function is weak, so a program or a libc that has its own wins.

use std::{
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
}

impl GuestLibrary {
    /// Returns the library for `toolchain`, building it first where it is missing.
    ///
    /// # Errors
    /// Fails when the cache cannot be written or a source does not compile with this toolchain.
    pub(crate) fn locate(toolchain: &Toolchain) -> Result<Self> {
        let name = format!("guest-{}-{}", toolchain.identity(), content_hash());
        let directory = toolchain.cache().entry(&name, |directory| build(toolchain, directory))?;
        Ok(Self { include: directory.join("include"), archive: directory.join("libfaasm.a") })
    }
}

fn build(toolchain: &Toolchain, directory: &Path) -> Result<()> {
    progress::say("first use: building the guest library");
    for (name, text) in HEADERS {
        write(&directory.join("include").join(name), text)?;
    }
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

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    fs::write(path, text).map_err(Error::file("write", path))
}

fn content_hash() -> String {
    let mut digest = Sha256::new();
    for (name, text) in HEADERS.iter().chain(SOURCES) {
        for part in [name, text] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
    }
    OPTIONS.iter().for_each(|option| digest.update(option.as_bytes()));
    hexadecimal(&digest.finalize()[..8])
}

/// How the library itself is compiled.
const OPTIONS: &[&str] = &[
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

/// Headers by the name they are included with.
const HEADERS: &[(&str, &str)] = &[
    ("mpi.h", include_str!("../../../mpi-shim/include/mpi.h")),
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
const SOURCES: &[(&str, &str)] = &[
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
