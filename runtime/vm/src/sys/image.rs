//! Files without a name that hold an image of memory: written once, sealed, then mapped by many.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::unix::{page_bytes, write_all};

/// An image that is being written; what was not written reads as zero and takes no memory.
#[derive(Debug)]
pub(crate) struct ImageFile {
    file: OwnedFd,
    bytes: usize,
    /// Where anything was written, in the order of writing.
    written: Vec<Range<usize>>,
}

impl ImageFile {
    /// An image of `bytes` zeros, which are whole pages.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        assert!(bytes.is_multiple_of(page_bytes()), "images are whole pages");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("faasm-image", flags)?;
        rustix::fs::ftruncate(&file, bytes as u64)?;
        Ok(Self { file, bytes, written: Vec::new() })
    }

    /// Writes `data` at `offset`, inside the image.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let fits =
            offset.checked_add(data.len() as u64).is_some_and(|end| end <= self.bytes as u64);
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (start, end) = (offset as usize, offset as usize + data.len());
        match self.written.last_mut() {
            Some(last) if last.start <= start && start <= last.end => last.end = last.end.max(end),
            _ => self.written.push(start..end),
        }
        write_all(&self.file, data, offset)
    }

    /// Ends writing, for good and for everybody.
    pub(crate) fn seal(self) -> io::Result<ImageView> {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&self.file, seals)?;
        ImageView::map(self.file, self.bytes, self.written)
    }
}

/// A sealed image, mapped for reading.
#[derive(Debug)]
pub(crate) struct ImageView {
    file: OwnedFd,
    base: NonNull<u8>,
    bytes: usize,
    written: Vec<Range<usize>>,
}

// SAFETY: the mapping is read-only and its content never changes.
unsafe impl Send for ImageView {}
// SAFETY: as above.
unsafe impl Sync for ImageView {}

impl ImageView {
    fn map(file: OwnedFd, bytes: usize, written: Vec<Range<usize>>) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self { file, base: NonNull::dangling(), bytes, written });
        }
        // SAFETY: a null hint lets the kernel choose a free range; the mapping is private and read-only.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
                &file,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).expect("mmap never returns null on success");
        Ok(Self { file, base, bytes, written })
    }

    /// The file, which can be mapped but not changed.
    pub(crate) const fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The only parts of it that may hold anything but zeros; they may overlap.
    pub(crate) fn written(&self) -> &[Range<usize>] {
        &self.written
    }

    /// The content.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `bytes` readable bytes start at `base` (or none, at a dangling pointer) as long as `self`
        // lives; the file is sealed against writing and shrinking, so that they exist and never change.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }
}

impl Drop for ImageView {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: base and bytes are those mmap returned, and nobody can hold a reference into it.
            let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
            debug_assert!(unmapped.is_ok(), "munmap of an own mapping cannot fail");
        }
    }
}
