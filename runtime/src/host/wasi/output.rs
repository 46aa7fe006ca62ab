//! Where the standard output and error of ranks go.

use std::fmt;

/// One of the two standard output streams of a rank.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// Receives what the ranks of a job print.
///
/// Calls for one rank and stream come in the order of the guest's writes; calls for different
/// ranks come from several threads at once. A call carries the bytes of one guest write (at most
/// 64 KiB; longer writes make several calls), which need not end at a line's end: a sink that
/// keeps lines whole holds the rest back until `close`.
pub trait OutputSink: Send + Sync {
    /// Takes bytes that `rank` wrote.
    fn write(&self, rank: u32, stream: Stream, bytes: &[u8]);

    /// `rank` writes no more; an unfinished line is to be given out.
    fn close(&self, rank: u32);

    /// `rank` runs on another host from now on.
    fn moved(&self, _rank: u32, _host: &str) {}
}
