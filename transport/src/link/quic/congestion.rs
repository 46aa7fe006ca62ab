//! Congestion control for the networks that clusters have: much bandwidth, little delay, and
//! losses that mostly have other causes than congestion.
//!
//! The window grows until the network answers with delay or with real losses. Up to 2 % of lost
//! bytes in a round trip are taken for noise; TCP's usual controllers halve their rate for a single
//! lost segment. Delay beyond the shortest round trip seen, by a margin that a busy machine's
//! scheduling stays below, or more losses, shrink the window once per round trip, in proportion.
//! Bounded below, so that a link never starves, and above, so that memory is bounded.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory},
};

/// Bytes in flight that are always allowed, apart from what a datagram needs.
const WINDOW_BYTES_MIN: u64 = 64 << 10;
/// Bytes in flight at the start.
const WINDOW_BYTES_START: u64 = 512 << 10;
/// Bytes in flight at most.
pub(super) const WINDOW_BYTES_MAX: u64 = 64 << 20;
/// Lost bytes of 1000 sent that are taken for noise.
const NOISE_PER_MILLE: u64 = 20;
/// Delay that queues may add before the window stops to grow, besides the shortest round trip.
const DELAY_MARGIN: Duration = Duration::from_millis(4);

/// Makes the controllers of an endpoint's connections.
#[derive(Debug, Default)]
pub(super) struct ClusterControl;

impl ControllerFactory for ClusterControl {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Cluster {
            window: WINDOW_BYTES_START,
            is_starting: true,
            round_began: now,
            acked: 0,
            lost: 0,
            marked: false,
            is_limited: false,
            mtu: current_mtu,
        })
    }
}

#[derive(Clone, Debug)]
struct Cluster {
    window: u64,
    /// Doubling per round trip until the network objects.
    is_starting: bool,
    /// A round ends when something that was sent after its beginning is acknowledged.
    round_began: Instant,
    acked: u64,
    lost: u64,
    marked: bool,
    /// The window was used in this round.
    is_limited: bool,
    mtu: u16,
}

impl Cluster {
    fn end_round(&mut self, now: Instant, rtt: &RttEstimator) {
        let sent = self.acked + self.lost;
        let is_lossy = self.lost * 1000 > sent * NOISE_PER_MILLE && self.lost > LOSS_BYTES_MIN;
        let is_delayed = rtt.get() > rtt.min() * 2 + DELAY_MARGIN;
        if is_lossy || self.marked {
            self.is_starting = false;
            // What arrived in a round trip is what the network carries.
            let carried = self.acked.max(self.window / 2);
            self.window = carried.min(self.window * 7 / 8);
        } else if is_delayed {
            self.is_starting = false;
            self.window = self.window * 15 / 16;
        } else if self.is_limited {
            self.window += if self.is_starting { self.window } else { self.window / 8 };
        }
        let smallest = WINDOW_BYTES_MIN.max(4 * u64::from(self.mtu));
        self.window = self.window.clamp(smallest, WINDOW_BYTES_MAX);
        (self.acked, self.lost, self.marked, self.is_limited) = (0, 0, false, false);
        self.round_began = now;
    }
}

/// A few lost datagrams are noise even when little was sent.
const LOSS_BYTES_MIN: u64 = 16 << 10;

impl Controller for Cluster {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.acked += bytes;
        self.is_limited |= !app_limited;
        if sent >= self.round_began {
            self.end_round(now, rtt);
        }
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost += lost_bytes;
        self.marked |= lost_bytes == 0;
        if is_persistent_congestion {
            self.is_starting = true;
            self.window = WINDOW_BYTES_MIN.max(4 * u64::from(self.mtu));
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu;
        self.window = self.window.max(4 * u64::from(new_mtu));
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW_BYTES_START
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
