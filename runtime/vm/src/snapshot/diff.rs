//! What changed in a memory since a snapshot, and bringing that into other memories.

use super::merge::MergeOperation;
use super::take::{chunks, read};
use super::{MemorySnapshot, SNAPSHOT_PAGE_BYTES};
use crate::guest::{GuestAddr, GuestFault, GuestMemory};

/// Most runs of a diff: a memory of which each second byte changed has as many per 128 MiB.
pub const RUNS_MAX: usize = 64 << 20;

/// A part of memory whose changes are merged otherwise than byte by byte.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct MergeRegion {
    /// Address of its first byte.
    pub start: u64,
    /// Size in bytes, a multiple of the operation's unit.
    pub bytes: u64,
    /// How changes in it are merged.
    pub operation: MergeOperation,
}

/// Why a diff cannot be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// More runs than [`RUNS_MAX`].
    #[error("a memory changed in more than {RUNS_MAX} places: take a whole snapshot instead")]
    TooManyRuns,
    /// Regions that cannot be.
    #[error(
        "merge region at {start:#x}: regions are sorted, do not overlap, and have a multiple of their operation's unit"
    )]
    Region {
        /// Where it begins.
        start: u64,
    },
    /// A product that is not one.
    #[error(
        "the number at {offset:#x} cannot be merged as a product: it was zero, or is no multiple of what it was"
    )]
    NoFactor {
        /// Address of the number.
        offset: u64,
    },
    /// The diff does not fit the memory.
    #[error("a diff of a memory of {need} bytes does not fit one of {have} bytes: grow it before")]
    TooSmall {
        /// Size of the memory.
        have: u64,
        /// Size of the memory that the diff is of.
        need: u64,
    },
    /// An access outside the memory.
    #[error(transparent)]
    Fault(#[from] GuestFault),
}

/// What changed in a memory: runs of bytes, in order of their addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diff {
    memory_len: u64,
    runs: Vec<RunHead>,
    bytes: Vec<u8>,
}

/// Where a run goes; its bytes stand behind those of the runs before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RunHead {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) operation: MergeOperation,
}

impl RunHead {
    fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}

/// One run of a diff.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run<'a> {
    /// Address of its first byte.
    pub offset: u64,
    /// How it is merged.
    pub operation: MergeOperation,
    /// What is merged.
    pub bytes: &'a [u8],
}

impl Diff {
    /// A memory of `memory_len` bytes in which nothing changed.
    pub(super) const fn new(memory_len: u64) -> Self {
        Self { memory_len, runs: Vec::new(), bytes: Vec::new() }
    }

    /// The parts, which have been checked to fit each other.
    pub(super) const fn of_parts(memory_len: u64, runs: Vec<RunHead>, bytes: Vec<u8>) -> Self {
        Self { memory_len, runs, bytes }
    }

    /// What changed in `now` since its content was `base`; by the operations of `regions`, which are
    /// sorted and do not overlap, and byte by byte elsewhere.
    ///
    /// # Errors
    /// When there are too many changes, a region is none, or a product has no factor.
    pub fn between(
        base: &MemorySnapshot,
        now: &GuestMemory,
        regions: &[MergeRegion],
    ) -> Result<Self, DiffError> {
        check(regions)?;
        let mut comparison = Comparison { regions, diff: Self::new(now.len()) };
        let mut buffer = vec![0; super::take::CHUNK_BYTES + UNIT_MAX];
        for range in base.suspects(now) {
            let end = (range.end as u64).min(now.len());
            for (offset, bytes) in chunks(range.start as u64..end) {
                let now_bytes = &mut buffer[..bytes];
                read(now, offset, now_bytes);
                for (index, page) in now_bytes.chunks(SNAPSHOT_PAGE_BYTES).enumerate() {
                    let at = offset + (index * SNAPSHOT_PAGE_BYTES) as u64;
                    let base_page = base.base(at, page.len());
                    if base_page != page {
                        comparison.page(at, &padded(base_page), page, (base, now))?;
                    }
                }
            }
        }
        Ok(comparison.diff)
    }

    /// Size of the memory.
    pub const fn memory_len(&self) -> u64 {
        self.memory_len
    }

    /// Number of bytes in all runs.
    pub const fn changed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing changed.
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs, in order of their addresses.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let mut rest = self.bytes.as_slice();
        self.runs.iter().map(move |head| {
            let (bytes, others) = rest.split_at(head.len as usize);
            rest = others;
            Run { offset: head.offset, operation: head.operation, bytes }
        })
    }

    /// Merges it into `target`, the bytes of a memory from address 0 on.
    ///
    /// # Errors
    /// When the target is smaller than the memory that the diff is of; nothing has changed then.
    pub fn apply(&self, target: &mut [u8]) -> Result<(), DiffError> {
        self.fits(target.len() as u64)?;
        for run in self.runs() {
            let start = run.offset as usize;
            run.operation.merge(&mut target[start..start + run.bytes.len()], run.bytes);
        }
        Ok(())
    }

    /// Merges it into `memory`.
    ///
    /// # Errors
    /// When the memory is smaller than the one that the diff is of; nothing has changed then.
    pub fn apply_to(&self, memory: &GuestMemory) -> Result<(), DiffError> {
        self.fits(memory.len())?;
        for run in self.runs() {
            let at = GuestAddr::new(run.offset);
            if run.operation == MergeOperation::Bytewise {
                memory.write(at, run.bytes)?;
                continue;
            }
            let mut target = memory.read_vec(at, run.bytes.len() as u64)?;
            run.operation.merge(&mut target, run.bytes);
            memory.write(at, &target)?;
        }
        Ok(())
    }

    fn fits(&self, have: u64) -> Result<(), DiffError> {
        let need = self.memory_len;
        if have < need { Err(DiffError::TooSmall { have, need }) } else { Ok(()) }
    }

    /// Appends a run, which lies behind all others.
    pub(super) fn push(
        &mut self,
        offset: u64,
        operation: MergeOperation,
        bytes: &[u8],
    ) -> Result<(), DiffError> {
        for (index, bytes) in bytes.chunks(RUN_BYTES_MAX).enumerate() {
            let offset = offset + (index * RUN_BYTES_MAX) as u64;
            self.bytes.extend_from_slice(bytes);
            self.note(offset, operation, bytes.len())?;
        }
        Ok(())
    }

    /// Appends the head of a run whose bytes are there, or makes the last one longer.
    fn note(
        &mut self,
        offset: u64,
        operation: MergeOperation,
        bytes: usize,
    ) -> Result<(), DiffError> {
        let room = RUN_BYTES_MAX - bytes;
        if let Some(last) = self.runs.last_mut()
            && last.end() == offset
            && last.operation == operation
            && last.len as usize <= room
        {
            last.len += bytes as u32;
            return Ok(());
        }
        if self.runs.len() == RUNS_MAX {
            return Err(DiffError::TooManyRuns);
        }
        self.runs.push(RunHead { offset, len: bytes as u32, operation });
        Ok(())
    }

    pub(super) fn parts(&self) -> (&[RunHead], &[u8]) {
        (&self.runs, &self.bytes)
    }
}

/// Longest run; a longer one becomes several.
const RUN_BYTES_MAX: usize = 1 << 30;

/// Largest unit of an operation.
const UNIT_MAX: usize = 8;

/// A diff in the making.
struct Comparison<'a> {
    regions: &'a [MergeRegion],
    diff: Diff,
}

impl Comparison<'_> {
    /// Compares one page that begins at `at`.
    fn page(
        &mut self,
        at: u64,
        base: &[u8; SNAPSHOT_PAGE_BYTES],
        now: &[u8],
        whole: (&MemorySnapshot, &GuestMemory),
    ) -> Result<(), DiffError> {
        let end = at + now.len() as u64;
        let mut offset = at;
        // Units of a region may begin on the page before, where they were compared as a whole.
        let first = self.regions.partition_point(|region| region.start + region.bytes <= at);
        for region in &self.regions[first..] {
            if region.start >= end {
                break;
            }
            self.bytewise(offset..region.start.max(offset), at, base, now)?;
            let unit = region.operation.unit() as u64;
            let stop = (region.start + region.bytes).min(end);
            let mut unit_at =
                region.start + (offset.max(region.start) - region.start) / unit * unit;
            while unit_at < stop {
                self.unit(unit_at, region.operation, whole)?;
                unit_at += unit;
            }
            offset = stop;
        }
        self.bytewise(offset..end, at, base, now)
    }

    fn bytewise(
        &mut self,
        range: std::ops::Range<u64>,
        at: u64,
        base: &[u8; SNAPSHOT_PAGE_BYTES],
        now: &[u8],
    ) -> Result<(), DiffError> {
        let (mut index, end) = ((range.start - at) as usize, (range.end - at) as usize);
        while index < end {
            let same = base[index..end].iter().zip(&now[index..end]).take_while(|(b, n)| b == n);
            let start = index + same.count();
            let changed = base[start..end].iter().zip(&now[start..end]).take_while(|(b, n)| b != n);
            index = start + changed.count();
            self.diff.push(at + start as u64, MergeOperation::Bytewise, &now[start..index])?;
        }
        Ok(())
    }

    /// Compares one unit of a region, which may reach into the next page.
    fn unit(
        &mut self,
        at: u64,
        operation: MergeOperation,
        (base, now): (&MemorySnapshot, &GuestMemory),
    ) -> Result<(), DiffError> {
        // It was compared with the page on which it begins.
        if operation == MergeOperation::Ignore
            || self.diff.runs.last().is_some_and(|last| last.end() > at)
        {
            return Ok(());
        }
        let bytes = operation.unit();
        let now = now.read_vec(GuestAddr::new(at), bytes as u64)?;
        let base = base.bytes_at(at, bytes);
        if base == now {
            return Ok(());
        }
        let no_factor = |_| DiffError::NoFactor { offset: at };
        operation.contribute(&base, &now, &mut self.diff.bytes).map_err(no_factor)?;
        self.diff.note(at, operation, bytes)
    }
}

fn padded(bytes: &[u8]) -> [u8; SNAPSHOT_PAGE_BYTES] {
    let mut page = [0; SNAPSHOT_PAGE_BYTES];
    page[..bytes.len()].copy_from_slice(bytes);
    page
}

fn check(regions: &[MergeRegion]) -> Result<(), DiffError> {
    let mut end = 0;
    for region in regions {
        let whole = region.bytes.is_multiple_of(region.operation.unit() as u64);
        let stop = region.start.checked_add(region.bytes);
        end = stop
            .filter(|_| whole && region.start >= end)
            .ok_or(DiffError::Region { start: region.start })?;
    }
    Ok(())
}
