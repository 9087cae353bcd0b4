//! How far a correct kernel may be from the float64 reference.
//!
//! Every output is compared on its own, scaled by what rounding can do there
//! (|A|·|B| for a product). The bound is the probabilistic one of Higham and
//! Mary (*A New Approach to Probabilistic Rounding Error Analysis*, SIAM J. Sci.
//! Comput. 41(5), 2019, theorem 2.4): with independent, mean-zero rounding
//! errors, n operations in unit roundoff u stay within λ·√n·u of the exact
//! result, relative to the sum of magnitudes, with a probability of at least
//! 1 − 2n·exp(−λ²/2) per output. The deterministic bound n·u would let half
//! precision accumulation pass as single precision once K reaches some
//! thousands; √n does not.

/// Unit roundoff of IEEE binary64, 2⁻⁵³.
pub const U_F64: f64 = 1.0 / (1u64 << 53) as f64;
/// Unit roundoff of IEEE binary32, 2⁻²⁴.
pub const U_F32: f64 = 1.0 / (1u64 << 24) as f64;
/// Unit roundoff of IEEE binary16, 2⁻¹¹.
pub const U_F16: f64 = 1.0 / (1u64 << 11) as f64;

/// Probability with which a correct kernel may be rejected, over all outputs.
pub const FALSE_REJECTION: f64 = 1e-9;

/// λ for `outputs` results of `operations` roundings each, so that all of them
/// together stay within the bound but for [`FALSE_REJECTION`]: from
/// 2·n·outputs·exp(−λ²/2) = p.
pub fn lambda(operations: f64, outputs: f64) -> f64 {
    (2.0 * (2.0 * operations.max(1.0) * outputs.max(1.0) / FALSE_REJECTION).ln()).sqrt()
}

/// Scaled-error bound of a sum in unit roundoff `accumulator`, for each of `outputs`
/// results, where terms are independent and have a mean of zero, so that partial
/// sums stay near zero: relative to [`centred_scale`], and the same for any number
/// of operations (Higham and Mary, *Sharper Probabilistic Backward Error Analysis
/// for Basic Linear Algebra Kernels with Random Data*, SIAM J. Sci. Comput. 42(5),
/// 2020). With √n a kernel that writes zeros would pass in half precision, and
/// operands rounded to eleven bits in single precision.
///
/// A partial sum s is rounded by u·|s|·f/m, with f uniform in [−1, 1] and a mantissa
/// m from 1 to 2 whose logarithm is uniform: 0.4247·u·|s| in the root mean square.
/// The error of a sum c of n terms t is then normal with a variance of
/// (0.4247·u)²·Σs², and Σs² is random itself: the partial sums are a Brownian bridge
/// that ends x = c/√Σt² from its beginning. With the error e in units of
/// 0.4247·u·√(n·Σt²), E exp(β·e) = √(β/sin β)·exp(x²/2·(1 − β·cot β)) for β < π
/// (Cameron and Martin's formula for the integral of the square). Chernoff's bound
/// on what e exceeds with a probability of exp(−L), minimised over β numerically, is
/// at most (0.555·L + 1.95)·√(1/3 + x²/6) for all L from 5 to 45 and |x| up to 9. For
/// products of normal values Σ|t| is 2/π·√(n·Σt²), and that is
/// 0.4247·u·π/2/√3·(0.555·L + 1.95) of Σ|t|·√(1 + x²/2).
pub fn centred_accumulation(accumulator: f64, outputs: f64) -> f64 {
    let exponent = (2.0 * outputs / FALSE_REJECTION).ln();
    0.3852 * (0.555 * exponent + 1.95) * accumulator
}

/// What [`centred_accumulation`] is relative to, for a sum `value` of `operations`
/// terms with the sum of magnitudes `magnitude`: Σ|t|·√(1 + x²/2), where
/// x²/2 = 2/π²·n·c²/(Σ|t|)². A sum that ends far from zero has been far from zero
/// on its way, and was rounded accordingly.
pub fn centred_scale(value: f64, magnitude: f64, operations: f64) -> f64 {
    magnitude.hypot(0.45 * operations.sqrt() * value)
}

/// The same for the root mean square of the errors of `count` sums: twice the
/// `expected` one, and where sums are few what a single one may add to it, being off
/// by up to `element`. It tells errors of all sums that are small beside the largest
/// which rounding makes in one of many.
pub fn centred_average(expected: f64, element: f64, count: f64) -> f64 {
    (2.0 * expected).hypot(element / count.sqrt())
}

/// By how much a sum of `operations` terms with a mean of zero may err more on
/// matrix units than with rounding to the nearest. Those of NVIDIA add up some
/// products at a time and cut off the rest (Fasi, Higham, Mikaitis and Pranesh,
/// *Numerical Behavior of NVIDIA Tensor Cores*, PeerJ Comput. Sci. 7:e330, 2021):
/// 4 at a time on Volta and Turing, 8 on Ampere, 16 on Hopper. A sum s loses
/// between 0 and 2u·|s| every time, always towards zero: 2u·|s|·E(f/m) = 0.72·u·|s|
/// on average, with f uniform in [0, 1) and a mantissa m whose logarithm is uniform
/// in [1, 2). These losses have the sign of s and so do not cancel: n/4 times
/// 0.72·u·s, with s a random walk of steps σ, is 0.72·u·(n/4)·√(n/3)·σ in the root
/// mean square; over the sum of magnitudes, 2/π·n·σ for products of normal values,
/// 0.65·u·√n/4. That takes the place of u.
pub fn truncation(operations: f64) -> f64 {
    (0.65 * operations.sqrt() / 4.0).max(1.0)
}

/// The same where nothing is known of the terms. Values that hardly differ from
/// one another are all rounded the same way: errors add up, and a sum that has
/// grown large swallows every further term. What then remains is the
/// deterministic bound γ = n·u/(1 − n·u), whatever the order of the sum (Higham,
/// *Accuracy and Stability of Numerical Algorithms*, 2nd edition, section 3.1);
/// infinite from n·u = 1 on.
pub fn worst_accumulation(operations: f64, accumulator: f64, stored: f64) -> f64 {
    let share = operations * accumulator;
    if share < 1.0 {
        share / (1.0 - share) + stored
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2·1024·2²⁰/10⁻⁹ = 2.147·10¹⁸, ln = 42.2108, ×2 = 84.4217, √ = 9.1881;
    /// 9.1881·32·2⁻²⁴ + 2⁻²⁴ = 1.7585·10⁻⁵.
    #[test]
    fn matches_the_bound_worked_by_hand() {
        let roundings = lambda(1024.0, (1u64 << 20) as f64) * 32.0;
        let tolerance = roundings * U_F32 + U_F32;
        assert!((tolerance - 1.7585e-5).abs() < 1e-9, "{tolerance}");
    }

    /// Half-precision accumulation of K products of normal values errs by about
    /// 0.3·2⁻¹¹ of |A|·|B| in the typical element, and several times that in the
    /// worst of many. The bound must stay below even the typical element for
    /// every K that a matrix product meets.
    #[test]
    fn stays_below_the_error_of_half_precision_accumulation() {
        let typical_f16_error = 0.3 / 2048.0;
        for log_k in 0..=15 {
            let k = f64::from(1 << log_k);
            let tolerance = centred_accumulation(U_F32, 1e9) * truncation(k) + U_F32;
            assert!(tolerance < typical_f16_error, "K = {k}: {tolerance}");
        }
    }

    /// n·u = 1024/2048 = 1/2, so γ = 1.
    #[test]
    fn the_worst_case_grows_beyond_all_bounds() {
        assert_eq!(worst_accumulation(1024.0, U_F16, 0.0), 1.0);
        assert_eq!(worst_accumulation(2048.0, U_F16, 0.0), f64::INFINITY);
        assert_eq!(worst_accumulation(2048.0, 0.0, 0.0), 0.0);
    }

    /// A constant term, added up in half precision. 1 is lost on 2048, where
    /// numbers are 2 apart and ties go to the even one: of 8192 terms a quarter
    /// counts. Only the worst case allows for that.
    #[test]
    fn equal_terms_need_the_worst_case() {
        use half::f16;
        let error = |term: f64, count: u32| {
            let term = f16::from_f64(term);
            let sum = (0..count).fold(f16::ZERO, |sum, _| sum + term);
            let exact = f64::from(count) * term.to_f64();
            (sum.to_f64() - exact).abs() / exact
        };
        for count in [64, 512, 1024, 2047] {
            let bound = worst_accumulation(count.into(), U_F16, U_F16);
            assert!(error(1.001, count) <= bound, "{count}");
        }
        assert_eq!(error(1.0, 8192), 0.75);
        assert!(centred_accumulation(U_F16, 1.0) + U_F16 < 0.75);
    }

    /// 2/10⁻⁹·2²⁰ = 2.097·10¹⁵, ln = 35.279; 0.3852·(0.555·35.279 + 1.95) = 8.2935.
    /// A sum of 32 out of 1024 terms of magnitude 1: √(n² + 0.2025·n·n) = 1.0966·n.
    #[test]
    fn matches_the_centred_bound_worked_by_hand() {
        let tolerance = centred_accumulation(1.0, (1u64 << 20) as f64);
        assert!((tolerance - 8.2935).abs() < 1e-3, "{tolerance}");
        let scale = centred_scale(32.0, 1024.0, 1024.0);
        assert!((scale / 1024.0 - 1.0966).abs() < 1e-4, "{scale}");
    }

    /// Half-precision accumulation of normal products, emulated: it must pass the
    /// bound for data without a mean, and a result of zero must not.
    #[test]
    fn half_precision_accumulation_passes_and_zeros_do_not() {
        use crate::kernel::element::Element;
        use crate::kernel::inputs;
        use half::f16;
        for k in [1usize, 2, 17, 256, 4096] {
            let draw = |tensor| inputs::normal(5, tensor, k * 64, Element::F16).values();
            let (a, b) = (draw(0), draw(1));
            let tolerance = centred_accumulation(U_F16, 64.0);
            let (mut worst, mut worst_zero) = (0f64, 0f64);
            for (a, b) in a.chunks(k).zip(b.chunks(k)) {
                let terms = a.iter().zip(b).map(|(a, b)| a * b);
                let exact: f64 = terms.clone().sum();
                let scale: f64 = terms.clone().map(f64::abs).sum();
                let sum = terms.fold(f16::ZERO, |sum, term| {
                    f16::from_f64(sum.to_f64() + f16::from_f64(term).to_f64())
                });
                let scale = centred_scale(exact, scale, k as f64);
                worst = worst.max((sum.to_f64() - exact).abs() / scale);
                worst_zero = worst_zero.max(exact.abs() / scale);
            }
            assert!(worst < tolerance / 2.0, "K = {k}: {worst} of {tolerance}");
            assert!(
                worst_zero > 3.0 * tolerance,
                "K = {k}: {worst_zero} of {tolerance}"
            );
        }
    }
}
