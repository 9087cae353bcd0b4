//! Stretches of time, and how far they overlap. Pure, but for the clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// A moment, by two clocks of the machine: one that people and NTP set, and one that
/// nobody does.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Timestamp,
    since_boot: Option<Duration>,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self {
            at: Timestamp::now(),
            since_boot: since_boot(),
        }
    }

    /// So much earlier.
    fn before(self, time: Duration) -> Self {
        Self {
            at: self.at.checked_sub(time).unwrap_or(self.at),
            since_boot: self.since_boot.and_then(|now| now.checked_sub(time)),
        }
    }
}

/// A stretch of time, by the machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// Its beginning, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub begin: Timestamp,
    /// Its end, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub end: Timestamp,
    /// Both, by the time since the machine started, which nobody sets (Linux's
    /// CLOCK_BOOTTIME): runs of one machine are held against one another by it. Null
    /// where the system does not tell it, and in reports before schema 1.5.
    #[serde(default)]
    pub since_boot_s: Option<[Seconds; 2]>,
}

impl Period {
    /// From `begin` until now.
    pub fn since(begin: Moment) -> Self {
        Self::of(begin, Moment::now())
    }

    /// What lies between two moments of the past.
    pub fn between(begin: Instant, end: Instant) -> Self {
        let (now, here) = (Moment::now(), Instant::now());
        let at = |moment: Instant| now.before(here.duration_since(moment));
        Self::of(at(begin), at(end))
    }

    fn of(begin: Moment, end: Moment) -> Self {
        let both = begin.since_boot.zip(end.since_boot);
        Self {
            begin: begin.at,
            end: end.at,
            since_boot_s: both.map(|(begin, end)| [begin, end].map(|d| Seconds(d.as_secs_f64()))),
        }
    }

    /// Begin and end after `origin`, by the clock that nobody sets where there is one.
    pub fn after(&self, origin: Moment) -> [Seconds; 2] {
        match (self.since_boot_s, origin.since_boot) {
            (Some(ends), Some(origin)) => ends.map(|end| Seconds(end.0 - origin.as_secs_f64())),
            _ => {
                [self.begin, self.end].map(|at| Seconds(at.duration_since(origin.at).as_secs_f64()))
            }
        }
    }

    /// Begin and end in seconds by the clock that can be set.
    fn by_the_wall(&self) -> [f64; 2] {
        [self.begin, self.end].map(|at| at.as_duration().as_secs_f64())
    }
}

/// Since the machine started; `None` where the system does not tell.
#[cfg(target_os = "linux")]
fn since_boot() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    clock_gettime(ClockId::Boottime).try_into().ok()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Option<Duration> {
    None
}

/// The share of the time `of` that is also `with`, from 0 to 1; 0 where `of` takes
/// no time.
pub fn overlap(of: &[Period], with: &[Period]) -> f64 {
    let all = || of.iter().chain(with);
    let by_boot = all().all(|period| period.since_boot_s.is_some());
    let ends = |period: &Period| match period.since_boot_s {
        Some(ends) if by_boot => ends.map(|end| end.0),
        _ => period.by_the_wall(),
    };
    let of = apart(of.iter().map(ends).collect());
    let whole: f64 = of.iter().map(|[begin, end]| (end - begin).max(0.0)).sum();
    let with = apart(with.iter().map(ends).collect());
    let common = |a: &[f64; 2], b: &[f64; 2]| (a[1].min(b[1]) - a[0].max(b[0])).max(0.0);
    let common = of
        .iter()
        .flat_map(|a| with.iter().map(move |b| common(a, b)));
    let common: f64 = common.sum();
    if whole > 0.0 { common / whole } else { 0.0 }
}

/// The same time in stretches that have none in common.
fn apart(mut stretches: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    stretches.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut apart: Vec<[f64; 2]> = Vec::new();
    for [begin, end] in stretches {
        match apart.last_mut() {
            Some(last) if begin <= last[1] => last[1] = last[1].max(end),
            _ => apart.push([begin, end]),
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
            since_boot_s: None,
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

    /// Half of the time, by the clock that nobody sets, while the other one was set an
    /// hour back between the two.
    #[test]
    fn a_clock_that_is_set_moves_no_overlap() {
        let shown = |wall: &[(i64, i64)], boot: [f64; 2]| Period {
            since_boot_s: Some(boot.map(Seconds)),
            ..periods(wall)[0]
        };
        let first = [shown(&[(3600, 3604)], [100.0, 104.0])];
        let second = [shown(&[(2, 6)], [102.0, 106.0])];
        assert_eq!(overlap(&first, &second), 0.5);
        // Of an older run only the other clock is known.
        assert_eq!(overlap(&first, &periods(&[(3602, 3606)])), 0.5);
    }

    #[test]
    fn a_clock_that_is_set_moves_no_moment() {
        let [at, later] = [0, 3600].map(|second| periods(&[(second, second + 2)])[0]);
        let origin = |since_boot| Moment {
            at: at.begin,
            since_boot,
        };
        let both = Period {
            since_boot_s: Some([Seconds(11.0), Seconds(12.0)]),
            ..later
        };
        let after = both.after(origin(Some(Duration::from_secs(10))));
        assert_eq!(after, [Seconds(1.0), Seconds(2.0)]);
        let by_the_wall = both.after(origin(None));
        assert_eq!(by_the_wall, [Seconds(3600.0), Seconds(3602.0)]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_the_time_since_its_start() {
        let begin = Moment::now();
        let period = Period::since(begin);
        let [from, to] = period.since_boot_s.expect("Linux tells it");
        assert!(from <= to && to.0 - from.0 < 60.0, "{period:?}");
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
