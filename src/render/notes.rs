//! How to read the figures of a report.

use super::cells;
use super::number::MISSING;
use crate::gpu::adapter::DeviceType;
use crate::measure::measurement::{Flag, Measurement};
use crate::record::Report;

/// Conventions, what is particular to this report and to where it was measured, and
/// its power.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let power = cells::power_notes(report).into_iter();
    let power = power.map(|note| format!("Power: {note}."));
    let software = report.adapter.device_type == DeviceType::Cpu;
    let software = software.then(|| format!("This is a software adapter: {}.", cells::SOFTWARE));
    conventions(report)
        .into_iter()
        .chain(surroundings(report))
        .chain(not_recorded(report))
        .chain(power)
        .chain(software)
        .collect()
}

/// What figures mean in general, and of which shaders they are.
pub(super) fn conventions(report: &Report) -> Vec<String> {
    let interval = match cells::interval_in_words([report]) {
        Some(words) => format!(", in brackets the interval: {words}"),
        None => String::new(),
    };
    let times = format!("Times are medians of one dispatch, rates follow from them{interval}.");
    let conventions = [
        "Every figure belongs to a kernel whose output was compared with a float64 reference in this run.",
        "Kernels are flopwatt's own, in WGSL, as any program can run them through Vulkan, Metal or DX12: not the vendor's libraries, which have instructions that no shading language has.",
        &times,
        "Operations of a product are 2·M·N·K, of attention 4·B·H·Sq·Sk·D, halved for causal with Sq = Sk; softmax is not counted.",
        "GB/s and FLOP/byte refer to compulsory traffic: inputs read once, outputs written once.",
        "Errors are the largest of an element, over what rounding refers to there; the bound is the largest that a correct kernel can show.",
    ];
    let missing = format!("{MISSING} stands for what is not known or does not apply.");
    let shaders = cells::shaders_note(report).map(|note| format!("Shaders: {note}."));
    let ceilings = cells::ceiling_data(report).into_iter();
    let ceilings = ceilings.map(|note| format!("Ceiling data: {note}."));
    let own = conventions.map(str::to_owned).into_iter().chain([missing]);
    own.chain(shaders).chain(ceilings).collect()
}

/// What the version that measured did not record, so that this one cannot judge it.
pub(super) fn not_recorded(report: &Report) -> Option<String> {
    let mut told = report.measurements.iter().filter_map(|m| {
        let one_moment = m.conditions.as_ref()?.are_of_one_moment();
        // Since schema 1.5 every life tells how it was sampled.
        let mut lives = m.time.iter().flat_map(|time| &time.lives);
        let before = lives.all(|life| life.sampling.is_none());
        Some(one_moment && before)
    });
    let is_old = told.next()? && told.all(|is_old| is_old);
    is_old.then(|| {
        "The version that measured recorded clocks and their reasons at one moment of each case \
         only, and neither whether the list of processes shows any, nor the slope of the device's \
         clock against the host's, nor more than one life of a case."
            .to_owned()
    })
}

/// The flags of a report, each once, in the order in which they occur.
pub(super) fn flags(report: &Report) -> Vec<Flag> {
    let mut flags: Vec<Flag> = Vec::new();
    for &flag in report.measurements.iter().flat_map(|m| &m.flags) {
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    }
    flags
}

/// What else went on while figures were measured.
pub(super) fn surroundings(report: &Report) -> Vec<String> {
    let told = |flag: &Flag| flag.is_a_disturbance() || flag.is_a_restraint();
    let flags = flags(report).into_iter().filter(told);
    let sentence = |flag: Flag| {
        let with_it = |m: &&Measurement| m.flags.contains(&flag);
        let figures = match report.measurements.iter().filter(with_it).count() {
            1 => "One figure is".to_owned(),
            count => format!("{count} figures are"),
        };
        let programs = match flag {
            Flag::OtherProcesses => programs(report),
            _ => String::new(),
        };
        let why = flag.meaning();
        format!("{figures} not to be quoted without this: {why}{programs}.")
    };
    flags.map(sentence).collect()
}

/// The other processes on the GPU, by name, each once.
fn programs(report: &Report) -> String {
    let around = report.measurements.iter().flat_map(|m| &m.surroundings);
    let processes = around.flat_map(|around| around.gpu_processes.iter().flatten());
    let mut names: Vec<&str> = processes.flat_map(|p| p.name.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    match &names[..] {
        [] => String::new(),
        names => format!(" ({})", names.join(", ")),
    }
}
