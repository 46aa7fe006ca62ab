//! One node's end of all its links, whatever they are made of.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    bootstrap::Admission,
    config::{EndpointConfig, FRAME_PAYLOAD_BYTES_MAX, Identity, LinkStats, Turned},
    envelope::Envelope,
    error::Error,
    handler::Handler,
    id::{Lane, NodeId},
    link::{
        local::{LocalLink, LocalNetwork},
        quic::{QuicLink, Sent},
        sim::{SimLink, SimNetwork},
    },
};

/// One node's end of its links to all its peers; cheap to clone.
///
/// A handler that keeps an endpoint keeps it alive: [`shutdown`](Self::shutdown) ends it then.
#[derive(Clone)]
pub struct Endpoint(Arc<Link>);

/// What the links are made of.
enum Link {
    Local(LocalLink),
    Sim(SimLink),
    Quic(Box<QuicLink>),
}

impl Endpoint {
    /// Puts a node on a network of this process.
    ///
    /// # Errors
    /// The network has a node of that name, or no thread could be started.
    pub fn local(
        network: &LocalNetwork,
        node: NodeId,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        network.join(node, handler).map(|link| Self(Arc::new(Link::Local(link))))
    }

    /// Listens on a network.
    ///
    /// # Errors
    /// The address cannot be bound, or the certificate cannot be used.
    pub fn quic(config: EndpointConfig, handler: Arc<dyn Handler>) -> Result<Self, Error> {
        QuicLink::start(config, None, handler)
            .map(|link| Self(Arc::new(Link::Quic(Box::new(link)))))
    }

    /// Listens on a network, and lets machines that have a token join the cluster.
    ///
    /// # Errors
    /// The address cannot be bound, or the certificate cannot be used.
    pub fn admitting(
        config: EndpointConfig,
        admission: Admission,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        QuicLink::start(config, Some(admission), handler)
            .map(|link| Self(Arc::new(Link::Quic(Box::new(link)))))
    }

    /// Puts a node on a simulated network.
    ///
    /// # Errors
    /// The network has a node of that name.
    pub fn sim(
        network: &SimNetwork,
        node: NodeId,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, Error> {
        network.join(node, handler).map(|link| Self(Arc::new(Link::Sim(link))))
    }

    /// Makes a link to a peer and keeps it: the node with the larger name dials and dials again,
    /// the other waits for it. A lost peer that is added again starts anew.
    ///
    /// [`Event::PeerUp`](crate::Event::PeerUp) tells when it stands; what is sent before waits.
    pub fn add_peer(&self, peer: NodeId, addrs: &[SocketAddr]) {
        match &*self.0 {
            Link::Local(link) => {
                let _ = addrs;
                link.add_peer(peer);
            }
            Link::Sim(link) => link.add_peer(peer),
            Link::Quic(link) => link.add_peer(peer, addrs),
        }
    }

    /// Leaves a peer in order: what was sent is delivered, and the other side sees
    /// [`Event::PeerLeft`](crate::Event::PeerLeft).
    pub fn remove_peer(&self, peer: NodeId) {
        match &*self.0 {
            Link::Local(link) => link.remove_peer(peer),
            Link::Sim(link) => link.remove_peer(peer),
            Link::Quic(link) => link.remove_peer(peer),
        }
    }

    /// Sends a message. Never blocks and never fails: the order is kept per peer and lane, and
    /// what is sent to a peer that is lost or was not added is dropped.
    ///
    /// # Panics
    /// The payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    pub fn send(&self, peer: NodeId, lane: Lane, envelope: &Envelope, payload: &[u8]) {
        assert_fits(payload);
        match &*self.0 {
            Link::Local(link) => link.send(peer, lane, envelope, Bytes::copy_from_slice(payload)),
            Link::Sim(link) => link.send(peer, lane, envelope, Bytes::copy_from_slice(payload)),
            Link::Quic(link) => link.send(peer, lane, envelope, Sent::Copied(payload)),
        }
    }

    /// Sends a message as [`send`](Self::send) does, without a copy of a long payload.
    ///
    /// # Panics
    /// The payload is longer than [`FRAME_PAYLOAD_BYTES_MAX`].
    pub fn send_bytes(&self, peer: NodeId, lane: Lane, envelope: &Envelope, payload: Bytes) {
        assert_fits(&payload);
        match &*self.0 {
            Link::Local(link) => link.send(peer, lane, envelope, payload),
            Link::Sim(link) => link.send(peer, lane, envelope, payload),
            Link::Quic(link) => link.send(peer, lane, envelope, Sent::Kept(payload)),
        }
    }

    /// Hands over what has arrived and sends what waits, unless another thread does so at the
    /// moment; true when something happened. For workers that spin.
    pub fn poll(&self) -> bool {
        match &*self.0 {
            Link::Local(link) => link.poll(),
            Link::Sim(link) => link.poll(),
            Link::Quic(link) => link.poll(),
        }
    }

    /// Tells that the calling thread will not poll for a while, so that what arrives wakes the
    /// endpoint's own thread at once. Without it that thread finds out by itself, after up to a
    /// millisecond. Cheap; for workers that go to sleep.
    pub fn rest(&self) {
        if let Link::Quic(link) = &*self.0 {
            link.rest();
        }
    }

    /// Leaves all peers in order, or after `grace` in any case. Nothing is handled afterwards.
    pub fn shutdown(&self, grace: Duration) {
        match &*self.0 {
            Link::Local(link) => link.shutdown(grace),
            Link::Sim(link) => link.shutdown(grace),
            Link::Quic(link) => link.shutdown(grace),
        }
    }

    /// From now on new links are made with this certificate; those that stand go on.
    ///
    /// # Errors
    /// It is not this node's, or not valid by this machine's clock; nothing has changed then.
    pub fn renew(&self, identity: &Identity) -> Result<(), Error> {
        match &*self.0 {
            Link::Quic(link) => link.renew(identity),
            Link::Local(_) | Link::Sim(_) => Ok(()),
        }
    }

    /// How the link to a peer is doing; none while there is no connection, or inside a process.
    pub fn link_stats(&self, peer: NodeId) -> Option<LinkStats> {
        match &*self.0 {
            Link::Quic(link) => link.stats(peer),
            Link::Local(_) | Link::Sim(_) => None,
        }
    }

    /// What was turned away so far.
    pub fn turned_away(&self) -> Turned {
        match &*self.0 {
            Link::Quic(link) => link.turned_away(),
            Link::Local(_) | Link::Sim(_) => Turned::default(),
        }
    }

    /// Name of this node.
    pub fn node(&self) -> NodeId {
        match &*self.0 {
            Link::Local(link) => link.node(),
            Link::Sim(link) => link.node(),
            Link::Quic(link) => link.node(),
        }
    }

    /// Address at which others reach this node; none inside a process.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &*self.0 {
            Link::Local(_) | Link::Sim(_) => None,
            Link::Quic(link) => Some(link.local_addr()),
        }
    }

    /// Payload bytes that were sent to a peer in a lane and are not yet known to have arrived; 0
    /// for a lost one. Senders of bulk data pace themselves with it.
    pub fn backlog_bytes(&self, peer: NodeId, lane: Lane) -> usize {
        match &*self.0 {
            Link::Local(link) => link.backlog_bytes(peer, lane),
            Link::Sim(link) => link.backlog_bytes(peer, lane),
            Link::Quic(link) => link.backlog_bytes(peer, lane),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.node())
    }
}

fn assert_fits(payload: &[u8]) {
    assert!(payload.len() <= FRAME_PAYLOAD_BYTES_MAX, "a message of {} bytes", payload.len());
}
