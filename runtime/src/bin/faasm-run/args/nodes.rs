//! The options that say on which machines a job runs, how nodes get there, and which rank goes
//! where. Files and host names are looked at later: parsing is pure.

use std::time::Duration;

use super::{Draft, Problem, UsageError, values};

type Outcome = Result<(), Problem>;

/// Where a job runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeOptions {
    /// Files that name hosts, in the order given.
    pub(crate) hostfiles: Vec<String>,
    /// Host lists as typed: `a:2,b`.
    pub(crate) hosts: Vec<String>,
    /// Number of node processes on this machine.
    pub(crate) local_nodes: Option<u32>,
    /// Number of nodes that join without being started by us.
    pub(crate) await_nodes: Option<u32>,
    /// A cluster that runs already.
    pub(crate) cluster: Option<ClusterAddress>,
    /// Which rank goes to which node.
    pub(crate) map_by: Option<Mapping>,
    /// How ranks are numbered.
    pub(crate) rank_by: Option<Numbering>,
    /// Whether a node may have more ranks than slots; decided by how slots were given if absent.
    pub(crate) oversubscribe: Option<bool>,
    /// What is shown before the job starts.
    pub(crate) display: Display,
    /// How node processes are started; decided by the surroundings if absent.
    pub(crate) launcher: Option<LauncherKind>,
    /// The program that starts them.
    pub(crate) launcher_exec: Option<String>,
    /// Its further arguments.
    pub(crate) launcher_args: Vec<String>,
    /// The directory above `bin/faasm-run` on other machines.
    pub(crate) prefix: Option<String>,
    /// When a silent node counts as lost.
    pub(crate) node_timeout: Option<Duration>,
    /// Where nodes find us: `address:port`.
    pub(crate) listen: Option<String>,
    /// The file with the token with which nodes join; one is made up if absent.
    pub(crate) token_file: Option<String>,
}

impl NodeOptions {
    /// Whether the command line asks for nodes beside this process.
    pub(crate) fn names_nodes(&self) -> bool {
        !self.hostfiles.is_empty()
            || !self.hosts.is_empty()
            || self.local_nodes.is_some()
            || self.await_nodes.is_some()
            || self.cluster.is_some()
    }

    /// Options that contradict each other.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        let hosts = !self.hostfiles.is_empty() || !self.hosts.is_empty();
        if self.cluster.is_some() && (hosts || self.local_nodes.is_some()) {
            return Err(Problem::new(
                "The nodes of a cluster are there already; none are started for a job.",
                "Leave out `--cluster`, or the options that name hosts.",
            )
            .at("--cluster"));
        }
        if hosts && self.local_nodes.is_some() {
            return Err(Problem::new(
                "Node processes of this machine cannot be combined with hosts.",
                "Leave out one of them; `--host localhost` starts a node here.",
            )
            .at("--local-nodes"));
        }
        Ok(())
    }
}

/// How a running cluster is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ClusterAddress {
    /// The one whose coordinator runs on this machine.
    Here,
    /// The one at this `host:port`.
    At(String),
}

/// Which rank goes to which node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mapping {
    /// Node after node, each filled.
    Slot,
    /// Round the nodes.
    Node,
    /// Neighbours of a grid stay together.
    Grid {
        /// Extent in each dimension, the last one running fastest.
        dims: Vec<u32>,
        /// Whether each dimension closes to a ring.
        periodic: bool,
    },
    /// Neighbours of a graph stay together; the file has an edge a line.
    EdgeFile(String),
}

/// How ranks are numbered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Numbering {
    /// Node after node.
    Slot,
    /// Round the nodes.
    Node,
}

/// What is shown before a job starts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Display {
    /// The node of each rank.
    pub(crate) map: bool,
    /// The nodes with their slots.
    pub(crate) allocation: bool,
    /// Which workers run each rank.
    pub(crate) bindings: bool,
}

/// How node processes are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LauncherKind {
    /// As children on this machine.
    Local,
    /// With ssh.
    Ssh,
    /// With srun.
    Slurm,
}

pub(super) fn hostfile(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.hostfiles.push(values::path(values[0])?);
    Ok(())
}

pub(super) fn host(draft: &mut Draft, values: &[&str]) -> Outcome {
    if values[0].split(',').any(|host| host.trim().is_empty()) {
        return Err(Problem::new(
            "A host of the list has no name.",
            "Separate names by single commas, as in `--host a:2,b:2`.",
        ));
    }
    draft.job.nodes.hosts.push(values[0].to_owned());
    Ok(())
}

pub(super) fn local_nodes(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.local_nodes = Some(node_count(values[0], "--local-nodes 4")?);
    Ok(())
}

pub(super) fn await_nodes(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.await_nodes = Some(node_count(values[0], "--await-nodes 3")?);
    Ok(())
}

pub(super) fn cluster(draft: &mut Draft, value: Option<&str>) -> Outcome {
    draft.job.nodes.cluster = Some(match value {
        Some(address) => ClusterAddress::At(host_and_port(address)?),
        None => ClusterAddress::Here,
    });
    Ok(())
}

/// mpirun's policies name parts of a machine; those below a node only say that ranks fill nodes one
/// after the other, because the runtime itself distributes a node's ranks over its workers.
pub(super) fn map_by(draft: &mut Draft, values: &[&str]) -> Outcome {
    let mut parts = values[0].split(':');
    let policy = parts.next().unwrap_or_default();
    let mut modifiers: Vec<&str> = parts.collect();
    let mapping = match policy.to_ascii_lowercase().as_str() {
        "" => None,
        "ppr" => {
            per_node(draft, &mut modifiers)?;
            None
        }
        "node" => Some(Mapping::Node),
        "locality" => Some(locality(&mut modifiers)?),
        policy if FILLING.contains(&policy) => Some(Mapping::Slot),
        _ => {
            return Err(Problem::new(
                format!("\"{policy}\" is not a way to place ranks."),
                "Use `slot`, `node`, `ppr:N:node` or `locality:8x8`.",
            ));
        }
    };
    if mapping.is_some() {
        draft.job.nodes.map_by = mapping;
    }
    modifiers.iter().flat_map(|m| m.split(',')).try_for_each(|modifier| modify(draft, modifier))
}

/// `ppr:N:node`.
fn per_node(draft: &mut Draft, modifiers: &mut Vec<&str>) -> Outcome {
    let [count, "node", ..] = modifiers[..] else {
        return Err(Problem::new(
            "Ranks are counted by node here, not by socket or core.",
            "Say how many there are with `-n N`, or `--map-by ppr:N:node`.",
        ));
    };
    draft.app.ranks_per_node = Some(values::rank_count(count)?);
    modifiers.drain(..2);
    Ok(())
}

/// `locality:8x8[:periodic]` or `locality:@FILE`.
fn locality(modifiers: &mut Vec<&str>) -> Result<Mapping, Problem> {
    if modifiers.is_empty() {
        return Err(Problem::new(
            "This policy needs to know which ranks are neighbours.",
            "Give a grid, as in `--map-by locality:8x8`, or a file of edges: `locality:@FILE`.",
        ));
    }
    let topology = modifiers.remove(0);
    if let Some(file) = topology.strip_prefix('@') {
        return Ok(Mapping::EdgeFile(values::path(file)?));
    }
    let dims: Option<Vec<u32>> =
        topology.split('x').map(|dim| dim.parse().ok().filter(|dim| *dim > 0)).collect();
    let dims = dims.filter(|dims| dims.len() <= DIMS_MAX).ok_or_else(|| {
        Problem::new(
            format!("\"{topology}\" is not a grid."),
            format!("Write the extents of up to {DIMS_MAX} dimensions, as in `locality:8x8`."),
        )
    })?;
    let periodic = modifiers.first() == Some(&"periodic");
    if periodic {
        modifiers.remove(0);
    }
    Ok(Mapping::Grid { dims, periodic })
}

fn modify(draft: &mut Draft, modifier: &str) -> Outcome {
    match modifier.to_ascii_lowercase().as_str() {
        "oversubscribe" => draft.job.nodes.oversubscribe = Some(true),
        "nooversubscribe" => draft.job.nodes.oversubscribe = Some(false),
        "span" => draft.job.nodes.map_by = Some(Mapping::Node),
        other if other.starts_with("pe=") => {
            draft.note(format!("--map-by :{other}: ranks share the workers of their node"));
        }
        other => {
            return Err(Problem::new(
                format!("\"{other}\" does not change how ranks are placed."),
                "`oversubscribe`, `nooversubscribe` and `span` do.",
            ));
        }
    }
    Ok(())
}

pub(super) fn rank_by(draft: &mut Draft, values: &[&str]) -> Outcome {
    let policy = values[0].to_ascii_lowercase();
    draft.job.nodes.rank_by = Some(match policy.split(':').next().unwrap_or_default() {
        "node" => Numbering::Node,
        "fill" => Numbering::Slot,
        policy if FILLING.contains(&policy) => Numbering::Slot,
        _ => {
            return Err(Problem::new(
                format!("\"{}\" is not a way to number ranks.", values[0]),
                "Use `slot` or `node`.",
            ));
        }
    });
    Ok(())
}

pub(super) fn by_node(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.nodes.map_by = Some(Mapping::Node);
    Ok(())
}

pub(super) fn by_slot(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.nodes.map_by = Some(Mapping::Slot);
    Ok(())
}

pub(super) fn oversubscribe(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.nodes.oversubscribe = Some(true);
    Ok(())
}

pub(super) fn no_oversubscribe(draft: &mut Draft, _: &[&str]) -> Outcome {
    draft.job.nodes.oversubscribe = Some(false);
    Ok(())
}

pub(super) fn display(draft: &mut Draft, values: &[&str]) -> Outcome {
    for what in values[0].split([',', ':']) {
        match what {
            "map" | "map-devel" => draft.job.nodes.display.map = true,
            "allocation" => draft.job.nodes.display.allocation = true,
            "bindings" | "bind" => draft.job.nodes.display.bindings = true,
            _ => {
                return Err(Problem::new(
                    format!("\"{what}\" cannot be shown."),
                    "It takes `map`, `allocation` and `bindings`, separated by commas.",
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn display_map(draft: &mut Draft, _: &[&str]) -> Outcome {
    display(draft, &["map"])
}

pub(super) fn display_allocation(draft: &mut Draft, _: &[&str]) -> Outcome {
    display(draft, &["allocation"])
}

pub(super) fn report_bindings(draft: &mut Draft, _: &[&str]) -> Outcome {
    display(draft, &["bindings"])
}

pub(super) fn launcher(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.launcher = Some(match values[0] {
        "local" | "fork" => LauncherKind::Local,
        "ssh" | "rsh" => LauncherKind::Ssh,
        "slurm" | "srun" => LauncherKind::Slurm,
        other => {
            return Err(Problem::new(
                format!("\"{other}\" is not a way to start nodes."),
                "Use `local`, `ssh` or `slurm`; with `--launcher-exec` ssh can be any program that \
                 takes a host and a command.",
            ));
        }
    });
    Ok(())
}

pub(super) fn launcher_exec(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.launcher_exec = Some(values::path(values[0])?);
    Ok(())
}

pub(super) fn launcher_args(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.launcher_args.extend(split_words(values[0])?);
    Ok(())
}

pub(super) fn prefix(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.prefix = Some(values::path(values[0])?);
    Ok(())
}

pub(super) fn node_timeout(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.node_timeout = Some(values::seconds(values[0], "--node-timeout 5")?);
    Ok(())
}

pub(super) fn listen(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.listen = Some(host_and_port(values[0])?);
    Ok(())
}

pub(super) fn token_file(draft: &mut Draft, values: &[&str]) -> Outcome {
    draft.job.nodes.token_file = Some(values::path(values[0])?);
    Ok(())
}

/// `host:port`, where an IPv6 address is in brackets.
pub(super) fn host_and_port(text: &str) -> Result<String, Problem> {
    let is_right = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (is_v6 || !host.contains([':', '[', ']']))
            && port.parse::<u16>().is_ok()
    });
    if is_right {
        return Ok(text.to_owned());
    }
    Err(Problem::new(
        format!("\"{text}\" is not an address with a port."),
        "Write `host:port`, as in `node1:7077`; an IPv6 address stands in brackets.",
    ))
}

fn node_count(text: &str, example: &str) -> Result<u32, Problem> {
    text.parse().ok().filter(|nodes| (1..=NODES_MAX).contains(nodes)).ok_or_else(|| {
        Problem::new(
            format!("\"{text}\" is not a number of nodes."),
            format!("Give a whole number from 1 to {NODES_MAX}, as in `{example}`."),
        )
    })
}

/// Words separated by blanks; what stands in quotes is one word.
fn split_words(text: &str) -> Result<Vec<String>, Problem> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        None => Ok(words),
        Some(quote) => Err(Problem::new(
            format!("A quotation mark {quote} is not closed."),
            "Close it, as in `--launcher-args \"-o 'User me'\"`.",
        )),
    }
}

/// mpirun's policies that fill a node before the next one.
const FILLING: [&str; 11] = [
    "slot", "slots", "hwthread", "core", "l1cache", "l2cache", "l3cache", "numa", "socket",
    "package", "board",
];
/// Far more nodes than a full mesh of links serves well.
const NODES_MAX: u32 = 4096;
/// MPI programs have grids of up to four or five dimensions.
const DIMS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (text, words) in [
            ("", &[][..]),
            ("-p 22", &["-p", "22"]),
            ("  -o 'User me'  -i \"a b\"c ", &["-o", "User me", "-i", "a bc"]),
            ("''", &[""]),
        ] {
            assert_eq!(split_words(text), Ok(words.iter().map(|w| (*w).to_owned()).collect()));
        }
        assert!(split_words("-o 'x").is_err());
    }

    #[test]
    fn addresses_have_a_port() {
        for right in ["a:1", "10.0.0.1:7077", "[::1]:80"] {
            assert_eq!(host_and_port(right), Ok(right.to_owned()));
        }
        for wrong in ["", "a", ":1", "a:", "a:x", "a:70000", "::1:80", "a:b:1"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
