//! Fortran's parametric types: by precision and range (MPI-5.0 section 19.1.5).
//!
//! Such a type is committed, has no name and may be used with the operators of its basic type.

use alloc::format;
use alloc::vec;

use super::construct::{Combiner, argument, block, finish};
use super::{Datatype, Predefined};
use crate::error::Result;

/// Decimal precision and exponent range of the real types of 4, 8 and 16 bytes.
const REALS: [(i64, i64, Predefined, Predefined); 3] = [
    (6, 37, Predefined::Real4, Predefined::Complex8),
    (15, 307, Predefined::Real8, Predefined::Complex16),
    (33, 4931, Predefined::Real16, Predefined::Complex32),
];

/// Decimal range of the integer types of 1, 2, 4, 8 and 16 bytes.
const INTEGERS: [(i64, Predefined); 5] = [
    (2, Predefined::Integer1),
    (4, Predefined::Integer2),
    (9, Predefined::Integer4),
    (18, Predefined::Integer8),
    (38, Predefined::Integer16),
];

impl Datatype {
    /// `MPI_Type_create_f90_real`; `None` is `MPI_UNDEFINED`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no real type has this precision and range, or neither is given.
    pub fn f90_real(precision: Option<i64>, range: Option<i64>) -> Result<Self> {
        let (_, _, real, _) = real(precision, range)?;
        parametric(Combiner::F90Real, precision, range, real)
    }

    /// `MPI_Type_create_f90_complex`; `None` is `MPI_UNDEFINED`.
    ///
    /// # Errors
    /// As [`Datatype::f90_real`].
    pub fn f90_complex(precision: Option<i64>, range: Option<i64>) -> Result<Self> {
        let (_, _, _, complex) = real(precision, range)?;
        parametric(Combiner::F90Complex, precision, range, complex)
    }

    /// `MPI_Type_create_f90_integer`.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no integer type has this range.
    pub fn f90_integer(range: i64) -> Result<Self> {
        let found = INTEGERS.iter().find(|(digits, _)| range <= *digits);
        let Some((_, integer)) = found.copied().filter(|_| range >= 0) else {
            let detail = format!("no integer type has a range of {range} decimal digits");
            return Err(argument("r", detail));
        };
        let made = block(0, 1, &integer.into())?;
        let made = finish(Combiner::F90Integer, vec![range], vec![], vec![], made)?;
        made.commit();
        Ok(made)
    }

    /// The predefined type whose operators apply: a predefined type itself, or what a parametric
    /// type stands for.
    #[inline]
    pub fn operand(&self) -> Option<Predefined> {
        match self {
            Self::Predefined(predefined) => Some(*predefined),
            Self::Derived(derived) if derived.contents.combiner.is_parametric() => {
                self.sole_basic()
            }
            Self::Derived(_) => None,
        }
    }
}

fn real(precision: Option<i64>, range: Option<i64>) -> Result<(i64, i64, Predefined, Predefined)> {
    if precision.is_none() && range.is_none() {
        return Err(argument("p", "one of p and r must not be MPI_UNDEFINED"));
    }
    let (p, r) = (precision.unwrap_or(0), range.unwrap_or(0));
    let fits = |candidate: &&(i64, i64, Predefined, Predefined)| {
        (0..=candidate.0).contains(&p) && (0..=candidate.1).contains(&r)
    };
    REALS.iter().find(fits).copied().ok_or_else(|| {
        argument("p", format!("no real type has precision {p} and exponent range {r}"))
    })
}

/// The numbers are kept as they were given, `MPI_UNDEFINED` as the ABI's value.
fn parametric(
    combiner: Combiner,
    precision: Option<i64>,
    range: Option<i64>,
    basic: Predefined,
) -> Result<Datatype> {
    let given = |value: Option<i64>| value.unwrap_or(UNDEFINED);
    let integers = vec![given(precision), given(range)];
    let made = finish(combiner, integers, vec![], vec![], block(0, 1, &basic.into())?)?;
    made.commit();
    Ok(made)
}

/// `MPI_UNDEFINED` of the ABI.
pub(super) const UNDEFINED: i64 = -32766;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_type_that_fits_is_chosen() {
        let basic = |datatype: Result<Datatype>| datatype.unwrap().operand().unwrap();
        assert_eq!(basic(Datatype::f90_real(Some(6), None)), Predefined::Real4);
        assert_eq!(basic(Datatype::f90_real(Some(7), Some(10))), Predefined::Real8);
        assert_eq!(basic(Datatype::f90_real(None, Some(308))), Predefined::Real16);
        assert_eq!(basic(Datatype::f90_complex(Some(15), Some(307))), Predefined::Complex16);
        assert_eq!(basic(Datatype::f90_integer(0)), Predefined::Integer1);
        assert_eq!(basic(Datatype::f90_integer(9)), Predefined::Integer4);
        assert_eq!(basic(Datatype::f90_integer(10)), Predefined::Integer8);
        assert!(Datatype::f90_real(None, None).is_err());
        assert!(Datatype::f90_real(Some(34), None).is_err());
        assert!(Datatype::f90_integer(39).is_err());
        assert!(Datatype::f90_integer(-1).is_err());
    }

    #[test]
    fn a_parametric_type_is_committed_and_remembers_what_was_asked() {
        let datatype = Datatype::f90_real(Some(10), None).unwrap();
        assert!(datatype.is_committed());
        let contents = datatype.contents().unwrap();
        assert_eq!(
            (contents.combiner, &contents.integers[..]),
            (Combiner::F90Real, &[10, UNDEFINED][..])
        );
        assert_eq!((datatype.size(), datatype.extent()), (8, 8));
        let pair = Datatype::contiguous(2, &datatype).unwrap();
        assert_eq!(pair.operand(), None);
    }
}
