//! The predefined reduction operators on bytes (MPI-5.0 section 6.9).
//!
//! [`Op::kernel`] is the only table: it holds a function for each operator and type the standard
//! permits and nothing else. Kernels work on little-endian bytes of any alignment, element by
//! element, so the result does not depend on how a buffer is cut into pieces.
//!
//! Wider than the standard in one respect: the logical operators accept every integer type, as
//! MPICH and Open MPI do.

mod binary128;
mod element;
mod half;
mod kernel;
#[cfg(test)]
mod tests;

use alloc::format;

use crate::datatype::{Datatype, Predefined};
use crate::error::{ErrorClass, MpiError, Result};

/// `inout[i] = inout[i] op input[i]` over slices of equal length in whole elements.
pub type Kernel = fn(inout: &mut [u8], input: &[u8]);

macro_rules! operators {
    ($($variant:ident = $handle:literal, $name:literal;)*) => {
        /// The predefined operators; the discriminant is the handle in the MPI 5.0 ABI.
        #[derive(
            Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[repr(u8)]
        pub enum Op {
            $(#[doc = concat!("`", $name, "`.")] $variant = $handle,)*
        }

        impl Op {
            /// Every predefined operator in the order of the handles.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The operator with this ABI handle.
            pub const fn from_handle(handle: i32) -> Option<Self> {
                match handle { $($handle => Some(Self::$variant),)* _ => None }
            }

            /// Name of the constant in `mpi.h`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

operators! {
    Sum = 0x21, "MPI_SUM";
    Min = 0x22, "MPI_MIN";
    Max = 0x23, "MPI_MAX";
    Prod = 0x24, "MPI_PROD";
    Band = 0x28, "MPI_BAND";
    Bor = 0x29, "MPI_BOR";
    Bxor = 0x2a, "MPI_BXOR";
    Land = 0x30, "MPI_LAND";
    Lor = 0x31, "MPI_LOR";
    Lxor = 0x32, "MPI_LXOR";
    Minloc = 0x38, "MPI_MINLOC";
    Maxloc = 0x39, "MPI_MAXLOC";
    Replace = 0x3c, "MPI_REPLACE";
    NoOp = 0x3d, "MPI_NO_OP";
}

impl Op {
    /// The handle in the MPI 5.0 ABI.
    pub const fn handle(self) -> i32 {
        self as i32
    }

    /// Whether operands may be swapped (`MPI_Op_commutative`).
    pub const fn is_commutative(self) -> bool {
        !matches!(self, Self::Replace | Self::NoOp)
    }

    /// Whether the operator is for accumulate calls only, not for reductions.
    pub const fn is_accumulate_only(self) -> bool {
        matches!(self, Self::Replace | Self::NoOp)
    }

    /// Whether the operator is defined on this type.
    pub fn permits(self, datatype: Predefined) -> bool {
        self.kernel(datatype).is_some()
    }

    /// The code that applies the operator to this type.
    pub fn kernel(self, datatype: Predefined) -> Option<Kernel> {
        kernel::select(self, datatype.kind())
    }

    /// The code for a reduction over `datatype`.
    ///
    /// # Errors
    /// `MPI_ERR_OP` when the operator is not defined on the type, which includes every derived
    /// datatype, or is for accumulate calls only.
    pub fn reduction(self, datatype: &Datatype) -> Result<(Predefined, Kernel)> {
        let Some(predefined) = datatype.operand() else {
            let detail = format!("{} is not defined on derived datatypes", self.name());
            return Err(MpiError::argument(ErrorClass::Op, "op", detail));
        };
        if self.is_accumulate_only() {
            let detail = format!("{} is for one-sided accumulate calls only", self.name());
            return Err(MpiError::argument(ErrorClass::Op, "op", detail));
        }
        match self.kernel(predefined) {
            Some(kernel) => Ok((predefined, kernel)),
            None => Err(not_permitted(self, predefined)),
        }
    }
}

/// `inout[i] = inout[i] op input[i]`; bytes between the members of a pair are left alone.
///
/// # Errors
/// `MPI_ERR_OP` when the operator is not defined on the type.
///
/// # Panics
/// When the lengths differ or are not whole elements.
pub fn reduce(op: Op, datatype: Predefined, inout: &mut [u8], input: &[u8]) -> Result<()> {
    assert_eq!(inout.len(), input.len(), "operands have the same length");
    assert!(inout.len().is_multiple_of(datatype.extent()), "operands are whole elements");
    let kernel = op.kernel(datatype).ok_or_else(|| not_permitted(op, datatype))?;
    kernel(inout, input);
    Ok(())
}

fn not_permitted(op: Op, datatype: Predefined) -> MpiError {
    let detail = format!("{} is not defined on {}", op.name(), datatype.name());
    MpiError::argument(ErrorClass::Op, "op", detail)
}
