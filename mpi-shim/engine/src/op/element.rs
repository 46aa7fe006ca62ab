//! Values that kernels compute with, and how each is read from bytes.

use super::binary128::Binary128;
use super::half::Half;

/// A value of `N` bytes.
pub(super) trait Element<const N: usize>: Copy {
    fn from_bytes(bytes: [u8; N]) -> Self;
    fn to_bytes(self) -> [u8; N];
}

/// What every number can do; integers wrap.
pub(super) trait Number: Copy + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;

    fn smaller(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    fn larger(self, other: Self) -> Self {
        if other > self { other } else { self }
    }
}

/// Real numbers can also be subtracted, which complex products need.
pub(super) trait Real: Number {
    fn minus(self, other: Self) -> Self;
}

/// Integers have bits and truth values.
pub(super) trait Bits: Number {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn is_true(self) -> bool;
    fn from_truth(truth: bool) -> Self;
}

macro_rules! element {
    ($($type:ty, $size:literal;)*) => {$(
        impl Element<$size> for $type {
            fn from_bytes(bytes: [u8; $size]) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn to_bytes(self) -> [u8; $size] {
                self.to_le_bytes()
            }
        }
    )*};
}

macro_rules! integer {
    ($($type:ty, $size:literal;)*) => {$(
        element! { $type, $size; }

        impl Number for $type {
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
        }

        impl Bits for $type {
            fn and(self, other: Self) -> Self {
                self & other
            }

            fn or(self, other: Self) -> Self {
                self | other
            }

            fn xor(self, other: Self) -> Self {
                self ^ other
            }

            fn is_true(self) -> bool {
                self != 0
            }

            fn from_truth(truth: bool) -> Self {
                truth.into()
            }
        }
    )*};
}

macro_rules! real {
    ($($type:ty, $size:literal;)*) => {$(
        element! { $type, $size; }

        impl Number for $type {
            fn plus(self, other: Self) -> Self {
                self + other
            }

            fn times(self, other: Self) -> Self {
                self * other
            }
        }

        impl Real for $type {
            fn minus(self, other: Self) -> Self {
                self - other
            }
        }
    )*};
}

integer! { i8, 1; i16, 2; i32, 4; i64, 8; i128, 16; u8, 1; u16, 2; u32, 4; u64, 8; }
real! { Half, 2; f32, 4; f64, 8; Binary128, 16; }
