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
    /// A look: within 2 %, ten samples, 3 s a case.
    Quick,
    /// A figure to quote: within 1 %, thirty samples in three lives, each on a fresh
    /// device, 15 s a case.
    Standard,
    /// A figure to publish: within 0.5 %, a hundred samples in five lives, each in a
    /// fresh process, 60 s a case.
    Reference,
}

/// Numbers of a tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Half-width of the median's 95 % interval, relative to the median, at
    /// which sampling stops.
    pub half_width: f64,
    /// Samples at least.
    pub min_samples: usize,
    /// Sampling of a life ends here, converged or not.
    pub ceiling: Seconds,
    /// Warm-up at least.
    pub warm_up: Seconds,
    /// Warm-up at most, steady or not.
    pub warm_up_ceiling: Seconds,
}

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

    /// The tier's numbers for one life, which has its share of the samples and of the
    /// time of a case. Warm-up lasts at least 500 ms everywhere; clocks and
    /// power of a large GPU settle within about 3 s.
    pub fn effort(self) -> Effort {
        let (half_width, min_samples, ceiling, warm_up_ceiling) = match self {
            Self::Quick => (0.02, 10, 3.0, 1.5),
            Self::Standard => (0.01, 30, 15.0, 5.0),
            Self::Reference => (0.005, 100, 60.0, 10.0),
        };
        let lives = self.lives();
        Effort {
            half_width,
            min_samples: min_samples / lives,
            ceiling: Seconds(ceiling / lives as f64),
            warm_up: Seconds(0.5),
            warm_up_ceiling: Seconds(warm_up_ceiling),
        }
    }
}

/// What the stopping rule says after a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another sample is needed.
    Continue,
    /// The interval is narrow enough.
    Converged,
    /// Time is up before the interval was narrow enough.
    OutOfTime,
}

impl Effort {
    /// Whether there are enough samples and the median's interval is narrow
    /// enough.
    pub fn is_converged(&self, samples: &[f64]) -> bool {
        samples.len() >= self.min_samples && stats::relative_half_width(samples) <= self.half_width
    }

    /// Whether sampling is done after `samples` that took `elapsed` in all.
    pub fn progress(&self, samples: &[f64], elapsed: Seconds) -> Progress {
        if self.is_converged(samples) {
            Progress::Converged
        } else if elapsed >= self.ceiling && !samples.is_empty() {
            Progress::OutOfTime
        } else {
            Progress::Continue
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_when_narrow_and_enough_or_out_of_time() {
        let effort = Tier::Quick.effort();
        let steady = [1.0; 10];
        let wild: Vec<f64> = (0..10).map(|i| 1.0 + 0.1 * f64::from(i % 5)).collect();
        assert_eq!(
            effort.progress(&steady[..9], Seconds(1.0)),
            Progress::Continue
        );
        assert_eq!(effort.progress(&steady, Seconds(1.0)), Progress::Converged);
        assert_eq!(effort.progress(&wild, Seconds(1.0)), Progress::Continue);
        assert_eq!(effort.progress(&wild, Seconds(3.0)), Progress::OutOfTime);
        assert_eq!(effort.progress(&[], Seconds(9.0)), Progress::Continue);
    }
}
