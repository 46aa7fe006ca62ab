//! Missing pages that are told of by a signal to the thread that touches them (`UFFD_FEATURE_SIGBUS`), which puts them in
//! itself.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;
use std::sync::{Arc, OnceLock};

use super::{ImageView, Userfault, page_bytes};

/// A range of addresses whose missing pages are those of an image.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) userfault: Userfault,
    pub(crate) image: Arc<ImageView>,
    pub(crate) range: Range<usize>,
}

/// While it lives, the missing pages that its thread touches are put in.
#[derive(Debug)]
pub(crate) struct Serving<'a>(PhantomData<(&'a Served, *const ())>);

thread_local! {
    static SERVED: Cell<*const Served> = const { Cell::new(ptr::null()) };
}

impl Served {
    /// Puts in the missing pages that the calling thread touches from now on.
    ///
    /// # Errors
    /// The signal cannot be handled.
    pub(crate) fn serve(&self) -> io::Result<Serving<'_>> {
        handle_signal()?;
        SERVED.set(self);
        Ok(Serving(PhantomData))
    }

    /// Puts in the page at `address`; false if it is none of these, or cannot be had. Allocates nothing, takes no lock.
    fn provide(&self, address: usize) -> bool {
        if !self.range.contains(&address) {
            return false;
        }
        let start = address - address % page_bytes();
        let offset = start - self.range.start;
        let page = self.image.bytes().get(offset..offset + page_bytes());
        page.is_some_and(|page| self.userfault.provide(start, page).is_ok())
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        SERVED.set(ptr::null());
    }
}

/// What was done about the signal before this module handled it.
static BEFORE: OnceLock<Result<libc::sigaction, io::ErrorKind>> = OnceLock::new();

/// Handles SIGBUS from now on, once a process.
fn handle_signal() -> io::Result<()> {
    let handled = BEFORE.get_or_init(|| install().map_err(|error| error.kind()));
    handled.as_ref().map(|_| ()).map_err(|kind| (*kind).into())
}

fn install() -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asked for no change, the call writes the action in force to where it is told.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so all of it is written.
    let before = unsafe { before.assume_init() };
    let mut action = before;
    action.sa_sigaction = handle as *const () as usize;
    // Not on a stack of its own: the thread that faults has one.
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is a handler with the arguments that SA_SIGINFO promises, and the mask of the one before.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(before)
}

extern "C" fn handle(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes what it says of the signal, which lives as long as this call.
    let info = unsafe { &*info };
    // SAFETY: what is said of this signal has an address.
    let address = unsafe { info.si_addr() }.addr();
    // SAFETY: where it is not null, it points to what `serve` borrowed for as long as it is not null: nobody forgets a
    // `Serving`.
    let served = unsafe { SERVED.get().as_ref() };
    if served.is_some_and(|served| served.provide(address)) {
        return;
    }
    // Somebody else's: the access is done again, and who handled the signal before hears of it.
    if let Some(Ok(before)) = BEFORE.get() {
        // SAFETY: it is what the kernel gave us as the action in force.
        unsafe { libc::sigaction(libc::SIGBUS, before, ptr::null_mut()) };
    }
}
