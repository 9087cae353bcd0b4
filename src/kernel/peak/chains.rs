//! Ceiling of the vector units: chains of dependent multiply-adds in registers.
//!
//! Work is counted as two operations a multiply-add, eight where four 8-bit
//! products are added up at once. Several numbers of chains and vector widths
//! are candidates, since which one fills the pipelines differs by device; the
//! fastest is the ceiling.
//!
//! A step turns the pair (a, b) of a chain into a + m·b and then b + w·a. For
//! floats m = 2 and w = −2: the step is −I + N with N² = 0, so that after n steps
//! the pair is ±(a − 2n·(a + b), b + 2n·(a + b)). With a + b = ±1 it grows by 2 a
//! step, never comes back to a value that it has had, and stays within the whole
//! numbers that the format holds. Integers wrap, and take any m and w.

use minijinja::context;
use rand_core::Rng;

use crate::kernel::capabilities::Capabilities;
use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs;
use crate::kernel::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::{Build, BuildError, Candidates, Parameters};
use crate::units::Bytes;

/// (chains, vector width) that are tried. Chains hide the latency of a
/// multiply-add, vectors suit compilers that do not merge scalars and units that
/// compute two halves at once.
const FORMS: &[(u32, u32)] = &[
    (4, 1),
    (6, 1),
    (8, 1),
    (12, 1),
    (16, 1),
    (4, 2),
    (8, 2),
    (1, 4),
    (2, 4),
    (3, 4),
    (4, 4),
];
/// Registers of the largest form.
const MOST_REGISTERS: usize = 2 * 4 * 4;
/// Invocations of a workgroup.
const LANES: u32 = 256;
/// Invocations with the same start compute the same, so that few references
/// check all of them.
const STARTS: usize = 64;
/// Steps written out in the loop body: enough to make the loop's own cost small.
const UNROLL: u32 = 16;

/// Steps of each chain in one dispatch: enough to make loading the starts a
/// trifle, but for half precision, which is exact up to 2048 and allows no more.
fn steps(operand: Element) -> u32 {
    match operand {
        Element::F16 => 960,
        _ => 3840,
    }
}

/// Candidates of the ceiling of a precision's multiply-add.
pub fn chains(build: &Build) -> Candidates {
    // Words of four integers have no vectors that are multiplied at once.
    let packed = build.precision.operand() == Element::I8;
    FORMS
        .iter()
        .filter(|(_, width)| !packed || *width == 1)
        .map(|&(chains, width)| program(build, chains, width))
        .collect()
}

/// Invocations of a dispatch: enough to fill the largest device several times
/// over, or a handful of CPU cores for some milliseconds. Most GPUs compute
/// double precision at a small part of the usual rate.
fn invocations(capabilities: &Capabilities, operand: Element) -> u32 {
    match operand {
        _ if capabilities.software => 1 << 13,
        Element::F64 => 1 << 17,
        _ => 1 << 19,
    }
}

fn program(build: &Build, chains: u32, width: u32) -> Result<Program, BuildError> {
    let operand = build.precision.operand();
    let (arithmetic, scalar) = match operand {
        Element::I32 => ("mad", "i32"),
        Element::I8 => ("dot", "i32"),
        float => ("fma", float.wgsl()),
    };
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = invocations(build.capabilities, operand) / lanes;
    let template = "peak_chains.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! { arithmetic, scalar, chains, width, lanes, starts => STARTS, unroll => UNROLL },
    )?;
    let words = |role, count: u32| BufferSpec {
        role,
        size: Bytes(Element::I32.buffer_size(u64::from(count))),
    };
    Ok(Program {
        parameters: Parameters::from([
            ("chains".into(), chains),
            ("width".into(), width),
            ("steps".into(), steps(operand)),
            ("invocations".into(), groups * lanes),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![steps(operand) / UNROLL]),
            words(Role::Input(0), START_WORDS as u32),
            words(Role::Output, groups * lanes),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2],
            workgroups: [groups, 1, 1],
        }],
    })
}

/// Both multipliers and room for every register of the largest form.
const START_WORDS: usize = 2 + STARTS * MOST_REGISTERS;

/// The chains' problem: both multipliers and seeded starting values.
pub struct Chains {
    operand: Element,
    inputs: [Tensor; 1],
    start: Vec<i32>,
}

impl Chains {
    /// Starting values for `precision` from `seed`.
    pub fn new(precision: Precision, seed: u64) -> Self {
        let operand = precision.operand();
        let mut rng = inputs::stream(seed, 0, 0);
        let start: Vec<i32> = match largest_start(operand) {
            None => (0..START_WORDS).map(|_| rng.next_u32() as i32).collect(),
            Some(largest) => {
                let mut start = vec![2, -2];
                while start.len() < START_WORDS {
                    let a = (rng.next_u32() % (2 * largest + 1)) as i32 - largest as i32;
                    let sum = if rng.next_u32() & 1 == 0 { 1 } else { -1 };
                    start.extend([a, sum - a]);
                }
                start
            }
        };
        let words: Vec<f64> = start.iter().copied().map(f64::from).collect();
        Self {
            operand,
            inputs: [Tensor::new(Element::I32, &words)],
            start,
        }
    }

    /// Sum of a − b over the pairs of one start after all steps.
    fn reference(&self, start: usize, pairs: usize) -> i32 {
        let first = 2 + start * 2 * pairs;
        let registers = self.start[first..first + 2 * pairs].as_chunks().0;
        registers.iter().fold(0, |sum: i32, &pair| {
            let [a, b] = self.chain(pair);
            sum.wrapping_add(a).wrapping_sub(b)
        })
    }

    fn chain(&self, [mut a, mut b]: [i32; 2]) -> [i32; 2] {
        let (m, w) = (self.start[0], self.start[1]);
        for _ in 0..steps(self.operand) {
            a = self.multiply_add(m, b, a);
            b = self.multiply_add(w, a, b);
        }
        [a, b]
    }

    /// What floats hold exactly is the same in wrapping integers.
    fn multiply_add(&self, x: i32, y: i32, z: i32) -> i32 {
        if self.operand == Element::I8 {
            dot(x, y).wrapping_add(z)
        } else {
            x.wrapping_mul(y).wrapping_add(z)
        }
    }
}

/// Largest starting value in magnitude with which all steps stay within the
/// whole numbers that a float format holds, and, for f64, within what the result
/// is stored in. All but f16's take more bits than the next smaller format has.
fn largest_start(operand: Element) -> Option<u32> {
    match operand {
        Element::F16 => Some(64),
        Element::F32 => Some(1 << 23),
        Element::F64 => Some(1 << 30),
        Element::I8 | Element::I32 => None,
    }
}

/// Σ xᵢ·yᵢ over the four signed bytes of two words.
fn dot(x: i32, y: i32) -> i32 {
    let bytes = x.to_le_bytes().into_iter().zip(y.to_le_bytes());
    bytes
        .map(|(x, y)| i32::from(x as i8) * i32::from(y as i8))
        .sum()
}

impl Problem for Chains {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, program: &Program) -> Work {
        let parameter = |name| u64::from(program.parameter(name));
        let pairs = parameter("chains") * parameter("width") * parameter("invocations");
        let (each, unit) = match self.operand {
            Element::I8 => (8, WorkUnit::Op),
            Element::I32 => (2, WorkUnit::Op),
            _ => (2, WorkUnit::Flop),
        };
        Work {
            operations: each * 2 * parameter("steps") * pairs,
            unit,
            // What little memory is touched is not the point and is no traffic to speak of.
            bytes: 0,
        }
    }

    fn reference_macs(&self) -> u64 {
        2 * START_WORDS as u64 * u64::from(steps(self.operand)) * FORMS.len() as u64
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let pairs = program.parameter("chains") * program.parameter("width");
        let references: Vec<f64> = (0..STARTS)
            .map(|start| f64::from(self.reference(start, pairs as usize)))
            .collect();
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        let lanes = program.parameter("invocations") as usize;
        let found = Element::I32.read(output, lanes);
        for (lane, found) in found.into_iter().enumerate() {
            let expected = references[lane % STARTS];
            tracker.compare(found, expected, expected.abs(), || {
                format!("invocation {lane}")
            });
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::capabilities::Features;
    use crate::kernel::shape::Shape;
    use crate::kernel::template::Templates;

    const PRECISIONS: [Precision; 5] = [
        Precision::F16,
        Precision::F32,
        Precision::F64,
        Precision::I32,
        Precision::I8I32acc,
    ];

    fn programs(precision: Precision) -> Vec<Program> {
        let capabilities = Capabilities {
            software: true,
            features: Features {
                f16: true,
                f64: true,
                ..Features::default()
            },
            ..Capabilities::generous()
        };
        let build = Build {
            shape: Shape::Device,
            precision,
            capabilities: &capabilities,
            templates: Templates::builtin(),
        };
        let mut programs = chains(&build).unwrap();
        for program in &mut programs {
            let lanes = STARTS as u32;
            program.parameters.insert("invocations".into(), lanes);
        }
        programs
    }

    /// Runs the chains, rounding to `bits` of significand after every product and
    /// every sum, `missing` multiply-adds short at the end.
    fn emulate(problem: &Chains, program: &Program, bits: i32, missing: u32) -> Vec<u8> {
        let round = |x: f64| {
            if x == 0.0 {
                return x;
            }
            let unit = f64::powi(2.0, x.abs().log2().floor() as i32 + 1 - bits);
            (x / unit).round_ties_even() * unit
        };
        let float = largest_start(problem.operand).is_some();
        let multiply_add = |x: f64, y: f64, z: f64| {
            if float {
                round(round(x * y) + z)
            } else {
                f64::from(problem.multiply_add(x as i32, y as i32, z as i32))
            }
        };
        let pairs = (program.parameter("chains") * program.parameter("width")) as usize;
        let start: Vec<f64> = problem
            .start
            .iter()
            .map(|&x| {
                if float {
                    round(f64::from(x))
                } else {
                    f64::from(x)
                }
            })
            .collect();
        let lanes = (0..program.parameter("invocations") as usize).map(|lane| {
            let first = 2 + lane % STARTS * 2 * pairs;
            let registers = start[first..first + 2 * pairs].as_chunks().0;
            let sum = registers.iter().fold(0i32, |sum, &[mut a, mut b]| {
                let steps = program.parameter("steps");
                for step in 0..steps {
                    let left = 2 * (steps - step);
                    if left > missing {
                        a = multiply_add(start[0], b, a);
                    }
                    if left - 1 > missing {
                        b = multiply_add(start[1], a, b);
                    }
                }
                sum.wrapping_add(a as i32).wrapping_sub(b as i32)
            });
            f64::from(sum)
        });
        Tensor::new(Element::I32, &lanes.collect::<Vec<_>>()).bytes
    }

    fn significand(operand: Element) -> i32 {
        match operand {
            Element::F16 => 11,
            Element::F32 => 24,
            _ => 53,
        }
    }

    #[test]
    fn every_form_is_checked_and_one_missing_multiply_add_shows() {
        for precision in PRECISIONS {
            let problem = Chains::new(precision, 4);
            let bits = significand(problem.operand);
            for program in programs(precision) {
                let rejection = |missing| {
                    let output = emulate(&problem, &program, bits, missing);
                    problem.check(&program, &output).rejection
                };
                let what = format!("{precision} {:?}", program.parameters);
                assert_eq!(rejection(0), None, "{what}");
                for missing in [1, 2 * UNROLL] {
                    assert!(rejection(missing).is_some(), "{what}: {missing} missing");
                }
            }
        }
    }

    /// bfloat16 has 8 bits of significand, half precision 11, single 24.
    #[test]
    fn the_next_smaller_format_is_rejected() {
        for (precision, bits) in [
            (Precision::F16, 8),
            (Precision::F32, 11),
            (Precision::F64, 24),
        ] {
            let problem = Chains::new(precision, 5);
            let program = &programs(precision)[0];
            let output = emulate(&problem, program, bits, 0);
            let rejection = problem.check(program, &output).rejection;
            assert!(rejection.is_some(), "{precision} in {bits} bits");
        }
    }

    /// By the formula at the top, with n = 960: (5, −4) becomes (5 − 1920, −4 +
    /// 1920).
    #[test]
    fn chains_end_where_the_formula_says() {
        let problem = Chains::new(Precision::F16, 1);
        assert_eq!(problem.chain([5, -4]), [-1915, 1916]);
    }

    /// (−1)·2 + 127·(−128) + 0·9 + 3·4 = −16246.
    #[test]
    fn bytes_are_signed() {
        let words = [[-1, 127, 0, 3], [2, -128, 9, 4]];
        let [x, y] = words.map(|w: [i8; 4]| i32::from_le_bytes(w.map(|b| b as u8)));
        assert_eq!(dot(x, y), -16246);
    }

    /// Two multiply-adds a step, chain and element: 2·2·3840·12 FLOP an invocation
    /// of 12 chains; 8·2·3840·12 OP of packed products.
    #[test]
    fn work_counts_every_multiply_add() {
        for (precision, each) in [(Precision::F64, 184_320), (Precision::I8I32acc, 737_280)] {
            let mut programs = programs(precision).into_iter();
            let program = programs.find(|p| p.parameter("chains") == 12).unwrap();
            let work = Chains::new(precision, 0).work(&program);
            assert_eq!(work.operations, each * STARTS as u64);
        }
    }
}
