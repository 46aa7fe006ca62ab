//! Who renews the certificates of a cluster, the coordinator's own among them.

use std::time::{Duration, Instant};

use faasm_transport::config::Identity;
use faasm_transport::{Admission, NodeId};

use crate::cluster::message::ToNode;

/// When an own certificate is tried for again that could not be made.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Certifier {
    admission: Admission,
    /// When the coordinator itself needs a new certificate.
    renew_at: Instant,
}

impl Certifier {
    /// For the coordinator of the cluster that this admits to, which needs a new certificate by then.
    pub(crate) const fn new(admission: Admission, renew_at: Instant) -> Self {
        Self { admission, renew_at }
    }

    pub(crate) const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(super) const fn next_timeout(&self) -> Instant {
        self.renew_at
    }

    /// What the coordinator proves itself with from now on, if it is time for something new.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Identity> {
        if now < self.renew_at {
            return None;
        }
        match self.admission.issue_own() {
            Ok((identity, renew_at)) => {
                self.renew_at = renew_at;
                Some(identity)
            }
            Err(error) => {
                tracing::warn!(%error, "the coordinator cannot renew its certificate");
                self.renew_at = now + RETRY_INTERVAL;
                None
            }
        }
    }

    /// Another certificate for a member, for this key. The link has shown who it is: it gets one for its own name.
    pub(super) fn renew(&self, node: NodeId, public_key: &[u8]) -> Result<ToNode, String> {
        let renewed = self.admission.renew(node, public_key);
        let (certificate, valid) =
            renewed.map_err(|error| format!("it cannot be certified: {error}"))?;
        let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        Ok(ToNode::Certificate { certificate, valid_ms })
    }
}
