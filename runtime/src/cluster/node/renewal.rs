//! When a node needs a new certificate, and how it comes by one. The time is an argument.

use std::time::{Duration, Instant};

use faasm_transport::KeyRequest;
use faasm_transport::config::Identity;

/// A node's certificate and its successor.
#[derive(Debug)]
pub(crate) struct Renewal {
    authority: Vec<u8>,
    valid: Duration,
    /// When the certificate runs out.
    ends: Instant,
    ask_at: Instant,
    /// The key that a certificate was asked for last.
    asked: Option<KeyRequest>,
}

/// Requests in a certificate's last third.
const REQUESTS: u32 = 10;
/// The shortest time between two requests.
const RETRY_INTERVAL_MIN: Duration = Duration::from_millis(200);

impl Renewal {
    /// A certificate, signed by this authority, that is valid for this long.
    pub(crate) fn new(authority: Vec<u8>, valid: Duration, now: Instant) -> Self {
        let ends = later(now, valid);
        let ask_at = later(now, valid / 3 * 2);
        Self { authority, valid, ends, ask_at, asked: None }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) const fn next_timeout(&self) -> Instant {
        self.ask_at
    }

    /// The public key for which the coordinator is to be asked now, if it is time.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Vec<u8>> {
        if now < self.ask_at {
            return None;
        }
        if now >= self.ends {
            tracing::warn!(
                "this node's certificate has run out and the coordinator gives no new one: links that \
                 stand go on, but none can be made anew; if that lasts, start the node again"
            );
        }
        self.ask_at = later(now, (self.valid / 3 / REQUESTS).max(RETRY_INTERVAL_MIN));
        if self.asked.is_none() {
            match KeyRequest::new() {
                Ok(request) => self.asked = Some(request),
                Err(error) => tracing::warn!(%error, "a key for a new certificate cannot be made"),
            }
        }
        self.asked.as_ref().map(|request| request.public_key().to_vec())
    }

    /// What the node proves itself with from now on; nothing if it has not asked for the certificate.
    pub(crate) fn handle_certificate(
        &mut self,
        certificate: Vec<u8>,
        valid: Duration,
        now: Instant,
    ) -> Option<Identity> {
        let request = self.asked.take()?;
        let authority = self.authority.clone();
        *self = Self::new(authority.clone(), valid, now);
        Some(request.certified(certificate, authority))
    }
}

/// A time so much later; a day later if there is no such time.
fn later(now: Instant, by: Duration) -> Instant {
    now.checked_add(by).unwrap_or(now + Duration::from_secs(24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_after_two_thirds_and_again_until_it_comes() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut renewal = Renewal::new(vec![9], Duration::from_secs(300), start);
        assert_eq!((renewal.next_timeout(), renewal.handle_timeout(at(199))), (at(200), None));
        assert!(renewal.handle_certificate(vec![1], Duration::MAX, at(10)).is_none(), "not asked");
        let key = renewal.handle_timeout(at(200)).expect("it is time");
        assert_eq!((renewal.handle_timeout(at(209)), renewal.next_timeout()), (None, at(210)));
        assert_eq!(renewal.handle_timeout(at(310)).as_ref(), Some(&key), "the same key again");
        let identity = renewal.handle_certificate(vec![1], Duration::from_secs(600), at(311));
        let identity = identity.expect("it was asked for");
        assert_eq!((identity.certificate, identity.authority), (vec![1], vec![9]));
        assert!(renewal.handle_certificate(vec![2], Duration::MAX, at(312)).is_none(), "twice");
        assert_eq!(renewal.next_timeout(), at(711));
        assert_ne!(renewal.handle_timeout(at(711)), Some(key), "another key each time");
    }
}
