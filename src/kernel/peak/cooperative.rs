//! Ceiling of the matrix units: chains of dependent products of cooperative
//! matrices, C += A·B, in registers.
//!
//! Work is counted as 2·s³ operations a product of s×s matrices. A step adds A·B
//! and then A·B′ to C, where B + B′ is zero but for its first row. With signs
//! throughout A and there, n steps change every element of C by ±n: a step that
//! is left out shows, and all numbers are whole ones that the formats hold.

use minijinja::context;
use rand_core::Rng;

use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs;
use crate::kernel::problem::{Checked, Problem, Verdict, Work, WorkUnit};
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::{Build, BuildError, Candidates, Parameters};
use crate::units::Bytes;

/// Steps of each chain in one dispatch. Half precision, which is exact up to
/// 2048, allows no more.
const STEPS: u32 = 960;
/// Chains of a subgroup that are tried.
const CHAINS: [u32; 4] = [1, 2, 4, 8];
const MOST_CHAINS: usize = 8;
/// Largest side of a matrix.
const MOST_SIDE: usize = 16;
/// Workgroups of a dispatch, one subgroup of the most lanes each: enough to fill
/// the largest device.
const WORKGROUPS: u32 = 1 << 12;
/// Steps written out in the loop body.
const UNROLL: u32 = 4;

/// Candidates of the ceiling of a precision's cooperative matrices.
pub fn cooperative(build: &Build) -> Candidates {
    let (ab, cr) = (build.precision.operand(), build.precision.accumulator());
    let (sides, lanes) = build.capabilities.need_cooperative(ab, cr)?;
    let forms = sides
        .iter()
        .flat_map(|side| CHAINS.map(|chains| (*side, chains)));
    forms
        .map(|(side, chains)| program(build, side, chains, lanes))
        .collect()
}

fn program(
    build: &Build,
    side: u32,
    chains: u32,
    [fewest, lanes]: [u32; 2],
) -> Result<Program, BuildError> {
    let (operand, acc) = (build.precision.operand(), build.precision.accumulator());
    let tasks = lanes / fewest.max(1);
    let template = "peak_cooperative.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! {
            side, chains, lanes, tasks, unroll => UNROLL,
            operand => operand.wgsl(), acc => acc.wgsl(),
        },
    )?;
    let buffer = |role, element: Element, matrices: u32| BufferSpec {
        role,
        size: Bytes(element.buffer_size(u64::from(matrices) * u64::from(side * side))),
    };
    let number = if side as usize == MOST_SIDE { 2 } else { 0 };
    Ok(Program {
        parameters: Parameters::from([
            ("side".into(), side),
            ("chains".into(), chains),
            ("steps".into(), STEPS),
            ("subgroups".into(), WORKGROUPS * tasks),
        ]),
        buffers: vec![
            BufferSpec::uniform(vec![STEPS / UNROLL]),
            buffer(Role::Input(number), operand, 3),
            buffer(Role::Input(number + 1), acc, MOST_CHAINS as u32),
            buffer(Role::Output, acc, WORKGROUPS * tasks * chains),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2, 3],
            workgroups: [WORKGROUPS, 1, 1],
        }],
    })
}

/// The chains' problem: matrices of whole numbers for both sides.
pub struct Cooperative {
    accumulator: Element,
    /// A, B and B′, then C of every chain; for matrices of 8×8, then of 16×16.
    inputs: [Tensor; 4],
}

impl Cooperative {
    /// Matrices for `precision` from `seed`.
    pub fn new(precision: Precision, seed: u64) -> Self {
        let (operand, accumulator) = (precision.operand(), precision.accumulator());
        let [[operands8, start8], [operands16, start16]] = [8, MOST_SIDE].map(|side| {
            let mut rng = inputs::stream(seed, side as u64, 0);
            let operands = operands(&mut rng, side, largest_operand(operand));
            let largest = f64::from(largest_start(accumulator));
            let start: Vec<f64> = (0..MOST_CHAINS * side * side)
                .map(|_| (f64::from(rng.next_u32()) / 4_294_967_296.0 * largest).floor())
                .collect();
            [
                Tensor::new(operand, &operands),
                Tensor::new(accumulator, &start),
            ]
        });
        Self {
            accumulator,
            inputs: [operands8, start8, operands16, start16],
        }
    }

    /// C of every chain after all steps: C + n·A·(B + B′).
    fn reference(&self, side: usize) -> Vec<f64> {
        let number = if side == MOST_SIDE { 2 } else { 0 };
        let area = side * side;
        let operands = self.inputs[number].values();
        let (a, b) = operands.split_at(area);
        let start = self.inputs[number + 1].values();
        let element = |(index, start): (usize, f64)| {
            let (row, col) = (index % area / side, index % side);
            let sum = |k: usize| b[k * side + col] + b[area + k * side + col];
            let product: f64 = (0..side).map(|k| a[row * side + k] * sum(k)).sum();
            start + f64::from(STEPS) * product
        };
        start.into_iter().enumerate().map(element).collect()
    }
}

/// A of random signs, B and B′ with B + B′ of random signs in the first row and
/// zero elsewhere. The first row of B holds odd numbers between half and all of
/// `largest`: rounded to fewer bits they no longer cancel.
fn operands(rng: &mut impl Rng, side: usize, largest: u32) -> Vec<f64> {
    let area = side * side;
    let mut sign = || if rng.next_u32() & 1 == 0 { 1.0 } else { -1.0 };
    let mut values: Vec<f64> = (0..2 * area).map(|_| sign()).collect();
    let sums: Vec<f64> = (0..side).map(|_| sign()).collect();
    for b in &mut values[area..area + side] {
        let odd = (rng.next_u32() % (largest / 2)) | 1;
        *b *= f64::from(largest / 2 + odd);
    }
    for index in 0..area {
        let sum = sums.get(index).copied().unwrap_or(0.0);
        values.push(sum - values[area + index]);
    }
    values
}

/// Above what operands stay: a power of two with a bit more than the next
/// smaller format has, and with which C stays exact.
fn largest_operand(operand: Element) -> u32 {
    match operand {
        Element::F16 => 1 << 9,
        _ => 1 << 22,
    }
}

/// Above what C starts.
fn largest_start(accumulator: Element) -> u32 {
    match accumulator {
        Element::F16 => 1 << 6,
        _ => 1 << 20,
    }
}

impl Problem for Cooperative {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn work(&self, program: &Program) -> Work {
        let parameter = |name| u64::from(program.parameter(name));
        let products = 2 * parameter("steps") * parameter("chains") * parameter("subgroups");
        Work {
            operations: 2 * parameter("side").pow(3) * products,
            unit: WorkUnit::Flop,
            bytes: 0,
        }
    }

    fn reference_macs(&self) -> u64 {
        (MOST_CHAINS * MOST_SIDE.pow(3)) as u64
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let side = program.parameter("side") as usize;
        let mut expected = self.reference(side);
        expected.truncate(program.parameter("chains") as usize * side * side);
        let count = expected.len() * program.parameter("subgroups") as usize;
        let found = self.accumulator.read(output, count);
        let mut tracker = Verdict::tracker(Checked::Full, 0.0);
        for (subgroup, found) in found.chunks(expected.len()).enumerate() {
            for (index, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
                tracker.compare(found, expected, expected.abs(), || {
                    let (chain, at) = (index / (side * side), index % (side * side));
                    let (row, col) = (at / side, at % side);
                    format!("subgroup {subgroup}, chain {chain}, row {row}, column {col}")
                });
            }
        }
        tracker.verdict(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::F16, Precision::F16F32acc];

    fn program(side: u32) -> Program {
        let parameters = [("side", side), ("chains", 2), ("steps", STEPS)];
        let parameters = parameters.into_iter().chain([("subgroups", 3)]);
        Program {
            parameters: parameters.map(|(n, v)| (n.to_owned(), v)).collect(),
            buffers: Vec::new(),
            passes: Vec::new(),
        }
    }

    /// Runs the chains of a program product by product, operands and results
    /// rounded, the last `missing` products left out.
    fn emulate(
        problem: &Cooperative,
        program: &Program,
        missing: u32,
        operand: fn(f64) -> f64,
        result: fn(f64) -> f64,
    ) -> Vec<u8> {
        let side = program.parameter("side") as usize;
        let number = if side == MOST_SIDE { 2 } else { 0 };
        let area = side * side;
        let operands = problem.inputs[number].values();
        let operands: Vec<f64> = operands.into_iter().map(operand).collect();
        let product = |which: usize, row: usize, col: usize| -> f64 {
            (0..side)
                .map(|k| operands[row * side + k] * operands[which * area + k * side + col])
                .sum()
        };
        let mut c = problem.inputs[number + 1].values();
        c.truncate(2 * area);
        for (index, c) in c.iter_mut().enumerate() {
            let (row, col) = (index % area / side, index % side);
            let products = [product(1, row, col), product(2, row, col)];
            for step in 0..2 * STEPS - missing {
                *c = result(*c + products[step as usize % 2]);
            }
        }
        Tensor::new(problem.accumulator, &c.repeat(3)).bytes
    }

    fn half(x: f64) -> f64 {
        f16::from_f64(x).to_f64()
    }

    fn single(x: f64) -> f64 {
        f64::from(x as f32)
    }

    #[test]
    fn whole_numbers_stay_exact_and_one_missing_product_shows() {
        for precision in PRECISIONS {
            let problem = Cooperative::new(precision, 3);
            let round = match problem.accumulator {
                Element::F16 => half,
                _ => single,
            };
            for side in [8, 16] {
                let program = program(side);
                let rejection = |missing| {
                    let output = emulate(&problem, &program, missing, |x| x, round);
                    problem.check(&program, &output).rejection
                };
                assert_eq!(rejection(0), None, "{precision} {side}");
                for missing in [1, 2, 2 * UNROLL] {
                    assert!(rejection(missing).is_some(), "{precision} {side} {missing}");
                }
            }
        }
    }

    /// Half precision for single, in C and in the operands; bfloat16, which has 8
    /// bits of significand, for half.
    #[test]
    fn smaller_formats_are_rejected() {
        let bfloat = |x: f64| f64::from(half::bf16::from_f64(x));
        let rejected = |precision, operand: fn(f64) -> f64, result: fn(f64) -> f64| {
            let problem = Cooperative::new(precision, 3);
            let output = emulate(&problem, &program(16), 0, operand, result);
            problem.check(&program(16), &output).rejection.is_some()
        };
        assert!(rejected(Precision::F16F32acc, |x| x, half));
        assert!(rejected(Precision::F32, |x| x, half));
        let tf32 = |x: f64| half(x / 8192.0) * 8192.0;
        assert!(rejected(Precision::F32, tf32, single));
        assert!(rejected(Precision::F16, bfloat, half));
    }

    /// 2·16³ operations a product, two products a step: 8192·2·960 a chain.
    #[test]
    fn work_counts_every_product() {
        let work = Cooperative::new(Precision::F16, 0).work(&program(16));
        assert_eq!(work.operations, 15_728_640 * 2 * 3);
    }
}
