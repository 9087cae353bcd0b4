//! A report for tests: every kind of case, and an adapter with a hostile name.

use std::path::Path;

use super::{Renderer, Run};
use crate::datasheet::Datasheet;
use crate::gpu::adapter::{
    AdapterDescription, AdapterFeatures, AdapterLimits, Backend, DeviceType,
};
use crate::gpu::device::ShaderMode;
use crate::kernel::inputs::Data;
use crate::kernel::problem::{Checked, Work, WorkUnit};
use crate::measure::measurement::{
    Cache, Clock, Efficiency, Flag, Measurement, Rate, Reason, ReasonCode, Status, Time,
    Verification,
};
use crate::measure::tier::Tier;
use crate::record::{self, Host, Report, SCHEMA_VERSION, Shaders, Traces};
use crate::units::Gflops;

/// A ceiling, two kernels, bandwidth and latency, a case skipped and one
/// rejected, on a card that no one makes: 70 TFLOP/s FP32, 3000 GB/s, 500 W.
pub(crate) fn report() -> Report {
    let mut report = empty();
    report.push(Measurement {
        data: Data::RandomMantissas,
        ..ok("peak/f32/fma/device", 60_200_000_000_000, 0, 1.0)
    });
    report.push(ok("bandwidth/f32/copy/256MiB", 0, 268_435_456, 100e-6));
    report.push(ok("latency/none/dispatch/empty", 0, 0, 2.345e-6));
    let mut flagged = ok(
        "matmul/f32/register/4096x4096x4096",
        137_438_953_472,
        201_326_592,
        4e-3,
    );
    flagged.flags.push(Flag::NotConverged);
    flagged.parameters.insert("tile_m".into(), 64);
    report.push(flagged);
    report.push(Measurement {
        verification: verification(Checked::Sampled),
        ..ok(
            "attention/f32/flash/b1h32kv8s4096d128-causal",
            137_438_953_472,
            167_772_160,
            6e-3,
        )
    });
    report.push(without(
        "attention/f32/materialised/b1h32kv8s8192d128",
        Status::Skipped,
        Reason::new(
            ReasonCode::TooLarge,
            "needs 8192 MiB, adapter allows 128 MiB",
        ),
    ));
    report.push(without(
        "matmul/f32/naive/4096x4096x4096",
        Status::Rejected,
        Reason::new(
            ReasonCode::NotComputed,
            "output not computed (every word reads 0x7fc00000)",
        ),
    ));
    report.ended = report.started;
    report.complete = true;
    report
}

/// A report of the same card with power, read every 50 ms, and its traces: two
/// ceilings and a product metered, a case that was not busy enough, one skipped.
pub(super) fn metered() -> (Report, Traces) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reports/testcard");
    let report = record::load(&folder.join(record::REPORT_FILE)).unwrap();
    let traces = record::load_traces(&report, &folder);
    (report, traces)
}

/// The same cases on another card of the kind, which takes twice as long for
/// each.
pub(super) fn slower(name: &str) -> Report {
    let mut report = report();
    report.adapter.name = name.into();
    for m in std::mem::take(&mut report.measurements) {
        report.push(match &m.time {
            Some(time) => {
                let (work, bytes) = (m.work.unwrap(), m.bytes.unwrap());
                Measurement {
                    flags: m.flags,
                    ..ok(&m.id, work, bytes, 2.0 * time.median_s.0)
                }
            }
            None => m,
        });
    }
    report.ended = report.started;
    report
}

/// The same report with the power of a product: 100 W, 0.4 J a dispatch.
pub(crate) fn powered() -> Report {
    let mut report = report();
    let source = serde_json::json!({
        "name": "nvml:0", "device": "Testcard 0", "covers": "gpu-board",
        "power": {"field": "x"}, "energy": {"field": "y"},
        "averaging": {"window_s": null, "known": "unknown"}, "pci_address": null,
    });
    let setup = serde_json::json!({"wanted": "auto", "source": source});
    report.power = Some(serde_json::from_value(setup).unwrap());
    let power = serde_json::json!({
        "source": "nvml:0", "covers": "gpu-board", "median_w": 100.0, "ci95_w": [99.0, 101.0],
        "uncertainty": {"expanded_w": 5.86, "repeatability_w": 1.0},
        "dispatches": 1000, "j_per_dispatch": 0.4, "energy_delay_js": 0.0016,
        "energy": {
            "windows": [], "energy_j": 400.0, "duration_s": 4.0, "mean_w": 100.0,
            "mean_ci95_w": [99.0, 101.0], "uncertainty": 0.005, "board_error": 0.05, "flags": [],
        },
        "before": {}, "during": {}, "after": {}, "sampling": {"cpu_s": 0.1, "wall_s": 5.0},
    });
    let product = &mut report.measurements[3];
    product.power = Some(serde_json::from_value(power).unwrap());
    product.power_reason = None;
    product.gflops_per_watt = Some(Efficiency {
        gross: Gflops(343.59738368),
        net: None,
    });
    report
}

/// The text of a report without traces, in a format of one document.
pub(super) fn rendered(renderer: &dyn Renderer, report: &Report) -> String {
    rendered_together(renderer, std::slice::from_ref(report))
}

/// The text of several reports without traces.
pub(super) fn rendered_together(renderer: &dyn Renderer, reports: &[Report]) -> String {
    let documents = renderer.render(&runs(reports));
    documents
        .into_iter()
        .map(|document| document.text)
        .collect()
}

/// Reports without traces.
pub(super) fn runs(reports: &[Report]) -> Vec<Run<'_>> {
    let run = |report| Run {
        report,
        traces: Traces::new(),
    };
    reports.iter().map(run).collect()
}

fn empty() -> Report {
    let started = "2026-01-02T03:04:05Z".parse().unwrap();
    Report {
        schema_version: SCHEMA_VERSION.into(),
        run_id: uuid::Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001),
        file_sha256: None,
        synthetic: false,
        started,
        ended: started,
        complete: false,
        resumed: Vec::new(),
        command: ["flopwatt", "run", "*"].map(Into::into).into(),
        plan: None,
        flopwatt_version: "0.1.0".into(),
        git: None,
        tier: Tier::Quick,
        seed: 7,
        data: Data::Normal,
        host: host(),
        slurm: None,
        adapter: adapter(),
        datasheet: Some(datasheet()),
        datasheet_reason: None,
        power: None,
        shaders: Shaders::new(None, ShaderMode::Unchecked).unwrap(),
        tuning: Vec::new(),
        measurements: Vec::new(),
    }
}

fn datasheet() -> Datasheet {
    let figure = |value: f64, unit: &str, tier: &str| serde_json::json!({"value": value, "unit": unit, "tier": tier, "sources": ["testcard"]});
    let sheet = serde_json::json!({
        "id": "testcard-0",
        "vendor": "nobody",
        "name": "Testcard 0",
        "names": [],
        "names_status": "constructed",
        "pci_vendor": "10de",
        "figures": {
            "fp32": figure(70.0, "TFLOP/s", "vendor"),
            "memory_bandwidth": figure(3000.0, "GB/s", "secondary"),
            "board_power": figure(500.0, "W", "vendor"),
        },
    });
    serde_json::from_value(sheet).unwrap()
}

fn host() -> Host {
    Host {
        name: "node01".into(),
        os: Some("Linux (Ubuntu 24.04)".into()),
        kernel: Some("6.8.0".into()),
        arch: "x86_64".into(),
        cpu: None,
        cpus: Some(16),
        memory_bytes: None,
        container: None,
    }
}

fn adapter() -> AdapterDescription {
    AdapterDescription {
        index: 0,
        name: "<script>|x\n`Testcard 0` \u{1b}[31m[a](https://b)".into(),
        backend: Backend::Vulkan,
        device_type: DeviceType::DiscreteGpu,
        driver: "NVIDIA".into(),
        driver_info: "550.54.15".into(),
        pci_address: Some("0000:01:00.0".into()),
        uuid: None,
        vendor_id: 0x10de,
        device_id: 0x0001,
        physical_device: "pci 0000:01:00.0".into(),
        subgroup_min_size: Some(32),
        subgroup_max_size: Some(32),
        features: AdapterFeatures::default(),
        limits: AdapterLimits::default(),
    }
}

fn verification(checked: Checked) -> Verification {
    Verification {
        checked,
        max_scaled_error: Some(4.2e-7),
        tolerance: Some(3e-5),
    }
}

/// A measured case: samples from 1 % below `seconds` to 1 % above, to and fro, so that
/// neighbours are not alike.
fn ok(id: &str, operations: u64, bytes: u64, seconds: f64) -> Measurement {
    let work = Work {
        operations,
        unit: WorkUnit::Flop,
        bytes,
    };
    let samples = [0, 6, 7, 8, 5, 4, 1, 9, 2, 3, 10];
    let samples = samples.map(|i| seconds * (0.99 + 0.002 * f64::from(i)));
    let time = Time::summarise(&samples, Clock::Device, Cache::Cold, 10).unwrap();
    Measurement {
        work: Some(operations),
        bytes: Some(bytes),
        reason: None,
        verification: verification(Checked::Full),
        gflops: Rate::of(&work, &time),
        gbytes_per_s: (bytes > 0).then_some(bytes as f64 / time.median_s.0 / 1e9),
        time: Some(time),
        power_reason: Some(Reason::new(
            ReasonCode::NoPowerSource,
            "this version measures no power",
        )),
        ..without(id, Status::Ok, Reason::new(ReasonCode::NotMeasured, ""))
    }
}

fn without(id: &str, status: Status, reason: Reason) -> Measurement {
    Measurement::without_figures(&id.parse().unwrap(), status, reason)
}
