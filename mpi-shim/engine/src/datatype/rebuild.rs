//! Datatypes made anew from the record of their constructors, as it is read from a file.

use alloc::vec::Vec;

use super::construct::argument;
use super::{Combiner, Contents, Datatype, DistributedArray, Distribution, Order};
use crate::error::Result;

impl Combiner {
    /// The constructor with this number of the ABI.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            102 => Self::Dup,
            103 => Self::Contiguous,
            104 => Self::Vector,
            105 => Self::Hvector,
            106 => Self::Indexed,
            107 => Self::Hindexed,
            108 => Self::IndexedBlock,
            109 => Self::HindexedBlock,
            110 => Self::Struct,
            111 => Self::Subarray,
            112 => Self::Darray,
            113 => Self::F90Real,
            114 => Self::F90Complex,
            115 => Self::F90Integer,
            116 => Self::Resized,
            117 => Self::ValueIndex,
            _ => return None,
        })
    }
}

impl Datatype {
    /// The type whose [`Datatype::contents`] these are, not committed.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no constructor leaves such a record.
    pub fn from_contents(contents: &Contents) -> Result<Self> {
        let made = Read { contents, integers: &contents.integers }.rebuild()?;
        Ok(if contents.large { made.made_with_large_counts() } else { made })
    }
}

/// A record that is being read.
struct Read<'a> {
    contents: &'a Contents,
    integers: &'a [i64],
}

impl<'a> Read<'a> {
    fn rebuild(mut self) -> Result<Datatype> {
        let addresses = self.contents.addresses.as_slice();
        let made = match self.contents.combiner {
            Combiner::Named | Combiner::ValueIndex => return Err(wrong()),
            Combiner::Dup => Datatype::dup(self.old()?)?,
            Combiner::Contiguous => Datatype::contiguous(self.one()?, self.old()?)?,
            Combiner::Vector => {
                let (count, length) = (self.one()?, self.one()?);
                Datatype::vector(count, length, self.one()?, self.old()?)?
            }
            Combiner::Hvector => {
                let stride = *addresses.first().ok_or_else(wrong)?;
                Datatype::hvector(self.one()?, self.one()?, stride, self.old()?)?
            }
            Combiner::Indexed => {
                let count = self.count()?;
                Datatype::indexed(self.several(count)?, self.several(count)?, self.old()?)?
            }
            Combiner::Hindexed => {
                let count = self.count()?;
                Datatype::hindexed(self.several(count)?, addresses, self.old()?)?
            }
            Combiner::IndexedBlock => {
                let (count, length) = (self.count()?, self.one()?);
                Datatype::indexed_block(length, self.several(count)?, self.old()?)?
            }
            Combiner::HindexedBlock => {
                self.one()?;
                Datatype::hindexed_block(self.one()?, addresses, self.old()?)?
            }
            Combiner::Struct => {
                let count = self.count()?;
                let types = &self.contents.datatypes;
                Datatype::structure(self.several(count)?, addresses, types)?
            }
            Combiner::Subarray => {
                let dims = self.count()?;
                let sizes = self.several(dims)?;
                let (subsizes, starts) = (self.several(dims)?, self.several(dims)?);
                Datatype::subarray(sizes, subsizes, starts, self.order()?, self.old()?)?
            }
            Combiner::Darray => self.darray()?,
            Combiner::F90Real => Datatype::f90_real(self.given()?, self.given()?)?,
            Combiner::F90Complex => Datatype::f90_complex(self.given()?, self.given()?)?,
            Combiner::F90Integer => Datatype::f90_integer(self.one()?)?,
            Combiner::Resized => {
                let [lb, extent] = *addresses else { return Err(wrong()) };
                Datatype::resized(self.old()?, lb, extent)?
            }
        };
        if self.integers.is_empty() { Ok(made) } else { Err(wrong()) }
    }

    fn darray(&mut self) -> Result<Datatype> {
        let (processes, rank, dims) = (self.one()?, self.one()?, self.count()?);
        let sizes = self.several(dims)?;
        let distributions: Option<Vec<_>> =
            self.several(dims)?.iter().map(|number| Distribution::from_number(*number)).collect();
        let distributions = distributions.ok_or_else(wrong)?;
        let (arguments, grid) = (self.several(dims)?, self.several(dims)?);
        let (order, distributions) = (self.order()?, distributions.as_slice());
        let array =
            DistributedArray { processes, rank, sizes, distributions, arguments, grid, order };
        Datatype::darray(&array, self.old()?)
    }

    fn old(&self) -> Result<&'a Datatype> {
        self.contents.datatypes.first().ok_or_else(wrong)
    }

    fn one(&mut self) -> Result<i64> {
        Ok(self.several(1)?[0])
    }

    fn count(&mut self) -> Result<usize> {
        usize::try_from(self.one()?).map_err(|_| wrong())
    }

    fn several(&mut self, count: usize) -> Result<&'a [i64]> {
        let (several, rest) = self.integers.split_at_checked(count).ok_or_else(wrong)?;
        self.integers = rest;
        Ok(several)
    }

    /// A number that may be `MPI_UNDEFINED`.
    fn given(&mut self) -> Result<Option<i64>> {
        Ok(Some(self.one()?).filter(|given| *given != super::parametric::UNDEFINED))
    }

    fn order(&mut self) -> Result<Order> {
        match self.one()? {
            12 => Ok(Order::C),
            15 => Ok(Order::Fortran),
            _ => Err(wrong()),
        }
    }
}

fn wrong() -> crate::error::MpiError {
    argument("datatype", "no constructor leaves such a record")
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{DISTRIBUTE_DFLT_DARG, Predefined};
    use super::*;

    fn types() -> Vec<Datatype> {
        let int = Datatype::from(Predefined::Int);
        let vector = Datatype::vector(3, 2, 5, &int).expect("a type");
        let array = DistributedArray {
            processes: 4,
            rank: 2,
            sizes: &[8, 9],
            distributions: &[Distribution::Block, Distribution::Cyclic],
            arguments: &[DISTRIBUTE_DFLT_DARG, 2],
            grid: &[2, 2],
            order: Order::Fortran,
        };
        let pair = [vector.clone(), Predefined::Double.into()];
        let made = [
            Datatype::dup(&vector),
            Datatype::contiguous(7, &vector),
            Datatype::hvector(2, 3, 100, &int),
            Datatype::indexed(&[1, 2], &[0, 9], &vector),
            Datatype::hindexed(&[1, 2], &[0, 99], &int),
            Datatype::indexed_block(2, &[4, 0], &int),
            Datatype::hindexed_block(2, &[64, 0], &int).map(Datatype::made_with_large_counts),
            Datatype::structure(&[1, 2], &[0, 128], &pair),
            Datatype::subarray(&[6, 5], &[2, 3], &[1, 2], Order::C, &int),
            Datatype::darray(&array, &int),
            Datatype::f90_real(Some(10), None),
            Datatype::f90_complex(None, Some(30)),
            Datatype::f90_integer(8),
            Datatype::resized(&vector, -4, 80),
        ];
        made.into_iter().map(|made| made.expect("a type")).collect()
    }

    #[test]
    fn types_are_made_anew_from_their_records() {
        for made in types() {
            let contents = made.contents().expect("derived");
            let again = Datatype::from_contents(contents).expect("it was a type");
            let facts = |one: &Datatype| (one.size(), one.lb(), one.extent(), one.true_extent());
            assert_eq!(facts(&made), facts(&again), "{:?}", contents.combiner);
            let copy = again.contents().expect("derived");
            assert_eq!((copy.large, &copy.integers), (contents.large, &contents.integers));
            assert_eq!(Combiner::from_number(contents.combiner as i32), Some(contents.combiner));
        }
    }

    #[test]
    fn records_that_are_too_short_too_long_or_of_nothing_are_refused() {
        for made in types() {
            let contents = made.contents().expect("derived").clone();
            let with =
                |integers| Datatype::from_contents(&Contents { integers, ..contents.clone() });
            let mut longer = contents.integers.clone();
            longer.push(1);
            assert!(with(longer).is_err(), "{:?}", contents.combiner);
            if let Some((_, shorter)) = contents.integers.split_last() {
                assert!(with(shorter.to_vec()).is_err(), "{:?}", contents.combiner);
            }
            assert!(with(vec![i64::MAX; 4]).is_err() || contents.combiner == Combiner::Vector);
        }
        assert_eq!(Combiner::from_number(101), None);
    }
}
