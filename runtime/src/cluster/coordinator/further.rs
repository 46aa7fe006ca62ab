//! Programs that jobs did not begin with: processes were spawned from them, and may go to other nodes. The node that spawns
//! offers a program and sends it in chunks; it is kept here until no job is left that has it.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};
use faasm_transport::NodeId;
use faasm_vm::ContentHash;

use crate::cluster::message::CHUNK_BYTES_MAX;
use crate::cluster::offer::Offer;

/// Bytes of all programs that are kept.
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Further {
    programs: HashMap<[u8; 32], Program>,
}

#[derive(Debug)]
struct Program {
    jobs: BTreeSet<u32>,
    bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It comes from each of these nodes: the one that is ready first is not known.
    Arriving(BTreeMap<NodeId, BytesMut>),
    Ready(Bytes),
}

impl Program {
    /// Bytes that are kept of it, or may come.
    fn kept(&self) -> u64 {
        match &self.state {
            State::Arriving(makers) => self.bytes.saturating_mul(makers.len() as u64),
            State::Ready(_) => self.bytes,
        }
    }
}

impl Further {
    /// A node has spawned processes of a job from this program, and sends it. There may be no room for it: these processes cannot
    /// move then.
    pub(super) fn handle_offer(&mut self, from: NodeId, job: u32, offer: Offer) {
        let kept: u64 = self.programs.values().map(Program::kept).sum();
        let has_room = kept.checked_add(offer.bytes).is_some_and(|all| all <= KEPT_BYTES_MAX);
        if let Some(program) = self.programs.get_mut(&offer.hash) {
            program.jobs.insert(job);
            if let State::Arriving(makers) = &mut program.state
                && has_room
                && program.bytes == offer.bytes
            {
                makers.entry(from).or_default();
            }
        } else if has_room {
            let state = State::Arriving(BTreeMap::from([(from, BytesMut::new())]));
            let program = Program { jobs: BTreeSet::from([job]), bytes: offer.bytes, state };
            self.programs.insert(offer.hash, program);
        }
    }

    /// Bytes have come; false if they are of no such program.
    ///
    /// # Errors
    /// They are not those that were offered.
    pub(super) fn handle_chunk(
        &mut self,
        from: NodeId,
        (hash, offset): ([u8; 32], u64),
        chunk: &[u8],
    ) -> Result<bool, &'static str> {
        let Some(program) = self.programs.get_mut(&hash) else { return Ok(false) };
        let State::Arriving(makers) = &mut program.state else { return Ok(true) };
        let Some(bytes) = makers.get_mut(&from) else { return Ok(true) };
        let missing = program.bytes - bytes.len() as u64;
        let fits = chunk.len() as u64 == missing.min(CHUNK_BYTES_MAX as u64);
        if offset != bytes.len() as u64 || !fits {
            return Err("it sent a program in pieces that do not fit");
        }
        bytes.extend_from_slice(chunk);
        if chunk.len() as u64 == missing {
            let bytes = std::mem::take(bytes).freeze();
            if *ContentHash::of(&bytes).as_bytes() != hash {
                return Err("it sent a damaged program");
            }
            program.state = State::Ready(bytes);
        }
        Ok(true)
    }

    /// A node is gone: what it was sending does not come.
    pub(super) fn handle_lost(&mut self, node: NodeId) {
        self.programs.retain(|_, program| match &mut program.state {
            State::Arriving(makers) => {
                makers.remove(&node);
                !makers.is_empty()
            }
            State::Ready(_) => true,
        });
    }

    /// A job is over.
    pub(super) fn forget(&mut self, job: u32) {
        self.programs.retain(|_, program| {
            program.jobs.remove(&job);
            !program.jobs.is_empty()
        });
    }

    /// The program with this hash.
    pub(super) fn bytes(&self, hash: &[u8; 32]) -> Option<&Bytes> {
        match &self.programs.get(hash)?.state {
            State::Ready(bytes) => Some(bytes),
            State::Arriving(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId(1);
    const TWO: NodeId = NodeId(2);

    fn offer(bytes: &[u8]) -> Offer {
        Offer { hash: *ContentHash::of(bytes).as_bytes(), bytes: bytes.len() as u64 }
    }

    #[test]
    fn programs_come_in_pieces_and_stay_as_long_as_a_job_has_them() {
        let mut further = Further::default();
        let bytes: Vec<u8> = (0..CHUNK_BYTES_MAX + 9).map(|at| at as u8).collect();
        let Offer { hash, .. } = offer(&bytes);
        let (first, last) = bytes.split_at(CHUNK_BYTES_MAX);
        assert_eq!(further.handle_chunk(ONE, (hash, 0), first), Ok(false), "nobody offered it");
        further.handle_offer(ONE, 7, offer(&bytes));
        further.handle_offer(TWO, 8, offer(&bytes));
        assert_eq!(further.handle_chunk(NodeId(3), (hash, 0), first), Ok(true), "it is others'");
        assert!(further.handle_chunk(ONE, (hash, 1), first).is_err());
        assert!(further.handle_chunk(ONE, (hash, 0), last).is_err());
        assert_eq!(further.handle_chunk(ONE, (hash, 0), first), Ok(true));
        assert_eq!(further.bytes(&hash), None, "a part is missing");
        assert_eq!(further.handle_chunk(TWO, (hash, 0), first), Ok(true));
        further.handle_lost(TWO);
        let at = CHUNK_BYTES_MAX as u64;
        assert_eq!(further.handle_chunk(ONE, (hash, at), last), Ok(true));
        assert_eq!(further.bytes(&hash).map(|bytes| &bytes[..]), Some(&bytes[..]));
        further.handle_lost(ONE);
        further.forget(7);
        assert!(further.bytes(&hash).is_some(), "another job has it");
        further.forget(8);
        assert_eq!(further.bytes(&hash), None);
    }

    #[test]
    fn what_is_damaged_or_too_much_or_from_a_lost_node_is_not_kept() {
        let mut further = Further::default();
        let offered = offer(b"abc");
        further.handle_offer(ONE, 1, offered);
        assert!(further.handle_chunk(ONE, (offered.hash, 0), b"abd").is_err());
        further.handle_lost(ONE);
        assert_eq!(further.handle_chunk(ONE, (offered.hash, 0), b"abc"), Ok(false));
        for bytes in [KEPT_BYTES_MAX + 1, u64::MAX] {
            further.handle_offer(ONE, 1, Offer { bytes, ..offered });
            assert_eq!(further.handle_chunk(ONE, (offered.hash, 0), b"abc"), Ok(false));
        }
    }
}
