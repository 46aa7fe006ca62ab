//! Atomic operations on a guest's memory by the host, for threads that are elsewhere.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::{GuestAddr, GuestFault, GuestMemory};

impl GuestMemory {
    /// Replaces the 1, 2, 4 or 8 bytes at `addr`, all at once, by what `change` makes of them; gives what was there.
    /// `None` at an address that is not aligned to them, or for another number of bytes.
    ///
    /// # Errors
    /// [`GuestFault`] when a byte lies outside.
    pub fn atomic_update(
        &self,
        addr: GuestAddr,
        bytes: u8,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Result<Option<u64>, GuestFault> {
        let at = self.pointer(addr, bytes.into())?;
        macro_rules! update {
            ($atomic:ty, $type:ty) => {{
                let word = at.cast::<$type>();
                if !word.is_aligned() {
                    return Ok(None);
                }
                // SAFETY: `pointer` proved that the bytes are accessible, and they stay mapped while `self` lives; they are
                // aligned; others access them atomically or race, which is the guest's harm.
                let word = unsafe { <$atomic>::from_ptr(word) };
                let new = |old: $type| change(old.into()).map(|new| new as $type);
                let order = Ordering::SeqCst;
                match word.fetch_update(order, order, new) {
                    Ok(old) | Err(old) => Ok(Some(old.into())),
                }
            }};
        }
        match bytes {
            1 => update!(AtomicU8, u8),
            2 => update!(AtomicU16, u16),
            4 => update!(AtomicU32, u32),
            8 => update!(AtomicU64, u64),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_of_the_bytes_that_are_named() {
        let memory = GuestMemory::for_test(65_536);
        let at = GuestAddr::new(64);
        memory.write_u64(at, u64::MAX).expect("inside");
        for (bytes, old) in [(1, 0xff), (2, 0xff02), (4, 0xffff_0003), (8, 0xffff_ffff_0000_0004)] {
            let value = u64::from(bytes);
            let updated =
                memory.atomic_update(at, bytes, |_| Some([2, 3, 4, 5][bytes.ilog2() as usize]));
            assert_eq!(updated, Ok(Some(old)), "{value} bytes");
        }
        assert_eq!(memory.atomic_update(at, 8, |_| None), Ok(Some(5)));
        assert_eq!(memory.atomic_update(GuestAddr::new(66), 4, Some), Ok(None));
        assert_eq!(memory.atomic_update(at, 3, Some), Ok(None));
        assert!(memory.atomic_update(GuestAddr::new(65_533), 4, Some).is_err());
    }
}
