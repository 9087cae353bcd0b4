//! How fast a sensor follows the load, from the edges of windows. Pure.
//!
//! At the edges of a window the load goes from one level to another, and the
//! readings follow. What takes part in that cannot be told apart: the averaging
//! window, the sensor's delay, and how long the device itself takes to rise and to
//! fall. Together they are never shorter than the averaging window, so that an
//! edge shows how long that is *at most*. How long it is at least, no edge shows:
//! whether the sensor looks away between its updates is for the protocol to allow
//! for.

use super::Reading;
use super::energy::Window;
use super::sensor::{Averaging, Known, Sensor};
use crate::stats;
use crate::units::Seconds;

/// Readings before an edge, and at the end of what follows it, that tell a level.
const LEVEL: Seconds = Seconds(0.9);
/// Of the higher of the two levels, a step takes this share at least.
const LEAST_STEP: f64 = 0.2;
/// By how much of a step the readings of a level may be off.
const UNSTEADY: f64 = 0.1;
/// An average over the past shows all but `UNSTEADY` of a step once 0.9 of its
/// window lie behind the step; 0.8 leaves room for levels that are as much off.
const SEEN: f64 = 0.8;
/// A bound counts if it is below this share of what is allowed for anyway.
const NEWS: f64 = 0.8;

/// The same sensor with what the edges of `windows` show: that its readings
/// average over less than had to be allowed for, or is documented. Nothing where
/// they do not.
///
/// `readings` are in the order of time and cover the idle time on both sides of
/// every window. The work repeats every `cycle`. One that takes longer than an
/// update is no level: most of its power may be drawn in its first part, and a long
/// average then shows all of a cycle before it has seen it.
pub fn learn(
    sensor: &Sensor,
    cycle: Seconds,
    readings: &[Reading],
    windows: &[Window],
) -> Option<Sensor> {
    let period = sensor.period().0;
    if cycle.0 > period {
        return None;
    }
    let edges = windows.iter().flat_map(Edge::of);
    let bounds = edges.filter_map(|edge| edge.longest_averaging(readings));
    // Nothing is gained below a period, and the host may hear late of an end.
    let bound = bounds.reduce(f64::min)?.max(period);
    (bound < NEWS * sensor.longest_window().0).then(|| Sensor {
        averaging: Averaging {
            window_s: None,
            at_most_s: Some(Seconds(bound)),
            known: Known::StepResponse,
        },
        ..sensor.clone()
    })
}

/// A moment at which work begins or ends.
struct Edge {
    at: f64,
    /// From when the load was what it was before, and until when it stayed what it
    /// was after.
    from: f64,
    until: f64,
}

impl Edge {
    /// Both edges of a window.
    fn of(window: &Window) -> [Self; 2] {
        let (begin, end) = (window.begin_s.0, window.end_s.0);
        [
            Self {
                at: begin,
                from: begin - window.idle_before_s.0,
                until: end,
            },
            Self {
                at: end,
                from: begin,
                until: end + window.idle_after_s.0,
            },
        ]
    }

    /// The longest averaging window with which the readings can have followed as
    /// they did, in seconds. Nothing where the load was not steady before and after,
    /// or hardly changed.
    fn longest_averaging(&self, readings: &[Reading]) -> Option<f64> {
        let before = points(readings, self.from.max(self.at - LEVEL.0), self.at);
        let after = points(readings, self.at, self.until);
        let late = self.at.max(self.until - LEVEL.0);
        let settled: Vec<f64> = after.iter().filter(|p| p.0 >= late).map(|p| p.1).collect();
        let old = stats::median(&before.iter().map(|p| p.1).collect::<Vec<_>>())?;
        let new = stats::median(&settled)?;
        let step = new - old;
        if step.abs() < LEAST_STEP * old.max(new) {
            return None;
        }
        let share = |watts: f64| (watts - old) / step;
        let was_steady = before.iter().all(|p| share(p.1).abs() <= UNSTEADY);
        let overshoots = after.iter().any(|p| share(p.1) > 1.0 + UNSTEADY);
        if !was_steady || overshoots {
            return None;
        }
        let short = |p: &&(f64, f64)| share(p.1) < 1.0 - UNSTEADY;
        let arrived = match after.iter().rposition(|p| short(&p)) {
            Some(last) => after.get(last + 1)?,
            None => after.first()?,
        };
        Some((arrived.0 - self.at) / SEEN)
    }
}

/// Moments and watts of the readings between two moments.
fn points(readings: &[Reading], from: f64, to: f64) -> Vec<(f64, f64)> {
    let first = readings.partition_point(|r| r.at_s.0 < from);
    let last = readings.partition_point(|r| r.at_s.0 < to);
    let inside = readings[first.min(last)..last].iter();
    let points = inside.filter_map(|r| Some((r.at_s.0, r.power_w?.0)));
    points.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::{Load, Part, Shape};

    use super::*;
    use crate::power::protocol::{Plan, QUICK};
    use crate::power::sampler;
    use crate::power::sensor::Cadence;
    use crate::units::Watts;

    /// A source of which nothing is known but its period.
    fn unknown(period: f64) -> Sensor {
        Sensor {
            power: Some(Cadence {
                period_s: Seconds(period),
                changes: 20,
                at_most: false,
            }),
            energy: None,
            averaging: Averaging::UNKNOWN,
        }
    }

    /// What the device draws above 60 W when idle: `swing` while it works, less
    /// `floor`·`swing` between the batches of a `cycle`; how fast it rises, and what
    /// is left of it at the end, and for how long.
    #[derive(Clone, Copy, Debug)]
    struct Work {
        swing: f64,
        floor: f64,
        cycle: f64,
        duty: f64,
        rise: f64,
        after: f64,
        fall: f64,
    }

    const STEP: Work = Work {
        swing: 240.0,
        floor: 1.0,
        cycle: 0.01,
        duty: 1.0,
        rise: 1e-6,
        after: 0.0,
        fall: 1.0,
    };

    impl Work {
        fn load(self, [begin, end]: [f64; 2]) -> Load {
            let part = |begin, end, shape| Part { begin, end, shape };
            let high = Shape::Square {
                watts: self.swing * (1.0 - self.floor),
                period: self.cycle,
                duty: self.duty,
                phase: 0.0,
            };
            let level = self.swing * self.floor;
            let rise = Shape::Decay {
                watts: -level,
                tau: self.rise,
            };
            let fall = Shape::Decay {
                watts: self.swing * self.after,
                tau: self.fall,
            };
            Load(vec![
                part(0.0, 1e9, Shape::Constant { watts: 60.0 }),
                part(begin, end, high),
                part(begin, end, Shape::Constant { watts: level }),
                part(begin, end, rise),
                part(end, 1e9, fall),
            ])
        }
    }

    /// What is learned from one window of `work`, as the protocol has it, through a
    /// sensor that averages over `window`.
    fn learned(period: f64, window: f64, phase: f64, work: Work) -> Option<Sensor> {
        let sensor = unknown(period);
        let plan = Plan::new(QUICK, &sensor, &[]);
        let begin = 20.0;
        let end = begin + plan.length.0;
        let load = work.load([begin, end]);
        let device = sensor_model::Sensor {
            period,
            window,
            phase: phase * period,
            delay: 0.0,
            gain: 1.0,
            quantum: 1e-3,
            counter: None,
        };
        let interval = sampler::interval(&sensor).as_secs_f64();
        let moments = (0..).map(|i| 15.0 + f64::from(i) * 1.03 * interval);
        let reading = |t| Reading {
            at_s: Seconds(t),
            power_w: Some(Watts(device.power(&load, t))),
            energy_j: None,
        };
        let until = end + plan.idle_after.0;
        let readings: Vec<Reading> = moments.take_while(|t| *t < until).map(reading).collect();
        let window = Window {
            begin_s: Seconds(begin),
            end_s: Seconds(end),
            idle_before_s: plan.idle_before,
            idle_after_s: plan.idle_after,
        };
        learn(&sensor, Seconds(work.cycle), &readings, &[window])
    }

    const SENSORS: [(f64, f64); 4] = [(0.1, 0.025), (0.1, 0.1), (0.02, 0.01), (0.1, 1.0)];

    fn work() -> impl Strategy<Value = Work> {
        let steady = (50.0f64..500.0, 0.0f64..1.0, -3.0f64..0.0, 0.2f64..1.0);
        let edges = (0.01f64..0.3, 0.0f64..0.3, 0.2f64..20.0);
        (steady, edges).prop_map(|((swing, floor, cycle, duty), (rise, after, fall))| Work {
            swing,
            floor,
            cycle: 10f64.powf(cycle),
            duty,
            rise,
            after,
            fall,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Whatever the device does at the edges and in between.
        #[test]
        fn no_bound_is_below_the_averaging_window(
            (period, window) in prop::sample::select(SENSORS.to_vec()),
            phase in 0.0f64..1.0,
            work in work(),
        ) {
            if let Some(sensor) = learned(period, window, phase, work) {
                prop_assert!(sensor.longest_window().0 >= window, "{sensor:?}");
                prop_assert!(sensor.shortest_window().0 <= window, "{sensor:?}");
            }
        }

        /// A step is seen within a window and a period, told with a period more, and
        /// divided by 0.8. An average over a second is no news.
        #[test]
        fn a_step_bounds_all_but_the_longest_averaging(
            (period, window) in prop::sample::select(SENSORS.to_vec()),
            phase in 0.0f64..1.0,
        ) {
            match learned(period, window, phase, STEP) {
                Some(sensor) => {
                    let most = (window + 2.1 * period) / 0.8;
                    prop_assert!((window..=most).contains(&sensor.longest_window().0));
                    prop_assert_eq!(sensor.averaging.known, Known::StepResponse);
                }
                None => prop_assert_eq!(window, 1.0),
            }
        }
    }

    /// A quarter of the period is what a bound must not take away: whether the
    /// sensor looks away in between is not seen.
    #[test]
    fn a_bound_leaves_the_phase_shifts_as_they_are() {
        let sensor = learned(0.1, 0.1, 0.3, STEP).expect("a step bounds it");
        assert_eq!(sensor.shortest_window(), Seconds(0.025));
        let in_step = [Seconds(0.1)];
        assert_eq!(Plan::new(QUICK, &sensor, &in_step).delays.len(), 4);
    }

    /// 1 s is what the vendor says, and the readings follow within a fifth.
    #[test]
    fn what_is_documented_gives_way_to_what_is_seen() {
        let documented = Sensor {
            averaging: Averaging::documented(Seconds(1.0)),
            ..unknown(0.1)
        };
        let level = |t: f64| {
            if (20.15..25.15).contains(&t) {
                300.0
            } else {
                60.0
            }
        };
        let reading = |t| Reading {
            at_s: Seconds(t),
            power_w: Some(Watts(level(t))),
            energy_j: None,
        };
        let readings: Vec<Reading> = (0..300)
            .map(|i| reading(15.0 + 0.05 * f64::from(i)))
            .collect();
        let window = Window {
            begin_s: Seconds(20.0),
            end_s: Seconds(25.0),
            idle_before_s: Seconds(2.2),
            idle_after_s: Seconds(2.2),
        };
        let seen = learn(&documented, Seconds(0.01), &readings, &[window]).expect("it is faster");
        // At 20.15 s or one reading later: 0.15 to 0.2 s over 0.8.
        assert!((0.18..=0.25).contains(&seen.longest_window().0), "{seen:?}");
        assert!(seen.shortest_window() < Seconds(0.1));
        let slow = Sensor {
            averaging: Averaging::documented(Seconds(0.1)),
            ..unknown(0.1)
        };
        assert_eq!(learn(&slow, Seconds(0.01), &readings, &[window]), None);
    }

    #[test]
    fn a_load_that_hardly_changes_tells_nothing() {
        let faint = Work {
            swing: 10.0,
            ..STEP
        };
        assert_eq!(learned(0.1, 0.1, 0.3, faint), None);
        assert_eq!(learn(&unknown(0.1), Seconds(0.01), &[], &[]), None);
    }
}
