//! The compiler and system root that guests are built with: where they come from and how they are called.
//!
//! Two parts are found independently. The *compiler* is `$FAASM_CLANG`, else `$WASI_SDK_PATH/bin/clang`,
//! else the pinned one, installed into the cache at first use. The *sysroot* is `$FAASM_SYSROOT`, else
//! `$WASI_SDK_PATH/share/wasi-sysroot`, else the pinned one. What is built from them (the guest library,
//! the C++ runtime) is kept in the cache under a name that holds their identity.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Error, Result},
    process::{find_program, run_quietly},
    progress,
};

pub(crate) mod cache;
pub(crate) mod cxx_runtime;
pub(crate) mod fetch;
pub(crate) mod guest_library;
pub(crate) mod pins;
pub(crate) mod thread_library;
pub(crate) mod units;

use cache::Cache;

/// The guests' target triple.
pub(crate) const TARGET: &str = "wasm32-wasip1";

/// A complete set of tools, ready to compile and link.
#[derive(Debug)]
pub(crate) struct Toolchain {
    cache: Cache,
    compiler: Compiler,
    sysroot: PathBuf,
    /// Holds `resource/` (compiler headers and compiler-rt) and `bin/wasm-ld`; a wasi-sdk has its own.
    view: Option<PathBuf>,
    /// Names compiler, sysroot and view in cache entries.
    identity: String,
}

/// How clang and its companions are called.
#[derive(Debug, Clone)]
enum Compiler {
    /// One program that is clang, wasm-ld and ar, depending on its first argument.
    Pinned(PathBuf),
    /// A clang with its own linker and archiver beside it.
    Clang { clang: PathBuf, sdk: bool },
}

impl Toolchain {
    /// Finds the toolchain, installing the pinned parts that are used and not there yet.
    ///
    /// # Errors
    /// Fails when a variable names something unusable, or when an installation fails.
    pub(crate) fn locate() -> Result<Self> {
        let cache = Cache::from_environment()?;
        let sdk = variable("WASI_SDK_PATH");
        let compiler = match (variable("FAASM_CLANG"), &sdk) {
            (Some(clang), _) => Compiler::named("FAASM_CLANG", &clang)?,
            (None, Some(sdk)) => {
                let clang = Path::new(sdk).join("bin/clang");
                if !clang.is_file() {
                    return Err(unusable("WASI_SDK_PATH", sdk, "there is no bin/clang in it"));
                }
                Compiler::Clang { clang, sdk: true }
            }
            (None, None) => Compiler::Pinned(install_compiler(&cache)?.join("ziglang/zig")),
        };
        let sysroot = match locate_sysroot(sdk.as_deref())? {
            Some(sysroot) => sysroot,
            None => install_sysroot(&cache)?.join("sysroot"),
        };
        let identity = identity(&compiler, &sysroot);
        let view = if matches!(compiler, Compiler::Clang { sdk: true, .. }) {
            None
        } else {
            let package = install_sysroot(&cache)?;
            let compose = |directory: &Path| compose_view(directory, &compiler, &package);
            Some(cache.entry(&format!("view-{identity}"), compose)?)
        };
        Ok(Self { cache, compiler, sysroot, view, identity })
    }

    /// A clang command for the guest target, without the guest library's options.
    pub(crate) fn clang(&self) -> Command {
        let mut command = match &self.compiler {
            Compiler::Pinned(program) => {
                let mut command = Command::new(program);
                command.arg("clang");
                command
            }
            Compiler::Clang { clang, .. } => Command::new(clang),
        };
        command.args(self.target_options());
        command
    }

    /// The options that make clang compile for the guest target with this sysroot.
    pub(crate) fn target_options(&self) -> Vec<String> {
        let mut options =
            vec![format!("--target={TARGET}"), format!("--sysroot={}", self.sysroot.display())];
        if let Some(view) = &self.view {
            options.push(format!("-resource-dir={}", view.join("resource").display()));
            options.push(format!("-B{}", view.join("bin").display()));
        }
        options
    }

    /// The archiver, as `llvm-ar` takes its arguments.
    pub(crate) fn archiver(&self) -> Command {
        self.companion("ar")
    }

    /// The program that writes an archive's index.
    pub(crate) fn ranlib(&self) -> Command {
        self.companion("ranlib")
    }

    fn companion(&self, tool: &str) -> Command {
        match &self.compiler {
            Compiler::Pinned(program) => {
                let mut command = Command::new(program);
                command.arg(tool);
                command
            }
            Compiler::Clang { clang, .. } => Command::new(beside(clang, &format!("llvm-{tool}"))),
        }
    }

    /// The cache in which things built with this toolchain are kept.
    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// A short name of compiler and sysroot for use in cache entries.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The directory of headers and libraries.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// The compiler, in words.
    pub(crate) fn describe_compiler(&self) -> String {
        match &self.compiler {
            Compiler::Pinned(program) => {
                let pin = &pins::COMPILER;
                format!("{} clang ({} {}, pinned)", program.display(), pin.name, pin.version)
            }
            Compiler::Clang { clang, .. } => clang.display().to_string(),
        }
    }

    /// Installs the pinned compiler even where another one compiles, for the sources it carries.
    pub(crate) fn runtime_sources(&self) -> Result<PathBuf> {
        Ok(install_compiler(&self.cache)?.join("ziglang/lib"))
    }

    /// The C library's sources, which the pinned compiler carries as well.
    pub(crate) fn libc_sources(&self) -> Result<PathBuf> {
        let there = self.runtime_sources()?.join("libc");
        if there.join("musl").is_dir() {
            return Ok(there);
        }
        install_libc_sources(&self.cache)
    }
}

impl Compiler {
    fn named(name: &'static str, value: &str) -> Result<Self> {
        let clang =
            if value.contains('/') { Some(PathBuf::from(value)) } else { find_program(value) };
        match clang.filter(|path| path.is_file()) {
            Some(clang) => Ok(Self::Clang { clang, sdk: false }),
            None => Err(unusable(name, value, "there is no such program")),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn unusable(variable: &'static str, value: &str, reason: &str) -> Error {
    Error::Environment { variable, value: value.to_owned(), reason: reason.to_owned() }
}

/// The sysroot that the environment names, if it does.
fn locate_sysroot(sdk: Option<&str>) -> Result<Option<PathBuf>> {
    if let Some(named) = variable("FAASM_SYSROOT") {
        return checked_sysroot("FAASM_SYSROOT", &named, PathBuf::from(&named)).map(Some);
    }
    let Some(sdk) = sdk else { return Ok(None) };
    checked_sysroot("WASI_SDK_PATH", sdk, Path::new(sdk).join("share/wasi-sysroot")).map(Some)
}

fn checked_sysroot(variable: &'static str, value: &str, sysroot: PathBuf) -> Result<PathBuf> {
    let library = sysroot.join("lib").join(TARGET).join("libc.a");
    if library.is_file() {
        return Ok(sysroot);
    }
    let reason = format!("{} is missing; a sysroot for {TARGET} is needed", library.display());
    Err(unusable(variable, value, &reason))
}

/// Installs the pinned compiler into the cache, or returns where it is.
fn install_compiler(cache: &Cache) -> Result<PathBuf> {
    let pin = &pins::COMPILER;
    cache.entry(&format!("compiler-{}-{}", pin.version, &pin.sha256[0][..8]), |directory| {
        progress::say("first use: installing the guest compiler (100 MB to fetch, once)");
        fetch::wheel(pin, directory)?;
        let home = directory.join("ziglang");
        fetch::make_executable(&home.join("zig"))?;
        let library = home.join("lib");
        prune(&library, &["include", "libc", "libcxx", "libcxxabi", "libunwind"])?;
        prune(&library.join("libc"), LIBC_SOURCES)
    })
}

/// Installs the C library's sources beside a compiler that was installed before threads needed them.
fn install_libc_sources(cache: &Cache) -> Result<PathBuf> {
    let pin = &pins::COMPILER;
    let name = format!("libc-{}-{}", pin.version, &pin.sha256[0][..8]);
    let directory = cache.entry(&name, |directory| {
        progress::say(
            "first use of threads: fetching the C library's sources (100 MB to fetch, once)",
        );
        let wheel = directory.join("wheel");
        fs::create_dir(&wheel).map_err(Error::file("create", &wheel))?;
        fetch::wheel(pin, &wheel)?;
        prune(&wheel.join("ziglang/lib/libc"), LIBC_SOURCES)?;
        move_into(&wheel.join("ziglang/lib/libc"), &directory.join("libc"))?;
        fs::remove_dir_all(&wheel).map_err(Error::file("delete", &wheel))
    })?;
    Ok(directory.join("libc"))
}

/// Installs the pinned sysroot into the cache, or returns where it is.
fn install_sysroot(cache: &Cache) -> Result<PathBuf> {
    let pin = &pins::SYSROOT;
    let digest: String =
        pin.integrity.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    cache.entry(&format!("sysroot-{}-{digest}", pin.version), |directory| {
        progress::say("first use: installing the guest system root (27 MB to fetch, once)");
        fetch::npm_package(pin, "package/gen/llvm-resources.tar", directory)?;
        let archive = directory.join("package/gen/llvm-resources.tar");
        let unpacked = directory.join("package/resources");
        fs::create_dir(&unpacked).map_err(Error::file("create", &unpacked))?;
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(&archive).arg("-C").arg(&unpacked);
        run_quietly(&mut tar, "unpacking the system root")?;
        for (from, to) in [
            ("include/wasm32-wasip1", "sysroot/include/wasm32-wasip1"),
            ("include/c++", "sysroot/include/c++"),
            ("lib/wasm32-wasip1", "sysroot/lib/wasm32-wasip1"),
            ("lib/wasm32-unknown-wasip1", "resource-lib/wasm32-unknown-wasip1"),
        ] {
            move_into(&unpacked.join(from), &directory.join(to))?;
        }
        let rest = directory.join("package");
        fs::remove_dir_all(&rest).map_err(Error::file("delete", &rest))
    })
}

fn move_into(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    fs::rename(from, to).map_err(Error::file("move", from))
}

/// Deletes everything in `directory` but the entries to `keep`: most of the wheel serves other targets.
fn prune(directory: &Path, keep: &[&str]) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))?.flatten() {
        let path = entry.path();
        if keep.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let deleted =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        deleted.map_err(Error::file("delete", &path))?;
    }
    Ok(())
}

/// Lays out what clang expects in its resource directory, and a `wasm-ld` for it to find.
fn compose_view(directory: &Path, compiler: &Compiler, package: &Path) -> Result<()> {
    let (headers, linker) = match compiler {
        Compiler::Pinned(program) => {
            let home = program.parent().unwrap_or(Path::new("/"));
            let script = format!("#!/bin/sh\nexec '{}' wasm-ld \"$@\"\n", program.display());
            (home.join("lib/include"), Linker::Script(script))
        }
        Compiler::Clang { clang, .. } => {
            let output = run_quietly(
                Command::new(clang).arg("-print-resource-dir"),
                "asking clang for its resource directory",
            )?;
            let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            (Path::new(&directory).join("include"), Linker::Program(beside(clang, "wasm-ld")))
        }
    };
    let resource = directory.join("resource");
    let bin = directory.join("bin");
    for path in [&resource, &bin] {
        fs::create_dir(path).map_err(Error::file("create", path))?;
    }
    let link = |from: &Path, to: PathBuf| symlink(from, &to).map_err(Error::file("create", to));
    link(&headers, resource.join("include"))?;
    link(&package.join("resource-lib"), resource.join("lib"))?;
    let wasm_ld = bin.join("wasm-ld");
    match linker {
        Linker::Program(program) => link(&program, wasm_ld),
        Linker::Script(text) => {
            fs::write(&wasm_ld, text).map_err(Error::file("write", &wasm_ld))?;
            fetch::make_executable(&wasm_ld)
        }
    }
}

/// The parts of the compiler's C library that are used.
const LIBC_SOURCES: &[&str] = &["musl", "wasi"];

enum Linker {
    Script(String),
    Program(PathBuf),
}

/// The tool of the same LLVM as `clang`: beside it, else with its version suffix in `$PATH`, else plain.
fn beside(clang: &Path, tool: &str) -> PathBuf {
    let name = clang.file_name().and_then(|name| name.to_str()).unwrap_or("clang");
    let suffix = name.strip_prefix("clang").unwrap_or("");
    let candidates = [format!("{tool}{suffix}"), tool.to_owned()];
    let real = fs::canonicalize(clang).unwrap_or_else(|_| clang.to_owned());
    let directories = [clang.parent(), real.parent()];
    for directory in directories.into_iter().flatten() {
        for candidate in &candidates {
            let path = directory.join(candidate);
            if path.is_file() {
                return path;
            }
        }
    }
    candidates.iter().find_map(|name| find_program(name)).unwrap_or_else(|| PathBuf::from(tool))
}

fn identity(compiler: &Compiler, sysroot: &Path) -> String {
    use sha2::{Digest as _, Sha256};
    let mut digest = Sha256::new();
    let path = match compiler {
        Compiler::Pinned(program) => program,
        Compiler::Clang { clang, .. } => clang,
    };
    for part in [path.as_path(), sysroot] {
        digest.update(part.as_os_str().as_encoded_bytes());
        // A compiler that was upgraded in place is another compiler.
        if let Ok(metadata) = fs::metadata(part) {
            use std::os::unix::fs::MetadataExt as _;
            digest.update(metadata.mtime().to_le_bytes());
            digest.update(metadata.len().to_le_bytes());
        }
        digest.update([0]);
    }
    fetch::hexadecimal(&digest.finalize()[..8])
}
