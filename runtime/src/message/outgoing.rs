//! Messages to other nodes whose data stays here until it is asked for.
//!
//! A message is offered under a token. Its receiver's node asks for the next bytes
//! ([`Outgoing::handle_request`]); they are read in chunks ([`Outgoing::poll_chunk`]), the messages to
//! one node taking turns. Nothing can be asked for that was not offered to that very node, and
//! nothing twice. What the rank has to be told comes with the last chunk.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use faasm_mpi_shim::port::Header;

/// Bytes that are read and sent at a time.
pub(crate) const CHUNK_BYTES_MAX: u64 = 256 * 1024;

/// Where the data of an offered message is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In the memory of the sending rank, which waits, from this address on.
    Memory(u64),
    /// In a copy.
    Held(Bytes),
}

/// A message that waits to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// The node of its receiver.
    pub(crate) node: u32,
    /// The receiving rank.
    pub(crate) to: u32,
    /// The sending rank.
    pub(crate) rank: u32,
    pub(crate) source: Source,
    pub(crate) len: u64,
    /// What the sending rank is told when its data has been read, if it waits for that.
    pub(crate) answer: Option<Header>,
}

/// Bytes to read and to send.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The sending rank.
    pub(crate) rank: u32,
    pub(crate) source: Source,
    /// Position in the message, and number of bytes.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// The receiving rank and its name for the transfer.
    pub(crate) to: u32,
    pub(crate) name: u32,
    /// What the sending rank is told when this has been read.
    pub(crate) answer: Option<Header>,
}

/// What a node asks for.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) token: u64,
    /// The receiving rank and its name for the transfer.
    pub(crate) to: u32,
    pub(crate) name: u32,
    /// Number of bytes, after those asked for before.
    pub(crate) len: u64,
    /// Nothing more will be asked for.
    pub(crate) is_last: bool,
}

/// Why a node is given nothing.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum AskRefused {
    /// The token names no message for that node.
    #[error("no message {token} waits for it")]
    Unknown {
        /// The token.
        token: u64,
    },
    /// The bytes are not in the message.
    #[error("it asked for {len} bytes more of message {token}, of which {left} are left")]
    TooLong {
        /// The message.
        token: u64,
        /// Bytes asked for.
        len: u64,
        /// Bytes left.
        left: u64,
    },
}

#[derive(Debug)]
struct Waiting {
    offer: Offer,
    asked: u64,
    read: u64,
    is_last: bool,
    to: u32,
    name: u32,
    is_queued: bool,
}

impl Waiting {
    const fn new(offer: Offer) -> Self {
        Self { offer, asked: 0, read: 0, is_last: false, to: 0, name: 0, is_queued: false }
    }
}

/// Bits of a token that a node counts; the others are its number.
const TOKEN_BITS: u32 = 40;

/// The messages of one job that wait here.
#[derive(Debug)]
pub(crate) struct Outgoing {
    last_token: u64,
    waiting: HashMap<u64, Waiting>,
    /// For each node the messages that it has asked for, taking turns.
    queues: Box<[VecDeque<u64>]>,
}

impl Outgoing {
    /// No messages, on node `node` of a job of `nodes` nodes.
    ///
    /// No two nodes give the same token: an offer keeps it wherever its sender goes.
    pub(crate) fn new(node: u32, nodes: usize) -> Self {
        let queues = (0..nodes).map(|_| VecDeque::new()).collect();
        Self { last_token: u64::from(node) << TOKEN_BITS, waiting: HashMap::new(), queues }
    }

    /// Keeps a message; gives its token.
    pub(crate) fn offer(&mut self, offer: Offer) -> u64 {
        self.last_token += 1;
        // One of an earlier life of the job may have come here.
        while self.waiting.contains_key(&self.last_token) {
            self.last_token += 1;
        }
        self.waiting.insert(self.last_token, Waiting::new(offer));
        self.last_token
    }

    /// Keeps a message whose sender was elsewhere before, or in an earlier life of the job. Returns whether its token
    /// was free.
    pub(crate) fn adopt(&mut self, token: u64, offer: Offer) -> bool {
        let is_free = !self.waiting.contains_key(&token);
        if is_free {
            self.waiting.insert(token, Waiting::new(offer));
        }
        is_free
    }

    /// The messages of this rank, while the job stands still; `None` when one is being read.
    pub(crate) fn offers_of(&self, rank: u32) -> Option<Vec<(u64, Offer)>> {
        let own = self.waiting.iter().filter(|(_, waiting)| waiting.offer.rank == rank);
        let idle = |(token, waiting): (&u64, &Waiting)| {
            (waiting.asked == 0).then(|| (*token, waiting.offer.clone()))
        };
        let mut own: Vec<_> = own.map(idle).collect::<Option<_>>()?;
        own.sort_unstable_by_key(|(token, _)| *token);
        Some(own)
    }

    /// `node` asks for bytes. Gives what the sending rank is told at once, with its number, when
    /// nothing of its data is wanted.
    pub(crate) fn handle_request(
        &mut self,
        node: u32,
        ask: &Ask,
    ) -> Result<Option<(u32, Header)>, AskRefused> {
        let waiting = self.known(node, ask.token)?;
        let left = waiting.offer.len - waiting.asked;
        if waiting.is_last || ask.len > left || (ask.len == 0 && !ask.is_last) {
            return Err(AskRefused::TooLong { token: ask.token, len: ask.len, left });
        }
        waiting.asked += ask.len;
        (waiting.is_last, waiting.to, waiting.name) = (ask.is_last, ask.to, ask.name);
        if waiting.asked == waiting.read {
            let done = self.waiting.remove(&ask.token);
            return Ok(done.and_then(|done| Some((done.offer.rank, done.offer.answer?))));
        }
        if !std::mem::replace(&mut waiting.is_queued, true) {
            self.queues[node as usize].push_back(ask.token);
        }
        Ok(None)
    }

    /// `node` does not want a message any more; its sender has been told otherwise.
    pub(crate) fn handle_release(&mut self, node: u32, token: u64) -> Result<(), AskRefused> {
        self.known(node, token)?;
        self.waiting.remove(&token);
        Ok(())
    }

    /// The next bytes for `node`.
    pub(crate) fn poll_chunk(&mut self, node: u32) -> Option<Chunk> {
        let queue = self.queues.get_mut(node as usize)?;
        loop {
            let token = queue.pop_front()?;
            // One that was released in the meantime is gone.
            let Some(waiting) = self.waiting.get_mut(&token) else { continue };
            let (offset, len) = (waiting.read, (waiting.asked - waiting.read).min(CHUNK_BYTES_MAX));
            waiting.read += len;
            waiting.is_queued = waiting.read < waiting.asked;
            if waiting.is_queued {
                queue.push_back(token);
            }
            let (to, name) = (waiting.to, waiting.name);
            let is_over = waiting.is_last && !waiting.is_queued;
            let Offer { rank, source, answer, .. } = if is_over {
                self.waiting.remove(&token)?.offer
            } else {
                Offer { answer: None, ..waiting.offer.clone() }
            };
            return Some(Chunk { rank, source, offset, len, to, name, answer });
        }
    }

    /// Whether bytes that were asked for have not been read yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.queues.iter().any(|queue| !queue.is_empty())
    }

    fn known(&mut self, node: u32, token: u64) -> Result<&mut Waiting, AskRefused> {
        match self.waiting.get_mut(&token) {
            Some(waiting) if waiting.offer.node == node => Ok(waiting),
            _ => Err(AskRefused::Unknown { token }),
        }
    }
}

#[cfg(test)]
mod tests {
    use faasm_mpi_shim::port::Kind;

    use super::*;

    const ANSWER: Header =
        Header { kind: Kind::Matched, context: 1, source: 0, tag: 0, sender: 9, request: 5 };

    fn offer(len: u64) -> Offer {
        Offer { node: 1, to: 9, rank: 3, source: Source::Memory(4096), len, answer: Some(ANSWER) }
    }

    fn ask(token: u64, len: u64, is_last: bool) -> Ask {
        Ask { token, to: 9, name: 77, len, is_last }
    }

    #[test]
    fn messages_to_one_node_take_turns_and_end_with_the_answer() {
        let mut outgoing = Outgoing::new(0, 2);
        let long = outgoing.offer(offer(2 * CHUNK_BYTES_MAX + 1));
        let short = outgoing.offer(offer(10));
        assert_eq!(outgoing.handle_request(1, &ask(long, 2 * CHUNK_BYTES_MAX + 1, true)), Ok(None));
        assert_eq!(outgoing.handle_request(1, &ask(short, 4, false)), Ok(None));
        let seen: Vec<_> = std::iter::from_fn(|| outgoing.poll_chunk(1))
            .map(|chunk| (chunk.offset, chunk.len, chunk.answer))
            .collect();
        let chunk = CHUNK_BYTES_MAX;
        let expected = [(0, chunk, None), (0, 4, None), (chunk, chunk, None)];
        assert_eq!(seen[..3], expected);
        assert_eq!(seen[3..], [(2 * chunk, 1, Some(ANSWER))]);
        assert_eq!(outgoing.handle_request(1, &ask(short, 6, true)), Ok(None));
        let last = outgoing.poll_chunk(1).expect("it was asked for");
        assert_eq!((last.offset, last.len, last.answer), (4, 6, Some(ANSWER)));
        assert!(outgoing.waiting.is_empty() && outgoing.poll_chunk(1).is_none());
    }

    #[test]
    fn only_what_was_offered_is_given_and_only_to_its_node() {
        let mut outgoing = Outgoing::new(0, 3);
        let token = outgoing.offer(offer(10));
        let unknown = Err(AskRefused::Unknown { token });
        assert_eq!(outgoing.handle_request(2, &ask(token, 1, false)), unknown);
        let other = Err(AskRefused::Unknown { token: 99 });
        assert_eq!(outgoing.handle_request(1, &ask(99, 1, false)), other);
        assert_eq!(outgoing.handle_release(2, token), Err(AskRefused::Unknown { token }));
        let long = |len, left| Err(AskRefused::TooLong { token, len, left });
        assert_eq!(outgoing.handle_request(1, &ask(token, 11, true)), long(11, 10));
        assert_eq!(outgoing.handle_request(1, &ask(token, u64::MAX, true)), long(u64::MAX, 10));
        assert_eq!(outgoing.handle_request(1, &ask(token, 0, false)), long(0, 10));
        assert_eq!(outgoing.handle_request(1, &ask(token, 3, true)), Ok(None));
        assert_eq!(outgoing.handle_request(1, &ask(token, 1, true)), long(1, 7));
        assert_eq!(outgoing.handle_release(1, token), Ok(()));
        assert!(outgoing.poll_chunk(1).is_none(), "a released message is not read");
    }

    #[test]
    fn offers_keep_their_tokens_where_their_sender_goes() {
        let (mut before, mut after) = (Outgoing::new(0, 2), Outgoing::new(1, 2));
        let token = before.offer(offer(10));
        let own = before.offers_of(3).expect("nobody reads");
        assert!(before.offers_of(4).is_some_and(|none| none.is_empty()));
        let own_tokens: Vec<u64> = own.iter().map(|(token, _)| *token).collect();
        assert_eq!(own_tokens, [token]);
        assert_ne!(after.offer(offer(1)), token);
        for (token, offer) in own {
            assert!(after.adopt(token, offer.clone()) && !after.adopt(token, offer));
        }
        assert_eq!(after.handle_request(1, &ask(token, 10, true)), Ok(None));
        assert!(after.offers_of(3).is_none(), "it is being read");
    }

    #[test]
    fn a_receiver_that_wants_nothing_frees_the_sender() {
        let mut outgoing = Outgoing::new(0, 2);
        let token = outgoing.offer(offer(10));
        assert_eq!(outgoing.handle_request(1, &ask(token, 0, true)), Ok(Some((3, ANSWER))));
        assert!(outgoing.waiting.is_empty() && !outgoing.is_busy());
    }
}
