//! Runs a program once on poisoned outputs and compares what it wrote with the
//! reference.

use super::Stopped;
use super::measurement::{Reason, ReasonCode};
use crate::gpu::device::{Gpu, GpuError, Loaded};
use crate::kernel::canary::Canary;
use crate::kernel::problem::{Problem, Rejection, Verdict};
use crate::kernel::program::Program;
use crate::kernel::shape::Shape;
use crate::kernel::{BuildError, inputs};
use crate::units::Seconds;

/// Asks the device for a small result that only computing can give.
///
/// # Errors
/// [`GpuError::Undone`] when the answer is wrong, or whatever the device reports.
pub fn canary(gpu: &Gpu) -> Result<(), Stopped> {
    let canary = Canary::new(inputs::fresh_seed());
    let program = canary.program().map_err(BuildError::from)?;
    let loaded = gpu.load(&program, &[canary.input()])?;
    gpu.poison(&loaded)?;
    gpu.run_once(&loaded)?;
    if canary.is_answered(&gpu.output(&loaded)?) {
        Ok(())
    } else {
        Err(GpuError::Undone.into())
    }
}

/// A verdict and the output that it is about.
pub struct Verified {
    /// How the output compares with the reference.
    pub verdict: Verdict,
    /// The output's bytes.
    pub output: Vec<u8>,
    /// How long the one dispatch took, by the host's clock.
    pub took: Seconds,
    /// Invocations of shaders that the device counted in it; `None` where it does not.
    pub invocations: Option<u64>,
}

/// Computes the output of `program` and compares it with the reference; before
/// that on normal inputs as well, where the problem has others.
///
/// # Errors
/// Whatever the device reports.
pub fn verify(
    gpu: &Gpu,
    loaded: &Loaded,
    program: &Program,
    problem: &dyn Problem,
) -> Result<Verified, GpuError> {
    if let Some(normal) = problem.on_normal_inputs() {
        let verified = compute(gpu, &gpu.load(program, normal.inputs())?, program, normal)?;
        if verified.verdict.rejection.is_some() {
            return Ok(verified);
        }
    }
    compute(gpu, loaded, program, problem)
}

fn compute(
    gpu: &Gpu,
    loaded: &Loaded,
    program: &Program,
    problem: &dyn Problem,
) -> Result<Verified, GpuError> {
    gpu.poison(loaded)?;
    let batch = gpu.run_once(loaded)?;
    let output = gpu.output(loaded)?;
    let verdict = problem.check(program, &output);
    Ok(Verified {
        verdict,
        output,
        took: batch.wall,
        invocations: batch.invocations,
    })
}

/// What a second kernel says about an output that was only sampled.
pub enum Witness {
    /// It computed the same.
    Agrees,
    /// It computed something else.
    Disagrees(Rejection),
    /// It computes wrong results itself, or cannot compute this.
    None,
}

/// Computes the problem once more, part by part with the programs that `build` gives
/// for the shapes of the parts, and compares the two outputs in full.
///
/// # Errors
/// Whatever the device reports.
pub fn witness(
    gpu: &Gpu,
    mut build: impl FnMut(Shape) -> Option<Program>,
    problem: &dyn Problem,
    output: &[u8],
) -> Result<Witness, GpuError> {
    let mut witness = Vec::with_capacity(output.len());
    let mut last = None;
    for part in problem.parts() {
        let Some(program) = build(part.shape) else {
            return Ok(Witness::None);
        };
        // What is not computed stays zero, as new buffers are: it would be noticed.
        let loaded = gpu.load(&program, &part.inputs)?;
        gpu.run_once(&loaded)?;
        witness.extend_from_slice(&gpu.output(&loaded)?[..part.output.0 as usize]);
        last = Some(program);
    }
    let right = |program| problem.check(program, &witness).rejection.is_none();
    if !last.as_ref().is_some_and(right) {
        return Ok(Witness::None);
    }
    Ok(match problem.agree(output, &witness) {
        None => Witness::Agrees,
        Some(rejection) => Witness::Disagrees(rejection),
    })
}

/// The reason that a rejection stands for.
pub fn reason(rejection: &Rejection) -> Reason {
    let code = match rejection {
        Rejection::NotComputed { .. } => ReasonCode::NotComputed,
        Rejection::WrongElement { .. }
        | Rejection::WrongProduct { .. }
        | Rejection::WrongAverage { .. }
        | Rejection::RoundedOperands { .. } => ReasonCode::WrongResult,
        Rejection::Unverifiable { .. } => ReasonCode::Unverifiable,
    };
    Reason::new(code, rejection)
}
