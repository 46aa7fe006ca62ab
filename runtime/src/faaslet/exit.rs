//! Why a Faaslet ended.

use std::fmt::Write as _;

use faasm_mpi_shim::MpiExit;
use wasmtime::{Trap, WasmBacktrace};

use super::thread::ThreadFault;
use crate::host::wasi::{ProcExit, ProcRaised};

/// How a rank ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RankExit {
    /// It returned from `main` or called `exit`, having finalized MPI if it had started it.
    Completed {
        /// Its exit code.
        code: i32,
    },
    /// It exited between `MPI_Init` and `MPI_Finalize`.
    WithoutFinalize {
        /// Its exit code.
        code: i32,
    },
    /// It called `MPI_Abort`.
    Aborted {
        /// The code it gave.
        code: i32,
        /// What happened, in words.
        reason: String,
    },
    /// An MPI call failed and its communicator's errors are fatal.
    MpiFailed {
        /// The error class, which is the exit code too.
        class: i32,
        /// What happened, in words.
        reason: String,
    },
    /// It raised a signal against itself, for example by `abort()`.
    Raised {
        /// What happened, in words.
        reason: String,
    },
    /// The WebAssembly code trapped.
    Trapped {
        /// Exit code a shell would show for the corresponding signal.
        code: i32,
        /// The trap, in words, and the call stack.
        reason: String,
    },
    /// It could not be started or the host failed it.
    Failed {
        /// What happened, in words.
        reason: String,
    },
    /// Its job ended it.
    Killed,
}

impl RankExit {
    /// The exit code, as a shell would see it of a native process.
    pub const fn code(&self) -> i32 {
        match self {
            Self::Completed { code } | Self::Aborted { code, .. } | Self::Trapped { code, .. } => {
                *code
            }
            Self::WithoutFinalize { code } => {
                if *code == 0 {
                    1
                } else {
                    *code
                }
            }
            Self::MpiFailed { class, .. } => *class,
            Self::Raised { .. } => 134,
            Self::Failed { .. } => 1,
            Self::Killed => 0,
        }
    }

    /// Whether the job cannot go on: anything but a zero exit code.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Completed { code: 0 } | Self::Killed)
    }

    /// Whether the others are to be ended too, for they could wait for this rank for ever. One that
    /// returned a code in order has finalized MPI or never started it.
    pub(crate) const fn dooms_job(&self) -> bool {
        self.is_failure() && !matches!(self, Self::Completed { .. })
    }

    /// Whether a job that tolerates failures goes on without this rank. Who asks for the end of the job, or makes an
    /// error that is fatal to it, gets that.
    pub(crate) const fn is_survivable(&self) -> bool {
        matches!(
            self,
            Self::WithoutFinalize { .. }
                | Self::Raised { .. }
                | Self::Trapped { .. }
                | Self::Failed { .. }
        )
    }

    /// What happened, for a report; `None` where there is nothing to say.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Completed { code: 0 } | Self::Killed => None,
            Self::Completed { code } => Some(format!("exited with code {code}")),
            Self::WithoutFinalize { code } => Some(format!(
                "exited with code {code} after MPI_Init without calling MPI_Finalize; other ranks \
                 could wait for it for ever. Call MPI_Finalize before leaving, or MPI_Abort"
            )),
            Self::Aborted { reason, .. }
            | Self::MpiFailed { reason, .. }
            | Self::Raised { reason }
            | Self::Trapped { reason, .. }
            | Self::Failed { reason } => Some(reason.clone()),
        }
    }

    /// The end of a run that failed with `error`, between `MPI_Init` and `MPI_Finalize` if `running`.
    pub(crate) fn from_error(error: &wasmtime::Error, running: bool) -> Self {
        if let Some(ProcExit(code)) = error.downcast_ref() {
            return Self::exited(*code, running);
        }
        if let Some(exit) = error.downcast_ref::<MpiExit>() {
            return match exit {
                MpiExit::Abort { code, .. } => {
                    Self::Aborted { code: *code, reason: exit.to_string() }
                }
                MpiExit::Fatal { error, .. } => {
                    Self::MpiFailed { class: error.class as i32, reason: exit.to_string() }
                }
            };
        }
        if let Some(fault) = error.downcast_ref::<ThreadFault>() {
            let reason = format!("trapped: {fault}{}", backtrace(error));
            return Self::Trapped { code: signal_code(Trap::StackOverflow), reason };
        }
        if let Some(raised) = error.downcast_ref::<ProcRaised>() {
            return Self::Raised { reason: format!("{raised}{}", backtrace(error)) };
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            let reason = format!("trapped: {trap}{}", backtrace(error));
            return Self::Trapped { code: signal_code(*trap), reason };
        }
        Self::Failed { reason: format!("{}{}", chain(error), backtrace(error)) }
    }

    /// The same end, as that of thread `thread` of the rank.
    pub(crate) fn in_thread(mut self, thread: u32) -> Self {
        if let Self::Aborted { reason, .. }
        | Self::MpiFailed { reason, .. }
        | Self::Raised { reason }
        | Self::Trapped { reason, .. }
        | Self::Failed { reason } = &mut self
        {
            *reason = format!("thread {thread}: {reason}");
        }
        self
    }

    /// The end of a run that left with `code`.
    pub(crate) const fn exited(code: i32, running: bool) -> Self {
        if running { Self::WithoutFinalize { code } } else { Self::Completed { code } }
    }
}

/// 128 plus the signal a native program would have died of.
const fn signal_code(trap: Trap) -> i32 {
    match trap {
        Trap::IntegerDivisionByZero | Trap::IntegerOverflow => 128 + 8,
        Trap::MemoryOutOfBounds | Trap::StackOverflow | Trap::TableOutOfBounds => 128 + 11,
        _ => 128 + 6,
    }
}

fn chain(error: &wasmtime::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let causes =
        causes.filter(|cause| !cause.starts_with("error while executing at wasm backtrace"));
    causes.collect::<Vec<_>>().join(": ")
}

/// The call stack, innermost first, with the names of functions and, with `-g`, of lines.
fn backtrace(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    for frame in backtrace.frames() {
        let symbol = frame.symbols().first();
        let name = symbol.and_then(|symbol| symbol.name()).or_else(|| frame.func_name());
        let _ = write!(text, "\n    at {}", name.unwrap_or("?"));
        if let Some((file, line)) = symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?)))
        {
            let _ = write!(text, " ({file}:{line})");
        }
    }
    text
}
