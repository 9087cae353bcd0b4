//! When pairs have shown enough.

use crate::compare::{Ratio, Threshold, Verdict};
use crate::stats::MedianSequence;
use crate::units::Seconds;

/// Ends a round of pairs.
pub(super) trait StoppingRule {
    /// Takes the logarithm of a pair's ratio; whether it was the last.
    fn is_enough(&mut self, ln_ratio: f64, elapsed: Seconds) -> bool;
    /// How it stands, for a person.
    fn progress(&self) -> String;
}

/// Looks after every pair whether a case is decided.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    sequence: MedianSequence,
    threshold: Threshold,
    least_pairs: usize,
    verdict: Option<Verdict>,
}

impl Judge {
    /// A judge who has seen nothing and may be wrong with probability `alpha`,
    /// however many pairs there will be, from `least_pairs` on.
    pub fn new(alpha: f64, threshold: Threshold, least_pairs: usize) -> Self {
        Self {
            sequence: MedianSequence::new(alpha),
            threshold,
            least_pairs,
            verdict: None,
        }
    }

    /// Takes the logarithm of a pair's ratio; the verdict, once there is one.
    pub fn hear(&mut self, ln_ratio: f64) -> Option<Verdict> {
        self.sequence.push(ln_ratio);
        let ends = self.sequence.interval()?.map(f64::exp);
        if self.sequence.count() >= self.least_pairs {
            self.verdict = self.verdict.or(self.threshold.verdict(ends));
        }
        self.verdict
    }

    /// The verdict; AMBIGUOUS while there is none.
    pub fn verdict(&self) -> Verdict {
        self.verdict.unwrap_or(Verdict::Ambiguous)
    }

    /// What the pairs so far say of the ratio; `None` without any.
    pub fn ratio(&self) -> Option<Ratio> {
        Some(Ratio {
            median: self.sequence.median()?.exp(),
            interval: self.sequence.interval().map(|ends| ends.map(f64::exp)),
        })
    }

    fn in_words(&self) -> String {
        let ratio = self.ratio().map(|ratio| ratio.to_string());
        format!(
            "{} pairs, {}",
            self.sequence.count(),
            ratio.unwrap_or_default()
        )
    }
}

/// Until the case is decided or its share of the time is spent.
pub(super) struct Decided {
    pub judge: Judge,
    pub share: Seconds,
}

impl StoppingRule for Decided {
    fn is_enough(&mut self, ln_ratio: f64, elapsed: Seconds) -> bool {
        self.judge.hear(ln_ratio).is_some() || elapsed >= self.share
    }

    fn progress(&self) -> String {
        self.judge.in_words()
    }
}

/// Until the share of the time is spent, whatever is certain before.
pub(super) struct Spent {
    pub judge: Judge,
    pub share: Seconds,
}

impl StoppingRule for Spent {
    fn is_enough(&mut self, ln_ratio: f64, elapsed: Seconds) -> bool {
        self.judge.hear(ln_ratio);
        elapsed >= self.share
    }

    fn progress(&self) -> String {
        self.judge.in_words()
    }
}
