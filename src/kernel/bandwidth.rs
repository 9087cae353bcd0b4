//! Memory ceiling: streaming traffic between global memory and the cores.
//!
//! The shape is the working set, source and target together; traffic is every
//! byte of the source read and every byte of the target written once.

use std::sync::OnceLock;

use minijinja::context;

use super::capabilities::Unfit;
use super::element::{Element, Tensor};
use super::inputs;
use super::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use super::program::{BufferSpec, Pass, Program, Role};
use super::shape::Shape;
use super::{Build, Candidates, Parameters};
use crate::units::Bytes;

const LANES: u32 = 256;
/// (vector width, elements an invocation) that are tried.
const FORMS: &[(u32, u32)] = &[(1, 1), (4, 1), (4, 4)];

/// 256 MiB: source and target of 128 MiB are the largest that every adapter
/// binds, and more than twice the last-level cache of all but a few devices.
pub fn shapes(_software: bool) -> Vec<Shape> {
    vec![Shape::WorkingSet { bytes: 256 << 20 }]
}

/// Candidates of the copy.
pub fn copy(build: &Build) -> Candidates {
    let Shape::WorkingSet { bytes } = build.shape else {
        return Err(Unfit::Shape("a working set".into()).into());
    };
    FORMS
        .iter()
        .map(|&(width, per_lane)| program(build, bytes / 2, width, per_lane))
        .collect()
}

fn program(
    build: &Build,
    array: u64,
    width: u32,
    per_lane: u32,
) -> Result<Program, super::BuildError> {
    let too_large = || Unfit::Memory {
        needed: Bytes(array),
        allowed: build.capabilities.max_storage_binding,
    };
    let elements = u32::try_from(array / 4 / u64::from(width)).map_err(|_| too_large())?;
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = elements.div_ceil(lanes * per_lane);
    // A grid of two dimensions, since one alone may not be long enough.
    let row = groups.min(build.capabilities.max_workgroups_per_dimension);
    let template = "copy.wgsl.jinja";
    let element = if width == 1 { "f32" } else { "vec4<f32>" };
    let buffer = |role, size| BufferSpec { role, size };
    Ok(Program {
        parameters: Parameters::from([("width".into(), width), ("per_lane".into(), per_lane)]),
        buffers: vec![
            BufferSpec::uniform(vec![elements, row]),
            buffer(Role::Input(0), Bytes(array)),
            buffer(Role::Output, Bytes(array)),
        ],
        passes: vec![Pass {
            template,
            wgsl: build
                .templates
                .render(template, context! { lanes, per_lane, type => element })?,
            bindings: vec![0, 1, 2],
            workgroups: [row, groups.div_ceil(row), 1],
        }],
    })
}

/// A copy of normal values, checked bit by bit.
pub struct Copy {
    working_set: u64,
    seed: u64,
    /// Drawn on first use: a case that is skipped never needs it.
    source: OnceLock<Tensor>,
}

impl Copy {
    /// A working set of `bytes`, half of it the source.
    pub fn new(bytes: u64, seed: u64) -> Self {
        Self {
            working_set: bytes,
            seed,
            source: OnceLock::new(),
        }
    }
}

impl Problem for Copy {
    fn inputs(&self) -> &[Tensor] {
        std::slice::from_ref(self.source.get_or_init(|| {
            let elements = (self.working_set / 2 / 4) as usize;
            inputs::normal(self.seed, 0, elements, Element::F32)
        }))
    }

    fn work(&self, _program: &Program) -> Work {
        Work {
            operations: 0,
            unit: WorkUnit::Flop,
            bytes: self.working_set,
        }
    }

    fn reference_macs(&self) -> u64 {
        0
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        let source = &self.inputs()[0];
        if output != source.bytes {
            let found = source.element.read(output, source.count);
            let pairs = found.into_iter().zip(source.values());
            for (index, (found, expected)) in pairs.enumerate() {
                tracker.compare(found, expected, expected.abs(), || {
                    format!("element {index}")
                });
            }
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Program {
        Program {
            parameters: Parameters::new(),
            buffers: Vec::new(),
            passes: Vec::new(),
        }
    }

    #[test]
    fn a_copy_must_be_exact_to_the_last_element() {
        let problem = Copy::new(1 << 20, 1);
        let mut output = problem.inputs()[0].bytes.clone();
        assert_eq!(output.len(), 1 << 19);
        assert_eq!(problem.check(&empty(), &output).rejection, None);
        let last = output.len() - 4;
        output[last] ^= 1;
        let rejection = problem.check(&empty(), &output).rejection.unwrap();
        assert!(
            rejection.to_string().contains("element 131071"),
            "{rejection}"
        );
    }

    #[test]
    fn traffic_is_the_whole_working_set() {
        assert_eq!(Copy::new(1 << 20, 1).work(&empty()).bytes, 1 << 20);
    }
}
