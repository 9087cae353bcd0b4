//! The outcome of one case, as it stands in the report.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::again::Again;
use super::conditions::Conditions;
use super::period::Period;
use super::power::{Power, power_flags};
use super::surroundings::Surroundings;
use crate::gpu::device::ShaderMode;
use crate::kernel::id::{CaseId, Operation, Precision};
use crate::kernel::inputs::Data;
use crate::kernel::problem::{Checked, Verdict, Work, WorkUnit};
use crate::kernel::shape::Shape;
use crate::kernel::{Choice, Parameters};
use crate::stats::{self, LifeMedian};
use crate::units::{Gflops, Seconds, Watts};

/// One case and everything known about it. What is not known is `null`, never
/// zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// `operation/precision/variant/shape`.
    pub id: String,
    /// What was computed.
    pub operation: Operation,
    /// In which number formats.
    pub precision: Precision,
    /// By which kernel.
    pub variant: String,
    /// On which problem size.
    pub shape: Shape,
    /// Operations of one dispatch; 0 for cases that only move data.
    pub work: Option<u64>,
    /// Unit of `work`.
    pub work_unit: WorkUnit,
    /// Compulsory memory traffic of one dispatch, in bytes.
    pub bytes: Option<u64>,
    /// How the case ended.
    pub status: Status,
    /// Why there is no figure; `null` when there is.
    pub reason: Option<Reason>,
    /// How the output compared with the reference.
    pub verification: Verification,
    /// Duration of one dispatch.
    pub time: Option<Time>,
    /// Achieved 10⁹ operations per second.
    pub gflops: Option<Rate>,
    /// Compulsory traffic over the median time, in 10⁹ bytes per second.
    pub gbytes_per_s: Option<f64>,
    /// Case id of the measured ceiling that the case is held against.
    pub ceiling_id: Option<String>,
    /// Achieved rate in percent of that ceiling, not clamped.
    pub percent_of_ceiling: Option<f64>,
    /// Achieved rate in percent of the datasheet's peak, not clamped.
    pub percent_of_datasheet: Option<f64>,
    /// Distribution of the inputs of a product or of attention; of an arithmetic
    /// ceiling, which has inputs of its own, what it multiplies. Bandwidth and latency
    /// have `normal` here.
    #[serde(default)]
    pub data: Data,
    /// Power limit that was set for the case, where limits were varied.
    #[serde(default)]
    pub power_limit_w: Option<Watts>,
    /// Power during the timed dispatches.
    pub power: Option<Box<Power>>,
    /// Why there is no power; `null` when there is.
    pub power_reason: Option<Reason>,
    /// Achieved rate per watt; `null` without power, and for ceilings that multiply
    /// `exact-integers`, which draw less power than ordinary numbers.
    pub gflops_per_watt: Option<Efficiency>,
    /// State of the GPU while the dispatches were timed; null where no driver tells it,
    /// and in reports before schema 1.5 for cases without power.
    #[serde(default)]
    pub conditions: Option<Box<Conditions>>,
    /// What else went on meanwhile; null for cases without figures.
    #[serde(default)]
    pub surroundings: Option<Box<Surroundings>>,
    /// Whether the shader ran with bounds and loop checks.
    pub shader_mode: ShaderMode,
    /// For `best`: the kernel that tuning chose; `null` for all others.
    pub chosen: Option<String>,
    /// Tile sizes and the like of the program that was measured.
    pub parameters: Parameters,
    /// When the timed dispatches ran: one stretch, or one for each window of power.
    /// Empty for cases without figures, and where nobody took it down.
    #[serde(default)]
    pub timed: Vec<Period>,
    /// Other adapters of the machine that worked on the same case meanwhile, with
    /// which the device shared power and cooling; empty where it worked alone.
    #[serde(default)]
    pub concurrent_with: Vec<Beside>,
    /// Of a ceiling: what it was when it was measured once more.
    #[serde(default)]
    pub again: Vec<Again>,
    /// What to know before quoting the figure.
    pub flags: Vec<Flag>,
}

/// An adapter that worked on the same case at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Beside {
    /// Its position in the list of adapters of this run.
    pub index: usize,
    /// Its name, as the driver gives it.
    pub adapter: String,
    /// Its place on the PCI bus, where that is known.
    pub pci_address: Option<String>,
    /// The share of the timed dispatches' time in which it worked as well, from 0 to
    /// 1.
    pub overlap: f64,
}

impl Beside {
    /// From this share on it counts as having worked throughout.
    pub const THROUGHOUT: f64 = 0.9;

    /// Whether it worked throughout, but for what takes no part in a median.
    pub fn is_throughout(&self) -> bool {
        self.overlap >= Self::THROUGHOUT
    }
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Verified and measured.
    Ok,
    /// The output is wrong: no figure.
    Rejected,
    /// This adapter or kernel cannot do it.
    Skipped,
    /// The device, the driver or the harness failed.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// Kinds of reasons for which a figure is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    /// The shape exceeds the adapter's limits.
    TooLarge,
    /// The adapter lacks an optional ability.
    MissingFeature,
    /// The kernel does not handle this shape.
    UnsupportedShape,
    /// Nothing was written.
    NotComputed,
    /// The output is wrong.
    WrongResult,
    /// The output changed while it was timed.
    Unstable,
    /// Two kernels that passed on samples disagree elsewhere.
    NoAgreement,
    /// The driver left out some of the dispatches.
    DispatchesDropped,
    /// Rounding may do so much with these inputs that no output can be told from
    /// a wrong one.
    Unverifiable,
    /// The device was lost, out of memory or refused the work.
    Device,
    /// The worker process ended or hung.
    Worker,
    /// The shader template is defective.
    Template,
    /// A candidate that is far slower than another on a small shape.
    TooSlow,
    /// A candidate that was not tried within the budget.
    OutOfTime,
    /// No source of power was read.
    NoPowerSource,
    /// What the source of power said cannot be.
    PowerInvalid,
    /// The device was not busy enough for its power to be that of the work.
    NotBusy,
    /// Nothing was measured, so there is nothing to relate.
    NotMeasured,
}

impl ReasonCode {
    /// Whether the output is wrong, rather than absent.
    pub fn is_rejection(self) -> bool {
        matches!(
            self,
            Self::NotComputed
                | Self::WrongResult
                | Self::Unstable
                | Self::NoAgreement
                | Self::DispatchesDropped
        )
    }
}

const REASON_CODES: &[(ReasonCode, &str)] = &[
    (ReasonCode::TooLarge, "too-large"),
    (ReasonCode::MissingFeature, "missing-feature"),
    (ReasonCode::UnsupportedShape, "unsupported-shape"),
    (ReasonCode::NotComputed, "not-computed"),
    (ReasonCode::WrongResult, "wrong-result"),
    (ReasonCode::Unstable, "unstable"),
    (ReasonCode::NoAgreement, "no-agreement"),
    (ReasonCode::DispatchesDropped, "dispatches-dropped"),
    (ReasonCode::Unverifiable, "unverifiable"),
    (ReasonCode::Device, "device"),
    (ReasonCode::Worker, "worker"),
    (ReasonCode::Template, "template"),
    (ReasonCode::TooSlow, "too-slow"),
    (ReasonCode::OutOfTime, "out-of-time"),
    (ReasonCode::NoPowerSource, "no-power-source"),
    (ReasonCode::PowerInvalid, "power-invalid"),
    (ReasonCode::NotBusy, "not-busy"),
    (ReasonCode::NotMeasured, "not-measured"),
];

/// Why a figure is absent: serialised as `code: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What kind of reason.
    pub code: ReasonCode,
    /// The particulars, for a person.
    pub message: String,
}

impl Reason {
    /// A reason of kind `code`.
    pub fn new(code: ReasonCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = REASON_CODES.iter().find(|(code, _)| *code == self.code);
        write!(f, "{}: {}", name.map_or("", |(_, name)| name), self.message)
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, message) = text.split_once(": ").unwrap_or((text, ""));
        let code = REASON_CODES.iter().find(|(_, known)| *known == name);
        let &(code, _) = code.ok_or_else(|| format!("unknown reason \"{name}\""))?;
        Ok(Self::new(code, message))
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Reason {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let codes: Vec<&str> = REASON_CODES.iter().map(|(_, name)| *name).collect();
        schemars::json_schema!({
            "type": "string",
            "description": "Why a figure is absent, as `code: message`.",
            "pattern": format!("^({}): ", codes.join("|")),
        })
    }
}

/// How an output compared with the float64 reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// How much was compared.
    pub checked: Checked,
    /// Largest error of an element over what rounding refers to there.
    pub max_scaled_error: Option<f64>,
    /// Largest such error that a correct kernel can show.
    pub tolerance: Option<f64>,
}

impl Verification {
    /// Nothing was compared.
    pub const NONE: Self = Self {
        checked: Checked::None,
        max_scaled_error: None,
        tolerance: None,
    };
}

impl From<&Verdict> for Verification {
    fn from(verdict: &Verdict) -> Self {
        Self {
            checked: verdict.checked,
            max_scaled_error: verdict.max_scaled_error,
            tolerance: Some(verdict.tolerance),
        }
    }
}

/// Whose clock timed a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The device's timestamps.
    Device,
    /// The host's clock around submission and completion.
    Host,
}

/// Whether inputs could stay in the last-level cache from one dispatch to the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// They could.
    Hot,
    /// The working set is at least twice the cache.
    Cold,
}

/// Duration of one dispatch, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Time {
    /// Whose clock; the host's if any life was timed by it.
    pub clock: Clock,
    /// Whether the cache could help.
    pub cache: Cache,
    /// Median of the samples; of several lives, the median of their medians.
    pub median_s: Seconds,
    /// Between which values the median lies; null below six samples, which do not tell.
    /// Reports before schema 1.5 have `ci95_s`, which took samples for independent.
    #[serde(default)]
    pub interval_s: Option<Interval<Seconds>>,
    /// 5th percentile of all samples.
    pub p5_s: Seconds,
    /// 95th percentile of all samples.
    pub p95_s: Seconds,
    /// Every sample, in the order taken: seconds per dispatch.
    pub samples_s: Vec<Seconds>,
    /// Dispatches that one sample is the mean of, in the first life.
    pub dispatches_per_sample: u32,
    /// The lives of the case, in order; empty before schema 1.5, where there was one.
    #[serde(default)]
    pub lives: Vec<Life>,
}

/// One life of a case: it was verified, warmed up and sampled with a device and buffers
/// of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Life {
    /// Median of its samples.
    pub median_s: Seconds,
    /// Between which values its samples place that median, low to high; null below six.
    pub spread_s: Option<[Seconds; 2]>,
    /// How many of `samples_s` are its own, behind those of the lives before.
    pub samples: usize,
    /// Dispatches that one of its samples is the mean of.
    pub dispatches_per_sample: u32,
    /// How its samples were taken; null where nobody took that down.
    #[serde(default)]
    pub sampling: Option<Sampling>,
}

/// How the samples of one life of a case were taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// For how long the device worked on them.
    pub sampled_s: Seconds,
    /// Their trend (Theil–Sen slope), relative to the median, per second; null where
    /// they are too few to show one.
    pub drift_per_s: Option<f64>,
    /// Half the width of its 99.8 % interval.
    pub drift_half_width_per_s: Option<f64>,
    /// Samples that were taken again because their timestamps cannot be true.
    pub rejected: usize,
    /// Before the samples: how many seconds the device's clock counted in one of the
    /// host's, at least and at most, as batches of n and 4n dispatches show; null where
    /// the host timed, or nobody compared.
    pub clock_rate_before: Option<[f64; 2]>,
    /// The same after the samples.
    pub clock_rate_after: Option<[f64; 2]>,
}

impl Life {
    /// Its median and what its samples say of it, without the unit.
    pub fn median(&self) -> LifeMedian {
        LifeMedian {
            median: self.median_s.0,
            spread: self.spread_s.map(|ends| ends.map(|s| s.0)),
        }
    }
}

/// Between which values a figure lies, and what that says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval<T> {
    /// What it says.
    pub kind: IntervalKind,
    /// Its lower end.
    pub low: T,
    /// Its upper end.
    pub high: T,
}

impl<T> Interval<T> {
    /// The ends, low to high.
    pub fn ends(self) -> [T; 2] {
        [self.low, self.high]
    }
}

/// What an interval says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalKind {
    /// How far the samples of a single life scatter about their median. What differs
    /// from one process to the next, such as where memory lies, is not in it.
    SpreadWithinRun,
    /// It holds the figure with 95 %, as the lives differ among one another.
    OverLives,
}

impl Time {
    /// Summary of the `samples` (seconds per dispatch) of a single life. `None` without
    /// samples.
    pub fn summarise(
        samples: &[f64],
        clock: Clock,
        cache: Cache,
        dispatches_per_sample: u32,
    ) -> Option<Self> {
        let life = Life {
            median_s: Seconds(stats::median(samples)?),
            spread_s: stats::median_interval(samples).map(|ends| ends.map(Seconds)),
            samples: samples.len(),
            dispatches_per_sample,
            sampling: None,
        };
        Some(Self {
            clock,
            cache,
            median_s: life.median_s,
            interval_s: life.spread_s.map(|[low, high]| Interval {
                kind: IntervalKind::SpreadWithinRun,
                low,
                high,
            }),
            p5_s: Seconds(stats::quantile(samples, 0.05)?),
            p95_s: Seconds(stats::quantile(samples, 0.95)?),
            samples_s: samples.iter().copied().map(Seconds).collect(),
            dispatches_per_sample,
            lives: vec![life],
        })
    }

    /// Several lives of a case as one. `None` without any.
    pub fn over_lives(times: &[Self]) -> Option<Self> {
        let first = times.first()?;
        let lives: Vec<Life> = times.iter().flat_map(|time| &time.lives).copied().collect();
        let medians: Vec<LifeMedian> = lives.iter().map(Life::median).collect();
        let (median, interval) = stats::over_lives(&medians)?;
        let samples: Vec<f64> = times
            .iter()
            .flat_map(|time| time.samples_s.iter().map(|s| s.0))
            .collect();
        let by_host = times.iter().find(|time| time.clock == Clock::Host);
        Some(Self {
            clock: by_host.unwrap_or(first).clock,
            median_s: Seconds(median),
            interval_s: interval.map(|[low, high]| Interval {
                kind: IntervalKind::OverLives,
                low: Seconds(low),
                high: Seconds(high),
            }),
            p5_s: Seconds(stats::quantile(&samples, 0.05)?),
            p95_s: Seconds(stats::quantile(&samples, 0.95)?),
            samples_s: samples.into_iter().map(Seconds).collect(),
            lives,
            ..first.clone()
        })
    }

    /// So many bytes over the median, in 10⁹ bytes per second. `None` for cases that
    /// move none.
    pub(super) fn gbytes_per_s(&self, bytes: u64) -> Option<f64> {
        (bytes > 0).then(|| bytes as f64 / self.median_s.0 / 1e9)
    }

    /// What the interval says, in words.
    pub fn interval_in_words(&self) -> Option<String> {
        Some(match self.interval_s?.kind {
            IntervalKind::SpreadWithinRun => "spread within this run".to_owned(),
            IntervalKind::OverLives => format!("95 % over {} lives", self.lives.len()),
        })
    }
}

/// A rate with the interval that follows from the time's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// At the median time.
    pub median: Gflops,
    /// At the ends of the time's interval; null where the time has none.
    #[serde(default)]
    pub interval: Option<Interval<Gflops>>,
}

impl Rate {
    /// Work over time. `None` for cases without operations.
    pub fn of(work: &Work, time: &Time) -> Option<Self> {
        (work.operations > 0).then(|| Self::at(work.operations, time))
    }

    /// So many operations over time.
    pub(super) fn at(operations: u64, time: &Time) -> Self {
        let rate = |s: Seconds| Gflops(operations as f64 / s.0 / 1e9);
        Self {
            median: rate(time.median_s),
            interval: time.interval_s.map(|interval| Interval {
                kind: interval.kind,
                low: rate(interval.high),
                high: rate(interval.low),
            }),
        }
    }
}

/// Achieved rate per watt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Efficiency {
    /// Of all power drawn.
    pub gross: Gflops,
    /// Of the power above that of the device when it is idle but open, at the clocks of
    /// that state: more than what it draws when nothing has it open.
    pub net: Option<Gflops>,
}

/// What to know before quoting a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Time was up before the interval was narrow enough.
    NotConverged,
    /// Fewer than six samples, which do not tell how far they scatter.
    FewSamples,
    /// The lives of the case differ by more than the tier's half-width: the standard
    /// deviation of their medians.
    LivesDisagree,
    /// The warm-up ended without a steady state; of reports before schema 1.5, where
    /// nobody looked at the samples.
    NotSteady,
    /// The samples have a trend that may take the figure further from the steady state
    /// than the tier's half-width.
    Drifting,
    /// The adapter has no timestamps: host clock.
    HostTimed,
    /// The timestamps contradict the wall clock: host clock.
    TimestampsRejected,
    /// The host was disturbed too much to tell whether the device's clock runs as its
    /// own does, within 0.5 %.
    ClockUnproven,
    /// One dispatch takes over 100 ms, which trips the watchdog of a GPU that
    /// also drives a display.
    LongDispatch,
    /// Above the measured ceiling, which is then a defect of the ceiling.
    AboveCeiling,
    /// The ceiling that it is held against had changed by more than 1 % when the run
    /// ended.
    CeilingDrifted,
    /// Above the datasheet's peak.
    AboveDatasheet,
    /// Checked on samples without a second kernel to compare the rest with.
    NoWitness,
    /// Another candidate of the kernel computed a wrong output on this adapter.
    CandidateRejected,
    /// Measured by a run too short for the stopping rule.
    Short,
    /// Other adapters of the machine worked at the same time: not the figure of one
    /// that has power and cooling to itself.
    Concurrent,
    /// Slowed down by heat or the power supply, or at a clock below three quarters
    /// of the highest.
    Throttled,
    /// At the power limit, which is normal under a full load.
    PowerCapped,
    /// The driver called the device idle while it worked, so that what it says of lower
    /// clocks counts for nothing.
    StateContradicts,
    /// Counter and integral of the power differ by more than 5 %.
    PowerMethodsDisagree,
    /// The power sensor may have seen the same part of every dispatch or batch, or its
    /// readings alternate by more than 5 %.
    PowerAliased,
    /// The median reading of the power differs by more than 1 % from its mean.
    PowerUneven,
    /// The device worked less than 99 % of the time in which its power was read.
    PowerPartlyIdle,
    /// Some of the windows gave no power.
    PowerWindowsLost,
    /// The energy of a dispatch differs by more than 5 % from its power times its
    /// median time: some took longer, or the device waited between them.
    PowerUnlikeTime,
    /// Another run may have measured on the adapter at the time.
    SharedAdapter,
    /// A worker that had hung, and could not be killed, may still have used the device.
    AfterHang,
    /// Other processes used the GPU.
    OtherProcesses,
    /// Others took over 5 % of the processors' time from a software adapter.
    CpuLoad,
    /// The machine ran on a battery.
    OnBattery,
    /// The power limit was below the one that the device comes with.
    PowerLimited,
}

impl Flag {
    /// What it says, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NotConverged => "the interval was still too wide when time was up",
            Self::FewSamples => "under six samples, which do not tell how far they scatter",
            Self::LivesDisagree => "its lives differ by more than the tier allows within one",
            Self::NotSteady => "the warm-up still showed a trend",
            Self::Drifting => "the time still rose or fell while it was measured",
            Self::HostTimed => "the adapter has no timestamps: timed by the host",
            Self::TimestampsRejected => {
                "the timestamps contradict the wall clock: timed by the host"
            }
            Self::ClockUnproven => {
                "the device's clock was not shown to run as the host's does, within 0.5 %"
            }
            Self::LongDispatch => {
                "one dispatch takes over 100 ms, which trips the watchdog of a GPU that drives a display"
            }
            Self::AboveCeiling => {
                "above the measured ceiling, which is then a defect of the ceiling"
            }
            Self::CeilingDrifted => {
                "the ceiling that it is held against had changed by more than 1 % when the run ended"
            }
            Self::AboveDatasheet => "above the datasheet's peak",
            Self::NoWitness => "checked on samples, without a second kernel for the rest",
            Self::CandidateRejected => "another form of the kernel computed wrong results here",
            Self::Short => "from a run too short for the stopping rule",
            Self::Concurrent => {
                "other adapters of the machine worked at the same time, and shared power and cooling"
            }
            Self::Throttled => "slowed down by heat or the power supply, or at a low clock",
            Self::PowerCapped => "at the power limit, which is normal under a full load",
            Self::StateContradicts => {
                "the driver called the device idle while it worked: whether clocks were lowered is not known"
            }
            Self::PowerMethodsDisagree => {
                "energy counter and integral of the power differ by more than 5 %"
            }
            Self::PowerAliased => {
                "the power sensor may have seen the same part of every dispatch, or other parts in turn"
            }
            Self::PowerUneven => {
                "the power was not level, or its readings not of the same work: median and mean differ by over 1 %"
            }
            Self::PowerPartlyIdle => {
                "the power is that of a device which worked less than 99 % of the time"
            }
            Self::PowerWindowsLost => "some of the windows gave no power",
            Self::PowerUnlikeTime => {
                "energy and rate per watt count slow dispatches and waiting, which median time and rate \
                 leave out: over 5 % here"
            }
            Self::SharedAdapter => "another run may have measured on the adapter at the time",
            Self::AfterHang => {
                "a worker that had hung, and could not be killed, may still have used the device"
            }
            Self::OtherProcesses => "other processes used the GPU at the time",
            Self::CpuLoad => {
                "other processes, or the hypervisor, took over 5 % of the processors' time"
            }
            Self::OnBattery => "the machine ran on a battery",
            Self::PowerLimited => "the power limit was below the one that the device comes with",
        }
    }

    /// Whether something else was at work: the figure is too low by an amount that
    /// nobody knows.
    pub fn is_a_disturbance(self) -> bool {
        matches!(
            self,
            Self::SharedAdapter | Self::AfterHang | Self::OtherProcesses | Self::CpuLoad
        )
    }

    /// Whether the device could not do its best: the figure is that of this state.
    pub fn is_a_restraint(self) -> bool {
        matches!(self, Self::Throttled | Self::OnBattery | Self::PowerLimited)
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Measurement {
    /// The case in one word: its id, the distribution of its inputs unless that is
    /// the usual one, and the power limit where limits were varied.
    pub fn name(&self) -> String {
        let mut name = self.id.clone();
        if !self.data.is_usual() {
            name += &format!("[{}]", self.data);
        }
        if let Some(Watts(watts)) = self.power_limit_w {
            name += &format!("@{watts}W");
        }
        name
    }

    /// Marks the figure, once.
    pub fn flag(&mut self, flag: Flag) {
        if !self.flags.contains(&flag) {
            self.flags.push(flag);
        }
    }

    /// Median clock of the processors in MHz, where it is known.
    pub fn sm_clock_mhz(&self) -> Option<u32> {
        Some(self.conditions.as_ref()?.sm_clock_mhz?.median)
    }

    /// Judges what an older version has measured as this version does, as far as it
    /// recorded what that takes.
    pub fn renew(&mut self) {
        self.renew_time();
        let Some(power) = &mut self.power else {
            return;
        };
        power.renew();
        let median = self.time.as_ref().map(|time| time.median_s);
        let flags = median.map_or_else(Vec::new, |median| power_flags(power, median));
        if self.conditions.is_none() {
            self.conditions = Conditions::of_one_moment(power).map(Box::new);
            let conditions = self.conditions.iter().flat_map(|c| c.flags());
            for flag in conditions.chain(flags).collect::<Vec<_>>() {
                self.flag(flag);
            }
        }
    }

    /// Fills in what reports before schema 1.5 lack: each has a single life, whose
    /// interval took its samples for independent, and is found anew from them.
    fn renew_time(&mut self) {
        let Some(time) = self.time.as_mut().filter(|time| time.lives.is_empty()) else {
            return;
        };
        let samples: Vec<f64> = time.samples_s.iter().map(|s| s.0).collect();
        let dispatches = time.dispatches_per_sample;
        let single = Time::summarise(&samples, time.clock, time.cache, dispatches);
        if let Some(single) = single {
            (time.interval_s, time.lives) = (single.interval_s, single.lives);
        }
        if let (Some(rate), Some(work)) = (&mut self.gflops, self.work) {
            rate.interval = Rate::at(work, time).interval;
        }
    }

    /// The kernel that was measured, and its parameters.
    pub fn program(&self) -> Choice {
        Choice {
            variant: self.chosen.as_ref().unwrap_or(&self.variant).clone(),
            parameters: self.parameters.clone(),
        }
    }

    /// A case without figures: skipped, rejected or failed for `reason`.
    pub fn without_figures(id: &CaseId, status: Status, reason: Reason) -> Self {
        Self {
            id: id.to_string(),
            operation: id.operation,
            precision: id.precision,
            variant: id.variant.clone(),
            shape: id.shape,
            work: None,
            work_unit: WorkUnit::Flop,
            bytes: None,
            status,
            reason: Some(reason),
            verification: Verification::NONE,
            time: None,
            gflops: None,
            gbytes_per_s: None,
            ceiling_id: None,
            percent_of_ceiling: None,
            percent_of_datasheet: None,
            data: Data::default(),
            power_limit_w: None,
            power: None,
            power_reason: Some(Reason::new(
                ReasonCode::NotMeasured,
                "the case has no figure",
            )),
            gflops_per_watt: None,
            conditions: None,
            surroundings: None,
            shader_mode: ShaderMode::Unchecked,
            chosen: None,
            parameters: Parameters::new(),
            timed: Vec::new(),
            concurrent_with: Vec::new(),
            again: Vec::new(),
            flags: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_code_survives_a_round_trip() {
        for (code, name) in REASON_CODES {
            let reason = Reason::new(*code, "a: b");
            assert_eq!(reason.to_string(), format!("{name}: a: b"));
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert!("nonsense: x".parse::<Reason>().is_err());
    }

    /// 2·10⁹ operations in 0.5 s (0.4 to 0.8 s): 4 GFLOP/s, 2.5 to 5.
    #[test]
    fn the_interval_of_a_rate_is_the_times_turned_round() {
        let work = Work {
            operations: 2_000_000_000,
            unit: WorkUnit::Flop,
            bytes: 0,
        };
        let mut time = Time::summarise(&[0.5], Clock::Device, Cache::Hot, 1).unwrap();
        assert_eq!(time.interval_s, None, "one sample has no interval");
        assert_eq!(Rate::of(&work, &time).unwrap().interval, None);
        let kind = IntervalKind::SpreadWithinRun;
        time.interval_s = Some(Interval {
            kind,
            low: Seconds(0.4),
            high: Seconds(0.8),
        });
        let rate = Rate::of(&work, &time).unwrap();
        assert_eq!(rate.median, Gflops(4.0));
        let turned = Interval {
            kind,
            low: Gflops(2.5),
            high: Gflops(5.0),
        };
        assert_eq!(rate.interval, Some(turned));
        assert_eq!(
            Rate::of(
                &Work {
                    operations: 0,
                    ..work
                },
                &time
            ),
            None
        );
    }

    /// A record of schema 1.4: the same case measured today, but for what it states of
    /// its interval.
    #[test]
    fn an_old_record_gets_the_spread_of_its_own_samples() {
        let id = "matmul/f32/naive/1x1x1".parse().unwrap();
        let samples: Vec<f64> = (0..20).map(|i| 1.0 + 0.01 * f64::from(i / 5)).collect();
        let time = Time::summarise(&samples, Clock::Device, Cache::Hot, 8).unwrap();
        let now = Measurement {
            work: Some(2_000_000_000),
            gflops: Some(Rate::at(2_000_000_000, &time)),
            time: Some(time),
            ..Measurement::without_figures(&id, Status::Ok, Reason::new(ReasonCode::Device, ""))
        };
        let mut old = serde_json::to_value(&now).unwrap();
        for (of, interval) in [("time", "interval_s"), ("gflops", "interval")] {
            old[of].as_object_mut().unwrap().remove(interval);
        }
        old["time"]["ci95_s"] = serde_json::json!([1.01, 1.02]);
        old["gflops"]["ci95"] = serde_json::json!([1.97, 1.98]);
        old["time"].as_object_mut().unwrap().remove("lives");
        let mut read: Measurement = serde_json::from_value(old).unwrap();
        read.renew();
        assert_eq!(read, now);
        // Runs of five equal samples are worth four or so: all of them, not [1.01, 1.02].
        let spread = read.time.unwrap().interval_s.unwrap();
        assert_eq!(spread.ends(), [Seconds(1.0), Seconds(1.03)]);
    }
}
