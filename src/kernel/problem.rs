//! What a case is to compute, whichever kernel computes it: inputs, expected
//! result, and the verdict on an output.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::element::{Element, Tensor};
use super::id::{CaseId, Operation, Precision};
use super::inputs::Draw;
use super::program::Program;
use super::shape::Shape;
use super::{attention, bandwidth, latency, matmul, peak};
use crate::units::Bytes;
use bandwidth::stream::{Pattern, Stream};

/// How much of the output was compared with the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Checked {
    /// Every element.
    Full,
    /// Border and random parts in full, the rest through products with random
    /// vectors (Freivalds) or by agreement with another kernel.
    Sampled,
    /// Nothing: the case did not get that far.
    None,
}

/// Outcome of comparing one output with the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How much was compared.
    pub checked: Checked,
    /// Largest error, scaled by what rounding refers to at that element; the errors
    /// of products with random vectors and average errors count as well, scaled so
    /// that the same tolerance is their bound. `None` when some element is not a number.
    pub max_scaled_error: Option<f64>,
    /// Largest scaled error that a correct kernel can show.
    pub tolerance: f64,
    /// Why the output is rejected; `None` when it is correct.
    pub rejection: Option<Rejection>,
}

/// Why an output is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// Every element reads the same: nobody computed anything.
    NotComputed {
        /// Bits of the elements, little-endian.
        pattern: u32,
    },
    /// An element is further from the reference than rounding can explain.
    WrongElement {
        /// Where, in the terms of the operation.
        place: String,
        /// What the kernel wrote.
        found: f64,
        /// What the reference says.
        expected: f64,
    },
    /// A product with a random vector does not agree.
    WrongProduct {
        /// Where, in the terms of the operation.
        place: String,
        /// Difference over its bound.
        excess: f64,
    },
    /// Elements are further from the reference on average than rounding can explain.
    WrongAverage {
        /// Where, in the terms of the operation.
        place: String,
        /// Root mean square of the errors over its bound.
        excess: f64,
    },
    /// Errors agree with those that operands rounded to bfloat16 would make.
    RoundedOperands {
        /// Their correlation, over what chance can explain.
        excess: f64,
    },
    /// Rounding can do so much with these inputs that right and wrong outputs
    /// cannot be told apart.
    Unverifiable {
        /// What rounding can do.
        why: String,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotComputed { pattern } => write!(
                f,
                "output not computed (every word reads 0x{pattern:08x}): the driver accepted the work and did not do it"
            ),
            Self::WrongElement {
                place,
                found,
                expected,
            } => write!(f, "wrong result at {place}: {found} instead of {expected}"),
            Self::WrongProduct { place, excess } => write!(
                f,
                "wrong result in {place}: the product with a random vector is off by {excess:.3} times what rounding can explain"
            ),
            Self::WrongAverage { place, excess } => write!(
                f,
                "wrong result in {place}: elements are off by {excess:.3} times what rounding can explain on average"
            ),
            Self::RoundedOperands { excess } => write!(
                f,
                "wrong result: errors agree with those of operands rounded to bfloat16, {excess:.3} times as closely as chance can explain"
            ),
            Self::Unverifiable { why } => write!(f, "the output cannot be verified: {why}"),
        }
    }
}

impl Verdict {
    /// No output can be verified, for the reason `why`.
    pub fn unverifiable(tolerance: f64, why: String) -> Self {
        Self {
            checked: Checked::None,
            max_scaled_error: None,
            tolerance,
            rejection: Some(Rejection::Unverifiable { why }),
        }
    }

    /// Follows one comparison after the other and remembers the worst.
    pub fn tracker(checked: Checked, tolerance: f64) -> Tracker {
        Tracker {
            checked,
            tolerance,
            worst: 0.0,
            rejection: None,
        }
    }
}

/// Gathers element comparisons into a [`Verdict`].
#[derive(Clone, Debug)]
pub struct Tracker {
    checked: Checked,
    tolerance: f64,
    worst: f64,
    rejection: Option<Rejection>,
}

impl Tracker {
    /// Compares one element and returns its scaled error. `scale` is the magnitude to
    /// which the tolerance refers; where it is zero only the exact value passes.
    pub fn compare(
        &mut self,
        found: f64,
        expected: f64,
        scale: f64,
        place: impl FnOnce() -> String,
    ) -> f64 {
        let scaled = self.note(found - expected, scale);
        if exceeds(scaled, self.tolerance) {
            self.rejection
                .get_or_insert_with(|| Rejection::WrongElement {
                    place: place(),
                    found,
                    expected,
                });
        }
        scaled
    }

    /// The same for a product with a random vector that is off by `difference`.
    pub fn compare_product(&mut self, difference: f64, scale: f64, place: impl FnOnce() -> String) {
        let scaled = self.note(difference, scale);
        if exceeds(scaled, self.tolerance) {
            let (place, excess) = (place(), scaled / self.tolerance);
            self.rejection
                .get_or_insert(Rejection::WrongProduct { place, excess });
        }
    }

    /// The same for the root mean square of scaled errors.
    pub fn compare_average(&mut self, average: f64, bound: f64, place: impl FnOnce() -> String) {
        let scale = match self.tolerance {
            0.0 => 1.0,
            tolerance => bound / tolerance,
        };
        let scaled = self.note(average, scale);
        if exceeds(scaled, self.tolerance) {
            let (place, excess) = (place(), scaled / self.tolerance);
            self.rejection
                .get_or_insert(Rejection::WrongAverage { place, excess });
        }
    }

    /// Takes how closely errors agree with those of operands rounded to bfloat16: a
    /// normal deviate if they do by chance, of which `bound` is the largest.
    pub fn compare_rounded_operands(&mut self, agreement: f64, bound: f64) {
        let scaled = self.note(agreement.max(0.0), bound / self.tolerance);
        if exceeds(scaled, self.tolerance) {
            let excess = scaled / self.tolerance;
            self.rejection
                .get_or_insert(Rejection::RoundedOperands { excess });
        }
    }

    /// Remembers an error and returns it, scaled.
    fn note(&mut self, error: f64, scale: f64) -> f64 {
        let scaled = if error == 0.0 {
            0.0
        } else {
            error.abs() / scale
        };
        self.worst = worse(self.worst, scaled);
        scaled
    }

    /// The more pessimistic of two trackers over the same output; the first
    /// rejection is kept.
    pub fn merge(mut self, other: Self) -> Self {
        self.worst = worse(self.worst, other.worst);
        self.rejection = self.rejection.or(other.rejection);
        self
    }

    /// The verdict on `output`. A wrong output whose words are all the same is
    /// called what it is: not computed.
    pub fn verdict(self, output: &[u8]) -> Verdict {
        let rejection = self.rejection.map(|rejection| match uniform_word(output) {
            Some(pattern) => Rejection::NotComputed { pattern },
            None => rejection,
        });
        Verdict {
            checked: self.checked,
            max_scaled_error: self.worst.is_finite().then_some(self.worst),
            tolerance: self.tolerance,
            rejection,
        }
    }
}

/// Whether an error is larger than its bound. One that is not a number is.
pub fn exceeds(error: f64, bound: f64) -> bool {
    error.is_nan() || error > bound
}

/// The larger of two errors; not a number if either is not.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// The 32-bit word that fills the whole of `output`, if one does.
fn uniform_word(output: &[u8]) -> Option<u32> {
    let words = output.as_chunks::<4>().0;
    let first = words.first()?;
    words
        .iter()
        .all(|word| word == first)
        .then(|| u32::from_le_bytes(*first))
}

/// Work and compulsory traffic of one run of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Operations, by the conventions stated at each problem.
    pub operations: u64,
    /// What the operations are.
    pub unit: WorkUnit,
    /// Bytes that must cross memory at least once: inputs read, outputs written.
    pub bytes: u64,
}

/// Unit of [`Work::operations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkUnit {
    /// Floating-point operations; a multiply-add is two.
    #[serde(rename = "FLOP")]
    Flop,
    /// Integer operations; a multiply-add is two.
    #[serde(rename = "OP")]
    Op,
}

/// What others need to know to compute a problem as well: names, and dimensions
/// from the outermost to the innermost as the elements lie in memory.
#[derive(Clone, Debug)]
pub struct Export {
    /// The inputs, in order.
    pub inputs: Vec<(&'static str, Vec<u32>)>,
    /// Dimensions of the output.
    pub output: Vec<u32>,
    /// Format of the output.
    pub element: Element,
    /// The float64 reference of the whole output; `None` where only samples of it
    /// are computed.
    pub reference: Option<Tensor>,
}

/// A part of a problem that kernels can compute on its own. Their outputs, one behind
/// the other, are the whole output.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its shape, of the problem's operation.
    pub shape: Shape,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// Size of its output, without what fills up the buffer.
    pub output: Bytes,
}

/// One problem: an operation in a precision on a shape, with seeded inputs.
pub trait Problem: Send + Sync {
    /// Inputs in the order of [`super::program::Role::Input`].
    fn inputs(&self) -> &[Tensor];

    /// Work of one run of `program`. The programs of arithmetic ceilings differ
    /// in how much they do; all others ignore the argument.
    fn work(&self, program: &Program) -> Work;

    /// Multiply-adds that the reference takes, to tell how long to wait for it.
    fn reference_macs(&self) -> u64;

    /// Compares an output of `program` with the reference. The reference is
    /// computed on the first call and kept.
    fn check(&self, program: &Program, output: &[u8]) -> Verdict;

    /// What [`Problem::check`] has to say about some rows of the output alone:
    /// `values`, one row after the other, are those of `rows`, which are counted
    /// through the whole batch. Each row's elements are compared as in the whole
    /// output, so that an output is rejected if some of its rows are. Computes the
    /// reference of no other row. `None` where there is no row, or no such check.
    fn check_rows(&self, _program: &Program, _rows: &[usize], _values: &[f64]) -> Option<Verdict> {
        None
    }

    /// The same problem on normal inputs, whose check tells most: on zeros, for
    /// one, almost any kernel is right. Where there is one, a program has to pass
    /// it as well before an output counts as verified.
    fn on_normal_inputs(&self) -> Option<&dyn Problem> {
        None
    }

    /// Whether an output that passed [`Problem::check`] on samples still has to
    /// be compared in full with another kernel's.
    fn wants_witness(&self) -> bool {
        false
    }

    /// Parts in which another kernel can compute the same with little memory. Only
    /// for problems that want a witness.
    fn parts(&self) -> Box<dyn Iterator<Item = Part> + '_> {
        Box::new(std::iter::empty())
    }

    /// Compares an output in full with a witness: the output of another kernel
    /// that passed [`Problem::check`]. Only for problems that want one.
    fn agree(&self, _output: &[u8], _witness: &[u8]) -> Option<Rejection> {
        None
    }

    /// The problem for others. `None` for ceilings, which compute nothing that
    /// anybody would want to.
    fn export(&self) -> Option<Export> {
        None
    }
}

/// The problem that case `id` poses with the inputs of `draw`. Ceilings have
/// inputs of their own, for which only the seed counts. `None` where the precision
/// is not implemented, the shape is of another operation, or there is no ceiling
/// of that name.
pub fn problem(id: &CaseId, draw: Draw) -> Option<Box<dyn Problem>> {
    let (precision, seed) = (id.precision, draw.seed);
    match (id.operation, precision, id.shape) {
        (Operation::Matmul, _, Shape::Gemm(shape)) if precision != Precision::None => Some(
            Box::new(matmul::problem::Matmul::new(shape, precision, draw)),
        ),
        (Operation::Attention, Precision::F32 | Precision::F16, Shape::Attention(shape)) => Some(
            Box::new(attention::problem::Attention::new(shape, precision, draw)),
        ),
        (Operation::Peak, _, Shape::Device) => match id.variant.as_str() {
            "cooperative" => Some(Box::new(peak::cooperative::Cooperative::new(
                precision, seed,
            ))),
            "fma" | "mad" | "dot" => Some(Box::new(peak::chains::Chains::new(precision, seed))),
            _ => None,
        },
        (Operation::Bandwidth, Precision::F32, Shape::WorkingSet { bytes }) => {
            let stream = |pattern| Box::new(Stream::new(pattern, bytes, seed));
            match id.variant.as_str() {
                "read" => Some(Box::new(bandwidth::read::Read::new(bytes, seed))),
                "write" => Some(stream(Pattern::Write)),
                "copy" => Some(stream(Pattern::Copy)),
                "triad" => Some(stream(Pattern::Triad)),
                "workgroup" => Some(Box::new(bandwidth::workgroup::Workgroup::new(bytes, seed))),
                _ => None,
            }
        }
        (Operation::Latency, Precision::None, Shape::Empty) => {
            Some(Box::new(latency::Empty::new(seed)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f64]) -> Vec<u8> {
        Tensor::new(Element::F32, values).bytes
    }

    #[test]
    fn a_nan_among_good_elements_is_rejected_and_has_no_error_figure() {
        let mut tracker = Verdict::tracker(Checked::Full, 1e-6);
        tracker.compare(1.0, 1.0, 1.0, || "0".into());
        tracker.compare(f64::NAN, 1.0, 1.0, || "1".into());
        tracker.compare(1.0, 1.0, 1.0, || "2".into());
        let verdict = tracker.verdict(&bytes(&[1.0, f64::NAN, 1.0]));
        assert_eq!(verdict.max_scaled_error, None);
        assert!(
            matches!(verdict.rejection, Some(Rejection::WrongElement { place, .. }) if place == "1")
        );
    }

    #[test]
    fn a_uniform_wrong_output_is_called_not_computed() {
        let mut tracker = Verdict::tracker(Checked::Full, 1e-6);
        tracker.compare(0.0, 1.0, 1.0, || "0".into());
        let verdict = tracker.verdict(&[0; 64]);
        assert_eq!(
            verdict.rejection,
            Some(Rejection::NotComputed { pattern: 0 })
        );
        assert!(
            verdict
                .rejection
                .unwrap()
                .to_string()
                .contains("output not computed")
        );
    }

    #[test]
    fn a_zero_scale_admits_only_the_exact_value() {
        let verdict = |found| {
            let mut tracker = Verdict::tracker(Checked::Full, 1e-3);
            tracker.compare(found, 0.0, 0.0, String::new);
            tracker.verdict(&bytes(&[0.5, 1.0])).rejection.is_none()
        };
        assert!(verdict(0.0));
        assert!(!verdict(1e-30));
    }
}
