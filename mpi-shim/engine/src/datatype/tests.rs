//! Datatypes against a naive oracle: a list of (size, displacement) pairs built by the definitions
//! of the standard, one entry for each basic element.

use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::*;
use crate::error::ErrorClass;

/// A type map written out.
#[derive(Clone, Debug, Default)]
struct TypeMap {
    /// Size, displacement and alignment of each basic element.
    entries: Vec<(i64, i64, i64)>,
    lb_markers: Vec<i64>,
    ub_markers: Vec<i64>,
}

impl TypeMap {
    fn basic(datatype: Predefined) -> Self {
        let entries = match datatype.kind() {
            BasicKind::Pair(value, index) => {
                let offset = datatype.kind().pair_index_offset() as i64;
                let (value, index) = (value.size() as i64, index.size() as i64);
                vec![(value, 0, value), (index, offset, index)]
            }
            kind => vec![(kind.size() as i64, 0, kind.alignment() as i64)],
        };
        Self { entries, ..Self::default() }
    }

    fn add(&mut self, other: &Self, offset: i64) {
        let moved = other.entries.iter().map(|&(size, at, align)| (size, at + offset, align));
        self.entries.extend(moved);
        self.lb_markers.extend(other.lb_markers.iter().map(|at| at + offset));
        self.ub_markers.extend(other.ub_markers.iter().map(|at| at + offset));
    }

    /// Blocks of (length, displacement in bytes).
    fn blocks(&self, blocks: &[(i64, i64)]) -> Self {
        let mut map = Self::default();
        for &(length, offset) in blocks {
            for index in 0..length {
                map.add(self, offset + index * self.extent());
            }
        }
        map
    }

    fn size(&self) -> i64 {
        self.entries.iter().map(|(size, ..)| size).sum()
    }

    fn true_lb(&self) -> i64 {
        self.entries.iter().map(|&(_, at, _)| at).min().unwrap_or(0)
    }

    fn true_ub(&self) -> i64 {
        self.entries.iter().map(|&(size, at, _)| at + size).max().unwrap_or(0)
    }

    fn lb(&self) -> i64 {
        self.lb_markers.iter().copied().min().unwrap_or(self.true_lb())
    }

    fn extent(&self) -> i64 {
        if let Some(ub) = self.ub_markers.iter().max() {
            return ub - self.lb();
        }
        let align = self.entries.iter().map(|&(.., align)| align).max().unwrap_or(1);
        let mut extent = self.true_ub() - self.lb();
        while extent % align != 0 {
            extent += 1;
        }
        extent
    }

    /// Displacement of every data byte of `count` elements.
    fn bytes(&self, count: i64) -> Vec<i64> {
        let starts = (0..count).map(|index| index * self.extent());
        let entries = starts.flat_map(|start| self.entries.iter().map(move |e| (e.0, start + e.1)));
        entries.flat_map(|(size, at)| at..at + size).collect()
    }
}

/// A memory that faults like a guest's.
struct Bytes(RefCell<Vec<u8>>);

impl Bytes {
    fn numbered(len: usize) -> Self {
        Self(RefCell::new((0..len).map(|at| (at * 7 + at / 256) as u8).collect()))
    }

    fn range(&self, addr: u64, len: usize) -> Result<Range<usize>, Fault> {
        let end = (addr as usize).checked_add(len).filter(|&end| end <= self.0.borrow().len());
        end.map(|end| addr as usize..end).ok_or(Fault { addr, len: len as u64 })
    }
}

impl Memory for Bytes {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        let range = self.range(addr, out.len())?;
        out.copy_from_slice(&self.0.borrow()[range]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        let range = self.range(addr, data.len())?;
        self.0.borrow_mut()[range].copy_from_slice(data);
        Ok(())
    }
}

/// A small generator of test cases (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as i64 % bound
    }

    fn list(&mut self, len: i64, low: i64, high: i64) -> Vec<i64> {
        (0..len).map(|_| low + self.below(high - low + 1)).collect()
    }
}

const BASICS: [Predefined; 7] = [
    Predefined::Byte,
    Predefined::Short,
    Predefined::Int,
    Predefined::Double,
    Predefined::ShortInt,
    Predefined::DoubleInt,
    Predefined::LongDoubleInt,
];

fn random_type(random: &mut Random, depth: u32) -> (Datatype, TypeMap) {
    if depth == 0 {
        let basic = BASICS[random.below(BASICS.len() as i64) as usize];
        return (basic.into(), TypeMap::basic(basic));
    }
    let (old, map) = random_type(random, depth - 1);
    let extent = old.extent();
    let (count, length) = (random.below(4), random.below(4));
    let lengths = random.list(count, 0, 3);
    let places = random.list(count, -6, 6);
    let zip = |lengths: &[i64], unit: i64| -> Vec<_> {
        lengths.iter().zip(&places).map(|(&length, at)| (length, at * unit)).collect()
    };
    let same = vec![length; count as usize];
    let stride = random.below(13) - 6;
    let strided =
        |unit: i64| -> Vec<_> { (0..count).map(|index| (length, index * stride * unit)).collect() };
    let bytes: Vec<i64> = places.iter().map(|at| at * 3).collect();
    match random.below(10) {
        0 => (Datatype::contiguous(count, &old).unwrap(), map.blocks(&[(count, 0)])),
        1 => {
            let made = Datatype::vector(count, length, stride, &old).unwrap();
            (made, map.blocks(&strided(extent)))
        }
        2 => {
            let made = Datatype::hvector(count, length, stride * 5, &old).unwrap();
            (made, map.blocks(&strided(5)))
        }
        3 => {
            let made = Datatype::indexed(&lengths, &places, &old).unwrap();
            (made, map.blocks(&zip(&lengths, extent)))
        }
        4 => {
            let made = Datatype::hindexed(&lengths, &bytes, &old).unwrap();
            (made, map.blocks(&zip(&lengths, 3)))
        }
        5 => {
            let made = Datatype::indexed_block(length, &places, &old).unwrap();
            (made, map.blocks(&zip(&same, extent)))
        }
        6 => {
            let made = Datatype::hindexed_block(length, &bytes, &old).unwrap();
            (made, map.blocks(&zip(&same, 3)))
        }
        7 => {
            let (other, other_map) = random_type(random, depth - 1);
            let made = Datatype::structure(&[length, count], &[stride, 40], &[old, other]).unwrap();
            let mut joined = map.blocks(&[(length, stride)]);
            joined.add(&other_map.blocks(&[(count, 40)]), 0);
            (made, joined)
        }
        8 => {
            let (lb, extent) = (stride, 1 + random.below(40));
            let mut resized = map;
            resized.lb_markers = vec![lb];
            resized.ub_markers = vec![lb + extent];
            (Datatype::resized(&old, lb, extent).unwrap(), resized)
        }
        _ => (Datatype::dup(&old).unwrap(), map),
    }
}

#[test]
fn random_types_agree_with_written_out_type_maps() {
    const BASE: u64 = 40_000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for case in 0..4000 {
        let depth = 1 + random.below(3) as u32;
        let (made, map) = random_type(&mut random, depth);
        let text = || std::format!("case {case}: {made:?}\n{map:?}");
        assert_eq!(made.size(), map.size(), "{}", text());
        assert_eq!(made.lb(), map.lb(), "{}", text());
        assert_eq!(made.extent(), map.extent(), "{}", text());
        assert_eq!(made.true_lb(), map.true_lb(), "{}", text());
        assert_eq!(made.true_extent(), map.true_ub() - map.true_lb(), "{}", text());
        let count = random.below(4);
        let places = map.bytes(count);
        check_span(&made, count, &places);
        check_transfer(&made, count, &places, BASE, &mut random);
        check_elements(&made, &map);
        if made.is_contiguous() {
            assert!(places.iter().copied().eq(0..places.len() as i64), "{}", text());
        }
    }
}

fn check_span(made: &Datatype, count: i64, places: &[i64]) {
    let low = places.iter().min().copied();
    let expected = low.zip(places.iter().max().map(|high| high + 1));
    assert_eq!(made.span(count), expected);
}

fn check_transfer(made: &Datatype, count: i64, places: &[i64], base: u64, random: &mut Random) {
    let memory = Bytes::numbered(80_000);
    let at = |place: i64| base.checked_add_signed(place).unwrap() as usize;
    let mut packed = vec![0xaa];
    pack(&memory, base, count, made, &mut packed).unwrap();
    let expected: Vec<u8> = places.iter().map(|&place| memory.0.borrow()[at(place)]).collect();
    assert_eq!(packed[1..], expected);

    let total = places.len() as i64;
    let start = random.below(total + 1) as usize;
    let end = start + random.below(total - start as i64 + 1) as usize;
    let mut window = vec![0; end - start];
    pack_window(&memory, base, count, made, start as u64, &mut window).unwrap();
    assert_eq!(window, expected[start..end]);

    // A type that lists a byte twice takes the later value, which the oracle's loop does as well.
    let target = Bytes(RefCell::new(vec![0; 80_000]));
    let data: Vec<u8> = (0..end).map(|index| index as u8 | 0x80).collect();
    let taken = unpack(&target, base, count, made, &data).unwrap();
    assert_eq!(taken, end as u64);
    let mut expected = vec![0; 80_000];
    for (&byte, &place) in data.iter().zip(places) {
        expected[at(place)] = byte;
    }
    assert!(*target.0.borrow() == expected, "{made:?}");
}

fn check_elements(made: &Datatype, map: &TypeMap) {
    let mut boundaries = vec![0];
    for _ in 0..2 {
        for entry in &map.entries {
            boundaries.push(boundaries[boundaries.len() - 1] + entry.0 as u64);
        }
    }
    for bytes in 0..=boundaries[boundaries.len() - 1] {
        let expected = boundaries.iter().position(|&at| at == bytes).map(|at| at as u64);
        assert_eq!(made.elements_in(bytes), expected, "{bytes} of {made:?}");
    }
}

#[test]
fn subarrays_agree_with_nested_loops() {
    let (sizes, subsizes, starts) = ([4_i64, 5, 3], [2_i64, 3, 2], [1_i64, 2, 0]);
    for order in [Order::C, Order::Fortran] {
        let made =
            Datatype::subarray(&sizes, &subsizes, &starts, order, &Predefined::Int.into()).unwrap();
        let mut expected = vec![];
        let mut index = |i: i64, j: i64, k: i64| {
            let at = match order {
                Order::C => (i * sizes[1] + j) * sizes[2] + k,
                Order::Fortran => i + sizes[0] * (j + sizes[1] * k),
            };
            expected.extend(4 * at..4 * at + 4);
        };
        let range = |dim: usize| starts[dim]..starts[dim] + subsizes[dim];
        match order {
            Order::C => {
                range(0).for_each(|i| range(1).for_each(|j| range(2).for_each(|k| index(i, j, k))))
            }
            Order::Fortran => {
                range(2).for_each(|k| range(1).for_each(|j| range(0).for_each(|i| index(i, j, k))))
            }
        }
        let mut places = vec![];
        made.visit(0, 1, 0..made.size() as u64, &mut |at, len| {
            places.extend(at as i64..(at + len) as i64);
            Ok(())
        })
        .unwrap();
        assert_eq!(places, expected);
        assert_eq!((made.lb(), made.extent()), (0, 240));
    }
}

#[test]
fn coalescing_makes_equal_layouts_contiguous() {
    let int = Datatype::from(Predefined::Int);
    let contiguous = [
        Datatype::contiguous(5, &int),
        Datatype::vector(3, 2, 2, &int),
        Datatype::indexed(&[1, 0, 4], &[0, 9, 1], &int),
        Datatype::hindexed_block(2, &[0, 8], &int),
        Datatype::structure(&[1, 1], &[0, 4], &[int.clone(), Predefined::Float.into()]),
        Datatype::resized(&int, 0, 4),
        Datatype::dup(&int),
    ];
    for made in contiguous {
        assert!(made.as_ref().unwrap().is_contiguous(), "{made:?}");
    }
    assert!(!Datatype::vector(2, 1, 2, &int).unwrap().is_contiguous());
    assert!(!Datatype::resized(&int, 0, 8).unwrap().is_contiguous());
    assert!(!Datatype::from(Predefined::ShortInt).is_contiguous());
}

/// A C compiler gives `struct { double d; char c; }` 16 bytes.
#[test]
fn structs_are_padded_like_c() {
    let types = [Predefined::Double.into(), Predefined::Char.into()];
    let made = Datatype::structure(&[1, 1], &[0, 8], &types).unwrap();
    assert_eq!((made.size(), made.extent(), made.true_extent()), (9, 16, 9));
}

#[test]
fn huge_types_are_lazy_and_overflow_is_an_error() {
    let double = Datatype::from(Predefined::Double);
    let huge = Datatype::vector(1 << 30, 1, 2, &double).unwrap();
    assert_eq!(huge.size(), 8 << 30);
    let memory = Bytes::numbered(1000);
    let mut out = vec![0; 16];
    let fault = pack_window(&memory, 0, 1, &huge, 1 << 32, &mut out).unwrap_err();
    assert_eq!(fault.addr, 2 << 32, "the window starts at block 2^29");
    assert!(pack(&memory, 0, 1, &huge, &mut out).is_err(), "before it allocates");
    let too_large = [
        Datatype::contiguous(1 << 31, &huge),
        Datatype::hvector(2, 1, i64::MAX, &huge),
        Datatype::resized(&huge, i64::MAX, 1),
        Datatype::indexed(&[1], &[i64::MAX / 2], &huge),
    ];
    for made in too_large {
        assert_eq!(made.unwrap_err().class, ErrorClass::Arg);
    }
    assert!(unpack(&memory, 0, i64::MAX, &huge, &out).is_err());
}

#[test]
fn bad_arguments_are_named() {
    let int = Datatype::from(Predefined::Int);
    let argument = |made: crate::error::Result<Datatype>| {
        let error = made.unwrap_err();
        (error.class, error.argument.unwrap())
    };
    assert_eq!(argument(Datatype::contiguous(-1, &int)), (ErrorClass::Count, "count"));
    assert_eq!(argument(Datatype::vector(1, -1, 1, &int)), (ErrorClass::Arg, "blocklength"));
    assert_eq!(
        argument(Datatype::indexed(&[1, -1], &[0, 1], &int)),
        (ErrorClass::Arg, "array_of_blocklengths")
    );
    assert_eq!(
        argument(Datatype::subarray(&[4], &[3], &[2], Order::C, &int)),
        (ErrorClass::Arg, "array_of_starts")
    );
    assert_eq!(
        argument(Datatype::subarray(&[4], &[0], &[0], Order::C, &int)),
        (ErrorClass::Arg, "array_of_subsizes")
    );
}

#[test]
fn contents_return_the_arguments() {
    let int = Datatype::from(Predefined::Int);
    let made = Datatype::indexed(&[1, 2], &[5, 7], &int).unwrap();
    let contents = made.contents().unwrap();
    assert_eq!(contents.combiner, Combiner::Indexed);
    assert_eq!(contents.integers, [2, 1, 2, 5, 7]);
    assert!(contents.addresses.is_empty());
    assert!(contents.datatypes[0].is_same(&int));
    let made = Datatype::structure(&[3], &[8], &[made]).unwrap();
    let contents = made.contents().unwrap();
    assert_eq!((&contents.integers[..], &contents.addresses[..]), (&[1, 3][..], &[8][..]));
    assert!(int.contents().is_none());
}

#[test]
fn dup_copies_the_commitment() {
    let made = Datatype::contiguous(3, &Predefined::Int.into()).unwrap();
    assert!(!made.is_committed() && !Datatype::dup(&made).unwrap().is_committed());
    made.commit();
    assert!(made.is_committed() && Datatype::dup(&made).unwrap().is_committed());
    assert!(!made.is_same(&Datatype::dup(&made).unwrap()));
    assert_eq!(made.sole_basic(), Some(Predefined::Int));
}

#[test]
fn counts_of_received_bytes() {
    let made = Datatype::contiguous(3, &Predefined::Int.into()).unwrap();
    assert_eq!((made.count_in(24), made.count_in(20)), (Some(2), None));
    assert_eq!((made.elements_in(20), made.elements_in(21)), (Some(5), None));
    let mixed = [Predefined::ShortInt.into(), made.clone(), Predefined::Char.into()];
    let mixed = Datatype::structure(&[2, 3, 1], &[0, 16, 60], &mixed).unwrap();
    let mixed = Datatype::contiguous(2, &mixed).unwrap();
    for elements in 0..60 {
        let bytes = mixed.bytes_of_elements(elements).unwrap();
        assert_eq!(mixed.elements_in(bytes), Some(elements));
    }
    assert_eq!(mixed.bytes_of_elements(28), Some(mixed.size() as u64));
    assert_eq!(mixed.bytes_of_elements(u64::MAX), None);
    let empty = Datatype::contiguous(0, &Predefined::Int.into()).unwrap();
    assert_eq!((empty.bytes_of_elements(0), empty.bytes_of_elements(1)), (Some(0), None));
    assert_eq!((empty.count_in(0), empty.count_in(4)), (Some(0), None));
}

/// An address above 2 GiB is negative as the guest's `MPI_Aint`.
#[test]
fn displacements_from_bottom_reach_the_upper_half() {
    let absolute = 0x9000_0010_u32;
    let made =
        Datatype::hindexed(&[1], &[i64::from(absolute as i32)], &Predefined::Int.into()).unwrap();
    let mut places = vec![];
    made.visit(0, 1, 0..4, &mut |at, len| {
        places.push((at, len));
        Ok(())
    })
    .unwrap();
    assert_eq!(places, [(u64::from(absolute), 4)]);
}

#[test]
fn windows_have_the_bytes_of_the_array_in_their_order() {
    let spaced = Datatype::vector(2, 1, 3, &Predefined::Int32.into()).expect("a type");
    let reversed =
        Datatype::hindexed(&[1, 2, 0], &[9, -4, 0], &Predefined::Int16.into()).expect("a type");
    let pair = Predefined::DoubleInt.into();
    for element in [spaced, reversed, pair, Predefined::Int32.into()] {
        let all = runs_of(&element, 5, 0..element.bytes(5).expect("few"));
        for start in 0..all.len() {
            for end in start..=all.len() {
                let len = (end - start) as u64;
                let window = element.window(start as u64, len).expect("a type");
                assert_eq!(window.bytes(1), Some(len));
                assert!(window.is_committed());
                assert_eq!(runs_of(&window, 1, 0..len), all[start..end], "{start}..{end}");
            }
        }
    }
}

/// The address of each byte.
fn runs_of(datatype: &Datatype, count: i64, window: Range<u64>) -> Vec<u64> {
    let mut bytes = Vec::new();
    let mut add = |addr: u64, len: u64| {
        bytes.extend((0..len).map(|byte| addr + byte));
        Ok(())
    };
    datatype.visit(1000, count, window, &mut add).expect("nothing fails");
    bytes
}
