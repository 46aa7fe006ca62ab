//! A bounded queue of cache lines with many senders and one receiver.
//!
//! ```text
//! line   word 0           words 1..=3             words 4..=7
//! first  position + 1     header                  payload, up to 32 bytes
//! next   0                payload, 56 bytes       (as many lines as the payload needs)
//! ```
//! A sender claims consecutive lines by advancing `tail`, writes them, and publishes the message by
//! storing `position + 1` into the first line, last of all. The receiver knows the position it
//! expects, so that one load of one line tells whether a message is there; it never writes to the
//! lines, which therefore travel between two cores once a message. Senders look at the receiver's
//! `head` only when the ring seems full. Everything is plain atomics: a torn read is impossible.

use crossbeam_utils::CachePadded;
use faasm_mpi_shim::port::{Header, Kind, Payload, SMALL_BYTES_MAX};

use crate::atomic::{AtomicU64, CacheLine, Ordering, zeroed_lines};

/// Payload bytes of each line after the first.
const NEXT_BYTES: usize = 56;
/// Further lines of the longest message. Word by word a line costs more than a copy of its bytes, so
/// that beyond a few lines a message of its own on the heap is quicker.
const NEXT_LINES_MAX: usize = 16;
const SMALL_WORDS: usize = SMALL_BYTES_MAX / 8;

/// The senders' side of the positions, on a line of its own.
#[derive(Debug, Default)]
struct Tail {
    /// Next line to claim.
    claimed: AtomicU64,
    /// A past value of `head`: there is room at least up to it plus the capacity.
    head_seen: AtomicU64,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Ring {
    lines: Box<[CacheLine]>,
    tail: CachePadded<Tail>,
    /// First line that the receiver has not consumed.
    head: CachePadded<AtomicU64>,
}

impl Ring {
    /// A ring of `lines` lines, a power of two.
    pub(super) fn new(lines: usize) -> Self {
        assert!(lines.is_power_of_two(), "positions are masked");
        Self {
            lines: zeroed_lines(lines),
            tail: CachePadded::default(),
            head: CachePadded::default(),
        }
    }

    /// Longest payload that [`Ring::push`] accepts.
    pub(super) fn payload_bytes_max(&self) -> usize {
        SMALL_BYTES_MAX + NEXT_BYTES * NEXT_LINES_MAX.min(self.lines.len() / 4)
    }

    /// Appends a message; `false` when there is no room now.
    #[inline]
    pub(super) fn push(&self, header: &Header, payload: &[u8]) -> bool {
        debug_assert!(payload.len() <= self.payload_bytes_max(), "the caller checks the length");
        let (small, rest) = payload.split_at(payload.len().min(SMALL_BYTES_MAX));
        let chunks = rest.chunks(NEXT_BYTES);
        let Some(position) = self.claim(1 + chunks.len() as u64) else { return false };
        for (chunk, at) in chunks.zip(position + 1..) {
            let line = self.line(at);
            line.words[0].store(0, Ordering::Relaxed);
            store(&line.words[1..], chunk);
        }
        let line = self.line(position);
        let [matching, route, names] = encode(header, payload.len());
        line.words[1].store(matching, Ordering::Relaxed);
        line.words[2].store(route, Ordering::Relaxed);
        line.words[3].store(names, Ordering::Relaxed);
        store(&line.words[4..], small);
        // Sequentially consistent against the receiver's flag: see `Mailbox::set_waiting`.
        line.words[0].store(position + 1, Ordering::SeqCst);
        true
    }

    /// Takes the message at `position`, the receiver's next; gives it with the position after it.
    #[inline]
    pub(super) fn pop(&self, position: u64) -> Option<(Header, Payload, u64)> {
        let line = self.line(position);
        if line.words[0].load(Ordering::Acquire) != position + 1 {
            return None;
        }
        let (header, len) = decode([1, 2, 3].map(|word| line.words[word].load(Ordering::Relaxed)));
        let mut small = [0; SMALL_BYTES_MAX];
        load(&line.words[4..4 + SMALL_WORDS], &mut small[..len.min(SMALL_BYTES_MAX)]);
        let mut after = position + 1;
        let payload = if header.kind == Kind::Reference {
            reference(&small[..])
        } else if len <= SMALL_BYTES_MAX {
            Payload::Small(len as u8, small)
        } else {
            let mut bytes = vec![0; len].into_boxed_slice();
            bytes[..SMALL_BYTES_MAX].copy_from_slice(&small);
            for chunk in bytes[SMALL_BYTES_MAX..].chunks_mut(NEXT_BYTES) {
                load(&self.line(after).words[1..], chunk);
                after += 1;
            }
            Payload::Owned(bytes)
        };
        self.head.store(after, Ordering::Release);
        Some((header, payload, after))
    }

    /// Whether a message lies at `position`.
    #[inline]
    pub(super) fn is_ready(&self, position: u64) -> bool {
        self.line(position).words[0].load(Ordering::SeqCst) == position + 1
    }

    /// Position behind the last line that any sender has claimed.
    pub(super) fn claimed(&self) -> u64 {
        self.tail.claimed.load(Ordering::Acquire)
    }

    #[inline]
    fn claim(&self, lines: u64) -> Option<u64> {
        let capacity = self.lines.len() as u64;
        let mut position = self.tail.claimed.load(Ordering::Relaxed);
        loop {
            let end = position + lines;
            if end > self.tail.head_seen.load(Ordering::Acquire) + capacity {
                let head = self.head.load(Ordering::Acquire);
                self.tail.head_seen.fetch_max(head, Ordering::AcqRel);
                if end > head + capacity {
                    return None;
                }
            }
            let claimed = self.tail.claimed.compare_exchange_weak(
                position,
                end,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match claimed {
                Ok(_) => return Some(position),
                Err(seen) => position = seen,
            }
        }
    }

    #[inline]
    fn line(&self, position: u64) -> &CacheLine {
        &self.lines[position as usize & (self.lines.len() - 1)]
    }
}

/// The payload of a reference: address and length, 8 bytes each.
pub(super) fn reference(small: &[u8]) -> Payload {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&small[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    Payload::Reference { addr: word(0), len: word(8) }
}

#[inline]
fn store(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if let (Some(word), [_, ..]) = (words.get(whole.len()), rest) {
        let mut value = [0; 8];
        value[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
}

#[inline]
fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<8>();
    for (word, chunk) in words.iter().zip(&mut *whole) {
        *chunk = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let (Some(word), [_, ..]) = (words.get(whole.len()), &*rest) {
        let value = word.load(Ordering::Relaxed).to_le_bytes();
        rest.copy_from_slice(&value[..rest.len()]);
    }
}

/// context | tag, source | kind | length, sender | request.
#[inline]
fn encode(header: &Header, len: usize) -> [u64; 3] {
    let low = |value: i32| u64::from(value.cast_unsigned());
    [
        u64::from(header.context) << 32 | low(header.tag),
        low(header.source) << 32 | (header.kind as u64) << 24 | len as u64,
        u64::from(header.sender) << 32 | u64::from(header.request),
    ]
}

#[inline]
fn decode(words: [u64; 3]) -> (Header, usize) {
    let kind = Kind::from_number((words[1] >> 24) as u8);
    let header = Header {
        kind: kind.expect("only `encode` writes headers"),
        context: (words[0] >> 32) as u32,
        tag: (words[0] as u32).cast_signed(),
        source: ((words[1] >> 32) as u32).cast_signed(),
        sender: (words[2] >> 32) as u32,
        request: words[2] as u32,
    };
    (header, (words[1] & 0xff_ffff) as usize)
}
