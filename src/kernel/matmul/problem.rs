//! The float64 reference of a matrix product and the check of an output.
//!
//! Work is counted as 2·M·N·K (times the batch), a multiply-add being two
//! operations; compulsory traffic is A, B and C once.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs::{self, Data, Draw};
use crate::kernel::problem::{Checked, Export, Problem, Tracker, Verdict, Work, WorkUnit, exceeds};
use crate::kernel::program::Program;
use crate::kernel::shape::{GemmShape, Layout};
use crate::kernel::tolerance;

/// Up to this many multiply-adds the whole product is computed in float64
/// (1024³ is a quarter of it and takes a fraction of a second on two cores).
const FULL_MACS: u64 = 1 << 32;
/// Up to this many elements of C the reference is kept in memory.
const FULL_ELEMENTS: u64 = 1 << 25;
/// Rows and columns checked in full beyond that, besides the first and last.
const RANDOM_LINES: usize = 6;
/// Columns that share one random sign vector. The fewer, the smaller an error
/// that shows; the cost is that of the product divided by this.
const FREIVALDS_COLUMNS: usize = 32;

/// A matrix product.
pub struct Matmul {
    shape: GemmShape,
    precision: Precision,
    draw: Draw,
    /// The same on normal inputs, unless those are the problem's own.
    normal: Option<Box<Matmul>>,
    /// Drawn on first use: a case that is skipped never needs them.
    inputs: OnceLock<[Tensor; 2]>,
    reference: OnceLock<Reference>,
}

/// A and B of one batch element, row-major M×K and K×N whatever the layout.
struct Operands {
    a: Vec<f64>,
    b: Vec<f64>,
}

enum Reference {
    /// For each element of C: its value and Σ|a·b|.
    Full(Vec<[f64; 2]>),
    /// Per batch element.
    Sampled(Vec<Sampled>),
}

struct Sampled {
    rows: Vec<(usize, Vec<[f64; 2]>)>,
    cols: Vec<(usize, Vec<[f64; 2]>)>,
    freivalds: Freivalds,
}

/// For every block of columns one vector x of random signs: A·(B·x) and how far
/// C·x may be from it, row by row.
struct Freivalds {
    signs: Vec<f64>,
    blocks: Vec<FreivaldsBlock>,
}

struct FreivaldsBlock {
    product: Vec<f64>,
    bound: Vec<f64>,
}

impl Matmul {
    /// The product of `shape` in `precision` with the inputs that `draw` gives.
    pub fn new(shape: GemmShape, precision: Precision, draw: Draw) -> Self {
        let normal = || Box::new(Self::new(shape, precision, Draw::normal(draw.seed)));
        Self {
            shape,
            precision,
            draw,
            normal: (draw.data != Data::Normal).then(normal),
            inputs: OnceLock::new(),
            reference: OnceLock::new(),
        }
    }

    /// Elements of A and B, all products of the batch together.
    fn input_elements(&self) -> [u64; 2] {
        let GemmShape { batch, m, n, k, .. } = self.shape;
        [m, n].map(|side| u64::from(batch) * u64::from(side) * u64::from(k))
    }

    fn dims(&self) -> (usize, usize, usize) {
        let GemmShape { m, n, k, .. } = self.shape;
        (m as usize, n as usize, k as usize)
    }

    fn outputs(&self) -> u64 {
        u64::from(self.shape.batch) * u64::from(self.shape.m) * u64::from(self.shape.n)
    }

    fn is_full(&self) -> bool {
        self.shape.macs() <= FULL_MACS && self.outputs() <= FULL_ELEMENTS
    }

    /// Integers are exact, and so are zeros. The reference of double precision
    /// rounds as often as the kernel does.
    fn tolerance(&self) -> f64 {
        let (operations, outputs) = (f64::from(self.shape.k), self.outputs() as f64);
        let element = self.precision.accumulator();
        let unit = element.roundoff();
        let each = match element {
            Element::F64 => 2.0 * unit,
            _ => unit,
        };
        match element {
            _ if self.draw.data.is_zero() => 0.0,
            _ if !self.draw.data.is_independent() => {
                tolerance::worst_accumulation(operations, each, unit)
            }
            Element::F16 => tolerance::centred_accumulation(operations, each, unit, outputs),
            _ => tolerance::accumulation(operations, each, unit, outputs),
        }
    }

    /// Why no output can be verified; `None` where one can. Only inputs with the
    /// worst of all bounds come to that: that bound must not let an output of
    /// zeros pass, nor a partial sum leave the format.
    fn unverifiable(&self) -> Option<String> {
        if self.draw.data.is_independent() {
            return None;
        }
        let elements: Vec<&[f64; 2]> = match self.reference() {
            Reference::Full(elements) => elements.iter().collect(),
            Reference::Sampled(batches) => batches
                .iter()
                .flat_map(|b| b.rows.iter().chain(&b.cols))
                .flat_map(|(_, line)| line)
                .collect(),
        };
        let most =
            |of: &dyn Fn(&[f64; 2]) -> f64| elements.iter().map(|e| of(e)).fold(0.0, f64::max);
        let (reach, largest) = (most(&|e| e[1]), self.precision.accumulator().largest());
        let told_from_zero = most(&|e| e[0].abs() / (e[1] + self.underflow()));
        let (data, precision, k) = (self.draw.data, self.precision, self.shape.k);
        if reach > largest {
            Some(format!(
                "on {data} inputs partial sums may reach {reach:.0}, and {precision} holds no more than {largest}"
            ))
        } else if told_from_zero <= self.tolerance() {
            Some(format!(
                "on {data} inputs what rounding can do to {k} terms in {precision} is as large as the result"
            ))
        } else {
            None
        }
    }

    /// What is added to an element's scale, so that the tolerance also covers
    /// what a device may take for zero.
    fn underflow(&self) -> f64 {
        let element = self.precision.accumulator();
        match element.roundoff() {
            0.0 => 0.0,
            _ if self.draw.data.is_zero() => 0.0,
            unit => element.smallest_normal() / unit,
        }
    }

    fn operands(&self, batch: usize) -> Operands {
        let (m, n, k) = self.dims();
        let part = |tensor: &Tensor, elements: usize| -> Vec<f64> {
            let size = tensor.element.size() as usize;
            tensor
                .element
                .read(&tensor.bytes[size * batch * elements..], elements)
        };
        let a = part(&self.inputs()[0], m * k);
        let b = part(&self.inputs()[1], k * n);
        match self.shape.layout {
            Layout::Nn => Operands { a, b },
            Layout::Tn => Operands {
                a: transpose(&a, k, m),
                b,
            },
            Layout::Nt => Operands {
                a,
                b: transpose(&b, n, k),
            },
        }
    }

    fn reference(&self) -> &Reference {
        self.reference.get_or_init(|| {
            let operands = (0..self.shape.batch as usize).map(|batch| self.operands(batch));
            let (m, n, k) = self.dims();
            if self.is_full() {
                Reference::Full(
                    operands
                        .flat_map(|o| product(&o.a, &o.b, m, n, k))
                        .collect(),
                )
            } else {
                let sample = |(batch, o): (usize, Operands)| self.sample(batch, &o);
                Reference::Sampled(operands.enumerate().map(sample).collect())
            }
        })
    }

    fn sample(&self, batch: usize, operands: &Operands) -> Sampled {
        let (m, n, k) = self.dims();
        let mut rng = inputs::stream(self.draw.seed, 100, batch as u64);
        let mut lines = |bound: usize| {
            let mut lines = vec![0, bound - 1];
            lines.extend((0..RANDOM_LINES).map(|_| inputs::index(&mut rng, bound)));
            lines.sort_unstable();
            lines.dedup();
            lines
        };
        let (row_numbers, col_numbers) = (lines(m), lines(n));
        let row = |&i: &usize| {
            (
                i,
                product(&operands.a[i * k..(i + 1) * k], &operands.b, 1, n, k),
            )
        };
        let col = |&j: &usize| {
            let column: Vec<f64> = (0..k).map(|p| operands.b[p * n + j]).collect();
            (j, product(&operands.a, &column, m, 1, k))
        };
        Sampled {
            rows: row_numbers.iter().map(row).collect(),
            cols: col_numbers.iter().map(col).collect(),
            freivalds: self.freivalds(batch, operands),
        }
    }

    /// With x of independent signs and element errors of at most
    /// tolerance·Σ|a·b| ≤ tolerance·‖a_i‖·‖b_j‖, Hoeffding's inequality bounds
    /// the error of a row's product by
    /// tolerance·‖a_i‖·‖B_block‖_F·√(2·ln(2·tests/p)).
    fn freivalds(&self, batch: usize, operands: &Operands) -> Freivalds {
        let (m, n, k) = self.dims();
        let blocks = n.div_ceil(FREIVALDS_COLUMNS);
        let tests = (m * blocks * self.shape.batch as usize) as f64;
        let hoeffding = (2.0 * (2.0 * tests / tolerance::FALSE_REJECTION).ln()).sqrt();
        let allowed = self.tolerance() * hoeffding;
        let signs = random_signs(self.draw.seed, batch, n);
        let norms: Vec<f64> = operands.a.chunks(k).map(norm).collect();
        let block = |index: usize| {
            let columns = index * FREIVALDS_COLUMNS..n.min((index + 1) * FREIVALDS_COLUMNS);
            let mut squares = 0.0;
            let bx: Vec<f64> = (0..k)
                .map(|p| {
                    let b = &operands.b[p * n..][columns.clone()];
                    squares += b.iter().map(|v| v * v).sum::<f64>();
                    dot(b, &signs[columns.clone()])
                })
                .collect();
            let frobenius = squares.sqrt();
            FreivaldsBlock {
                product: operands.a.chunks(k).map(|row| dot(row, &bx)).collect(),
                bound: norms
                    .iter()
                    .map(|norm| allowed * norm * frobenius)
                    .collect(),
            }
        };
        Freivalds {
            blocks: (0..blocks).into_par_iter().map(block).collect(),
            signs,
        }
    }

    fn check_full(&self, reference: &[[f64; 2]], output: &[f64]) -> Tracker {
        let (m, n, _) = self.dims();
        let tracker = Verdict::tracker(Checked::Full, self.tolerance());
        let row = |(row, (found, expected)): (usize, (&[f64], &[[f64; 2]]))| {
            let mut tracker = tracker.clone();
            for (col, (&found, &[value, scale])) in found.iter().zip(expected).enumerate() {
                let scale = scale + self.underflow();
                tracker.compare(found, value, scale, || place(row / m, row % m, col));
            }
            tracker
        };
        output
            .par_chunks(n)
            .zip(reference.par_chunks(n))
            .enumerate()
            .map(row)
            .reduce_with(Tracker::merge)
            .unwrap_or(tracker)
    }

    fn check_sampled(&self, batch: usize, sampled: &Sampled, output: &[f64]) -> Tracker {
        let (_, n, _) = self.dims();
        let mut tracker = Verdict::tracker(Checked::Sampled, self.tolerance());
        for (row, expected) in &sampled.rows {
            for (col, &[value, scale]) in expected.iter().enumerate() {
                let scale = scale + self.underflow();
                tracker.compare(output[row * n + col], value, scale, || {
                    place(batch, *row, col)
                });
            }
        }
        for (col, expected) in &sampled.cols {
            for (row, &[value, scale]) in expected.iter().enumerate() {
                let scale = scale + self.underflow();
                tracker.compare(output[row * n + col], value, scale, || {
                    place(batch, row, *col)
                });
            }
        }
        sampled.freivalds.check(batch, n, output, &mut tracker);
        tracker
    }
}

impl Freivalds {
    fn check(&self, batch: usize, n: usize, output: &[f64], tracker: &mut Tracker) {
        for (row, found) in output.chunks(n).enumerate() {
            let blocks = found
                .chunks(FREIVALDS_COLUMNS)
                .zip(self.signs.chunks(FREIVALDS_COLUMNS));
            for ((values, signs), (index, block)) in blocks.zip(self.blocks.iter().enumerate()) {
                let difference = (dot(values, signs) - block.product[row]).abs();
                if exceeds(difference, block.bound[row]) {
                    let first = index * FREIVALDS_COLUMNS;
                    let columns = format!("columns {first} to {}", first + values.len() - 1);
                    let place = format!("{}, {columns}", row_place(batch, row));
                    tracker.reject_product(place, difference / block.bound[row]);
                }
            }
        }
    }
}

impl Problem for Matmul {
    fn inputs(&self) -> &[Tensor] {
        self.inputs.get_or_init(|| {
            let [a, b] = self.input_elements();
            let element = self.precision.operand();
            let tensor = |number, count| self.draw.tensor(number, count as usize, element);
            [tensor(0, a), tensor(1, b)]
        })
    }

    fn work(&self, _program: &Program) -> Work {
        let [a, b] = self.input_elements();
        Work {
            operations: 2 * self.shape.macs(),
            unit: match self.precision.accumulator() {
                Element::I32 => WorkUnit::Op,
                _ => WorkUnit::Flop,
            },
            bytes: self.precision.operand().size() * (a + b)
                + self.precision.accumulator().size() * self.outputs(),
        }
    }

    fn reference_macs(&self) -> u64 {
        let own = if self.is_full() {
            self.shape.macs()
        } else {
            let lines = 2 * (RANDOM_LINES as u64 + 2);
            let longest = self.shape.m.max(self.shape.n);
            self.shape.macs() / FREIVALDS_COLUMNS as u64
                + lines * u64::from(self.shape.batch) * u64::from(longest) * u64::from(self.shape.k)
        };
        own + self.normal.as_ref().map_or(0, |p| p.reference_macs())
    }

    fn on_normal_inputs(&self) -> Option<&dyn Problem> {
        self.normal.as_deref().map(|problem| problem as _)
    }

    fn check(&self, _program: &Program, output: &[u8]) -> Verdict {
        if let Some(why) = self.unverifiable() {
            return Verdict::unverifiable(self.tolerance(), why);
        }
        let element = self.precision.accumulator();
        let found = element.read(output, self.outputs() as usize);
        let tracker = match self.reference() {
            Reference::Full(reference) => self.check_full(reference, &found),
            Reference::Sampled(batches) => {
                let (m, n, _) = self.dims();
                batches
                    .par_iter()
                    .zip(found.par_chunks(m * n))
                    .enumerate()
                    .map(|(batch, (sampled, found))| self.check_sampled(batch, sampled, found))
                    .reduce_with(Tracker::merge)
                    .unwrap_or(Verdict::tracker(Checked::Sampled, self.tolerance()))
            }
        };
        tracker.verdict(output)
    }

    fn export(&self) -> Option<Export> {
        let GemmShape {
            batch,
            m,
            n,
            k,
            layout,
        } = self.shape;
        let (a, b) = match layout {
            Layout::Nn => ([m, k], [k, n]),
            Layout::Nt => ([m, k], [n, k]),
            Layout::Tn => ([k, m], [k, n]),
        };
        let stored = |[rows, cols]: [u32; 2]| vec![batch, rows, cols];
        let reference = match self.reference() {
            Reference::Full(elements) => Some(elements.iter().map(|c| c[0]).collect::<Vec<_>>()),
            Reference::Sampled(_) => None,
        };
        Some(Export {
            inputs: vec![("a", stored(a)), ("b", stored(b))],
            output: stored([m, n]),
            element: self.precision.accumulator(),
            reference: reference.map(|values| Tensor::new(Element::F64, &values)),
        })
    }
}

fn row_place(batch: usize, row: usize) -> String {
    match batch {
        0 => format!("row {row}"),
        _ => format!("batch {batch}, row {row}"),
    }
}

fn place(batch: usize, row: usize, col: usize) -> String {
    format!("{}, column {col}", row_place(batch, row))
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn random_signs(seed: u64, batch: usize, count: usize) -> Vec<f64> {
    let mut rng = inputs::stream(seed, 101, batch as u64);
    (0..count)
        .map(|_| {
            if inputs::index(&mut rng, 2) == 0 {
                1.0
            } else {
                -1.0
            }
        })
        .collect()
}

/// The transpose of a row-major `rows`×`cols` matrix.
fn transpose(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    out.par_chunks_mut(rows.max(1))
        .enumerate()
        .for_each(|(col, line)| {
            for (row, value) in line.iter_mut().enumerate() {
                *value = x[row * cols + col];
            }
        });
    out
}

/// Rows of C that share one pass over B, and columns that stay in the first
/// level of cache with their two accumulators.
const BLOCK_ROWS: usize = 4;
const BLOCK_COLS: usize = 256;

/// C = A·B in float64 with Σ|a·b| beside every element; each element is summed
/// in the order of k, whatever the number of threads.
fn product(a: &[f64], b: &[f64], m: usize, n: usize, k: usize) -> Vec<[f64; 2]> {
    let mut c = vec![[0.0; 2]; m * n];
    c.par_chunks_mut(BLOCK_ROWS * n)
        .enumerate()
        .for_each(|(block, c)| {
            let a = &a[block * BLOCK_ROWS * k..];
            for first in (0..n).step_by(BLOCK_COLS) {
                let width = BLOCK_COLS.min(n - first);
                product_block(a, b, c, first, width, n, k);
            }
        });
    c
}

fn product_block(
    a: &[f64],
    b: &[f64],
    c: &mut [[f64; 2]],
    first: usize,
    width: usize,
    n: usize,
    k: usize,
) {
    let rows = c.len() / n;
    let mut sums = [[0.0; BLOCK_COLS]; BLOCK_ROWS];
    let mut magnitudes = [[0.0; BLOCK_COLS]; BLOCK_ROWS];
    for p in 0..k {
        let b_row = &b[p * n + first..][..width];
        for row in 0..rows {
            let value = a[row * k + p];
            let lanes = sums[row].iter_mut().zip(&mut magnitudes[row]);
            for ((sum, magnitude), b) in lanes.zip(b_row) {
                let term = value * b;
                *sum += term;
                *magnitude += term.abs();
            }
        }
    }
    for row in 0..rows {
        for col in 0..width {
            c[row * n + first + col] = [sums[row][col], magnitudes[row][col]];
        }
    }
}

#[cfg(test)]
mod tests;
