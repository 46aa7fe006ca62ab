//! What the last member to arrive does for all.

use std::cell::RefCell;

use faasm_mpi_engine::collective::{Contribution, Kind, Members, Operator, Side, execute};
use faasm_mpi_engine::datatype::{Fault, Predefined};
use faasm_mpi_engine::op::Op;

use crate::Bench;

const MEMBERS: usize = 64;
/// Where each member receives.
const RECEIVE: u64 = 512 * 1024;

pub(crate) fn run(bench: &mut Bench) {
    let memories = Memories::new(MEMBERS, 2 * RECEIVE as usize);
    for bytes in [8_u64, 8 * 1024, 64 * 1024] {
        let each = Contribution::new(Kind::Allreduce)
            .op(Operator::Predefined(Op::Sum))
            .send(Side::buffer(0, bytes as i64 / 8, Predefined::Double))
            .recv(Side::buffer(RECEIVE, bytes as i64 / 8, Predefined::Double));
        measure(bench, &memories, &format!("allreduce of {bytes} B"), bytes, each);
    }
    for bytes in [8_u64, 1024] {
        let each = Contribution::new(Kind::Alltoall)
            .send(Side::buffer(0, bytes as i64, Predefined::Byte))
            .recv(Side::buffer(RECEIVE, bytes as i64, Predefined::Byte));
        let moved = bytes * MEMBERS as u64;
        measure(bench, &memories, &format!("alltoall of {bytes} B a pair"), moved, each);
    }
}

/// Measures an operation in which each of 64 members moves `bytes`.
fn measure(bench: &mut Bench, memories: &Memories, name: &str, bytes: u64, each: Contribution) {
    let contributions = vec![each; MEMBERS];
    bench.run(&format!("64 members: {name}"), bytes * MEMBERS as u64, || {
        execute(&contributions, memories).expect("a valid call");
    });
}

/// Memories of members, without a guest.
pub(crate) struct Memories(Vec<RefCell<Vec<u8>>>);

impl Memories {
    pub(crate) fn new(members: usize, bytes: usize) -> Self {
        Self((0..members).map(|_| RefCell::new(vec![1; bytes])).collect())
    }
}

fn range(memory: &[u8], addr: u64, len: u64) -> Result<std::ops::Range<usize>, Fault> {
    let end = addr.checked_add(len).filter(|end| *end <= memory.len() as u64);
    end.map(|end| addr as usize..end as usize).ok_or(Fault { addr, len })
}

impl Members for Memories {
    fn read(&self, member: usize, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        let memory = self.0[member].borrow();
        out.copy_from_slice(&memory[range(&memory, addr, out.len() as u64)?]);
        Ok(())
    }

    fn write(&self, member: usize, addr: u64, data: &[u8]) -> Result<(), Fault> {
        let mut memory = self.0[member].borrow_mut();
        let range = range(&memory, addr, data.len() as u64)?;
        memory[range].copy_from_slice(data);
        Ok(())
    }

    fn copy(&self, from: (usize, u64), to: (usize, u64), len: u64) -> Result<(), Fault> {
        if from.0 == to.0 {
            let mut memory = self.0[from.0].borrow_mut();
            range(&memory, to.1, len)?;
            let source = range(&memory, from.1, len)?;
            memory.copy_within(source, to.1 as usize);
            return Ok(());
        }
        let source = self.0[from.0].borrow();
        self.write(to.0, to.1, &source[range(&source, from.1, len)?])
    }
}
