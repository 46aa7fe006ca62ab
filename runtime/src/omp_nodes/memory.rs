//! The program's memory on this node.

use std::ops::Range;

use faasm_omp_engine::span::page::{Content, PAGE_BYTES};
use faasm_omp_engine::span::{Atomic, Home, Live, Member, Private};
use faasm_vm::snapshot::{SnapshotError, Watch};
use faasm_vm::{GuestAddr, GuestMemory};

/// A memory of which is known where it may have been written.
#[derive(Debug)]
pub(super) struct NodeMemory {
    pub(super) live: LiveMemory,
    watch: Watch,
}

/// The memory as the engine sees it.
#[derive(Debug)]
pub(super) struct LiveMemory(GuestMemory);

impl NodeMemory {
    pub(super) fn new(memory: &GuestMemory) -> Self {
        Self { live: LiveMemory(memory.clone()), watch: Watch::start(memory) }
    }

    /// Calls `take` with each page that may have been written since the last time, in order.
    pub(super) fn written(
        &mut self,
        mut take: impl FnMut(&LiveMemory, u32, &mut Content),
    ) -> Result<(), SnapshotError> {
        let mut content = [0; PAGE_BYTES];
        for range in self.watch.written()? {
            for page in pages(&range) {
                // A report names whole pages of the machine, which may reach beyond the memory.
                if self.live.read(page, &mut content) {
                    take(&self.live, page, &mut content);
                }
            }
        }
        Ok(())
    }
}

/// The pages of a range of bytes.
fn pages(range: &Range<u64>) -> Range<u32> {
    let page = |at: u64| (at / PAGE_BYTES as u64) as u32;
    page(range.start)..page(range.end)
}

/// Tells the home what its program has written.
pub(super) fn tell_home(memory: &mut NodeMemory, home: &mut Home) -> Result<(), SnapshotError> {
    memory.written(|_, page, content| home.changed(page, content))
}

/// What of a member's memory is its own when it begins: all else is as in a memory of zeros.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The pages from which the member's threads get memory, of 64 KiB.
    pub(super) arena: Range<u32>,
    /// Further bytes that the others are to see.
    pub(super) kept: Private,
}

impl Own {
    /// Whether the page is one that the member's threads get memory from.
    fn has(&self, page: u32) -> bool {
        self.arena.contains(&(page / 16))
    }
}

/// Clears what a member's program has written before its home's memory comes; appends what it has of its own.
pub(super) fn clear(
    memory: &mut NodeMemory,
    member: &mut Member,
    own: &Own,
    delta: &mut faasm_omp_engine::span::Delta,
) -> Result<(), SnapshotError> {
    memory.written(|live, page, content| {
        if !own.has(page) {
            let keeps = [member.private().of_page(page), own.kept.of_page(page)];
            let keeps = |index: usize| keeps.iter().flatten().any(|mask| mask.has(index));
            for (index, byte) in content.iter_mut().enumerate() {
                if *byte != 0 && !keeps(index) {
                    *byte = 0;
                }
            }
            live.write(page * PAGE_BYTES as u32, content);
        }
        member.changed(page, content, delta);
    })
}

impl Live for LiveMemory {
    fn read(&self, page: u32, out: &mut Content) -> bool {
        self.0.read(GuestAddr::new(u64::from(page) * PAGE_BYTES as u64), out).is_ok()
    }

    fn write(&self, address: u32, bytes: &[u8]) {
        let inside = self.0.write(GuestAddr::from(address), bytes);
        debug_assert!(inside.is_ok(), "the page was read before");
    }

    fn atomic(&self, operation: u8, address: u32, first: u64, second: u64) -> Option<u64> {
        let known = Atomic::from_number(operation)?;
        let change = |old| known.apply(old, first, second);
        self.0.atomic_update(GuestAddr::from(address), known.bytes, change).ok().flatten()
    }
}
