//! Teams that span nodes: one program whose memory several nodes hold copies of.
//!
//! Each node runs a part of a team's threads on its own copy. What a node's threads have changed goes to the *home*, the
//! node of the program's first thread, when they synchronise (barrier, end of a region, critical region), and comes from
//! there to the others. Memory is compared byte by byte with an [`Image`] of what the node and the home last agreed on,
//! so two nodes may write to one page, and even to one word, as long as they write to different bytes.
//!
//! ```text
//! node k                               home
//!   changes since the image  --Request-->  merged into its image and its program's memory;
//!                                          noted as news for every other node
//!   goes into image, memory  <--Reply----  the news for node k
//! ```
//!
//! Two nodes that change the same byte without synchronising in between have a data race: a [`Clash`], unless both
//! wrote the same value. Nothing is merged then. Lower modules first: `page`, `delta`, `image`, `message`, `atomic`, `home`, `member`.
//!
//! Everything here is pure: no clock, no link, no memory of a guest; the home reaches its program's memory through
//! [`Live`].

pub mod atomic;
pub mod delta;
pub mod home;
pub mod image;
pub mod member;
pub mod message;
pub mod page;

pub use atomic::Atomic;
pub use delta::{Delta, DeltaError, PageChange};
pub use home::{Answer, Home, Live, SpanError};
pub use image::{Clash, Image, Private};
pub use member::Member;
pub use message::{ChunkOrder, Outcome, Reply, Request, Wanted, WireError};
pub use page::{Content, Mask, PAGE_BYTES};

/// Most nodes that a team may span.
pub const NODES_MAX: u32 = 16;

#[cfg(test)]
mod tests;
