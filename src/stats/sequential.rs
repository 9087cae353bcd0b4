//! A confidence sequence for a median: an interval that may be looked at after
//! every observation.

use std::f64::consts::LN_2;

/// Parameter of the Beta(a, a) distribution over which bets on the signs are
/// spread. It chooses how early the first interval can come against how narrow
/// later ones are: 2 gives an interval from 9 observations on at 95 %, and after
/// hundreds one within a few per cent of what larger parameters give.
const SPREAD: f64 = 2.0;

/// Observations, and the interval that covers their common median.
///
/// If m is the median of every observation given those before it, then the number
/// S of n observations above m is a sum of fair coin flips. Betting on one side of
/// the coin with Beta(a, a) as the prior of its bias multiplies the stake by
///
/// > E(S, n) = 2ⁿ · B(S + a, n − S + a) / B(a, a)
///
/// which is a non-negative martingale that begins at 1, so that it ever reaches
/// 1/α with probability α at most (Ville's inequality). The values m with
/// E < 1/α are those between the c-th smallest and the c-th largest observation.
/// All these intervals together miss m with probability α at most, whenever
/// somebody looks and however long they go on; no distribution is assumed, nor
/// that observations scatter alike. (Robbins, Ann. Math. Stat. 41, 1970; Howard
/// and Ramdas, Bernoulli 28, 2022.)
#[derive(Clone, Debug)]
pub struct MedianSequence {
    ln_bar: f64,
    sorted: Vec<f64>,
    /// How many observations at least lie on each side of every value that is not
    /// excluded; it never shrinks.
    rank: usize,
}

impl MedianSequence {
    /// Nothing observed yet; all intervals together may miss with probability
    /// `alpha`, above 0 and below 1.
    pub fn new(alpha: f64) -> Self {
        Self {
            ln_bar: -alpha.ln(),
            sorted: Vec::new(),
            rank: 0,
        }
    }

    /// Takes an observation; NaN is none.
    pub fn push(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        let at = self.sorted.partition_point(|known| *known < value);
        self.sorted.insert(at, value);
        while 2 * self.rank < self.sorted.len() && self.excludes(self.rank) {
            self.rank += 1;
        }
    }

    /// Whether a value is excluded that has so many observations on one side.
    fn excludes(&self, above: usize) -> bool {
        let (above, n) = (above as f64, self.sorted.len() as f64);
        let ln_stake =
            n * LN_2 + ln_beta(above + SPREAD, n - above + SPREAD) - ln_beta(SPREAD, SPREAD);
        ln_stake >= self.ln_bar
    }

    /// The interval now; `None` while nothing can be excluded.
    pub fn interval(&self) -> Option<[f64; 2]> {
        let low = self.rank.checked_sub(1)?;
        let high = self.sorted.len() - self.rank;
        Some([*self.sorted.get(low)?, *self.sorted.get(high)?])
    }

    /// The observations' median; `None` without any.
    pub fn median(&self) -> Option<f64> {
        super::median(&self.sorted)
    }

    /// How many were observed.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::draws::Draws;

    const ALPHA: f64 = 0.05;

    /// With a = 2, B(2, n + 2)/B(2, 2) = 6/((n + 3)(n + 2)): all n observations on
    /// one side are worth 6·2ⁿ/((n + 2)(n + 3)). That is 14.0 at n = 8 (1536/110)
    /// and 23.3 at n = 9 (3072/132), and 1/0.05 is 20.
    #[test]
    fn the_first_interval_comes_when_the_bet_is_won() {
        let mut sequence = MedianSequence::new(ALPHA);
        for value in 1..=8 {
            sequence.push(f64::from(value));
            assert_eq!(sequence.interval(), None, "{value}");
        }
        sequence.push(f64::NAN);
        sequence.push(9.0);
        assert_eq!(sequence.interval(), Some([1.0, 9.0]));
        assert_eq!((sequence.count(), sequence.median()), (9, Some(5.0)));
    }

    /// For whole numbers B(a, b) = (a−1)!·(b−1)!/(a+b−1)!, by sums of logarithms, and
    /// 1/B(2, 2) is 6.
    #[test]
    fn ranks_agree_with_factorials() {
        let ln_factorial = |n: usize| (1..=n).map(|i| (i as f64).ln()).sum::<f64>();
        let ln_beta = |a: usize, b: usize| {
            ln_factorial(a - 1) + ln_factorial(b - 1) - ln_factorial(a + b - 1)
        };
        for n in [9, 30, 100, 1000] {
            let ln_stake =
                |above: usize| n as f64 * LN_2 + ln_beta(above + 2, n - above + 2) + 6f64.ln();
            let rank = (0..n).find(|&above| ln_stake(above) < 20f64.ln()).unwrap();
            let mut sequence = MedianSequence::new(ALPHA);
            (0..n).for_each(|value| sequence.push(value as f64));
            let ends = [rank - 1, n - rank].map(|end| end as f64);
            assert_eq!(sequence.interval(), Some(ends), "n = {n}");
        }
    }

    /// A draw, and its number.
    type Draw = fn(&mut Draws, usize) -> f64;

    /// How many of `runs` sequences ever exclude the true median 0 while looking
    /// after each of `length` observations.
    fn misses(runs: u64, length: usize, draw: Draw) -> usize {
        let missed = |seed: &u64| {
            let mut draws = Draws::new(*seed);
            let mut sequence = MedianSequence::new(ALPHA);
            (0..length).any(|at| {
                sequence.push(draw(&mut draws, at));
                let interval = sequence.interval();
                interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
            })
        };
        (0..runs).filter(missed).count()
    }

    /// The guarantee is 5 % under optional stopping; 1000 runs may show 5 % and
    /// three standard errors of 0.69 %. A fixed-time interval at 95 % that is looked
    /// at after each of 500 observations would be missed by far more.
    #[test]
    fn looking_after_every_observation_keeps_the_error_below_alpha() {
        let distributions: [(&str, Draw); 4] = [
            ("normal", |draws, _| draws.normal()),
            ("cauchy", |draws, _| draws.cauchy()),
            ("exponential", |draws, _| draws.exponential()),
            // A neighbour that comes and goes in bursts.
            ("bursts", |draws, at| {
                let scale = if at / 40 % 2 == 0 { 0.01 } else { 0.3 };
                scale * draws.cauchy()
            }),
        ];
        for (name, draw) in distributions {
            let misses = misses(1000, 500, draw);
            assert!(misses <= 70, "{name}: {misses} of 1000");
            assert!(misses >= 5, "{name}: {misses} of 1000: too cautious by far");
        }
    }

    /// The same shown for what a fixed-time test would do, so that the test above is
    /// known to be able to fail.
    #[test]
    fn a_fixed_time_interval_would_not_keep_it() {
        let missed = |seed: &u64| {
            let mut draws = Draws::new(*seed);
            let mut values = Vec::new();
            (0..200).any(|_| {
                values.push(draws.normal());
                let interval = crate::stats::interval_of(&values, values.len() as f64);
                interval.is_some_and(|[low, high]| low > 0.0 || high < 0.0)
            })
        };
        assert!((0..300).filter(missed).count() > 60);
    }

    /// Normal noise of 3 % around a slowdown of 10 %: excluding 5 % is a matter of
    /// tens of observations. (P(x > 4.88 %) is Φ(1.55) = 94 %, worth ln 2 − 0.227 =
    /// 0.466 nats an observation, and 3 + 2 nats are needed.)
    #[test]
    fn a_clear_effect_is_found_soon() {
        let took: Vec<usize> = (0..200)
            .map(|seed| {
                let mut draws = Draws::new(seed);
                let mut sequence = MedianSequence::new(ALPHA);
                let found = |_: &usize| {
                    sequence.push(1.1f64.ln() + 0.03 * draws.normal());
                    sequence
                        .interval()
                        .is_some_and(|[low, _]| low > 1.05f64.ln())
                };
                (1..=300).find(found).unwrap_or(300)
            })
            .collect();
        assert!(took.iter().all(|&n| n < 100), "{took:?}");
        let mean = took.iter().sum::<usize>() as f64 / 200.0;
        assert!(mean < 25.0, "{mean}");
    }
}
