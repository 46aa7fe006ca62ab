//! `faasm-run cluster`: a coordinator that outlives its jobs, and orders for it.

use std::{
    io::Write as _,
    net::{SocketAddr, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use faasm_runtime::{
    Cluster, ClusterClient, ClusterOptions, ClusterPlace, ClusterServer, ClusterStatus, SharedToken,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{ClusterAction, ClusterAddress, ClusterArgs};

/// Carries out a command about a cluster; returns the exit status of this process.
pub(crate) fn run(args: &ClusterArgs) -> i32 {
    super::start_log(args.verbosity);
    match carry_out(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("faasm-run: {error:#}");
            1
        }
    }
}

fn carry_out(args: &ClusterArgs) -> anyhow::Result<()> {
    if args.action == ClusterAction::Init {
        return init(args);
    }
    let mut client = connect(&args.cluster, args.token_file.as_deref())?;
    match &args.action {
        ClusterAction::Init => unreachable!("it needs no coordinator"),
        ClusterAction::Token => {
            let token = match args.client {
                true => client.issue_user_token(args.valid.unwrap_or(USER_TOKEN_VALID))?,
                false => client.issue_token(args.valid.unwrap_or(TOKEN_VALID))?,
            };
            print(&format!("{token}\n"))
        }
        ClusterAction::Status => {
            let status = client.status()?;
            print(&if args.json { json(&status)? } else { table(&status) })
        }
        ClusterAction::Drain(node) => {
            let jobs = client.drain(node)?;
            print(&jobs.iter().map(|job| format!("{job}\n")).collect::<String>())
        }
        ClusterAction::Leave(node) => Ok(client.dismiss(node)?),
    }
}

/// The coordinator that is meant; one that is elsewhere wants a user's token.
pub(super) fn connect(
    address: &ClusterAddress,
    token_file: Option<&str>,
) -> anyhow::Result<ClusterClient> {
    let ClusterAddress::At(address) = address else {
        return Ok(ClusterClient::connect(&ClusterPlace::of_user()?)?);
    };
    let token = match (token_file, std::env::var("FAASM_TOKEN")) {
        (Some(file), _) => super::node::read_token(Path::new(file))?,
        (None, Ok(token)) => token,
        (None, Err(_)) => bail!(
            "--cluster {address}: a coordinator on another machine must know who you are: run \
             `faasm-run cluster token --client` there, keep what it prints in a file that only you can \
             read, and name that with --token-file, or put it into FAASM_TOKEN; on the coordinator's own \
             machine leave the address out"
        ),
    };
    ClusterClient::connect_to(std::slice::from_ref(address), &token)
        .with_context(|| format!("--cluster {address}"))
}

/// Is a coordinator until this process is told to end.
fn init(args: &ClusterArgs) -> anyhow::Result<()> {
    let place = ClusterPlace::of_user()?;
    place.prepare()?;
    let mut options = ClusterOptions::new(listen(args.listen.as_deref())?);
    options.authority = Some(place.authority());
    if let Some(timeout) = args.node_timeout {
        options.node_timeout = timeout;
    }
    let mut signals =
        signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).context("cannot handle signals")?;
    if let Some(file) = &args.token_file {
        let token = super::node::read_token(Path::new(file))?;
        options.tokens.push(SharedToken::new(&token, SECRET_VALID, u32::MAX)?);
    }
    let cluster = Cluster::open(&options)?;
    let server = ClusterServer::bind(&place, cluster.clone())?;
    if let Some(address) = cluster.address() {
        eprintln!(
            "faasm-run: the coordinator listens at {address}; `faasm-run cluster token` makes a token \
             for `faasm-run node --join HOST:{}`",
            address.port()
        );
    }
    std::thread::Builder::new()
        .name("faasm-serve".to_owned())
        .spawn(move || {
            if let Err(error) = server.serve() {
                eprintln!("faasm-run: nobody can be served any more: {error}");
                signal_hook::low_level::exit(1);
            }
        })
        .context("cannot start a thread; check `ulimit -u`")?;
    // It never ends by itself.
    signals.forever().next();
    cluster.shutdown();
    Ok(())
}

fn listen(address: Option<&str>) -> anyhow::Result<SocketAddr> {
    let address = address.unwrap_or(LISTEN);
    let mut found = address.to_socket_addrs().with_context(|| format!("--listen {address}"))?;
    found.next().ok_or_else(|| anyhow!("--listen {address}: there is no such address"))
}

fn table(status: &ClusterStatus) -> String {
    let mut text = format!(
        "{} nodes, {} jobs, {} attempts to join refused\n",
        status.nodes.len(),
        status.jobs.len(),
        status.refused
    );
    if !status.nodes.is_empty() {
        text.push_str("NODE  HOST              WORKERS  SLOTS  STATE     JOBS\n");
    }
    for node in &status.nodes {
        let slots = node.slots.map_or_else(|| "-".to_owned(), |slots| slots.to_string());
        let state = if node.draining { "draining" } else { "up" };
        let jobs: Vec<String> = node.jobs.iter().map(ToString::to_string).collect();
        text.push_str(&format!(
            "{:<5} {:<17} {:<8} {slots:<6} {state:<9} {}\n",
            node.node.0,
            node.host,
            node.workers,
            if jobs.is_empty() { "-".to_owned() } else { jobs.join(",") },
        ));
    }
    text
}

fn json(status: &ClusterStatus) -> anyhow::Result<String> {
    let node = |node: &faasm_runtime::NodeStatus| {
        serde_json::json!({
            "node": node.node.0,
            "host": &*node.host,
            "workers": node.workers,
            "slots": node.slots,
            "process": node.process,
            "addresses": node.addresses,
            "draining": node.draining,
            "jobs": node.jobs,
        })
    };
    let value = serde_json::json!({
        "address": status.address.map(|address| address.to_string()),
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
        "jobs": status.jobs,
        "refused": status.refused,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

/// Where a coordinator listens that is not told.
const LISTEN: &str = "0.0.0.0:7077";
/// A secret of a file is good for as long as any coordinator runs.
const SECRET_VALID: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How long a user's token is valid.
const USER_TOKEN_VALID: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a token is valid.
const TOKEN_VALID: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use faasm_runtime::{NodeId, NodeStatus};

    use super::*;

    #[test]
    fn nodes_are_listed() {
        let node = NodeStatus {
            node: NodeId(3),
            host: "n3".into(),
            workers: 8,
            slots: None,
            process: 77,
            addresses: vec!["10.0.0.3:1".into()],
            draining: true,
            jobs: vec![1, 4],
        };
        let status = ClusterStatus { nodes: vec![node], jobs: vec![1, 4], ..Default::default() };
        let text = table(&status);
        assert!(text.starts_with("1 nodes, 2 jobs, 0 attempts"), "{text}");
        assert!(
            text.ends_with("3     n3                8        -      draining  1,4\n"),
            "{text}"
        );
        let json = json(&status).expect("it can be written");
        assert!(
            json.contains("\"draining\": true") && json.contains("\"address\": null"),
            "{json}"
        );
    }
}
