//! The operating system: anonymous address space and its protection.

mod unix;

pub(crate) use unix::{Mapping, page_bytes};
