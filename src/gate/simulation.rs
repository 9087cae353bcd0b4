//! How often a gate is right where two processes of one program differ: many gates on
//! simulated pairs, judged by the code that judges real ones.
//!
//!     cargo test --release --lib gate::simulation -- --nocapture
//!
//! prints the rates, with Clopper and Pearson's bounds at 95 %. The same at every run.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::ALPHA;
use super::arena::{Pair, Trouble};
use super::rounds::{self, Limits, Source};
use super::self_test::Noise;
use crate::compare::{Quantity, Threshold, Verdict};
use crate::stats;
use crate::units::Seconds;

/// Cases of a gate, and gates of a kind.
const CASES: usize = 14;
const GATES: usize = 300;
/// Of five minutes each case has its share.
const SHARE: Seconds = Seconds(300.0 / CASES as f64);
/// Two batches of 20 ms and what is around them.
const PAIR: Seconds = Seconds(0.05);
/// Starting two processes, which verify and warm up.
const START: Seconds = Seconds(2.0);

/// Pairs of two programs, of which head takes `slowdown` more time.
#[derive(Clone, Copy)]
struct Programs {
    threshold: Threshold,
    slowdown: f64,
    /// Standard deviation of what sticks to the processes of a life.
    offset: f64,
    /// Standard deviation of a pair within a life.
    noise: f64,
}

impl Programs {
    /// Equals, with the noise of pairs that was seen on such adapters.
    fn equal(software: bool, offset: f64) -> Self {
        Self {
            threshold: Threshold::usual(software),
            slowdown: 0.0,
            offset,
            noise: if software { 0.015 } else { 0.005 },
        }
    }

    fn slower_by(self, slowdown: f64) -> Self {
        Self { slowdown, ..self }
    }

    fn limits() -> Limits {
        Limits {
            share: SHARE,
            alpha: ALPHA / CASES as f64,
        }
    }

    /// Both rounds of a case; its verdict, how many lives it took, and for how long.
    fn gate(self, seed: u64) -> (Verdict, usize, f64) {
        let mut lives = 0;
        let mut took = 0.0;
        let rounds = rounds::confirmed(|number| {
            let seed = rounds::seed_of(seed, "simulated", number);
            let mut source = Model::new(self, seed);
            let (limits, threshold) = (Self::limits(), self.threshold);
            let timed = rounds::round(&mut source, limits, threshold, Quantity::Time, seed)?;
            lives += timed.round.lives.len();
            took += timed.round.ln_ratios.len() as f64 * PAIR.0;
            Ok(timed)
        });
        let rounds = rounds.expect("a model fails nowhere");
        (
            rounds::verdict_of(&rounds),
            lives,
            took + lives as f64 * START.0,
        )
    }

    /// Verdicts on so many cases, the gates with a SLOWER among those of `CASES` each,
    /// and means of lives and seconds.
    fn gates(self, cases: usize, seed: u64) -> Rates {
        let all: Vec<(Verdict, usize, f64)> = (0..cases as u64)
            .map(|case| self.gate(seed + case))
            .collect();
        let verdicts: Vec<Verdict> = all.iter().map(|(verdict, ..)| *verdict).collect();
        let alarms = verdicts
            .chunks(CASES)
            .filter(|gate| gate.contains(&Verdict::Slower));
        Rates {
            alarms: alarms.count() as u64,
            lives: all.iter().map(|(_, lives, _)| *lives as f64).sum::<f64>() / cases as f64,
            took: all.iter().map(|(.., took)| took).sum::<f64>() / cases as f64,
            verdicts,
        }
    }
}

struct Rates {
    verdicts: Vec<Verdict>,
    alarms: u64,
    lives: f64,
    took: f64,
}

impl Rates {
    fn of(&self, verdict: Verdict) -> f64 {
        let count = self.verdicts.iter().filter(|v| **v == verdict).count();
        count as f64 / self.verdicts.len() as f64
    }

    fn print(&self, programs: Programs) {
        let words = [
            Verdict::Slower,
            Verdict::Faster,
            Verdict::Same,
            Verdict::Ambiguous,
        ]
        .map(|verdict| format!("{verdict} {:6.2} %", 100.0 * self.of(verdict)));
        println!(
            "threshold {}, slower by {:4.1} %, offsets {:4.2} %: {}; {:4.1} lives, {:5.1} s a case",
            programs.threshold,
            100.0 * programs.slowdown,
            100.0 * programs.offset,
            words.join(", "),
            self.lives,
            self.took,
        );
    }
}

/// Draws pairs.
struct Model {
    programs: Programs,
    draws: Pcg64Mcg,
    offset: f64,
}

impl Model {
    fn new(programs: Programs, seed: u64) -> Self {
        Self {
            programs,
            draws: Pcg64Mcg::seed_from_u64(seed),
            offset: 0.0,
        }
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let mut uniform = || ((self.draws.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let radius = (-2.0 * uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * uniform()).cos()
    }
}

impl Source for Model {
    fn begin_life(&mut self, _: bool) -> Result<Seconds, Trouble> {
        self.offset = self.programs.offset * self.normal();
        Ok(START)
    }

    fn pair(&mut self, _: bool) -> Result<(Pair, Seconds), Trouble> {
        let noise = self.programs.noise * self.normal();
        let ln_ratio = self.programs.slowdown.ln_1p() + self.offset + noise;
        Ok((Pair::of(ln_ratio), PAIR))
    }
}

/// Of 14 equals a gate calls none SLOWER, however far apart processes are: in 5 % of
/// gates at most, with 97.5 %.
#[test]
fn equals_fail_no_gate_wherever_their_processes_came_to_lie() {
    for software in [true, false] {
        for offset in [0.0, 0.01, 0.02, 0.03, 0.05] {
            let programs = Programs::equal(software, offset);
            let rates = programs.gates(GATES * CASES, 1);
            rates.print(programs);
            let [low, high] =
                stats::clopper_pearson(rates.alarms, GATES as u64, 0.95).expect("there are gates");
            println!(
                "    gates of {CASES} with a SLOWER: {} of {GATES} [{:.1} %, {:.1} %]",
                rates.alarms,
                100.0 * low,
                100.0 * high
            );
            assert!(high <= 0.05, "{high}");
            let offset = offset / programs.threshold.share();
            // What cannot be decided is said to be so.
            assert!(offset < 1.5 || rates.of(Verdict::Same) < 0.05);
            assert!(offset > 0.5 || rates.of(Verdict::Same) > 0.95);
        }
    }
}

/// Twice the threshold is found where processes differ by half of it, and nothing else
/// is said where they differ by more.
#[test]
fn twice_the_threshold_is_found_or_said_to_be_undecided() {
    for software in [true, false] {
        for offset in [0.0, 0.25, 0.5, 1.0, 2.0] {
            let equal = Programs::equal(software, offset * Threshold::usual(software).share());
            let programs = equal.slower_by(2.0 * equal.threshold.share());
            let rates = programs.gates(1000, 2);
            rates.print(programs);
            assert!(offset > 0.5 || rates.of(Verdict::Slower) > 0.92);
            assert!(rates.of(Verdict::Same) + rates.of(Verdict::Faster) < 0.01);
        }
    }
}

/// Below, at and above the threshold.
#[test]
fn what_a_threshold_means() {
    let equal = Programs::equal(true, 0.01);
    let rates = [0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1].map(|slowdown| {
        let programs = equal.slower_by(slowdown);
        let rates = programs.gates(500, 3);
        rates.print(programs);
        rates
    });
    let [three, .., ten] = rates;
    assert!(three.of(Verdict::Same) > 0.9 && ten.of(Verdict::Slower) > 0.98);
}

/// At the slowdown that a self-test promises to find in nine of ten gates, nine of ten
/// find it, on average over self-tests.
#[test]
fn a_self_test_promises_what_gates_find() {
    for software in [true, false] {
        for offset in [0.0, 0.2, 0.5, 1.0] {
            let equal = Programs::equal(software, offset * Threshold::usual(software).share());
            let mut found = Vec::new();
            let mut between = Vec::new();
            let mut promised = Vec::new();
            for seed in 0..10 {
                let mut source = Model::new(equal, 1000 + seed);
                let limits = Programs::limits();
                let noise =
                    Noise::of(String::new(), &mut source, limits, equal.threshold, seed).unwrap();
                between.extend(noise.between_lives);
                let detectable = noise.detectable.expect("less than a doubling");
                promised.push(detectable);
                let gates = equal.slower_by(detectable).gates(60, 5000 + 100 * seed);
                found.push(gates.of(Verdict::Slower));
            }
            let mean = |values: &[f64]| 100.0 * values.iter().sum::<f64>() / values.len() as f64;
            println!(
                "threshold {}, offsets {:.2} %: between lives {:.2} %, finds from {:.1} %, truly found {:.1} %",
                equal.threshold,
                100.0 * equal.offset,
                mean(&between),
                mean(&promised),
                mean(&found),
            );
            assert!(mean(&found) >= 90.0);
        }
    }
}
