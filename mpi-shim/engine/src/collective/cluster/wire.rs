//! Numbers and bytes in messages between nodes: little-endian, and read with every length checked.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError};

/// Writes a message.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty message.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number of 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A signed number of 32 bits.
    pub fn i32(&mut self, value: i32) {
        self.u32(value.cast_unsigned());
    }

    /// A number of 64 bits.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("a message is shorter than 4 GiB"));
        self.raw(bytes);
    }

    /// An error: its class, argument and the first kilobyte of its detail.
    pub fn error(&mut self, error: &MpiError) {
        let known = |name| ARGUMENTS.iter().position(|other| *other == name);
        let argument = error.argument.and_then(known).map_or(0, |index| index + 1);
        let mut end = error.detail.len().min(DETAIL_BYTES_MAX);
        while !error.detail.is_char_boundary(end) {
            end -= 1;
        }
        self.u8(error.class as u8);
        self.u8(argument as u8);
        self.bytes(&error.detail.as_bytes()[..end]);
    }

    /// More bytes at the end, to be filled.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.0.len();
        self.0.resize(start + len, 0);
        &mut self.0[start..]
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a message that another node sent; `None` everywhere means that it is malformed.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.raw(1).map(|bytes| bytes[0])
    }

    /// A number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*first))
    }

    /// A signed number of 32 bits.
    pub fn i32(&mut self) -> Option<i32> {
        self.u32().map(u32::cast_signed)
    }

    /// A number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.raw(len as usize)
    }

    /// An error.
    pub fn error(&mut self) -> Option<MpiError> {
        let class = ErrorClass::from_code(i32::from(self.u8()?))?;
        let argument = match self.u8()? {
            0 => None,
            index => Some(*ARGUMENTS.get(index as usize - 1)?),
        };
        let detail = core::str::from_utf8(self.bytes()?).ok()?;
        // A program's own code means nothing to another process.
        Some(MpiError { class, user_code: None, argument, detail: String::from(detail) })
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// The error of a message that cannot be read.
pub(super) fn malformed() -> MpiError {
    let detail = "another node sent a part of a collective operation that cannot be understood; \
                  do all nodes run the same version of this program?";
    MpiError::new(ErrorClass::Intern, detail)
}

/// Bytes of an error's explanation that travel.
const DETAIL_BYTES_MAX: usize = 1024;

/// Names of arguments that errors travel with; others arrive without.
const ARGUMENTS: [&str; 20] = [
    "sendbuf",
    "recvbuf",
    "buffer",
    "count",
    "sendcounts",
    "recvcounts",
    "counts",
    "displs",
    "datatype",
    "types",
    "op",
    "root",
    "comm",
    "group",
    "color",
    "key",
    "split_type",
    "dims",
    "periods",
    "info",
];
