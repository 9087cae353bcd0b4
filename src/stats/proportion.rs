//! Bounds on a proportion.

/// Clopper and Pearson's interval of a proportion of which `hits` of `trials` were
/// observed (Biometrika 26, 1934): each bound is wrong with probability
/// (1 − `confidence`)/2 at most. `None` without trials.
pub fn clopper_pearson(hits: u64, trials: u64, confidence: f64) -> Option<[f64; 2]> {
    if trials == 0 || hits > trials {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let low = match hits {
        0 => 0.0,
        // P(X ≥ hits) grows with p.
        _ => bisect(|p| 1.0 - at_most(hits - 1, trials, p) < tail),
    };
    let high = match hits {
        _ if hits == trials => 1.0,
        // P(X ≤ hits) shrinks with p.
        _ => bisect(|p| at_most(hits, trials, p) > tail),
    };
    Some([low, high])
}

/// Where in (0, 1) `is_below` turns from true to false.
fn bisect(is_below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // As often as halving still changes a number below 1.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// P(X ≤ k) for X ~ Binomial(n, p), 0 < p < 1.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    let (ln_p, ln_q) = (p.ln(), (-p).ln_1p());
    let mut ln_choose = 0.0;
    let mut sum = 0.0;
    for i in 0..=k {
        sum += f64::exp(ln_choose + i as f64 * ln_p + (n - i) as f64 * ln_q);
        ln_choose += f64::ln((n - i) as f64 / (i + 1) as f64);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without hits the upper bound p solves (1 − p)ⁿ = 2.5 %: 1 − 0.025^(1/200) is
    /// 1.8275 %; with nothing but hits it is the mirror image. 5 of 10 is the
    /// textbook's 18.71 % to 81.29 %.
    #[test]
    fn bounds_are_those_of_the_tables() {
        let close = |bounds: Option<[f64; 2]>, expected: [f64; 2]| {
            let bounds = bounds.unwrap();
            let near = |i: usize| (bounds[i] - expected[i]).abs() < 5e-5;
            assert!(near(0) && near(1), "{bounds:?}, not {expected:?}");
        };
        close(clopper_pearson(0, 200, 0.95), [0.0, 0.018_275]);
        close(clopper_pearson(200, 200, 0.95), [1.0 - 0.018_275, 1.0]);
        close(clopper_pearson(5, 10, 0.95), [0.187_1, 0.812_9]);
        assert_eq!(clopper_pearson(0, 0, 0.95), None);
        assert_eq!(clopper_pearson(2, 1, 0.95), None);
    }

    /// At the bounds themselves the observation has a tail of 2.5 %, by the
    /// multiplicative form of the binomial distribution.
    #[test]
    fn the_observation_lies_on_the_edge_of_both_tails() {
        let pmf = |k: u64, n: u64, p: f64| {
            (0..k).fold((1.0 - p).powi((n - k) as i32), |product, i| {
                product * p * (n - i) as f64 / (k - i) as f64
            })
        };
        for (hits, trials) in [(38, 40), (1, 30), (19, 60)] {
            let [low, high] = clopper_pearson(hits, trials, 0.95).unwrap();
            let above: f64 = (hits..=trials).map(|k| pmf(k, trials, low)).sum();
            let below: f64 = (0..=hits).map(|k| pmf(k, trials, high)).sum();
            assert!((above - 0.025).abs() < 1e-9, "{above}");
            assert!((below - 0.025).abs() < 1e-9, "{below}");
        }
    }
}
