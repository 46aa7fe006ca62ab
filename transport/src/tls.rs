//! What a node proves itself with: the cluster's authority, certificates and TLS settings.
//!
//! All links use TLS 1.3 with certificates on both sides. A certificate names the node and the
//! cluster (`node-5.0123456789abcdef.faasm`), so that a node's name is what its certificate says
//! and nothing that it claims. The one exception is the protocol by which nodes join
//! (`JOIN_PROTOCOL`): the coordinator, when it admits nodes, lets a peer without a certificate
//! speak that and nothing else.
//!
//! Sessions are not resumed and no data is sent early: each connection proves both sides anew.

mod authority;
mod renewal;
mod user;
mod verify;

use std::{fmt, str::FromStr, sync::Arc};

use rustls::{
    RootCertStore,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use crate::{
    config::{Identity, NODES_MAX},
    error::Error,
    id::NodeId,
};

pub(crate) use authority::node_key;
pub use authority::{Authority, CERTIFICATE_LIFETIME};
pub use renewal::KeyRequest;
pub use user::UserToken;
pub(crate) use user::{named_user, user_server_config};
pub(crate) use verify::PinnedAuthority;

/// Protocol of links between members.
pub(crate) const MEMBER_PROTOCOL: &[u8] = b"faasm/1";
/// Protocol by which a node that has a token becomes a member.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"faasm-join/1";
/// Name that only the coordinator's certificate carries besides its own.
pub(crate) const COORDINATOR_NAME: &str = "coordinator.faasm";

/// Name of a cluster: the beginning of its authority's fingerprint.
#[derive(Copy, Clone, Debug, Eq, Hash, PartialEq)]
pub struct ClusterId(pub u64);

impl ClusterId {
    /// The cluster of this authority's certificate.
    pub fn of_authority(certificate: &[u8]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = fingerprint(certificate);
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The hash by which a certificate is recognised.
pub(crate) fn fingerprint(certificate: &[u8]) -> [u8; 32] {
    *blake3::hash(certificate).as_bytes()
}

/// The name that a node's certificate carries.
pub(crate) fn node_name(cluster: ClusterId, node: NodeId) -> String {
    format!("node-{}.{cluster}.faasm", node.0)
}

/// The node that a certificate names, if it is one of this cluster.
///
/// The certificate's signature must have been checked before.
pub(crate) fn named_node(certificate: &CertificateDer<'_>, cluster: ClusterId) -> Option<NodeId> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let suffix = format!(".{cluster}.faasm");
    let number = certificate
        .valid_dns_names()
        .find_map(|name| name.strip_prefix("node-")?.strip_suffix(suffix.as_str()))?;
    let node = u32::from_str(number).ok()?;
    ((node as usize) < NODES_MAX).then_some(NodeId(node))
}

/// Random bytes for keys and nonces.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    provider().secure_random.fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes)
}

/// Settings of the side that is dialled. With `admits` it also speaks the join protocol.
pub(crate) fn server_config(
    identity: &Identity,
    admits: bool,
) -> Result<rustls::ServerConfig, Error> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&identity.authority)?, provider());
    let verifier = if admits { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| unusable(&error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(identity), key(identity))
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![MEMBER_PROTOCOL.to_vec()];
    if admits {
        config.alpn_protocols.push(JOIN_PROTOCOL.to_vec());
    }
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Settings of the side that dials a member.
pub(crate) fn client_config(identity: &Identity) -> Result<rustls::ClientConfig, Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_webpki_verifier(server_verifier(&identity.authority)?)
        .with_client_auth_cert(chain(identity), key(identity))
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![MEMBER_PROTOCOL.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Settings of a node that joins: it has no certificate, and knows only the authority's fingerprint, or
/// nothing if the join protocol alone must show who answers.
pub(crate) fn join_config(
    authority: impl Into<Option<[u8; 32]>>,
) -> Result<rustls::ClientConfig, Error> {
    let verifier = PinnedAuthority::new(authority.into(), provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Checks that peers would accept this node's own certificate.
///
/// # Errors
/// The certificate is not this node's, or is not valid by this machine's clock.
pub(crate) fn check_own(identity: &Identity, node: NodeId) -> Result<(), Error> {
    let certificate = CertificateDer::from(identity.certificate.as_slice());
    let roots = roots(&identity.authority)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| unusable(&error))?;
    let now = rustls::pki_types::UnixTime::now();
    rustls::server::danger::ClientCertVerifier::verify_client_cert(
        &*verifier,
        &certificate,
        &[],
        now,
    )
    .map_err(|error| Error::Certificate { reason: explain_certificate(&error.to_string()) })?;
    let cluster = ClusterId::of_authority(&identity.authority);
    match named_node(&certificate, cluster) {
        Some(named) if named == node => Ok(()),
        Some(named) => Err(Error::Certificate { reason: format!("it names {named}, not {node}") }),
        None => Err(Error::Certificate { reason: format!("it names no node of {cluster}") }),
    }
}

/// Adds what to look at to TLS's words about a certificate.
pub(crate) fn explain_certificate(reason: &str) -> String {
    let says = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let remedy = if says(&["not valid yet", "expired", "CertificateExpired"]) {
        ": compare the clocks of both machines (`date -u`); if they agree, the certificate \
         has run out: a node must join again, and a user needs a new token"
    } else if says(&["UnknownIssuer", "BadSignature", "UnknownCA", "DecryptError"]) {
        ": it was signed by another cluster's authority: a node must join this one, and a user \
         needs a token of this one"
    } else if says(&["NotValidForName"]) {
        ": another node answers at this address"
    } else {
        ""
    };
    format!("{reason}{remedy}")
}

fn server_verifier(authority: &[u8]) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots(authority)?, provider())
        .build()
        .map_err(|error| unusable(&error))
}

fn roots(authority: &[u8]) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.to_vec()))
        .map_err(|error| Error::Certificate { reason: format!("the authority's: {error}") })?;
    Ok(Arc::new(roots))
}

/// The authority's certificate goes along for those who know only its fingerprint.
fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    vec![
        CertificateDer::from(identity.certificate.clone()),
        CertificateDer::from(identity.authority.clone()),
    ]
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.clone()))
}

fn unusable(error: &dyn fmt::Display) -> Error {
    Error::Certificate { reason: error.to_string() }
}

/// The fastest cipher with hardware support comes first.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

#[cfg(test)]
mod tests;
