//! Batch size, warm-up and samples. Knows nothing of what it times.

use std::ops::Range;

use super::clock::{self, Agreement, Choice, Comparison};
use super::measurement::{Clock, Flag, Sampling};
use super::tier::Effort;
use crate::gpu::device::{Batch, GpuError, Series};
use crate::stats::{self, Point, Trend};
use crate::units::Seconds;

/// A sample lasts at least this long, so that timer resolution and the edges of
/// a batch stay far below 1 %…
const SAMPLE_FLOOR: Seconds = Seconds(0.020);
/// … and, where the host times it, this many submit overheads.
const OVERHEADS_PER_SAMPLE: f64 = 100.0;
/// … but no more dispatches than this, which a driver can still hold in one
/// command buffer.
const MAX_DISPATCHES: u32 = 1 << 15;
/// The trend is looked at this often while a tier's length is sampled.
const LOOKS: f64 = 2.0;
/// The batches whose durations are compared are this many times as large as the others.
const TIMES_AS_LARGE: u32 = 4;
/// Pairs of batches by which the clocks are compared …
const PAIRS: usize = 8;
/// … unless they take longer than this.
const COMPARING: Seconds = Seconds(1.0);
/// A trend has ended where the later half has less than this share of it.
const ENDED: f64 = 0.5;
/// Rejected samples beyond this share end the sampling.
const MAX_REJECTED: usize = 50;
/// One dispatch above this trips display watchdogs.
const LONG_DISPATCH: Seconds = Seconds(0.1);

/// Runs batches of `n` dispatches.
pub trait Runner {
    /// Times of the batch.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError>;

    /// The clock to go by after these batches: the device's if it can be trusted.
    fn choose_clock(&self, batches: &[Batch], overhead: Seconds) -> Choice {
        clock::choose(batches, overhead)
    }
}

/// A warmed-up case: how it is to be sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Warm {
    /// Dispatches of a sample.
    pub dispatches: u32,
    /// By which clock.
    pub choice: Choice,
    /// What the device's clock counts in a second of the host's, at least and at most.
    pub rate: Option<[f64; 2]>,
    /// The batches of the warm-up, of this size and a quarter of it.
    comparison: Comparison,
    /// Typical cost of a submission.
    pub overhead: Seconds,
    /// Roughly how long a dispatch takes.
    pub dispatch: Seconds,
}

impl Warm {
    /// Roughly how long a sample takes.
    pub fn sample(&self) -> Seconds {
        Seconds(f64::from(self.dispatches) * self.dispatch.0)
    }
}

/// Finds the batch size and runs batches for the warm-up time.
///
/// # Errors
/// Whatever the device reports.
pub fn warm_up(
    runner: &mut impl Runner,
    effort: &Effort,
    overhead: Seconds,
) -> Result<Warm, GpuError> {
    let mut elapsed = 0.0;
    let mut dispatches = 1;
    let mut batch = runner.run(dispatches)?;
    elapsed += batch.cost.0;
    let target = target_duration(&batch, overhead);
    while batch.wall.0 < target.0 && dispatches < MAX_DISPATCHES {
        dispatches = grown(dispatches, batch.wall, target);
        batch = runner.run(dispatches)?;
        elapsed += batch.cost.0;
    }
    let mut comparison = Comparison {
        few: dispatches / TIMES_AS_LARGE,
        many: dispatches,
        small: Vec::new(),
        large: vec![batch],
    };
    while elapsed < effort.warm_up.0 {
        elapsed += compare(runner, &mut comparison)?;
    }
    let dispatch = comparison.large.last().unwrap_or(&batch).wall.0 / f64::from(dispatches);
    Ok(Warm {
        dispatches,
        choice: runner.choose_clock(&comparison.large, overhead),
        rate: None,
        comparison,
        overhead,
        dispatch: Seconds(dispatch),
    })
}

/// Runs a small batch and a large one; returns what that cost.
fn compare(runner: &mut impl Runner, comparison: &mut Comparison) -> Result<f64, GpuError> {
    let small = runner.run(comparison.few)?;
    let large = runner.run(comparison.many)?;
    comparison.small.push(small);
    comparison.large.push(large);
    Ok(small.cost.0 + large.cost.0)
}

/// Runs pairs of batches until they are as many as are wanted or long enough.
fn compare_all(
    runner: &mut impl Runner,
    comparison: &mut Comparison,
) -> Result<Option<[f64; 2]>, GpuError> {
    let mut elapsed = 0.0;
    while comparison.is_short() || comparison.small.len() < PAIRS && elapsed < COMPARING.0 {
        elapsed += compare(runner, comparison)?;
    }
    Ok(comparison.rate())
}

/// Compares the clocks by batches of a sample's size and a quarter of it, and where
/// that is not enough, by batches four times as large.
fn compare_clocks(
    runner: &mut impl Runner,
    mut comparison: Comparison,
) -> Result<Option<[f64; 2]>, GpuError> {
    let rate = compare_all(runner, &mut comparison)?;
    let most = comparison
        .many
        .saturating_mul(TIMES_AS_LARGE)
        .min(MAX_DISPATCHES);
    if Comparison::agreement(rate) == Agreement::Proven || most <= comparison.many {
        return Ok(rate);
    }
    let mut larger = Comparison {
        few: comparison.many,
        many: most,
        ..Comparison::default()
    };
    compare_all(runner, &mut larger)
}

impl Warm {
    /// Makes sure that the driver runs every dispatch of a batch, and that the device's
    /// clock runs as the host's does; else the host times, or the clock is not proven.
    ///
    /// # Errors
    /// [`GpuError::Dropped`], or whatever the device reports.
    pub fn prove(&mut self, runner: &mut impl Runner) -> Result<(), GpuError> {
        let comparison = std::mem::take(&mut self.comparison);
        if let Some(ratio) = comparison.lacking(self.choice.clock, self.overhead) {
            let (few, many) = (comparison.few, comparison.many);
            return Err(GpuError::Dropped(format!(
                "{many} take {ratio:.2} times as long as {few}"
            )));
        }
        if self.choice.clock == Clock::Device {
            self.rate = compare_clocks(runner, comparison)?;
            self.judge(self.rate);
        }
        Ok(())
    }

    /// Goes by what a comparison says of the device's clock.
    fn judge(&mut self, rate: Option<[f64; 2]>) {
        match Comparison::agreement(rate) {
            Agreement::Proven => {}
            Agreement::Refuted => self.choice = Choice::REJECTED,
            Agreement::Open => self.choice.flag = Some(Flag::ClockUnproven),
        }
    }

    fn as_compared(&self) -> Comparison {
        Comparison {
            few: self.dispatches / TIMES_AS_LARGE,
            many: self.dispatches,
            ..Comparison::default()
        }
    }
}

fn target_duration(batch: &Batch, overhead: Seconds) -> Seconds {
    match batch.device {
        Some(_) => SAMPLE_FLOOR,
        None => Seconds(SAMPLE_FLOOR.0.max(OVERHEADS_PER_SAMPLE * overhead.0)),
    }
}

/// A batch size that should reach `target`, growing at most tenfold since the
/// first batches are the least typical.
fn grown(dispatches: u32, took: Seconds, target: Seconds) -> u32 {
    let factor = (1.2 * target.0 / took.0.max(1e-9)).clamp(2.0, 10.0);
    ((f64::from(dispatches) * factor).ceil() as u32).min(MAX_DISPATCHES)
}

/// Samples of one case: seconds per dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    warm: Warm,
    values: Vec<f64>,
    /// When the device was halfway through each, on a clock that counts samples only.
    times: Vec<f64>,
    /// Where a new series begins, before which the device was idle.
    series: Vec<usize>,
    rejected: usize,
    elapsed: Seconds,
    /// What the device's clock counted in a second of the host's in the end.
    rate: Option<[f64; 2]>,
}

impl Samples {
    /// No samples yet.
    pub fn new(warm: Warm) -> Self {
        Self {
            warm,
            values: Vec::new(),
            times: Vec::new(),
            series: Vec::new(),
            rejected: 0,
            elapsed: Seconds(0.0),
            rate: None,
        }
    }

    /// Takes one sample. Where the clock rejects it,
    /// another is taken; when that happens too often, the case goes over to the
    /// host's clock and starts again.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn take(&mut self, runner: &mut impl Runner) -> Result<Seconds, GpuError> {
        let dispatches = self.warm.dispatches;
        loop {
            let batch = runner.run(dispatches)?;
            self.elapsed.0 += batch.cost.0;
            match clock::duration(&batch, self.warm.choice.clock, self.warm.overhead) {
                Some(duration) => {
                    self.times.push(self.elapsed.0 - batch.cost.0 / 2.0);
                    let value = duration.0 / f64::from(dispatches);
                    self.values.push(value);
                    return Ok(Seconds(value));
                }
                None => self.reject(),
            }
        }
    }

    fn reject(&mut self) {
        self.rejected += 1;
        if self.rejected > MAX_REJECTED.max(self.values.len()) {
            self.go_over_to_host();
        }
    }

    fn go_over_to_host(&mut self) {
        self.values.clear();
        self.times.clear();
        self.warm.choice = Choice::REJECTED;
    }

    /// Compares the clocks once more. Returns whether samples have to be taken anew, by
    /// the host's.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn check_clock(&mut self, runner: &mut impl Runner) -> Result<bool, GpuError> {
        if self.warm.choice.clock == Clock::Host {
            return Ok(false);
        }
        self.rate = compare_clocks(runner, self.warm.as_compared())?;
        self.warm.judge(self.rate);
        let is_refuted = self.warm.choice.clock == Clock::Host;
        if is_refuted {
            self.go_over_to_host();
            self.elapsed = Seconds(0.0);
        }
        Ok(is_refuted)
    }

    /// Takes the batches of some series as samples: all by the device's clock, or
    /// all by the host's. Returns the share of their time in which the device
    /// worked, where it has a clock.
    pub fn take_series(&mut self, all: &[Series]) -> Option<f64> {
        let (clock, overhead) = (self.warm.choice.clock, self.warm.overhead);
        let timed = |clock| {
            let timed = all
                .iter()
                .map(|series| clock::series_durations(series, clock, overhead));
            timed.collect::<Vec<_>>()
        };
        let mut durations = timed(clock);
        if durations.iter().any(|(by, _)| *by != clock) {
            self.go_over_to_host();
            durations = timed(Clock::Host);
        }
        let dispatches = f64::from(self.warm.dispatches);
        let (mut wall, mut worked) = (0.0, 0.0);
        for (series, (_, durations)) in all.iter().zip(&durations) {
            self.series.push(self.values.len());
            for Seconds(duration) in durations {
                self.times.push(self.elapsed.0 + duration / 2.0);
                self.values.push(duration / dispatches);
                self.elapsed.0 += duration;
                worked += duration;
            }
            wall += (series.end - series.begin).as_secs_f64();
        }
        (self.warm.choice.clock == Clock::Device).then_some(worked / wall)
    }

    /// Samples until those of the tier's length show neither a trend nor too wide an
    /// interval, or until its time is up; what came before a trend had ended is dropped.
    /// `on_sample` hears of each.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn converge(
        &mut self,
        runner: &mut impl Runner,
        effort: &Effort,
        mut on_sample: impl FnMut(&[f64]),
    ) -> Result<(), GpuError> {
        let mut next_look = effort.sampling;
        loop {
            self.take(runner)?;
            on_sample(&self.values);
            let is_over = self.elapsed >= effort.ceiling;
            if self.elapsed < next_look && !is_over {
                continue;
            }
            let missing = effort.sampling.0 - self.worked_since(0);
            let until_next = missing.max(effort.sampling.0 / LOOKS);
            next_look = Seconds(self.elapsed.0 + until_next);
            let settled = self.settled(effort).filter(|_| missing <= 0.0);
            if let Some(first) = settled {
                self.drop_before(first);
                return Ok(());
            }
            if is_over {
                self.drop_before(self.trend_ended(effort));
                return Ok(());
            }
        }
    }

    /// The first of the samples to keep where a drift can be ruled out and the interval
    /// is narrow: all, or a later part that is as long as the tier asks for.
    fn settled(&self, effort: &Effort) -> Option<usize> {
        let bound = effort.tolerated_drift_per_s();
        let is_settled = |first: usize| {
            let trend = self.trend_from(first);
            trend.is_some_and(|trend| trend.is_below(bound))
                && effort.is_converged(&self.values[first..])
        };
        let parts = std::iter::successors(Some(0), |first| self.later_half(*first, effort));
        parts.into_iter().find(|first| is_settled(*first))
    }

    /// The first sample after which no trend is left, or a drift is, but cannot be told
    /// more closely.
    fn trend_ended(&self, effort: &Effort) -> usize {
        let bound = effort.tolerated_drift_per_s();
        let mut first = 0;
        let mut trend = self.trend_from(first);
        while let Some(whole) = trend.filter(|trend| is_drift(trend, bound)) {
            let Some(half) = self.later_half(first, effort) else {
                break;
            };
            let Some(later) = self.trend_from(half) else {
                break;
            };
            let ended = later.is_below(bound.max(ENDED * whole.per_s.abs()));
            if !ended && !is_drift(&later, bound) {
                // Too short to tell.
                break;
            }
            (first, trend) = (half, Some(later));
        }
        first
    }

    /// The first sample of the later half of those since `first`, or of what the tier
    /// asks for if that is more; none where all are wanted.
    fn later_half(&self, first: usize, effort: &Effort) -> Option<usize> {
        let wanted = (self.worked_since(first) / 2.0).max(effort.sampling.0);
        let mut half = self.values.len();
        let mut worked = 0.0;
        while worked < wanted && half > first {
            half -= 1;
            worked += self.values[half] * f64::from(self.warm.dispatches);
        }
        (half > first).then_some(half)
    }

    fn drop_before(&mut self, first: usize) {
        self.values.drain(..first);
        self.times.drain(..first);
    }

    /// For how long the device worked on the samples since `first`.
    fn worked_since(&self, first: usize) -> f64 {
        self.values[first..].iter().sum::<f64>() * f64::from(self.warm.dispatches)
    }

    fn trend_from(&self, first: usize) -> Option<Trend> {
        Trend::of(&[&self.points(first..self.values.len())])
    }

    fn points(&self, range: Range<usize>) -> Vec<Point> {
        let times = self.times[range.clone()].iter().copied();
        times.zip(self.values[range].iter().copied()).collect()
    }

    /// The drift of all samples; of several series also the one that each shows, since
    /// the device recovers in between: whichever counts.
    fn drift(&self, effort: &Effort) -> Option<Trend> {
        let whole = self.trend_from(0);
        if self.series.len() < 2 {
            return whole;
        }
        let ends = self
            .series
            .iter()
            .skip(1)
            .copied()
            .chain([self.values.len()]);
        let series = self.series.iter().zip(ends);
        let series: Vec<Vec<Point>> = series
            .map(|(&begin, end)| self.points(begin..end))
            .collect();
        let series: Vec<&[Point]> = series.iter().map(Vec::as_slice).collect();
        let bound = effort.tolerated_drift_per_s();
        let each = Trend::of(&series).filter(|trend| is_drift(trend, bound));
        each.or(whole)
    }

    /// Seconds per dispatch of every sample.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How the case was warmed up and is sampled.
    pub fn warm(&self) -> &Warm {
        &self.warm
    }

    /// How they were taken.
    pub fn sampling(&self, effort: &Effort) -> Sampling {
        let drift = self.drift(effort);
        Sampling {
            sampled_s: Seconds(self.worked_since(0)),
            drift_per_s: drift.map(|drift| drift.per_s),
            drift_half_width_per_s: drift.map(|drift| drift.half_width_per_s),
            rejected: self.rejected,
            clock_rate_before: self.warm.rate,
            clock_rate_after: self.rate,
        }
    }

    /// What the samples say about their own quality.
    pub fn flags(&self, effort: &Effort) -> Vec<Flag> {
        let median = stats::median(&self.values).unwrap_or(0.0);
        let mut flags: Vec<Flag> = self.warm.choice.flag.into_iter().collect();
        let bound = effort.tolerated_drift_per_s();
        if self
            .drift(effort)
            .is_some_and(|drift| is_drift(&drift, bound))
        {
            flags.push(Flag::Drifting);
        }
        if median > LONG_DISPATCH.0 {
            flags.push(Flag::LongDispatch);
        }
        if !effort.is_converged(&self.values) {
            flags.push(Flag::NotConverged);
        }
        if stats::median_interval(&self.values).is_none() {
            flags.push(Flag::FewSamples);
        }
        flags
    }
}

/// Whether a trend is there and may be more than is passed over.
fn is_drift(trend: &Trend, bound_per_s: f64) -> bool {
    trend.is_significant() && !trend.is_below(bound_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::timer::DeviceSpan;
    use crate::measure::tier::Tier;

    /// A device whose dispatches take `dispatch_s(number)`; `skew` multiplies
    /// what its timestamps say.
    struct Fake<F> {
        dispatch_s: F,
        batches: u32,
        skew: Option<f64>,
    }

    impl<F: Fn(u32) -> f64> Runner for Fake<F> {
        fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
            let device = f64::from(dispatches) * (self.dispatch_s)(self.batches);
            self.batches += 1;
            let ticks = |skew: f64| (device * skew * 1e9) as u64;
            Ok(Batch {
                wall: Seconds(device + 5e-5),
                cost: Seconds(device + 1e-4),
                device: self
                    .skew
                    .map(|skew| DeviceSpan::new(1, 1 + ticks(skew), 1e-9)),
                invocations: None,
            })
        }
    }

    const OVERHEAD: Seconds = Seconds(5e-5);

    fn measure<F: Fn(u32) -> f64>(mut fake: Fake<F>) -> Samples {
        let effort = Tier::Quick.effort();
        let mut warm = warm_up(&mut fake, &effort, OVERHEAD).unwrap();
        warm.prove(&mut fake).unwrap();
        let mut samples = Samples::new(warm);
        samples.converge(&mut fake, &effort, |_| {}).unwrap();
        if samples.check_clock(&mut fake).unwrap() {
            samples.converge(&mut fake, &effort, |_| {}).unwrap();
        }
        samples
    }

    /// 200 dispatches of 0.1 ms are a sample of 20 ms, and 50 of them a second.
    #[test]
    fn a_steady_device_converges_to_its_dispatch_time() {
        let samples = measure(Fake {
            dispatch_s: |_| 1e-4,
            batches: 0,
            skew: Some(1.0),
        });
        let sampling = samples.sampling(&Tier::Quick.effort());
        assert!((1.0..1.05).contains(&sampling.sampled_s.0), "{sampling:?}");
        assert!((stats::median(samples.values()).unwrap() - 1e-4).abs() < 1e-9);
        assert!(f64::from(samples.warm().dispatches) * 1e-4 >= SAMPLE_FLOOR.0 - 1e-4);
        assert_eq!(samples.flags(&Tier::Quick.effort()), []);
    }

    #[test]
    fn a_device_whose_clock_runs_at_another_rate_is_timed_by_the_host() {
        for skew in [0.1, 0.8, 0.99, 1.01, 1.2, 3.0] {
            let samples = measure(Fake {
                dispatch_s: |_| 1e-3,
                batches: 0,
                skew: Some(skew),
            });
            assert_eq!(samples.warm().choice.clock, Clock::Host);
            let median = stats::median(samples.values()).unwrap();
            assert!((median - 1e-3).abs() < 1e-5, "{median}");
            assert_eq!(
                samples.flags(&Tier::Quick.effort()),
                [Flag::TimestampsRejected]
            );
        }
    }

    #[test]
    fn host_timed_batches_hide_the_submit_overhead() {
        let samples = measure(Fake {
            dispatch_s: |_| 1e-6,
            batches: 0,
            skew: None,
        });
        let median = stats::median(samples.values()).unwrap();
        assert!((median / 1e-6 - 1.0).abs() < 0.01, "{median}");
        assert_eq!(samples.flags(&Tier::Quick.effort()), [Flag::HostTimed]);
    }

    #[test]
    fn a_slow_dispatch_ends_at_the_ceiling_with_a_figure() {
        let wobble = |i: u32| if i.is_multiple_of(2) { 0.7 } else { 0.9 };
        let samples = measure(Fake {
            dispatch_s: wobble,
            batches: 0,
            skew: Some(1.0),
        });
        let flags = samples.flags(&Tier::Quick.effort());
        assert!((1..6).contains(&samples.values().len()));
        for flag in [Flag::LongDispatch, Flag::NotConverged, Flag::FewSamples] {
            assert!(flags.contains(&flag), "{flags:?}");
        }
    }

    /// From the 40th batch on a second of the device's clock is 2 % too long.
    #[test]
    fn a_clock_that_changes_meanwhile_does_not_count_either() {
        struct Changing(Fake<fn(u32) -> f64>);
        impl Runner for Changing {
            fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
                self.0.skew = Some(if self.0.batches < 60 { 1.0 } else { 0.98 });
                self.0.run(dispatches)
            }
        }
        let effort = Tier::Quick.effort();
        let mut device = Changing(Fake {
            dispatch_s: |_| 1e-4,
            batches: 0,
            skew: None,
        });
        let mut warm = warm_up(&mut device, &effort, OVERHEAD).unwrap();
        warm.prove(&mut device).unwrap();
        assert_eq!(warm.choice.clock, Clock::Device, "{:?}", warm.rate);
        let mut samples = Samples::new(warm);
        samples.converge(&mut device, &effort, |_| {}).unwrap();
        assert_eq!(samples.check_clock(&mut device), Ok(true));
        samples.converge(&mut device, &effort, |_| {}).unwrap();
        let median = stats::median(samples.values()).unwrap();
        assert!((median / 1e-4 - 1.0).abs() < 0.005, "{median}");
        assert!(samples.flags(&effort).contains(&Flag::TimestampsRejected));
    }

    /// A driver that runs the first dispatch of a batch only.
    #[test]
    fn dispatches_that_are_left_out_are_an_error() {
        struct Lazy(f64);
        impl Runner for Lazy {
            fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
                let device = self.0 * f64::from(dispatches.min(1));
                Ok(Batch {
                    wall: Seconds(device + 5e-5),
                    cost: Seconds(device + 1e-4),
                    device: Some(DeviceSpan::new(1, 2 + (device * 1e9) as u64, 1e-9)),
                    invocations: None,
                })
            }
        }
        let effort = Tier::Quick.effort();
        let mut warm = warm_up(&mut Lazy(1e-3), &effort, OVERHEAD).unwrap();
        let refused = warm.prove(&mut Lazy(1e-3));
        assert!(matches!(refused, Err(GpuError::Dropped(_))), "{refused:?}");
    }

    /// A time that falls to a third within the warm-up and the first samples.
    #[test]
    fn what_came_before_a_trend_ended_is_dropped() {
        let ramp = |i: u32| 1e-3 * (1.0 + 3.0 * f64::exp(-f64::from(i) / 20.0));
        let samples = measure(Fake {
            dispatch_s: ramp,
            batches: 0,
            skew: Some(1.0),
        });
        let median = stats::median(samples.values()).unwrap();
        assert!((median / 1e-3 - 1.0).abs() < 0.02, "{median}");
        assert_eq!(samples.flags(&Tier::Quick.effort()), []);
    }

    /// A device whose time rises, as its speed falls, by `fall` with the time constant
    /// `over_s`, and scatters by `noise` with the correlation `memory` between batches.
    struct Falling {
        fall: f64,
        over_s: f64,
        noise: f64,
        memory: f64,
        now_s: f64,
        deviation: f64,
        random: SplitMix,
    }

    /// Batches without dispatches cost this.
    const EMPTY: f64 = 4e-4;

    impl Runner for Falling {
        fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
            let fresh = (1.0 - self.memory * self.memory).sqrt() * self.random.normal();
            self.deviation = self.memory * self.deviation + fresh;
            let speed = 1.0 - self.fall * f64::exp(-self.now_s / self.over_s);
            let took = 1e-4 * speed * f64::exp(self.noise * self.deviation);
            let device = f64::from(dispatches) * took;
            self.now_s += device + EMPTY;
            Ok(Batch {
                wall: Seconds(device + OVERHEAD.0),
                cost: Seconds(device + EMPTY),
                device: Some(DeviceSpan::new(1, 1 + (device * 1e9) as u64, 1e-9)),
                invocations: None,
            })
        }
    }

    /// Steele, Lea and Flood's generator, and Box and Muller's normal variable.
    struct SplitMix(u64);

    impl SplitMix {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }

        fn normal(&mut self) -> f64 {
            let (a, b) = (1.0 - self.uniform(), self.uniform());
            (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
        }
    }

    const RUNS: u64 = 200;

    /// Runs of such a device from its first batch on: how far the figure is from the
    /// steady state, and whether it is flagged.
    fn runs(effort: &Effort, fall: f64, over_s: f64, noise: f64, memory: f64) -> Vec<(f64, bool)> {
        let run = |seed| {
            let mut device = Falling {
                fall,
                over_s,
                noise,
                memory,
                now_s: 0.0,
                deviation: 0.0,
                random: SplitMix(seed << 32),
            };
            let warm = warm_up(&mut device, effort, OVERHEAD).unwrap();
            let mut samples = Samples::new(warm);
            samples.converge(&mut device, effort, |_| {}).unwrap();
            let error = stats::median(samples.values()).unwrap() / 1e-4 - 1.0;
            (error, samples.flags(effort).contains(&Flag::Drifting))
        };
        (0..RUNS).map(run).collect()
    }

    /// The tiers as they are, and with their time shared by the lives of a case.
    fn efforts() -> Vec<(&'static str, Effort)> {
        let shared = |tier: Tier, lives: f64| {
            let effort = tier.effort();
            Effort {
                sampling: Seconds(effort.sampling.0 / lives),
                ceiling: Seconds(effort.ceiling.0 / lives),
                ..effort
            }
        };
        vec![
            ("quick", Tier::Quick.effort()),
            ("standard", Tier::Standard.effort()),
            ("standard, a life of 3", shared(Tier::Standard, 3.0)),
            ("reference", Tier::Reference.effort()),
            ("reference, a life of 5", shared(Tier::Reference, 5.0)),
        ]
    }

    /// No figure is further from the steady state than its tier says without the flag.
    #[test]
    fn a_falling_speed_is_waited_for_or_flagged() {
        for (name, effort) in efforts() {
            for noise in [0.002] {
                for over_s in [0.5, 3.0, 10.0, 30.0] {
                    let runs = runs(&effort, 0.1, over_s, noise, 0.0);
                    let flagged = runs.iter().filter(|(_, flagged)| *flagged).count();
                    let unflagged = runs.iter().filter(|(_, flagged)| !flagged);
                    let worst = unflagged.map(|(error, _)| error.abs()).fold(0.0, f64::max);
                    println!(
                        "{name}: -10 % over {over_s} s, noise {:.1} %: {flagged} of {RUNS} flagged, \
                         the others within {:.2} %",
                        100.0 * noise,
                        100.0 * worst
                    );
                    assert!(worst <= effort.half_width, "{name}, {over_s} s, {noise}");
                    let may_settle = over_s < 1.0 || name == "reference" && over_s < 20.0;
                    assert!(may_settle || flagged > 0, "{name}, {over_s} s, {noise}");
                }
            }
        }
    }

    #[test]
    fn noise_is_no_drift() {
        for (name, effort) in efforts() {
            for (noise, memory) in [(0.002, 0.0), (0.02, 0.0), (0.1, 0.0), (0.02, 0.8)] {
                let runs = runs(&effort, 0.0, 1.0, noise, memory);
                let flagged = runs.iter().filter(|(_, flagged)| *flagged).count();
                println!(
                    "{name}: steady, noise {:.1} % of correlation {memory}: {flagged} of {RUNS} flagged",
                    100.0 * noise
                );
                assert!(flagged <= 4, "{name}, {noise}, {memory}: {flagged}");
            }
        }
    }

    /// Three windows of 5 s, in each of which the time rises by 3 % and then the device
    /// recovers: no trend from the first to the last, but one in each.
    #[test]
    fn a_drift_that_every_window_shows_is_flagged() {
        let begin = std::time::Instant::now();
        let mut random = SplitMix(1);
        let mut window = |rise: f64| {
            let batch = |i: u32| {
                let wall = 0.02 * (1.0 + rise * f64::from(i) / 250.0 + 0.002 * random.normal());
                Batch {
                    wall: Seconds(wall),
                    cost: Seconds(wall),
                    device: None,
                    invocations: None,
                }
            };
            Series {
                begin,
                end: begin + std::time::Duration::from_secs(5),
                batches: (0..250).map(batch).collect(),
            }
        };
        let effort = Tier::Standard.effort();
        for (rise, expected) in [(0.03, &[Flag::Drifting][..]), (0.0, &[])] {
            let mut samples = Samples::new(Warm {
                dispatches: 1,
                choice: Choice {
                    clock: Clock::Host,
                    flag: None,
                },
                rate: None,
                comparison: Comparison::default(),
                overhead: OVERHEAD,
                dispatch: Seconds(0.02),
            });
            samples.take_series(&[window(rise), window(rise), window(rise)]);
            assert_eq!(samples.flags(&effort), expected, "{rise}");
            let drift = samples.sampling(&effort).drift_per_s.unwrap();
            // 3 % in 5 s, relative to the median in the middle.
            assert!(
                (drift - rise / 5.0 / (1.0 + rise / 2.0)).abs() < 5e-4,
                "{drift}"
            );
        }
    }
}
