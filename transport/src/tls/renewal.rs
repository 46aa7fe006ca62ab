//! A node's next certificate.

use std::fmt;

use super::node_key;
use crate::{config::Identity, error::Error};

/// A new key of a node, and what it asks a certificate for.
pub struct KeyRequest {
    key: Vec<u8>,
    public_key: Vec<u8>,
}

impl KeyRequest {
    /// Makes a key.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn new() -> Result<Self, Error> {
        let (key, public_key) = node_key()?;
        Ok(Self { key, public_key })
    }

    /// What is to be certified; no secret.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// What the node proves itself with once it has the certificate.
    pub fn certified(self, certificate: Vec<u8>, authority: Vec<u8>) -> Identity {
        Identity { certificate, key: self.key, authority }
    }
}

impl fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRequest(..)")
    }
}
