//! The predefined datatypes of MPI 5.0 as a wasm32 (ILP32) guest sees them.

/// A machine number: how the bytes of one value are read.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Scalar {
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Signed 128-bit integer.
    I128,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// IEEE binary128, the `long double` of wasm32.
    F128,
}

impl Scalar {
    /// Size in bytes, which is also the alignment on wasm32.
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
            Self::I128 | Self::F128 => 16,
        }
    }
}

/// What a predefined type is to the reduction operators (MPI-5.0 section 6.9.2).
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum BasicKind {
    /// C and Fortran integers and the multi-language types.
    Integer(Scalar),
    /// Real numbers.
    Floating(Scalar),
    /// Two real numbers, real part first.
    Complex(Scalar),
    /// Truth value held in an integer of this width.
    Logical(Scalar),
    /// Text in code units of this width; no operator applies.
    Character(Scalar),
    /// Uninterpreted byte; bitwise operators apply.
    Byte,
    /// Output of `MPI_Pack`; no operator applies.
    Packed,
    /// A value and an index as a C struct, for `MPI_MINLOC` and `MPI_MAXLOC`.
    Pair(Scalar, Scalar),
}

impl BasicKind {
    /// Bytes of data in one element, without padding.
    pub const fn size(self) -> usize {
        match self {
            Self::Integer(scalar)
            | Self::Floating(scalar)
            | Self::Logical(scalar)
            | Self::Character(scalar) => scalar.size(),
            Self::Complex(scalar) => 2 * scalar.size(),
            Self::Byte | Self::Packed => 1,
            Self::Pair(value, index) => value.size() + index.size(),
        }
    }

    /// Alignment a C compiler for wasm32 gives it.
    pub const fn alignment(self) -> usize {
        match self {
            Self::Integer(scalar)
            | Self::Floating(scalar)
            | Self::Logical(scalar)
            | Self::Complex(scalar)
            | Self::Character(scalar) => scalar.size(),
            Self::Byte | Self::Packed => 1,
            Self::Pair(value, index) => {
                if value.size() > index.size() {
                    value.size()
                } else {
                    index.size()
                }
            }
        }
    }

    /// Distance between consecutive elements of an array.
    pub const fn extent(self) -> usize {
        match self {
            Self::Pair(_, index) => {
                (self.pair_index_offset() + index.size()).next_multiple_of(self.alignment())
            }
            _ => self.size(),
        }
    }

    /// Offset of the index inside a pair; 0 for everything else.
    pub const fn pair_index_offset(self) -> usize {
        match self {
            Self::Pair(value, index) => value.size().next_multiple_of(index.size()),
            _ => 0,
        }
    }
}

macro_rules! predefined {
    ($($variant:ident = $handle:literal, $name:literal, $kind:expr;)*) => {
        /// Every predefined datatype; the discriminant is its handle in the MPI 5.0 ABI.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
        #[repr(u16)]
        pub enum Predefined {
            $(#[doc = concat!("`", $name, "`.")] $variant = $handle,)*
        }

        impl Predefined {
            /// Every predefined datatype in the order of the handles.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The datatype with this ABI handle.
            #[inline]
            pub const fn from_handle(handle: i32) -> Option<Self> {
                match handle { $($handle => Some(Self::$variant),)* _ => None }
            }

            /// Name of the constant, which is also its initial `MPI_Type_get_name`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the bytes of one element are.
            pub const fn kind(self) -> BasicKind {
                use BasicKind::{Byte, Character, Complex, Floating, Integer, Logical, Packed, Pair};
                use Scalar::{F16, F32, F64, F128, I8, I16, I32, I64, I128, U8, U16, U32, U64};
                match self { $(Self::$variant => $kind,)* }
            }
        }
    };
}

predefined! {
    Aint = 0x201, "MPI_AINT", Integer(I32);
    Count = 0x202, "MPI_COUNT", Integer(I64);
    Offset = 0x203, "MPI_OFFSET", Integer(I64);
    Packed = 0x207, "MPI_PACKED", Packed;
    Short = 0x208, "MPI_SHORT", Integer(I16);
    Int = 0x209, "MPI_INT", Integer(I32);
    Long = 0x20a, "MPI_LONG", Integer(I32);
    LongLong = 0x20b, "MPI_LONG_LONG", Integer(I64);
    UnsignedShort = 0x20c, "MPI_UNSIGNED_SHORT", Integer(U16);
    Unsigned = 0x20d, "MPI_UNSIGNED", Integer(U32);
    UnsignedLong = 0x20e, "MPI_UNSIGNED_LONG", Integer(U32);
    UnsignedLongLong = 0x20f, "MPI_UNSIGNED_LONG_LONG", Integer(U64);
    Float = 0x210, "MPI_FLOAT", Floating(F32);
    CFloatComplex = 0x212, "MPI_C_FLOAT_COMPLEX", Complex(F32);
    CxxFloatComplex = 0x213, "MPI_CXX_FLOAT_COMPLEX", Complex(F32);
    Double = 0x214, "MPI_DOUBLE", Floating(F64);
    CDoubleComplex = 0x216, "MPI_C_DOUBLE_COMPLEX", Complex(F64);
    CxxDoubleComplex = 0x217, "MPI_CXX_DOUBLE_COMPLEX", Complex(F64);
    Logical = 0x218, "MPI_LOGICAL", Logical(I32);
    Integer = 0x219, "MPI_INTEGER", Integer(I32);
    Real = 0x21a, "MPI_REAL", Floating(F32);
    Complex = 0x21b, "MPI_COMPLEX", Complex(F32);
    DoublePrecision = 0x21c, "MPI_DOUBLE_PRECISION", Floating(F64);
    DoubleComplex = 0x21d, "MPI_DOUBLE_COMPLEX", Complex(F64);
    Character = 0x21e, "MPI_CHARACTER", Character(U8);
    LongDouble = 0x220, "MPI_LONG_DOUBLE", Floating(F128);
    CLongDoubleComplex = 0x224, "MPI_C_LONG_DOUBLE_COMPLEX", Complex(F128);
    CxxLongDoubleComplex = 0x225, "MPI_CXX_LONG_DOUBLE_COMPLEX", Complex(F128);
    FloatInt = 0x228, "MPI_FLOAT_INT", Pair(F32, I32);
    DoubleInt = 0x229, "MPI_DOUBLE_INT", Pair(F64, I32);
    LongInt = 0x22a, "MPI_LONG_INT", Pair(I32, I32);
    TwoInt = 0x22b, "MPI_2INT", Pair(I32, I32);
    ShortInt = 0x22c, "MPI_SHORT_INT", Pair(I16, I32);
    LongDoubleInt = 0x22d, "MPI_LONG_DOUBLE_INT", Pair(F128, I32);
    TwoReal = 0x230, "MPI_2REAL", Pair(F32, F32);
    TwoDoublePrecision = 0x231, "MPI_2DOUBLE_PRECISION", Pair(F64, F64);
    TwoInteger = 0x232, "MPI_2INTEGER", Pair(I32, I32);
    CBool = 0x238, "MPI_C_BOOL", Logical(U8);
    CxxBool = 0x239, "MPI_CXX_BOOL", Logical(U8);
    Wchar = 0x23c, "MPI_WCHAR", Character(U32);
    Int8 = 0x240, "MPI_INT8_T", Integer(I8);
    Uint8 = 0x241, "MPI_UINT8_T", Integer(U8);
    Char = 0x243, "MPI_CHAR", Character(U8);
    SignedChar = 0x244, "MPI_SIGNED_CHAR", Integer(I8);
    UnsignedChar = 0x245, "MPI_UNSIGNED_CHAR", Integer(U8);
    Byte = 0x247, "MPI_BYTE", Byte;
    Int16 = 0x248, "MPI_INT16_T", Integer(I16);
    Uint16 = 0x249, "MPI_UINT16_T", Integer(U16);
    Int32 = 0x250, "MPI_INT32_T", Integer(I32);
    Uint32 = 0x251, "MPI_UINT32_T", Integer(U32);
    Int64 = 0x258, "MPI_INT64_T", Integer(I64);
    Uint64 = 0x259, "MPI_UINT64_T", Integer(U64);
    Logical1 = 0x2c0, "MPI_LOGICAL1", Logical(I8);
    Integer1 = 0x2c1, "MPI_INTEGER1", Integer(I8);
    Logical2 = 0x2c8, "MPI_LOGICAL2", Logical(I16);
    Integer2 = 0x2c9, "MPI_INTEGER2", Integer(I16);
    Real2 = 0x2ca, "MPI_REAL2", Floating(F16);
    Logical4 = 0x2d0, "MPI_LOGICAL4", Logical(I32);
    Integer4 = 0x2d1, "MPI_INTEGER4", Integer(I32);
    Real4 = 0x2d2, "MPI_REAL4", Floating(F32);
    Complex4 = 0x2d3, "MPI_COMPLEX4", Complex(F16);
    Logical8 = 0x2d8, "MPI_LOGICAL8", Logical(I64);
    Integer8 = 0x2d9, "MPI_INTEGER8", Integer(I64);
    Real8 = 0x2da, "MPI_REAL8", Floating(F64);
    Complex8 = 0x2db, "MPI_COMPLEX8", Complex(F32);
    Logical16 = 0x2e0, "MPI_LOGICAL16", Logical(I128);
    Integer16 = 0x2e1, "MPI_INTEGER16", Integer(I128);
    Real16 = 0x2e2, "MPI_REAL16", Floating(F128);
    Complex16 = 0x2e3, "MPI_COMPLEX16", Complex(F64);
    Complex32 = 0x2eb, "MPI_COMPLEX32", Complex(F128);
}

impl Predefined {
    /// The handle in the MPI 5.0 ABI.
    pub const fn handle(self) -> i32 {
        self as i32
    }

    /// Bytes of data in one element, without padding (`MPI_Type_size`).
    #[inline]
    pub const fn size(self) -> usize {
        self.measures().size as usize
    }

    /// Distance between consecutive elements of an array (`MPI_Type_get_extent`).
    #[inline]
    pub const fn extent(self) -> usize {
        self.measures().extent as usize
    }

    /// Alignment a C compiler for wasm32 gives it.
    pub const fn alignment(self) -> usize {
        self.measures().alignment as usize
    }

    /// Bytes of `count` elements of the type with this handle; `None` where it is not predefined, or has gaps.
    #[inline]
    pub fn run_bytes(handle: i32, count: i64) -> Option<u64> {
        let Measures { size, extent, .. } = Self::from_handle(handle)?.measures();
        let count = u64::try_from(count).ok().filter(|_| size == extent)?;
        count.checked_mul(u64::from(size))
    }

    #[inline]
    const fn measures(self) -> Measures {
        MEASURES[self as usize - HANDLE_MIN]
    }
}

/// What every transfer asks of its types, looked up instead of derived.
#[derive(Copy, Clone)]
struct Measures {
    size: u8,
    extent: u8,
    alignment: u8,
}

const HANDLE_MIN: usize = 0x200;

/// By handle; entries between the handles are never read.
static MEASURES: [Measures; 256] = {
    let mut table = [Measures { size: 0, extent: 0, alignment: 0 }; 256];
    let mut index = 0;
    while index < Predefined::ALL.len() {
        let datatype = Predefined::ALL[index];
        let kind = datatype.kind();
        table[datatype as usize - HANDLE_MIN] = Measures {
            size: kind.size() as u8,
            extent: kind.extent() as u8,
            alignment: kind.alignment() as u8,
        };
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_round_trip_and_name_themselves() {
        for &datatype in Predefined::ALL {
            assert_eq!(Predefined::from_handle(datatype.handle()), Some(datatype));
            assert!(datatype.name().starts_with("MPI_"));
        }
        assert_eq!(Predefined::from_handle(0x200), None, "MPI_DATATYPE_NULL is no datatype");
    }

    #[test]
    fn the_header_has_the_same_handles() {
        let header = include_str!("../../../include/mpi.h");
        let mut found = 0;
        for line in header.lines().filter(|line| line.contains("((MPI_Datatype)0x")) {
            let mut words = line.split_whitespace().skip(1);
            let name = words.next().unwrap();
            let (_, digits) = words.next().unwrap().split_once("0x").unwrap();
            let handle = i32::from_str_radix(digits.trim_end_matches(')'), 16).unwrap();
            if name == "MPI_DATATYPE_NULL" {
                continue;
            }
            assert_eq!(Predefined::from_handle(handle).map(Predefined::name), Some(name));
            found += 1;
        }
        assert_eq!(found, Predefined::ALL.len());
    }

    /// Expected values: `sizeof`, offsets and `_Alignof` as clang reports them for wasm32-wasi.
    #[test]
    fn layouts_are_those_of_wasm32() {
        let expected = [
            (Predefined::Aint, 4, 4, 4),
            (Predefined::Long, 4, 4, 4),
            (Predefined::LongDouble, 16, 16, 16),
            (Predefined::CLongDoubleComplex, 32, 32, 16),
            (Predefined::CDoubleComplex, 16, 16, 8),
            (Predefined::Wchar, 4, 4, 4),
            (Predefined::CBool, 1, 1, 1),
            (Predefined::FloatInt, 8, 8, 4),
            (Predefined::DoubleInt, 12, 16, 8),
            (Predefined::LongInt, 8, 8, 4),
            (Predefined::ShortInt, 6, 8, 4),
            (Predefined::LongDoubleInt, 20, 32, 16),
            (Predefined::TwoDoublePrecision, 16, 16, 8),
        ];
        for (datatype, size, extent, alignment) in expected {
            let name = datatype.name();
            assert_eq!(datatype.size(), size, "size of {name}");
            assert_eq!(datatype.extent(), extent, "extent of {name}");
            assert_eq!(datatype.alignment(), alignment, "alignment of {name}");
        }
        assert_eq!(Predefined::ShortInt.kind().pair_index_offset(), 4);
        assert_eq!(Predefined::LongDoubleInt.kind().pair_index_offset(), 16);
    }
}
