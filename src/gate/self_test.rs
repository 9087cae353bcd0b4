//! A build against itself: what this machine's noise lets a gate find.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use schemars::JsonSchema;
use serde::Serialize;

use super::arena::Trouble;
use super::facts::Known;
use super::judge::{Judge, Spent};
use super::{ALPHA, GateError, Observer, Plan, rounds};
use crate::compare::{Quantity, Ratio, Threshold, Verdict};
use crate::stats;
use crate::units::Seconds;

/// A slowdown counts as detectable if it is found this often.
const POWER: f64 = 0.95;
/// Rounds that are drawn from the measured pairs to see how often.
const RESAMPLED: usize = 400;
/// Neighbouring pairs share disturbances, so that they are drawn in blocks.
const BLOCK: usize = 10;
/// Slowdowns beyond a doubling are not looked for.
const MOST: f64 = 1.0;
/// Halvings of the range in which the smallest slowdown lies: to a thousandth of it.
const HALVINGS: u32 = 10;

/// What a gate of these cases could find on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SelfTest {
    /// How times were compared, in words.
    pub method: String,
    /// Adapter and driver.
    pub adapter: String,
    /// What counts as a change of speed.
    pub threshold: Threshold,
    /// Time for the pairs of all cases together.
    pub budget_s: Seconds,
    /// Seed of everything that was left to chance.
    pub seed: u64,
    /// Whether every case was come to.
    pub complete: bool,
    /// One entry a case.
    pub cases: Vec<Noise>,
    /// Cases that could not be timed, and why.
    pub untimed: Vec<String>,
    /// Verdicts on nothing, over all cases.
    pub verdicts: Verdicts,
}

/// The noise of one case.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Noise {
    /// The case.
    pub name: String,
    /// Pairs in its share of the time.
    pub pairs: usize,
    /// How long they took.
    pub took_s: Seconds,
    /// Typical deviation of a single pair from none, as a share: 1.4826 times the
    /// median absolute logarithm of its ratio, which is the standard deviation of
    /// normal noise.
    pub spread: f64,
    /// The ratio of equals, and the interval that all the pairs leave: changes within
    /// it are noise.
    pub ratio: Ratio,
    /// The smallest slowdown, as a share, that a gate finds in 95 of 100 runs, both
    /// rounds within the share of the time each; null where even a doubling is not.
    pub detectable: Option<f64>,
    /// Verdicts that gates would have reached on these pairs, one after the other.
    pub verdicts: Verdicts,
}

/// How often equals got which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdicts {
    /// The right one.
    pub same: u64,
    /// False alarms before any confirmation, and their mirror image.
    pub slower_or_faster: u64,
    /// Undecided within the share of the time; counted where no other was reached.
    pub ambiguous: u64,
}

impl Verdicts {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.same + self.slower_or_faster + self.ambiguous
    }

    fn add(&mut self, other: Self) {
        self.same += other.same;
        self.slower_or_faster += other.slower_or_faster;
        self.ambiguous += other.ambiguous;
    }
}

/// Measures every case of `plan`, whose base and head are the same, for all of its
/// share of the time.
///
/// # Errors
/// When the build cannot be measured at all, or no case is named.
pub fn run(plan: &Plan, observer: &mut dyn Observer) -> Result<SelfTest, GateError> {
    let known = Known::of(plan, observer)?;
    let known =
        known.map_err(|why| GateError::Adapter(crate::session::WorkerError::Refused(why)))?;
    let comparison = plan.comparison();
    let untimed = known.ended.iter().map(|case| {
        let notes = case.notes.join("; ");
        format!("{}: {notes}", case.name)
    });
    let mut test = SelfTest {
        method: comparison.method,
        adapter: comparison.adapter.unwrap_or_default(),
        threshold: plan.threshold,
        budget_s: plan.budget,
        seed: plan.seed,
        complete: known.complete,
        cases: Vec::new(),
        untimed: untimed.collect(),
        verdicts: Verdicts::default(),
    };
    let count = known.ready.len();
    let alpha = ALPHA / count.max(1) as f64;
    let share = Seconds(plan.budget.0 / count.max(1) as f64);
    for (index, case) in known.ready.iter().enumerate() {
        let name = case.id.to_string();
        observer.case_begins(&name, index, count);
        let least = rounds::least_pairs(Quantity::Time);
        let judge = Judge::new(alpha, plan.threshold, least);
        let mut rule = Spent {
            judge: judge.clone(),
            share,
        };
        match rounds::time(plan, case, Quantity::Time, 0, &mut rule, observer) {
            Ok(timed) => {
                let ln_ratios: Vec<f64> = timed.pairs.iter().map(|p| p.ln_ratio).collect();
                observer.phase("seeing what could be found");
                let verdicts = verdicts(&ln_ratios, &judge);
                test.verdicts.add(verdicts);
                test.cases.push(Noise {
                    name,
                    pairs: ln_ratios.len(),
                    took_s: timed.took_s,
                    spread: spread(&ln_ratios),
                    ratio: rule.judge.ratio().expect("a round has a pair at least"),
                    detectable: detectable(&ln_ratios, &judge, plan.threshold, timed.seed),
                    verdicts,
                });
            }
            Err(Trouble::Interrupted) => {
                test.complete = false;
                break;
            }
            Err(Trouble::With(_, why)) => test.untimed.push(format!("{name}: {why}")),
        }
    }
    Ok(test)
}

fn spread(ln_ratios: &[f64]) -> f64 {
    let sizes: Vec<f64> = ln_ratios.iter().map(|ratio| ratio.abs()).collect();
    1.4826 * stats::median(&sizes).unwrap_or(f64::NAN)
}

/// Verdicts of fresh judges who hear the pairs one after the other, each until it has
/// decided.
fn verdicts(ln_ratios: &[f64], fresh: &Judge) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut judge = fresh.clone();
    for &ln_ratio in ln_ratios {
        match judge.hear(ln_ratio) {
            None => continue,
            Some(Verdict::Same) => verdicts.same += 1,
            Some(_) => verdicts.slower_or_faster += 1,
        }
        judge = fresh.clone();
    }
    if verdicts.count() == 0 {
        verdicts.ambiguous = 1;
    }
    verdicts
}

/// The smallest slowdown that two rounds in a row find often enough.
fn detectable(ln_ratios: &[f64], fresh: &Judge, threshold: Threshold, seed: u64) -> Option<f64> {
    // A round on its own has to find it more often, so that two in a row still do.
    let enough = (POWER.sqrt() * RESAMPLED as f64).ceil() as usize;
    let is_found = |slowdown: f64| {
        let mut draws = Pcg64Mcg::seed_from_u64(seed);
        let found = (0..RESAMPLED).filter(|_| finds(ln_ratios, fresh, slowdown, &mut draws));
        found.count() >= enough
    };
    if !is_found(MOST) {
        return None;
    }
    let (mut low, mut high) = (threshold.share(), MOST);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_found(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// Whether a round finds `slowdown` among as many pairs as there are, drawn in blocks
/// from those that were measured. Either side might have been base: signs are drawn
/// as well.
fn finds(ln_ratios: &[f64], fresh: &Judge, slowdown: f64, draws: &mut Pcg64Mcg) -> bool {
    let mut judge = fresh.clone();
    let mut heard = 0;
    while heard < ln_ratios.len() {
        let begin = (draws.next_u64() % ln_ratios.len() as u64) as usize;
        let sign = if draws.next_u64() >> 63 == 0 {
            1.0
        } else {
            -1.0
        };
        let block = ln_ratios.iter().cycle().skip(begin).take(BLOCK);
        for ln_ratio in block.take(ln_ratios.len() - heard) {
            heard += 1;
            if let Some(verdict) = judge.hear(sign * ln_ratio + slowdown.ln_1p()) {
                return verdict == Verdict::Slower;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evenly spread between −`reach` and `reach`, in an order without a trend.
    fn even(count: usize, reach: f64) -> Vec<f64> {
        let place = |i: usize| ((i * 37) % count) as f64 / (count - 1) as f64;
        (0..count).map(|i| reach * (2.0 * place(i) - 1.0)).collect()
    }

    fn judge() -> Judge {
        Judge::new(ALPHA, Threshold::usual(true), 9)
    }

    /// Without noise nine pairs decide at 5 %, and whatever exceeds the threshold is
    /// found: 5 % and a thousandth of the range.
    #[test]
    fn without_noise_the_threshold_is_what_can_be_found() {
        let silence = [0.0; 20];
        assert_eq!(
            verdicts(&silence, &judge()),
            Verdicts {
                same: 2,
                ..Default::default()
            }
        );
        let found = detectable(&silence, &judge(), Threshold::usual(true), 1).unwrap();
        assert!((0.05..0.052).contains(&found), "{found}");
        assert_eq!(
            detectable(&[0.0; 8], &judge(), Threshold::usual(true), 1),
            None
        );
    }

    /// Half of all evenly spread values lie within half the reach: 1.4826/2 of it.
    #[test]
    fn noise_raises_what_can_be_found() {
        let noise = even(201, 0.1);
        assert!((spread(&noise) - 0.1 * 1.4826 / 2.0).abs() < 1e-3);
        let at = |reach: f64| {
            detectable(&even(201, reach), &judge(), Threshold::usual(true), 1).unwrap()
        };
        let (some, more) = (at(0.1), at(0.3));
        assert!(0.052 < some && some < more && more < 0.25, "{some} {more}");
    }

    #[test]
    fn what_is_never_decided_is_ambiguous_once() {
        let counted = verdicts(&even(15, 0.5), &judge());
        assert_eq!((counted.ambiguous, counted.count()), (1, 1));
    }
}
