//! Data of messages from other nodes that ranks of this node have asked for.
//!
//! Bytes that nobody asked for, of another node or another place than the next one, are refused.

use std::collections::HashMap;

use faasm_mpi_shim::port::PullRequest;

/// Where arrived bytes go.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// Address in the receiving rank's memory; without one the bytes go to the rank itself.
    pub(crate) addr: Option<u64>,
    /// They are the last ones of their message.
    pub(crate) is_last: bool,
}

/// Why arrived bytes are not taken.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DataRefused {
    /// Nobody asked for them.
    #[error("nobody asked for data under the name {name}")]
    Unasked {
        /// The name.
        name: u32,
    },
    /// They are not the next ones.
    #[error("it sent {len} bytes from {offset} on, where {expected} comes next and {asked} ends")]
    Misplaced {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// The byte that was expected.
        expected: u64,
        /// Where the bytes end that were asked for.
        asked: u64,
    },
}

#[derive(Debug)]
struct Transfer {
    node: u32,
    into: Option<u64>,
    received: u64,
    asked: u64,
    is_last: bool,
}

/// The transfers to the ranks of one job, by rank and its name for the transfer.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    transfers: HashMap<(u32, u32), Transfer>,
}

impl Incoming {
    /// `rank` asks `node` for data.
    pub(crate) fn ask(&mut self, rank: u32, node: u32, request: &PullRequest) {
        if request.len == 0 {
            return;
        }
        let transfer = self.transfers.entry((rank, request.name)).or_insert(Transfer {
            node,
            into: request.into,
            received: 0,
            asked: 0,
            is_last: false,
        });
        debug_assert_eq!(request.offset, transfer.asked, "requests follow each other");
        transfer.asked += request.len;
        transfer.is_last = request.is_last;
    }

    /// `node` sends `len` bytes from `offset` on of what `rank` asked for as `name`.
    pub(crate) fn handle_data(
        &mut self,
        node: u32,
        (rank, name): (u32, u32),
        offset: u64,
        len: u64,
    ) -> Result<Place, DataRefused> {
        let transfer = match self.transfers.get_mut(&(rank, name)) {
            Some(transfer) if transfer.node == node => transfer,
            _ => return Err(DataRefused::Unasked { name }),
        };
        let (expected, asked) = (transfer.received, transfer.asked);
        if len == 0 || offset != expected || len > asked - expected {
            return Err(DataRefused::Misplaced { offset, len, expected, asked });
        }
        transfer.received += len;
        let addr = transfer.into.map(|into| into + offset);
        let is_last = transfer.is_last && transfer.received == asked;
        if is_last {
            self.transfers.remove(&(rank, name));
        }
        Ok(Place { addr, is_last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: PullRequest = PullRequest {
        name: 7,
        sender: 3,
        token: 1,
        offset: 0,
        len: 10,
        is_last: false,
        into: Some(100),
    };

    #[test]
    fn only_the_next_bytes_that_were_asked_for_are_taken() {
        let mut incoming = Incoming::default();
        let key = (2, 7);
        let unasked = Err(DataRefused::Unasked { name: 7 });
        assert_eq!(incoming.handle_data(1, key, 0, 4), unasked);
        incoming.ask(2, 1, &REQUEST);
        assert_eq!(incoming.handle_data(0, key, 0, 4), unasked, "another node");
        assert_eq!(incoming.handle_data(1, (3, 7), 0, 4), unasked, "another rank");
        let place = |addr, is_last| Ok(Place { addr: Some(addr), is_last });
        assert_eq!(incoming.handle_data(1, key, 0, 4), place(100, false));
        for (offset, len) in [(0, 4), (5, 1), (4, 7), (4, 0), (4, u64::MAX), (u64::MAX, 1)] {
            let refused = incoming.handle_data(1, key, offset, len);
            let expected = DataRefused::Misplaced { offset, len, expected: 4, asked: 10 };
            assert_eq!(refused, Err(expected));
        }
        assert_eq!(incoming.handle_data(1, key, 4, 6), place(104, false));
        incoming.ask(2, 1, &PullRequest { offset: 10, len: 5, is_last: true, ..REQUEST });
        assert_eq!(incoming.handle_data(1, key, 10, 5), place(110, true));
        assert!(incoming.transfers.is_empty());
        incoming.ask(2, 1, &PullRequest { len: 0, is_last: true, ..REQUEST });
        assert!(incoming.transfers.is_empty(), "nothing was asked for");
    }
}
