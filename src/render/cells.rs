//! What tables for people say about a case, whatever draws them.

use serde::Serialize;

use super::number::{MISSING, brief, duration, fixed, number, rate_unit};
use super::peaks;
use crate::datasheet::Peak;
use crate::gpu::device::ShaderMode;
use crate::kernel;
use crate::kernel::inputs::Data;
use crate::kernel::problem::{Checked, WorkUnit};
use crate::measure::measurement::{Measurement, Rate, Status, Verification};
use crate::record::Report;
use crate::tune::Tuning;
use crate::units::Gflops;

/// A heading and the text under it for a measured case.
pub(super) struct Column {
    /// What the column holds, in one or two lines.
    pub heading: &'static [&'static str],
    /// The text for a case.
    pub text: fn(&Measurement) -> String,
    /// Whether it is a number, or starts with one.
    pub numeric: bool,
    /// Whether the text can go on below after its first word.
    pub breaks: bool,
}

/// What software adapters are said to be.
pub(super) const SOFTWARE: &str =
    "the figures describe the CPU and the driver's compiler, not a GPU";

const fn numeric(heading: &'static [&'static str], text: fn(&Measurement) -> String) -> Column {
    Column {
        heading,
        text,
        numeric: true,
        breaks: false,
    }
}

/// The columns beside the case's id and its flags.
pub(super) const FIGURES: [Column; 7] = [
    numeric(&["time"], time),
    Column {
        breaks: true,
        ..numeric(&["GFLOP/s", "[95 %]"], rate)
    },
    numeric(&["GB/s"], |m| or_missing(m.gbytes_per_s.map(number))),
    numeric(&["FLOP", "per byte"], intensity),
    numeric(&["% of", "ceiling"], |m| {
        or_missing(m.percent_of_ceiling.map(number))
    }),
    numeric(&["% of", "datasheet"], |m| {
        or_missing(m.percent_of_datasheet.map(number))
    }),
    Column {
        heading: &["verified", "error≤bound"],
        text: |m| verified(&m.verification),
        numeric: false,
        breaks: true,
    },
];

fn or_missing(text: Option<String>) -> String {
    text.unwrap_or_else(|| MISSING.to_owned())
}

fn time(measurement: &Measurement) -> String {
    or_missing(measurement.time.as_ref().map(|t| duration(t.median_s)))
}

/// The median and its interval, to the digits in which the ends differ.
fn rate(measurement: &Measurement) -> String {
    let text = |rate: Rate| {
        let digits = |v: Gflops| fixed(v.0, 4, rate.median.0);
        let interval = rate.ci95.map_or_else(String::new, |[low, high]| {
            format!(" [{}, {}]", digits(low), digits(high))
        });
        // The heading states the other unit.
        let unit = match measurement.work_unit {
            WorkUnit::Flop => String::new(),
            unit @ WorkUnit::Op => format!(" {}", rate_unit(unit)),
        };
        format!("{}{interval}{unit}", digits(rate.median))
    };
    or_missing(measurement.gflops.map(text))
}

/// Operations for each byte of compulsory traffic.
fn intensity(measurement: &Measurement) -> String {
    let operations = measurement.work.filter(|&work| work > 0);
    let bytes = measurement.bytes.filter(|&bytes| bytes > 0);
    or_missing(
        operations
            .zip(bytes)
            .map(|(o, b)| number(o as f64 / b as f64)),
    )
}

fn verified(verification: &Verification) -> String {
    let checked = match verification.checked {
        Checked::Full => "full",
        Checked::Sampled => "sampled",
        Checked::None => return MISSING.to_owned(),
    };
    let comparison = verification.max_scaled_error.zip(verification.tolerance);
    let comparison =
        comparison.map(|(error, bound)| format!(" {} ≤ {}", brief(error), brief(bound)));
    format!("{checked}{}", comparison.unwrap_or_default())
}

/// The flags of a case, or nothing.
pub(super) fn flags(measurement: &Measurement) -> String {
    let flags: Vec<_> = measurement.flags.iter().map(ToString::to_string).collect();
    flags.join(", ")
}

/// For a case without figures: how it ended and why.
pub(super) fn absence(measurement: &Measurement) -> Option<String> {
    (measurement.status != Status::Ok).then(|| match &measurement.reason {
        Some(reason) => format!("{}: {}", measurement.status, reason.message),
        None => measurement.status.to_string(),
    })
}

/// The datasheet, or why there is none.
pub(super) fn datasheet(report: &Report) -> String {
    match (&report.datasheet, &report.datasheet_reason) {
        (Some(sheet), _) => format!("{} ({})", sheet.name, sheet.id),
        (None, Some(why)) => format!("none: {why}"),
        (None, None) => "none".into(),
    }
}

/// The tier, the inputs, and whether cases are missing.
pub(super) fn effort(report: &Report) -> String {
    let tier = name(report.tier);
    let mut data = vec![report.data];
    let products = report
        .measurements
        .iter()
        .filter(|m| !m.operation.is_ceiling());
    for measurement in products {
        if !data.contains(&measurement.data) {
            data.push(measurement.data);
        }
    }
    let data: Vec<String> = data.iter().map(Data::to_string).collect();
    let data = data.join(" and ");
    let end = if report.complete { "" } else { "; incomplete" };
    format!("{tier}, {data} data, seed {}{end}", report.seed)
}

/// The name of an enumeration's value, as in the report.
fn name(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}

/// What the ceilings' percentages refer to.
pub(super) fn ceiling_note(report: &Report) -> String {
    let name = |m: &Measurement| {
        let (value, unit) = (number(m.gflops?.median.0), rate_unit(m.work_unit));
        Some(format!("{} at {value} {unit}", m.id))
    };
    let ceilings = peaks::ceilings(report).into_iter();
    let named: Vec<_> = ceilings.filter_map(name).collect();
    if named.is_empty() {
        "no figure of this run refers to a ceiling".into()
    } else {
        format!("{}, measured in this run", named.join("; "))
    }
}

/// What the datasheet's percentages refer to.
pub(super) fn datasheet_note(report: &Report) -> Option<String> {
    let name = |p: &Peak| format!("{} {} ({})", p.kind, peaks::value(p), p.figure.tier);
    let named: Vec<_> = peaks::datasheet_peaks(report).iter().map(name).collect();
    (!named.is_empty()).then(|| named.join("; "))
}

/// How the best kernels were chosen, one line a class of shapes.
pub(super) fn tuning_notes(report: &Report) -> Vec<String> {
    let note = |tuning: &Tuning| {
        let chosen = match &tuning.chosen {
            Some(choice) => format!(
                "{} ({})",
                choice.variant,
                kernel::in_words(&choice.parameters)
            ),
            None => "no candidate is right".to_owned(),
        };
        let when = if tuning.cached {
            "chosen by an earlier run".to_owned()
        } else {
            let count = tuning.candidates.len();
            format!("chosen from {count} candidates in {:.1} s", tuning.took_s.0)
        };
        let Tuning {
            operation,
            precision,
            shape_class,
            ..
        } = tuning;
        format!("best {operation}/{precision} for {shape_class}: {chosen}, {when}")
    };
    report.tuning.iter().map(note).collect()
}

/// What of the shaders is out of the ordinary; `None` where nothing is.
pub(super) fn shaders_note(report: &Report) -> Option<String> {
    let folder = report.shaders.folder.as_ref();
    let templates = folder.map(|folder| format!("templates of {}", folder.display()));
    let checked = (report.shaders.mode == ShaderMode::Checked)
        .then(|| "compiled with bounds and loop checks".to_owned());
    let notes: Vec<String> = templates.into_iter().chain(checked).collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}

/// Why power is missing; `None` where it is not.
pub(super) fn power_note(report: &Report) -> Option<String> {
    let measured = report
        .measurements
        .iter()
        .filter(|m| m.status == Status::Ok);
    let mut reasons: Vec<&str> = Vec::new();
    for reason in measured.filter_map(|m| m.power_reason.as_ref()) {
        if !reasons.contains(&reason.message.as_str()) {
            reasons.push(&reason.message);
        }
    }
    (!reasons.is_empty()).then(|| format!("not measured: {}", reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    #[test]
    fn integer_operations_carry_their_own_unit() {
        let mut dot = fixture::report().measurements.swap_remove(0);
        assert!(rate(&dot).ends_with(']'));
        dot.work_unit = WorkUnit::Op;
        assert!(rate(&dot).ends_with("] GOP/s"));
    }

    #[test]
    fn what_is_missing_is_never_zero() {
        let report = fixture::report();
        for measurement in report
            .measurements
            .iter()
            .filter(|m| m.status != Status::Ok)
        {
            assert!(FIGURES.iter().all(|c| (c.text)(measurement) == MISSING));
        }
    }

    #[test]
    fn a_run_that_ended_early_says_so() {
        let mut report = fixture::report();
        assert_eq!(effort(&report), "quick, normal data, seed 7");
        report.complete = false;
        assert_eq!(effort(&report), "quick, normal data, seed 7; incomplete");
    }
}
