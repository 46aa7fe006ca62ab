//! Messages between the ranks of one process.

mod mailbox;
mod ring;

pub(crate) use mailbox::{Mailbox, Reader};
