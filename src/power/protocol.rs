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
    /// The windows for `sensor` and a work that repeats every `cycle`, where that
    /// is known: the duration of a dispatch. Where too few windows would be
    /// aliased, there are as many as of [`STANDARD`].
    pub fn new(effort: Effort, sensor: &Sensor, cycle: Option<Seconds>) -> Self {
        let plan = Self::of_windows(effort, effort.windows, sensor);
        let is_aliased = cycle.is_some_and(|cycle| plan.is_aliased(sensor, cycle));
        if is_aliased && effort.windows < STANDARD.windows {
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
    /// that repeats every `cycle`.
    pub fn is_aliased(&self, sensor: &Sensor, cycle: Seconds) -> bool {
        aliasing(sensor, cycle, self.length, &self.delays) > TOLERATED_ALIASING
    }
}

/// How unevenly a sensor sees a work that repeats every `cycle`, in windows of
/// `length` that begin `delays` after an update: the largest difference, over all
/// stretches of the cycle, between a stretch's share of what is seen and its share
/// of the work. Work that swings by S watts within a cycle, up once and down once,
/// is misread by this times S at most. 0 where the sensor misses nothing.
pub fn aliasing(sensor: &Sensor, cycle: Seconds, length: Seconds, delays: &[Seconds]) -> f64 {
    let (period, look) = (sensor.period().0, sensor.shortest_window().0);
    let misses_nothing = look >= period || cycle.0 <= 0.0;
    if misses_nothing {
        return 0.0;
    }
    let mut seen = Phases::new(cycle.0);
    let mut work = Phases::new(cycle.0);
    for delay in delays {
        work.add(0.0, length.0);
        // Updates come at −delay + n·period after the window's beginning.
        let last = ((length.0 + delay.0) / period).floor() as u32;
        for n in 1..=last {
            let end = f64::from(n) * period - delay.0;
            seen.add((end - look).max(0.0), end.max(0.0));
        }
    }
    seen.discrepancy(&work)
}

/// How long each part of a cycle was covered.
struct Phases {
    cycle: f64,
    bins: Vec<f64>,
}

impl Phases {
    const BINS: usize = 512;

    fn new(cycle: f64) -> Self {
        Self {
            cycle,
            bins: vec![0.0; Self::BINS],
        }
    }

    /// Covers the time between two moments.
    fn add(&mut self, from: f64, to: f64) {
        let width = self.cycle / Self::BINS as f64;
        let whole = ((to - from) / self.cycle).floor();
        for bin in &mut self.bins {
            *bin += whole * width;
        }
        let mut t = from;
        let end = to - whole * self.cycle;
        while t < end {
            // Rounding may put a moment just before the bin that it begins.
            let index = (t / width + 1e-9).floor();
            let next = ((index + 1.0) * width).min(end);
            let bin = (index as u64 % Self::BINS as u64) as usize;
            self.bins[bin] += (next - t).max(0.0);
            t = next.max(t + width * 1e-9);
        }
    }

    /// The largest difference between the shares of a stretch in both.
    fn discrepancy(&self, other: &Self) -> f64 {
        let sum = |phases: &Self| phases.bins.iter().sum::<f64>();
        let (mine, others) = (sum(self), sum(other));
        if mine == 0.0 || others == 0.0 {
            return 1.0;
        }
        let (mut total, mut low, mut high) = (0.0f64, 0.0f64, 0.0f64);
        for (a, b) in self.bins.iter().zip(&other.bins) {
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
            prop_assert!(!Plan::new(effort, &sensor, Some(cycle)).is_aliased(&sensor, cycle));
        }
    }

    #[test]
    fn a_look_takes_one_window_unless_it_would_be_aliased() {
        let sensor = sensor(0.1, 0.025);
        let windows = |cycle| Plan::new(QUICK, &sensor, cycle).delays.len();
        assert_eq!(windows(None), 1);
        assert_eq!(windows(Some(Seconds(0.0737))), 1);
        assert_eq!(windows(Some(Seconds(0.1))), 4);
    }

    #[test]
    fn a_plan_is_as_long_as_its_windows() {
        let plan = Plan::new(STANDARD, &sensor(0.1, 0.1), None);
        let delays: Vec<f64> = plan.delays.iter().map(|d| d.0).collect();
        assert_eq!(delays, [0.0, 0.025, 0.05, 0.1 / 4.0 * 3.0]);
        // Settling 0.3 s and 1 s of idling: 1.3 + 4·(5 + 1.3) s.
        assert!((plan.duration().0 - 26.5).abs() < 1e-9);
        let minute = REFERENCE.windows as f64 * REFERENCE.length.0;
        assert_eq!(minute, 60.0);
    }
}
