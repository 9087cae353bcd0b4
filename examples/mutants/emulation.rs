//! Kernels on the host, for shapes that are too slow for a software adapter: some rows
//! of the output, in the arithmetic of the format, with a fault.

use anyhow::{Context, bail};
use flopwatt::kernel::attention::problem::scale;
use flopwatt::kernel::element::{Element, Tensor};
use flopwatt::kernel::id::CaseId;
use flopwatt::kernel::problem::{Problem, Verdict};
use flopwatt::kernel::program::Program;
use flopwatt::kernel::shape::{AttentionShape, GemmShape, Shape};
use rayon::prelude::*;

use crate::fault::{Fault, Keys, Stored};

/// What the check says of a kernel with a fault.
pub fn verdict(fault: Fault, id: &CaseId, problem: &dyn Problem) -> anyhow::Result<Verdict> {
    let program = Program {
        parameters: Default::default(),
        buffers: vec![],
        passes: vec![],
    };
    let (element, all, columns) = match id.shape {
        Shape::Gemm(s) => (id.precision.accumulator(), s.batch * s.m, s.n as usize),
        Shape::Attention(s) => {
            let rows = s.batch * s.heads * s.q_len;
            (id.precision.operand(), rows, s.head_dim as usize)
        }
        _ => bail!("{id} is not emulated"),
    };
    let all = all as usize;
    let compute = |rows: &[usize]| -> Vec<f64> {
        let inputs = problem.inputs();
        match id.shape {
            Shape::Gemm(s) => product(&s, element, inputs, fault, rows),
            Shape::Attention(s) => attention(&s, element, inputs, fault, rows),
            _ => vec![],
        }
    };
    let Fault::Stored(stored) = fault else {
        let rows = [0, all * 3 / 8, all * 5 / 8, all - 1];
        return problem
            .check_rows(&program, &rows, &compute(&rows))
            .context("no check of rows");
    };
    // The rows of a tile, in whose middle one row is wrong, or all of them.
    let first = (all * 5 / 8) / 16 * 16;
    let rows: Vec<usize> = (first.saturating_sub(1)..(first + 16).min(all)).collect();
    let right = compute(&rows);
    let mut wrong = right.clone();
    spoil(stored, &mut wrong, columns, element);
    if !problem.wants_witness() {
        return problem
            .check_rows(&program, &rows, &wrong)
            .context("no check of rows");
    }
    // A witness that is right sees every row, and need not be run to do so.
    let whole = |values: &[f64]| {
        let mut output = Tensor::zeros(element, all * columns).bytes;
        let size = element.size() as usize;
        let part = Tensor::new(element, values).bytes;
        let at = rows[0] * columns * size;
        output[at..at + values.len() * size].copy_from_slice(&part[..values.len() * size]);
        output
    };
    let rejection = problem.agree(&whole(&wrong), &whole(&right));
    let verdict = problem.check_rows(&program, &rows[..1], &right[..columns]);
    Ok(Verdict {
        rejection,
        ..verdict.context("no check of rows")?
    })
}

/// What becomes of the rows of a tile on their way to memory. A write that a race
/// loses leaves there what the harness had put.
fn spoil(how: Stored, rows: &mut [f64], columns: usize, element: Element) {
    let tile = columns.min(rows.len() - columns);
    let middle = tile + (rows.len() - tile) / columns / 2 * columns;
    let row = &mut rows[middle..middle + columns];
    let largest = (0..columns).max_by(|&a, &b| row[a].abs().total_cmp(&row[b].abs()));
    let largest = &mut row[largest.unwrap_or(0)];
    match how {
        Stored::Zeros => rows.fill(0.0),
        Stored::Larger => *largest = stored(*largest * 1.1, element),
        Stored::Smaller => *largest = stored(*largest * 0.9, element),
        Stored::StaleRow => rows.copy_within(middle - columns..middle, middle),
        Stored::Swapped => {
            let col = columns * 3 / 16 * 2;
            rows[tile..]
                .chunks_mut(columns)
                .for_each(|row| row.swap(col, col + 1));
        }
        Stored::Race => *largest = f64::NAN,
    }
}

fn stored(value: f64, element: Element) -> f64 {
    match element {
        Element::I32 => value.round(),
        element => nearest(value, bits(element)),
    }
}

/// Bits of significand; integers are exact.
fn bits(element: Element) -> u32 {
    match element {
        Element::F16 => 11,
        Element::F32 => 24,
        _ => 53,
    }
}

/// Rounds to so many bits of significand (Dekker, Numer. Math. 18, 1971).
fn nearest(value: f64, bits: u32) -> f64 {
    let large = value * (1u64 << (53 - bits)) as f64;
    let sum = large + value;
    if bits == 53 {
        value
    } else {
        sum - (sum - value)
    }
}

/// The numbers of `tensor` from `first` on, as the fault leaves them.
fn operands(tensor: &Tensor, first: usize, count: usize, fault: Fault) -> Vec<f64> {
    let bytes = &tensor.bytes[first * tensor.element.size() as usize..];
    let mut values = tensor.element.read(bytes, count);
    if let Fault::Operands(bits) = fault {
        // Four bits are those of e4m3, whose least normal number is 2⁻⁶.
        let round = |value: &mut f64| match bits {
            4 if value.abs() < 0.015625 => *value = (*value * 512.0).round_ties_even() / 512.0,
            _ => *value = nearest(*value, bits),
        };
        values.par_iter_mut().for_each(round);
    }
    values
}

/// Sums of products, each product added without a rounding of its own.
struct Sums {
    bits: u32,
    chunk: Option<usize>,
    sums: Vec<f64>,
    half: Vec<f64>,
}

impl Sums {
    fn new(count: usize, bits: u32, fault: Fault) -> Self {
        let chunk = match fault {
            Fault::HalfSums(chunk) => Some(chunk as usize),
            _ => None,
        };
        Self {
            bits,
            chunk,
            sums: vec![0.0; count],
            half: vec![0.0; count],
        }
    }

    /// Adds `factor` times `terms`, which are the products of number `step`.
    fn add(&mut self, step: usize, factor: f64, terms: &[f64]) {
        let (sums, bits) = match self.chunk {
            Some(_) => (&mut self.half, 11),
            None => (&mut self.sums, self.bits),
        };
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum = nearest(factor * term + *sum, bits);
        }
        if self.chunk.is_some_and(|chunk| step % chunk == chunk - 1) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (sum, half) in self.sums.iter_mut().zip(&mut self.half) {
            *sum = nearest(*sum + std::mem::take(half), self.bits);
        }
    }

    fn finish(mut self) -> Vec<f64> {
        self.flush();
        self.sums
    }
}

/// Rows of a product; A and B lie as they are multiplied.
fn product(
    shape: &GemmShape,
    element: Element,
    inputs: &[Tensor],
    fault: Fault,
    rows: &[usize],
) -> Vec<f64> {
    let [n, k] = [shape.n, shape.k].map(|side| side as usize);
    let steps = if fault == Fault::Lost(Keys::Last) {
        k - 1
    } else {
        k
    };
    let b = operands(&inputs[1], 0, k * n, fault);
    let row = |&row: &usize| {
        let a = operands(&inputs[0], row * k, k, fault);
        let mut sums = Sums::new(n, bits(element), fault);
        for step in 0..steps {
            sums.add(step, a[step], &b[step * n..][..n]);
        }
        sums.finish()
    };
    rows.par_iter().flat_map(row).collect()
}

/// Rows of attention, in single precision but for what is stored.
fn attention(
    shape: &AttentionShape,
    element: Element,
    inputs: &[Tensor],
    fault: Fault,
    rows: &[usize],
) -> Vec<f64> {
    let [q_len, keys, d] = [shape.q_len, shape.kv_len, shape.head_dim].map(|n| n as usize);
    let group = (shape.heads / shape.kv_heads) as usize;
    let single = bits(Element::F32);
    let row = |&row: &usize| {
        let first_key = row / q_len / group * keys;
        let q = operands(&inputs[0], row * d, d, fault);
        let [k, v] = [1, 2].map(|i| operands(&inputs[i], first_key * d, keys * d, fault));
        let mut visible = shape.visible_keys((row % q_len) as u32) as usize;
        if fault == Fault::Mask {
            visible = (visible + 1).min(keys);
        }
        let factor = match fault {
            Fault::NoScores => 0.0,
            _ => f64::from(scale(shape.head_dim)),
        };
        let score = |key: &[f64]| {
            let mut sum = Sums::new(1, single, fault);
            for (step, (q, k)) in q.iter().zip(key).enumerate() {
                sum.add(step, *q, &[*k]);
            }
            nearest(sum.finish()[0] * factor, single)
        };
        let scores: Vec<f64> = k.chunks(d).take(visible).map(score).collect();
        let highest = scores.iter().copied().fold(f64::MIN, f64::max);
        let (mut total, mut sums) = (0.0, Sums::new(d, single, fault));
        for (key, score) in scores.iter().enumerate() {
            let lost = matches!(fault, Fault::Lost(which) if which.hold(key, keys));
            let weight = if lost {
                0.0
            } else {
                nearest((score - highest).exp(), single)
            };
            total = nearest(total + weight, single);
            sums.add(key, weight, &v[key * d..][..d]);
        }
        let sums = sums.finish().into_iter();
        sums.map(|sum| stored(sum / total, element))
            .collect::<Vec<_>>()
    };
    rows.par_iter().flat_map(row).collect()
}
