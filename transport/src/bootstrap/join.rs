//! Joining over the network: a connection that lives as long as the join protocol.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, StreamEvent, StreamId, crypto::rustls::QuicClientConfig,
};

use super::{
    Build, EXPORTER_LABEL, Exporter, Joined, Token,
    joiner::{Joiner, Step},
};
use crate::{
    error::Error,
    tls::{self, COORDINATOR_NAME},
};

/// A datagram; the join protocol needs no large ones.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// The socket is read at least this often, so that timers are kept.
const READ_TIMEOUT_MAX: Duration = Duration::from_millis(100);

/// Joins the cluster whose coordinator listens at one of `addrs`, and waits until that is done or
/// `timeout` has passed at each address. `host` is what the coordinator's user sees.
///
/// # Errors
/// Nobody answers, somebody else does, or the coordinator refuses; the error says which.
pub fn join(
    addrs: &[SocketAddr],
    token: &Token,
    build: &Build,
    host: &str,
    timeout: Duration,
) -> Result<Joined, Error> {
    let mut reason = String::from("no address was given");
    for addr in addrs {
        match Attempt::new(*addr, token, build, host)?.run(Instant::now() + timeout) {
            Ok(joined) => return Ok(joined),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Unreached(why)) => reason = why,
        }
    }
    Err(Error::NotReached { addrs: addrs.to_vec(), reason })
}

/// Whether another address is worth a try.
enum Failure {
    Unreached(String),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

struct Attempt<'a> {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    addr: SocketAddr,
    joiner: Option<Joiner>,
    stream: Option<StreamId>,
    token: &'a Token,
    build: &'a Build,
    host: &'a str,
}

impl<'a> Attempt<'a> {
    fn new(
        addr: SocketAddr,
        token: &'a Token,
        build: &'a Build,
        host: &'a str,
    ) -> Result<Self, Error> {
        let local: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let failed = |cause| Error::Io { what: "a UDP socket".into(), cause };
        let socket = UdpSocket::bind(local).map_err(failed)?;
        let tls = tls::join_config(token.authority)?;
        let tls = QuicClientConfig::try_from(tls)
            .map_err(|error| Error::Certificate { reason: error.to_string() })?;
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let config = ClientConfig::new(Arc::new(tls));
        let (handle, connection) = endpoint
            .connect(Instant::now(), config, addr, COORDINATOR_NAME)
            .map_err(|error| Error::NotReached { addrs: vec![addr], reason: error.to_string() })?;
        let (joiner, stream) = (None, None);
        Ok(Self { socket, endpoint, handle, connection, addr, joiner, stream, token, build, host })
    }

    fn run(mut self, deadline: Instant) -> Result<Joined, Failure> {
        loop {
            let now = Instant::now();
            if now >= deadline {
                let why = "nobody answered: is the coordinator running, and does a firewall let UDP \
                           through?";
                return Err(Failure::Unreached(why.into()));
            }
            self.send(now);
            self.receive(now, deadline)?;
            let now = Instant::now();
            if self.connection.poll_timeout().is_some_and(|at| at <= now) {
                self.connection.handle_timeout(now);
            }
            while let Some(event) = self.connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                    self.connection.handle_event(event);
                }
            }
            while let Some(event) = self.connection.poll() {
                if let Some(joined) = self.handle_event(event)? {
                    self.connection.close(now, 0u32.into(), "joined".into());
                    self.send(now);
                    return Ok(joined);
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event) -> Result<Option<Joined>, Failure> {
        match event {
            Event::Connected => self.begin()?,
            Event::ConnectionLost { reason } => return Err(self.lost(&reason)),
            Event::Stream(StreamEvent::Readable { .. }) => return self.read(),
            _ => {}
        }
        Ok(None)
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let mut exporter = Exporter::default();
        self.connection
            .crypto_session()
            .export_keying_material(&mut exporter, EXPORTER_LABEL, &[])
            .map_err(|_| Failure::Unreached("the TLS session gave no key".into()))?;
        let joiner = Joiner::new(self.token, self.build, self.host, exporter)?;
        let stream = self.connection.streams().open(Dir::Bi);
        let stream =
            stream.ok_or(Failure::Unreached("the coordinator takes no requests".into()))?;
        self.stream = Some(stream);
        self.write(stream, &joiner.hello());
        self.joiner = Some(joiner);
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Joined>, Failure> {
        let (Some(stream), Some(joiner)) = (self.stream, &mut self.joiner) else { return Ok(None) };
        let mut received = Vec::new();
        let mut recv = self.connection.recv_stream(stream);
        if let Ok(mut chunks) = recv.read(true) {
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                received.push(chunk.bytes);
            }
            // What is to be sent is sent with the next turn.
            let _ = chunks.finalize();
        }
        for bytes in received {
            match joiner.handle_bytes(&bytes)? {
                Step::Wait => {}
                Step::Done(joined) => return Ok(Some(*joined)),
                Step::Send(bytes) => {
                    // A message is far shorter than a stream's window.
                    let _ = self.connection.send_stream(stream).write(&bytes);
                }
            }
        }
        Ok(None)
    }

    fn write(&mut self, stream: StreamId, bytes: &[u8]) {
        // A message is far shorter than a stream's window.
        let _ = self.connection.send_stream(stream).write(bytes);
    }

    fn send(&mut self, now: Instant) {
        let mut bytes = Vec::with_capacity(DATAGRAM_BYTES_MAX);
        while let Some(transmit) = self.connection.poll_transmit(now, 1, &mut bytes) {
            // A datagram that cannot be sent is a lost one: it is sent again.
            let _ = self.socket.send_to(&bytes[..transmit.size], transmit.destination);
            bytes.clear();
        }
    }

    fn receive(&mut self, now: Instant, deadline: Instant) -> Result<(), Failure> {
        let wake = self.connection.poll_timeout().unwrap_or(deadline).min(deadline);
        let pause = wake.saturating_duration_since(now);
        let pause = pause.clamp(Duration::from_millis(1), READ_TIMEOUT_MAX);
        let failed = |cause| Error::Io { what: "a UDP socket".into(), cause };
        self.socket.set_read_timeout(Some(pause)).map_err(failed)?;
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => self.handle_datagram(from, &bytes[..length]),
            Err(error) if is_quiet(&error) => {}
            Err(error) => return Err(Failure::Unreached(error.to_string())),
        }
        Ok(())
    }

    fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8]) {
        let now = Instant::now();
        let mut response = Vec::new();
        let data = BytesMut::from(bytes);
        let event = self.endpoint.handle(now, from, None, None, data, &mut response);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
    }

    fn lost(&self, reason: &ConnectionError) -> Failure {
        let refused = |reason: String| Failure::Final(Error::Refused { reason });
        match reason {
            ConnectionError::ApplicationClosed(close) => {
                refused(String::from_utf8_lossy(&close.reason).into_owned())
            }
            ConnectionError::TransportError(error) if u64::from(error.code) & !0xff == 0x100 => {
                refused(tls::explain_certificate(&error.reason))
            }
            other => Failure::Unreached(format!("{}: {other}", self.addr)),
        }
    }
}

/// Nothing arrived, or an earlier datagram found nobody: the next one may.
fn is_quiet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
    )
}
