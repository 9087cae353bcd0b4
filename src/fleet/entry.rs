//! What is kept of a report.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::{Run, accelerator, card};
use crate::gpu::device::ShaderMode;
use crate::kernel::id::Precision;
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::{Flag, Measurement, Status};
use crate::power::Coverage;
use crate::record::{Content, Report};
use crate::units::Watts;

/// A report without its samples, traces and reasons.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its file.
    pub file: PathBuf,
    pub(super) run: Run,
    pub(super) attempt: Option<Attempt>,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) complete: bool,
    pub(super) synthetic: bool,
    /// Whether it states the hash of its content.
    pub(super) hashed: bool,
    pub(super) accelerator: String,
    /// Its card, or what stands for it where the report does not tell.
    pub(super) card: String,
    pub(super) tells_card: bool,
    pub(super) host: String,
    pub(super) driver: String,
    /// Hash of its kernels' templates.
    pub(super) kernels: String,
    pub(super) cases: Vec<Case>,
    /// Cases that ended without a figure.
    pub(super) absent: usize,
}

/// A Slurm task, and how often it had been put back into the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Cluster, job and process.
    pub task: (Option<String>, u64, Option<u64>),
    pub restart_count: u64,
}

/// A case with a figure.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// What it is called, which is the same in all reports.
    pub name: String,
    pub precision: Precision,
    /// Whether it is a product or attention on usual inputs at the usual power limit.
    pub ranks: bool,
    pub unit: Unit,
    pub value: f64,
    pub percent_of_datasheet: Option<f64>,
    pub power: Option<CasePower>,
    pub flags: Vec<Flag>,
    /// Whether flags or its kernel make the figure doubtful.
    pub doubtful: bool,
}

/// The power of a case.
#[derive(Clone, Copy, Debug)]
pub(super) struct CasePower {
    pub covers: Coverage,
    pub watts: Watts,
    /// Figure per watt, in its unit.
    pub per_watt: Option<f64>,
    /// Whether flags make it doubtful.
    pub doubtful: bool,
}

/// The unit of a case's figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// 10⁹ floating-point operations per second.
    #[serde(rename = "GFLOP/s")]
    Gflops,
    /// 10⁹ integer operations per second.
    #[serde(rename = "GOP/s")]
    Gops,
    /// 10⁹ bytes per second.
    #[serde(rename = "GB/s")]
    GbytesPerSecond,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gflops => "GFLOP/s",
            Self::Gops => "GOP/s",
            Self::GbytesPerSecond => "GB/s",
            Self::Seconds => "s",
        })
    }
}

impl Unit {
    /// How fast `value` is in percent of `other`: of times, the shorter is faster.
    pub fn speed(self, value: f64, other: f64) -> f64 {
        100.0
            * match self {
                Self::Seconds => other / value,
                Self::Gflops | Self::Gops | Self::GbytesPerSecond => value / other,
            }
    }
}

/// Whether a figure may not be what the card does with flopwatt's kernels: by its
/// flags, or since the kernels are somebody's own, whatever their names.
pub fn is_doubtful(report: &Report, m: &Measurement) -> bool {
    report.shaders.folder.is_some() || m.flags.iter().any(|flag| is_a_doubt(*flag))
}

/// Whether a power may not be what the card drew.
pub fn is_power_doubtful(m: &Measurement) -> bool {
    m.flags.iter().any(|flag| is_a_doubt_of_power(*flag))
}

/// A card that is hot or at its power limit really is that slow; one beside which
/// something else was at work need not be.
fn is_a_doubt(flag: Flag) -> bool {
    match flag {
        Flag::NotConverged
        | Flag::FewSamples
        | Flag::LivesDisagree
        | Flag::NotSteady
        | Flag::Drifting
        | Flag::TimestampsRejected
        | Flag::ClockUnproven
        | Flag::NoWitness
        | Flag::Short
        | Flag::SharedAdapter
        | Flag::AfterHang
        | Flag::OtherProcesses
        | Flag::CpuLoad
        | Flag::Concurrent => true,
        Flag::HostTimed
        | Flag::LongDispatch
        | Flag::AboveCeiling
        | Flag::CeilingDrifted
        | Flag::AboveDatasheet
        | Flag::CandidateRejected
        | Flag::Throttled
        | Flag::PowerCapped
        | Flag::PowerMethodsDisagree
        | Flag::PowerAliased
        | Flag::PowerUneven
        | Flag::PowerPartlyIdle
        | Flag::StateContradicts
        | Flag::PowerWindowsLost
        | Flag::PowerUnlikeTime
        | Flag::OnBattery
        | Flag::PowerLimited => false,
    }
}

fn is_a_doubt_of_power(flag: Flag) -> bool {
    matches!(
        flag,
        Flag::PowerMethodsDisagree
            | Flag::PowerAliased
            | Flag::PowerUneven
            | Flag::PowerPartlyIdle
            | Flag::PowerWindowsLost
            | Flag::PowerUnlikeTime
    )
}

impl Entry {
    /// What is kept of the report in `file`.
    pub fn of(file: &Path, report: &Report, content: &Content) -> Self {
        let attempt = report.slurm.as_ref().map(|task| Attempt {
            task: (task.cluster.clone(), task.job_id, task.process_id),
            restart_count: task.restart_count,
        });
        let cases = report.measurements.iter();
        let cases: Vec<Case> = cases.filter_map(|m| Case::of(report, m)).collect();
        let card = card(report);
        Self {
            run: Run::of(report, content),
            attempt,
            started: report.started,
            ended: report.ended,
            complete: report.complete,
            synthetic: report.synthetic,
            hashed: content.stated.is_some(),
            accelerator: accelerator(report),
            tells_card: card.is_some(),
            card: card.unwrap_or_else(|| format!("the card of {}", file.display())),
            host: report.host.name.clone(),
            driver: report.adapter.driver_and_version(),
            kernels: report.shaders.hash.clone(),
            absent: report.measurements.len() - cases.len(),
            cases,
            file: file.to_owned(),
        }
    }
}

impl Case {
    /// `None` for a case without a figure.
    fn of(report: &Report, m: &Measurement) -> Option<Self> {
        let (unit, value) = figure(m)?;
        let checked = match m.shader_mode {
            ShaderMode::Checked => " checked",
            ShaderMode::Unchecked => "",
        };
        // Beside other adapters it is another case than alone.
        let beside = match m.concurrent_with.len() {
            0 => String::new(),
            others => format!("+{others}"),
        };
        let usual = m.data.is_usual() && m.power_limit_w.is_none() && beside.is_empty();
        Some(Self {
            name: m.name() + checked + &beside,
            precision: m.precision,
            ranks: !m.operation.is_ceiling() && usual,
            unit,
            value,
            percent_of_datasheet: m.percent_of_datasheet,
            power: m.power.as_ref().map(|power| CasePower {
                covers: power.covers,
                watts: power.median_w,
                per_watt: m.gflops_per_watt.map(|per_watt| per_watt.gross.0),
                doubtful: is_power_doubtful(m),
            }),
            doubtful: is_doubtful(report, m),
            flags: m.flags.clone(),
        })
    }
}

/// What a case is about: computing, else moving data, else its time.
fn figure(m: &Measurement) -> Option<(Unit, f64)> {
    if m.status != Status::Ok {
        return None;
    }
    let unit = match m.work_unit {
        WorkUnit::Flop => Unit::Gflops,
        WorkUnit::Op => Unit::Gops,
    };
    let rate = m.gflops.map(|rate| (unit, rate.median.0));
    let moved = m.gbytes_per_s.map(|rate| (Unit::GbytesPerSecond, rate));
    let time = m.time.as_ref().map(|time| (Unit::Seconds, time.median_s.0));
    let figure = rate.or(moved).or(time);
    // A report may hold any number.
    figure.filter(|(_, value)| value.is_finite() && *value > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn entry(report: &Report) -> Entry {
        let content = Content {
            stated: None,
            found: "abc".into(),
        };
        Entry::of(Path::new("a.json"), report, &content)
    }

    /// The fixture's cases: 60.2 TFLOP/s; 268 435 456 B in 100 µs; 2.345 µs; two
    /// kernels, the first not converged; one skipped, one rejected.
    #[test]
    fn a_case_is_kept_by_what_it_is_about() {
        let entry = entry(&fixture::report());
        let kept = entry.cases.iter().map(|c| (c.unit, c.value, c.doubtful));
        let kept: Vec<_> = kept.collect();
        assert_eq!(kept.len(), 5);
        assert_eq!(kept[0], (Unit::Gflops, 60_200.0, false));
        assert_eq!(kept[1], (Unit::GbytesPerSecond, 2684.35456, false));
        assert_eq!(kept[2], (Unit::Seconds, 2.345e-6, false));
        assert!(kept[3].2 && !kept[4].2);
        assert_eq!(entry.absent, 2);
        let ranks: Vec<bool> = entry.cases.iter().map(|c| c.ranks).collect();
        assert_eq!(ranks, [false, false, false, true, true]);
    }

    #[test]
    fn own_kernels_are_doubtful_and_checks_make_another_case() {
        let mut report = fixture::report();
        report.shaders.folder = Some("mine".into());
        report.measurements[0].shader_mode = ShaderMode::Checked;
        let entry = entry(&report);
        assert!(entry.cases.iter().all(|case| case.doubtful));
        assert_eq!(entry.cases[0].name, "peak/f32/fma/device checked");
    }

    #[test]
    fn power_may_be_doubtful_where_the_rate_is_not() {
        let mut report = fixture::powered();
        report.measurements[3].flags = vec![Flag::PowerAliased];
        let case = &entry(&report).cases[3];
        assert!(!case.doubtful && case.power.is_some_and(|power| power.doubtful));
    }

    #[test]
    fn the_shorter_time_is_the_faster_one() {
        assert_eq!(Unit::Seconds.speed(2.0, 1.0), 50.0);
        assert_eq!(Unit::Gflops.speed(2.0, 1.0), 200.0);
    }
}
