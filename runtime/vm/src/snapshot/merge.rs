//! How what one memory contributes goes into another.

/// A type of numbers, little-endian as in linear memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
#[repr(u8)]
pub enum Number {
    /// Signed, 8 bits.
    I8 = 0,
    /// Signed, 16 bits.
    I16 = 1,
    /// Signed, 32 bits.
    I32 = 2,
    /// Signed, 64 bits.
    I64 = 3,
    /// Unsigned, 8 bits.
    U8 = 4,
    /// Unsigned, 16 bits.
    U16 = 5,
    /// Unsigned, 32 bits.
    U32 = 6,
    /// Unsigned, 64 bits.
    U64 = 7,
    /// Floating point, 32 bits.
    F32 = 8,
    /// Floating point, 64 bits.
    F64 = 9,
}

impl Number {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::F32,
        Self::F64,
    ];

    /// Size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// How a run of bytes goes into a memory.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum MergeOperation {
    /// The new bytes take the place of the old ones.
    Bytewise,
    /// The bits that changed are changed.
    Xor,
    /// What was added is added. Integers wrap around; of floats the difference is rounded.
    Sum(Number),
    /// What was multiplied by is multiplied by. An integer must have been multiplied without
    /// overflow, and what was zero stays zero.
    Product(Number),
    /// The smaller number stays; a float that is no number gives way.
    Min(Number),
    /// The larger number stays; a float that is no number gives way.
    Max(Number),
    /// Changes are not passed on.
    Ignore,
}

/// A product whose factor cannot be told from its result.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) struct NoFactor;

impl MergeOperation {
    /// Number of bytes that are merged together; runs begin and end between such units.
    pub const fn unit(self) -> usize {
        match self {
            Self::Bytewise | Self::Xor | Self::Ignore => 1,
            Self::Sum(number) | Self::Product(number) | Self::Min(number) | Self::Max(number) => {
                number.bytes()
            }
        }
    }

    /// Appends what a unit that was `base` and is `now` contributes.
    pub(super) fn contribute(
        self,
        base: &[u8],
        now: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoFactor> {
        match self {
            Self::Bytewise | Self::Min(_) | Self::Max(_) => out.extend_from_slice(now),
            Self::Xor => out.extend(base.iter().zip(now).map(|(base, now)| base ^ now)),
            Self::Sum(number) => with_number(number, base, now, out, Operation::Difference)?,
            Self::Product(number) => with_number(number, base, now, out, Operation::Factor)?,
            Self::Ignore => {}
        }
        Ok(())
    }

    /// Merges the contribution `bytes` into as many bytes of `target`, both whole units.
    pub(super) fn merge(self, target: &mut [u8], bytes: &[u8]) {
        let (number, operation) = match self {
            Self::Ignore => return,
            Self::Bytewise => return target.copy_from_slice(bytes),
            Self::Xor => {
                return target.iter_mut().zip(bytes).for_each(|(target, byte)| *target ^= byte);
            }
            Self::Sum(number) => (number, Operation::Add),
            Self::Product(number) => (number, Operation::Multiply),
            Self::Min(number) => (number, Operation::Min),
            Self::Max(number) => (number, Operation::Max),
        };
        let mut merged = Vec::with_capacity(bytes.len());
        let combined = with_number(number, target, bytes, &mut merged, operation);
        debug_assert!(combined.is_ok(), "only factors can be missing");
        if merged.len() == target.len() {
            target.copy_from_slice(&merged);
        }
    }
}

#[derive(Copy, Clone)]
enum Operation {
    Difference,
    Factor,
    Add,
    Multiply,
    Min,
    Max,
}

/// What two numbers of one type make.
trait Arithmetic: Sized {
    fn combine(self, other: Self, operation: Operation) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Arithmetic for $type {
            fn combine(self, other: Self, operation: Operation) -> Option<Self> {
                Some(match operation {
                    Operation::Difference => other.wrapping_sub(self),
                    Operation::Factor => {
                        let factor = other.checked_div(self)?;
                        return (factor.checked_mul(self) == Some(other)).then_some(factor);
                    }
                    Operation::Add => self.wrapping_add(other),
                    Operation::Multiply => self.wrapping_mul(other),
                    Operation::Min => self.min(other),
                    Operation::Max => self.max(other),
                })
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl Arithmetic for $type {
            fn combine(self, other: Self, operation: Operation) -> Option<Self> {
                Some(match operation {
                    Operation::Difference => other - self,
                    Operation::Factor => return (self != 0.0).then_some(other / self),
                    Operation::Add => self + other,
                    Operation::Multiply => self * other,
                    Operation::Min => self.min(other),
                    Operation::Max => self.max(other),
                })
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);
floats!(f32 f64);

fn with_number(
    number: Number,
    left: &[u8],
    right: &[u8],
    out: &mut Vec<u8>,
    operation: Operation,
) -> Result<(), NoFactor> {
    macro_rules! each {
        ($type:ty) => {{
            const BYTES: usize = size_of::<$type>();
            for (left, right) in
                left.as_chunks::<BYTES>().0.iter().zip(right.as_chunks::<BYTES>().0)
            {
                let (left, right) = (<$type>::from_le_bytes(*left), <$type>::from_le_bytes(*right));
                let combined = left.combine(right, operation).ok_or(NoFactor)?;
                out.extend_from_slice(&combined.to_le_bytes());
            }
        }};
    }
    match number {
        Number::I8 => each!(i8),
        Number::I16 => each!(i16),
        Number::I32 => each!(i32),
        Number::I64 => each!(i64),
        Number::U8 => each!(u8),
        Number::U16 => each!(u16),
        Number::U32 => each!(u32),
        Number::U64 => each!(u64),
        Number::F32 => each!(f32),
        Number::F64 => each!(f64),
    }
    Ok(())
}
