//! The energy of a window, from readings. Pure.
//!
//! A window is a stretch of work with an idle queue before and after. Both ways
//! to its energy use that: whatever a reading shows late shows up while the
//! device is idle again, and what the idle device drew in that time is taken off.
//!
//! - **Counter**: difference of the counter from its last update before the
//!   window to its first one after the device has settled.
//! - **Integral**: the readings of power, added up from the beginning of the
//!   window until the device has settled. An average over the past moves energy
//!   to later readings, but neither makes nor loses any.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Reading, Sensor};
use crate::stats;
use crate::units::{Joules, Seconds, Watts};

/// Error of a board's sensor that no window can show: proportional, the same in
/// every reading (SC24, arXiv 2312.02741).
pub const BOARD_ERROR: f64 = 0.05;
/// The two ways may differ by this much before the figure is flagged.
pub const TOLERATED_DISAGREEMENT: f64 = 0.05;
/// Readings above this multiple of the power limit are no power.
pub const PLAUSIBLE: f64 = 2.0;
/// A counter that has not moved for this many periods is stuck.
const STUCK_PERIODS: f64 = 10.0;
/// More than this many periods between two readings is a gap.
const GAP_PERIODS: f64 = 4.0;
/// Clocks and regulators take this long to follow the load (100 to 250 ms in
/// SC24): left out of the steady power.
const RISE: Seconds = Seconds(0.5);

/// A stretch of work, on the sampler's clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// When the queue got its first work.
    pub begin_s: Seconds,
    /// When the queue was empty again.
    pub end_s: Seconds,
    /// For how long it had been empty.
    pub idle_before_s: Seconds,
    /// For how long it stayed empty.
    pub idle_after_s: Seconds,
}

impl Window {
    /// How long the work took.
    pub fn duration(&self) -> Seconds {
        Seconds(self.end_s.0 - self.begin_s.0)
    }
}

/// Why a way to the energy gives no figure.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Void {
    /// There are no such readings.
    #[error("the source gives no such readings")]
    NotOffered,
    /// The counter ran backwards.
    #[error("the energy counter ran backwards, from {from_j} to {to_j}: the driver has reset it")]
    CounterBackwards {
        /// Before.
        from_j: Joules,
        /// After.
        to_j: Joules,
    },
    /// The counter stood still.
    #[error("the energy counter stood still for {for_s} while the device worked")]
    CounterStuck {
        /// For how long.
        for_s: Seconds,
    },
    /// The sensor shows no power.
    #[error("the sensor shows {watts} while the device worked, which cannot be")]
    ZeroPower {
        /// The lowest reading.
        watts: Watts,
    },
    /// The sensor shows more than the device can draw.
    #[error(
        "the sensor shows {watts}, more than twice the power limit of {limit_w}, which cannot be"
    )]
    AbsurdPower {
        /// The highest reading.
        watts: Watts,
        /// The limit in force.
        limit_w: Watts,
    },
    /// Readings are missing.
    #[error("there is no reading for {for_s} within the window")]
    Gap {
        /// For how long.
        for_s: Seconds,
    },
    /// The idle device was not read on both sides.
    #[error("there are too few readings of the idle device before and after the window")]
    IdleUnknown,
}

/// What one way to the energy gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Energy of the window.
    EnergyJ(Joules),
    /// Why there is none.
    Void(Void),
}

impl From<Result<Joules, Void>> for Outcome {
    fn from(result: Result<Joules, Void>) -> Self {
        match result {
            Ok(energy) => Self::EnergyJ(energy),
            Err(why) => Self::Void(why),
        }
    }
}

impl Outcome {
    /// The energy, if there is one.
    pub fn energy(&self) -> Option<Joules> {
        match self {
            Self::EnergyJ(energy) => Some(*energy),
            Self::Void(_) => None,
        }
    }

    /// Why there is none.
    pub fn void(&self) -> Option<&Void> {
        match self {
            Self::EnergyJ(_) => None,
            Self::Void(why) => Some(why),
        }
    }
}

/// A way to the energy of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Difference of the energy counter.
    Counter,
    /// Integral of the power readings.
    Integral,
}

/// What the readings say of a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowEnergy {
    /// The window.
    pub window: Window,
    /// Energy by the counter.
    pub counter: Outcome,
    /// Energy by integration.
    pub integral: Outcome,
    /// By how much the two differ, relative to their mean; null where one is
    /// missing.
    pub disagreement: Option<f64>,
    /// Energy of the window, idle power included: by the counter where it counts,
    /// else by integration; null where neither gives a figure.
    pub energy_j: Option<Joules>,
    /// How it was found.
    pub method: Option<Method>,
    /// Power of the idle device before the window.
    pub idle_before_w: Option<Watts>,
    /// Power of the idle device after the window.
    pub idle_after_w: Option<Watts>,
    /// Median of the readings that show nothing of the rise and of idling.
    pub steady_w: Option<Watts>,
    /// Standard uncertainty of the energy from what the sensor leaves open at the
    /// edges and between its looks; without the board's error.
    pub uncertainty_j: Option<Joules>,
}

impl WindowEnergy {
    /// Mean power of the window.
    pub fn mean_power(&self) -> Option<Watts> {
        let energy = self.energy_j?;
        Some(Watts(energy.0 / self.window.duration().0))
    }

    /// Power of the idle device, mean of before and after.
    pub fn idle(&self) -> Option<Watts> {
        let (before, after) = (self.idle_before_w?, self.idle_after_w?);
        Some(Watts((before.0 + after.0) / 2.0))
    }

    /// Energy above that of the idle device.
    pub fn net(&self) -> Option<Joules> {
        let idle = self.idle()?.0 * self.window.duration().0;
        Some(Joules(self.energy_j?.0 - idle))
    }

    /// Why there is no energy; nothing where there is.
    pub fn why_not(&self) -> Option<&Void> {
        if self.energy_j.is_some() {
            return None;
        }
        // What is wrong with a reading says more than that another is not there.
        let voids = [self.counter.void(), self.integral.void()];
        let mut voids = voids.into_iter().flatten();
        let first = voids.next()?;
        match first {
            Void::NotOffered => voids.next().or(Some(first)),
            _ => Some(first),
        }
    }
}

/// The energy of `window`, read by `sensor` from a device whose power limit is
/// `limit`. `readings` are in the order of time and cover the idle time on both
/// sides.
pub fn of_window(
    readings: &[Reading],
    window: &Window,
    sensor: &Sensor,
    limit: Option<Watts>,
) -> WindowEnergy {
    let look = Look::new(readings, window, sensor, limit);
    let counter = look.by_counter();
    let integral = look.by_integral();
    let (energy, method) = match (&counter, &integral) {
        (Ok(energy), _) => (Some(*energy), Some(Method::Counter)),
        (_, Ok(energy)) => (Some(*energy), Some(Method::Integral)),
        _ => (None, None),
    };
    let disagreement = match (&counter, &integral) {
        (Ok(a), Ok(b)) => Some((a.0 - b.0).abs() / ((a.0 + b.0) / 2.0)),
        _ => None,
    };
    WindowEnergy {
        window: *window,
        disagreement,
        energy_j: energy,
        method,
        idle_before_w: look.idle_before().map(Watts),
        idle_after_w: look.idle_after().map(Watts),
        steady_w: look.steady().map(Watts),
        uncertainty_j: method.map(|method| Joules(look.uncertainty(method))),
        counter: counter.into(),
        integral: integral.into(),
    }
}

/// A moment and a value.
#[derive(Clone, Copy, Debug)]
struct Point {
    t: f64,
    value: f64,
}

/// An update of the counter: at some moment between two reads.
#[derive(Clone, Copy, Debug)]
struct Update {
    after: f64,
    until: f64,
    energy: f64,
}

impl Update {
    fn t(&self) -> f64 {
        (self.after + self.until) / 2.0
    }
}

/// A window as it is looked at.
struct Look<'a> {
    window: &'a Window,
    sensor: &'a Sensor,
    limit: Option<Watts>,
    power: Vec<Point>,
    energy: Vec<Point>,
    updates: Vec<Update>,
    begin: f64,
    end: f64,
    /// From here to `begin` the device was idle and the readings show it.
    idle_from: f64,
    /// From here on the readings show nothing of the window.
    settled: f64,
    idle_until: f64,
}

impl<'a> Look<'a> {
    fn new(
        readings: &[Reading],
        window: &'a Window,
        sensor: &'a Sensor,
        limit: Option<Watts>,
    ) -> Self {
        let (begin, end) = (window.begin_s.0, window.end_s.0);
        let idle_until = end + window.idle_after_s.0;
        let earliest = begin - window.idle_before_s.0;
        let settling = sensor.settling().0;
        let first = readings.partition_point(|r| r.at_s.0 < earliest);
        let last = readings.partition_point(|r| r.at_s.0 <= idle_until);
        let readings = &readings[first.min(last)..last];
        let points = |value: fn(&Reading) -> Option<f64>| -> Vec<Point> {
            let points = readings.iter().filter_map(|r| {
                let value = value(r)?;
                Some(Point { t: r.at_s.0, value })
            });
            points.collect()
        };
        let power = points(|r| r.power_w.map(|watts| watts.0));
        let energy = points(|r| r.energy_j.map(|joules| joules.0));
        let moved = energy
            .windows(2)
            .filter(|pair| pair[0].value != pair[1].value);
        let updates = moved.map(|pair| Update {
            after: pair[0].t,
            until: pair[1].t,
            energy: pair[1].value,
        });
        Self {
            updates: updates.collect(),
            power,
            energy,
            window,
            sensor,
            limit,
            begin,
            end,
            // What went on before may show for as long as the sensor settles.
            idle_from: earliest + settling.min(window.idle_before_s.0 / 2.0),
            settled: end + settling,
            idle_until,
        }
    }

    fn by_counter(&self) -> Result<Joules, Void> {
        if self.energy.is_empty() {
            return Err(Void::NotOffered);
        }
        self.counter_runs()?;
        let first = self.updates.iter().rev().find(|u| u.until <= self.begin);
        let last = self.updates.iter().find(|u| u.after >= self.settled);
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Void::IdleUnknown);
        };
        let before = self.counter_rate(self.idle_from, self.begin);
        let after = self.counter_rate(self.settled, self.idle_until);
        let before = before.or(self.power_level(self.idle_from, self.begin));
        let after = after.or(self.power_level(self.settled, self.idle_until));
        let (Some(before), Some(after)) = (before, after) else {
            return Err(Void::IdleUnknown);
        };
        let idle = before * (self.begin - first.t()) + after * (last.t() - self.end);
        let energy = last.energy - first.energy - idle;
        let duration = self.window.duration().0;
        self.plausible(energy / duration, energy / duration)?;
        Ok(Joules(energy))
    }

    /// Refuses a counter that runs backwards or stands still.
    fn counter_runs(&self) -> Result<(), Void> {
        let back = self
            .energy
            .windows(2)
            .find(|pair| pair[1].value < pair[0].value);
        if let Some(pair) = back {
            return Err(Void::CounterBackwards {
                from_j: Joules(pair[0].value),
                to_j: Joules(pair[1].value),
            });
        }
        let inside = self.updates.iter().map(Update::t);
        let inside = inside.filter(|t| (self.begin..self.end).contains(t));
        let moments: Vec<f64> = [self.begin]
            .into_iter()
            .chain(inside)
            .chain([self.end])
            .collect();
        let longest = longest_step(&moments);
        // A counter whose period is not known may move once in a window.
        let patience = match self.sensor.energy {
            Some(cadence) => STUCK_PERIODS * cadence.period_s.0,
            None => self.window.duration().0,
        };
        if longest >= patience {
            return Err(Void::CounterStuck {
                for_s: Seconds(longest),
            });
        }
        Ok(())
    }

    /// Mean power between the first and the last update in an interval.
    fn counter_rate(&self, from: f64, to: f64) -> Option<f64> {
        let inside = |update: &&Update| update.after >= from && update.until <= to;
        let first = self.updates.iter().find(inside)?;
        let last = self.updates.iter().rev().find(inside)?;
        let time = last.t() - first.t();
        // Over less than some periods the moments of the updates are too vague.
        let enough = time > 2.0 * self.sensor.energy_period().0;
        enough.then(|| (last.energy - first.energy) / time)
    }

    fn by_integral(&self) -> Result<Joules, Void> {
        self.sound_power()?;
        let before = self.power_level(self.idle_from, self.begin);
        let after = self.power_level(self.settled, self.idle_until);
        let (Some(before), Some(after)) = (before, after) else {
            return Err(Void::IdleUnknown);
        };
        // The first readings still show what was before the window; as much of
        // what follows it is missing at the end.
        let lag = self.sensor.lag().0;
        let idle = before * lag + after * (self.settled - self.end - lag);
        Ok(Joules(self.integrate(self.begin, self.settled) - idle))
    }

    /// Refuses readings of power with gaps or that no device draws.
    fn sound_power(&self) -> Result<(), Void> {
        if self.power.is_empty() {
            return Err(Void::NotOffered);
        }
        self.no_gap()?;
        let seen = |p: &&Point| (self.begin..=self.settled).contains(&p.t);
        let watts: Vec<f64> = self.power.iter().filter(seen).map(|p| p.value).collect();
        let lowest = watts.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = watts.iter().copied().fold(0.0, f64::max);
        self.plausible(lowest, highest)
    }

    /// Refuses a power that no device draws.
    fn plausible(&self, lowest: f64, highest: f64) -> Result<(), Void> {
        if lowest <= 0.0 {
            return Err(Void::ZeroPower {
                watts: Watts(lowest),
            });
        }
        match self.limit {
            Some(limit) if highest > PLAUSIBLE * limit.0 => Err(Void::AbsurdPower {
                watts: Watts(highest),
                limit_w: limit,
            }),
            _ => Ok(()),
        }
    }

    fn no_gap(&self) -> Result<(), Void> {
        let inside = self.power.iter().map(|p| p.t);
        let inside = inside.filter(|t| (self.begin..self.settled).contains(t));
        let ends = [self.begin, self.settled.min(self.idle_until)];
        let moments: Vec<f64> = [ends[0]]
            .into_iter()
            .chain(inside)
            .chain([ends[1]])
            .collect();
        let longest = longest_step(&moments);
        let slowest = super::sampler::interval(self.sensor).as_secs_f64();
        if longest > GAP_PERIODS * self.sensor.period().0.max(slowest) {
            return Err(Void::Gap {
                for_s: Seconds(longest),
            });
        }
        Ok(())
    }

    /// The integral of power between two moments, straight lines between the
    /// readings.
    fn integrate(&self, from: f64, to: f64) -> f64 {
        let pairs = self.power.windows(2);
        pairs
            .map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                let (t0, t1) = (a.t.max(from), b.t.min(to));
                if t1 <= t0 {
                    return 0.0;
                }
                let at = |t: f64| a.value + (b.value - a.value) * (t - a.t) / (b.t - a.t);
                (at(t0) + at(t1)) / 2.0 * (t1 - t0)
            })
            .sum()
    }

    /// Mean of the power readings in an interval.
    fn power_level(&self, from: f64, to: f64) -> Option<f64> {
        let inside = self.power.iter().filter(|p| (from..to).contains(&p.t));
        let watts: Vec<f64> = inside.map(|p| p.value).collect();
        (!watts.is_empty()).then(|| watts.iter().sum::<f64>() / watts.len() as f64)
    }

    /// Power of the idle device between two moments, by readings of power where
    /// there are any.
    fn idle(&self, from: f64, to: f64) -> Option<f64> {
        let idle = self.power_level(from, to);
        let idle = idle.or_else(|| self.counter_rate(from, to));
        idle.filter(|watts| *watts > 0.0)
    }

    fn idle_before(&self) -> Option<f64> {
        self.idle(self.idle_from, self.begin)
    }

    fn idle_after(&self) -> Option<f64> {
        self.idle(self.settled, self.idle_until)
    }

    /// The readings that show the work alone, realigned: those from the rise and
    /// the settling on, until the end.
    fn steady_readings(&self) -> Vec<f64> {
        let from = self.begin + RISE.0 + self.sensor.settling().0;
        let inside = self
            .power
            .iter()
            .filter(|p| (from..=self.end).contains(&p.t));
        inside.map(|p| p.value).collect()
    }

    fn steady(&self) -> Option<f64> {
        self.by_integral().ok()?;
        stats::median(&self.steady_readings())
    }

    /// Standard uncertainty of the energy by `method`.
    fn uncertainty(&self, method: Method) -> f64 {
        // A moment that may lie anywhere in an interval has this deviation.
        let anywhere = |interval: f64| interval / f64::sqrt(12.0);
        let (before, after) = (
            self.idle_before().unwrap_or(0.0),
            self.idle_after().unwrap_or(0.0),
        );
        // How fast the device comes to rest is not seen.
        let tail = (after - before) * anywhere(self.settled - self.end);
        let vague = match method {
            Method::Counter => {
                let reads: Vec<f64> = self.energy.windows(2).map(|p| p[1].t - p[0].t).collect();
                let read = stats::median(&reads).unwrap_or(0.0);
                vec![before * anywhere(read), after * anywhere(read)]
            }
            Method::Integral => self.sampling_error(before, after),
        };
        vague
            .iter()
            .chain([&tail])
            .map(|e| e * e)
            .sum::<f64>()
            .sqrt()
    }

    /// What a sensor misses that looks for a part of its period only: where in
    /// the period the edges fell, and what happened between its looks.
    fn sampling_error(&self, before: f64, after: f64) -> Vec<f64> {
        let period = self.sensor.period().0;
        let unseen = (period - self.sensor.shortest_window().0).max(0.0);
        let steady = self.steady_readings();
        let mean = steady.iter().sum::<f64>() / steady.len().max(1) as f64;
        let variance = steady.iter().map(|w| (w - mean).powi(2)).sum::<f64>();
        let deviation = (variance / steady.len().max(1) as f64).sqrt();
        let looks = (self.window.duration().0 / period).max(1.0);
        let between = match unseen > 0.0 {
            true => deviation * self.window.duration().0 / looks.sqrt(),
            false => 0.0,
        };
        let edge = unseen / f64::sqrt(12.0);
        vec![(mean - before) * edge, (mean - after) * edge, between]
    }
}

fn longest_step(moments: &[f64]) -> f64 {
    let steps = moments.windows(2).map(|pair| pair[1] - pair[0]);
    steps.fold(0.0, f64::max)
}

/// What the readings say of a stretch with no idle time around it, as when a
/// device is only watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stretch {
    /// From the first reading to the last.
    pub duration_s: Seconds,
    /// Energy by the counter.
    pub counter: Outcome,
    /// Energy by integration.
    pub integral: Outcome,
    /// Mean power, by the counter where it counts.
    pub mean_w: Option<Watts>,
    /// Lowest and highest reading of power.
    pub range_w: Option<[Watts; 2]>,
}

/// Power and energy over all of `readings`.
pub fn of_stretch(readings: &[Reading], sensor: &Sensor, limit: Option<Watts>) -> Stretch {
    let at = |reading: Option<&Reading>| reading.map_or(Seconds(0.0), |r| r.at_s);
    let window = Window {
        begin_s: at(readings.first()),
        end_s: at(readings.last()),
        idle_before_s: Seconds(0.0),
        idle_after_s: Seconds(0.0),
    };
    let duration = window.duration();
    let look = Look::new(readings, &window, sensor, limit);
    let counter = look.counter_over_all();
    let integral = look.integral_over_all();
    let energy = counter.as_ref().or(integral.as_ref()).ok();
    let watts = || look.power.iter().map(|p| p.value);
    let range = [
        watts().reduce(f64::min).map(Watts),
        watts().reduce(f64::max).map(Watts),
    ];
    Stretch {
        duration_s: duration,
        mean_w: energy.map(|energy| Watts(energy.0 / duration.0)),
        range_w: match (&integral, range) {
            (Ok(_), [Some(low), Some(high)]) => Some([low, high]),
            _ => None,
        },
        counter: counter.into(),
        integral: integral.into(),
    }
}

impl Look<'_> {
    /// The counter's mean power between its first and its last update, for the
    /// whole time.
    fn counter_over_all(&self) -> Result<Joules, Void> {
        if self.energy.is_empty() {
            return Err(Void::NotOffered);
        }
        self.counter_runs()?;
        let rate = self.counter_rate(self.begin, self.end);
        let rate = rate.ok_or(Void::CounterStuck {
            for_s: self.window.duration(),
        })?;
        self.plausible(rate, rate)?;
        Ok(Joules(rate * self.window.duration().0))
    }

    fn integral_over_all(&self) -> Result<Joules, Void> {
        self.sound_power()?;
        Ok(Joules(self.integrate(self.begin, self.end)))
    }
}

#[cfg(test)]
mod tests;
