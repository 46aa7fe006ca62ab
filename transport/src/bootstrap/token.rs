//! What a machine needs to know to join.

use std::{fmt, str::FromStr};

use crate::{error::Error, hex, tls};

/// Prefix that names the format.
const PREFIX: &str = "faasm1.";
const FINGERPRINT_BYTES: usize = 32;
const NAME_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
const BODY_BYTES: usize = FINGERPRINT_BYTES + NAME_BYTES + SECRET_BYTES;

/// A password to a cluster, with what the cluster is recognised by.
///
/// Its text form is a secret: it belongs into a file or a pipe, never on a command line or into a
/// log, and `Debug` does not print it.
///
/// ```text
/// faasm1.<hex of: authority's fingerprint 32 | name 8 | secret 32 | check 4>
/// ```
///
/// A *shared secret*, 64 hexadecimal digits that were made before the coordinator (`openssl rand -hex
/// 32`), is a token, too. It names no authority: a joiner then recognises the coordinator by its proof
/// that it knows the secret, which nobody else can make for this connection.
#[derive(Clone, Eq, PartialEq)]
pub struct Token {
    /// None for a shared secret.
    pub(super) authority: Option<[u8; FINGERPRINT_BYTES]>,
    pub(super) name: TokenName,
    secret: [u8; SECRET_BYTES],
}

/// What the coordinator finds a token by; not secret.
pub(super) type TokenName = [u8; NAME_BYTES];

/// What both sides derive from a token's secret.
#[derive(Clone)]
pub(super) struct ProofKey([u8; 32]);

impl Token {
    pub(super) fn new(authority: [u8; FINGERPRINT_BYTES]) -> Result<Self, Error> {
        Ok(Self { authority: Some(authority), name: tls::random()?, secret: tls::random()? })
    }

    fn shared(secret: [u8; SECRET_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] =
            blake3::derive_key("faasm 2026 shared token name", &secret);
        Self { authority: None, name: [a, b, c, d, e, f, g, h], secret }
    }

    /// The text to hand to the machine that joins. Keep it secret.
    pub fn reveal(&self) -> String {
        let Some(authority) = &self.authority else { return hex::encode(&self.secret) };
        let mut body = Vec::with_capacity(BODY_BYTES + CHECK_BYTES);
        body.extend_from_slice(authority);
        body.extend_from_slice(&self.name);
        body.extend_from_slice(&self.secret);
        body.extend_from_slice(&check(&body));
        format!("{PREFIX}{}", hex::encode(&body))
    }

    pub(super) fn proof_key(&self) -> ProofKey {
        ProofKey(blake3::derive_key("faasm 2026 join token proof key", &self.secret))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text.trim()).map_err(|reason| Error::BadToken { reason })
    }
}

impl ProofKey {
    /// The proof of `role` over all that makes this exchange unlike any other.
    pub(super) fn proof(&self, role: &[u8], parts: &[&[u8]]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in std::iter::once(&role).chain(parts) {
            // With its length in front no part can pass for the end of another.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

fn parse(text: &str) -> Result<Token, &'static str> {
    let Some(digits) = text.strip_prefix(PREFIX) else {
        if text.len() != 2 * SECRET_BYTES {
            return Err(
                "it neither begins with `faasm1.` nor is a secret of 64 hexadecimal digits",
            );
        }
        return Ok(Token::shared(bytes_of(text)?));
    };
    if digits.len() != 2 * (BODY_BYTES + CHECK_BYTES) {
        return Err("it is too short or too long: part of it is missing");
    }
    let bytes: [u8; BODY_BYTES + CHECK_BYTES] = bytes_of(digits)?;
    let (body, sum) = bytes.split_at(BODY_BYTES);
    if check(body) != sum {
        return Err("a character of it was changed: copy it again");
    }
    let (authority, rest) = body.split_at(FINGERPRINT_BYTES);
    let (name, secret) = rest.split_at(NAME_BYTES);
    let wrong = |_| "it has the wrong length";
    Ok(Token {
        authority: Some(authority.try_into().map_err(wrong)?),
        name: name.try_into().map_err(wrong)?,
        secret: secret.try_into().map_err(wrong)?,
    })
}

/// Twice as many digits as there are bytes.
fn bytes_of<const N: usize>(digits: &str) -> Result<[u8; N], &'static str> {
    let bytes = hex::decode(digits).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or("it has a character that is no digit")
}

/// Finds mistakes in copying; no protection.
fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = *blake3::hash(body).as_bytes();
    [a, b, c, d]
}
