//! What was reached in each number format, of which ceiling and of which peak.

use super::number::{fixed, rate_unit};
use crate::datasheet::Peak;
use crate::kernel::id::{Operation, Precision};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::{Cache, Measurement};
use crate::record::{Report, peak_kind};
use crate::units::Gflops;

/// The fastest kernel of a number format and what it is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Achieved<'a> {
    /// The number format.
    pub precision: Precision,
    /// The fastest product or attention; none where only a ceiling was measured.
    pub kernel: Option<&'a Measurement>,
    /// The ceiling that it is held against, or the highest of the format.
    pub ceiling: Option<&'a Measurement>,
    /// The datasheet's peak for the arithmetic that is done.
    pub peak: Option<Peak<'a>>,
}

/// The formats of which anything was measured, in the order of their names'
/// listing.
pub(super) fn by_precision(report: &Report) -> Vec<Achieved<'_>> {
    let formats = Precision::ALL.iter();
    formats.filter_map(|&p| of_precision(report, p)).collect()
}

/// The format with the fastest kernel, in floating point where there is any.
pub(super) fn fastest_of<'a, 'r>(formats: &'a [Achieved<'r>]) -> Option<&'a Achieved<'r>> {
    let measured = formats.iter().filter(|format| format.kernel.is_some());
    measured.max_by(|a, b| {
        let [a, b] = [a, b].map(|format| {
            let kernel = format.kernel;
            let floating = kernel.is_some_and(|m| m.work_unit == WorkUnit::Flop);
            (floating, kernel.map_or(0.0, gflops))
        });
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

fn of_precision(report: &Report, precision: Precision) -> Option<Achieved<'_>> {
    let of_format = || {
        let measured = report.measurements.iter();
        measured.filter(move |m| m.precision == precision && m.gflops.is_some())
    };
    // Zeros are multiplied faster than what anybody computes with.
    let kernels = of_format().filter(|m| !m.operation.is_ceiling());
    let usual = fastest(kernels.clone().filter(|m| m.data.is_usual()));
    let kernel = usual.or_else(|| fastest(kernels));
    let ceiling = match kernel {
        Some(kernel) => ceiling_of(report, kernel),
        None => fastest(of_format().filter(|m| m.operation == Operation::Peak)),
    };
    let arithmetic = kernel.or(ceiling)?;
    let sheet = report.datasheet.as_ref();
    Some(Achieved {
        precision,
        kernel,
        ceiling,
        peak: sheet.and_then(|sheet| sheet.peak(peak_kind(arithmetic)?)),
    })
}

fn fastest<'a>(measured: impl Iterator<Item = &'a Measurement>) -> Option<&'a Measurement> {
    measured.max_by(|a, b| gflops(a).total_cmp(&gflops(b)))
}

fn gflops(measurement: &Measurement) -> f64 {
    measurement.gflops.map_or(0.0, |rate| rate.median.0)
}

/// The measured ceiling that a case is held against.
fn ceiling_of<'a>(report: &'a Report, kernel: &Measurement) -> Option<&'a Measurement> {
    let id = kernel.ceiling_id.as_ref()?;
    let mut measured = report.measurements.iter().filter(|m| m.gflops.is_some());
    measured.find(|m| m.id == *id && m.power_limit_w == kernel.power_limit_w)
}

/// The copy, triad or read that moved most through memory, and not through a
/// cache.
pub(super) fn memory(report: &Report) -> Option<&Measurement> {
    let moved = report.measurements.iter().filter(|m| {
        m.operation == Operation::Bandwidth && m.gbytes_per_s.is_some() && peak_kind(m).is_some()
    });
    moved.max_by(|a, b| {
        let [a, b] = [a, b].map(|m| m.gbytes_per_s.unwrap_or(0.0));
        a.total_cmp(&b)
    })
}

/// Whether something was moved that fits a cache.
pub(super) fn cached(report: &Report) -> bool {
    let hot = |m: &Measurement| m.time.as_ref().is_some_and(|time| time.cache == Cache::Hot);
    let mut cases = report.measurements.iter();
    cases.any(|m| m.operation == Operation::Bandwidth && hot(m))
}

/// A measured rate with its unit, to four digits.
pub(super) fn rate(measurement: &Measurement) -> Option<String> {
    let value = measurement.gflops?.median.0;
    let unit = rate_unit(measurement.work_unit);
    Some(format!("{} {unit}", fixed(value, 4, value)))
}

/// A datasheet's peak in the unit of measured rates.
pub(super) fn peak_rate(peak: &Peak) -> Option<Gflops> {
    peak.tflops().map(Gflops::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::inputs::Data;
    use crate::render::fixture;

    #[test]
    fn the_fastest_kernel_stands_for_its_format() {
        let report = fixture::report();
        let [f32] = &by_precision(&report)[..] else {
            panic!("the fixture has one format");
        };
        let id = |m: Option<&Measurement>| m.map(|m| m.id.clone()).unwrap_or_default();
        assert_eq!(id(f32.kernel), "matmul/f32/register/4096x4096x4096");
        assert_eq!(id(f32.ceiling), "peak/f32/fma/device");
        // 70 TFLOP/s.
        let peak = f32.peak.as_ref().and_then(peak_rate);
        assert_eq!(peak, Some(Gflops(70_000.0)));
        assert_eq!(id(memory(&report)), "bandwidth/f32/copy/256MiB");
    }

    #[test]
    fn what_fits_a_cache_tells_nothing_of_memory() {
        let mut report = fixture::report();
        assert!(!cached(&report));
        for measurement in &mut report.measurements {
            if let Some(time) = &mut measurement.time {
                time.cache = Cache::Hot;
            }
        }
        assert!(cached(&report) && memory(&report).is_none());
        report
            .measurements
            .retain(|m| m.operation != Operation::Bandwidth);
        assert!(!cached(&report));
    }

    #[test]
    fn zeros_do_not_flatter() {
        let mut report = fixture::report();
        let mut zeros = report.measurements[3].clone();
        zeros.data = Data::Zeros;
        if let Some(rate) = &mut zeros.gflops {
            rate.median.0 *= 1.2;
        }
        report.measurements.push(zeros);
        let data = by_precision(&report)[0].kernel.map(|m| m.data);
        assert_eq!(data, Some(Data::Normal));
        report.measurements.retain(|m| m.data == Data::Zeros);
        let data = by_precision(&report)[0].kernel.map(|m| m.data);
        assert_eq!(data, Some(Data::Zeros));
    }

    #[test]
    fn a_ceiling_alone_is_shown_and_integers_keep_their_unit() {
        let mut report = fixture::report();
        report.measurements.truncate(1);
        let peak = &mut report.measurements[0];
        peak.precision = Precision::I8I32acc;
        peak.id = "peak/i8-i32acc/dot/device".into();
        peak.variant = "dot".into();
        peak.work_unit = WorkUnit::Op;
        let integers = by_precision(&report);
        assert!(integers[0].kernel.is_none() && integers[0].peak.is_none());
        let text = integers[0].ceiling.and_then(rate);
        assert_eq!(text.as_deref(), Some("60200 GOP/s"));
    }
}
