//! IEEE binary16 by way of binary32, which has enough digits that rounding twice equals rounding
//! once for sums, differences and products.

use core::cmp::Ordering;
use core::ops::{Add, Mul, Sub};

/// A binary16 number as its bits.
#[derive(Copy, Clone, Debug)]
pub(super) struct Half(u16);

impl Half {
    pub(super) const fn from_le_bytes(bytes: [u8; 2]) -> Self {
        Self(u16::from_le_bytes(bytes))
    }

    pub(super) const fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    fn widen(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let exponent = u32::from(self.0 >> 10) & 0x1f;
        let fraction = u32::from(self.0) & 0x3ff;
        match exponent {
            // A subnormal is a multiple of 2^-24, which is exact in binary32.
            0 => {
                let magnitude = fraction as f32 * SUBNORMAL_UNIT;
                f32::from_bits(magnitude.to_bits() | sign)
            }
            0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
            _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
        }
    }

    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let sign = (bits >> 16) as u16 & 0x8000;
        let magnitude = bits & 0x7fff_ffff;
        if magnitude > 0x7f80_0000 {
            return Self(sign | 0x7e00 | (bits >> 13) as u16 & 0x3ff);
        }
        let exponent = (magnitude >> 23) as i32 - 112;
        if exponent >= 0x1f {
            return Self(sign | 0x7c00);
        }
        // With the hidden bit in place the exponent field is one too high, which `- 1` undoes.
        let mantissa = magnitude & 0x7f_ffff | 0x80_0000;
        let (shift, base) =
            if exponent > 0 { (13, ((exponent - 1) as u32) << 10) } else { (14 - exponent, 0) };
        if shift > 25 {
            return Self(sign);
        }
        Self(sign | (base + round_shift(mantissa, shift as u32)) as u16)
    }
}

/// `value / 2^shift`, ties to even.
const fn round_shift(value: u32, shift: u32) -> u32 {
    let kept = value >> shift;
    let rest = value & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    if rest > half || (rest == half && kept & 1 == 1) { kept + 1 } else { kept }
}

/// 2^-24.
const SUBNORMAL_UNIT: f32 = 1.0 / 16_777_216.0;

impl PartialEq for Half {
    fn eq(&self, other: &Self) -> bool {
        self.widen() == other.widen()
    }
}

impl PartialOrd for Half {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.widen().partial_cmp(&other.widen())
    }
}

impl Add for Half {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::narrow(self.widen() + other.widen())
    }
}

impl Sub for Half {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::narrow(self.widen() - other.widen())
    }
}

impl Mul for Half {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self::narrow(self.widen() * other.widen())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_round_trip() {
        for bits in 0..=u16::MAX {
            let half = Half(bits);
            let back = Half::narrow(half.widen());
            if half.widen().is_nan() {
                assert!(back.widen().is_nan(), "{bits:#x}");
            } else {
                assert_eq!(back.0, bits);
            }
        }
    }

    #[test]
    fn rounds_to_nearest_even() {
        // 2048 + 1 is a tie that goes down, 2048 + 3 one that goes up.
        let number = Half::narrow;
        assert_eq!((number(2048.0) + number(1.0)).widen(), 2048.0);
        assert_eq!((number(2048.0) + number(3.0)).widen(), 2052.0);
        assert_eq!(number(65519.0).widen(), 65504.0, "largest finite number");
        assert_eq!(number(65520.0).widen(), f32::INFINITY);
        assert_eq!(number(2.980_232_2e-8).0, 0, "half the smallest subnormal, a tie");
        assert_eq!(number(3.0e-8).0, 1);
        assert_eq!((number(1.5) * number(-2.0)).widen(), -3.0);
        assert!(number(1.0) < number(1.5));
    }
}
