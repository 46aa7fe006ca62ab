//! Kernels against scalar arithmetic, and the table of what is permitted against the standard's.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::datatype::BasicKind;

#[test]
fn handles_round_trip_and_agree_with_the_header() {
    let header = include_str!("../../../include/mpi.h");
    let mut found = 0;
    for line in header.lines().filter(|line| line.contains("((MPI_Op)0x")) {
        let mut words = line.split_whitespace().skip(1);
        let name = words.next().unwrap();
        let (_, digits) = words.next().unwrap().split_once("0x").unwrap();
        let handle = i32::from_str_radix(digits.trim_end_matches(')'), 16).unwrap();
        if name == "MPI_OP_NULL" {
            continue;
        }
        let op = Op::from_handle(handle).unwrap();
        assert_eq!((op.name(), op.handle()), (name, handle));
        found += 1;
    }
    assert_eq!(found, Op::ALL.len());
}

/// The table of MPI-5.0 section 6.9.2, with logical operators on all integers.
#[test]
fn permissions() {
    for &op in Op::ALL {
        for &datatype in Predefined::ALL {
            use BasicKind::{Byte, Complex, Floating, Integer, Logical, Pair};
            let expected = match (op, datatype.kind()) {
                (Op::Replace | Op::NoOp, _) => true,
                (Op::Max | Op::Min, kind) => matches!(kind, Integer(_) | Floating(_)),
                (Op::Sum | Op::Prod, kind) => {
                    matches!(kind, Integer(_) | Floating(_) | Complex(_))
                }
                (Op::Land | Op::Lor | Op::Lxor, kind) => matches!(kind, Integer(_) | Logical(_)),
                (Op::Band | Op::Bor | Op::Bxor, kind) => matches!(kind, Integer(_) | Byte),
                (Op::Minloc | Op::Maxloc, kind) => matches!(kind, Pair(..)),
            };
            assert_eq!(op.permits(datatype), expected, "{} {}", op.name(), datatype.name());
        }
    }
    let derived = Datatype::dup(&Predefined::Int.into()).unwrap();
    assert_eq!(Op::Sum.reduction(&derived).unwrap_err().class, ErrorClass::Op);
    assert_eq!(Op::Replace.reduction(&Predefined::Int.into()).unwrap_err().class, ErrorClass::Op);
    assert!(reduce(Op::Sum, Predefined::Char, &mut [1], &[2]).is_err());
}

fn reduced(op: Op, datatype: Predefined, a: &[u8], b: &[u8]) -> Vec<u8> {
    // An odd offset proves that alignment does not matter.
    let mut inout = vec![0];
    inout.extend_from_slice(a);
    reduce(op, datatype, &mut inout[1..], b).unwrap();
    inout.split_off(1)
}

macro_rules! check_integers {
    ($($type:ty, $datatype:ident;)*) => {$({
        let edges = [0, 1, 2, 3, 0x55, <$type>::MAX, <$type>::MIN, <$type>::MAX / 2, <$type>::MAX - 1];
        let pairs: Vec<($type, $type)> =
            edges.iter().flat_map(|&a| edges.map(|b| (a, b))).collect();
        let bytes = |numbers: Vec<$type>| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let a = bytes(pairs.iter().map(|pair| pair.0).collect());
        let b = bytes(pairs.iter().map(|pair| pair.1).collect());
        let operators: [(Op, fn($type, $type) -> $type); 10] = [
            (Op::Sum, |a, b| a.wrapping_add(b)),
            (Op::Prod, |a, b| a.wrapping_mul(b)),
            (Op::Min, |a, b| a.min(b)),
            (Op::Max, |a, b| a.max(b)),
            (Op::Band, |a, b| a & b),
            (Op::Bor, |a, b| a | b),
            (Op::Bxor, |a, b| a ^ b),
            (Op::Land, |a, b| (a != 0 && b != 0).into()),
            (Op::Lor, |a, b| (a != 0 || b != 0).into()),
            (Op::Lxor, |a, b| ((a != 0) != (b != 0)).into()),
        ];
        for (op, scalar) in operators {
            let expected = bytes(pairs.iter().map(|&(a, b)| scalar(a, b)).collect());
            let datatype = Predefined::$datatype;
            assert_eq!(reduced(op, datatype, &a, &b), expected, "{} {}", op.name(), datatype.name());
        }
    })*};
}

#[test]
fn integers() {
    check_integers! {
        i8, SignedChar; i16, Short; i32, Int; i32, Long; i32, Aint; i64, LongLong; i64, Offset;
        i128, Integer16; u8, UnsignedChar; u16, UnsignedShort; u32, Unsigned; u64, Uint64;
    }
}

macro_rules! check_reals {
    ($($type:ty, $real:ident, $complex:ident;)*) => {$({
        let numbers: [$type; 8] = [0.0, 1.0, -1.5, 2.25, 1e10, -3.5e-7, <$type>::MAX, <$type>::INFINITY];
        let pairs: Vec<($type, $type)> =
            numbers.iter().flat_map(|&a| numbers.map(|b| (a, b))).collect();
        let bytes = |numbers: Vec<$type>| -> Vec<u8> {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        let a = bytes(pairs.iter().map(|pair| pair.0).collect());
        let b = bytes(pairs.iter().map(|pair| pair.1).collect());
        let operators: [(Op, fn($type, $type) -> $type); 4] = [
            (Op::Sum, |a, b| a + b),
            (Op::Prod, |a, b| a * b),
            (Op::Min, |a, b| a.min(b)),
            (Op::Max, |a, b| a.max(b)),
        ];
        // Bits, except that any NaN is as good as another.
        let same = |ours: &[u8], expected: &[u8]| {
            let number = |bytes: &[u8]| <$type>::from_le_bytes(bytes.try_into().unwrap());
            let size = size_of::<$type>();
            ours.chunks(size).zip(expected.chunks(size)).all(|(a, b)| {
                a == b || number(a).is_nan() && number(b).is_nan()
            })
        };
        for (op, scalar) in operators {
            let expected = bytes(pairs.iter().map(|&(a, b)| scalar(a, b)).collect());
            let ours = reduced(op, Predefined::$real, &a, &b);
            assert!(same(&ours, &expected), "{}", op.name());
        }
        let product = pairs.chunks(2).flat_map(|two| {
            let ((a, c), (b, d)) = (two[0], two[1]);
            [a * c - b * d, a * d + b * c]
        });
        let ours = reduced(Op::Prod, Predefined::$complex, &a, &b);
        assert!(same(&ours, &bytes(product.collect())));
        let sum = bytes(pairs.iter().map(|&(a, b)| a + b).collect());
        assert!(same(&reduced(Op::Sum, Predefined::$complex, &a, &b), &sum));
    })*};
}

#[test]
fn reals_and_complex_numbers() {
    check_reals! { f32, Float, CFloatComplex; f64, Double, DoubleComplex; }
}

#[test]
fn long_doubles() {
    let one = 0x3fff_u128 << 112;
    let (two, three) = (0x4000_u128 << 112, 0x4000_8000_u128 << 96);
    let cases = [(Op::Sum, three), (Op::Prod, two), (Op::Min, one), (Op::Max, two)];
    for (op, expected) in cases {
        let ours = reduced(op, Predefined::LongDouble, &one.to_le_bytes(), &two.to_le_bytes());
        assert_eq!(ours, expected.to_le_bytes(), "{}", op.name());
    }
}

#[test]
fn logical_results_are_zero_or_one() {
    let (a, b) = ([0, 0, 2, 4], [0, 3, 0, 8]);
    assert_eq!(reduced(Op::Land, Predefined::CBool, &a, &b), [0, 0, 0, 1]);
    assert_eq!(reduced(Op::Lor, Predefined::CBool, &a, &b), [0, 1, 1, 1]);
    assert_eq!(reduced(Op::Lxor, Predefined::CxxBool, &a, &b), [0, 1, 1, 0]);
}

#[test]
fn pairs_keep_the_smaller_index_of_equal_values() {
    let pair = |value: i16, index: i32| {
        let mut bytes = vec![0; 8];
        bytes[..2].copy_from_slice(&value.to_le_bytes());
        bytes[4..].copy_from_slice(&index.to_le_bytes());
        bytes
    };
    let cases = [
        ((3, 1), (5, 0), (3, 1), (5, 0)),
        ((3, 1), (-5, 9), (-5, 9), (3, 1)),
        ((3, 7), (3, 2), (3, 2), (3, 2)),
        ((3, 2), (3, 7), (3, 2), (3, 2)),
    ];
    for (a, b, min, max) in cases {
        let (a, b) = (pair(a.0, a.1), pair(b.0, b.1));
        assert_eq!(reduced(Op::Minloc, Predefined::ShortInt, &a, &b), pair(min.0, min.1));
        assert_eq!(reduced(Op::Maxloc, Predefined::ShortInt, &a, &b), pair(max.0, max.1));
    }
    let long = |value: u128, index: i32| {
        let mut bytes = vec![0; 32];
        bytes[..16].copy_from_slice(&value.to_le_bytes());
        bytes[16..20].copy_from_slice(&index.to_le_bytes());
        bytes
    };
    let (one, two) = (long(0x3fff << 112, 4), long(0x4000 << 112, 5));
    assert_eq!(reduced(Op::Maxloc, Predefined::LongDoubleInt, &one, &two), two);
    assert_eq!(reduced(Op::Minloc, Predefined::LongDoubleInt, &one, &two), one);
    let double = |value: f64, index: f64| [value.to_le_bytes(), index.to_le_bytes()].concat();
    let (a, b) = (double(1.5, 4.0), double(1.5, 3.0));
    assert_eq!(reduced(Op::Maxloc, Predefined::TwoDoublePrecision, &a, &b), b);
}

#[test]
fn accumulate_operators() {
    assert_eq!(reduced(Op::Replace, Predefined::Char, &[1, 2], &[3, 4]), [3, 4]);
    assert_eq!(reduced(Op::NoOp, Predefined::Char, &[1, 2], &[3, 4]), [1, 2]);
    assert!(!Op::Replace.is_commutative() && Op::Maxloc.is_commutative());
}

#[test]
fn half_precision_sums() {
    // 1.0 + 1.5 = 2.5
    let ours = reduced(Op::Sum, Predefined::Real2, &[0x00, 0x3c], &[0x00, 0x3e]);
    assert_eq!(ours, [0x00, 0x41]);
}
