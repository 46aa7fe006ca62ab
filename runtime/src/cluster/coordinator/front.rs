//! The user's side of a job at its coordinator: printing what the ranks write, reading what they
//! want to read, and handing out the report after the last output.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use faasm_transport::NodeId;
use parking_lot::Mutex;

use crate::cluster::codec::Outbox;
use crate::cluster::input::{STDIN_KEPT_BYTES_MAX, read_on_demand};
use crate::cluster::message::ToNode;
use crate::cluster::output::WINDOW_BYTES;
use crate::host::wasi::{OutputSink, StdinReader, StdinSource, StdinStream, Stream};
use crate::job::{JobReport, Outcome, RankEvent};
use crate::module::Program;

/// Credit is returned in lumps of this size while more output waits.
const CREDIT_BYTES: u64 = 64 << 10;
/// How long the report of a job that was ended waits for output that makes no progress.
const LATE_OUTPUT: Duration = Duration::from_millis(200);

/// A job's front.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) programs: Vec<Program>,
    pub(super) events: flume::Sender<RankEvent>,
    printer: flume::Sender<Print>,
    progress: Arc<Progress>,
    readers: HashMap<NodeId, Reader>,
    reporter: Arc<Reporter>,
    job: u32,
    outbox: Arc<Outbox>,
    /// The input, if it is kept for ranks that move.
    kept: Option<StdinStream>,
}

/// What a job's printer is to do.
#[derive(Debug)]
enum Print {
    Bytes { node: NodeId, rank: u32, stream: Stream, bytes: Bytes },
    Close { rank: u32 },
    Moved { rank: u32, host: Arc<str> },
    Report(Arc<JobReport>),
}

/// How much output has come from each node and is not printed yet.
#[derive(Debug)]
struct Progress {
    waiting: Mutex<HashMap<NodeId, u64>>,
    printed: AtomicU64,
}

/// Hands out the report, once.
#[derive(Debug)]
struct Reporter(Mutex<Option<flume::Sender<Arc<JobReport>>>>);

impl Reporter {
    fn report(&self, report: &Arc<JobReport>) {
        if let Some(sender) = self.0.lock().take() {
            // The handle may be gone.
            let _ = sender.send(report.clone());
        }
    }
}

/// Where a job's output goes and its input comes from.
pub(crate) struct Streams {
    pub(crate) output: Option<Arc<dyn OutputSink>>,
    pub(crate) input: Option<StdinStream>,
    /// The nodes that have ranks which read it.
    pub(crate) readers: Vec<NodeId>,
    /// Whether such ranks may go to other nodes.
    pub(crate) moves: bool,
}

impl Front {
    /// The front of job `job`.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn new(
        job: u32,
        programs: Vec<Program>,
        streams: Streams,
        outbox: &Arc<Outbox>,
        (events, report): (flume::Sender<RankEvent>, flume::Sender<Arc<JobReport>>),
    ) -> std::io::Result<Self> {
        let (printer, prints) = flume::unbounded();
        let progress = Progress { waiting: Mutex::default(), printed: AtomicU64::new(0) };
        let (progress, reporter) =
            (Arc::new(progress), Arc::new(Reporter(Mutex::new(Some(report)))));
        let thread = Printer {
            job,
            output: streams.output,
            outbox: outbox.clone(),
            progress: progress.clone(),
            reporter: reporter.clone(),
            owed: HashMap::new(),
        };
        std::thread::Builder::new()
            .name(format!("faasm-print-{job}"))
            .spawn(move || thread.run(&prints))?;
        // All readers are there before the first one reads, so that none misses the beginning.
        let reader = |node| {
            let source = streams.input.clone().map_or(StdinSource::Closed, StdinSource::Stream);
            (node, Reader::new(job, node, outbox, StdinReader::new(source)))
        };
        let has_readers = !streams.readers.is_empty();
        let readers = streams.readers.into_iter().map(reader).collect();
        let kept = streams.input.filter(|_| streams.moves && has_readers);
        if let Some(input) = &kept {
            input.keep_up_to(STDIN_KEPT_BYTES_MAX);
        }
        let outbox = outbox.clone();
        Ok(Self { programs, events, printer, progress, readers, reporter, job, outbox, kept })
    }

    /// Output has arrived. False when it is more than the node may have sent.
    pub(super) fn output(&self, node: NodeId, rank: u32, stream: Stream, bytes: Bytes) -> bool {
        let mut waiting = self.progress.waiting.lock();
        let sum = waiting.entry(node).or_default();
        *sum += bytes.len() as u64;
        // The last write that still found room may exceed it.
        let within = *sum <= 2 * WINDOW_BYTES;
        drop(waiting);
        self.print(Print::Bytes { node, rank, stream, bytes });
        within
    }

    /// A rank writes no more.
    pub(super) fn close(&self, rank: u32) {
        self.print(Print::Close { rank });
    }

    /// A rank runs on another host from now on.
    pub(super) fn moved(&self, rank: u32, host: Arc<str>) {
        self.print(Print::Moved { rank, host });
    }

    /// A node wants input.
    pub(super) fn demand(&mut self, node: NodeId) {
        if let Some(input) = self.kept.as_ref().filter(|_| !self.readers.contains_key(&node)) {
            // A rank that reads has come there; it passes over what it has read before.
            let reader = StdinReader::new(StdinSource::Stream(input.clone()));
            self.readers.insert(node, Reader::new(self.job, node, &self.outbox, reader));
        }
        if let Some(reader) = self.readers.get_mut(&node) {
            reader.demand();
        }
    }

    /// Whether ranks that read the input can go to nodes where nobody has read it yet.
    pub(super) fn keeps_input(&self) -> bool {
        self.kept.as_ref().is_none_or(StdinStream::is_whole)
    }

    /// The job has ended: its report follows the last output. A job that was ended does not wait
    /// for output that nobody reads; what is to be done then is returned.
    pub(super) fn report(self, report: JobReport) -> Option<LateReport> {
        let report = Arc::new(report);
        let patient = matches!(report.outcome, Outcome::Success);
        self.print(Print::Report(report.clone()));
        let (progress, reporter) = (self.progress, self.reporter);
        let late = LateReport { report, progress, reporter, printed: 0, at: Instant::now() };
        (!patient).then(|| late.again())
    }

    fn print(&self, print: Print) {
        // The printer lives as long as this end of the channel.
        let _ = self.printer.send(print);
    }
}

/// A report that does not wait for output for ever.
#[derive(Debug)]
pub(super) struct LateReport {
    report: Arc<JobReport>,
    progress: Arc<Progress>,
    reporter: Arc<Reporter>,
    printed: u64,
    /// When to look at it.
    pub(super) at: Instant,
}

impl LateReport {
    /// Hands out the report unless it has been, or output still makes progress.
    pub(super) fn look(self) -> Option<Self> {
        if self.reporter.0.lock().is_none() {
            return None;
        }
        if self.progress.printed.load(Ordering::Relaxed) != self.printed {
            return Some(self.again());
        }
        self.reporter.report(&self.report);
        None
    }

    fn again(self) -> Self {
        let printed = self.progress.printed.load(Ordering::Relaxed);
        Self { printed, at: Instant::now() + LATE_OUTPUT, ..self }
    }
}

/// Writes a job's output, and tells its nodes what has been written.
struct Printer {
    job: u32,
    output: Option<Arc<dyn OutputSink>>,
    outbox: Arc<Outbox>,
    progress: Arc<Progress>,
    reporter: Arc<Reporter>,
    owed: HashMap<NodeId, u64>,
}

impl Printer {
    fn run(mut self, prints: &flume::Receiver<Print>) {
        while let Ok(print) = prints.recv() {
            match print {
                Print::Bytes { node, rank, stream, bytes } => {
                    if let Some(output) = &self.output {
                        output.write(rank, stream, &bytes);
                    }
                    self.written(node, bytes.len() as u64, prints.is_empty());
                }
                Print::Close { rank } => {
                    if let Some(output) = &self.output {
                        output.close(rank);
                    }
                    self.progress.printed.fetch_add(1, Ordering::Relaxed);
                }
                Print::Moved { rank, host } => {
                    if let Some(output) = &self.output {
                        output.moved(rank, &host);
                    }
                }
                Print::Report(report) => self.reporter.report(&report),
            }
        }
    }

    fn written(&mut self, node: NodeId, bytes: u64, is_last: bool) {
        self.progress.printed.fetch_add(bytes.max(1), Ordering::Relaxed);
        if let Some(waiting) = self.progress.waiting.lock().get_mut(&node) {
            *waiting -= bytes;
        }
        *self.owed.entry(node).or_default() += bytes;
        let outbox = &self.outbox;
        for (node, owed) in &mut self.owed {
            if *owed >= CREDIT_BYTES || (is_last && *owed > 0) {
                let bytes = std::mem::take(owed);
                outbox.send(*node, &ToNode::Credit { job: self.job, bytes });
            }
        }
    }
}

/// Input for one node.
#[derive(Debug)]
struct Reader {
    job: u32,
    node: NodeId,
    outbox: Arc<Outbox>,
    state: ReaderState,
}

#[derive(Debug)]
enum ReaderState {
    /// Nobody has asked yet.
    Idle(StdinReader),
    /// A thread reads whenever it is asked; it ends with this sender.
    Reading(flume::Sender<()>),
    /// No thread could be had.
    Failed,
}

impl Reader {
    fn new(job: u32, node: NodeId, outbox: &Arc<Outbox>, reader: StdinReader) -> Self {
        Self { job, node, outbox: outbox.clone(), state: ReaderState::Idle(reader) }
    }

    fn demand(&mut self) {
        if let ReaderState::Reading(demands) = &self.state {
            // The thread is gone at the end of the input, which the node has been told of.
            let _ = demands.send(());
            return;
        }
        let (demands, demanded) = flume::unbounded();
        let _ = demands.send(());
        let state = std::mem::replace(&mut self.state, ReaderState::Reading(demands));
        let ReaderState::Idle(reader) = state else { return };
        let (job, node, outbox) = (self.job, self.node, self.outbox.clone());
        let read =
            move || read_on_demand(reader, &demanded, |bytes| outbox.stdin(node, job, bytes));
        let thread = std::thread::Builder::new().name(format!("faasm-stdin-{job}"));
        if let Err(error) = thread.spawn(read) {
            tracing::warn!(%error, "no thread can be had to read the standard input");
            self.outbox.stdin(node, job, &[]);
            self.state = ReaderState::Failed;
        }
    }
}
