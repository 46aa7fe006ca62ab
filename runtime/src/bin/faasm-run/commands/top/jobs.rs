//! The jobs of this user that run.

use faasm_runtime::{ClusterPlace, JobStatus};

use crate::commands::orders;

/// A job that can be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Job {
    /// Process number of its `faasm-run`.
    pub(super) process: u32,
    /// Its command, how large it is and how long it has run, in words.
    pub(super) about: String,
}

/// How a job is doing.
///
/// # Errors
/// It takes no orders, or has ended.
pub(super) fn status(process: u32) -> anyhow::Result<JobStatus> {
    Ok(serde_json::from_str(&orders::give(process, "status")?)?)
}

/// All jobs that answer.
///
/// # Errors
/// It is not known where they would be.
pub(super) fn all() -> anyhow::Result<Vec<Job>> {
    let place = ClusterPlace::of_user()?;
    let jobs = place.jobs().into_iter().filter_map(|process| {
        let Ok(status) = status(process) else {
            if !runs(process) {
                // It was killed and could not tidy up.
                let _ = std::fs::remove_file(place.job_socket(process));
            }
            return None;
        };
        let (ranks, nodes) = (status.ranks.len(), status.nodes.len());
        let seconds = status.elapsed_us / 1_000_000;
        let about = format!("{} ({ranks} ranks on {nodes} nodes, {seconds} s)", command(process));
        Some(Job { process, about })
    });
    Ok(jobs.collect())
}

/// Whether there is such a process. It may be of other users.
fn runs(process: u32) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

/// The command line of a process.
fn command(process: u32) -> String {
    let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let is_shown = |letter: &char| !letter.is_control();
    words.trim().chars().filter(is_shown).take(COMMAND_CHARS_MAX).collect()
}

/// Longest command that is shown.
const COMMAND_CHARS_MAX: usize = 60;
