//! Messages on a stream between processes of one user: `u32` length, little-endian, then rkyv.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use parking_lot::Mutex;
use rkyv::util::AlignedVec;

use super::message::{Ask, Tell};
use crate::cluster::codec::Message;

/// Longest message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

macro_rules! message {
    ($type:ty) => {
        impl Message for $type {
            fn encode(&self) -> Result<AlignedVec, rkyv::rancor::Error> {
                rkyv::to_bytes(self)
            }

            fn decode(bytes: &AlignedVec) -> Result<Self, rkyv::rancor::Error> {
                rkyv::from_bytes(bytes)
            }
        }
    };
}
message!(Ask);
message!(Tell);

/// The sending half; several threads may use it.
#[derive(Debug)]
pub(super) struct Sender {
    stream: Mutex<UnixStream>,
}

impl Sender {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream: Mutex::new(stream) }
    }

    /// Sends a message; waits for a reader that is slow.
    pub(super) fn send(&self, message: &impl Message) -> io::Result<()> {
        let bytes = message.encode().map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut stream = self.stream.lock();
        stream.write_all(&length.to_le_bytes())?;
        stream.write_all(&bytes)
    }

    /// Ends the stream in both directions.
    pub(super) fn close(&self) {
        // It is closed already if this fails. The lock may be held by a writer that waits.
        if let Some(stream) = self.stream.try_lock() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Receives a message; `None` at the end of the stream.
pub(super) fn receive<M: Message>(stream: &mut UnixStream) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = AlignedVec::with_capacity(length.min(1 << 20));
    bytes.extend_from_reader(&mut io::Read::take(stream, length as u64))?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::decode(&bytes).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_rubbish_is_refused() {
        let (one, mut other) = UnixStream::pair().expect("there are descriptors");
        let sender = Sender::new(one);
        let asks = [Ask::Status, Ask::Input(vec![7; 100_000]), Ask::Drain { node: "n1".into() }];
        std::thread::scope(|scope| {
            scope.spawn(|| asks.iter().for_each(|ask| sender.send(ask).expect("it is read")));
            for ask in &asks {
                assert_eq!(receive(&mut other).expect("a message").as_ref(), Some(ask));
            }
        });
        drop(sender);
        assert_eq!(receive::<Ask>(&mut other).expect("the end"), None);
        for rubbish in [&[0xff; 8][..], &[8, 0, 0, 0, 1, 2], &[4, 0, 0, 0, 9, 9, 9, 9]] {
            let (mut one, mut other) = UnixStream::pair().expect("there are descriptors");
            one.write_all(rubbish).expect("there is room");
            drop(one);
            assert!(receive::<Ask>(&mut other).is_err(), "{rubbish:?}");
        }
    }
}
