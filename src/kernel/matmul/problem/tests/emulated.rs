//! Right and wrong kernels, emulated row by row on the processor, for shapes that
//! no software adapter computes in reasonable time.

use super::*;
use crate::kernel::matmul::shapes;
use crate::kernel::program::Pass;
use crate::kernel::shape::Shape;

/// Rounds to `bits` significant bits, to the nearest (Veltkamp's splitting;
/// Muller et al., *Handbook of Floating-Point Arithmetic*, 2nd edition, section
/// 4.4.1). Without limits on the exponent.
fn round(value: f64, bits: u32) -> f64 {
    if bits == 53 {
        return value;
    }
    let scaled = value * ((1u64 << (53 - bits)) + 1) as f64;
    scaled - (scaled - value)
}

/// Cuts off all but 24 significant bits.
fn truncate(value: f64) -> f64 {
    f64::from_bits(value.to_bits() >> 29 << 29)
}

/// How a kernel adds up products.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sum {
    /// Fused multiply-adds in the order of K.
    Fused,
    /// Products are rounded before they are added.
    Unfused,
    /// So many sums side by side, which are added up in pairs at the end.
    Split(usize),
    /// Sums of so many neighbours, each added to a total.
    Blocks(usize),
    /// So many products and the accumulator added up at once, and the rest cut off
    /// in single precision, or rounded to the nearest in half precision.
    Units(usize),
    /// So many neighbours added up in half precision, each sum added to a total.
    HalfChunks(usize),
}

/// A row of C as a kernel computes it with an accumulator of `bits` bits.
fn sum_row(sum: Sum, bits: u32, a: &[f64], b: &[f64], n: usize) -> Vec<f64> {
    let add = |to: &mut [f64], with: &[f64], bits: u32| {
        for (to, with) in to.iter_mut().zip(with) {
            *to = round(*to + with, bits);
        }
    };
    let fused = |sums: &mut [f64], p: usize, bits: u32| {
        for (sum, b) in sums.iter_mut().zip(&b[p * n..]) {
            *sum = match bits {
                53 => a[p].mul_add(*b, *sum),
                _ => round(*sum + a[p] * b, bits),
            };
        }
    };
    let k = a.len();
    let mut total = vec![0.0; n];
    match sum {
        Sum::Fused => (0..k).for_each(|p| fused(&mut total, p, bits)),
        Sum::Unfused => {
            for p in 0..k {
                for (sum, b) in total.iter_mut().zip(&b[p * n..]) {
                    *sum = round(*sum + round(a[p] * b, bits), bits);
                }
            }
        }
        Sum::Split(ways) => {
            let mut sums = vec![vec![0.0; n]; ways];
            (0..k).for_each(|p| fused(&mut sums[p % ways], p, bits));
            while sums.len() > 1 {
                let other = sums.split_off(sums.len().div_ceil(2));
                for (to, with) in sums.iter_mut().zip(&other) {
                    add(to, with, bits);
                }
            }
            total = sums.swap_remove(0);
        }
        Sum::Blocks(length) | Sum::HalfChunks(length) => {
            let inner = if sum == Sum::Blocks(length) { bits } else { 11 };
            for first in (0..k).step_by(length) {
                let mut part = vec![0.0; n];
                (first..k.min(first + length)).for_each(|p| fused(&mut part, p, inner));
                add(&mut total, &part, bits);
            }
        }
        Sum::Units(depth) => {
            for first in (0..k).step_by(depth) {
                for p in first..k.min(first + depth) {
                    for (sum, b) in total.iter_mut().zip(&b[p * n..]) {
                        *sum += a[p] * b;
                    }
                }
                for sum in &mut total {
                    *sum = if bits == 24 {
                        truncate(*sum)
                    } else {
                        round(*sum, bits)
                    };
                }
            }
        }
    }
    total
}

/// A kernel: what it makes of its operands and how it adds up.
#[derive(Clone, Copy, Debug)]
struct Emulated {
    /// Significant bits that are left of every operand.
    operands: u32,
    sum: Sum,
}

const FUSED: Emulated = honest(Sum::Fused);

const fn honest(sum: Sum) -> Emulated {
    Emulated { operands: 53, sum }
}

impl Emulated {
    /// What the kernel writes into some rows of C.
    fn compute(self, problem: &Matmul, operands: &Operands) -> Vec<f64> {
        let (_, n, k) = problem.dims();
        let rounded = |values: &[f64]| -> Vec<f64> {
            values.iter().map(|v| round(*v, self.operands)).collect()
        };
        let (a, b) = (rounded(&operands.a), rounded(&operands.b));
        let bits = match problem.precision.accumulator() {
            Element::F16 => 11,
            Element::F32 => 24,
            _ => 53,
        };
        let row = |a| sum_row(self.sum, bits, a, &b, n);
        a.par_chunks(k).flat_map_iter(row).collect()
    }

    /// A program that the check takes for one of this kind.
    fn program(self) -> Program {
        let mut program = program();
        if let Sum::Units(_) = self.sum {
            program.passes.push(Pass {
                template: "",
                wgsl: "coopMultiplyAdd(a, b, c)".into(),
                bindings: vec![],
                workgroups: [1; 3],
            });
        }
        program
    }
}

/// Some rows of a product, and what is known of them.
struct Stage {
    problem: Matmul,
    operands: Operands,
    reference: Reference,
}

impl Stage {
    fn new(problem: Matmul, rows: Vec<usize>) -> Self {
        let operands = problem.operands(0, rows);
        let reference = problem.reference_of(0, &operands);
        Self {
            problem,
            operands,
            reference,
        }
    }

    /// With the first and the last row, which are known in full in any case, and rows
    /// between them of which random vectors see most; all rows of small products.
    fn of_some_rows(shape: GemmShape, precision: Precision, seed: u64) -> Self {
        let m = shape.m as usize;
        let between = (0..6).map(|row| m / 2 + row);
        let rows = match shape.macs() <= 1 << 24 {
            true => (0..m).collect(),
            false => [0].into_iter().chain(between).chain([m - 1]).collect(),
        };
        Self::new(posed(shape, precision, seed), rows)
    }

    fn compute(&self, kernel: Emulated) -> Vec<f64> {
        kernel.compute(&self.problem, &self.operands)
    }

    /// Largest error over its bound, and whether the rows pass, of a kernel of the
    /// given kind.
    fn judge(&self, kernel: Emulated, values: &[f64]) -> (f64, bool) {
        let bound = self.problem.bound(&kernel.program());
        let tracker = self.problem.compare(0, &self.reference, values, &bound);
        let element = self.problem.precision.accumulator();
        let verdict = tracker.verdict(&Tensor::new(element, values).bytes);
        let error = verdict.max_scaled_error.unwrap_or(f64::INFINITY);
        (error / bound.element, verdict.rejection.is_none())
    }
}

fn posed(shape: GemmShape, precision: Precision, seed: u64) -> Matmul {
    Matmul::new(shape, precision, Draw::normal(seed))
}

/// Listed shapes, and longer sums.
fn every_shape() -> Vec<GemmShape> {
    let listed = [shapes(true), shapes(false)].concat();
    let listed = listed.into_iter().filter_map(|listed| match listed {
        Shape::Gemm(shape) => Some(shape),
        _ => None,
    });
    let mut every: Vec<GemmShape> = listed.collect();
    every.extend(
        [
            (4096, 4096, 8192),
            (4096, 4096, 16384),
            (512, 512, 16384),
            (1024, 1024, 16384),
            (512, 512, 32768),
        ]
        .map(|(m, n, k)| shape(m, n, k)),
    );
    every.sort_by_key(|s| (s.k, s.m));
    every.dedup();
    every
}

fn short_shapes() -> Vec<GemmShape> {
    [(256, 256, 256), (1000, 777, 333), (512, 512, 16384)]
        .map(|(m, n, k)| shape(m, n, k))
        .to_vec()
}

/// Kernels that are right, in the ways in which sums are formed in practice.
fn right_kernels(precision: Precision) -> Vec<Sum> {
    let mut sums = vec![
        Sum::Fused,
        Sum::Split(4),
        Sum::Split(32),
        Sum::Blocks(16),
        Sum::Blocks(64),
    ];
    // In double precision that is the reference itself.
    if precision != Precision::F64 {
        sums.push(Sum::Unfused);
    }
    match precision {
        Precision::F16F32acc => sums.extend([4, 8, 16].map(Sum::Units)),
        Precision::F16 => sums.extend([4, 16].map(Sum::Units)),
        _ => {}
    }
    sums
}

/// The precisions that round.
const ROUNDED: [Precision; 4] = [
    Precision::F64,
    Precision::F32,
    Precision::F16F32acc,
    Precision::F16,
];

/// Part of its bound that a right kernel may use: below it the bound would overlook
/// much, above it reject what is right before long.
const USED: std::ops::RangeInclusive<f64> = 0.05..=0.5;

/// Prints how much of the bound right kernels use, and wants it within limits.
fn assert_uses(shapes: &[GemmShape], precisions: &[Precision], seeds: std::ops::Range<u64>) {
    let mut odd = Vec::new();
    for &precision in precisions {
        for &shape in shapes {
            let mut used = vec![Vec::new(); right_kernels(precision).len()];
            for seed in seeds.clone() {
                let stage = Stage::of_some_rows(shape, precision, seed);
                for (&sum, used) in right_kernels(precision).iter().zip(&mut used) {
                    let kernel = honest(sum);
                    used.push(stage.judge(kernel, &stage.compute(kernel)).0);
                }
            }
            let name = Shape::Gemm(shape).to_string();
            for (sum, mut used) in right_kernels(precision).into_iter().zip(used) {
                used.sort_by(f64::total_cmp);
                let (least, most) = (used[0], used[used.len() - 1]);
                let sum = format!("{sum:?}");
                let line = format!(
                    "{precision:<12} {name:<16} {sum:<12} {least:.3} to {most:.3} of the bound"
                );
                println!("{line}");
                if !(USED.contains(&least) && USED.contains(&most)) {
                    odd.push(line);
                }
            }
        }
    }
    assert!(odd.is_empty(), "{odd:#?}");
}

#[test]
fn right_kernels_use_a_part_of_the_bound() {
    assert_uses(&short_shapes()[..2], &ROUNDED, 0..2);
}

/// Double precision only on short sums: its multiply-adds are slow to emulate.
#[test]
#[ignore = "takes minutes: ten seeds of every shape"]
fn right_kernels_use_a_part_of_the_bound_on_every_shape() {
    assert_uses(&short_shapes()[..2], &[Precision::F64], 0..10);
    let (half, single) = (Precision::F16, [Precision::F32, Precision::F16F32acc]);
    assert_uses(&every_shape(), &single, 0..10);
    let verifiable: Vec<_> = every_shape().into_iter().filter(|s| s.k <= 8192).collect();
    assert_uses(&verifiable, &[half], 0..10);
}

/// Kernels that are wrong in every element.
fn wrong_kernels(precision: Precision) -> Vec<Emulated> {
    let rounded = |bits| Emulated {
        operands: bits,
        sum: Sum::Fused,
    };
    let chunks = [4, 16, 64].map(|length| honest(Sum::HalfChunks(length)));
    match precision {
        Precision::F32 => [11, 8, 4].map(rounded).into_iter().chain(chunks).collect(),
        Precision::F16F32acc => [8, 4].map(rounded).into_iter().chain(chunks).collect(),
        Precision::F16 => [8, 4].map(rounded).into(),
        _ => vec![rounded(4)],
    }
}

/// A way to spoil some rows of C, given their length.
type Mutation = (&'static str, fn(&mut [f64], usize));

const MUTATIONS: [Mutation; 6] = [
    ("zeros", |c, _| c.fill(0.0)),
    ("one row stale", |c, n| {
        let (row, other) = c[n..].split_at_mut(n);
        row.swap_with_slice(&mut other[..n]);
    }),
    ("two columns swapped", |c, n| {
        c[n..].chunks_mut(n).for_each(|row| row.swap(37, 54));
    }),
    ("one element 10 % up", |c, n| c[3 * n + n / 3] *= 1.1),
    ("one element 10 % down", |c, n| c[3 * n + n / 3] *= 0.9),
    ("one write lost", |c, n| c[3 * n + n / 3] = 0.0),
];

/// Prints how far beyond the bound wrong kernels are and returns those that pass.
fn survivors(shapes: &[GemmShape], precisions: &[Precision]) -> Vec<String> {
    let mut survivors = Vec::new();
    for &precision in precisions {
        for &shape in shapes {
            let stage = Stage::of_some_rows(shape, precision, 1);
            let mut judge = |name: String, (used, passes): (f64, bool)| {
                let shape = Shape::Gemm(shape).to_string();
                let line =
                    format!("{precision:<12} {shape:<16} {name:<36} {used:.3} times the bound");
                println!("{line}");
                if passes {
                    survivors.push(line);
                }
            };
            for wrong in wrong_kernels(precision) {
                let name = match wrong.sum {
                    Sum::HalfChunks(length) => format!("f16 sums of {length}"),
                    _ => format!("operands of {} bits", wrong.operands),
                };
                let values = stage.compute(wrong);
                if precision == Precision::F16F32acc {
                    let bound = honest(Sum::Units(16));
                    judge(
                        format!("{name}, on matrix units"),
                        stage.judge(bound, &values),
                    );
                }
                judge(name, stage.judge(wrong, &values));
            }
            let right = stage.compute(FUSED);
            for (name, mutate) in MUTATIONS {
                let mut values = right.clone();
                mutate(&mut values, shape.n as usize);
                judge(name.into(), stage.judge(FUSED, &values));
            }
        }
    }
    survivors
}

#[test]
fn wrong_kernels_are_rejected() {
    let mut left = survivors(&short_shapes(), &[Precision::F32]);
    left.extend(survivors(&short_shapes()[..2], &[Precision::F16F32acc]));
    let half = survivors(&short_shapes()[..2], &[Precision::F16]).into_iter();
    left.extend(half.filter(|line| line.contains("operands")));
    assert!(left.is_empty(), "{left:#?}");
}

/// Units that add up 4 products at a time lose as much of 32768 as half-precision sums
/// of 4 terms do. Half-precision sums of 16384 terms err by so much that they cannot
/// be verified, and sums of a thousand by more than a tenth of most elements.
#[test]
#[ignore = "takes minutes: every shape"]
fn wrong_kernels_are_rejected_on_every_shape() {
    let mut left = survivors(&every_shape(), &[Precision::F32, Precision::F16F32acc]);
    left.retain(|line| !(line.contains("x32768 ") && line.contains("f16 sums of 4, on matrix")));
    let verifiable: Vec<_> = every_shape().into_iter().filter(|s| s.k <= 8192).collect();
    let half = survivors(&verifiable, &[Precision::F16]).into_iter();
    left.extend(
        half.filter(|line| !line.contains(" one element ") && !line.contains(" one write ")),
    );
    assert!(left.is_empty(), "{left:#?}");
}

/// The sum of 8192 terms in half precision may err by more than operands of four
/// bits make of any one element, but not of all of them.
#[test]
fn operands_of_four_bits_show_on_average_in_half_precision() {
    let stage = Stage::of_some_rows(shape(512, 512, 8192), Precision::F16, 1);
    let wrong = Emulated {
        operands: 4,
        sum: Sum::Fused,
    };
    let values = stage.compute(wrong);
    let bound = stage.problem.bound(&program());
    let tracker = stage.problem.compare(0, &stage.reference, &values, &bound);
    let rejection = tracker
        .verdict(&Tensor::new(Element::F16, &values).bytes)
        .rejection;
    let Some(rejection @ Rejection::WrongAverage { .. }) = rejection else {
        panic!("{rejection:?}");
    };
    assert!(
        rejection.to_string().contains("wrong result in row "),
        "{rejection}"
    );
}

/// One in a hundred elements may exceed the bound for 10⁻⁷ outputs, since that for
/// one may be exceeded once in 10⁹. Chernoff's bound is not reached so far out: the
/// tail itself, 2/π·t^−½·exp(−π·t) at x = 0, is a fortieth of it.
#[test]
fn errors_are_as_likely_as_the_bound_has_it() {
    let stage = Stage::new(
        posed(shape(128, 256, 2048), Precision::F32, 4),
        (0..128).collect(),
    );
    let Known::Full(known) = &stage.reference.known else {
        panic!("too large");
    };
    let bound = tolerance::centred_accumulation(tolerance::U_F32, 1e-7);
    let values = stage.compute(FUSED);
    let exceeds =
        |(c, known): &(&f64, &[f64; 2])| (*c - known[0]).abs() > bound * stage.problem.scale(known);
    let count = values.iter().zip(known).filter(exceeds).count();
    let share = count as f64 / values.len() as f64;
    println!("{share} of {} beyond the bound", values.len());
    let squares = values
        .iter()
        .zip(known)
        .map(|(c, known)| ((c - known[0]) / stage.problem.scale(known)).powi(2));
    let average = (squares.sum::<f64>() / values.len() as f64).sqrt() / tolerance::U_F32;
    println!("{average} on average");
    assert!((average - 0.36).abs() < 0.02, "{average}");
    assert!((0.0001..0.01).contains(&share), "{share}");
}

/// Small products of every kind, each with a seed of its own.
#[test]
fn right_kernels_are_never_rejected() {
    let mut runs = 0;
    for (seed, k) in [1, 2, 3, 5, 8, 13, 32, 100, 257, 1000]
        .into_iter()
        .cycle()
        .take(30)
        .enumerate()
    {
        for precision in ROUNDED {
            for sum in right_kernels(precision) {
                for data in ["normal", "uniform", "sparse:0.5"] {
                    let data = data.parse().unwrap();
                    let draw = Draw {
                        seed: seed as u64,
                        data,
                    };
                    let problem = Matmul::new(shape(13, 40, k), precision, draw);
                    let stage = Stage::new(problem, (0..13).collect());
                    let kernel = honest(sum);
                    let (share, passes) = stage.judge(kernel, &stage.compute(kernel));
                    assert!(
                        passes,
                        "{precision} K = {k} {sum:?} {data} seed {seed}: {share}"
                    );
                    runs += 1;
                }
            }
        }
    }
    println!("{runs} right kernels, none rejected");
}

/// A device may take operands that are not normal for zero. In half precision
/// there are some among a thousand, and single precision would show it.
#[test]
fn operands_that_are_not_normal_may_be_flushed() {
    let mut flushing = posed(shape(1000, 777, 333), Precision::F16F32acc, 3);
    let problem = posed(shape(1000, 777, 333), Precision::F16F32acc, 3);
    let least = Element::F16.smallest_normal();
    let inputs = problem.inputs().iter().map(|tensor| {
        let values = tensor.values();
        let flush = |v: &f64| if v.abs() < least { 0.0 } else { *v };
        Tensor::new(Element::F16, &values.iter().map(flush).collect::<Vec<_>>())
    });
    let inputs: Vec<Tensor> = inputs.collect();
    flushing.inputs = OnceLock::from(<[Tensor; 2]>::try_from(inputs).unwrap());
    let all: Vec<usize> = (0..1000).collect();
    let values = FUSED.compute(&flushing, &flushing.operands(0, all.clone()));
    assert!(Stage::new(problem, all).judge(FUSED, &values).1);
}

/// Rows on their own are judged as in the whole output.
#[test]
fn rows_are_checked_as_in_the_whole_output() {
    let of = |m, n, k, batch| {
        posed(
            GemmShape {
                batch,
                ..shape(m, n, k)
            },
            Precision::F32,
            3,
        )
    };
    for (problem, first) in [(of(20, 33, 64, 3), 19), (of(260, 2048, 8192, 1), 100)] {
        let (m, n, _) = problem.dims();
        let all: Vec<usize> = (0..m * problem.shape.batch as usize).collect();
        let values: Vec<f64> = all
            .chunk_by(|a, b| a / m == b / m)
            .enumerate()
            .flat_map(|(batch, rows)| {
                let rows = rows.iter().map(|row| row % m).collect();
                FUSED.compute(&problem, &problem.operands(batch, rows))
            })
            .collect();
        let whole = problem.check(&program(), &Tensor::new(Element::F32, &values).bytes);
        assert_eq!(whole.rejection, None);
        assert_eq!(
            problem.check_rows(&program(), &all, &values),
            Some(whole.clone())
        );
        let mut wrong = values.clone();
        wrong[(first + 1) * n + 7] += 3.0;
        let whole = problem.check(&program(), &Tensor::new(Element::F32, &wrong).bytes);
        let rows = [first, first + 1];
        let part = problem.check_rows(&program(), &rows, &wrong[first * n..][..2 * n]);
        assert_eq!(part, Some(whole));
        let others = problem.check_rows(&program(), &[first], &values[first * n..][..n]);
        assert_eq!(others.unwrap().rejection, None);
        assert_eq!(problem.check_rows(&program(), &[], &[]), None);
    }
}

/// The two columns of a block that are hardest to tell apart: signs are equal in
/// both vectors, and weights as close as they come.
#[test]
fn columns_of_like_weights_cannot_be_swapped_within_a_tile() {
    let problem = posed(shape(512, 512, 32768), Precision::F32, 5);
    let stage = Stage::new(problem, (200..216).collect());
    let values = stage.compute(FUSED);
    let Known::Sampled(sampled) = &stage.reference.known else {
        panic!("the whole product is computed");
    };
    let [x, y] = &sampled.freivalds.weights;
    let alike = |&(i, j): &(usize, usize)| (x[i] - x[j]).abs() == 1.0 && (y[i] - y[j]).abs() == 1.0;
    let pairs = (0..512).flat_map(|i| (i + 1..i / 32 * 32 + 32).map(move |j| (i, j)));
    let alike: Vec<_> = pairs.filter(alike).collect();
    assert!(alike.len() > 10);
    for (i, j) in alike {
        let mut swapped = values.clone();
        swapped.chunks_mut(512).for_each(|row| row.swap(i, j));
        assert!(!stage.judge(FUSED, &swapped).1, "columns {i} and {j}");
    }
}

/// Root mean square of what units of each depth cut off, over the sum of
/// magnitudes and the unit roundoff: the deepest units are those for which the
/// factor is derived, others lose less.
#[test]
fn units_that_cut_off_lose_what_is_derived() {
    for k in [1024, 8192] {
        let problem = posed(shape(64, 64, k as u32), Precision::F16F32acc, 2);
        let stage = Stage::new(problem, (0..64).collect());
        let Known::Full(known) = &stage.reference.known else {
            panic!("too large");
        };
        let lost = |depth| {
            let values = stage.compute(honest(Sum::Units(depth)));
            let errors = values.iter().zip(known);
            let squares = errors.map(|(c, [value, scale])| ((c - value) / scale).powi(2));
            (squares.sum::<f64>() / known.len() as f64).sqrt() / tolerance::U_F32
        };
        let derived = tolerance::truncation(k as f64);
        println!("K = {k}: {} {} {} of {derived}", lost(4), lost(8), lost(16));
        let average = {
            let values = stage.compute(honest(Sum::Units(4)));
            let errors = values.iter().zip(known);
            let squares =
                errors.map(|(c, known)| ((c - known[0]) / stage.problem.scale(known)).powi(2));
            (squares.sum::<f64>() / known.len() as f64).sqrt() / tolerance::U_F32
        };
        println!("{} on average", average / derived);
        assert!((average / derived - 0.72).abs() < 0.02);
        assert!((lost(4) / derived - 1.0).abs() < 0.1);
        assert!((lost(8) / derived - 0.5).abs() < 0.1);
    }
}

/// 4096³: 4096 steps of K, in each of which 2 vectors add up 4096 columns of B and
/// multiply 4096 rows by 128 blocks, 8 rows see 4096 columns and 8 columns as many
/// rows: 2·(4096 + 524288) + 8·8192 = 1122304, times 4096.
#[test]
fn the_cost_of_a_sampled_reference_is_known() {
    let problem = posed(shape(4096, 4096, 4096), Precision::F32, 1);
    assert_eq!(problem.reference_macs(), 1_122_304 * 4096);
}

/// The bound is half of S/√K, S being Σ|a·b|, where 9.3·2⁻¹¹·√K is a half: between
/// 8192 terms, a listed shape, and 16384.
#[test]
fn long_sums_in_half_precision_cannot_be_verified() {
    for (k, verifiable) in [(8192, true), (16384, false)] {
        let problem = posed(shape(8192, 8192, k), Precision::F16, 1);
        let bound = problem.bound(&program());
        let why = problem.unverifiable(bound.element);
        assert_eq!(why.is_none(), verifiable, "{why:?}");
    }
}
