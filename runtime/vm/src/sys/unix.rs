//! Address space by `mmap`, `mprotect`, `madvise` and `munmap`.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// The host's page size in bytes, a power of two.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// A file of `bytes` zeros without a name, which nobody can shorten.
pub(crate) fn anonymous_file(bytes: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("faasm-shared", flags)?;
    rustix::fs::ftruncate(&file, bytes)?;
    // Pages of a file that was shortened could not be touched any more.
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// Writes all of `data` into a file, from `at` on.
pub(crate) fn write_all(file: &OwnedFd, mut data: &[u8], mut at: u64) -> io::Result<()> {
    while !data.is_empty() {
        let written = rustix::io::pwrite(file, data, at)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        data = &data[written..];
    }
    Ok(())
}

/// Address space that the kernel gave in one piece; unmapped on drop, when no part of it is left.
#[derive(Debug)]
struct Reservation {
    base: NonNull<u8>,
    bytes: usize,
}

impl Reservation {
    fn new(bytes: usize, access: ProtFlags) -> io::Result<Arc<Self>> {
        assert!(bytes > 0 && bytes.is_multiple_of(page_bytes()), "whole pages are reserved");
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a null hint lets the kernel choose a free range, so no existing mapping is touched.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }?;
        let base = NonNull::new(base.cast()).expect("mmap never returns null on success");
        Ok(Arc::new(Self { base, bytes }))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: base and bytes are those mmap returned; the owner is going away, and every
        // handle that could reach the range holds this owner alive.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping cannot fail");
    }
}

/// A private anonymous range of address space, of which nobody else has a part.
///
/// It may be a part of a larger reservation, which is unmapped with its last part; nothing else ever
/// unmaps or moves it.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    within: Arc<Reservation>,
    /// A hint of the pool's.
    pub(crate) found: Found,
    /// What the pool knows of its pages.
    pub(crate) own: OwnPages,
}

/// Pages that held content of their own at some time, all of those that did then.
#[derive(Debug, Default)]
pub(crate) struct OwnPages {
    /// Addresses.
    pub(crate) places: Vec<Range<usize>>,
    /// How often the process had taken a page fault at that time, if that tells whether there are others now.
    pub(crate) faults: Option<u64>,
}

/// How much of what could be touched had been written when a mapping was last emptied.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Found {
    /// Something, or it is not known.
    #[default]
    Some,
    /// Nothing.
    Nothing,
    /// A few pages at most.
    Few,
    /// All of it.
    All,
}

// SAFETY: a reservation is an address and a length; nothing is read or written through it.
unsafe impl Send for Reservation {}
// SAFETY: as above.
unsafe impl Sync for Reservation {}
// SAFETY: the mapping is plain address space without thread affinity; all access goes through raw
// pointers whose users state their own synchronisation.
unsafe impl Send for Mapping {}
// SAFETY: as above; the methods that take `&self` only change page protection, which the kernel serialises.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `bytes` (whole pages) of inaccessible address space.
    pub(crate) fn reserve(bytes: usize) -> io::Result<Self> {
        let within = Reservation::new(bytes, ProtFlags::empty())?;
        Ok(Self {
            base: within.base,
            bytes,
            within,
            found: Found::default(),
            own: OwnPages::default(),
        })
    }

    /// Reserves `count` ranges of `bytes` each by one call of the kernel, inaccessible ones or all
    /// readable and writable.
    pub(crate) fn reserve_many(
        bytes: usize,
        count: usize,
        accessible: bool,
    ) -> io::Result<impl Iterator<Item = Self>> {
        let access =
            if accessible { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::empty() };
        let total = bytes.checked_mul(count).ok_or(io::ErrorKind::OutOfMemory)?;
        let within = Reservation::new(total, access)?;
        Ok((0..count).map(move |index| {
            // SAFETY: the part lies inside the reservation of `count` times `bytes`.
            let base = unsafe { within.base.add(index * bytes) };
            Self {
                base,
                bytes,
                within: within.clone(),
                found: Found::default(),
                own: OwnPages::default(),
            }
        }))
    }

    /// First byte of the range.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Length of the range.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes `[start, end)` readable and writable.
    pub(crate) fn make_accessible(&self, start: usize, end: usize) -> io::Result<()> {
        self.protect(start, end, MprotectFlags::READ | MprotectFlags::WRITE)
    }

    /// Makes `[start, end)` inaccessible again.
    pub(crate) fn make_inaccessible(&self, start: usize, end: usize) -> io::Result<()> {
        self.protect(start, end, MprotectFlags::empty())
    }

    /// Gives the pages of `[start, end)` back: they read as zero afterwards.
    pub(crate) fn discard(&self, start: usize, end: usize) -> io::Result<()> {
        self.advise(start, end, Advice::LinuxDontNeed)
    }

    /// Replaces the pages of the accessible `[start, start + bytes)` by the first ones of `file`, which
    /// has as many and is never shortened.
    pub(crate) fn share(&self, start: usize, bytes: usize, file: impl AsFd) -> io::Result<()> {
        let at = self.range_start(start, start + bytes);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the range is whole pages inside this mapping, which holds no Rust object and is only
        // reached through raw pointers; it stays mapped and accessible, and the file's pages all exist.
        unsafe { rustix::mm::mmap(at.cast(), bytes, access, flags, file, 0) }?;
        Ok(())
    }

    /// Replaces the first `bytes` of the mapping, which are accessible, by private copies of the first ones of
    /// `file`, made page by page when they are written to. The file has as many and never changes.
    pub(crate) fn copy_on_write(&self, bytes: usize, file: impl AsFd) -> io::Result<()> {
        let at = self.range_start(0, bytes);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: as in `share`; what is written to the pages stays in this mapping.
        unsafe { rustix::mm::mmap(at.cast(), bytes, access, flags, file, 0) }?;
        Ok(())
    }

    /// Replaces the pages of the accessible `[start, start + bytes)` by empty private ones.
    pub(crate) fn unshare(&self, start: usize, bytes: usize) -> io::Result<()> {
        let at = self.range_start(start, start + bytes);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: as in `share`; the pages are as those of the reservation were at first.
        unsafe { rustix::mm::mmap_anonymous(at.cast(), bytes, access, flags) }?;
        Ok(())
    }

    /// Writes `bytes` at `start`, to accessible bytes that only guests and this thread may reach meanwhile.
    pub(crate) fn write(&self, start: usize, bytes: &[u8]) {
        let at = self.range_start(start, start + bytes.len());
        // SAFETY: as many accessible bytes begin at `at`; `bytes` is host memory outside every mapping of slots,
        // or a read-only view of an image.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    }

    /// Makes the accessible bytes `[start, end)` zero, which only guests and this thread may reach meanwhile.
    pub(crate) fn zero(&self, start: usize, end: usize) {
        let at = self.range_start(start, end);
        // SAFETY: as many accessible bytes begin at `at`.
        unsafe { std::ptr::write_bytes(at, 0, end - start) };
    }

    /// Reads the accessible bytes from `start` on.
    #[cfg(any(test, feature = "lab"))]
    pub(crate) fn read(&self, start: usize, out: &mut [u8]) {
        let at = self.range_start(start, start + out.len());
        // SAFETY: as in `write`, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(at.cast_const(), out.as_mut_ptr(), out.len()) };
    }

    /// Asks for small pages only, in the whole reservation that this is a part of, so that one touched
    /// byte costs one small page.
    pub(crate) fn refuse_huge_pages(&self) -> io::Result<()> {
        let Reservation { base, bytes } = *self.within;
        // SAFETY: the reservation is ours, and the size of its pages changes nothing that can be read.
        unsafe { rustix::mm::madvise(base.as_ptr().cast(), bytes, Advice::LinuxNoHugepage) }?;
        Ok(())
    }

    /// As [`refuse_huge_pages`](Self::refuse_huge_pages), in this part of the mapping only; true if there can be none.
    pub(crate) fn refuse_huge_pages_in(&self, start: usize, end: usize) -> bool {
        let refused = self.advise(start, end, Advice::LinuxNoHugepage);
        // A kernel that does not know this has none.
        refused.is_ok() || refused.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
    }

    fn advise(&self, start: usize, end: usize, advice: Advice) -> io::Result<()> {
        if start == end {
            return Ok(());
        }
        let at = self.range_start(start, end);
        // SAFETY: the range lies inside this mapping; private anonymous pages are ours alone,
        // discarding them only replaces their content by zeros, and their size changes nothing that can be read.
        unsafe { rustix::mm::madvise(at.cast(), end - start, advice) }?;
        Ok(())
    }

    fn protect(&self, start: usize, end: usize, flags: MprotectFlags) -> io::Result<()> {
        if start == end {
            return Ok(());
        }
        let at = self.range_start(start, end);
        // SAFETY: the range lies inside this mapping, which holds no Rust object.
        unsafe { rustix::mm::mprotect(at.cast(), end - start, flags) }?;
        Ok(())
    }

    fn range_start(&self, start: usize, end: usize) -> *mut u8 {
        assert!(start <= end && end <= self.bytes, "range {start}..{end} leaves the mapping");
        // SAFETY: `start` is at most the mapping's length, so the pointer stays inside or one past it.
        unsafe { self.base.as_ptr().add(start) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.bytes < self.within.bytes {
            // The other parts keep the address space; the pages need not wait for them.
            let emptied = self.discard(0, self.bytes);
            debug_assert!(emptied.is_ok(), "giving back pages of an own mapping cannot fail");
        }
    }
}
