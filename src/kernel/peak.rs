//! Arithmetic ceiling: how fast the device can multiply and add when nothing
//! else is in the way.
//!
//! Work is counted as two operations an FMA. Several numbers of chains and
//! vector widths are candidates, since which one fills the pipelines differs by
//! device; the fastest is the ceiling.

use minijinja::context;

use super::capabilities::Capabilities;
use super::element::{Element, Tensor};
use super::inputs;
use super::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use super::program::{BufferSpec, Pass, Program, Role};
use super::tolerance::{self, U_F32};
use super::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// (chains, vector width) that are tried. Chains hide the latency of an FMA,
/// vectors suit compilers that do not merge scalars.
const FORMS: &[(u32, u32)] = &[
    (8, 1),
    (12, 1),
    (14, 1),
    (16, 1),
    (24, 1),
    (2, 4),
    (3, 4),
    (4, 4),
    (8, 4),
];
/// Invocations of a workgroup.
const LANES: u32 = 256;
/// Invocations with the same start compute the same, so that few references
/// check all of them.
const STARTS: usize = 64;
/// Steps written out in the loop body: enough to make the loop's own cost small.
const UNROLL: u32 = 16;
/// Steps of each chain in one dispatch.
const STEPS: u32 = 4096;
/// What of its neighbour a register takes in a step. Leaving out a single step
/// moves the result by about this share, more than the tolerance; all steps
/// together multiply it by at most e².
const MULTIPLIER: f32 = 1.0 / 2048.0;

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
    let wgsl = build.templates.render(
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
                size: Bytes(Element::F32.buffer_size(start_elements() as u64)),
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

/// The multiplier and room for every register of the widest form.
fn start_elements() -> usize {
    let widest = FORMS.iter().map(|(chains, width)| chains * width).max();
    1 + STARTS * widest.unwrap_or(0) as usize
}

/// The chains' problem: normal starting values, the multiplier in front.
pub struct Peak {
    inputs: [Tensor; 1],
    start: Vec<f64>,
}

impl Peak {
    /// Starting values from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut start = inputs::normal(seed, 0, start_elements(), Element::F32).values();
        start[0] = f64::from(MULTIPLIER);
        Self {
            inputs: [Tensor::new(Element::F32, &start)],
            start,
        }
    }

    /// Sum over the registers of one start after all steps, and the same sum of
    /// magnitudes: no value that is rounded on the way is larger than its
    /// counterpart there, and what rounding adds grows no faster.
    fn reference(&self, start: usize, chains: usize, width: usize) -> (f64, f64) {
        let first = 1 + start * chains * width;
        let registers = &self.start[first..first + chains * width];
        let element = |e: usize| registers.iter().copied().skip(e).step_by(width);
        (0..width).fold((0.0, 0.0), |(sum, scale), e| {
            let values = element(e).collect();
            let magnitudes = element(e).map(f64::abs).collect();
            (sum + self.ring(values), scale + self.ring(magnitudes))
        })
    }

    /// Runs all steps on one ring of registers and sums it up.
    fn ring(&self, mut x: Vec<f64>) -> f64 {
        let m = self.start[0];
        for _ in 0..STEPS {
            for chain in 0..x.len() {
                x[chain] += m * x[(chain + 1) % x.len()];
            }
        }
        x.iter().sum()
    }
}

impl Problem for Peak {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, program: &Program) -> Work {
        let parameter = |name| u64::from(program.parameter(name));
        let fmas = parameter("steps") * parameter("chains") * parameter("width");
        Work {
            operations: 2 * fmas * parameter("invocations"),
            unit: WorkUnit::Flop,
            // What little memory is touched is not the point and is no traffic to speak of.
            bytes: 0,
        }
    }

    fn reference_macs(&self) -> u64 {
        2 * start_elements() as u64 * u64::from(STEPS) * FORMS.len() as u64
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let (chains, width) = (program.parameter("chains"), program.parameter("width"));
        let roundings = f64::from(STEPS + chains * width);
        let outputs = f64::from(program.parameter("invocations"));
        let tolerance = tolerance::accumulation(roundings, U_F32, U_F32, outputs);
        let references: Vec<(f64, f64)> = (0..STARTS)
            .map(|start| self.reference(start, chains as usize, width as usize))
            .collect();
        let mut tracker = Verdict::tracker(Checked::Full, tolerance);
        let lanes = program.parameter("invocations") as usize;
        let found = Element::F32.read(output, lanes);
        for (lane, found) in found.into_iter().enumerate() {
            let (expected, scale) = references[lane % STARTS];
            tracker.compare(found, expected, scale, || format!("invocation {lane}"));
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Precision;
    use crate::kernel::shape::Shape;
    use crate::kernel::template::Templates;

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
        let lanes: Vec<f64> = (0..program.parameter("invocations") as usize)
            .map(|lane| {
                let first = 1 + lane % STARTS * chains * width;
                let mut sum = 0f32;
                for e in 0..width {
                    let mut x: Vec<f32> = (0..chains)
                        .map(|chain| problem.start[first + chain * width + e] as f32)
                        .collect();
                    for _ in 0..STEPS - missing {
                        for chain in 0..chains {
                            x[chain] = MULTIPLIER.mul_add(x[(chain + 1) % chains], x[chain]);
                        }
                    }
                    sum += x.iter().sum::<f32>();
                }
                f64::from(sum)
            })
            .collect();
        Tensor::new(Element::F32, &lanes).bytes
    }

    #[test]
    fn every_form_is_checked_and_one_missing_step_shows() {
        let problem = Peak::new(4);
        let capabilities = capabilities();
        let build = Build {
            shape: Shape::Device,
            precision: Precision::F32,
            capabilities: &capabilities,
            templates: Templates::builtin(),
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

    /// 2 operations an FMA, an FMA a step and register: 2·4096·12 a lane, 8192
    /// lanes.
    #[test]
    fn work_counts_every_fma_twice() {
        let capabilities = capabilities();
        let program = program(
            &Build {
                shape: Shape::Device,
                precision: Precision::F32,
                capabilities: &capabilities,
                templates: Templates::builtin(),
            },
            12,
            1,
        )
        .unwrap();
        assert_eq!(Peak::new(0).work(&program).operations, 2 * 4096 * 12 * 8192);
    }
}
