//! How many threads a region gets when teams are elastic.

/// The workers, as they are when a region begins.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// All workers.
    pub workers: u32,
    /// Those that run something of another program, or have something queued.
    pub taken: u32,
}

/// The size of a team that asks for `wanted` threads, while `busy` other threads of its program work.
///
/// The thread that begins the region always takes part. Of the others the team gets one for each worker
/// that nobody uses; what the program's own threads do in other regions counts as use. So two programs
/// share the workers instead of taking turns on them, and a region that begins when the other one
/// rests has all of them.
pub fn elastic_size(load: Load, wanted: i32, busy: i32) -> i32 {
    let busy = u32::try_from(busy).unwrap_or(0);
    let free = load.workers.saturating_sub(load.taken).saturating_sub(busy);
    let free = i32::try_from(free).unwrap_or(i32::MAX);
    wanted.min(free).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_gets_what_is_free_but_never_more_than_it_wants() {
        for (workers, taken, wanted, busy, size) in [
            (4, 0, 4, 0, 4),
            (4, 0, 2, 0, 2),
            (4, 3, 4, 0, 1),
            (4, 1, 16, 0, 3),
            (4, 0, 4, 3, 1),
            (8, 2, 8, 2, 4),
        ] {
            assert_eq!(elastic_size(Load { workers, taken }, wanted, busy), size);
        }
    }

    #[test]
    fn the_size_is_in_bounds_whatever_is_reported() {
        let edges = [i32::MIN, -1, 0, 1, 2, 3, 1_000, i32::MAX];
        let loads = [0, 1, 2, 64, u32::MAX];
        for workers in loads {
            for taken in loads {
                for (wanted, busy) in edges.iter().flat_map(|w| edges.iter().map(move |b| (*w, *b)))
                {
                    let size = elastic_size(Load { workers, taken }, wanted, busy);
                    assert!(size >= 1 && size <= wanted.max(1), "{size} of {wanted}");
                    let free = workers.saturating_sub(taken).max(1);
                    assert!(size.unsigned_abs() <= free, "{size} of {free} free workers");
                }
            }
        }
    }
}
