//! Medians, quantiles, intervals, outliers, Student's t, a sequential test and the
//! steady-state check.
//! Pure functions over samples.

mod outliers;
mod proportion;
mod sequential;
mod student;

pub use outliers::{Comparison, FEWEST_TO_NAME, ORDINARY_SPREAD, SlowCard, compare_cards};
pub use proportion::clopper_pearson;
pub use sequential::MedianSequence;
pub use student::student_t;

/// The `q`-quantile (0 ≤ q ≤ 1) by linear interpolation between order
/// statistics (Hyndman & Fan type 7, numpy's default). `None` without samples.
pub fn quantile(samples: &[f64], q: f64) -> Option<f64> {
    let sorted = sorted(samples);
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = sorted[position.floor() as usize];
    let above = sorted[position.ceil() as usize];
    Some(below + (above - below) * position.fract())
}

/// The median. `None` without samples.
pub fn median(samples: &[f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// The 95 % confidence interval of the median, as [`median_interval`]. `None` below
/// six samples.
pub fn median_ci95(samples: &[f64]) -> Option<[f64; 2]> {
    median_interval(samples, 0.95)
}

/// Distribution-free confidence interval of the median from order statistics: the
/// number of samples below the true median is Binomial(n, ½), so the interval
/// between the k-th smallest and k-th largest sample covers it with probability
/// 1 − 2·P(B < k). The largest such k with at least `confidence` is taken. `None`
/// where even the full range covers less.
pub fn median_interval(samples: &[f64], confidence: f64) -> Option<[f64; 2]> {
    let sorted = sorted(samples);
    let n = sorted.len();
    let k = trimmed_tail(n, (1.0 - confidence) / 2.0)?;
    Some([sorted[k], sorted[n - 1 - k]])
}

/// Half the width of the median's 95 % interval, relative to the median.
/// Infinite while fewer than six samples leave the interval undefined.
pub fn relative_half_width(samples: &[f64]) -> f64 {
    match (median(samples), median_ci95(samples)) {
        (Some(median), Some([low, high])) if median > 0.0 => (high - low) / 2.0 / median,
        _ => f64::INFINITY,
    }
}

/// From six samples on, the full range covers the median with ≥ 95 %:
/// 1 − 2·2⁻⁶ = 96.9 %.
pub const MIN_SAMPLES_FOR_CI: usize = 6;

/// How many samples to drop at each end so that the range of the rest still
/// misses the median with probability `tail` on each side at most: the largest t
/// with P(Binomial(n, ½) ≤ t) ≤ `tail`.
fn trimmed_tail(n: usize, tail: f64) -> Option<usize> {
    let ln_half_n = n as f64 * -std::f64::consts::LN_2;
    let mut ln_choose = 0.0;
    let mut cumulative = 0.0;
    for k in 0..n {
        cumulative += f64::exp(ln_choose + ln_half_n);
        if cumulative > tail {
            return k.checked_sub(1);
        }
        ln_choose += f64::ln((n - k) as f64 / (k + 1) as f64);
    }
    None
}

/// Whether the last samples have no trend left: the least-squares slope over
/// them is within two standard errors of zero, or moves the level by less than
/// `floor` (relative) from the first to the last. Fewer than four samples say
/// nothing.
pub fn is_steady(samples: &[f64], floor: f64) -> bool {
    let n = samples.len();
    if n < 4 {
        return false;
    }
    let mean_x = (n - 1) as f64 / 2.0;
    let mean_y = samples.iter().sum::<f64>() / n as f64;
    let (mut sxx, mut sxy) = (0.0, 0.0);
    for (i, y) in samples.iter().enumerate() {
        let dx = i as f64 - mean_x;
        sxx += dx * dx;
        sxy += dx * (y - mean_y);
    }
    let slope = sxy / sxx;
    let residual: f64 = samples
        .iter()
        .enumerate()
        .map(|(i, y)| (y - mean_y - slope * (i as f64 - mean_x)).powi(2))
        .sum();
    let standard_error = (residual / (n - 2) as f64 / sxx).sqrt();
    let drift = slope.abs() * (n - 1) as f64;
    slope.abs() <= 2.0 * standard_error || drift <= floor * mean_y
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// numpy.quantile([3, 1, 2, 10], [0, .05, .5, .95, 1]) by hand: sorted
    /// 1 2 3 10, positions 0, 0.15, 1.5, 2.85, 3.
    #[test]
    fn quantiles_interpolate_like_numpy() {
        let samples = [3.0, 1.0, 2.0, 10.0];
        let expect = [
            (0.0, 1.0),
            (0.05, 1.15),
            (0.5, 2.5),
            (0.95, 8.95),
            (1.0, 10.0),
        ];
        for (q, value) in expect {
            assert!(
                (quantile(&samples, q).unwrap() - value).abs() < 1e-12,
                "{q}"
            );
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    /// Binomial tail sums, P(B(n, ½) ≤ t): n = 5: t = 0 is 1/32 = 3.1 %. n = 6: t = 0 is 1/64 = 1.6 %, t = 1 is
    /// 10.9 %. n = 10: t = 1 is 11/1024 = 1.07 %, t = 2 is 5.5 %. n = 30: t = 9 is
    /// 2.14 %, t = 10 is 4.94 %. n = 100: t = 39 is 1.76 %, t = 40 is 2.84 %.
    #[test]
    fn interval_ranks_match_the_binomial_table() {
        for n in [0, 1, 5] {
            assert_eq!(trimmed_tail(n, 0.025), None, "n = {n}");
        }
        for (n, trimmed) in [(6, 0), (10, 1), (30, 9), (100, 39)] {
            assert_eq!(trimmed_tail(n, 0.025), Some(trimmed), "n = {n}");
        }
    }

    #[test]
    fn steady_state_tells_a_ramp_from_noise() {
        let ramp: Vec<f64> = (0..8).map(|i| 1.0 - 0.03 * f64::from(i)).collect();
        assert!(!is_steady(&ramp, 0.005));
        let noise = [1.0, 1.02, 0.99, 1.01, 0.98, 1.02, 1.0, 0.99];
        assert!(is_steady(&noise, 0.005));
        assert!(is_steady(&[1.0; 8], 0.005));
        assert!(!is_steady(&[1.0; 3], 0.005));
    }

    proptest! {
        #[test]
        fn interval_contains_the_median_and_lies_in_the_range(samples in prop::collection::vec(1e-9f64..1e3, 6..200)) {
            let m = median(&samples).unwrap();
            let [low, high] = median_ci95(&samples).unwrap();
            let min = samples.iter().copied().fold(f64::INFINITY, f64::min);
            let max = samples.iter().copied().fold(0.0, f64::max);
            prop_assert!(min <= low && low <= m && m <= high && high <= max);
        }
    }

    /// Coverage by simulation with a fixed generator: 2000 draws of n
    /// exponential samples (median ln 2). The binomial guarantee is ≥ 95 %, so
    /// fewer than 93.5 % hits (three standard errors below) would be a bug.
    #[test]
    fn interval_covers_the_true_median() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for n in [10, 31, 100] {
            let hits = (0..2000)
                .filter(|_| {
                    let samples: Vec<f64> = (0..n).map(|_| -uniform().max(1e-300).ln()).collect();
                    let [low, high] = median_ci95(&samples).unwrap();
                    (low..=high).contains(&std::f64::consts::LN_2)
                })
                .count();
            assert!(hits >= 1870, "n = {n}: {hits} of 2000");
        }
    }
}
