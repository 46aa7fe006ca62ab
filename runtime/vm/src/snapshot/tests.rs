//! Snapshots and diffs against plain vectors of bytes.

use super::*;
use crate::GuestMemory;
use crate::guest::GuestAddr;
use crate::pool::{Pool, PoolConfig};
use crate::sys::page_bytes;

/// Splitmix64: the same numbers on all machines.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Writes to random places of `memory`, mostly few of them.
    fn scribble(&mut self, memory: &GuestMemory, times: u64) {
        for _ in 0..times {
            let most = if self.below(4) == 0 { 9000 } else { 20 };
            let len = 1 + self.below(most);
            let at = self.below(memory.len() - len);
            let byte = self.next() as u8 & if self.below(3) == 0 { 0 } else { 255 };
            memory.fill(GuestAddr::new(at), byte, len).expect("inside");
        }
    }
}

const LEN: usize = 300_000;

fn content(memory: &GuestMemory) -> Vec<u8> {
    memory.read_vec(GuestAddr::new(0), memory.len()).expect("inside")
}

fn image_of(snapshot: &MemorySnapshot) -> Vec<u8> {
    let mut bytes = vec![0; snapshot.len_bytes() as usize];
    for (index, page) in snapshot.pages() {
        let start = index.offset() as usize;
        let end = (start + page.len()).min(bytes.len());
        bytes[start..end].copy_from_slice(&page[..end - start]);
    }
    bytes
}

#[test]
fn a_memory_gets_its_content_back_whatever_was_in_it() {
    let pool = Pool::new(PoolConfig::default());
    for seed in 0..30 {
        let mut random = Random(seed);
        let first = pool.memory_for_test(LEN);
        let times = random.below(40);
        random.scribble(&first, times);
        let before = content(&first);
        let snapshot = MemorySnapshot::take(&first).expect("a snapshot");
        assert_eq!(image_of(&snapshot), before, "seed {seed}");
        let second = pool.memory_for_test(LEN + 70_000);
        for round in 0..3 {
            random.scribble(&second, 10);
            snapshot.restore_into(&second).expect("restored");
            let restored = content(&second);
            assert_eq!(restored[..LEN], before, "seed {seed} round {round}");
            assert!(is_zero(&restored[LEN..]), "seed {seed} round {round}");
            random.scribble(&second, 3);
            let again = MemorySnapshot::take(&second).expect("a snapshot of a restored memory");
            assert_eq!(image_of(&again), content(&second), "seed {seed} round {round}");
            assert_eq!(image_of(&snapshot), before, "a snapshot never changes");
        }
        drop(second);
        let next = pool.memory_for_test(LEN + 70_000);
        assert!(is_zero(&content(&next)), "seed {seed}: something is left for the next");
    }
}

#[test]
fn zeros_take_no_room_and_equal_content_has_equal_hashes() {
    let memory = GuestMemory::for_test(40 * SNAPSHOT_PAGE_BYTES);
    memory.fill(GuestAddr::new(0), 7, memory.len()).expect("inside");
    memory.fill(GuestAddr::new(0), 0, memory.len()).expect("inside");
    memory.write_u8(GuestAddr::new(5 * SNAPSHOT_PAGE_BYTES as u64 + 3), 1).expect("inside");
    let taken = MemorySnapshot::take(&memory).expect("a snapshot");
    assert_eq!(taken.pages().map(|(index, _)| index.0).collect::<Vec<_>>(), [5]);
    let mut builder = SnapshotBuilder::new(memory.len()).expect("a builder");
    builder.write(5 * SNAPSHOT_PAGE_BYTES as u64 + 3, &[1]).expect("inside");
    builder.write(9 * SNAPSHOT_PAGE_BYTES as u64, &[0; 50]).expect("inside");
    let built = builder.finish().expect("a snapshot");
    assert_eq!((built.used_pages(), built.hash()), (1, taken.hash()));
    assert_eq!(built, taken);
    memory.write_u8(GuestAddr::new(0), 1).expect("inside");
    assert_ne!(MemorySnapshot::take(&memory).expect("a snapshot").hash(), taken.hash());
}

#[test]
fn what_does_not_fit_is_refused() {
    let memory = GuestMemory::for_test(SNAPSHOT_PAGE_BYTES);
    let mut builder = SnapshotBuilder::new(2 * SNAPSHOT_PAGE_BYTES as u64).expect("a builder");
    let refused = builder.write(2 * SNAPSHOT_PAGE_BYTES as u64 - 1, &[1, 2]);
    assert!(matches!(refused, Err(SnapshotError::TooLarge(_))), "{refused:?}");
    assert!(builder.write(u64::MAX, &[1]).is_err());
    assert!(SnapshotBuilder::new(SNAPSHOT_BYTES_MAX + 1).is_err());
    let snapshot = builder.finish().expect("a snapshot");
    let refused = snapshot.restore_into(&memory);
    assert!(matches!(refused, Err(SnapshotError::TooSmall { .. })), "{refused:?}");
}

#[test]
fn a_diff_brings_the_old_content_to_the_new_one() {
    let pool = Pool::new(PoolConfig::default());
    for seed in 0..30 {
        let mut random = Random(seed);
        let memory = pool.memory_for_test(LEN);
        random.scribble(&memory, 30);
        let base = MemorySnapshot::take(&memory).expect("a snapshot");
        // On the memory itself all bytes are compared, on a restored one those that may have changed.
        let restored = pool.memory_for_test(LEN);
        base.restore_into(&restored).expect("restored");
        for memory in [memory, restored] {
            random.scribble(&memory, 12);
            let diff = base.diff(&memory).expect("a diff");
            let mut bytes = image_of(&base);
            diff.apply(&mut bytes).expect("it fits");
            assert_eq!(bytes, content(&memory), "seed {seed}");
            let packed = diff.encode(1).expect("packed");
            let unpacked = Diff::decode(&packed, 1 << 30).expect("unpacked");
            assert_eq!(unpacked, diff);
            let next = base.with(&unpacked).expect("a snapshot");
            assert_eq!(next, MemorySnapshot::take(&memory).expect("a snapshot"));
            let empty = SnapshotBuilder::new(0).and_then(SnapshotBuilder::finish).expect("empty");
            let whole = empty.with(&next.to_diff().expect("a diff")).expect("a snapshot");
            assert_eq!(whole.hash(), next.hash());
        }
    }
}

#[test]
fn contributions_of_several_memories_are_merged_in_any_order() {
    let page = SNAPSHOT_PAGE_BYTES as u64;
    // Each region reaches over the end of a page, in the middle of a number.
    let regions: Vec<_> = [
        MergeOperation::Xor,
        MergeOperation::Sum(Number::I64),
        MergeOperation::Product(Number::F64),
        MergeOperation::Min(Number::I32),
        MergeOperation::Max(Number::F32),
        MergeOperation::Ignore,
    ]
    .into_iter()
    .enumerate()
    .map(|(index, operation)| MergeRegion {
        start: (index as u64 + 1) * page - 10,
        bytes: 24,
        operation,
    })
    .collect();
    let memory = GuestMemory::for_test(8 * SNAPSHOT_PAGE_BYTES);
    let at = |region: usize, offset: u64| GuestAddr::new(regions[region].start + offset);
    let set = |memory: &GuestMemory, numbers: (u64, i64, f64, i32, f32, u8), own: u64| {
        memory.write_u64(at(0, 8), numbers.0).expect("inside");
        memory.write(at(1, 8), &numbers.1.to_le_bytes()).expect("inside");
        memory.write(at(2, 8), &numbers.2.to_le_bytes()).expect("inside");
        memory.write(at(3, 8), &numbers.3.to_le_bytes()).expect("inside");
        memory.write(at(4, 8), &numbers.4.to_le_bytes()).expect("inside");
        memory.write_u8(at(5, 8), numbers.5).expect("inside");
        memory.write_u8(GuestAddr::new(own), 9).expect("inside");
    };
    set(&memory, (0b1000, 100, 3.0, 50, 1.5, 1), 0);
    let base = MemorySnapshot::take(&memory).expect("a snapshot");
    let contributions = [
        ((0b1001, 107, 6.0, 60, 2.5, 2), 100),
        ((0b1010, 90, 7.5, 40, 0.5, 3), 101),
        ((0b0000, 103, 3.0, 45, 9.0, 4), 102),
    ];
    let diffs = contributions.map(|(numbers, own)| {
        let memory = GuestMemory::for_test(8 * SNAPSHOT_PAGE_BYTES);
        base.restore_into(&memory).expect("restored");
        set(&memory, numbers, own);
        let diff = Diff::between(&base, &memory, &regions).expect("a diff");
        Diff::decode(&diff.encode(3).expect("packed"), 1 << 20).expect("unpacked")
    });
    let expected = GuestMemory::for_test(8 * SNAPSHOT_PAGE_BYTES);
    set(&expected, (0b0011, 100, 15.0, 40, 9.0, 1), 0);
    for own in [100, 101, 102] {
        expected.write_u8(GuestAddr::new(own), 9).expect("inside");
    }
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let target = GuestMemory::for_test(8 * SNAPSHOT_PAGE_BYTES);
        base.restore_into(&target).expect("restored");
        for index in order {
            let diff: &Diff = &diffs[index];
            diff.apply_to(&target).expect("it fits");
        }
        assert_eq!(content(&target), content(&expected), "order {order:?}");
    }
    let zero = GuestMemory::for_test(8 * SNAPSHOT_PAGE_BYTES);
    zero.write(at(2, 0), &1.0_f64.to_le_bytes()).expect("inside");
    let refused = Diff::between(&base, &zero, &regions);
    assert!(matches!(refused, Err(DiffError::NoFactor { .. })), "{refused:?}");
}

#[test]
fn every_operation_undoes_its_difference_for_every_type() {
    for number in Number::ALL {
        let bytes = number.bytes();
        let (base, now) = ([3, 0, 0, 0, 0, 0, 0, 0], [12, 0, 0, 0, 0, 0, 0, 0]);
        let (base, now) = match number {
            Number::F32 => (both(&3.0_f32.to_le_bytes()), both(&12.0_f32.to_le_bytes())),
            Number::F64 => (both(&3.0_f64.to_le_bytes()), both(&12.0_f64.to_le_bytes())),
            _ => (base, now),
        };
        for operation in [MergeOperation::Sum(number), MergeOperation::Product(number)] {
            let mut contribution = Vec::new();
            let made = operation.contribute(&base[..bytes], &now[..bytes], &mut contribution);
            assert!(made.is_ok(), "{operation:?}");
            let mut target = base[..bytes].to_vec();
            operation.merge(&mut target, &contribution);
            assert_eq!(target, now[..bytes], "{operation:?}");
        }
        let mut target = base[..bytes].to_vec();
        MergeOperation::Max(number).merge(&mut target, &now[..bytes]);
        assert_eq!(target, now[..bytes], "{number:?}");
        MergeOperation::Min(number).merge(&mut target, &base[..bytes]);
        assert_eq!(target, base[..bytes], "{number:?}");
    }
}

fn both(bytes: &[u8]) -> [u8; 8] {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    all
}

#[test]
fn regions_that_cannot_be_are_refused() {
    let memory = GuestMemory::for_test(SNAPSHOT_PAGE_BYTES);
    let base = MemorySnapshot::take(&memory).expect("a snapshot");
    let region =
        |start, bytes| MergeRegion { start, bytes, operation: MergeOperation::Sum(Number::U32) };
    let wrong = [vec![region(0, 6)], vec![region(8, 8), region(0, 8)], vec![region(u64::MAX, 8)]];
    for regions in wrong {
        let refused = Diff::between(&base, &memory, &regions);
        assert!(matches!(refused, Err(DiffError::Region { .. })), "{refused:?}");
    }
    memory.write_u32(GuestAddr::new(SNAPSHOT_PAGE_BYTES as u64 - 4), 1).expect("inside");
    let outside = [region(SNAPSHOT_PAGE_BYTES as u64 - 4, 8)];
    assert!(Diff::between(&base, &memory, &outside).is_ok_and(|diff| diff.changed_bytes() == 4));
}

#[test]
fn damaged_bytes_are_refused_wherever_the_damage_is() {
    let memory = GuestMemory::for_test(4 * SNAPSHOT_PAGE_BYTES);
    let base = MemorySnapshot::take(&memory).expect("a snapshot");
    memory.write(GuestAddr::new(100), b"some bytes that change").expect("inside");
    memory.write(GuestAddr::new(9000), b"and others").expect("inside");
    let packed = base.diff(&memory).expect("a diff").encode(1).expect("packed");
    for index in 0..packed.len() {
        assert!(Diff::decode(&packed[..index], 1 << 20).is_err(), "cut at {index}");
        for bit in 0..8 {
            let mut damaged = packed.clone();
            damaged[index] ^= 1 << bit;
            assert!(Diff::decode(&damaged, 1 << 20).is_err(), "bit {bit} of byte {index}");
        }
    }
    let mut longer = packed.clone();
    longer.push(0);
    assert!(Diff::decode(&longer, 1 << 20).is_err());
    let refused = Diff::decode(&packed, 10);
    assert!(matches!(refused, Err(FormatError::TooLarge { .. })), "{refused:?}");
}

#[test]
fn bodies_that_somebody_made_up_are_refused() {
    let memory = GuestMemory::for_test(SNAPSHOT_PAGE_BYTES);
    let base = MemorySnapshot::take(&memory).expect("a snapshot");
    memory.write(GuestAddr::new(16), &[1; 16]).expect("inside");
    memory.write(GuestAddr::new(64), &[1; 16]).expect("inside");
    let diff = base.diff(&memory).expect("a diff");
    let body = diff.body();
    assert_eq!(
        Diff::decode(&format::pack(&body, 1).expect("packed"), 1 << 20).ok().as_ref(),
        Some(&diff)
    );
    let mut random = Random(7);
    for _ in 0..2000 {
        let mut forged = body.clone();
        for _ in 0..=random.below(3) {
            let index = random.below(forged.len() as u64) as usize;
            forged[index] = random.next() as u8;
        }
        // It is either refused or a diff that keeps the rules: applying it cannot leave the memory.
        if let Ok(diff) = Diff::decode(&format::pack(&forged, 1).expect("packed"), 1 << 20) {
            let mut target = vec![0; 1 << 16];
            assert_eq!(diff.apply(&mut target).is_ok(), diff.memory_len() <= 1 << 16);
        }
    }
}

/// So many are mapped, not copied.
const MAPPED_PAGES: u64 = 20;

#[test]
fn only_what_was_written_has_content() {
    let (pool, page) = (Pool::new(PoolConfig::default()), page_bytes() as u64);
    let memory = pool.memory_for_test(400 * page as usize);
    assert_eq!(super::content(&memory), []);
    memory.read_vec(GuestAddr::new(0), memory.len()).expect("inside");
    assert_eq!(super::content(&memory), [], "reading is no writing");
    let mut builder = SnapshotBuilder::new(memory.len()).expect("room");
    for index in 0..MAPPED_PAGES {
        builder.write(10 * index * page, &[7; 4 << 10]).expect("inside");
    }
    builder.finish().expect("a snapshot").restore_into(&memory).expect("restored");
    memory.write_u8(GuestAddr::new(3 * page), 1).expect("inside");
    memory.write_u8(GuestAddr::new(memory.len() - 1), 1).expect("inside");
    // What a tracker leaves in the kernel's tables is no content.
    let _tracker = Tracker::start(&memory).expect("a tracker");
    let found = super::content(&memory);
    let has = |at: u64| found.iter().any(|range| range.contains(&at));
    for index in 0..400 {
        let is_written = index % 10 == 0 && index / 10 < MAPPED_PAGES || [3, 399].contains(&index);
        assert_eq!(has(index * page), is_written, "page {index} of {found:?}");
    }
}
