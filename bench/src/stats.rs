//! Medians, spreads and ratios of paired runs.
//!
//! Runs alternate (A B C A B C ...), so the values of one round were taken under the same conditions. A ratio is
//! therefore formed round by round and its median reported, which a slow drift of the machine cannot bend.

use serde::Serialize;

/// Median and range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle value, or the mean of the middle two.
    pub(crate) median: f64,
    /// The smallest value.
    pub(crate) min: f64,
    /// The largest value.
    pub(crate) max: f64,
    /// How many values there were.
    pub(crate) count: usize,
}

impl Summary {
    /// Summarises `values`; `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { median, min, max, count: sorted.len() })
    }
}

/// Summarises `top[i] / bottom[i]` over the rounds in which both have a value.
pub(crate) fn paired_ratio(top: &[Option<f64>], bottom: &[Option<f64>]) -> Option<Summary> {
    Summary::of(top.iter().zip(bottom).filter_map(|pair| match pair {
        (Some(top), Some(bottom)) if *bottom > 0.0 => Some(top / bottom),
        _ => None,
    }))
}

/// The geometric mean of positive values; `None` if there are none or one is not positive.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| *value <= 0.0) {
        return None;
    }
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    Some((logs / count_as_f64(values.len())).exp())
}

fn count_as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        let odd = Summary::of([3.0, 1.0, 2.0]).expect("three values");
        assert_eq!((odd.median, odd.min, odd.max, odd.count), (2.0, 1.0, 3.0, 3));
        assert_eq!(Summary::of([4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn ratio_pairs_values_of_the_same_round() {
        let native = [Some(100.0), None, Some(300.0), Some(90.0)];
        let ours = [Some(1.0), Some(1.0), Some(2.0), None];
        let ratio = paired_ratio(&native, &ours).expect("two complete rounds");
        assert_eq!((ratio.median, ratio.min, ratio.max, ratio.count), (125.0, 100.0, 150.0, 2));
    }

    #[test]
    fn ratio_ignores_a_divisor_of_zero() {
        assert_eq!(paired_ratio(&[Some(1.0)], &[Some(0.0)]), None);
    }

    #[test]
    fn geometric_mean_of_reciprocals_is_one() {
        let mean = geometric_mean(&[0.5, 2.0]).expect("positive values");
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
    }
}
