//! How values are distributed over cards.

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
}
