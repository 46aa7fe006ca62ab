//! One rank as a value, without the content of its memory.

use serde::{Deserialize, Serialize};

use crate::host::wasi::FileTableState;

/// The bits of a number of the guest, in a global or in a frame of its stack.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum Bits {
    /// An `i32` or `f32`.
    Bits32(i32),
    /// An `i64` or `f64`.
    Bits64(i64),
    /// A `v128`.
    Bits128(u128),
}

/// What a rank is besides its memory, when its call stack has been taken.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct RankImage {
    /// Size of the memory in bytes.
    pub(crate) memory_bytes: u64,
    /// The mutable globals, by index.
    pub(crate) globals: Vec<(u32, Bits)>,
    /// The frames of the stack, innermost first.
    pub(crate) frames: Vec<Bits>,
    /// The MPI state.
    pub(crate) mpi: Vec<u8>,
    /// The open files.
    pub(crate) files: FileTableState,
    /// Messages that it has announced, and whose data nobody has asked for.
    pub(crate) offers: Vec<SavedOffer>,
    /// Its threads, if its program may have several.
    pub(crate) threads: Option<ThreadsImage>,
}

/// The threads of a rank together.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThreadsImage {
    /// Pages of memory that the program has asked for.
    pub(crate) pages: u32,
    /// The number that was last given to a thread.
    pub(crate) last_id: u32,
    /// End and start of the ranges that stacks may not reach.
    pub(crate) guards: Vec<(u32, u32)>,
    /// How long the main thread still waits at most, if it was in such a wait.
    pub(crate) left_ns: Option<u64>,
    /// All but the main thread.
    pub(crate) others: Vec<ThreadImage>,
}

/// One thread besides the main one.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct ThreadImage {
    /// Its number.
    pub(crate) id: u32,
    /// The mutable globals of its instance, by index.
    pub(crate) globals: Vec<(u32, Bits)>,
    /// The frames of its stack, innermost first.
    pub(crate) frames: Vec<Bits>,
    /// How long it still waits at most, if it was in such a wait.
    pub(crate) left_ns: Option<u64>,
}

/// A message that a rank has announced to one of another node.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedOffer {
    /// The name under which it was announced.
    pub(crate) token: u64,
    /// The receiving rank.
    pub(crate) to: u32,
    pub(crate) source: SavedSource,
    /// Bytes of data.
    pub(crate) len: u64,
    /// What the rank is told when its data has been read, if it waits for that: context, source, tag and request.
    pub(crate) answer: Option<(u32, i32, i32, u32)>,
}

/// Where the data of such a message is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) enum SavedSource {
    /// In the rank's memory, from this address on.
    Memory(u64),
    /// Here.
    Held(Vec<u8>),
}

/// What is left of a rank that had ended before the cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) rank: u32,
    /// Its exit code.
    pub(crate) code: i32,
    /// Messages that it has sent.
    pub(crate) messages: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
}
