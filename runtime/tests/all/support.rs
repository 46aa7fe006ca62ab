//! Running programs, and compiling guests for them.

use std::{
    fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Longest time that any test's program may take; a hang is a failure, not a stuck test run.
const LIMIT: Duration = Duration::from_secs(120);

/// How a program ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ran {
    /// The lines of standard output, sorted: the order of ranks is not defined.
    pub(crate) fn sorted_lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.stdout.lines().collect();
        lines.sort_unstable();
        lines
    }

    /// Checks the exit status, showing everything when it is another one.
    pub(crate) fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Checks that standard error contains a text.
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is missing: {self:#?}");
        self
    }
}

/// A process of a test, which ends with the test at the latest.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing when it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that runs, with its output being collected.
pub(crate) struct Running {
    process: Process,
    started: Instant,
    stdin: Option<ChildStdin>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Running {
    /// Starts a program that reads `input`.
    pub(crate) fn start(command: &mut Command, input: &str) -> Self {
        let mut running = Self::start_waiting(command);
        let mut stdin = running.stdin.take().expect("nobody has taken it");
        let input = input.to_owned();
        // A program that does not read its input ends with it unread.
        thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        running
    }

    /// Starts a program whose input stays open and empty.
    pub(crate) fn start_waiting(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = collect(child.stdout.take().expect("it is piped"));
        let stderr = collect(child.stderr.take().expect("it is piped"));
        Self { process: Process(child), started, stdin, stdout, stderr }
    }

    /// Processor time used so far, in the kernel's hundredths of a second.
    pub(crate) fn processor_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.0.id());
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<u64>().expect("a number of ticks");
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// Whether it runs no more; it still has to be waited for.
    pub(crate) fn has_ended(&self) -> bool {
        let path = format!("/proc/{}/stat", self.process.0.id());
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('Z'))
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.process.0);
        rustix::process::kill_process(process, signal).expect("the program still runs");
    }

    /// Waits for the end; a program that takes too long is killed and has no status then.
    pub(crate) fn wait(mut self) -> Ran {
        let status = loop {
            if let Some(status) = self.process.0.try_wait().expect("it is our child") {
                break status.code();
            }
            if self.started.elapsed() > LIMIT {
                self.process.0.kill().expect("it is our child");
                self.process.0.wait().expect("it is our child");
                break None;
            }
            thread::sleep(Duration::from_millis(2));
        };
        let took = self.started.elapsed();
        Ran { status, stdout: text(self.stdout), stderr: text(self.stderr), took }
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn text(collected: JoinHandle<String>) -> String {
    collected.join().expect("collecting does not fail")
}

/// `faasm-run` as it was built for these tests.
pub(crate) fn faasm_run() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faasm-run"));
    // The place of a panic is enough; the way there is hundreds of lines long.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// Runs `faasm-run` with these arguments.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    Running::start(faasm_run().args(arguments), "").wait()
}

/// A directory that outlives the tests.
pub(crate) fn build_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Where the guests' sources are.
pub(crate) fn guests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/guests")
}

/// Compiles a guest with the `faasm-cc` beside `faasm-run`.
pub(crate) fn compile(source: &Path, options: &[String], output: &Path) -> Result<(), String> {
    let is_c = source.extension().is_some_and(|extension| extension == "c");
    let driver = Path::new(env!("CARGO_BIN_EXE_faasm-run")).with_file_name(if is_c {
        "faasm-cc"
    } else {
        "faasm-c++"
    });
    assert!(
        driver.is_file(),
        "{} is missing: build it with `cargo build -p faasm-workloads`",
        driver.display()
    );
    let mut command = Command::new(driver);
    command.arg(source).args(options).arg("-o").arg(output);
    finish(&mut command)
}

/// Runs a command that must succeed.
pub(crate) fn finish(command: &mut Command) -> Result<(), String> {
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Err(format!("{command:?}: {status}\n{}", said.concat()))
}

/// Most memory that a process has had so far.
pub(crate) fn peak_bytes(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The next number of a sequence that looks random.
pub(crate) fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as u32
}
