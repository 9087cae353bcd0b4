//! A case that is verified and warm: samples, and the figures at the end.

use super::clock::{self, Choice};
use super::measurement::{
    Cache, Clock, Flag, Measurement, Rate, Reason, ReasonCode, Status, Time, Verification,
};
use super::sampling::{Runner, Samples};
use super::tier::Effort;
use super::verify::{self, Verified};
use super::{Phase, Stopped};
use crate::gpu::device::{Batch, Gpu, GpuError, Loaded};
use crate::kernel::Repeat;
use crate::kernel::id::CaseId;
use crate::kernel::problem::Work;
use crate::kernel::program::Program;
use crate::stats;
use crate::units::Seconds;

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
}

/// A program on the device whose output is right.
pub(super) struct Candidate {
    pub(super) program: Program,
    pub(super) loaded: Loaded,
    pub(super) verified: Verified,
    /// What a sample repeats.
    pub(super) repeats: Repeat,
}

impl Candidate {
    pub(super) fn runner<'a>(&'a self, gpu: &'a Gpu) -> OnGpu<'a> {
        OnGpu {
            gpu,
            loaded: &self.loaded,
            repeats: self.repeats,
        }
    }
}

/// Runs a program on its device.
pub(super) struct OnGpu<'a> {
    gpu: &'a Gpu,
    loaded: &'a Loaded,
    repeats: Repeat,
}

impl Runner for OnGpu<'_> {
    fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
        match self.repeats {
            Repeat::Dispatch => self.gpu.run(self.loaded, dispatches),
            Repeat::Submission => self.gpu.run_one_by_one(self.loaded, dispatches),
        }
    }

    /// What a submission takes is what the host waits for it.
    fn choose_clock(&self, batches: &[Batch], overhead: Seconds) -> Choice {
        match self.repeats {
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
        let mut runner = self.candidate.runner(self.gpu);
        self.samples.converge(&mut runner, &self.effort, |values| {
            on_phase(Phase::Sampling {
                samples: values.len(),
                median_s: stats::median(values).unwrap_or(0.0),
            });
        })?;
        Ok(())
    }

    /// Takes one sample; returns seconds per dispatch.
    ///
    /// # Errors
    /// When the device fails.
    pub fn sample(&mut self) -> Result<Seconds, Stopped> {
        let mut runner = self.candidate.runner(self.gpu);
        Ok(self.samples.take(&mut runner)?)
    }

    /// Operations and bytes of one dispatch.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The verified output.
    pub fn output(&self) -> &[u8] {
        &self.candidate.verified.output
    }

    /// Marks the figure.
    pub fn flag(&mut self, flag: Flag) {
        self.flags.push(flag);
    }

    /// Compares what the timed dispatches wrote with the verified output, bit by
    /// bit, makes sure that the device still computes, and puts the figures
    /// together.
    pub fn finish(&self) -> Result<Measurement, Stopped> {
        let verdict = &self.candidate.verified.verdict;
        let now = self.gpu.output(&self.candidate.loaded)?;
        if now != self.candidate.verified.output {
            let message = "the timed dispatches did not write what the verified one wrote";
            return Err(Stopped::rejected(ReasonCode::Unstable, message, verdict));
        }
        verify::canary(self.gpu)?;
        let program = &self.candidate.program;
        let warm = self.samples.warm();
        let values = self.samples.values();
        let time = Time::summarise(values, warm.choice.clock, self.cache, warm.dispatches);
        let time = time.ok_or_else(|| {
            let reason = Reason::new(ReasonCode::NotMeasured, "no sample was taken");
            Stopped::new(Status::Failed, reason)
        })?;
        let mut flags = self.samples.flags(&self.effort);
        flags.extend(&self.flags);
        let gbytes = self.work.bytes as f64 / time.median_s.0 / 1e9;
        Ok(Measurement {
            work: Some(self.work.operations),
            work_unit: self.work.unit,
            bytes: Some(self.work.bytes),
            status: Status::Ok,
            reason: None,
            verification: Verification::from(verdict),
            gflops: Rate::of(&self.work, &time),
            gbytes_per_s: (self.work.bytes > 0).then_some(gbytes),
            time: Some(time),
            power_reason: Some(Reason::new(
                ReasonCode::NoPowerSource,
                "this version measures no power",
            )),
            shader_mode: self.gpu.mode(),
            chosen: self.id.is_best().then(|| self.variant.clone()),
            parameters: program.parameters.clone(),
            flags,
            ..Measurement::without_figures(
                &self.id,
                Status::Ok,
                Reason::new(ReasonCode::NotMeasured, ""),
            )
        })
    }
}
