//! The power of a case: what the windows of its timed dispatches came to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measurement::{Efficiency, Flag};
use crate::kernel::problem::Work;
use crate::power::case::{CaseEnergy, EnergyFlag};
use crate::power::sampler::Cost;
use crate::power::state::ThrottleReason;
use crate::power::{Coverage, DeviceState, SourceIdentity};
use crate::stats;
use crate::units::{Gflops, Joules, Seconds, Watts};

/// Power and energy of the dispatches that were timed, as the device reports
/// them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Power {
    /// Name of the source: `nvml:0`.
    pub source: String,
    /// What the power is that of.
    pub covers: Coverage,
    /// Median over the windows of their mean power.
    pub median_w: Watts,
    /// 95 % interval of the mean power from what the sensor leaves open and from
    /// the scatter between windows; without the board's error.
    pub ci95_w: [Watts; 2],
    /// Dispatches in all windows.
    pub dispatches: u64,
    /// Energy of one dispatch, that of an idle device included.
    pub j_per_dispatch: Joules,
    /// Energy of one dispatch above that of the idle device.
    pub net_j_per_dispatch: Option<Joules>,
    /// Energy of 10¹² operations; null for cases without operations.
    pub j_per_tflop: Option<Joules>,
    /// Energy of one dispatch times its duration, in joule seconds.
    pub energy_delay_js: f64,
    /// Achieved rate per watt in percent of the datasheet's peak over its TDP, not
    /// clamped.
    pub percent_of_datasheet_efficiency: Option<f64>,
    /// Achieved rate per watt in percent of the datasheet's peak over the power
    /// limit that was in force, not clamped.
    pub percent_of_limit_efficiency: Option<f64>,
    /// Share of the windows in which the device worked, by its own clock; null
    /// where the host timed.
    pub busy: Option<f64>,
    /// Relative error of a graphics card's sensor, which no window shows: it comes
    /// on top of the interval. Null for other sources, whose error is not known.
    pub board_error: Option<f64>,
    /// Energy of the windows, and how it was found.
    pub energy: CaseEnergy,
    /// State of the idle device before.
    pub before: DeviceState,
    /// State in the middle of the last window.
    pub during: DeviceState,
    /// State of the idle device after.
    pub after: DeviceState,
    /// What sampling cost the host.
    pub sampling: Cost,
    /// File with all readings, relative to the report's folder; null where there is
    /// no such folder.
    pub trace: Option<String>,
}

/// State of the device around the windows of a case.
#[derive(Clone, Debug, Default)]
pub struct States {
    /// Idle, before.
    pub before: DeviceState,
    /// In the middle of the last window.
    pub during: DeviceState,
    /// Idle, after.
    pub after: DeviceState,
}

impl Power {
    /// Puts together what `energy` says of `dispatches`, each of which does `work`
    /// and takes `time` by the device's clock, or the host's where `busy` is
    /// unknown.
    pub fn new(
        source: &SourceIdentity,
        energy: CaseEnergy,
        (dispatches, time): (u64, Seconds),
        work: &Work,
        states: States,
    ) -> Self {
        let per_dispatch = |joules: Joules| Joules(joules.0 / dispatches as f64);
        let j_per_dispatch = per_dispatch(energy.energy_j);
        let tera = work.operations as f64 / 1e12;
        let means = energy.windows.iter().filter_map(|w| w.mean_power());
        let means: Vec<f64> = means.map(|watts| watts.0).collect();
        Self {
            source: source.name.clone(),
            covers: source.covers,
            median_w: stats::median(&means).map_or(energy.mean_w, Watts),
            ci95_w: energy.mean_ci95_w.map(Watts),
            dispatches,
            j_per_dispatch,
            net_j_per_dispatch: energy.net_j.map(per_dispatch),
            j_per_tflop: (tera > 0.0).then(|| Joules(j_per_dispatch.0 / tera)),
            energy_delay_js: j_per_dispatch.0 * time.0,
            percent_of_datasheet_efficiency: None,
            percent_of_limit_efficiency: None,
            busy: None,
            board_error: match source.covers {
                Coverage::GpuBoard | Coverage::GpuChip | Coverage::Module => {
                    Some(energy.board_error)
                }
                Coverage::CpuPackage | Coverage::CpuPackages | Coverage::Command => None,
            },
            energy,
            before: states.before,
            during: states.during,
            after: states.after,
            sampling: Cost::default(),
            trace: None,
        }
    }
}

/// A clock below this share of the highest counts as throttled (as in NVBench).
const THROTTLED_CLOCK: f64 = 0.75;
/// So far the energy of a dispatch may be from power times median time.
const UNLIKE_TIME: f64 = 0.05;

/// What the power and the device's state say about a case.
pub(super) fn power_flags(power: &Power, median: Seconds) -> Vec<Flag> {
    let during = &power.during;
    let reasons = during.throttle.iter().flat_map(|t| &t.reasons);
    let slow = during
        .sm_clock_mhz
        .zip(during.max_sm_clock_mhz)
        .is_some_and(|(clock, most)| f64::from(clock) < THROTTLED_CLOCK * f64::from(most));
    let mut flags = Vec::new();
    if slow || reasons.clone().any(|reason| reason.is_a_fault()) {
        flags.push(Flag::Throttled);
    }
    if reasons
        .clone()
        .any(|reason| *reason == ThrottleReason::SwPowerCap)
    {
        flags.push(Flag::PowerCapped);
    }
    if during.limits().are_lowered() {
        flags.push(Flag::PowerLimited);
    }
    flags.extend(power.energy.flags.iter().filter_map(|flag| match flag {
        EnergyFlag::MethodsDisagree => Some(Flag::PowerMethodsDisagree),
        EnergyFlag::Aliased => Some(Flag::PowerAliased),
        EnergyFlag::WindowsLost => Some(Flag::PowerWindowsLost),
        // How the energy was found stands beside it.
        EnergyFlag::NoCounter => None,
    }));
    let of_median_j = power.median_w.0 * median.0;
    if (power.j_per_dispatch.0 / of_median_j - 1.0).abs() > UNLIKE_TIME {
        flags.push(Flag::PowerUnlikeTime);
    }
    flags
}

/// Operations for each joule, which is the rate per watt. `None` for cases
/// without operations.
pub(super) fn efficiency(work: &Work, power: &Power) -> Option<Efficiency> {
    let per_joule = |energy: Joules| Gflops(work.operations as f64 / energy.0 / 1e9);
    (work.operations > 0).then(|| Efficiency {
        gross: per_joule(power.j_per_dispatch),
        // Nothing is left where the device draws no more than when idle.
        net: power
            .net_j_per_dispatch
            .filter(|net| net.0 > 0.0)
            .map(per_joule),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 W, and 0.4 J a dispatch: 4 ms of power. A median of 3.9 ms is 2.6 % from
    /// that, one of 3.7 ms 8.1 %.
    #[test]
    fn energy_that_the_median_time_does_not_explain_is_flagged() {
        let power = serde_json::json!({
            "source": "nvml:0", "covers": "gpu-board", "median_w": 100.0, "ci95_w": [99.0, 101.0],
            "dispatches": 1000, "j_per_dispatch": 0.4, "energy_delay_js": 0.0016,
            "energy": {
                "windows": [], "energy_j": 400.0, "duration_s": 4.0, "mean_w": 100.0,
                "mean_ci95_w": [99.0, 101.0], "uncertainty": 0.005, "board_error": 0.05, "flags": [],
            },
            "before": {}, "during": {}, "after": {}, "sampling": {"cpu_s": 0.1, "wall_s": 5.0},
        });
        let power: Power = serde_json::from_value(power).expect("a record of power");
        assert_eq!(power_flags(&power, Seconds(0.0039)), []);
        assert_eq!(
            power_flags(&power, Seconds(0.0037)),
            [Flag::PowerUnlikeTime]
        );
    }
}
