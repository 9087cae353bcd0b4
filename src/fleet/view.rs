//! What many reports come to: the record that `flopwatt fleet --json` prints.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::Unit;
use super::ledger::LeftOut;
use super::spread::Spread;
use crate::kernel::id::Precision;
use crate::power::Coverage;
use crate::units::Watts;

/// Many reports as one. What is not known is `null`, never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fleet {
    /// Version of this schema, `MAJOR.MINOR`.
    pub schema_version: String,
    /// Version of the program that merged.
    pub flopwatt_version: String,
    /// How many reports there are, and of what kind.
    pub reports: Reports,
    /// When the first of them began, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// When the last of them ended, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended: Timestamp,
    /// Cards that were measured; each report whose card is unknown counts as one.
    pub cards: usize,
    /// Figures that count, and those that do not.
    pub figures: Figures,
    /// How many cases have which flag.
    pub flags: BTreeMap<String, usize>,
    /// Versions of the kernels; where there are several, a difference between cards
    /// may be one between kernels.
    pub kernels: usize,
    /// By accelerator and case, most cards first.
    pub accelerators: Vec<Accelerator>,
    /// Cards that are slower than others of their model, slowest first.
    pub outliers: Vec<Outlier>,
    /// By host, slowest first.
    pub hosts: Vec<Host>,
    /// By accelerator and driver.
    pub drivers: Vec<Driver>,
    /// The most efficient kernel of each accelerator, by number format.
    pub efficiency: Vec<Ranked>,
    /// What the cards drew, added up.
    pub power: TotalPower,
    /// Files that do not count, and why.
    pub left_out: Vec<LeftOut>,
}

/// How many reports there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    /// Those that count, one for each run.
    pub merged: usize,
    /// Of these, runs that ended before their last case.
    pub incomplete: usize,
    /// Of these, copies under changed names, whose figures are nobody's.
    pub synthetic: usize,
    /// Of these, those from before schema 1.4, in which a change would not show.
    pub without_hash: usize,
    /// Of these, those that do not tell their card.
    pub without_card: usize,
}

/// How many figures there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Those in medians and percentiles.
    pub counted: usize,
    /// Those with a flag, or from kernels of somebody's own, that make them doubtful.
    pub doubtful: usize,
    /// Powers with a flag that makes them doubtful; their rates may count.
    pub doubtful_power: usize,
    /// Whether doubtful ones count all the same.
    pub with_doubtful: bool,
    /// Cases that ended without a figure.
    pub absent: usize,
}

/// All cards of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accelerator {
    /// The model, and the backend through which it was measured.
    pub name: String,
    /// How many there are.
    pub cards: usize,
    /// How many reports are of them.
    pub reports: usize,
    /// How much slower the slowest card is than the fastest, in percent of the latter,
    /// each by the median over its cases; null where no two cards have a case in common.
    #[serde(default)]
    pub cards_range_percent: Option<f64>,
    /// What they reached, in the order of the reports.
    pub cases: Vec<CaseSpread>,
}

/// What the cards of a model reached in a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseSpread {
    /// The case.
    pub case: String,
    /// Unit of the figures.
    pub unit: Unit,
    /// Cards that have one.
    pub cards: usize,
    /// Figures of all their runs.
    pub figures: usize,
    /// The distribution over cards, each with the median of its runs.
    pub spread: Spread,
    /// Highest less lowest, in percent of the median; null for a single card.
    pub range_percent: Option<f64>,
    /// Median over cards of the percentage of the datasheet's peak.
    pub percent_of_datasheet: Option<f64>,
    /// Power, by what it is that of.
    pub power: Vec<PowerSpread>,
}

/// The power of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PowerSpread {
    /// What the power is that of.
    pub covers: Coverage,
    /// Cards of which it was measured.
    pub cards: usize,
    /// Distribution over cards, in watts.
    pub watts: Spread,
    /// Distribution over cards of the rate per watt; null for a case without
    /// operations.
    pub per_watt: Option<Spread>,
}

/// How fast a group is: speeds of its cards in percent of the median of all cards of
/// the same accelerator in the same case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// Median over the cards' cases.
    pub median_percent: f64,
    /// The slowest of them.
    pub slowest: Slowest,
}

/// A card's case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slowest {
    /// The accelerator.
    pub accelerator: String,
    /// The case.
    pub case: String,
    /// Its speed in percent of the median.
    pub percent: f64,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its cards.
    pub cards: usize,
    /// Reports from it.
    pub reports: usize,
    /// How fast its cards are; null where no other card has the same accelerator and
    /// case.
    pub standing: Option<Standing>,
}

/// A driver of an accelerator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Driver {
    /// The accelerator.
    pub accelerator: String,
    /// The driver and its version.
    pub name: String,
    /// Cards under it.
    pub cards: usize,
    /// Reports of it.
    pub reports: usize,
    /// How fast cards are under it; null where no case was measured under another
    /// one.
    pub standing: Option<Standing>,
}

/// A card that is slower than others of its model, by all its cases together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlier {
    /// The card.
    pub card: String,
    /// The hosts in which it was measured.
    pub hosts: Vec<String>,
    /// Its model.
    pub accelerator: String,
    /// Cases in which it was held against others.
    pub compared: usize,
    /// How much faster than the median card it is, in percent, by the median over these
    /// cases: below 0.
    pub percent: f64,
    /// From there on downwards a card stands out.
    pub limit_percent: f64,
    /// Standard deviation of its percentage from case to case.
    pub scatter_percent: f64,
    /// These cases, slowest first.
    pub cases: Vec<OutlyingCase>,
}

/// A case of a card that stands out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutlyingCase {
    /// The case.
    pub case: String,
    /// What the card reached.
    pub value: f64,
    /// Median of all cards.
    pub median: f64,
    /// Unit of both.
    pub unit: Unit,
    /// How much faster than the median, in percent; slower is negative.
    pub percent: f64,
}

/// A place in the ranking by rate per watt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ranked {
    /// The number format, of which there is a ranking each.
    pub precision: Precision,
    /// Place in it.
    pub rank: usize,
    /// The accelerator.
    pub accelerator: String,
    /// What the power is that of; rates per watt of different things are no match.
    pub covers: Coverage,
    /// Its most efficient product or attention, at the usual power limit and on usual
    /// inputs.
    pub case: String,
    /// Cards of which the power was measured.
    pub cards: usize,
    /// Median over cards of the rate per watt.
    pub per_watt: f64,
    /// Unit of the rate.
    pub unit: Unit,
    /// Median over cards of the power, in watts.
    pub watts: f64,
}

/// What all cards drew: each its highest case, added up. They were not measured at the
/// same time, so that this is no reading of anything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TotalPower {
    /// The sum; null where no power was measured.
    pub watts: Option<Watts>,
    /// Cards of which the power was measured.
    pub cards: usize,
    /// Hosts whose CPUs' power stands for that of their software adapters.
    pub cpu_hosts: usize,
    /// Cards of which it was not.
    pub cards_without: usize,
    /// Cards with a power of which it is not known what it covers, which is not added.
    pub cards_of_commands: usize,
}

impl Fleet {
    /// Its JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Fleet)
    }
}
