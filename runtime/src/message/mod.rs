//! Messages between the ranks of one process, and the links to those of other nodes.

mod links;
mod mailbox;
mod ring;

pub(crate) use links::JobLinks;
pub(crate) use mailbox::{Mailbox, Reader};
