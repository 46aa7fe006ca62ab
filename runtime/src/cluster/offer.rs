//! What nodes and the coordinator tell each other of bytes that are sent in chunks: Proto-Faaslets, and the programs of
//! spawned processes.

use rkyv::{Archive, Deserialize, Serialize};

/// Which Proto-Faaslet.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ProtoName {
    /// Hash of the program.
    pub(crate) module: [u8; 32],
    /// Whether it is that of the variant whose stack can be taken.
    pub(crate) is_migratable: bool,
}

/// Bytes that are sent in chunks: a Proto-Faaslet, or a program.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Offer {
    /// What they hash to.
    pub(crate) hash: [u8; 32],
    /// How many they are.
    pub(crate) bytes: u64,
}

/// A process that was spawned.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Newborn {
    /// Its number.
    pub(crate) rank: u32,
    /// Its program.
    pub(crate) program: Offer,
    /// What it was spawned with, a [`Birth`](crate::checkpoint::Birth) in postcard's encoding.
    pub(crate) birth: Vec<u8>,
}

/// What has come of making a Proto-Faaslet.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum ProtoMade {
    /// Its bytes follow in chunks.
    Offered(Offer),
    /// It is there, but cannot be sent.
    Unsendable,
    /// It is not: the rank that made it failed, or was ended.
    Nothing,
}

/// What a node is to do that wants a Proto-Faaslet.
#[derive(Archive, Serialize, Deserialize, Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum ProtoTurn {
    /// Make it, and say so.
    Make,
    /// Fetch it.
    Ready(Offer),
}
