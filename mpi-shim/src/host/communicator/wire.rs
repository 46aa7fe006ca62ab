//! What members of a constructor bring, as it travels between nodes.

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::graph::{Edge, Graph};
use faasm_mpi_engine::group::Group;
use faasm_mpi_engine::topology::Cartesian;

use super::construct::Color;

/// A value that travels between nodes.
pub(crate) trait Wire: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Writer);

    /// Reads a value that another node sent; `None` when it is malformed.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

impl Wire for () {
    fn write(&self, _out: &mut Writer) {}

    fn read(_from: &mut Reader<'_>) -> Option<Self> {
        Some(())
    }
}

impl Wire for i32 {
    fn write(&self, out: &mut Writer) {
        out.i32(*self);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.i32()
    }
}

impl Wire for [u64; 2] {
    fn write(&self, out: &mut Writer) {
        self.iter().for_each(|word| out.u64(*word));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some([from.u64()?, from.u64()?])
    }
}

impl Wire for Color {
    fn write(&self, out: &mut Writer) {
        let (color, key) = *self;
        out.u8(u8::from(color.is_some()));
        out.i32(color.unwrap_or(0));
        out.i32(key);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let is_some = from.u8()? != 0;
        let color = from.i32()?;
        Some((is_some.then_some(color), from.i32()?))
    }
}

impl Wire for (i32, Color) {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((i32::read(from)?, Color::read(from)?))
    }
}

impl Wire for [u32; 3] {
    fn write(&self, out: &mut Writer) {
        self.iter().for_each(|word| out.u32(*word));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some([from.u32()?, from.u32()?, from.u32()?])
    }
}

impl Wire for Group {
    fn write(&self, out: &mut Writer) {
        out.u32(self.len() as u32);
        self.iter().for_each(|rank| out.u32(rank));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let len = from.u32()? as usize;
        let (ranks, _) = from.raw(len.checked_mul(4)?)?.as_chunks::<4>();
        Self::new(ranks.iter().map(|rank| u32::from_le_bytes(*rank)).collect()).ok()
    }
}

impl Wire for Cartesian {
    fn write(&self, out: &mut Writer) {
        out.u32(self.dims().len() as u32);
        for (dim, period) in self.dims().iter().zip(self.periods()) {
            out.i32(*dim);
            out.u8(u8::from(*period));
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let len = from.u32()?;
        let (mut dims, mut periods) = (Vec::new(), Vec::new());
        for _ in 0..len {
            dims.push(from.i32()?);
            periods.push(from.u8()? != 0);
        }
        Self::new(&dims, &periods, usize::MAX).ok()
    }
}

impl Wire for Graph {
    fn write(&self, out: &mut Writer) {
        for list in [self.index(), self.edges()] {
            out.u32(list.len() as u32);
            list.iter().for_each(|word| out.i32(*word));
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut list = || {
            let len = from.u32()? as usize;
            let (words, _) = from.raw(len.checked_mul(4)?)?.as_chunks::<4>();
            Some(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
        };
        Self::new(list()?, list()?, usize::MAX).ok()
    }
}

impl Wire for (bool, Vec<Edge>) {
    fn write(&self, out: &mut Writer) {
        out.u8(u8::from(self.0));
        out.u32(self.1.len() as u32);
        for (source, destination, weight) in &self.1 {
            out.u32(*source);
            out.u32(*destination);
            out.i32(*weight);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let is_weighted = from.u8()? != 0;
        let len = from.u32()?;
        let mut edges = Vec::new();
        for _ in 0..len {
            edges.push((from.u32()?, from.u32()?, from.i32()?));
        }
        Some((is_weighted, edges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travelled<W: Wire>(value: &W) -> Option<W> {
        let mut out = Writer::new();
        value.write(&mut out);
        let bytes = out.into_bytes();
        for len in 0..bytes.len() {
            assert!(W::read(&mut Reader::new(&bytes[..len])).is_none(), "cut to {len} bytes");
        }
        let mut reader = Reader::new(&bytes);
        let read = W::read(&mut reader);
        assert!(reader.rest().is_empty(), "all of it is read");
        read
    }

    #[test]
    fn values_arrive_as_they_were_and_cut_ones_are_refused() {
        assert_eq!(travelled(&()), Some(()));
        assert_eq!(travelled(&[1, 0, u32::MAX]), Some([1, 0, u32::MAX]));
        assert_eq!(travelled(&[3, u64::MAX]), Some([3, u64::MAX]));
        for color in [(None, -3), (Some(0), 7), (Some(i32::MAX), i32::MIN)] {
            assert_eq!(travelled(&color), Some(color));
            assert_eq!(travelled(&(5, color)), Some((5, color)));
        }
        for ranks in [vec![], vec![3], vec![0, 1, 2], vec![9, 2, 5]] {
            let group = Group::new(ranks).expect("distinct ranks");
            assert_eq!(travelled(&group), Some(group));
        }
        let grid = Cartesian::new(&[2, 3, 1], &[true, false, true], 6).expect("it fits");
        assert_eq!(travelled(&grid), Some(grid));
        let graph = Graph::new(vec![1, 2], vec![1, 0], 2).expect("a graph");
        assert_eq!(travelled(&graph), Some(graph));
        let edges = (true, vec![(0, 3, -1), (2, 2, i32::MAX)]);
        assert_eq!(travelled(&edges), Some(edges));
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        let mut out = Writer::new();
        [2, 4, 4].into_iter().for_each(|word| out.u32(word));
        assert!(Group::read(&mut Reader::new(&out.into_bytes())).is_none(), "a rank twice");
        let mut out = Writer::new();
        out.u32(u32::MAX);
        assert!(Group::read(&mut Reader::new(&out.into_bytes())).is_none(), "too long");
        let mut out = Writer::new();
        out.u32(1);
        out.i32(-1);
        out.u8(0);
        assert!(Cartesian::read(&mut Reader::new(&out.into_bytes())).is_none(), "negative");
    }
}
