//! What a request of a partitioned operation keeps (MPI-5.0 chapter 4).

use faasm_mpi_engine::error::MpiError;

/// Partitions of a request at most.
pub(crate) const PARTITIONS_MAX: u32 = 1 << 18;

/// A partitioned operation.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Partitioned {
    /// Whether it sends.
    pub is_send: bool,
    /// Number of partitions on this side.
    pub partitions: u32,
    /// Elements of each.
    pub count: i64,
    /// Rank of the peer, or `MPI_PROC_NULL`.
    pub peer: i32,
    /// How the sender's partitions travel, once it is known here.
    pub stream: Option<Stream>,
    /// The sender's partitions that are under way, with their requests.
    pub underway: Vec<(u32, i32)>,
    /// Why the round fails, if it does.
    pub error: Option<MpiError>,
    /// Whether the receives of this round are posted.
    has_posted: bool,
    /// For a send, the partitions that the program has marked ready; for a receive, nothing.
    ready: Vec<bool>,
    ready_count: u32,
    /// The sender's partitions that have arrived or have been sent.
    done: Vec<bool>,
    done_count: u32,
}

/// How a sender's partitions travel.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stream {
    /// Tag of the first partition; each following one has the tag below.
    pub first_tag: i32,
    /// Number of partitions.
    pub partitions: u32,
    /// Bytes of each.
    pub bytes: u64,
}

impl Stream {
    /// Tag of a partition.
    pub const fn tag(&self, partition: u32) -> i32 {
        self.first_tag.wrapping_sub_unsigned(partition)
    }

    /// As it is sent.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.first_tag.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.partitions.to_le_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    /// Reads one; what no sender sends is one without partitions.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let none = Self { first_tag: 0, partitions: 0, bytes: 0 };
        let Ok(bytes) = <[u8; 16]>::try_from(bytes) else { return none };
        let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
        let read = Self {
            first_tag: i32::from_le_bytes([a, b, c, d]),
            partitions: u32::from_le_bytes([e, f, g, h]),
            bytes: u64::from_le_bytes(rest),
        };
        if read.partitions > PARTITIONS_MAX { none } else { read }
    }
}

impl Partitioned {
    /// An operation that has not been started.
    pub const fn new(is_send: bool, partitions: u32, count: i64, peer: i32) -> Self {
        Self {
            is_send,
            partitions,
            count,
            peer,
            stream: None,
            underway: Vec::new(),
            error: None,
            has_posted: false,
            ready: Vec::new(),
            ready_count: 0,
            done: Vec::new(),
            done_count: 0,
        }
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        self.ready = vec![false; if self.is_send { self.partitions as usize } else { 0 }];
        self.done.clear();
        (self.ready_count, self.done_count, self.has_posted) = (0, 0, self.is_send);
        self.error = None;
        if self.is_send {
            self.done = vec![false; self.partitions as usize];
        }
    }

    /// Whether the receives of this round are posted.
    pub const fn has_posted(&self) -> bool {
        self.has_posted
    }

    /// The receives of this round are posted; an error is that of the whole round.
    pub fn post(&mut self, underway: Vec<(u32, i32)>, error: Option<MpiError>) {
        let partitions = self.stream.map_or(0, |stream| stream.partitions);
        (self.underway, self.has_posted, self.error) = (underway, true, error);
        self.done = vec![false; partitions as usize];
    }

    /// Whether the program has marked a partition ready.
    pub fn is_ready(&self, partition: u32) -> bool {
        self.ready.get(partition as usize).copied().unwrap_or(false)
    }

    /// The program marks a partition ready.
    pub fn mark_ready(&mut self, partition: u32) {
        if let Some(ready @ false) = self.ready.get_mut(partition as usize) {
            *ready = true;
            self.ready_count += 1;
        }
    }

    /// Whether all partitions are ready.
    pub const fn is_all_ready(&self) -> bool {
        self.ready_count == self.partitions
    }

    /// A partition of the sender has arrived, or has been sent.
    pub fn mark_done(&mut self, partition: u32, error: Option<MpiError>) {
        if let Some(done @ false) = self.done.get_mut(partition as usize) {
            *done = true;
            self.done_count += 1;
        }
        if let Some(error) = error {
            self.error.get_or_insert(error);
        }
    }

    /// Whether the round is over.
    pub fn is_over(&self) -> bool {
        self.has_posted
            && self.done_count as usize == self.done.len()
            && (!self.is_send || self.is_all_ready())
    }

    /// Whether partition `index` of a receive of `whole` bytes is there.
    pub fn has_arrived(&self, index: u32, whole: u64) -> bool {
        let Some(stream) = self.stream.filter(|_| self.has_posted) else { return false };
        let each = whole / u64::from(self.partitions.max(1));
        if each == 0 || stream.bytes == 0 {
            return self.is_over();
        }
        let first = u64::from(index) * each / stream.bytes;
        let end = ((u64::from(index) + 1) * each).div_ceil(stream.bytes);
        let parts = self.done.get(first as usize..end as usize);
        parts.is_some_and(|parts| parts.iter().all(|done| *done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_arrived_with_the_last_of_the_senders_that_reach_into_it() {
        let mut receive = Partitioned::new(false, 2, 6, 0);
        receive.begin();
        assert!(!receive.has_arrived(0, 12) && !receive.is_over());
        receive.stream = Some(Stream { first_tag: -16, partitions: 3, bytes: 4 });
        receive.post(vec![(0, 7), (1, 8), (2, 9)], None);
        receive.mark_done(0, None);
        assert!(!receive.has_arrived(0, 12) && !receive.has_arrived(1, 12));
        receive.mark_done(1, None);
        assert!(receive.has_arrived(0, 12) && !receive.has_arrived(1, 12));
        receive.mark_done(1, None);
        assert!(!receive.is_over(), "the same one twice");
        receive.mark_done(2, None);
        assert!(receive.has_arrived(1, 12) && receive.is_over());
    }

    #[test]
    fn a_send_is_over_when_all_partitions_are_ready_and_sent() {
        let mut send = Partitioned::new(true, 2, 1, 0);
        send.begin();
        send.mark_ready(1);
        send.mark_ready(1);
        send.mark_done(1, None);
        assert!(send.is_ready(1) && !send.is_ready(0) && !send.is_all_ready() && !send.is_over());
        send.mark_ready(0);
        assert!(send.is_all_ready() && !send.is_over());
        send.mark_done(0, None);
        assert!(send.is_over());
        send.begin();
        assert!(!send.is_over() && !send.is_ready(0));
    }

    #[test]
    fn introductions_survive_the_way_and_rubbish_is_no_stream() {
        let stream = Stream { first_tag: -20, partitions: 5, bytes: 1 << 40 };
        assert_eq!(Stream::from_bytes(&stream.to_bytes()), stream);
        assert_eq!((stream.tag(0), stream.tag(4)), (-20, -24));
        let huge = Stream { partitions: PARTITIONS_MAX + 1, ..stream };
        assert_eq!(Stream::from_bytes(&huge.to_bytes()).partitions, 0);
        assert_eq!(Stream::from_bytes(&[1, 2]).partitions, 0);
    }
}
