//! Pairs until a case is decided; what is slower is measured once more.

use std::time::{Duration, Instant};

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::arena::{Arena, Pair, Trouble, Who};
use super::facts::Ready;
use super::judge::{Decided, Judge, StoppingRule};
use super::{Interrupted, Observer, Plan};
use crate::compare::{Case, Quantity, Round, Verdict};
use crate::stats;
use crate::units::{Joules, Seconds};

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Where its memory came to lie makes a process a little faster or slower than its
/// twin for all of its life. So the first processes are replaced by fresh ones after
/// this many pairs, until so many have lived that no verdict hangs on one of them.
const FIRST_PAIRS: usize = 9;
const LEAST_LIVES: usize = 3;
/// Later ones are replaced after this long…
const LIFE: Duration = Duration::from_secs(5);
/// … and no sooner than after so many times what it takes to replace them, …
const LIVES_PER_START: u32 = 4;
/// … and so many pairs.
const LEAST_PAIRS: usize = 20;

/// The fewest pairs that a verdict rests on: those of the first lives. A pair of
/// energies takes a quarter of a minute, and memory's place is no matter for it.
pub(super) fn least_pairs(quantity: Quantity) -> usize {
    match quantity {
        Quantity::Time => FIRST_PAIRS * LEAST_LIVES,
        Quantity::Energy => FIRST_PAIRS,
    }
}

/// What a case may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Time for the pairs of a round.
    pub share: Seconds,
    /// Probability that a round's intervals ever miss the true ratio.
    pub alpha: f64,
}

/// A round, and the medians in it: seconds or joules.
struct Timed {
    round: Round,
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

/// Times a case with one program a side. SLOWER counts only if a second round, of fresh
/// processes and in another order, says so too.
fn settle(
    plan: &Plan,
    ready: &Ready,
    quantity: Quantity,
    limits: Limits,
    observer: &mut dyn Observer,
) -> Result<Case, Interrupted> {
    let mut rounds: Vec<Timed> = Vec::new();
    for number in 0..2 {
        match decided(plan, ready, quantity, limits, number, observer) {
            Ok(round) => rounds.push(round),
            Err(Trouble::Interrupted) => return Err(Interrupted),
            Err(Trouble::With(who, why)) => return Ok(troubled(ready, quantity, who, &why)),
        }
        if rounds[number].round.verdict != Verdict::Slower {
            break;
        }
    }
    Ok(judged(ready, quantity, rounds))
}

/// The case by its rounds, at least one.
fn judged(ready: &Ready, quantity: Quantity, mut rounds: Vec<Timed>) -> Case {
    let mut notes = ready.notes.clone();
    let verdicts: Vec<Verdict> = rounds.iter().map(|timed| timed.round.verdict).collect();
    let verdict = match verdicts[..] {
        [Verdict::Ambiguous] => {
            notes.push("time was up before the interval held a single answer".to_owned());
            Verdict::Ambiguous
        }
        [only] => only,
        [.., Verdict::Slower] => Verdict::Slower,
        _ => {
            let first = rounds[0].round.ratio.map(|ratio| ratio.to_string());
            notes.push(format!(
                "SLOWER in a first round ({}), not in a second",
                first.unwrap_or_default()
            ));
            Verdict::Ambiguous
        }
    };
    let last = rounds.pop().expect("one round at least is timed");
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
fn decided(
    plan: &Plan,
    ready: &Ready,
    quantity: Quantity,
    limits: Limits,
    number: usize,
    observer: &mut dyn Observer,
) -> Result<Timed, Trouble> {
    let mut rule = Decided {
        judge: Judge::new(limits.alpha, plan.threshold, least_pairs(quantity)),
        share: limits.share,
    };
    let timed = time(plan, ready, quantity, number, &mut rule, observer)?;
    let median = |of: fn(&Pair) -> f64| {
        let values: Vec<f64> = timed.pairs.iter().map(of).collect();
        stats::median(&values).unwrap_or(f64::NAN)
    };
    Ok(Timed {
        base: median(|pair| pair.base),
        head: median(|pair| pair.head),
        round: Round {
            seed: timed.seed,
            verdict: rule.judge.verdict(),
            ratio: rule.judge.ratio(),
            took_s: timed.took_s,
            ln_ratios: timed.pairs.iter().map(|pair| pair.ln_ratio).collect(),
        },
    })
}

/// Pairs in the order in which they were run, at least one.
pub(super) struct Pairs {
    /// Of the order within them.
    pub seed: u64,
    pub took_s: Seconds,
    pub pairs: Vec<Pair>,
}

/// Runs round `number` of a case in fresh processes until `rule` has heard enough.
pub(super) fn time(
    plan: &Plan,
    ready: &Ready,
    quantity: Quantity,
    number: usize,
    rule: &mut dyn StoppingRule,
    observer: &mut dyn Observer,
) -> Result<Pairs, Trouble> {
    let seed = seed_of(plan.seed, &ready.id.to_string(), number);
    let mut order = Pcg64Mcg::seed_from_u64(seed);
    let mut heads_or_tails = move || order.next_u64() >> 63 == 0;
    let mut arena = Mortal::open(plan, ready, heads_or_tails(), observer)?;
    let mut lives = 1;
    let mut pairs: Vec<Pair> = Vec::new();
    // Of the pairs alone: starting processes, which verify, is no part of it.
    let mut took = Duration::ZERO;
    let mut told = Instant::now();
    loop {
        if arena.is_due(lives) {
            lives += 1;
            arena.arena.close()?;
            arena = Mortal::open(plan, ready, heads_or_tails(), observer)?;
        }
        let begin = Instant::now();
        let pair = arena.pair(quantity, heads_or_tails(), observer)?;
        took += begin.elapsed();
        pairs.push(pair);
        if rule.is_enough(pair.ln_ratio, Seconds(took.as_secs_f64())) {
            break;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let again = if number == 0 { "" } else { "once more: " };
            observer.phase(&format!("{again}{}", rule.progress()));
        }
    }
    arena.arena.close()?;
    Ok(Pairs {
        seed,
        took_s: Seconds(took.as_secs_f64()),
        pairs,
    })
}

/// An arena that is to be replaced some time.
struct Mortal<'a> {
    arena: Arena<'a>,
    born: Instant,
    life: Duration,
    pairs: usize,
}

impl<'a> Mortal<'a> {
    fn open(
        plan: &Plan<'a>,
        ready: &Ready,
        base_first: bool,
        observer: &mut dyn Observer,
    ) -> Result<Self, Trouble> {
        let begin = Instant::now();
        let arena = Arena::open(plan, ready, base_first, observer)?;
        Ok(Self {
            arena,
            born: Instant::now(),
            life: LIFE.max(LIVES_PER_START * begin.elapsed()),
            pairs: 0,
        })
    }

    fn pair(
        &mut self,
        quantity: Quantity,
        base_first: bool,
        observer: &mut dyn Observer,
    ) -> Result<Pair, Trouble> {
        self.pairs += 1;
        self.arena.pair(quantity, base_first, observer)
    }

    /// Whether it is to be replaced; it is the one in number `lives`.
    fn is_due(&self, lives: usize) -> bool {
        if lives < LEAST_LIVES {
            self.pairs >= FIRST_PAIRS
        } else {
            self.pairs >= LEAST_PAIRS && self.born.elapsed() >= self.life
        }
    }
}

/// Another seed for every case and round (FNV-1a over the case's name).
fn seed_of(seed: u64, name: &str, round: usize) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = seed.to_le_bytes().into_iter().chain([round as u8]);
    bytes.chain(name.bytes()).fold(0xcbf2_9ce4_8422_2325, mix)
}
