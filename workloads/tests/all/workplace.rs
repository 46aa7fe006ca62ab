//! A temporary directory with sources, and the tools run in it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use wasmparser::{ExternalKind, Parser, Payload};

/// A temporary directory in which the tools run.
pub(crate) struct Workplace {
    directory: tempfile::TempDir,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in the workplace");
    }

    /// Runs `tool` with the words of `line`.
    pub(crate) fn run(&self, tool: &str, line: &str) -> Output {
        let mut command = Command::new(program(tool));
        command.current_dir(self.directory.path()).args(line.split_whitespace());
        command.output().expect("the tool starts")
    }

    /// Runs `tool`, which must succeed, and returns what it prints on standard output.
    #[track_caller]
    pub(crate) fn succeed(&self, tool: &str, line: &str) -> String {
        let output = self.run(tool, line);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {line}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs `tool`, which must fail, and returns what it prints on standard error.
    #[track_caller]
    pub(crate) fn fail(&self, tool: &str, line: &str) -> String {
        let output = self.run(tool, line);
        assert_eq!(output.status.code(), Some(1), "{tool} {line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn module(&self, name: &str) -> Module {
        Module::read(&self.path(name))
    }
}

fn program(tool: &str) -> PathBuf {
    match tool {
        "faasm-cc" => env!("CARGO_BIN_EXE_faasm-cc").into(),
        "faasm-c++" => env!("CARGO_BIN_EXE_faasm-cxx").into(),
        "faasm-ar" => env!("CARGO_BIN_EXE_faasm-ar").into(),
        "faasm-ranlib" => env!("CARGO_BIN_EXE_faasm-ranlib").into(),
        other => other.into(),
    }
}

/// A source in `tests/programs`.
pub(crate) fn source(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name).display().to_string()
}

/// What the tests ask about a wasm file.
pub(crate) struct Module {
    pub(crate) exports: BTreeSet<String>,
    /// Imports as `module.name`.
    pub(crate) imports: BTreeSet<String>,
    pub(crate) sections: BTreeSet<String>,
    pub(crate) exported_memory: bool,
    bytes: Vec<u8>,
}

impl Module {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("the output exists");
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
            .validate_all(&bytes)
            .expect("a valid module");
        let mut module = Self {
            exports: BTreeSet::new(),
            imports: BTreeSet::new(),
            sections: BTreeSet::new(),
            exported_memory: false,
            bytes: Vec::new(),
        };
        for payload in Parser::new(0).parse_all(&bytes) {
            module.note(payload.expect("a valid section"));
        }
        module.bytes = bytes;
        module
    }

    fn note(&mut self, payload: Payload<'_>) {
        match payload {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.expect("a valid import");
                    self.imports.insert(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.expect("a valid export");
                    self.exported_memory |= export.kind == ExternalKind::Memory;
                    self.exports.insert(export.name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                self.sections.insert(section.name().to_owned());
            }
            _ => {}
        }
    }

    /// Whether the file contains `text`, as function names and strings are.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}
