//! What `faasm-run` can be asked to do: one module a command.

pub(crate) mod cluster;
pub(crate) mod migrate;
pub(crate) mod node;
pub(crate) mod orders;
pub(crate) mod restart;
pub(crate) mod run;
pub(crate) mod top;

/// Warnings are always shown; `-v` shows what the runtime does, twice what it decides.
pub(crate) fn start_log(verbosity: u8) {
    let level = match verbosity {
        0 => tracing::Level::WARN,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let timed = level > tracing::Level::WARN;
    let output = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let output = output.with_ansi(false).with_target(timed);
    if timed { output.init() } else { output.without_time().init() }
}
