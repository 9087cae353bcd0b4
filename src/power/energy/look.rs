//! A window as it is looked at: the readings around it and what can be told from
//! them.

use super::{Method, Void, Window};
use crate::power::{Reading, Sensor, sampler};
use crate::stats;
use crate::units::{Joules, Seconds, Watts};

/// Readings above this multiple of the power limit are no power.
pub const PLAUSIBLE: f64 = 2.0;
/// A counter that has not moved for this many periods is stuck.
const STUCK_PERIODS: f64 = 10.0;
/// More than this many periods between two readings is a gap.
const GAP_PERIODS: f64 = 4.0;
/// Clocks and regulators take this long to follow the load (100 to 250 ms in
/// SC24): left out of the steady power.
const RISE: Seconds = Seconds(0.5);

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
pub(super) struct Look<'a> {
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
    pub(super) fn new(
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

    pub(super) fn by_counter(&self) -> Result<Joules, Void> {
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

    pub(super) fn by_integral(&self) -> Result<Joules, Void> {
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
        let [lowest, highest] = range(&watts).ok_or(Void::TooFewReadings)?;
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
        let slowest = sampler::interval(self.sensor).as_secs_f64();
        if longest > GAP_PERIODS * self.sensor.period().0.max(slowest) {
            return Err(Void::Gap {
                for_s: Seconds(longest),
            });
        }
        Ok(())
    }

    /// The integral of power between two moments, straight lines between the
    /// readings.
    pub(super) fn integrate(&self, from: f64, to: f64) -> f64 {
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

    pub(super) fn idle_before(&self) -> Option<f64> {
        self.idle(self.idle_from, self.begin)
    }

    pub(super) fn idle_after(&self) -> Option<f64> {
        self.idle(self.settled, self.idle_until)
    }

    /// The readings that show the work alone, realigned: those from the rise and
    /// the settling on, until the end.
    fn steady_points(&self) -> impl Iterator<Item = &Point> {
        let from = self.begin + RISE.0 + self.sensor.settling().0;
        let inside = move |p: &&Point| (from..=self.end).contains(&p.t);
        self.power.iter().filter(inside)
    }

    fn steady_readings(&self) -> Vec<f64> {
        self.steady_points().map(|p| p.value).collect()
    }

    pub(super) fn steady(&self) -> Option<f64> {
        self.by_integral().ok()?;
        stats::median(&self.steady_readings())
    }

    /// By how much an update differs from the mean of its neighbours, in the median and
    /// relative to the mean of all.
    pub(super) fn alternation(&self) -> Option<f64> {
        self.by_integral().ok()?;
        // One reading an update, however often it was read.
        let period = self.sensor.period().0;
        let mut last = f64::NEG_INFINITY;
        let is_next = |p: &&Point| {
            let is_next = p.t - last > 0.75 * period;
            last = if is_next { p.t } else { last };
            is_next
        };
        let updates: Vec<f64> = self
            .steady_points()
            .filter(is_next)
            .map(|p| p.value)
            .collect();
        let apart = updates.windows(3);
        let apart = apart.map(|three| (three[1] - (three[0] + three[2]) / 2.0).abs());
        let mean = updates.iter().sum::<f64>() / updates.len() as f64;
        Some(stats::median(&apart.collect::<Vec<_>>())? / mean)
    }

    /// Standard uncertainty of the energy by `method`.
    pub(super) fn uncertainty(&self, method: Method) -> f64 {
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

/// Lowest and highest of `values`; nothing without any.
fn range(values: &[f64]) -> Option<[f64; 2]> {
    let values = values.iter().copied();
    Some([values.clone().reduce(f64::min)?, values.reduce(f64::max)?])
}

fn longest_step(moments: &[f64]) -> f64 {
    let steps = moments.windows(2).map(|pair| pair[1] - pair[0]);
    steps.fold(0.0, f64::max)
}

impl Look<'_> {
    /// The counter's mean power between its first and its last update, for the
    /// whole time.
    pub(super) fn counter_over_all(&self) -> Result<Joules, Void> {
        if self.energy.is_empty() {
            return Err(Void::NotOffered);
        }
        self.counter_runs()?;
        let rate = self.counter_rate(self.begin, self.end);
        let rate = rate.ok_or(Void::TooFewReadings)?;
        self.plausible(rate, rate)?;
        Ok(Joules(rate * self.window.duration().0))
    }

    pub(super) fn integral_over_all(&self) -> Result<Joules, Void> {
        self.sound_power()?;
        if self.power.len() < 2 {
            return Err(Void::TooFewReadings);
        }
        Ok(Joules(self.integrate(self.begin, self.end)))
    }

    /// Lowest and highest reading of power.
    pub(super) fn power_range(&self) -> Option<[Watts; 2]> {
        let watts: Vec<f64> = self.power.iter().map(|p| p.value).collect();
        range(&watts).map(|ends| ends.map(Watts))
    }
}
