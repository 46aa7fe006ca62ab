//! Rules of the house that no compiler checks: where `unsafe` may stand, who may import whom,
//! nothing of one machine in the sources, and files that can be read at one sitting.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates with the crates of ours that each may depend on (tests may use more).
const CRATES: [(&str, &[&str]); 9] = [
    ("runtime/vm", &[]),
    ("mpi-shim/engine", &[]),
    ("mpi-shim", &["faasm-mpi-engine", "faasm-vm"]),
    ("omp-shim/engine", &[]),
    ("omp-shim", &["faasm-omp-engine", "faasm-vm"]),
    ("transport", &[]),
    (
        "runtime",
        &[
            "faasm-mpi-engine",
            "faasm-mpi-shim",
            "faasm-omp-engine",
            "faasm-omp-shim",
            "faasm-transport",
            "faasm-vm",
        ],
    ),
    ("workloads", &[]),
    ("bench", &["faasm-runtime", "faasm-vm", "faasm-workloads"]),
];
/// The modules of the crates in layers: each may import only those before it.
const LAYERS: [(&str, &[&str]); 6] = [
    (
        "runtime/vm",
        &[
            "sys", "page", "line", "guest", "pool", "region", "engine", "rewrite", "unwind",
            "artifact", "snapshot", "proto", "warm", "lab",
        ],
    ),
    (
        "transport",
        &[
            "id",
            "config",
            "error",
            "envelope",
            "payload",
            "random",
            "hex",
            "frame",
            "lane",
            "membership",
            "tls",
            "control_port",
            "bootstrap",
            "fuzz",
            "handler",
            "link",
            "endpoint",
        ],
    ),
    (
        "mpi-shim",
        &[
            "abi",
            "handle",
            "appointment",
            "fate",
            "site",
            "world",
            "fault",
            "spawn_port",
            "registry",
            "file_port",
            "file",
            "port",
            "gate",
            "communicator",
            "request",
            "alloc",
            "window",
            "tool",
            "ctx",
            "progress",
            "call",
            "waypoint",
            "switch",
            "table",
            "host",
            "saved",
        ],
    ),
    ("omp-shim/engine", &["construct", "span", "team"]),
    ("omp-shim", &["port", "host", "table", "span"]),
    (
        "runtime",
        &[
            "atomic",
            "error",
            "message",
            "module",
            "scheduler",
            "worker",
            "host",
            "omp_nodes",
            "checkpoint",
            "faaslet",
            "job",
            "launch",
            "runtime",
            "cluster",
        ],
    ),
];
/// Imports upward that are right: crate, file, module, and the reason.
const UPWARD: [(&str, &str, &str, &str); 11] = [
    ("runtime/vm", "guest.rs", "pool", "a handle keeps its slot alive"),
    ("mpi-shim", "ctx.rs", "progress", "a rank holds what its progress keeps"),
    (
        "mpi-shim",
        "progress/collective.rs",
        "host",
        "a collective that was put back sets out as a new one does",
    ),
    ("mpi-shim", "table.rs", "host", "the table is made of the chapters' tables"),
    ("runtime", "error.rs", "checkpoint", "the error of the crate wraps those of its parts"),
    ("runtime", "error.rs", "host", "the error of the crate wraps those of its parts"),
    ("runtime", "error.rs", "module", "the error of the crate wraps those of its parts"),
    ("runtime", "module/loader.rs", "host", "what MPI calls may switch is known by its name there"),
    ("runtime", "faaslet", "job", "a rank knows the job that supervises it"),
    ("runtime", "worker", "job", "workers wake the ranks of a job"),
    ("runtime", "job/spec.rs", "runtime", "the builder ends by starting the job"),
];
/// Beyond this a file has a seam that should be found.
const FILE_LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the repository that are text of ours, with their paths from its root.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // `.ci` is ours; other hidden directories, build outputs and shared notes are not.
            if !["target", "shared", "out"].contains(&&*name)
                && (!name.starts_with('.') || name == ".ci")
            {
                collect(&path, found);
            }
        } else if name != "Cargo.lock"
            && let Ok(text) = fs::read_to_string(&path)
        {
            let path = path.strip_prefix(root()).expect("it is below the root");
            found.push((path.to_string_lossy().into_owned(), text));
        }
    }
}

/// `path:line: text` of each line that breaks a rule.
fn lines_with(broken: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let numbered = |(path, text): (String, String)| {
        let lines: Vec<(usize, String)> = (1..).zip(text.lines().map(str::to_owned)).collect();
        lines.into_iter().map(move |(number, line)| (path.clone(), number, line))
    };
    files()
        .into_iter()
        .flat_map(numbered)
        .filter(|(path, _, line)| broken(path, line))
        .map(|(path, number, line)| format!("{path}:{number}: {}", line.trim()))
        .collect()
}

#[test]
fn unsafe_code_is_in_the_vm_crate_only() {
    let found = lines_with(|path, line| {
        let code = line.trim_start();
        path.ends_with(".rs")
            && !path.starts_with("runtime/vm/")
            && path != "runtime/tests/tidy.rs"
            && !code.starts_with("//")
            && ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"]
                .iter()
                .any(|token| code.contains(token))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn crates_depend_on_those_below_them_only() {
    for (krate, allowed) in CRATES {
        let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).expect(krate);
        let dependencies = manifest.split("\n[").find(|table| table.starts_with("dependencies]"));
        for line in
            dependencies.unwrap_or_default().lines().filter(|line| line.starts_with("faasm-"))
        {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            assert!(allowed.contains(&name), "{krate} may not depend on {name}");
        }
    }
    let listed = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace");
    let members = listed.lines().find(|line| line.starts_with("members")).expect("members");
    assert_eq!(members.matches('"').count() / 2, CRATES.len(), "add the new crate to this test");
}

#[test]
fn modules_import_those_below_them_only() {
    let mut found = Vec::new();
    for (path, text) in files() {
        // The longest prefix is the crate: `runtime/vm` is not in `runtime`.
        let krate = LAYERS.iter().find(|(krate, _)| path.starts_with(&format!("{krate}/src/")));
        let Some((krate, layers)) = krate.filter(|_| is_library_code(&path)) else { continue };
        let file = &path[krate.len() + "/src/".len()..];
        let own = file.split(['/', '.']).next().unwrap_or_default();
        let Some(level) = layers.iter().position(|layer| *layer == own) else {
            found.push(format!("{path}: {own} is in no layer; add it to this test"));
            continue;
        };
        for above in &layers[level + 1..] {
            let is_right = UPWARD
                .iter()
                .any(|(k, from, to, _)| k == krate && file.starts_with(from) && to == above);
            if text.contains(&format!("crate::{above}::")) && !is_right {
                found.push(format!("{path} imports {above}, which is above {own}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn is_library_code(path: &str) -> bool {
    path.ends_with(".rs")
        && !path.contains("/src/bin/")
        && !path.ends_with("src/lib.rs")
        && !path.ends_with("tests.rs")
}

#[test]
fn engines_need_no_standard_library() {
    for shim in ["mpi-shim", "omp-shim"] {
        let path = root().join(shim).join("engine/src/lib.rs");
        let engine = fs::read_to_string(path).expect("the engine");
        assert!(engine.contains("no_std"), "{shim}");
    }
}

#[test]
fn nothing_belongs_to_one_machine() {
    let homes = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp/", "bash_jobs")];
    let found = lines_with(|_, line| homes.iter().any(|home| line.contains(home)));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    let found = lines_with(|path, line| {
        let is_code = [".rs", ".c", ".h", ".cpp"].iter().any(|suffix| path.ends_with(suffix));
        is_code && marks.iter().any(|mark| line.contains(mark))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_can_be_read_at_one_sitting() {
    let long: Vec<String> = files()
        .into_iter()
        .filter(|(path, _)| path.ends_with(".rs") && !path.ends_with("tests.rs"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "look for the seam in {long:#?}");
}
