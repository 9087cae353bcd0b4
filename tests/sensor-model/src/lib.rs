//! What a power sensor shows of a known load.
//!
//! A [`Load`] is the true power over time, with its energy in closed form. A
//! [`Sensor`] sees it through an update period and an averaging window, and a
//! [`Counter`] adds it up in steps. This crate knows nothing of the code that
//! reads sensors: it is what that code is held against.
//!
//! Times are in seconds, power in watts, energy in joules.

use serde::Deserialize;

/// True power: the sum of parts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Load(pub Vec<Part>);

/// Power of some shape between two moments, nothing outside.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Part {
    /// When it begins.
    #[serde(default = "always_before")]
    pub begin: f64,
    /// When it ends.
    #[serde(default = "always_after")]
    pub end: f64,
    /// Its shape; time counts from `begin`.
    #[serde(flatten)]
    pub shape: Shape,
}

fn always_before() -> f64 {
    0.0
}

fn always_after() -> f64 {
    1e9
}

/// Power over the time since a part began.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case")]
pub enum Shape {
    /// The same all the time.
    Constant {
        /// Power.
        watts: f64,
    },
    /// On for a share of every cycle, off for the rest.
    Square {
        /// Power while on.
        watts: f64,
        /// Length of a cycle.
        period: f64,
        /// Share of the cycle that is on.
        duty: f64,
        /// Share of the cycle that has passed when the part begins.
        #[serde(default)]
        phase: f64,
    },
    /// A straight line.
    Ramp {
        /// Power at the beginning.
        from: f64,
        /// Change in watts a second.
        slope: f64,
    },
    /// `watts`·e^(−t/tau): how power rises (with negative watts, on top of a
    /// constant) and how it falls after a load.
    Decay {
        /// Power at the beginning.
        watts: f64,
        /// Time constant.
        tau: f64,
    },
}

impl Shape {
    /// Power at `t` after the beginning.
    fn power(self, t: f64) -> f64 {
        match self {
            Self::Constant { watts } => watts,
            Self::Square {
                watts,
                period,
                duty,
                phase,
            } => {
                let cycle = (t / period + phase).rem_euclid(1.0);
                if cycle < duty { watts } else { 0.0 }
            }
            Self::Ramp { from, slope } => from + slope * t,
            Self::Decay { watts, tau } => watts * (-t / tau).exp(),
        }
    }

    /// Energy from the beginning to `t`.
    fn energy(self, t: f64) -> f64 {
        match self {
            Self::Constant { watts } => watts * t,
            Self::Square {
                watts,
                period,
                duty,
                phase,
            } => {
                let on = |cycles: f64| duty * cycles.floor() + cycles.rem_euclid(1.0).min(duty);
                watts * period * (on(t / period + phase) - on(phase))
            }
            Self::Ramp { from, slope } => from * t + slope * t * t / 2.0,
            Self::Decay { watts, tau } => watts * tau * (1.0 - (-t / tau).exp()),
        }
    }
}

impl Load {
    /// True power at `t`.
    pub fn power(&self, t: f64) -> f64 {
        let active = self.0.iter().filter(|p| p.begin <= t && t < p.end);
        active.map(|p| p.shape.power(t - p.begin)).sum()
    }

    /// True energy between two moments.
    pub fn energy(&self, from: f64, to: f64) -> f64 {
        let apart = |p: &Part| p.end <= from || to <= p.begin;
        let part = |p: &Part| {
            if apart(p) {
                return 0.0;
            }
            let until = |t: f64| p.shape.energy(t.clamp(p.begin, p.end) - p.begin);
            until(to) - until(from)
        };
        self.0.iter().map(part).sum()
    }
}

/// How a sensor sees power.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Sensor {
    /// Time between two updates of the reading.
    pub period: f64,
    /// The reading is the mean over this long before the update.
    pub window: f64,
    /// The first update after time 0.
    #[serde(default)]
    pub phase: f64,
    /// How long after its window ends a reading shows.
    #[serde(default)]
    pub delay: f64,
    /// Error of the board, as a factor of power and energy.
    #[serde(default = "exact")]
    pub gain: f64,
    /// Readings are multiples of this.
    #[serde(default = "milli")]
    pub quantum: f64,
    /// Its energy counter, if it has one.
    #[serde(default)]
    pub counter: Option<Counter>,
}

/// An energy counter.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Counter {
    /// Time between two steps.
    pub step: f64,
    /// The first step after time 0.
    #[serde(default)]
    pub phase: f64,
    /// Counts are multiples of this.
    #[serde(default = "milli")]
    pub quantum: f64,
    /// What it adds up.
    #[serde(default)]
    pub sums: Sums,
}

/// What an energy counter adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sums {
    /// The true power.
    #[default]
    Truth,
    /// The sensor's readings, each for one period: it misses what they miss.
    Readings,
}

fn exact() -> f64 {
    1.0
}

fn milli() -> f64 {
    1e-3
}

fn quantised(value: f64, quantum: f64) -> f64 {
    (value / quantum).round() * quantum
}

/// The last moment phase + n·step that is not after `t`. The tolerance keeps a
/// moment that was itself computed as such from falling into the step before.
fn last_step(t: f64, step: f64, phase: f64) -> f64 {
    ((t - phase) / step + 1e-9).floor() * step + phase
}

impl Sensor {
    /// The mean over the averaging window that ends at `update`.
    fn seen(&self, load: &Load, update: f64) -> f64 {
        let end = update - self.delay;
        load.energy(end - self.window, end) / self.window
    }

    /// The reading at `t`.
    pub fn power(&self, load: &Load, t: f64) -> f64 {
        let update = last_step(t, self.period, self.phase);
        quantised(self.gain * self.seen(load, update), self.quantum)
    }

    /// The counter at `t`, if there is one.
    pub fn energy(&self, load: &Load, t: f64) -> Option<f64> {
        let counter = self.counter?;
        let step = last_step(t, counter.step, counter.phase);
        let sum = match counter.sums {
            Sums::Truth => load.energy(0.0, step),
            Sums::Readings => self.sum_of_readings(load, step),
        };
        Some(quantised(self.gain * sum, counter.quantum))
    }

    fn sum_of_readings(&self, load: &Load, until: f64) -> f64 {
        let updates = ((until - self.phase) / self.period + 1e-9).floor() as i64;
        let update = |n| self.phase + n as f64 * self.period;
        (0..=updates)
            .map(|n| self.seen(load, update(n)) * self.period)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always(shape: Shape) -> Part {
        Part {
            begin: 0.0,
            end: 1e9,
            shape,
        }
    }

    /// The closed forms against the midpoint rule with 10⁵ strips.
    #[test]
    fn energy_is_the_integral_of_power() {
        let shapes = [
            Shape::Constant { watts: 70.0 },
            Shape::Square {
                watts: 50.0,
                period: 0.3,
                duty: 0.4,
                phase: 0.7,
            },
            Shape::Ramp {
                from: 10.0,
                slope: -2.0,
            },
            Shape::Decay {
                watts: 90.0,
                tau: 0.5,
            },
        ];
        for shape in shapes {
            let part = Part {
                begin: 0.25,
                end: 2.5,
                shape,
            };
            let load = Load(vec![part, always(Shape::Constant { watts: 1.0 })]);
            let strip = 3.0 / 1e5;
            let sum: f64 = (0..100_000)
                .map(|i| load.power((f64::from(i) + 0.5) * strip) * strip)
                .sum();
            assert!((sum - load.energy(0.0, 3.0)).abs() < 5e-3, "{shape:?}");
        }
    }

    /// On for the first half of each second: readings at 1.1 and 1.3 s average
    /// the half of the period that ended at 1 s (off) and at 1.25 s (on).
    #[test]
    fn a_reading_is_the_mean_before_the_last_update() {
        let load = Load(vec![always(Shape::Square {
            watts: 100.0,
            period: 1.0,
            duty: 0.5,
            phase: 0.0,
        })]);
        let sensor = Sensor {
            period: 0.25,
            window: 0.25,
            phase: 0.0,
            delay: 0.0,
            gain: 1.0,
            quantum: 1e-3,
            counter: Some(Counter {
                step: 0.1,
                phase: 0.05,
                quantum: 1e-3,
                sums: Sums::Truth,
            }),
        };
        assert_eq!(sensor.power(&load, 1.1), 0.0);
        assert_eq!(sensor.power(&load, 1.3), 100.0);
        // Steps at 1.05 and 1.15 s: 50 J of the first second, then 5 J.
        assert_eq!(sensor.energy(&load, 1.14), Some(55.0));
    }
}
