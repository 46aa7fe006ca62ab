//! Reductions across the groups of an intercommunicator.

use super::*;
use crate::collective::intercomm::{Position, ROOT, SILENT, across};

fn calls(kind: Kind, low: u32, size: u32, count: i64, op: Operator) -> Vec<Contribution> {
    let call = |number: u32| {
        let at = Position { low, size, number };
        let local = i64::from(at.local().end - at.local().start);
        let role = match number {
            0 => ROOT,
            _ if at.is_low() => SILENT,
            _ => 0,
        };
        let recv = if kind == Kind::ReduceScatterBlock { count / local } else { count };
        let this = Contribution::new(kind).root(role).op(op);
        let this = this
            .send(Side::buffer(64 + 8 * u64::from(number), count, Predefined::Int))
            .recv(Side::buffer(16384, recv, Predefined::Int));
        across(this, at).expect("a correct call")
    };
    (0..size).map(call).collect()
}

#[test]
fn reductions_across_groups_give_the_result_of_one_node() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let low = 1 + random.below(4) as u32;
        let size = low + 1 + random.below(4) as u32;
        let places = placement(size as usize, 2 + random.below(4), &mut random);
        let kinds = [Kind::Reduce, Kind::Allreduce, Kind::ReduceScatterBlock];
        let kind = kinds[random.below(3)];
        let count = 12 * random.below(12) as i64;
        let op = match random.below(2) {
            0 => Operator::Predefined(Op::Sum),
            _ => operator(false),
        };
        let calls = calls(kind, low, size, count, op);
        let what = format!("seed {seed}: {kind:?} of {low} of {size}, {count}, on {places:?}");
        compare(&calls, &places, seed, &what);
    }
}

#[test]
fn operands_that_do_not_fit_together_fail_as_on_one_node() {
    let sum = Operator::Predefined(Op::Sum);
    let good = calls(Kind::Allreduce, 2, 4, 4, sum);
    for at in 0..4 {
        let sides = [
            Side::buffer(64, 5, Predefined::Int),
            Side::buffer(64, 4, Predefined::Float),
            Side::Absent,
            Side::buffer(1 << 40, 4, Predefined::Int),
        ];
        for side in sides {
            let mut bad = good.clone();
            bad[at].send = side;
            let expected = alone(&bad, &Memories::new(4, 1));
            let brought = bad.into_iter().map(Brought::Call).collect();
            fails_everywhere(&[1, 2, 1, 2], brought, expected.errors[0].1.class, "");
        }
    }
}
