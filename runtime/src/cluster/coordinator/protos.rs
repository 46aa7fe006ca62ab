//! The Proto-Faaslets of a cluster's programs: one node makes each, the others get it from here.
//!
//! ```text
//! node                                        coordinator
//!  |-- ProtoWanted --------------------------> |
//!  | <----------------------- Proto { Make } --|   to the first that asks; the others wait
//!  |-- ProtoMade, chunks --------------------> |
//!  | <---------------------- Proto { Ready } --|   to those that wait, and from now on at once
//! ```
//! Where nothing comes of making it, it is the turn of the next that waits; one that cannot be sent each node makes for itself.
//! Pure.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use faasm_transport::NodeId;
use faasm_vm::ContentHash;

use crate::cluster::message::{CHUNK_BYTES_MAX, PROTO_BYTES_MAX, ToNode};
use crate::cluster::offer::{Offer, ProtoMade, ProtoName, ProtoTurn};

/// Bytes of all protos that are kept.
const KEPT_BYTES_MAX: u64 = 256 << 20;
/// Programs whose protos are known of.
const KNOWN_MAX: usize = 1024;

/// What is to be told to whom.
pub(super) type Told = Vec<(NodeId, ToNode)>;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Protos {
    known: HashMap<ProtoName, Known>,
    /// Counts what was asked for, so that the proto that was not for longest goes first.
    asked: u64,
}

#[derive(Debug)]
struct Known {
    state: State,
    asked: u64,
}

#[derive(Debug)]
enum State {
    /// A node makes it, and the others wait.
    Making { maker: NodeId, waiting: Vec<NodeId>, arriving: Option<Arriving> },
    /// Here it is.
    Ready { offer: Offer, bytes: Bytes },
    /// Each node makes its own.
    Each,
}

#[derive(Debug)]
struct Arriving {
    offer: Offer,
    bytes: BytesMut,
}

impl Protos {
    /// A node wants a proto.
    pub(super) fn handle_want(&mut self, from: NodeId, name: ProtoName) -> Told {
        self.asked += 1;
        let asked = self.asked;
        if !self.known.contains_key(&name) {
            if !self.make_room(0) {
                // What nobody keeps count of each makes for itself.
                return vec![turn(from, name, ProtoTurn::Make)];
            }
            let state = State::Making { maker: from, waiting: Vec::new(), arriving: None };
            self.known.insert(name, Known { state, asked });
            return vec![turn(from, name, ProtoTurn::Make)];
        }
        let Some(known) = self.known.get_mut(&name) else { return Vec::new() };
        known.asked = asked;
        match &mut known.state {
            // It has lost what it made, or began to make, and asks as another job.
            State::Making { maker, .. } if *maker == from => {
                vec![turn(from, name, ProtoTurn::Make)]
            }
            State::Making { waiting, .. } => {
                if !waiting.contains(&from) {
                    waiting.push(from);
                }
                Vec::new()
            }
            State::Ready { offer, .. } => vec![turn(from, name, ProtoTurn::Ready(*offer))],
            State::Each => vec![turn(from, name, ProtoTurn::Make)],
        }
    }

    /// A node has made a proto, or not.
    pub(super) fn handle_made(&mut self, from: NodeId, name: ProtoName, made: ProtoMade) -> Told {
        let fits = |offer: &Offer| (1..=PROTO_BYTES_MAX).contains(&offer.bytes);
        let has_room = match &made {
            ProtoMade::Offered(offer) => fits(offer) && self.make_room(offer.bytes),
            ProtoMade::Unsendable | ProtoMade::Nothing => true,
        };
        let Some(known) = self.known.get_mut(&name) else { return Vec::new() };
        let State::Making { maker, waiting, arriving } = &mut known.state else {
            return Vec::new();
        };
        if *maker != from {
            return Vec::new();
        }
        match made {
            ProtoMade::Offered(offer) if has_room => {
                *arriving = Some(Arriving { offer, bytes: BytesMut::new() });
                Vec::new()
            }
            ProtoMade::Nothing if waiting.is_empty() => {
                self.known.remove(&name);
                Vec::new()
            }
            ProtoMade::Nothing => {
                *maker = waiting.remove(0);
                vec![turn(*maker, name, ProtoTurn::Make)]
            }
            ProtoMade::Offered(_) | ProtoMade::Unsendable => {
                self.become_known(name, State::Each, ProtoTurn::Make)
            }
        }
    }

    /// Bytes of a proto have come.
    ///
    /// # Errors
    /// They are not those that were offered.
    pub(super) fn handle_chunk(
        &mut self,
        from: NodeId,
        hash: [u8; 32],
        offset: u64,
        chunk: &[u8],
    ) -> Result<Told, &'static str> {
        let is_its = |known: &Known| match &known.state {
            State::Making { maker, arriving: Some(arriving), .. } => {
                *maker == from && arriving.offer.hash == hash
            }
            _ => false,
        };
        let found = self.known.iter_mut().find(|(_, known)| is_its(known));
        let Some((&name, Known { state: State::Making { arriving: Some(arriving), .. }, .. })) =
            found
        else {
            // It was given up meanwhile.
            return Ok(Vec::new());
        };
        let missing = arriving.offer.bytes - arriving.bytes.len() as u64;
        let fits = chunk.len() as u64 == missing.min(CHUNK_BYTES_MAX as u64);
        if offset != arriving.bytes.len() as u64 || !fits {
            return Err("it sent a Proto-Faaslet in pieces that do not fit");
        }
        arriving.bytes.extend_from_slice(chunk);
        if (chunk.len() as u64) < missing {
            return Ok(Vec::new());
        }
        let (offer, bytes) = (arriving.offer, std::mem::take(&mut arriving.bytes).freeze());
        if *ContentHash::of(&bytes).as_bytes() != offer.hash {
            return Err("it sent a damaged Proto-Faaslet");
        }
        Ok(self.become_known(name, State::Ready { offer, bytes }, ProtoTurn::Ready(offer)))
    }

    /// A node is gone: who waits for what it was making makes it instead.
    pub(super) fn handle_lost(&mut self, node: NodeId) -> Told {
        let mut told = Vec::new();
        let mut unwanted = Vec::new();
        for (name, known) in &mut self.known {
            let State::Making { maker, waiting, arriving } = &mut known.state else { continue };
            waiting.retain(|waiting| *waiting != node);
            if *maker != node {
                continue;
            }
            *arriving = None;
            if waiting.is_empty() {
                unwanted.push(*name);
            } else {
                *maker = waiting.remove(0);
                told.push(turn(*maker, *name, ProtoTurn::Make));
            }
        }
        unwanted.iter().for_each(|name| drop(self.known.remove(name)));
        told
    }

    /// The bytes of the proto with this hash.
    pub(super) fn bytes(&self, hash: &[u8; 32]) -> Option<&Bytes> {
        self.known.values().find_map(|known| match &known.state {
            State::Ready { offer, bytes } if offer.hash == *hash => Some(bytes),
            _ => None,
        })
    }

    /// Those who wait are told what has become of it.
    fn become_known(&mut self, name: ProtoName, state: State, told: ProtoTurn) -> Told {
        let Some(known) = self.known.get_mut(&name) else { return Vec::new() };
        match std::mem::replace(&mut known.state, state) {
            State::Making { waiting, .. } => {
                waiting.into_iter().map(|node| turn(node, name, told)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Drops protos that were not asked for lately, until there is room for one more name, or for so many bytes; false if
    /// there is none with all that is being made.
    fn make_room(&mut self, bytes: u64) -> bool {
        let size = |known: &Known| match &known.state {
            State::Ready { offer, .. } => offer.bytes,
            State::Making { arriving: Some(arriving), .. } => arriving.offer.bytes,
            State::Making { arriving: None, .. } | State::Each => 0,
        };
        loop {
            let kept: u64 = self.known.values().map(size).sum();
            let is_full = match bytes {
                0 => self.known.len() >= KNOWN_MAX,
                bytes => kept + bytes > KEPT_BYTES_MAX,
            };
            if !is_full {
                return true;
            }
            let done = |known: &Known| !matches!(known.state, State::Making { .. });
            let ended = self.known.iter().filter(|(_, known)| done(known));
            let oldest = ended.min_by_key(|(_, known)| known.asked).map(|(name, _)| *name);
            match oldest {
                Some(oldest) => drop(self.known.remove(&oldest)),
                None => return false,
            }
        }
    }
}

fn turn(node: NodeId, name: ProtoName, turn: ProtoTurn) -> (NodeId, ToNode) {
    (node, ToNode::Proto { name, turn })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ProtoName = ProtoName { module: [7; 32], is_migratable: false };
    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);
    const THREE: NodeId = NodeId(3);

    fn numbered(number: u32) -> ProtoName {
        let mut module = [0; 32];
        module[..4].copy_from_slice(&number.to_le_bytes());
        ProtoName { module, is_migratable: false }
    }

    fn offer(bytes: &[u8]) -> Offer {
        Offer { hash: *ContentHash::of(bytes).as_bytes(), bytes: bytes.len() as u64 }
    }

    #[test]
    fn one_makes_it_and_all_get_it() {
        let mut protos = Protos::default();
        assert_eq!(protos.handle_want(ONE, NAME), [turn(ONE, NAME, ProtoTurn::Make)]);
        assert_eq!(protos.handle_want(TWO, NAME), []);
        let other = ProtoName { is_migratable: true, ..NAME };
        assert_eq!(protos.handle_want(TWO, other), [turn(TWO, other, ProtoTurn::Make)]);
        let bytes: Vec<u8> = (0..CHUNK_BYTES_MAX + 9).map(|at| at as u8).collect();
        let offer = offer(&bytes);
        assert_eq!(
            protos.handle_made(TWO, NAME, ProtoMade::Offered(offer)),
            [],
            "it does not make it"
        );
        assert_eq!(protos.handle_made(ONE, NAME, ProtoMade::Offered(offer)), []);
        let (first, last) = bytes.split_at(CHUNK_BYTES_MAX);
        assert_eq!(protos.handle_chunk(TWO, offer.hash, 0, first), Ok(vec![]), "not its own");
        assert!(protos.handle_chunk(ONE, offer.hash, 1, first).is_err());
        assert!(protos.handle_chunk(ONE, offer.hash, 0, last).is_err());
        assert_eq!(protos.handle_chunk(ONE, offer.hash, 0, first), Ok(vec![]));
        assert_eq!(protos.bytes(&offer.hash), None);
        let ready = ProtoTurn::Ready(offer);
        let told = protos.handle_chunk(ONE, offer.hash, CHUNK_BYTES_MAX as u64, last);
        assert_eq!(told, Ok(vec![turn(TWO, NAME, ready)]));
        assert_eq!(protos.bytes(&offer.hash).map(|bytes| &bytes[..]), Some(&bytes[..]));
        assert_eq!(protos.handle_want(THREE, NAME), [turn(THREE, NAME, ready)]);
        assert_eq!(protos.handle_chunk(ONE, offer.hash, 0, first), Ok(vec![]), "it is there");
    }

    #[test]
    fn where_it_cannot_be_had_each_makes_its_own() {
        let mut protos = Protos::default();
        protos.handle_want(ONE, NAME);
        protos.handle_want(TWO, NAME);
        let made = protos.handle_made(ONE, NAME, ProtoMade::Unsendable);
        assert_eq!(made, [turn(TWO, NAME, ProtoTurn::Make)]);
        assert_eq!(protos.handle_want(THREE, NAME), [turn(THREE, NAME, ProtoTurn::Make)]);
        let other = ProtoName { is_migratable: true, ..NAME };
        protos.handle_want(ONE, other);
        let huge = Offer { hash: [1; 32], bytes: PROTO_BYTES_MAX + 1 };
        protos.handle_made(ONE, other, ProtoMade::Offered(huge));
        assert_eq!(protos.handle_want(TWO, other), [turn(TWO, other, ProtoTurn::Make)]);
    }

    #[test]
    fn where_nothing_came_of_it_it_is_the_next_ones_turn() {
        let mut protos = Protos::default();
        protos.handle_want(ONE, NAME);
        protos.handle_want(TWO, NAME);
        let made = protos.handle_made(ONE, NAME, ProtoMade::Nothing);
        assert_eq!(made, [turn(TWO, NAME, ProtoTurn::Make)]);
        assert_eq!(protos.handle_made(ONE, NAME, ProtoMade::Nothing), [], "it is not its turn");
        assert_eq!(protos.handle_made(TWO, NAME, ProtoMade::Nothing), []);
        assert_eq!(protos.handle_want(ONE, NAME), [turn(ONE, NAME, ProtoTurn::Make)]);
    }

    #[test]
    fn a_lost_makers_turn_goes_to_the_next() {
        let mut protos = Protos::default();
        protos.handle_want(ONE, NAME);
        protos.handle_want(TWO, NAME);
        protos.handle_want(THREE, NAME);
        let bytes = [5; 100];
        protos.handle_made(ONE, NAME, ProtoMade::Offered(offer(&bytes)));
        assert_eq!(protos.handle_lost(ONE), [turn(TWO, NAME, ProtoTurn::Make)]);
        assert_eq!(protos.handle_chunk(ONE, offer(&bytes).hash, 0, &bytes), Ok(vec![]));
        protos.handle_made(TWO, NAME, ProtoMade::Offered(offer(&bytes)));
        let told = protos.handle_chunk(TWO, offer(&bytes).hash, 0, &bytes);
        assert_eq!(told, Ok(vec![turn(THREE, NAME, ProtoTurn::Ready(offer(&bytes)))]));
        assert_eq!(protos.handle_lost(TWO), [], "it is kept here");
        protos.handle_want(ONE, ProtoName { is_migratable: true, ..NAME });
        assert_eq!(protos.handle_lost(ONE), []);
        assert_eq!(protos.known.len(), 1);
    }

    #[test]
    fn a_damaged_one_is_refused_and_few_bytes_are_kept() {
        let mut protos = Protos::default();
        protos.handle_want(ONE, NAME);
        protos.handle_made(ONE, NAME, ProtoMade::Offered(Offer { hash: [0; 32], bytes: 3 }));
        let refused = protos.handle_chunk(ONE, [0; 32], 0, &[1, 2, 3]);
        assert_eq!(refused, Err("it sent a damaged Proto-Faaslet"));
        for number in 0..2 * KNOWN_MAX as u32 {
            protos.handle_want(ONE, numbered(number));
            protos.handle_made(ONE, numbered(number), ProtoMade::Unsendable);
        }
        assert!(protos.known.len() <= KNOWN_MAX);
    }

    #[test]
    fn what_is_being_made_is_bounded_too() {
        let mut protos = Protos::default();
        for number in 0..2 * KNOWN_MAX as u32 {
            let told = protos.handle_want(ONE, numbered(number));
            assert_eq!(told, [turn(ONE, numbered(number), ProtoTurn::Make)]);
            protos.handle_want(TWO, numbered(number));
            protos.handle_want(TWO, numbered(number));
        }
        assert_eq!(protos.known.len(), KNOWN_MAX);
        let large = ProtoMade::Offered(Offer { hash: [1; 32], bytes: PROTO_BYTES_MAX });
        let each = KEPT_BYTES_MAX / PROTO_BYTES_MAX;
        for number in 0..each as u32 {
            assert_eq!(protos.handle_made(ONE, numbered(number), large), [], "it may come");
        }
        let told = protos.handle_made(ONE, numbered(each as u32), large);
        assert_eq!(told, [turn(TWO, numbered(each as u32), ProtoTurn::Make)], "once, and no more");
    }
}
