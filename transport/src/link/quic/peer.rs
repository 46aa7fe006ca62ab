//! What all threads share about one peer: the session with it, and the connection in use.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::connection::Link;
use crate::{
    config::{LANE_BACKLOG_BYTES_MAX, Limits, PEER_ADDRESSES_MAX},
    envelope::Envelope,
    id::{Lane, NodeId},
    lane::Session,
};

/// One peer, from its adding to its loss or leave.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) addrs: Vec<SocketAddr>,
    /// Something was queued, or may be written again, since the connection was last written to.
    pub(super) wants_write: AtomicBool,
    session: Mutex<Session>,
    /// Nothing is sent to it any more.
    is_closed: AtomicBool,
    /// The connection in use; there may be none for a while.
    link: Mutex<Option<Arc<Link>>>,
}

/// The bytes of a message, and whether they may be kept.
#[derive(Debug)]
pub(crate) enum Sent<'a> {
    Copied(&'a [u8]),
    Kept(Bytes),
}

/// What became of a message.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Pushed {
    Queued,
    /// Nothing is sent to this peer any more.
    Dropped,
    /// The first that was too much: the peer is to be given up.
    TooMuch,
}

impl Peer {
    pub(super) fn new(node: NodeId, addrs: &[SocketAddr], name: u64, limits: Limits) -> Self {
        Self {
            node,
            addrs: addrs.iter().copied().take(PEER_ADDRESSES_MAX).collect(),
            wants_write: AtomicBool::new(false),
            session: Mutex::new(Session::new(name, limits)),
            is_closed: AtomicBool::new(false),
            link: Mutex::new(None),
        }
    }

    /// Queues a message.
    pub(super) fn push(&self, lane: Lane, envelope: &Envelope, payload: Sent<'_>) -> Pushed {
        let mut session = self.session.lock();
        if self.is_closed.load(Ordering::Relaxed) {
            return Pushed::Dropped;
        }
        if session.backlog_bytes(lane) > LANE_BACKLOG_BYTES_MAX {
            self.is_closed.store(true, Ordering::Relaxed);
            return Pushed::TooMuch;
        }
        match payload {
            Sent::Copied(payload) => session.send_copied(lane, envelope, payload),
            Sent::Kept(payload) => session.send(lane, envelope, payload),
        }
        Pushed::Queued
    }

    /// Sends nothing more after what was queued.
    pub(super) fn leave(&self) {
        let mut session = self.session.lock();
        self.is_closed.store(true, Ordering::Relaxed);
        session.leave();
    }

    /// Drops what is queued and all that will be.
    pub(super) fn close(&self, limits: Limits) {
        let mut session = self.session.lock();
        self.is_closed.store(true, Ordering::Relaxed);
        *session = Session::new(1, limits);
    }

    /// The session. Locked for moments only, and no other lock is taken meanwhile.
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock()
    }

    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().clone()
    }

    /// Uses another connection, or none; the one before.
    pub(super) fn replace_link(&self, link: Option<Arc<Link>>) -> Option<Arc<Link>> {
        std::mem::replace(&mut *self.link.lock(), link)
    }

    /// Forgets the connection if it is this one; whether it was.
    pub(super) fn drop_link(&self, link: &Arc<Link>) -> bool {
        let mut current = self.link.lock();
        let is_current = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, link));
        if is_current {
            *current = None;
        }
        is_current
    }
}
