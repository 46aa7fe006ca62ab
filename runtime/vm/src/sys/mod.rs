//! The operating system: anonymous address space and its protection, files without a name, which pages were written, and
//! how often any was new.

#[cfg(feature = "lab")]
mod bus;
mod faults;
mod image;
mod pagemap;
mod unix;
mod userfault;

#[cfg(feature = "lab")]
pub(crate) use bus::{Served, Serving};
pub(crate) use faults::page_faults;
pub(crate) use image::{ImageFile, ImageView};
pub(crate) use pagemap::{Pages, scan_pages};
pub(crate) use unix::{Found, Mapping, anonymous_file, page_bytes, write_all};
pub(crate) use userfault::{FaultKind, Userfault};
