//! One rank's standard input: where it comes from and how far it was read.

use std::sync::Arc;

use super::errno::Errno;
use super::stream::{StdinReady, StdinStream};

/// Where the standard input of one rank comes from.
#[derive(Clone, Debug, Default)]
pub(crate) enum StdinSource {
    /// Nothing: the first read reports the end of the file.
    #[default]
    Closed,
    /// These bytes, then the end of the file.
    #[allow(dead_code, reason = "for embedders that hold the input; the launcher has a stream")]
    Bytes(Arc<[u8]>),
    /// A stream, which other ranks may read as well.
    Stream(StdinStream),
}

/// One rank's place in its standard input.
#[derive(Debug)]
pub(crate) struct StdinReader {
    source: StdinSource,
    position: u64,
    /// Position at which reading starts; above `position` only after `resume_at`.
    resume: u64,
}

impl StdinReader {
    pub(crate) fn new(source: StdinSource) -> Self {
        let position = if let StdinSource::Stream(stream) = &source { stream.join() } else { 0 };
        Self { source, position, resume: position }
    }

    /// Goes on at `position`, as a rank that was saved after reading so far; bytes before it that
    /// are still to come are dropped as they arrive.
    ///
    /// Returns false when bytes from there on are gone.
    #[must_use]
    pub(crate) fn resume_at(&mut self, position: u64) -> bool {
        self.resume = position;
        position >= self.position
    }

    /// Passes bytes that were read before the rank was saved.
    fn skip(&mut self) {
        if self.position < self.resume {
            self.position = match &self.source {
                StdinSource::Closed => self.position,
                StdinSource::Bytes(bytes) => self.resume.min(bytes.len() as u64),
                StdinSource::Stream(stream) => stream.skip(self.position, self.resume),
            };
        }
    }

    /// What a read would find now; when that is nothing, input is asked for.
    pub(crate) fn ready(&mut self) -> Result<StdinReady, Errno> {
        self.skip();
        match &self.source {
            StdinSource::Closed => Ok(StdinReady::End),
            StdinSource::Bytes(bytes) => Ok(match bytes.len() as u64 {
                len if len > self.position => StdinReady::Bytes(len - self.position),
                _ => StdinReady::End,
            }),
            StdinSource::Stream(stream) => stream.ready(self.position),
        }
    }

    /// Waits until `ready` has something to say.
    ///
    /// # Cancel safety
    /// Dropping the future loses no input.
    pub(crate) async fn readable(&mut self) {
        let StdinSource::Stream(stream) = &self.source else { return };
        let stream = stream.clone();
        loop {
            let arrival = stream.arrival();
            tokio::pin!(arrival);
            // Registered before the look, so that an arrival in between is not missed.
            arrival.as_mut().enable();
            if self.ready() != Ok(StdinReady::Empty) {
                return;
            }
            arrival.await;
        }
    }

    /// Takes what is there, at most `out.len()` bytes; 0 at the end and when nothing is there.
    pub(crate) fn take(&mut self, out: &mut [u8]) -> usize {
        self.skip();
        let len = match &self.source {
            StdinSource::Closed => 0,
            StdinSource::Bytes(bytes) => {
                let position = usize::try_from(self.position).unwrap_or(usize::MAX);
                let rest = bytes.get(position..).unwrap_or_default();
                let len = out.len().min(rest.len());
                out[..len].copy_from_slice(&rest[..len]);
                len
            }
            StdinSource::Stream(stream) => stream.take(self.position, out),
        };
        self.position += len as u64;
        len
    }

    /// Bytes of the stream before the next one to be read.
    pub(crate) fn position(&self) -> u64 {
        self.position.max(self.resume)
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.source, StdinSource::Stream(stream) if stream.is_terminal())
    }
}

impl Drop for StdinReader {
    fn drop(&mut self) {
        if let StdinSource::Stream(stream) = &self.source {
            stream.leave(self.position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::block_on;
    use super::*;

    #[test]
    fn bytes_are_read_to_their_end() {
        let mut reader = StdinReader::new(StdinSource::Bytes(Arc::from(*b"abcdef")));
        let mut out = [0; 4];
        assert_eq!(reader.ready(), Ok(StdinReady::Bytes(6)));
        assert_eq!((reader.take(&mut out), &out), (4, b"abcd"));
        assert_eq!((reader.take(&mut out), &out[..2]), (2, b"ef".as_slice()));
        assert_eq!((reader.take(&mut out), reader.ready()), (0, Ok(StdinReady::End)));
    }

    #[test]
    fn a_resumed_reader_skips_what_was_read() {
        let mut reader = StdinReader::new(StdinSource::Bytes(Arc::from(*b"abcdef")));
        assert!(reader.resume_at(4));
        assert_eq!(reader.position(), 4);
        assert_eq!(reader.ready(), Ok(StdinReady::Bytes(2)));
        assert!(!reader.resume_at(2), "bytes that were passed are gone");
    }

    #[test]
    fn a_closed_source_is_at_its_end() {
        let mut reader = StdinReader::new(StdinSource::Closed);
        assert_eq!(reader.ready(), Ok(StdinReady::End));
        block_on(reader.readable());
        assert_eq!(reader.take(&mut [0; 4]), 0);
    }
}
