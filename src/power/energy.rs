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
use crate::units::{Joules, Seconds, Watts};

mod look;

use look::Look;

/// Error of a board's sensor that no window can show: proportional, the same in
/// every reading (SC24, arXiv 2312.02741).
pub const BOARD_ERROR: f64 = 0.05;
/// The two ways may differ by this much before the figure is flagged.
pub const TOLERATED_DISAGREEMENT: f64 = 0.05;

/// The median reading may differ by this much from the mean power before the figure is
/// flagged.
pub const TOLERATED_UNEVENNESS: f64 = 0.01;
/// Readings may alternate by this much before the figure is flagged.
pub const TOLERATED_ALTERNATION: f64 = 0.05;

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
    /// There is next to nothing to look at.
    #[error("there are too few readings")]
    TooFewReadings,
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
    /// By how much an update of the power differs from the mean of those before and after
    /// it, in the median and relative to the mean of all: high where the sensor sees one
    /// part of the work and another in turn. Null below three updates, and in reports
    /// before schema 1.5.
    #[serde(default)]
    pub alternation: Option<f64>,
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

    /// By how much the median reading differs from the mean power, relative to that.
    pub fn unevenness(&self) -> Option<f64> {
        Some((self.steady_w?.0 / self.mean_power()?.0 - 1.0).abs())
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
        alternation: look.alternation(),
        uncertainty_j: method.map(|method| Joules(look.uncertainty(method))),
        counter: counter.into(),
        integral: integral.into(),
    }
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
    Stretch {
        duration_s: duration,
        mean_w: energy.map(|energy| Watts(energy.0 / duration.0)),
        range_w: look.power_range().filter(|_| integral.is_ok()),
        counter: counter.into(),
        integral: integral.into(),
    }
}

#[cfg(test)]
mod tests;
