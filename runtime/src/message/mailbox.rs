//! One rank's mailbox: the ring, and an overflow that keeps the order.
//!
//! A message that finds the ring full, or is too long for it, goes to the overflow, and while the
//! overflow holds anything every further message follows it there. The receiver empties the ring
//! first and then, under the overflow's lock, the ring once more and the overflow. So messages of
//! one sender are taken in the order in which they were sent.
//!
//! The overflow takes what it is given, but says when it is full, and senders then send nothing more that they
//! need not wait for.

use std::collections::VecDeque;

use crossbeam_utils::CachePadded;
use faasm_mpi_shim::port::{Header, Kind, Message, Payload};

use super::ring::{Ring, reference};
use crate::atomic::{AtomicBool, AtomicUsize, Mutex, Ordering, yield_now};

/// Messages in the overflow from which on senders are asked to let the receiver run.
const CONGESTED_MESSAGES: usize = 256;

/// Bytes in the overflow from which on it is full.
const OVERFLOW_BYTES_MAX: usize = 64 << 20;
/// What a message takes there beside its data.
const MESSAGE_BYTES: usize = 128;

/// Where messages for one rank arrive.
#[derive(Debug)]
pub(crate) struct Mailbox {
    ring: Ring,
    overflow: Mutex<Overflow>,
    /// On a line of its own: the receiver looks at it all the time, while senders take the lock.
    shown: CachePadded<Shown>,
    /// The receiver is suspended, or about to be, until something arrives.
    waiting: CachePadded<AtomicBool>,
}

#[derive(Debug, Default)]
struct Overflow {
    messages: VecDeque<Message>,
    bytes: usize,
}

/// What everybody may know of a mailbox without its lock.
#[derive(Debug, Default)]
struct Shown {
    overflow_len: AtomicUsize,
    /// The receiver does not come to empty the overflow.
    is_overfull: AtomicBool,
    /// The receiver has taken much that it does not want yet.
    is_full: AtomicBool,
}

impl Mailbox {
    /// A mailbox whose ring has `lines` cache lines, a power of two.
    pub(crate) fn new(lines: usize) -> Self {
        Self {
            ring: Ring::new(lines),
            overflow: Mutex::default(),
            shown: CachePadded::default(),
            waiting: CachePadded::new(AtomicBool::new(false)),
        }
    }

    /// Appends a message with a copy of `payload`.
    #[inline]
    pub(crate) fn push(&self, header: Header, payload: &[u8]) {
        let fits = payload.len() <= self.ring.payload_bytes_max()
            && self.shown.overflow_len.load(Ordering::Acquire) == 0;
        if !(fits && self.ring.push(&header, payload)) {
            let payload = match header.kind {
                Kind::Reference => reference(payload),
                _ => Payload::copied(payload),
            };
            self.push_overflow(Message { header, payload });
        }
    }

    /// Appends a message that carries or refers to its payload already.
    pub(crate) fn push_overflow(&self, message: Message) {
        let mut overflow = self.overflow.lock();
        overflow.bytes += message.payload.bytes().len() + MESSAGE_BYTES;
        overflow.messages.push_back(message);
        if overflow.bytes > OVERFLOW_BYTES_MAX {
            self.shown.is_overfull.store(true, Ordering::Relaxed);
        }
        self.shown.overflow_len.store(overflow.messages.len(), Ordering::SeqCst);
    }

    /// Whether nothing more may be sent here that its sender does not wait for.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.shown.is_overfull.load(Ordering::Relaxed) || self.shown.is_full.load(Ordering::Relaxed)
    }

    /// The receiver has, or has not, too much that it does not want yet.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.shown.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether so much is queued that a sender should let the receiver run.
    pub(crate) fn is_congested(&self) -> bool {
        self.shown.overflow_len.load(Ordering::Relaxed) > CONGESTED_MESSAGES
    }

    /// Declares that the receiver is about to suspend. It must look for messages once more.
    ///
    /// The flag, the publication of a message (or of a site's epoch) and both looks at them are
    /// sequentially consistent: so either the receiver sees the message or the sender the flag.
    pub(crate) fn set_waiting(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// Whether the receiver is suspended and nothing has woken it yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// The receiver runs again.
    pub(crate) fn clear_waiting(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Whether the receiver was waiting. Two callers at once may both be told so; waking twice is harmless.
    ///
    /// What the receiver shall see was published before.
    #[inline]
    pub(crate) fn take_waiting(&self) -> bool {
        let waiting = self.waiting.load(Ordering::SeqCst);
        if waiting {
            self.waiting.store(false, Ordering::Release);
        }
        waiting
    }
}

/// The receiving end; there is one for each mailbox.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    position: u64,
    /// Messages taken out of the overflow, in order, before anything still in the ring.
    drained: VecDeque<Message>,
}

impl Reader {
    /// Whether a message can be taken.
    #[inline]
    pub(crate) fn is_ready(&self, mailbox: &Mailbox) -> bool {
        mailbox.ring.is_ready(self.position)
            || !self.drained.is_empty()
            || mailbox.shown.overflow_len.load(Ordering::SeqCst) != 0
    }

    /// Takes the next message.
    #[inline]
    pub(crate) fn pop(&mut self, mailbox: &Mailbox) -> Option<Message> {
        if !self.drained.is_empty() {
            return self.drained.pop_front();
        }
        if let Some((header, payload, after)) = mailbox.ring.pop(self.position) {
            self.position = after;
            return Some(Message { header, payload });
        }
        if mailbox.shown.overflow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.drain(mailbox);
        self.drained.pop_front()
    }

    /// Takes everything, ring first, while no sender can pass from the overflow back to the ring.
    fn drain(&mut self, mailbox: &Mailbox) {
        let mut overflow = mailbox.overflow.lock();
        // Whoever has claimed lines by now may have sent before something in the overflow.
        let claimed = mailbox.ring.claimed();
        while self.position < claimed {
            match mailbox.ring.pop(self.position) {
                Some((header, payload, after)) => {
                    self.position = after;
                    self.drained.push_back(Message { header, payload });
                }
                // A sender on another thread is between its claim and its publication.
                None => yield_now(),
            }
        }
        self.drained.append(&mut overflow.messages);
        if std::mem::take(&mut overflow.bytes) > OVERFLOW_BYTES_MAX {
            mailbox.shown.is_overfull.store(false, Ordering::Relaxed);
        }
        mailbox.shown.overflow_len.store(0, Ordering::Release);
    }
}
