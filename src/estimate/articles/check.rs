//! What a check is and what it finds.

use std::fmt;

use serde::Serialize;

use super::figures::{Facts, FigureError};

/// Whether something that an article says holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The numbers fit one another, or a source.
    Holds,
    /// They do, under an assumption that the article does not state.
    HoldsIfAssumed,
    /// True as a bound, and no more than a bound.
    BoundOnly,
    /// The two articles say different things; both are shown.
    ArticlesDisagree,
    /// One article says different things.
    ContradictsItself,
    /// A source says otherwise.
    DoesNotHold,
    /// Amounts of different kinds are set side by side.
    CategoryError,
    /// The precision of a rate is not stated, so it says little.
    PrecisionNotStated,
    /// True of one product, and said of several.
    LabelTrap,
    /// True of one thing, and said of another.
    Conflation,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "holds",
            Self::HoldsIfAssumed => "holds under an unstated assumption",
            Self::BoundOnly => "a bound, not an estimate",
            Self::ArticlesDisagree => "the articles disagree",
            Self::ContradictsItself => "contradicts itself",
            Self::DoesNotHold => "does not hold",
            Self::CategoryError => "category error",
            Self::PrecisionNotStated => "precision not stated",
            Self::LabelTrap => "label trap",
            Self::Conflation => "conflation",
        })
    }
}

/// What a calculation leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// At least one; several where several things are to be said.
    pub verdicts: Vec<Verdict>,
    /// The calculation, with its numbers.
    pub calculation: Vec<String>,
    /// What it means.
    pub remark: String,
}

impl Finding {
    /// A finding of one verdict.
    pub(super) fn new(verdict: Verdict, remark: impl Into<String>) -> Self {
        Self {
            verdicts: vec![verdict],
            calculation: Vec::new(),
            remark: remark.into(),
        }
    }

    /// Adds a line of calculation.
    pub(super) fn step(mut self, step: impl Into<String>) -> Self {
        self.calculation.push(step.into());
        self
    }

    /// Adds a verdict if `it_applies`.
    pub(super) fn and_if(mut self, it_applies: bool, verdict: Verdict) -> Self {
        if it_applies {
            self.verdicts.push(verdict);
        }
        self
    }
}

/// A check: which figures it needs, and how it judges.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    /// `C01` to `C24`.
    pub id: &'static str,
    /// What is checked.
    pub subject: &'static str,
    /// Ids of the figures and references that go in.
    pub figures: &'static [&'static str],
    /// The calculation.
    pub judge: fn(&Facts) -> Result<Finding, FigureError>,
}

impl Definition {
    pub(super) fn run(self, facts: &Facts) -> Result<Check, FigureError> {
        Ok(Check {
            id: self.id,
            subject: self.subject,
            figures: self.figures,
            finding: (self.judge)(facts)?,
        })
    }
}

/// A check that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `C01` to `C24`.
    pub id: &'static str,
    /// What was checked.
    pub subject: &'static str,
    /// Ids of the figures and references that went in.
    pub figures: &'static [&'static str],
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}
