//! Messages that have arrived, and the queues they are in.

use faasm_mpi_engine::matching::{Envelope, Matching, Pattern, Ticket};
use serde::{Deserialize, Serialize};

use super::{SaveError, Saving, damaged};
use crate::ctx::Arrived;
use crate::port::{Header, Kind, Payload, SMALL_BYTES_MAX};

/// An arrived message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedMessage {
    kind: u8,
    context: u32,
    source: i32,
    tag: i32,
    sender: u32,
    request: u32,
    data: SavedData,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum SavedData {
    Here(Vec<u8>),
    /// With the sender, who gives it to whom it was announced, wherever both are.
    Announced {
        token: u64,
        len: u64,
    },
}

/// Gives the data of a message that is in its sender's memory.
pub(super) type Fetch<'a> = &'a dyn Fn(&Arrived) -> faasm_mpi_engine::error::Result<Vec<u8>>;

impl SavedMessage {
    pub(super) fn of(arrived: &Arrived, fetch: Fetch<'_>) -> Saving<Self> {
        let Header { kind, context, source, tag, sender, request } = arrived.header;
        let data = match &arrived.payload {
            Payload::Small(len, bytes) => {
                SavedData::Here(bytes[..usize::from(*len).min(SMALL_BYTES_MAX)].to_vec())
            }
            Payload::Owned(bytes) => SavedData::Here(bytes.to_vec()),
            Payload::Shared(bytes) => SavedData::Here(bytes.to_vec()),
            Payload::Reference { .. } | Payload::Scattered(_) => {
                SavedData::Here(fetch(arrived).map_err(|error| {
                    let why = "the data of a message cannot be read";
                    SaveError::Hindered(format!("{why}, which rank {sender} sent: {error}"))
                })?)
            }
            Payload::Remote { token, len } => SavedData::Announced { token: *token, len: *len },
        };
        Ok(Self { kind: kind as u8, context, source, tag, sender, request, data })
    }

    /// The message, in a job of so many processes.
    pub(super) fn restore(self, known: u32) -> Saving<Arrived> {
        let Self { kind, context, source, tag, sender, request, data } = self;
        let kind = Kind::from_number(kind).filter(|kind| kind.is_data());
        let kind = kind.ok_or_else(|| damaged("the kind of a message"))?;
        if sender >= known {
            return Err(damaged("the sender of a message"));
        }
        let payload = match data {
            SavedData::Here(bytes) => Payload::copied(&bytes),
            SavedData::Announced { token, len } => Payload::Remote { token, len },
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
    pub(super) fn of(matching: &Matching<Arrived>, fetch: Fetch<'_>) -> Saving<Self> {
        let one = |(envelope, arrived): (&Envelope, &Arrived)| {
            Ok((*envelope, SavedMessage::of(arrived, fetch)?))
        };
        let unexpected = matching.unexpected().map(one).collect::<Saving<_>>()?;
        Ok(Self { posted: matching.posted(), unexpected })
    }

    pub(super) fn restore(self, known: u32) -> Saving<Matching<Arrived>> {
        let one =
            |(envelope, message): (Envelope, SavedMessage)| Ok((envelope, message.restore(known)?));
        let unexpected = self.unexpected.into_iter().map(one).collect::<Saving<_>>()?;
        Matching::from_lists(self.posted, unexpected)
            .ok_or_else(|| damaged("a receive is posted whose message has come"))
    }
}
