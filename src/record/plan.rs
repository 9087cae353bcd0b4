//! What a run set out to measure, so that one that was cut short can go on.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Report;
use crate::kernel::id::CaseId;
use crate::kernel::inputs::Data;
use crate::measure::measurement::Measurement;
use crate::units::Watts;

/// All that a run was told to do and that the rest of its report does not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunPlan {
    /// The cases in order: ceilings come before what is held against them.
    pub cases: Vec<Planned>,
    /// Power limits at each of which every case is measured, in this order; empty
    /// where limits are left alone.
    pub power_limits_w: Vec<Watts>,
    /// The source of power, as `--power` takes it.
    pub power: String,
    /// Folder for what was computed, from the root; null where that is not kept.
    pub dump: Option<String>,
    /// Whether kernels are chosen afresh, whatever an earlier run chose.
    pub retune: bool,
    /// Whether other adapters measured the same cases at the same time.
    pub concurrent: bool,
}

/// One case of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// `operation/precision/variant/shape`.
    #[schemars(with = "String")]
    pub id: CaseId,
    /// Distribution of its inputs; for ceilings, which have their own, see the case.
    pub data: Data,
    /// Whether it was named by its full id, so that not being able to run it is an
    /// error.
    pub named: bool,
}

impl Planned {
    /// Whether `measurement` is that of this case at this power limit.
    pub fn is_measured_by(&self, measurement: &Measurement, limit: Option<Watts>) -> bool {
        measurement.id == self.id.to_string()
            && measurement.data == self.data
            && measurement.power_limit_w == limit
    }
}

/// Every case at each of the power limits in turn, or once where there are none.
pub fn steps<'a>(cases: &'a [Planned], limits: &[Watts]) -> Vec<(Option<Watts>, &'a Planned)> {
    let limits = match limits {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    };
    let at = |limit| cases.iter().map(move |case| (limit, case));
    limits.into_iter().flat_map(at).collect()
}

impl RunPlan {
    /// Every case at each of the power limits, in the order in which they are
    /// measured.
    pub fn steps(&self) -> Vec<(Option<Watts>, &Planned)> {
        steps(&self.cases, &self.power_limits_w)
    }

    /// Whether `report` holds the first cases of this plan and nothing else.
    pub fn is_begun_by(&self, report: &Report) -> bool {
        let steps = self.steps();
        let mut pairs = report.measurements.iter().zip(&steps);
        report.measurements.len() <= steps.len()
            && pairs.all(|(measurement, (limit, case))| case.is_measured_by(measurement, *limit))
    }
}

/// A moment at which an interrupted run went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resumption {
    /// When, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How many cases were in the report by then.
    pub after_cases: usize,
    /// Whether they may have been changed by then: the report did not have the hash
    /// that it stated, or stated none.
    #[serde(default)]
    pub altered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{Reason, ReasonCode, Status};

    fn plan() -> RunPlan {
        let case = |id: &str, data| Planned {
            id: id.parse().unwrap(),
            data,
            named: false,
        };
        RunPlan {
            cases: vec![
                case("peak/f32/fma/device", Data::Normal),
                case("matmul/f32/naive/1x1x1", Data::Zeros),
            ],
            power_limits_w: vec![Watts(300.0), Watts(200.0)],
            power: "auto".into(),
            dump: None,
            retune: false,
            concurrent: false,
        }
    }

    fn measured((limit, case): (Option<Watts>, &Planned)) -> Measurement {
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        Measurement {
            data: case.data,
            power_limit_w: limit,
            ..Measurement::without_figures(&case.id, Status::Failed, reason)
        }
    }

    #[test]
    fn a_plan_survives_a_round_trip() {
        let json = serde_json::to_value(plan()).unwrap();
        assert_eq!(json["cases"][1]["id"], "matmul/f32/naive/1x1x1");
        assert_eq!(serde_json::from_value::<RunPlan>(json).unwrap(), plan());
        let broken = serde_json::json!({"id": "matmul", "data": "normal", "named": true});
        let error = serde_json::from_value::<Planned>(broken).unwrap_err();
        assert!(error.to_string().contains("is not a case id"), "{error}");
    }

    #[test]
    fn limits_are_the_outer_loop() {
        let plan = plan();
        let limits: Vec<_> = plan.steps().iter().map(|(limit, _)| *limit).collect();
        let [high, low] = [300.0, 200.0].map(|watts| Some(Watts(watts)));
        assert_eq!(limits, [high, high, low, low]);
        assert_eq!(steps(&plan.cases, &[])[1].0, None);
    }

    #[test]
    fn only_the_first_cases_in_order_are_a_beginning() {
        let plan = plan();
        let all: Vec<Measurement> = plan.steps().into_iter().map(measured).collect();
        let begins = |measurements: &[Measurement]| {
            let report = Report {
                measurements: measurements.to_vec(),
                ..crate::record::tests::report()
            };
            plan.is_begun_by(&report)
        };
        for count in 0..=4 {
            assert!(begins(&all[..count]), "{count}");
        }
        assert!(!begins(&all[1..2]), "another case");
        let elsewhere = [Measurement {
            power_limit_w: None,
            ..all[0].clone()
        }];
        assert!(!begins(&elsewhere), "another limit");
        let beyond = [&all[..], &all[..1]].concat();
        assert!(!begins(&beyond), "more than were planned");
    }
}
