//! Parcels between the nodes of a program that spans several.
//!
//! ```text
//! service   kind          to     from   request   addr     len            payload
//! Team      ParcelKind    rank   rank   name      offset   of the whole   a piece
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use faasm_transport::config::FRAME_PAYLOAD_BYTES_MAX;
use faasm_transport::{Envelope, Lane, Payload, Service};
use parking_lot::Mutex;

use super::shared::JobShared;
use crate::omp_nodes::{Parcel, ParcelKind, Span};

/// Most bytes of a parcel.
const PARCEL_BYTES_MAX: u64 = 3 << 30;

/// The parts of a program that are on this node.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// By rank; there are a few.
    parts: OnceLock<Vec<(u32, Arc<Span>)>>,
    /// Parcels of which pieces are missing, by sender and receiver.
    arriving: Mutex<BTreeMap<(u32, u32), BytesMut>>,
}

/// A parcel that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a parcel of a team that spans nodes is damaged, or for nobody here")]
pub(crate) struct ParcelRefused;

impl JobShared {
    /// Makes the job one program that spans nodes; these are its parts here.
    pub(crate) fn set_spans(&self, parts: Vec<(u32, Arc<Span>)>) {
        // It is said once, before a rank runs.
        let _ = self.spans.parts.set(parts);
    }

    /// The part of its program that `rank` is, if that spans nodes.
    pub(crate) fn span(&self, rank: u32) -> Option<&Arc<Span>> {
        let parts = self.spans.parts.get()?;
        parts.iter().find(|(own, _)| *own == rank).map(|(_, span)| span)
    }

    /// Sends what a part has for others.
    pub(crate) fn send_parcels(&self, span: &Span) {
        let mut next = span.next_parcel(true);
        while let Some(parcel) = next {
            self.send_parcel(span.rank(), parcel);
            next = span.next_parcel(false);
        }
    }

    fn send_parcel(&self, from: u32, parcel: Parcel) {
        let Parcel { to, kind, name, mut bytes } = parcel;
        if self.world().is_local(to) {
            if self.deliver_parcel(from, to, (kind, name), &bytes).is_err() {
                tracing::error!(from, to, "a parcel for a rank of this node was refused");
            }
            return;
        }
        let Some(far) = self.far() else { return };
        let (node, len) = (self.world().node(to), bytes.len() as u64);
        loop {
            let about = Envelope {
                kind: kind as u16,
                to,
                from,
                request: name,
                addr: len - bytes.len() as u64,
                len,
                ..Envelope::default()
            };
            let piece = bytes.split_to(bytes.len().min(FRAME_PAYLOAD_BYTES_MAX));
            // All on one lane, for they go into memories in their order.
            far.links.send_bytes(node, Lane::Message, Service::Team, about, piece);
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// A piece of a parcel has come from another node.
    ///
    /// # Errors
    /// It breaks a rule; nothing has changed then.
    pub(crate) fn take_parcel(
        &self,
        about: &Envelope,
        piece: Payload<'_>,
    ) -> Result<(), ParcelRefused> {
        let kind = ParcelKind::from_number(about.kind).ok_or(ParcelRefused)?;
        if self.span(about.to).is_none() || about.len > PARCEL_BYTES_MAX {
            return Err(ParcelRefused);
        }
        let (way, what) = ((about.from, about.to), (kind, about.request));
        let Some(whole) = self.assemble_parcel(way, about, piece)? else { return Ok(()) };
        self.deliver_parcel(about.from, about.to, what, &whole)
    }

    /// The whole parcel, when `piece` is all of it or the last one that was missing.
    fn assemble_parcel(
        &self,
        way: (u32, u32),
        about: &Envelope,
        piece: Payload<'_>,
    ) -> Result<Option<Bytes>, ParcelRefused> {
        let mut arriving = self.spans.arriving.lock();
        let there = arriving.get(&way).map_or(0, BytesMut::len) as u64;
        let missing = about.len.checked_sub(there).ok_or(ParcelRefused)?;
        if about.addr != there || piece.len() as u64 != missing.min(FRAME_PAYLOAD_BYTES_MAX as u64)
        {
            return Err(ParcelRefused);
        }
        if piece.len() as u64 == about.len {
            return Ok(Some(piece.into_bytes()));
        }
        arriving.entry(way).or_default().extend_from_slice(&piece);
        if there + piece.len() as u64 == about.len {
            return Ok(arriving.remove(&way).map(BytesMut::freeze));
        }
        Ok(None)
    }

    fn deliver_parcel(
        &self,
        from: u32,
        to: u32,
        (kind, name): (ParcelKind, u32),
        bytes: &[u8],
    ) -> Result<(), ParcelRefused> {
        let span = self.span(to).ok_or(ParcelRefused)?;
        let handled = span.handle(from, kind, name, bytes);
        self.send_parcels(span);
        handled.map_err(|_| ParcelRefused)
    }
}
