//! A report for publication: without what tells where it was measured.
//!
//! Every struct is taken apart field by field, so that a new field does not
//! compile until somebody has decided about it.

use std::path::PathBuf;

use uuid::Uuid;

use super::{Host, Report, Shaders};
use crate::gpu::adapter::AdapterDescription;
use crate::measure::measurement::{Measurement, Reason, ReasonCode};
use crate::measure::power::Power;
use crate::power::{Metric, Missing, PowerSetup, PowerSpec, SourceIdentity};
use crate::tune::{Tried, Tuning};

/// Stands where a text was that must not be published, but whose absence would
/// mean something else.
const WITHHELD: &str = "withheld";

/// The report without the host's name and kernel, the run's id, UUIDs and PCI
/// addresses, paths, the command line, and messages of drivers, which may hold any
/// of these. In place of the run's id stands `number`, which tells the reports
/// of one publication apart.
pub fn anonymise(report: Report, number: u64) -> Report {
    let Report {
        schema_version,
        run_id: _,
        started,
        ended,
        complete,
        command: _,
        flopwatt_version,
        git,
        tier,
        seed,
        data,
        host,
        adapter,
        datasheet,
        datasheet_reason,
        shaders,
        power,
        tuning,
        measurements,
    } = report;
    Report {
        schema_version,
        run_id: Uuid::from_u128(number.into()),
        started,
        ended,
        complete,
        command: Vec::new(),
        flopwatt_version,
        git,
        tier,
        seed,
        data,
        host: anonymous_host(host),
        adapter: anonymous_adapter(adapter),
        datasheet,
        // In the catalogue's words, about the adapter's name and PCI ids.
        datasheet_reason,
        shaders: anonymous_shaders(shaders),
        power: power.map(anonymous_setup),
        tuning: tuning.into_iter().map(anonymous_tuning).collect(),
        measurements: measurements.into_iter().map(anonymous_case).collect(),
    }
}

fn withheld() -> String {
    WITHHELD.to_owned()
}

fn anonymous_host(host: Host) -> Host {
    let Host {
        name: _,
        os,
        kernel: _,
        arch,
        cpu,
        cpus,
        memory_bytes,
    } = host;
    Host {
        name: withheld(),
        os,
        // Kernels built at home carry names.
        kernel: None,
        arch,
        cpu,
        cpus,
        memory_bytes,
    }
}

fn anonymous_adapter(adapter: AdapterDescription) -> AdapterDescription {
    let AdapterDescription {
        index,
        name,
        backend,
        device_type,
        driver,
        driver_info,
        pci_address: _,
        vendor_id,
        device_id,
        physical_device: _,
        subgroup_min_size,
        subgroup_max_size,
        features,
        limits,
    } = adapter;
    AdapterDescription {
        index,
        name,
        backend,
        device_type,
        driver,
        driver_info,
        pci_address: None,
        vendor_id,
        device_id,
        // It may hold the PCI address.
        physical_device: withheld(),
        subgroup_min_size,
        subgroup_max_size,
        features,
        limits,
    }
}

fn anonymous_shaders(shaders: Shaders) -> Shaders {
    let Shaders { folder, hash, mode } = shaders;
    Shaders {
        // That they are not the built-in ones is no secret.
        folder: folder.map(|_| PathBuf::from(WITHHELD)),
        hash,
        mode,
    }
}

fn anonymous_setup(setup: PowerSetup) -> PowerSetup {
    let PowerSetup {
        wanted,
        source,
        sensor,
        reason,
    } = setup;
    PowerSetup {
        wanted: kind(&wanted),
        source: source.map(anonymous_source),
        sensor,
        reason: reason.map(|_| withheld()),
    }
}

fn anonymous_source(source: SourceIdentity) -> SourceIdentity {
    let SourceIdentity {
        name,
        device: _,
        covers,
        power,
        energy,
        averaging,
        pci_address: _,
    } = source;
    SourceIdentity {
        name: kind(&name),
        // NVML's ends in the UUID, and a command is its own.
        device: withheld(),
        covers,
        power: anonymous_metric(power),
        energy: anonymous_metric(energy),
        averaging,
        pci_address: None,
    }
}

/// The kind of a power source, without which of its kind.
fn kind(name: &str) -> String {
    match name.parse() {
        Ok(PowerSpec::Auto) => "auto",
        Ok(PowerSpec::None) => "none",
        Ok(PowerSpec::Nvml(_)) => "nvml",
        Ok(PowerSpec::Rapl(_)) => "rapl",
        Ok(PowerSpec::Hwmon(_)) => "hwmon",
        Ok(PowerSpec::IoReport) => "ioreport",
        Ok(PowerSpec::Command(_)) => "command",
        Err(_) => WITHHELD,
    }
    .to_owned()
}

fn anonymous_metric(metric: Metric) -> Metric {
    match metric {
        Metric::Field(field) if field.contains(['/', '\\']) => Metric::Field(withheld()),
        Metric::Field(field) => Metric::Field(field),
        Metric::Missing(why) => Metric::Missing(match why {
            Missing::SymbolMissing(_) => Missing::SymbolMissing(withheld()),
            Missing::Unreadable(_) => Missing::Unreadable(withheld()),
            Missing::Driver(_) => Missing::Driver(withheld()),
            Missing::NotSupported
            | Missing::NoPermission
            | Missing::NoData
            | Missing::NotFound
            | Missing::NotOffered => why,
        }),
    }
}

fn anonymous_tuning(tuning: Tuning) -> Tuning {
    let Tuning {
        operation,
        precision,
        shape_class,
        shape,
        chosen,
        took_s,
        budget_s,
        cached,
        candidates,
    } = tuning;
    let candidates = candidates.into_iter().map(|candidate| {
        let Tried {
            variant,
            parameters,
            gflops,
            reason,
        } = candidate;
        Tried {
            variant,
            parameters,
            gflops,
            reason: reason.map(anonymous_reason),
        }
    });
    Tuning {
        operation,
        precision,
        shape_class,
        shape,
        chosen,
        took_s,
        budget_s,
        cached,
        candidates: candidates.collect(),
    }
}

fn anonymous_case(measurement: Measurement) -> Measurement {
    let Measurement {
        id,
        operation,
        precision,
        variant,
        shape,
        work,
        work_unit,
        bytes,
        status,
        reason,
        verification,
        time,
        gflops,
        gbytes_per_s,
        ceiling_id,
        percent_of_ceiling,
        percent_of_datasheet,
        data,
        power_limit_w,
        power,
        power_reason,
        gflops_per_watt,
        shader_mode,
        chosen,
        parameters,
        flags,
    } = measurement;
    Measurement {
        id,
        operation,
        precision,
        variant,
        shape,
        work,
        work_unit,
        bytes,
        status,
        reason: reason.map(anonymous_reason),
        verification,
        time,
        gflops,
        gbytes_per_s,
        ceiling_id,
        percent_of_ceiling,
        percent_of_datasheet,
        data,
        power_limit_w,
        power: power.map(|power| Box::new(anonymous_power(*power))),
        power_reason: power_reason.map(anonymous_reason),
        gflops_per_watt,
        shader_mode,
        chosen,
        parameters,
        flags,
    }
}

/// Messages of flopwatt itself hold numbers and names of kernels; those of
/// drivers, workers, folders and power sources may hold anything.
fn anonymous_reason(reason: Reason) -> Reason {
    match reason.code {
        ReasonCode::Device
        | ReasonCode::Worker
        | ReasonCode::Template
        | ReasonCode::NoPowerSource => Reason::new(reason.code, WITHHELD),
        ReasonCode::TooLarge
        | ReasonCode::MissingFeature
        | ReasonCode::UnsupportedShape
        | ReasonCode::NotComputed
        | ReasonCode::WrongResult
        | ReasonCode::Unstable
        | ReasonCode::NoAgreement
        | ReasonCode::Unverifiable
        | ReasonCode::TooSlow
        | ReasonCode::OutOfTime
        | ReasonCode::PowerInvalid
        | ReasonCode::NotBusy
        | ReasonCode::NotMeasured => reason,
    }
}

fn anonymous_power(power: Power) -> Power {
    let Power {
        source,
        covers,
        median_w,
        ci95_w,
        dispatches,
        j_per_dispatch,
        net_j_per_dispatch,
        j_per_tflop,
        energy_delay_js,
        percent_of_datasheet_efficiency,
        percent_of_limit_efficiency,
        busy,
        board_error,
        energy,
        before,
        during,
        after,
        sampling,
        trace: _,
    } = power;
    Power {
        source: kind(&source),
        covers,
        median_w,
        ci95_w,
        dispatches,
        j_per_dispatch,
        net_j_per_dispatch,
        j_per_tflop,
        energy_delay_js,
        percent_of_datasheet_efficiency,
        percent_of_limit_efficiency,
        busy,
        board_error,
        energy,
        before,
        during,
        after,
        sampling,
        trace: None,
    }
}
