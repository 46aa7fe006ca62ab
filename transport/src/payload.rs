//! The bytes of a message after its envelope, as they came.

use std::{cell::OnceCell, fmt, ops::Deref, slice};

use bytes::{Bytes, BytesMut};

/// The bytes of a message after its envelope.
///
/// They dereference to one slice. Those of a long message may have come in pieces: joining them
/// costs a copy on first use, which [`Payload::chunks`] avoids. They live in the receive buffer
/// as long as the call; [`Payload::into_bytes`] keeps them, without a copy where possible.
#[derive(Clone)]
pub struct Payload<'a>(Kind<'a>);

#[derive(Clone)]
enum Kind<'a> {
    Slice(&'a [u8]),
    Bytes(Bytes),
    Pieces { pieces: Vec<Bytes>, joined: OnceCell<Bytes> },
}

impl<'a> Payload<'a> {
    /// A payload in a buffer that will be used again.
    pub const fn borrowed(bytes: &'a [u8]) -> Self {
        Self(Kind::Slice(bytes))
    }

    /// A payload that came in pieces, in order.
    pub fn pieces(mut pieces: Vec<Bytes>) -> Self {
        match pieces.len() {
            0 => Self(Kind::Slice(&[])),
            1 => Self(Kind::Bytes(pieces.remove(0))),
            _ => Self(Kind::Pieces { pieces, joined: OnceCell::new() }),
        }
    }

    /// The bytes, to be kept beyond the call.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Slice(bytes) => Bytes::copy_from_slice(bytes),
            Kind::Bytes(bytes) => bytes,
            Kind::Pieces { pieces, joined } => joined.into_inner().unwrap_or_else(|| join(&pieces)),
        }
    }

    /// The bytes in the pieces that they came in, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let (whole, pieces): (Option<&[u8]>, slice::Iter<'_, Bytes>) = match &self.0 {
            Kind::Slice(bytes) => (Some(bytes), [].iter()),
            Kind::Bytes(bytes) => (Some(bytes), [].iter()),
            Kind::Pieces { pieces, .. } => (None, pieces.iter()),
        };
        whole.into_iter().chain(pieces.map(|piece| &**piece))
    }
}

impl From<Bytes> for Payload<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Bytes(bytes))
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Slice(bytes) => bytes,
            Kind::Bytes(bytes) => bytes,
            Kind::Pieces { pieces, joined } => joined.get_or_init(|| join(pieces)),
        }
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.chunks().map(<[u8]>::len).sum();
        write!(f, "Payload({bytes} bytes)")
    }
}

fn join(pieces: &[Bytes]) -> Bytes {
    let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
    joined.freeze()
}
