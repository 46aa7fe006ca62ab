//! The threads that wait for a word of their rank's memory (`memory.atomic.wait`, futexes).

use std::collections::VecDeque;
use std::sync::Arc;

use faasm_vm::{GuestAddr, GuestMemory};
use parking_lot::Mutex;

use super::park::ThreadShared;

/// Shards of a table: threads that wait for different words seldom meet.
const SHARDS: usize = 64;

/// The waiting threads of one memory; there are never more of them than threads.
#[derive(Debug)]
pub(crate) struct WaitTable {
    shards: [Mutex<VecDeque<Waiter>>; SHARDS],
}

/// A thread that waits for the word at `addr`, which knows itself whether it was woken.
#[derive(Debug)]
struct Waiter {
    addr: u64,
    thread: Arc<ThreadShared>,
}

/// What the word has to be for a thread to wait.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    Word32(u32),
    Word64(u64),
}

/// An address that no word can have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum WordError {
    #[error("a wait at address {addr:#x}, which is not aligned to its {bytes} bytes")]
    Unaligned { addr: u64, bytes: u64 },
    #[error("a wait outside the memory: {0}")]
    Outside(#[from] faasm_vm::GuestFault),
}

impl Expected {
    /// Whether the word at `addr` has this value.
    fn holds(self, memory: &GuestMemory, addr: u64) -> Result<bool, WordError> {
        let at = GuestAddr::new(addr);
        let (is_equal, bytes) = match self {
            Self::Word32(value) => (memory.atomic_load_u32(at)?.map(|word| word == value), 4),
            Self::Word64(value) => (memory.atomic_load_u64(at)?.map(|word| word == value), 8),
        };
        is_equal.ok_or(WordError::Unaligned { addr, bytes })
    }
}

impl Default for WaitTable {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl WaitTable {
    fn shard(&self, addr: u64) -> &Mutex<VecDeque<Waiter>> {
        // Words of neighbouring locks lie a few bytes apart.
        &self.shards[(addr >> 2) as usize % SHARDS]
    }

    /// Counts `thread` as waiting for the word at `addr` if that is as `expected`.
    ///
    /// A store that comes later is seen: who makes it notifies afterwards, and finds the thread.
    pub(super) fn enter<'a>(
        &'a self,
        memory: &GuestMemory,
        addr: u64,
        expected: Expected,
        thread: &'a Arc<ThreadShared>,
    ) -> Result<Option<Entry<'a>>, WordError> {
        if !expected.holds(memory, addr)? {
            return Ok(None);
        }
        let mut waiters = self.shard(addr).lock();
        if !expected.holds(memory, addr)? {
            return Ok(None);
        }
        thread.begin_word();
        waiters.push_back(Waiter { addr, thread: thread.clone() });
        Ok(Some(Entry { table: self, addr, thread }))
    }

    /// Wakes up to `count` threads that wait for the word at `addr`, those first that came first;
    /// gives their number.
    pub(super) fn notify(&self, addr: u64, count: u32) -> u32 {
        let mut told = Vec::new();
        self.shard(addr).lock().retain(|waiter| {
            if told.len() as u32 == count || waiter.addr != addr {
                return true;
            }
            waiter.thread.tell_of_word();
            told.push(waiter.thread.clone());
            false
        });
        // Those that wait next want the lock soon.
        told.iter().for_each(|thread| thread.wake());
        told.len() as u32
    }
}

/// A thread's place among those that wait; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    table: &'a WaitTable,
    addr: u64,
    thread: &'a Arc<ThreadShared>,
}

impl Entry<'_> {
    /// Whether somebody has woken the thread.
    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        self.thread.was_woken_at_word()
    }

    /// Leaves; whether somebody had woken the thread.
    pub(super) fn leave(self) -> bool {
        self.remove();
        self.is_woken()
    }

    fn remove(&self) {
        if !self.is_woken() {
            let mut waiters = self.table.shard(self.addr).lock();
            waiters.retain(|waiter| !Arc::ptr_eq(&waiter.thread, self.thread));
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: u64 = 64;

    fn enter<'a>(
        table: &'a WaitTable,
        memory: &GuestMemory,
        (addr, thread): (u64, &'a Arc<ThreadShared>),
    ) -> Entry<'a> {
        let entered = table.enter(memory, addr, Expected::Word32(0), thread);
        entered.expect("a good address").expect("the word is 0")
    }

    #[test]
    fn those_that_came_first_are_woken_first() {
        let (table, memory) = (WaitTable::default(), GuestMemory::for_test(65_536));
        let threads: Vec<_> = (0..4).map(ThreadShared::new).collect();
        let entries: Vec<_> =
            threads[..3].iter().map(|thread| enter(&table, &memory, (ADDR, thread))).collect();
        // Another word of the same shard.
        let other = enter(&table, &memory, (ADDR + 4 * SHARDS as u64, &threads[3]));
        assert_eq!(table.notify(ADDR, 2), 2);
        let woken: Vec<_> = entries.iter().map(Entry::is_woken).collect();
        assert_eq!(woken, [true, true, false]);
        assert!(!other.is_woken());
        assert_eq!(table.notify(ADDR, u32::MAX), 1);
        assert_eq!(table.notify(ADDR, u32::MAX), 0);
        assert!(!other.leave());
        assert_eq!(table.notify(ADDR + 4 * SHARDS as u64, 1), 0, "it has left");
    }

    #[test]
    fn nobody_waits_for_a_word_that_has_changed_or_cannot_be() {
        let (table, memory) = (WaitTable::default(), GuestMemory::for_test(65_536));
        let thread = ThreadShared::new(1);
        memory.write_u64(GuestAddr::new(ADDR), 1 << 40).expect("inside");
        let wait =
            |addr, expected| table.enter(&memory, addr, expected, &thread).map(|e| e.is_some());
        assert_eq!(wait(ADDR, Expected::Word32(0)), Ok(true));
        assert_eq!(wait(ADDR, Expected::Word64(0)), Ok(false));
        assert_eq!(wait(ADDR, Expected::Word64(1 << 40)), Ok(true));
        assert!(matches!(
            wait(ADDR + 4, Expected::Word64(0)),
            Err(WordError::Unaligned { addr: 68, bytes: 8 })
        ));
        assert!(matches!(wait(65_536, Expected::Word32(0)), Err(WordError::Outside(_))));
    }
}
