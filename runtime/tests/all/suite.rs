//! The guests of `workloads/guests/manifest.toml`, and what is to come of them.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use faasm_workloads::manifest::{Guest, Manifest};

use crate::support::{Ran, Running, guests_dir};

pub(crate) fn manifest() -> Vec<Guest> {
    let path = guests_dir().join("manifest.toml");
    Manifest::read(&path).unwrap_or_else(|error| panic!("{error}")).guests
}

/// Runs the check of every guest, two at a time, and shows all failures.
pub(crate) fn check_all(guests: &[Guest], check: impl Fn(&Guest) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(guest) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = check(guest) {
                failures
                    .lock()
                    .expect("no check panics while it holds this")
                    .push(format!("== {}: {failure}", guest.name));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures = failures.into_inner().expect("no check panics while it holds this");
    assert!(
        failures.is_empty(),
        "{} of {} guests failed\n{}",
        failures.len(),
        guests.len(),
        failures.join("\n")
    );
}

/// Runs a guest by these commands, each with so many ranks.
pub(crate) fn check_runs(
    guest: &Guest,
    np: &[u32],
    command: impl Fn(u32) -> Command,
) -> Result<(), String> {
    for &np in np {
        let mut command = command(np);
        let dir = tempfile::tempdir().expect("a directory");
        command.envs(&guest.env).current_dir(dir.path());
        let ran = Running::start(&mut command, &guest.stdin).wait();
        check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?}"))?;
    }
    Ok(())
}

/// Whether a guest did what the manifest says.
pub(crate) fn check_run(guest: &Guest, ran: &Ran) -> Result<(), String> {
    if ran.status != Some(guest.exit) {
        return Err(format!("exit status {:?} instead of {}", ran.status, guest.exit));
    }
    if !ran.stdout.contains(&guest.expect) {
        return Err(format!("standard output lacks {:?}", guest.expect));
    }
    if !ran.stderr.contains(&guest.expect_stderr) {
        return Err(format!("standard error lacks {:?}", guest.expect_stderr));
    }
    Ok(())
}
