//! What the user sees while a large program is compiled.

use std::io::IsTerminal as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How compilation is announced on standard error.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub enum Progress {
    /// Not at all; what a program that embeds the runtime wants.
    #[default]
    Silent,
    /// On a terminal, by a running clock when it takes over a second.
    Terminal,
    /// As `Terminal`, and by a line of text where standard error is no terminal.
    Verbose,
}

/// What is being compiled.
#[derive(Clone, Debug)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: usize,
    pub(super) functions: u32,
}

impl Subject<'_> {
    fn describe(&self) -> String {
        let size = HumanBytes(self.bytes as u64);
        format!("{} ({size}, {} functions)", self.name, self.functions)
    }
}

impl Progress {
    /// Runs `work`, announcing it when it takes long.
    pub(super) fn during<T>(self, subject: &Subject<'_>, work: impl FnOnce() -> T) -> T {
        match (self, std::io::stderr().is_terminal()) {
            (Self::Silent, _) | (Self::Terminal, false) => work(),
            (_, true) => when_slow(SLOW, work, |done| spin(subject, done)),
            (Self::Verbose, false) => when_slow(SLOW, work, |done| print_lines(subject, done)),
        }
    }
}

/// Runs `work`, and beside it `announce` if it takes longer than `delay`; `announce` is handed a
/// channel that closes when the work is done.
fn when_slow<T>(
    delay: Duration,
    work: impl FnOnce() -> T,
    announce: impl FnOnce(&Receiver<()>) + Send,
) -> T {
    std::thread::scope(|scope| {
        let (working, done) = mpsc::channel();
        scope.spawn(move || {
            if done.recv_timeout(delay) == Err(RecvTimeoutError::Timeout) {
                announce(&done);
            }
        });
        let result = work();
        drop(working);
        result
    })
}

fn spin(subject: &Subject<'_>, done: &Receiver<()>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        .with_elapsed(SLOW)
        .with_message(subject.describe());
    let style = ProgressStyle::with_template("{spinner} compiling {wide_msg} {elapsed}");
    bar.set_style(style.expect("the template is a constant"));
    while done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        bar.tick();
    }
    bar.finish_and_clear();
}

fn print_lines(subject: &Subject<'_>, done: &Receiver<()>) {
    let start = Instant::now();
    eprintln!("compiling {} ...", subject.describe());
    // The channel only ever closes.
    let _ = done.recv();
    eprintln!("compiled {} in {:.1} s", subject.name, (start.elapsed() + SLOW).as_secs_f64());
}

const SLOW: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_work_is_not_announced_and_slow_work_until_it_ends() {
        let quick = when_slow(Duration::from_secs(60), || 1, |_| panic!("not slow"));
        assert_eq!(quick, 1);
        let (announced, heard) = mpsc::channel();
        let work = || heard.recv().expect("announced while it runs");
        when_slow(Duration::from_millis(1), work, |done| {
            announced.send(()).expect("heard");
            assert!(done.recv().is_err(), "closed at the end");
        });
    }

    #[test]
    fn a_subject_says_name_size_and_functions() {
        let subject = Subject { name: "lulesh.wasm", bytes: 512 * 1024, functions: 321 };
        assert_eq!(subject.describe(), "lulesh.wasm (512.00 KiB, 321 functions)");
    }
}
