//! A case that is verified and warm: samples, and the figures at the end.

use std::ops::Range;

use super::clock::{self, Choice};
use super::conditions::Conditions;
use super::measurement::{
    Cache, Clock, Flag, Life, Measurement, Rate, Reason, ReasonCode, Status, Time, Verification,
};
use super::meter::{Metered, Windows};
use super::period::{Moment, Period};
use super::power::{LEAST_BUSY, Power, efficiency, power_flags};
use super::processor;
use super::sampling::{self, Runner, Samples};
use super::tier::{Effort, Tier};
use super::verify::{self, Verified};
use super::{Meter, Nobody, Others, Phase, Stopped};
use crate::gpu::device::{Batch, Checksums, Gpu, GpuError, Loaded, Series};
use crate::kernel::id::CaseId;
use crate::kernel::problem::Work;
use crate::kernel::program::Program;
use crate::kernel::{self, Repeat};
use crate::stats;
use crate::units::{Joules, Seconds};

/// Single dispatches are tried for so long …
const TRIED: Seconds = Seconds(0.15);
/// … with what poisoning the output and summing it up may take beside each …
const OF_CHECKSUM: Seconds = Seconds(1e-4);
/// … but no more often: one that fails in a hundred is found with 99.3 %.
const MOST_TRIED: f64 = 500.0;

/// A case that is verified and warm.
pub struct Prepared<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) id: CaseId,
    /// The kernel that computes it.
    pub(super) variant: String,
    pub(super) effort: Effort,
    pub(super) candidate: Candidate,
    pub(super) work: Work,
    pub(super) cache: Cache,
    pub(super) samples: Samples,
    pub(super) flags: Vec<Flag>,
    pub(super) tier: Tier,
    /// When timed dispatches ran.
    pub(super) timed: Vec<Period>,
    /// When others ran that count for other adapters' figures only.
    pub(super) also_busy: Vec<Period>,
    /// Power of the timed dispatches, or why there is none.
    pub(super) power: Result<Power, Reason>,
    /// State of the device meanwhile, where the source of power tells it.
    pub(super) conditions: Option<Conditions>,
}

/// What a dispatch of one batch took, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// By the host's clock.
    pub host: Seconds,
    /// By the device's, where it can be trusted.
    pub device: Option<Seconds>,
    /// The processor time that this process spent, where the system tells.
    pub processor: Option<Seconds>,
}

/// A program on the device whose output is right.
pub(super) struct Candidate {
    pub(super) program: Program,
    pub(super) loaded: Loaded,
    pub(super) verified: Verified,
    /// What its batches wrote.
    pub(super) checksums: Checksums,
    /// What a sample repeats.
    pub(super) repeats: Repeat,
}

impl Candidate {
    pub(super) fn warming_up(&self) -> Phase {
        Phase::WarmingUp {
            dispatch: self.verified.took,
        }
    }

    pub(super) fn runner<'a>(&'a self, gpu: &'a Gpu) -> OnGpu<'a> {
        OnGpu {
            gpu,
            candidate: self,
        }
    }

    /// Runs a number of dispatches each of which alone has to write the output, as far
    /// as time allows: a batch shows only what the last of its dispatches wrote.
    pub(super) fn try_each(&self, gpu: &Gpu, dispatch: Seconds) -> Result<(), Stopped> {
        let times = TRIED.0 / (dispatch.0 + OF_CHECKSUM.0);
        let times = times.clamp(1.0, MOST_TRIED) as u32;
        let output = &self.verified.output;
        gpu.run_each(&self.loaded, times, &self.checksums, output)?;
        self.compare_sums(gpu)
    }

    /// Whether every batch wrote what the verified dispatch wrote.
    fn compare_sums(&self, gpu: &Gpu) -> Result<(), Stopped> {
        gpu.compare_sums(&self.checksums, &self.verified.output)?;
        let (wrong, all) = self.checksums.wrong();
        if wrong > 0 {
            let message =
                format!("{wrong} of {all} batches did not write what the verified dispatch wrote");
            let verdict = &self.verified.verdict;
            return Err(Stopped::rejected(ReasonCode::Unstable, message, verdict));
        }
        Ok(())
    }

    /// Makes sure that a batch of so many dispatches ran all of them, where the device
    /// counts.
    fn counted(&self, dispatches: u32, batch: &Batch) -> Result<(), GpuError> {
        let counts = self.verified.invocations.zip(batch.invocations);
        match counts.filter(|(each, _)| *each > 0) {
            Some((each, all)) if all != each * u64::from(dispatches) => Err(GpuError::Dropped(
                format!("{dispatches} of {each} invocations each came to {all}"),
            )),
            _ => Ok(()),
        }
    }
}

/// Runs a program on its device.
pub(super) struct OnGpu<'a> {
    gpu: &'a Gpu,
    candidate: &'a Candidate,
}

impl Runner for OnGpu<'_> {
    fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
        let Candidate {
            loaded,
            checksums,
            verified,
            ..
        } = self.candidate;
        let (gpu, output) = (self.gpu, &verified.output);
        let batch = match self.candidate.repeats {
            Repeat::Dispatch => gpu.run(loaded, dispatches, checksums, output),
            Repeat::Submission => gpu.run_one_by_one(loaded, dispatches, checksums, output),
        }?;
        self.candidate.counted(dispatches, &batch)?;
        Ok(batch)
    }

    /// What a submission takes is what the host waits for it.
    fn choose_clock(&self, batches: &[Batch], overhead: Seconds) -> Choice {
        match self.candidate.repeats {
            Repeat::Dispatch => clock::choose(batches, overhead),
            Repeat::Submission => Choice {
                clock: Clock::Host,
                flag: None,
            },
        }
    }
}

impl Prepared<'_> {
    /// Samples until the tier's stopping rule is met.
    ///
    /// # Errors
    /// When the device fails.
    pub fn converge(&mut self, on_phase: &mut dyn FnMut(Phase)) -> Result<(), Stopped> {
        let begin = Moment::now();
        let mut runner = self.candidate.runner(self.gpu);
        let sample = self.samples.warm().sample();
        on_phase(Phase::Sampling { samples: 0, sample });
        let mut on_sample = |values: &[f64]| {
            let samples = values.len();
            on_phase(Phase::Sampling { samples, sample });
        };
        self.samples
            .converge(&mut runner, &self.effort, &mut on_sample)?;
        if self.samples.check_clock(&mut runner)? {
            self.samples
                .converge(&mut runner, &self.effort, &mut on_sample)?;
        }
        self.timed.push(Period::since(begin));
        Ok(())
    }

    /// The same once `others` are ready: warm again, with them, and then sampled.
    ///
    /// # Errors
    /// When the device fails.
    pub fn converge_beside(
        &mut self,
        others: &mut dyn Others,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<(), Stopped> {
        if others.wait()? {
            on_phase(self.candidate.warming_up());
            self.warm_up_again()?;
        }
        self.converge(on_phase)
    }

    /// The device has been idle since it was warm.
    fn warm_up_again(&mut self) -> Result<(), Stopped> {
        let begin = Moment::now();
        let mut runner = self.candidate.runner(self.gpu);
        let overhead = self.samples.warm().overhead;
        let mut warm = sampling::warm_up(&mut runner, &self.effort, overhead)?;
        warm.prove(&mut runner)?;
        self.samples = Samples::new(warm);
        // What is compared at the end must have been written by timed dispatches.
        self.gpu.poison(&self.candidate.loaded)?;
        self.also_busy.push(Period::since(begin));
        Ok(())
    }

    /// Works on, untimed, until `others` are through as well: their figures are to be
    /// those of all adapters at work.
    ///
    /// # Errors
    /// When the device fails.
    pub fn stay_busy(
        &mut self,
        others: &mut dyn Others,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<(), Stopped> {
        let begin = Moment::now();
        let mut runner = self.candidate.runner(self.gpu);
        let warm = self.samples.warm();
        let (dispatches, sample) = (warm.dispatches, warm.sample());
        while others.still_measure()? {
            on_phase(Phase::StayingBusy { sample });
            runner.run(dispatches)?;
        }
        self.also_busy.push(Period::since(begin));
        Ok(())
    }

    /// When the device worked while others may have measured.
    pub fn busy(&self) -> Vec<Period> {
        [self.timed.as_slice(), self.also_busy.as_slice()].concat()
    }

    /// Samples in windows whose power `meter` reads, each begun when `others` are
    /// ready for it: time and power are those of the same dispatches. Returns what was
    /// read.
    ///
    /// # Errors
    /// When the device fails, or the source of power says that it is gone.
    pub fn converge_metered(
        &mut self,
        meter: &Meter,
        others: &mut dyn Others,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Metered, Stopped> {
        let (gpu, candidate) = (self.gpu, &self.candidate);
        let summed = (&candidate.checksums, candidate.verified.output.as_slice());
        let warm = self.samples.warm();
        let (dispatches, sample) = (warm.dispatches, warm.sample());
        let cycles = [warm.dispatch, sample];
        let mut windows = meter.windows(self.tier, cycles, on_phase);
        let mut all = Vec::new();
        for _ in 0..windows.planned() {
            others.wait()?;
            windows.begin();
            on_phase(Phase::Sampling { samples: 0, sample });
            let on_batch = |samples| on_phase(Phase::Sampling { samples, sample });
            let length = windows.length();
            let series = gpu.run_series(&candidate.loaded, dispatches, length, summed, on_batch)?;
            windows.end([series.begin, series.end], on_phase);
            for batch in &series.batches {
                candidate.counted(dispatches, batch)?;
            }
            all.push(series);
        }
        let stretch = |series: &Series| Period::between(series.begin, series.end);
        self.timed.extend(all.iter().map(stretch));
        let metered = windows.finish();
        if let Some(error) = metered.trace.ended_by.clone() {
            return Err(Stopped::device_gone(error));
        }
        self.samples.check_clock(&mut self.candidate.runner(gpu))?;
        let busy = self.samples.take_series(&all);
        let batches = all.iter().map(|series| series.batches.len());
        self.power = self.power_of(&metered, &batches.collect::<Vec<_>>(), busy);
        self.take_conditions(&metered);
        Ok(metered)
    }

    fn take_conditions(&mut self, metered: &Metered) {
        let idle = self.power.as_ref().ok().and_then(|p| p.energy.idle_w);
        self.conditions = metered.conditions(idle);
    }

    /// Energy of one dispatch, from windows whose power `meter` reads.
    ///
    /// # Errors
    /// When the device fails, or what was read gives no energy.
    pub fn energy(
        &mut self,
        meter: &Meter,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Joules, Stopped> {
        self.converge_metered(meter, &mut Nobody, on_phase)?;
        let power = self.power.as_ref();
        let energy = power.map(|power| power.j_per_dispatch);
        energy.map_err(|reason| Stopped::new(Status::Failed, reason.clone()))
    }

    /// The windows in which somebody has the samples taken one by one whose power
    /// `meter` is to read. Leaves the device idle.
    pub fn windows<'m>(&self, meter: &'m Meter) -> Windows<'m> {
        let warm = self.samples.warm();
        meter.windows(self.tier, [warm.dispatch, warm.sample()], &mut |_| {})
    }

    /// How many samples there are.
    pub fn taken(&self) -> usize {
        self.samples.values().len()
    }

    /// Takes the power of the windows that hold these samples. It is that of the
    /// work only if the device had hardly anything to wait for in between.
    pub fn meter_samples(&mut self, windows: Windows, samples: &[Range<usize>]) {
        let least = windows.length();
        let metered = windows.finish();
        self.power = self.power_of_samples(least, &metered, samples);
        self.take_conditions(&metered);
    }

    fn power_of_samples(
        &self,
        least: Seconds,
        metered: &Metered,
        samples: &[Range<usize>],
    ) -> Result<Power, Reason> {
        if metered.windows.is_empty() {
            let why = format!("the samples are too short for power, which takes {least} of them");
            return Err(Reason::new(ReasonCode::NotMeasured, why));
        }
        let warm = self.samples.warm();
        if warm.choice.clock == Clock::Host {
            let why = "how busy the device was is not known, since the host timed it";
            return Err(Reason::new(ReasonCode::NotBusy, why));
        }
        let values = samples
            .iter()
            .flat_map(|range| &self.samples.values()[range.clone()]);
        let worked = values.sum::<f64>() * f64::from(warm.dispatches);
        let length: f64 = metered.windows.iter().map(|w| w.duration().0).sum();
        let busy = worked / length;
        if busy < LEAST_BUSY {
            let why = format!(
                "the device was busy {:.1} % of the time, and from {:.0} % on its power is that of \
                 the work",
                100.0 * busy,
                100.0 * LEAST_BUSY
            );
            return Err(Reason::new(ReasonCode::NotBusy, why));
        }
        let batches: Vec<usize> = samples.iter().map(ExactSizeIterator::len).collect();
        self.power_of(metered, &batches, Some(busy))
    }

    /// Power of windows of so many `batches`, or why there is none.
    fn power_of(
        &self,
        metered: &Metered,
        batches: &[usize],
        busy: Option<f64>,
    ) -> Result<Power, Reason> {
        let median = stats::median(self.samples.values());
        let energy = metered.energy().map_err(|void| {
            let trace = &metered.trace;
            let failures = trace.first_failure.as_ref().map(|failure| {
                let reads = trace.failed_reads;
                format!("; {reads} reads failed, the first: {failure}")
            });
            let why = format!("{void}{}", failures.unwrap_or_default());
            Reason::new(ReasonCode::PowerInvalid, why)
        })?;
        // Windows without energy are left out of both.
        let counted = energy.windows.iter().zip(batches);
        let counted = counted.filter(|(window, _)| window.energy_j.is_some());
        let batches: usize = counted.map(|(_, batches)| batches).sum();
        let dispatches = batches as u64 * u64::from(self.samples.warm().dispatches);
        let time = Seconds(median.unwrap_or(f64::NAN));
        let states = metered.states();
        let power = Power::new(
            &metered.trace.source,
            energy,
            (dispatches, time),
            &self.work,
            states,
        );
        Ok(Power {
            busy,
            sampling: metered.trace.cost,
            ..power
        })
    }

    /// Takes one sample; returns seconds per dispatch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn sample(&mut self) -> Result<Seconds, Stopped> {
        let mut runner = self.candidate.runner(self.gpu);
        Ok(self.samples.take(&mut runner)?)
    }

    /// Runs one batch, by every clock there is.
    ///
    /// # Errors
    /// When the device fails.
    pub fn time_batch(&self) -> Result<Timed, Stopped> {
        let mut runner = self.candidate.runner(self.gpu);
        let warm = self.samples.warm();
        let (batch, processor) = processor::timed(|| runner.run(warm.dispatches));
        let batch = batch?;
        let device = match warm.choice.clock {
            Clock::Device => clock::duration(&batch, Clock::Device, warm.overhead),
            Clock::Host => None,
        };
        let dispatch = |total: Seconds| Seconds(total.0 / f64::from(warm.dispatches));
        Ok(Timed {
            host: dispatch(batch.wall),
            device: device.map(dispatch),
            processor: processor.map(dispatch),
        })
    }

    /// Operations and bytes of one dispatch.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The kernel that is measured, and its parameters.
    pub fn choice(&self) -> kernel::Choice {
        kernel::Choice {
            variant: self.variant.clone(),
            parameters: self.candidate.program.parameters.clone(),
        }
    }

    /// The verified output.
    pub fn output(&self) -> &[u8] {
        &self.candidate.verified.output
    }

    /// Marks the figure.
    pub fn flag(&mut self, flag: Flag) {
        self.flags.push(flag);
    }

    /// Goes over to the buffers of `other`, which poses the same problem, if they are
    /// of the same kind: where memory lies makes more of a difference than many a
    /// change. From then on the output is that of whichever of the two ran last.
    ///
    /// # Errors
    /// When the device fails or the output is another there.
    pub fn share(&mut self, other: &Self) -> Result<(), Stopped> {
        let candidate = &mut self.candidate;
        let onto = self
            .gpu
            .load_onto(&candidate.program, &other.candidate.loaded)?;
        let Some(loaded) = onto else {
            return Ok(());
        };
        candidate.checksums = self.gpu.checksums(&loaded)?;
        candidate.loaded = loaded;
        self.recompute()
    }

    /// Makes sure that nothing written before counts as written by the next batch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn poison(&self) -> Result<(), Stopped> {
        Ok(self.gpu.poison(&self.candidate.loaded)?)
    }

    /// Runs one more batch on poisoned outputs and confirms what it wrote.
    ///
    /// # Errors
    /// When the device fails, or the output is another than the verified one.
    pub fn recompute(&self) -> Result<(), Stopped> {
        self.poison()?;
        let mut runner = self.candidate.runner(self.gpu);
        runner.run(self.samples.warm().dispatches)?;
        self.confirm()
    }

    /// Compares what the timed dispatches wrote with the verified output, bit by
    /// bit, and makes sure that the device still computes.
    ///
    /// # Errors
    /// When either is not so.
    pub fn confirm(&self) -> Result<(), Stopped> {
        self.candidate.compare_sums(self.gpu)?;
        let now = self.gpu.output(&self.candidate.loaded)?;
        if now != self.candidate.verified.output {
            let message = "the timed dispatches did not write what the verified one wrote";
            let verdict = &self.candidate.verified.verdict;
            return Err(Stopped::rejected(ReasonCode::Unstable, message, verdict));
        }
        verify::canary(self.gpu)
    }

    /// Confirms what was timed and puts the figures together.
    pub fn finish(&self) -> Result<Measurement, Stopped> {
        self.confirm()?;
        let verdict = &self.candidate.verified.verdict;
        let program = &self.candidate.program;
        let warm = self.samples.warm();
        let values = self.samples.values();
        let time = Time::summarise(values, warm.choice.clock, self.cache, warm.dispatches);
        let time = time.ok_or_else(|| {
            let reason = Reason::new(ReasonCode::NotMeasured, "no sample was taken");
            Stopped::new(Status::Failed, reason)
        })?;
        let sampling = Some(self.samples.sampling(&self.effort));
        let lives = time.lives.iter().map(|life| Life { sampling, ..*life });
        let time = Time {
            lives: lives.collect(),
            ..time
        };
        let mut flags = self.samples.flags(&self.effort);
        flags.extend(&self.flags);
        flags.extend(self.conditions.iter().flat_map(Conditions::flags));
        let power = self.power.as_ref();
        flags.extend(power.map_or_else(|_| Vec::new(), |power| power_flags(power, time.median_s)));
        Ok(Measurement {
            work: Some(self.work.operations),
            work_unit: self.work.unit,
            bytes: Some(self.work.bytes),
            status: Status::Ok,
            reason: None,
            verification: Verification::from(verdict),
            gflops: Rate::of(&self.work, &time),
            gbytes_per_s: time.gbytes_per_s(self.work.bytes),
            time: Some(time),
            gflops_per_watt: power.ok().and_then(|power| efficiency(&self.work, power)),
            power: power.ok().cloned().map(Box::new),
            power_reason: power.err().cloned(),
            conditions: self.conditions.clone().map(Box::new),
            shader_mode: self.gpu.mode(),
            chosen: self.id.is_best().then(|| self.variant.clone()),
            parameters: program.parameters.clone(),
            timed: self.timed.clone(),
            flags,
            ..Measurement::without_figures(
                &self.id,
                Status::Ok,
                Reason::new(ReasonCode::NotMeasured, ""),
            )
        })
    }
}
