//! Diffs as bytes, for files and other nodes.
//!
//! All numbers are little-endian.
//!
//! ```text
//!  0  magic    4 bytes   "FSMD"
//!  4  version  2         1
//!  6  zero     2
//!  8  body     8         bytes of the body before compression
//! 16  packed   8         bytes of the packed body, up to the end
//! 24  hash    32         BLAKE3 of bytes 0 to 24 and of the packed body
//! 56  packed body        one zstd frame
//!
//! body:  memory  8       bytes of the memory
//!        runs    4       number of runs
//!        zero    4
//!        run    16 each  offset 8, length 4, operation 1, number 1, zero 2
//!        bytes           those of all runs, one after another
//! ```
//!
//! Operations are 0 bytewise, 1 xor, 2 sum, 3 product, 4 min, 5 max; numbers are those of [`Number`], 0 for
//! the first two. Runs are in order of their offsets, do not overlap, and lie inside the memory.

use std::io::Read as _;

use super::diff::{Diff, RUNS_MAX, RunHead};
use super::merge::{MergeOperation, Number};

/// Version of the format.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"FSMD";
const HASHED_BYTES: usize = 24;
const HEADER_BYTES: usize = 56;
const BODY_HEADER_BYTES: usize = 16;
const RUN_BYTES: usize = 16;
/// Largest window a frame may ask for, which is memory.
const WINDOW_LOG_MAX: u32 = 27;

const _: () = assert!(HASHED_BYTES + 32 == HEADER_BYTES);

/// Why bytes are not a diff.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not enough bytes, or other ones.
    #[error("not a memory diff: {0}")]
    NotADiff(&'static str),
    /// Made by another version.
    #[error(
        "a memory diff of format {found}; this program knows {FORMAT_VERSION}: use the version that wrote it"
    )]
    Version {
        /// What it says.
        found: u16,
    },
    /// The hash is another one.
    #[error("a memory diff is damaged: its checksum does not match")]
    Damaged,
    /// Larger than the caller allows.
    #[error("a memory diff of {found} bytes is beyond the limit of {limit}")]
    TooLarge {
        /// What it says.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// It cannot be packed or unpacked.
    #[error("a memory diff cannot be compressed or decompressed: {0}")]
    Zstd(#[from] std::io::Error),
}

impl Diff {
    /// The diff as bytes, compressed with zstd's `level` (1 is fast, 19 is small).
    ///
    /// # Errors
    /// When the compressor finds no memory.
    pub fn encode(&self, level: i32) -> Result<Vec<u8>, FormatError> {
        pack(&self.body(), level)
    }

    /// The diff that `bytes` are, if its body has no more than `body_bytes_max`.
    ///
    /// # Errors
    /// When they are none, of another version, damaged or too large.
    pub fn decode(bytes: &[u8], body_bytes_max: u64) -> Result<Self, FormatError> {
        let Some((header, packed)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FormatError::NotADiff("it is shorter than a header"));
        };
        if header[..4] != MAGIC {
            return Err(FormatError::NotADiff("it begins with other bytes"));
        }
        let found = u16::from_le_bytes([header[4], header[5]]);
        if found != FORMAT_VERSION {
            return Err(FormatError::Version { found });
        }
        let mut reader = Reader(&header[6..HASHED_BYTES]);
        let (zero, body, length) = (reader.u16()?, reader.u64()?, reader.u64()?);
        if zero != 0 || length != packed.len() as u64 {
            return Err(FormatError::NotADiff("its length is another one than it says"));
        }
        if body > body_bytes_max {
            return Err(FormatError::TooLarge { found: body, limit: body_bytes_max });
        }
        if hash(bytes).as_bytes() != &header[HASHED_BYTES..] {
            return Err(FormatError::Damaged);
        }
        parse(&unpack(packed, body)?)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let (runs, bytes) = self.parts();
        let mut body = Vec::with_capacity(BODY_HEADER_BYTES + RUN_BYTES * runs.len() + bytes.len());
        body.extend_from_slice(&self.memory_len().to_le_bytes());
        body.extend_from_slice(&(runs.len() as u32).to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        for run in runs {
            let (operation, number) = code(run.operation);
            body.extend_from_slice(&run.offset.to_le_bytes());
            body.extend_from_slice(&run.len.to_le_bytes());
            body.extend_from_slice(&[operation, number, 0, 0]);
        }
        body.extend_from_slice(bytes);
        body
    }
}

/// The packed body with its header.
pub(super) fn pack(body: &[u8], level: i32) -> Result<Vec<u8>, FormatError> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend_from_slice(&zstd::bulk::compress(body, level)?);
    let packed = (out.len() - HEADER_BYTES) as u64;
    out[..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    out[8..16].copy_from_slice(&(body.len() as u64).to_le_bytes());
    out[16..24].copy_from_slice(&packed.to_le_bytes());
    let hash = hash(&out);
    out[HASHED_BYTES..HEADER_BYTES].copy_from_slice(hash.as_bytes());
    Ok(out)
}

fn hash(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..HASHED_BYTES]);
    hasher.update(&bytes[HEADER_BYTES..]);
    hasher.finalize()
}

/// The body, of exactly `bytes`; grows only as it comes.
fn unpack(packed: &[u8], bytes: u64) -> Result<Vec<u8>, FormatError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    let mut body = Vec::new();
    decoder.by_ref().take(bytes.saturating_add(1)).read_to_end(&mut body)?;
    if body.len() as u64 != bytes || !decoder.finish().is_empty() {
        return Err(FormatError::NotADiff("its body is not as long as it says"));
    }
    Ok(body)
}

fn parse(body: &[u8]) -> Result<Diff, FormatError> {
    let mut reader = Reader(body);
    let memory_len = reader.u64()?;
    let count = reader.u32()? as usize;
    let zero = reader.u32()?;
    if zero != 0 || count > RUNS_MAX || count > reader.0.len() / RUN_BYTES {
        return Err(FormatError::NotADiff("it has fewer runs than it says"));
    }
    let mut runs = Vec::with_capacity(count);
    let (mut end, mut bytes) = (0, 0);
    for _ in 0..count {
        let run = reader.run()?;
        end = run
            .offset
            .checked_add(u64::from(run.len))
            .filter(|stop| run.offset >= end && run.len > 0 && *stop <= memory_len)
            .ok_or(FormatError::NotADiff("a run is not where it can be"))?;
        bytes += u64::from(run.len);
        runs.push(run);
    }
    if bytes != reader.0.len() as u64 {
        return Err(FormatError::NotADiff("its runs have other lengths than their bytes"));
    }
    Ok(Diff::of_parts(memory_len, runs, reader.0.to_vec()))
}

fn code(operation: MergeOperation) -> (u8, u8) {
    match operation {
        MergeOperation::Bytewise => (0, 0),
        MergeOperation::Xor => (1, 0),
        MergeOperation::Sum(number) => (2, number as u8),
        MergeOperation::Product(number) => (3, number as u8),
        MergeOperation::Min(number) => (4, number as u8),
        MergeOperation::Max(number) => (5, number as u8),
        MergeOperation::Ignore => unreachable!("what is ignored is in no run"),
    }
}

fn operation(code: u8, number: u8) -> Option<MergeOperation> {
    let typed = Number::ALL.get(usize::from(number)).copied();
    Some(match (code, number) {
        (0, 0) => MergeOperation::Bytewise,
        (1, 0) => MergeOperation::Xor,
        (2, _) => MergeOperation::Sum(typed?),
        (3, _) => MergeOperation::Product(typed?),
        (4, _) => MergeOperation::Min(typed?),
        (5, _) => MergeOperation::Max(typed?),
        _ => return None,
    })
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (first, rest) =
            self.0.split_first_chunk().ok_or(FormatError::NotADiff("it ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    fn run(&mut self) -> Result<RunHead, FormatError> {
        let (offset, len) = (self.u64()?, self.u32()?);
        let [code, number, ..] = self.array::<4>().and_then(|rest| match rest {
            [_, _, 0, 0] => Ok(rest),
            _ => Err(FormatError::NotADiff("a run has bits that nobody knows")),
        })?;
        let operation = operation(code, number)
            .filter(|operation| (len as usize).is_multiple_of(operation.unit()))
            .ok_or(FormatError::NotADiff("a run has an operation that nobody knows"))?;
        Ok(RunHead { offset, len, operation })
    }
}
