//! The messages of the join protocol and how they are written.
//!
//! Each is `u32 length | u8 kind | fields`, little endian; a text or a list of bytes is
//! `u16 length | bytes`. The first message begins with a magic word and the protocol's number and
//! keeps its form in all versions, so that nodes of different versions can tell each other.

use super::{Build, JOIN_MESSAGE_BYTES_MAX, token::TokenName};

/// First bytes of what a joiner says.
const MAGIC: [u8; 8] = *b"faasmjn\0";
/// A version, a build's or a host's name.
const TEXT_BYTES_MAX: usize = 128;

/// A number used once.
pub(super) type Nonce = [u8; 32];

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Message {
    Hello(Hello),
    Challenge { build: Build, nonce: Nonce, proof: [u8; 32] },
    Proof { proof: [u8; 32], public_key: Vec<u8> },
    Admitted { node: u32, valid_ms: u64, certificate: Vec<u8>, authority: Vec<u8> },
    Refused { reason: String },
}

/// Who wants to join, and with which token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) build: Build,
    pub(super) host: String,
    pub(super) token: TokenName,
    pub(super) nonce: Nonce,
}

impl Message {
    /// The message with its length in front.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        match self {
            Self::Hello(hello) => {
                out.push(0);
                out.extend_from_slice(&MAGIC);
                out.extend_from_slice(&hello.protocol.to_le_bytes());
                put_build(&mut out, &hello.build);
                put(&mut out, hello.host.as_bytes());
                out.extend_from_slice(&hello.token);
                out.extend_from_slice(&hello.nonce);
            }
            Self::Challenge { build, nonce, proof } => {
                out.push(1);
                put_build(&mut out, build);
                out.extend_from_slice(nonce);
                out.extend_from_slice(proof);
            }
            Self::Proof { proof, public_key } => {
                out.push(2);
                out.extend_from_slice(proof);
                put(&mut out, public_key);
            }
            Self::Admitted { node, valid_ms, certificate, authority } => {
                out.push(3);
                out.extend_from_slice(&node.to_le_bytes());
                out.extend_from_slice(&valid_ms.to_le_bytes());
                put(&mut out, certificate);
                put(&mut out, authority);
            }
            Self::Refused { reason } => {
                out.push(4);
                put(&mut out, reason.as_bytes());
            }
        }
        let length = u32::try_from(out.len() - 4).expect("messages are short");
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// The message in these bytes, without its length; none if it is not exactly one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let [kind] = rest.array()?;
        let message = match kind {
            0 => Self::Hello(decode_hello(&mut rest)?),
            1 => {
                let build = rest.build()?;
                Self::Challenge { build, nonce: rest.array()?, proof: rest.array()? }
            }
            2 => Self::Proof { proof: rest.array()?, public_key: rest.bytes()?.to_vec() },
            3 => {
                let node = u32::from_le_bytes(rest.array()?);
                let valid_ms = u64::from_le_bytes(rest.array()?);
                let certificate = rest.bytes()?.to_vec();
                Self::Admitted { node, valid_ms, certificate, authority: rest.bytes()?.to_vec() }
            }
            4 => Self::Refused { reason: printable(rest.bytes()?) },
            _ => return None,
        };
        rest.0.is_empty().then_some(message)
    }
}

/// Collects one message from what arrives.
#[derive(Debug, Default)]
pub(super) struct Inbox(Vec<u8>);

/// What arrived is no message.
#[derive(Debug)]
pub(super) struct NotAMessage;

impl Inbox {
    /// Adds what arrived; the next message if it is complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Message>, NotAMessage> {
        if self.0.len() + bytes.len() > JOIN_MESSAGE_BYTES_MAX {
            return Err(NotAMessage);
        }
        self.0.extend_from_slice(bytes);
        let Some((length, body)) = self.0.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > JOIN_MESSAGE_BYTES_MAX {
            return Err(NotAMessage);
        }
        let Some(body) = body.get(..length) else { return Ok(None) };
        let message = Message::decode(body).ok_or(NotAMessage)?;
        self.0.drain(..4 + length);
        Ok(Some(message))
    }
}

/// At most as much of a text as a message may carry.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A peer's text, fit for a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn decode_hello(rest: &mut Reader<'_>) -> Option<Hello> {
    if rest.array()? != MAGIC {
        return None;
    }
    let protocol = u32::from_le_bytes(rest.array()?);
    let build = rest.build()?;
    let host = rest.text()?;
    Some(Hello { protocol, build, host, token: rest.array()?, nonce: rest.array()? })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("fields are short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_build(out: &mut Vec<u8>, build: &Build) {
    put(out, build.version.as_bytes());
    put(out, build.build.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.bytes()?;
        (bytes.len() <= TEXT_BYTES_MAX).then(|| cut(&printable(bytes)))
    }

    fn build(&mut self) -> Option<Build> {
        Some(Build { version: self.text()?, build: self.text()? })
    }
}
