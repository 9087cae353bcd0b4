//! A build against itself: what this machine's noise lets a gate find.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use schemars::JsonSchema;
use serde::Serialize;

use super::arena::{Pair, Trouble};
use super::facts::Known;
use super::judge::Judge;
use super::rounds::{self, Limits, Lives, Processes, Source, Until};
use super::{GateError, Observer, Plan};
use crate::compare::{Quantity, Ratio, Threshold, Verdict};
use crate::stats;
use crate::units::Seconds;

/// A slowdown counts as detectable if this share of the resampled gates finds it. What
/// is promised is less, nine of ten: a dozen lives tell only roughly how far apart lives
/// are, and at the slowdown that resampling gives on average as many real gates as that
/// find it (see the simulation).
const POWER: f64 = 0.98;
/// Gates that are drawn from the measured lives to see how often.
const RESAMPLED: usize = 400;
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
    /// Lives of the two processes that had them.
    pub lives: usize,
    /// How long they took.
    pub took_s: Seconds,
    /// Typical deviation of a single pair from none, as a share: 1.4826 times the
    /// median absolute logarithm of its ratio, which is the standard deviation of
    /// normal noise.
    pub spread: f64,
    /// Standard deviation of the lives' medians, as a share: what sticks to two
    /// processes of one program for as long as they live. Null of a single life.
    pub between_lives: Option<f64>,
    /// The ratio of equals, and the interval that all the pairs leave: changes within
    /// it are noise.
    pub ratio: Ratio,
    /// The smallest slowdown, as a share, that a gate finds in nine of ten runs, both
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
    let alpha = plan.alpha / count.max(1) as f64;
    let share = Seconds(plan.budget.0 / count.max(1) as f64);
    for (index, case) in known.ready.iter().enumerate() {
        let name = case.id.to_string();
        observer.case_begins(&name, index, count);
        let seed = rounds::seed_of(plan.seed, &name, 0);
        let mut source = Processes::new(plan, case, Quantity::Time, 0, observer);
        let limits = Limits { share, alpha };
        match Noise::of(name.clone(), &mut source, limits, plan.threshold, seed) {
            Ok(noise) => {
                test.verdicts.add(noise.verdicts);
                test.cases.push(noise);
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

impl Noise {
    /// Takes pairs of equals from `source` for all of the share.
    pub(super) fn of(
        name: String,
        source: &mut dyn Source,
        limits: Limits,
        threshold: Threshold,
        seed: u64,
    ) -> Result<Self, Trouble> {
        let fresh = Judge::new(limits.alpha, threshold, Quantity::Time);
        let mut judge = fresh.clone();
        let measured = rounds::time(source, &mut judge, limits.share, Until::Spent, seed)?;
        let equals = Equals::new(&measured);
        let pairs: Vec<f64> = equals.lives.concat();
        let medians = equals.lives.iter().filter_map(|life| stats::median(life));
        let between = stats::mean_and_deviation(&medians.collect::<Vec<_>>());
        Ok(Self {
            name,
            pairs: pairs.len(),
            lives: equals.lives.len(),
            took_s: measured.pairs_s,
            spread: spread(&pairs),
            between_lives: between.map(|(_, deviation)| deviation),
            ratio: judge.ratio().expect("a round has a pair at least"),
            detectable: equals.detectable(limits, threshold, seed),
            verdicts: verdicts(&equals.lives, &fresh),
        })
    }
}

fn spread(ln_ratios: &[f64]) -> f64 {
    let sizes: Vec<f64> = ln_ratios.iter().map(|ratio| ratio.abs()).collect();
    1.4826 * stats::median(&sizes).unwrap_or(f64::NAN)
}

/// Verdicts of fresh judges who hear the lives one after the other, each until it has
/// decided; the rest of that life is heard by nobody.
fn verdicts(lives: &[Vec<f64>], fresh: &Judge) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut judge = fresh.clone();
    for life in lives {
        judge.begin_life();
        let verdict = life.iter().find_map(|&ln_ratio| judge.hear(ln_ratio));
        match verdict {
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

/// Lives of equals as they were measured, to be drawn from.
struct Equals {
    /// Logarithms of the ratios of the pairs of each.
    lives: Vec<Vec<f64>>,
    /// What a pair took.
    pair: Seconds,
    /// What starting a life took.
    start: Seconds,
}

impl Equals {
    fn new(measured: &Lives) -> Self {
        let ln_ratios = |life: &Vec<Pair>| life.iter().map(|pair| pair.ln_ratio).collect();
        let lives: Vec<Vec<f64>> = measured.lives.iter().map(ln_ratios).collect();
        let pairs: usize = lives.iter().map(Vec::len).sum();
        Self {
            pair: Seconds(measured.pairs_s.0 / pairs as f64),
            start: Seconds(measured.starts_s.0 / lives.len() as f64),
            lives,
        }
    }

    /// The smallest slowdown that resampled gates find often enough.
    fn detectable(&self, limits: Limits, threshold: Threshold, seed: u64) -> Option<f64> {
        let most_missed = ((1.0 - POWER) * RESAMPLED as f64) as usize;
        let is_found = |slowdown: f64| {
            let mut draws = Pcg64Mcg::seed_from_u64(seed);
            let mut gates = (0..RESAMPLED).map(|_| {
                let lives = self.resampled(&mut draws);
                let rounds = rounds::confirmed(|_| {
                    let mut source = Resampled {
                        equals: self,
                        lives: &lives,
                        life: lives[0],
                        at: 0,
                        ln_slowdown: slowdown.ln_1p(),
                        draws: Pcg64Mcg::seed_from_u64(draws.next_u64()),
                    };
                    rounds::round(&mut source, limits, threshold, Quantity::Time, seed)
                });
                rounds.is_ok_and(|rounds| rounds::verdict_of(&rounds) == Verdict::Slower)
            });
            // Whether it is one miss too many is known as soon as there is one.
            gates
                .by_ref()
                .filter(|found| !found)
                .nth(most_missed)
                .is_none()
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

    /// As many whole lives as there are, drawn from them. Either side might have been
    /// base, so that signs are drawn as well. Both rounds of a gate draw from the same
    /// ones: by as much as these differ from draw to draw, it is uncertain how far apart
    /// the lives of a gate will be.
    fn resampled(&self, draws: &mut Pcg64Mcg) -> Vec<Life> {
        let draw = |_| Life {
            number: below(draws, self.lives.len()),
            sign: if below(draws, 2) == 0 { 1.0 } else { -1.0 },
        };
        (0..self.lives.len()).map(draw).collect()
    }
}

/// One of the measured lives, or its mirror image.
#[derive(Clone, Copy)]
struct Life {
    number: usize,
    sign: f64,
}

/// Lives that are drawn from those that were measured, with head slowed down.
struct Resampled<'a> {
    equals: &'a Equals,
    lives: &'a [Life],
    life: Life,
    at: usize,
    ln_slowdown: f64,
    draws: Pcg64Mcg,
}

impl Source for Resampled<'_> {
    fn begin_life(&mut self, _: bool) -> Result<Seconds, Trouble> {
        self.life = self.lives[below(&mut self.draws, self.lives.len())];
        self.at = below(&mut self.draws, self.equals.lives[self.life.number].len());
        Ok(self.equals.start)
    }

    /// A life that lasts longer than the one that was measured begins again.
    fn pair(&mut self, _: bool) -> Result<(Pair, Seconds), Trouble> {
        let life = &self.equals.lives[self.life.number];
        let ln_ratio = self.life.sign * life[self.at % life.len()] + self.ln_slowdown;
        self.at += 1;
        Ok((Pair::of(ln_ratio), self.equals.pair))
    }
}

fn below(draws: &mut Pcg64Mcg, count: usize) -> usize {
    (draws.next_u64() % count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::super::ALPHA;
    use super::*;

    fn judge() -> Judge {
        Judge::new(ALPHA, Threshold::usual(true), Quantity::Time)
    }

    /// Twelve lives of twelve pairs, each of them in turn above and below a middle that
    /// is itself in turn above and below none.
    fn lives(within: f64, between: f64) -> Equals {
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let life = |l| (0..12).map(move |i| between * sign(l) + within * sign(i));
        Equals {
            lives: (0..12).map(|l| life(l).collect()).collect(),
            pair: Seconds(0.05),
            start: Seconds(0.5),
        }
    }

    fn detectable(within: f64, between: f64) -> Option<f64> {
        let limits = Limits {
            share: Seconds(20.0),
            alpha: ALPHA,
        };
        lives(within, between).detectable(limits, Threshold::usual(true), 1)
    }

    /// Whatever exceeds the threshold is found: 5 % and a thousandth of the range.
    #[test]
    fn without_noise_the_threshold_is_what_can_be_found() {
        let found = detectable(0.0, 0.0).unwrap();
        assert!((0.05..0.052).contains(&found), "{found}");
    }

    #[test]
    fn noise_within_and_between_lives_raises_what_can_be_found() {
        let within = detectable(0.02, 0.0).unwrap();
        let between = detectable(0.02, 0.03).unwrap();
        let more = detectable(0.02, 0.06).unwrap();
        assert!(
            0.052 < within && within < between && between < more,
            "{within} {between} {more}"
        );
        // A mean of as many lives as there is time for is not known to within 50 %.
        assert_eq!(detectable(0.0, 1.0), None);
    }

    /// Half of all evenly spread values lie within half the reach: 1.4826/2 of it.
    #[test]
    fn a_spread_is_that_of_normal_noise() {
        let even: Vec<f64> = (-100..=100).map(|i| 0.001 * f64::from(i)).collect();
        assert!((spread(&even) - 0.1 * 1.4826 / 2.0).abs() < 1e-3);
    }

    #[test]
    fn lives_are_heard_until_a_judge_has_decided() {
        let silence = vec![vec![0.0; 6]; 12];
        let counted = verdicts(&silence, &judge());
        assert_eq!((counted.same, counted.count()), (2, 2));
    }

    #[test]
    fn what_is_never_decided_is_ambiguous_once() {
        let counted = verdicts(&lives(0.3, 0.3).lives, &judge());
        assert_eq!((counted.ambiguous, counted.count()), (1, 1));
    }
}
