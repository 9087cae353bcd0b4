//! How long and how carefully a case is measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats;
use crate::units::Seconds;

/// Effort of a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// A look: within 2 %, samples for 1 to 3 s a case.
    Quick,
    /// A figure to quote: within 1 %, samples for 5 to 15 s a case, in three lives of it,
    /// each on a fresh device.
    Standard,
    /// A figure to publish: within 0.5 %, samples for 30 to 60 s a case, in five lives,
    /// each in a fresh process.
    Reference,
}

/// Numbers of a tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Half-width of the spread within a life, relative to its median, at which sampling
    /// stops; and by how much lives may differ.
    pub half_width: f64,
    /// The samples of a life that count last this long together, at least.
    pub sampling: Seconds,
    /// Sampling of a life ends here, converged or not.
    pub ceiling: Seconds,
    /// Warm-up.
    pub warm_up: Seconds,
}

/// The slowest change that samples are to show, as its time constant: what a
/// processor's turbo (28 s by default on Intel's), a cooler or a case takes.
const SLOWEST_CHANGE: Seconds = Seconds(30.0);

impl Tier {
    /// How many lives a case has: each is verified, warmed up and sampled with a device
    /// and buffers of its own, at `reference` in a process of its own.
    pub fn lives(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Standard => 3,
            Self::Reference => 5,
        }
    }

    /// The tier's numbers for one life, which has its share of the time of a case. Warm-up
    /// lasts 500 ms everywhere, in which clocks rise and caches fill; what takes longer
    /// shows as a trend of the samples.
    pub fn effort(self) -> Effort {
        let (half_width, sampling, ceiling) = match self {
            Self::Quick => (0.02, 1.0, 3.0),
            Self::Standard => (0.01, 5.0, 15.0),
            Self::Reference => (0.005, 30.0, 60.0),
        };
        let lives = self.lives();
        Effort {
            half_width,
            sampling: Seconds(sampling / lives as f64),
            ceiling: Seconds(ceiling / lives as f64),
            warm_up: Seconds(0.5),
        }
    }
}

impl Effort {
    /// Whether the median's interval is narrow enough.
    pub fn is_converged(&self, samples: &[f64]) -> bool {
        stats::relative_half_width(samples) <= self.half_width
    }

    /// The drift that is passed over, relative to the median, per second. Where a time
    /// d(t) = A·exp(−t/τ) is still to be lost or gained, d = |slope|·τ: a slope below
    /// this means less than `half_width` for every τ up to [`SLOWEST_CHANGE`].
    pub fn tolerated_drift_per_s(&self) -> f64 {
        self.half_width / SLOWEST_CHANGE.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the order statistics of ten samples the second and the ninth are the ends:
    /// all equal, and 1.0 to 1.4 about a median of 1.2.
    #[test]
    fn converged_means_narrow() {
        let effort = Tier::Quick.effort();
        let wild: Vec<f64> = (0..10).map(|i| 1.0 + 0.1 * f64::from(i % 5)).collect();
        assert!(effort.is_converged(&[1.0; 10]));
        assert!(!effort.is_converged(&wild));
        assert!(!effort.is_converged(&[1.0; 5]), "no interval");
    }
}
