//! Bounds-checked access to a Faaslet's linear memory.
//!
//! A guest may write to its memory while the host reads it, so the host never forms a Rust
//! reference into it: bytes are copied in, checked, acted on and copied out. Racing accesses may
//! see a mixture of old and new bytes, which only ever harms the guest that races.

mod atomic;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::page::HostPages;
use crate::pool::Home;
use crate::sys::{ImageView, Mapping};

/// An address in a linear memory, in bytes from its start.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GuestAddr(u64);

impl GuestAddr {
    /// The address `value` bytes from the start of memory.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The distance from the start of memory in bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address `bytes` further on; `None` when it does not fit.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// Whether this is C's null pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }
}

impl From<u32> for GuestAddr {
    fn from(value: u32) -> Self {
        Self(u64::from(value))
    }
}

impl From<i32> for GuestAddr {
    /// A wasm `i32` holds a 32-bit address; its bits are taken as unsigned.
    fn from(value: i32) -> Self {
        Self(u64::from(value.cast_unsigned()))
    }
}

/// An access outside a linear memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("bytes {addr:#x}..{addr:#x}+{len} lie outside the memory of {memory_len} bytes")]
pub struct GuestFault {
    /// First byte of the access.
    pub addr: u64,
    /// Length of the access in bytes.
    pub len: u64,
    /// Size of the memory at the time.
    pub memory_len: u64,
}

/// The address range behind one linear memory, shared by the instance and by host handles.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Taken only by `drop`, which hands it back to `pool`.
    mapping: Option<Mapping>,
    len: AtomicUsize,
    /// Pages that other memories have, too: first byte and length of each region.
    regions: Mutex<BTreeMap<usize, usize>>,
    image: Mutex<Beneath>,
    /// Where it goes at the end; without it is unmapped.
    home: Option<Arc<Home>>,
}

/// What lies beneath the pages that were written.
#[derive(Debug, Default)]
enum Beneath {
    /// Zeros.
    #[default]
    Zeros,
    /// An image, from the first byte on.
    Image(Arc<ImageView>),
    /// An image with other pages in it.
    Torn(Arc<ImageView>),
}

impl Beneath {
    const fn image(&self) -> Option<&Arc<ImageView>> {
        match self {
            Self::Zeros => None,
            Self::Image(image) | Self::Torn(image) => Some(image),
        }
    }
}

impl Slot {
    /// A slot of which the first `len` bytes are accessible, with the content of `image`.
    pub(crate) fn new(
        mapping: Mapping,
        len: usize,
        image: Option<Arc<ImageView>>,
        home: Option<Arc<Home>>,
    ) -> Self {
        let image = Mutex::new(image.map_or(Beneath::Zeros, Beneath::Image));
        let regions = Mutex::default();
        Self { mapping: Some(mapping), len: AtomicUsize::new(len), regions, image, home }
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("a slot holds its mapping until it is dropped")
    }

    /// The shared regions inside it.
    pub(crate) fn regions(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.regions.lock()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// The image that is mapped into it, maybe with other pages in it.
    pub(crate) fn image(&self) -> Option<Arc<ImageView>> {
        self.image.lock().image().cloned()
    }

    /// Whether pages that were not written to are those of `image`, or zero behind it.
    pub(crate) fn began_as(&self, image: &Arc<ImageView>) -> bool {
        matches!(&*self.image.lock(), Beneath::Image(own) if Arc::ptr_eq(own, image))
    }

    /// Notes that other pages take the place of some.
    pub(crate) fn tear_image(&self) {
        let mut beneath = self.image.lock();
        if let Beneath::Image(image) = &*beneath {
            *beneath = Beneath::Torn(image.clone());
        }
    }

    /// Makes all accessible bytes zero.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let mut beneath = self.image.lock();
        if let Some(image) = beneath.image() {
            self.mapping().unshare(0, image.bytes().len())?;
            *beneath = Beneath::Zeros;
        }
        self.mapping().discard(0, self.page_end())
    }

    /// Makes `image`, which is no larger than the slot, its content, and zero what follows.
    pub(crate) fn set_image(&self, image: &Arc<ImageView>) -> io::Result<()> {
        if self.began_as(image) {
            // Pages of the image that were written to become the image's again.
            return self.mapping().discard(0, self.page_end());
        }
        self.clear()?;
        self.mapping().copy_on_write(image.bytes().len(), image.file())?;
        *self.image.lock() = Beneath::Image(image.clone());
        Ok(())
    }

    /// Asks for small pages only; true if there can be none but those.
    pub(crate) fn refuse_huge_pages(&self) -> bool {
        self.mapping().refuse_huge_pages_in(0, self.page_end())
    }

    /// End of the last page that holds an accessible byte.
    pub(crate) fn page_end(&self) -> usize {
        HostPages::round_up(self.len()).map_or(0, HostPages::bytes)
    }

    /// Publishes a new size; the caller has made the bytes below it accessible.
    pub(crate) fn set_len(&self, len: usize) {
        self.len.store(len, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (Some(mapping), Some(home)) = (self.mapping.take(), self.home.take()) else { return };
        let mut regions = self.regions.get_mut().iter();
        let unshared = regions.all(|(start, bytes)| mapping.unshare(*start, *bytes).is_ok());
        let (image, whole) = match std::mem::take(self.image.get_mut()) {
            Beneath::Image(image) => (Some(image), true),
            Beneath::Torn(image) => (None, mapping.unshare(0, image.bytes().len()).is_ok()),
            Beneath::Zeros => (None, true),
        };
        if unshared && whole {
            home.recycle_memory(mapping, *self.len.get_mut(), image);
        } else {
            // Nobody may get a slot through which others' pages can be reached.
            home.lose_memory(&mapping);
        }
    }
}

/// A handle to one Faaslet's linear memory; clones share it.
///
/// The address range stays mapped while any handle exists, also after the instance is gone.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    slot: Arc<Slot>,
}

impl GuestMemory {
    pub(crate) const fn new(slot: Arc<Slot>) -> Self {
        Self { slot }
    }

    pub(crate) const fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// Whether both are handles to the same memory.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.slot, &other.slot)
    }

    /// A free-standing memory of `len` bytes, for tests of host functions.
    ///
    /// # Panics
    /// When the address space cannot be had.
    pub fn for_test(len: usize) -> Self {
        let pages = crate::page::HostPages::round_up(len.max(1)).expect("a test memory is small");
        let mapping = Mapping::reserve(pages.bytes()).expect("address space for a test memory");
        mapping.make_accessible(0, pages.bytes()).expect("accessible test memory");
        Self::new(Arc::new(Slot::new(mapping, len, None, None)))
    }

    /// Address of its first byte in the host.
    #[cfg(test)]
    pub(crate) fn host_base(&self) -> usize {
        self.slot.mapping().base().as_ptr().addr()
    }

    /// A memory without bytes, for a Faaslet that has none yet.
    ///
    /// # Panics
    /// When not even a page of address space can be had.
    pub fn empty() -> Self {
        Self::for_test(0)
    }

    /// Current size in bytes.
    pub fn len(&self) -> u64 {
        self.slot.len() as u64
    }

    /// Whether the memory has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that `len` bytes at `addr` lie inside the memory.
    ///
    /// # Errors
    /// [`GuestFault`] when they do not.
    pub fn check(&self, addr: GuestAddr, len: u64) -> Result<(), GuestFault> {
        self.pointer(addr, len).map(|_| ())
    }

    /// Copies `out.len()` bytes at `addr` out of the memory.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside; nothing is copied then.
    #[inline]
    pub fn read(&self, addr: GuestAddr, out: &mut [u8]) -> Result<(), GuestFault> {
        let from = self.pointer(addr, out.len() as u64)?;
        // SAFETY: `pointer` proved that `out.len()` accessible bytes start at `from`, and they stay
        // mapped while `self` lives; `out` is host memory outside every slot, so they never overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.cast_const(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies `data` into the memory at `addr`.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside; nothing is copied then.
    #[inline]
    pub fn write(&self, addr: GuestAddr, data: &[u8]) -> Result<(), GuestFault> {
        let to = self.pointer(addr, data.len() as u64)?;
        // SAFETY: as in `read`, with `to` as the destination.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Ok(())
    }

    /// The `N` bytes at `addr`.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside.
    #[inline]
    pub fn read_array<const N: usize>(&self, addr: GuestAddr) -> Result<[u8; N], GuestFault> {
        let mut bytes = [0; N];
        self.read(addr, &mut bytes)?;
        Ok(bytes)
    }

    /// `len` bytes at `addr` as a vector; bounds are checked before anything is allocated.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside.
    pub fn read_vec(&self, addr: GuestAddr, len: u64) -> Result<Vec<u8>, GuestFault> {
        let from = self.pointer(addr, len)?;
        let len = usize::try_from(len).map_err(|_| self.fault(addr, len))?;
        let mut bytes = Vec::with_capacity(len);
        // SAFETY: `pointer` proved that `len` accessible bytes start at `from`; the vector has room for
        // them in host memory outside every slot, so the two never overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.cast_const(), bytes.as_mut_ptr(), len) };
        // SAFETY: the first `len` bytes, which are within the capacity, have just been written.
        unsafe { bytes.set_len(len) };
        Ok(bytes)
    }

    /// Copies runs of `run` bytes, `stride` bytes apart from `addr` on, until `out` is full. It takes whole
    /// runs only: what is left of `out` behind the last one stays as it is.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside; nothing is copied then.
    pub fn read_strided(
        &self,
        addr: GuestAddr,
        (run, stride): (usize, u64),
        out: &mut [u8],
    ) -> Result<(), GuestFault> {
        let from = self.rows(addr, (run, stride), out.len())?.cast_const();
        let stride = stride as usize;
        match run {
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            4 => unsafe { gather::<4>(from, stride, out) },
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            8 => unsafe { gather::<8>(from, stride, out) },
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            16 => unsafe { gather::<16>(from, stride, out) },
            _ => {
                for (index, out) in out.chunks_exact_mut(run).enumerate() {
                    // SAFETY: `rows` proved that all runs are accessible bytes of this slot.
                    let from = unsafe { from.add(index * stride) };
                    // SAFETY: as above; `out` is host memory outside every slot.
                    unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), run) };
                }
            }
        }
        Ok(())
    }

    /// Copies runs of `run` bytes from `data` to places `stride` bytes apart, from `addr` on.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside; nothing is copied then.
    pub fn write_strided(
        &self,
        addr: GuestAddr,
        (run, stride): (usize, u64),
        data: &[u8],
    ) -> Result<(), GuestFault> {
        let to = self.rows(addr, (run, stride), data.len())?;
        let stride = stride as usize;
        match run {
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            4 => unsafe { scatter::<4>(to, stride, data) },
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            8 => unsafe { scatter::<8>(to, stride, data) },
            // SAFETY: `rows` proved that all runs are accessible, and they stay mapped while `self` lives.
            16 => unsafe { scatter::<16>(to, stride, data) },
            _ => {
                for (index, data) in data.chunks_exact(run).enumerate() {
                    // SAFETY: `rows` proved that all runs are accessible bytes of this slot.
                    let to = unsafe { to.add(index * stride) };
                    // SAFETY: as above; `data` is host memory outside every slot.
                    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, run) };
                }
            }
        }
        Ok(())
    }

    /// Address in the host of the first of the runs that `bytes` make, after the check of all.
    fn rows(
        &self,
        addr: GuestAddr,
        (run, stride): (usize, u64),
        bytes: usize,
    ) -> Result<*mut u8, GuestFault> {
        assert!(run > 0, "a run has bytes");
        let span = match (bytes / run) as u64 {
            0 => Some(0),
            runs => (runs - 1).checked_mul(stride).and_then(|span| span.checked_add(run as u64)),
        };
        self.pointer(addr, span.unwrap_or(u64::MAX))
    }

    /// Sets `len` bytes at `addr` to `byte`.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside; nothing is written then.
    pub fn fill(&self, addr: GuestAddr, byte: u8, len: u64) -> Result<(), GuestFault> {
        let to = self.pointer(addr, len)?;
        // SAFETY: `pointer` proved that `len` accessible bytes start at `to`; `len` fits usize
        // because it is at most the memory's size.
        unsafe { std::ptr::write_bytes(to, byte, len as usize) };
        Ok(())
    }

    /// Copies `len` bytes from `source` at `from` to this memory at `to`, as `memmove` does.
    ///
    /// # Errors
    /// [`GuestFault`] of whichever range lies outside; nothing is copied then.
    #[inline]
    pub fn copy_from(
        &self,
        to: GuestAddr,
        source: &Self,
        from: GuestAddr,
        len: u64,
    ) -> Result<(), GuestFault> {
        let from = source.pointer(from, len)?;
        let to = self.pointer(to, len)?;
        // SAFETY: both ranges hold `len` accessible bytes of slots that both handles keep mapped;
        // `copy` allows them to overlap.
        unsafe { std::ptr::copy(from.cast_const(), to, len as usize) };
        Ok(())
    }

    /// The word at `addr`, as an atomic load of the guest would read it; `None` when `addr` is not
    /// aligned to the word.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside.
    pub fn atomic_load_u32(&self, addr: GuestAddr) -> Result<Option<u32>, GuestFault> {
        let word = self.pointer(addr, 4)?.cast::<u32>();
        // SAFETY: `pointer` proved that 4 accessible bytes start at `word`, which stay mapped while
        // `self` lives; others access an aligned word only atomically or race, which is the guest's harm.
        Ok(word.is_aligned().then(|| unsafe { AtomicU32::from_ptr(word) }.load(Ordering::SeqCst)))
    }

    /// As [`GuestMemory::atomic_load_u32`], of 8 bytes.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside.
    pub fn atomic_load_u64(&self, addr: GuestAddr) -> Result<Option<u64>, GuestFault> {
        let word = self.pointer(addr, 8)?.cast::<u64>();
        // SAFETY: as above, with 8 bytes.
        Ok(word.is_aligned().then(|| unsafe { AtomicU64::from_ptr(word) }.load(Ordering::SeqCst)))
    }

    /// Address of the access in the host, after the bounds check.
    #[inline]
    fn pointer(&self, addr: GuestAddr, len: u64) -> Result<*mut u8, GuestFault> {
        let size = self.slot.len() as u64;
        if len > size || addr.get() > size - len {
            return Err(self.fault(addr, len));
        }
        let base = self.slot.mapping().base().as_ptr();
        // SAFETY: `addr + len <= size <= mapping length`, so the offset stays inside the mapping.
        Ok(unsafe { base.add(addr.get() as usize) })
    }

    #[cold]
    fn fault(&self, addr: GuestAddr, len: u64) -> GuestFault {
        GuestFault { addr: addr.get(), len, memory_len: self.len() }
    }
}

/// Fills `out` with runs of `N` bytes, `stride` bytes apart.
///
/// # Safety
/// All runs that `out` has room for are readable bytes outside of it.
unsafe fn gather<const N: usize>(from: *const u8, stride: usize, out: &mut [u8]) {
    for (index, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        // SAFETY: the run is one of those that the caller has proved to be accessible.
        let run = unsafe { from.add(index * stride) };
        // SAFETY: as above; an array of bytes needs no alignment.
        *out = unsafe { run.cast::<[u8; N]>().read() };
    }
}

/// Writes the runs of `N` bytes of `data` to places `stride` bytes apart.
///
/// # Safety
/// All places for runs of `data` are writable bytes outside of it.
unsafe fn scatter<const N: usize>(to: *mut u8, stride: usize, data: &[u8]) {
    for (index, data) in data.as_chunks::<N>().0.iter().enumerate() {
        // SAFETY: the run is one of those that the caller has proved to be accessible.
        let run = unsafe { to.add(index * stride) };
        // SAFETY: as above; an array of bytes needs no alignment.
        unsafe { run.cast::<[u8; N]>().write(*data) };
    }
}

macro_rules! integers {
    ($($read:ident $write:ident $type:ty),* $(,)?) => {
        impl GuestMemory {
            $(
                #[doc = concat!("The little-endian `", stringify!($type), "` at `addr`.")]
                ///
                /// # Errors
                /// [`GuestFault`] when a byte lies outside.
                #[inline]
                pub fn $read(&self, addr: GuestAddr) -> Result<$type, GuestFault> {
                    self.read_array(addr).map(<$type>::from_le_bytes)
                }

                #[doc = concat!("Writes a little-endian `", stringify!($type), "` at `addr`.")]
                ///
                /// # Errors
                /// [`GuestFault`] when a byte lies outside.
                #[inline]
                pub fn $write(&self, addr: GuestAddr, value: $type) -> Result<(), GuestFault> {
                    self.write(addr, &value.to_le_bytes())
                }
            )*
        }
    };
}

integers! {
    read_u8 write_u8 u8,
    read_u16 write_u16 u16,
    read_u32 write_u32 u32,
    read_u64 write_u64 u64,
    read_i32 write_i32 i32,
    read_i64 write_i64 i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let memory = GuestMemory::for_test(100);
        memory.write_u64(GuestAddr::new(3), 0x0102_0304_0506_0708).expect("inside");
        assert_eq!(memory.read_u8(GuestAddr::new(3)), Ok(8));
        assert_eq!(memory.read_u64(GuestAddr::new(3)), Ok(0x0102_0304_0506_0708));
        memory.fill(GuestAddr::new(3), 0xff, 4).expect("inside");
        assert_eq!(memory.read_u64(GuestAddr::new(3)), Ok(0x0102_0304_ffff_ffff));
    }

    #[test]
    fn refuses_every_access_that_leaves_the_memory() {
        let memory = GuestMemory::for_test(100);
        for (addr, len) in [(100, 1), (99, 2), (0, 101), (u64::MAX, 1), (1, u64::MAX)] {
            let fault = GuestFault { addr, len, memory_len: 100 };
            assert_eq!(memory.check(GuestAddr::new(addr), len), Err(fault));
            assert_eq!(memory.read_vec(GuestAddr::new(addr), len), Err(fault));
        }
        assert_eq!(memory.check(GuestAddr::new(100), 0), Ok(()));
    }

    #[test]
    fn strided_runs_are_copied_and_checked() {
        let memory = GuestMemory::for_test(256);
        let bytes: Vec<u8> = (0..=255).collect();
        memory.write(GuestAddr::new(0), &bytes).expect("inside");
        for run in [1, 3, 4, 8, 16] {
            let at = GuestAddr::new(5);
            let mut out = vec![0; 6 * run];
            memory.read_strided(at, (run, 20), &mut out).expect("inside");
            let expected: Vec<u8> =
                (0..6).flat_map(|i| (0..run).map(move |b| (5 + 20 * i + b) as u8)).collect();
            assert_eq!(out, expected, "runs of {run}");
            let other = GuestMemory::for_test(256);
            other.write_strided(at, (run, 20), &out).expect("inside");
            let mut again = vec![0; 6 * run];
            other.read_strided(at, (run, 20), &mut again).expect("inside");
            assert_eq!(again, out, "runs of {run}");
        }
        let mut out = [0; 16];
        assert!(memory.read_strided(GuestAddr::new(229), (8, 20), &mut out).is_err());
        assert!(memory.read_strided(GuestAddr::new(228), (8, 20), &mut out).is_ok());
        assert!(memory.write_strided(GuestAddr::new(0), (8, u64::MAX), &out).is_err());
        assert!(memory.read_strided(GuestAddr::new(256), (8, 20), &mut []).is_ok());
    }

    #[test]
    fn copies_between_and_within_memories() {
        let (a, b) = (GuestMemory::for_test(16), GuestMemory::for_test(16));
        a.write(GuestAddr::new(0), b"abcdefgh").expect("inside");
        b.copy_from(GuestAddr::new(8), &a, GuestAddr::new(0), 8).expect("inside");
        assert_eq!(b.read_vec(GuestAddr::new(8), 8).as_deref(), Ok(&b"abcdefgh"[..]));
        a.copy_from(GuestAddr::new(2), &a, GuestAddr::new(0), 8).expect("inside");
        assert_eq!(a.read_vec(GuestAddr::new(0), 10).as_deref(), Ok(&b"ababcdefgh"[..]));
        assert!(b.copy_from(GuestAddr::new(9), &a, GuestAddr::new(0), 8).is_err());
    }
}
