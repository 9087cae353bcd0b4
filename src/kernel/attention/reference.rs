//! Rows of the output in float64, and how far rounding may move them.
//!
//! An element is o = Σ p_j·v_j, with the weights p = softmax(s). Three kinds of
//! errors meet in it:
//!
//! - Each weight is off by a share ε_j of its own: its score is rounded, exp is
//!   not exact, running sums are rescaled. That moves o by Σ p_j·ε_j·(v_j − o): what
//!   all weights share cancels. The ε_j depend on Q and K, of which V is drawn
//!   independently and around zero. So the terms of that sum are independent,
//!   whatever the ε_j, and it has a standard deviation of
//!   √(Σ p_j²·ε_j²·(v_j − o)²).
//! - The n additions of Σ p_j·v_j are rounded, and those of Σ p_j. Partial sums of
//!   the first walk from zero, so that their mean square is half of Σ p_j²·v_j²;
//!   those of the second grow evenly, with a mean square of a third of the total's.
//! - Weights are rounded to half precision where matrix units take them so.
//!
//! The variances add up, and an error beyond λ standard deviations is as likely
//! as [`super::super::tolerance::lambda`] says (Hoeffding's inequality; Higham and
//! Mary use it in the same way). What comes on top happens once to a whole
//! element: the division, and storing. Since a long average is as small as
//! √(Σ p_j²), and so are its errors, a sum of magnitudes would not do: for 65,536
//! keys it is a hundred times as large.

use crate::kernel::element::Element;
use crate::kernel::tolerance::{U_F16, U_F32};

/// Standard deviation of the error of a rounding to nearest, in unit roundoffs u of
/// the result. The error of m·2ᵉ with 1 ≤ m < 2 is even within ±u·2ᵉ, of which the
/// variance is u²·4ᵉ/3; mantissas are as frequent as 1/m, which makes the mean of
/// 1/m² 3/(8·ln 2) = 0.541; √(0.541/3).
const ROUNDING: f64 = 0.4247;
/// WGSL allows exp(x) an error of so many units in the last place …
const EXP_ULPS: f64 = 3.0;
/// … and so many more for each unit of |x|.
const EXP_ULPS_EACH: f64 = 2.0;
/// Unit roundoffs of a quotient, at most 2.5 units in the last place, and of the
/// product with it.
const DIVISION: f64 = 6.0;
/// Spacing of the numbers around zero in half precision, by half of which a weight
/// is rounded.
const SMALLEST_F16: f64 = 1.0 / (1u64 << 24) as f64;

/// What is known of the inputs, and so of the errors.
#[derive(Clone, Copy, Debug)]
pub enum Errors {
    /// All inputs are zero: nothing is ever rounded.
    None,
    /// Elements are independent of one another and have a mean of zero.
    Independent {
        /// Standard deviations within which correct results stay.
        lambda: f64,
        /// Many scores may be equal, and adding equal weights errs in one direction.
        equal_weights: bool,
    },
    /// Nothing is known: errors add up.
    Worst {
        /// The deterministic bound of all additions together, relative to the sum
        /// of magnitudes.
        accumulation: f64,
    },
}

/// An element of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// In float64.
    pub value: f64,
    /// How far a correct kernel may be from it.
    pub bound: f64,
}

/// The keys that a row sees: weights and what is known of their errors.
struct Weights {
    /// Their sum is 1.
    share: Vec<f64>,
    /// Unit roundoffs of single precision by which scores and exp(s − max) err: κ_j =
    /// scale·Σ|q·k| for the score, and what WGSL allows for exp. The terms of a score
    /// have random signs, so that its rounding errors have a standard deviation of
    /// κ_j/2 or less.
    score: Vec<f64>,
    exp: Vec<f64>,
    /// Σ exp(s − max), by which weights are divided at last.
    total: f64,
}

impl Weights {
    fn new(query: &[f64], keys: &[f64], scale: f64) -> Self {
        let (mut share, mut score) = (Vec::new(), Vec::new());
        for key in keys.chunks(query.len()) {
            let terms = query.iter().zip(key).map(|(q, k)| q * k);
            share.push(scale * terms.clone().sum::<f64>());
            score.push(scale * terms.map(f64::abs).sum::<f64>());
        }
        let maximum = share.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let below = |s: &f64| EXP_ULPS + EXP_ULPS_EACH * (maximum - s);
        let exp = share.iter().map(below).collect();
        share.iter_mut().for_each(|s| *s = libm::exp(*s - maximum));
        let total: f64 = share.iter().sum();
        share.iter_mut().for_each(|p| *p /= total);
        Self {
            share,
            score,
            exp,
            total,
        }
    }

    /// Absolute errors of the weight `share` in half precision, where it is relative
    /// to the largest.
    fn half_precision(&self, share: f64, element: Element) -> [f64; 2] {
        match element {
            Element::F16 => [U_F16 * share, SMALLEST_F16 / 2.0 / self.total],
            _ => [0.0; 2],
        }
    }
}

/// The row of the output for `query`, in which `keys` and `values` are those that it
/// sees. Inputs and output are stored as `element`s.
pub fn row(
    query: &[f64],
    keys: &[f64],
    values: &[f64],
    scale: f64,
    element: Element,
    errors: Errors,
) -> Vec<Expected> {
    let weights = Weights::new(query, keys, scale);
    let exact = exact(&weights, values, query.len());
    let bounds = match errors {
        Errors::None => vec![0.0; query.len()],
        Errors::Independent {
            lambda,
            equal_weights,
        } => independent(&weights, values, &exact, element, lambda, equal_weights),
        Errors::Worst { accumulation } => worst(&weights, values, &exact, element, accumulation),
    };
    let with_underflow = |(value, bound)| Expected {
        value,
        bound: with_underflow(value, bound, element),
    };
    exact.into_iter().zip(bounds).map(with_underflow).collect()
}

fn exact(weights: &Weights, values: &[f64], head_dim: usize) -> Vec<f64> {
    let mut sums = vec![0.0; head_dim];
    for (value, weight) in values.chunks(head_dim).zip(&weights.share) {
        for (sum, v) in sums.iter_mut().zip(value) {
            *sum += weight * v;
        }
    }
    sums
}

/// λ standard deviations, and what happens once to an element.
fn independent(
    weights: &Weights,
    values: &[f64],
    exact: &[f64],
    element: Element,
    lambda: f64,
    equal_weights: bool,
) -> Vec<f64> {
    let keys = weights.share.len() as f64;
    // Half a square for each addition, one for a weight that is divided by the
    // total, one for rescaled sums.
    let additions = (ROUNDING * U_F32).powi(2) * (keys / 2.0 + 2.0);
    // Σ p²·(…)·v², Σ p²·ε²·v and Σ p²·ε².
    let mut squares = vec![0.0; exact.len()];
    let mut products = vec![0.0; exact.len()];
    let mut all = 0.0;
    for (j, value) in values.chunks(exact.len()).enumerate() {
        let share = weights.share[j];
        let own = U_F32.powi(2) * (weights.score[j].powi(2) + weights.exp[j].powi(2));
        let own = share.powi(2) * own;
        let rounded = weights.half_precision(share, element);
        // A row may hang on few weights, of whatever mantissas.
        let rounded: f64 = rounded.iter().map(|e| e * e / 3.0).sum();
        let square = own + share.powi(2) * additions + rounded;
        all += own;
        for ((squares, products), v) in squares.iter_mut().zip(&mut products).zip(value) {
            *squares += square * v * v;
            *products += own * v;
        }
    }
    // Of the sum of weights, relative to it.
    let (scattered, fixed) = if equal_weights {
        (0.0, keys / 2.0 * U_F32)
    } else {
        ((ROUNDING * U_F32).powi(2) * keys / 3.0, 0.0)
    };
    let fixed = fixed + DIVISION * U_F32 + element.roundoff();
    let bound = |((squares, products), o): ((&f64, &f64), &f64)| {
        let variance = squares - 2.0 * products * o + (all + scattered) * o * o;
        lambda * variance.max(0.0).sqrt() + fixed * o.abs()
    };
    squares
        .iter()
        .zip(&products)
        .zip(exact)
        .map(bound)
        .collect()
}

/// The sum of all magnitudes: with c_j the error of a weight, they move by
/// p_j·(c_j + Σ p·c) and the element by at most Σ p_j·|v_j|·(1 + c_j + Σ p·c) times
/// what additions do.
fn worst(
    weights: &Weights,
    values: &[f64],
    exact: &[f64],
    element: Element,
    accumulation: f64,
) -> Vec<f64> {
    let condition = |j: usize| weights.score[j] + weights.exp[j];
    let keys = weights.share.iter().enumerate();
    let mean: f64 = keys.map(|(j, share)| share * condition(j)).sum();
    let mut bounds: Vec<f64> = exact.iter().map(|o| element.roundoff() * o.abs()).collect();
    let accumulation = accumulation + DIVISION * U_F32;
    for (j, value) in values.chunks(exact.len()).enumerate() {
        let share = weights.share[j];
        let rounded: f64 = weights.half_precision(share, element).iter().sum();
        let error = accumulation * share * (1.0 + condition(j) + mean) + rounded;
        for (bound, v) in bounds.iter_mut().zip(value) {
            *bound += error * v.abs();
        }
    }
    bounds
}

/// A device may take for zero what is smaller than the smallest normal number. An
/// element that is exactly zero, because all values are, stays so.
fn with_underflow(value: f64, bound: f64, element: Element) -> f64 {
    let smallest = element.smallest_normal();
    if bound > 0.0 && value.abs() < bound + smallest {
        bound + smallest
    } else {
        bound
    }
}
