//! The UDP socket that all links of an endpoint share.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
};

use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::sockopt;

use crate::error::Error;

/// The largest batch of datagrams that the kernel takes or gives as one buffer.
const BATCH_BYTES_MAX: usize = 65_507;
/// Batches that one system call reads.
const BATCHES_MAX: usize = 4;
/// What the kernel is asked to buffer in each direction; it may grant less.
const SOCKET_BUFFER_BYTES: usize = 32 << 20;

/// A socket that sends and receives batches of datagrams.
#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// Where datagrams are received to.
#[derive(Default)]
pub(super) struct Buffers {
    bytes: Box<[u8]>,
    metas: [RecvMeta; BATCHES_MAX],
}

/// Datagrams from one sender: all but the last of equal length.
pub(super) struct Batch<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) ecn: Option<quinn_proto::EcnCodepoint>,
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
}

impl Socket {
    pub(super) fn bind(addr: SocketAddr) -> Result<Self, Error> {
        let failed = |cause| Error::Io { what: format!("UDP port {addr}"), cause };
        let io = UdpSocket::bind(addr).map_err(failed)?;
        let local = io.local_addr().map_err(failed)?;
        let state = UdpSocketState::new(UdpSockRef::from(&io)).map_err(failed)?;
        enlarge_buffers(&io).map_err(failed)?;
        Ok(Self { io, state, local })
    }

    /// Sends a batch; false if it has to be tried again later.
    pub(super) fn send(&self, transmit: &quinn_proto::Transmit, bytes: &[u8]) -> bool {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        // Other errors are as good as lost datagrams: the connection finds out.
        self.state.send(UdpSockRef::from(&self.io), &transmit).is_ok()
    }

    /// Reads what has arrived; the number of batches, none if nothing has.
    pub(super) fn receive(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let mut slices = buffers.bytes.chunks_exact_mut(BATCH_BYTES_MAX + 1).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCHES_MAX] =
            std::array::from_fn(|_| slices.next().expect("one buffer per batch"));
        match self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut buffers.metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Datagrams of `mtu` bytes that may be sent as one batch.
    pub(super) fn batch_datagrams(&self, mtu: u16) -> usize {
        (BATCH_BYTES_MAX / usize::from(mtu).max(1)).clamp(1, self.state.max_gso_segments())
    }

    /// The address in the family of the socket: one of IPv6 reaches IPv4 by other names.
    pub(super) fn reachable(&self, remote: SocketAddr) -> SocketAddr {
        match remote.ip() {
            IpAddr::V4(ip) if self.local.is_ipv6() => (ip.to_ipv6_mapped(), remote.port()).into(),
            _ => remote,
        }
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl Buffers {
    pub(super) fn new() -> Self {
        let bytes = vec![0; BATCHES_MAX * (BATCH_BYTES_MAX + 1)].into_boxed_slice();
        Self { bytes, metas: [RecvMeta::default(); BATCHES_MAX] }
    }

    /// Whether more may be waiting after `count` batches were read.
    pub(super) fn is_full(&self, count: usize) -> bool {
        count == self.metas.len()
    }

    /// The batches that the last call of [`Socket::receive`] counted.
    pub(super) fn batches(&self, count: usize) -> impl Iterator<Item = Batch<'_>> {
        let buffers = self.bytes.chunks_exact(BATCH_BYTES_MAX + 1);
        buffers.zip(&self.metas).take(count).map(|(bytes, meta)| Batch {
            from: meta.addr,
            to: meta.dst_ip,
            ecn: meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8)),
            bytes: &bytes[..meta.len.min(bytes.len())],
            stride: meta.stride,
        })
    }
}

/// The payload of a datagram that fits the way to `remote`, as far as this machine knows it.
pub(super) fn first_hop_payload(remote: SocketAddr) -> Option<u16> {
    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
    let unspecified: IpAddr = match remote {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = UdpSocket::bind((unspecified, 0)).ok()?;
    probe.connect(remote).ok()?;
    let payload = match remote {
        SocketAddr::V4(_) => sockopt::ip_mtu(&probe).ok()?.checked_sub(IPV4_HEADERS_BYTES)?,
        SocketAddr::V6(_) => sockopt::ipv6_mtu(&probe).ok()?.checked_sub(IPV6_HEADERS_BYTES)?,
    };
    Some(u16::try_from(payload).unwrap_or(u16::MAX).min(BATCH_BYTES_MAX as u16))
}

/// IP and UDP headers.
const IPV4_HEADERS_BYTES: u32 = 28;
const IPV6_HEADERS_BYTES: u32 = 48;

/// Asks for large buffers: with the privilege that exceeds the system's limit, else up to it.
fn enlarge_buffers(io: &UdpSocket) -> io::Result<()> {
    if sockopt::set_socket_recv_buffer_size_force(io, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(io, SOCKET_BUFFER_BYTES)?;
    }
    if sockopt::set_socket_send_buffer_size_force(io, SOCKET_BUFFER_BYTES).is_err() {
        sockopt::set_socket_send_buffer_size(io, SOCKET_BUFFER_BYTES)?;
    }
    Ok(())
}
