//! Relates a figure to the measured ceilings and to the datasheet.

use super::Report;
use crate::datasheet::{Catalogue, Datasheet, Identity, Match, PeakKind};
use crate::gpu::adapter::AdapterDescription;
use crate::kernel;
use crate::kernel::id::{CaseId, Operation, Precision};
use crate::kernel::inputs::Data;
use crate::kernel::peak;
use crate::measure::measurement::{Cache, Flag, Measurement};
use crate::units::{Bytes, Gflops, Watts};

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
        measurement.ceiling_id = Some(id);
        let ceiling = earlier.iter().find(|m| measurement.is_held_against(m));
        let ceiling = ceiling.and_then(|m| m.in_force().0);
        measurement.percent_of_ceiling = percent(rate(measurement), ceiling.map(|rate| rate.0));
    }
    withhold_efficiency(measurement);
    let peak = datasheet.and_then(|sheet| datasheet_peak(measurement, sheet));
    measurement.percent_of_datasheet = percent(rate_against_datasheet(measurement), peak);
    let tdp = datasheet.and_then(Datasheet::rated_power);
    relate_efficiency(measurement, peak, tdp);
    let above = |percent: Option<f64>| percent.is_some_and(|p| p > 100.0);
    if above(measurement.percent_of_ceiling) {
        measurement.flags.push(Flag::AboveCeiling);
    }
    if above(measurement.percent_of_datasheet) {
        measurement.flags.push(Flag::AboveDatasheet);
    }
}

/// Names what arithmetic ceilings multiply in a report that calls it normal, as all did
/// once, and takes away the efficiency that follows from it.
pub fn label_ceilings(report: &mut Report) {
    let own = |operation, precision, variant: &str, data: &mut Data| {
        if operation == Operation::Peak && *data == Data::Normal {
            *data = peak::former_data(precision, variant);
        }
    };
    for case in report.plan.iter_mut().flat_map(|plan| &mut plan.cases) {
        let CaseId {
            operation,
            precision,
            variant,
            ..
        } = &case.id;
        own(*operation, *precision, variant, &mut case.data);
    }
    for m in &mut report.measurements {
        own(m.operation, m.precision, &m.variant, &mut m.data);
        withhold_efficiency(m);
    }
}

/// Takes away what is no efficiency of computing: that of multiplying powers of two.
fn withhold_efficiency(measurement: &mut Measurement) {
    if measurement.data.shows_efficiency() {
        return;
    }
    measurement.gflops_per_watt = None;
    if let Some(power) = &mut measurement.power {
        power.j_per_tflop = None;
        power.percent_of_datasheet_efficiency = None;
        power.percent_of_limit_efficiency = None;
    }
}

/// Fills in what the achieved rate per watt is in percent of the peak over the TDP,
/// and over the power limit that was in force.
fn relate_efficiency(measurement: &mut Measurement, peak: Option<f64>, tdp: Option<Watts>) {
    let gross = measurement.gflops_per_watt.map(|per_watt| per_watt.gross.0);
    if let Some(power) = &mut measurement.power {
        let limit = power.during.enforced_limit_w;
        let of = |watts: Option<Watts>| percent(gross, Some(peak? / watts?.0));
        power.percent_of_datasheet_efficiency = of(tdp);
        power.percent_of_limit_efficiency = of(limit);
    }
}

fn ceiling_id(measurement: &Measurement) -> Option<String> {
    kernel::ceiling_of(&measured_case(measurement)?).map(|id| id.to_string())
}

/// The case with the kernel that was run.
fn measured_case(measurement: &Measurement) -> Option<CaseId> {
    let id: CaseId = measurement.id.parse().ok()?;
    Some(match &measurement.chosen {
        Some(variant) => id.with_variant(variant),
        None => id,
    })
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

/// The kind of peak that a measurement is held against, by the arithmetic that
/// its kernel does: vector units against the vector peak of that format, matrix
/// units against the dense peak of those with the same accumulator; bandwidth
/// against memory bandwidth. Integer dot products have none: the datasheets' int8
/// figures are those of matrix units.
pub fn peak_kind(measurement: &Measurement) -> Option<PeakKind> {
    if measurement.operation == Operation::Bandwidth {
        return is_cold(measurement).then_some(PeakKind::MemoryBandwidth);
    }
    let arithmetic = arithmetic(measurement)?;
    let matrix_units = arithmetic.variant == kernel::COOPERATIVE;
    match (matrix_units, arithmetic.precision) {
        (true, Precision::F32) => Some(PeakKind::Fp32Matrix),
        (true, Precision::F16) => Some(PeakKind::Fp16TensorF16Acc),
        (true, Precision::F16F32acc) => Some(PeakKind::Fp16TensorF32Acc),
        (false, Precision::F64) => Some(PeakKind::Fp64),
        (false, Precision::F32) => Some(PeakKind::Fp32),
        (false, Precision::F16) => Some(PeakKind::Fp16),
        _ => None,
    }
}

/// The ceiling whose arithmetic a kernel does, or the case itself where it is
/// one. Attention in f16, for one, adds up in single precision.
fn arithmetic(measurement: &Measurement) -> Option<CaseId> {
    let case = measured_case(measurement)?;
    match case.operation {
        Operation::Peak => Some(case),
        _ => kernel::ceiling_of(&case),
    }
}

/// Whether the traffic had to go through memory. The tiles of workgroup memory
/// are filled from a buffer that any cache holds.
fn is_cold(measurement: &Measurement) -> bool {
    let time = measurement.time.as_ref();
    time.is_some_and(|time| time.cache == Cache::Cold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{Beside, Clock, Rate, Reason, ReasonCode, Status, Time};
    use crate::units::Watts;

    fn measured(id: &str, gflops: f64) -> Measurement {
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        let id: CaseId = id.parse().unwrap();
        Measurement {
            gflops: Some(Rate {
                median: Gflops(gflops),
                interval: None,
            }),
            ..Measurement::without_figures(&id, Status::Ok, reason)
        }
    }

    /// A card that no one makes: 40 TFLOP/s FP32 and FP16; on matrix units, dense, 80
    /// with FP32 and 160 with FP16 accumulation and none for FP32; 2000 GB/s.
    fn testcard() -> Datasheet {
        let figure = |value: f64, unit: &str| serde_json::json!({"value": value, "unit": unit, "tier": "vendor", "sources": ["testcard"]});
        let sheet = serde_json::json!({
            "id": "testcard-1",
            "vendor": "nobody",
            "name": "Testcard 1",
            "names": [],
            "names_status": "constructed",
            "pci_vendor": "10de",
            "figures": {
                "fp32": figure(40.0, "TFLOP/s"),
                "fp16": figure(40.0, "TFLOP/s"),
                "fp16_tensor": figure(80.0, "TFLOP/s"),
                "fp16_tensor_fp16_acc": figure(160.0, "TFLOP/s"),
                "memory_bandwidth": figure(2000.0, "GB/s"),
            },
        });
        serde_json::from_value(sheet).unwrap()
    }

    /// 20 000 of 40 000 GFLOP/s are half of the datasheet's, of 32 000 five eighths.
    #[test]
    fn figures_are_set_against_ceiling_and_datasheet() {
        let peak = measured("peak/f32/fma/device", 32_000.0);
        let mut kernel = measured("matmul/f32/register/4096x4096x4096", 20_000.0);
        relate(&mut kernel, &[peak], Some(&testcard()));
        assert_eq!(kernel.ceiling_id.as_deref(), Some("peak/f32/fma/device"));
        assert!((kernel.percent_of_ceiling.unwrap() - 62.5).abs() < 1e-9);
        assert!((kernel.percent_of_datasheet.unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(kernel.flags, []);
    }

    #[test]
    fn beside_others_a_lone_ceiling_does_not_count() {
        let beside = |mut measurement: Measurement| {
            measurement.concurrent_with = vec![Beside {
                index: 1,
                adapter: "Testcard 1".into(),
                pci_address: None,
                overlap: 1.0,
            }];
            measurement
        };
        let peak = || measured("peak/f32/fma/device", 32_000.0);
        let kernel = measured("matmul/f32/register/4096x4096x4096", 20_000.0);
        let percent = |peak: Measurement| {
            let mut kernel = beside(kernel.clone());
            relate(&mut kernel, &[peak], None);
            kernel.percent_of_ceiling
        };
        assert_eq!(percent(peak()), None);
        assert_eq!(percent(beside(peak())), Some(62.5));
    }

    /// Half-precision attention adds up in FP32.
    #[test]
    fn matrix_units_are_set_against_the_dense_peak_of_their_accumulator() {
        let percent = |id: &str, chosen: Option<&str>| {
            let mut kernel = measured(id, 40_000.0);
            kernel.chosen = chosen.map(Into::into);
            relate(&mut kernel, &[], Some(&testcard()));
            kernel.percent_of_datasheet.map(|p| (10.0 * p).round())
        };
        let size = "4096x4096x4096";
        let product = |precision, variant| format!("matmul/{precision}/{variant}/{size}");
        // 40 / 80 is a half, 40 / 160 a quarter.
        assert_eq!(
            percent(&product("f16-f32acc", "cooperative"), None),
            Some(500.0)
        );
        assert_eq!(
            percent(&product("f16-f32acc", "best"), Some("cooperative")),
            Some(500.0)
        );
        assert_eq!(percent(&product("f16", "cooperative"), None), Some(250.0));
        assert_eq!(percent(&product("f32", "cooperative"), None), None);
        let attention = "attention/f16/flash-cooperative/b1h1s64d64";
        assert_eq!(percent(attention, None), Some(500.0));
        let ceiling = "peak/f16-f32acc/cooperative/device";
        assert_eq!(percent(ceiling, None), Some(500.0));
        assert_eq!(percent(&product("f16", "register"), None), Some(1000.0));
    }

    #[test]
    fn bandwidth_is_set_against_memory_bandwidth() {
        let copied = |cache| {
            let mut copy = measured("bandwidth/f32/copy/256MiB", 1.0);
            copy.gflops = None;
            copy.gbytes_per_s = Some(2000.0 * 0.8);
            copy.time = Time::summarise(&[1.0], Clock::Device, cache, 1);
            relate(&mut copy, &[], Some(&testcard()));
            assert_eq!(copy.ceiling_id, None);
            copy.percent_of_datasheet
        };
        assert!((copied(Cache::Cold).unwrap() - 80.0).abs() < 1e-9);
        assert_eq!(copied(Cache::Hot), None);
    }

    #[test]
    fn matrix_units_have_peaks_of_their_own() {
        let kind = |id| peak_kind(&measured(id, 1.0));
        let tensor = Some(PeakKind::Fp16TensorF32Acc);
        assert_eq!(kind("peak/f16-f32acc/cooperative/device"), tensor);
        let matrix = Some(PeakKind::Fp32Matrix);
        assert_eq!(kind("peak/f32/cooperative/device"), matrix);
        assert_eq!(kind("matmul/f32/cooperative/64x64x64"), matrix);
        assert_eq!(kind("attention/f16/flash-cooperative/b1h1s64d64"), tensor);
        assert_eq!(kind("peak/f16/fma/device"), Some(PeakKind::Fp16));
        // It multiplies and adds in single precision.
        let vector = Some(PeakKind::Fp32);
        assert_eq!(kind("attention/f16/flash/b1h1s64d64"), vector);
        let mut best = measured("matmul/f16-f32acc/best/64x64x64", 1.0);
        best.chosen = Some("cooperative".into());
        assert_eq!(peak_kind(&best), tensor);
        best.chosen = Some("register".into());
        assert_eq!(peak_kind(&best), vector);
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

    /// 12 of 16 at the lower limit, 18 of 20 at the higher.
    #[test]
    fn a_ceiling_counts_at_its_own_power_limit() {
        let at = |watts, id, gflops| Measurement {
            power_limit_w: Some(Watts(watts)),
            ..measured(id, gflops)
        };
        let peak = |watts, gflops| at(watts, "peak/f32/fma/device", gflops);
        let peaks = [peak(200.0, 16.0), peak(300.0, 20.0)];
        for (watts, gflops, percent) in [(200.0, 12.0, 75.0), (300.0, 18.0, 90.0)] {
            let mut kernel = at(watts, "matmul/f32/naive/1x1x1", gflops);
            relate(&mut kernel, &peaks, None);
            assert_eq!(kernel.percent_of_ceiling, Some(percent));
        }
        let mut elsewhere = at(250.0, "matmul/f32/naive/1x1x1", 12.0);
        relate(&mut elsewhere, &peaks, None);
        assert_eq!(elsewhere.percent_of_ceiling, None);
    }

    /// The H100's report says that its ceilings multiply normal values, as all did.
    /// They multiplied by 2, −2 and ±1. Its products did multiply normal values.
    #[test]
    fn efficiency_of_multiplying_powers_of_two_is_withheld() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/h100/report.json");
        let text = std::fs::read_to_string(file).unwrap();
        let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
        let report = crate::record::load(file.as_ref()).unwrap();
        let stored = stored["measurements"].as_array().unwrap();
        let mut peaks = 0;
        for (stored, m) in stored.iter().zip(&report.measurements) {
            assert_eq!(stored["data"], "normal");
            let was_efficient = stored["gflops_per_watt"].is_object();
            let power = m.power.as_ref();
            let relative = power.and_then(|power| power.percent_of_datasheet_efficiency);
            if m.operation == Operation::Peak {
                assert_eq!(m.data, Data::ExactIntegers);
                assert_eq!((m.gflops_per_watt, relative), (None, None));
                assert_eq!(
                    m.power.is_some(),
                    was_efficient,
                    "its watts are as measured"
                );
                peaks += usize::from(was_efficient);
            } else {
                assert_eq!(m.data, Data::Normal);
                assert_eq!(m.gflops_per_watt.is_some(), was_efficient);
                assert_eq!(relative.is_some(), was_efficient);
            }
        }
        assert_eq!(peaks, 2);
    }

    /// Integers of ceilings have always been random.
    #[test]
    fn ceilings_are_labelled_with_what_they_multiply() {
        let mut report = crate::record::tests::report();
        let mut zeros = measured("matmul/f32/naive/1x1x1", 1.0);
        zeros.data = Data::Zeros;
        report.measurements = vec![
            measured("peak/f32/fma/device", 1.0),
            measured("peak/i32/mad/device", 1.0),
            measured("peak/f16/cooperative/device", 1.0),
            measured("bandwidth/f32/copy/256MiB", 1.0),
            zeros,
        ];
        report.measurements[0].data = Data::RandomMantissas;
        label_ceilings(&mut report);
        let data: Vec<Data> = report.measurements.iter().map(|m| m.data).collect();
        let [own, integers, exact] = [
            Data::RandomMantissas,
            Data::RandomIntegers,
            Data::ExactIntegers,
        ];
        assert_eq!(data, [own, integers, exact, Data::Normal, Data::Zeros]);
        report.measurements[0].data = Data::Normal;
        label_ceilings(&mut report);
        assert_eq!(report.measurements[0].data, exact);
    }

    #[test]
    fn without_the_ceiling_there_is_no_percentage() {
        let mut kernel = measured("matmul/f32/naive/1x1x1", 12.0);
        relate(&mut kernel, &[], None);
        assert_eq!(kernel.percent_of_ceiling, None);
        assert!(kernel.ceiling_id.is_some());
    }
}
