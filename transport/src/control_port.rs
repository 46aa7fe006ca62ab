//! Where a coordinator that runs on its own takes orders from users on other machines: TLS 1.3 over TCP with
//! certificates on both sides.
//!
//! What is said there is none of this module's business: to both sides a connection is a local stream, whose
//! bytes `relay` carries. The first thing that the coordinator says is its greeting:
//!
//! ```text
//! u16 length | why not, in UTF-8      length 0: go on
//! ```
//!
//! Whoever has no certificate of a user gets no byte beyond the handshake. Machines that do not finish their
//! handshake cost a thread each for a few seconds, and there are never more than [`HANDSHAKES_MAX`].

mod relay;

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustls::{ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};

use self::relay::{Deadline, complete_handshake, relay};
use crate::{
    bootstrap::Admission,
    error::{Error, Shortage},
    tls::{self, COORDINATOR_NAME, ClusterId, UserToken},
};

/// Connections that are served at once.
pub const CONNECTIONS_MAX: usize = 512;
/// Connections whose other side has not proved itself yet.
pub const HANDSHAKES_MAX: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause when no connection can be taken for the moment.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The longest reason that is read.
const REASON_BYTES_MAX: usize = 1024;
/// A silent machine is asked after this time, so often, at these intervals; then its connection is over.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 4;

/// A coordinator's port for its users.
pub struct ControlPort {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    admission: Admission,
    own: Mutex<Own>,
    cluster: ClusterId,
    handshakes: AtomicUsize,
    connections: AtomicUsize,
    refused: AtomicU64,
}

/// What the coordinator proves itself with to its users.
struct Own {
    tls: Arc<ServerConfig>,
    renew_at: Instant,
}

/// A user that has proved itself, and its connection.
#[derive(Debug)]
pub struct User {
    /// What its certificate calls it.
    pub name: String,
    /// Where it is.
    pub addr: SocketAddr,
    /// What it says and is told; the connection ends with it.
    pub stream: UnixStream,
}

impl ControlPort {
    /// Listens as the coordinator of the cluster that this admits to.
    ///
    /// # Errors
    /// The address cannot be bound, or there were no random bytes.
    pub fn bind(addr: SocketAddr, admission: Admission) -> Result<Self, Error> {
        let own = Mutex::new(Own::issue(&admission)?);
        let listener = TcpListener::bind(addr)
            .map_err(|cause| Error::Io { what: format!("TCP port {addr} for users"), cause })?;
        let shared = Shared {
            own,
            cluster: ClusterId::of_authority(admission.authority().certificate()),
            admission,
            handshakes: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Connections that were refused.
    pub fn refused_count(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Serves for ever: calls `serve` for each user, in a thread of its own.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn serve(&self, serve: impl Fn(User) + Clone + Send + 'static) -> io::Result<()> {
        loop {
            let (tcp, addr) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
                Err(error) => {
                    tracing::warn!("no user can be served: {}", Shortage(&error));
                    thread::sleep(RETRY_INTERVAL);
                    continue;
                }
            };
            let Some(handshake) = Counted::new(&self.shared, Kind::Handshake) else {
                self.shared.refuse(addr, "too many machines connect at once");
                continue;
            };
            let (shared, serve) = (Arc::clone(&self.shared), serve.clone());
            let run = move || {
                if let Err(reason) = shared.serve_one(tcp, addr, handshake, serve) {
                    shared.refuse(addr, &reason);
                }
            };
            if let Err(error) = thread::Builder::new().name("faasm-user".to_owned()).spawn(run) {
                tracing::warn!(%error, "a user cannot be served: no thread can be had; check `ulimit -u`");
            }
        }
    }
}

impl fmt::Debug for ControlPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPort").field("addr", &self.local_addr()).finish_non_exhaustive()
    }
}

impl Own {
    fn issue(admission: &Admission) -> Result<Self, Error> {
        let (identity, renew_at) = admission.issue_own()?;
        Ok(Self { tls: Arc::new(tls::user_server_config(&identity)?), renew_at })
    }
}

impl Shared {
    /// The settings of a connection that is made now, with a new certificate if it is time.
    fn tls(&self) -> Arc<ServerConfig> {
        let mut own = self.own.lock();
        if own.renew_at <= Instant::now() {
            match Own::issue(&self.admission) {
                Ok(new) => *own = new,
                // The next connection tries again.
                Err(error) => tracing::warn!(%error, "the port for users has no new certificate"),
            }
        }
        Arc::clone(&own.tls)
    }

    fn refuse(&self, addr: SocketAddr, reason: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%addr, reason, "a user was turned away");
    }

    /// Serves one connection to its end.
    fn serve_one(
        self: &Arc<Self>,
        mut tcp: TcpStream,
        addr: SocketAddr,
        handshake: Counted,
        serve: impl Fn(User) + Send + 'static,
    ) -> Result<(), String> {
        let deadline = Deadline(Instant::now() + HANDSHAKE_TIME_MAX);
        let mut tls: Connection =
            ServerConnection::new(self.tls()).map_err(|error| error.to_string())?.into();
        complete_handshake(&mut tls, &mut tcp, deadline)
            .map_err(|error| tls::explain_certificate(&error.to_string()))?;
        let certificate = tls.peer_certificates().and_then(<[_]>::first);
        let user = certificate.and_then(|certificate| tls::named_user(certificate, self.cluster));
        let mut refuse = |reason: &str| {
            // The other side may be gone.
            let _ = greet(&mut tls, &mut tcp, reason);
            Err(reason.to_owned())
        };
        let Some(name) = user else { return refuse("its certificate is not that of a user") };
        let Some(connection) = Counted::new(self, Kind::Connection) else {
            return refuse("the coordinator serves as many users as it can; try again later");
        };
        drop(handshake);
        let (ours, stream) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return refuse(&format!("the coordinator: {}", Shortage(&error))),
        };
        greet(&mut tls, &mut tcp, "").map_err(|error| error.to_string())?;
        tracing::info!(user = name, %addr, "a user has connected");
        let user = User { name, addr, stream };
        thread::Builder::new()
            .name("faasm-serve".to_owned())
            .spawn(move || serve(user))
            .map_err(|error| format!("no thread can be had ({error}); check `ulimit -u`"))?;
        let end = relay(tls, tcp, ours);
        tracing::debug!(%addr, ?end, "a user has gone");
        drop(connection);
        Ok(())
    }
}

/// Speaks to the coordinator whose control port is at one of `addrs`; gives the stream on which it is spoken
/// to.
///
/// # Errors
/// Nobody answers at any address within `timeout`, or the coordinator refuses; the error says why.
pub fn connect(
    addrs: &[SocketAddr],
    token: &UserToken,
    timeout: Duration,
) -> Result<UnixStream, Error> {
    let config = Arc::new(token.client_config()?);
    let mut reason = "no address was given".to_owned();
    for addr in addrs {
        let tcp = match TcpStream::connect_timeout(addr, timeout) {
            Ok(tcp) => tcp,
            Err(error) => {
                reason = format!(
                    "{error}; is a coordinator running there (`faasm-run cluster init`), and does a \
                     firewall let TCP through?"
                );
                continue;
            }
        };
        let name = ServerName::try_from(COORDINATOR_NAME).expect("it is a name");
        let tls = ClientConnection::new(Arc::clone(&config), name)
            .map_err(|error| Error::Certificate { reason: error.to_string() })?;
        return begin(tls.into(), tcp, Deadline(Instant::now() + timeout));
    }
    Err(Error::NotReached { addrs: addrs.to_vec(), reason })
}

/// The user's side once there is a connection.
fn begin(mut tls: Connection, mut tcp: TcpStream, deadline: Deadline) -> Result<UnixStream, Error> {
    let refused =
        |error: io::Error| Error::Refused { reason: tls::explain_certificate(&error.to_string()) };
    complete_handshake(&mut tls, &mut tcp, deadline).map_err(refused)?;
    let reason = read_greeting(&mut tls, &mut tcp, deadline).map_err(refused)?;
    if !reason.is_empty() {
        return Err(Error::Refused { reason });
    }
    let failed = |cause| Error::Io { what: "a connection to the coordinator".into(), cause };
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let run = move || {
        let end = relay(tls, tcp, theirs);
        tracing::debug!(?end, "the connection to the coordinator has ended");
    };
    thread::Builder::new().name("faasm-relay".to_owned()).spawn(run).map_err(failed)?;
    Ok(ours)
}

fn greet(tls: &mut Connection, tcp: &mut TcpStream, reason: &str) -> io::Result<()> {
    let length = u16::try_from(reason.len()).unwrap_or(u16::MAX);
    tls.writer().write_all(&length.to_le_bytes())?;
    tls.writer().write_all(&reason.as_bytes()[..usize::from(length)])?;
    relay::flush(tls, tcp, Deadline(Instant::now() + HANDSHAKE_TIME_MAX))
}

/// What the coordinator says first.
fn read_greeting(
    tls: &mut Connection,
    tcp: &mut TcpStream,
    deadline: Deadline,
) -> io::Result<String> {
    let mut read = |wanted: usize| {
        let mut bytes = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            match tls.reader().read(&mut bytes[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    relay::fill(tls, tcp, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    };
    let length = read(2)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let reason = read(length.min(REASON_BYTES_MAX))?;
    let text = String::from_utf8_lossy(&reason);
    Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// One of a bounded number; it counts as long as it lives.
struct Counted(Arc<Shared>, Kind);

#[derive(Copy, Clone)]
enum Kind {
    Handshake,
    Connection,
}

impl Kind {
    fn of(self, shared: &Shared) -> (&AtomicUsize, usize) {
        match self {
            Self::Handshake => (&shared.handshakes, HANDSHAKES_MAX),
            Self::Connection => (&shared.connections, CONNECTIONS_MAX),
        }
    }
}

impl Counted {
    fn new(shared: &Arc<Shared>, kind: Kind) -> Option<Self> {
        let (count, max) = kind.of(shared);
        let more = |count: usize| (count < max).then_some(count + 1);
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Self(Arc::clone(shared), kind))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.of(&self.0).0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
