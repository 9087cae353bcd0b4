//! Streams that write: a = f(index), a = b, a = b + s·c.

use std::sync::OnceLock;

use minijinja::context;
use rand_core::Rng;
use rayon::prelude::*;

use super::{LANES, array_bytes, floats, vectors, wgsl_type, working_set};
use crate::kernel::element::{Element, Tensor};
use crate::kernel::inputs;
use crate::kernel::problem::{Checked, Problem, Tracker, Verdict, Work, WorkUnit};
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::tolerance::U_F32;
use crate::kernel::{Build, BuildError, Candidates, Parameters};
use crate::units::Bytes;

/// (vector width, elements an invocation) that are tried.
const FORMS: &[(u32, u32)] = &[(1, 1), (4, 1), (4, 4)];
/// s of the triad, as in STREAM (McCalpin 1995).
const SCALAR: f64 = 3.0;
/// Elements that are compared by one thread at a time.
const BLOCK: usize = 1 << 16;

/// What is written to the array a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// a = f(index), where f takes a seed but no array.
    Write,
    /// a = b.
    Copy,
    /// a = b + s·c.
    Triad,
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Copy => "copy",
            Self::Triad => "triad",
        }
    }

    /// Arrays of the working set, a among them.
    fn arrays(self) -> u64 {
        match self {
            Self::Write => 1,
            Self::Copy => 2,
            Self::Triad => 3,
        }
    }

    /// Sizes of the inputs, where an array takes `array` bytes.
    fn inputs(self, array: u64) -> Vec<u64> {
        match self {
            Self::Write => vec![Element::I32.buffer_size(1)],
            Self::Copy => vec![array],
            Self::Triad => vec![array; 2],
        }
    }
}

/// Candidates of the write.
pub fn write(build: &Build) -> Candidates {
    candidates(build, Pattern::Write)
}

/// Candidates of the copy.
pub fn copy(build: &Build) -> Candidates {
    candidates(build, Pattern::Copy)
}

/// Candidates of the triad.
pub fn triad(build: &Build) -> Candidates {
    candidates(build, Pattern::Triad)
}

fn candidates(build: &Build, pattern: Pattern) -> Candidates {
    FORMS
        .iter()
        .map(|&(width, per_lane)| program(build, pattern, width, per_lane))
        .collect()
}

fn program(
    build: &Build,
    pattern: Pattern,
    width: u32,
    per_lane: u32,
) -> Result<Program, BuildError> {
    let array = array_bytes(working_set(build)?, pattern.arrays());
    let elements = vectors(build, array, width)?;
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = elements.div_ceil(lanes * per_lane);
    // A grid of two dimensions, since one alone may not be long enough.
    let row = groups.min(build.capabilities.max_workgroups_per_dimension);
    let template = "bandwidth_stream.wgsl.jinja";
    let inputs = pattern.inputs(array);
    let wgsl = build.templates.render(
        template,
        context! {
            lanes, per_lane, width,
            pattern => pattern.name(),
            inputs => inputs.len(),
            scalar => format!("{SCALAR:?}"),
            type => wgsl_type(width),
        },
    )?;
    let buffer = |role, size| BufferSpec {
        role,
        size: Bytes(size),
    };
    let mut buffers = vec![BufferSpec::uniform(vec![elements, row])];
    let numbered = inputs.into_iter().enumerate();
    buffers.extend(numbered.map(|(number, size)| buffer(Role::Input(number), size)));
    buffers.push(buffer(Role::Output, array));
    Ok(Program {
        parameters: Parameters::from([("width".into(), width), ("per_lane".into(), per_lane)]),
        passes: vec![Pass {
            template,
            wgsl,
            bindings: (0..buffers.len()).collect(),
            workgroups: [row, groups.div_ceil(row), 1],
        }],
        buffers,
    })
}

/// A stream over normal values; everything but the triad is exact.
pub struct Stream {
    pattern: Pattern,
    /// Bytes of each array.
    array: u64,
    seed: u64,
    /// Drawn on first use: a case that is skipped never needs them.
    inputs: OnceLock<Vec<Tensor>>,
}

impl Stream {
    /// A working set of `bytes`, all arrays together.
    pub fn new(pattern: Pattern, bytes: u64, seed: u64) -> Self {
        Self {
            pattern,
            array: array_bytes(bytes, pattern.arrays()),
            seed,
            inputs: OnceLock::new(),
        }
    }

    fn draw(&self) -> Vec<Tensor> {
        let elements = (self.array / 4) as usize;
        let normal = |tensor| inputs::normal(self.seed, tensor, elements, Element::F32);
        match self.pattern {
            Pattern::Write => {
                let word = inputs::stream(self.seed, 0, 0).next_u32() as i32;
                vec![Tensor::new(Element::I32, &[f64::from(word)])]
            }
            Pattern::Copy => vec![normal(0)],
            Pattern::Triad => vec![normal(0), normal(1)],
        }
    }

    /// The triad rounds its product and its sum, each by at most u of what it
    /// rounds, and so by 2u·(1 + u) of |b| + |s·c| together.
    fn tolerance(&self) -> f64 {
        match self.pattern {
            Pattern::Write | Pattern::Copy => 0.0,
            Pattern::Triad => 2.0 * U_F32 * (1.0 + U_F32),
        }
    }

    /// Expected values and scales of one block of a.
    fn reference(&self, block: usize, count: usize) -> Vec<[f64; 2]> {
        let first = block * BLOCK;
        let input = |number: usize| {
            let bytes = &self.inputs()[number].bytes;
            floats(&bytes[4 * first..4 * (first + count)])
        };
        match self.pattern {
            Pattern::Write => {
                let seed = self.inputs()[0].values()[0] as i32 as u32;
                let value = |i: usize| f64::from((i as u32 ^ seed) & 0x00ff_ffff);
                let values = (first..first + count).map(value);
                values.map(|value| [value, value]).collect()
            }
            Pattern::Copy => input(0).map(|b| [b, b.abs()]).collect(),
            Pattern::Triad => input(0)
                .zip(input(1))
                .map(|(b, c)| [b + SCALAR * c, b.abs() + (SCALAR * c).abs()])
                .collect(),
        }
    }
}

impl Problem for Stream {
    fn inputs(&self) -> &[Tensor] {
        self.inputs.get_or_init(|| self.draw())
    }

    fn work(&self, _program: &Program) -> Work {
        Work {
            operations: 0,
            unit: WorkUnit::Flop,
            bytes: self.pattern.arrays() * self.array,
        }
    }

    fn reference_macs(&self) -> u64 {
        self.array / 4
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        let tracker = Verdict::tracker(Checked::Full, self.tolerance());
        let compare = |(block, bytes): (usize, &[u8])| {
            let mut tracker = tracker.clone();
            let expected = self.reference(block, bytes.len() / 4);
            let pairs = floats(bytes).zip(expected);
            for (index, (found, [expected, scale])) in pairs.enumerate() {
                tracker.compare(found, expected, scale, || {
                    format!("element {}", block * BLOCK + index)
                });
            }
            tracker
        };
        let output = &output[..output.len().min(self.array as usize)];
        output
            .par_chunks(4 * BLOCK)
            .enumerate()
            .map(compare)
            .reduce_with(Tracker::merge)
            .unwrap_or(tracker.clone())
            .verdict(output)
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
        let problem = Stream::new(Pattern::Copy, 1 << 20, 1);
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

    /// In float32 with a product that is rounded, and one that is not.
    #[test]
    fn a_triad_is_right_with_and_without_a_fused_product() {
        let problem = Stream::new(Pattern::Triad, 3 << 20, 2);
        let [b, c] = [0, 1].map(|i: usize| problem.inputs()[i].values());
        let rejection = |triad: fn(f32, f32) -> f32| {
            let a = b.iter().zip(&c).map(|(&b, &c)| triad(b as f32, c as f32));
            let a: Vec<f64> = a.map(f64::from).collect();
            let output = Tensor::new(Element::F32, &a).bytes;
            problem.check(&empty(), &output).rejection
        };
        assert_eq!(rejection(|b, c| b + 3.0 * c), None);
        assert_eq!(rejection(|b, c| c.mul_add(3.0, b)), None);
        assert!(rejection(|b, c| b + 3.000_01 * c).is_some());
    }

    #[test]
    fn what_is_written_depends_on_index_and_seed() {
        let output = |seed: u64| {
            let problem = Stream::new(Pattern::Write, 1 << 20, seed);
            let word = problem.inputs()[0].values()[0] as i32;
            let values = (0..1 << 18).map(|i| f64::from((i ^ word) & 0x00ff_ffff));
            Tensor::new(Element::F32, &values.collect::<Vec<_>>()).bytes
        };
        let problem = Stream::new(Pattern::Write, 1 << 20, 7);
        assert_eq!(problem.check(&empty(), &output(7)).rejection, None);
        assert!(problem.check(&empty(), &output(8)).rejection.is_some());
    }

    /// 4 KiB are three arrays of 1360 bytes, 85 vectors each.
    #[test]
    fn traffic_is_every_array_once() {
        let bytes = |pattern, set| Stream::new(pattern, set, 1).work(&empty()).bytes;
        assert_eq!(bytes(Pattern::Write, 1 << 20), 1 << 20);
        assert_eq!(bytes(Pattern::Copy, 1 << 20), 1 << 20);
        assert_eq!(bytes(Pattern::Triad, 4 << 10), 3 * 1360);
    }
}
