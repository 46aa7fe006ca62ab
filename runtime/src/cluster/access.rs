//! Opening a cluster on a network, and joining one.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use faasm_transport::config::{Identity, Timing};
use faasm_transport::control_port::ControlPort;
use faasm_transport::tls::CERTIFICATE_LIFETIME;
use faasm_transport::{Admission, Authority, Build, Endpoint, EndpointConfig, NodeId, Token};
use faasm_vm::ContentHash;

use super::coordinator::{Certifier, Cluster};
use super::error::ClusterError;
use super::node::{Node, NodeOptions, Renewal};
use crate::runtime::Runtime;

/// Bytes of the executable's beginning and end that tell builds apart.
const BUILD_BYTES: u64 = 64 << 10;
/// Heartbeats between the last sign of life of a node and its loss.
const HEARTBEATS: u32 = 5;

/// How a coordinator is opened.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where nodes find it; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The file with the cluster's authority, made if it is not there; one that lives as long as
    /// the coordinator if `None`.
    pub authority: Option<PathBuf>,
    /// A node from which nothing is heard for this long is lost. Default 5 s.
    pub node_timeout: Duration,
    /// How long certificates are valid, those of nodes and the coordinator's own. Each is renewed when two thirds of
    /// this are over. Default one day.
    pub certificate_lifetime: Duration,
    /// Tokens that were made elsewhere. They are known before the first node can ask: one that is there earlier
    /// than its coordinator is not refused.
    pub tokens: Vec<SharedToken>,
}

/// A token that was made before the coordinator that accepts it: a secret of 64 hexadecimal digits that nodes
/// know, too.
#[derive(Clone, Debug)]
pub struct SharedToken {
    token: Token,
    valid: Duration,
    uses: u32,
}

impl SharedToken {
    /// Lets so many machines join in this time, which begins when the cluster is opened.
    ///
    /// # Errors
    /// This is no token.
    pub fn new(token: &str, valid: Duration, uses: u32) -> Result<Self, ClusterError> {
        Ok(Self { token: Token::from_str(token)?, valid, uses })
    }
}

impl ClusterOptions {
    /// The defaults, listening at this address.
    pub const fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            authority: None,
            node_timeout: Duration::from_secs(5),
            certificate_lifetime: CERTIFICATE_LIFETIME,
            tokens: Vec::new(),
        }
    }
}

/// How a machine becomes a node.
#[derive(Clone)]
pub struct JoinOptions {
    /// Where the coordinator may be found, as `host:port`, tried in this order.
    pub coordinator: Vec<String>,
    /// The token, a secret.
    pub token: String,
    /// What the node is called; as its machine if `None`.
    pub name: Option<String>,
    /// Where other nodes reach it; at all addresses of the machine, any port, if `None`.
    pub listen: Option<String>,
    /// Ranks that it offers to take.
    pub slots: Option<u32>,
    /// A coordinator or node from which nothing is heard for this long is lost. Default 5 s.
    pub node_timeout: Duration,
    /// How long each address is tried.
    pub patience: Duration,
}

impl fmt::Debug for JoinOptions {
    /// All but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coordinator, token: _, name, listen, slots, node_timeout, patience } = self;
        f.debug_struct("JoinOptions")
            .field("coordinator", coordinator)
            .field("name", name)
            .field("listen", listen)
            .field("slots", slots)
            .field("node_timeout", node_timeout)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

impl JoinOptions {
    /// The defaults, for a coordinator at one of these addresses.
    pub fn new(coordinator: Vec<String>, token: impl Into<String>) -> Self {
        Self {
            coordinator,
            token: token.into(),
            name: None,
            listen: None,
            slots: None,
            node_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(10),
        }
    }
}

impl Cluster {
    /// Opens a cluster: from now on machines that have a token can join.
    ///
    /// # Errors
    /// The address cannot be listened at, the authority's file cannot be used, or there are too many tokens.
    pub fn open(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let authority = authority(options.authority.as_deref())?;
        let admission = Admission::with_lifetime(authority, build(), options.certificate_lifetime);
        for SharedToken { token, valid, uses } in &options.tokens {
            admission.accept(token, *valid, *uses)?;
        }
        let (identity, renew_at) = admission.issue_own()?;
        let config = config(options.listen, NodeId::COORDINATOR, identity, options.node_timeout);
        let admits = admission.clone();
        let certifier = Certifier::new(admission, renew_at);
        Self::start(Some(certifier), |handler| Endpoint::admitting(config, admits, handler))
    }

    /// Makes a token with which so many machines can join in this time. It is a secret: hand it over
    /// in a file or through a pipe.
    ///
    /// # Errors
    /// This cluster is inside one process, or too many tokens are open.
    pub fn issue_token(&self, valid: Duration, uses: u32) -> Result<String, ClusterError> {
        let admission = self.admission().ok_or(ClusterError::NotOpen)?;
        Ok(admission.issue_token(valid, uses)?.reveal())
    }

    /// Makes a token with which the cluster's user can give it jobs and orders from another machine in this time,
    /// where a [`ClusterServer`](crate::ClusterServer) serves it. It is a secret.
    ///
    /// # Errors
    /// This cluster is inside one process.
    pub fn issue_user_token(&self, valid: Duration) -> Result<String, ClusterError> {
        let admission = self.admission().ok_or(ClusterError::NotOpen)?;
        Ok(admission.authority().issue_user(valid)?.reveal())
    }

    /// The port for users on other machines: TCP, at the address at which nodes find the coordinator over UDP.
    pub(crate) fn open_control_port(&self) -> Result<Option<ControlPort>, ClusterError> {
        let (Some(admission), Some(address)) = (self.admission(), self.address()) else {
            return Ok(None);
        };
        Ok(Some(ControlPort::bind(address, admission.clone())?))
    }

    /// Attempts to join that were refused.
    pub fn refused_count(&self) -> u64 {
        self.admission().map_or(0, Admission::refused_count)
    }
}

impl Node {
    /// Joins a cluster, as a node whose ranks run on `runtime`.
    ///
    /// # Errors
    /// The coordinator cannot be found or refuses; the error says why, and what to do.
    pub fn join(runtime: Runtime, options: &JoinOptions) -> Result<Self, ClusterError> {
        let token = Token::from_str(&options.token)?;
        let coordinator = resolve_all(&options.coordinator)?;
        let host = options.name.clone().unwrap_or_else(own_name);
        let joined = faasm_transport::bootstrap::join(
            &coordinator,
            &token,
            &build(),
            &host,
            options.patience,
        )?;
        let bind = match &options.listen {
            Some(address) => resolve(address)?.first().copied().unwrap_or(ANY),
            None => bind_towards(coordinator.first()),
        };
        let authority = joined.identity.authority.clone();
        let renewal = Some(Renewal::new(authority, joined.valid, Instant::now()));
        let config = config(bind, joined.node, joined.identity, options.node_timeout);
        let options = NodeOptions { host, slots: options.slots, coordinator, renewal };
        Self::start(runtime, options, |handler| Endpoint::quic(config, handler))
    }
}

fn config(
    bind: SocketAddr,
    node: NodeId,
    identity: Identity,
    node_timeout: Duration,
) -> EndpointConfig {
    let timing = Timing {
        heartbeat_interval: node_timeout / HEARTBEATS,
        lost_after: node_timeout,
        ..Timing::default()
    };
    EndpointConfig { timing, ..EndpointConfig::new(bind, node, identity) }
}

/// The authority in a file, which is made if it is not there; without a file one for this time only.
fn authority(path: Option<&Path>) -> Result<Authority, ClusterError> {
    let Some(path) = path else { return Ok(Authority::new()?) };
    if path.exists() {
        return Ok(Authority::load(path)?);
    }
    let authority = Authority::new()?;
    authority.save(path)?;
    Ok(authority)
}

/// What tells this program from others: its version, and its executable's length, beginning (which
/// holds the linker's build identifier) and end.
pub(crate) fn build() -> Build {
    let marks = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open("/proc/self/exe")?;
        let length = file.metadata()?.len();
        let mut bytes = length.to_le_bytes().to_vec();
        file.by_ref().take(BUILD_BYTES).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(length.saturating_sub(BUILD_BYTES)))?;
        file.take(BUILD_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // Without them the version alone must do.
    let marks = marks().unwrap_or_default();
    let hash = ContentHash::of(&marks).to_string();
    Build::new(env!("CARGO_PKG_VERSION"), &hash[..16])
}

fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn resolve(address: &str) -> Result<Vec<SocketAddr>, ClusterError> {
    let failed = |cause| ClusterError::Address { address: address.to_owned(), cause };
    Ok(address.to_socket_addrs().map_err(failed)?.collect())
}

/// All that can be resolved; an error if nothing can.
pub(crate) fn resolve_all(addresses: &[String]) -> Result<Vec<SocketAddr>, ClusterError> {
    let (mut found, mut failure) = (Vec::new(), None);
    for address in addresses {
        match resolve(address) {
            Ok(more) => found.extend(more),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Where a node listens that is not told: on all its addresses, also if it reaches its coordinator on this
/// machine, because other nodes may come from elsewhere.
fn bind_towards(coordinator: Option<&SocketAddr>) -> SocketAddr {
    match coordinator.map(SocketAddr::ip) {
        Some(IpAddr::V6(_)) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        _ => ANY,
    }
}

/// Any port on all addresses.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_the_same_each_time() {
        assert_eq!(build(), build());
        assert!(build().to_string().contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn tokens_are_not_printed() {
        let options = JoinOptions::new(vec!["head:7077".into()], "00ff".repeat(16));
        let shared = SharedToken::new(&options.token, Duration::from_secs(1), 1).expect("a secret");
        let text = format!("{options:?} {shared:?}");
        assert!(text.contains("head:7077") && !text.contains("00ff"), "{text}");
    }

    #[test]
    fn a_node_listens_where_others_reach_it() {
        let bind = |text: &str| bind_towards(Some(&text.parse().expect("an address"))).to_string();
        assert_eq!(bind("127.0.0.1:7"), "0.0.0.0:0");
        assert_eq!(bind("[::1]:7"), "[::]:0");
        assert_eq!(bind("10.0.0.1:7"), "0.0.0.0:0");
        assert_eq!(bind("[fd00::1]:7"), "[::]:0");
    }

    #[test]
    fn one_address_that_resolves_is_enough() {
        let found = resolve_all(&["no such host:1".into(), "127.0.0.1:7".into()]);
        assert_eq!(found.expect("one resolves").len(), 1);
        let error = resolve_all(&["no such host:1".into()]).expect_err("none does");
        assert!(error.to_string().contains("no such host:1"), "{error}");
    }
}
