//! What several lives of a case say together: medians that each differ from the next by
//! what no sample within one of them shows.

use super::{mean_and_deviation, median, student_t};

/// The median of one life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LifeMedian {
    /// The median.
    pub median: f64,
    /// Its interval by the samples of that life, where these are enough.
    pub spread: Option<[f64; 2]>,
}

/// The median of the lives' medians, and the 95 % interval of the time that they have in
/// common; no interval for less than two lives.
///
/// The interval is Student's for the mean of the logarithms, √(s²/k)·t(k − 1): it
/// supposes that lives differ as a lognormal distribution does. Three lives that happen
/// to be alike would make it as narrow as one likes, so that it is never narrower than
/// the widest spread within a life.
pub fn over_lives(lives: &[LifeMedian]) -> Option<(f64, Option<[f64; 2]>)> {
    let medians: Vec<f64> = lives.iter().map(|life| life.median).collect();
    let interval = LnMean::of(lives).map(|ln| ln.interval());
    Some((median(&medians)?, interval))
}

/// By how much lives differ: the standard deviation of the logarithms of their medians.
/// `None` for less than two.
///
/// Three lives are alike by chance often enough that to take only narrow intervals for
/// good ones would leave those that miss: of lives that differ by 0.6 %, 87 % of the
/// intervals narrower than ±1 % hold the truth, and 95 % of those whose lives scatter by
/// less than that.
pub fn scatter_of_lives(lives: &[LifeMedian]) -> Option<f64> {
    let count = lives.len() as f64;
    LnMean::of(lives).map(|ln| (ln.variance * count).sqrt())
}

/// The 95 % interval of head's time over base's, from several lives of each: Welch's for
/// the difference of the means of the logarithms (Biometrika 34, 1947), his degrees of
/// freedom rounded down; never narrower than what the widest spreads within lives of both
/// leave open. `None` for less than two lives of either.
pub fn ratio_over_lives(base: &[LifeMedian], head: &[LifeMedian]) -> Option<[f64; 2]> {
    let (base, head) = (LnMean::of(base)?, LnMean::of(head)?);
    let variance = base.variance + head.variance;
    let share = |side: &LnMean| side.variance.powi(2) / side.freedom as f64;
    let freedom = variance.powi(2) / (share(&base) + share(&head));
    // Rounding must not cost a degree of freedom. Of two sides without scatter it is no
    // number, and none is needed.
    let freedom = ((freedom + 1e-9).floor() as usize).max(1);
    Some(ends(
        head.mean - base.mean,
        half_width(freedom, variance),
        base.within.hypot(head.within),
    ))
}

/// Mean of the logarithms of medians.
struct LnMean {
    mean: f64,
    /// Of the mean.
    variance: f64,
    freedom: usize,
    /// Half the widest spread within a life.
    within: f64,
}

impl LnMean {
    fn of(lives: &[LifeMedian]) -> Option<Self> {
        let freedom = lives.len().checked_sub(1).filter(|&freedom| freedom > 0)?;
        let count = lives.len() as f64;
        let logs: Vec<f64> = lives.iter().map(|life| life.median.ln()).collect();
        let (mean, deviation) = mean_and_deviation(&logs)?;
        let spreads = lives.iter().filter_map(|life| life.spread);
        let halves = spreads.map(|[low, high]| (high / low).ln() / 2.0);
        Some(Self {
            mean,
            variance: deviation.powi(2) / count,
            freedom,
            within: halves.fold(0.0, f64::max),
        })
    }

    fn interval(&self) -> [f64; 2] {
        ends(
            self.mean,
            half_width(self.freedom, self.variance),
            self.within,
        )
    }
}

fn half_width(freedom: usize, variance: f64) -> f64 {
    // There is a degree of freedom.
    student_t(freedom, 0.95).unwrap_or(f64::INFINITY) * variance.sqrt()
}

fn ends(middle: f64, half: f64, least: f64) -> [f64; 2] {
    let half = half.max(least);
    [middle - half, middle + half].map(f64::exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::draws::Draws;

    fn lives<const N: usize>(medians: [f64; N], half: f64) -> [LifeMedian; N] {
        medians.map(|median| LifeMedian {
            median,
            spread: Some([median * (-half).exp(), median * half.exp()]),
        })
    }

    fn close(found: Option<[f64; 2]>, expected: [f64; 2]) {
        let found = found.unwrap();
        let near = |i: usize| (found[i] / expected[i] - 1.0).abs() < 1e-4;
        assert!(near(0) && near(1), "{found:?}, not {expected:?}");
    }

    /// Logarithms 0, 0.01 and 0.02: mean 0.01, s = 0.01, and t(2) = 4.3027 makes
    /// 0.02484 of s/√3.
    #[test]
    fn three_lives_have_a_wide_interval() {
        let three = lives([1.0, 0.01f64.exp(), 0.02f64.exp()], 0.001);
        let (median, interval) = over_lives(&three).unwrap();
        assert!((median.ln() - 0.01).abs() < 1e-12);
        close(interval, [(-0.01484f64).exp(), 0.03484f64.exp()]);
        assert!((scatter_of_lives(&three).unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(scatter_of_lives(&three[..1]), None);
        assert_eq!(over_lives(&three[..1]), Some((1.0, None)));
        assert_eq!(over_lives(&[]), None);
    }

    #[test]
    fn lives_that_happen_to_be_alike_do_not_hide_the_spread_within_them() {
        let [mut a, b, c] = lives([1.0; 3], 0.003);
        let (_, interval) = over_lives(&[a, b, c]).unwrap();
        close(interval, [(-0.003f64).exp(), 0.003f64.exp()]);
        a.spread = None;
        let (_, interval) = over_lives(&[a, a, a]).unwrap();
        assert_eq!(
            interval,
            Some([1.0, 1.0]),
            "what is not known widens nothing"
        );
    }

    /// Both sides s = 0.01 over three lives: variance of the difference 2·0.01²/3, Welch's
    /// freedom is 4, t(4) = 2.7764: 0.02267 about ln 1.1. Where base has ten times less
    /// scatter, freedom is 2·(1 + 0.01)²/(1 + 0.0001) = 2.04, t(2) = 4.3027, and the
    /// half-width 0.02497.
    #[test]
    fn a_ratio_counts_the_scatter_of_both_sides() {
        let around = |middle: f64, s: f64| lives([-s, 0.0, s].map(|ln| middle * ln.exp()), 0.0);
        let ratio = ratio_over_lives(&around(1.0, 0.01), &around(1.1, 0.01));
        close(ratio, [-0.02267, 0.02267].map(|half: f64| 1.1 * half.exp()));
        let ratio = ratio_over_lives(&around(1.0, 0.001), &around(1.1, 0.01));
        close(ratio, [-0.02497, 0.02497].map(|half: f64| 1.1 * half.exp()));
        // 0.003 and 0.004 within lives that do not differ make 0.005.
        let ratio = ratio_over_lives(&lives([1.0; 3], 0.003), &lives([1.0; 5], 0.004));
        close(ratio, [-0.005, 0.005].map(f64::exp));
        assert_eq!(
            ratio_over_lives(&lives([1.0], 0.1), &lives([1.0; 3], 0.1)),
            None
        );
    }

    /// Lives whose times differ by 0.6 %, held against a half-width of 1 %: the simulation
    /// that [`scatter_of_lives`] tells of.
    #[test]
    fn lives_are_judged_by_their_scatter_since_narrow_intervals_are_lucky_ones() {
        let mut draws = Draws::new(5);
        let (mut alike, mut narrow) = ([0, 0], [0, 0]);
        for _ in 0..4000 {
            let lives = [(); 3].map(|()| LifeMedian {
                median: (0.006 * draws.normal()).exp(),
                spread: None,
            });
            let [low, high] = over_lives(&lives).unwrap().1.unwrap();
            let holds = usize::from((low..=high).contains(&1.0));
            if scatter_of_lives(&lives).unwrap() <= 0.01 {
                alike = [alike[0] + 1, alike[1] + holds];
            }
            if high - low <= 0.02 {
                narrow = [narrow[0] + 1, narrow[1] + holds];
            }
        }
        let share = |[of, holds]: [usize; 2]| holds as f64 / of as f64;
        assert!(alike[0] > 3600 && share(alike) > 0.94, "{alike:?}");
        assert!(narrow[0] < 1600 && share(narrow) < 0.89, "{narrow:?}");
    }

    /// Lives whose times differ by 1 %, each with an error of 0.2 % of its own: 95 % of
    /// 4000 intervals are 3800, less than 3740 would be four standard errors below.
    #[test]
    fn intervals_over_lives_hold_what_lives_have_in_common() {
        for count in [3, 5] {
            let mut draws = Draws::new(count as u64);
            let mut life = |_| LifeMedian {
                median: (0.01 * draws.normal() + 0.002 * draws.normal()).exp(),
                spread: Some([0.996, 1.004]),
            };
            let holds = (0..4000).filter(|_| {
                let lives: Vec<LifeMedian> = (0..count).map(&mut life).collect();
                let [low, high] = over_lives(&lives).unwrap().1.unwrap();
                (low..=high).contains(&1.0)
            });
            let holds = holds.count();
            println!("{count} lives: {:.1} % of 4000", holds as f64 / 40.0);
            assert!(holds >= 3740, "{count} lives: {holds} of 4000");
        }
    }
}
