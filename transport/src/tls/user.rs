//! What a user of a cluster proves itself with on another machine than the coordinator's.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer, server::WebPkiClientVerifier};

use super::{Authority, ClusterId, chain, key, provider, random, roots, server_verifier, unusable};
use crate::{config::Identity, error::Error, hex};

/// Protocol between a cluster's users and its coordinator.
pub(crate) const USER_PROTOCOL: &[u8] = b"faasm-user/1";
/// Prefix that names the format.
const PREFIX: &str = "faasmu1.";
const CHECK_BYTES: usize = 4;
/// The text of a credential; a longer one is none.
const TEXT_CHARS_MAX: usize = 4096;

/// A client certificate of a cluster's user with its key: who has it can give orders and jobs.
///
/// Its text form is one line and a secret, to be kept in a file that only its owner can read; `Debug` does
/// not print it.
///
/// ```text
/// faasmu1.<hex of: (u16 length | bytes) of certificate, key, authority | check 4>
/// ```
#[derive(Clone)]
pub struct UserToken(Identity);

impl Authority {
    /// Makes a certificate for a user, valid from now on.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn issue_user(&self, lifetime: Duration) -> Result<UserToken, Error> {
        let name = format!("user-{}", hex::encode(&random::<4>()?));
        let (key, public_key) = super::node_key()?;
        let certificate = self.certify_user(&name, &public_key, SystemTime::now(), lifetime)?;
        let authority = self.certificate().to_vec();
        Ok(UserToken(Identity { certificate, key, authority }))
    }
}

impl UserToken {
    /// The text to keep in a file. It is a secret.
    pub fn reveal(&self) -> String {
        let mut body = Vec::new();
        for part in [&self.0.certificate, &self.0.key, &self.0.authority] {
            let length = u16::try_from(part.len()).expect("certificates of ours are short");
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(part);
        }
        let sum = check(&body);
        body.extend_from_slice(&sum);
        format!("{PREFIX}{}", hex::encode(&body))
    }

    #[cfg(test)]
    pub(crate) const fn of(identity: Identity) -> Self {
        Self(identity)
    }

    #[cfg(test)]
    pub(crate) fn into_identity(self) -> Identity {
        self.0
    }

    /// The TLS settings with which its owner speaks to the coordinator.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_webpki_verifier(server_verifier(&self.0.authority)?)
            .with_client_auth_cert(chain(&self.0), key(&self.0))
            .map_err(|error| Error::Certificate { reason: format!("the user token's: {error}") })?;
        config.alpn_protocols = vec![USER_PROTOCOL.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserToken(..)")
    }
}

impl FromStr for UserToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text.trim()).map_err(|reason| Error::BadUserToken { reason })
    }
}

/// Settings of the coordinator's side.
pub(crate) fn user_server_config(identity: &Identity) -> Result<ServerConfig, Error> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&identity.authority)?, provider())
            .build()
            .map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(identity), key(identity))
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![USER_PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

/// The user that a certificate names, if it is a user's of this cluster: a node's is not.
///
/// The certificate's signature must have been checked before.
pub(crate) fn named_user(certificate: &CertificateDer<'_>, cluster: ClusterId) -> Option<String> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let suffix = format!(".{cluster}.faasm");
    let mut names = certificate.valid_dns_names();
    let name = names.find_map(|name| name.strip_suffix(suffix.as_str()))?;
    name.starts_with("user-").then(|| name.to_owned())
}

fn parse(text: &str) -> Result<UserToken, &'static str> {
    let Some(digits) = text.strip_prefix(PREFIX) else {
        return Err(if text.starts_with("faasm1.") {
            "it is a token with which a node joins"
        } else {
            "it does not begin with `faasmu1.`"
        });
    };
    if text.len() > TEXT_CHARS_MAX {
        return Err("it is too long");
    }
    let bytes = hex::decode(digits).ok_or("it is cut off, or a character of it was changed")?;
    let (body, sum) =
        bytes.split_last_chunk::<CHECK_BYTES>().ok_or("it is too short: part of it is missing")?;
    if check(body) != *sum {
        return Err("it is cut off, or a character of it was changed: copy it again");
    }
    let mut rest = body;
    let mut part = || {
        let (length, after) = rest.split_first_chunk()?;
        let (part, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = after;
        Some(part.to_vec())
    };
    let parts = [part(), part(), part()];
    let ([Some(certificate), Some(key), Some(authority)], []) = (parts, rest) else {
        return Err("it has not all its parts");
    };
    Ok(UserToken(Identity { certificate, key, authority }))
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let [a, b, c, d, ..] = blake3::derive_key("faasm 2026 user token check", body);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_user_token_survives_its_text_and_no_change_of_it() {
        let authority = Authority::new().expect("an authority");
        let token = authority.issue_user(HOUR).expect("a token");
        let text = token.reveal();
        assert!(text.len() < TEXT_CHARS_MAX && !format!("{token:?}").contains(&text[10..20]));
        let read = UserToken::from_str(&format!(" {text}\n")).expect("it is one");
        assert_eq!((read.0.certificate, read.0.key), (token.0.certificate, token.0.key));
        for at in [PREFIX.len(), text.len() / 2, text.len() - 1] {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("it is ASCII");
            assert!(UserToken::from_str(&changed).is_err(), "at {at}");
            assert!(UserToken::from_str(&text[..at]).is_err(), "cut at {at}");
        }
        let error = UserToken::from_str("faasm1.00").expect_err("a node's").to_string();
        assert!(error.contains("a node joins") && error.contains("--client"), "{error}");
        let long = format!("{PREFIX}{}", "00".repeat(TEXT_CHARS_MAX));
        assert!(UserToken::from_str(&long).is_err());
    }

    #[test]
    fn users_and_nodes_are_told_apart() {
        let authority = Authority::new().expect("an authority");
        let user = CertificateDer::from(authority.issue_user(HOUR).expect("a token").0.certificate);
        let node = authority.issue(crate::NodeId(3), HOUR).expect("an identity").certificate;
        let node = CertificateDer::from(node);
        let cluster = authority.cluster();
        assert!(named_user(&user, cluster).is_some_and(|name| name.starts_with("user-")));
        assert_eq!(named_user(&user, ClusterId(1)), None, "another cluster");
        assert_eq!(named_user(&node, cluster), None);
        assert_eq!(super::super::named_node(&user, cluster), None);
    }
}
