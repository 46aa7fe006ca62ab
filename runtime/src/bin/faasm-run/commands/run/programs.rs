//! From what was typed to a loaded program.

use std::{
    collections::HashMap,
    env,
    path::{Path, PathBuf},
};

use faasm_runtime::{Module, Program, Runtime, SourceFile};

/// The programs of a job, each loaded once.
pub(super) struct Programs<'a> {
    runtime: &'a Runtime,
    loaded: HashMap<PathBuf, Module>,
}

impl<'a> Programs<'a> {
    pub(super) fn new(runtime: &'a Runtime) -> Self {
        Self { runtime, loaded: HashMap::new() }
    }

    /// Loads a program; compiles it first if it is a source file.
    pub(super) fn load(&mut self, typed: &str) -> anyhow::Result<Module> {
        let path = locate(typed, env::var_os("PATH").as_deref());
        if let Some(module) = self.loaded.get(&path) {
            return Ok(module.clone());
        }
        let source = SourceFile::detect(&path).filter(|_| path.is_file());
        let module = match source {
            Some(source) => self.runtime.load_file(source.compile()?)?,
            None => self.runtime.load_file(&path)?,
        };
        self.loaded.insert(path, module.clone());
        Ok(module)
    }
}

/// Reads a program that other processes are to run; compiles it to WebAssembly first if it is a source
/// file.
pub(super) fn read(typed: &str) -> anyhow::Result<Program> {
    let path = locate(typed, env::var_os("PATH").as_deref());
    Ok(match SourceFile::detect(&path).filter(|_| path.is_file()) {
        Some(source) => Program::read(source.compile()?)?,
        None => Program::read(&path)?,
    })
}

/// The file that was meant: the one with this name, else, for a name without a directory, one in
/// PATH.
fn locate(typed: &str, path: Option<&std::ffi::OsStr>) -> PathBuf {
    let here = PathBuf::from(typed);
    if typed.contains('/') || here.exists() {
        return here;
    }
    let dirs = path.map(|path| env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
    let found = dirs.iter().map(|dir| dir.join(typed)).find(|file| Path::is_file(file));
    found.unwrap_or(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_directory_are_looked_up_in_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("some-program.wasm");
        std::fs::write(&program, "").expect("written");
        let path = Some(dir.path().as_os_str());
        assert_eq!(locate("some-program.wasm", path), program);
        assert_eq!(locate("./some-program.wasm", path), Path::new("./some-program.wasm"));
        assert_eq!(locate("absent.wasm", path), Path::new("absent.wasm"));
        assert_eq!(
            locate("Cargo.toml", path),
            Path::new("Cargo.toml"),
            "the file here comes first"
        );
    }
}
