//! Windows of the same work, taken together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::energy::{BOARD_ERROR, Method, TOLERATED_DISAGREEMENT, Void, WindowEnergy};
use crate::stats;
use crate::units::{Joules, Seconds, Watts};

/// What to know before quoting an energy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyFlag {
    /// Counter and integral differ by more than 5 %.
    MethodsDisagree,
    /// The sensor may have looked at the same part of every dispatch.
    Aliased,
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
    /// 95 % interval of the mean power from what the sensor leaves open and from
    /// the scatter between windows; without the board's error.
    pub mean_ci95_w: [f64; 2],
    /// Median over the windows of the power without rise.
    pub steady_w: Option<Watts>,
    /// Power of the idle device.
    pub idle_w: Option<Watts>,
    /// Energy above that of the idle device.
    pub net_j: Option<Joules>,
    /// Largest disagreement between counter and integral.
    pub disagreement: Option<f64>,
    /// Relative standard uncertainty, without the board's error.
    pub uncertainty: f64,
    /// Relative error of the board's sensor, which comes on top.
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
    let squares = sum(|w| Some(w.uncertainty_j?.0.powi(2))).unwrap_or(0.0);
    let powers: Vec<f64> = good
        .iter()
        .filter_map(|w| Some(w.mean_power()?.0))
        .collect();
    let uncertainty = (squares.sqrt() / energy).max(scatter(&powers) / mean);
    let steady: Vec<f64> = good.iter().filter_map(|w| Some(w.steady_w?.0)).collect();
    let idle: Vec<f64> = good.iter().filter_map(|w| Some(w.idle()?.0)).collect();
    let disagreement = good.iter().filter_map(|w| w.disagreement).reduce(f64::max);
    let by_counter = |w: &&WindowEnergy| w.method == Some(Method::Counter);
    let flags = [
        (
            disagreement.is_some_and(|d| d > TOLERATED_DISAGREEMENT),
            EnergyFlag::MethodsDisagree,
        ),
        (aliased, EnergyFlag::Aliased),
        (good.len() < windows.len(), EnergyFlag::WindowsLost),
        (!good.iter().all(by_counter), EnergyFlag::NoCounter),
    ];
    Ok(CaseEnergy {
        energy_j: Joules(energy),
        duration_s: Seconds(duration),
        mean_w: Watts(mean),
        mean_ci95_w: [-1.96, 1.96].map(|z| mean * (1.0 + z * uncertainty)),
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

/// Standard error of the mean; 0 for a single value, of which nothing is known.
fn scatter(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if n < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: of 1, 2 and 3 the standard error of the mean is 1/√3.
    #[test]
    fn scatter_is_the_standard_error_of_the_mean() {
        assert!((scatter(&[1.0, 2.0, 3.0]) - 1.0 / 3f64.sqrt()).abs() < 1e-12);
        assert_eq!(scatter(&[5.0]), 0.0);
    }
}
