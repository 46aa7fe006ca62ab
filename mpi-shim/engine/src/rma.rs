//! Locks of a window (MPI-5.0 section 12.5.3): who holds what, and who comes next. And where members'
//! segments of shared memory lie (section 12.2.3).
//!
//! What must always hold: an exclusive lock of a target excludes every other lock of it, and a lock of
//! all targets is a shared one of each. Who waits is served in the order of arrival as far as requests
//! exclude each other; an origin that holds a lock already overtakes those who wait, because they may
//! be waiting for it.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

/// Where the members' segments lie in memory that they share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    offsets: Vec<u32>,
    bytes: u32,
}

impl Layout {
    /// Segments of these sizes in the order of the ranks, each beginning at a multiple of `alignment`;
    /// `None` when they do not fit a memory of 32-bit addresses.
    pub fn new(sizes: impl Iterator<Item = u32>, alignment: u32) -> Option<Self> {
        let mut end = 0_u32;
        let place = |size: u32| {
            let offset = end.checked_next_multiple_of(alignment)?;
            end = offset.checked_add(size)?;
            Some(offset)
        };
        let offsets = sizes.map(place).collect::<Option<Vec<u32>>>()?;
        Some(Self { offsets, bytes: end })
    }

    /// Where the segment of `rank` begins.
    pub fn offset(&self, rank: u32) -> u32 {
        self.offsets[rank as usize]
    }

    /// Bytes from the first segment's begin to the last one's end.
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// How a target is locked.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum LockKind {
    /// Others may lock it so as well.
    Shared,
    /// Nobody else has a lock of it.
    Exclusive,
}

/// What an origin wants to lock.
#[derive(Copy, Clone, Debug, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Wanted {
    /// One target.
    One(u32, LockKind),
    /// Every target, shared.
    All,
}

impl Wanted {
    const fn excludes(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => false,
            (Self::All, Self::One(_, kind)) | (Self::One(_, kind), Self::All) => {
                matches!(kind, LockKind::Exclusive)
            }
            (Self::One(left, kind), Self::One(right, other)) => {
                let is_shared = matches!((kind, other), (LockKind::Shared, LockKind::Shared));
                left == right && !is_shared
            }
        }
    }
}

/// Locks of one target.
#[derive(Clone, Debug, Default)]
struct Target {
    exclusive: bool,
    shared: u32,
}

/// The locks of all targets of a window.
#[derive(Clone, Debug)]
pub struct LockTable {
    targets: Vec<Target>,
    /// What each origin holds.
    held: Vec<Vec<Wanted>>,
    /// Origins that hold all targets.
    all: u32,
    /// Targets that are locked exclusively.
    exclusives: u32,
    waiting: VecDeque<(u32, Wanted)>,
}

impl LockTable {
    /// A window of `members`, all of them unlocked.
    pub fn new(members: usize) -> Self {
        Self {
            targets: vec![Target::default(); members],
            held: vec![Vec::new(); members],
            all: 0,
            exclusives: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Locks for `origin`, or lets it wait until [`LockTable::release`] names it.
    ///
    /// Cost: the number of those who wait.
    pub fn acquire(&mut self, origin: u32, wanted: Wanted) -> bool {
        let waiting = self.waiting.len();
        let is_free = self.may_have(origin, wanted, waiting);
        if is_free {
            self.grant(origin, wanted);
        } else {
            self.waiting.push_back((origin, wanted));
        }
        is_free
    }

    /// Who holds what.
    pub fn holders(&self) -> impl Iterator<Item = (u32, Wanted)> {
        let of = |(origin, held): (u32, &Vec<Wanted>)| {
            held.clone().into_iter().map(move |wanted| (origin, wanted))
        };
        (0..).zip(&self.held).flat_map(of)
    }

    /// Gives up what `origin` holds; the origins that have their locks now.
    ///
    /// Cost: the square of the number of those who wait.
    pub fn release(&mut self, origin: u32, held: Wanted) -> Vec<u32> {
        let own = &mut self.held[origin as usize];
        let Some(index) = own.iter().position(|known| *known == held) else { return Vec::new() };
        own.swap_remove(index);
        match held {
            Wanted::All => self.all -= 1,
            Wanted::One(target, LockKind::Shared) => self.targets[target as usize].shared -= 1,
            Wanted::One(target, LockKind::Exclusive) => {
                self.targets[target as usize].exclusive = false;
                self.exclusives -= 1;
            }
        }
        let mut granted = Vec::new();
        let mut index = 0;
        while let Some((origin, wanted)) = self.waiting.get(index).copied() {
            if self.may_have(origin, wanted, index) {
                self.waiting.remove(index);
                self.grant(origin, wanted);
                granted.push(origin);
            } else {
                index += 1;
            }
        }
        granted
    }

    /// Whether nothing that is held, nor one of the first `before` that wait, stands in the way.
    fn may_have(&self, origin: u32, wanted: Wanted, before: usize) -> bool {
        let fits = match wanted {
            Wanted::All => self.exclusives == 0,
            Wanted::One(target, kind) => {
                let target = &self.targets[target as usize];
                let is_alone = target.shared == 0 && self.all == 0;
                !target.exclusive && (kind == LockKind::Shared || is_alone)
            }
        };
        let mut earlier = self.waiting.iter().take(before);
        fits && (!self.held[origin as usize].is_empty()
            || !earlier.any(|(_, earlier)| earlier.excludes(wanted)))
    }

    fn grant(&mut self, origin: u32, wanted: Wanted) {
        self.held[origin as usize].push(wanted);
        match wanted {
            Wanted::All => self.all += 1,
            Wanted::One(target, LockKind::Shared) => self.targets[target as usize].shared += 1,
            Wanted::One(target, LockKind::Exclusive) => {
                self.targets[target as usize].exclusive = true;
                self.exclusives += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn shared(target: u32) -> Wanted {
        Wanted::One(target, LockKind::Shared)
    }

    const fn exclusive(target: u32) -> Wanted {
        Wanted::One(target, LockKind::Exclusive)
    }

    #[test]
    fn segments_follow_each_other_at_once_or_on_their_own_pages() {
        let layout = |sizes: &[u32], alignment| Layout::new(sizes.iter().copied(), alignment);
        let near = layout(&[10, 0, 7], 1).expect("they fit");
        assert_eq!(([0, 1, 2].map(|rank| near.offset(rank)), near.bytes()), ([0, 10, 10], 17));
        let apart = layout(&[10, 0, 7], 4096).expect("they fit");
        assert_eq!(
            ([0, 1, 2].map(|rank| apart.offset(rank)), apart.bytes()),
            ([0, 4096, 4096], 4103)
        );
        assert_eq!(layout(&[u32::MAX, 1], 1), None);
        assert_eq!(layout(&[u32::MAX, 0], 4096), None);
    }

    #[test]
    fn an_exclusive_lock_waits_for_shared_ones_and_holds_later_ones_up() {
        let mut table = LockTable::new(5);
        assert!(table.acquire(0, shared(2)) && table.acquire(1, shared(2)));
        assert!(!table.acquire(2, exclusive(2)));
        assert!(!table.acquire(3, shared(2)), "the exclusive one came first");
        assert!(table.acquire(4, exclusive(1)), "another target");
        assert_eq!(table.release(0, shared(2)), []);
        assert_eq!(table.release(1, shared(2)), [2]);
        assert_eq!(table.release(2, exclusive(2)), [3]);
    }

    #[test]
    fn a_lock_of_all_is_a_shared_one_of_each() {
        let mut table = LockTable::new(4);
        assert!(table.acquire(0, Wanted::All) && table.acquire(1, Wanted::All));
        assert!(table.acquire(2, shared(3)));
        assert!(!table.acquire(3, exclusive(0)));
        assert_eq!(table.release(0, Wanted::All), []);
        assert_eq!(table.release(1, Wanted::All), [3]);
        assert!(!table.acquire(0, Wanted::All));
        assert_eq!(table.release(3, exclusive(0)), [0]);
    }

    #[test]
    fn who_holds_a_lock_overtakes_those_who_wait_for_it() {
        let mut table = LockTable::new(3);
        assert!(table.acquire(0, exclusive(1)));
        assert!(!table.acquire(1, Wanted::All));
        assert!(table.acquire(0, exclusive(2)), "otherwise both would wait for ever");
        assert_eq!(table.release(0, exclusive(1)), []);
        assert_eq!(table.release(0, exclusive(2)), [1]);
    }

    /// Any order of calls: nobody holds what excludes another's lock, and in the end nobody waits.
    #[test]
    fn random_calls_keep_the_rules() {
        const MEMBERS: u32 = 5;
        let mut state = 0x1234_5678_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut table = LockTable::new(MEMBERS as usize);
        let mut wants = [const { None::<Wanted> }; MEMBERS as usize];
        let mut holds = [false; MEMBERS as usize];
        for step in 0..20_000 {
            let origin = random(MEMBERS) as usize;
            match wants[origin] {
                None if step < 19_000 => {
                    let wanted = match random(3) {
                        0 => Wanted::All,
                        1 => shared(random(MEMBERS)),
                        _ => exclusive(random(MEMBERS)),
                    };
                    wants[origin] = Some(wanted);
                    holds[origin] = table.acquire(origin as u32, wanted);
                }
                Some(held) if holds[origin] => {
                    (wants[origin], holds[origin]) = (None, false);
                    for granted in table.release(origin as u32, held) {
                        assert!(!holds[granted as usize], "it waited");
                        holds[granted as usize] = true;
                    }
                }
                _ => {}
            }
            let held: Vec<_> = (0..5).filter(|at| holds[*at]).filter_map(|at| wants[at]).collect();
            for (index, one) in held.iter().enumerate() {
                assert!(held[..index].iter().all(|other| !one.excludes(*other)), "{held:?}");
            }
        }
        assert!(holds.iter().all(|holds| !holds) && table.waiting.is_empty());
    }
}
