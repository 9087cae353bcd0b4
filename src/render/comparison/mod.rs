//! Verdicts in the formats that people, build servers and programs read.

mod annotations;
mod junit;
mod markdown;
mod self_test;
mod table;

pub use annotations::annotations;
pub use junit::junit;
pub use markdown::markdown;
pub use self_test::self_test;
pub use table::table;

use super::number::{MISSING, duration, number};
use crate::compare::{Case, Comparison, Quantity, Side, Verdict};
use crate::units::{Joules, Seconds};

/// The comparison itself, indented.
pub fn json(comparison: &Comparison) -> String {
    serde_json::to_string_pretty(comparison).expect("a comparison has no maps") + "\n"
}

/// How many cases have which verdict, the grave ones first.
fn summary(comparison: &Comparison) -> String {
    let verdicts = Verdict::ALL.into_iter();
    let counts = verdicts.map(|verdict| (comparison.count(verdict), verdict));
    let counts = counts.filter(|(count, _)| *count > 0);
    let slower = comparison
        .cases
        .iter()
        .filter(|case| case.is_little_slower());
    let slower = match slower.count() {
        0 => String::new(),
        count => format!(" ({count} of them a little slower)"),
    };
    let words: Vec<String> = counts
        .map(|(count, verdict)| match verdict {
            Verdict::Same => format!("{count} {verdict}{slower}"),
            _ => format!("{count} {verdict}"),
        })
        .collect();
    match (&comparison.incomparable, words.is_empty()) {
        (Some(_), _) => Verdict::Incomparable.to_string(),
        (None, true) => "no case compared".to_owned(),
        (None, false) => words.join(", "),
    }
}

/// What concerns all cases, each with a label.
fn conditions(comparison: &Comparison) -> Vec<(&'static str, String)> {
    let seed = comparison.seed.map(|seed| format!(", seed {seed}"));
    let mut conditions = vec![("base", side(&comparison.base))];
    let also = comparison.also_base.as_ref();
    conditions.extend(also.map(|base| ("base as well", side(base))));
    conditions.push(("head", side(&comparison.head)));
    let adapter = comparison.adapter.clone();
    conditions.extend(adapter.map(|adapter| ("adapter", adapter)));
    conditions.push((
        "method",
        format!("{}{}", comparison.method, seed.unwrap_or_default()),
    ));
    let wrong = comparison.alpha;
    let wrong = wrong.map(|alpha| format!(", wrong with probability {alpha} at most"));
    conditions.push((
        "threshold",
        format!("{}{}", comparison.threshold, wrong.unwrap_or_default()),
    ));
    conditions
}

fn side(side: &Side) -> String {
    match &side.commit {
        Some(commit) if !side.name.contains(commit) => format!("{} ({commit})", side.name),
        _ => side.name.clone(),
    }
}

/// What is to be said besides the table: why nothing was compared, warnings, and the
/// notes on the cases.
fn notes(comparison: &Comparison) -> Vec<String> {
    let incomparable = comparison.incomparable.iter();
    let incomparable = incomparable.map(|why| format!("{}: {why}", Verdict::Incomparable));
    let unfinished = (!comparison.complete).then(|| "ended before the last case".to_owned());
    let warnings = comparison.warnings.iter().map(|w| format!("warning: {w}"));
    let cases = comparison.cases.iter().filter_map(|case| {
        let note = case_note(case);
        (!note.is_empty()).then(|| format!("{}: {note}", label(case)))
    });
    incomparable
        .chain(unfinished)
        .chain(warnings)
        .chain(cases)
        .collect()
}

/// The case, what of it was compared unless that is its time, and with what unless that
/// is the first base.
fn label(case: &Case) -> String {
    let quantity = match case.quantity {
        Quantity::Time => "",
        Quantity::Energy => " (energy)",
    };
    let against = case.against.as_ref().map(|base| format!(" against {base}"));
    format!("{}{quantity}{}", case.name, against.unwrap_or_default())
}

/// All that is to be said of a case.
fn case_note(case: &Case) -> String {
    let accepted = case.accepted.as_ref();
    let accepted = accepted.map(|reason| format!("accepted: {reason}"));
    let notes = case.notes.iter().filter(|note| !note.is_empty()).cloned();
    Vec::from_iter(accepted.into_iter().chain(notes)).join("; ")
}

/// Columns of a table for people.
const HEADINGS: [&str; 6] = ["case", "verdict", "head / base", "base", "head", "pairs"];
const NUMERIC: [bool; 6] = [false, false, false, true, true, true];

fn row(case: &Case) -> [String; 6] {
    let missing = || MISSING.to_owned();
    let amount = |time: Option<Seconds>, energy: Option<Joules>| {
        let energy = energy.map(|Joules(joules)| format!("{} J", number(joules)));
        time.map(duration).or(energy).unwrap_or_else(missing)
    };
    let verdict = match (&case.accepted, case.fails) {
        (Some(_), _) => format!("{}, accepted", case.verdict),
        (None, true) => format!("{}, fails", case.verdict),
        (None, false) => case.in_words(),
    };
    [
        label(case),
        verdict,
        case.ratio.map_or_else(missing, |ratio| ratio.to_string()),
        amount(case.base_s, case.base_j),
        amount(case.head_s, case.head_j),
        match case.pairs() {
            0 => missing(),
            pairs => pairs.to_string(),
        },
    ]
}

#[cfg(test)]
mod fixture {
    use crate::compare::{
        Case, Comparison, Ratio, Round, SCHEMA_VERSION, Side, Threshold, Verdict,
    };
    use crate::units::Seconds;

    /// A case of every kind, and hostile texts.
    pub fn comparison() -> Comparison {
        let side = |name: &str, commit: Option<&str>| Side {
            name: name.to_owned(),
            commit: commit.map(str::to_owned),
            shader_hash: None,
        };
        Comparison {
            schema_version: SCHEMA_VERSION.to_owned(),
            method: "pairs measured in turn".to_owned(),
            base: side("main", Some("0123abc")),
            also_base: Some(side("v1.0", None)),
            head: side("this program", None),
            adapter: Some("<b>Testcard 0</b>|x, 1.2".to_owned()),
            threshold: Threshold::usual(false),
            alpha: Some(0.05),
            seed: Some(7),
            incomparable: None,
            complete: true,
            warnings: vec!["something\n::error::is odd".to_owned()],
            cases: vec![
                timed(
                    "matmul/f32/naive/64x64x64",
                    Verdict::Same,
                    [0.99, 1.0, 1.01],
                    2,
                ),
                Case {
                    against: Some("v1.0".to_owned()),
                    ..timed(
                        "matmul/f32/naive/64x64x64",
                        Verdict::Same,
                        [1.006, 1.012, 1.016],
                        2,
                    )
                },
                Case {
                    fails: true,
                    ..timed(
                        "matmul/f32/register/64x64x64",
                        Verdict::Slower,
                        [1.08, 1.1, 1.12],
                        3,
                    )
                },
                Case {
                    accepted: Some("it is exact now, 50%".to_owned()),
                    ..Case::untimed(
                        "peak/f32/fma/device",
                        Verdict::Gone,
                        "head has no such case",
                    )
                },
                Case {
                    notes: vec!["time was up".to_owned()],
                    ..timed(
                        "latency/none/dispatch/empty",
                        Verdict::Ambiguous,
                        [0.9, 1.0, 1.2],
                        1,
                    )
                },
            ],
        }
    }

    fn timed(name: &str, verdict: Verdict, [low, median, high]: [f64; 3], pairs: usize) -> Case {
        let ratio = Some(Ratio {
            median,
            interval: Some([low, high]),
        });
        Case {
            notes: Vec::new(),
            ratio,
            base_s: Some(Seconds(1e-3)),
            head_s: Some(Seconds(1e-3 * median)),
            rounds: vec![Round {
                seed: 1,
                verdict,
                ratio,
                took_s: Seconds(0.5),
                ln_ratios: vec![median.ln(); pairs],
                lives: vec![pairs],
            }],
            ..Case::untimed(name, verdict, "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_survives_a_round_trip() {
        let comparison = fixture::comparison();
        let back: Comparison = serde_json::from_str(&json(&comparison)).unwrap();
        assert_eq!(back, comparison);
    }

    #[test]
    fn the_summary_begins_with_what_is_grave() {
        let mut comparison = fixture::comparison();
        assert_eq!(
            summary(&comparison),
            "1 SLOWER, 1 GONE, 1 AMBIGUOUS, 2 SAME (1 of them a little slower)"
        );
        comparison.cases.clear();
        assert_eq!(summary(&comparison), "no case compared");
        comparison.incomparable = Some("why".into());
        assert_eq!(summary(&comparison), "INCOMPARABLE");
    }
}
