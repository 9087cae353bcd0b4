//! The float64 reference of a matrix product and the check of an output.
//!
//! Work is counted as 2·M·N·K (times the batch), a multiply-add being two
//! operations; compulsory traffic is A, B and C once.

use std::sync::OnceLock;

use half::bf16;
use rayon::prelude::*;

use crate::kernel::element::{Element, Tensor};
use crate::kernel::id::Precision;
use crate::kernel::inputs::{self, Data, Draw};
use crate::kernel::problem::{Checked, Export, Problem, Tracker, Verdict, Work, WorkUnit};
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
/// Columns that share two vectors of random weights. The fewer, the smaller an
/// error that shows; the cost is that of the product times two over this.
const FREIVALDS_COLUMNS: usize = 32;
/// Vectors of weights for every block of columns.
const FREIVALDS_VECTORS: usize = 2;
/// Elements, at least, in which sums in half precision are searched for operands that
/// were rounded to bfloat16, and rows.
const ROUNDED_ELEMENTS: usize = 1 << 14;
const ROUNDED_ROWS: usize = 8;
/// Largest part of Σ|a·b|/√K that the tolerance may be where terms are
/// independent. The root mean square of C is at least that: with random signs it
/// is √Σ(a·b)², and by Cauchy and Schwarz (Σ|a·b|)² ≤ K·Σ(a·b)². For normal
/// values it is π/2 times as much, so that an error of two fifths of it shows, and
/// so does a kernel that loses one term in fifty: its errors have a seventh of the
/// root mean square, and the largest of 10⁴ are four times as large.
const MOST_OF_RMS: f64 = 0.5;

/// A matrix product.
pub struct Matmul {
    shape: GemmShape,
    precision: Precision,
    draw: Draw,
    /// The same on normal inputs, unless those are the problem's own.
    normal: Option<Box<Matmul>>,
    /// Drawn on first use: a case that is skipped never needs them.
    inputs: OnceLock<[Tensor; 2]>,
    /// Per product of the batch.
    reference: OnceLock<Vec<Reference>>,
}

/// Some rows of A, and B, of one product of the batch: row-major, K elements and
/// N elements a row whatever the layout.
struct Operands {
    /// Which rows of A.
    rows: Vec<usize>,
    a: Vec<f64>,
    b: Vec<f64>,
}

/// What is known of some rows of one product of the batch.
struct Reference {
    /// Which rows.
    rows: Vec<usize>,
    known: Known,
    /// Rows by their position among these: each element's value, and what operands
    /// rounded to bfloat16 would change in it.
    rounded: Vec<(usize, Vec<[f64; 2]>)>,
}

enum Known {
    /// Each element of C: its value and Σ|a·b|.
    Full(Vec<[f64; 2]>),
    Sampled(Sampled),
}

struct Sampled {
    /// Rows that are known in full, by their position among the reference's rows.
    full_rows: Vec<(usize, Vec<[f64; 2]>)>,
    /// Columns that are known in full.
    full_cols: Vec<(usize, Vec<[f64; 2]>)>,
    freivalds: Freivalds,
}

/// For every block of columns and each of its vectors x, a column of A·(B·x) and,
/// row by row, ‖a‖·√Σ(x·‖b‖)².
struct Freivalds {
    /// One vector after the other, each with a weight for every column of C.
    weights: [Vec<f64>; FREIVALDS_VECTORS],
    /// Rows of blocks of vectors.
    products: Vec<f64>,
    /// ‖a‖ of each row.
    norms: Vec<f64>,
    /// √Σ(x·‖b‖)² and √Σx² of each block and vector.
    weighted_norms: Vec<[f64; 2]>,
}

/// What rounding can do in a correct kernel.
struct Bound {
    /// To one element, relative to its scale.
    element: f64,
    /// To the elements of a row in the root mean square, relative to their scales.
    row: f64,
    /// To a product with a vector of weights x, relative to ‖a‖·√Σ(x·‖b‖)².
    product: f64,
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

    /// What rounding can do in `program`. Integers are exact, and so are zeros. The
    /// reference of double precision rounds as often as the kernel does.
    ///
    /// With x independent of the kernel, Hoeffding's inequality bounds the error of
    /// a product with x by λ·√Σ(x·e)², e being the errors of its elements. Where
    /// terms are independent so are these, and their mean square is what counts:
    /// K rounding errors of at most u, each of a partial sum whose mean square is
    /// at most (‖a‖·‖b‖)²/K, half of that on average. So √Σ(x·e)² stays below
    /// u·‖a‖·√Σ(x·‖b‖)², of which rounding to the nearest is expected to reach
    /// 0.42/√2. Elsewhere every e may be as large as its bound.
    fn bound(&self, program: &Program) -> Bound {
        let (operations, outputs) = (f64::from(self.shape.k), self.outputs() as f64);
        let stored = self.precision.accumulator().roundoff();
        // Average errors of emulated kernels are 0.36 for rounding to the nearest and
        // 0.72 for units that cut off, and a sixth more in the worst of a thousand
        // rows. Units that multiply single precision as it is are not known to cut off.
        let (each, average) = match self.precision {
            Precision::F64 => (2.0 * stored, 0.42),
            Precision::F16F32acc if program.uses_matrix_units() => {
                (stored * tolerance::truncation(operations), 0.84)
            }
            _ => (stored, 0.42),
        };
        let (m, n, _) = self.dims();
        let blocks = m * n.div_ceil(FREIVALDS_COLUMNS) * self.shape.batch as usize;
        let lambda = tolerance::lambda(1.0, (FREIVALDS_VECTORS * blocks) as f64);
        let worst = |element| Bound {
            element,
            row: element,
            product: lambda * element,
        };
        if self.draw.data.is_zero() {
            worst(0.0)
        } else if self.draw.data.is_independent() {
            let element = tolerance::centred_accumulation(each, outputs);
            Bound {
                element,
                row: tolerance::centred_average(average * each, element, n as f64),
                product: lambda * each,
            }
        } else {
            worst(tolerance::worst_accumulation(operations, each, stored))
        }
    }

    /// Why no output can be verified where `tolerance` is allowed for; `None` where
    /// one can.
    fn unverifiable(&self, tolerance: f64) -> Option<String> {
        let (data, precision, k) = (self.draw.data, self.precision, self.shape.k);
        if self.draw.data.is_independent() {
            let share = tolerance * f64::from(k).sqrt();
            return (share > MOST_OF_RMS).then(|| {
                format!(
                    "what rounding can do to {k} terms in {precision} is more than half as large as the typical result"
                )
            });
        }
        let most = |of: &dyn Fn(&[f64; 2]) -> f64| self.known().map(of).fold(0.0, f64::max);
        let (reach, largest) = (most(&|e| e[1]), self.precision.accumulator().largest());
        let told_from_zero = most(&|e| e[0].abs() / (e[1] + self.underflow()));
        if reach > largest {
            Some(format!(
                "on {data} inputs partial sums may reach {reach:.0}, and {precision} holds no more than {largest}"
            ))
        } else if told_from_zero <= tolerance {
            Some(format!(
                "on {data} inputs what rounding can do to {k} terms in {precision} is as large as the result"
            ))
        } else {
            None
        }
    }

    /// What the bound on an element is relative to.
    fn scale(&self, [value, magnitude]: &[f64; 2]) -> f64 {
        if self.draw.data.is_independent() {
            tolerance::centred_scale(*value, *magnitude, self.shape.k.into())
        } else {
            *magnitude
        }
    }

    /// All elements that the reference knows.
    fn known(&self) -> impl Iterator<Item = &[f64; 2]> {
        self.reference().iter().flat_map(|part| {
            let (elements, lines) = match &part.known {
                Known::Full(elements) => (elements.as_slice(), None),
                Known::Sampled(s) => (&[][..], Some(s.full_rows.iter().chain(&s.full_cols))),
            };
            let lines = lines.into_iter().flatten();
            elements.iter().chain(lines.flat_map(|(_, line)| line))
        })
    }

    /// What a factor counts for in an element's scale. A device may take an operand
    /// that is not normal for zero: that is an error of all of it.
    fn magnitude(&self) -> impl Fn(f64) -> f64 + Sync + Copy {
        let unit = self.precision.accumulator().roundoff();
        let least = self.precision.operand().smallest_normal();
        move |factor| match factor.abs() {
            small if small < least => small / unit,
            normal => normal,
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

    /// The operands of product `batch`, with the given rows of A.
    fn operands(&self, batch: usize, rows: Vec<usize>) -> Operands {
        let (m, n, k) = self.dims();
        let part = |tensor: &Tensor, elements: usize| -> Vec<f64> {
            let size = tensor.element.size() as usize;
            tensor
                .element
                .read(&tensor.bytes[size * batch * elements..], elements)
        };
        let (mut a, mut b) = (
            part(&self.inputs()[0], m * k),
            part(&self.inputs()[1], k * n),
        );
        match self.shape.layout {
            Layout::Nn => {}
            Layout::Tn => a = transpose(&a, k, m),
            Layout::Nt => b = transpose(&b, n, k),
        }
        if rows.len() < m {
            a = rows
                .iter()
                .flat_map(|i| &a[i * k..][..k])
                .copied()
                .collect();
        }
        Operands { rows, a, b }
    }

    fn reference(&self) -> &[Reference] {
        self.reference.get_or_init(|| {
            (0..self.shape.batch as usize)
                .map(|batch| {
                    let all = (0..self.shape.m as usize).collect();
                    self.reference_of(batch, &self.operands(batch, all))
                })
                .collect()
        })
    }

    fn reference_of(&self, batch: usize, operands: &Operands) -> Reference {
        let (_, n, k) = self.dims();
        let known = if self.is_full() {
            let (a, b) = (&operands.a, &operands.b);
            Known::Full(product(a, b, operands.rows.len(), n, k, self.magnitude()))
        } else {
            Known::Sampled(self.sample(batch, operands))
        };
        Reference {
            rows: operands.rows.clone(),
            known,
            rounded: self.rounded(operands),
        }
    }

    /// Half-precision sums of K terms are rounded by √K/16 of what operands of eight
    /// bits change, which no bound on errors tells. But those changes are known, and
    /// rounding is independent of them.
    fn rounded(&self, operands: &Operands) -> Vec<(usize, Vec<[f64; 2]>)> {
        let count = self.rounded_rows(operands.rows.len());
        let (_, n, k) = self.dims();
        let chosen: Vec<usize> = (0..count)
            .map(|i| i * operands.rows.len() / count)
            .collect();
        let rows = chosen.iter().flat_map(|at| &operands.a[at * k..][..k]);
        let (a, b): (Vec<f64>, _) = (rows.copied().collect(), &operands.b);
        let values = multiply(&a, b, count, n, k, |factor| factor);
        let rounded = multiply(&a, b, count, n, k, |factor| bf16::from_f64(factor).into());
        let lines = values.chunks(n).zip(rounded.chunks(n));
        let changes = lines.map(|(values, rounded)| {
            // Without what is proportional to the values, which a sum that is biased
            // in its rounding would change as well.
            let share = dot(values, rounded) / dot(values, values);
            let changes = values.iter().zip(rounded);
            changes.map(|(v, r)| [*v, r - share * v]).collect()
        });
        chosen.into_iter().zip(changes).collect()
    }

    /// How many rows of `rows` are searched for rounded operands.
    fn rounded_rows(&self, rows: usize) -> usize {
        if self.precision != Precision::F16 || !self.draw.data.is_independent() {
            return 0;
        }
        let enough = ROUNDED_ELEMENTS.div_ceil(self.shape.n as usize);
        enough.max(ROUNDED_ROWS).min(rows)
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
        let Operands { rows, a, b } = operands;
        let magnitude = self.magnitude();
        let row = |(at, _): (usize, &usize)| {
            let line = product(&a[at * k..][..k], b, 1, n, k, magnitude);
            (at, line)
        };
        let col = |j: usize| {
            let column: Vec<f64> = (0..k).map(|p| b[p * n + j]).collect();
            (j, product(a, &column, rows.len(), 1, k, magnitude))
        };
        let is_full = |&(_, number): &(usize, &usize)| row_numbers.contains(number);
        Sampled {
            full_rows: rows.iter().enumerate().filter(is_full).map(row).collect(),
            full_cols: col_numbers.into_iter().map(col).collect(),
            freivalds: self.freivalds(batch, operands),
        }
    }

    fn freivalds(&self, batch: usize, operands: &Operands) -> Freivalds {
        let (_, n, k) = self.dims();
        let Operands { rows, a, b } = operands;
        let weights = random_weights(self.draw.seed, batch, n);
        let vectors = FREIVALDS_VECTORS * n.div_ceil(FREIVALDS_COLUMNS);
        let mut bx = vec![0.0; k * vectors];
        bx.par_chunks_mut(vectors)
            .zip(b.par_chunks(n))
            .for_each(|(bx, b)| weigh(b, &weights, bx));
        let squares = column_squares(b, n);
        let mut weighted = vec![0.0; vectors];
        let mut lengths = vec![0.0; vectors];
        let squared = weights
            .each_ref()
            .map(|x| x.iter().map(|x| x * x).collect());
        weigh(&squares, &squared, &mut weighted);
        weigh(&vec![1.0; n], &squared, &mut lengths);
        let norms = weighted.iter().zip(&lengths);
        Freivalds {
            weights,
            products: multiply(a, &bx, rows.len(), vectors, k, |factor| factor),
            norms: a.chunks(k).map(|row| dot(row, row).sqrt()).collect(),
            weighted_norms: norms.map(|(w, l)| [w.sqrt(), l.sqrt()]).collect(),
        }
    }

    /// Compares `found`, the rows of product `batch` that `reference` is about.
    fn compare(
        &self,
        batch: usize,
        reference: &Reference,
        found: &[f64],
        bound: &Bound,
    ) -> Tracker {
        let (_, n, _) = self.dims();
        let Reference {
            rows,
            known,
            rounded,
        } = reference;
        let element = |tracker: &mut Tracker, at: usize, col: usize, known: &[f64; 2]| {
            let scale = self.scale(known) + self.underflow();
            tracker.compare(found[at * n + col], known[0], scale, || {
                place(batch, rows[at], col)
            })
        };
        let row = |tracker: &mut Tracker, at: usize, line: &[[f64; 2]]| {
            let mut squares = 0.0;
            for (col, known) in line.iter().enumerate() {
                squares += element(tracker, at, col, known).powi(2);
            }
            let average = (squares / n as f64).sqrt();
            tracker.compare_average(average, bound.row, || row_place(batch, rows[at]));
        };
        let mut tracker = match known {
            Known::Full(elements) => {
                let tracker = Verdict::tracker(Checked::Full, bound.element);
                elements
                    .par_chunks(n)
                    .enumerate()
                    .map(|(at, line)| {
                        let mut tracker = tracker.clone();
                        row(&mut tracker, at, line);
                        tracker
                    })
                    .reduce_with(Tracker::merge)
                    .unwrap_or(tracker)
            }
            Known::Sampled(sampled) => {
                let mut tracker = Verdict::tracker(Checked::Sampled, bound.element);
                for (at, line) in &sampled.full_rows {
                    row(&mut tracker, *at, line);
                }
                for (col, line) in &sampled.full_cols {
                    for (at, known) in line.iter().enumerate() {
                        element(&mut tracker, at, *col, known);
                    }
                }
                let least = self.precision.operand().smallest_normal();
                let unit = self.precision.accumulator().roundoff();
                let underflow = if least > 0.0 { least / unit } else { 0.0 };
                (sampled.freivalds).check(batch, rows, found, underflow, bound, &mut tracker);
                tracker
            }
        };
        // By Hoeffding's inequality for terms of random signs.
        let terms = rounded.iter().flat_map(|(at, line)| {
            let found = found[at * n..].iter().zip(line);
            found.map(|(found, [value, change])| (found - value) * change)
        });
        let (sum, squares) = terms.fold((0.0, 0.0), |(sum, squares), term| {
            (sum + term, squares + term * term)
        });
        if squares > 0.0 {
            let bound = tolerance::lambda(1.0, self.shape.batch.into());
            tracker.compare_rounded_operands(sum / squares.sqrt(), bound);
        }
        tracker
    }
}

impl Freivalds {
    /// Compares rows of product `batch`. `underflow` over the unit roundoff is what
    /// an operand may lose that is not normal.
    fn check(
        &self,
        batch: usize,
        rows: &[usize],
        found: &[f64],
        underflow: f64,
        bound: &Bound,
        tracker: &mut Tracker,
    ) {
        let n = self.weights[0].len();
        let vectors = self.weighted_norms.len();
        // The tracker compares in units of an element's bound.
        let share = match bound.element {
            0.0 => 1.0,
            element => bound.product / element,
        };
        let mut weighed = vec![0.0; vectors];
        let lines = found.chunks(n).zip(self.products.chunks(vectors));
        for (at, (found, products)) in lines.enumerate() {
            weigh(found, &self.weights, &mut weighed);
            let compared = weighed.iter().zip(products).zip(&self.weighted_norms);
            for (vector, ((found, expected), [weighted, length])) in compared.enumerate() {
                let scale = self.norms[at] * weighted + underflow * length;
                tracker.compare_product(found - expected, share * scale, || {
                    let first = vector / FREIVALDS_VECTORS * FREIVALDS_COLUMNS;
                    let last = n.min(first + FREIVALDS_COLUMNS) - 1;
                    format!("{}, columns {first} to {last}", row_place(batch, rows[at]))
                });
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
        let GemmShape { batch, m, n, k, .. } = self.shape;
        let rounded = 2 * self.rounded_rows(m as usize) as u64 * u64::from(n) * u64::from(k);
        let own = u64::from(batch) * rounded
            + if self.is_full() {
                self.shape.macs()
            } else {
                let vectors = FREIVALDS_VECTORS as u64;
                let blocks = u64::from(n.div_ceil(FREIVALDS_COLUMNS as u32));
                let lines = RANDOM_LINES as u64 + 2;
                let (m, n) = (u64::from(m), u64::from(n));
                let each = vectors * (n + m * blocks) + lines * (m + n);
                u64::from(batch) * u64::from(k) * each
            };
        own + self.normal.as_ref().map_or(0, |p| p.reference_macs())
    }

    fn on_normal_inputs(&self) -> Option<&dyn Problem> {
        self.normal.as_deref().map(|problem| problem as _)
    }

    fn check(&self, program: &Program, output: &[u8]) -> Verdict {
        let bound = self.bound(program);
        if let Some(why) = self.unverifiable(bound.element) {
            return Verdict::unverifiable(bound.element, why);
        }
        let element = self.precision.accumulator();
        let found = element.read(output, self.outputs() as usize);
        let (m, n, _) = self.dims();
        self.reference()
            .par_iter()
            .zip(found.par_chunks(m * n))
            .enumerate()
            .map(|(batch, (reference, found))| self.compare(batch, reference, found, &bound))
            .reduce_with(Tracker::merge)
            .unwrap_or(Verdict::tracker(Checked::Full, bound.element))
            .verdict(output)
    }

    fn check_rows(&self, program: &Program, rows: &[usize], values: &[f64]) -> Option<Verdict> {
        let bound = self.bound(program);
        let (m, n, _) = self.dims();
        let mut found = values;
        let tracker = rows
            .chunk_by(|a, b| a / m == b / m)
            .map(|rows| {
                let batch = rows[0] / m;
                let operands = self.operands(batch, rows.iter().map(|row| row % m).collect());
                let (part, rest) = found.split_at(rows.len() * n);
                found = rest;
                self.compare(batch, &self.reference_of(batch, &operands), part, &bound)
            })
            .reduce(Tracker::merge)?;
        let output = Tensor::new(self.precision.accumulator(), values).bytes;
        Some(tracker.verdict(&output))
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
        let reference = self.is_full().then(|| {
            let values: Vec<f64> = self.known().map(|known| known[0]).collect();
            Tensor::new(Element::F64, &values)
        });
        Some(Export {
            inputs: vec![("a", stored(a)), ("b", stored(b))],
            output: stored([m, n]),
            element: self.precision.accumulator(),
            reference,
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

/// Weights of random sign for the columns of C. Within a block no two columns have
/// the same, so that columns that are swapped show, and a column whose weight is
/// small in the first vector has a large one in the second. Whole numbers keep
/// products of integers exact.
fn random_weights(seed: u64, batch: usize, count: usize) -> [Vec<f64>; FREIVALDS_VECTORS] {
    let mut rng = inputs::stream(seed, 101, batch as u64);
    let mut weights = [vec![], vec![]];
    while weights[0].len() < count {
        let mut block: Vec<usize> = (0..FREIVALDS_COLUMNS).collect();
        for at in (1..FREIVALDS_COLUMNS).rev() {
            block.swap(at, inputs::index(&mut rng, at + 1));
        }
        for weight in block {
            let mut signed = |size: usize| [1.0, -1.0][inputs::index(&mut rng, 2)] * size as f64;
            weights[0].push(signed(FREIVALDS_COLUMNS + weight));
            weights[1].push(signed(2 * FREIVALDS_COLUMNS - 1 - weight));
        }
    }
    weights.map(|mut of| {
        of.truncate(count);
        of
    })
}

/// The sums of each block of `row`, weighed by each vector; blocks of vectors.
fn weigh(row: &[f64], weights: &[Vec<f64>; FREIVALDS_VECTORS], sums: &mut [f64]) {
    let blocks = row.chunks(FREIVALDS_COLUMNS).enumerate();
    for ((index, block), sums) in blocks.zip(sums.chunks_mut(FREIVALDS_VECTORS)) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = dot(block, &weights[index * FREIVALDS_COLUMNS..]);
        }
    }
}

/// ‖b‖² of every column of a matrix with `cols` columns.
fn column_squares(x: &[f64], cols: usize) -> Vec<f64> {
    let mut squares = vec![0.0; cols];
    squares
        .par_chunks_mut(BLOCK_COLS)
        .enumerate()
        .for_each(|(block, squares)| {
            for row in x.chunks(cols) {
                let row = &row[block * BLOCK_COLS..];
                for (square, value) in squares.iter_mut().zip(row) {
                    *square += value * value;
                }
            }
        });
    squares
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

/// C = A·B in float64 with Σ|a|·|b| beside every element, |x| being `magnitude`.
fn product(
    a: &[f64],
    b: &[f64],
    m: usize,
    n: usize,
    k: usize,
    magnitude: impl Fn(f64) -> f64 + Sync,
) -> Vec<[f64; 2]> {
    let values = multiply(a, b, m, n, k, |factor| factor);
    let scales = multiply(a, b, m, n, k, magnitude);
    let both = values.into_iter().zip(scales);
    both.map(|(value, scale)| [value, scale]).collect()
}

/// C = f(A)·f(B) in float64; each element is summed in the order of k, whatever
/// the number of threads.
fn multiply(
    a: &[f64],
    b: &[f64],
    m: usize,
    n: usize,
    k: usize,
    f: impl Fn(f64) -> f64 + Sync,
) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    c.par_chunks_mut(BLOCK_ROWS * n)
        .enumerate()
        .for_each(|(block, c)| {
            let a = &a[block * BLOCK_ROWS * k..];
            for first in (0..n).step_by(BLOCK_COLS) {
                multiply_block(a, b, c, first, n, k, &f);
            }
        });
    c
}

fn multiply_block(
    a: &[f64],
    b: &[f64],
    c: &mut [f64],
    first: usize,
    n: usize,
    k: usize,
    f: &impl Fn(f64) -> f64,
) {
    let width = BLOCK_COLS.min(n - first);
    let rows = c.len() / n;
    let mut sums = [[0.0; BLOCK_COLS]; BLOCK_ROWS];
    let mut line = [0.0; BLOCK_COLS];
    for p in 0..k {
        let b_row = &b[p * n + first..][..width];
        for (to, &from) in line.iter_mut().zip(b_row) {
            *to = f(from);
        }
        for (row, sums) in sums[..rows].iter_mut().enumerate() {
            let value = f(a[row * k + p]);
            for (sum, b) in sums[..width].iter_mut().zip(&line) {
                *sum += value * b;
            }
        }
    }
    for (c, sums) in c.chunks_mut(n).zip(&sums) {
        c[first..][..width].copy_from_slice(&sums[..width]);
    }
}

#[cfg(test)]
mod tests;
