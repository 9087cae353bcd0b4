//! Which windows to measure, so that the sensor sees all of the work. Pure.
//!
//! A sensor that looks at a quarter of its period only may see the same part of
//! every dispatch. Windows that begin at different delays after an update of the
//! sensor shift what it sees; spread evenly over one period they leave nothing
//! out (SC24, arXiv 2312.02741, uses eight).

use super::Sensor;
use crate::units::Seconds;

/// How many windows of which length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Number of windows.
    pub windows: usize,
    /// Length of each, at least.
    pub length: Seconds,
}

/// A look: one window, long enough for fifty updates of a usual sensor.
pub const QUICK: Effort = Effort {
    windows: 1,
    length: Seconds(5.0),
};
/// A figure to quote: four windows a quarter of the sensor's period apart.
pub const STANDARD: Effort = Effort {
    windows: 4,
    length: Seconds(5.0),
};
/// A figure to publish: a minute (the least that EEHPC's methodology takes for a
/// core phase), in eight windows an eighth of the period apart.
pub const REFERENCE: Effort = Effort {
    windows: 8,
    length: Seconds(7.5),
};

/// For how long the idle device is read on either side of a window, once it has
/// settled: ten updates of a usual sensor.
const IDLE: Seconds = Seconds(1.0);
/// The largest [`aliasing`] that is passed over. A work that is on for a fifth of
/// its cycle swings by five times its mean, so that this moves its figure by 5 %
/// at most.
pub const TOLERATED_ALIASING: f64 = 0.01;

/// The windows of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How long after an update of the sensor each window begins.
    pub delays: Vec<Seconds>,
    /// Length of each window, at least. The queue is never empty inside.
    pub length: Seconds,
    /// For how long the queue is empty before a window. The idle time after the
    /// window before counts.
    pub idle_before: Seconds,
    /// For how long the queue is empty after a window.
    pub idle_after: Seconds,
}

impl Plan {
    /// The windows for `sensor` and a work that repeats every one of `cycles`, as far as
    /// they are known: the durations of a dispatch and of a batch. Where too few windows
    /// would be aliased, there are as many as of [`STANDARD`].
    pub fn new(effort: Effort, sensor: &Sensor, cycles: &[Seconds]) -> Self {
        let plan = Self::of_windows(effort, effort.windows, sensor);
        if plan.is_aliased(sensor, cycles) && effort.windows < STANDARD.windows {
            return Self::of_windows(effort, STANDARD.windows, sensor);
        }
        plan
    }

    fn of_windows(effort: Effort, windows: usize, sensor: &Sensor) -> Self {
        let step = sensor.period().0 / windows as f64;
        let idle = Seconds(sensor.settling().0 + IDLE.0);
        Self {
            delays: (0..windows).map(|i| Seconds(i as f64 * step)).collect(),
            length: effort.length,
            idle_before: idle,
            idle_after: idle,
        }
    }

    /// How long all windows take, idle times included.
    pub fn duration(&self) -> Seconds {
        let one = self.length.0 + self.idle_after.0;
        Seconds(self.idle_before.0 + self.delays.len() as f64 * one)
    }

    /// Whether the sensor may have looked too often at the same part of a work
    /// that repeats every one of `cycles`.
    pub fn is_aliased(&self, sensor: &Sensor, cycles: &[Seconds]) -> bool {
        let aliasing = |cycle: &Seconds| aliasing(sensor, *cycle, self.length, &self.delays);
        cycles.iter().map(aliasing).any(|a| a > TOLERATED_ALIASING)
    }
}

/// How unevenly a sensor sees a work that repeats every `cycle`, in windows that
/// begin `delays` after an update and take `length` or up to twice as long: the
/// largest difference, over all stretches of the cycle, between a stretch's share
/// of what is seen and its share of the work. Work that swings by S watts within a
/// cycle, up once and down once, is misread by this times S at most. 0 where the
/// sensor misses nothing.
///
/// It is the largest over all these lengths and over the periods that the detected
/// one may stand for. Where looks drift slowly through the cycle, a window that
/// holds a whole number of such passes sees every part alike by luck; one that is
/// a second longer, or a period that is a thousandth off, does not.
pub fn aliasing(sensor: &Sensor, cycle: Seconds, length: Seconds, delays: &[Seconds]) -> f64 {
    let look = sensor.shortest_window().0;
    // Where nothing but a counter is read, the look is 0: it never looks away.
    let misses_nothing = look >= sensor.period().0 || look <= 0.0 || cycle.0 <= 0.0;
    if misses_nothing {
        return 0.0;
    }
    let of_period = |period| Looks { period, look }.aliasing(cycle.0, length.0, delays);
    let periods = possible_periods(sensor, cycle.0, length.0);
    periods.map(of_period).fold(0.0, f64::max)
}

/// Periods that the detected one may stand for, close enough together for the last
/// looks of a window to move by half a cycle at most from one to the next.
fn possible_periods(sensor: &Sensor, cycle: f64, length: f64) -> impl Iterator<Item = f64> {
    let (period, off) = (sensor.period().0, sensor.period_uncertainty().0);
    let drift = off * length / period;
    let steps = (drift / (cycle / 2.0)).ceil() as i32;
    (-steps..=steps).map(move |i| period + off * f64::from(i) / f64::from(steps.max(1)))
}

/// What a sensor does with time that sees a part of it only.
struct Looks {
    period: f64,
    look: f64,
}

impl Looks {
    /// Of the lengths between the shortest and twice as long, so many are tried.
    const LENGTHS: u32 = 32;

    /// The largest discrepancy between what is seen and the work, over all lengths
    /// of the windows from `shortest` to twice as long.
    fn aliasing(&self, cycle: f64, shortest: f64, delays: &[Seconds]) -> f64 {
        let mut seen = Phases::new(cycle);
        let mut work = Phases::new(cycle);
        let fewest = (shortest / self.period).floor().max(1.0) as u32;
        let every = fewest.div_ceil(Self::LENGTHS);
        let mut worst = 0.0f64;
        for n in 1..=2 * fewest {
            for delay in delays {
                // Updates come at −delay + n·period after the window's beginning.
                let end = f64::from(n) * self.period - delay.0;
                seen.add((end - self.look).max(0.0), end.max(0.0));
            }
            work.add(f64::from(n - 1) * self.period, f64::from(n) * self.period);
            if n >= fewest && (n - fewest).is_multiple_of(every) {
                worst = worst.max(seen.discrepancy(&work));
            }
        }
        worst
    }
}

/// How often each part of a cycle was covered.
struct Phases {
    cycle: f64,
    /// Time covered in whole cycles.
    whole: f64,
    /// By how much the cover of a bin differs from that of the bin before, in bins.
    steps: Vec<f64>,
}

impl Phases {
    const BINS: usize = 256;

    fn new(cycle: f64) -> Self {
        Self {
            cycle,
            whole: 0.0,
            steps: vec![0.0; Self::BINS + 2],
        }
    }

    /// Covers the time between two moments.
    fn add(&mut self, from: f64, to: f64) {
        let (from, to) = (from / self.cycle, to / self.cycle);
        self.whole += to.floor() - from.floor();
        self.step(from.rem_euclid(1.0), 1.0);
        self.step(to.rem_euclid(1.0), -1.0);
    }

    /// From this share of the cycle on, the cover is higher by `by`.
    fn step(&mut self, phase: f64, by: f64) {
        let place = phase * Self::BINS as f64;
        let bin = place.floor();
        let rest = place - bin;
        self.steps[bin as usize] += by * (1.0 - rest);
        self.steps[bin as usize + 1] += by * rest;
    }

    /// The cover of each bin.
    fn bins(&self) -> impl Iterator<Item = f64> {
        let steps = self.steps[..Self::BINS].iter();
        steps.scan(self.whole, |cover, step| {
            *cover += step;
            Some(*cover)
        })
    }

    /// The largest difference between the shares of a stretch in both.
    fn discrepancy(&self, other: &Self) -> f64 {
        let (mine, others): (f64, f64) = (self.bins().sum(), other.bins().sum());
        if mine <= 0.0 || others <= 0.0 {
            return 1.0;
        }
        let (mut total, mut low, mut high) = (0.0f64, 0.0f64, 0.0f64);
        for (a, b) in self.bins().zip(other.bins()) {
            total += a / mine - b / others;
            low = low.min(total);
            high = high.max(total);
        }
        high - low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::power::sensor::{Averaging, Cadence};

    fn sensor(period: f64, window: f64) -> Sensor {
        Sensor {
            power: Some(Cadence {
                period_s: Seconds(period),
                changes: 20,
                at_most: false,
            }),
            energy: None,
            averaging: Averaging::documented(Seconds(window)),
        }
    }

    fn uneven(sensor: &Sensor, cycle: f64, delays: &[f64]) -> f64 {
        let delays: Vec<Seconds> = delays.iter().copied().map(Seconds).collect();
        aliasing(sensor, Seconds(cycle), Seconds(5.0), &delays)
    }

    /// A cycle as long as the period, a quarter of which is seen: that quarter has
    /// all of what is seen and a quarter of the work, a difference of 3/4.
    #[test]
    fn a_cycle_in_step_with_the_sensor_is_seen_in_part() {
        let sensor = sensor(0.1, 0.025);
        assert!((uneven(&sensor, 0.1, &[0.0]) - 0.75).abs() < 0.01);
        assert!(uneven(&sensor, 0.0737, &[0.0]) < 0.05);
        let quarters = [0.0, 0.025, 0.05, 0.075];
        assert!(uneven(&sensor, 0.1, &quarters) < 0.02);
    }

    #[test]
    fn a_sensor_that_misses_nothing_is_never_aliased() {
        assert_eq!(uneven(&sensor(0.1, 0.1), 0.1, &[0.0]), 0.0);
        assert_eq!(uneven(&sensor(0.1, 1.0), 0.1, &[0.0]), 0.0);
    }

    /// Three cycles of 33.105 ms are 0.685 ms short of the period. In 5 s its 50
    /// updates drift by 34 ms, once through the cycle: each part is seen alike. In
    /// 6.4 s they drift by 44 ms, and see a third of the cycle twice.
    #[test]
    fn a_window_that_ends_in_step_by_luck_is_aliased() {
        let sensor = sensor(0.1, 0.025);
        let cycle = Seconds(0.033_105);
        let looks = Looks {
            period: 0.1,
            look: 0.025,
        };
        let at_5_s = {
            let (mut seen, mut work) = (Phases::new(cycle.0), Phases::new(cycle.0));
            for n in 1..=50 {
                let end = f64::from(n) * looks.period;
                seen.add(end - looks.look, end);
            }
            work.add(0.0, 5.0);
            seen.discrepancy(&work)
        };
        assert!(at_5_s < TOLERATED_ALIASING, "{at_5_s}");
        assert!(uneven(&sensor, cycle.0, &[0.0]) > 2.0 * TOLERATED_ALIASING);
        assert_eq!(Plan::new(QUICK, &sensor, &[cycle]).delays.len(), 4);
    }

    /// Fifteen cycles of 1.3328 ms are 19.992 ms: as a period, in step with the
    /// cycle. At 20 ms they are not, and 100 changes seen 2 ms apart cannot tell.
    #[test]
    fn a_period_that_may_be_in_step_is_aliased() {
        let cycle = 0.019_992 / 15.0;
        let looks = |period| Looks { period, look: 0.01 };
        let of_period = |period| looks(period).aliasing(cycle, 5.0, &[Seconds(0.0)]);
        let mut sensor = sensor(0.02, 0.01);
        sensor.power = sensor.power.map(|power| Cadence {
            changes: 100,
            ..power
        });
        assert!(of_period(0.02) < 0.5 * of_period(0.019_992));
        assert!(uneven(&sensor, cycle, &[0.0]) > 0.9 * of_period(0.019_992));
    }

    #[test]
    fn a_counter_alone_is_never_aliased() {
        let mut counter = sensor(0.1, 0.0);
        counter.energy = counter.power.take();
        assert_eq!(counter.averaging, Averaging::NONE);
        assert_eq!(uneven(&counter, 0.1, &[0.0]), 0.0);
        assert_eq!(Plan::new(QUICK, &counter, &[Seconds(0.1)]).delays.len(), 1);
    }

    proptest! {
        /// Four or eight windows see every part of any cycle, and a look takes
        /// as many where it needs them.
        #[test]
        fn phase_shifts_leave_nothing_out(
            cycle in 0.001f64..1.0,
            (period, window) in prop::sample::select(vec![(0.1, 0.025), (0.02, 0.01), (0.1, 0.05)]),
            effort in prop::sample::select(vec![QUICK, STANDARD, REFERENCE]),
        ) {
            let sensor = sensor(period, window);
            let cycle = Seconds(cycle);
            prop_assert!(!Plan::new(effort, &sensor, &[cycle]).is_aliased(&sensor, &[cycle]));
        }
    }

    #[test]
    fn a_look_takes_one_window_unless_it_would_be_aliased() {
        let sensor = sensor(0.1, 0.025);
        let windows = |cycles: &[f64]| {
            let cycles: Vec<Seconds> = cycles.iter().copied().map(Seconds).collect();
            Plan::new(QUICK, &sensor, &cycles).delays.len()
        };
        assert_eq!(windows(&[]), 1);
        assert_eq!(windows(&[0.0137]), 1);
        assert_eq!(windows(&[0.1]), 4);
        // Neither a dispatch nor a batch of many may be in step.
        assert_eq!(windows(&[0.0137, 0.1]), 4);
    }

    #[test]
    fn a_plan_is_as_long_as_its_windows() {
        let plan = Plan::new(STANDARD, &sensor(0.1, 0.1), &[]);
        let delays: Vec<f64> = plan.delays.iter().map(|d| d.0).collect();
        assert_eq!(delays, [0.0, 0.025, 0.05, 0.1 / 4.0 * 3.0]);
        // Settling 0.3 s and 1 s of idling: 1.3 + 4·(5 + 1.3) s.
        assert!((plan.duration().0 - 26.5).abs() < 1e-9);
        let minute = REFERENCE.windows as f64 * REFERENCE.length.0;
        assert_eq!(minute, 60.0);
    }
}
