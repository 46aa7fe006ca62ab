//! A part of typed data that begins and ends anywhere, as a datatype of its own.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Datatype, Predefined};
use crate::error::Result;

impl Datatype {
    /// A committed type one element of which, at the address of an array of this type, has the `len` data bytes of the array
    /// from packed position `start` on, in their order. Only the elements at both ends are described byte by byte.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when an address overflows.
    pub fn window(&self, start: u64, len: u64) -> Result<Self> {
        let size = self.size().unsigned_abs();
        let (mut lengths, mut displacements, mut types) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |element: u64, count: u64, datatype: Self| {
            lengths.push(count.cast_signed());
            displacements.push(self.extent().wrapping_mul(element.cast_signed()));
            types.push(datatype);
        };
        let end = start + if size == 0 { 0 } else { len };
        let mut at = start;
        while at < end {
            let (element, inside) = (at / size, at % size);
            let whole = (end - at) / size;
            if inside == 0 && whole > 0 {
                add(element, whole, self.clone());
                at += whole * size;
            } else {
                let part = inside..size.min(inside + (end - at));
                at += part.end - part.start;
                add(element, 1, self.bytes_of_element(part)?);
            }
        }
        let window = Self::structure(&lengths, &displacements, &types)?;
        window.commit();
        Ok(window)
    }

    /// The data bytes of one element at these packed positions.
    fn bytes_of_element(&self, part: Range<u64>) -> Result<Self> {
        let (mut lengths, mut displacements) = (Vec::new(), Vec::new());
        self.visit_rows(0, 1, part, &mut |offset: i64, len: u64| {
            lengths.push(len.cast_signed());
            displacements.push(offset);
            Ok(())
        })?;
        Self::hindexed(&lengths, &displacements, &Predefined::Byte.into())
    }
}
