//! The operating system: anonymous address space and its protection.

mod unix;

pub(crate) use unix::{Mapping, anonymous_file, page_bytes};
