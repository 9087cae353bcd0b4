//! The stream that only reads.
//!
//! Every invocation stores the sum of what it has read: at most a sixty-fourth of
//! the traffic, which is not counted. The values are whole numbers whose sums
//! float32 holds exactly, so that no load can be left out.

use std::sync::OnceLock;

use minijinja::context;

use super::{LANES, array_bytes, floats, vectors, wgsl_type, working_set};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::element::{Element, Tensor};
use crate::kernel::inputs;
use crate::kernel::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::{Build, BuildError, Candidates, Parameters};
use crate::units::Bytes;

/// (vector width, loads at a time) that are tried.
const FORMS: &[(u32, u32)] = &[(1, 4), (4, 1), (4, 4)];
/// Vectors that an invocation reads at least, where there are enough.
const LEAST_READS: u32 = 16;
/// Vectors that an invocation reads at most: four times as many numbers below
/// 2⁷ stay below 2²⁴.
const MOST_READS: u32 = 1 << 15;

/// Candidates of the read.
pub fn read(build: &Build) -> Candidates {
    FORMS
        .iter()
        .map(|&(width, unroll)| program(build, width, unroll))
        .collect()
}

/// Workgroups of a dispatch: enough to fill the device, but few enough that each
/// invocation has something to read.
fn groups(capabilities: &Capabilities, elements: u32, lanes: u32) -> u32 {
    let full: u32 = if capabilities.software { 16 } else { 2048 };
    let most = elements.div_ceil(LEAST_READS * lanes);
    let least = elements.div_ceil(MOST_READS * lanes);
    full.min(most).max(least)
}

fn program(build: &Build, width: u32, unroll: u32) -> Result<Program, BuildError> {
    let array = array_bytes(working_set(build)?, 1);
    let elements = vectors(build, array, width)?;
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = groups(build.capabilities, elements, lanes);
    let invocations = groups * lanes;
    let template = "bandwidth_read.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! { lanes, width, unroll, type => wgsl_type(width) },
    )?;
    let buffer = |role, size| BufferSpec {
        role,
        size: Bytes(size),
    };
    Ok(Program {
        parameters: Parameters::from([
            ("width".into(), width),
            ("unroll".into(), unroll),
            ("invocations".into(), invocations),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![elements, invocations]),
            buffer(Role::Input(0), array),
            buffer(
                Role::Output,
                Element::F32.buffer_size(u64::from(invocations)),
            ),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2],
            workgroups: [groups, 1, 1],
        }],
    })
}

/// `count` normal values of standard deviation 32 as whole numbers below 2⁷.
pub(super) fn whole_numbers(seed: u64, count: usize) -> Tensor {
    let integers = inputs::normal(seed, 0, count, Element::I8);
    Tensor::new(Element::F32, &integers.values())
}

/// Partial sums over an array of whole numbers.
pub struct Read {
    /// Bytes of the array.
    array: u64,
    seed: u64,
    /// Drawn on first use: a case that is skipped never needs it.
    source: OnceLock<Tensor>,
}

impl Read {
    /// An array of `bytes`.
    pub fn new(bytes: u64, seed: u64) -> Self {
        Self {
            array: array_bytes(bytes, 1),
            seed,
            source: OnceLock::new(),
        }
    }
}

impl Problem for Read {
    fn inputs(&self) -> &[Tensor] {
        let draw = || whole_numbers(self.seed, (self.array / 4) as usize);
        std::slice::from_ref(self.source.get_or_init(draw))
    }

    fn work(&self, _program: &Program) -> Work {
        Work {
            operations: 0,
            unit: WorkUnit::Flop,
            bytes: self.array,
        }
    }

    fn reference_macs(&self) -> u64 {
        self.array / 4
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let width = program.parameter("width") as usize;
        let invocations = program.parameter("invocations") as usize;
        let mut sums = vec![0.0; invocations];
        for (index, value) in floats(&self.inputs()[0].bytes).enumerate() {
            sums[index / width % invocations] += value;
        }
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        for (lane, (found, sum)) in floats(output).zip(sums).enumerate() {
            tracker.compare(found, sum, sum.abs(), || format!("invocation {lane}"));
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums in float32, the way the invocations do, without one element.
    #[test]
    fn sums_are_exact_and_a_missing_element_shows() {
        let problem = Read::new(1 << 20, 3);
        let program = Program {
            parameters: Parameters::from([("width".into(), 4), ("invocations".into(), 512)]),
            buffers: Vec::new(),
            passes: Vec::new(),
        };
        let values = problem.inputs()[0].values();
        let odd = values.iter().rposition(|v| *v != 0.0);
        let rejection = |missing: Option<usize>| {
            let mut sums = vec![0f32; 512];
            for (index, value) in values.iter().enumerate() {
                if Some(index) != missing {
                    sums[index / 4 % 512] += *value as f32;
                }
            }
            let sums: Vec<f64> = sums.into_iter().map(f64::from).collect();
            let output = Tensor::new(Element::F32, &sums).bytes;
            problem.check(&program, &output).rejection
        };
        assert_eq!(rejection(None), None);
        assert!(rejection(odd).is_some());
    }

    /// Of 2²⁸ vectors, 4 GiB, an invocation reads 2¹⁵ at most: 2²⁸ / (2¹⁵·256) =
    /// 32 workgroups, more than would do for a CPU.
    #[test]
    fn sums_stay_within_what_float32_holds() {
        let software = Capabilities {
            software: true,
            ..Capabilities::generous()
        };
        assert_eq!(groups(&software, 1 << 28, 256), 32);
        assert_eq!(groups(&software, 100, 256), 1);
        assert_eq!(groups(&Capabilities::generous(), 1 << 28, 256), 2048);
    }
}
