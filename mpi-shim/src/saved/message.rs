//! Messages that have arrived, and the queues they are in.

use faasm_mpi_engine::matching::{Envelope, Matching, Pattern, Ticket};
use serde::{Deserialize, Serialize};

use super::types::{SavedBuffer, TypeList, Types};
use super::{SaveError, Saving, damaged};
use crate::ctx::Arrived;
use crate::port::{Header, Kind, Payload, SMALL_BYTES_MAX, Scattered};
use crate::request::Buffer;

/// An arrived message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedMessage {
    kind: u8,
    context: u32,
    source: i32,
    tag: i32,
    sender: u32,
    request: u32,
    payload: SavedPayload,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedPayload {
    Bytes(Vec<u8>),
    /// Bytes in the sender's memory.
    Reference {
        addr: u64,
        len: u64,
    },
    /// Elements there, with gaps between them.
    Scattered {
        elements: SavedBuffer,
        len: u64,
    },
}

impl SavedMessage {
    pub(super) fn of(arrived: &Arrived, types: &mut TypeList) -> Saving<Self> {
        let Header { kind, context, source, tag, sender, request } = arrived.header;
        let payload = match &arrived.payload {
            Payload::Small(len, bytes) => {
                SavedPayload::Bytes(bytes[..usize::from(*len).min(SMALL_BYTES_MAX)].to_vec())
            }
            Payload::Owned(bytes) => SavedPayload::Bytes(bytes.to_vec()),
            Payload::Shared(bytes) => SavedPayload::Bytes(bytes.to_vec()),
            Payload::Reference { addr, len } => SavedPayload::Reference { addr: *addr, len: *len },
            Payload::Scattered(elements) => {
                let Scattered { addr, count, datatype, len } = &**elements;
                let elements =
                    SavedBuffer { addr: *addr, count: *count, datatype: types.number(datatype) };
                SavedPayload::Scattered { elements, len: *len }
            }
            Payload::Remote { .. } => {
                let why = format!("the data of a message from rank {sender} is on another node");
                return Err(SaveError::Hindered(why));
            }
        };
        Ok(Self { kind: kind as u8, context, source, tag, sender, request, payload })
    }

    /// The message, in a job of so many ranks.
    pub(super) fn restore(self, types: &Types, size: u32) -> Saving<Arrived> {
        let Self { kind, context, source, tag, sender, request, payload } = self;
        let kind = Kind::from_number(kind).filter(|kind| kind.is_data());
        let kind = kind.ok_or_else(|| damaged("the kind of a message"))?;
        if sender >= size {
            return Err(damaged("the sender of a message"));
        }
        let payload = match payload {
            SavedPayload::Bytes(bytes) => Payload::copied(&bytes),
            SavedPayload::Reference { addr, len } => Payload::Reference { addr, len },
            SavedPayload::Scattered { elements, len } => {
                let buffer = types.buffer(&elements)?;
                if buffer.bytes().ok() != Some(len) {
                    return Err(damaged("the length of a message"));
                }
                let Buffer { addr, count, datatype } = buffer;
                Payload::Scattered(Box::new(Scattered { addr, count, datatype, len }))
            }
        };
        Ok(Arrived { header: Header { kind, context, source, tag, sender, request }, payload })
    }
}

/// Posted receives and unexpected messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedQueues {
    posted: Vec<(Pattern, Ticket)>,
    unexpected: Vec<(Envelope, SavedMessage)>,
}

impl SavedQueues {
    pub(super) fn of(matching: &Matching<Arrived>, types: &mut TypeList) -> Saving<Self> {
        let one = |(envelope, arrived): (&Envelope, &Arrived)| {
            Ok((*envelope, SavedMessage::of(arrived, types)?))
        };
        let unexpected = matching.unexpected().map(one).collect::<Saving<_>>()?;
        Ok(Self { posted: matching.posted(), unexpected })
    }

    pub(super) fn restore(self, types: &Types, size: u32) -> Saving<Matching<Arrived>> {
        let one = |(envelope, message): (Envelope, SavedMessage)| {
            Ok((envelope, message.restore(types, size)?))
        };
        let unexpected = self.unexpected.into_iter().map(one).collect::<Saving<_>>()?;
        Matching::from_lists(self.posted, unexpected)
            .ok_or_else(|| damaged("a receive is posted whose message has come"))
    }
}
