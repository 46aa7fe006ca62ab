//! The subcommands `node` and `cluster`, each with a table of options of its own.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    Applied, Problem, Request, UsageError, apply,
    flag::{Action, Flag, Section},
    help, is_option,
    nodes::{self, ClusterAddress},
    values,
};

type Outcome = Result<(), Problem>;

/// A process that runs ranks for a coordinator.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeArgs {
    /// Addresses of the coordinator, `host:port` each, to be tried in this order.
    pub(crate) join: Vec<String>,
    /// Where the token comes from.
    pub(crate) token: TokenSource,
    /// The node's name; that of the machine if absent.
    pub(crate) name: Option<String>,
    /// The address on which other nodes reach it; all of the machine if absent.
    pub(crate) listen: Option<String>,
    /// Number of worker threads; one a core if absent.
    pub(crate) workers: Option<NonZeroUsize>,
    /// Ranks that the node offers to take; decided by the coordinator if absent.
    pub(crate) slots: Option<u32>,
    /// How long it is tried to find the coordinator; once if absent.
    pub(crate) wait: Option<Duration>,
    /// When a silent coordinator or node counts as lost.
    pub(crate) node_timeout: Option<Duration>,
    /// How long ranks have to go elsewhere after SIGTERM.
    pub(crate) grace: Option<Duration>,
    /// Whether the node ends with its coordinator, instead of joining it again.
    pub(crate) once: bool,
    /// How much is logged: the number of times `-v` was given.
    pub(crate) verbosity: u8,
    /// Whether notes are left out.
    pub(crate) quiet: bool,
}

/// Where a token comes from; never from a command line, which every user of a machine can read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum TokenSource {
    /// The first line of standard input.
    #[default]
    Stdin,
    /// The first line of a file.
    File(String),
}

/// A command about a whole cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterArgs {
    /// What is to be done.
    pub(crate) action: ClusterAction,
    /// Which cluster; the one of this machine if absent.
    pub(crate) cluster: ClusterAddress,
    /// The address on which the coordinator listens.
    pub(crate) listen: Option<String>,
    /// The file with the token with which nodes join, or with the user's own token for a cluster elsewhere.
    pub(crate) token_file: Option<String>,
    /// Whether a new token is for a user on another machine instead of a node.
    pub(crate) client: bool,
    /// How long a new token is valid.
    pub(crate) valid: Option<Duration>,
    /// When a silent node counts as lost.
    pub(crate) node_timeout: Option<Duration>,
    /// Whether the answer is printed as JSON.
    pub(crate) json: bool,
    /// How much is logged: the number of times `-v` was given.
    pub(crate) verbosity: u8,
}

/// What is done with a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClusterAction {
    /// Begin one: become its coordinator.
    Init,
    /// Print a token with which a node can join.
    Token,
    /// Print its nodes and jobs.
    Status,
    /// Give a node no further ranks.
    Drain(String),
    /// Have a node leave once its ranks have ended.
    Leave(String),
}

/// Parses what follows `faasm-run node`.
pub(super) fn node(words: Vec<String>) -> Result<Request, UsageError> {
    let (mut args, mut words) = (NodeArgs::default(), words.into_iter());
    while let Some(word) = words.next() {
        if !is_option(&word) {
            return Err(Problem::new(
                "A node runs what its coordinator tells it, and takes no program.",
                "Leave the word out. A program of the name `node` is run as `./node`.",
            )
            .at(word));
        }
        match apply(NODE_FLAGS, &mut args, word, &mut words)? {
            Applied::Help => return Ok(Request::Help(help::of_node(NODE_FLAGS))),
            Applied::Set | Applied::Note(_) | Applied::Version => {}
        }
    }
    if args.join.is_empty() {
        return Err(Problem::new(
            "A node must know its coordinator.",
            "Give its address, as in `faasm-run node --join host:7077`.",
        )
        .at("node"));
    }
    Ok(Request::Node(Box::new(args)))
}

/// Parses what follows `faasm-run cluster`.
pub(super) fn cluster(words: Vec<String>) -> Result<Request, UsageError> {
    let mut args = ClusterArgs {
        action: ClusterAction::Status,
        cluster: ClusterAddress::Here,
        listen: None,
        token_file: None,
        client: false,
        valid: None,
        node_timeout: None,
        json: false,
        verbosity: 0,
    };
    let (mut operands, mut words) = (Vec::new(), words.into_iter());
    while let Some(word) = words.next() {
        if !is_option(&word) {
            operands.push(word);
        } else if let Applied::Help = apply(CLUSTER_FLAGS, &mut args, word, &mut words)? {
            return Ok(Request::Help(help::of_cluster(CLUSTER_FLAGS)));
        }
    }
    args.action = action(&operands)?;
    Ok(Request::Cluster(Box::new(args)))
}

fn action(operands: &[String]) -> Result<ClusterAction, UsageError> {
    let words: Vec<&str> = operands.iter().map(String::as_str).collect();
    Ok(match words[..] {
        ["init"] => ClusterAction::Init,
        ["token"] => ClusterAction::Token,
        ["status"] => ClusterAction::Status,
        ["drain", node] => ClusterAction::Drain(node.to_owned()),
        ["leave", node] => ClusterAction::Leave(node.to_owned()),
        ["drain" | "leave"] => {
            return Err(Problem::new(
                "No node was named.",
                "Name one of those that `faasm-run cluster status` shows.",
            )
            .at(format!("cluster {}", words[0])));
        }
        _ => {
            return Err(Problem::new(
                "This is not a command about a cluster.",
                "There are `cluster init`, `token`, `status`, `drain NODE` and `leave NODE`. A \
                 program of the name `cluster` is run as `./cluster`.",
            )
            .at(["cluster"].into_iter().chain(words).collect::<Vec<_>>().join(" ")));
        }
    })
}

/// The options of `faasm-run node`.
static NODE_FLAGS: &[Flag<NodeArgs>] = &[
    set(
        &["join"],
        &["HOST:PORT,..."],
        |args, values| {
            for address in values[0].split(',') {
                args.join.push(nodes::host_and_port(address)?);
            }
            Ok(())
        },
        "Addresses of the coordinator, tried one after the other.",
    ),
    set(
        &["token-from-stdin"],
        &[],
        |args, _| put(&mut args.token, TokenSource::Stdin),
        "Read the token from the first line of standard input (the default).",
    ),
    set(
        &["token-file"],
        &["FILE"],
        |args, values| put(&mut args.token, TokenSource::File(values::path(values[0])?)),
        "Read the token from the first line of a file.",
    ),
    set(
        &["name"],
        &["NAME"],
        |args, values| put(&mut args.name, Some(values::path(values[0])?)),
        "What the node is called. Default: the name of the machine.",
    ),
    set(
        &["listen"],
        &["ADDRESS:PORT"],
        |args, values| put(&mut args.listen, Some(nodes::host_and_port(values[0])?)),
        "Where other nodes reach this one. Default: all addresses of the machine, any port.",
    ),
    set(
        &["slots"],
        &["N"],
        |args, values| put(&mut args.slots, Some(values::rank_count(values[0])?)),
        "Number of ranks that the node takes. Default: what the job asks for.",
    ),
    set(
        &["workers"],
        &["N"],
        |args, values| put(&mut args.workers, Some(values::worker_count(values[0])?)),
        "Number of worker threads. Default: one a core.",
    ),
    set(
        &["node-timeout"],
        &["SECONDS"],
        |args, values| {
            put(&mut args.node_timeout, Some(values::seconds(values[0], "--node-timeout 5")?))
        },
        "A coordinator or node from which nothing is heard for this time is lost. Default: 5.",
    ),
    set(
        &["grace"],
        &["SECONDS"],
        |args, values| put(&mut args.grace, Some(values::seconds(values[0], "--grace 110")?)),
        "After SIGTERM the ranks of jobs that are migratable go to other nodes, and the node leaves; after this \
         time at the latest. A second signal ends it at once. Default: 25.",
    ),
    set(
        &["wait"],
        &["SECONDS"],
        |args, values| put(&mut args.wait, Some(values::seconds(values[0], "--wait 60")?)),
        "Go on looking for a coordinator that has not begun yet. Default: try once.",
    ),
    set(
        &["once"],
        &[],
        |args, _| put(&mut args.once, true),
        "End when the coordinator has gone, instead of waiting for it to come back.",
    ),
    set(
        &["v", "verbose"],
        &[],
        |args, _| values::louder(&mut args.verbosity),
        "Log what the node does; twice for more.",
    ),
    set(&["q", "quiet"], &[], |args, _| put(&mut args.quiet, true), "Leave out notes."),
    help_flag(),
];

/// The options of `faasm-run cluster`.
static CLUSTER_FLAGS: &[Flag<ClusterArgs>] = &[
    set(
        &["cluster"],
        &["HOST:PORT"],
        |args, values| put(&mut args.cluster, ClusterAddress::At(nodes::host_and_port(values[0])?)),
        "Which cluster. Default: the one whose coordinator runs on this machine.",
    ),
    set(
        &["listen"],
        &["ADDRESS:PORT"],
        |args, values| put(&mut args.listen, Some(nodes::host_and_port(values[0])?)),
        "init: where nodes find the coordinator. Default: all addresses of the machine, port 7077.",
    ),
    set(
        &["token-file"],
        &["FILE"],
        |args, values| put(&mut args.token_file, Some(values::path(values[0])?)),
        "init: nodes may join with the token in this file, any number of times. With --cluster \
         HOST:PORT: your token for that cluster; else it is taken from FAASM_TOKEN.",
    ),
    set(
        &["client"],
        &[],
        |args, _| put(&mut args.client, true),
        "token: make one with which you can give jobs and orders from another machine (--cluster \
         HOST:PORT), not one for a node.",
    ),
    set(
        &["valid"],
        &["SECONDS"],
        |args, values| put(&mut args.valid, Some(values::seconds(values[0], "--valid 600")?)),
        "token: how long it can be used. Default: 600; with --client 30 days.",
    ),
    set(
        &["node-timeout"],
        &["SECONDS"],
        |args, values| {
            put(&mut args.node_timeout, Some(values::seconds(values[0], "--node-timeout 5")?))
        },
        "init: a node from which nothing is heard for this time is lost. Default: 5.",
    ),
    set(&["json"], &[], |args, _| put(&mut args.json, true), "status: print JSON."),
    set(
        &["v", "verbose"],
        &[],
        |args, _| values::louder(&mut args.verbosity),
        "Log what is done; twice for more.",
    ),
    help_flag(),
];

const fn set<T>(
    names: &'static [&'static str],
    values: &'static [&'static str],
    apply: fn(&mut T, &[&str]) -> Outcome,
    help: &'static str,
) -> Flag<T> {
    Flag { names, values, section: Section::Job, help, action: Action::Set(apply) }
}

/// Asks for the text about all flags.
pub(super) const fn help_flag<T>() -> Flag<T> {
    Flag {
        names: &["help", "h"],
        values: &[],
        section: Section::Job,
        help: "Print this text.",
        action: Action::Help,
    }
}

fn put<V>(place: &mut V, value: V) -> Outcome {
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, UsageError> {
        super::super::parse(line.split_whitespace().map(Into::into))
    }

    fn node(line: &str) -> NodeArgs {
        match parse(line) {
            Ok(Request::Node(args)) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn cluster(line: &str) -> ClusterArgs {
        match parse(line) {
            Ok(Request::Cluster(args)) => *args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_node_knows_its_coordinator() {
        let args = node("node --join a:1,[::1]:2 --workers 3 --name n1 --slots 4 --once -v -v -q");
        assert_eq!(args.join, ["a:1", "[::1]:2"]);
        assert_eq!((args.workers, args.slots), (NonZeroUsize::new(3), Some(4)));
        assert_eq!((args.name.as_deref(), args.once, args.verbosity), (Some("n1"), true, 2));
        assert_eq!(args.token, TokenSource::Stdin);
        assert!(args.quiet);
        let args = node("node --join=a:1 --token-file t --listen 10.0.0.1:0");
        assert_eq!(args.token, TokenSource::File("t".into()));
        let timed = node("node --join a:1 --wait 60 --node-timeout 2");
        assert_eq!(timed.wait, Some(Duration::from_secs(60)));
        assert_eq!(timed.node_timeout, Some(Duration::from_secs(2)));
        assert_eq!(args.listen.as_deref(), Some("10.0.0.1:0"));
        assert_eq!(node("node --join a:1 --token-from-stdin").token, TokenSource::Stdin);
    }

    #[test]
    fn commands_about_a_cluster() {
        let args = cluster("cluster init --listen 0.0.0.0:7077 --token-file t --node-timeout 2");
        assert_eq!(args.action, ClusterAction::Init);
        assert_eq!(
            (args.listen.as_deref(), args.token_file.as_deref()),
            (Some("0.0.0.0:7077"), Some("t"))
        );
        assert_eq!(args.node_timeout, Some(Duration::from_secs(2)));
        let args = cluster("cluster token --valid 60 --cluster a:1 -v");
        assert_eq!(
            (args.action, args.valid),
            (ClusterAction::Token, Some(Duration::from_secs(60)))
        );
        assert_eq!((args.cluster, args.verbosity), (ClusterAddress::At("a:1".into()), 1));
        let args = cluster("cluster token --client");
        assert!(args.client && args.action == ClusterAction::Token);
        let args = cluster("cluster --json status");
        assert_eq!((args.action, args.json), (ClusterAction::Status, true));
        assert_eq!(cluster("cluster drain n1").action, ClusterAction::Drain("n1".into()));
        assert_eq!(cluster("cluster leave n1").action, ClusterAction::Leave("n1".into()));
    }

    #[test]
    fn errors_name_argument_cause_and_remedy() {
        for (line, parts) in [
            ("node", &["--join host:7077"][..]),
            ("node x.wasm", &["x.wasm", "./node"]),
            ("node --join a", &["--join a", "host:port"]),
            ("node --jion a:1", &["--jion", "`--join`"]),
            ("node --join a:1 --token secret", &["--token"]),
            ("cluster", &["cluster init", "./cluster"]),
            ("cluster frob", &["cluster frob"]),
            ("cluster drain", &["cluster drain", "status"]),
            ("cluster init --listen 7077", &["\"7077\""]),
        ] {
            let message = parse(line).expect_err(line).to_string();
            for part in parts {
                assert!(message.contains(part), "{line}: {message}");
            }
        }
    }

    #[test]
    fn each_has_a_help_text() {
        for line in ["node --help", "cluster -h"] {
            let Ok(Request::Help(text)) = parse(line) else { panic!("{line}") };
            assert!(text.contains("--token-file") && text.lines().all(|line| line.len() <= 100));
        }
    }

    #[test]
    fn a_program_may_be_called_like_a_subcommand() {
        for line in ["./node a", "-n 1 node", "-- cluster"] {
            assert!(matches!(parse(line), Ok(Request::Run(_))), "{line}");
        }
    }
}
