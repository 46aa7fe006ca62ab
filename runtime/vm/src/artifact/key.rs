//! What an entry is found by.

use std::fmt;
use std::hash::{Hash, Hasher};

use wasmtime::Engine;

use crate::rewrite::REWRITE_VERSION;

/// The blake3 hash of a module's original bytes.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct ContentHash(blake3::Hash);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes))
    }

    /// The hash that was computed piece by piece.
    pub(crate) const fn of_pieces(hash: blake3::Hash) -> Self {
        Self(hash)
    }

    /// The hash that stands for what the pass `name` makes of the module.
    #[must_use]
    pub fn variant(&self, name: &str, version: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("faasm-vm variant of a module");
        hasher.update(self.as_bytes()).update(&version.to_le_bytes()).update(name.as_bytes());
        Self(hasher.finalize())
    }

    /// The hash itself.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ContentHash {
    /// 64 hex digits.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Everything that machine code depends on, as one hash.
#[derive(Clone, Debug)]
pub(super) struct Key(blake3::Hash);

impl Key {
    /// The key of the module `content` as compiled by `engine`.
    ///
    /// The engine's part covers wasmtime's version, its settings, the accepted proposals and the
    /// features of this machine's CPU.
    pub(super) fn new(engine: &Engine, content: &ContentHash) -> Self {
        let mut hasher = KeyHasher(blake3::Hasher::new_derive_key("faasm-vm compiled module"));
        hasher.0.update(content.as_bytes());
        REWRITE_VERSION.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize())
    }

    /// Name of the entry's folder.
    pub(super) fn folder_name(&self) -> String {
        self.0.to_hex().to_string()
    }

    /// A hasher for this entry's checksum.
    pub(super) fn checksum(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.0.as_bytes())
    }
}

/// Lets a type's `Hash` feed blake3.
#[derive(Debug)]
struct KeyHasher(blake3::Hasher);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}
