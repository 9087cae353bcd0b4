//! What the adapters of one machine reached: totals of what worked at the same time,
//! and the spread between cards of one model. Pure, over reports.

mod sisters;
mod totals;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use sisters::{Distribution, Sisters, Slow, Spread};
pub use totals::Total;

use crate::gpu::adapter::{AdapterDescription, Backend};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::{Measurement, Status};
use crate::record::Report;

/// Version of [`Summary`], `MAJOR.MINOR`.
pub const SCHEMA_VERSION: &str = "1.0";
/// Name of the summary's file in the folder that holds the reports' folders.
pub const SUMMARY_FILE: &str = "summary.json";

/// What became of the run on one of the adapters.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// The adapter.
    pub adapter: &'a AdapterDescription,
    /// What was measured; `None` where nothing was begun.
    pub report: Option<&'a Report>,
    /// Folder of the report, in that of the summary.
    pub folder: String,
    /// Why the run ended early, if it did.
    pub error: Option<String>,
}

/// What the adapters of one machine reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Version of this schema, `MAJOR.MINOR`.
    pub schema_version: String,
    /// Whether they worked at the same time, rather than one after the other.
    pub concurrent: bool,
    /// The adapters, numbered from 1.
    pub adapters: Vec<AdapterRun>,
    /// Other adapters of the machine, and why they were not measured.
    pub left_out: Vec<LeftOut>,
    /// Every case, in the order of the first report that has it.
    pub cases: Vec<CaseSummary>,
    /// Each model of which there are several cards with a case in common.
    #[serde(default)]
    pub models: Vec<Sisters>,
}

/// A run on one adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterRun {
    /// By which the rest of the summary calls it.
    pub number: usize,
    /// The adapter's name, as the driver gives it.
    pub adapter: String,
    /// The API through which it was reached.
    pub backend: Backend,
    /// Its place on the PCI bus, where that is known.
    pub pci_address: Option<String>,
    /// The run; null where none was begun.
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub run_id: Option<Uuid>,
    /// Folder of its report, beside the summary.
    pub folder: String,
    /// Cases that have a figure.
    pub measured: usize,
    /// Cases in the report.
    pub cases: usize,
    /// Why the run ended early; null where it did not.
    pub error: Option<String>,
}

/// An adapter that was not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Position in the machine's list of adapters.
    pub index: usize,
    /// The adapter's name.
    pub adapter: String,
    /// The API through which it would be reached.
    pub backend: Backend,
    /// Why not.
    pub why: String,
}

/// One case on all adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseSummary {
    /// The case in one word.
    pub name: String,
    /// What its figures are; null where no adapter has one.
    pub quantity: Option<Quantity>,
    /// The figure of each adapter, in their order.
    pub figures: Vec<Option<f64>>,
    /// Of all adapters that worked at the same time.
    pub total: Option<Total>,
    /// Why there is no total; null where there is one.
    pub total_reason: Option<String>,
    /// Between cards of one model, for each model of which there are several.
    pub spreads: Vec<Spread>,
}

/// What a figure is, under the name that the figures of a report have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// 10⁹ floating-point operations per second.
    Gflops,
    /// 10⁹ integer operations per second.
    Gops,
    /// 10⁹ bytes of compulsory traffic per second.
    GbytesPerS,
    /// Median time of a dispatch, in seconds.
    MedianS,
    /// Power, in watts.
    PowerW,
    /// 10⁹ floating-point operations per second for each watt.
    GflopsPerWatt,
    /// 10⁹ integer operations per second for each watt.
    GopsPerWatt,
}

impl Quantity {
    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Gflops => "GFLOP/s",
            Self::Gops => "GOP/s",
            Self::GbytesPerS => "GB/s",
            Self::MedianS => "s",
            Self::PowerW => "W",
            Self::GflopsPerWatt => "GFLOP/s per W",
            Self::GopsPerWatt => "GOP/s per W",
        }
    }

    /// The rate for each watt, of a rate of operations.
    fn per_watt(self) -> Option<Self> {
        match self {
            Self::Gflops => Some(Self::GflopsPerWatt),
            Self::Gops => Some(Self::GopsPerWatt),
            _ => None,
        }
    }
}

/// A case with a figure: the number of its adapter, and its position in the machine's
/// list.
#[derive(Clone, Copy)]
struct Measured<'a> {
    number: usize,
    index: usize,
    measurement: &'a Measurement,
}

/// The figure to quote of a case: the rate of computing, that of moving data, or the
/// time where nothing is computed or moved.
fn figure(measurement: &Measurement) -> Option<(Quantity, f64)> {
    if measurement.status != Status::Ok {
        return None;
    }
    let operations = match measurement.work_unit {
        WorkUnit::Flop => Quantity::Gflops,
        WorkUnit::Op => Quantity::Gops,
    };
    let rate = measurement.gflops.map(|rate| (operations, rate.median.0));
    let bytes = measurement.gbytes_per_s;
    let time = measurement.time.as_ref().map(|time| time.median_s.0);
    rate.or(bytes.map(|bytes| (Quantity::GbytesPerS, bytes)))
        .or(time.map(|time| (Quantity::MedianS, time)))
        .filter(|(_, value)| value.is_finite())
}

/// The least share of any adapter's timed dispatches in which another of them worked
/// as well, and which two these are. `None` for fewer than two.
fn least_overlap(measured: &[Measured]) -> Option<(f64, [usize; 2])> {
    let pairs = measured.iter().flat_map(|one| {
        let others = measured.iter().filter(|other| other.number != one.number);
        others.map(move |other| {
            let beside = &one.measurement.concurrent_with;
            let beside = beside.iter().find(|beside| beside.index == other.index);
            let overlap = beside.map_or(0.0, |beside| beside.overlap);
            (overlap, [one.number, other.number])
        })
    });
    pairs.min_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// Why figures are not of the same time.
fn not_together(overlap: f64, [one, other]: [usize; 2]) -> String {
    format!(
        "[{one}] and [{other}] worked at the same time for {:.0} % of it only",
        100.0 * overlap
    )
}

impl Summary {
    /// What the runs of one command found, on all adapters at the same time if
    /// `concurrent`.
    pub fn of(outcomes: &[Outcome], left_out: Vec<LeftOut>, concurrent: bool) -> Self {
        let models = sisters::models(outcomes);
        let names = names(outcomes);
        let found = names.iter().map(|name| {
            let found = outcomes.iter().zip(1..).map(|(outcome, number)| {
                let all = outcome
                    .report
                    .iter()
                    .flat_map(|report| &report.measurements);
                let measurement = all.into_iter().find(|m| m.name() == *name)?;
                Some(Measured {
                    number,
                    index: outcome.adapter.index,
                    measurement,
                })
            });
            found.collect()
        });
        let found: Vec<Vec<Option<Measured>>> = found.collect();
        let measured = found
            .iter()
            .map(|case| case.iter().flatten().copied().collect());
        let measured: Vec<Vec<Measured>> = measured.collect();
        let sisters = models.iter();
        let sisters = sisters.filter_map(|model| sisters::sisters(model, &measured, concurrent));
        let cases = names.into_iter().zip(&found);
        let cases = cases.map(|(name, found)| case(name, found, &models, concurrent));
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            concurrent,
            cases: cases.collect(),
            models: sisters.collect(),
            adapters: outcomes.iter().zip(1..).map(adapter_run).collect(),
            left_out,
        }
    }

    /// The summary's JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Summary)
    }
}

fn adapter_run((outcome, number): (&Outcome, usize)) -> AdapterRun {
    let cases = outcome
        .report
        .map_or(&[][..], |report| &report.measurements);
    AdapterRun {
        number,
        adapter: outcome.adapter.name.clone(),
        backend: outcome.adapter.backend,
        pci_address: outcome.adapter.pci_address.clone(),
        run_id: outcome.report.map(|report| report.run_id),
        folder: outcome.folder.clone(),
        measured: cases.iter().filter(|m| m.status == Status::Ok).count(),
        cases: cases.len(),
        error: outcome.error.clone(),
    }
}

/// Every case, in the order of the first report that has it.
fn names(outcomes: &[Outcome]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let reports = outcomes.iter().filter_map(|outcome| outcome.report);
    for measurement in reports.flat_map(|report| &report.measurements) {
        let name = measurement.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The case `name`, of which each adapter `found` this.
fn case(
    name: String,
    found: &[Option<Measured>],
    models: &[sisters::Model],
    concurrent: bool,
) -> CaseSummary {
    let figures = found
        .iter()
        .map(|found| figure(found.as_ref()?.measurement));
    let figures: Vec<Option<(Quantity, f64)>> = figures.collect();
    let with_figure = found.iter().zip(&figures);
    let with_figure = with_figure.filter_map(|(found, figure)| figure.and(*found));
    let measured: Vec<Measured> = with_figure.collect();
    let quantity = figures
        .iter()
        .flatten()
        .next()
        .map(|(quantity, _)| *quantity);
    let total = match quantity {
        Some(quantity) => totals::total(quantity, &measured, concurrent),
        None => Err("no adapter has a figure".to_owned()),
    };
    let spreads = models
        .iter()
        .flat_map(|model| sisters::spreads(model, &measured, concurrent));
    CaseSummary {
        name,
        quantity,
        figures: figures.iter().map(|f| f.map(|(_, value)| value)).collect(),
        total_reason: total.as_ref().err().cloned(),
        total: total.ok(),
        spreads: spreads.collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
