//! Proto-Faaslets: the state of a Faaslet that has been initialised, from which others begin.
//!
//! What a program does once before anything depends on who it is (constructors of a library in `_initialize`, tables that it
//! computes in `faasm_zygote`) need not be done by each of 10,000 ranks. One instance does it; its memory and its mutable
//! globals are the proto. Further instances get the memory copy-on-write, and pay for the pages they write to. Tables
//! are as the module makes them: programs whose tables change have no proto (see [`rewrite::without_data`]).
//!
//! Programs that only have `_start` run their constructors in it, after the proto was taken; they share what instances
//! begin with.
//!
//! [`rewrite::without_data`]: crate::rewrite::without_data
//!
//! As bytes, little-endian, for other nodes, which know it by [`Proto::hash`]:
//!
//! ```text
//!  0  magic    4 bytes   "FSPR"
//!  4  version  2         1
//!  6  globals  2         number of globals
//!  8  global  24 each    index 4, type 1 (0 i32, 1 i64, 2 f32, 3 f64, 4 v128), zero 3, bits 16
//!     hash    32         BLAKE3 of all before
//!     memory             a diff against nothing, see `snapshot`
//! ```

use std::sync::Arc;

use wasmtime::{AsContextMut, Instance, V128, Val};

use crate::ContentHash;
use crate::guest::GuestMemory;
use crate::rewrite::global_export;
use crate::snapshot::{
    Diff, DiffError, FormatError, MemorySnapshot, SNAPSHOT_BYTES_MAX, SnapshotBuilder,
    SnapshotError,
};

/// Name of the function that a program may export to be called once before its Faaslets begin.
pub const ZYGOTE_EXPORT: &str = "faasm_zygote";

/// Most globals of a proto; programs have one to three.
pub const GLOBALS_MAX: usize = 4096;

/// An initialised Faaslet; clones share it.
#[derive(Clone, Debug)]
pub struct Proto {
    memory: MemorySnapshot,
    globals: Arc<[Global]>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Global {
    index: u32,
    kind: u8,
    bits: u128,
}

/// Why there is no proto, or no Faaslet of one.
#[derive(Debug, thiserror::Error)]
pub enum ProtoError {
    /// The memory's part.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The memory cannot be written as bytes.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The memory's bytes are none.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A global holds a reference, or is not there.
    #[error("global {index} cannot be a part of a Proto-Faaslet: {why}")]
    Global {
        /// Its index.
        index: u32,
        /// What is the matter.
        why: &'static str,
    },
    /// The bytes are not a proto.
    #[error("not a Proto-Faaslet: {0}")]
    NotAProto(&'static str),
}

impl Proto {
    /// The state of `instance` with its memory, and its mutable globals with these indices, now.
    ///
    /// # Errors
    /// When a global holds a reference, or the kernel gives no room.
    pub fn capture(
        mut store: impl AsContextMut,
        instance: &Instance,
        memory: &GuestMemory,
        mutable_globals: &[u32],
    ) -> Result<Self, ProtoError> {
        let globals = mutable_globals.iter().map(|&index| {
            let missing = ProtoError::Global { index, why: "it is not exported" };
            let global = instance.get_global(&mut store, &global_export(index)).ok_or(missing)?;
            let (kind, bits) = match global.get(&mut store) {
                Val::I32(value) => (0, u128::from(value.cast_unsigned())),
                Val::I64(value) => (1, u128::from(value.cast_unsigned())),
                Val::F32(bits) => (2, u128::from(bits)),
                Val::F64(bits) => (3, u128::from(bits)),
                Val::V128(value) => (4, value.as_u128()),
                _ => return Err(ProtoError::Global { index, why: "it holds a reference" }),
            };
            Ok(Global { index, kind, bits })
        });
        let globals = globals.collect::<Result<_, _>>()?;
        Ok(Self { memory: MemorySnapshot::take(memory)?, globals })
    }

    /// What the memory of a Faaslet of this proto begins with; see `on_image`.
    pub const fn memory(&self) -> &MemorySnapshot {
        &self.memory
    }

    /// Gives a new instance, whose memory began with the proto's, its globals.
    ///
    /// # Errors
    /// When the instance is of another program.
    pub fn set_globals(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
    ) -> Result<(), ProtoError> {
        for Global { index, kind, bits } in self.globals.iter().copied() {
            let value = match kind {
                0 => Val::I32((bits as u32).cast_signed()),
                1 => Val::I64((bits as u64).cast_signed()),
                2 => Val::F32(bits as u32),
                3 => Val::F64(bits as u64),
                _ => Val::V128(V128::from(bits)),
            };
            let global = instance.get_global(&mut store, &global_export(index));
            let set = global.and_then(|global| global.set(&mut store, value).ok());
            set.ok_or(ProtoError::Global { index, why: "the program has no such global" })?;
        }
        Ok(())
    }

    /// A hash of all of it: equal protos have equal hashes, on all machines.
    pub fn hash(&self) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.head()).update(self.memory.hash().as_bytes());
        ContentHash::of_pieces(hasher.finalize())
    }

    /// The proto as bytes.
    ///
    /// # Errors
    /// When its memory has more runs than a diff holds.
    pub fn encode(&self) -> Result<Vec<u8>, ProtoError> {
        let mut bytes = self.head();
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes.extend_from_slice(&self.memory.to_diff()?.encode(1)?);
        Ok(bytes)
    }

    /// The proto that `bytes` are.
    ///
    /// # Errors
    /// When they are none, damaged, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtoError> {
        let (head, rest) = bytes.split_at_checked(8).ok_or(ProtoError::NotAProto("too short"))?;
        if head[..6] != *b"FSPR\x01\0" {
            return Err(ProtoError::NotAProto("it is something else, or of another version"));
        }
        let count = usize::from(u16::from_le_bytes([head[6], head[7]]));
        if count > GLOBALS_MAX {
            return Err(ProtoError::NotAProto("it has too many globals"));
        }
        let end = 8 + count * GLOBAL_BYTES;
        let (Some(hash), Some(memory)) = (bytes.get(end..end + 32), bytes.get(end + 32..)) else {
            return Err(ProtoError::NotAProto("it ends too early"));
        };
        if blake3::hash(&bytes[..end]).as_bytes() != hash {
            return Err(ProtoError::NotAProto("it is damaged"));
        }
        let (globals, _) = rest[..count * GLOBAL_BYTES].as_chunks::<GLOBAL_BYTES>();
        let globals = globals.iter().map(Global::parse).collect::<Result<_, _>>()?;
        let diff = Diff::decode(memory, 2 * SNAPSHOT_BYTES_MAX)?;
        let nothing = SnapshotBuilder::new(0)?.finish()?;
        Ok(Self { memory: nothing.with(&diff)?, globals })
    }

    /// What stands before the hash.
    fn head(&self) -> Vec<u8> {
        let mut head = b"FSPR\x01\0".to_vec();
        head.extend_from_slice(&(self.globals.len() as u16).to_le_bytes());
        for global in self.globals.iter() {
            head.extend_from_slice(&global.index.to_le_bytes());
            head.extend_from_slice(&[global.kind, 0, 0, 0]);
            head.extend_from_slice(&global.bits.to_le_bytes());
        }
        head
    }
}

const GLOBAL_BYTES: usize = 24;

impl Global {
    fn parse(bytes: &[u8; GLOBAL_BYTES]) -> Result<Self, ProtoError> {
        let [a, b, c, d, kind @ 0..=4, 0, 0, 0, bits @ ..] = *bytes else {
            return Err(ProtoError::NotAProto("a global has a type that nobody knows"));
        };
        let index = u32::from_le_bytes([a, b, c, d]);
        Ok(Self { index, kind, bits: u128::from_le_bytes(bits) })
    }
}
