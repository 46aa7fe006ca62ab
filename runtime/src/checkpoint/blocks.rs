//! The content of a memory in blocks, of which only those are written that have changed.

use std::collections::HashMap;
use std::io::{self, Write};

use faasm_vm::snapshot::content;
use faasm_vm::{GuestAddr, GuestMemory};
use serde::{Deserialize, Serialize};

/// Bytes of memory in a block.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;
/// zstd's level: the quickest with a real gain.
const LEVEL: i32 = 1;

/// After blocks that zstd makes no shorter, so many at most are not tried.
const SKIPPED_MAX: u32 = 16;

/// The first half of the BLAKE3 hash of a block's content.
type Hash = [u8; 16];

/// Where a block's content lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct BlockRef {
    /// Number of the block from the start of memory.
    pub(super) number: u32,
    /// The cut whose file of this rank holds it.
    pub(super) cut: u32,
    /// Where in that file.
    pub(super) offset: u64,
    /// Bytes there.
    pub(super) stored_bytes: u32,
    /// Whether they are compressed.
    pub(super) is_compressed: bool,
    hash: Hash,
}

/// Appends the blocks of the first `len` bytes of `memory` that are not in `previous` to `out`, as parts of cut `cut`; gives
/// the references to all that are not zero.
pub(super) fn write(
    (memory, len): (&GuestMemory, u64),
    cut: u32,
    previous: &HashMap<u32, BlockRef>,
    out: &mut impl Write,
    written: &mut u64,
) -> io::Result<Vec<BlockRef>> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    let mut compressor = Compressor::new()?;
    let mut references = Vec::new();
    for number in with_content(memory, len) {
        let start = number * BLOCK_BYTES;
        let block = &mut block[..BLOCK_BYTES.min(len - start) as usize];
        memory.read(GuestAddr::new(start), block).map_err(io::Error::other)?;
        if is_zero(block) {
            continue;
        }
        let (number, hash) = (number as u32, hash(block));
        if let Some(known) = previous.get(&number).filter(|known| known.hash == hash) {
            references.push(*known);
            continue;
        }
        let shorter = compressor.compress(block)?;
        let is_compressed = shorter.is_some();
        let stored = shorter.unwrap_or(block);
        out.write_all(stored)?;
        let stored_bytes = stored.len() as u32;
        let offset = *written;
        references.push(BlockRef { number, cut, offset, stored_bytes, is_compressed, hash });
        *written += u64::from(stored_bytes);
    }
    Ok(references)
}

/// Numbers of the blocks among the first `len` bytes that may hold anything but zeros, in order.
fn with_content(memory: &GuestMemory, len: u64) -> impl Iterator<Item = u64> {
    let mut next = 0;
    content(memory).into_iter().flat_map(move |range| {
        let end = range.end.min(len).div_ceil(BLOCK_BYTES);
        let blocks = next.max(range.start / BLOCK_BYTES)..end;
        next = next.max(end);
        blocks
    })
}

/// Compresses blocks, and tries that less often where it does not help.
struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    /// So many blocks are not tried next.
    skips: u32,
    /// As many as were not tried the last time.
    skipped: u32,
}

impl Compressor {
    fn new() -> io::Result<Self> {
        let compressed = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK_BYTES as usize));
        let zstd = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { zstd, compressed, skips: 0, skipped: 0 })
    }

    /// The block in less bytes, if that is worth it.
    fn compress(&mut self, block: &[u8]) -> io::Result<Option<&[u8]>> {
        if self.skips > 0 {
            self.skips -= 1;
            return Ok(None);
        }
        self.compressed.clear();
        self.zstd.compress_to_buffer(block, &mut self.compressed)?;
        let is_shorter = self.compressed.len() < block.len() - block.len() / 16;
        self.skipped = if is_shorter { 0 } else { (2 * self.skipped + 1).min(SKIPPED_MAX) };
        self.skips = self.skipped;
        Ok(is_shorter.then_some(&*self.compressed))
    }
}

/// The content of a block, `len` bytes, from what was stored of it; `None` when it is damaged.
pub(super) fn read(reference: &BlockRef, stored: Vec<u8>, len: usize) -> Option<Vec<u8>> {
    let block = match reference.is_compressed {
        true => zstd::bulk::decompress(&stored, len).ok()?,
        false => stored,
    };
    (block.len() == len && hash(&block) == reference.hash).then_some(block)
}

fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

fn hash(block: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(&blake3::hash(block).as_bytes()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gets_no_shorter_is_soon_not_tried_and_then_again() {
        let mut compressor = Compressor::new().expect("zstd");
        let mut noise = vec![0; BLOCK_BYTES as usize];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        for _ in 0..100 {
            assert_eq!(compressor.compress(&noise).expect("zstd"), None);
        }
        let text = vec![b'a'; BLOCK_BYTES as usize];
        let shorter = (0..=SKIPPED_MAX)
            .filter(|_| compressor.compress(&text).expect("zstd").is_some())
            .count();
        assert!(shorter > 0, "it is tried again");
        assert!(compressor.compress(&text).expect("zstd").is_some(), "each time, as it helps");
    }

    #[test]
    fn only_changed_blocks_are_written_and_all_come_back() {
        let memory = GuestMemory::for_test(3 * BLOCK_BYTES as usize + 100);
        memory.write(GuestAddr::new(5), b"first").expect("inside");
        memory.write(GuestAddr::new(3 * BLOCK_BYTES + 90), b"last").expect("inside");
        let (mut file, mut written) = (Vec::new(), 0);
        let all = (&memory, memory.len());
        let first = write(all, 1, &HashMap::new(), &mut file, &mut written).expect("written");
        assert_eq!(first.iter().map(|block| block.number).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(written, file.len() as u64);
        for block in &first {
            let at = block.offset as usize;
            let stored = file[at..at + block.stored_bytes as usize].to_vec();
            let len = if block.number == 3 { 100 } else { BLOCK_BYTES as usize };
            let content = read(block, stored.clone(), len).expect("sound");
            let start = GuestAddr::new(u64::from(block.number) * BLOCK_BYTES);
            assert_eq!(content, memory.read_vec(start, len as u64).expect("inside"));
            for at in 0..stored.len() {
                let mut damaged = stored.clone();
                damaged[at] ^= 1;
                let got = read(block, damaged, len);
                assert!(
                    got.is_none_or(|got| got == content),
                    "byte {at} of block {}",
                    block.number
                );
            }
        }
        memory.write(GuestAddr::new(7), b"x").expect("inside");
        let previous = first.iter().map(|block| (block.number, *block)).collect();
        let second = write(all, 2, &previous, &mut Vec::new(), &mut 0).expect("written");
        assert_eq!(second.iter().map(|block| block.cut).collect::<Vec<_>>(), [2, 1]);
    }
}
