//! The problem that attention poses, and the check of an output.
//!
//! Work is counted as 4·B·H·Sq·Sk·D, halved for causal masks with Sq = Sk; the
//! softmax is not counted. Compulsory traffic is Q, K, V and the output once.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs::{self, Data, Draw};
use crate::kernel::problem::{
    Checked, Export, Part, Problem, Rejection, Tracker, Verdict, Work, WorkUnit, exceeds,
};
use crate::kernel::program::Program;
use crate::kernel::shape::{AttentionShape, Shape};
use crate::kernel::tolerance::{self, U_F32};
use crate::units::Bytes;

use super::parts;
use super::reference::{self, Errors, Expected};

/// Up to this many multiply-adds every row is computed in float64.
const FULL_MACS: u64 = 1 << 31;
/// Up to this many elements of the output the reference is kept in memory.
const FULL_ELEMENTS: u64 = 1 << 25;
/// Rows checked beyond that, besides the first and last of the first and last
/// head.
const RANDOM_ROWS: usize = 60;
/// Largest buffer of a part for a witness, as far as shapes can be divided: what every
/// adapter lets a shader bind.
const PART: Bytes = Bytes(128 << 20);
/// The largest bound, relative to the output, with which an output counts as
/// verified: a wrong one must stand out.
const MOST_TOLERANCE: f64 = 0.05;

/// 1/√head_dim, as the kernels receive it.
pub fn scale(head_dim: u32) -> f32 {
    (1.0 / f64::from(head_dim).sqrt()) as f32
}

/// Attention.
pub struct Attention {
    shape: AttentionShape,
    /// Format of Q, K, V and the output.
    element: Element,
    draw: Draw,
    /// The same on normal inputs, unless those are the problem's own.
    normal: Option<Box<Attention>>,
    /// Drawn on first use: a case that is skipped never needs them.
    inputs: OnceLock<[Tensor; 3]>,
    /// Rows of the output (batch · heads + head) · q_len + i that are checked.
    rows: Vec<usize>,
    /// Of each checked row, every element.
    reference: OnceLock<Vec<Vec<Expected>>>,
}

impl Attention {
    /// The problem of `shape` in `precision` with the inputs that `draw` gives.
    pub fn new(shape: AttentionShape, precision: Precision, draw: Draw) -> Self {
        let normal = || Box::new(Self::new(shape, precision, Draw::normal(draw.seed)));
        Self {
            shape,
            element: precision.operand(),
            draw,
            normal: (draw.data != Data::Normal).then(normal),
            inputs: OnceLock::new(),
            rows: checked_rows(&shape, draw.seed),
            reference: OnceLock::new(),
        }
    }

    /// Elements of Q, K and V.
    fn input_elements(&self) -> [u64; 3] {
        let s = &self.shape;
        let count = |heads: u32, length: u32| {
            [s.batch, heads, length, s.head_dim]
                .iter()
                .fold(1, |product, &dim| product * u64::from(dim))
        };
        let keys = count(s.kv_heads, s.kv_len);
        [count(s.heads, s.q_len), keys, keys]
    }

    fn all_rows(&self) -> usize {
        (self.shape.batch * self.shape.heads) as usize * self.shape.q_len as usize
    }

    fn checked(&self) -> Checked {
        if self.rows.len() == self.all_rows() {
            Checked::Full
        } else {
            Checked::Sampled
        }
    }

    /// Roundings on the way to an element: D for a score, Sk each for the two
    /// sums over keys, and at most as many again for rescaling the running sums.
    fn errors(&self) -> Errors {
        if self.draw.data.is_zero() {
            return Errors::None;
        }
        let roundings = f64::from(self.shape.head_dim) + 3.0 * f64::from(self.shape.kv_len);
        if !self.draw.data.is_independent() {
            let accumulation = tolerance::worst_accumulation(roundings, U_F32, 0.0);
            return Errors::Worst { accumulation };
        }
        let outputs = self.all_rows() as f64 * f64::from(self.shape.head_dim);
        Errors::Independent {
            lambda: tolerance::lambda(roundings, outputs),
            equal_weights: matches!(self.draw.data, Data::Sparse(_)),
        }
    }

    /// Why no output can be verified; `None` where one can.
    fn unverifiable(&self, tolerance: f64) -> Option<String> {
        exceeds(tolerance, MOST_TOLERANCE).then(|| {
            format!(
                "on {} inputs rounding over {} keys can move the output by more than {:.0} % of its size",
                self.draw.data,
                self.shape.kv_len,
                100.0 * MOST_TOLERANCE
            )
        })
    }

    fn found(&self, output: &[u8]) -> Vec<f64> {
        let count = self.all_rows() * self.shape.head_dim as usize;
        self.element.read(output, count)
    }

    fn reference(&self) -> &[Vec<Expected>] {
        self.reference
            .get_or_init(|| self.reference_rows(&self.rows))
    }

    /// The rows of these numbers, of which neighbours with the same keys share what
    /// is made of those.
    fn reference_rows(&self, rows: &[usize]) -> Vec<Vec<Expected>> {
        let s = &self.shape;
        let (d, q_len) = (s.head_dim as usize, s.q_len as usize);
        let head = |row: &usize| kv_head(s, row / q_len);
        let of_one_head: Vec<&[usize]> = rows.chunk_by(|a, b| head(a) == head(b)).collect();
        let [q, k, v] = [0, 1, 2].map(|i| &self.inputs()[i]);
        let factor = f64::from(scale(s.head_dim));
        let errors = self.errors();
        let reference = |rows: &&[usize]| {
            let keys = s.kv_len as usize * d;
            let first = head(&rows[0]) * keys;
            let [k, v] = [k, v].map(|tensor| tensor.part(first..first + keys));
            let row = |&row: &usize| {
                let visible = s.visible_keys((row % q_len) as u32) as usize;
                let query = q.part(row * d..(row + 1) * d);
                let [k, v] = [&k, &v].map(|all| &all[..visible * d]);
                reference::row(&query, k, v, factor, self.element, errors)
            };
            rows.par_iter().map(row).collect::<Vec<_>>()
        };
        of_one_head.par_iter().flat_map(reference).collect()
    }

    /// Compares the rows of these numbers, whose elements `found` gives by their place
    /// among `rows`, with what is expected there. Errors are scaled so that the
    /// tolerance is the bound relative to the output, both as root mean squares.
    fn compare<'a>(
        &self,
        rows: &[usize],
        expected: &[Vec<Expected>],
        found: impl Fn(usize) -> &'a [f64] + Sync,
        checked: Checked,
    ) -> Result<Tracker, Verdict> {
        let tolerance = tolerance(expected);
        if let Some(why) = self.unverifiable(tolerance) {
            return Err(Verdict::unverifiable(tolerance, why));
        }
        let tracker = Verdict::tracker(checked, tolerance);
        let compared = |(at, expected): (usize, &Vec<Expected>)| {
            let mut tracker = tracker.clone();
            for (element, (expected, &found)) in expected.iter().zip(found(at)).enumerate() {
                let scale = expected.bound / tolerance.max(f64::MIN_POSITIVE);
                tracker.compare(found, expected.value, scale, || {
                    self.place(rows[at], element)
                });
            }
            tracker
        };
        let compared = expected.par_iter().enumerate().map(compared);
        Ok(compared.reduce_with(Tracker::merge).unwrap_or(tracker))
    }

    /// The largest magnitude in a row, whose `values` another kernel has computed: to
    /// it the bounds on rows without a reference refer. Where few elements make a row
    /// they may all be small by chance: the average of independent values with
    /// equal weights is no smaller than their standard deviation `value` by the root
    /// of their number.
    fn largest(&self, row: usize, values: impl Iterator<Item = f64>, value: f64) -> f64 {
        let query = row % self.shape.q_len as usize;
        match self.shape.visible_keys(query as u32) {
            0 => 0.0,
            visible => values
                .map(f64::abs)
                .fold(value / f64::from(visible).sqrt(), f64::max),
        }
    }

    /// A part with its inputs.
    fn part(&self, part: &parts::Part) -> Part {
        let (whole, s) = (&self.shape, &part.shape);
        let vectors = |length: u32| length as usize * s.head_dim as usize;
        let first_query = vectors(part.head * whole.q_len + part.query);
        let first_key = kv_head(whole, part.head as usize) * vectors(whole.kv_len);
        let queries = s.heads as usize * vectors(s.q_len);
        let keys = s.kv_heads as usize * vectors(s.kv_len);
        let [q, k, v] = [0, 1, 2].map(|i| &self.inputs()[i]);
        Part {
            shape: Shape::Attention(*s),
            inputs: vec![
                q.cut(first_query..first_query + queries),
                k.cut(first_key..first_key + keys),
                v.cut(first_key..first_key + keys),
            ],
            output: Bytes(queries as u64 * self.element.size()),
        }
    }

    fn place(&self, row: usize, element: usize) -> String {
        let q_len = self.shape.q_len as usize;
        let heads = self.shape.heads as usize;
        let (head, i) = (row / q_len, row % q_len);
        format!(
            "batch {}, head {}, query {i}, element {element}",
            head / heads,
            head % heads
        )
    }
}

impl Problem for Attention {
    fn inputs(&self) -> &[Tensor] {
        self.inputs.get_or_init(|| {
            let [q, k, v] = self.input_elements();
            let tensor = |number, count| self.draw.tensor(number, count as usize, self.element);
            [tensor(0, q), tensor(1, k), tensor(2, v)]
        })
    }

    fn work(&self, _program: &Program) -> Work {
        let all = 2 * self.shape.macs();
        let halved = self.shape.causal && self.shape.q_len == self.shape.kv_len;
        let [q, k, v] = self.input_elements();
        Work {
            operations: if halved { all / 2 } else { all },
            unit: WorkUnit::Flop,
            bytes: self.element.size() * (2 * q + k + v),
        }
    }

    fn reference_macs(&self) -> u64 {
        let keys = u64::from(self.shape.kv_len) * u64::from(self.shape.head_dim);
        let own = 5 * self.rows.len() as u64 * keys;
        own + self.normal.as_ref().map_or(0, |p| p.reference_macs())
    }

    fn on_normal_inputs(&self) -> Option<&dyn Problem> {
        self.normal.as_deref().map(|problem| problem as _)
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        let d = self.shape.head_dim as usize;
        let found = self.found(output);
        let row = |at: usize| &found[self.rows[at] * d..][..d];
        match self.compare(&self.rows, self.reference(), row, self.checked()) {
            Ok(tracker) => tracker.verdict(output),
            Err(unverifiable) => unverifiable,
        }
    }

    fn check_rows(&self, _program: &Program, rows: &[usize], values: &[f64]) -> Option<Verdict> {
        let d = self.shape.head_dim as usize;
        let found = |at: usize| &values[at * d..][..d];
        let expected = self.reference_rows(rows);
        let verdict = match self.compare(rows, &expected, found, Checked::Sampled) {
            Ok(tracker) => tracker.verdict(&Tensor::new(Element::F64, values).bytes),
            Err(unverifiable) => unverifiable,
        };
        (!rows.is_empty()).then_some(verdict)
    }

    fn wants_witness(&self) -> bool {
        self.checked() == Checked::Sampled
    }

    fn parts(&self) -> Box<dyn Iterator<Item = Part> + '_> {
        let parts = parts::parts(&self.shape, PART.0);
        Box::new(parts.into_iter().map(|part| self.part(&part)))
    }

    /// Two correct outputs differ by at most twice the bound. Rows without a
    /// reference have it from the checked ones, where it is compared with the largest
    /// element of a row.
    fn agree(&self, output: &[u8], witness: &[u8]) -> Option<Rejection> {
        let d = self.shape.head_dim as usize;
        let value = self.inputs()[2].root_mean_square();
        let relative = |(&row, expected): (&usize, &Vec<Expected>)| {
            let largest = self.largest(row, expected.iter().map(|e| e.value), value);
            let bound = expected.iter().map(|e| e.bound).fold(0.0, f64::max);
            if bound > 0.0 { bound / largest } else { 0.0 }
        };
        let checked = self.rows.iter().zip(self.reference());
        let relative = checked.map(relative).fold(0.0, f64::max);
        let [found, expected] = [output, witness].map(|bytes| self.found(bytes));
        let rows = found.chunks(d).zip(expected.chunks(d)).enumerate();
        let differing = |(row, (found, expected)): (usize, (&[f64], &[f64]))| {
            let bound = 2.0 * relative * self.largest(row, expected.iter().copied(), value);
            let mut pairs = found.iter().zip(expected);
            let element =
                pairs.position(|(found, expected)| exceeds((found - expected).abs(), bound))?;
            Some(Rejection::WrongElement {
                place: self.place(row, element),
                found: found[element],
                expected: expected[element],
            })
        };
        rows.into_iter().find_map(differing)
    }

    fn export(&self) -> Option<Export> {
        let s = &self.shape;
        let queries = vec![s.batch, s.heads, s.q_len, s.head_dim];
        let keys = vec![s.batch, s.kv_heads, s.kv_len, s.head_dim];
        let reference = (self.checked() == Checked::Full).then(|| {
            let values: Vec<f64> = self.reference().iter().flatten().map(|o| o.value).collect();
            Tensor::new(Element::F64, &values)
        });
        Some(Export {
            inputs: vec![("q", queries.clone()), ("k", keys.clone()), ("v", keys)],
            output: queries,
            element: self.element,
            reference,
        })
    }
}

/// The bound relative to the output, both as root mean squares.
fn tolerance(expected: &[Vec<Expected>]) -> f64 {
    let [bound, value] = [|e: &Expected| e.bound, |e: &Expected| e.value].map(|part| {
        expected
            .iter()
            .flatten()
            .map(|e| part(e).powi(2))
            .sum::<f64>()
    });
    if bound > 0.0 {
        (bound / value).sqrt()
    } else {
        0.0
    }
}

/// The key/value head, over all batches, that query head `head` reads.
fn kv_head(shape: &AttentionShape, head: usize) -> usize {
    let (heads, kv_heads) = (shape.heads as usize, shape.kv_heads as usize);
    head / heads * kv_heads + head % heads / (heads / kv_heads)
}

fn checked_rows(shape: &AttentionShape, seed: u64) -> Vec<usize> {
    let q_len = shape.q_len as usize;
    let all = (shape.batch * shape.heads) as usize * q_len;
    if shape.macs() <= FULL_MACS && all as u64 * u64::from(shape.head_dim) <= FULL_ELEMENTS {
        return (0..all).collect();
    }
    let mut rng = inputs::stream(seed, 100, 0);
    let mut rows = vec![0, q_len - 1, all - q_len, all - 1];
    rows.extend((0..RANDOM_ROWS).map(|_| inputs::index(&mut rng, all)));
    rows.sort_unstable();
    rows.dedup();
    rows
}

#[cfg(test)]
mod emulation;

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(q_len: u32, kv_len: u32, causal: bool) -> AttentionShape {
        AttentionShape {
            batch: 2,
            heads: 4,
            kv_heads: 2,
            q_len,
            kv_len,
            head_dim: 8,
            causal,
        }
    }

    fn attention(shape: AttentionShape, seed: u64) -> Attention {
        Attention::new(shape, Precision::F32, Draw::normal(seed))
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        let values: Vec<f64> = values.iter().copied().map(f64::from).collect();
        Tensor::new(Element::F32, &values).bytes
    }

    pub fn program() -> Program {
        Program {
            parameters: Default::default(),
            buffers: Vec::new(),
            passes: Vec::new(),
        }
    }

    /// Plain float32 attention, written without the reference's helpers.
    fn attention_f32(p: &Attention) -> Vec<f32> {
        let s = &p.shape;
        let [q, k, v] = [0, 1, 2].map(|i| {
            let values = p.inputs()[i].values();
            values.into_iter().map(|x| x as f32).collect::<Vec<_>>()
        });
        let d = s.head_dim as usize;
        let mut out = Vec::new();
        for b in 0..s.batch as usize {
            for h in 0..s.heads as usize {
                let group = (s.heads / s.kv_heads) as usize;
                let kv = (b * s.kv_heads as usize + h / group) * s.kv_len as usize;
                for i in 0..s.q_len as usize {
                    let row = ((b * s.heads as usize + h) * s.q_len as usize + i) * d;
                    let visible = s.visible_keys(i as u32) as usize;
                    let scores: Vec<f32> = (kv..kv + visible)
                        .map(|j| {
                            (0..d).map(|e| q[row + e] * k[j * d + e]).sum::<f32>()
                                / (d as f32).sqrt()
                        })
                        .collect();
                    let max = scores.iter().copied().fold(f32::MIN, f32::max);
                    let p: Vec<f32> = scores.iter().map(|s| (s - max).exp()).collect();
                    let total: f32 = p.iter().sum();
                    out.extend((0..d).map(|e| {
                        let sum: f32 = p
                            .iter()
                            .enumerate()
                            .map(|(j, p)| p * v[(kv + j) * d + e])
                            .sum();
                        if visible == 0 { 0.0 } else { sum / total }
                    }));
                }
            }
        }
        out
    }

    #[test]
    fn a_plain_single_precision_attention_passes() {
        for (q, k, causal) in [(5, 5, false), (5, 5, true), (3, 9, true), (9, 4, true)] {
            let problem = attention(shape(q, k, causal), 11);
            let output = bytes(&attention_f32(&problem));
            let verdict = problem.check(&program(), &output);
            assert_eq!(verdict.rejection, None, "q {q} k {k} causal {causal}");
            assert_eq!(verdict.checked, Checked::Full);
        }
    }

    fn on(data: &str, shape: AttentionShape) -> Attention {
        let data = data.parse().unwrap();
        Attention::new(shape, Precision::F32, Draw { seed: 11, data })
    }

    #[test]
    fn correct_attention_passes_on_every_distribution() {
        for data in ["uniform", "zeros", "sparse:0.9", "sorted"] {
            for causal in [false, true] {
                let problem = on(data, shape(37, 37, causal));
                let output = attention_f32(&problem);
                let verdict = problem.check(&program(), &bytes(&output));
                assert_eq!(verdict.rejection, None, "{data} causal {causal}");
                assert!(problem.on_normal_inputs().is_some());

                let poison = vec![f32::NAN; output.len()];
                let rejection = problem.check(&program(), &bytes(&poison)).rejection;
                assert!(matches!(rejection, Some(Rejection::NotComputed { .. })));
                let zeros = problem.check(&program(), &bytes(&vec![0.0; output.len()]));
                assert_eq!(zeros.rejection.is_none(), data == "zeros", "{data}");
            }
        }
    }

    /// Equal weights of values that are zero: nothing else is right, not even in
    /// the last place, and nothing is divided by zero.
    #[test]
    fn attention_on_zeros_is_exact() {
        let problem = on("zeros", shape(5, 5, false));
        let mut output = attention_f32(&problem);
        let verdict = problem.check(&program(), &bytes(&output));
        assert_eq!(
            (verdict.max_scaled_error, verdict.tolerance),
            (Some(0.0), 0.0)
        );
        assert_eq!(problem.agree(&bytes(&output), &bytes(&output)), None);
        output[3] = f32::MIN_POSITIVE;
        assert!(
            problem
                .check(&program(), &bytes(&output))
                .rejection
                .is_some()
        );
        let right = bytes(&attention_f32(&problem));
        assert!(problem.agree(&bytes(&output), &right).is_some());
    }

    /// One query, two keys, head_dim 1, by hand: q = 1, k = (ln 3, 0), v = (4, 8):
    /// weights (3, 1)/4, output 0.75·4 + 0.25·8 = 5.
    #[test]
    fn reference_matches_a_hand_calculation() {
        let problem = attention(
            AttentionShape {
                batch: 1,
                heads: 1,
                kv_heads: 1,
                q_len: 1,
                kv_len: 2,
                head_dim: 1,
                causal: false,
            },
            0,
        );
        let inputs = [&[1.0][..], &[3f64.ln(), 0.0], &[4.0, 8.0]];
        let inputs = inputs.map(|values| Tensor::new(Element::F32, values));
        problem.inputs.set(inputs).unwrap();
        assert!((problem.reference()[0][0].value - 5.0).abs() < 1e-6);
    }

    #[test]
    fn a_missing_mask_a_lost_key_and_an_unwritten_row_are_rejected() {
        let masked = attention(shape(6, 6, true), 3);
        let unmasked = attention(shape(6, 6, false), 3);
        let output = bytes(&attention_f32(&unmasked));
        assert!(masked.check(&program(), &output).rejection.is_some());

        let mut output = attention_f32(&masked);
        let last = output.len() - 1;
        output[last] = f32::NAN;
        let rejection = masked.check(&program(), &bytes(&output)).rejection;
        assert!(
            rejection
                .unwrap()
                .to_string()
                .contains("batch 1, head 3, query 5, element 7")
        );
    }

    #[test]
    fn large_problems_are_sampled_at_the_borders_and_want_a_witness() {
        let large = AttentionShape {
            head_dim: 64,
            ..shape(2048, 2048, false)
        };
        let rows = checked_rows(&large, 1);
        let all = 2 * 4 * 2048;
        assert!(rows.len() <= RANDOM_ROWS + 4);
        for border in [0, 2047, all - 2048, all - 1] {
            assert!(rows.contains(&border));
        }
        // Little to compute, and more to keep than memory may hold.
        assert!(checked_rows(&shape(1 << 22, 1, false), 1).len() <= RANDOM_ROWS + 4);
    }

    /// Whatever the limit, parts are the same computation.
    #[test]
    fn references_of_parts_are_those_of_the_whole() {
        for (q, k, causal) in [(7, 9, false), (7, 9, true), (9, 7, true)] {
            let whole = attention(shape(q, k, causal), 5);
            for limit in [100, 300, 600, 2000, 1 << 20] {
                let mut rows = Vec::new();
                for part in parts::parts(&whole.shape, limit) {
                    let Part { inputs, output, .. } = whole.part(&part);
                    let problem = attention(part.shape, 5);
                    assert_eq!(output.0, 32 * problem.all_rows() as u64);
                    let inputs = <[_; 3]>::try_from(inputs).unwrap();
                    problem.inputs.set(inputs).unwrap();
                    rows.extend(problem.reference().iter().map(|row| values(row)));
                }
                let reference = whole.reference().iter().map(|row| values(row));
                assert_eq!(rows, reference.collect::<Vec<_>>(), "{limit}");
            }
        }
    }

    fn values(row: &[Expected]) -> Vec<f64> {
        row.iter().map(|e| e.value).collect()
    }

    #[test]
    fn a_witness_that_differs_in_one_unchecked_element_is_noticed() {
        let problem = attention(shape(4, 4, false), 2);
        let good = bytes(&attention_f32(&problem));
        assert_eq!(problem.agree(&good, &good), None);
        let mut wrong = attention_f32(&problem);
        wrong[17] += 0.1;
        let rejection = problem.agree(&bytes(&wrong), &good);
        assert!(
            rejection
                .unwrap()
                .to_string()
                .contains("query 2, element 1")
        );
    }
}
