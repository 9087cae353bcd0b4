//! What counts as a change of speed.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Verdict;

/// A share of the time by which a case may change and still count as the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Threshold(f64);

/// A text that is no threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a threshold: expected a percentage above 0 and below 100, such as 5%")]
pub struct ThresholdError(String);

impl Threshold {
    /// What is usual for an adapter: 5 % where other programs share the processors
    /// with it, 2 % on a GPU.
    pub fn usual(software: bool) -> Self {
        Self(if software { 0.05 } else { 0.02 })
    }

    /// The share, above 0 and below 1.
    pub fn share(self) -> f64 {
        self.0
    }

    /// The ratio from which on a case is slower; the same factor down it is faster.
    pub fn slower_from(self) -> f64 {
        1.0 + self.0
    }

    /// What is certain if the true ratio lies in `interval`; `None` while nothing is.
    pub fn verdict(self, [low, high]: [f64; 2]) -> Option<Verdict> {
        let slower = self.slower_from();
        let faster = 1.0 / slower;
        if low > slower {
            Some(Verdict::Slower)
        } else if high < faster {
            Some(Verdict::Faster)
        } else if low > faster && high < slower {
            Some(Verdict::Same)
        } else {
            None
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Twelve digits hide what the division by 100 has left over.
        let percent = (self.0 * 100.0 * 1e10).round() / 1e10;
        write!(f, "{percent} %")
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let percent: Option<f64> = number.parse().ok();
        let percent = percent.filter(|percent| *percent > 0.0 && *percent < 100.0);
        let percent = percent.ok_or_else(|| ThresholdError(text.to_owned()))?;
        Ok(Self(percent / 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_shown() {
        for (text, shown) in [("5", "5 %"), ("7%", "7 %"), ("2.5 %", "2.5 %")] {
            assert_eq!(text.parse::<Threshold>().unwrap().to_string(), shown);
        }
        for text in ["", "0", "-5", "100", "5pt", "NaN", "inf"] {
            assert!(text.parse::<Threshold>().is_err(), "{text}");
        }
        assert_eq!(Threshold::usual(true).to_string(), "5 %");
    }

    /// Bounds at 5 %: 1.05 and 1/1.05 = 0.9524.
    #[test]
    fn only_whole_intervals_decide() {
        let threshold = Threshold::usual(true);
        for (interval, verdict) in [
            ([1.051, 1.3], Some(Verdict::Slower)),
            ([1.049, 1.3], None),
            ([0.953, 1.049], Some(Verdict::Same)),
            ([1.01, 1.02], Some(Verdict::Same)),
            ([0.952, 1.0], None),
            ([0.7, 0.952], Some(Verdict::Faster)),
            ([0.7, 0.953], None),
            ([0.5, 2.0], None),
        ] {
            assert_eq!(threshold.verdict(interval), verdict, "{interval:?}");
        }
    }
}
