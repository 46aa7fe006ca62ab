//! Equal boxes of a grid, where nodes have equal numbers of ranks and the extents can be divided.
//!
//! Costs a step for each way to write the number of nodes as a product of divisors of the extents,
//! and one for each rank.

/// The node of each rank of a grid in equal boxes with the smallest faces; none if nodes are not
/// equal or no box fits.
pub(super) fn divide(dims: &[u32], counts: &[u32]) -> Option<Vec<u32>> {
    if counts.windows(2).any(|pair| pair[0] != pair[1]) {
        return None;
    }
    let mut search = Search { dims, best: None };
    search.dimension(&mut Vec::new(), u32::try_from(counts.len()).ok()?, 0.0);
    let (_, parts) = search.best?;
    let ranks: u32 = dims.iter().product();
    Some((0..ranks).map(|rank| node(rank, dims, &parts)).collect())
}

struct Search<'a> {
    dims: &'a [u32],
    /// The smallest faces found, and the parts in each dimension.
    best: Option<(f64, Vec<u32>)>,
}

impl Search<'_> {
    /// Tries all numbers of parts for the next dimension; `left` parts remain to be made. The faces
    /// of a cut are counted in units of the number of ranks: `parts / extent`.
    fn dimension(&mut self, parts: &mut Vec<u32>, left: u32, faces: f64) {
        let Some(extent) = self.dims.get(parts.len()) else {
            if left == 1 && self.best.as_ref().is_none_or(|(best, _)| faces < *best) {
                self.best = Some((faces, parts.clone()));
            }
            return;
        };
        let fits = |part: &u32| left.is_multiple_of(*part) && extent.is_multiple_of(*part);
        for part in (1..=left.min(*extent)).filter(fits) {
            let more = f64::from(part - 1) / f64::from(*extent);
            parts.push(part);
            self.dimension(parts, left / part, faces + more);
            parts.pop();
        }
    }
}

/// The box in which a rank is.
fn node(rank: u32, dims: &[u32], parts: &[u32]) -> u32 {
    let (mut stride, mut node, mut nodes) = (1, 0, 1);
    for (extent, parts) in dims.iter().zip(parts).rev() {
        let place = rank / stride % extent;
        node += place / (extent / parts) * nodes;
        nodes *= parts;
        stride *= extent;
    }
    node
}
