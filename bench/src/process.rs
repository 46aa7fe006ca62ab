//! Starts commands in a process group of their own, with a time limit, and looks at what they use.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

/// A command that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// Its standard output.
    pub(crate) stdout: String,
}

/// What a command used while all its ranks waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Per cent of one core, over all its processes.
    pub(crate) cpu_percent: f64,
    /// Peak resident memory, over all its processes.
    pub(crate) peak_kib: f64,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot start, does not succeed, or takes longer than `limit` (it is then killed with its children).
pub(crate) fn finish(command: Command, limit: Duration) -> Result<Finished> {
    let start = Instant::now();
    let output = output(command, limit)?;
    let wall = start.elapsed();
    succeeded(output.status, &String::from_utf8_lossy(&output.stderr))?;
    Ok(Finished { wall, stdout: String::from_utf8_lossy(&output.stdout).into_owned() })
}

/// Runs a command and returns how it ended, good or bad.
///
/// # Errors
/// If it cannot start, or takes longer than `limit` (it is then killed with its children).
pub(crate) fn output(mut command: Command, limit: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = spawn(&mut command)?;
    let watchdog = Watchdog::guard(&child, limit);
    let output = child.wait_with_output().context("cannot wait for the command")?;
    ensure!(!watchdog.fired(), "no result within {} s", limit.as_secs());
    Ok(output)
}

/// Runs a command that prints a line beginning with `ready` and then waits on its standard input; looks at it for
/// `sample`, then lets it end.
pub(crate) fn observe(
    mut command: Command,
    ready: &str,
    sample: Duration,
    limit: Duration,
) -> Result<Usage> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(&mut command)?;
    let watchdog = Watchdog::guard(&child, limit);
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().context("the command has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let started = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with(ready));
    let usage = if started { watch(child.id(), sample) } else { Ok(None) };
    drop(stdin);
    let output = child.wait_with_output().context("cannot wait for the command")?;
    ensure!(!watchdog.fired(), "no result within {} s", limit.as_secs());
    succeeded(output.status, &String::from_utf8_lossy(&output.stderr))?;
    usage?.with_context(|| format!("the program did not print {ready:?}"))
}

fn spawn(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_owned();
    command.process_group(0);
    command.spawn().with_context(|| format!("cannot start {}", Path::new(&name).display()))
}

fn succeeded(status: ExitStatus, stderr: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let said = |line: &&str| line.chars().any(char::is_alphabetic);
    bail!("{status}: {}", stderr.lines().find(said).unwrap_or("it said nothing").trim())
}

/// Kills a process group when a time is over, unless it is dropped or asked before.
struct Watchdog {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn guard(child: &Child, limit: Duration) -> Self {
        let (done, ended) = channel();
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let thread = std::thread::spawn(move || kill_after(group, limit, &ended));
        Self { done, thread }
    }

    fn fired(self) -> bool {
        drop(self.done);
        self.thread.join().unwrap_or(true)
    }
}

fn kill_after(group: Option<Pid>, limit: Duration, ended: &Receiver<()>) -> bool {
    let over = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
    if over && let Some(group) = group {
        // The group may have ended in this very moment; then there is nothing to kill.
        kill_process_group(group, Signal::KILL).ok();
    }
    over
}

fn watch(pid: u32, sample: Duration) -> Result<Option<Usage>> {
    // Ranks that only just went to wait may still be spinning for a moment; that is not what is asked here.
    std::thread::sleep(Duration::from_millis(500));
    let (before, start) = (cpu_seconds(&tree(pid)), Instant::now());
    std::thread::sleep(sample);
    let processes = tree(pid);
    let (after, elapsed) = (cpu_seconds(&processes), start.elapsed());
    ensure!(!processes.is_empty(), "the command ended while it should wait");
    let peak_kib = processes.iter().filter_map(|&pid| peak_kib(pid)).sum();
    Ok(Some(Usage { cpu_percent: (after - before) * 100.0 / elapsed.as_secs_f64(), peak_kib }))
}

/// A process and all that descend from it.
fn tree(root: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat_fields(pid)?.first()?.parse().ok()?)))
        .collect();
    let mut found: Vec<u32> = all.iter().map(|&(pid, _)| pid).filter(|&pid| pid == root).collect();
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|&(pid, _)| pid));
        next += 1;
    }
    found
}

/// Fields of /proc/PID/stat from the parent's id on; the name before them may hold any character.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(')')?.1;
    Some(rest.split_whitespace().skip(1).map(str::to_owned).collect())
}

fn cpu_seconds(processes: &[u32]) -> f64 {
    let ticks: u32 = processes
        .iter()
        .filter_map(|&pid| {
            let fields = stat_fields(pid)?;
            Some(fields.get(10)?.parse::<u32>().ok()? + fields.get(11)?.parse::<u32>().ok()?)
        })
        .sum();
    let a_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    f64::from(ticks) / f64::from(a_second)
}

fn peak_kib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn keeps_output_of_a_command_that_succeeds() {
        let finished = finish(shell("echo hello"), LIMIT).expect("echo succeeds");
        assert_eq!(finished.stdout, "hello\n");
    }

    #[test]
    fn says_why_a_command_failed() {
        let error = finish(shell("echo ---- >&2; echo broken pipe >&2; exit 3"), LIMIT);
        let error = error.expect_err("exit 3").to_string();
        assert!(error.contains('3') && error.contains("broken pipe"), "{error}");
        let error = finish(Command::new("/no/such/program"), LIMIT).expect_err("not there");
        assert!(format!("{error:#}").contains("/no/such/program"));
    }

    #[test]
    fn kills_the_children_of_a_command_that_takes_too_long() {
        let start = Instant::now();
        let error = finish(shell("sleep 30 & sleep 30"), Duration::from_millis(200));
        assert!(error.expect_err("too long").to_string().contains("no result within"));
        assert!(start.elapsed() < Duration::from_secs(10), "a child kept the pipe open");
    }

    #[test]
    fn a_waiting_command_uses_memory_and_no_cpu() {
        let usage = observe(shell("echo READY; cat"), "READY", Duration::from_millis(300), LIMIT);
        let usage = usage.expect("cat ends with its input");
        assert!(usage.peak_kib > 100.0, "{usage:?}");
        assert!(usage.cpu_percent < 50.0, "{usage:?}");
    }

    #[test]
    fn a_spinning_child_is_counted() {
        let script = "sh -c 'while :; do :; done' & child=$!; echo READY; cat; kill $child";
        let usage = observe(shell(script), "READY", Duration::from_millis(500), LIMIT);
        assert!(usage.expect("it ends with its input").cpu_percent > 2.0);
    }

    #[test]
    fn a_command_that_never_is_ready_is_an_error() {
        let error = observe(shell("echo no"), "READY", Duration::from_millis(10), LIMIT);
        assert!(error.expect_err("never ready").to_string().contains("READY"));
    }
}
