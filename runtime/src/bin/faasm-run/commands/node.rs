//! `faasm-run node`: a process that runs ranks for a coordinator.

use std::{
    io::{BufRead as _, Read as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use faasm_runtime::{ClusterError, JoinOptions, Node, NodeEnd, Progress, Runtime, launcher::slurm};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{NodeArgs, TokenSource};

/// Is a node until the coordinator lets it go; returns the exit status of this process.
pub(crate) fn run(args: &NodeArgs) -> i32 {
    super::start_log(args.verbosity);
    match be_node(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

/// Is a node until the coordinator lets it go.
pub(super) fn be_node(args: &NodeArgs) -> anyhow::Result<()> {
    let token = token(&args.token)?;
    let watch_stdin = args.once && args.token == TokenSource::Stdin;
    join_and_wait(args, token, watch_stdin)
}

/// The same with a token that is known already.
pub(super) fn be_node_with(args: &NodeArgs, token: String) -> anyhow::Result<()> {
    join_and_wait(args, token, false)
}

fn join_and_wait(args: &NodeArgs, token: String, watch_stdin: bool) -> anyhow::Result<()> {
    // The variables of Slurm, inherited through srun: a task may be bound to one core of its node's.
    let slurm_name = std::env::var("SLURMD_NODENAME").ok();
    if slurm_name.is_some() {
        slurm::use_all_cores();
    }
    let progress = if args.quiet { Progress::Silent } else { Progress::Terminal };
    let mut builder = Runtime::builder().progress(progress);
    if let Some(workers) = args.workers {
        builder = builder.workers(u32::try_from(workers.get())?);
    }
    let runtime = builder.build()?;
    let mut options = JoinOptions::new(args.join.clone(), token);
    // Several of Slurm's nodes may be one machine.
    options.name = args.name.clone().or(slurm_name);
    options.listen.clone_from(&args.listen);
    options.slots = args.slots;
    if let Some(timeout) = args.node_timeout {
        options.node_timeout = timeout;
    }
    let mut node = first_join(&runtime, &options, args.wait)?;
    let leaver = Leaver::new(watch_stdin, args.grace.unwrap_or(GRACE))?;
    loop {
        leaver.watch(&node);
        match node.wait() {
            NodeEnd::Left => return Ok(()),
            NodeEnd::CoordinatorLost { reason } if args.once => {
                bail!("the coordinator is gone: {reason}; its jobs were ended here");
            }
            NodeEnd::CoordinatorLost { reason } => {
                eprintln!("faasm-run: the coordinator is gone: {reason}; waiting for it");
            }
        }
        node = rejoin(&runtime, &options)?;
    }
}

/// Joins a coordinator, which may begin later than we do.
fn first_join(
    runtime: &Runtime,
    options: &JoinOptions,
    wait: Option<Duration>,
) -> anyhow::Result<Node> {
    let give_up = Instant::now() + wait.unwrap_or_default();
    loop {
        match Node::join(runtime.clone(), options) {
            Err(error) if may_come(&error) && Instant::now() < give_up => {
                std::thread::sleep(REJOIN_INTERVAL);
            }
            joined => return Ok(joined?),
        }
    }
}

/// Whether another attempt may succeed: nobody answers, or the name is not known yet.
fn may_come(error: &ClusterError) -> bool {
    error.is_unanswered() || matches!(error, ClusterError::Address { .. })
}

/// Joins a coordinator that comes back. One that answers and refuses has the last word.
fn rejoin(runtime: &Runtime, options: &JoinOptions) -> anyhow::Result<Node> {
    loop {
        std::thread::sleep(REJOIN_INTERVAL);
        match Node::join(runtime.clone(), options) {
            Ok(node) => return Ok(node),
            Err(error) if error.is_unanswered() => {}
            Err(error) => return Err(error).context("cannot join again"),
        }
    }
}

/// The first line of standard input or of a file; `FAASM_TOKEN`, if set, comes before standard input.
fn token(source: &TokenSource) -> anyhow::Result<String> {
    let text = match source {
        TokenSource::File(path) => read_token(Path::new(path))?,
        TokenSource::Stdin => match std::env::var("FAASM_TOKEN") {
            Ok(token) => token,
            Err(_) => {
                let mut line = String::new();
                let mut input = std::io::stdin().lock().take(TOKEN_BYTES_MAX);
                input.read_line(&mut line).context("cannot read the token from standard input")?;
                line
            }
        },
    };
    let token = text.trim();
    if token.is_empty() {
        bail!(
            "there is no token: hand it over in the first line of standard input, in a file with \
             --token-file, or in the variable FAASM_TOKEN; `faasm-run cluster token` makes one"
        );
    }
    Ok(token.to_owned())
}

/// The first line of a file that holds a token.
pub(super) fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let mut line = String::new();
    let mut file = std::io::BufReader::new(file.take(TOKEN_BYTES_MAX));
    file.read_line(&mut line).with_context(|| format!("cannot read a token from {shown}"))?;
    Ok(line.trim().to_owned())
}

/// Lets the node go when this process is told to end, or when whoever started it is gone.
struct Leaver {
    node: Arc<std::sync::Mutex<Option<faasm_runtime::NodeLeaver>>>,
}

impl Leaver {
    /// The first SIGTERM leaves time for the ranks to go elsewhere, any other signal does not.
    fn new(watch_stdin: bool, grace: Duration) -> anyhow::Result<Self> {
        let leaver = Self { node: Arc::default() };
        let node = leaver.node.clone();
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .context("cannot handle signals")?;
        thread("faasm-signals", move || {
            let mut is_warned = grace.is_zero();
            for signal in signals.forever() {
                if signal == SIGTERM && !std::mem::replace(&mut is_warned, true) {
                    leave_within(&node, grace);
                    continue;
                }
                leave(&node);
                exit_soon(128 + signal);
            }
        })?;
        if watch_stdin {
            let node = leaver.node.clone();
            thread("faasm-parent", move || {
                // Nothing more is sent; the end of the input is the end of who started us.
                let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                leave(&node);
                exit_soon(1);
            })?;
        }
        Ok(leaver)
    }

    fn watch(&self, node: &Node) {
        *self.node.lock().expect("nobody panics while holding it") = Some(node.leaver());
    }
}

fn leave(node: &std::sync::Mutex<Option<faasm_runtime::NodeLeaver>>) {
    if let Some(leaver) = &*node.lock().expect("nobody panics while holding it") {
        leaver.leave();
    }
}

/// Says that this process is about to end; it does, if not before, when the time is over.
fn leave_within(node: &Arc<std::sync::Mutex<Option<faasm_runtime::NodeLeaver>>>, grace: Duration) {
    if let Some(leaver) = &*node.lock().expect("nobody panics while holding it") {
        leaver.leave_within(grace);
    }
    let node = node.clone();
    let end = move || {
        std::thread::sleep(grace);
        leave(&node);
        exit_soon(128 + SIGTERM);
    };
    if thread("faasm-grace", end).is_err() {
        // Without a thread to keep the time there is none.
        signal_hook::low_level::exit(128 + SIGTERM);
    }
}

/// A node that leaves ends its process; one that cannot leave must end all the same.
fn exit_soon(status: i32) {
    std::thread::sleep(LEAVE_PATIENCE);
    signal_hook::low_level::exit(status);
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .context("cannot start a thread; check `ulimit -u`")?;
    Ok(())
}

/// Far more than any token has.
const TOKEN_BYTES_MAX: u64 = 4096;
/// How often a coordinator that has gone is looked for.
const REJOIN_INTERVAL: Duration = Duration::from_secs(1);
/// How long ranks have to go elsewhere after SIGTERM: container systems kill after 30 s.
const GRACE: Duration = Duration::from_secs(25);
/// How long leaving may take.
const LEAVE_PATIENCE: Duration = Duration::from_millis(700);
