//! The cluster's authority: what signs node certificates.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::{COORDINATOR_NAME, ClusterId, fingerprint, node_name};
use crate::{config::Identity, error::Error, id::NodeId};

/// How long a node's certificate is valid unless said otherwise.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A certificate is valid from this long before it was made, for clocks that are behind.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);
/// How long an authority lasts.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// An uncompressed point of P-256.
const PUBLIC_KEY_BYTES: usize = 65;
/// An authority's file; a longer one is none.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The key that makes a cluster: whoever has it can make members.
pub struct Authority {
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    /// Certificate and key as they are kept in a file.
    text: String,
}

impl Authority {
    /// Makes an authority of a new cluster.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn new() -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(|error| made(&error))?;
        let params = authority_params(SystemTime::now());
        let certificate = params.self_signed(&key).map_err(|error| made(&error))?;
        let text = format!("{}{}", certificate.pem(), key.serialize_pem());
        let issuer = Issuer::new(params, key);
        Ok(Self { certificate: certificate.der().to_vec(), issuer, text })
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file cannot be read, is readable by others than its owner, or holds no authority.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(|source| file_error(path, source))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::AuthorityFile {
                path: path.to_path_buf(),
                reason: format!("others may read it (mode {mode:o}): `chmod 600` it"),
            });
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(not_authority(path));
        }
        let text = fs::read_to_string(path).map_err(|source| file_error(path, source))?;
        Self::from_pem(text).ok_or_else(|| not_authority(path))
    }

    fn from_pem(text: String) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
        let key = KeyPair::try_from(&key).ok()?;
        // The issuer's name is the same for all authorities; the key tells them apart.
        let params = authority_params(SystemTime::now());
        Some(Self { certificate: certificate.to_vec(), issuer: Issuer::new(params, key), text })
    }

    /// Writes certificate and key to a new file that only its owner can read.
    ///
    /// # Errors
    /// The file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(self.text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|source| file_error(path, source))
    }

    /// Makes a key and a certificate for a node, valid from now on.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn issue(&self, node: NodeId, lifetime: Duration) -> Result<Identity, Error> {
        let key = KeyPair::generate().map_err(|error| made(&error))?;
        let certificate = self.certify(node, key.public_key_raw(), SystemTime::now(), lifetime)?;
        Ok(Identity { certificate, key: key.serialize_der(), authority: self.certificate.clone() })
    }

    /// Signs a certificate for a node that has the key to `public_key`, an uncompressed point of
    /// P-256, valid from shortly before `now`.
    ///
    /// # Errors
    /// That is not a public key.
    pub fn certify(
        &self,
        node: NodeId,
        public_key: &[u8],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Vec<u8>, Error> {
        let mut names = vec![node_name(self.cluster(), node)];
        if node == NodeId::COORDINATOR {
            names.push(COORDINATOR_NAME.into());
        }
        let mut params = CertificateParams::new(names).map_err(|error| made(&error))?;
        params.distinguished_name.push(DnType::CommonName, format!("faasm {node}"));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, public_key, now, lifetime)
    }

    /// Signs a certificate for a user of the cluster, as [`certify`](Self::certify) does for a node. It opens no
    /// link: nodes talk only to those whose certificate names a node.
    pub(crate) fn certify_user(
        &self,
        name: &str,
        public_key: &[u8],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Vec<u8>, Error> {
        let names = vec![format!("{name}.{}.faasm", self.cluster())];
        let mut params = CertificateParams::new(names).map_err(|error| made(&error))?;
        params.distinguished_name.push(DnType::CommonName, format!("faasm {name}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, public_key, now, lifetime)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        public_key: &[u8],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Vec<u8>, Error> {
        if public_key.len() != PUBLIC_KEY_BYTES || public_key.first() != Some(&4) {
            return Err(Error::Certificate { reason: "the node sent no public key".into() });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, now, lifetime);
        let certificate =
            params.signed_by(&PublicKey(public_key), &self.issuer).map_err(|error| made(&error))?;
        Ok(certificate.der().to_vec())
    }

    /// The cluster of this authority.
    pub fn cluster(&self) -> ClusterId {
        ClusterId::of_authority(&self.certificate)
    }

    /// The authority's certificate, in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// What nodes recognise the authority by.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.certificate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster()).finish_non_exhaustive()
    }
}

/// Makes the key of a node that is to be certified: private key (PKCS#8) and public key.
pub(crate) fn node_key() -> Result<(Vec<u8>, Vec<u8>), Error> {
    let key = KeyPair::generate().map_err(|error| made(&error))?;
    Ok((key.serialize_der(), key.public_key_raw().to_vec()))
}

struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn authority_params(now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "faasm cluster authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, now, AUTHORITY_LIFETIME);
    params
}

/// Sets when a certificate is valid.
fn limit(params: &mut CertificateParams, now: SystemTime, lifetime: Duration) {
    // A clock before 1970 makes certificates of 1970, which peers refuse naming the clocks.
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now + lifetime.min(AUTHORITY_LIFETIME);
}

fn made(error: &rcgen::Error) -> Error {
    Error::Certificate { reason: format!("it could not be made: {error}") }
}

fn file_error(path: &Path, cause: io::Error) -> Error {
    Error::Io { what: format!("the authority's file {}", path.display()), cause }
}

fn not_authority(path: &Path) -> Error {
    let reason = "it holds no certificate and key of an authority".into();
    Error::AuthorityFile { path: path.to_path_buf(), reason }
}
