//! What one device computes, and at which power: measured, or as its datasheet
//! has it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rate::NumberFormat;
use super::text;
use crate::datasheet::{Catalogue, Datasheet, FigureKind, Unit};
use crate::kernel::id::Precision;
use crate::measure::measurement::{Measurement, Time};
use crate::record::Report;
use crate::units::{FlopPerSecond, Tflops, Watts};

/// Where a device's figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Rate and power of the same dispatches.
    Measured,
    /// The vendor's peak over its board power: nothing was measured.
    Datasheet,
}

/// Rate and power of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Id of its datasheet, where it has one.
    pub accelerator: Option<String>,
    /// Number format of the operations.
    pub format: NumberFormat,
    /// The datasheet figure of the same arithmetic.
    pub arithmetic: FigureKind,
    /// Operations per second.
    pub rate: FlopPerSecond,
    /// Power at that rate.
    pub power: Watts,
    /// Where both come from.
    pub basis: Basis,
    /// Where the rate comes from, in words.
    pub rate_source: String,
    /// Where the power comes from, in words.
    pub power_source: String,
}

/// Why a report or a datasheet gives no efficiency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EfficiencyError {
    /// The precision was not said.
    #[error("say with --precision which arithmetic is meant: {owner} has {known}")]
    Which {
        /// Whose.
        owner: String,
        /// What there is.
        known: String,
    },
    /// There is no such figure.
    #[error("{owner} has no `{asked}`: it has {known}")]
    NoFigure {
        /// Whose.
        owner: String,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// Nothing that could be used.
    #[error("{owner} has neither a product nor attention with a rate in floating point")]
    Nothing {
        /// Whose.
        owner: String,
    },
    /// No power was measured.
    #[error(
        "{owner} has no power of its {precision} cases ({reason}), so no measured FLOPS per watt: `flopwatt run --power` measures it; `--accelerator ID` gives an estimate from a datasheet, labelled so"
    )]
    NoPower {
        /// Whose.
        owner: String,
        /// The precision that was asked for.
        precision: Precision,
        /// Why.
        reason: String,
    },
    /// The datasheet states no power.
    #[error("the datasheet of {0} states neither board power nor TDP, so no FLOPS per watt")]
    NoBoardPower(String),
}

/// The measured case with the most operations per joule in a precision.
///
/// Products and attention are what workloads consist of, so the arithmetic
/// ceiling is left out, and so are inputs of zeros, which draw less power. A case
/// beside which something else was at work counts only where there is no other.
///
/// # Errors
/// When the report has no such case with power, or `asked` names none.
pub fn measured(report: &Report, asked: Option<&str>) -> Result<Device, EfficiencyError> {
    let owner = format!("the report of {}", report.adapter.name);
    let cases = rated_cases(report);
    let known = join(cases.keys().map(|precision| precision.name()));
    if cases.is_empty() {
        return Err(EfficiencyError::Nothing { owner });
    }
    let Some(asked) = asked else {
        return Err(EfficiencyError::Which { owner, known });
    };
    let Some((&precision, cases)) = cases
        .iter()
        .find(|(precision, _)| precision.name() == case_name(asked))
    else {
        let asked = asked.to_owned();
        return Err(EfficiencyError::NoFigure {
            owner,
            asked,
            known,
        });
    };
    let undisturbed = |case: &Measurement| !case.flags.iter().any(|f| f.is_a_disturbance());
    let with_power = cases.iter().filter_map(|case| {
        let efficiency = case.gflops_per_watt?.gross.0;
        Some((*case, undisturbed(case), efficiency))
    });
    let best = with_power
        .max_by(|a, b| a.1.cmp(&b.1).then(a.2.total_cmp(&b.2)))
        .and_then(|(case, ..)| device_of(report, case));
    best.ok_or_else(|| EfficiencyError::NoPower {
        owner,
        precision,
        reason: why_no_power(cases),
    })
}

/// Products and attention with a rate in floating point, by precision.
fn rated_cases(report: &Report) -> BTreeMap<Precision, Vec<&Measurement>> {
    let mut cases: BTreeMap<Precision, Vec<&Measurement>> = BTreeMap::new();
    let counts = |case: &&Measurement| {
        !case.operation.is_ceiling()
            && case.data.is_usual()
            && case.gflops.is_some_and(|rate| rate.median.0 > 0.0)
            && NumberFormat::of_case(case.precision).is_some()
    };
    for case in report.measurements.iter().filter(counts) {
        cases.entry(case.precision).or_default().push(case);
    }
    cases
}

fn device_of(report: &Report, case: &Measurement) -> Option<Device> {
    let rate = case.gflops?.median;
    let per_watt = case.gflops_per_watt?.gross;
    let meter = case.power.as_ref().map_or_else(String::new, |power| {
        format!(
            ", where {} ({}) read {} W",
            power.source,
            power.covers.describe(),
            text::number(power.median_w.0)
        )
    });
    let words = case.time.as_ref().and_then(Time::interval_in_words);
    let interval = case.gflops?.interval.zip(words);
    let interval = interval.map_or_else(String::new, |(interval, words)| {
        let [low, high] = interval.ends();
        let ends = super::Span { low, high }.map(FlopPerSecond::from);
        format!(", {words} {}", text::rate(ends))
    });
    let flags = join(case.flags.iter().map(ToString::to_string));
    let flags = if flags.is_empty() {
        flags
    } else {
        format!(", flags: {flags}")
    };
    Some(Device {
        name: report.adapter.name.clone(),
        accelerator: report.datasheet.as_ref().map(|sheet| sheet.id.clone()),
        format: NumberFormat::of_case(case.precision)?,
        arithmetic: figure_of(case.precision)?,
        rate: rate.into(),
        power: Watts(rate / per_watt),
        basis: Basis::Measured,
        rate_source: format!(
            "measured: {}, median{interval}{flags}; run {}",
            case.name(),
            report.run_id
        ),
        power_source: format!("rate ÷ measured rate per watt{meter}"),
    })
}

/// The datasheet figure of the arithmetic that a case does: half precision with a
/// wide accumulator is what matrix units do.
fn figure_of(precision: Precision) -> Option<FigureKind> {
    match precision {
        Precision::F64 => Some(FigureKind::Fp64),
        Precision::F32 => Some(FigureKind::Fp32),
        Precision::F16 => Some(FigureKind::Fp16),
        Precision::F16F32acc => Some(FigureKind::Fp16Tensor),
        Precision::I8I32acc | Precision::I32 | Precision::None => None,
    }
}

fn why_no_power(cases: &[&Measurement]) -> String {
    let reason = cases.iter().find_map(|case| case.power_reason.as_ref());
    reason.map_or_else(
        || "none was looked for".to_owned(),
        |reason| reason.message.clone(),
    )
}

/// A case's name of a precision, also in the spelling of datasheets.
fn case_name(asked: &str) -> String {
    let name = asked.to_lowercase().replace('_', "-");
    match name.strip_prefix("fp") {
        Some(bits) => format!("f{bits}"),
        None => name,
    }
}

/// A datasheet's peak at its board power, or at its TDP where it states nothing
/// else: for one reported device.
///
/// # Errors
/// When the datasheet lacks either, or `asked` names no peak of it.
pub fn stated(
    catalogue: &Catalogue,
    sheet: &Datasheet,
    asked: Option<&str>,
) -> Result<Device, EfficiencyError> {
    let owner = format!("the datasheet of {}", sheet.name);
    let peaks = sheet.figures.keys().filter(|kind| {
        kind.unit() == Unit::TflopPerSecond && NumberFormat::of_figure(**kind).is_some()
    });
    let known = join(peaks.clone().map(|kind| kind.key()));
    let Some(asked) = asked else {
        return Err(EfficiencyError::Which { owner, known });
    };
    let found = peaks
        .copied()
        .find(|kind| kind.key() == figure_key(asked))
        .and_then(|kind| {
            let format = NumberFormat::of_figure(kind)?;
            Some((kind, format, sheet.per_device(kind)?))
        });
    let Some((kind, format, peak)) = found else {
        let asked = asked.to_owned();
        return Err(EfficiencyError::NoFigure {
            owner,
            asked,
            known,
        });
    };
    let (power_kind, watts) = [FigureKind::BoardPower, FigureKind::Tdp]
        .into_iter()
        .find_map(|kind| Some((kind, sheet.per_device(kind)?)))
        .ok_or_else(|| EfficiencyError::NoBoardPower(sheet.name.clone()))?;
    Ok(Device {
        name: sheet.name.clone(),
        accelerator: Some(sheet.id.clone()),
        format,
        arithmetic: kind,
        rate: Tflops(peak).into(),
        power: Watts(watts),
        basis: Basis::Datasheet,
        rate_source: cited(catalogue, sheet, kind),
        power_source: cited(catalogue, sheet, power_kind),
    })
}

/// A datasheet's key of a peak, also in the spelling of cases.
fn figure_key(asked: &str) -> String {
    let case: Option<Precision> = asked.to_lowercase().parse().ok();
    match case.and_then(figure_of) {
        Some(kind) => kind.key().to_owned(),
        None => asked.to_lowercase().replace('-', "_"),
    }
}

/// Where a figure of a datasheet comes from.
fn cited(catalogue: &Catalogue, sheet: &Datasheet, kind: FigureKind) -> String {
    let Some(figure) = sheet.figure(kind) else {
        return "datasheet".to_owned();
    };
    let first = figure.sources.first();
    let title = first.and_then(|id| catalogue.sources().get(id));
    let title = title.map_or_else(String::new, |source| format!(": {}", source.title));
    let share = match sheet.devices_reported.get() {
        1 => String::new(),
        devices => format!(", of one of {devices} devices"),
    };
    format!(
        "datasheet, not measured ({kind} of {}, {}{share}{title})",
        sheet.id, figure.tier
    )
}

fn join(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasheet::Catalogue;
    use crate::measure::measurement::{Efficiency, Flag, Reason, ReasonCode};
    use crate::units::Gflops;

    /// The example, under a name that nobody sells, without power as it is.
    fn report() -> Report {
        let text = include_str!("../../reports/example/report.json");
        let mut report: Report = serde_json::from_str(text).unwrap();
        report.adapter.name = "Testcard 0".to_owned();
        report
    }

    fn set(report: &mut Report, id: &str, gflops: f64, per_watt: f64) {
        let mut cases = report.measurements.iter_mut();
        let case = cases.find(|case| case.id == id).unwrap();
        if let Some(rate) = &mut case.gflops {
            rate.median = Gflops(gflops);
            rate.interval = None;
        }
        case.gflops_per_watt = Some(Efficiency {
            gross: Gflops(per_watt),
            net: None,
        });
    }

    /// By hand: 200 GFLOP/s at 4 GFLOPS per watt take 50 W. The ceiling is more
    /// efficient, but no workload.
    #[test]
    fn the_most_efficient_product_or_attention_is_taken() {
        let mut report = report();
        set(&mut report, "peak/f32/fma/device", 1000.0, 9.0);
        set(&mut report, "matmul/f32/best/1024x1024x1024", 200.0, 4.0);
        set(&mut report, "attention/f32/best/b1h8s512d64", 300.0, 3.0);
        set(
            &mut report,
            "matmul/f16-f32acc/best/1024x1024x1024",
            500.0,
            5.0,
        );
        let device = measured(&report, Some("f32")).unwrap();
        assert_eq!(device.rate, FlopPerSecond(200e9));
        assert_eq!(device.power, Watts(50.0));
        assert_eq!(device.format, NumberFormat::Fp32);
        assert_eq!(device.basis, Basis::Measured);
        let rate_source = device.rate_source;
        assert!(
            rate_source.contains("matmul/f32/best/1024x1024x1024"),
            "{rate_source}"
        );
        let half = measured(&report, Some("FP16_f32acc")).unwrap();
        assert_eq!(half.rate, FlopPerSecond(500e9));
    }

    #[test]
    fn a_disturbed_case_counts_only_where_there_is_no_other() {
        let mut report = report();
        set(&mut report, "matmul/f32/best/1024x1024x1024", 200.0, 4.0);
        let disturb = |report: &mut Report, id: &str| {
            let mut cases = report.measurements.iter_mut();
            let case = cases.find(|case| case.id == id).unwrap();
            case.flag(Flag::CpuLoad);
        };
        disturb(&mut report, "matmul/f32/best/1024x1024x1024");
        let device = measured(&report, Some("f32")).unwrap();
        assert_eq!(device.rate, FlopPerSecond(200e9));
        let source = &device.rate_source;
        assert!(source.contains("flags: cpu-load"), "{source}");
        set(&mut report, "attention/f32/best/b1h8s512d64", 300.0, 3.0);
        let device = measured(&report, Some("f32")).unwrap();
        assert_eq!(device.rate, FlopPerSecond(300e9));
    }

    #[test]
    fn what_is_missing_in_a_report_is_said() {
        let mut report = report();
        for case in &mut report.measurements {
            let problem = "this card tells no power";
            case.power_reason = Some(Reason::new(ReasonCode::NoPowerSource, problem));
        }
        let message = |report: &Report, asked| measured(report, asked).unwrap_err().to_string();
        insta::assert_snapshot!(message(&report, None), @"say with --precision which arithmetic is meant: the report of Testcard 0 has f32, f16, f16-f32acc");
        insta::assert_snapshot!(message(&report, Some("f64")), @"the report of Testcard 0 has no `f64`: it has f32, f16, f16-f32acc");
        insta::assert_snapshot!(message(&report, Some("fp32")), @"the report of Testcard 0 has no power of its f32 cases (this card tells no power), so no measured FLOPS per watt: `flopwatt run --power` measures it; `--accelerator ID` gives an estimate from a datasheet, labelled so");
        report.measurements.clear();
        insta::assert_snapshot!(message(&report, Some("f32")), @"the report of Testcard 0 has neither a product nor attention with a rate in floating point");
    }

    fn of(id: &str, asked: Option<&str>) -> Result<Device, EfficiencyError> {
        let catalogue = Catalogue::builtin();
        stated(catalogue, catalogue.get(id).unwrap(), asked)
    }

    /// By hand: the module's 383 TFLOP/s and 560 W are those of two devices.
    #[test]
    fn a_datasheet_gives_peak_and_board_power_of_one_device() {
        let gcd = of("amd-mi250x", Some("f16-f32acc")).unwrap();
        assert_eq!(gcd.rate, FlopPerSecond(191.5e12));
        assert_eq!(gcd.power, Watts(280.0));
        assert_eq!(gcd.basis, Basis::Datasheet);
        assert!(gcd.rate_source.starts_with("datasheet, not measured"));
        assert!(gcd.rate_source.contains("of one of 2 devices"));
        let same = of("amd-mi250x", Some("FP16-tensor")).unwrap();
        assert_eq!(same, gcd);
    }

    #[test]
    fn what_is_missing_in_a_datasheet_is_said() {
        let message = |id, asked| of(id, asked).unwrap_err().to_string();
        insta::assert_snapshot!(message("nvidia-h100-pcie", Some("fp16")), @"the datasheet of NVIDIA H100 PCIe 80GB has no `fp16`: it has fp64, fp64_tensor, fp32, tf32, fp16_tensor, bf16_tensor, fp8");
        insta::assert_snapshot!(message("nvidia-t4", None), @"say with --precision which arithmetic is meant: the datasheet of Tesla T4 has fp64, fp32, fp16_tensor");
        insta::assert_snapshot!(message("nvidia-gh200", Some("fp32")), @"the datasheet of NVIDIA GH200 Grace Hopper (GPU part) states neither board power nor TDP, so no FLOPS per watt");
    }
}
