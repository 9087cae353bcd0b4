//! Relates a figure to the measured ceilings and to the datasheet.

use crate::datasheet::{Catalogue, Datasheet, Identity, Match, PeakKind};
use crate::gpu::adapter::AdapterDescription;
use crate::kernel;
use crate::kernel::id::{CaseId, Operation, Precision};
use crate::measure::measurement::{Flag, Measurement};
use crate::units::{Bytes, Gflops};

/// The datasheet that belongs to an adapter.
///
/// # Errors
/// Why none does.
pub fn find_datasheet(
    catalogue: &Catalogue,
    adapter: &AdapterDescription,
    memory: Option<Bytes>,
) -> Result<Datasheet, String> {
    let identity = Identity {
        name: &adapter.name,
        pci_vendor: Some(adapter.vendor_id),
        pci_device: Some(adapter.device_id),
        memory,
    };
    match catalogue.identify(&identity) {
        Match::Found(sheet) => Ok(sheet.clone()),
        Match::None { why } => Err(why),
    }
}

/// Fills in what a measurement is in percent of its ceiling, among `earlier`
/// measurements of the run, and of the datasheet's peak.
pub fn relate(
    measurement: &mut Measurement,
    earlier: &[Measurement],
    datasheet: Option<&Datasheet>,
) {
    if let Some(id) = ceiling_id(measurement) {
        let ceiling = earlier.iter().find(|m| m.id == id).and_then(rate);
        measurement.percent_of_ceiling = percent(rate(measurement), ceiling);
        measurement.ceiling_id = Some(id);
    }
    let peak = datasheet.and_then(|sheet| datasheet_peak(measurement, sheet));
    measurement.percent_of_datasheet = percent(rate_against_datasheet(measurement), peak);
    let above = |percent: Option<f64>| percent.is_some_and(|p| p > 100.0);
    if above(measurement.percent_of_ceiling) {
        measurement.flags.push(Flag::AboveCeiling);
    }
    if above(measurement.percent_of_datasheet) {
        measurement.flags.push(Flag::AboveDatasheet);
    }
}

fn ceiling_id(measurement: &Measurement) -> Option<String> {
    let id: CaseId = measurement.id.parse().ok()?;
    let kernel = match &measurement.chosen {
        Some(variant) => id.with_variant(variant),
        None => id,
    };
    kernel::ceiling_of(&kernel).map(|id| id.to_string())
}

fn rate(measurement: &Measurement) -> Option<f64> {
    measurement.gflops.map(|rate| rate.median.0)
}

fn percent(achieved: Option<f64>, peak: Option<f64>) -> Option<f64> {
    let percent = 100.0 * achieved? / peak?;
    percent.is_finite().then_some(percent)
}

/// What of a measurement is held against the datasheet: 10⁹ operations per
/// second, or 10⁹ bytes per second for bandwidth.
fn rate_against_datasheet(measurement: &Measurement) -> Option<f64> {
    match measurement.operation {
        Operation::Bandwidth => measurement.gbytes_per_s,
        _ => rate(measurement),
    }
}

/// The datasheet's peak that a measurement is held against, in the same unit.
fn datasheet_peak(measurement: &Measurement, sheet: &Datasheet) -> Option<f64> {
    let peak = sheet.peak(peak_kind(measurement)?)?;
    match peak.tflops() {
        Some(tflops) => Some(Gflops::from(tflops).0),
        None => peak.gbytes_per_second().map(|rate| rate.0),
    }
}

/// The kind of peak that a measurement is held against: f64, f32 and f16 vector
/// arithmetic against the vector peak of that format,
/// bandwidth against memory bandwidth. Integer dot products have none: the
/// datasheets' int8 figures are those of matrix units.
pub fn peak_kind(measurement: &Measurement) -> Option<PeakKind> {
    match (measurement.operation, measurement.precision) {
        (Operation::Latency, _) => None,
        (Operation::Bandwidth, _) => Some(PeakKind::MemoryBandwidth),
        (_, Precision::F64) => Some(PeakKind::Fp64),
        (_, Precision::F32) => Some(PeakKind::Fp32),
        (_, Precision::F16) => Some(PeakKind::Fp16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{Rate, Reason, ReasonCode, Status};

    fn measured(id: &str, gflops: f64) -> Measurement {
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        let id: CaseId = id.parse().unwrap();
        Measurement {
            gflops: Some(Rate {
                median: Gflops(gflops),
                ci95: None,
            }),
            ..Measurement::without_figures(&id, Status::Ok, reason)
        }
    }

    /// H100 SXM5: 66.9 TFLOP/s FP32, so 33 450 GFLOP/s is half.
    #[test]
    fn figures_are_set_against_ceiling_and_datasheet() {
        let sheet = Catalogue::builtin().get("nvidia-h100-sxm5");
        let peak = measured("peak/f32/fma/device", 60_000.0);
        let mut kernel = measured("matmul/f32/register/4096x4096x4096", 33_450.0);
        relate(&mut kernel, &[peak], sheet);
        assert_eq!(kernel.ceiling_id.as_deref(), Some("peak/f32/fma/device"));
        assert!((kernel.percent_of_ceiling.unwrap() - 55.75).abs() < 1e-9);
        assert!((kernel.percent_of_datasheet.unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(kernel.flags, []);
    }

    /// H100 SXM5: 3350 GB/s.
    #[test]
    fn bandwidth_is_set_against_memory_bandwidth() {
        let mut copy = measured("bandwidth/f32/copy/256MiB", 1.0);
        copy.gflops = None;
        copy.gbytes_per_s = Some(3350.0 * 0.8);
        relate(&mut copy, &[], Catalogue::builtin().get("nvidia-h100-sxm5"));
        assert!((copy.percent_of_datasheet.unwrap() - 80.0).abs() < 1e-9);
        assert_eq!(copy.ceiling_id, None);
    }

    #[test]
    fn over_a_hundred_percent_is_shown_and_flagged() {
        let peak = measured("peak/f32/fma/device", 10.0);
        let mut kernel = measured("matmul/f32/naive/1x1x1", 12.0);
        relate(&mut kernel, &[peak], None);
        assert_eq!(kernel.percent_of_ceiling, Some(120.0));
        assert_eq!(kernel.percent_of_datasheet, None);
        assert_eq!(kernel.flags, [Flag::AboveCeiling]);
    }

    #[test]
    fn without_the_ceiling_there_is_no_percentage() {
        let mut kernel = measured("matmul/f32/naive/1x1x1", 12.0);
        relate(&mut kernel, &[], None);
        assert_eq!(kernel.percent_of_ceiling, None);
        assert!(kernel.ceiling_id.is_some());
    }
}
