//! The numbers of the MPI 5.0 ABI, as `mpi.h` gives them to guests.
//!
//! What must always hold: each constant has the name and value it has in `mpi-shim/include/mpi.h`
//! (`tests/header.rs` compares the two, from the header's side). Handles, sentinels and error
//! classes are `i32`, which is how they arrive from a guest with 32-bit addresses. Names keep their
//! `MPI_` prefix so that one search finds the header, the host function and the test.
//!
//! This module imports nothing of ours.

/// Declares constants of the ABI once and lists them for the test that compares the header.
macro_rules! constants {
    ($($name:ident = $value:expr;)+) => {
        $(
            #[doc = concat!("`", stringify!($name), "` of the MPI ABI.")]
            pub const $name: i32 = $value;
        )+
        /// Name and value of each constant of this file.
        pub(super) const ALL: &[(&str, i32)] = &[$((stringify!($name), $name)),+];
    };
}

mod constant;
mod datatype;
mod error;
mod handle;
mod tool;

pub use constant::*;
pub use datatype::*;
pub use error::*;
pub use handle::*;
pub use tool::*;

/// Name and value of every constant of the ABI, in the order of the header's chapters.
pub fn constants() -> impl Iterator<Item = (&'static str, i32)> {
    [handle::ALL, datatype::ALL, constant::ALL, error::ALL, tool::ALL]
        .into_iter()
        .flatten()
        .copied()
}

/// `MPI_Status` as it lies in guest memory: eight little-endian 32-bit words.
///
/// ```text
/// byte  0      4    8      12         16          20         24       28
///       source tag  error  count low  count high  cancelled  reserved reserved
/// ```
/// The count is in bytes; `MPI_Get_count` divides it by the size of a datatype. Where elements were
/// set by hand (`MPI_Status_set_elements`) it is the number of bytes they would have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Status {
    /// Rank of the sender in the communicator, or a sentinel.
    pub source: i32,
    /// Tag of the message, or `MPI_ANY_TAG` for an empty status.
    pub tag: i32,
    /// Error class of this operation among several; only calls on many requests set it.
    pub error: i32,
    /// Bytes received.
    pub count_bytes: i64,
    /// True where the operation was cancelled.
    pub cancelled: bool,
}

impl Status {
    /// Length of a status in guest memory.
    pub const SIZE_BYTES: usize = 32;
    /// Position of `MPI_ERROR`, which single-request calls leave as it was.
    pub const ERROR_OFFSET_BYTES: usize = 8;
    /// The empty status of the standard, section 3.7.3: inactive requests complete with it.
    pub const EMPTY: Self = Self {
        source: MPI_ANY_SOURCE,
        tag: MPI_ANY_TAG,
        error: MPI_SUCCESS,
        count_bytes: 0,
        cancelled: false,
    };
    /// What a receive from `MPI_PROC_NULL` reports, section 3.10.
    pub const PROC_NULL: Self = Self { source: MPI_PROC_NULL, ..Self::EMPTY };

    /// Lays the status out for guest memory.
    pub fn to_bytes(self) -> [u8; Self::SIZE_BYTES] {
        let mut bytes = [0; Self::SIZE_BYTES];
        bytes[0..4].copy_from_slice(&self.source.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.tag.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.error.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.count_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&i32::from(self.cancelled).to_le_bytes());
        bytes
    }

    /// Reads a status back; any bytes are a status, for the guest may have written them.
    pub fn from_bytes(bytes: &[u8; Self::SIZE_BYTES]) -> Self {
        let word = |index: usize| {
            let at = 4 * index;
            i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let low = i64::from(word(3).cast_unsigned());
        Self {
            source: word(0),
            tag: word(1),
            error: word(2),
            count_bytes: i64::from(word(4)) << 32 | low,
            cancelled: word(5) != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_guest_memory() {
        let status = Status {
            source: 7,
            tag: MPI_ANY_TAG,
            error: MPI_ERR_TRUNCATE,
            count_bytes: 0x0001_0000_8000_0003,
            cancelled: true,
        };
        assert_eq!(Status::from_bytes(&status.to_bytes()), status);
        assert_eq!(status.to_bytes()[12..20], status.count_bytes.to_le_bytes());
    }

    #[test]
    fn words_lie_where_the_header_says() {
        let bytes =
            Status { source: 1, tag: 2, error: 3, count_bytes: 4, cancelled: false }.to_bytes();
        assert_eq!(
            (bytes[0], bytes[4], bytes[Status::ERROR_OFFSET_BYTES], bytes[12]),
            (1, 2, 3, 4)
        );
    }
}
