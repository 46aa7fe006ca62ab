//! Bytes between a TLS connection and a local stream.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};
use rustls::Connection;

use super::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES};

/// Bytes that are read at once, and that wait in each direction at most, twice.
const BUFFER_BYTES: usize = 64 << 10;

/// When something has to be done.
#[derive(Copy, Clone, Debug)]
pub(super) struct Deadline(pub(super) Instant);

impl Deadline {
    /// The time that is left.
    fn left(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
        }
        Ok(left)
    }
}

/// Finishes the handshake in time.
pub(super) fn complete_handshake(
    tls: &mut Connection,
    tcp: &mut TcpStream,
    deadline: Deadline,
) -> io::Result<()> {
    tcp.set_nonblocking(true)?;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&*tcp, true)?;
    sockopt::set_tcp_keepidle(&*tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(&*tcp, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(&*tcp, KEEPALIVE_PROBES)?;
    while tls.is_handshaking() {
        flush(tls, tcp, deadline)?;
        if tls.is_handshaking() {
            fill(tls, tcp, deadline)?;
        }
    }
    flush(tls, tcp, deadline)
}

/// Sends all that the connection has to send.
pub(super) fn flush(
    tls: &mut Connection,
    tcp: &mut TcpStream,
    deadline: Deadline,
) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(error) if is_blocked(&error) => wait(tcp, PollFlags::OUT, deadline.left()?)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives something.
pub(super) fn fill(
    tls: &mut Connection,
    tcp: &mut TcpStream,
    deadline: Deadline,
) -> io::Result<()> {
    loop {
        match receive(tls, tcp) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if is_blocked(&error) => wait(tcp, PollFlags::IN, deadline.left()?)?,
            Err(error) => {
                // What the other side did wrong it is told, if it can still be.
                let _ = tls.write_tls(tcp);
                return Err(error);
            }
        }
    }
}

/// Carries bytes both ways until one side ends, and then what was already said.
///
/// # Errors
/// The connection broke.
pub(super) fn relay(
    mut tls: Connection,
    mut tcp: TcpStream,
    mut local: UnixStream,
) -> io::Result<()> {
    tcp.set_nonblocking(true)?;
    local.set_nonblocking(true)?;
    tls.set_buffer_limit(None);
    let mut inward = Inward::default();
    let mut outward = vec![0; BUFFER_BYTES];
    // Something may have come along with the handshake.
    inward.take(&mut tls)?;
    let (mut local_ended, mut remote_ended) = (false, false);
    loop {
        if remote_ended && inward.is_empty() {
            return Ok(());
        }
        if local_ended && !tls.wants_write() {
            return Ok(());
        }
        let reads_tcp = inward.is_empty() && !remote_ended;
        let writes_tcp = tls.wants_write();
        let reads_local = !writes_tcp && !local_ended;
        await_any((&tcp, reads_tcp, writes_tcp), (&local, reads_local, !inward.is_empty()))?;
        if writes_tcp {
            unless_blocked(tls.write_tls(&mut tcp))?;
        }
        if !inward.is_empty() && !inward.write(&mut local) {
            // Nobody listens here any more.
            local_ended = true;
            inward = Inward::default();
        }
        if reads_tcp {
            match receive(&mut tls, &mut tcp) {
                Ok(is_open) => remote_ended = !is_open,
                Err(error) if is_blocked(&error) => {}
                Err(error) => return Err(error),
            }
            remote_ended |= inward.take(&mut tls)?;
        }
        if reads_local {
            match local.read(&mut outward) {
                Ok(0) => {
                    tls.send_close_notify();
                    local_ended = true;
                }
                Ok(count) => tls.writer().write_all(&outward[..count])?,
                Err(error) if is_blocked(&error) => {}
                Err(_) => local_ended = true,
            }
        }
    }
}

/// Bytes that have come and were not taken yet.
#[derive(Default)]
struct Inward {
    bytes: Vec<u8>,
    written: usize,
}

impl Inward {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Takes what the connection has decrypted; whether the other side has said that it ends.
    fn take(&mut self, tls: &mut Connection) -> io::Result<bool> {
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
        match tls.reader().read_to_end(&mut self.bytes) {
            Ok(_) => Ok(true),
            Err(error) if is_blocked(&error) => Ok(false),
            // It ended without a word.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Hands over what can be taken; false if nobody takes it.
    fn write(&mut self, local: &mut UnixStream) -> bool {
        match local.write(&self.bytes[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if is_blocked(&error) => {}
            Err(_) => return false,
        }
        true
    }
}

/// Reads from the socket once; false at its end.
fn receive(tls: &mut Connection, tcp: &mut TcpStream) -> io::Result<bool> {
    let count = tls.read_tls(tcp)?;
    tls.process_new_packets().map_err(io::Error::other)?;
    Ok(count > 0)
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn unless_blocked(done: io::Result<usize>) -> io::Result<()> {
    match done {
        Err(error) if !is_blocked(&error) => Err(error),
        _ => Ok(()),
    }
}

fn wait(tcp: &TcpStream, flags: PollFlags, time: Duration) -> io::Result<()> {
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    again(poll(&mut [PollFd::new(tcp, flags)], Some(&time)))
}

/// Waits until anything can be done that is wanted of the two: read and write each.
fn await_any(tcp: (&TcpStream, bool, bool), local: (&UnixStream, bool, bool)) -> io::Result<()> {
    let flags = |reads: bool, writes: bool| {
        let read = if reads { PollFlags::IN } else { PollFlags::empty() };
        read | if writes { PollFlags::OUT } else { PollFlags::empty() }
    };
    let mut waits = Vec::with_capacity(2);
    // Without a wish the end of a stream would be told again and again.
    let mut add = |fd, flags: PollFlags| {
        if !flags.is_empty() {
            waits.push(PollFd::from_borrowed_fd(fd, flags));
        }
    };
    add(tcp.0.as_fd(), flags(tcp.1, tcp.2));
    add(local.0.as_fd(), flags(local.1, local.2));
    again(poll(&mut waits, None))
}

fn again(polled: rustix::io::Result<usize>) -> io::Result<()> {
    match polled {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
