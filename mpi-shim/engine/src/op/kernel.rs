//! The table of kernels: one monomorphic loop for each operator and machine number.

use super::binary128::Binary128;
use super::element::{Bits, Element, Number, Real};
use super::half::Half;
use super::{Kernel, Op};
use crate::datatype::{BasicKind, Scalar};

/// The kernel for an operator on a kind of type, or `None` when the standard does not define it.
pub(super) fn select(op: Op, kind: BasicKind) -> Option<Kernel> {
    match op {
        Op::Replace => return Some(|inout, input| inout.copy_from_slice(input)),
        Op::NoOp => return Some(|_, _| ()),
        _ => {}
    }
    match kind {
        BasicKind::Integer(scalar) => integer_scalar(op, scalar),
        BasicKind::Floating(scalar) => real_scalar(op, scalar),
        BasicKind::Complex(scalar) => complex_scalar(op, scalar),
        BasicKind::Logical(scalar) => logical_scalar(op, scalar),
        BasicKind::Byte => bitwise::<u8, 1>(op),
        BasicKind::Pair(value, index) => pair_scalar(op, value, index),
        BasicKind::Character(_) | BasicKind::Packed => None,
    }
}

macro_rules! by_integer {
    ($scalar:expr, $function:ident($op:expr)) => {
        match $scalar {
            Scalar::I8 => $function::<i8, 1>($op),
            Scalar::I16 => $function::<i16, 2>($op),
            Scalar::I32 => $function::<i32, 4>($op),
            Scalar::I64 => $function::<i64, 8>($op),
            Scalar::I128 => $function::<i128, 16>($op),
            Scalar::U8 => $function::<u8, 1>($op),
            Scalar::U16 => $function::<u16, 2>($op),
            Scalar::U32 => $function::<u32, 4>($op),
            Scalar::U64 => $function::<u64, 8>($op),
            Scalar::F16 | Scalar::F32 | Scalar::F64 | Scalar::F128 => None,
        }
    };
}

macro_rules! by_real {
    ($scalar:expr, $function:ident($op:expr)) => {
        match $scalar {
            Scalar::F16 => $function::<Half, 2>($op),
            Scalar::F32 => $function::<f32, 4>($op),
            Scalar::F64 => $function::<f64, 8>($op),
            Scalar::F128 => $function::<Binary128, 16>($op),
            _ => None,
        }
    };
}

fn integer_scalar(op: Op, scalar: Scalar) -> Option<Kernel> {
    by_integer!(scalar, integer(op))
}

fn logical_scalar(op: Op, scalar: Scalar) -> Option<Kernel> {
    by_integer!(scalar, logical(op))
}

fn real_scalar(op: Op, scalar: Scalar) -> Option<Kernel> {
    by_real!(scalar, arithmetic(op))
}

fn complex_scalar(op: Op, scalar: Scalar) -> Option<Kernel> {
    by_real!(scalar, complex(op))
}

fn pair_scalar(op: Op, value: Scalar, index: Scalar) -> Option<Kernel> {
    match (value, index) {
        (Scalar::F32, Scalar::I32) => pair::<f32, i32, 4, 4>(op),
        (Scalar::F64, Scalar::I32) => pair::<f64, i32, 8, 4>(op),
        (Scalar::I32, Scalar::I32) => pair::<i32, i32, 4, 4>(op),
        (Scalar::I16, Scalar::I32) => pair::<i16, i32, 2, 4>(op),
        (Scalar::F128, Scalar::I32) => pair::<Binary128, i32, 16, 4>(op),
        (Scalar::F32, Scalar::F32) => pair::<f32, f32, 4, 4>(op),
        (Scalar::F64, Scalar::F64) => pair::<f64, f64, 8, 8>(op),
        _ => None,
    }
}

fn integer<T: Bits + Element<N>, const N: usize>(op: Op) -> Option<Kernel> {
    arithmetic::<T, N>(op).or_else(|| bitwise::<T, N>(op)).or_else(|| logical::<T, N>(op))
}

fn arithmetic<T: Number + Element<N>, const N: usize>(op: Op) -> Option<Kernel> {
    Some(match op {
        Op::Sum => |inout, input| apply::<T, N>(inout, input, T::plus),
        Op::Prod => |inout, input| apply::<T, N>(inout, input, T::times),
        Op::Min => |inout, input| apply::<T, N>(inout, input, T::smaller),
        Op::Max => |inout, input| apply::<T, N>(inout, input, T::larger),
        _ => return None,
    })
}

fn bitwise<T: Bits + Element<N>, const N: usize>(op: Op) -> Option<Kernel> {
    Some(match op {
        Op::Band => |inout, input| apply::<T, N>(inout, input, T::and),
        Op::Bor => |inout, input| apply::<T, N>(inout, input, T::or),
        Op::Bxor => |inout, input| apply::<T, N>(inout, input, T::xor),
        _ => return None,
    })
}

fn logical<T: Bits + Element<N>, const N: usize>(op: Op) -> Option<Kernel> {
    Some(match op {
        Op::Land => |inout, input| {
            apply::<T, N>(inout, input, |a, b| T::from_truth(a.is_true() & b.is_true()));
        },
        Op::Lor => |inout, input| {
            apply::<T, N>(inout, input, |a, b| T::from_truth(a.is_true() | b.is_true()));
        },
        Op::Lxor => |inout, input| {
            apply::<T, N>(inout, input, |a, b| T::from_truth(a.is_true() ^ b.is_true()));
        },
        _ => return None,
    })
}

/// Complex sums are sums of the parts; products mix them.
fn complex<T: Real + Element<N>, const N: usize>(op: Op) -> Option<Kernel> {
    match op {
        Op::Sum => arithmetic::<T, N>(op),
        Op::Prod => Some(complex_product::<T, N>),
        _ => None,
    }
}

fn complex_product<T: Real + Element<N>, const N: usize>(inout: &mut [u8], input: &[u8]) {
    let (inout, _) = inout.as_chunks_mut::<N>();
    let (input, _) = input.as_chunks::<N>();
    for (out, other) in inout.chunks_exact_mut(2).zip(input.chunks_exact(2)) {
        let (a, b) = (T::from_bytes(out[0]), T::from_bytes(out[1]));
        let (c, d) = (T::from_bytes(other[0]), T::from_bytes(other[1]));
        out[0] = a.times(c).minus(b.times(d)).to_bytes();
        out[1] = a.times(d).plus(b.times(c)).to_bytes();
    }
}

fn pair<V, I, const NV: usize, const NI: usize>(op: Op) -> Option<Kernel>
where
    V: Number + Element<NV>,
    I: Number + Element<NI>,
{
    match op {
        Op::Minloc => Some(|inout, input| locate::<V, I, NV, NI>(inout, input, |a, b| b < a)),
        Op::Maxloc => Some(|inout, input| locate::<V, I, NV, NI>(inout, input, |a, b| b > a)),
        _ => None,
    }
}

/// Takes the input's pair where its value wins, and the smaller index where values are equal.
fn locate<V, I, const NV: usize, const NI: usize>(
    inout: &mut [u8],
    input: &[u8],
    wins: impl Fn(V, V) -> bool,
) where
    V: Number + Element<NV>,
    I: Number + Element<NI>,
{
    let offset = NV.next_multiple_of(NI);
    let extent = (offset + NI).next_multiple_of(NV.max(NI));
    for (out, other) in inout.chunks_exact_mut(extent).zip(input.chunks_exact(extent)) {
        let (mine, theirs): (V, V) = (load(out, 0), load(other, 0));
        let (my_index, their_index): (I, I) = (load(out, offset), load(other, offset));
        let index = if wins(mine, theirs) {
            out[..NV].copy_from_slice(&theirs.to_bytes());
            their_index
        } else if mine == theirs {
            my_index.smaller(their_index)
        } else {
            my_index
        };
        out[offset..offset + NI].copy_from_slice(&index.to_bytes());
    }
}

fn load<T: Element<N>, const N: usize>(bytes: &[u8], offset: usize) -> T {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[offset..offset + N]);
    T::from_bytes(value)
}

/// The loop of nearly every kernel; arrays of known size let LLVM vectorise it.
fn apply<T: Element<N>, const N: usize>(
    inout: &mut [u8],
    input: &[u8],
    combine: impl Fn(T, T) -> T,
) {
    let (inout, _) = inout.as_chunks_mut::<N>();
    let (input, _) = input.as_chunks::<N>();
    for (out, other) in inout.iter_mut().zip(input) {
        *out = combine(T::from_bytes(*out), T::from_bytes(*other)).to_bytes();
    }
}
