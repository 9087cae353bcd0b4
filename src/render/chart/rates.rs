//! Achieved rate against measured ceiling against the datasheet's peak.

use super::Chart;
use super::bars::{self, Bar, Group, Kind, Value};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::record::Report;
use crate::render::achieved::{self, Achieved, by_precision, peak_rate};
use crate::render::number::number;
use crate::render::peaks;

/// Draws the number formats of which anything was measured.
pub(super) fn chart(report: &Report) -> Chart {
    let groups = groups(report);
    let title = format!(
        "{}: achieved rate, measured ceiling and datasheet peak",
        report.adapter.name
    );
    let axis = axis(report);
    Chart::new("rates", title, |width| bars::draw(&groups, axis, width))
}

/// Integer operations are no FLOPs, and bars of both state their own unit.
fn axis(report: &Report) -> &'static str {
    let mut measured = report.measurements.iter().filter(|m| m.gflops.is_some());
    if measured.any(|m| m.work_unit == WorkUnit::Op) {
        "GFLOP/s; GOP/s for integers"
    } else {
        "GFLOP/s"
    }
}

fn groups(report: &Report) -> Vec<Group> {
    let formats = by_precision(report);
    if formats.is_empty() {
        return vec![Group {
            heading: "no rate was measured".into(),
            bars: Vec::new(),
        }];
    }
    formats.iter().map(|format| group(report, format)).collect()
}

fn group(report: &Report, achieved: &Achieved) -> Group {
    let precision = achieved.precision;
    let heading = match achieved.kernel {
        Some(kernel) => format!("{precision} – {}", kernel.name()),
        None => precision.to_string(),
    };
    let bars = vec![
        Bar {
            kind: Kind::Achieved,
            value: measured(achieved.kernel).ok_or("no kernel was measured".into()),
        },
        Bar {
            kind: Kind::Ceiling,
            value: measured(achieved.ceiling).ok_or("not measured".into()),
        },
        Bar {
            kind: Kind::Datasheet,
            value: stated(achieved).ok_or_else(|| unstated(report)),
        },
    ];
    Group { heading, bars }
}

fn measured(measurement: Option<&Measurement>) -> Option<Value> {
    let measurement = measurement?;
    let rate = measurement.gflops?;
    let text = achieved::rate(measurement)?;
    let of = |percent: Option<f64>, what: &str| {
        percent.map(|percent| format!("{} % of {what}", number(percent)))
    };
    let parts = [
        of(measurement.percent_of_ceiling, "ceiling"),
        of(measurement.percent_of_datasheet, "datasheet"),
    ];
    let more = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let title = format!("{}\n{text}\n{more}", measurement.name());
    Some(Value {
        number: rate.median.0,
        title: title.trim_end().to_owned(),
        text,
        more,
    })
}

fn stated(achieved: &Achieved) -> Option<Value> {
    let peak = achieved.peak.as_ref()?;
    let rate = peak_rate(peak)?;
    let text = format!("{} GFLOP/s", number(rate.0));
    Some(Value {
        number: rate.0,
        title: format!(
            "{}: {} ({})",
            peak.kind,
            peaks::value(peak),
            peak.figure.tier
        ),
        more: peak.kind.to_string(),
        text,
    })
}

fn unstated(report: &Report) -> String {
    match report.datasheet {
        Some(_) => "none stated for this arithmetic".into(),
        None => "no datasheet".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    /// Ceiling 60.2 TFLOP/s; 137.4 GFLOP in 4 ms are 34.36 TFLOP/s; the sheet says 70.
    #[test]
    fn each_format_has_its_three_bars() {
        let groups = groups(&fixture::report());
        assert_eq!(groups.len(), 1);
        let texts: Vec<&str> = groups[0]
            .bars
            .iter()
            .filter_map(|bar| Some(bar.value.as_ref().ok()?.text.as_str()))
            .collect();
        assert_eq!(texts, ["34360 GFLOP/s", "60200 GFLOP/s", "70000 GFLOP/s"]);
    }

    #[test]
    fn without_a_datasheet_its_bar_is_missing() {
        let mut report = fixture::report();
        report.datasheet = None;
        let groups = groups(&report);
        let why = groups[0].bars[2].value.as_ref().unwrap_err();
        assert_eq!(why, "no datasheet");
    }

    #[test]
    fn nothing_measured_is_said() {
        let mut report = fixture::report();
        report.measurements.clear();
        let text = chart(&report).document().text;
        assert!(text.contains("no rate was measured"), "{text}");
    }
}
