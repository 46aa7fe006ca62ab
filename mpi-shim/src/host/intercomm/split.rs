//! Which new intercommunicators the members of one make.

use std::collections::BTreeMap;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use crate::communicator::Between;
use crate::host::communicator::{Color, Made, Maker};

/// A process's new communicator and the size of its low group.
pub(crate) type MadeBetween = Option<(Made, u32)>;

/// `MPI_Comm_split`: for each colour that both groups have an intercommunicator, each group ordered by
/// key and then rank.
pub(crate) fn split(
    maker: &mut Maker<'_>,
    between: &Between,
    colors: &[Color],
) -> Result<Vec<MadeBetween>> {
    let mut members: BTreeMap<i32, Vec<(bool, i32, usize)>> = BTreeMap::new();
    for (number, (color, key)) in colors.iter().enumerate() {
        if let Some(color) = color {
            let is_high = number >= between.position.low as usize;
            members.entry(*color).or_default().push((is_high, *key, number));
        }
    }
    let mut outputs = vec![None; colors.len()];
    for chosen in members.values_mut() {
        chosen.sort_unstable();
        let numbers: Vec<usize> = chosen.iter().map(|(_, _, number)| *number).collect();
        let low = chosen.iter().filter(|(is_high, ..)| !is_high).count();
        make(maker, between, (&numbers, low), &mut outputs)?;
    }
    Ok(outputs)
}

/// `MPI_Comm_create`: an intercommunicator of the group that the members of each group gave.
///
/// # Errors
/// `MPI_ERR_NOT_SAME` when members of a group gave different groups.
pub(crate) fn create(
    maker: &mut Maker<'_>,
    between: &Between,
    groups: &[Group],
) -> Result<Vec<MadeBetween>> {
    let low = between.position.low as usize;
    let (first, second) = groups.split_at(low.min(groups.len()));
    let mut numbers = Vec::new();
    let mut counts = [0; 2];
    for (part, count) in [first, second].into_iter().zip(&mut counts) {
        let Some(given) = part.first() else { continue };
        if let Some(rank) = part.iter().position(|group| group != given) {
            let detail = format!("rank {rank} of a group gave another one than rank 0");
            return Err(MpiError::argument(ErrorClass::NotSame, "group", detail));
        }
        let found: Vec<usize> = given.iter().filter_map(|at| between.all.rank_of(at)).collect();
        *count = found.len();
        numbers.extend(found);
    }
    let mut outputs = vec![None; groups.len()];
    make(maker, between, (&numbers, counts[0]), &mut outputs)?;
    Ok(outputs)
}

/// Makes one of the processes with these numbers, unless one of its groups is empty.
fn make(
    maker: &mut Maker<'_>,
    between: &Between,
    (numbers, low): (&[usize], usize),
    outputs: &mut [MadeBetween],
) -> Result<()> {
    if low == 0 || low == numbers.len() {
        return Ok(());
    }
    let ranks = numbers.iter().filter_map(|number| between.all.world_rank(*number)).collect();
    let made = maker.make(Group::new(ranks)?)?;
    for (new, number) in (0..).zip(numbers) {
        outputs[*number] = Some((made.at(new), low as u32));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use faasm_mpi_engine::collective::intercomm::Position;

    use super::*;
    use crate::world::{Placement, World};

    fn between(low: u32, size: u32) -> Between {
        let remote = Group::empty();
        let all = Group::world(size as usize);
        Between { remote, all, position: Position { low, size, number: 0 } }
    }

    fn listed(made: &MadeBetween) -> Option<(Vec<u32>, u32, u32)> {
        made.as_ref().map(|(made, low)| (made.group.iter().collect(), made.rank, *low))
    }

    #[test]
    fn a_colour_of_one_group_only_makes_nothing() {
        let world = World::new(vec![0; 5], vec![0; 5], Placement::one_node(5));
        let colors = [(Some(1), 5), (Some(1), 2), (Some(2), 0), (Some(1), 0), (None, 0)];
        let between = between(3, 5);
        let made = split(&mut Maker::fresh(&world), &between, &colors).expect("contexts");
        assert_eq!(listed(&made[0]), Some((vec![1, 0, 3], 1, 2)));
        assert_eq!(listed(&made[3]), Some((vec![1, 0, 3], 2, 2)));
        assert_eq!((listed(&made[2]), listed(&made[4])), (None, None));
    }

    #[test]
    fn each_group_gives_its_own_part() {
        let world = World::new(vec![0; 4], vec![0; 4], Placement::one_node(4));
        let group = |ranks: &[u32]| Group::new(ranks.to_vec()).expect("distinct");
        let (a, b) = (group(&[1]), group(&[3, 2]));
        let given = [a.clone(), a.clone(), b.clone(), b.clone()];
        let between = between(2, 4);
        let made = create(&mut Maker::fresh(&world), &between, &given).expect("contexts");
        assert_eq!(listed(&made[1]), Some((vec![1, 3, 2], 0, 1)));
        assert_eq!(listed(&made[2]), Some((vec![1, 3, 2], 2, 1)));
        assert_eq!(listed(&made[0]), None);
        let mixed = [a, Group::empty(), b.clone(), b];
        let error = create(&mut Maker::fresh(&world), &between, &mixed).err();
        assert_eq!(error.map(|error| error.class), Some(ErrorClass::NotSame));
    }
}
