//! What was read of a case's power, kept beside the report.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Report;
use super::store::{self, SaveError};
use crate::json_file::{self, Origin, range};
use crate::measure::measurement::Measurement;
use crate::measure::meter::Metered;
use crate::power::energy::Window;
use crate::power::sampler::{StateAt, Trace};
use crate::units::{Bytes, Joules, Seconds, Watts};

/// Readings, states of the device and the windows in which it worked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerTrace {
    /// What was read.
    trace: Trace,
    /// When the device worked, on the trace's clock.
    windows: Vec<Window>,
}

impl From<Metered> for PowerTrace {
    fn from(metered: Metered) -> Self {
        Self {
            trace: metered.trace,
            windows: metered.windows,
        }
    }
}

/// Where the readings of a measurement are kept, relative to the report's folder.
pub fn trace_name(measurement: &Measurement) -> String {
    let letter = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
        _ => '_',
    };
    let name: String = measurement.name().chars().map(letter).collect();
    format!("power/{name}.csv")
}

/// A reading as it stands in the file, with what else was known at that moment.
/// What is not known is empty.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracePoint {
    /// Since the first reading.
    pub time_s: Seconds,
    /// What the sensor said.
    pub power_w: Option<Watts>,
    /// What the energy counter said.
    pub energy_j: Option<Joules>,
    /// Number of the window that the reading lies in, from 1.
    pub window: Option<usize>,
    /// Clock of the compute units, as last read before.
    pub sm_clock_mhz: Option<u32>,
    /// Clock of the memory, as last read before.
    pub memory_clock_mhz: Option<u32>,
    /// Temperature, as last read before.
    pub temperature_c: Option<f64>,
}

/// The traces of a report, by [`Measurement::name`].
pub type Traces = BTreeMap<String, Vec<TracePoint>>;

/// A trace that is larger than this is none: an hour of readings is a thirtieth of it.
const LARGEST_TRACE: Bytes = Bytes(64 << 20);

/// Reads the traces that lie in the report's folder. Those that are missing or
/// broken are left out: the report holds its figures without them. A file is read once:
/// a second case that would have the same is left without.
pub fn load_traces(report: &Report, folder: &Path) -> Traces {
    let mut traces = Traces::new();
    let mut seen = HashSet::new();
    for measurement in report.measurements.iter().filter(|m| m.power.is_some()) {
        // Not by the name that the report states, which could be any path.
        let file = folder.join(trace_name(measurement));
        if !seen.insert(file.clone()) {
            continue;
        }
        let text = json_file::read(&file, LARGEST_TRACE, Origin::Found);
        if let Ok(Some(text)) = text
            && let Ok(points) = trace_points(&text)
        {
            traces.insert(measurement.name(), points);
        }
    }
    traces
}

/// The readings in the text of a trace.
///
/// # Errors
/// When it is no such text, or a number is none that its column can be, with the line and
/// the column.
pub fn trace_points(text: &str) -> Result<Vec<TracePoint>, csv::Error> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers()?.clone();
    let points = reader.into_records().map(|record| {
        let record = record?;
        for (column, number) in columns.iter().zip(&record) {
            let fault = number.parse().ok().and_then(|n| range::fault(column, n));
            if let Some(fault) = fault {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(io::Error::other(format!("line {line}: {column}: {fault}")).into());
            }
        }
        record.deserialize(Some(&columns))
    });
    points.collect()
}

impl PowerTrace {
    /// Every reading, in order.
    fn points(&self) -> impl Iterator<Item = TracePoint> {
        let first = self.trace.readings.first().map_or(0.0, |r| r.at_s.0);
        self.trace.readings.iter().map(move |reading| {
            let state = self.state_at(reading.at_s).map(|at| &at.state);
            TracePoint {
                // Tenths of a millisecond: sensors are no faster.
                time_s: Seconds(((reading.at_s.0 - first) * 1e4).round() / 1e4),
                power_w: reading.power_w,
                energy_j: reading.energy_j,
                window: self.window_at(reading.at_s),
                sm_clock_mhz: state.and_then(|s| s.sm_clock_mhz),
                memory_clock_mhz: state.and_then(|s| s.memory_clock_mhz),
                temperature_c: state.and_then(|s| s.temperature_c),
            }
        })
    }

    /// One line a reading, under a heading.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for point in self.points() {
            writer.serialize(point).expect("memory takes every byte");
        }
        let bytes = writer.into_inner().expect("memory takes every byte");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Writes the readings of `measurement`, if it has power, into the report's folder.
    ///
    /// # Errors
    /// When the file or its folder cannot be written.
    pub fn save(&self, measurement: &Measurement, folder: &Path) -> Result<(), SaveError> {
        // Not at the place that the record names, which somebody may have put there.
        match measurement.power {
            Some(_) => store::write_into(folder, trace_name(measurement), self.csv().as_bytes()),
            None => Ok(()),
        }
    }

    fn state_at(&self, moment: Seconds) -> Option<&StateAt> {
        let states = &self.trace.states;
        let next = states.partition_point(|state| state.at_s <= moment);
        states.get(next.checked_sub(1)?)
    }

    fn window_at(&self, moment: Seconds) -> Option<usize> {
        let holds = |w: &Window| w.begin_s <= moment && moment <= w.end_s;
        self.windows.iter().position(holds).map(|index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_no_sensor_shows_is_named() {
        for number in ["-1", "1e308", "5e-324", "inf", "NaN"] {
            let error = trace_points(&format!("time_s,power_w\n0,50\n1,{number}\n"));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("line 3: power_w: "), "{error}");
        }
    }

    /// Three readings half a second apart; the second lies in the window.
    #[test]
    fn a_trace_is_a_line_for_every_reading() {
        let trace = serde_json::from_value(serde_json::json!({
            "trace": {
                "source": {
                    "name": "nvml:0", "device": "Testcard 0", "covers": "gpu-board",
                    "power": {"field": "x"}, "energy": {"field": "y"},
                    "averaging": {"window_s": null, "known": "unknown"}, "pci_address": null,
                },
                "sensor": {
                    "power": null, "energy": null,
                    "averaging": {"window_s": null, "known": "unknown"},
                },
                "readings": [
                    {"at_s": 2.0, "power_w": 50.0, "energy_j": null},
                    {"at_s": 2.5, "power_w": 300.25, "energy_j": 7.5},
                    {"at_s": 3.0, "power_w": null, "energy_j": 8.0},
                ],
                "states": [{"at_s": 2.2, "state": {"sm_clock_mhz": 1410, "temperature_c": 40.0}}],
                "failed_reads": 0, "first_failure": null, "ended_by": null,
                "cost": {"cpu_s": 0.0, "wall_s": 1.0},
            },
            "windows": [{"begin_s": 2.4, "end_s": 2.9, "idle_before_s": 1.0, "idle_after_s": 1.0}],
        }));
        let trace: PowerTrace = trace.expect("a trace");
        assert_eq!(
            trace.csv(),
            "time_s,power_w,energy_j,window,sm_clock_mhz,memory_clock_mhz,temperature_c\n\
             0.0,50.0,,,,,\n\
             0.5,300.25,7.5,1,1410,,40.0\n\
             1.0,,8.0,,1410,,40.0\n"
        );
    }
}
