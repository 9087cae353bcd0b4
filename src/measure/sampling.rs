//! Batch size, warm-up and samples. Knows nothing of what it times.

use super::clock::{self, Choice};
use super::measurement::{Clock, Flag};
use super::tier::{Effort, Progress};
use crate::gpu::device::{Batch, GpuError, Series};
use crate::stats;
use crate::units::Seconds;

/// A sample lasts at least this long, so that timer resolution and the edges of
/// a batch stay far below 1 %…
const SAMPLE_FLOOR: Seconds = Seconds(0.020);
/// … and, where the host times it, this many submit overheads.
const OVERHEADS_PER_SAMPLE: f64 = 100.0;
/// … but no more dispatches than this, which a driver can still hold in one
/// command buffer.
const MAX_DISPATCHES: u32 = 1 << 15;
/// Batches whose trend decides whether the warm-up has settled.
const STEADY_WINDOW: usize = 6;
/// A drift over the window below this share counts as none.
const STEADY_FLOOR: f64 = 0.01;
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
    /// Typical cost of a submission.
    pub overhead: Seconds,
    /// Whether the last batches showed no trend.
    pub steady: bool,
    /// Roughly how long a dispatch takes.
    pub dispatch: Seconds,
}

impl Warm {
    /// Roughly how long a sample takes.
    pub fn sample(&self) -> Seconds {
        Seconds(f64::from(self.dispatches) * self.dispatch.0)
    }
}

/// Finds the batch size, then runs batches for the warm-up time and until they
/// show no trend.
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
    let mut batches = vec![batch];
    let mut steady = false;
    while elapsed < effort.warm_up_ceiling.0 {
        batch = runner.run(dispatches)?;
        elapsed += batch.cost.0;
        batches.push(batch);
        let walls: Vec<f64> = batches.iter().rev().map(|b| b.wall.0).collect();
        steady =
            walls.len() >= STEADY_WINDOW && stats::is_steady(&walls[..STEADY_WINDOW], STEADY_FLOOR);
        if steady && elapsed >= effort.warm_up.0 {
            break;
        }
    }
    Ok(Warm {
        dispatches,
        choice: runner.choose_clock(&batches, overhead),
        overhead,
        steady,
        dispatch: Seconds(batch.wall.0 / f64::from(dispatches)),
    })
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
    rejected: usize,
    elapsed: Seconds,
}

impl Samples {
    /// No samples yet.
    pub fn new(warm: Warm) -> Self {
        Self {
            warm,
            values: Vec::new(),
            rejected: 0,
            elapsed: Seconds(0.0),
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
        self.warm.choice = Choice {
            clock: Clock::Host,
            flag: Some(Flag::TimestampsRejected),
        };
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
        let durations = durations.iter().flat_map(|(_, durations)| durations);
        self.values
            .extend(durations.clone().map(|duration| duration.0 / dispatches));
        let wall: f64 = all
            .iter()
            .map(|series| (series.end - series.begin).as_secs_f64())
            .sum();
        self.elapsed.0 += wall;
        let worked: f64 = durations.map(|duration| duration.0).sum();
        (self.warm.choice.clock == Clock::Device).then_some(worked / wall)
    }

    /// Samples until the stopping rule is met; `on_sample` hears of each.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn converge(
        &mut self,
        runner: &mut impl Runner,
        effort: &Effort,
        mut on_sample: impl FnMut(&[f64]),
    ) -> Result<Progress, GpuError> {
        loop {
            self.take(runner)?;
            on_sample(&self.values);
            match effort.progress(&self.values, self.elapsed) {
                Progress::Continue => {}
                done => return Ok(done),
            }
        }
    }

    /// Seconds per dispatch of every sample.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How the case was warmed up and is sampled.
    pub fn warm(&self) -> &Warm {
        &self.warm
    }

    /// What the samples say about their own quality.
    pub fn flags(&self, effort: &Effort) -> Vec<Flag> {
        let median = stats::median(&self.values).unwrap_or(0.0);
        let mut flags: Vec<Flag> = self.warm.choice.flag.into_iter().collect();
        if !self.warm.steady {
            flags.push(Flag::NotSteady);
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
            })
        }
    }

    const OVERHEAD: Seconds = Seconds(5e-5);

    fn measure<F: Fn(u32) -> f64>(mut fake: Fake<F>) -> (Samples, Progress) {
        let effort = Tier::Quick.effort();
        let warm = warm_up(&mut fake, &effort, OVERHEAD).unwrap();
        let mut samples = Samples::new(warm);
        let progress = samples.converge(&mut fake, &effort, |_| {}).unwrap();
        (samples, progress)
    }

    #[test]
    fn a_steady_device_converges_to_its_dispatch_time() {
        let (samples, progress) = measure(Fake {
            dispatch_s: |_| 1e-4,
            batches: 0,
            skew: Some(1.0),
        });
        assert_eq!(progress, Progress::Converged);
        assert_eq!(samples.values().len(), 10);
        assert!((stats::median(samples.values()).unwrap() - 1e-4).abs() < 1e-9);
        assert!(f64::from(samples.warm().dispatches) * 1e-4 >= SAMPLE_FLOOR.0 - 1e-4);
        assert_eq!(samples.flags(&Tier::Quick.effort()), []);
    }

    #[test]
    fn a_device_whose_clock_runs_at_another_rate_is_timed_by_the_host() {
        for skew in [0.1, 3.0] {
            let (samples, _) = measure(Fake {
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
        let (samples, _) = measure(Fake {
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
        let (samples, progress) = measure(Fake {
            dispatch_s: wobble,
            batches: 0,
            skew: Some(1.0),
        });
        assert_eq!(progress, Progress::OutOfTime);
        assert!((1..10).contains(&samples.values().len()));
        assert!(
            samples
                .flags(&Tier::Quick.effort())
                .contains(&Flag::LongDispatch)
        );
    }

    #[test]
    fn a_clock_ramp_is_waited_for() {
        let ramp = |i: u32| 1e-3 * (1.0 + 3.0 * f64::exp(-f64::from(i) / 8.0));
        let (samples, _) = measure(Fake {
            dispatch_s: ramp,
            batches: 0,
            skew: Some(1.0),
        });
        let median = stats::median(samples.values()).unwrap();
        assert!((median / 1e-3 - 1.0).abs() < 0.02, "{median}");
    }
}
