//! Stretches of time, and how far they overlap. Pure, but for the clock.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stretch of time, by the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// Its beginning, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub begin: Timestamp,
    /// Its end, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub end: Timestamp,
}

impl Period {
    /// From `begin` until now.
    pub fn since(begin: Timestamp) -> Self {
        let end = Timestamp::now();
        Self { begin, end }
    }

    /// What lies between two moments of the past.
    pub fn between(begin: Instant, end: Instant) -> Self {
        let (now, here) = (Timestamp::now(), Instant::now());
        let at = |moment: Instant| now.checked_sub(here.duration_since(moment)).unwrap_or(now);
        Self {
            begin: at(begin),
            end: at(end),
        }
    }

    /// In seconds; 0 where the clock was set back meanwhile.
    fn seconds(self) -> f64 {
        let duration = self.end.duration_since(self.begin);
        duration.max(SignedDuration::ZERO).as_secs_f64()
    }

    /// What both have in common.
    fn common(self, other: Self) -> Self {
        Self {
            begin: self.begin.max(other.begin),
            end: self.end.min(other.end),
        }
    }
}

/// The share of the time `of` that is also `with`, from 0 to 1; 0 where `of` takes
/// no time.
pub fn overlap(of: &[Period], with: &[Period]) -> f64 {
    let of = apart(of);
    let whole: f64 = of.iter().map(|period| period.seconds()).sum();
    let with = apart(with);
    let common = of
        .iter()
        .flat_map(|period| with.iter().map(|other| period.common(*other).seconds()));
    let common: f64 = common.sum();
    if whole > 0.0 { common / whole } else { 0.0 }
}

/// The same time in periods that have none in common.
fn apart(periods: &[Period]) -> Vec<Period> {
    let mut sorted = periods.to_vec();
    sorted.sort_by_key(|period| period.begin);
    let mut apart: Vec<Period> = Vec::new();
    for period in sorted {
        match apart.last_mut() {
            Some(last) if period.begin <= last.end => last.end = last.end.max(period.end),
            _ => apart.push(period),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of some minute.
    fn periods(ends: &[(i64, i64)]) -> Vec<Period> {
        let at = |second| Timestamp::from_second(1_767_322_980 + second).unwrap();
        let period = |&(begin, end)| Period {
            begin: at(begin),
            end: at(end),
        };
        ends.iter().map(period).collect()
    }

    /// By hand: of 0–4 and 10–16, ten seconds, 3–11 holds 3–4 and 10–11, and 12–20
    /// holds 12–16: six of ten. The other way round it is six of sixteen.
    #[test]
    fn an_overlap_is_the_share_of_the_first() {
        let of = periods(&[(0, 4), (10, 16)]);
        let with = periods(&[(3, 11), (12, 20)]);
        assert!((overlap(&of, &with) - 0.6).abs() < 1e-12);
        assert!((overlap(&with, &of) - 0.375).abs() < 1e-12);
        assert_eq!(overlap(&of, &of), 1.0);
        assert_eq!(overlap(&of, &periods(&[(4, 10)])), 0.0);
        let twice = periods(&[(12, 20), (3, 9), (8, 11), (12, 14)]);
        assert!((overlap(&of, &twice) - 0.6).abs() < 1e-12, "counted once");
    }

    #[test]
    fn no_time_overlaps_with_nothing() {
        let some = periods(&[(0, 4)]);
        assert_eq!(overlap(&[], &some), 0.0);
        assert_eq!(overlap(&some, &[]), 0.0);
        assert_eq!(overlap(&periods(&[(2, 2)]), &some), 0.0);
        assert_eq!(overlap(&periods(&[(4, 0)]), &some), 0.0, "a clock set back");
    }
}
