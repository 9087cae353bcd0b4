//! How values are distributed over cards, and which of them stand out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats;

/// The distribution of values, one a card.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The lowest.
    pub lowest: f64,
    /// 5th percentile.
    pub p5: f64,
    /// 25th percentile.
    pub p25: f64,
    /// Median.
    pub median: f64,
    /// 75th percentile.
    pub p75: f64,
    /// 95th percentile.
    pub p95: f64,
    /// The highest.
    pub highest: f64,
}

impl Spread {
    /// That of `values`; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        let at = |q| stats::quantile(values, q);
        Some(Self {
            lowest: at(0.0)?,
            p5: at(0.05)?,
            p25: at(0.25)?,
            median: at(0.5)?,
            p75: at(0.75)?,
            p95: at(0.95)?,
            highest: at(1.0)?,
        })
    }
}

/// Fewer cards than this do not show which of them is the odd one.
const FEWEST_CARDS: usize = 3;
/// Identical cards differ by this much: less is no outlier, however alike the others.
const USUAL_PERCENT: f64 = 5.0;
/// So many robust standard deviations from the median is an outlier (Iglewicz and
/// Hoaglin, How to Detect and Handle Outliers, 1993).
const DEVIATIONS: f64 = 3.5;
/// Standard deviation of a normal distribution over its median absolute deviation,
/// 1 / Φ⁻¹(3/4).
const PER_MAD: f64 = 1.4826;

/// What stands out among speeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlying {
    /// How far from the median a speed may be, in percent of it.
    pub limit_percent: f64,
    /// Place and deviation of each that is farther, in percent of the median.
    pub found: Vec<(usize, f64)>,
}

/// The speeds that are farther from their median than both 5 % of it and 3.5 robust
/// standard deviations. `None` for fewer than three.
pub fn outlying(speeds: &[f64]) -> Option<Outlying> {
    if speeds.len() < FEWEST_CARDS {
        return None;
    }
    let median = stats::median(speeds)?;
    let percent = |speed: &f64| 100.0 * (speed - median) / median;
    let deviations: Vec<f64> = speeds.iter().map(percent).collect();
    let sizes: Vec<f64> = deviations.iter().map(|d| d.abs()).collect();
    let limit_percent = (DEVIATIONS * PER_MAD * stats::median(&sizes)?).max(USUAL_PERCENT);
    let found = deviations.into_iter().enumerate();
    Some(Outlying {
        found: found.filter(|(_, d)| d.abs() > limit_percent).collect(),
        limit_percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy.percentile([1, 2, 3, 4, 10], …): positions 0.2, 1, 2, 3, 3.8.
    #[test]
    fn percentiles_are_over_cards() {
        let spread = Spread::of(&[10.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!((spread.lowest, spread.highest), (1.0, 10.0));
        assert_eq!((spread.p25, spread.median, spread.p75), (2.0, 3.0, 4.0));
        assert!((spread.p5 - 1.2).abs() < 1e-12 && (spread.p95 - 8.8).abs() < 1e-12);
        assert_eq!(Spread::of(&[]), None);
    }

    /// Median 100, deviations 1 0 0 1 20: their median is 1, and 3.5 · 1.4826 · 1 =
    /// 5.19 %.
    #[test]
    fn one_slow_card_among_alike_ones_stands_out() {
        let outlying = outlying(&[101.0, 100.0, 100.0, 99.0, 80.0]).unwrap();
        assert!((outlying.limit_percent - 5.1891).abs() < 1e-12);
        assert_eq!(outlying.found, [(4, -20.0)]);
    }

    /// Median 100, deviations 20 10 0 10 20 % are usual here: the limit is 51.9 %.
    #[test]
    fn cards_that_all_differ_hide_none() {
        let outlying = outlying(&[80.0, 90.0, 100.0, 110.0, 120.0]).unwrap();
        assert!((outlying.limit_percent - 51.891).abs() < 1e-9);
        assert_eq!(outlying.found, []);
    }

    #[test]
    fn small_differences_and_few_cards_are_no_outliers() {
        let alike = outlying(&[100.0, 100.0, 100.0, 95.5]).unwrap();
        assert_eq!((alike.limit_percent, alike.found.len()), (5.0, 0));
        assert_eq!(outlying(&[100.0, 50.0]), None);
    }
}
