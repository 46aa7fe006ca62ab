//! Ranks on their way between nodes, as values.
//!
//! ```text
//! kind      to     request     addr                len             payload
//! WELCOME   rank   move        -                   -               -                      to the node that the rank leaves
//! IMAGE     rank   move        offset              of the image    a piece of the image   from there, in order
//! BLOCK     rank   move        place in memory     -               what is there          what is not sent is zero
//! END       rank   move        -                   blocks          hash of all that       (BLAKE3, 32 bytes)
//! ```
//! Nothing is sent before the receiving node has said that it is welcome, so that nothing is kept that nobody waits
//! for. All pieces of a rank come on one lane, in their order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use faasm_transport::config::FRAME_PAYLOAD_BYTES_MAX;
use faasm_transport::{Envelope, Lane, Payload};
use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::shared::JobShared;
use crate::checkpoint::{Deposit, RankImage};

const WELCOME: u16 = 0;
const IMAGE: u16 = 1;
const BLOCK: u16 = 2;
const END: u16 = 3;

/// Bytes of memory that are looked at, and sent, at a time.
const BLOCK_BYTES: usize = 64 << 10;
/// Longest image: its frames are bounded, its messages and objects by what a program can make of them.
const IMAGE_BYTES_MAX: u64 = 2 << 30;
/// Most bytes that are kept for a rank whose memory is not there yet.
const EARLY_BYTES_MAX: u64 = 4 << 30;
/// Bytes on their way beyond which nothing more is read.
const BACKLOG_BYTES_MAX: usize = 8 << 20;
/// Between two looks at whether there is room on the links.
const LOOK_INTERVAL: Duration = Duration::from_micros(50);

/// Why a piece of a rank was not taken.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum MoveRefused {
    /// Nobody waits for it.
    #[error("rank {0} is not expected")]
    Unexpected(u32),
    /// It is not the next piece, or longer than it may be.
    #[error("a piece of rank {0} is out of place")]
    Misplaced(u32),
}

/// The ranks of one job that come to this node or leave it.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    arrivals: Mutex<HashMap<u32, Arc<Arrival>>>,
    /// Moves and ranks for which another node waits.
    welcome: Mutex<HashSet<(u32, u32)>>,
    is_welcome: Condvar,
}

/// A rank that is expected.
#[derive(Debug)]
pub(crate) struct Arrival {
    rank: u32,
    number: u32,
    /// The node that it comes from.
    from: u32,
    state: Mutex<State>,
    has_news: Notify,
}

#[derive(Debug, Default)]
struct State {
    image: BytesMut,
    /// Bytes of the whole image, once the first piece has come.
    image_bytes: Option<u64>,
    memory: Option<GuestMemory>,
    /// Blocks that have come before there was a memory.
    early: Vec<(u64, Bytes)>,
    early_bytes: u64,
    blocks: u64,
    hasher: blake3::Hasher,
    end: Option<Result<(), &'static str>>,
}

impl Arrival {
    /// The rank without the content of its memory.
    ///
    /// # Errors
    /// It is damaged.
    pub(crate) async fn image(&self) -> Result<RankImage, String> {
        let image = self.when(|state| {
            let whole = state.image_bytes? == state.image.len() as u64;
            whole.then(|| std::mem::take(&mut state.image))
        });
        let image = image.await;
        postcard::from_bytes(&image).map_err(|error| format!("its image is damaged: {error}"))
    }

    /// What has come goes there, and what comes from now on.
    ///
    /// # Errors
    /// It does not fit.
    pub(crate) fn give_memory(&self, memory: &GuestMemory) -> Result<(), String> {
        let mut state = self.state.lock();
        state.early_bytes = 0;
        for (at, bytes) in std::mem::take(&mut state.early) {
            memory.write(GuestAddr::new(at), &bytes).map_err(|fault| fault.to_string())?;
        }
        state.memory = Some(memory.clone());
        Ok(())
    }

    /// Waits until all of its memory is there.
    ///
    /// # Errors
    /// Something else has come than was sent.
    pub(crate) async fn complete(&self) -> Result<(), String> {
        self.when(|state| state.end).await.map_err(str::to_owned)
    }

    async fn when<T>(&self, look: impl Fn(&mut State) -> Option<T>) -> T {
        loop {
            // Who tells the news afterwards finds this one waiting.
            let news = self.has_news.notified();
            if let Some(found) = look(&mut self.state.lock()) {
                return found;
            }
            news.await;
        }
    }

    fn take(&self, about: &Envelope, payload: Payload<'_>) -> Result<(), MoveRefused> {
        let misplaced = Err(MoveRefused::Misplaced(self.rank));
        let mut state = self.state.lock();
        if state.end.is_some() {
            return misplaced;
        }
        match about.kind {
            IMAGE => {
                let known = *state.image_bytes.get_or_insert(about.len);
                let there = state.image.len() as u64;
                let end = there + payload.len() as u64;
                let fits = about.addr == there && about.len == known && end <= known;
                if !fits || known > IMAGE_BYTES_MAX {
                    return misplaced;
                }
                state.hasher.update(&payload);
                state.image.extend_from_slice(&payload);
            }
            BLOCK => {
                state.hasher.update(&about.addr.to_le_bytes());
                state.hasher.update(&payload);
                state.blocks += 1;
                if let Some(memory) = &state.memory {
                    let written = memory.write(GuestAddr::new(about.addr), &payload);
                    return written.or(misplaced);
                }
                state.early_bytes += payload.len() as u64;
                if state.early_bytes > EARLY_BYTES_MAX {
                    return misplaced;
                }
                state.early.push((about.addr, payload.into_bytes()));
                return Ok(());
            }
            END => {
                let is_same = state.hasher.finalize().as_bytes()[..] == payload[..];
                let is_whole = is_same && state.blocks == about.len;
                state.end = Some(if is_whole { Ok(()) } else { Err("it is not what was sent") });
            }
            _ => return misplaced,
        }
        drop(state);
        self.has_news.notify_waiters();
        Ok(())
    }
}

impl JobShared {
    /// Expects `rank` from node `from` in move `number`, and tells that node so.
    pub(crate) fn expect_rank(&self, rank: u32, from: u32, number: u32) -> Arc<Arrival> {
        let state = Mutex::default();
        let arrival = Arc::new(Arrival { rank, number, from, state, has_news: Notify::new() });
        self.moving().arrivals.lock().insert(rank, arrival.clone());
        if let Some(far) = self.far() {
            let about =
                Envelope { kind: WELCOME, to: rank, request: number, ..Envelope::default() };
            far.links.send_moved(from, about, Bytes::new());
        }
        arrival
    }

    /// Expects nobody any more.
    pub(crate) fn end_moves(&self) {
        self.moving().arrivals.lock().clear();
        self.moving().welcome.lock().clear();
    }

    /// A piece of a rank, or word that one is welcome.
    ///
    /// # Errors
    /// The node breaks the rules; nothing has changed.
    pub(crate) fn take_moved(
        &self,
        node: u32,
        about: &Envelope,
        payload: Payload<'_>,
    ) -> Result<(), MoveRefused> {
        let (rank, number) = (about.to, about.request);
        let unexpected = MoveRefused::Unexpected(rank);
        if about.kind == WELCOME {
            if rank >= self.world().size() || !self.world().is_local(rank) {
                return Err(unexpected);
            }
            self.moving().welcome.lock().insert((number, rank));
            self.moving().is_welcome.notify_all();
            return Ok(());
        }
        let arrival = self.moving().arrivals.lock().get(&rank).cloned();
        match arrival {
            Some(arrival) if arrival.from == node && arrival.number == number => {
                arrival.take(about, payload)
            }
            // One that was given up may still have sent something.
            _ if rank < self.world().size() && self.world().node(rank) == node => Ok(()),
            _ => Err(unexpected),
        }
    }

    /// Sends what a rank of this node left behind to `node`, as soon as that waits for it.
    ///
    /// # Errors
    /// It takes too long, or cannot be read.
    pub(crate) fn send_rank(
        &self,
        deposit: &Deposit,
        node: u32,
        number: u32,
        limit: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        self.await_welcome((number, deposit.rank), deadline)?;
        let Some(far) = self.far() else { return Err("there is no other node".to_owned()) };
        let about = Envelope { to: deposit.rank, request: number, ..Envelope::default() };
        let mut hasher = blake3::Hasher::new();
        let image = postcard::to_stdvec(&deposit.image).map_err(|error| error.to_string())?;
        let mut image = Bytes::from(image);
        let (len, mut addr) = (image.len() as u64, 0);
        while !image.is_empty() {
            self.await_room(node, deadline)?;
            let piece = image.split_to(image.len().min(FRAME_PAYLOAD_BYTES_MAX));
            hasher.update(&piece);
            let about = Envelope { kind: IMAGE, addr, len, ..about };
            addr += piece.len() as u64;
            far.links.send_moved(node, about, piece);
        }
        let mut blocks = 0;
        let memory = &deposit.memory;
        for addr in (0..memory.len()).step_by(BLOCK_BYTES) {
            let bytes = (memory.len() - addr).min(BLOCK_BYTES as u64);
            let block =
                memory.read_vec(GuestAddr::new(addr), bytes).map_err(|fault| fault.to_string())?;
            if is_zero(&block) {
                continue;
            }
            self.await_room(node, deadline)?;
            blocks += 1;
            hasher.update(&addr.to_le_bytes());
            hasher.update(&block);
            far.links.send_moved(node, Envelope { kind: BLOCK, addr, ..about }, block.into());
        }
        let hash = Bytes::copy_from_slice(hasher.finalize().as_bytes());
        far.links.send_moved(node, Envelope { kind: END, len: blocks, ..about }, hash);
        Ok(())
    }

    fn await_welcome(&self, whom: (u32, u32), deadline: Instant) -> Result<(), String> {
        let mut welcome = self.moving().welcome.lock();
        while !welcome.remove(&whom) {
            if self.moving().is_welcome.wait_until(&mut welcome, deadline).timed_out() {
                return Err("the node that it is to go to does not answer".to_owned());
            }
        }
        Ok(())
    }

    fn await_room(&self, node: u32, deadline: Instant) -> Result<(), String> {
        let Some(far) = self.far() else { return Ok(()) };
        while far.links.backlog_bytes(node, Lane::Bulk) > BACKLOG_BYTES_MAX {
            if Instant::now() > deadline {
                return Err("the node that it is to go to takes nothing".to_owned());
            }
            if !far.links.endpoint().poll() {
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> Arrival {
        let (state, has_news) = (Mutex::default(), Notify::new());
        Arrival { rank: 3, number: 1, from: 0, state, has_news }
    }

    #[test]
    fn blocks_go_to_their_places_before_and_after_there_is_a_memory() {
        let (arrival, memory) = (arrival(), GuestMemory::for_test(100));
        let mut hasher = blake3::Hasher::new();
        for (addr, bytes) in [(10_u64, b"early"), (20, b"later")] {
            hasher.update(&addr.to_le_bytes()).update(bytes);
            let about = Envelope { kind: BLOCK, addr, ..Envelope::default() };
            assert_eq!(arrival.take(&about, Payload::borrowed(bytes)), Ok(()));
            arrival.give_memory(&memory).expect("it fits");
        }
        let end = Envelope { kind: END, len: 2, ..Envelope::default() };
        let hash = hasher.finalize();
        assert_eq!(arrival.take(&end, Payload::borrowed(hash.as_bytes())), Ok(()));
        assert_eq!(arrival.state.lock().end, Some(Ok(())));
        assert_eq!(memory.read_vec(GuestAddr::new(10), 5).as_deref(), Ok(&b"early"[..]));
        assert_eq!(memory.read_vec(GuestAddr::new(20), 5).as_deref(), Ok(&b"later"[..]));
        let more = arrival.take(&end, Payload::borrowed(b""));
        assert_eq!(more, Err(MoveRefused::Misplaced(3)), "nothing follows the end");
    }

    #[test]
    fn what_is_out_of_place_or_altered_is_refused() {
        let one = arrival();
        let image = |addr, len| Envelope { kind: IMAGE, addr, len, ..Envelope::default() };
        let misplaced = Err(MoveRefused::Misplaced(3));
        assert_eq!(one.take(&image(0, u64::MAX), Payload::borrowed(b"abc")), misplaced);
        let one = arrival();
        assert_eq!(one.take(&image(0, 6), Payload::borrowed(b"abc")), Ok(()));
        for (addr, len) in [(0, 6), (4, 6), (3, 7), (u64::MAX, 6)] {
            assert_eq!(one.take(&image(addr, len), Payload::borrowed(b"def")), misplaced);
        }
        assert_eq!(one.take(&image(3, 6), Payload::borrowed(b"defg")), misplaced);
        one.give_memory(&GuestMemory::for_test(10)).expect("nothing has come");
        let block = Envelope { kind: BLOCK, addr: 8, ..Envelope::default() };
        assert_eq!(one.take(&block, Payload::borrowed(b"abc")), misplaced);
        let end = Envelope { kind: END, len: 0, ..Envelope::default() };
        assert_eq!(one.take(&end, Payload::borrowed(&[0; 32])), Ok(()));
        assert!(matches!(one.state.lock().end, Some(Err(_))));
    }
}
