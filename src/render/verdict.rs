//! What a report amounts to, in words.

use super::achieved::{self, Achieved, by_precision, fastest_of, rate};
use super::cells;
use super::notes;
use super::number::{number, rate_unit};
use super::peaks;
use crate::datasheet::PeakKind;
use crate::gpu::adapter::DeviceType;
use crate::kernel::id::Operation;
use crate::measure::measurement::{Flag, Measurement, Status};
use crate::record::Report;

/// Reasons beyond this many are left to the table.
const MOST_REASONS: usize = 6;

/// What was found, and what was not.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// The one sentence.
    pub headline: String,
    /// What was reached in every number format, and in memory.
    pub found: Vec<String>,
    /// What was not measured and why, and what to know before quoting the rest.
    pub missing: Vec<String>,
}

impl Verdict {
    /// Of a report, however little it holds.
    pub(super) fn of(report: &Report) -> Self {
        let formats = by_precision(report);
        let found = formats.iter().map(|f| format_found(report, f));
        Self {
            headline: headline(report, &formats),
            found: found.chain(memory(report)).collect(),
            missing: missing(report),
        }
    }
}

/// About the fastest kernel of all formats.
fn headline(report: &Report, formats: &[Achieved]) -> String {
    let fastest = fastest_of(formats).and_then(|format| Some((format, format.kernel?)));
    let name = &report.adapter.name;
    let Some((format, kernel)) = fastest else {
        return match report.measured_anything() {
            true => format!("{name}: ceilings were measured, and no kernel."),
            false => format!("{name}: nothing could be measured."),
        };
    };
    let operation = match kernel.operation {
        Operation::Attention => "attention",
        _ => "matrix products",
    };
    let reached = rate(kernel).unwrap_or_default();
    let precision = format.precision;
    let share = shares(report, format, kernel);
    let power = watts(kernel);
    let absent = match (&report.datasheet, &power) {
        (None, None) => "; it has no datasheet, and its power was not measured",
        (None, Some(_)) => "; it has no datasheet",
        (Some(_), None) => "; its power was not measured",
        (Some(_), Some(_)) => "",
    };
    let power = power.unwrap_or_default();
    let company = company(kernel);
    format!(
        "{name} reached {reached} with {operation} in {precision}{company}{share}{power}{absent}."
    )
}

/// Beside whom a case was measured.
fn company(kernel: &Measurement) -> String {
    match kernel.concurrent_with.len() {
        0 => String::new(),
        1 => " beside another adapter at work".to_owned(),
        others => format!(" beside {others} other adapters at work"),
    }
}

/// What a kernel is of its ceiling and of the datasheet's peak.
fn shares(report: &Report, format: &Achieved, kernel: &Measurement) -> String {
    let ceiling = kernel.percent_of_ceiling.zip(format.ceiling.and_then(rate));
    let ceiling = ceiling.map(|(percent, rate)| {
        format!(
            "{} % of the {rate} measured as its ceiling",
            number(percent)
        )
    });
    let peak = kernel.percent_of_datasheet.zip(format.peak.as_ref());
    let peak = peak.map(|(percent, peak)| {
        let (percent, value) = (number(percent), peaks::value(peak));
        format!("{percent} % of the datasheet's {value} ({})", peak.kind)
    });
    let no_peak = match &report.datasheet {
        Some(_) => "; the datasheet states no such peak",
        // Said once, of the whole report.
        None => "",
    };
    match (ceiling, peak) {
        (Some(ceiling), Some(peak)) => format!(", {ceiling} and {peak}"),
        (Some(ceiling), None) => format!(", {ceiling}{no_peak}"),
        (None, Some(peak)) => format!(", {peak}; its ceiling was not measured"),
        (None, None) => format!("; its ceiling was not measured{no_peak}"),
    }
}

/// At which power, and what that is in operations for each joule.
fn watts(kernel: &Measurement) -> Option<String> {
    let power = kernel.power.as_ref()?;
    let with_uncertainty = |figure| cells::of_power(kernel, Some(figure));
    let gross = with_uncertainty(kernel.gflops_per_watt?.gross.0);
    let percent = power.percent_of_datasheet_efficiency.map(|percent| {
        format!(
            ", {} % of the datasheet's peak per rated watt",
            with_uncertainty(percent)
        )
    });
    Some(format!(
        ", at {} W ({gross} {} per W{})",
        with_uncertainty(power.median_w.0),
        rate_unit(kernel.work_unit),
        percent.unwrap_or_default()
    ))
}

fn format_found(report: &Report, format: &Achieved) -> String {
    let precision = format.precision;
    match (format.kernel, format.ceiling) {
        (Some(kernel), _) => format!(
            "{precision}: {} with {}{}{}.",
            rate(kernel).unwrap_or_default(),
            kernel.name(),
            shares(report, format, kernel),
            watts(kernel).unwrap_or_default()
        ),
        (None, ceiling) => {
            let ceiling = ceiling.and_then(|m| Some(format!("{} ({})", rate(m)?, m.name())));
            format!(
                "{precision}: a ceiling of {}; no kernel was measured.",
                ceiling.unwrap_or_default()
            )
        }
    }
}

fn memory(report: &Report) -> Option<String> {
    let moved = achieved::memory(report)?;
    let stated = report.datasheet.as_ref();
    let stated = stated.and_then(|sheet| sheet.peak(PeakKind::MemoryBandwidth));
    let share = moved
        .percent_of_datasheet
        .zip(stated)
        .map(|(percent, peak)| {
            let (percent, value) = (number(percent), peaks::value(&peak));
            format!(", {percent} % of the datasheet's {value}")
        });
    Some(format!(
        "Memory: {} GB/s with {}{}.",
        number(moved.gbytes_per_s?),
        moved.name(),
        share.unwrap_or_default()
    ))
}

fn missing(report: &Report) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    if !report.complete {
        missing.push("The run ended early: planned cases are missing.".into());
    }
    if report.measurements.is_empty() {
        missing.push("No case was run.".into());
    }
    missing.extend(without_figures(report));
    let power = cells::power_missing(report).into_iter();
    missing.extend(power.map(|note| format!("Power was {note}.")));
    if report.datasheet.is_none() {
        let why = report.datasheet_reason.as_deref();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        missing.push(format!("No datasheet belongs to this adapter{why}."));
    }
    missing.extend(doubtful_ceilings(report));
    missing.extend(notes::surroundings(report));
    missing.extend(notes::not_recorded(report));
    let flagged = report.measurements.iter().filter(|m| !m.flags.is_empty());
    match flagged.count() {
        0 => {}
        1 => missing.push("One figure carries flags, which the table explains.".into()),
        count => missing.push(format!(
            "{count} figures carry flags, which the table explains."
        )),
    }
    if report.adapter.device_type == DeviceType::Cpu {
        missing.push(format!("This is a software adapter: {}.", cells::SOFTWARE));
    }
    missing
}

/// Ceilings that are no firm ground for percentages: not settled, or exceeded.
pub(super) fn doubtful_ceilings(report: &Report) -> Vec<String> {
    let doubt = |ceiling: &Measurement| {
        let under = |m: &&Measurement| m.ceiling_id.as_ref() == Some(&ceiling.id);
        let held: Vec<_> = report.measurements.iter().filter(under).collect();
        let exceeded = held.iter().any(|m| m.flags.contains(&Flag::AboveCeiling));
        let why = match (exceeded, ceiling.flags.contains(&Flag::NotConverged)) {
            _ if held.is_empty() => return None,
            (true, _) => "was exceeded, so it was measured too low",
            (false, true) => "did not settle",
            (false, false) => return None,
        };
        Some(format!(
            "The ceiling {} {why}: percentages of it are not to be quoted.",
            ceiling.name()
        ))
    };
    report.measurements.iter().filter_map(doubt).collect()
}

/// How many cases have no figure, and why: each reason once.
fn without_figures(report: &Report) -> Vec<String> {
    let absent = report
        .measurements
        .iter()
        .filter(|m| m.status != Status::Ok);
    let count = absent.clone().count();
    if count == 0 {
        return Vec::new();
    }
    let mut reasons: Vec<(String, Vec<String>)> = Vec::new();
    for measurement in absent {
        let reason = cells::absence(measurement).unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(measurement.name()),
            None => reasons.push((reason, vec![measurement.name()])),
        }
    }
    let all = report.measurements.len();
    let have = if count == 1 { "has" } else { "have" };
    let title = format!("{count} of {all} cases {have} no figure.");
    let shown = reasons
        .iter()
        .take(MOST_REASONS)
        .map(|(reason, names)| match &names[..] {
            [name] => format!("{name} was {reason}."),
            names => format!("{} cases were {reason}.", names.len()),
        });
    let rest = reasons.len().saturating_sub(MOST_REASONS);
    let rest = (rest > 0).then(|| format!("{rest} further reasons stand in the table."));
    std::iter::once(title).chain(shown).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Surroundings;
    use crate::measure::measurement::Beside;
    use crate::power::nvml::GpuProcess;
    use crate::render::fixture;

    fn named() -> Report {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        report
    }

    /// 2·4096³ in 4 ms; 34 360 of 60 200 are 57.1 %, of 70 000 49.1 %.
    #[test]
    fn the_headline_says_what_was_reached_of_what() {
        assert_eq!(
            Verdict::of(&named()).headline,
            "Testcard 0 reached 34360 GFLOP/s with matrix products in f32, 57.1 % of the 60200 GFLOP/s measured as its ceiling and 49.1 % of the datasheet's 70 TFLOP/s (FP32); its power was not measured."
        );
    }

    #[test]
    fn a_figure_beside_other_adapters_is_not_taken_for_a_lone_one() {
        let mut report = named();
        let beside = serde_json::json!({
            "index": 1, "adapter": "Testcard 1", "pci_address": null, "overlap": 1.0,
        });
        let beside: Beside = serde_json::from_value(beside).unwrap();
        let fastest = &mut report.measurements[3].concurrent_with;
        fastest.push(beside.clone());
        let one = "in f32 beside another adapter at work, 57.1 % of";
        assert!(Verdict::of(&report).headline.contains(one));
        report.measurements[3].concurrent_with.push(beside);
        let two = "in f32 beside 2 other adapters at work, 57.1 % of";
        assert!(Verdict::of(&report).headline.contains(two));
    }

    /// 39 268 GFLOP/s at 350 W are 112 per W, 80.1 % of 70 000 / 500 = 140.
    #[test]
    fn watts_are_part_of_it() {
        let (report, _) = fixture::metered();
        let headline = Verdict::of(&report).headline;
        assert!(
            headline.ends_with(
                ", at 350 ± 20 W (112.2 ± 6.5 GFLOP/s per W, 80.1 ± 4.7 % of the datasheet's peak per rated watt)."
            ),
            "{headline}"
        );
    }

    /// 256 MiB in 100 µs are 2684 GB/s, 89.5 % of 3000.
    #[test]
    fn what_was_not_measured_is_said_with_its_reason() {
        let verdict = Verdict::of(&named());
        assert_eq!(
            verdict.found[1],
            "Memory: 2684 GB/s with bandwidth/f32/copy/256MiB, 89.5 % of the datasheet's 3000 GB/s."
        );
        assert_eq!(
            verdict.missing,
            [
                "2 of 7 cases have no figure.",
                "attention/f32/materialised/b1h32kv8s8192d128 was skipped: needs 8192 MiB, adapter allows 128 MiB.",
                "matmul/f32/naive/4096x4096x4096 was rejected: output not computed (every word reads 0x7fc00000).",
                "Power was not measured: this version measures no power.",
                "One figure carries flags, which the table explains.",
            ]
        );
    }

    #[test]
    fn without_a_datasheet_nothing_is_compared_with_it() {
        let mut report = named();
        report.datasheet = None;
        report.datasheet_reason = Some("nobody made it".into());
        for measurement in &mut report.measurements {
            measurement.percent_of_datasheet = None;
        }
        let verdict = Verdict::of(&report);
        assert!(verdict.headline.contains("57.1 % of the 60200 GFLOP/s measured as its ceiling; it has no datasheet, and its power was not measured."), "{}", verdict.headline);
        let why = "No datasheet belongs to this adapter: nobody made it.";
        assert!(verdict.missing.iter().any(|line| line == why));
    }

    #[test]
    fn reports_of_failures_and_of_nothing_say_so() {
        let mut report = named();
        report.measurements.retain(|m| m.status != Status::Ok);
        let verdict = Verdict::of(&report);
        assert_eq!(verdict.headline, "Testcard 0: nothing could be measured.");
        assert_eq!(verdict.missing[0], "2 of 2 cases have no figure.");
        report.measurements.clear();
        report.complete = false;
        let verdict = Verdict::of(&report);
        assert_eq!(
            verdict.missing[..2],
            [
                "The run ended early: planned cases are missing.",
                "No case was run."
            ]
        );
    }

    #[test]
    fn percentages_of_a_doubtful_ceiling_are_not_to_be_quoted() {
        let said = |report: &Report| {
            let missing = Verdict::of(report).missing.into_iter();
            missing
                .filter(|text| text.contains("ceiling"))
                .collect::<Vec<_>>()
        };
        let mut report = named();
        assert_eq!(said(&report), Vec::<String>::new());
        report.measurements[0].flags.push(Flag::NotConverged);
        let unsettled = "The ceiling peak/f32/fma/device did not settle: percentages of it are not to be quoted.";
        assert_eq!(said(&report), [unsettled]);
        report.measurements[3].flags.push(Flag::AboveCeiling);
        let exceeded = "The ceiling peak/f32/fma/device was exceeded, so it was measured too low: percentages of it are not to be quoted.";
        assert_eq!(said(&report), [exceeded]);
    }

    #[test]
    fn what_else_went_on_is_said_with_the_names_of_others() {
        let mut report = named();
        let said = |report: &Report| {
            let missing = Verdict::of(report).missing.into_iter();
            missing
                .filter(|text| text.contains("not to be quoted without this"))
                .collect::<Vec<_>>()
        };
        assert_eq!(said(&report), Vec::<String>::new());
        let process = |pid, name: &str| GpuProcess {
            pid,
            name: Some(name.to_owned()),
        };
        for case in [0, 3] {
            let around = Surroundings {
                gpu_processes: Some(vec![process(8, "train"), process(7, "display")]),
                ..Surroundings::default()
            };
            around.enter(&mut report.measurements[case]);
        }
        report.measurements[3].flag(Flag::OnBattery);
        let expected = [
            "2 figures are not to be quoted without this: other processes used the GPU at the time (display, train).",
            "One figure is not to be quoted without this: the machine ran on a battery.",
        ];
        assert_eq!(said(&report), expected);
    }

    #[test]
    fn many_cases_of_one_reason_are_counted() {
        let mut report = named();
        let skipped = report.measurements[5].clone();
        report.measurements.extend(std::iter::repeat_n(skipped, 40));
        let missing = Verdict::of(&report).missing;
        assert_eq!(
            missing[1],
            "41 cases were skipped: needs 8192 MiB, adapter allows 128 MiB."
        );
    }
}
