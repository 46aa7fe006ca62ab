//! Neighborhood collectives (MPI-5.0 section 8.6) as an exchange of everyone with everyone.
//!
//! Each member has a block for each neighbor; the blocks for one and the same process become one
//! block of a structure type. What results is the arguments of `MPI_Alltoallw`, whose execution on one
//! node and on several is that of the other collectives. Cost: an entry for each member.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::contribution::{Contribution, Kind, Operand, Side, TypedBuffer};
use crate::datatype::{Datatype, Predefined};
use crate::error::Result;
use crate::graph::Neighbors;

/// What a member with these neighbors brings, one of `size`.
///
/// With `sends_same` the send side is one block that goes to every neighbor, else one block a place;
/// the receive side has a block a place.
///
/// # Errors
/// `MPI_ERR_COUNT` when blocks for one process do not fit the address space.
pub fn neighborhood(
    neighbors: &Neighbors,
    size: usize,
    (send, sends_same): (&Side, bool),
    recv: &Side,
) -> Result<Contribution> {
    let sent = |place| send.block(0, if sends_same { 0 } else { place });
    let send = spread_out(&neighbors.destinations, size, sent)?;
    let recv = spread_out(&neighbors.sources, size, |place| recv.block(0, place))?;
    Ok(Contribution::new(Kind::Alltoallw).send(send).recv(recv))
}

/// A block for each member, made of those at its places; addresses are absolute.
fn spread_out<'a>(
    places: &[(usize, usize)],
    size: usize,
    block: impl Fn(usize) -> Option<Operand<'a>>,
) -> Result<Side> {
    let mut blocks: Vec<Vec<Operand<'a>>> = vec![Vec::new(); size];
    for (place, peer) in places {
        if let (Some(all), Some(block)) = (blocks.get_mut(*peer), block(*place)) {
            all.push(block);
        }
    }
    let (mut counts, mut displacements, mut datatypes) = (vec![], vec![], vec![]);
    for all in blocks {
        let (count, displacement, datatype) = match &all[..] {
            [] => (0, 0, Predefined::Byte.into()),
            [one] => (one.count, one.addr.cast_signed(), one.datatype.clone()),
            several => (1, 0, joined(several)?),
        };
        counts.push(count);
        displacements.push(displacement);
        datatypes.push(datatype);
    }
    Ok(Side::Typed(Box::new(TypedBuffer {
        addr: 0,
        counts: counts.into(),
        displacements: displacements.into(),
        datatypes: datatypes.into(),
    })))
}

/// One type with the data of several blocks in their order.
fn joined(blocks: &[Operand<'_>]) -> Result<Datatype> {
    let counts: Vec<i64> = blocks.iter().map(|block| block.count).collect();
    let displacements: Vec<i64> = blocks.iter().map(|block| block.addr.cast_signed()).collect();
    let types: Vec<Datatype> = blocks.iter().map(|block| block.datatype.clone()).collect();
    let joined = Datatype::structure(&counts, &displacements, &types)?;
    joined.commit();
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;

    use super::*;
    use crate::collective::{Members, execute};
    use crate::datatype::Fault;
    use crate::graph::{Topology, distribute};
    use crate::topology::Cartesian;

    struct Memories(Vec<RefCell<Vec<u8>>>);

    impl Members for Memories {
        fn read(
            &self,
            member: usize,
            addr: u64,
            out: &mut [u8],
        ) -> core::result::Result<(), Fault> {
            out.copy_from_slice(&self.0[member].borrow()[addr as usize..][..out.len()]);
            Ok(())
        }

        fn write(&self, member: usize, addr: u64, data: &[u8]) -> core::result::Result<(), Fault> {
            self.0[member].borrow_mut()[addr as usize..][..data.len()].copy_from_slice(data);
            Ok(())
        }

        fn copy(
            &self,
            from: (usize, u64),
            to: (usize, u64),
            len: u64,
        ) -> core::result::Result<(), Fault> {
            let mut data = vec![0; len as usize];
            self.read(from.0, from.1, &mut data)?;
            self.write(to.0, to.1, &data)
        }
    }

    /// Block `place` of a member is the bytes `[16 * member + place, place]`.
    fn exchanged(neighbors: &[Neighbors], sends_same: bool) -> Vec<Vec<u8>> {
        const RECV: usize = 32;
        let fill = |member: usize| {
            let mut bytes: Vec<u8> =
                (0..16).flat_map(|place| [(16 * member + place) as u8, place as u8]).collect();
            bytes.resize(64, 0xff);
            RefCell::new(bytes)
        };
        let memories = Memories((0..neighbors.len()).map(fill).collect());
        let send = Side::buffer(0, 2, Predefined::Byte);
        let recv = Side::buffer(RECV as u64, 2, Predefined::Byte);
        let contributions: Vec<Contribution> = neighbors
            .iter()
            .map(|own| neighborhood(own, neighbors.len(), (&send, sends_same), &recv).unwrap())
            .collect();
        execute(&contributions, &memories).unwrap();
        memories.0.into_iter().map(|memory| memory.into_inner().split_off(RECV)).collect()
    }

    #[test]
    fn a_grid_gets_what_each_neighbor_meant_for_it() {
        for dims in [[1, 1], [2, 1], [2, 2], [3, 2]] {
            let grid = Cartesian::new(&dims, &[true, false], 6).unwrap();
            let topology = Topology::Cartesian(grid.clone());
            let all: Vec<_> =
                (0..grid.size()).map(|rank| topology.neighbors(rank as u32).unwrap()).collect();
            for (rank, received) in exchanged(&all, false).iter().enumerate() {
                for place in 0..4 {
                    let step = if place % 2 == 0 { -1 } else { 1 };
                    let (_, neighbor) = grid.shift(rank as i32, place as i32 / 2, step).unwrap();
                    let expected = match neighbor {
                        Some(from) => [(16 * from + (place ^ 1)) as u8, (place ^ 1) as u8],
                        None => [0xff; 2],
                    };
                    assert_eq!(received[2 * place..][..2], expected, "{dims:?} {rank} {place}");
                }
            }
        }
    }

    /// Oracle: the edges one after the other, for all small multigraphs of three members.
    #[test]
    fn a_graph_with_parallel_edges_keeps_their_order() {
        for code in 0..3_u32.pow(5) {
            let digit = |index: u32| code / 3_u32.pow(index) % 3;
            let edges = vec![
                (digit(0), digit(1), 0),
                (digit(0), digit(1), 0),
                (digit(2), digit(3), 0),
                (digit(4), digit(1), 0),
            ];
            let given = [(false, edges.clone()), (false, vec![]), (false, vec![])];
            let own = distribute(&given).unwrap().into_iter();
            let all: Vec<_> = own
                .zip(0..)
                .map(|(own, rank)| Topology::Distributed(own.into()).neighbors(rank).unwrap())
                .collect();
            for sends_same in [false, true] {
                let received = exchanged(&all, sends_same);
                let (mut sent, mut taken) = ([0_usize; 3], [0_usize; 3]);
                for (from, to, _) in &edges {
                    let (from, to) = (*from as usize, *to as usize);
                    let place = if sends_same { 0 } else { sent[from] };
                    let expected = [(16 * from + place) as u8, place as u8];
                    assert_eq!(received[to][2 * taken[to]..][..2], expected, "{edges:?}");
                    sent[from] += 1;
                    taken[to] += 1;
                }
            }
        }
    }
}
