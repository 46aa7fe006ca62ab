//! The external32 representation: big-endian, of the same size on every machine (MPI-5.0
//! section 14.5.2).

use alloc::vec::Vec;

use super::predefined::{BasicKind, Predefined};
use super::transfer::{Fault, Memory, pack, unpack};
use super::{Contents, Datatype, total_bytes};
use crate::error::MpiError;

/// Bytes that `count` elements take in external32; `None` when the number overflows.
pub fn external_bytes(datatype: &Datatype, count: i64) -> Option<u64> {
    let mut one = 0_u64;
    let mut add = |basic: Predefined, elements: u64| {
        one = one.saturating_add(elements.saturating_mul(form(basic).external_bytes()));
    };
    datatype.signature().visit(&mut add);
    u64::try_from(count).unwrap_or(0).checked_mul(one).filter(|bytes| *bytes <= i64::MAX as u64)
}

/// The type as it lies in a file in external32, as bytes where a number has another size there.
///
/// # Errors
/// As [`file_form`].
pub fn external_form(datatype: &Datatype) -> Result<Datatype, MpiError> {
    file_form(datatype, &|basic| form(basic).external_bytes())
}

/// The type as it lies in a file in which a predefined type has so many bytes: bytes where that is another number than
/// in memory.
///
/// Displacements that a constructor counts in elements become those of the larger or smaller ones. Those in bytes
/// are left: a program finds them with `MPI_File_get_type_extent` (section 14.5.1).
///
/// # Errors
/// As the constructors, when the type does not fit their numbers.
pub fn file_form(
    datatype: &Datatype,
    file_bytes: &impl Fn(Predefined) -> u64,
) -> Result<Datatype, MpiError> {
    let contents = datatype.contents().filter(|contents| !contents.combiner.is_parametric());
    let Some(contents) = contents.filter(|_| datatype.predefined().is_none()) else {
        let mut bytes = 0_u64;
        datatype.signature().visit(&mut |basic, count| {
            bytes = bytes.saturating_add(count.saturating_mul(file_bytes(basic)));
        });
        return match bytes.cast_signed() == datatype.size() {
            true => Ok(datatype.clone()),
            false => Datatype::contiguous(bytes.cast_signed(), &Predefined::Byte.into()),
        };
    };
    let form = |part: &Datatype| file_form(part, file_bytes);
    let parts: Vec<_> = contents.datatypes.iter().map(form).collect::<Result<_, _>>()?;
    if parts.iter().zip(&contents.datatypes).all(|(new, old)| new.is_same(old)) {
        return Ok(datatype.clone());
    }
    Datatype::from_contents(&Contents { datatypes: parts, ..contents.clone() })
}

/// Appends the external32 form of `count` elements at `addr` to `out`.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory.
pub fn pack_external<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut native = Vec::new();
    pack(memory, addr, count, datatype, &mut native)?;
    let mut from = native.as_slice();
    each(datatype, count, |form| {
        let (field, rest) = from.split_at(form.native);
        form.push_external(field, out);
        from = rest;
    });
    Ok(())
}

/// Fills `count` elements at `addr` from their external32 form, of which `data` must hold all.
///
/// # Errors
/// [`Fault`] when an element lies outside the memory, or `data` ends before the elements do.
pub fn unpack_external<M: Memory + ?Sized>(
    memory: &M,
    addr: u64,
    count: i64,
    datatype: &Datatype,
    data: &[u8],
) -> Result<(), Fault> {
    let too_short = Fault { addr, len: data.len() as u64 };
    let bytes = external_bytes(datatype, count).ok_or(too_short)?;
    let mut from = data.get(..bytes as usize).ok_or(too_short)?;
    total_bytes(addr, count, datatype)?;
    let mut native = Vec::new();
    each(datatype, count, |form| {
        let (field, rest) = from.split_at(form.external);
        form.push_native(field, &mut native);
        from = rest;
    });
    unpack(memory, addr, count, datatype, &native).map(|_| ())
}

/// Calls `f` for each number of `count` elements, in the order of the packed data.
fn each(datatype: &Datatype, count: i64, mut f: impl FnMut(Form)) {
    let signature = datatype.signature();
    for _ in 0..count {
        signature.visit(&mut |basic, elements| {
            let form = form(basic);
            for _ in 0..elements {
                for number in form.numbers.iter().flatten() {
                    f(*number);
                }
            }
        });
    }
}

/// Bytes of one number in memory and outside.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
struct Form {
    native: usize,
    external: usize,
}

/// The numbers that one element of a predefined type consists of.
#[derive(Copy, Clone, Debug)]
struct Forms {
    numbers: [Option<Form>; 2],
}

impl Forms {
    fn external_bytes(self) -> u64 {
        self.numbers.iter().flatten().map(|number| number.external as u64).sum()
    }
}

fn form(basic: Predefined) -> Forms {
    let same = |bytes| Form { native: bytes, external: bytes };
    let one = |number| Forms { numbers: [Some(number), None] };
    match (basic, basic.kind()) {
        (Predefined::Aint, _) => one(Form { native: 4, external: 8 }),
        (Predefined::Wchar, _) => one(Form { native: 4, external: 2 }),
        (_, BasicKind::Byte | BasicKind::Packed) => one(same(1)),
        (
            _,
            BasicKind::Integer(scalar)
            | BasicKind::Floating(scalar)
            | BasicKind::Logical(scalar)
            | BasicKind::Character(scalar),
        ) => one(same(scalar.size())),
        (_, BasicKind::Complex(scalar)) => Forms { numbers: [Some(same(scalar.size())); 2] },
        (_, BasicKind::Pair(value, index)) => {
            Forms { numbers: [Some(same(value.size())), Some(same(index.size()))] }
        }
    }
}

impl Form {
    /// Appends the external form of a little-endian number: sign-extended or cut as needed.
    fn push_external(self, native: &[u8], out: &mut Vec<u8>) {
        let sign = if native.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        out.extend((self.native..self.external).map(|_| sign));
        out.extend(native.iter().take(self.external).rev());
    }

    /// Appends the little-endian form of an external number: zero-extended or cut as needed.
    fn push_native(self, external: &[u8], out: &mut Vec<u8>) {
        out.extend(external.iter().rev().take(self.native));
        out.extend((self.external..self.native).map(|_| 0));
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use alloc::vec;

    use super::*;

    struct Bytes(RefCell<Vec<u8>>);

    impl Memory for Bytes {
        fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
            let fault = Fault { addr, len: out.len() as u64 };
            let bytes = self.0.borrow();
            let from = bytes.get(addr as usize..addr as usize + out.len()).ok_or(fault)?;
            out.copy_from_slice(from);
            Ok(())
        }

        fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
            let fault = Fault { addr, len: data.len() as u64 };
            let mut bytes = self.0.borrow_mut();
            let to = bytes.get_mut(addr as usize..addr as usize + data.len()).ok_or(fault)?;
            to.copy_from_slice(data);
            Ok(())
        }
    }

    #[test]
    fn numbers_are_big_endian_and_of_the_standard_size() {
        let memory = Bytes(RefCell::new(vec![0; 16]));
        memory.write(0, &(-2_i32).to_le_bytes()).unwrap();
        let mut out = Vec::new();
        pack_external(&memory, 0, 1, &Predefined::Int.into(), &mut out).unwrap();
        assert_eq!(out, [0xff, 0xff, 0xff, 0xfe]);
        out.clear();
        pack_external(&memory, 0, 1, &Predefined::Aint.into(), &mut out).unwrap();
        assert_eq!(out, (-2_i64).to_be_bytes());
        memory.write(0, &0x20ac_u32.to_le_bytes()).unwrap();
        out.clear();
        pack_external(&memory, 0, 1, &Predefined::Wchar.into(), &mut out).unwrap();
        assert_eq!(out, [0x20, 0xac]);
    }

    #[test]
    fn types_grow_with_their_numbers_in_a_file() {
        let (int, aint) = (Datatype::from(Predefined::Int), Datatype::from(Predefined::Aint));
        let in_file = |datatype: &Datatype| {
            let form = external_form(datatype).expect("it fits");
            (form.size(), form.extent())
        };
        assert_eq!(in_file(&int), (4, 4));
        assert_eq!(in_file(&aint), (8, 8));
        let gaps = Datatype::vector(3, 1, 2, &aint).expect("a vector");
        assert_eq!((gaps.size(), gaps.extent()), (12, 20));
        assert_eq!(in_file(&gaps), (24, 40));
        let same = Datatype::vector(3, 1, 2, &int).expect("a vector");
        assert!(external_form(&same).expect("it fits").is_same(&same));
        let mixed = Datatype::structure(&[1, 2], &[0, 8], &[aint, Predefined::Wchar.into()]);
        let mixed = mixed.expect("a structure");
        assert_eq!(mixed.size(), 12, "as large as its external form");
        assert_eq!(in_file(&mixed), (12, 12));
        let placed = Datatype::resized(&gaps, 0, 64).expect("resized");
        assert_eq!(in_file(&placed), (24, 64));
    }

    #[test]
    fn every_type_survives_the_way_out_and_back() {
        for &basic in Predefined::ALL {
            let datatype = Datatype::vector(3, 1, 2, &basic.into()).unwrap();
            let span = datatype.span(2).unwrap().1 as usize;
            // Small positive code units and addresses: larger ones do not fit the external form.
            let fill = |index: usize| {
                if basic == Predefined::Wchar && index % 4 > 1 { 0 } else { (index % 127) as u8 }
            };
            let memory = Bytes(RefCell::new((0..span).map(fill).collect()));
            let mut external = Vec::new();
            pack_external(&memory, 0, 2, &datatype, &mut external).unwrap();
            assert_eq!(
                Some(external.len() as u64),
                external_bytes(&datatype, 2),
                "{}",
                basic.name()
            );
            let back = Bytes(RefCell::new(vec![0; span]));
            unpack_external(&back, 0, 2, &datatype, &external).unwrap();
            let (mut sent, mut received) = (Vec::new(), Vec::new());
            pack(&memory, 0, 2, &datatype, &mut sent).unwrap();
            pack(&back, 0, 2, &datatype, &mut received).unwrap();
            assert_eq!(sent, received, "{}", basic.name());
            assert!(unpack_external(&back, 0, 2, &datatype, &external[1..]).is_err());
        }
    }
}
