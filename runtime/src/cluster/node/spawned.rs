//! What a node tells of processes that are spawned on it, and what it learns of those that come from other nodes.

use std::collections::HashSet;
use std::sync::Arc;

use faasm_transport::NodeId;

use super::fetch::Programs;
use super::midwife::Heard;
use crate::checkpoint::{Birth, Births};
use crate::cluster::message::ToCoordinator;
use crate::cluster::offer::{Newborn, Offer};
use crate::job::JobShared;
use crate::launch::Cradle;

/// Processes that one message tells of.
const BORN_MAX: usize = 256;

/// Tells the coordinator of all processes of job `number` that are spawned here, and sends it their programs, each once.
pub(super) fn announce(births: &Births, heard: Arc<Heard>, number: u32) {
    births.set_herald(move |births, born| {
        let newborn = |(rank, birth): &(u32, Arc<Birth>)| {
            let program = Offer { hash: birth.hash, bytes: birth.bytes };
            // All of it can be encoded.
            let encoded = postcard::to_stdvec(&**birth).unwrap_or_default();
            Newborn { rank: *rank, program, birth: encoded }
        };
        let born: Vec<Newborn> = born.iter().map(newborn).collect();
        let programs: HashSet<[u8; 32]> = born.iter().map(|newborn| newborn.program.hash).collect();
        for some in born.chunks(BORN_MAX) {
            let born = some.to_vec();
            heard.outbox().send(NodeId::COORDINATOR, &ToCoordinator::Born { job: number, born });
        }
        for hash in programs {
            if let Some(bytes) = births.program(&hash) {
                heard.send(hash, &bytes, || ());
            }
        }
    });
}

/// Gets ready for processes that come from other nodes: what they were spawned with, and their programs.
///
/// # Errors
/// They cannot be here, in words.
pub(super) fn expect(
    job: &JobShared,
    (cradle, programs): (&Cradle, &Programs),
    born: &[Newborn],
) -> Result<(), String> {
    for Newborn { rank, program, birth } in
        born.iter().filter(|one| !job.world().is_local(one.rank))
    {
        let birth: Birth = postcard::from_bytes(birth).map_err(|error| {
            format!("process {rank} was spawned in a way that cannot be: {error}")
        })?;
        job.world().take_family(&birth.family).map_err(|error| error.to_string())?;
        if !cradle.has(&program.hash) && job.births().program(&program.hash).is_none() {
            let bytes = programs.bytes(&birth.name, program.hash, program.bytes)?;
            job.births().keep_program(program.hash, bytes);
        }
        job.births().add(*rank, Arc::new(birth));
    }
    Ok(())
}
