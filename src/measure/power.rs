//! The power of a case: what the windows of its timed dispatches came to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measurement::{Efficiency, Flag};
use crate::kernel::problem::Work;
use crate::power::case::{CaseEnergy, EnergyFlag, Uncertainty};
use crate::power::sampler::Cost;
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
    /// The mean power less and plus twice its standard uncertainty, without the
    /// sensor's own error.
    pub ci95_w: [Watts; 2],
    /// How far the power may be off; energy and rate per watt may be as far off in
    /// proportion. Null in reports before schema 1.5.
    #[serde(default)]
    pub uncertainty: Option<Uncertainty>,
    /// Dispatches in all windows.
    pub dispatches: u64,
    /// Energy of one dispatch, that of an idle device included.
    pub j_per_dispatch: Joules,
    /// Energy of one dispatch above that of the device when it is idle but open, shortly
    /// before and after the windows, at the clocks that `before` and `after` tell.
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
    /// Relative error of a graphics card's sensor, either way, which no window shows.
    /// Null for other sources, whose error is not known.
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
        let median = stats::median(&means).map_or(energy.mean_w, Watts);
        let board_error = match source.covers {
            Coverage::GpuBoard | Coverage::GpuChip | Coverage::Module => Some(energy.board_error),
            Coverage::CpuPackage | Coverage::CpuPackages | Coverage::Command => None,
        };
        Self {
            source: source.name.clone(),
            covers: source.covers,
            median_w: median,
            ci95_w: energy.mean_ci95_w.map(Watts),
            uncertainty: Some(energy.uncertainty_of(median, board_error)),
            dispatches,
            j_per_dispatch,
            net_j_per_dispatch: energy.net_j.map(per_dispatch),
            j_per_tflop: (tera > 0.0).then(|| Joules(j_per_dispatch.0 / tera)),
            energy_delay_js: j_per_dispatch.0 * time.0,
            percent_of_datasheet_efficiency: None,
            percent_of_limit_efficiency: None,
            busy: None,
            board_error,
            energy,
            before: states.before,
            during: states.during,
            after: states.after,
            sampling: Cost::default(),
            trace: None,
        }
    }

    /// Judges what another version has measured as this version does.
    pub fn renew(&mut self) {
        if self.uncertainty.is_none() {
            self.energy.renew();
            self.ci95_w = self.energy.mean_ci95_w.map(Watts);
            self.uncertainty = Some(self.energy.uncertainty_of(self.median_w, self.board_error));
        }
    }

    /// The expanded uncertainty of `figure`, which is in proportion to the power or to
    /// the energy, or inversely. `None` where it is not known.
    pub fn uncertainty_of(&self, figure: f64) -> Option<f64> {
        Some(figure * self.uncertainty?.expanded_w?.0 / self.median_w.0)
    }
}

/// Power is that of the work if the device was busy for this share of the time at least.
pub(super) const LEAST_BUSY: f64 = 0.99;
/// So far the energy of a dispatch may be from power times median time.
const UNLIKE_TIME: f64 = 0.05;

/// What the power says about a case.
pub(super) fn power_flags(power: &Power, median: Seconds) -> Vec<Flag> {
    let told = power.energy.flags.iter().filter_map(|flag| match flag {
        EnergyFlag::MethodsDisagree => Some(Flag::PowerMethodsDisagree),
        EnergyFlag::Aliased => Some(Flag::PowerAliased),
        EnergyFlag::Uneven => Some(Flag::PowerUneven),
        EnergyFlag::WindowsLost => Some(Flag::PowerWindowsLost),
        // How the energy was found stands beside it.
        EnergyFlag::NoCounter => None,
    });
    let mut flags: Vec<Flag> = told.collect();
    if power.busy.is_some_and(|busy| busy < LEAST_BUSY) {
        flags.push(Flag::PowerPartlyIdle);
    }
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
    use crate::power::case;
    use crate::record::{self, Report};

    fn h100() -> Report {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/h100");
        record::load(folder.as_ref()).expect("the report of an H100")
    }

    /// What an H100 has measured by counter and by integration is 0.2 to 1.3 % apart,
    /// in 17 windows; each has its own uncertainty here.
    #[test]
    fn counter_and_integral_lie_within_the_uncertainty() {
        let report = h100();
        let powers = report.measurements.iter().filter_map(|m| m.power.as_ref());
        let mut inside = Vec::new();
        for power in powers {
            for window in &power.energy.windows {
                let [a, b] = [&window.counter, &window.integral].map(|way| way.energy());
                let apart = (a.expect("a counter").0 - b.expect("an integral").0).abs();
                let alone = case::combine(vec![window.clone()], false).expect("a figure");
                let told = alone.uncertainty_of(alone.mean_w, power.board_error);
                let expanded = told.expanded_w.expect("a card's sensor");
                inside.push(apart <= expanded.0 * alone.duration_s.0);
            }
        }
        let count = inside.iter().filter(|inside| **inside).count();
        println!("{count} of {} pairs lie inside U", inside.len());
        assert_eq!(inside.len(), 17);
        assert!(count as f64 >= 0.95 * inside.len() as f64, "{count}");
    }

    /// The first is 513.32 W by the counter and 516.14 W by integration, its edges leave
    /// 0.536 W open: √(0.536² + (2.82/√12)² + (0.05·513.32/√3)²) is 14.85 W, twice that
    /// 29.7 W. The last has four windows: 288.02, 288.05, 287.45 and 286.64 W, s/√4
    /// 0.331 W, times 1.6237 is 0.537 W; by integration it is 286.73 W, 0.81 W less, over
    /// √12 0.233 W; edges 0.544/√4 = 0.272 W; √ of the sum of squares 0.645 W.
    #[test]
    fn what_was_measured_before_is_judged_as_now() {
        let report = h100();
        let mut powers = report.measurements.iter().filter_map(|m| m.power.as_ref());
        let (first, last) = (
            powers.next().expect("one"),
            powers.next_back().expect("two"),
        );
        let told = |power: &Power| power.uncertainty.expect("it is judged");
        assert!((told(first).expanded_w.expect("a card").0 - 29.7).abs() < 0.05);
        assert_eq!(told(first).repeatability_w, None);
        let repeatability = told(last).repeatability_w.expect("four windows").0;
        assert!((repeatability - 1.29).abs() < 0.01, "{repeatability}");
    }

    /// Its driver called it idle at full load. The readings of one case alternate: their
    /// median is 2.6 % above its mean power, that of all others within 0.7 %.
    #[test]
    fn what_contradicts_itself_or_alternates_is_flagged_afterwards() {
        let report = h100();
        let metered = report.measurements.iter().filter(|m| m.power.is_some());
        let mut uneven = Vec::new();
        for measurement in metered {
            assert!(measurement.flags.contains(&Flag::StateContradicts));
            let conditions = measurement.conditions.as_ref().expect("one moment");
            assert!(conditions.throttle.is_none() && conditions.are_of_one_moment());
            if measurement.flags.contains(&Flag::PowerUneven) {
                uneven.push(&measurement.id[..]);
            }
        }
        assert_eq!(uneven, ["peak/f16-f32acc/cooperative/device"]);
    }

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
