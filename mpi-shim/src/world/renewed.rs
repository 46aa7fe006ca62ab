//! The shared state of a job whose ranks are placed anew while it stands still.
//!
//! Nothing of what ranks met at comes along: each of them puts its state back as after a restart, and sites, windows
//! and files are made by the first member that comes. What is nobody's own does, as how many contexts were given.

use std::sync::Arc;

use super::{Placement, World};

/// Why ranks cannot be placed so now.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Immovable {
    /// The places are none of this job's.
    #[error("{places} places on nodes below {nodes} were named for {ranks} ranks on {known} nodes")]
    Places {
        /// Places that were named.
        places: usize,
        /// One more than the last node among them.
        nodes: u32,
        /// Ranks of the job, with those that were spawned.
        ranks: u32,
        /// Its nodes.
        known: u32,
    },
    /// There is more than can be carried.
    #[error("{0}")]
    Hindered(&'static str),
}

impl World {
    /// What the ranks of this job share where they are placed on `nodes`, if it stands still: `lanes` are the workers of those
    /// that are here then.
    ///
    /// # Errors
    /// They cannot be placed so, or not now.
    pub fn renewed(&self, nodes: Box<[u32]>, lanes: Vec<u32>) -> Result<Arc<Self>, Immovable> {
        let last = nodes.iter().max().map_or(0, |last| last + 1);
        // One that was spawned and is not named would be nowhere.
        if nodes.len() < self.processes() as usize || last > self.nodes {
            return Err(Immovable::Places {
                places: nodes.len(),
                nodes: last,
                ranks: self.processes(),
                known: self.nodes,
            });
        }
        if !self.failures().is_empty() {
            return Err(Immovable::Hindered("processes have failed"));
        }
        let placement = Placement { nodes, this_node: self.this_node() };
        let apps = self.app_numbers.to_vec();
        let new = Self::of_nodes(apps, lanes, placement, self.nodes);
        new.contexts.go_on_from(self.contexts.counter());
        new.families.set_earlier(self.families_to_keep());
        new.set_identity(self.identity());
        new.with_registry(|registry| *registry = self.with_registry(|own| own.clone()));
        if self.is_tolerant() {
            new.tolerate_failures();
        }
        if self.expects_shared_windows() {
            new.expect_shared_windows();
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> Arc<World> {
        let placement = Placement { nodes: [0, 0, 1].into(), this_node: 0 };
        World::new(vec![0; 3], vec![0; 3], placement)
    }

    #[test]
    fn contexts_go_on_where_ranks_are_placed_anew() {
        let old = world();
        let context = old.new_context().expect("one is left");
        let new = old.renewed([0, 0, 0].into(), vec![0; 3]).expect("they can be placed so");
        assert_eq!((new.nodes(), new.is_local(2), new.is_spread()), (2, true, true));
        assert!(new.new_context().is_ok_and(|next| next > context));
        assert!(new.world_site().elsewhere().is_none(), "all members are here");
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let old = world();
        assert!(matches!(old.renewed([0, 0].into(), vec![0; 2]), Err(Immovable::Places { .. })));
        assert!(matches!(old.renewed([0, 2, 0].into(), vec![0; 3]), Err(Immovable::Places { .. })));
    }
}
