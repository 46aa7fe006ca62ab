//! What quinn-proto is told about the networks that clusters have.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use quinn_proto::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use super::{congestion::ClusterControl, socket};
use crate::{
    config::{Identity, Timing},
    error::Error,
    tls,
};

/// Bytes of a stream that a peer may send before they were read. They are read as they come, so
/// this much is used only while a lost datagram is waited for.
const STREAM_WINDOW_BYTES: u32 = 32 << 20;
/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// Bytes of a connection that are kept until the peer has acknowledged them.
const SEND_WINDOW_BYTES: u64 = 64 << 20;
/// Streams that a member opens: one per lane and one for the link itself.
const MEMBER_STREAMS: u32 = 4;
/// Streams that a machine opens which joins.
const JOIN_STREAMS: u32 = 1;
/// Handshake messages that are kept out of order.
const CRYPTO_BYTES_MAX: usize = 16 << 10;
/// Datagrams that may be received before one is acknowledged.
const ACK_DATAGRAMS: u32 = 10;
/// How long an acknowledgement may wait for company.
const ACK_DELAY: Duration = Duration::from_millis(2);
/// The round trip that is assumed before one was measured.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(20);
/// Sizes that differ by less are one to the search for the largest datagram.
const MTU_STEP: u16 = 64;
/// Handshakes whose first datagrams may wait to be looked at.
const INCOMING_MAX: usize = 256;
/// Bytes that may wait with each of them, and with all.
const INCOMING_BYTES_MAX: u64 = 16 << 10;

/// Settings of all connections of an endpoint.
pub(super) struct Settings {
    client: Arc<QuicClientConfig>,
    /// Without what depends on who dials.
    server: Arc<ServerConfig>,
    timing: Timing,
}

impl Settings {
    pub(super) fn new(identity: &Identity, admits: bool, timing: Timing) -> Result<Self, Error> {
        let unusable =
            |error: &dyn std::fmt::Display| Error::Certificate { reason: error.to_string() };
        let client = QuicClientConfig::try_from(tls::client_config(identity)?)
            .map_err(|error| unusable(&error))?;
        let server = QuicServerConfig::try_from(tls::server_config(identity, admits)?)
            .map_err(|error| unusable(&error))?;
        Ok(Self { client: Arc::new(client), server: Arc::new(base_server(server)), timing })
    }

    /// Of the endpoint itself.
    pub(super) fn endpoint(&self) -> Arc<EndpointConfig> {
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(u16::MAX - 8).expect("it is within the protocol's bounds");
        Arc::new(config)
    }

    /// Of a connection to a member at `remote`.
    pub(super) fn client(&self, remote: SocketAddr) -> ClientConfig {
        let mut config = ClientConfig::new(Arc::clone(&self.client) as _);
        config.transport_config(self.transport(remote));
        config
    }

    /// Of a connection from somebody at `remote`.
    pub(super) fn server(&self, remote: SocketAddr) -> Arc<ServerConfig> {
        let mut config = (*self.server).clone();
        config.transport_config(self.transport(remote));
        Arc::new(config)
    }

    /// Of connections from anywhere, until they are accepted.
    pub(super) fn base_server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    fn transport(&self, remote: SocketAddr) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        // Members are given up by what was heard of them; a connection outlives that a little.
        let idle = IdleTimeout::try_from(self.timing.lost_after * 2)
            .unwrap_or_else(|_| VarInt::from_u32(u32::MAX).into());
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(ACK_DATAGRAMS.into()).max_ack_delay(Some(ACK_DELAY));
        config
            .max_concurrent_bidi_streams(JOIN_STREAMS.into())
            .max_concurrent_uni_streams(MEMBER_STREAMS.into())
            .max_idle_timeout(Some(idle))
            .stream_receive_window(STREAM_WINDOW_BYTES.into())
            .receive_window(CONNECTION_WINDOW_BYTES.into())
            .send_window(SEND_WINDOW_BYTES)
            .initial_rtt(INITIAL_ROUND_TRIP)
            .ack_frequency_config(Some(acks))
            .crypto_buffer_size(CRYPTO_BYTES_MAX)
            .allow_spin(false)
            .datagram_receive_buffer_size(None)
            .congestion_controller_factory(Arc::new(ClusterControl))
            .mtu_discovery_config(Some(mtu_discovery(remote)));
        Arc::new(config)
    }
}

fn base_server(crypto: QuicServerConfig) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64);
    config
}

/// Searches up to what the first hop carries.
fn mtu_discovery(remote: SocketAddr) -> MtuDiscoveryConfig {
    let mut config = MtuDiscoveryConfig::default();
    if let Some(bytes) = socket::first_hop_payload(remote) {
        config.upper_bound(bytes);
    }
    config.minimum_change(MTU_STEP);
    config
}
