//! How many independent samples a series is worth.

/// How many independent samples would tell as much about the median as this series,
/// whose neighbours may be alike: its length over the integrated autocorrelation time
/// τ = 1 + 2·Σ ρₖ, which is taken as 1 at least.
///
/// The correlations are those of the ranks, which a few wild samples do not hide. The
/// sum ends by Geyer's initial positive sequence (Statistical Science 7, 1992): with the
/// first pair of lags whose sum is not positive, since that of a reversible process
/// never is. A correlation that refers to a series' own mean comes out too low by about
/// τ/n (Marriott and Pope, Biometrika 41, 1954), which is added again; τ is in it, so
/// that this is done a few times.
pub fn independent_samples(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let correlations = Correlations::of(samples);
    let mut tau = correlations.sum(0.0);
    for _ in 0..3 {
        tau = correlations.sum((tau / n).min(0.5)).min(n);
    }
    n / tau
}

/// Autocorrelations of the ranks of a series.
struct Correlations {
    /// Ranks less their mean.
    centred: Vec<f64>,
    sum_of_squares: f64,
}

impl Correlations {
    fn of(samples: &[f64]) -> Self {
        let centred = centred_ranks(samples);
        Self {
            sum_of_squares: centred.iter().map(|rank| rank * rank).sum(),
            centred,
        }
    }

    fn at(&self, lag: usize) -> f64 {
        let later = self.centred.iter().skip(lag);
        let products = later.zip(&self.centred).map(|(a, b)| a * b);
        products.sum::<f64>() / self.sum_of_squares
    }

    /// τ, 1 at least, where every correlation is `too_low` by so much at lag 0, and in proportion
    /// to the pairs that there are of a lag.
    fn sum(&self, too_low: f64) -> f64 {
        let n = self.centred.len();
        if self.sum_of_squares == 0.0 {
            return 1.0;
        }
        let at = |lag: usize| match lag {
            0 => 1.0,
            lag if lag >= n => 0.0,
            lag => self.at(lag) + too_low * (n - lag) as f64 / n as f64,
        };
        let pairs = (0..n.div_ceil(2)).map(|i| at(2 * i) + at(2 * i + 1));
        let positive = pairs.take_while(|&pair| pair > 0.0);
        f64::max(2.0 * positive.sum::<f64>() - 1.0, 1.0)
    }
}

/// The place of each sample among all, less the mean of all places; equal ones share the
/// middle of theirs.
fn centred_ranks(samples: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|&a, &b| samples[a].total_cmp(&samples[b]));
    let middle = (samples.len() as f64 - 1.0) / 2.0;
    let mut ranks = vec![0.0; samples.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| samples[a] == samples[b]) {
        let rank = first as f64 + (equal.len() as f64 - 1.0) / 2.0 - middle;
        for &index in equal {
            ranks[index] = rank;
        }
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::draws::Draws;

    /// Of an autoregressive series τ is (1 + φ)/(1 − φ): 1, 3, 9 and 39. Ranks of normal
    /// values have the correlation (6/π)·asin(ρ/2), a little below ρ: τ is 2.9, 8.6 and
    /// 37 with it.
    #[test]
    fn a_long_series_is_worth_what_its_correlation_leaves() {
        for (phi, tau) in [(0.0, 1.0), (0.5, 2.9), (0.8, 8.6), (0.95, 37.0)] {
            let mut draws = Draws::new(7);
            let series: Vec<f64> = draws.autoregressive(phi).take(40_000).collect();
            let found = 40_000.0 / independent_samples(&series);
            assert!((found / tau - 1.0).abs() < 0.15, "φ = {phi}: {found}");
        }
    }

    #[test]
    fn wild_samples_do_not_hide_that_neighbours_are_alike() {
        let mut draws = Draws::new(3);
        let mut series: Vec<f64> = draws.autoregressive(0.8).take(2000).collect();
        let before = independent_samples(&series);
        series.iter_mut().step_by(97).for_each(|x| *x = 1e6);
        let after = independent_samples(&series);
        assert!(after < 1.4 * before, "{before} {after}");
    }

    /// By hand: what does not vary, and what goes to and fro, is worth its length at
    /// most; of a ramp of 10 the pair sums stay positive until lag 4.
    #[test]
    fn no_series_is_worth_more_than_its_length() {
        assert_eq!(independent_samples(&[1.0; 10]), 10.0);
        let to_and_fro: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        assert_eq!(independent_samples(&to_and_fro), 40.0);
        let ramp: Vec<f64> = (0..40).map(f64::from).collect();
        assert!(independent_samples(&ramp) < 4.0);
        assert!(independent_samples(&[1.0]).is_finite());
    }

    #[test]
    fn equal_samples_share_their_rank() {
        assert_eq!(centred_ranks(&[5.0, 1.0, 5.0, 9.0]), [0.0, -1.5, 0.0, 1.5]);
    }
}
