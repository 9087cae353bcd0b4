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
    /// What certainly holds the true ratio, at the comparison's level; null where
    /// samples are too few to tell.
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
    /// Whether it is a regression that nobody has accepted.
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
}

impl Case {
    /// A case without times.
    pub fn untimed(name: impl Into<String>, verdict: Verdict, note: impl Into<String>) -> Self {
        Self {
            name: name.into(),
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

    /// How many cases have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.cases.iter().filter(|c| c.verdict == verdict).count()
    }

    /// The comparison's JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Comparison)
    }
}
