//! `userfaultfd`: write protection that the kernel lifts by itself and remembers, and pages on demand.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::ioctl::{Opcode, Updater, opcode};
use rustix::mm::UserfaultfdFlags;

/// What a [`Userfault`] is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FaultKind {
    /// Finding the pages that are written, with `Pages::WrittenAndProtect`; nobody has to answer faults.
    Written,
    /// Providing pages that are not there; somebody reads the addresses and answers.
    #[cfg(feature = "lab")]
    Missing,
    /// The same, but the thread that faults gets a signal and answers itself.
    #[cfg(feature = "lab")]
    MissingBySignal,
}

/// An open `userfaultfd`; closing it ends its work on all ranges.
#[derive(Debug)]
pub(crate) struct Userfault {
    file: OwnedFd,
    kind: FaultKind,
}

impl Userfault {
    /// Opens one.
    ///
    /// # Errors
    /// When this process may not have one (see `vm.unprivileged_userfaultfd`), or the kernel is too old.
    pub(crate) fn open(kind: FaultKind) -> io::Result<Self> {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK;
        // Whoever may not see the kernel's own faults may see those of user mode. Protection that the kernel lifts by
        // itself reports neither.
        let user = UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: the call itself changes nothing; ranges are registered below.
        let file = unsafe { rustix::mm::userfaultfd(flags) }
            // SAFETY: as above.
            .or_else(|_| unsafe { rustix::mm::userfaultfd(flags | user) })?;
        let features = match kind {
            FaultKind::Written => WP_UNPOPULATED | WP_ASYNC,
            #[cfg(feature = "lab")]
            FaultKind::Missing => 0,
            #[cfg(feature = "lab")]
            FaultKind::MissingBySignal => SIGBUS,
        };
        let mut api = Api { api: API, features, ioctls: 0 };
        request::<API_REQUEST, _>(&file, &mut api)?;
        Ok(Self { file, kind })
    }

    /// Begins its work on a range of whole pages of this process.
    pub(crate) fn register(&self, range: &Range<usize>) -> io::Result<()> {
        let mode = match self.kind {
            FaultKind::Written => MODE_WRITE_PROTECT,
            #[cfg(feature = "lab")]
            FaultKind::Missing | FaultKind::MissingBySignal => MODE_MISSING,
        };
        let bytes = (range.end - range.start) as u64;
        let mut register = Register { start: range.start as u64, bytes, mode, ioctls: 0 };
        request::<REGISTER_REQUEST, _>(&self.file, &mut register)
    }

    /// Waits for a fault, for a while; the address of the page that is missing.
    #[cfg(feature = "lab")]
    pub(crate) fn wait(&self, wait: std::time::Duration) -> io::Result<Option<usize>> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
        if poll(&mut polled, Some(&wait))? == 0 {
            return Ok(None);
        }
        let mut message = [0; 32];
        match rustix::io::read(&self.file, &mut message) {
            // The address follows the kind, the padding and the flags.
            Ok(32) => {
                let address = message[16..].first_chunk().copied().unwrap_or_default();
                Ok(Some(u64::from_ne_bytes(address) as usize))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Provides the pages from `to` on, in a registered range, and lets those who wait for them go on.
    #[cfg(feature = "lab")]
    pub(crate) fn provide(&self, to: usize, bytes: &[u8]) -> io::Result<()> {
        let source = bytes.as_ptr().expose_provenance() as u64;
        let mut copy =
            Copy { to: to as u64, source, bytes: bytes.len() as u64, mode: 0, copied: 0 };
        match request::<COPY_REQUEST, _>(&self.file, &mut copy) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }
}

fn request<const REQUEST: Opcode, T>(file: &OwnedFd, argument: &mut T) -> io::Result<()> {
    // SAFETY: the constants below pair each request with the structure it reads and writes. Requests protect
    // pages, which changes nothing that can be read, or fill pages of ranges that were registered for that and hold no Rust object.
    let updater = unsafe { Updater::<REQUEST, T>::new(argument) };
    // SAFETY: as above.
    unsafe { rustix::ioctl::ioctl(file, updater) }?;
    Ok(())
}

// Of linux/userfaultfd.h.
const USER_MODE_ONLY: u32 = 1;
const API: u64 = 0xaa;
const WP_UNPOPULATED: u64 = 1 << 13;
const WP_ASYNC: u64 = 1 << 15;
#[cfg(feature = "lab")]
const SIGBUS: u64 = 1 << 7;
#[cfg(feature = "lab")]
const MODE_MISSING: u64 = 1 << 0;
const MODE_WRITE_PROTECT: u64 = 1 << 1;
const API_REQUEST: Opcode = opcode::read_write::<Api>(0xaa, 0x3f);
const REGISTER_REQUEST: Opcode = opcode::read_write::<Register>(0xaa, 0x00);
#[cfg(feature = "lab")]
const COPY_REQUEST: Opcode = opcode::read_write::<Copy>(0xaa, 0x03);

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    bytes: u64,
    mode: u64,
    ioctls: u64,
}

#[cfg(feature = "lab")]
#[repr(C)]
struct Copy {
    to: u64,
    source: u64,
    bytes: u64,
    mode: u64,
    copied: i64,
}
