//! Pairs until a case is decided; what is slower is measured once more.

use std::time::{Duration, Instant};

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::arena::{Arena, Pair, Trouble, Who};
use super::facts::Ready;
use super::judge::{Judge, LEAST_LIVES};
use super::{Interrupted, Observer, Plan};
use crate::compare::{Case, Quantity, Round, Threshold, Verdict};
use crate::stats;
use crate::units::{Joules, Seconds};

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A life ends as soon as another would tell more than its further pairs, and else after
/// this long, …
const LIFE: Seconds = Seconds(5.0);
/// … no sooner than after so many times what it takes to replace it, …
const LIVES_PER_START: f64 = 4.0;
/// … and so many pairs.
const LEAST_PAIRS: usize = 20;

/// What a case may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time for the pairs of a round.
    pub share: Seconds,
    /// Probability that a round's intervals miss the true ratio.
    pub alpha: f64,
}

/// When a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Once the case is decided, or its share of the time is spent.
    Decided,
    /// When the share of the time is spent, whatever is certain before.
    Spent,
}

/// Where pairs come from: processes, or a model of them.
pub(super) trait Source {
    /// Starts fresh processes, in the order that is told; how long that took.
    fn begin_life(&mut self, base_first: bool) -> Result<Seconds, Trouble>;

    /// One pair of them, and how long it took.
    fn pair(&mut self, base_first: bool) -> Result<(Pair, Seconds), Trouble>;

    /// Ends them.
    fn end_life(&mut self) -> Result<(), Trouble> {
        Ok(())
    }

    /// Hears how the round stands after each pair.
    fn tell(&mut self, _judge: &Judge) {}
}

/// A round, and the medians in it: seconds or joules.
pub(super) struct Timed {
    pub round: Round,
    base: f64,
    head: f64,
}

/// Times a case until it is decided or its share is spent. What head's trials put ahead
/// and pairs find slower was a trial that something disturbed: then head is timed with
/// the program of base.
pub(super) fn decide(
    plan: &Plan,
    ready: &Ready,
    quantity: Quantity,
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<Case, Interrupted> {
    let case = settle(plan, ready, quantity, limits, observer)?;
    let Some(choice) = ready.passed_over.as_ref().filter(|_| case.fails) else {
        return Ok(case);
    };
    let ratio = case.ratio.map(|ratio| ratio.to_string());
    let note = format!(
        "that is slower ({}), so that head is timed with the program of base",
        ratio.unwrap_or_default()
    );
    let mut again = ready.clone();
    again.head = choice.clone();
    again.notes.push(note);
    settle(plan, &again, quantity, limits, observer)
}

/// Times a case with one program a side.
fn settle(
    plan: &Plan,
    ready: &Ready,
    quantity: Quantity,
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<Case, Interrupted> {
    let rounds = confirmed(|number| {
        let mut source = Processes::new(plan, ready, quantity, number, observer);
        let seed = seed_of(plan.seed, &ready.id.to_string(), number);
        round(&mut source, limits, plan.threshold, quantity, seed)
    });
    match rounds {
        Ok(rounds) => Ok(judged(ready, quantity, rounds)),
        Err(Trouble::Interrupted) => Err(Interrupted),
        Err(Trouble::With(who, why)) => Ok(troubled(ready, quantity, who, &why)),
    }
}

/// Runs a round and, where it says SLOWER or FASTER, a second one of fresh processes and
/// in another order.
pub(super) fn confirmed(
    mut round: impl FnMut(usize) -> Result<Timed, Trouble>,
) -> Result<Vec<Timed>, Trouble> {
    let first = round(0)?;
    Ok(match first.round.verdict {
        Verdict::Slower | Verdict::Faster => vec![first, round(1)?],
        _ => vec![first],
    })
}

/// What the rounds say together: SLOWER and FASTER only where a second one agrees.
pub(super) fn verdict_of(rounds: &[Timed]) -> Verdict {
    let mut verdicts = rounds.iter().map(|timed| timed.round.verdict);
    let first = verdicts.next().unwrap_or(Verdict::Ambiguous);
    match verdicts.all(|verdict| verdict == first) {
        true => first,
        false => Verdict::Ambiguous,
    }
}

/// The case by its rounds, at least one.
fn judged(ready: &Ready, quantity: Quantity, mut rounds: Vec<Timed>) -> Case {
    let mut notes = ready.notes.clone();
    let verdict = verdict_of(&rounds);
    let last = rounds.pop().expect("one round at least is timed");
    match rounds.first() {
        Some(Timed { round, .. }) if round.verdict != last.round.verdict => {
            let ratio = round.ratio.map(|ratio| ratio.to_string());
            notes.push(format!(
                "{} in a first round ({}), not in a second",
                round.verdict,
                ratio.unwrap_or_default()
            ));
        }
        _ if verdict == Verdict::Ambiguous => {
            notes.push("time was up before the interval held a single answer".to_owned());
        }
        _ => {}
    }
    let earlier = rounds.into_iter().map(|timed| timed.round);
    let seconds = |value| (quantity == Quantity::Time).then_some(Seconds(value));
    let joules = |value| (quantity == Quantity::Energy).then_some(Joules(value));
    Case {
        quantity,
        ratio: last.round.ratio,
        base_s: seconds(last.base),
        head_s: seconds(last.head),
        base_j: joules(last.base),
        head_j: joules(last.head),
        notes,
        fails: verdict == Verdict::Slower,
        rounds: earlier.chain([last.round]).collect(),
        ..Case::untimed(ready.id.to_string(), verdict, "")
    }
}

/// A side failed where it had been right a moment before: head's failure is one of
/// the gate, base's none of head's.
fn troubled(ready: &Ready, quantity: Quantity, who: Who, why: &str) -> Case {
    Case {
        quantity,
        // Power that cannot be read makes nothing slower.
        fails: who == Who::Head && quantity == Quantity::Time,
        ..Case::untimed(
            ready.id.to_string(),
            Verdict::Incomparable,
            format!("{who} {why}"),
        )
    }
}

/// One round, until it is decided.
pub(super) fn round(
    source: &mut dyn Source,
    limits: Limits,
    threshold: Threshold,
    quantity: Quantity,
    seed: u64,
) -> Result<Timed, Trouble> {
    let mut judge = Judge::new(limits.alpha, threshold, quantity);
    let lives = time(source, &mut judge, limits.share, Until::Decided, seed)?;
    let median = |of: fn(&Pair) -> f64| {
        let values: Vec<f64> = lives.pairs().map(of).collect();
        stats::median(&values).unwrap_or(f64::NAN)
    };
    Ok(Timed {
        base: median(|pair| pair.base),
        head: median(|pair| pair.head),
        round: Round {
            seed,
            verdict: judge.verdict(),
            ratio: judge.ratio(),
            took_s: lives.took_s,
            ln_ratios: lives.pairs().map(|pair| pair.ln_ratio).collect(),
            lives: lives.lives.iter().map(Vec::len).collect(),
        },
    })
}

/// What a round has measured.
pub(super) struct Lives {
    /// Pairs in the order in which they were run, a list for each life.
    pub lives: Vec<Vec<Pair>>,
    /// What of the share it took: the pairs, and starting all but the first lives.
    pub took_s: Seconds,
    /// What all pairs took.
    pub pairs_s: Seconds,
    /// What starting all lives took.
    pub starts_s: Seconds,
}

impl Lives {
    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.lives.iter().flatten()
    }
}

/// Takes pairs from fresh lives, one after the other, and has `judge` hear them. What it
/// takes to start the lives that every case needs is no part of its share, and more of
/// them are.
pub(super) fn time(
    source: &mut dyn Source,
    judge: &mut Judge,
    share: Seconds,
    until: Until,
    seed: u64,
) -> Result<Lives, Trouble> {
    let mut order = Pcg64Mcg::seed_from_u64(seed);
    let mut heads_or_tails = move || order.next_u64() >> 63 == 0;
    let mut all = Lives {
        lives: Vec::new(),
        took_s: Seconds(0.0),
        pairs_s: Seconds(0.0),
        starts_s: Seconds(0.0),
    };
    loop {
        let start = source.begin_life(heads_or_tails())?;
        judge.begin_life();
        all.starts_s.0 += start.0;
        if all.lives.len() >= LEAST_LIVES {
            all.took_s.0 += start.0;
        }
        let mut life = Vec::new();
        let mut lived = 0.0;
        let is_last = loop {
            let (pair, took) = source.pair(heads_or_tails())?;
            all.pairs_s.0 += took.0;
            all.took_s.0 += took.0;
            lived += took.0;
            life.push(pair);
            let decided = judge.hear(pair.ln_ratio).is_some();
            if all.took_s >= share || (decided && until == Until::Decided) {
                break true;
            }
            source.tell(judge);
            let is_old =
                life.len() >= LEAST_PAIRS && lived >= LIFE.0.max(LIVES_PER_START * start.0);
            if is_old || judge.wants_fresh_life() {
                break false;
            }
        };
        source.end_life()?;
        all.lives.push(life);
        if is_last {
            return Ok(all);
        }
    }
}

/// The workers of the two sides.
pub(super) struct Processes<'p, 'a> {
    plan: &'p Plan<'a>,
    ready: &'p Ready,
    quantity: Quantity,
    /// Of the round.
    number: usize,
    observer: &'p mut dyn Observer,
    told: Instant,
    arena: Option<Arena<'a>>,
}

impl<'p, 'a> Processes<'p, 'a> {
    pub fn new(
        plan: &'p Plan<'a>,
        ready: &'p Ready,
        quantity: Quantity,
        number: usize,
        observer: &'p mut dyn Observer,
    ) -> Self {
        Self {
            plan,
            ready,
            quantity,
            number,
            observer,
            told: Instant::now(),
            arena: None,
        }
    }
}

impl Source for Processes<'_, '_> {
    fn begin_life(&mut self, base_first: bool) -> Result<Seconds, Trouble> {
        let begin = Instant::now();
        let arena = Arena::open(self.plan, self.ready, base_first, self.observer)?;
        self.arena = Some(arena);
        Ok(Seconds(begin.elapsed().as_secs_f64()))
    }

    fn pair(&mut self, base_first: bool) -> Result<(Pair, Seconds), Trouble> {
        let begin = Instant::now();
        let arena = self.arena.as_mut().expect("a life has begun");
        let pair = arena.pair(self.quantity, base_first, self.observer)?;
        Ok((pair, Seconds(begin.elapsed().as_secs_f64())))
    }

    fn end_life(&mut self) -> Result<(), Trouble> {
        match self.arena.take() {
            Some(arena) => arena.close(self.observer),
            None => Ok(()),
        }
    }

    fn tell(&mut self, judge: &Judge) {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let again = if self.number == 0 { "" } else { "once more: " };
            self.observer.phase(&format!("{again}{}", judge.in_words()));
        }
    }
}

/// Another seed for every case and round (FNV-1a over the case's name).
pub(super) fn seed_of(seed: u64, name: &str, round: usize) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = seed.to_le_bytes().into_iter().chain([round as u8]);
    bytes.chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, mix)
}
