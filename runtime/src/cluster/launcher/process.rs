//! Node processes, or the ssh and srun processes that stand for them.
//!
//! Each has a thread that passes its standard error on line by line and waits for its end. A process
//! is reaped under the same lock under which it is signalled, so that a signal never reaches another
//! process that has got its number.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{
    Call, CallKind, OnLine,
    failure::{self, Ending, LaunchFailure},
};

/// A node process that has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LaunchedNode {
    /// Its host, or the hosts of an srun.
    pub host: String,
    /// Why it has ended; none if it did as it should.
    pub failure: Option<LaunchFailure>,
}

/// Processes that were started. They end when this is dropped.
#[derive(Debug)]
pub struct Launched {
    processes: Vec<Process>,
    sender: flume::Sender<LaunchedNode>,
    ends: flume::Receiver<LaunchedNode>,
}

impl Default for Launched {
    fn default() -> Self {
        let (sender, ends) = flume::unbounded();
        Self { processes: Vec::new(), sender, ends }
    }
}

impl Launched {
    /// Runs a command, gives it a token and watches it.
    pub(super) fn start(
        &mut self,
        call: &Call,
        token: &str,
        on_line: OnLine,
    ) -> Result<(), LaunchFailure> {
        let program = call.program.to_string_lossy().into_owned();
        let fail = |error: std::io::Error| failure::not_called(&call.host, &program, &error);
        let mut child = Command::new(&call.program)
            .args(&call.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A Ctrl-C of the user is for us: the nodes hear of it from us.
            .process_group(0)
            .spawn()
            .map_err(fail)?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let pid = Pid::from_child(&child);
        let child = Arc::new(Mutex::new(Running { child, status: None }));
        let mut process = Process { child: child.clone(), stdin };
        process.say(token);
        self.processes.push(process);
        let watch = Watch {
            kind: call.kind,
            host: call.host.clone(),
            program: program.clone(),
            pid,
            child,
            on_line,
            ends: self.sender.clone(),
        };
        std::thread::Builder::new()
            .name("faasm-launch".to_owned())
            .stack_size(WATCH_STACK_BYTES)
            .spawn(move || watch.run(stderr))
            .map_err(fail)?;
        Ok(())
    }

    /// Waits for the next process to end, but not longer than this.
    pub fn next_end(&self, patience: Duration) -> Option<LaunchedNode> {
        self.ends.recv_timeout(patience).ok()
    }

    /// The ends of processes, for those who wait for other things, too.
    pub fn ends(&self) -> flume::Receiver<LaunchedNode> {
        self.ends.clone()
    }

    /// Ends all processes: closes their standard input, which tells a node that its work is over, and
    /// after `patience` signals those that are left.
    pub fn stop(&mut self, patience: Duration) {
        self.processes.iter_mut().for_each(|process| process.stdin = None);
        for (signal, patience) in
            [(None, patience), (Some(Signal::TERM), GRACE), (Some(Signal::KILL), GRACE)]
        {
            if let Some(signal) = signal {
                self.processes.iter().for_each(|process| process.signal(signal));
            }
            let end = Instant::now() + patience;
            while self.processes.iter().any(Process::runs) && Instant::now() < end {
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
    }

    /// Number of processes that run.
    pub fn running(&self) -> usize {
        self.processes.iter().filter(|process| process.runs()).count()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

#[derive(Debug)]
struct Process {
    child: Arc<Mutex<Running>>,
    /// Stays open: its end tells the node that we are gone, however we went.
    stdin: Option<ChildStdin>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    fn say(&mut self, token: &str) {
        if let Some(stdin) = &mut self.stdin {
            // A process that has ended already reads nothing; its end is told by its watcher.
            let _ = stdin.write_all(format!("{token}\n").as_bytes()).and_then(|()| stdin.flush());
        }
    }

    fn runs(&self) -> bool {
        self.child.lock().status.is_none()
    }

    fn signal(&self, signal: Signal) {
        let running = self.child.lock();
        if running.status.is_none() {
            // The whole group: srun and ssh may have children of their own.
            let _ = rustix::process::kill_process_group(Pid::from_child(&running.child), signal);
        }
    }
}

/// What the thread of a process knows.
struct Watch {
    kind: CallKind,
    host: String,
    program: String,
    pid: Pid,
    child: Arc<Mutex<Running>>,
    on_line: OnLine,
    ends: flume::Sender<LaunchedNode>,
}

impl Watch {
    fn run(self, stderr: Option<ChildStderr>) {
        let lines = stderr.map(|stderr| self.forward(stderr)).unwrap_or_default();
        // Waits without reaping: until the lock is held the number stays taken.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(WaitId::Pid(self.pid), options)
        {}
        let status = {
            let mut running = self.child.lock();
            let status = running.child.wait().ok();
            running.status = status.or(Some(ExitStatus::from_raw(0)));
            status
        };
        let ending = status.map_or(Ending::Code(0), |status| match status.code() {
            Some(code) => Ending::Code(code),
            None => Ending::Signal(status.signal().unwrap_or(0)),
        });
        let failure = failure::explain(self.kind, &self.host, &self.program, ending, &lines);
        // Nobody listens when the job has ended.
        let _ = self.ends.send(LaunchedNode { host: self.host, failure });
    }

    /// Passes lines on until the stream ends; the last ones are kept to explain the end.
    fn forward(&self, stderr: impl Read) -> Vec<String> {
        let mut kept = VecDeque::with_capacity(LINES_KEPT_MAX);
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            let limited = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if !matches!(limited, Ok(bytes) if bytes > 0) {
                return kept.into();
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            (self.on_line)(&self.host, text);
            if kept.len() == LINES_KEPT_MAX {
                kept.pop_front();
            }
            kept.push_back(text.to_owned());
        }
    }
}

/// A line beyond this is passed on in pieces.
const LINE_BYTES_MAX: u64 = 8 << 10;
/// ssh's warning of a changed key has some fourteen lines.
const LINES_KEPT_MAX: usize = 24;
/// How long a process may take to follow a signal.
const GRACE: Duration = Duration::from_millis(500);
/// How often it is looked whether all have ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The watching thread needs little.
const WATCH_STACK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: CallKind, program: &str, args: &[&str]) -> Call {
        let args = args.iter().map(Into::into).collect();
        Call { host: "n1".into(), kind, program: program.into(), args }
    }

    fn lines() -> (OnLine, flume::Receiver<String>) {
        let (sender, lines) = flume::unbounded();
        let on_line = move |host: &str, line: &str| {
            sender.send(format!("{host}: {line}")).expect("the test listens");
        };
        (Arc::new(on_line), lines)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_token_is_the_first_line_and_the_input_stays_open() {
        let mut launched = Launched::default();
        let (on_line, lines) = lines();
        let script = "read token; echo got $token >&2; read more; echo end >&2";
        let call = call(CallKind::Local, "sh", &["-c", script]);
        launched.start(&call, "t0k", on_line).expect("it starts");
        assert_eq!(lines.recv_timeout(LONG), Ok("n1: got t0k".into()));
        assert_eq!(launched.running(), 1);
        launched.stop(LONG);
        assert_eq!(lines.recv_timeout(LONG), Ok("n1: end".into()));
        assert_eq!(launched.running(), 0);
        let ended = launched.next_end(LONG).expect("it has ended");
        assert_eq!(ended, LaunchedNode { host: "n1".into(), failure: None });
    }

    #[test]
    fn failures_are_explained() {
        let mut launched = Launched::default();
        let (on_line, _lines) = lines();
        let script = "echo 'Host key verification failed.' >&2; exit 255";
        let call = call(CallKind::Ssh, "sh", &["-c", script]);
        launched.start(&call, "t", on_line).expect("it starts");
        let failure = launched.next_end(LONG).and_then(|ended| ended.failure).expect("it failed");
        assert_eq!(failure.cause, "the host's key is not known yet.");
    }

    #[test]
    fn a_program_that_is_not_there() {
        let (on_line, _lines) = lines();
        let call = call(CallKind::Ssh, "/absent/ssh", &[]);
        let error = Launched::default().start(&call, "t", on_line).expect_err("it is absent");
        assert!(error.to_string().contains("/absent/ssh cannot be called"), "{error}");
    }

    #[test]
    fn those_who_do_not_listen_are_killed() {
        let mut launched = Launched::default();
        let (on_line, lines) = lines();
        let script = "trap '' TERM; echo $$ >&2; while :; do sleep 1; done";
        let call = call(CallKind::Local, "sh", &["-c", script]);
        launched.start(&call, "t", on_line).expect("it starts");
        let line = lines.recv_timeout(LONG).expect("it runs");
        let pid = line.trim_start_matches("n1: ").parse().expect("a number");
        let pid = Pid::from_raw(pid).expect("a process");
        drop(launched);
        assert!(rustix::process::test_kill_process(pid).is_err(), "it still runs");
    }
}
