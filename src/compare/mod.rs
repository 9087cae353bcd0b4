//! Whether something got slower: verdicts on cases that two builds, or two runs,
//! have in common. Pure.

mod reports;
mod threshold;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reports::reports;
pub use threshold::{Threshold, ThresholdError};

use crate::units::{Joules, Seconds};

/// Version of [`Comparison`], `MAJOR.MINOR`.
pub const SCHEMA_VERSION: &str = "1.1";

/// What became of a case from base to head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Faster by more than the threshold.
    Faster,
    /// The same within the threshold.
    Same,
    /// Slower by more than the threshold.
    Slower,
    /// Time was up, samples were too few, or something disturbed them, before any of the
    /// three was certain.
    Ambiguous,
    /// Only head has it.
    New,
    /// Only base has it.
    Gone,
    /// The two cannot be held against one another.
    Incomparable,
}

impl Verdict {
    /// Every verdict, the one that asks for most attention first.
    pub const ALL: [Self; 7] = [
        Self::Slower,
        Self::Gone,
        Self::Ambiguous,
        Self::Incomparable,
        Self::Faster,
        Self::New,
        Self::Same,
    ];

    /// Whether times were compared and the outcome is certain.
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Faster | Self::Same | Self::Slower)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Faster => "FASTER",
            Self::Same => "SAME",
            Self::Slower => "SLOWER",
            Self::Ambiguous => "AMBIGUOUS",
            Self::New => "NEW",
            Self::Gone => "GONE",
            Self::Incomparable => "INCOMPARABLE",
        })
    }
}

/// Time, or energy, of head over that of base: above 1 is slower, or takes more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ratio {
    /// Of the medians, or the median of the pairs' ratios.
    pub median: f64,
    /// What holds the ratio, as `method` says: null where samples are too few to tell.
    pub interval: Option<[f64; 2]>,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.median)?;
        match self.interval {
            Some([low, high]) => write!(f, " [{low:.3}, {high:.3}]"),
            None => Ok(()),
        }
    }
}

/// What is compared of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Time of a dispatch.
    Time,
    /// Energy of a dispatch.
    Energy,
}

/// One case of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// The case, with its inputs where they are not the usual ones.
    pub name: String,
    /// What head is held against here where that is the second base; null for the first.
    #[serde(default)]
    pub against: Option<String>,
    /// What of it was compared.
    pub quantity: Quantity,
    /// What became of it; slower stands for more energy as well.
    pub verdict: Verdict,
    /// Head over base, for the same work; null where not both were measured.
    pub ratio: Option<Ratio>,
    /// Median time of a dispatch of base.
    pub base_s: Option<Seconds>,
    /// Median time of a dispatch of head.
    pub head_s: Option<Seconds>,
    /// Median energy of a dispatch of base, where energy was compared.
    pub base_j: Option<Joules>,
    /// Median energy of a dispatch of head, where energy was compared.
    pub head_j: Option<Joules>,
    /// What there is to know: why the verdict is none of the certain ones, which
    /// choices changed.
    pub notes: Vec<String>,
    /// Whether the two sides count other operations or bytes.
    pub different_work: bool,
    /// Whether it fails the comparison: as a regression that nobody has accepted, or
    /// undecided where that was to fail.
    pub fails: bool,
    /// Why the regression is accepted, in the words of whoever accepted it.
    pub accepted: Option<String>,
    /// Pairs that were measured, a round each; empty where two reports are
    /// compared.
    pub rounds: Vec<Round>,
}

/// Pairs of one round of measuring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Round {
    /// Seed of the order within the pairs.
    pub seed: u64,
    /// What these pairs alone say.
    pub verdict: Verdict,
    /// Head over base.
    pub ratio: Option<Ratio>,
    /// How long the pairs took.
    pub took_s: Seconds,
    /// Natural logarithm of each pair's ratio, in the order measured.
    pub ln_ratios: Vec<f64>,
    /// How many of these pairs each life of the processes had, one after the other;
    /// empty where an older program does not tell.
    #[serde(default)]
    pub lives: Vec<usize>,
}

impl Case {
    /// A case without times.
    pub fn untimed(name: impl Into<String>, verdict: Verdict, note: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            against: None,
            quantity: Quantity::Time,
            verdict,
            ratio: None,
            base_s: None,
            head_s: None,
            base_j: None,
            head_j: None,
            notes: vec![note.into()],
            different_work: false,
            fails: false,
            accepted: None,
            rounds: Vec::new(),
        }
    }

    /// The verdict and, where pairs make certain that it is a change below the threshold,
    /// by how much: `SAME, slower by 3.1–4.6 %`.
    pub fn in_words(&self) -> String {
        let verdict = self.verdict;
        match self.small_change() {
            None => verdict.to_string(),
            Some((change, [least, most])) => {
                format!("{verdict}, {change} by {least:.1}–{most:.1} %")
            }
        }
    }

    /// Whether head is certainly slower, if by less than the threshold.
    pub fn is_little_slower(&self) -> bool {
        let change = self.small_change();
        change.is_some_and(|(change, _)| matches!(change, "slower" | "more"))
    }

    /// A change that is certain and below the threshold, and by how many percent of base:
    /// a tenth at least, which is what is shown.
    fn small_change(&self) -> Option<(&'static str, [f64; 2])> {
        let [low, high] = self.ratio?.interval?;
        if self.verdict != Verdict::Same || self.rounds.is_empty() {
            return None;
        }
        let [slower, faster] = match self.quantity {
            Quantity::Time => ["slower", "faster"],
            Quantity::Energy => ["more", "less"],
        };
        let percent = |from: f64, to: f64| [100.0 * (from - 1.0).abs(), 100.0 * (to - 1.0).abs()];
        let (change, by) = match low > 1.0 {
            true => (slower, percent(low, high)),
            false if high < 1.0 => (faster, percent(high, low)),
            false => return None,
        };
        (by[0] >= 0.05).then_some((change, by))
    }

    /// Pairs in all rounds.
    pub fn pairs(&self) -> usize {
        self.rounds.iter().map(|round| round.ln_ratios.len()).sum()
    }
}

/// One of the two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// What it was called on the command line, or what stands for it.
    pub name: String,
    /// Source revision, where it is known.
    pub commit: Option<String>,
    /// SHA-256 over its shader templates, where it is known.
    pub shader_hash: Option<String>,
}

/// What became of the cases from base to head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this schema, `MAJOR.MINOR`.
    pub schema_version: String,
    /// How times were compared, in words.
    pub method: String,
    /// What head is held against.
    pub base: Side,
    /// What head is held against as well; null where nothing else is.
    #[serde(default)]
    pub also_base: Option<Side>,
    /// What is judged.
    pub head: Side,
    /// Adapter and driver, where they are the same for both.
    pub adapter: Option<String>,
    /// What counts as a change of speed.
    pub threshold: Threshold,
    /// Probability, over all cases together, of calling a case faster or slower that
    /// is not by more than the threshold, or the same that is not; null where reports
    /// are compared, since nobody knows what else was different between the runs.
    pub alpha: Option<f64>,
    /// Seed from which the order within the pairs, and the inputs, were drawn.
    pub seed: Option<u64>,
    /// Why nothing can be compared; null where something can.
    pub incomparable: Option<String>,
    /// Whether every case was come to.
    pub complete: bool,
    /// What does not concern a single case.
    pub warnings: Vec<String>,
    /// One entry a case.
    pub cases: Vec<Case>,
}

impl Comparison {
    /// A comparison of what cannot be compared.
    pub fn impossible([base, head]: [String; 2], why: String) -> Self {
        let side = |name| Side {
            name,
            ..Side::default()
        };
        Self {
            incomparable: Some(why),
            ..Self::without_cases("none", side(base), side(head))
        }
    }

    /// A comparison of two builds that cannot differ.
    pub fn needless(base: Side, head: Side) -> Self {
        let method = "none: base and head are compiled from the same files";
        Self::without_cases(method, base, head)
    }

    fn without_cases(method: &str, base: Side, head: Side) -> Self {
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            method: method.to_owned(),
            base,
            also_base: None,
            head,
            adapter: None,
            threshold: Threshold::usual(true),
            alpha: None,
            seed: None,
            incomparable: None,
            complete: true,
            warnings: Vec::new(),
            cases: Vec::new(),
        }
    }

    /// The same, and what came of `other`, which holds the same head against a second base.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let name = other.base.name.clone();
        let unheard = |base: &Self| {
            let why = base.incomparable.as_ref();
            why.map(|why| format!("nothing was compared with {}: {why}", base.base.name))
        };
        // One that can be compared is enough for a comparison.
        let (incomparable, unheard) = match (&self.incomparable, &other.incomparable) {
            (Some(_), None) => (None, unheard(&self)),
            (why, _) => (why.clone(), unheard(&other)),
        };
        let method = match self.method == other.method {
            true => self.method,
            false => format!("{}; against {name}: {}", self.method, other.method),
        };
        // One that was needless has none.
        let (threshold, alpha) = match (self.alpha, other.alpha) {
            (Some(first), Some(second)) => (self.threshold, Some(first + second)),
            (Some(alpha), None) => (self.threshold, Some(alpha)),
            (None, alpha) => (other.threshold, alpha),
        };
        let cases = other.cases.into_iter().map(|case| Case {
            against: Some(name.clone()),
            ..case
        });
        Self {
            method,
            also_base: Some(other.base),
            adapter: self.adapter.or(other.adapter),
            threshold,
            alpha,
            seed: self.seed.or(other.seed),
            incomparable,
            complete: self.complete && other.complete,
            warnings: [self.warnings, other.warnings, Vec::from_iter(unheard)].concat(),
            cases: self.cases.into_iter().chain(cases).collect(),
            ..self
        }
    }

    /// How many cases have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases.iter().filter(|c| c.verdict == verdict).count()
    }

    /// The comparison's JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Comparison)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(interval: [f64; 2]) -> Case {
        let round = Round {
            seed: 1,
            verdict: Verdict::Same,
            ratio: None,
            took_s: Seconds(1.0),
            ln_ratios: Vec::new(),
            lives: Vec::new(),
        };
        Case {
            ratio: Some(Ratio {
                median: 1.0,
                interval: Some(interval),
            }),
            rounds: vec![round],
            ..Case::untimed("a", Verdict::Same, "")
        }
    }

    #[test]
    fn a_small_change_that_is_certain_is_told() {
        let told = |interval| same(interval).in_words();
        assert_eq!(told([1.031, 1.046]), "SAME, slower by 3.1–4.6 %");
        assert_eq!(told([0.97, 0.988]), "SAME, faster by 1.2–3.0 %");
        for interval in [[0.99, 1.01], [1.0, 1.01], [1.0004, 1.01]] {
            assert_eq!(told(interval), "SAME", "{interval:?}");
        }
        let energy = Case {
            quantity: Quantity::Energy,
            ..same([1.031, 1.046])
        };
        assert_eq!(energy.in_words(), "SAME, more by 3.1–4.6 %");
        assert!(energy.is_little_slower() && !same([0.97, 0.988]).is_little_slower());
        // Two reports were measured at different times: nothing is certain of them.
        let reports = Case {
            rounds: Vec::new(),
            ..same([1.031, 1.046])
        };
        assert_eq!(reports.in_words(), "SAME");
    }

    #[test]
    fn a_second_base_that_cannot_be_led_is_a_warning() {
        let side = |name: &str| Side {
            name: name.to_owned(),
            ..Side::default()
        };
        let good = || Comparison {
            cases: vec![same([1.0, 1.0])],
            alpha: Some(0.025),
            threshold: Threshold::usual(false),
            ..Comparison::needless(side("main"), side("head"))
        };
        let both = good().and(good());
        assert_eq!(both.cases.len(), 2);
        assert_eq!(both.cases[1].against.as_deref(), Some("main"));
        assert_eq!(both.alpha, Some(0.05));
        let old = || Comparison::impossible(["v1".into(), "head".into()], "too old".into());
        let why = ["nothing was compared with v1: too old"];
        for joined in [good().and(old()), old().and(good())] {
            assert_eq!(joined.incomparable, None);
            assert_eq!(joined.warnings, why);
            assert_eq!(joined.threshold, Threshold::usual(false));
        }
        assert!(old().and(old()).incomparable.is_some());
    }
}
