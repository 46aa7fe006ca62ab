//! How often this process has taken a page fault.

use std::io;
use std::mem::MaybeUninit;

/// Page faults of all threads of this process so far, those that have ended among them.
///
/// A page that was never touched comes into a process by a fault only, be it touched by its code or by a call of the kernel,
/// where its range refuses huge pages: those the kernel may make of small ones by itself.
///
/// # Errors
/// The kernel does not tell.
pub(crate) fn page_faults() -> io::Result<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call writes a whole `rusage` to where it is told, and to nothing else.
    let done = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so all of it is written.
    let usage = unsafe { usage.assume_init() };
    Ok((usage.ru_minflt as u64).wrapping_add(usage.ru_majflt as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Mapping, page_bytes};

    #[test]
    fn each_first_touch_is_counted_and_no_other() {
        let pages = 64;
        let mapping = Mapping::reserve(pages * page_bytes()).expect("address space");
        mapping.make_accessible(0, mapping.bytes()).expect("accessible");
        mapping.refuse_huge_pages().expect("small pages");
        let touch = |value: u8| {
            (0..pages).for_each(|page| mapping.write(page * page_bytes(), &[value]));
        };
        let before = page_faults().expect("told");
        touch(1);
        let between = page_faults().expect("told");
        assert!(between - before >= pages as u64, "{before} {between}");
        // Other tests of this process take faults, too, but hardly in each of so many moments.
        let is_quiet = |_| {
            let before = page_faults().expect("told");
            touch(2);
            page_faults().expect("told") == before
        };
        assert!((0..10_000).any(is_quiet));
    }
}
