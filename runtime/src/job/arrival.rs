//! Ranks that come from other nodes, as values.
//!
//! ```text
//! kind      to     request     addr                len             payload
//! WELCOME   rank   move        -                   of the memory   -                      to the node that the rank leaves
//! SIZE      rank   move        -                   of the memory   -                      from there, first
//! BLOCK     rank   move        place in memory     -               what is there          once or again; else it is zero
//! ZERO      rank   move        place in memory     zeros           -                      what is there by now
//! IMAGE     rank   move        offset              of the image    a piece of the image   in order
//! END       rank   move        -                   blocks          hash of all that       (BLAKE3, 32 bytes)
//! REFUSED   rank   move        -                   -               -                      either way: a node cannot do its part
//! ```
//! Nothing is sent before the receiving node has said that it is welcome, so that nothing is kept that nobody waits for.
//! Blocks may come while the rank still runs where it was, and then come again when
//! it has written to them; the image and the end come when it has stopped. All pieces of a rank come on one lane, in
//! their order. [`Courier`](super::Courier) is the other side.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use faasm_transport::{Envelope, Payload};
use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::renewal::Renewal;
use super::shared::JobShared;
use crate::checkpoint::RankImage;

pub(super) const WELCOME: u16 = 0;
pub(super) const IMAGE: u16 = 1;
pub(super) const BLOCK: u16 = 2;
pub(super) const END: u16 = 3;
pub(super) const SIZE: u16 = 4;
pub(super) const ZERO: u16 = 5;
pub(super) const REFUSED: u16 = 6;

/// Longest image: its frames are bounded, its messages and objects by what a program can make of them.
const IMAGE_BYTES_MAX: u64 = 2 << 30;
/// Largest memory.
const MEMORY_BYTES_MAX: u64 = 1 << 32;
/// Bytes of memory that are looked at, and sent, at a time.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;
/// Most bytes that are kept for a rank whose memory is not large enough yet.
const EARLY_BYTES_MAX: u64 = MEMORY_BYTES_MAX;

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
    /// Moves and ranks for which another node waits, with the size of the memory there.
    welcome: Mutex<HashMap<(u32, u32), u64>>,
    is_welcome: Condvar,
    /// How often moves have ended.
    ended: AtomicU64,
    /// The last move in which another node cannot do its part.
    refused: Mutex<Option<u32>>,
}

impl Moving {
    /// A number that changes when the moves that go on now have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// There is a memory of so many bytes for a rank in a move.
    fn take_welcome(&self, (number, rank): (u32, u32), bytes: u64) {
        let mut welcome = self.welcome.lock();
        // Numbers begin anew after four billion moves.
        let is_later = |known: u32| known.wrapping_sub(number).cast_signed() > 0;
        if welcome.keys().any(|(known, other)| *other == rank && is_later(*known)) {
            // Of earlier moves nobody wants to know.
            return;
        }
        welcome.retain(|(_, other), _| *other != rank);
        welcome.insert((number, rank), bytes);
        self.is_welcome.notify_all();
    }

    /// Whether another node cannot do its part of move `number`.
    fn is_refused(&self, number: u32) -> bool {
        *self.refused.lock() == Some(number)
    }

    fn refuse(&self, number: u32) {
        let _welcome = self.welcome.lock();
        *self.refused.lock() = Some(number);
        self.is_welcome.notify_all();
    }

    /// Waits until `rank` is welcome in move `number` with a memory of so many bytes at least.
    ///
    /// # Errors
    /// It is not by that time, or moves have ended since that was `ended` times so.
    pub(super) fn await_welcome(
        &self,
        (rank, number): (u32, u32),
        bytes: u64,
        (ended, deadline): (u64, std::time::Instant),
    ) -> Result<(), String> {
        let mut welcome = self.welcome.lock();
        loop {
            if self.ended() != ended {
                return Err("the move was given up".to_owned());
            }
            if self.is_refused(number) {
                return Err(REFUSAL.to_owned());
            }
            if welcome.get(&(number, rank)).is_some_and(|there| *there >= bytes) {
                return Ok(());
            }
            if self.is_welcome.wait_until(&mut welcome, deadline).timed_out() {
                return Err("the node that it is to go to does not answer".to_owned());
            }
        }
    }
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
    /// How large its memory is to be, as far as is known.
    memory_bytes: u64,
    /// Blocks that have come before there was a place for them.
    early: Vec<(u64, Bytes)>,
    early_bytes: u64,
    blocks: u64,
    hasher: blake3::Hasher,
    end: Option<Result<(), &'static str>>,
    fate: Fate,
}

/// Whether it is to come after all.
#[derive(Debug, Default)]
enum Fate {
    #[default]
    Open,
    /// It does, in this life of the job.
    Comes(Arc<Renewal>),
    GivenUp,
}

/// What an instance that waits for its rank is to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// Have so many bytes of memory.
    Grow(u64),
    /// Become the rank, in this life of the job.
    Come(Arc<Renewal>),
    /// Go: nobody comes.
    GiveUp,
}

/// Why a node need not wait for others in a move.
const REFUSAL: &str = "another node cannot do its part of the move";

/// Nobody comes.
const GIVEN_UP: &str = "it does not come after all";

impl Arrival {
    /// What the instance that waits for the rank, and has `bytes` of memory, is to do next.
    pub(crate) async fn next(&self, bytes: u64) -> Next {
        self.when(|state| match &state.fate {
            Fate::Comes(renewal) => Some(Next::Come(renewal.clone())),
            Fate::GivenUp => Some(Next::GiveUp),
            Fate::Open => (state.memory_bytes > bytes).then_some(Next::Grow(state.memory_bytes)),
        })
        .await
    }

    /// The rank comes, in this life of the job.
    pub(crate) fn comes(&self, renewal: Arc<Renewal>) {
        self.decide(Fate::Comes(renewal));
    }

    /// It does not come.
    pub(crate) fn give_up(&self) {
        self.decide(Fate::GivenUp);
    }

    fn decide(&self, fate: Fate) {
        self.state.lock().fate = fate;
        self.has_news.notify_waiters();
    }

    /// Which rank it is.
    pub(crate) const fn rank(&self) -> u32 {
        self.rank
    }

    /// The rank without the content of its memory.
    ///
    /// # Errors
    /// It is damaged, or does not come.
    pub(crate) async fn image(&self) -> Result<RankImage, String> {
        let image = self.unless_given_up(|state| {
            let whole = state.image_bytes? == state.image.len() as u64;
            whole.then(|| Ok(std::mem::take(&mut state.image)))
        });
        let image = image.await?;
        postcard::from_bytes(&image).map_err(|error| format!("its image is damaged: {error}"))
    }

    /// What has come goes there, and what comes from now on; it may have become larger since it was last given.
    ///
    /// # Errors
    /// It does not fit.
    pub(crate) fn give_memory(&self, memory: &GuestMemory) -> Result<(), String> {
        let mut state = self.state.lock();
        let (fit, early): (Vec<_>, Vec<_>) = std::mem::take(&mut state.early)
            .into_iter()
            .partition(|(at, bytes)| at + bytes.len() as u64 <= memory.len());
        for (at, bytes) in fit {
            state.early_bytes -= bytes.len() as u64;
            memory.write(GuestAddr::new(at), &bytes).map_err(|fault| fault.to_string())?;
        }
        state.early = early;
        state.memory = Some(memory.clone());
        Ok(())
    }

    /// Waits until all of its memory is there.
    ///
    /// # Errors
    /// Something else has come than was sent, or it does not come.
    pub(crate) async fn complete(&self) -> Result<(), String> {
        self.unless_given_up(|state| state.end).await
    }

    async fn unless_given_up<T>(
        &self,
        look: impl Fn(&mut State) -> Option<Result<T, &'static str>>,
    ) -> Result<T, String> {
        let look = |state: &mut State| {
            let gone = matches!(state.fate, Fate::GivenUp);
            look(state).or_else(|| gone.then_some(Err(GIVEN_UP)))
        };
        self.when(look).await.map_err(str::to_owned)
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
        let mut state = self.state.lock();
        let taken = match about.kind {
            _ if state.end.is_some() => None,
            SIZE => state.take_size(about.len),
            IMAGE => state.take_image(about, &payload),
            BLOCK => state.take_block(about.addr, payload),
            ZERO => state.take_zeros(about.addr, about.len),
            END => state.take_end(about.len, &payload),
            _ => None,
        };
        drop(state);
        let is_news = taken.ok_or(MoveRefused::Misplaced(self.rank))?;
        if is_news == News::Yes {
            self.has_news.notify_waiters();
        }
        Ok(())
    }
}

/// Whether somebody may wait for what has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum News {
    Yes,
    No,
}

/// What a piece changes; `None` when it is out of place.
impl State {
    fn take_size(&mut self, bytes: u64) -> Option<News> {
        if bytes < self.memory_bytes || bytes > MEMORY_BYTES_MAX {
            return None;
        }
        self.memory_bytes = bytes;
        Some(News::Yes)
    }

    fn take_image(&mut self, about: &Envelope, piece: &[u8]) -> Option<News> {
        let known = *self.image_bytes.get_or_insert(about.len);
        let there = self.image.len() as u64;
        let end = there + piece.len() as u64;
        let fits = about.addr == there && about.len == known && end <= known;
        if !fits || known > IMAGE_BYTES_MAX {
            return None;
        }
        self.hasher.update(piece);
        self.image.extend_from_slice(piece);
        Some(News::Yes)
    }

    fn take_block(&mut self, at: u64, block: Payload<'_>) -> Option<News> {
        let end = self.check(at, block.len() as u64)?;
        self.hasher.update(&at.to_le_bytes());
        self.hasher.update(&block);
        self.blocks += 1;
        match self.memory.as_ref().filter(|memory| end <= memory.len()) {
            Some(memory) => memory.write(GuestAddr::new(at), &block).ok()?,
            None => self.keep(at, block.into_bytes())?,
        }
        Some(News::No)
    }

    fn take_zeros(&mut self, at: u64, bytes: u64) -> Option<News> {
        let end = self.check(at, bytes).filter(|_| bytes <= BLOCK_BYTES)?;
        self.hasher.update(&at.to_le_bytes());
        self.hasher.update(&bytes.to_le_bytes());
        self.blocks += 1;
        match self.memory.as_ref().filter(|memory| end <= memory.len()) {
            Some(memory) => memory.fill(GuestAddr::new(at), 0, bytes).ok()?,
            None => self.keep(at, vec![0; bytes as usize].into())?,
        }
        Some(News::No)
    }

    /// The end of a range, if it is inside what the memory is to be.
    fn check(&self, at: u64, bytes: u64) -> Option<u64> {
        at.checked_add(bytes).filter(|end| *end <= self.memory_bytes)
    }

    fn keep(&mut self, at: u64, block: Bytes) -> Option<()> {
        self.early_bytes += block.len() as u64;
        (self.early_bytes <= EARLY_BYTES_MAX).then(|| self.early.push((at, block)))
    }

    fn take_end(&mut self, blocks: u64, hash: &[u8]) -> Option<News> {
        let is_same = self.hasher.finalize().as_bytes()[..] == hash[..];
        let is_whole = is_same && self.blocks == blocks;
        self.end = Some(if is_whole { Ok(()) } else { Err("it is not what was sent") });
        Some(News::Yes)
    }
}

impl JobShared {
    /// Expects `rank` from node `from` in move `number`.
    pub(crate) fn expect_rank(&self, rank: u32, from: u32, number: u32) -> Arc<Arrival> {
        let state = Mutex::default();
        let arrival = Arc::new(Arrival { rank, number, from, state, has_news: Notify::new() });
        let before = self.moving().arrivals.lock().insert(rank, arrival.clone());
        if let Some(before) = before {
            before.give_up();
        }
        arrival
    }

    /// Tells the node from which a rank comes that there is a memory of so many bytes for it.
    pub(crate) fn welcome(&self, arrival: &Arrival, bytes: u64) {
        let Some(far) = self.far() else { return };
        let Arrival { rank, number, from, .. } = *arrival;
        let (to, request, len) = (rank, number, bytes);
        let about = Envelope { kind: WELCOME, to, request, len, ..Envelope::default() };
        far.links.send_moved(from, about, Bytes::new());
    }

    /// This node cannot do its part of move `number`, after which ranks would be on these nodes: those that would wait for it are
    /// told.
    pub(crate) fn refuse_move(&self, number: u32, nodes: impl Iterator<Item = u32>) {
        let Some(far) = self.far() else { return };
        let this = self.world().this_node();
        let mut told = BTreeSet::new();
        for (rank, new) in (0..).zip(nodes) {
            let old = self.world().node(rank);
            let other = if old == this { new } else { old };
            let concerns = old != new && [old, new].contains(&this);
            if concerns && told.insert(other) {
                let (to, request) = (rank, number);
                let about = Envelope { kind: REFUSED, to, request, ..Envelope::default() };
                far.links.send_moved(other, about, Bytes::new());
            }
        }
    }

    /// Why move `number` cannot be, if another node has said so.
    pub(crate) fn refusal(&self, number: u32) -> Option<&'static str> {
        self.moving().is_refused(number).then_some(REFUSAL)
    }

    /// Expects nobody any more, and sends nobody.
    pub(crate) fn end_moves(&self) {
        let moving = self.moving();
        for (_, arrival) in moving.arrivals.lock().drain() {
            arrival.give_up();
        }
        // Word of the next move may be here already, before this one's end.
        let _welcome = moving.welcome.lock();
        moving.ended.fetch_add(1, Ordering::AcqRel);
        moving.is_welcome.notify_all();
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
            // Word of a move that was given up may come when the rank has gone there in another one.
            if self.world().exists(rank) && self.world().is_local(rank) {
                self.moving().take_welcome((number, rank), about.len);
            }
            return if self.world().exists(rank) { Ok(()) } else { Err(unexpected) };
        }
        if about.kind == REFUSED {
            self.moving().refuse(number);
            return Ok(());
        }
        let arrival = self.moving().arrivals.lock().get(&rank).cloned();
        match arrival {
            Some(arrival) if arrival.from == node && arrival.number == number => {
                arrival.take(about, payload)
            }
            // One that was given up may still have sent something.
            _ if self.world().exists(rank) && self.world().node(rank) == node => Ok(()),
            _ => Err(unexpected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival() -> Arrival {
        let (state, has_news) = (Mutex::default(), Notify::new());
        Arrival { rank: 3, number: 1, from: 0, state, has_news }
    }

    fn about(kind: u16, addr: u64, len: u64) -> Envelope {
        Envelope { kind, addr, len, ..Envelope::default() }
    }

    #[test]
    fn word_of_an_earlier_move_is_late() {
        let moving = Moving::default();
        let now = std::time::Instant::now();
        let is_welcome = |number, bytes| moving.await_welcome((3, number), bytes, (0, now)).is_ok();
        moving.take_welcome((7, 3), 10);
        moving.take_welcome((6, 3), 99);
        moving.take_welcome((8, 4), 10);
        assert!(is_welcome(7, 10) && !is_welcome(7, 11) && !is_welcome(6, 10));
        moving.take_welcome((8, 3), 20);
        assert!(is_welcome(8, 20) && !is_welcome(7, 10));
        moving.take_welcome((u32::MAX, 5), 1);
        moving.take_welcome((0, 5), 2);
        assert!(moving.await_welcome((5, 0), 2, (0, now)).is_ok(), "numbers begin anew");
        moving.refuse(8);
        assert!(!is_welcome(8, 20), "another node cannot do its part");
    }

    const MISPLACED: Result<(), MoveRefused> = Err(MoveRefused::Misplaced(3));

    #[test]
    fn blocks_go_to_their_places_before_and_after_there_is_a_memory() {
        let (arrival, memory) = (arrival(), GuestMemory::for_test(100));
        let take = |about, bytes: &[u8]| arrival.take(&about, Payload::borrowed(bytes));
        let mut hasher = blake3::Hasher::new();
        assert_eq!(take(about(SIZE, 0, 100), b""), Ok(()));
        let first: [(u64, &[u8]); 4] =
            [(10, b"early"), (20, b"later"), (20, b"once"), (30, b"and")];
        for (addr, bytes) in first {
            hasher.update(&addr.to_le_bytes()).update(bytes);
            assert_eq!(take(about(BLOCK, addr, 0), bytes), Ok(()));
            arrival.give_memory(&memory).expect("it fits");
        }
        hasher.update(&31_u64.to_le_bytes()).update(&2_u64.to_le_bytes());
        assert_eq!(take(about(ZERO, 31, 2), b""), Ok(()));
        let end = about(END, 0, 5);
        assert_eq!(take(end, hasher.finalize().as_bytes()), Ok(()));
        assert_eq!(arrival.state.lock().end, Some(Ok(())));
        for (addr, bytes) in [(10, &b"early"[..]), (20, b"oncer"), (30, b"a\0\0")] {
            let there = memory.read_vec(GuestAddr::new(addr), bytes.len() as u64);
            assert_eq!(there.as_deref(), Ok(bytes));
        }
        assert_eq!(take(end, b""), MISPLACED, "nothing follows the end");
    }

    #[test]
    fn what_is_beyond_the_memory_waits_until_that_has_grown() {
        let arrival = arrival();
        let take = |about, bytes: &[u8]| arrival.take(&about, Payload::borrowed(bytes));
        assert_eq!(take(about(SIZE, 0, 200), b""), Ok(()));
        arrival.give_memory(&GuestMemory::for_test(100)).expect("nothing has come");
        assert_eq!(take(about(BLOCK, 150, 0), b"new"), Ok(()));
        let grown = GuestMemory::for_test(200);
        arrival.give_memory(&grown).expect("it fits");
        assert_eq!(grown.read_vec(GuestAddr::new(150), 3).as_deref(), Ok(&b"new"[..]));
        assert_eq!(arrival.state.lock().early_bytes, 0);
    }

    #[test]
    fn what_is_out_of_place_or_altered_is_refused() {
        let one = arrival();
        let image = |addr, len| about(IMAGE, addr, len);
        assert_eq!(one.take(&image(0, u64::MAX), Payload::borrowed(b"abc")), MISPLACED);
        let one = arrival();
        let take = |about, bytes: &[u8]| one.take(&about, Payload::borrowed(bytes));
        assert_eq!(take(image(0, 6), b"abc"), Ok(()));
        for (addr, len) in [(0, 6), (4, 6), (3, 7), (u64::MAX, 6)] {
            assert_eq!(take(image(addr, len), b"def"), MISPLACED);
        }
        assert_eq!(take(image(3, 6), b"defg"), MISPLACED);
        assert_eq!(take(about(BLOCK, 0, 0), b"abc"), MISPLACED, "before its size is known");
        assert_eq!(take(about(SIZE, 0, 10), b""), Ok(()));
        assert_eq!(take(about(SIZE, 0, 9), b""), MISPLACED);
        assert_eq!(take(about(SIZE, 0, u64::MAX), b""), MISPLACED);
        one.give_memory(&GuestMemory::for_test(10)).expect("nothing has come");
        assert_eq!(take(about(BLOCK, 8, 0), b"abc"), MISPLACED);
        assert_eq!(take(about(BLOCK, u64::MAX, 0), b"abc"), MISPLACED);
        assert_eq!(take(about(ZERO, 8, 3), b""), MISPLACED);
        assert_eq!(take(about(END, 0, 0), &[0; 32]), Ok(()));
        assert!(matches!(one.state.lock().end, Some(Err(_))));
    }

    #[tokio::test]
    async fn who_waits_for_a_rank_that_is_given_up_hears_of_it() {
        let arrival = Arc::new(arrival());
        assert_eq!(arrival.take(&about(SIZE, 0, 9), Payload::borrowed(b"")), Ok(()));
        assert!(matches!(arrival.next(0).await, Next::Grow(9)));
        let other = arrival.clone();
        let waiting = tokio::spawn(async move { other.image().await });
        arrival.give_up();
        assert!(waiting.await.expect("no panic").is_err());
        assert!(matches!(arrival.next(0).await, Next::GiveUp));
        assert!(arrival.complete().await.is_err());
    }
}
