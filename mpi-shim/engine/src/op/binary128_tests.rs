//! Binary128 arithmetic against `rustc_apfloat`, the port of LLVM's own.

use std::vec::Vec;

use rustc_apfloat::Float;
use rustc_apfloat::ieee::Quad;

use super::*;

/// Numbers at every edge: zeros, subnormals, around powers of two, ties, overflow, infinities, NaN.
fn edges() -> Vec<u128> {
    let mut numbers = Vec::new();
    let exponents =
        [0, 1, 2, 112, 113, 16270, 16382, 16383, 16384, 16495, 16497, 32765, 32766, 32767];
    let fractions = [0, 1, 2, 3, HIDDEN / 2, HIDDEN / 2 + 1, HIDDEN - 2, HIDDEN - 1, 0x5555 << 96];
    for exponent in exponents {
        for fraction in fractions {
            let magnitude = exponent << FRACTION_BITS | fraction;
            numbers.extend([magnitude, magnitude | SIGN]);
        }
    }
    numbers
}

fn check(a: u128, b: u128) {
    let (x, y) = (Binary128(a), Binary128(b));
    let (p, q) = (Quad::from_bits(a), Quad::from_bits(b));
    let same = |ours: Binary128, theirs: Quad, op: &str| {
        let equal = ours.0 == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
        assert!(equal, "{a:#x} {op} {b:#x} is {:#x}, not {:#x}", theirs.to_bits(), ours.0);
    };
    same(x + y, (p + q).value, "+");
    same(x - y, (p - q).value, "-");
    same(x * y, (p * q).value, "*");
    assert_eq!(x.partial_cmp(&y), p.partial_cmp(&q), "{a:#x} and {b:#x}");
    assert_eq!(x == y, p == q, "{a:#x} and {b:#x}");
}

#[test]
fn edges_agree_with_llvm() {
    let numbers = edges();
    for &a in &numbers {
        for &b in &numbers {
            check(a, b);
        }
    }
}

#[test]
fn random_numbers_agree_with_llvm() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u128::from(state)
    };
    for _ in 0..20_000 {
        let (a, b) = (next() << 64 | next(), next() << 64 | next());
        check(a, b);
        // The same with close exponents, where sums cancel.
        let near = (a & !(0xffff << FRACTION_BITS)) | (0x3ff0 + next() % 240) << FRACTION_BITS;
        let other = (b & !(0x7fff << FRACTION_BITS)) | (0x3ff0 + next() % 240) << FRACTION_BITS;
        check(near, other);
    }
}
