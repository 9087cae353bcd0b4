//! When pairs have shown enough.

use crate::compare::{Quantity, Ratio, Threshold, Verdict};
use crate::stats::{self, MedianSequence};

/// Where its memory came to lie makes a process a little faster or slower than its
/// twin for all of its life, so that the pairs of one life share what differs between
/// two processes of one program. No verdict rests on fewer lives than this.
pub(super) const LEAST_LIVES: usize = 5;

/// The fewest pairs whose median stands for a life. Five lives of six pairs are enough
/// for the interval of the pairs at 5 % over 14 cases, which takes 14 of one sign. A
/// pair of energies takes a quarter of a minute.
fn least_pairs(quantity: Quantity) -> usize {
    match quantity {
        Quantity::Time => 6,
        Quantity::Energy => 2,
    }
}

/// Looks after every pair whether a case is decided.
///
/// Two intervals have to agree. That of the pairs is a confidence sequence for their
/// median, which allows for looking after each of them, and takes them for independent.
/// That of the lives is Student's for the mean of their medians: it knows what differs
/// between processes, and takes that for roughly normal. The ratio is known no better
/// than both together say.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    alpha: f64,
    threshold: Threshold,
    least_pairs: usize,
    pairs: MedianSequence,
    /// Medians of the lives that have ended.
    medians: Vec<f64>,
    /// Pairs of the life that goes on.
    life: Vec<f64>,
    verdict: Option<Verdict>,
}

impl Judge {
    /// A judge who has seen nothing and may be wrong with probability `alpha`.
    pub fn new(alpha: f64, threshold: Threshold, quantity: Quantity) -> Self {
        Self {
            alpha,
            threshold,
            least_pairs: least_pairs(quantity),
            pairs: MedianSequence::new(alpha),
            medians: Vec::new(),
            life: Vec::new(),
            verdict: None,
        }
    }

    /// The pairs that follow are of other processes.
    pub fn begin_life(&mut self) {
        self.medians.extend(stats::median(&self.life));
        self.life.clear();
    }

    /// Takes the logarithm of a pair's ratio; the verdict, once there is one.
    pub fn hear(&mut self, ln_ratio: f64) -> Option<Verdict> {
        self.pairs.push(ln_ratio);
        self.life.push(ln_ratio);
        if self.verdict.is_none() && self.is_life_counted() && self.pairs_decide() {
            self.verdict = self.interval().and_then(|ends| self.verdict_on(ends));
        }
        self.verdict
    }

    /// Lives so far, the one that goes on among them.
    pub fn lives(&self) -> usize {
        self.medians.len() + usize::from(!self.life.is_empty())
    }

    /// Whether another life would tell more than further pairs of this one.
    pub fn wants_fresh_life(&self) -> bool {
        self.is_life_counted() && (self.lives() < LEAST_LIVES || self.pairs_decide())
    }

    /// The verdict; AMBIGUOUS while there is none.
    pub fn verdict(&self) -> Verdict {
        self.verdict.unwrap_or(Verdict::Ambiguous)
    }

    /// What the pairs so far say of the ratio; `None` without any.
    pub fn ratio(&self) -> Option<Ratio> {
        Some(Ratio {
            median: self.pairs.median()?.exp(),
            interval: self.interval().map(|ends| ends.map(f64::exp)),
        })
    }

    /// How it stands, for a person.
    pub fn in_words(&self) -> String {
        let ratio = self.ratio().map(|ratio| ratio.to_string());
        format!(
            "{} pairs, {}",
            self.pairs.count(),
            ratio.unwrap_or_default()
        )
    }

    fn is_life_counted(&self) -> bool {
        self.life.len() >= self.least_pairs
    }

    fn verdict_on(&self, ends: [f64; 2]) -> Option<Verdict> {
        self.threshold.verdict(ends.map(f64::exp))
    }

    /// Whether the pairs would decide if lives did not differ.
    fn pairs_decide(&self) -> bool {
        let ends = self.pairs.interval();
        ends.is_some_and(|ends| self.verdict_on(ends).is_some())
    }

    /// What holds the logarithm of the ratio; `None` while too little is known.
    fn interval(&self) -> Option<[f64; 2]> {
        let [low, high] = self.pairs.interval()?;
        let mut medians = self.medians.clone();
        medians.extend(stats::median(&self.life).filter(|_| self.is_life_counted()));
        if medians.len() < LEAST_LIVES {
            return None;
        }
        let (mean, deviation) = stats::mean_and_deviation(&medians)?;
        let factor = stats::student_t(medians.len() - 1, 1.0 - self.alpha)?;
        let reach = factor * deviation / (medians.len() as f64).sqrt();
        Some([low.min(mean - reach), high.max(mean + reach)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(alpha: f64) -> Judge {
        Judge::new(alpha, Threshold::usual(true), Quantity::Time)
    }

    /// Hears lives of six pairs that are all alike; the verdict, and after how many.
    fn hear(judge: &mut Judge, lives: impl IntoIterator<Item = f64>) -> (Verdict, usize) {
        for median in lives {
            judge.begin_life();
            for _ in 0..6 {
                if let Some(verdict) = judge.hear(median) {
                    return (verdict, judge.lives());
                }
            }
        }
        (judge.verdict(), judge.lives())
    }

    #[test]
    fn five_lives_that_agree_decide() {
        assert_eq!(hear(&mut judge(0.05), [0.0; 9]), (Verdict::Same, 5));
        let tenth = 1.1f64.ln();
        assert_eq!(hear(&mut judge(0.05), [tenth; 9]), (Verdict::Slower, 5));
        assert_eq!(hear(&mut judge(0.05), [-tenth; 9]), (Verdict::Faster, 5));
    }

    /// Medians of 0, 2, 4, 6 and 8 %: their mean is 4 %, their deviation √10 % =
    /// 3.1623 %, and Student's factor for four degrees of freedom and 95 % is 2.7764, so
    /// that the interval reaches 2.7764·3.1623/√5 = 3.9265 % to either side. That of the
    /// 30 pairs lies within: it leaves out the outermost.
    #[test]
    fn what_differs_between_lives_widens_the_interval() {
        let mut judge = judge(0.05);
        hear(&mut judge, [0.0, 0.02, 0.04, 0.06, 0.08]);
        let [low, high] = judge.interval().unwrap();
        assert!((low - 0.000_735).abs() < 1e-6, "{low}");
        assert!((high - 0.079_265).abs() < 1e-6, "{high}");
        let pairs = judge.pairs.interval().unwrap();
        assert_eq!(pairs, [0.02, 0.06]);
    }

    /// At 0.36 % the factor for four degrees of freedom is 6.0: 4 ± 8.5 %.
    #[test]
    fn fewer_errors_cost_more_lives() {
        let spread = [0.0, 0.02, 0.04, 0.06, 0.08];
        let mut strict = judge(0.05 / 14.0);
        hear(&mut strict, spread);
        let [low, high] = strict.interval().unwrap();
        assert!((-0.05..-0.04).contains(&low) && (0.12..0.13).contains(&high));
        // The pairs alone would never say so of lives that differ by so much.
        let lives = std::iter::repeat_n(spread, 10).flatten();
        let alike = lives.map(|median| median - 0.04);
        let (verdict, lives) = hear(&mut judge(0.05 / 14.0), alike);
        assert_eq!(verdict, Verdict::Same);
        assert!(lives > 6, "{lives}");
    }
}
