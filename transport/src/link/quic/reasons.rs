//! Why a connection was lost, for programs and for users.

use quinn_proto::ConnectionError;

use super::connection::CloseCode;
use crate::tls;

/// The code that the other side closed with, if it is one of ours.
pub(super) fn close_code(reason: &ConnectionError) -> Option<CloseCode> {
    let ConnectionError::ApplicationClosed(close) = reason else { return None };
    CloseCode::from_number(close.error_code.into_inner())
}

/// Whether TLS found something wrong with a certificate, on either side.
pub(super) fn is_tls_failure(reason: &ConnectionError) -> bool {
    let code: u64 = match reason {
        ConnectionError::TransportError(error) => error.code.into(),
        ConnectionError::ConnectionClosed(close) => close.error_code.into(),
        _ => return false,
    };
    code & !0xff == TLS_CODES
}

/// Why a connection was lost, in words for users.
pub(super) fn explain(reason: &ConnectionError) -> String {
    match reason {
        ConnectionError::TransportError(error) if is_tls_failure(reason) => {
            tls::explain_certificate(&error.reason)
        }
        ConnectionError::ConnectionClosed(close) if is_tls_failure(reason) => {
            let said = String::from_utf8_lossy(&close.reason);
            format!("the other side refused: {}", tls::explain_certificate(&said))
        }
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        other => other.to_string(),
    }
}

/// QUIC's error codes for TLS's alerts.
const TLS_CODES: u64 = 0x100;
