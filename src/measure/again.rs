//! A ceiling that was measured once more, and what has become of it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measurement::{Measurement, Reason, ReasonCode, Status};
use crate::stats;
use crate::units::Gflops;

/// Change of a ceiling from which on percentages of it are no longer to be trusted, in
/// percent of it.
const DRIFTED_PERCENT: f64 = 1.0;

/// Why a ceiling was measured once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The run went on after it had been cut short: what is measured from then on is
    /// held against this.
    Resumed,
    /// The run has measured all its cases.
    End,
}

/// A ceiling, measured once more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Again {
    /// When, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Why.
    pub when: When,
    /// Its rate then, in 10⁹ operations per second; null where there is none.
    pub gflops: Option<Gflops>,
    /// Half the width of that rate's 95 % interval within its run, in percent of it;
    /// null where it has none.
    pub half_width_percent: Option<f64>,
    /// How much higher it is than what cases were held against until then, in percent
    /// of that.
    pub drift_percent: Option<f64>,
    /// How far both intervals leave that open, in percent; null where one is missing.
    pub drift_uncertainty_percent: Option<f64>,
    /// Why there is no rate; null where there is.
    pub reason: Option<Reason>,
}

impl Again {
    /// What became of `ceiling`, which is `now` measured once more.
    pub fn of(when: When, at: Timestamp, ceiling: &Measurement, now: &Measurement) -> Self {
        let Some(rate) = now.gflops.filter(|_| now.status == Status::Ok) else {
            let none = Reason::new(ReasonCode::NotMeasured, "it has no rate");
            return Self::without_figure(when, at, now.reason.clone().unwrap_or(none));
        };
        let half_width_percent = half_width_percent(now);
        let (before, uncertainty) = ceiling.in_force();
        let drift = before.map(|before| 100.0 * (rate.median.0 / before.0 - 1.0));
        let both = uncertainty.zip(half_width_percent);
        Self {
            at,
            when,
            gflops: Some(rate.median),
            half_width_percent,
            drift_percent: drift,
            drift_uncertainty_percent: both.map(|(before, now)| before.hypot(now)),
            reason: None,
        }
    }

    /// It could not be measured, for `reason`.
    pub fn without_figure(when: When, at: Timestamp, reason: Reason) -> Self {
        Self {
            at,
            when,
            gflops: None,
            half_width_percent: None,
            drift_percent: None,
            drift_uncertainty_percent: None,
            reason: Some(reason),
        }
    }

    /// Whether it has changed by more than 1 %, beyond what the scatter of both leaves
    /// open. Unknown scatter leaves everything open.
    pub fn has_drifted(&self) -> bool {
        let known = self.drift_percent.zip(self.drift_uncertainty_percent);
        known.is_some_and(|(drift, open)| drift.abs() - open > DRIFTED_PERCENT)
    }
}

/// Half the width of the interval of a rate within its run, in percent.
fn half_width_percent(measurement: &Measurement) -> Option<f64> {
    let samples = &measurement.time.as_ref()?.samples_s;
    let samples: Vec<f64> = samples.iter().map(|sample| sample.0).collect();
    let half_width = 100.0 * stats::relative_half_width(&samples);
    half_width.is_finite().then_some(half_width)
}

impl Measurement {
    /// The rate of a ceiling that cases are held against, and half the width of its
    /// interval in percent: that of the sitting in which the run is.
    pub fn in_force(&self) -> (Option<Gflops>, Option<f64>) {
        let resumed = self.again.iter().rfind(|again| again.when == When::Resumed);
        match resumed {
            Some(again) => (again.gflops, again.half_width_percent),
            None => (
                self.gflops.map(|rate| rate.median),
                half_width_percent(self),
            ),
        }
    }

    /// Whether this case's percentage is that of `ceiling`.
    pub fn is_held_against(&self, ceiling: &Self) -> bool {
        // A ceiling that was measured alone is none of what works beside others.
        let alone = |m: &Self| m.concurrent_with.is_empty();
        self.ceiling_id.as_ref() == Some(&ceiling.id)
            && self.power_limit_w == ceiling.power_limit_w
            && alone(self) == alone(ceiling)
    }
}
