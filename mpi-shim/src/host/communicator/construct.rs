//! What the last member of a collective constructor computes: who is in which new communicator.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};
use faasm_mpi_engine::group::Group;

use crate::abi;
use crate::communicator::Communicator;
use crate::ctx::MpiCtx;
use crate::host::error;
use crate::port::MpiPort;
use crate::site::Site;
use crate::world::World;

/// One member's part of a new communicator.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) context: u32,
    pub(crate) group: Group,
    pub(crate) rank: u32,
    pub(crate) site: Arc<Site>,
}

/// Colour and key of `MPI_Comm_split`; no colour is `MPI_UNDEFINED`.
pub(crate) type Color = (Option<i32>, i32);

/// Makes the communicators of one call.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    world: &'a World,
    contexts: Contexts,
}

/// Where the contexts come from.
#[derive(Debug)]
enum Contexts {
    /// This node makes the communicators alone.
    Fresh,
    /// None are given yet: the nodes that will give them, in the order of the communicators.
    Counted(Vec<u32>),
    /// Those that all nodes have agreed on, the last one first.
    Agreed(Vec<u32>),
}

impl<'a> Maker<'a> {
    /// Makes communicators whose members all run on this node.
    pub(crate) const fn fresh(world: &'a World) -> Self {
        Self { world, contexts: Contexts::Fresh }
    }

    /// Only finds out which communicators are made; their contexts are not valid.
    pub(crate) const fn counting(world: &'a World) -> Self {
        Self { world, contexts: Contexts::Counted(Vec::new()) }
    }

    /// Makes communicators with these contexts.
    pub(crate) fn agreed(world: &'a World, mut contexts: Vec<u32>) -> Self {
        contexts.reverse();
        Self { world, contexts: Contexts::Agreed(contexts) }
    }

    /// For each communicator that was counted, the node that gives it a context: that of its first
    /// member.
    pub(crate) fn into_owners(self) -> Vec<u32> {
        match self.contexts {
            Contexts::Counted(owners) => owners,
            Contexts::Fresh | Contexts::Agreed(_) => Vec::new(),
        }
    }

    /// A new communicator of `group`, seen by its rank 0.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when no context is left.
    pub(crate) fn make(&mut self, group: Group) -> Result<Made> {
        let context = match &mut self.contexts {
            Contexts::Fresh => self.world.new_context()?,
            Contexts::Counted(owners) => {
                let first = group.world_rank(0).map(|rank| self.world.node(rank));
                owners.push(first.unwrap_or(0));
                owners.len() as u32
            }
            Contexts::Agreed(contexts) => contexts.pop().ok_or_else(|| {
                let detail = "more communicators are made than the nodes have agreed on";
                MpiError::new(ErrorClass::Intern, detail)
            })?,
        };
        let site = self.world.new_site(group.iter());
        Ok(Made { context, group, rank: 0, site })
    }
}

impl Made {
    /// The same communicator as the member with `rank` sees it.
    pub(crate) fn at(&self, rank: u32) -> Self {
        Self { rank, ..self.clone() }
    }

    /// This member's communicator, which inherits what every constructor passes on.
    pub(crate) fn communicator<P: MpiPort>(
        self,
        mpi: &mut MpiCtx<P>,
        parent: i32,
    ) -> Result<Communicator> {
        let parent = mpi.comm(parent)?;
        let (errhandler, session) = (parent.errhandler, parent.session);
        let shares = parent.shares && parent.between.is_none();
        let new = Communicator::new(self.context, self.group, self.rank, self.site, errhandler);
        Ok(Communicator { session, shares, ..new })
    }
}

impl Made {
    /// This process's intercommunicator, whose low group has so many members; `rank` is its number
    /// in the row of both groups.
    pub(crate) fn intercommunicator<P: MpiPort>(
        self,
        mpi: &mut MpiCtx<P>,
        parent: i32,
        low: u32,
    ) -> Result<Communicator> {
        let parent = mpi.comm(parent)?;
        let (errhandler, session) = (parent.errhandler, parent.session);
        let groups = (self.group, low);
        let new = Communicator::between(self.context, groups, self.rank, self.site, errhandler)?;
        Ok(Communicator { session, ..new })
    }
}

/// Communicators of a rank that may be alive at a time, besides the predefined ones. Worst case: the site of each
/// takes 300 bytes a member.
const COMMUNICATORS_MAX: usize = 1 << 15;

/// Refuses one communicator more than a rank may have.
///
/// # Errors
/// `MPI_ERR_OTHER`, which a member brings to the others, so that the constructor fails everywhere.
pub(crate) fn check_room<P: MpiPort>(mpi: &MpiCtx<P>) -> Result<()> {
    if mpi.comms.len() < COMMUNICATORS_MAX {
        return Ok(());
    }
    let detail =
        format!("{COMMUNICATORS_MAX} communicators are alive, which are the most; free some");
    Err(MpiError::new(ErrorClass::Other, detail))
}

/// Enters a new communicator of the program into the rank's table.
pub(crate) fn install<P: MpiPort>(mpi: &mut MpiCtx<P>, new: Communicator) -> Result<i32> {
    let (context, rank, size) = (new.context, new.rank, new.size());
    let handle = add(mpi, new)?;
    mpi.note_communicator(context, rank, size);
    Ok(handle)
}

/// The same for one that the program does not know, and makes nothing from.
pub(crate) fn install_unseen<P: MpiPort>(mpi: &mut MpiCtx<P>, new: Communicator) -> Result<i32> {
    add(mpi, Communicator { shares: false, ..new })
}

fn add<P: MpiPort>(mpi: &mut MpiCtx<P>, new: Communicator) -> Result<i32> {
    check_room(mpi)?;
    new.bind(mpi.port.world());
    let errhandler = new.errhandler;
    let handle = mpi.comms.insert(new).ok_or_else(|| {
        MpiError::new(ErrorClass::NoMem, "a million communicators are alive; free some")
    })?;
    error::attach(mpi, errhandler);
    Ok(handle)
}

/// `MPI_Comm_dup`: everybody in the same order.
pub(crate) fn duplicate(maker: &mut Maker<'_>, parent: &Group) -> Result<Vec<Made>> {
    let made = maker.make(parent.clone())?;
    Ok((0..parent.len() as u32).map(|rank| made.at(rank)).collect())
}

/// `MPI_Comm_split`: one communicator for each colour, in the order of the keys and then ranks.
///
/// Cost: a sort of the members.
pub(crate) fn split(
    maker: &mut Maker<'_>,
    parent: &Group,
    colors: &[Color],
) -> Result<Vec<Option<Made>>> {
    let mut members: BTreeMap<i32, Vec<(i32, usize)>> = BTreeMap::new();
    for (rank, (color, key)) in colors.iter().enumerate() {
        if let Some(color) = color {
            members.entry(*color).or_default().push((*key, rank));
        }
    }
    let mut outputs = vec![None; colors.len()];
    for chosen in members.values_mut() {
        chosen.sort_unstable();
        let ranks = chosen.iter().filter_map(|(_, rank)| parent.world_rank(*rank)).collect();
        let group = Group::new(ranks).expect("each member has one colour");
        let made = maker.make(group)?;
        for (new_rank, (_, rank)) in (0..).zip(chosen.iter()) {
            outputs[*rank] = Some(made.at(new_rank));
        }
    }
    Ok(outputs)
}

/// `MPI_Comm_create`: one communicator for each of the disjoint groups that members gave.
///
/// # Errors
/// `MPI_ERR_NOT_SAME` when members of a group did not all give that group.
pub(crate) fn create(
    maker: &mut Maker<'_>,
    parent: &Group,
    groups: &[Group],
) -> Result<Vec<Option<Made>>> {
    let mut made: BTreeMap<u32, Made> = BTreeMap::new();
    let mut outputs = vec![None; groups.len()];
    for (member, group) in groups.iter().enumerate() {
        let own = parent.world_rank(member).and_then(|world_rank| group.rank_of(world_rank));
        let (Some(rank), Some(first)) = (own, group.world_rank(0)) else { continue };
        let new = match made.entry(first) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(maker.make(group.clone())?),
        };
        if new.group != *group {
            let detail = format!("rank {member} gave another group than the rest of its group");
            return Err(MpiError::argument(ErrorClass::NotSame, "group", detail));
        }
        outputs[member] = Some(new.at(rank as u32));
    }
    for new in made.values() {
        let is_elsewhere = |rank: &u32| {
            let output = parent.rank_of(*rank).and_then(|member| outputs[member].as_ref());
            output.is_none_or(|output| output.context != new.context)
        };
        if let Some(rank) = new.group.iter().find(is_elsewhere) {
            let detail = format!(
                "world rank {rank} is in a group that others gave, but gave another one itself"
            );
            return Err(MpiError::argument(ErrorClass::NotSame, "group", detail));
        }
    }
    Ok(outputs)
}

/// Checks the colour of a split.
pub(crate) fn color(color: i32, key: i32) -> Result<Color> {
    match color {
        abi::MPI_UNDEFINED => Ok((None, key)),
        0.. => Ok((Some(color), key)),
        _ => {
            let detail = format!("{color} is neither MPI_UNDEFINED nor 0 or more");
            Err(MpiError::argument(ErrorClass::Arg, "color", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Placement;

    fn worlds(size: usize) -> (Arc<World>, Group) {
        (World::new(vec![0; size], vec![0; size], Placement::one_node(size)), Group::world(size))
    }

    fn listed(made: &Option<Made>) -> Option<(Vec<u32>, u32)> {
        made.as_ref().map(|made| (made.group.iter().collect(), made.rank))
    }

    #[test]
    fn a_split_orders_by_key_and_then_by_rank() {
        let (world, parent) = worlds(5);
        let colors = [(Some(1), 9), (Some(0), 0), (Some(1), -3), (None, 0), (Some(1), 9)];
        let made = split(&mut Maker::fresh(&world), &parent, &colors).expect("contexts are left");
        let expected = vec![2, 0, 4];
        assert_eq!(listed(&made[0]), Some((expected.clone(), 1)));
        assert_eq!(listed(&made[1]), Some((vec![1], 0)));
        assert_eq!(listed(&made[2]), Some((expected.clone(), 0)));
        assert_eq!(listed(&made[3]), None);
        assert_eq!(listed(&made[4]), Some((expected, 2)));
        let contexts: Vec<_> = made.iter().flatten().map(|made| made.context).collect();
        assert!(contexts[0] == contexts[2] && contexts[0] != contexts[1]);
    }

    #[test]
    fn disjoint_groups_are_made_at_once_and_contradictions_found() {
        let (world, parent) = worlds(4);
        let group = |ranks: &[u32]| Group::new(ranks.to_vec()).expect("distinct ranks");
        let (a, b, none) = (group(&[2, 0]), group(&[1]), Group::empty());
        let mut maker = Maker::fresh(&world);
        let made = create(&mut maker, &parent, &[a.clone(), b.clone(), a.clone(), none.clone()]);
        let made = made.expect("consistent");
        assert_eq!(listed(&made[0]), Some((vec![2, 0], 1)));
        assert_eq!(listed(&made[1]), Some((vec![1], 0)));
        assert_eq!(listed(&made[3]), None);
        let class = |groups: &[Group]| {
            create(&mut Maker::fresh(&world), &parent, groups).err().map(|error| error.class)
        };
        let reversed = group(&[0, 2]);
        let different = Some(ErrorClass::NotSame);
        assert_eq!(class(&[a.clone(), b.clone(), group(&[2, 1]), none.clone()]), different);
        assert_eq!(class(&[a.clone(), b, none.clone(), none.clone()]), different);
        assert_eq!(class(&[a, none.clone(), reversed, none]), different);
    }
}
