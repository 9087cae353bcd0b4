//! Brings a case to the point where it can be sampled: verified, the fastest of
//! its candidates, warm.

use super::clock;
use super::measurement::{Cache, Flag, Reason, ReasonCode, Status};
use super::prepared::{Candidate, Prepared};
use super::sampling::{self, Samples};
use super::tier::{Effort, Tier};
use super::verify::{self, Verified, Witness};
use super::{FirstRun, Phase, Stopped};
use crate::gpu::device::{Batch, Gpu, GpuError};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::CaseId;
use crate::kernel::problem::{Problem, Work};
use crate::kernel::program::Program;
use crate::kernel::shape::Shape;
use crate::kernel::template::Templates;
use crate::kernel::{Candidates, Choice, Kernel, Parameters, Repeat};
use crate::stats;
use crate::units::{Bytes, Seconds};

/// Empty submissions whose median is the submit overhead.
const OVERHEAD_SAMPLES: usize = 15;
/// How long each of several candidates is tried before one is chosen.
const PROBE: Effort = Effort {
    half_width: 0.05,
    sampling: Seconds(0.0),
    ceiling: Seconds(0.1),
    warm_up: Seconds(0.05),
};
/// How many times, in turn: what disturbs one probe lasts for others, but not
/// until the next round. Each candidate keeps its best.
const PROBES: usize = 3;
/// Assumed last-level cache where it is not known: the largest of current GPUs
/// but for those with memory-side caches.
const ASSUMED_CACHE: Bytes = Bytes(128 << 20);

/// A device on which cases are measured, one after the other.
pub struct Bench<'a, 't> {
    gpu: &'a Gpu,
    capabilities: Capabilities,
    templates: &'t Templates,
    overhead: Seconds,
}

/// Candidates of a kernel whose output is right.
struct Right {
    kernel: &'static Kernel,
    candidates: Vec<Candidate>,
    /// Whether others' was wrong.
    some_rejected: bool,
}

/// A kernel that makes nothing of a shape, or not what was chosen.
fn no_program() -> Stopped {
    let reason = Reason::new(ReasonCode::UnsupportedShape, "a program for this shape");
    Stopped::new(Status::Skipped, reason)
}

impl<'a, 't> Bench<'a, 't> {
    /// A bench on an open device; makes sure that the device computes at all and
    /// measures what a submission costs.
    ///
    /// # Errors
    /// When the device does not do what it is told.
    pub fn new(
        gpu: &'a Gpu,
        capabilities: Capabilities,
        templates: &'t Templates,
    ) -> Result<Self, Stopped> {
        verify::canary(gpu)?;
        let empty: Result<Vec<Batch>, GpuError> =
            (0..OVERHEAD_SAMPLES).map(|_| gpu.run_nothing()).collect();
        Ok(Self {
            gpu,
            capabilities,
            templates,
            overhead: clock::overhead(&empty?),
        })
    }

    /// Verifies a case, chooses among its candidates and warms it up. `problem`
    /// must be the one that `id` poses; a case of the best kernel needs the choice
    /// that was made for it.
    pub fn prepare(
        &self,
        id: &CaseId,
        choice: Option<&Choice>,
        problem: &dyn Problem,
        tier: Tier,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Prepared<'a>, Stopped> {
        let right = self.right(id, choice, problem, on_phase)?;
        let kernel = right.kernel;
        let candidate = self.fastest(right.candidates, problem, on_phase)?;
        let mut flags = self.seek_witness(kernel, &candidate.verified, problem, on_phase)?;
        if right.some_rejected {
            flags.push(Flag::CandidateRejected);
        }
        on_phase(candidate.warming_up());
        let mut runner = candidate.runner(self.gpu);
        let mut warm = sampling::warm_up(&mut runner, &tier.effort(), self.overhead)?;
        warm.prove(&mut runner)?;
        candidate.try_each(self.gpu, warm.dispatch)?;
        // What is compared at the end must have been written by timed dispatches.
        self.gpu.poison(&candidate.loaded)?;
        Ok(Prepared {
            gpu: self.gpu,
            id: id.clone(),
            variant: kernel.variant.to_owned(),
            effort: tier.effort(),
            work: problem.work(&candidate.program),
            cache: self.cache(&candidate.program),
            samples: Samples::new(warm),
            candidate,
            flags,
            tier,
            timed: Vec::new(),
            also_busy: Vec::new(),
            power: Err(Reason::new(
                ReasonCode::NoPowerSource,
                "no source of power is read",
            )),
            conditions: None,
        })
    }

    /// Verifies a case and times nothing: the candidates whose output is right, at
    /// least one, and what a dispatch of each does.
    pub fn check(
        &self,
        id: &CaseId,
        choice: Option<&Choice>,
        problem: &dyn Problem,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<(Parameters, Work)>, Stopped> {
        let right = self.right(id, choice, problem, on_phase)?;
        let first = right.candidates.first().ok_or_else(no_program)?;
        self.seek_witness(right.kernel, &first.verified, problem, on_phase)?;
        let programs = right.candidates.into_iter().map(|c| c.program);
        Ok(programs
            .map(|program| (program.parameters.clone(), problem.work(&program)))
            .collect())
    }

    /// The kernel of a case and its candidates whose output is right.
    fn right(
        &self,
        id: &CaseId,
        choice: Option<&Choice>,
        problem: &dyn Problem,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Right, Stopped> {
        let variant = choice.map_or(id.variant.as_str(), |choice| &choice.variant);
        let kernel = Kernel::find(&id.with_variant(variant)).ok_or_else(|| {
            let reason = Reason::new(ReasonCode::UnsupportedShape, "a kernel of that name");
            Stopped::new(Status::Skipped, reason)
        })?;
        let mut programs = self.programs(kernel, id.shape)?;
        if let Some(choice) = choice {
            programs.retain(|program| program.parameters == choice.parameters);
        }
        on_phase(Phase::Inputs);
        problem.inputs();
        let offered = programs.len();
        let candidates = self.verified(programs, problem, kernel.repeats, on_phase)?;
        Ok(Right {
            kernel,
            some_rejected: candidates.len() < offered,
            candidates,
        })
    }

    /// Whether the device is a software adapter.
    pub fn is_software(&self) -> bool {
        self.capabilities.software
    }

    /// The programs of `kernel` for `shape` that the device admits.
    ///
    /// # Errors
    /// As [`Kernel::candidates`].
    pub fn programs(&self, kernel: &Kernel, shape: Shape) -> Candidates {
        kernel.candidates(shape, &self.capabilities, self.templates)
    }

    /// What it takes to verify `program` and to find its rate.
    pub fn first_run(&self, program: &Program, problem: &dyn Problem) -> FirstRun {
        let references = match problem.on_normal_inputs() {
            Some(_) => 2,
            None => 1,
        };
        FirstRun {
            work: problem.work(program),
            software: self.capabilities.software,
            reference_macs: references * problem.reference_macs(),
        }
    }

    /// Verifies `program` and times it briefly: operations per second, or bytes
    /// per second where there are no operations.
    ///
    /// # Errors
    /// When the output is wrong or the driver refuses the program.
    pub fn trial(&self, program: &Program, problem: &dyn Problem) -> Result<f64, Stopped> {
        let attempt = || -> Result<f64, Stopped> {
            let programs = vec![program.clone()];
            let candidate = self
                .verified(programs, problem, Repeat::Dispatch, &mut |_| {})?
                .remove(0);
            Ok(self.probe(&candidate, problem)?)
        };
        attempt().map_err(|stopped| match verify::canary(self.gpu) {
            // One program is refused; the device still does what it is told.
            Ok(()) => stopped.of_the_program(),
            Err(lost) => lost,
        })
    }

    /// A working set of twice the last-level cache cannot stay in it.
    fn cache(&self, program: &Program) -> Cache {
        let working_set: u64 = program.buffers.iter().map(|b| b.size.0).sum();
        let cache = self.capabilities.last_level_cache.unwrap_or(ASSUMED_CACHE);
        if working_set >= 2 * cache.0 {
            Cache::Cold
        } else {
            Cache::Hot
        }
    }

    /// Candidates whose output is right; the first rejection if none is.
    fn verified(
        &self,
        programs: Vec<Program>,
        problem: &dyn Problem,
        repeats: Repeat,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<Candidate>, Stopped> {
        let mut candidates = Vec::new();
        let mut rejected = None;
        for program in programs {
            let effort = self.first_run(&program, problem);
            on_phase(Phase::Verifying { effort });
            let loaded = self.gpu.load(&program, problem.inputs())?;
            let verified = verify::verify(self.gpu, &loaded, &program, problem)?;
            match &verified.verdict.rejection {
                None => candidates.push(Candidate {
                    program,
                    checksums: self.gpu.checksums(&loaded)?,
                    loaded,
                    verified,
                    repeats,
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

    /// The candidate with the highest rate in short probes.
    fn fastest(
        &self,
        mut candidates: Vec<Candidate>,
        problem: &dyn Problem,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Candidate, Stopped> {
        if candidates.len() > 1 {
            let mut rates = vec![0.0; candidates.len()];
            for _ in 0..PROBES {
                for (candidate, rate) in candidates.iter().zip(&mut rates) {
                    on_phase(candidate.warming_up());
                    *rate = self.probe(candidate, problem)?.max(*rate);
                }
            }
            let best = (0..rates.len()).max_by(|&a, &b| f64::total_cmp(&rates[a], &rates[b]));
            candidates.swap(0, best.unwrap_or(0));
        }
        candidates.into_iter().next().ok_or_else(no_program)
    }

    /// Work per second, or bytes per second where there are no operations.
    fn probe(&self, candidate: &Candidate, problem: &dyn Problem) -> Result<f64, GpuError> {
        let mut runner = candidate.runner(self.gpu);
        let warm = sampling::warm_up(&mut runner, &PROBE, self.overhead)?;
        let mut samples = Samples::new(warm);
        samples.converge(&mut runner, &PROBE, |_| {})?;
        let work = problem.work(&candidate.program);
        let amount = work.operations.max(work.bytes) as f64;
        Ok(amount / stats::median(samples.values()).unwrap_or(f64::INFINITY))
    }

    /// Where only samples were compared, a second kernel must agree in full.
    fn seek_witness(
        &self,
        kernel: &Kernel,
        verified: &Verified,
        problem: &dyn Problem,
        on_phase: &mut dyn FnMut(Phase),
    ) -> Result<Vec<Flag>, Stopped> {
        if !problem.wants_witness() {
            return Ok(Vec::new());
        }
        for sibling in kernel.siblings() {
            let build = |shape| {
                let program = self.programs(sibling, shape).ok()?.into_iter().next()?;
                let effort = self.first_run(&program, problem);
                on_phase(Phase::Verifying { effort });
                Some(program)
            };
            match verify::witness(self.gpu, build, problem, &verified.output)? {
                Witness::Agrees => return Ok(Vec::new()),
                Witness::None => {}
                Witness::Disagrees(rejection) => {
                    return Err(Stopped::rejected(
                        ReasonCode::NoAgreement,
                        format!("two kernels that pass on samples differ elsewhere: {rejection}"),
                        &verified.verdict,
                    ));
                }
            }
        }
        Ok(vec![Flag::NoWitness])
    }
}
