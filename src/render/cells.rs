//! What tables for people say about a case, whatever draws them.

use serde::Serialize;

use super::grouped::grouped;
use super::number::{MISSING, brief, duration, fixed, number, rate_unit, uncertain, uncertainty};
use super::peaks;
use crate::datasheet::Peak;
use crate::gpu::device::ShaderMode;
use crate::kernel;
use crate::kernel::id::Operation;
use crate::kernel::inputs::Data;
use crate::kernel::problem::{Checked, WorkUnit};
use crate::measure::again::{Again, When};
use crate::measure::measurement::{Measurement, Rate, Status, Time, Verification};
use crate::measure::power::Power;
use crate::power::{Metric, SourceIdentity};
use crate::record::Report;
use crate::tune::Tuning;
use crate::units::Gflops;

/// A heading and the text under it for a measured case.
pub(super) struct Column {
    /// What the column holds, in one or two lines.
    heading: &'static [&'static str],
    /// Whether what the interval of a time says stands below that.
    has_interval: bool,
    /// The text for a case.
    pub text: fn(&Measurement) -> String,
    /// What cases are sorted by; `None` for those that have nothing there.
    pub value: fn(&Measurement) -> Option<f64>,
    /// Whether it is a number, or starts with one.
    pub numeric: bool,
    /// Whether the text can go on below after its first word.
    pub breaks: bool,
}

/// What software adapters are said to be.
pub(super) const SOFTWARE: &str =
    "the figures describe the CPU and the driver's compiler, not a GPU";

const fn numeric(
    heading: &'static [&'static str],
    text: fn(&Measurement) -> String,
    value: fn(&Measurement) -> Option<f64>,
) -> Column {
    Column {
        heading,
        has_interval: false,
        text,
        value,
        numeric: true,
        breaks: false,
    }
}

/// The columns of a report beside the cases' ids and flags: those on power only
/// where some was measured.
pub(super) fn columns(report: &Report) -> impl Iterator<Item = &'static Column> + Clone {
    let measured = report.measurements.iter().any(|m| m.power.is_some());
    let power = if measured { &POWER[..] } else { &[] };
    let (figures, verified) = FIGURES.split_at(FIGURES.len() - 1);
    figures.iter().chain(power).chain(verified)
}

/// The columns on power.
const POWER: [Column; 3] = [
    Column {
        breaks: true,
        ..numeric(&["W ± U", "(on one device)"], watts, |m| {
            m.power.as_ref().map(|p| p.median_w.0)
        })
    },
    Column {
        breaks: true,
        ..numeric(
            &["GFLOP/s", "per W ± U"],
            |m| of_power(m, m.gflops_per_watt.map(|e| e.gross.0)),
            |m| m.gflops_per_watt.map(|e| e.gross.0),
        )
    },
    Column {
        breaks: true,
        ..numeric(
            &["J per", "dispatch ± U"],
            |m| of_power(m, m.power.as_ref().map(|p| p.j_per_dispatch.0)),
            |m| m.power.as_ref().map(|p| p.j_per_dispatch.0),
        )
    },
];

/// The median, its expanded uncertainty, and that of ratios on one device.
fn watts(measurement: &Measurement) -> String {
    let watts = measurement.power.as_deref().map(|power| power.median_w.0);
    let told = measurement.power.as_deref().and_then(|p| p.uncertainty);
    let repeatability = told.and_then(|told| told.repeatability_w);
    let repeatability = repeatability.map_or_else(String::new, |repeatability| {
        format!(" (± {})", uncertainty(Some(repeatability.0)))
    });
    of_power(measurement, watts) + &repeatability
}

/// A figure that follows from the power, and its expanded uncertainty.
pub(super) fn of_power(measurement: &Measurement, figure: Option<f64>) -> String {
    let power = measurement.power.as_deref();
    let text = |figure| uncertain(figure, power.and_then(|p| p.uncertainty_of(figure)));
    or_missing(figure.map(text))
}

/// The other columns, the verification last.
const FIGURES: [Column; 7] = [
    numeric(&["time"], time, |m| m.time.as_ref().map(|t| t.median_s.0)),
    Column {
        breaks: true,
        has_interval: true,
        ..numeric(&["GFLOP/s"], rate, |m| m.gflops.map(|rate| rate.median.0))
    },
    numeric(
        &["GB/s"],
        |m| or_missing(m.gbytes_per_s.map(number)),
        |m| m.gbytes_per_s,
    ),
    numeric(
        &["FLOP", "per byte"],
        |m| or_missing(intensity(m).map(number)),
        intensity,
    ),
    numeric(
        &["% of", "ceiling"],
        |m| or_missing(m.percent_of_ceiling.map(number)),
        |m| m.percent_of_ceiling,
    ),
    numeric(
        &["% of", "datasheet"],
        |m| or_missing(m.percent_of_datasheet.map(number)),
        |m| m.percent_of_datasheet,
    ),
    Column {
        heading: &["verified", "error≤bound"],
        has_interval: false,
        text: |m| verified(&m.verification),
        value: |m| m.verification.max_scaled_error,
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

impl Column {
    /// What the column holds in `report`, in up to three lines.
    pub(super) fn heading(&self, report: &Report) -> Vec<String> {
        let mut lines: Vec<String> = self.heading.iter().map(|&line| line.into()).collect();
        let words = interval_in_words([report]).filter(|_| self.has_interval);
        if let Some(words) = words {
            // Two lines, which are no wider than an interval.
            let cut = words.rmatch_indices(' ').nth(1).map_or(0, |(cut, _)| cut);
            let (first, second) = words.split_at(cut);
            lines.push(format!("[{first}"));
            lines.push(format!("{}]", second.trim_start()));
        }
        lines
    }
}

/// What the intervals of times and rates say: that which claims least, where a run was
/// resumed by another version. `None` where no case has one.
pub(super) fn interval_in_words<'r>(
    reports: impl IntoIterator<Item = &'r Report>,
) -> Option<String> {
    let measurements = reports.into_iter().flat_map(|report| &report.measurements);
    let times = measurements.filter_map(|m| m.time.as_ref());
    let with_interval = times.filter(|time| time.interval_s.is_some());
    with_interval
        .min_by_key(|time| time.lives.len())
        .and_then(Time::interval_in_words)
}

/// The median and its interval, to the digits in which the ends differ.
fn rate(measurement: &Measurement) -> String {
    let text = |rate: Rate| {
        let digits = |v: Gflops| fixed(v.0, 4, rate.median.0);
        let interval = rate.interval.map_or_else(String::new, |interval| {
            let [low, high] = interval.ends().map(digits);
            format!(" [{low}, {high}]")
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
pub(super) fn intensity(measurement: &Measurement) -> Option<f64> {
    let operations = measurement.work.filter(|&work| work > 0)?;
    let bytes = measurement.bytes.filter(|&bytes| bytes > 0)?;
    Some(operations as f64 / bytes as f64)
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
pub(super) fn name(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}

/// What the ceilings' percentages refer to.
pub(super) fn ceiling_note(report: &Report) -> String {
    let name = |m: &Measurement| {
        let (value, unit) = (number(m.gflops?.median.0), rate_unit(m.work_unit));
        let again: Vec<String> = m
            .again
            .iter()
            .map(|again| measured_again(again, unit))
            .collect();
        Some(format!("{} at {value} {unit}{}", m.name(), again.concat()))
    };
    let ceilings = peaks::ceilings(report).into_iter();
    let named: Vec<_> = ceilings.filter_map(name).collect();
    if named.is_empty() {
        "no figure of this run refers to a ceiling".into()
    } else {
        format!("{}, measured in this run", named.join("; "))
    }
}

/// What a ceiling was when it was measured once more.
fn measured_again(again: &Again, unit: &str) -> String {
    let when = match again.when {
        When::Resumed => "when the run went on",
        When::End => "at the end",
    };
    let what = match (again.gflops, &again.reason) {
        (Some(rate), _) => format!("{} {unit}", number(rate.0)),
        (None, Some(reason)) => format!("not measured: {}", reason.message),
        (None, None) => "not measured".to_owned(),
    };
    let drift = again.drift_percent.map_or_else(String::new, |drift| {
        let open = again.drift_uncertainty_percent;
        let open = open.map_or_else(String::new, |open| format!(" ± {open:.1}"));
        format!(", {drift:+.1}{open} %")
    });
    format!(" ({when} {what}{drift})")
}

/// What the arithmetic ceilings of a report multiply, and why some have no rate per
/// watt.
pub(super) fn ceiling_data(report: &Report) -> Vec<String> {
    let peaks = report
        .measurements
        .iter()
        .filter(|m| m.operation == Operation::Peak && m.status == Status::Ok);
    let sentence = |alike: &Vec<&Measurement>| {
        let data = alike.first()?.data;
        let names: Vec<String> = alike.iter().map(|m| m.name()).collect();
        let (names, numbers) = (names.join(", "), data.to_string().replace('-', " "));
        let withheld = match data.shows_efficiency() {
            true => "",
            false => {
                ", most of them powers of two, at which a multiplier draws less power than at \
                 ordinary numbers: rate per watt and J per TFLOP are left out"
            }
        };
        Some(format!("{numbers} in {names}{withheld}"))
    };
    let alike = grouped(peaks, |m| m.data.to_string());
    alike.iter().filter_map(sentence).collect()
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

/// How power was measured, what it is in percent of what is quoted, and why it is
/// missing where it is.
pub(super) fn power_notes(report: &Report) -> Vec<String> {
    let source = power_source(report).into_iter();
    source
        .chain(efficiency_notes(report))
        .chain(power_missing(report))
        .collect()
}

/// How power was measured; `None` where none was.
pub(super) fn power_source(report: &Report) -> Option<String> {
    let source = report.power.as_ref()?.source.as_ref()?;
    Some(source_note(source, report))
}

/// Why power is missing where it is, each reason once.
pub(super) fn power_missing(report: &Report) -> Vec<String> {
    let measured = report
        .measurements
        .iter()
        .filter(|m| m.status == Status::Ok);
    let unmeasured = measured.filter_map(|m| Some((m.id.as_str(), m.power_reason.as_ref()?)));
    let reasons = grouped(unmeasured, |(_, reason)| &reason.message);
    let source = power_source(report);
    let missing = reasons.iter().filter_map(|cases| {
        let (id, reason) = cases.first()?;
        let reason = &reason.message;
        let of_all = cases.len() == report.measurements.len() || source.is_none();
        Some(match cases.len() {
            _ if of_all => format!("not measured: {reason}"),
            1 => format!("not measured for {id}: {reason}"),
            several => format!("not measured for {several} cases: {reason}"),
        })
    });
    missing.collect()
}

/// What was read, of what, and how far it can be trusted.
fn source_note(source: &SourceIdentity, report: &Report) -> String {
    let SourceIdentity {
        name,
        device,
        covers,
        ..
    } = source;
    let fields = [&source.power, &source.energy];
    let fields: Vec<&str> = fields
        .into_iter()
        .filter_map(|metric| match metric {
            Metric::Field(field) => Some(field.as_str()),
            Metric::Missing(_) => None,
        })
        .collect();
    format!(
        "{name} ({device}), {}, as the device reports it ({}){}{}{}",
        covers.describe(),
        fields.join(", "),
        uncertainty_note(report),
        before_open_note(report),
        cost_note(report)
    )
}

/// What the device drew before it was opened.
fn before_open_note(report: &Report) -> String {
    let drawn = report.power.as_ref().and_then(|setup| setup.before_open_w);
    drawn.map_or_else(String::new, |watts| {
        format!("; {} W before the device was opened", number(watts.0))
    })
}

/// What sampling cost, at most.
fn cost_note(report: &Report) -> String {
    let powers = report.measurements.iter().filter_map(|m| m.power.as_ref());
    let shares = powers.filter_map(|power| power.sampling.share_of_a_core());
    let share = shares.reduce(f64::max);
    share.map_or_else(String::new, |share| {
        format!(
            "; reading it took up to {} % of a core",
            number(100.0 * share)
        )
    })
}

/// What the uncertainties of powers are.
fn uncertainty_note(report: &Report) -> String {
    let powers = report.measurements.iter().filter_map(|m| m.power.as_ref());
    let told: Vec<_> = powers.clone().filter_map(|p| p.uncertainty).collect();
    if told.is_empty() {
        return String::new();
    }
    let error = powers.filter_map(|p| p.board_error).reduce(f64::max);
    let expanded = match error {
        Some(error) => format!(
            "U is the expanded uncertainty (k = 2), the sensor's own error of ±{} % included",
            (100.0 * error).round()
        ),
        None => "the sensor's own error is not known, and so neither is the uncertainty".to_owned(),
    };
    let ratios = match told.iter().any(|told| told.repeatability_w.is_some()) {
        true => "in brackets without that error, for ratios between figures of one device",
        false => "a single window does not show how far figures of one device repeat",
    };
    format!("; {expanded}; {ratios}")
}

/// What cases reach of the efficiency that is quoted: for the rated power, and for the
/// power limit where that is another.
fn efficiency_notes(report: &Report) -> Vec<String> {
    let rated = |power: &Power| power.percent_of_datasheet_efficiency;
    let limited = |power: &Power| {
        power
            .percent_of_limit_efficiency
            .filter(|percent| Some(*percent) != rated(power))
    };
    [
        efficiency_note(
            report,
            "the datasheet's peak per rated watt (over 100 where less than that is drawn)",
            rated,
        ),
        efficiency_note(report, "the peak per watt of the power limit", limited),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn efficiency_note(
    report: &Report,
    what: &str,
    percent: impl Fn(&Power) -> Option<f64>,
) -> Option<String> {
    let reached = report.measurements.iter().filter_map(|measurement| {
        let percent = percent(measurement.power.as_ref()?);
        percent.map(|_| format!("{} {}", measurement.name(), of_power(measurement, percent)))
    });
    let reached: Vec<String> = reached.collect();
    (!reached.is_empty()).then(|| format!("% of {what}: {}", reached.join(", ")))
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
