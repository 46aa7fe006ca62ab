//! Running other programs: quietly with their output kept, or in the open.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::error::{Error, Result};

/// Runs `command` to its end and keeps what it prints.
///
/// # Errors
/// Fails when the program cannot be started or does not succeed; `what` says in the message what was tried.
pub(crate) fn run_quietly(command: &mut Command, what: &str) -> Result<Output> {
    let output = capture(command)?;
    if output.status.success() {
        return Ok(output);
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    Err(Error::Step { what: what.to_owned(), status: output.status, output: last_lines(&text) })
}

/// Runs `command` to its end and keeps what it prints, whether it succeeds or not.
pub(crate) fn capture(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| start_error(command.get_program(), source))
}

/// Builds the error for a program that could not be started.
pub(crate) fn start_error(program: &OsStr, source: std::io::Error) -> Error {
    Error::Start { program: program.to_string_lossy().into_owned(), source }
}

/// Looks `name` up in `$PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| executable(path))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}

/// How much of a failed program's output a message repeats.
const LINES_MAX: usize = 12;
