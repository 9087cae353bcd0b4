//! The float64 reference of attention and the check of an output.
//!
//! Work is counted as 4·B·H·Sq·Sk·D, halved for causal masks with Sq = Sk; the
//! softmax is not counted. Compulsory traffic is Q, K, V and the output once.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs::{self, Data, Draw};
use crate::kernel::problem::{
    Checked, Export, Problem, Rejection, Tracker, Verdict, Work, WorkUnit, exceeds,
};
use crate::kernel::program::Program;
use crate::kernel::shape::AttentionShape;
use crate::kernel::tolerance::{self, U_F32};

/// Up to this many multiply-adds every row is computed in float64.
const FULL_MACS: u64 = 1 << 31;
/// Up to this many elements of the output the reference is kept in memory.
const FULL_ELEMENTS: u64 = 1 << 25;
/// Rows checked beyond that, besides the first and last of the first and last
/// head.
const RANDOM_ROWS: usize = 60;
/// WGSL allows exp(x) an error of 3 + 2·|x| units in the last place; the part
/// that depends on x is in each element's scale, this is the constant part of
/// numerator and denominator, and the division's 2.5.
const ELEMENTARY_ULPS: f64 = 2.0 * (2.0 * 3.0 + 2.5);

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
    /// For each checked row: value and scale of every element.
    reference: OnceLock<Vec<Vec<[f64; 2]>>>,
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
    /// Half-precision attention adds up in single precision as well; it rounds
    /// the output, and the weights where matrix units take them. Zeros are exact:
    /// whatever the weights, they are those of zeros.
    fn tolerance(&self) -> f64 {
        if self.draw.data.is_zero() {
            return 0.0;
        }
        let roundings = f64::from(self.shape.head_dim) + 3.0 * f64::from(self.shape.kv_len);
        let outputs = self.all_rows() as f64 * f64::from(self.shape.head_dim);
        let stored = match self.element {
            Element::F32 => U_F32,
            element => 2.0 * element.roundoff(),
        };
        let stored = ELEMENTARY_ULPS * U_F32 + stored;
        if self.draw.data.is_independent() {
            tolerance::accumulation(roundings, U_F32, stored, outputs)
        } else {
            tolerance::worst_accumulation(roundings, U_F32, stored)
        }
    }

    /// Why no output can be verified; `None` where one can. Only inputs with the
    /// worst of all bounds come to that: it must not let an output of zeros pass.
    fn unverifiable(&self) -> Option<String> {
        if self.draw.data.is_independent() {
            return None;
        }
        let elements = self.reference().iter().flatten();
        let told_from_zero = elements
            .map(|[value, scale]| value.abs() / (scale + self.underflow()))
            .fold(0.0, f64::max);
        (told_from_zero <= self.tolerance()).then(|| {
            format!(
                "on {} inputs what rounding can do to {} keys is as large as the result",
                self.draw.data, self.shape.kv_len
            )
        })
    }

    /// What is added to an element's scale, so that the tolerance also covers
    /// what a device may take for zero.
    fn underflow(&self) -> f64 {
        if self.draw.data.is_zero() {
            return 0.0;
        }
        self.element.smallest_normal() / self.element.roundoff()
    }

    fn found(&self, output: &[u8]) -> Vec<f64> {
        let count = self.all_rows() * self.shape.head_dim as usize;
        self.element.read(output, count)
    }

    fn reference(&self) -> &[Vec<[f64; 2]>] {
        self.reference.get_or_init(|| {
            let [q, k, v] = [0, 1, 2].map(|i| self.inputs()[i].values());
            self.rows
                .par_iter()
                .map(|&row| self.reference_row(row, &q, &k, &v))
                .collect()
        })
    }

    /// One output row: o_d = Σ_j p_j·v_jd, and the scale of its error. A score
    /// s_j errs by u·κ_j with κ_j = Σ|q·k|·scale, and exp(s_j − max) by a further
    /// u·|s_j − max|; with c_j their sum, the weights move by p_j·(c_j + Σ p·c)
    /// and the element by at most Σ_j p_j·|v_jd|·(1 + c_j + Σ p·c) times the
    /// tolerance.
    fn reference_row(&self, row: usize, q: &[f64], k: &[f64], v: &[f64]) -> Vec<[f64; 2]> {
        let s = &self.shape;
        let d = s.head_dim as usize;
        let (head, i) = (row / s.q_len as usize, row % s.q_len as usize);
        let visible = s.visible_keys(i as u32) as usize;
        let first_key = kv_head(s, head) * s.kv_len as usize;
        let q = &q[row * d..][..d];
        let factor = f64::from(scale(s.head_dim));

        let mut condition = Vec::with_capacity(visible);
        let mut scores = Vec::with_capacity(visible);
        for key in k[first_key * d..].chunks(d).take(visible) {
            let terms = q.iter().zip(key).map(|(q, k)| q * k);
            scores.push(factor * terms.clone().sum::<f64>());
            condition.push(factor * terms.map(f64::abs).sum::<f64>());
        }
        let maximum = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - maximum)).collect();
        let total: f64 = weights.iter().sum();
        let mut mean_condition = 0.0;
        for ((weight, condition), score) in weights.iter_mut().zip(&mut condition).zip(&scores) {
            *weight /= total;
            *condition += (score - maximum).abs();
            mean_condition += *weight * *condition;
        }
        let mut out = vec![[0.0; 2]; d];
        let values = v[first_key * d..].chunks(d);
        for ((value, weight), condition) in values.zip(&weights).zip(&condition) {
            let amplified = weight * (1.0 + condition + mean_condition);
            for ([sum, scale], v) in out.iter_mut().zip(value) {
                *sum += weight * v;
                *scale += amplified * v.abs();
            }
        }
        out
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
        let own = 4 * self.rows.len() as u64 * keys;
        own + self.normal.as_ref().map_or(0, |p| p.reference_macs())
    }

    fn on_normal_inputs(&self) -> Option<&dyn Problem> {
        self.normal.as_deref().map(|problem| problem as _)
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        if let Some(why) = self.unverifiable() {
            return Verdict::unverifiable(self.tolerance(), why);
        }
        let d = self.shape.head_dim as usize;
        let found = self.found(output);
        let tracker = Verdict::tracker(self.checked(), self.tolerance());
        let row = |(&row, expected): (&usize, &Vec<[f64; 2]>)| {
            let mut tracker = tracker.clone();
            let found = &found[row * d..][..d];
            for (element, (&found, &[value, scale])) in found.iter().zip(expected).enumerate() {
                let scale = scale + self.underflow();
                tracker.compare(found, value, scale, || self.place(row, element));
            }
            tracker
        };
        self.rows
            .par_iter()
            .zip(self.reference())
            .map(row)
            .reduce_with(Tracker::merge)
            .unwrap_or(tracker)
            .verdict(output)
    }

    fn wants_witness(&self) -> bool {
        self.checked() == Checked::Sampled
    }

    /// Two correct outputs differ by at most twice the tolerance times the scale.
    /// Rows without a reference take the largest scale seen in the checked ones.
    fn agree(&self, output: &[u8], witness: &[u8]) -> Option<Rejection> {
        let scales = self.reference().iter().flatten().map(|[_, scale]| *scale);
        let bound = 2.0 * self.tolerance() * scales.fold(0.0, f64::max);
        let d = self.shape.head_dim as usize;
        let pairs = self.found(output).into_iter().zip(self.found(witness));
        pairs
            .enumerate()
            .find(|(_, (found, expected))| exceeds((found - expected).abs(), bound))
            .map(|(at, (found, expected))| Rejection::WrongElement {
                place: self.place(at / d, at % d),
                found,
                expected,
            })
    }

    fn export(&self) -> Option<Export> {
        let s = &self.shape;
        let queries = vec![s.batch, s.heads, s.q_len, s.head_dim];
        let keys = vec![s.batch, s.kv_heads, s.kv_len, s.head_dim];
        let reference = (self.checked() == Checked::Full).then(|| {
            let values: Vec<f64> = self.reference().iter().flatten().map(|o| o[0]).collect();
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

    fn program() -> Program {
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
        assert!((problem.reference()[0][0][0] - 5.0).abs() < 1e-6);
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
