//! File views: which bytes of a file a process sees, and in which order (MPI-5.0 section 14.3).

mod items;
mod merge;

use alloc::format;

use crate::datatype::{Datatype, Fault};
use crate::error::{ErrorClass, MpiError, Result};

pub use items::{Items, Stretch, basics};
pub use merge::{Piece, Plan, stretches};

/// Most runs of a file type that are looked at for being in order.
const CHECKED_RUNS_MAX: u32 = 1 << 16;

/// A view: behind a displacement the file is tiled with a type, of whose data the process sees a stream.
///
/// Positions are bytes of the stream; the standard counts in elementary types.
#[derive(Clone, Debug)]
pub struct View {
    displacement: u64,
    etype_bytes: u64,
    filetype: Datatype,
}

impl View {
    /// A view of a file.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for types that the standard does not allow in a view; `MPI_ERR_DISP`.
    pub fn new(displacement: i64, etype: &Datatype, filetype: &Datatype) -> Result<Self> {
        let displacement = u64::try_from(displacement).map_err(|_| {
            let detail = format!("{displacement} is negative");
            MpiError::argument(ErrorClass::Disp, "disp", detail)
        })?;
        let wrong = |argument, detail| Err(MpiError::argument(ErrorClass::Arg, argument, detail));
        let (etype_bytes, bytes) = (etype.size() as u64, filetype.size() as u64);
        if etype_bytes == 0 {
            return wrong("etype", format!("a type of {etype_bytes} bytes cannot be counted in"));
        }
        if bytes == 0 || !bytes.is_multiple_of(etype_bytes) {
            let detail =
                format!("its {bytes} bytes are not a multiple of the etype's {etype_bytes}");
            return wrong("filetype", detail);
        }
        if filetype.true_lb() < 0 || filetype.extent() <= 0 {
            return wrong("filetype", format!("it begins at {}", filetype.true_lb()));
        }
        let view = Self { displacement, etype_bytes, filetype: filetype.clone() };
        let (mut end, mut runs, mut in_order) = (0, 0, true);
        let stopped = view.runs(0, bytes, &mut |at, len| {
            in_order = at >= end;
            (end, runs) = (at + len, runs + 1);
            in_order && runs < CHECKED_RUNS_MAX
        });
        if stopped.is_none() || !in_order {
            return wrong("filetype", format!("its data goes back after {runs} runs"));
        }
        Ok(view)
    }

    /// Bytes of an elementary type.
    pub const fn etype_bytes(&self) -> u64 {
        self.etype_bytes
    }

    /// Where the view begins.
    pub const fn displacement(&self) -> u64 {
        self.displacement
    }

    /// Calls `f(offset in the file, bytes)` for the stream's bytes from `start` on, until it returns false.
    /// `None` when they lie beyond any file.
    pub fn runs(&self, start: u64, len: u64, f: &mut impl FnMut(u64, u64) -> bool) -> Option<()> {
        let end = start.checked_add(len)?;
        let size = self.filetype.size() as u64;
        let tiles = i64::try_from(end.div_ceil(size)).ok()?;
        let file_end =
            self.filetype.extent().checked_mul(tiles)?.checked_add_unsigned(self.displacement)?;
        file_end.checked_add(self.filetype.true_extent())?;
        let mut stopped = false;
        let visited = self.filetype.visit(self.displacement, tiles, start..end, &mut |at, len| {
            stopped = !f(at, len);
            if stopped { Err(Fault { addr: at, len }) } else { Ok(()) }
        });
        (visited.is_ok() || stopped).then_some(())
    }

    /// Offset in the file of the stream's byte `position`.
    pub fn byte_offset(&self, position: u64) -> Option<u64> {
        let mut offset = None;
        self.runs(position, 1, &mut |at, _| {
            offset = Some(at);
            false
        })?;
        offset
    }

    /// Bytes of the stream inside a file of `file_bytes`.
    pub fn bytes_in(&self, file_bytes: u64) -> u64 {
        let Some(behind) = file_bytes.checked_sub(self.displacement) else { return 0 };
        let size = self.filetype.size() as u64;
        // Tiles may overlap where the extent is smaller than the data's, so two are looked at.
        let tiles = (behind / self.filetype.extent() as u64).saturating_sub(1);
        let start = tiles * size;
        let mut inside = start;
        let _beyond = self.runs(start, 3 * size, &mut |at, len| {
            inside += len.min(file_bytes.saturating_sub(at));
            at + len <= file_bytes
        });
        inside
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::datatype::Predefined;

    fn int() -> Datatype {
        Predefined::Int.into()
    }

    /// Every byte of the stream one by one, by the definition.
    fn oracle(disp: u64, blocks: &[u64], extent: u64, position: u64) -> u64 {
        let bytes: Vec<u64> = blocks.iter().flat_map(|b| (0..4).map(move |i| b + i)).collect();
        let len = bytes.len() as u64;
        disp + position / len * extent + bytes[(position % len) as usize]
    }

    #[test]
    fn a_view_shows_what_its_definition_says() {
        let strided = Datatype::vector(2, 1, 3, &int()).expect("a type");
        let view = View::new(8, &int(), &strided).expect("a view");
        for start in 0..40 {
            for len in 0..20 {
                let mut seen = Vec::new();
                view.runs(start, len, &mut |at, run| {
                    seen.extend(at..at + run);
                    true
                })
                .expect("inside");
                let expected: Vec<_> =
                    (start..start + len).map(|p| oracle(8, &[0, 12], 16, p)).collect();
                assert_eq!(seen, expected);
            }
        }
        for size in 0..100 {
            let expected = (0..100).filter(|p| oracle(8, &[0, 12], 16, *p) < size).count();
            assert_eq!(view.bytes_in(size), expected as u64, "of {size} bytes");
        }
        assert_eq!(view.byte_offset(4), Some(20));
        assert_eq!(view.byte_offset(u64::MAX - 1), None);
    }

    #[test]
    fn types_that_a_view_cannot_have_are_refused() {
        let class = |disp, filetype: &Datatype| {
            View::new(disp, &int(), filetype).err().map(|error| error.class)
        };
        assert_eq!(class(-1, &int()), Some(ErrorClass::Disp));
        let byte = Datatype::from(Predefined::Byte);
        assert_eq!(class(0, &byte), Some(ErrorClass::Arg));
        let back = Datatype::vector(2, 1, -2, &int()).expect("a type");
        assert_eq!(class(0, &back), Some(ErrorClass::Arg));
    }
}
