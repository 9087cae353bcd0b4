//! Achieved rate per watt against the datasheet's peak per rated watt.

use super::Chart;
use super::bars::{self, Bar, Group, Kind, Value};
use crate::datasheet::{Datasheet, Peak};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::record::{Report, peak_kind};
use crate::render::achieved::{by_precision, peak_rate};
use crate::render::cells;
use crate::render::number::{number, rate_unit};
use crate::render::peaks;

/// More cases than this make no chart; the table has them all.
const MOST_CASES: usize = 30;

/// Draws the cases with power, or else what the datasheet promises in the formats
/// that were measured. `None` where there is neither.
pub(super) fn chart(report: &Report) -> Option<Chart> {
    let groups = groups(report);
    let is_known = |group: &Group| group.bars.iter().any(|bar| bar.value.is_ok());
    if !groups.iter().any(is_known) {
        return None;
    }
    let title = format!(
        "{}: achieved rate per watt and the datasheet's",
        report.adapter.name
    );
    let axis = match report
        .measurements
        .iter()
        .any(|m| m.work_unit == WorkUnit::Op)
    {
        true => "GFLOP/s per W; GOP/s for integers",
        false => "GFLOP/s per W",
    };
    Some(Chart::new("efficiency", title, |width| {
        bars::draw(&groups, axis, width)
    }))
}

fn groups(report: &Report) -> Vec<Group> {
    let rated = report.measurements.iter().filter(|m| m.gflops.is_some());
    let metered = rated.clone().any(|m| m.gflops_per_watt.is_some());
    let cases: Vec<&Measurement> = if metered {
        most_efficient(rated.collect())
    } else {
        let formats = by_precision(report);
        formats
            .iter()
            .filter_map(|f| f.kernel.or(f.ceiling))
            .collect()
    };
    cases.into_iter().map(|m| group(report, m)).collect()
}

/// All cases where they fit, and else the most efficient.
fn most_efficient(mut cases: Vec<&Measurement>) -> Vec<&Measurement> {
    if cases.len() > MOST_CASES {
        let gross = |m: &Measurement| m.gflops_per_watt.map_or(0.0, |e| e.gross.0);
        cases.sort_by(|a, b| gross(b).total_cmp(&gross(a)));
        cases.truncate(MOST_CASES);
    }
    cases
}

fn group(report: &Report, measurement: &Measurement) -> Group {
    let why = measurement.power_reason.as_ref();
    let why = why.map_or_else(
        || "not measured".to_owned(),
        |r| format!("not measured: {}", r.message),
    );
    let stated = report
        .datasheet
        .as_ref()
        .and_then(|sheet| stated(sheet, measurement));
    let none = match report.datasheet {
        Some(_) => "no peak and power stated for this arithmetic",
        None => "no datasheet",
    };
    let bars = vec![
        Bar {
            kind: Kind::Achieved,
            value: achieved(measurement).ok_or(why),
        },
        Bar {
            kind: Kind::Datasheet,
            value: stated.ok_or(none.into()),
        },
    ];
    Group {
        heading: measurement.name(),
        bars,
    }
}

fn achieved(measurement: &Measurement) -> Option<Value> {
    let gross = measurement.gflops_per_watt?.gross.0;
    let power = measurement.power.as_ref()?;
    let unit = rate_unit(measurement.work_unit);
    let with_uncertainty = |figure| cells::of_power(measurement, Some(figure));
    let text = format!("{} {unit} per W", with_uncertainty(gross));
    let percent = power.percent_of_datasheet_efficiency;
    let percent = percent.map(|p| format!(", {} % of datasheet", with_uncertainty(p)));
    let more = format!(
        "at {} W{}",
        with_uncertainty(power.median_w.0),
        percent.unwrap_or_default()
    );
    Some(Value {
        number: gross,
        title: format!("{}\n{text}\n{more}", measurement.name()),
        text,
        more,
    })
}

/// The peak of the case's arithmetic over the power at which peaks are quoted.
fn stated(sheet: &Datasheet, measurement: &Measurement) -> Option<Value> {
    let peak: Peak = sheet.peak(peak_kind(measurement)?)?;
    let watts = sheet.rated_power()?;
    let per_watt = peak_rate(&peak)?.0 / watts.0;
    let text = format!("{} GFLOP/s per W", number(per_watt));
    let more = format!("{} at {watts}", peaks::value(&peak));
    Some(Value {
        number: per_watt,
        title: format!("{}, {}: {more}\n{text}", sheet.name, peak.kind),
        text,
        more,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn text(bar: &Bar) -> &str {
        match &bar.value {
            Ok(value) => &value.text,
            Err(why) => why,
        }
    }

    /// 70 TFLOP/s at 500 W are 140 GFLOP/s per W; nothing was metered.
    #[test]
    fn without_power_the_datasheet_stands_beside_a_reason() {
        let groups = groups(&fixture::report());
        assert_eq!(groups.len(), 1);
        assert_eq!(
            text(&groups[0].bars[0]),
            "not measured: this version measures no power"
        );
        assert_eq!(text(&groups[0].bars[1]), "140 GFLOP/s per W");
    }

    /// 34.36 TFLOP/s at 400 W are 85.9 GFLOP/s per W; 5 % over √3 and 0.5 %, added in
    /// squares and doubled, are 5.86 % of it.
    #[test]
    fn metered_cases_have_both() {
        let (report, _) = fixture::metered();
        let groups = groups(&report);
        let matmul = groups.iter().find(|g| g.heading.starts_with("matmul"));
        let bars = &matmul.expect("it was metered").bars;
        assert_eq!(text(&bars[0]), "85.9 ± 5.0 GFLOP/s per W");
        assert_eq!(text(&bars[1]), "140 GFLOP/s per W");
    }

    #[test]
    fn neither_power_nor_datasheet_is_no_chart() {
        let mut report = fixture::report();
        report.datasheet = None;
        assert!(chart(&report).is_none());
    }
}
