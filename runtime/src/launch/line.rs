//! Brings the output of many ranks into one stream without mixing lines.
//!
//! [`LineMerger`] is pure: bytes and the time go in, bytes for the common stream come out.
//!
//! # What always holds
//! - Every byte given to [`LineMerger::write`] comes out once, in order for its source.
//! - Between two line ends of the common stream stand the bytes of one source. The only bytes added
//!   are tags, and a line end where a source's unfinished line must give way to another source.
//! - Sources that print nothing cost nothing; one in the middle of a line costs what it has printed
//!   of it, at most `line_bytes_max`.
//!
//! # Unfinished lines The bytes after a source's last line end are kept. When [`PATIENCE`] has
//! passed (a prompt), when the line grows beyond `line_bytes_max`, or when the source closes, they
//! are passed on and the source *holds* the stream: its further bytes pass at once, the other
//! sources' lines are deferred until its line ends. Deferred output beyond `deferred_bytes_max`
//! breaks the held line. On a terminal that limit is zero: a user who is asked something also wants
//! to see what others print, and does not mind the line end.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::host::wasi::Stream;

/// How long an unfinished line is kept before it is passed on as a prompt.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// One stream of one rank.
pub(super) type Source = (u32, Stream);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct LineMerger {
    limits: Limits,
    tags: Tags,
    unfinished: HashMap<Source, Unfinished>,
    holder: Holder,
    deferred: Vec<u8>,
}

/// What stands before each line.
#[derive(Clone, Debug, Default)]
pub(super) enum Tags {
    /// Nothing.
    #[default]
    None,
    /// Rank and stream.
    Rank,
    /// Rank, the host of each rank, and stream.
    RankAndHost(Arc<[Arc<str>]>),
}

/// How much is kept in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest unfinished line that is kept for one source.
    pub(super) line_bytes_max: usize,
    /// Most output that waits for the end of a held line.
    pub(super) deferred_bytes_max: usize,
}

/// Where the common stream stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    /// At the beginning of a line.
    Nobody,
    /// In the middle of a line of a source that may go on.
    Held(Source),
    /// In the middle of a line that will not go on, but after which nothing has come yet.
    Left,
}

#[derive(Debug)]
struct Unfinished {
    bytes: Vec<u8>,
    since: Instant,
}

impl LineMerger {
    pub(super) fn new(limits: Limits, tags: Tags) -> Self {
        let (unfinished, deferred) = (HashMap::new(), Vec::new());
        Self { limits, tags, unfinished, holder: Holder::Nobody, deferred }
    }

    /// Takes bytes of a source; appends to `out` what is to be written now.
    pub(super) fn write(&mut self, source: Source, bytes: &[u8], now: Instant, out: &mut Vec<u8>) {
        let (lines, rest) = split_after_last_line_end(bytes);
        if !lines.is_empty() {
            self.finish_line(source, lines, out);
        }
        if rest.is_empty() {
            return;
        }
        if self.holder == Holder::Held(source) {
            out.extend_from_slice(rest);
            return;
        }
        let kept = self
            .unfinished
            .entry(source)
            .or_insert_with(|| Unfinished { bytes: Vec::new(), since: now });
        kept.bytes.extend_from_slice(rest);
        if kept.bytes.len() > self.limits.line_bytes_max {
            self.pass_on(source, out);
        }
    }

    /// `source` writes no more.
    pub(super) fn close(&mut self, source: Source, out: &mut Vec<u8>) {
        match self.holder {
            Holder::Held(holder) if holder != source => {
                if self.unfinished.contains_key(&source) {
                    self.finish_line(source, b"\n", out);
                }
                return;
            }
            Holder::Nobody | Holder::Left if self.unfinished.contains_key(&source) => {
                self.pass_on(source, out);
            }
            Holder::Nobody | Holder::Left => return,
            Holder::Held(_) => {}
        }
        self.holder = Holder::Left;
        if !self.deferred.is_empty() {
            self.break_line(out);
        }
    }

    /// Passes on the unfinished line that has waited longest, if it has waited long enough and
    /// nobody holds the stream. Returns when to call again.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Instant> {
        if matches!(self.holder, Holder::Held(_)) {
            return None;
        }
        let (source, since) = self
            .unfinished
            .iter()
            .map(|(source, unfinished)| (*source, unfinished.since))
            .min_by_key(|(_, since)| *since)?;
        if now < since + PATIENCE {
            return Some(since + PATIENCE);
        }
        self.pass_on(source, out);
        None
    }

    /// Puts lines of our own between those of the ranks.
    pub(super) fn message(&mut self, lines: &[u8], out: &mut Vec<u8>) {
        self.break_line(out);
        out.extend_from_slice(lines);
    }

    /// Everything that is still kept, when no source writes any more.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let mut sources: Vec<Source> = self.unfinished.keys().copied().collect();
        sources.sort_unstable_by_key(|(rank, stream)| (*rank, *stream == Stream::Stderr));
        for source in sources {
            self.close(source, out);
        }
        if !self.deferred.is_empty() {
            self.break_line(out);
        }
    }

    /// Whether [`LineMerger::tick`] has something to wait for.
    pub(super) fn wants_tick(&self) -> bool {
        !self.unfinished.is_empty() && !matches!(self.holder, Holder::Held(_))
    }

    /// `lines` ends with a line end, and so does what comes out for `source`.
    fn finish_line(&mut self, source: Source, lines: &[u8], out: &mut Vec<u8>) {
        if self.holder == Holder::Held(source) {
            let (end, others) = split_after_first_line_end(lines);
            out.extend_from_slice(end);
            self.holder = Holder::Nobody;
            out.append(&mut self.deferred);
            self.append_lines(source, others, out);
            return;
        }
        let kept = self.unfinished.remove(&source).map(|kept| kept.bytes).unwrap_or_default();
        if matches!(self.holder, Holder::Held(_)) {
            let mut deferred = std::mem::take(&mut self.deferred);
            self.append_line(source, &kept, lines, &mut deferred);
            self.deferred = deferred;
            if self.deferred.len() > self.limits.deferred_bytes_max {
                self.break_line(out);
            }
            return;
        }
        self.break_line(out);
        self.append_line(source, &kept, lines, out);
    }

    /// Makes `source` the holder, after what it has kept.
    fn pass_on(&mut self, source: Source, out: &mut Vec<u8>) {
        self.break_line(out);
        if let Some(kept) = self.unfinished.remove(&source) {
            self.append_line(source, &kept.bytes, &[], out);
        }
        self.holder = Holder::Held(source);
    }

    /// Brings the common stream to the beginning of a line, and what was deferred before it.
    fn break_line(&mut self, out: &mut Vec<u8>) {
        if self.holder != Holder::Nobody {
            out.push(b'\n');
            self.holder = Holder::Nobody;
        }
        out.append(&mut self.deferred);
    }

    /// Appends a line in two parts and what follows it.
    fn append_line(&self, source: Source, kept: &[u8], lines: &[u8], to: &mut Vec<u8>) {
        if kept.is_empty() {
            self.append_lines(source, lines, to);
            return;
        }
        self.append_tag(source, to);
        to.extend_from_slice(kept);
        let (end, others) = split_after_first_line_end(lines);
        to.extend_from_slice(end);
        self.append_lines(source, others, to);
    }

    /// The rank's lines come from another host.
    pub(super) fn moved(&mut self, rank: u32, host: &str) {
        if let Tags::RankAndHost(hosts) = &mut self.tags
            && let Some(known) = Arc::make_mut(hosts).get_mut(rank as usize)
        {
            *known = host.into();
        }
    }

    fn append_lines(&self, source: Source, lines: &[u8], to: &mut Vec<u8>) {
        if matches!(self.tags, Tags::None) {
            to.extend_from_slice(lines);
            return;
        }
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.append_tag(source, to);
            to.extend_from_slice(line);
        }
    }

    /// The job of a launcher is always job 1, as in Open MPI's tags.
    fn append_tag(&self, (rank, stream): Source, to: &mut Vec<u8>) {
        let written = match &self.tags {
            Tags::None => Ok(()),
            Tags::Rank => write!(to, "[1,{rank}]<{stream}>: "),
            Tags::RankAndHost(hosts) => {
                let host = hosts.get(rank as usize).map_or("?", |host| host);
                write!(to, "[1,{rank}][{host}]<{stream}>: ")
            }
        };
        written.expect("writing to a Vec cannot fail");
    }
}

fn split_after_last_line_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.split_at(end)
}

fn split_after_first_line_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.split_at(end)
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
