//! Page arithmetic: host pages and WebAssembly pages can never be mixed up.

/// Size of one WebAssembly page in bytes.
pub const WASM_PAGE_BYTES: u64 = 65_536;

/// A number of bytes that is a multiple of the host's page size.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Default)]
pub struct HostPages {
    bytes: usize,
}

impl HostPages {
    /// Rounds `bytes` up to whole host pages; `None` when the sum does not fit.
    pub fn round_up(bytes: usize) -> Option<Self> {
        let page = crate::sys::page_bytes();
        let bytes = bytes.checked_add(page - 1)? & !(page - 1);
        Some(Self { bytes })
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.bytes
    }

    /// The sum of two sizes; `None` when it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self { bytes: self.bytes.checked_add(other.bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_reaches_the_next_page_and_refuses_overflow() {
        let page = crate::sys::page_bytes();
        assert_eq!(HostPages::round_up(0).map(HostPages::bytes), Some(0));
        assert_eq!(HostPages::round_up(1).map(HostPages::bytes), Some(page));
        assert_eq!(HostPages::round_up(page).map(HostPages::bytes), Some(page));
        assert_eq!(HostPages::round_up(usize::MAX), None);
    }
}
