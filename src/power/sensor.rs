//! What a sensor does with time: how often its reading changes and over how long
//! it averages. Pure functions over readings, and the polling that feeds them.
//!
//! Sensors of graphics cards update every 20 to 100 ms and some look at a quarter
//! of that time only (Yang, Adámek and Armour, SC24, arXiv 2312.02741).

use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PowerError, PowerSource, Reading};
use crate::stats;
use crate::units::Seconds;

/// Readings of a detection: the longest known update period is 100 ms, of which
/// 2 s hold twenty, and a read every 2 ms tells 20 ms from 25 ms.
pub const DETECTION: Duration = Duration::from_secs(2);
/// Time between two reads of a detection.
pub const DETECTION_INTERVAL: Duration = Duration::from_millis(2);
/// Fewer changes say nothing about a period.
const FEWEST_CHANGES: usize = 6;
/// What is assumed where no change was seen: NVML's usual period.
pub const ASSUMED_PERIOD: Seconds = Seconds(0.1);
/// The longest averaging of any known sensor, assumed where nothing is known.
const LONGEST_AVERAGING: Seconds = Seconds(1.0);

/// What a source's readings do with time; found once for each device and stored
/// in the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sensor {
    /// How often the power changes; null where too few changes were seen.
    pub power: Option<Cadence>,
    /// How often the energy counter moves; null where too few changes were seen.
    pub energy: Option<Cadence>,
    /// Over how long a reading of power averages.
    pub averaging: Averaging,
}

/// How often a reading changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cadence {
    /// Time between two updates.
    pub period_s: Seconds,
    /// Changes that were seen.
    pub changes: usize,
    /// Whether almost every read saw a change, so that updates may come faster
    /// still.
    pub at_most: bool,
}

/// Over how long a reading of power averages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Averaging {
    /// The averaging window; null where only a bound is known, or nothing.
    pub window_s: Option<Seconds>,
    /// The averaging window is no longer than this; null where no bound is known.
    #[serde(default)]
    pub at_most_s: Option<Seconds>,
    /// How that is known.
    pub known: Known,
}

/// How something about a sensor is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// The vendor documents it.
    Documented,
    /// The vendor calls the reading instantaneous: it averages over one update
    /// period at most, and perhaps over a part of it.
    Instant,
    /// A bound, from how fast the readings followed at the edges of windows.
    StepResponse,
    /// Nothing is known.
    Unknown,
}

impl Averaging {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        window_s: None,
        at_most_s: None,
        known: Known::Unknown,
    };
    /// An energy counter averages nothing.
    pub const NONE: Self = Self {
        window_s: Some(Seconds(0.0)),
        at_most_s: None,
        known: Known::Documented,
    };
    /// Called instantaneous.
    pub const INSTANT: Self = Self {
        window_s: None,
        at_most_s: None,
        known: Known::Instant,
    };

    /// Averages over `window`, as the vendor says.
    pub fn documented(window: Seconds) -> Self {
        Self {
            window_s: Some(window),
            at_most_s: None,
            known: Known::Documented,
        }
    }
}

impl Sensor {
    /// What `readings` show; `averaging` is what is documented.
    pub fn detect(readings: &[Reading], averaging: Averaging) -> Self {
        let of = |value: fn(&Reading) -> Option<f64>| {
            let values = readings.iter();
            let values = values.filter_map(|r| Some((r.at_s.0, value(r)?)));
            cadence(&values.collect::<Vec<_>>())
        };
        Self {
            power: of(|reading| reading.power_w.map(|watts| watts.0)),
            energy: of(|reading| reading.energy_j.map(|joules| joules.0)),
            averaging,
        }
    }

    /// The update period of power, assumed where none was found.
    pub fn period(&self) -> Seconds {
        self.power.map_or(ASSUMED_PERIOD, |power| power.period_s)
    }

    /// By how much the period of power may be off: the first and the last change
    /// that it comes from are each known to one read. 0 where it is assumed.
    pub fn period_uncertainty(&self) -> Seconds {
        let read = DETECTION_INTERVAL.as_secs_f64();
        self.power.map_or(Seconds(0.0), |power| {
            Seconds(read / power.changes.max(1) as f64)
        })
    }

    /// The update period of the energy counter, assumed where none was found.
    pub fn energy_period(&self) -> Seconds {
        self.energy.map_or(ASSUMED_PERIOD, |energy| energy.period_s)
    }

    /// The longest that a reading may average over.
    pub fn longest_window(&self) -> Seconds {
        let averaging = &self.averaging;
        match (averaging.window_s.or(averaging.at_most_s), averaging.known) {
            (Some(window), _) => window,
            (None, Known::Instant) => self.period(),
            (None, _) => LONGEST_AVERAGING,
        }
    }

    /// The shortest that a reading may average over: a quarter of the period, the
    /// least that is known of any sensor, where it is not known.
    pub fn shortest_window(&self) -> Seconds {
        let unknown = Seconds(self.period().0 / 4.0);
        self.averaging.window_s.unwrap_or(unknown)
    }

    /// By how much a reading trails what it shows, on average: half its averaging
    /// window, and half a period for which it stands.
    pub fn lag(&self) -> Seconds {
        Seconds((self.longest_window().0 + self.period().0) / 2.0)
    }

    /// How long after an edge of the load the readings may still show something
    /// of what was before: one averaging window and two updates.
    pub fn settling(&self) -> Seconds {
        let slowest = self.period().0.max(self.energy_period().0);
        Seconds(self.longest_window().0 + 2.0 * slowest)
    }
}

/// The period of the changes among `values` over time. An update that brings the
/// same value again is not seen, so that some intervals between changes are
/// several periods long; unless the source reads by itself and tells when its
/// value arrived.
fn cadence(values: &[(f64, f64)]) -> Option<Cadence> {
    let pairs = || values.windows(2);
    let own_pace = pairs().any(|pair| pair[0].0 == pair[1].0);
    let is_update = |pair: &&[(f64, f64)]| match own_pace {
        true => pair[0].0 != pair[1].0,
        false => pair[0].1 != pair[1].1,
    };
    let fewest = if own_pace { 2 } else { FEWEST_CHANGES };
    let changed: Vec<f64> = pairs().filter(is_update).map(|pair| pair[1].0).collect();
    if changed.len() < fewest {
        return None;
    }
    let intervals: Vec<f64> = changed.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A low quantile is one period, however many updates went unseen, and not the
    // shortest interval, which a delayed read makes too short.
    let one = stats::quantile(&intervals, 0.2)?;
    let periods: f64 = intervals.iter().map(|i| (i / one).round().max(1.0)).sum();
    let period = intervals.iter().sum::<f64>() / periods;
    let reads: Vec<f64> = pairs().map(|pair| pair[1].0 - pair[0].0).collect();
    Some(Cadence {
        period_s: Seconds(period),
        changes: changed.len(),
        at_most: period < 1.5 * stats::median(&reads)?,
    })
}

/// Reads `source` for [`DETECTION`] and tells what its sensor does.
///
/// # Errors
/// As [`look`].
pub fn detect(source: &mut dyn PowerSource) -> Result<Sensor, PowerError> {
    let readings = look(source)?;
    Ok(Sensor::detect(&readings, source.identity().averaging))
}

/// Reads `source` for [`DETECTION`], so often that its updates can be told apart.
///
/// # Errors
/// When the device is lost. A source that has no value at times is no error.
pub fn look(source: &mut dyn PowerSource) -> Result<Vec<Reading>, PowerError> {
    let begin = Instant::now();
    let mut readings = Vec::new();
    while begin.elapsed() < DETECTION {
        let next = Instant::now() + DETECTION_INTERVAL;
        match source.read() {
            Ok(raw) => readings.push(Reading::since(begin, raw)),
            Err(error) if error.ends_the_run() => return Err(error),
            Err(_) => {}
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sensor_model::{Counter, Load, Part, Shape, Sums};

    use super::*;
    use crate::units::{Joules, Watts};

    /// A sensor of the model, with a counter that steps every 100 ms.
    fn model(period: f64, window: f64, phase: f64) -> sensor_model::Sensor {
        sensor_model::Sensor {
            period,
            window,
            phase,
            delay: 0.0,
            gain: 1.0,
            quantum: 1e-3,
            counter: Some(Counter {
                step: 0.1,
                phase: 0.037,
                quantum: 1e-3,
                sums: Sums::Truth,
            }),
        }
    }

    fn part(begin: f64, shape: Shape) -> Part {
        Part {
            begin,
            end: 1e9,
            shape,
        }
    }

    /// 60 W with small ripples, so that every update brings another value: no
    /// averaging window is a whole number of both their periods.
    fn idle() -> Load {
        let ripple = |period| Shape::Square {
            watts: 0.5,
            period,
            duty: 0.43,
            phase: 0.0,
        };
        let shapes = [
            Shape::Constant { watts: 60.0 },
            ripple(0.0371),
            ripple(0.0533),
        ];
        Load(shapes.map(|shape| part(0.0, shape)).into())
    }

    fn readings(
        sensor: &sensor_model::Sensor,
        load: &Load,
        interval: f64,
        count: usize,
    ) -> Vec<Reading> {
        let reading = |i| {
            let t = 10.0 + i as f64 * interval;
            Reading {
                at_s: Seconds(t),
                power_w: Some(Watts(sensor.power(load, t))),
                energy_j: sensor.energy(load, t).map(Joules),
            }
        };
        (0..count).map(reading).collect()
    }

    proptest! {
        /// Power that grows by 0.2 W a second brings another value with every update,
        /// 4 mW after 20 ms, whatever the sensor averages over.
        #[test]
        fn the_period_is_found_within_two_percent(
            period in prop::sample::select(vec![0.02, 0.05, 0.1]),
            window in 0.2f64..1.0,
            phase in 0.0f64..1.0,
        ) {
            let sensor = model(period, window * period, phase * period);
            let load = Load(vec![part(0.0, Shape::Ramp { from: 60.0, slope: 0.2 })]);
            let readings = readings(&sensor, &load, 0.00203, 1000);
            let found = Sensor::detect(&readings, Averaging::INSTANT);
            let power = found.power.expect("it changes").period_s.0;
            prop_assert!((power / period - 1.0).abs() < 0.02, "{power}");
            let energy = found.energy.expect("it counts").period_s.0;
            prop_assert!((energy / 0.1 - 1.0).abs() < 0.02, "{energy}");
        }
    }

    #[test]
    fn a_reading_that_never_changes_has_no_period() {
        let constant = Load(vec![part(0.0, Shape::Constant { watts: 60.0 })]);
        let found = readings(&model(0.1, 0.1, 0.0), &constant, 0.002, 1000);
        let found = Sensor::detect(&found, Averaging::UNKNOWN);
        assert_eq!(found.power, None);
        assert_eq!(found.period(), ASSUMED_PERIOD);
        assert_eq!(found.longest_window(), Seconds(1.0));
    }

    #[test]
    fn a_sensor_that_is_faster_than_the_reads_says_so() {
        let found = readings(&model(0.001, 0.001, 0.0), &idle(), 0.0021, 1000);
        let found = Sensor::detect(&found, Averaging::INSTANT);
        assert!(found.power.expect("it changes").at_most);
        let found = readings(&model(0.02, 0.01, 0.0), &idle(), 0.0021, 1000);
        let found = Sensor::detect(&found, Averaging::INSTANT);
        assert!(!found.power.expect("it changes").at_most);
    }
}
