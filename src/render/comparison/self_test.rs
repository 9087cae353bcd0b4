//! What a gate could find on this machine.

use super::super::number::MISSING;
use super::super::table::{small, width, wrapped};
use crate::gate::self_test::{Noise, SelfTest, Verdicts};
use crate::stats;

const HEADINGS: [&str; 7] = [
    "case",
    "pairs",
    "spread of a pair",
    "between lives",
    "ratio of equals",
    "finds from",
    "SAME / wrong / undecided",
];
const NUMERIC: [bool; 7] = [false, true, true, true, false, true, true];

/// The self-test as a table. `columns` are those of the terminal; `None` asks it.
pub fn self_test(test: &SelfTest, columns: Option<u16>) -> String {
    let width = width(columns);
    let conditions = [
        format!("adapter: {}", test.adapter),
        format!("method: {}, seed {}", test.method, test.seed),
        format!("threshold: {}, budget {}", test.threshold, test.budget_s),
    ];
    let rows = test.cases.iter().map(row).collect();
    let untimed = test.untimed.iter().map(|case| format!("not timed: {case}"));
    let unfinished = (!test.complete).then(|| "ended before the last case".to_owned());
    let notes: Vec<String> = unfinished
        .into_iter()
        .chain(untimed)
        .chain(rates(&test.verdicts))
        .collect();
    [
        wrapped(&conditions, width),
        small(HEADINGS, NUMERIC, rows),
        wrapped(&notes, width),
    ]
    .join("\n")
}

fn row(noise: &Noise) -> [String; 7] {
    let missing = || MISSING.to_owned();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let Verdicts {
        same,
        slower_or_faster,
        ambiguous,
    } = noise.verdicts;
    [
        noise.name.clone(),
        noise.pairs.to_string(),
        percent(noise.spread),
        noise.between_lives.map_or_else(missing, percent),
        noise.ratio.to_string(),
        noise
            .detectable
            .map_or_else(|| "> 100 %".to_owned(), percent),
        format!("{same} / {slower_or_faster} / {ambiguous}"),
    ]
}

/// How often equals were called what, with 95 % bounds.
fn rates(verdicts: &Verdicts) -> Vec<String> {
    let rate = |what: &str, hits: u64| {
        let [low, high] = stats::clopper_pearson(hits, verdicts.count(), 0.95)?;
        Some(format!(
            "{what}: {hits} of {} verdicts, {:.1} % to {:.1} % at 95 %",
            verdicts.count(),
            100.0 * low,
            100.0 * high
        ))
    };
    let rates = [
        rate("equals called SAME", verdicts.same),
        rate("false alarms of a first round", verdicts.slower_or_faster),
    ];
    rates.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Ratio, Threshold};
    use crate::units::Seconds;

    #[test]
    fn noise_is_told_in_percent() {
        let verdicts = Verdicts {
            same: 38,
            slower_or_faster: 0,
            ambiguous: 2,
        };
        let test = SelfTest {
            method: "pairs measured in turn".into(),
            adapter: "Testcard 0".into(),
            threshold: Threshold::usual(true),
            budget_s: Seconds(300.0),
            seed: 7,
            complete: true,
            cases: vec![Noise {
                name: "matmul/f32/naive/64x64x64".into(),
                pairs: 400,
                took_s: Seconds(20.0),
                lives: 12,
                spread: 0.021,
                between_lives: Some(0.008),
                ratio: Ratio {
                    median: 1.001,
                    interval: Some([0.996, 1.005]),
                },
                detectable: Some(0.0612),
                verdicts,
            }],
            untimed: vec!["matmul/f16/naive/64x64x64: no f16".into()],
            verdicts,
        };
        insta::assert_snapshot!(self_test(&test, Some(130)), @"
        adapter: Testcard 0
        method: pairs measured in turn, seed 7
        threshold: 5 %, budget 300 s

         case                       pairs  spread of a pair  between lives  ratio of equals       finds from  SAME / wrong / undecided
         matmul/f32/naive/64x64x64    400             2.1 %          0.8 %  1.001 [0.996, 1.005]       6.1 %                38 / 0 / 2

        not timed: matmul/f16/naive/64x64x64: no f16
        equals called SAME: 38 of 40 verdicts, 83.1 % to 99.4 % at 95 %
        false alarms of a first round: 0 of 40 verdicts, 0.0 % to 8.8 % at 95 %
        ");
    }
}
