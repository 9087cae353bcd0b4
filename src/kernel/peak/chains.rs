//! Ceiling of the vector units: chains of dependent multiply-adds in registers.
//!
//! Work is counted as two operations a multiply-add, eight where four 8-bit
//! products are added up at once. Several numbers of chains and vector widths
//! are candidates, since which one fills the pipelines differs by device; the
//! fastest is the ceiling.
//!
//! A step turns the pair (a, b) of a chain into a + m·b and then b + w·a. For
//! floats ½ ≤ m < 1 and −1 < w ≤ −½, random in every bit of the mantissa: the
//! step's matrix has determinant 1 and the trace 2 + m·w between 1 and 1.75, so
//! that it turns the pair round an ellipse. Values stay where they started in
//! magnitude, and their mantissas never come to rest. The host carries out the same
//! multiply-adds with the same roundings, and every bit has to agree. A driver may
//! round a multiply-add once or the product and the sum each (WGSL, `fma`): either
//! is right, for all of a dispatch. Starts with which a number would come so close to
//! zero that a device may flush it are drawn again. Integers wrap, and take any m
//! and w.

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
/// Pairs of the largest form.
const MOST_PAIRS: usize = 4 * 4;
/// Invocations of a workgroup.
const LANES: u32 = 256;
/// Invocations with the same start compute the same, so that few references
/// check all of them.
const STARTS: usize = 64;
/// Steps written out in the loop body: enough to make the loop's own cost small.
const UNROLL: u32 = 16;
/// Steps of each chain in one dispatch: enough to make loading the starts a trifle.
const STEPS: u32 = 3840;

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

/// Format in which registers are loaded: packed 8-bit integers are words.
fn register(operand: Element) -> Element {
    match operand {
        Element::I8 => Element::I32,
        other => other,
    }
}

fn program(build: &Build, chains: u32, width: u32) -> Result<Program, BuildError> {
    let operand = build.precision.operand();
    let arithmetic = match operand {
        Element::I32 => "mad",
        Element::I8 => "dot",
        _ => "fma",
    };
    let scalar = register(operand);
    let lanes = LANES.min(build.capabilities.max_workgroup_invocations);
    let groups = invocations(build.capabilities, operand) / lanes;
    let template = "peak_chains.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! {
            arithmetic, chains, width, lanes,
            scalar => scalar.wgsl(), starts => STARTS, unroll => UNROLL,
        },
    )?;
    let buffer = |role, element: Element, count: u64| BufferSpec {
        role,
        size: Bytes(element.buffer_size(count)),
    };
    Ok(Program {
        parameters: Parameters::from([
            ("chains".into(), chains),
            ("width".into(), width),
            ("steps".into(), STEPS),
            ("invocations".into(), groups * lanes),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![STEPS / UNROLL]),
            buffer(Role::Input(0), scalar, START_NUMBERS as u64),
            buffer(Role::Output, Element::I32, u64::from(groups * lanes)),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2],
            workgroups: [groups, 1, 1],
        }],
    })
}

/// Both multipliers and the registers of the largest form.
const START_NUMBERS: usize = 2 + 2 * STARTS * MOST_PAIRS;

/// How a multiply-add is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    /// Once, after the sum.
    Fused,
    /// The product, and then the sum.
    Twice,
}

const ROUNDINGS: [Rounding; 2] = [Rounding::Fused, Rounding::Twice];

/// The chains' problem: both multipliers, seeded starts, and where these end.
pub struct Chains {
    operand: Element,
    inputs: [Tensor; 1],
    /// What is left of every pair after all steps, for each way of rounding.
    ends: [Vec<i32>; 2],
}

impl Chains {
    /// Starts for `precision` from `seed`, and their ends.
    pub fn new(precision: Precision, seed: u64) -> Self {
        let operand = precision.operand();
        let mut rng = inputs::stream(seed, 0, 0);
        let [m, w] = [1.0, -1.0].map(|sign| sign * multiplier(operand, &mut rng));
        let mut start = vec![m, w];
        let mut ends = [Vec::new(), Vec::new()];
        while start.len() < START_NUMBERS {
            let pair = [0; 2].map(|_| register_value(operand, &mut rng));
            let [fused, twice] = ROUNDINGS.map(|rounding| chain(operand, rounding, [m, w], pair));
            if let (Some(fused), Some(twice)) = (fused, twice) {
                start.extend(pair);
                for (ends, pair) in ends.iter_mut().zip([fused, twice]) {
                    ends.push(left_of(operand, pair));
                }
            }
        }
        Self {
            operand,
            inputs: [Tensor::new(register(operand), &start)],
            ends,
        }
    }

    /// What invocations with each start write, of programs with so many pairs.
    fn references(&self, rounding: Rounding, pairs: usize) -> Vec<i32> {
        let ends = &self.ends[rounding as usize];
        let sum = |of_a_start: &[i32]| {
            of_a_start
                .iter()
                .fold(0, |sum: i32, x| sum.wrapping_add(*x))
        };
        ends.chunks_exact(pairs).take(STARTS).map(sum).collect()
    }
}

/// A multiplier: from ½ to 1, every bit of its mantissa random; any integer.
fn multiplier(operand: Element, rng: &mut impl Rng) -> f64 {
    let bits = match operand {
        Element::F16 => 10,
        Element::F32 => 23,
        Element::F64 => 52,
        Element::I8 | Element::I32 => return f64::from(rng.next_u32() as i32),
    };
    0.5 + (rng.next_u64() >> (64 - bits)) as f64 / f64::powi(2.0, bits + 1)
}

/// A starting value: ± the same at 2¹⁰ for f16, which reaches to 2¹⁶, and at 2²⁹ for
/// f64, whose whole part is taken for an integer in the end.
fn register_value(operand: Element, rng: &mut impl Rng) -> f64 {
    let magnitude = multiplier(operand, rng);
    let scale = match operand {
        Element::I8 | Element::I32 => return magnitude,
        Element::F16 => f64::powi(2.0, 10),
        Element::F64 => f64::powi(2.0, 29),
        _ => 1.0,
    };
    let sign = if rng.next_u32() & 1 == 0 { 1.0 } else { -1.0 };
    sign * scale * magnitude
}

/// A pair after all steps. `None` where a number on the way is so close to zero that
/// its product may be flushed, or so large that it may not be stored.
fn chain(operand: Element, rounding: Rounding, by: [f64; 2], pair: [f64; 2]) -> Option<[f64; 2]> {
    let ([m, w], [mut a, mut b]) = (by, pair);
    for _ in 0..STEPS {
        a = within(operand, multiply_add(operand, rounding, m, b, a))?;
        b = within(operand, multiply_add(operand, rounding, w, a, b))?;
    }
    Some([a, b])
}

fn within(operand: Element, x: f64) -> Option<f64> {
    let largest = match operand {
        Element::F64 => f64::powi(2.0, 31),
        other => other.largest(),
    };
    let smallest = 2.0 * operand.smallest_normal();
    let integer = matches!(operand, Element::I8 | Element::I32);
    let x_size = x.abs();
    (integer || x == 0.0 || (smallest..largest).contains(&x_size)).then_some(x)
}

/// x·y + z as a device computes it.
fn multiply_add(operand: Element, rounding: Rounding, x: f64, y: f64, z: f64) -> f64 {
    let fused = rounding == Rounding::Fused;
    match operand {
        Element::I8 => f64::from(dot(x as i32, y as i32).wrapping_add(z as i32)),
        Element::I32 => f64::from((x as i32).wrapping_mul(y as i32).wrapping_add(z as i32)),
        Element::F64 if fused => x.mul_add(y, z),
        Element::F64 => x * y + z,
        // Singles widened: both ways round in their own format.
        Element::F32 if fused => f64::from((x as f32).mul_add(y as f32, z as f32)),
        Element::F32 => f64::from(x as f32 * y as f32 + z as f32),
        // A product of halves has 22 bits, and the sum fits into the 53 of f64, within
        // the range that starts are chosen for: it is rounded once.
        Element::F16 if fused => Element::F16.nearest(x * y + z),
        Element::F16 => Element::F16.nearest(Element::F16.nearest(x * y) + z),
    }
}

/// What the shader leaves of a pair: all bits of both in one word.
fn left_of(operand: Element, [a, b]: [f64; 2]) -> i32 {
    let word = |x: f64| match operand {
        Element::I8 | Element::I32 => x as i32,
        // Halves are widened first.
        Element::F16 | Element::F32 => (x as f32).to_bits() as i32,
        Element::F64 => {
            let whole = x.trunc();
            (whole as i32).wrapping_add(((x - whole) * f64::powi(2.0, 30)) as i32)
        }
    };
    word(a).wrapping_sub(word(b))
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

    /// All of them are done where starts are drawn.
    fn reference_macs(&self) -> u64 {
        0
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let pairs = (program.parameter("chains") * program.parameter("width")) as usize;
        let lanes = program.parameter("invocations") as usize;
        let found = Element::I32.read(output, lanes);
        let [fused, twice] = ROUNDINGS.map(|rounding| self.references(rounding, pairs));
        let rounded_twice = found.first() == Some(&f64::from(twice[0]));
        let references = if rounded_twice { twice } else { fused };
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        for (lane, found) in found.into_iter().enumerate() {
            let expected = f64::from(references[lane % STARTS]);
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

    /// Invocations, and with them starts, that are emulated.
    const FEW: usize = 8;

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
            program.parameters.insert("invocations".into(), FEW as u32);
        }
        programs
    }

    /// What a device writes whose multiply-add is `multiply_add`, and which leaves
    /// out the last `missing` of one start's.
    fn computed(
        problem: &Chains,
        program: &Program,
        missing: u32,
        multiply_add: impl Fn(f64, f64, f64) -> f64,
    ) -> Vec<u8> {
        let start = problem.inputs[0].values();
        let pairs = (program.parameter("chains") * program.parameter("width")) as usize;
        let of_a_start = |number: usize| {
            let first = 2 + number * 2 * pairs;
            let registers = start[first..first + 2 * pairs].as_chunks().0;
            let end = |&[mut a, mut b]: &[f64; 2]| {
                let done = 2 * STEPS - if number == 5 { missing } else { 0 };
                for half in 0..done {
                    match half % 2 {
                        0 => a = multiply_add(start[0], b, a),
                        _ => b = multiply_add(start[1], a, b),
                    }
                }
                left_of(problem.operand, [a, b])
            };
            registers.iter().map(end).fold(0, i32::wrapping_add)
        };
        let words: Vec<f64> = (0..FEW).map(|s| f64::from(of_a_start(s))).collect();
        Tensor::new(Element::I32, &words).bytes
    }

    #[test]
    fn both_roundings_are_right_and_one_missing_multiply_add_is_wrong() {
        for precision in PRECISIONS {
            let problem = Chains::new(precision, 4);
            let operand = problem.operand;
            for program in programs(precision).into_iter().step_by(5) {
                let what = format!("{precision} {:?}", program.parameters);
                for rounding in ROUNDINGS {
                    let rejection = |missing| {
                        let output = computed(&problem, &program, missing, |x, y, z| {
                            multiply_add(operand, rounding, x, y, z)
                        });
                        problem.check(&program, &output).rejection
                    };
                    assert_eq!(rejection(0), None, "{what} {rounding:?}");
                    assert!(rejection(1).is_some(), "{what} {rounding:?}");
                    assert!(rejection(2 * UNROLL).is_some(), "{what} {rounding:?}");
                }
            }
        }
    }

    /// Rounds to so many bits of significand: bfloat16 has 8, half precision 11,
    /// single 24, double 53.
    fn rounded(x: f64, bits: i32) -> f64 {
        if x == 0.0 {
            return x;
        }
        let unit = f64::powi(2.0, x.abs().log2().floor() as i32 + 1 - bits);
        (x / unit).round_ties_even() * unit
    }

    /// Numbers of another format are rejected, and so is rounding that is neither.
    #[test]
    fn other_formats_and_other_roundings_are_wrong() {
        for (precision, bits) in [
            (Precision::F16, [8, 10, 12]),
            (Precision::F32, [11, 23, 25]),
            (Precision::F64, [24, 51, 52]),
        ] {
            let problem = Chains::new(precision, 5);
            let program = &programs(precision)[0];
            for bits in bits {
                let output = computed(&problem, program, 0, |x, y, z| {
                    rounded(rounded(x * y, bits) + z, bits)
                });
                let rejection = problem.check(program, &output).rejection;
                assert!(rejection.is_some(), "{precision} in {bits} bits");
            }
            // Once or twice, by turns.
            let turn = std::cell::Cell::new(0);
            let output = computed(&problem, program, 0, |x, y, z| {
                turn.set(turn.get() + 1);
                multiply_add(problem.operand, ROUNDINGS[turn.get() % 2], x, y, z)
            });
            assert!(
                problem.check(program, &output).rejection.is_some(),
                "{precision}"
            );
        }
    }

    /// Some invocations that round once and some that round twice are no one device.
    #[test]
    fn a_dispatch_rounds_in_one_way() {
        let problem = Chains::new(Precision::F32, 6);
        let program = &programs(Precision::F32)[0];
        let [fused, twice] = ROUNDINGS.map(|rounding| {
            computed(&problem, program, 0, |x, y, z| {
                multiply_add(Element::F32, rounding, x, y, z)
            })
        });
        let half = fused.len() / 2;
        let mixed = [&fused[..half], &twice[half..]].concat();
        assert!(problem.check(program, &mixed).rejection.is_some());
    }

    /// By hand, in halves, which have 11 bits: 1.5·(1 + 2⁻¹⁰) = 1.5 + 1.5·2⁻¹⁰ lies
    /// halfway between 1.5 + 2⁻¹⁰ and 1.5 + 2·2⁻¹⁰ and is rounded to the even
    /// 1.5 + 2·2⁻¹⁰. Less 1.5 that leaves 2⁻⁹, and 1.5·2⁻¹⁰ where nothing was rounded.
    #[test]
    fn a_fused_multiply_add_keeps_the_bits_of_the_product() {
        let ulp = f64::powi(2.0, -10);
        let difference = |r| multiply_add(Element::F16, r, 1.5, 1.0 + ulp, -1.5);
        assert_eq!(difference(Rounding::Fused), 1.5 * ulp);
        assert_eq!(difference(Rounding::Twice), 2.0 * ulp);
    }

    /// With (m, w) = (½, −½), (8, 0) becomes (8, −4), (6, −7), (2.5, −8.25).
    #[test]
    fn a_step_is_two_multiply_adds() {
        let [mut a, mut b] = [8.0, 0.0];
        let mut pairs = Vec::new();
        for _ in 0..3 {
            a = multiply_add(Element::F32, Rounding::Fused, 0.5, b, a);
            b = multiply_add(Element::F32, Rounding::Fused, -0.5, a, b);
            pairs.push([a, b]);
        }
        assert_eq!(pairs, [[8.0, -4.0], [6.0, -7.0], [2.5, -8.25]]);
    }

    /// A share of the multiplier's bits is set that no power of two has, and values
    /// stay in the range that their formats hold whatever the seed.
    #[test]
    fn mantissas_are_random_and_values_stay_in_range() {
        for (precision, bits) in [
            (Precision::F16, 10),
            (Precision::F32, 23),
            (Precision::F64, 52),
        ] {
            let mut set = 0;
            for seed in 0..2 {
                let start = Chains::new(precision, seed).inputs[0].values();
                assert_eq!(start.len(), START_NUMBERS);
                for value in &start[..2] {
                    assert!((0.5..1.0).contains(&value.abs()), "{value}");
                    let mantissa = value.to_bits() << 12 >> (64 - bits);
                    set += mantissa.count_ones();
                }
            }
            let share = f64::from(set) / f64::from(4 * bits);
            assert!((0.25..0.75).contains(&share), "{precision}: {share}");
        }
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
            assert_eq!(work.operations, each * FEW as u64);
        }
    }
}
