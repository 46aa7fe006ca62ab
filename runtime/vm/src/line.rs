//! Cache lines of atomic words, many at once.

use std::sync::atomic::AtomicU64;

/// Eight words on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct CacheLine {
    /// The words.
    pub words: [AtomicU64; 8],
}

/// `count` lines of zeros; a page of them costs memory only once it is written to.
pub fn zeroed_lines(count: usize) -> Box<[CacheLine]> {
    let lines = Box::<[CacheLine]>::new_zeroed_slice(count);
    // SAFETY: a line is made of plain atomic integers, for which all bits zero is a value.
    unsafe { lines.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn lines_are_zero_and_aligned() {
        let lines = zeroed_lines(100);
        let zero = |line: &CacheLine| line.words.iter().all(|w| w.load(Ordering::Relaxed) == 0);
        assert!(lines.len() == 100 && lines.iter().all(zero));
        assert_eq!(lines.as_ptr().addr() % 64, 0);
    }
}
