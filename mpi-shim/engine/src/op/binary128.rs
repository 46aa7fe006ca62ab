//! IEEE binary128 in integer arithmetic: the `long double` of wasm32, rounded to nearest even.
//!
//! A finite number is `mantissa * 2^(exponent - 16383 - 112)`; normal mantissas have bit 112 set.
//! Intermediate mantissas carry three more bits: guard, round, and a sticky bit that is set when
//! anything was shifted out, which is enough to round a sum or a product correctly.

use core::cmp::Ordering;
use core::ops::{Add, Mul, Neg, Sub};

/// A binary128 number as its bits.
#[derive(Copy, Clone, Debug)]
pub(super) struct Binary128(u128);

/// A finite number; `exponent` is at least 1, and 1 for subnormals.
#[derive(Copy, Clone)]
struct Finite {
    negative: bool,
    exponent: i32,
    mantissa: u128,
}

const FRACTION_BITS: u32 = 112;
const HIDDEN: u128 = 1 << FRACTION_BITS;
const SIGN: u128 = 1 << 127;
const EXPONENT_MAX: i32 = 0x7fff;
const EXPONENT_BIAS: i32 = 16383;
const INFINITY: u128 = (EXPONENT_MAX as u128) << FRACTION_BITS;
const QUIET: u128 = 1 << (FRACTION_BITS - 1);
const EXTRA_BITS: u32 = 3;
/// Leading bit of a normal mantissa that carries the extra bits.
const LEADING: u128 = HIDDEN << EXTRA_BITS;

impl Binary128 {
    pub(super) const fn from_le_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    pub(super) const fn to_le_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    const fn is_nan(self) -> bool {
        self.0 & !SIGN > INFINITY
    }

    const fn is_infinite(self) -> bool {
        self.0 & !SIGN == INFINITY
    }

    const fn is_zero(self) -> bool {
        self.0 & !SIGN == 0
    }

    const fn finite(self) -> Finite {
        let field = (self.0 >> FRACTION_BITS) as i32 & EXPONENT_MAX;
        let fraction = self.0 & (HIDDEN - 1);
        let negative = self.0 & SIGN != 0;
        if field == 0 {
            return Finite { negative, exponent: 1, mantissa: fraction };
        }
        Finite { negative, exponent: field, mantissa: fraction | HIDDEN }
    }

    /// The result when an operand is not a number.
    const fn propagate_nan(self, other: Self) -> Self {
        if self.is_nan() { Self(self.0 | QUIET) } else { Self(other.0 | QUIET) }
    }
}

impl Finite {
    /// Rounds a mantissa that carries the extra bits and has its leading bit in place, unless the
    /// exponent is 1.
    fn round(self) -> Binary128 {
        let extra = self.mantissa & 7;
        let mut mantissa = self.mantissa >> EXTRA_BITS;
        if extra > 4 || (extra == 4 && mantissa & 1 == 1) {
            mantissa += 1;
        }
        let mut exponent = self.exponent;
        if mantissa == HIDDEN << 1 {
            mantissa >>= 1;
            exponent += 1;
        }
        let sign = if self.negative { SIGN } else { 0 };
        if exponent >= EXPONENT_MAX {
            return Binary128(sign | INFINITY);
        }
        let field = if mantissa & HIDDEN == 0 { 0 } else { exponent as u128 };
        Binary128(sign | field << FRACTION_BITS | mantissa & (HIDDEN - 1))
    }

    /// A subnormal with its leading bit moved to where normal numbers have it.
    const fn normalized(self) -> Self {
        let shift = self.mantissa.leading_zeros() - (127 - FRACTION_BITS);
        Self {
            mantissa: self.mantissa << shift,
            exponent: self.exponent - shift as i32,
            negative: self.negative,
        }
    }
}

impl Add for Binary128 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return self.propagate_nan(other);
        }
        if self.is_infinite() {
            let cancels = other.is_infinite() && self.0 != other.0;
            return if cancels { Self(INFINITY | QUIET) } else { self };
        }
        if other.is_infinite() {
            return other;
        }
        if self.is_zero() && other.is_zero() {
            return Self(self.0 & other.0);
        }
        add_finite(self.finite(), other.finite())
    }
}

fn add_finite(a: Finite, b: Finite) -> Binary128 {
    let in_order = (a.exponent, a.mantissa) >= (b.exponent, b.mantissa);
    let (large, small) = if in_order { (a, b) } else { (b, a) };
    let distance = (large.exponent - small.exponent) as u32;
    let big = large.mantissa << EXTRA_BITS;
    let little = shift_sticky(small.mantissa << EXTRA_BITS, distance);
    let mut exponent = large.exponent;
    let mut mantissa = if a.negative == b.negative { big + little } else { big - little };
    if mantissa == 0 {
        return Binary128(0);
    }
    if mantissa >= LEADING << 1 {
        mantissa = shift_sticky(mantissa, 1);
        exponent += 1;
    } else if mantissa < LEADING {
        let missing = mantissa.leading_zeros() - LEADING.leading_zeros();
        let shift = missing.min((exponent - 1) as u32);
        mantissa <<= shift;
        exponent -= shift as i32;
    }
    Finite { negative: large.negative, exponent, mantissa }.round()
}

impl Neg for Binary128 {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0 ^ SIGN)
    }
}

impl Sub for Binary128 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        if other.is_nan() { self.propagate_nan(other) } else { self + -other }
    }
}

impl Mul for Binary128 {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return self.propagate_nan(other);
        }
        let sign = (self.0 ^ other.0) & SIGN;
        if self.is_infinite() || other.is_infinite() {
            let undefined = self.is_zero() || other.is_zero();
            return if undefined { Self(INFINITY | QUIET) } else { Self(sign | INFINITY) };
        }
        if self.is_zero() || other.is_zero() {
            return Self(sign);
        }
        mul_finite(self.finite().normalized(), other.finite().normalized())
    }
}

/// Product of two numbers whose mantissas have bit 112 set.
fn mul_finite(a: Finite, b: Finite) -> Binary128 {
    let (high, low) = wide_product(a.mantissa, b.mantissa);
    // The leading bit of the 256-bit product is 224 or 225; it belongs at 115.
    let sticky = u128::from(low & ((1 << 109) - 1) != 0);
    let mut mantissa = high << 19 | low >> 109 | sticky;
    let mut exponent = a.exponent + b.exponent - EXPONENT_BIAS;
    if mantissa >= LEADING << 1 {
        mantissa = shift_sticky(mantissa, 1);
        exponent += 1;
    }
    if exponent < 1 {
        mantissa = shift_sticky(mantissa, (1 - exponent) as u32);
        exponent = 1;
    }
    Finite { negative: a.negative != b.negative, exponent, mantissa }.round()
}

/// High and low half of a 256-bit product.
const fn wide_product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a_high, a_low) = (a >> 64, a & LOW);
    let (b_high, b_low) = (b >> 64, b & LOW);
    let bottom = a_low * b_low;
    let middle = a_high * b_low + (bottom >> 64);
    let other_middle = a_low * b_high + (middle & LOW);
    let high = a_high * b_high + (middle >> 64) + (other_middle >> 64);
    (high, other_middle << 64 | bottom & LOW)
}

/// `value >> shift` with the lowest bit set when a one was shifted out.
const fn shift_sticky(value: u128, shift: u32) -> u128 {
    if shift == 0 {
        return value;
    }
    if shift >= 128 {
        return (value != 0) as u128;
    }
    let lost = value & ((1 << shift) - 1) != 0;
    value >> shift | lost as u128
}

impl PartialEq for Binary128 {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Binary128 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self.is_nan() || other.is_nan() {
            return None;
        }
        Some(self.ordinal().cmp(&other.ordinal()))
    }
}

impl Binary128 {
    /// An integer that orders as the number does; both zeros are 0.
    const fn ordinal(self) -> i128 {
        let magnitude = (self.0 & !SIGN) as i128;
        if self.0 & SIGN == 0 { magnitude } else { -magnitude }
    }
}

#[cfg(test)]
#[path = "binary128_tests.rs"]
mod tests;
