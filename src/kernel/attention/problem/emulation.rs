//! Right and wrong kernels, row by row on the CPU: what right ones use of the bound,
//! and that wrong ones are rejected on every listed shape.

use std::collections::BTreeMap;

use half::f16;

use super::super::{decode_shapes, prefill_shapes, short_shapes};
use super::*;
use crate::kernel::shape::Shape;

/// What a kernel reads for one row of the output.
struct Row {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    halves: bool,
}

impl Row {
    fn of(problem: &Attention, row: usize) -> Self {
        let s = &problem.shape;
        let (d, q_len) = (s.head_dim as usize, s.q_len as usize);
        let part = |tensor: usize, first: usize, rows: usize| {
            let values = problem.inputs()[tensor].part(first * d..(first + rows) * d);
            values.into_iter().map(|x| x as f32).collect()
        };
        let first_key = kv_head(s, row / q_len) * s.kv_len as usize;
        let visible = s.visible_keys((row % q_len) as u32) as usize;
        Self {
            q: part(0, row, 1),
            k: part(1, first_key, visible),
            v: part(2, first_key, visible),
            halves: problem.element == Element::F16,
        }
    }

    fn d(&self) -> usize {
        self.q.len()
    }

    fn keys(&self) -> usize {
        self.k.len() / self.d()
    }

    fn store(&self, sums: &[f32]) -> Vec<f64> {
        let stored = |&sum: &f32| if self.halves { half(sum) } else { sum };
        sums.iter().map(|sum| f64::from(stored(sum))).collect()
    }
}

fn half(x: f32) -> f32 {
    f16::from_f32(x).to_f32()
}

/// The product is exact in double precision.
fn fma(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}

/// What a matrix unit leaves of a sum: it cuts off instead of rounding.
fn cut(sum: f64) -> f32 {
    let rounded = sum as f32;
    if f64::from(rounded).abs() > sum.abs() {
        f32::from_bits(rounded.to_bits() - 1)
    } else {
        rounded
    }
}

/// exp, as exact as single precision is, or with any error that WGSL allows.
type Exp = fn(f32) -> f32;

fn exact_exp(x: f32) -> f32 {
    f64::from(x).exp() as f32
}

fn sloppy_exp(x: f32) -> f32 {
    if x == 0.0 {
        return 1.0;
    }
    let ulps = 3.0 + 2.0 * f64::from(x.abs());
    let hash = x.to_bits().wrapping_mul(0x9e37_79b9);
    let share = 2.0 * f64::from(hash) / f64::from(u32::MAX) - 1.0;
    (f64::from(x).exp() * (1.0 + 2.0 * U_F32 * ulps * share)) as f32
}

/// As attention_scores, attention_softmax and attention_values compute it.
fn materialised(row: &Row, exp: Exp) -> Vec<f64> {
    const LANES: usize = 128;
    let d = row.d();
    let factor = scale(d as u32);
    let score = |key: &[f32]| factor * row.q.iter().zip(key).fold(0.0, |s, (q, k)| fma(*q, *k, s));
    let scores: Vec<f32> = row.k.chunks(d).map(score).collect();
    let maximum = scores.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = scores.iter().map(|s| exp(s - maximum)).collect();
    let mut partial = [0.0; LANES];
    for (key, weight) in weights.iter().enumerate() {
        partial[key % LANES] += weight;
    }
    let inverse = 1.0 / tree(&mut partial);
    let mut sums = vec![0.0; d];
    for (weight, value) in weights.iter().zip(row.v.chunks(d)) {
        add(&mut sums, weight * inverse, value);
    }
    row.store(&sums)
}

/// Neighbours half the length apart are added until one is left.
fn tree(partial: &mut [f32]) -> f32 {
    let mut half = partial.len() / 2;
    while half > 0 {
        for lane in 0..half {
            partial[lane] += partial[lane + half];
        }
        half /= 2;
    }
    partial[0]
}

fn add(sums: &mut [f32], weight: f32, value: &[f32]) {
    for (sum, v) in sums.iter_mut().zip(value) {
        *sum = fma(weight, *v, *sum);
    }
}

/// The running maximum, sum of weights and sums of the output.
struct Running {
    maximum: f32,
    total: f32,
    sums: Vec<f32>,
}

impl Running {
    fn new(d: usize) -> Self {
        Self {
            maximum: -3.0e38,
            total: 0.0,
            sums: vec![0.0; d],
        }
    }

    /// Takes notice of new scores; what has been summed is to be multiplied by the
    /// result, and has been.
    fn rescale(&mut self, scores: &[f32], exp: Exp) {
        let highest = scores.iter().copied().fold(self.maximum, f32::max);
        let rescale = exp(self.maximum - highest);
        self.maximum = highest;
        self.total *= rescale;
        self.sums.iter_mut().for_each(|sum| *sum *= rescale);
    }

    fn output(&self) -> Vec<f32> {
        let inverse = 1.0 / self.total;
        self.sums.iter().map(|sum| sum * inverse).collect()
    }
}

/// As attention_flash and, with the terms of scores added `in_order`, as
/// attention_subgroup: `block` keys at a time.
fn flash(row: &Row, exp: Exp, block: usize, in_order: bool) -> Vec<f64> {
    let d = row.d();
    let q: Vec<f32> = row.q.iter().map(|q| q * scale(d as u32)).collect();
    let mut running = Running::new(d);
    let chains = if in_order { 1 } else { 4 };
    for (keys, values) in row.k.chunks(block * d).zip(row.v.chunks(block * d)) {
        let scores: Vec<f32> = keys.chunks(d).map(|key| dot(&q, key, chains)).collect();
        running.rescale(&scores, exp);
        let weights: Vec<f32> = scores.iter().map(|s| exp(s - running.maximum)).collect();
        running.total += weights.iter().sum::<f32>();
        for (weight, value) in weights.iter().zip(values.chunks(d)) {
            add(&mut running.sums, *weight, value);
        }
    }
    row.store(&running.output())
}

/// Σ q·k in one chain of additions, or in four.
fn dot(q: &[f32], key: &[f32], chains: usize) -> f32 {
    let mut sums = [0.0; 4];
    for (d, (q, k)) in q.iter().zip(key).enumerate() {
        sums[d % chains] = fma(*q, *k, sums[d % chains]);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// As attention_split and attention_reduce compute it in so many parts, with
/// workgroups of so many lanes.
fn split(row: &Row, exp: Exp, parts: usize, lanes: usize) -> Vec<f64> {
    let d = row.d();
    let q: Vec<f32> = row.q.iter().map(|q| q * scale(d as u32)).collect();
    let slices = lanes / (d / 4);
    let share = row.keys().div_ceil(parts) * d;
    let part = |(keys, values): (&[f32], &[f32])| {
        // Sums of all slices one behind the other.
        let mut running = Running::new(slices * d);
        let mut totals = vec![0.0; lanes];
        for (keys, values) in keys.chunks(lanes * d).zip(values.chunks(lanes * d)) {
            let scores: Vec<f32> = keys.chunks(d).map(|key| dot(&q, key, 4)).collect();
            running.total = 1.0;
            running.rescale(&scores, exp);
            totals.iter_mut().for_each(|total| *total *= running.total);
            for (j, (score, value)) in scores.iter().zip(values.chunks(d)).enumerate() {
                let weight = exp(score - running.maximum);
                totals[j] += weight;
                add(&mut running.sums[j % slices * d..][..d], weight, value);
            }
        }
        let (first, others) = running.sums.split_at_mut(d);
        for other in others.chunks(d) {
            add(first, 1.0, other);
        }
        running.sums.truncate(d);
        running.total = tree(&mut totals);
        running
    };
    let parts = row.k.chunks(share).zip(row.v.chunks(share));
    let parts: Vec<Running> = parts.map(part).collect();
    let mut all = Running::new(d);
    all.maximum = parts.iter().map(|p| p.maximum).fold(f32::MIN, f32::max);
    for part in &parts {
        let weight = exp(part.maximum - all.maximum);
        all.total = fma(part.total, weight, all.total);
        add(&mut all.sums, weight, &part.sums);
    }
    row.store(&all.output())
}

/// As attention_flash_cooperative computes it on matrix units of 16 by 16, with
/// weights in the format of the operands.
fn cooperative(row: &Row, exp: Exp, tile: usize) -> Vec<f64> {
    const EDGE: usize = 16;
    let d = row.d();
    let product = |a: &[f32], b: &[f32]| {
        let fragment = |sum: f32, (a, b): (&[f32], &[f32])| {
            let terms = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            cut(f64::from(sum) + terms.sum::<f64>())
        };
        a.chunks(EDGE).zip(b.chunks(EDGE)).fold(0.0, fragment)
    };
    let mut running = Running::new(d);
    for (keys, values) in row.k.chunks(tile * d).zip(row.v.chunks(tile * d)) {
        let score = |key: &[f32]| scale(d as u32) * product(&row.q, key);
        let scores: Vec<f32> = keys.chunks(d).map(score).collect();
        running.rescale(&scores, exp);
        let mut weights: Vec<f32> = scores.iter().map(|s| exp(s - running.maximum)).collect();
        weights.iter().for_each(|weight| running.total += weight);
        if row.halves {
            weights
                .iter_mut()
                .for_each(|weight| *weight = half(*weight));
        }
        for (e, sum) in running.sums.iter_mut().enumerate() {
            let column: Vec<f32> = values.iter().skip(e).step_by(d).copied().collect();
            *sum += product(&weights, &column);
        }
    }
    row.store(&running.output())
}

/// Every kind of kernel, by the name of its case's variant.
fn kernels(row: &Row, exp: Exp) -> Vec<(&'static str, Vec<f64>)> {
    vec![
        ("materialised", materialised(row, exp)),
        ("flash", flash(row, exp, 4, false)),
        ("flash-subgroup", flash(row, exp, 8, true)),
        (
            "split-kv",
            split(row, exp, (row.keys() / 256).clamp(1, 128), 128),
        ),
        ("split-kv in 2 parts", split(row, exp, 2, 32)),
        ("flash-cooperative", cooperative(row, exp, 32)),
    ]
}

fn problem(shape: AttentionShape, precision: Precision, seed: u64, data: &str) -> Attention {
    let data = data.parse().unwrap();
    Attention::new(shape, precision, Draw { seed, data })
}

fn decoding(kv_len: u32, head_dim: u32) -> AttentionShape {
    AttentionShape {
        batch: 1,
        heads: 2,
        kv_heads: 1,
        q_len: 1,
        kv_len,
        head_dim,
        causal: false,
    }
}

fn check(problem: &Attention, rows: &[usize], values: &[f64]) -> Verdict {
    let verdict = problem.check_rows(&super::tests::program(), rows, values);
    verdict.expect("there are rows")
}

/// Error over bound.
fn usage(verdict: &Verdict) -> f64 {
    verdict.max_scaled_error.unwrap_or(f64::INFINITY) / verdict.tolerance
}

/// Ten seeds each, three of them with a sloppy exp; the table shows the largest error
/// over its bound.
#[test]
fn right_kernels_use_a_twentieth_to_half_of_the_bound() {
    let mut table: BTreeMap<_, f64> = BTreeMap::new();
    let mut runs = 0;
    for (kv_len, head_dim) in [(64, 64), (256, 128), (1024, 64), (4096, 128), (16384, 64)] {
        for precision in [Precision::F32, Precision::F16] {
            for seed in 0..10 {
                let problem = problem(decoding(kv_len, head_dim), precision, seed, "normal");
                let row = Row::of(&problem, 0);
                let exps: [(&str, Exp); 2] = [("", exact_exp), (", sloppy exp", sloppy_exp)];
                for (how, exp) in &exps[..if seed < 3 { 2 } else { 1 }] {
                    for (name, output) in kernels(&row, *exp) {
                        let verdict = check(&problem, &[0], &output);
                        let case = format!("{precision} {name}{how}, {kv_len:5} keys");
                        assert_eq!(verdict.rejection, None, "{case}, seed {seed}");
                        let largest = table.entry(case).or_default();
                        *largest = largest.max(usage(&verdict));
                        runs += 1;
                    }
                }
            }
        }
    }
    for (case, used) in &table {
        println!("{case}: {used:.3}");
        assert!(*used <= 0.5, "{case}: {used}");
        // Many parts in single precision add up more exactly than the bound may
        // rely on.
        let least = if case.starts_with("f32 split-kv") {
            0.02
        } else {
            0.05
        };
        assert!(*used >= least, "{case}: {used}");
    }
    println!("{runs} runs");
}

/// Where many weights are equal, or inputs are ordered, errors are not random.
#[test]
fn right_kernels_pass_on_every_distribution() {
    for data in [
        "uniform",
        "sparse:0.5",
        "sparse:0.9",
        "sparse:0.99",
        "sorted",
        "zeros",
    ] {
        for (kv_len, head_dim) in [(7, 8), (100, 64), (1000, 128), (5000, 64)] {
            for precision in [Precision::F32, Precision::F16] {
                let problem = problem(decoding(kv_len, head_dim), precision, 3, data);
                let row = Row::of(&problem, 1);
                for (name, output) in kernels(&row, sloppy_exp) {
                    let verdict = check(&problem, &[1], &output);
                    let unverifiable =
                        matches!(verdict.rejection, Some(Rejection::Unverifiable { .. }));
                    assert!(
                        verdict.rejection.is_none() || data == "sorted" && unverifiable,
                        "{precision} {name} on {data}, {kv_len} keys of {head_dim}: {verdict:?}"
                    );
                }
            }
        }
    }
}

/// Inputs in double precision, for what is wrong by more than rounding.
struct Exact {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
}

impl Exact {
    fn of(row: &Row) -> Self {
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect();
        Self {
            q: wide(&row.q),
            k: wide(&row.k),
            v: wide(&row.v),
        }
    }

    /// All operands with so many significant bits, the least exponent of normal
    /// numbers being `least`.
    fn cut_to(&self, bits: i32, least: i32) -> Self {
        let cut = |values: &[f64]| {
            values
                .iter()
                .map(|v| significant(*v, bits, least))
                .collect()
        };
        Self {
            q: cut(&self.q),
            k: cut(&self.k),
            v: cut(&self.v),
        }
    }

    /// The output for scores times `factor`, from the keys that `keeps` names.
    fn output(&self, factor: f64, keeps: impl Fn(usize) -> bool) -> Vec<f64> {
        let d = self.q.len();
        let factor = factor / (d as f64).sqrt();
        let score = |key: &[f64]| factor * self.q.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
        let mut sums = vec![0.0; d];
        let mut total = 0.0;
        for (key, value) in self
            .k
            .chunks(d)
            .zip(self.v.chunks(d))
            .enumerate()
            .filter_map(|(j, kv)| keeps(j).then_some(kv))
        {
            // No score of normal values comes near where exp overflows.
            let weight = score(key).exp();
            total += weight;
            sums.iter_mut()
                .zip(value)
                .for_each(|(sum, v)| *sum += weight * v);
        }
        sums.iter().map(|sum| sum / total).collect()
    }
}

fn significant(value: f64, bits: i32, least: i32) -> f64 {
    if value.abs() < 2f64.powi(least) {
        // Whole numbers of the least unit: above this sum doubles have no others.
        let unit = 1.5 * 2f64.powi(least + 1 - bits + 52);
        return value + unit - unit;
    }
    let last = 53 - bits;
    let pattern = value.to_bits();
    let half = (1 << (last - 1)) - 1 + (pattern >> last & 1);
    f64::from_bits((pattern + half) >> last << last)
}

/// Outputs of wrong kernels for a row, by what is wrong.
fn wrong(problem: &Attention, number: usize) -> Vec<(&'static str, Vec<f64>)> {
    let row = Row::of(problem, number);
    let inputs = Exact::of(&row);
    let keys = row.keys();
    let all = |_| true;
    let right = inputs.output(1.0, all);
    let mut wrong = vec![
        ("scores ignored", inputs.output(0.0, all)),
        (
            "a quarter of the keys lost",
            inputs.output(1.0, |j| j >= keys / 4),
        ),
        (
            "one of 16 parts lost",
            inputs.output(1.0, |j| j * 16 / keys != 5),
        ),
        (
            "one of 128 parts lost",
            inputs.output(1.0, |j| j * 128 / keys != 77),
        ),
        (
            "1 % of the keys lost",
            inputs.output(1.0, |j| j % 100 != 50),
        ),
        ("the last key lost", inputs.output(1.0, |j| j + 1 != keys)),
        ("operands in bf16", inputs.cut_to(8, -126).output(1.0, all)),
        ("operands in fp8", inputs.cut_to(4, -6).output(1.0, all)),
        ("a scale 1 % wrong", inputs.output(1.01, all)),
        ("zeros", vec![0.0; right.len()]),
    ];
    if !row.halves {
        wrong.push(("operands in TF32", inputs.cut_to(11, -126).output(1.0, all)));
    }
    let mut one = right.clone();
    let largest = (0..one.len())
        .max_by(|&a, &b| one[a].abs().total_cmp(&one[b].abs()))
        .unwrap();
    one[largest] *= 0.9;
    wrong.push(("one element off by 10 %", one));
    // A row that sees one key more.
    if problem.shape.causal && !(number + 1).is_multiple_of(problem.shape.q_len as usize) {
        let next = Exact {
            q: inputs.q.clone(),
            ..Exact::of(&Row::of(problem, number + 1))
        };
        wrong.push(("the mask off by one", next.output(1.0, all)));
    }
    let other = if number == 0 { 1 } else { number - 1 };
    wrong.push((
        "the row of another query",
        Exact::of(&Row::of(problem, other)).output(1.0, all),
    ));
    let stored = |value: f64| {
        if row.halves {
            f16::from_f64(value).to_f64()
        } else {
            f64::from(value as f32)
        }
    };
    for (_, output) in &mut wrong {
        output.iter_mut().for_each(|value| *value = stored(*value));
    }
    wrong
}

/// Of each listed shape one key/value head: the others only make the bound larger,
/// by the hundredth part.
fn listed_heads() -> Vec<AttentionShape> {
    let mut shapes = Vec::new();
    for software in [true, false] {
        for list in [short_shapes, prefill_shapes, decode_shapes] {
            for shape in list(software) {
                let Shape::Attention(shape) = shape else {
                    continue;
                };
                let heads = if shape.q_len == 1 { 4 } else { 1 };
                shapes.push(AttentionShape {
                    batch: 1,
                    heads,
                    kv_heads: 1,
                    ..shape
                });
            }
        }
    }
    shapes.sort_by_key(|s| (s.q_len, s.kv_len, s.head_dim, s.causal));
    shapes.dedup();
    shapes
}

/// Rows of a listed head that are looked at.
fn some_rows(shape: &AttentionShape) -> Vec<usize> {
    match shape.q_len as usize {
        1 => (0..shape.heads as usize).collect(),
        q_len => vec![q_len / 2, q_len * 3 / 4, q_len - 3, q_len - 2],
    }
}

#[test]
fn wrong_kernels_are_rejected_on_every_listed_shape() {
    for shape in listed_heads() {
        for precision in [Precision::F32, Precision::F16] {
            let problem = problem(shape, precision, 1, "normal");
            let rows = some_rows(&shape);
            let mut outputs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for (what, output) in rows
                .par_iter()
                .flat_map_iter(|row| wrong(&problem, *row))
                .collect::<Vec<_>>()
            {
                outputs.entry(what).or_default().extend(output);
            }
            let expected = problem.reference_rows(&rows);
            for row in &expected {
                let bound = tolerance(std::slice::from_ref(row));
                assert!(bound < MOST_TOLERANCE, "{shape:?} {precision}: {bound}");
            }
            for (what, output) in outputs {
                let verdict = check(&problem, &rows, &output);
                println!(
                    "{} {precision} {what}: {:.3}",
                    Shape::Attention(shape),
                    usage(&verdict)
                );
                assert!(verdict.rejection.is_some(), "{shape:?} {precision}: {what}");
                // Of the whole shape the bound is larger by less than this.
                assert!(usage(&verdict) > 1.1, "{shape:?} {precision}: {what}");
            }
        }
    }
}

/// A problem that is checked on few rows, and what two right kernels make of it.
fn sampled(precision: Precision, causal: bool) -> (Attention, [Vec<f64>; 2]) {
    let shape = AttentionShape {
        batch: 1,
        heads: 2,
        kv_heads: 1,
        q_len: 256,
        kv_len: 256,
        head_dim: 64,
        causal,
    };
    let mut problem = problem(shape, precision, 5, "normal");
    problem.rows = vec![0, 100, 255, 256, 300, 511];
    let outputs = (0..512).into_par_iter().map(|number| {
        let row = Row::of(&problem, number);
        [
            materialised(&row, exact_exp),
            cooperative(&row, sloppy_exp, 32),
        ]
    });
    let outputs: Vec<[Vec<f64>; 2]> = outputs.collect();
    let of = |kernel: usize| outputs.iter().flat_map(|row| row[kernel].clone()).collect();
    (problem, [of(0), of(1)])
}

#[test]
fn a_witness_agrees_with_right_rows_and_with_no_wrong_one() {
    for precision in [Precision::F32, Precision::F16] {
        for causal in [false, true] {
            let (problem, [output, witness]) = sampled(precision, causal);
            let bytes = |values: &[f64]| Tensor::new(problem.element, values).bytes;
            let witness = bytes(&witness);
            let agree = |output: &[f64]| problem.agree(&bytes(output), &witness);
            assert_eq!(agree(&output), None, "{precision} causal {causal}");
            let spoilt = |spoil: &dyn Fn(&mut Vec<f64>)| {
                let mut output = output.clone();
                spoil(&mut output);
                agree(&output)
            };
            let unseen = 200;
            let stale = spoilt(&|output| output.copy_within(199 * 64..200 * 64, unseen * 64));
            assert!(stale.is_some(), "{precision} causal {causal}");
            let lost = spoilt(&|output| output[unseen * 64..][..64].fill(0.0));
            assert!(lost.is_some(), "{precision} causal {causal}");
            let row = &output[unseen * 64..][..64];
            let size = root_mean_square(row);
            let typical = row.iter().position(|v| v.abs() >= size).unwrap();
            let one = spoilt(&|output| output[unseen * 64 + typical] *= 1.1);
            assert!(one.is_some(), "{precision} causal {causal}");
            for (what, wrong) in wrong(&problem, unseen) {
                // All rows are, and so those that are checked.
                if what.starts_with("operands") {
                    continue;
                }
                let noticed = spoilt(&|output| output[unseen * 64..][..64].copy_from_slice(&wrong));
                assert!(noticed.is_some(), "{precision} causal {causal}: {what}");
            }
        }
    }
}

fn root_mean_square(row: &[f64]) -> f64 {
    (row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64).sqrt()
}
