//! Faults for tests: what is done below a directory stops before a given step, as if the process or the machine had
//! ended there, or the disk had been full.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};

use super::disk::Step;

/// What happens at the step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Nothing.
    Nothing,
    /// It fails, and others succeed again.
    Full,
    /// From there on nothing is done any more.
    End,
    /// The process is killed.
    Kill,
}

#[derive(Debug)]
struct Plan {
    dir: PathBuf,
    fault: Fault,
    at: usize,
    /// What was done, or tried in vain.
    steps: Vec<(Step, PathBuf)>,
}

static PLANS: Mutex<Vec<Plan>> = Mutex::new(Vec::new());

/// A fault that is planned as long as this is there.
#[derive(Debug)]
pub(super) struct Planned(PathBuf);

impl Planned {
    pub(super) fn new(dir: &Path, fault: Fault, at: usize) -> Self {
        PLANS.lock().push(Plan { dir: dir.to_owned(), fault, at, steps: Vec::new() });
        Self(dir.to_owned())
    }

    /// The steps so far.
    pub(super) fn steps(&self) -> Vec<(Step, PathBuf)> {
        let plans = PLANS.lock();
        let plan = plans.iter().find(|plan| plan.dir == self.0);
        plan.map(|plan| plan.steps.clone()).unwrap_or_default()
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        PLANS.lock().retain(|plan| plan.dir != self.0);
    }
}

/// Comes before each step.
pub(super) fn step(step: Step, path: &Path) -> io::Result<()> {
    let mut plans = PLANS.lock();
    let Some(plan) = plans.iter_mut().find(|plan| path.starts_with(&plan.dir)) else {
        return Ok(());
    };
    let number = plan.steps.len();
    let fails = match plan.fault {
        Fault::Nothing => false,
        Fault::Full | Fault::Kill => number == plan.at,
        Fault::End => number >= plan.at,
    };
    if fails && plan.fault == Fault::Kill {
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
    }
    plan.steps.push((step, path.to_owned()));
    if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

/// What a power failure does to files and names that nobody has made durable: files lose their second half, and if
/// `names_too` names are not there.
pub(super) fn lose(done: &[(Step, PathBuf)], names_too: bool) {
    for (number, (step, path)) in done.iter().enumerate() {
        let later = |wanted: Step, at: &Path| {
            done[number..].iter().any(|(step, path)| *step == wanted && path == at)
        };
        let parent = path.parent().expect("it is in a directory");
        if *step == Step::Write && !later(Step::Sync, path) {
            let place = place(path);
            if let Ok(file) = File::options().write(true).open(&place) {
                let half = file.metadata().expect("it is there").len() / 2;
                file.set_len(half).expect("it is writable");
            }
        }
        if names_too && *step == Step::Create && !later(Step::SyncDir, parent) {
            let _ = fs::remove_file(place(path));
        }
        if names_too && *step == Step::Rename && !later(Step::SyncDir, parent) {
            let name = path.file_name().and_then(|name| name.to_str()).expect("it has a name");
            let _ = fs::rename(path, parent.join(format!(".{name}")));
        }
    }
}

/// Where a file is now that was made at `path`: its directory may have got its name.
fn place(path: &Path) -> PathBuf {
    let renamed = || {
        let (dir, name) = (path.parent()?, path.file_name()?);
        let whole = dir.file_name()?.to_str()?.strip_prefix('.')?;
        Some(dir.with_file_name(whole).join(name))
    };
    if path.exists() { path.to_owned() } else { renamed().unwrap_or_else(|| path.to_owned()) }
}
