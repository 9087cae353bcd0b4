//! A report for publication: without what tells where it was measured.
//!
//! Every struct is taken apart field by field, so that a new field does not
//! compile until somebody has decided about it.

use std::path::PathBuf;

use uuid::Uuid;

use super::{Container, Host, Report, Shaders};
use crate::gpu::adapter::AdapterDescription;
use crate::measure::Surroundings;
use crate::measure::measurement::{Beside, Measurement, Reason, ReasonCode};
use crate::measure::power::Power;
use crate::power::nvml::GpuProcess;
use crate::power::{Metric, Missing, PowerSetup, PowerSpec, SourceIdentity};
use crate::tune::{Tried, Tuning};

/// Stands where a text was that must not be published, but whose absence would
/// mean something else.
pub const WITHHELD: &str = "withheld";

/// The report without the host's name and kernel, its container's image, the Slurm
/// task, the run's id, UUIDs and PCI addresses, paths, the command line, and messages of drivers, which may hold any
/// of these. In place of the run's id stands `number`, which tells the reports
/// of one publication apart.
pub fn anonymise(mut report: Report, number: u64) -> Report {
    let Report {
        run_id,
        file_sha256,
        command,
        plan,
        host,
        slurm,
        adapter,
        shaders,
        power,
        tuning,
        measurements,
        schema_version: _,
        synthetic: _,
        started: _,
        ended: _,
        complete: _,
        resumed: _,
        flopwatt_version: _,
        git: _,
        tier: _,
        seed: _,
        data: _,
        datasheet: _,
        // In the catalogue's words, about the adapter's name and PCI ids.
        datasheet_reason: _,
    } = &mut report;
    *run_id = Uuid::from_u128(number.into());
    // It is that of what is left out.
    *file_sha256 = None;
    command.clear();
    // It names folders and meters, and a published report does not go on.
    *plan = None;
    *slurm = None;
    in_host(host);
    in_adapter(adapter);
    in_shaders(shaders);
    power.iter_mut().for_each(in_setup);
    tuning.iter_mut().for_each(in_tuning);
    measurements.iter_mut().for_each(in_case);
    report
}

fn withheld() -> String {
    WITHHELD.to_owned()
}

fn in_host(host: &mut Host) {
    let Host {
        name,
        kernel,
        container,
        os: _,
        arch: _,
        cpu: _,
        cpus: _,
        memory_bytes: _,
    } = host;
    *name = withheld();
    // Kernels built at home carry names.
    *kernel = None;
    if let Some(container) = container {
        let Container { image, engine: _ } = container;
        *image = None;
    }
}

fn in_adapter(adapter: &mut AdapterDescription) {
    let AdapterDescription {
        pci_address,
        uuid,
        physical_device,
        index: _,
        name: _,
        backend: _,
        device_type: _,
        driver: _,
        driver_info: _,
        vendor_id: _,
        device_id: _,
        subgroup_min_size: _,
        subgroup_max_size: _,
        features: _,
        limits: _,
    } = adapter;
    *pci_address = None;
    *uuid = None;
    // It may hold the PCI address.
    *physical_device = withheld();
}

fn in_shaders(shaders: &mut Shaders) {
    let Shaders {
        folder,
        hash: _,
        mode: _,
    } = shaders;
    // That they are not the built-in ones is no secret.
    if let Some(folder) = folder {
        *folder = PathBuf::from(WITHHELD);
    }
}

fn in_setup(setup: &mut PowerSetup) {
    let PowerSetup {
        wanted,
        source,
        reason,
        sensor: _,
        before_open_w: _,
    } = setup;
    *wanted = kind(wanted);
    source.iter_mut().for_each(in_source);
    if let Some(reason) = reason {
        *reason = withheld();
    }
}

fn in_source(source: &mut SourceIdentity) {
    let SourceIdentity {
        name,
        device,
        power,
        energy,
        pci_address,
        covers: _,
        averaging: _,
    } = source;
    *name = kind(name);
    // NVML's ends in the UUID, and a command is its own.
    *device = withheld();
    in_metric(power);
    in_metric(energy);
    *pci_address = None;
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

fn in_metric(metric: &mut Metric) {
    match metric {
        // Names of NVML's functions are no secret, paths are.
        Metric::Field(field) if !field.contains(['/', '\\']) => {}
        Metric::Field(text)
        | Metric::Missing(
            Missing::SymbolMissing(text) | Missing::Unreadable(text) | Missing::Driver(text),
        ) => *text = withheld(),
        Metric::Missing(
            Missing::NotSupported
            | Missing::NoPermission
            | Missing::NoData
            | Missing::NotFound
            | Missing::NotOffered,
        ) => {}
    }
}

fn in_tuning(tuning: &mut Tuning) {
    let Tuning {
        candidates,
        operation: _,
        precision: _,
        shape_class: _,
        shape: _,
        chosen: _,
        took_s: _,
        budget_s: _,
        cached: _,
    } = tuning;
    for candidate in candidates {
        let Tried {
            reason,
            variant: _,
            parameters: _,
            gflops: _,
        } = candidate;
        reason.iter_mut().for_each(in_reason);
    }
}

fn in_case(measurement: &mut Measurement) {
    let Measurement {
        reason,
        power,
        power_reason,
        surroundings,
        concurrent_with,
        again,
        id: _,
        operation: _,
        precision: _,
        variant: _,
        shape: _,
        work: _,
        work_unit: _,
        bytes: _,
        status: _,
        verification: _,
        time: _,
        gflops: _,
        gbytes_per_s: _,
        ceiling_id: _,
        percent_of_ceiling: _,
        percent_of_datasheet: _,
        data: _,
        power_limit_w: _,
        gflops_per_watt: _,
        conditions: _,
        shader_mode: _,
        chosen: _,
        parameters: _,
        timed: _,
        flags: _,
    } = measurement;
    reason.iter_mut().for_each(in_reason);
    power.iter_mut().for_each(|power| in_power(power));
    power_reason.iter_mut().for_each(in_reason);
    surroundings
        .iter_mut()
        .for_each(|around| in_surroundings(around));
    concurrent_with.iter_mut().for_each(in_beside);
    for again in again {
        again.reason.iter_mut().for_each(in_reason);
    }
}

fn in_surroundings(surroundings: &mut Surroundings) {
    let Surroundings {
        gpu_processes,
        others_share: _,
        stolen_share: _,
        processors_throttled: _,
        gpu_processes_reason: _,
        gpu_limits: _,
        on_battery: _,
    } = surroundings;
    // Names of programs may be paths; how many there were is no secret.
    for GpuProcess { name, pid: _ } in gpu_processes.iter_mut().flatten() {
        *name = None;
    }
}

fn in_beside(beside: &mut Beside) {
    let Beside {
        pci_address,
        index: _,
        adapter: _,
        overlap: _,
    } = beside;
    *pci_address = None;
}

/// Messages of flopwatt itself hold numbers and names of kernels; those of
/// drivers, workers, folders and power sources may hold anything.
fn in_reason(reason: &mut Reason) {
    match reason.code {
        ReasonCode::Device
        | ReasonCode::Worker
        | ReasonCode::Template
        | ReasonCode::NoPowerSource => reason.message = withheld(),
        ReasonCode::TooLarge
        | ReasonCode::MissingFeature
        | ReasonCode::UnsupportedShape
        | ReasonCode::NotComputed
        | ReasonCode::WrongResult
        | ReasonCode::Unstable
        | ReasonCode::NoAgreement
        | ReasonCode::DispatchesDropped
        | ReasonCode::Unverifiable
        | ReasonCode::TooSlow
        | ReasonCode::OutOfTime
        | ReasonCode::PowerInvalid
        | ReasonCode::NotBusy
        | ReasonCode::NotMeasured => {}
    }
}

fn in_power(power: &mut Power) {
    let Power {
        source,
        trace,
        covers: _,
        median_w: _,
        ci95_w: _,
        uncertainty: _,
        dispatches: _,
        j_per_dispatch: _,
        net_j_per_dispatch: _,
        j_per_tflop: _,
        energy_delay_js: _,
        percent_of_datasheet_efficiency: _,
        percent_of_limit_efficiency: _,
        busy: _,
        board_error: _,
        energy: _,
        before: _,
        during: _,
        after: _,
        sampling: _,
    } = power;
    *source = kind(source);
    *trace = None;
}
