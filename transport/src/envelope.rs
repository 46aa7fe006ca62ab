//! What every message between nodes says about itself, before its payload.

use std::mem::{offset_of, size_of};

use rkyv::{
    Archive, Deserialize, Serialize, api::low, rancor::Failure, ser::allocator::SubAllocator,
    ser::writer::Buffer, util::Align,
};

/// Length of an envelope between nodes.
pub const ENVELOPE_BYTES: usize = 48;

/// Which part of the receiving node a message is for.
#[derive(Copy, Clone, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum Service {
    /// The node's control: jobs, output, states. The payload is a control message.
    Control = 0,
    /// A rank's mailbox: an MPI message, its payload following.
    Message = 1,
    /// A sending rank's node is asked for `len` bytes at `addr` of rank `to`'s memory.
    PullRequest = 2,
    /// Bytes that were asked for.
    PullData = 3,
    /// A node's part of a collective operation.
    Part = 4,
    /// A question that the receiving node answers by itself.
    Call = 5,
    /// The answer to a question.
    Reply = 6,
    /// A rank that moves to the receiving node, as a value.
    Move = 7,
    /// Something about a team of threads that spans nodes.
    Team = 8,
}

impl Service {
    /// The service with this number.
    pub const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Control,
            1 => Self::Message,
            2 => Self::PullRequest,
            3 => Self::PullData,
            4 => Self::Part,
            5 => Self::Call,
            6 => Self::Reply,
            7 => Self::Move,
            8 => Self::Team,
            _ => return None,
        })
    }
}

/// The header of a message between nodes: 48 bytes in front of the payload.
///
/// What `kind` and the numbers after it mean is up to the service.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Default, Eq, PartialEq)]
#[rkyv(derive(Debug))]
pub struct Envelope {
    /// Job that the message belongs to; 0 for none.
    pub job: u32,
    /// A [`Service`].
    pub service: u16,
    /// Kind of message within the service.
    pub kind: u16,
    /// World rank that is meant.
    pub to: u32,
    /// World rank that sent it.
    pub from: u32,
    /// Context of the communicator.
    pub context: u32,
    /// Sender's rank in the communicator.
    pub source: i32,
    /// Tag.
    pub tag: i32,
    /// Name of a request or a question, echoed by the answer.
    pub request: u32,
    /// An address, or the number of a meeting.
    pub addr: u64,
    /// A length in bytes.
    pub len: u64,
}

impl Envelope {
    /// The envelope as it travels.
    pub fn to_bytes(&self) -> [u8; ENVELOPE_BYTES] {
        let mut bytes = [0; ENVELOPE_BYTES];
        let (writer, scratch) = (Buffer::from(&mut bytes), SubAllocator::new(&mut []));
        low::to_bytes_in_with_alloc::<_, _, Failure>(self, writer, scratch)
            .expect("an envelope has a fixed size and needs no scratch memory");
        bytes
    }

    /// The envelope that travelled as `bytes`; none if they are no envelope.
    pub fn from_bytes(bytes: [u8; ENVELOPE_BYTES]) -> Option<Self> {
        let aligned = Align(bytes);
        let archived = low::access::<ArchivedEnvelope, Failure>(&*aligned).ok()?;
        low::deserialize::<Self, Failure>(archived).ok()
    }
}

// Both sides lay envelopes out alike: little-endian, in this order, without holes.
const _: () = {
    assert!(size_of::<ArchivedEnvelope>() == ENVELOPE_BYTES);
    assert!(offset_of!(ArchivedEnvelope, service) == 4);
    assert!(offset_of!(ArchivedEnvelope, to) == 8);
    assert!(offset_of!(ArchivedEnvelope, context) == 16);
    assert!(offset_of!(ArchivedEnvelope, request) == 28);
    assert!(offset_of!(ArchivedEnvelope, addr) == 32);
    assert!(offset_of!(ArchivedEnvelope, len) == 40);
};
