//! How to read the figures of a report.

use super::cells;
use super::number::MISSING;
use crate::gpu::adapter::DeviceType;
use crate::measure::measurement::Flag;
use crate::record::Report;

/// Conventions, what is particular to this report, and its power.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let power = cells::power_notes(report).into_iter();
    let power = power.map(|note| format!("Power: {note}."));
    let software = report.adapter.device_type == DeviceType::Cpu;
    let software = software.then(|| format!("This is a software adapter: {}.", cells::SOFTWARE));
    conventions(report)
        .into_iter()
        .chain(power)
        .chain(software)
        .collect()
}

/// What figures mean in general, and of which shaders they are.
pub(super) fn conventions(report: &Report) -> Vec<String> {
    let conventions = [
        "Every figure belongs to a kernel whose output was compared with a float64 reference in this run.",
        "Times are medians of one dispatch, rates follow from them, in brackets the 95 % interval.",
        "Operations of a product are 2·M·N·K, of attention 4·B·H·Sq·Sk·D, halved for causal with Sq = Sk; softmax is not counted.",
        "GB/s and FLOP/byte refer to compulsory traffic: inputs read once, outputs written once.",
        "Errors are the largest of an element, over what rounding refers to there; the bound is the largest that a correct kernel can show.",
    ];
    let missing = format!("{MISSING} stands for what is not known or does not apply.");
    let shaders = cells::shaders_note(report).map(|note| format!("Shaders: {note}."));
    let own = conventions.map(str::to_owned).into_iter().chain([missing]);
    own.chain(shaders).collect()
}

/// What a flag says.
pub(super) fn meaning(flag: Flag) -> &'static str {
    match flag {
        Flag::NotConverged => "the interval was still too wide when time was up",
        Flag::FewSamples => "under six samples, which have no interval",
        Flag::NotSteady => "the warm-up still showed a trend",
        Flag::HostTimed => "the adapter has no timestamps: timed by the host",
        Flag::TimestampsRejected => "the timestamps contradict the wall clock: timed by the host",
        Flag::LongDispatch => {
            "one dispatch takes over 100 ms, which trips the watchdog of a GPU that drives a display"
        }
        Flag::AboveCeiling => "above the measured ceiling, which is then a defect of the ceiling",
        Flag::AboveDatasheet => "above the datasheet's peak",
        Flag::NoWitness => "checked on samples, without a second kernel for the rest",
        Flag::CandidateRejected => "another form of the kernel computed wrong results here",
        Flag::Short => "from a run too short for the stopping rule",
        Flag::Concurrent => {
            "other adapters of the machine worked at the same time, and shared power and cooling"
        }
        Flag::Throttled => "slowed down by heat or the power supply, or at a low clock",
        Flag::PowerCapped => "at the power limit, which is normal under a full load",
        Flag::PowerMethodsDisagree => {
            "energy counter and integral of the power differ by more than 5 %"
        }
        Flag::PowerAliased => "the power sensor may have seen the same part of every dispatch",
        Flag::PowerWindowsLost => "some of the windows gave no power",
        Flag::PowerUnlikeTime => {
            "energy and rate per watt count slow dispatches and waiting, which median time and rate \
             leave out: over 5 % here"
        }
    }
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
