//! Where a frame goes, and whether it arrives: a learning switch with lossy wires. Pure.

use std::collections::BTreeMap;

/// Addresses remembered; frames to others go everywhere, as in any switch with a full table.
const ADDRESSES_MAX: usize = 1024;
/// Two addresses and a type.
const HEADER_BYTES: usize = 14;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    /// It is lost, or no frame at all, or for the device it came from.
    Nowhere,
    /// To this device.
    To(usize),
    /// To all devices but the one it came from.
    Everywhere,
}

/// Learns which address is at which port.
///
/// One method: [`Switch::forward`] for each frame, in the order of arrival.
#[derive(Debug)]
pub(super) struct Switch {
    ports: usize,
    addresses: BTreeMap<[u8; 6], usize>,
    /// A frame is lost when the next random number is below this.
    lost_below: u64,
    random: u64,
}

impl Switch {
    /// A switch of `ports` ports that loses this part of all frames (0 to 1).
    pub(super) fn new(ports: usize, loss: f64, seed: u64) -> Self {
        Self { ports, addresses: BTreeMap::new(), lost_below: part_of_u64(loss), random: seed }
    }

    /// Decides about a frame that came from `port`.
    pub(super) fn forward(&mut self, port: usize, frame: &[u8]) -> Forward {
        debug_assert!(port < self.ports, "a frame from port {port} of {}", self.ports);
        let Some((to, from)) = addresses(frame) else {
            return Forward::Nowhere;
        };
        let is_group = |address: [u8; 6]| address[0] & 1 == 1;
        let is_known = self.addresses.contains_key(&from);
        if !is_group(from) && (is_known || self.addresses.len() < ADDRESSES_MAX) {
            self.addresses.insert(from, port);
        }
        if self.next_random() < self.lost_below {
            return Forward::Nowhere;
        }
        match self.addresses.get(&to) {
            Some(&known) if known == port => Forward::Nowhere,
            Some(&known) => Forward::To(known),
            None => Forward::Everywhere,
        }
    }

    /// splitmix64: the same seed loses the same frames.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn addresses(frame: &[u8]) -> Option<([u8; 6], [u8; 6])> {
    if frame.len() < HEADER_BYTES {
        return None;
    }
    Some((frame[..6].try_into().ok()?, frame[6..12].try_into().ok()?))
}

/// 0.5 is half of all numbers. Parts per billion are exact enough and need no cast from a float.
fn part_of_u64(part: f64) -> u64 {
    let billionths = format!("{:.0}", part.clamp(0.0, 1.0) * 1e9).parse().unwrap_or(0);
    u64::try_from(
        u128::from(u64::MAX) * u128::from(u64::min(billionths, 1_000_000_000)) / 1_000_000_000,
    )
    .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0];
        frame.extend([0; 50]);
        frame
    }

    #[test]
    fn learns_where_an_address_is() {
        let mut switch = Switch::new(3, 0.0, 1);
        assert_eq!(switch.forward(0, &frame(2, 1)), Forward::Everywhere);
        assert_eq!(switch.forward(1, &frame(1, 2)), Forward::To(0));
        assert_eq!(switch.forward(0, &frame(2, 1)), Forward::To(1));
        assert_eq!(switch.forward(1, &frame(2, 2)), Forward::Nowhere, "it is there already");
        switch.forward(2, &frame(9, 1));
        assert_eq!(switch.forward(1, &frame(1, 2)), Forward::To(2), "it moved");
    }

    #[test]
    fn a_short_frame_goes_nowhere_and_a_broadcast_everywhere() {
        let mut switch = Switch::new(2, 0.0, 1);
        assert_eq!(switch.forward(0, &[0; 13]), Forward::Nowhere);
        let mut broadcast = frame(0, 1);
        broadcast[..6].fill(0xff);
        assert_eq!(switch.forward(0, &broadcast), Forward::Everywhere);
    }

    #[test]
    fn remembers_a_bounded_number_of_addresses() {
        let mut switch = Switch::new(2, 0.0, 1);
        for index in 0..3000_u16 {
            let mut forged = frame(1, 1);
            forged[10..12].copy_from_slice(&index.to_be_bytes());
            switch.forward(0, &forged);
        }
        assert_eq!(switch.addresses.len(), ADDRESSES_MAX);
    }

    #[test]
    fn loses_the_part_it_should() {
        for (loss, lost_least, lost_most) in
            [(0.0, 0, 0), (0.001, 50, 150), (1.0, 100_000, 100_000)]
        {
            let mut switch = Switch::new(2, loss, 7);
            let is_lost = |_: &u32| switch.forward(0, &frame(2, 1)) == Forward::Nowhere;
            let lost = (0..100_000).filter(is_lost).count();
            assert!((lost_least..=lost_most).contains(&lost), "{lost} of 100000 for {loss}");
        }
    }
}
