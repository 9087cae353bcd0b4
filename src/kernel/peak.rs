//! Arithmetic ceiling: how fast the device can multiply and add when nothing
//! else is in the way.
//!
//! Work is counted as two operations an FMA. Several numbers of chains and
//! vector widths are candidates, since which one fills the pipelines differs by
//! device; the fastest is the ceiling.

use minijinja::context;

use super::capabilities::Capabilities;
use super::inputs;
use super::problem::{Checked, Problem, Tensor, Verdict, Work, WorkUnit, f32_elements};
use super::program::{BufferSpec, Pass, Program, Role};
use super::tolerance::{self, U_F32};
use super::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// (chains, vector width) that are tried. Chains hide the latency of an FMA,
/// vectors suit compilers that do not merge scalars.
const FORMS: &[(u32, u32)] = &[(4, 1), (8, 1), (12, 1), (16, 1), (2, 4), (4, 4), (6, 4)];
/// Invocations of a workgroup.
const LANES: u32 = 256;
/// Invocations with the same start compute the same, so that few references
/// check all of them.
const STARTS: usize = 64;
/// Steps written out in the loop body: enough to make the loop's own cost small.
const UNROLL: u32 = 16;
/// Steps of each chain in one dispatch.
const STEPS: u32 = 2048;
/// Angle of one step. Leaving out a single one moves the result by about this
/// much, far more than the tolerance.
const MULTIPLIER: f32 = 1.0 / 1024.0;

/// Candidates of the FMA ceiling.
pub fn fma(build: &Build) -> Candidates {
    FORMS
        .iter()
        .map(|&(chains, width)| program(build, chains, width))
        .collect()
}

/// Invocations of a dispatch: enough to fill the largest device several times
/// over, or a handful of CPU cores for some milliseconds.
fn invocations(capabilities: &Capabilities) -> u32 {
    if capabilities.software {
        1 << 13
    } else {
        1 << 20
    }
}

fn program(build: &Build, chains: u32, width: u32) -> Result<Program, super::BuildError> {
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = invocations(build.capabilities) / lanes;
    let element = if width == 1 { "f32" } else { "vec4<f32>" };
    let template = "peak_fma.wgsl.jinja";
    let wgsl = build.render(
        template,
        context! { chains, width, lanes, starts => STARTS, unroll => UNROLL, type => element },
    )?;
    Ok(Program {
        parameters: Parameters::from([
            ("chains".into(), chains),
            ("width".into(), width),
            ("steps".into(), STEPS),
            ("invocations".into(), groups * lanes),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![STEPS / UNROLL, groups * lanes]),
            BufferSpec {
                role: Role::Input(0),
                size: Bytes(4 * start_elements() as u64),
            },
            BufferSpec {
                role: Role::Output,
                size: Bytes(4 * u64::from(groups * lanes)),
            },
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2],
            workgroups: [groups, 1, 1],
        }],
    })
}

/// The multiplier and room for x and y of every chain of the widest form.
fn start_elements() -> usize {
    let widest = FORMS.iter().map(|(chains, width)| chains * width).max();
    1 + STARTS * 2 * widest.unwrap_or(0) as usize
}

/// The chains' problem: normal starting values, the multiplier in front.
pub struct Peak {
    inputs: [Tensor; 1],
    start: Vec<f64>,
}

impl Peak {
    /// Starting values from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut start = inputs::normal(seed, 0, start_elements());
        start[0] = MULTIPLIER;
        Self {
            inputs: [Tensor::from_f32(&start)],
            start: start.iter().copied().map(f64::from).collect(),
        }
    }

    /// Sum over the chains of one start after all steps, and the sum of
    /// magnitudes to which rounding refers: every step rounds a value no larger
    /// than the chain's amplitude.
    fn reference(&self, start: usize, chains: usize, width: usize) -> (f64, f64) {
        let m = self.start[0];
        let first = 1 + start * 2 * chains * width;
        let mut sum = 0.0;
        let mut scale = 0.0;
        // A chain's x of every vector element come first, then their y.
        for chain in self.start[first..].chunks(2 * width).take(chains) {
            let (xs, ys) = chain.split_at(width);
            for (&x, &y) in xs.iter().zip(ys) {
                scale += 2.0 * x.hypot(y);
                let (x, y) = (0..STEPS).fold((x, y), |(x, y), _| {
                    let x = x + m * y;
                    (x, y - m * x)
                });
                sum += x + y;
            }
        }
        (sum, scale)
    }
}

impl Problem for Peak {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, program: &Program) -> Work {
        let parameter = |name| u64::from(program.parameter(name));
        let fmas = 2 * parameter("steps") * parameter("chains") * parameter("width");
        Work {
            operations: 2 * fmas * parameter("invocations"),
            unit: WorkUnit::Flop,
            bytes: program.output_size().0,
        }
    }

    fn reference_macs(&self) -> u64 {
        (start_elements() as u64) * u64::from(STEPS)
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let (chains, width) = (program.parameter("chains"), program.parameter("width"));
        let roundings = f64::from(2 * STEPS + 2 * chains * width);
        let outputs = f64::from(program.parameter("invocations"));
        let tolerance = tolerance::accumulation(roundings, U_F32, U_F32, outputs);
        let references: Vec<(f64, f64)> = (0..STARTS)
            .map(|start| self.reference(start, chains as usize, width as usize))
            .collect();
        let mut tracker = Verdict::tracker(Checked::Full, tolerance);
        for (lane, found) in f32_elements(output).enumerate() {
            let (expected, scale) = references[lane % STARTS];
            tracker.compare(found, expected, scale, || format!("invocation {lane}"));
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::shape::Shape;

    fn capabilities() -> Capabilities {
        Capabilities {
            software: true,
            ..Capabilities::generous()
        }
    }

    /// Runs the chains in float32, `missing` steps short.
    fn emulate(problem: &Peak, program: &Program, missing: u32) -> Vec<u8> {
        let (chains, width) = (
            program.parameter("chains") as usize,
            program.parameter("width") as usize,
        );
        let lanes: Vec<f32> = (0..program.parameter("invocations") as usize)
            .map(|lane| {
                let first = 1 + lane % STARTS * 2 * chains * width;
                let mut sum = 0f32;
                for chain in problem.start[first..].chunks(2 * width).take(chains) {
                    for e in 0..width {
                        let (mut x, mut y) = (chain[e] as f32, chain[width + e] as f32);
                        for _ in 0..STEPS - missing {
                            x = MULTIPLIER.mul_add(y, x);
                            y = (-MULTIPLIER).mul_add(x, y);
                        }
                        sum += x + y;
                    }
                }
                sum
            })
            .collect();
        Tensor::from_f32(&lanes).bytes
    }

    #[test]
    fn every_form_is_checked_and_one_missing_step_shows() {
        let problem = Peak::new(4);
        let capabilities = capabilities();
        let build = Build {
            shape: Shape::Device,
            capabilities: &capabilities,
        };
        for mut program in fma(&build).unwrap() {
            program
                .parameters
                .insert("invocations".into(), 2 * STARTS as u32);
            let good = problem.check(&program, &emulate(&problem, &program, 0));
            assert_eq!(good.rejection, None, "{:?}", program.parameters);
            let short = problem.check(&program, &emulate(&problem, &program, 1));
            assert!(short.rejection.is_some(), "{:?}", program.parameters);
        }
    }

    /// 2 flop an FMA, 2 FMA a step: 4·2048·12 a lane, 8192 lanes.
    #[test]
    fn work_counts_both_fmas_of_a_step() {
        let capabilities = capabilities();
        let program = program(
            &Build {
                shape: Shape::Device,
                capabilities: &capabilities,
            },
            12,
            1,
        )
        .unwrap();
        assert_eq!(Peak::new(0).work(&program).operations, 4 * 2048 * 12 * 8192);
    }
}
