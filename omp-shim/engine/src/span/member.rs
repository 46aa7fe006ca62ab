//! A node other than the home.

use super::delta::Delta;
use super::home::{Live, SpanError};
use super::image::{Image, Private};
use super::message::Reply;
use super::page::{Content, PAGE_BYTES};

/// What a node and the home agree on. It begins with a memory of zeros.
#[derive(Debug, Default)]
pub struct Member {
    image: Image,
    private: Private,
    order: u64,
}

impl Member {
    /// Keeps a range to this node; `false` if that cannot be.
    pub fn keep_private(&mut self, start: u32, len: u32) -> bool {
        self.private.add(start, len)
    }

    /// The ranges that each node has for itself.
    pub const fn private(&self) -> &Private {
        &self.private
    }

    /// Order of the last reply that has gone into the memory.
    pub const fn acknowledged(&self) -> u64 {
        self.order
    }

    /// The program has `now` in a page, which lies behind all that are in `delta`: what changed is appended.
    pub fn changed(&mut self, page: u32, now: &Content, delta: &mut Delta) {
        self.image.compare(page, now, &self.private, delta);
    }

    /// Brings the home's news into the memory.
    ///
    /// # Errors
    /// A thread here has changed the same bytes to other values, or the memory has no such bytes; nothing has changed then.
    pub fn take(&mut self, reply: &Reply, live: &dyn Live) -> Result<(), SpanError> {
        let mut now = [0; PAGE_BYTES];
        for change in reply.delta.pages() {
            if !live.read(change.page, &mut now) {
                return Err(SpanError::Unexpected);
            }
            self.image.check(&change, &now)?;
        }
        for change in reply.delta.pages() {
            change.apply(self.image.page_mut(change.page));
            change.write_to(live);
        }
        self.order = self.order.max(reply.order);
        Ok(())
    }

    /// What an atomic operation at the home has left at `address` goes into the memory.
    pub fn learn(&mut self, address: u32, bytes: &[u8], live: &dyn Live) {
        let start = address as usize % PAGE_BYTES;
        self.image.page_mut(address / PAGE_BYTES as u32)[start..start + bytes.len()]
            .copy_from_slice(bytes);
        live.write(address, bytes);
    }
}
