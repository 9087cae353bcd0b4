//! What was read of a case's power, kept beside the report.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store::{self, SaveError};
use crate::measure::measurement::Measurement;
use crate::measure::meter::Metered;
use crate::power::energy::Window;
use crate::power::sampler::{StateAt, Trace};
use crate::units::Seconds;

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

const HEADER: [&str; 7] = [
    "time_s",
    "power_w",
    "energy_j",
    "window",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
];

impl PowerTrace {
    /// One line a reading: seconds since the first, watts, the energy counter in
    /// joules, the number of the window that it lies in (from 1), and clocks in
    /// MHz and temperature as last read before it. What is not known is empty.
    pub fn csv(&self) -> String {
        let mut text = HEADER.join(",") + "\n";
        let first = self.trace.readings.first().map_or(0.0, |r| r.at_s.0);
        for reading in &self.trace.readings {
            let state = self.state_at(reading.at_s).map(|at| &at.state);
            let fields = [
                Some(format!("{:.4}", reading.at_s.0 - first)),
                reading.power_w.map(|watts| watts.0.to_string()),
                reading.energy_j.map(|joules| joules.0.to_string()),
                self.window_at(reading.at_s).map(|n| n.to_string()),
                state.and_then(|s| Some(s.sm_clock_mhz?.to_string())),
                state.and_then(|s| Some(s.memory_clock_mhz?.to_string())),
                state.and_then(|s| Some(s.temperature_c?.to_string())),
            ];
            text += &fields.map(Option::unwrap_or_default).join(",");
            text += "\n";
        }
        text
    }

    /// Writes the readings of `measurement` into the report's folder, at the place
    /// that the record names.
    ///
    /// # Errors
    /// When the file or its folder cannot be written.
    pub fn save(&self, measurement: &Measurement, folder: &Path) -> Result<(), SaveError> {
        let named = measurement.power.as_ref().and_then(|p| p.trace.as_ref());
        let Some(path) = named.map(|name| folder.join(name)) else {
            return Ok(());
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|cause| SaveError {
                path: folder.to_owned(),
                cause,
            })?;
        }
        store::write_atomically(&path, self.csv().as_bytes())
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
             0.0000,50,,,,,\n\
             0.5000,300.25,7.5,1,1410,,40\n\
             1.0000,,8,,1410,,40\n"
        );
    }
}
