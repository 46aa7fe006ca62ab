//! Packing and unpacking what lies scattered in a rank's memory.

use faasm_mpi_engine::datatype::{Datatype, Predefined, pack, unpack};

use crate::Bench;
use crate::collective::Memories;
use faasm_mpi_engine::collective::MemberMemory;

/// Bytes of data that each operation moves.
const BYTES: u64 = 64 * 1024;

pub(crate) fn run(bench: &mut Bench) {
    let memories = Memories::new(1, 16 * BYTES as usize);
    let memory = MemberMemory { members: &memories, member: 0 };
    let double = Datatype::Predefined(Predefined::Double);
    let doubles = BYTES as i64 / 8;
    let shapes = [
        ("contiguous", Datatype::contiguous(doubles, &double)),
        ("every second double", Datatype::vector(doubles, 1, 2, &double)),
        ("columns of 8 of 64", Datatype::vector(doubles / 8, 8, 64, &double)),
    ];
    for (name, datatype) in shapes {
        let datatype = datatype.expect("a valid datatype");
        let mut packed = Vec::new();
        bench.run(&format!("datatype: pack 64 KiB, {name}"), BYTES, || {
            packed.clear();
            pack(&memory, 0, 1, &datatype, &mut packed).expect("it lies inside the memory");
        });
        bench.run(&format!("datatype: unpack 64 KiB, {name}"), BYTES, || {
            unpack(&memory, 0, 1, &datatype, &packed).expect("it lies inside the memory")
        });
    }
}
