//! What a rank does when it hears of failures and decisions.

use faasm_mpi_engine::fault::Decision;
use faasm_mpi_engine::group::Group;

use super::*;
use crate::progress::pull::tests::{Port, arrive, rank_among};

fn failed(mpi: &mut MpiCtx<Port>, rank: u32, is_lost: bool) {
    let (kind, tag) = (Kind::Failed, i32::from(is_lost));
    let header = Header { kind, context: 0, source: 0, tag, sender: rank, request: 0 };
    mpi.port.world().keep_failure(rank);
    arrive(mpi, header, Payload::copied(&[]));
}

#[test]
fn those_that_are_left_of_a_communicator_share_memory_as_before() {
    let mut mpi = rank_among(&[0, 0, 0]);
    let (group, site) = (Group::world(3), mpi.port.world().new_site([0, 1, 2].into_iter()));
    let node = Communicator::new(9, group, 0, site, abi::MPI_ERRORS_RETURN);
    let node = mpi.comms.insert(Communicator { shares: true, ..node }).expect("room");
    let request = mpi.propose(node, 0, Agreed::Communicator(64)).expect("contexts are left");
    failed(&mut mpi, 1, false);
    let decision = Decision { flags: [0; 2], context: 30, is_news: true, failed: vec![1] };
    let decided =
        Header { kind: Kind::Decided, context: 9, source: 0, tag: 0, sender: 0, request: 1 };
    arrive(&mut mpi, decided, Payload::copied(&decision.to_bytes()));
    assert!(mpi.requests.get(request).is_some_and(Request::is_done));
    let new = mpi.comms.iter().find(|(_, comm)| comm.context == 30).expect("it is made").1;
    assert!(new.shares && new.group.iter().eq([0, 2]));
    assert_eq!(mpi.port.world().bonds(), [[0, 2]], "they stay together");
}

#[test]
fn what_had_failed_on_a_node_is_lost_with_it() {
    let mut mpi = rank_among(&[0, 1, 1, 1]);
    failed(&mut mpi, 1, false);
    let reaches = |mpi: &MpiCtx<Port>, rank| mpi.check_reach(rank).is_ok();
    assert!(reaches(&mpi, 1) && mpi.check_node(1).is_ok() && mpi.check_process(1).is_err());
    failed(&mut mpi, 2, true);
    assert!(!reaches(&mpi, 1) && !reaches(&mpi, 2) && mpi.check_node(1).is_err());
    // Of this one the rank hears last, although it failed first.
    failed(&mut mpi, 3, false);
    assert!(!reaches(&mpi, 3) && mpi.check_node(0).is_ok());
}

#[test]
fn who_never_gets_a_communicator_revokes_it_at_those_who_may_have_it() {
    let mut mpi = rank_among(&[0, 0, 0, 1]);
    failed(&mut mpi, 2, false);
    mpi.revoke_unborn(40, &Group::world(4));
    let told = |(to, header, _): &(u32, Header, Payload)| {
        (header.kind == Kind::Revoked && header.context == 40).then_some(*to)
    };
    let told: Vec<u32> = mpi.port.sent.iter().filter_map(told).collect();
    assert_eq!(told, [1, 3], "neither itself nor the one that has failed");
    assert!(mpi.faults.known.is_revoked(40));
}
