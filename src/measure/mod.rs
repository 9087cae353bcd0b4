//! One case: verify it, warm it up, sample it, check that it still computes the
//! same, and put the figures together.

pub mod clock;
pub mod measurement;
pub mod sampling;
pub mod tier;
pub mod verify;

use measurement::{
    Cache, Flag, Measurement, Rate, Reason, ReasonCode, ShaderMode, Status, Time, Verification,
};
use sampling::{Runner, Samples};
use tier::{Effort, Progress, Tier};
use verify::{Verified, Witness};

use crate::gpu::device::{Batch, Gpu, GpuError, Loaded};
use crate::kernel::capabilities::{Capabilities, Unfit};
use crate::kernel::id::CaseId;
use crate::kernel::problem::{Problem, Verdict, Work};
use crate::kernel::program::Program;
use crate::kernel::{BuildError, Kernel};
use crate::units::{Bytes, Seconds};

/// Empty submissions whose median is the submit overhead.
const OVERHEAD_SAMPLES: usize = 15;
/// How long each of several candidates is tried before one is chosen.
const PROBE: Effort = Effort {
    half_width: 0.05,
    min_samples: 3,
    ceiling: Seconds(0.1),
    warm_up: Seconds(0.0),
    warm_up_ceiling: Seconds(0.05),
};
/// Assumed last-level cache where it is not known: the largest of current GPUs
/// but for those with memory-side caches.
const ASSUMED_CACHE: Bytes = Bytes(128 << 20);

/// What a case is doing, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Generating inputs.
    Inputs,
    /// Compiling, computing once and comparing; the reference takes this many
    /// multiply-adds at most.
    Verifying {
        /// Multiply-adds of the reference.
        reference_macs: u64,
    },
    /// Running until clocks and caches have settled.
    WarmingUp,
    /// Taking samples.
    Sampling {
        /// Samples so far.
        samples: usize,
        /// Median so far, seconds per dispatch.
        median_s: f64,
    },
}

/// A device on which cases are measured, one after the other.
pub struct Bench<'a> {
    gpu: &'a Gpu,
    capabilities: Capabilities,
    overhead: Seconds,
}

/// A case that is verified and warm.
pub struct Prepared<'a> {
    bench: &'a Bench<'a>,
    id: CaseId,
    candidate: Candidate,
    work: Work,
    samples: Samples,
    flags: Vec<Flag>,
}

/// A program on the device whose output is right.
struct Candidate {
    program: Program,
    loaded: Loaded,
    verified: Verified,
}

/// A case that ends without figures.
#[derive(Debug)]
pub struct Stopped {
    status: Status,
    reason: Reason,
    verdict: Option<Verdict>,
}

impl Stopped {
    fn new(status: Status, reason: Reason) -> Self {
        Self {
            status,
            reason,
            verdict: None,
        }
    }

    fn rejected(code: ReasonCode, message: impl std::fmt::Display, verdict: &Verdict) -> Self {
        Self {
            verdict: Some(verdict.clone()),
            ..Self::new(Status::Rejected, Reason::new(code, message))
        }
    }

    /// The record of case `id` that ended this way.
    pub fn measurement(self, id: &CaseId) -> Measurement {
        let mut measurement = Measurement::without_figures(id, self.status, self.reason);
        if let Some(verdict) = &self.verdict {
            measurement.verification = Verification::from(verdict);
        }
        measurement
    }

    /// Whether the device cannot be trusted with further cases.
    pub fn wants_fresh_device(&self) -> bool {
        self.status == Status::Failed
    }
}

impl From<GpuError> for Stopped {
    fn from(error: GpuError) -> Self {
        Self::new(Status::Failed, Reason::new(ReasonCode::Device, error))
    }
}

impl From<BuildError> for Stopped {
    fn from(error: BuildError) -> Self {
        let (status, code) = match &error {
            BuildError::Unfit(Unfit::Shape(_)) => (Status::Skipped, ReasonCode::UnsupportedShape),
            BuildError::Unfit(_) => (Status::Skipped, ReasonCode::TooLarge),
            BuildError::Template(_) => (Status::Failed, ReasonCode::Template),
        };
        Self::new(status, Reason::new(code, error))
    }
}

impl<'a> Bench<'a> {
    /// A bench on an open device; measures what a submission costs.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn new(gpu: &'a Gpu, capabilities: Capabilities) -> Result<Self, GpuError> {
        let empty: Result<Vec<Batch>, GpuError> =
            (0..OVERHEAD_SAMPLES).map(|_| gpu.run_nothing()).collect();
        Ok(Self {
            gpu,
            capabilities,
            overhead: clock::overhead(&empty?),
        })
    }

    /// Measures one case from beginning to end. `problem` must be the one that
    /// `id` poses.
    pub fn measure(
        &self,
        id: &CaseId,
        problem: &dyn Problem,
        tier: Tier,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Measurement, Stopped> {
        let mut prepared = self.prepare(id, problem, tier, on_phase)?;
        prepared.converge(tier, on_phase)?;
        prepared.finish()
    }

    /// Verifies a case, chooses among its candidates and warms it up.
    pub fn prepare(
        &'a self,
        id: &CaseId,
        problem: &dyn Problem,
        tier: Tier,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Prepared<'a>, Stopped> {
        let kernel = Kernel::find(id).ok_or_else(|| {
            let reason = Reason::new(ReasonCode::UnsupportedShape, "a kernel of that name");
            Stopped::new(Status::Skipped, reason)
        })?;
        let programs = kernel.candidates(id.shape, &self.capabilities)?;
        on_phase(Phase::Inputs);
        problem.inputs();
        on_phase(Phase::Verifying {
            reference_macs: problem.reference_macs(),
        });
        let candidates = self.verified(programs, problem)?;
        on_phase(Phase::WarmingUp);
        let candidate = self.fastest(candidates, problem)?;
        let flags = self.seek_witness(kernel, id, &candidate.verified, problem)?;
        let warm = sampling::warm_up(
            &mut self.runner(&candidate.loaded),
            &tier.effort(),
            self.overhead,
        )?;
        self.gpu.poison(&candidate.loaded)?;
        Ok(Prepared {
            bench: self,
            id: id.clone(),
            work: problem.work(&candidate.program),
            samples: Samples::new(warm),
            candidate,
            flags,
        })
    }

    /// Candidates whose output is right; the first rejection if none is.
    fn verified(
        &self,
        programs: Vec<Program>,
        problem: &dyn Problem,
    ) -> Result<Vec<Candidate>, Stopped> {
        let mut candidates = Vec::new();
        let mut rejected = None;
        for program in programs {
            let loaded = self.gpu.load(&program, problem.inputs())?;
            let verified = verify::verify(self.gpu, &loaded, &program, problem)?;
            match &verified.verdict.rejection {
                None => candidates.push(Candidate {
                    program,
                    loaded,
                    verified,
                }),
                Some(rejection) => {
                    let reason = verify::reason(rejection);
                    rejected.get_or_insert(Stopped::rejected(
                        reason.code,
                        reason.message,
                        &verified.verdict,
                    ));
                }
            }
        }
        match rejected {
            Some(rejected) if candidates.is_empty() => Err(rejected),
            _ => Ok(candidates),
        }
    }

    /// The candidate with the highest rate in a short probe.
    fn fastest(
        &self,
        mut candidates: Vec<Candidate>,
        problem: &dyn Problem,
    ) -> Result<Candidate, Stopped> {
        if candidates.len() > 1 {
            let mut rates = Vec::new();
            for candidate in &candidates {
                rates.push(self.probe(candidate, problem)?);
            }
            let best = (0..rates.len()).max_by(|&a, &b| f64::total_cmp(&rates[a], &rates[b]));
            candidates.swap(0, best.unwrap_or(0));
        }
        candidates.into_iter().next().ok_or_else(|| {
            let reason = Reason::new(ReasonCode::UnsupportedShape, "a program for this shape");
            Stopped::new(Status::Skipped, reason)
        })
    }

    /// Work per second, or bytes per second where there are no operations.
    fn probe(&self, candidate: &Candidate, problem: &dyn Problem) -> Result<f64, GpuError> {
        let mut runner = self.runner(&candidate.loaded);
        let warm = sampling::warm_up(&mut runner, &PROBE, self.overhead)?;
        let mut samples = Samples::new(warm);
        samples.converge(&mut runner, &PROBE, |_| {})?;
        let work = problem.work(&candidate.program);
        let amount = work.operations.max(work.bytes) as f64;
        Ok(amount / crate::stats::median(samples.values()).unwrap_or(f64::INFINITY))
    }

    /// Where only samples were compared, a second kernel must agree in full.
    fn seek_witness(
        &self,
        kernel: &Kernel,
        id: &CaseId,
        verified: &Verified,
        problem: &dyn Problem,
    ) -> Result<Vec<Flag>, Stopped> {
        if !problem.wants_witness() {
            return Ok(Vec::new());
        }
        let (gpu, output) = (self.gpu, &verified.output);
        match verify::witness(gpu, kernel, id.shape, &self.capabilities, problem, output)? {
            Witness::Agrees => Ok(Vec::new()),
            Witness::None => Ok(vec![Flag::NoWitness]),
            Witness::Disagrees(rejection) => Err(Stopped::rejected(
                ReasonCode::NoAgreement,
                format!("two kernels that pass on samples differ elsewhere: {rejection}"),
                &verified.verdict,
            )),
        }
    }

    fn runner(&self, loaded: &'a Loaded) -> impl Runner + 'a
    where
        Self: 'a,
    {
        OnGpu {
            gpu: self.gpu,
            loaded,
        }
    }

    fn cache(&self, program: &Program) -> Cache {
        let working_set: u64 = program.buffers.iter().map(|b| b.size.0).sum();
        let cache = self.capabilities.last_level_cache.unwrap_or(ASSUMED_CACHE);
        if working_set >= 2 * cache.0 {
            Cache::Cold
        } else {
            Cache::Hot
        }
    }
}

struct OnGpu<'a> {
    gpu: &'a Gpu,
    loaded: &'a Loaded,
}

impl Runner for OnGpu<'_> {
    fn run(&mut self, dispatches: u32) -> Result<Batch, GpuError> {
        self.gpu.run(self.loaded, dispatches)
    }
}

impl Prepared<'_> {
    /// Samples until the tier's stopping rule is met.
    pub fn converge(&mut self, tier: Tier, on_phase: &mut dyn FnMut(Phase)) -> Result<(), Stopped> {
        let mut runner = OnGpu {
            gpu: self.bench.gpu,
            loaded: &self.candidate.loaded,
        };
        let progress = self
            .samples
            .converge(&mut runner, &tier.effort(), |values| {
                on_phase(Phase::Sampling {
                    samples: values.len(),
                    median_s: crate::stats::median(values).unwrap_or(0.0),
                });
            })?;
        if progress == Progress::OutOfTime {
            self.flags.push(Flag::NotConverged);
        }
        Ok(())
    }

    /// Takes one sample; returns seconds per dispatch.
    pub fn sample(&mut self) -> Result<Seconds, Stopped> {
        let mut runner = OnGpu {
            gpu: self.bench.gpu,
            loaded: &self.candidate.loaded,
        };
        let dispatches = self.samples.warm().dispatches;
        Ok(self.samples.take(&mut runner, dispatches)?)
    }

    /// Operations and bytes of one dispatch.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Marks the figure.
    pub fn flag(&mut self, flag: Flag) {
        self.flags.push(flag);
    }

    /// Compares what the timed dispatches wrote with the verified output, bit by
    /// bit, and puts the figures together.
    pub fn finish(self) -> Result<Measurement, Stopped> {
        let verdict = &self.candidate.verified.verdict;
        let now = self.bench.gpu.output(&self.candidate.loaded)?;
        if now != self.candidate.verified.output {
            let message = "the timed dispatches did not write what the verified one wrote";
            return Err(Stopped::rejected(ReasonCode::Unstable, message, verdict));
        }
        let program = &self.candidate.program;
        let warm = self.samples.warm();
        let cache = self.bench.cache(program);
        let values = self.samples.values();
        let time = Time::summarise(values, warm.choice.clock, cache, warm.dispatches);
        let time = time.ok_or_else(|| {
            let reason = Reason::new(ReasonCode::NotMeasured, "no sample was taken");
            Stopped::new(Status::Failed, reason)
        })?;
        let mut flags = self.samples.flags();
        flags.extend(self.flags);
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
            shader_mode: ShaderMode::Unchecked,
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
