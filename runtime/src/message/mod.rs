//! Messages between the ranks of one process, and those to and from other nodes.

mod incoming;
mod links;
mod mailbox;
#[cfg(test)]
mod mailbox_tests;
mod outgoing;
mod ring;

pub(crate) use incoming::{DataRefused, Incoming};
pub(crate) use links::{JobLinks, PART_PIECE, PARTS_TAKEN};
pub(crate) use mailbox::{Mailbox, Reader};
pub(crate) use outgoing::{Ask, AskRefused, CHUNK_BYTES_MAX, Chunk, Offer, Outgoing, Source};
