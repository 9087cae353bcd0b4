//! Windows of the same work, taken together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::energy::{
    BOARD_ERROR, Method, TOLERATED_ALTERNATION, TOLERATED_DISAGREEMENT, TOLERATED_UNEVENNESS, Void,
    WindowEnergy,
};
use crate::stats;
use crate::units::{Joules, Seconds, Watts};

/// Expanded uncertainties are this many standard ones: about 95 % of what a figure may
/// be (JCGM 100:2008, the GUM, 6.3.3).
pub const COVERAGE: f64 = 2.0;
/// Half the interval that holds 95 % of a normal distribution, in standard deviations.
const NORMAL_95: f64 = 1.959_964;

/// What to know before quoting an energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyFlag {
    /// Counter and integral differ by more than 5 %.
    MethodsDisagree,
    /// The sensor may have looked at the same part of every dispatch or batch, or its
    /// readings alternate by more than 5 %.
    Aliased,
    /// The median reading differs by more than 1 % from the mean power.
    Uneven,
    /// Some windows gave no figure and were left out.
    WindowsLost,
    /// The energy is that of an integral: there is no counter, or it is void.
    NoCounter,
}

/// Several windows of the same work, taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseEnergy {
    /// Every window.
    pub windows: Vec<WindowEnergy>,
    /// Energy of all windows that have one.
    pub energy_j: Joules,
    /// Their duration.
    pub duration_s: Seconds,
    /// Mean power.
    pub mean_w: Watts,
    /// The mean power less and plus twice its standard uncertainty, without the
    /// sensor's own error.
    pub mean_ci95_w: [f64; 2],
    /// Median over the windows of the power without rise.
    pub steady_w: Option<Watts>,
    /// Power of the device when it is idle but open, shortly before and after.
    pub idle_w: Option<Watts>,
    /// Energy above that of the device when it is idle but open.
    pub net_j: Option<Joules>,
    /// Largest disagreement between counter and integral.
    pub disagreement: Option<f64>,
    /// Relative standard uncertainty, without the sensor's own error: what the sensor
    /// leaves open at the edges, the scatter between windows, and by how much counter
    /// and integral differ. Of a single window the scatter is not known, and left out.
    pub uncertainty: f64,
    /// Relative error of a graphics card's sensor, either way, which comes on top.
    pub board_error: f64,
    /// What to know before quoting it.
    pub flags: Vec<EnergyFlag>,
}

/// Takes windows of the same work together. `aliased` is what
/// [`super::protocol::Plan::is_aliased`] says of them.
///
/// # Errors
/// The reason of the first window, when none has an energy.
pub fn combine(windows: Vec<WindowEnergy>, aliased: bool) -> Result<CaseEnergy, Void> {
    let good: Vec<&WindowEnergy> = windows.iter().filter(|w| w.energy_j.is_some()).collect();
    if good.is_empty() {
        let why = windows.iter().find_map(WindowEnergy::why_not);
        return Err(why.cloned().unwrap_or(Void::NotOffered));
    }
    let sum = |value: fn(&WindowEnergy) -> Option<f64>| -> Option<f64> {
        good.iter().map(|w| value(w)).sum()
    };
    let energy = sum(|w| Some(w.energy_j?.0)).unwrap_or(0.0);
    let duration = sum(|w| Some(w.window.duration().0)).unwrap_or(0.0);
    let mean = energy / duration;
    let uncertainty = shown_by(&windows).unwrap_or(0.0);
    let steady: Vec<f64> = good.iter().filter_map(|w| Some(w.steady_w?.0)).collect();
    let idle: Vec<f64> = good.iter().filter_map(|w| Some(w.idle()?.0)).collect();
    let disagreement = good.iter().filter_map(|w| w.disagreement).reduce(f64::max);
    let alternation = good.iter().filter_map(|w| w.alternation).reduce(f64::max);
    let by_counter = |w: &&WindowEnergy| w.method == Some(Method::Counter);
    let flags = [
        (
            disagreement.is_some_and(|d| d > TOLERATED_DISAGREEMENT),
            EnergyFlag::MethodsDisagree,
        ),
        (
            aliased || alternation.is_some_and(|a| a > TOLERATED_ALTERNATION),
            EnergyFlag::Aliased,
        ),
        (is_uneven(&windows), EnergyFlag::Uneven),
        (good.len() < windows.len(), EnergyFlag::WindowsLost),
        (!good.iter().all(by_counter), EnergyFlag::NoCounter),
    ];
    Ok(CaseEnergy {
        energy_j: Joules(energy),
        duration_s: Seconds(duration),
        mean_w: Watts(mean),
        mean_ci95_w: [-COVERAGE, COVERAGE].map(|k| mean * (1.0 + k * uncertainty)),
        steady_w: stats::median(&steady).map(Watts),
        idle_w: stats::median(&idle).map(Watts),
        net_j: sum(|w| Some(w.net()?.0)).map(Joules),
        disagreement,
        uncertainty,
        board_error: BOARD_ERROR,
        flags: flags.iter().filter(|f| f.0).map(|f| f.1).collect(),
        windows,
    })
}

/// How far a power may be off that windows have in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Uncertainty {
    /// Expanded uncertainty (k = 2), the sensor's own error included; null where that
    /// is not known.
    pub expanded_w: Option<Watts>,
    /// The same without the sensor's own error, which all figures of one device have in
    /// common: for ratios between them. Null for a single window, which shows no
    /// scatter.
    pub repeatability_w: Option<Watts>,
}

impl CaseEnergy {
    /// How far `power`, which is that of the windows, may be off where the sensor's own
    /// error is `board_error`, if that is known.
    pub fn uncertainty_of(&self, power: Watts, board_error: Option<f64>) -> Uncertainty {
        let good = self.windows.iter().filter(|w| w.energy_j.is_some());
        let expanded = |relative: f64| Watts(COVERAGE * relative * power.0);
        Uncertainty {
            expanded_w: board_error
                .map(|error| expanded(self.uncertainty.hypot(error / f64::sqrt(3.0)))),
            repeatability_w: (good.count() > 1).then(|| expanded(self.uncertainty)),
        }
    }

    /// Judges the windows anew, as this version does, where another has judged them.
    pub fn renew(&mut self) {
        if let Some(uncertainty) = shown_by(&self.windows) {
            self.uncertainty = uncertainty;
            let ends = [-COVERAGE, COVERAGE].map(|k| 1.0 + k * uncertainty);
            self.mean_ci95_w = ends.map(|end| self.mean_w.0 * end);
        }
        if is_uneven(&self.windows) {
            self.flags.push(EnergyFlag::Uneven);
        }
    }
}

/// Whether the median reading of a window differs from its mean power: some readings
/// show another part of the work than others, or the power did not stay level.
fn is_uneven(windows: &[WindowEnergy]) -> bool {
    let mut unevenness = windows.iter().filter_map(WindowEnergy::unevenness);
    unevenness.any(|unevenness| unevenness > TOLERATED_UNEVENNESS)
}

/// The relative standard uncertainty that windows show, added in squares from parts
/// that have nothing to do with one another (GUM 5.1.2):
/// - what the sensor leaves open at the edges of each;
/// - their scatter, s/√n times Student's t over the normal distribution's factor, so
///   that the expanded uncertainty is right for as few windows (GUM G.3);
/// - the difference between counter and integral over √12: the truth may be either or
///   anything in between (GUM 4.3.7).
///
/// `None` where no window has an energy.
fn shown_by(windows: &[WindowEnergy]) -> Option<f64> {
    let good: Vec<&WindowEnergy> = windows.iter().filter(|w| w.energy_j.is_some()).collect();
    let sum = |value: fn(&WindowEnergy) -> Option<f64>| -> f64 {
        good.iter().filter_map(|w| value(w)).sum()
    };
    let energy = sum(|w| Some(w.energy_j?.0));
    if energy <= 0.0 {
        return None;
    }
    let edges = sum(|w| Some(w.uncertainty_j?.0.powi(2))).sqrt();
    let apart = sum(|w| Some(w.counter.energy()?.0 - w.integral.energy()?.0));
    let powers = good.iter().filter_map(|w| Some(w.mean_power()?.0));
    let parts = [
        edges / energy,
        scatter(&powers.collect::<Vec<_>>()),
        apart / energy / f64::sqrt(12.0),
    ];
    Some(parts.iter().map(|part| part * part).sum::<f64>().sqrt())
}

/// Standard uncertainty of the mean relative to it, as [`shown_by`] has it; 0 for a
/// single value, of which nothing is known.
fn scatter(values: &[f64]) -> f64 {
    let t = stats::student_t(values.len().saturating_sub(1), 0.95);
    let Some((t, (mean, deviation))) = t.zip(stats::mean_and_deviation(values)) else {
        return 0.0;
    };
    t / NORMAL_95 * deviation / (values.len() as f64).sqrt() / mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::energy::{Outcome, Window};

    /// A window of 10 s at these watts by the counter and by integration, whose edges
    /// leave 4 J open.
    fn window(counter: f64, integral: f64) -> WindowEnergy {
        let joules = |watts: f64| Joules(10.0 * watts);
        WindowEnergy {
            window: Window {
                begin_s: Seconds(10.0),
                end_s: Seconds(20.0),
                idle_before_s: Seconds(1.3),
                idle_after_s: Seconds(1.3),
            },
            counter: Outcome::EnergyJ(joules(counter)),
            integral: Outcome::EnergyJ(joules(integral)),
            disagreement: None,
            energy_j: Some(joules(counter)),
            method: Some(Method::Counter),
            idle_before_w: None,
            idle_after_w: None,
            steady_w: None,
            alternation: None,
            uncertainty_j: Some(Joules(4.0)),
        }
    }

    fn close(value: f64, expected: f64) {
        assert!(
            (value / expected - 1.0).abs() < 1e-4,
            "{value}, not {expected}"
        );
    }

    /// By hand: 500 W for 10 s are 5000 J. Edges 4/5000 = 0.0008; counter less integral
    /// 60 J, over √12 17.3205 J, 0.00346410; together 0.00355528. The sensor's 5 % over
    /// √3 are 0.0288675; all together 0.0290856, twice that of 500 W 29.0856 W.
    #[test]
    fn one_window_is_uncertain_by_its_edges_both_ways_and_the_sensor() {
        let case = combine(vec![window(500.0, 494.0)], false).expect("a figure");
        close(case.uncertainty, 0.003_555_28);
        let told = case.uncertainty_of(Watts(500.0), Some(BOARD_ERROR));
        close(told.expanded_w.expect("it is known").0, 29.085_6);
        // One window shows no scatter, and nobody knows the error of other sensors.
        assert_eq!(told.repeatability_w, None);
        assert_eq!(case.uncertainty_of(Watts(500.0), None).expanded_w, None);
    }

    /// By hand: of 498, 500, 501 and 501 W the mean is 500 W, s² = (4 + 0 + 1 + 1)/3 = 2
    /// and s/√4 = 0.707107 W. Times 3.182446/1.959964 that is 1.148148 W, 0.00229630 of
    /// the mean. Edges 2·4 J of 20000 J: 0.0004. The ways are 10·(3 − 1 + 2 + 0) = 40 J
    /// apart, 11.5470 J over √12: 0.000577350. Together 0.00240132, twice that of 500 W
    /// 2.40132 W; with the sensor's 0.0288675 it is 0.0289672, so 28.9672 W.
    #[test]
    fn several_windows_are_uncertain_by_their_scatter_as_well() {
        let windows = [
            window(498.0, 495.0),
            window(500.0, 501.0),
            window(501.0, 499.0),
            window(501.0, 501.0),
        ];
        let case = combine(windows.to_vec(), false).expect("a figure");
        close(case.uncertainty, 0.002_401_32);
        let told = case.uncertainty_of(Watts(500.0), Some(BOARD_ERROR));
        close(told.repeatability_w.expect("four windows").0, 2.401_32);
        close(told.expanded_w.expect("it is known").0, 28.967_2);
        let mut old = CaseEnergy {
            uncertainty: 0.001,
            mean_ci95_w: [499.0, 501.0],
            ..case.clone()
        };
        old.renew();
        assert_eq!(old, case);
    }

    /// By hand: of 1, 2 and 3 the standard error of the mean is 1/√3, which is 0.288675
    /// of it, times 4.30265/1.95996 for three values.
    #[test]
    fn scatter_is_wider_for_few_windows() {
        close(scatter(&[1.0, 2.0, 3.0]), 0.288_675 * 4.302_65 / 1.959_96);
        assert_eq!(scatter(&[5.0]), 0.0);
    }
}
