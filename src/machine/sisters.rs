//! Cards of one model, held against one another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Measured, Outcome, Quantity, figure, least_overlap, not_together};
use crate::measure::measurement::{Beside, Measurement};
use crate::stats;

/// Cards of one model differ by 5 % in the ordinary course of manufacture: less is
/// nothing to remark upon.
pub const ORDINARY_SPREAD: f64 = 0.05;

/// How far cards of one model lie apart in something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The model, as its driver names it.
    pub model: String,
    /// The numbers of its cards that have a figure.
    pub adapters: Vec<usize>,
    /// In what.
    pub quantity: Quantity,
    /// How far; null where their figures cannot be held against one another.
    pub found: Option<Distribution>,
    /// Why not; null where they can.
    pub reason: Option<String>,
}

/// How values lie, in the unit of their quantity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// The median.
    pub median: f64,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
    /// From the lowest to the highest, in percent of the median.
    pub percent: f64,
    /// Cards that lie apart, by more than 5 % of the median and 3.5 robust standard
    /// deviations; never any of fewer than three.
    pub outliers: Vec<Outlier>,
}

/// A card that lies apart from its sisters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlier {
    /// Its number.
    pub adapter: usize,
    /// How far from the median, in percent of it.
    pub percent: f64,
}

/// What a case has of some quantity.
type Figure = fn(&Measurement) -> Option<(Quantity, f64)>;

/// A model of which the machine has several cards, and their numbers.
pub(super) struct Model {
    name: String,
    numbers: Vec<usize>,
}

/// The models with several cards: the same name, ids, backend and driver.
pub(super) fn models(outcomes: &[Outcome]) -> Vec<Model> {
    let key = |outcome: &Outcome| {
        let adapter = outcome.adapter;
        let driver = adapter.driver_and_version();
        let ids = [adapter.vendor_id, adapter.device_id];
        (adapter.name.clone(), ids, adapter.backend, driver)
    };
    let mut models: Vec<(_, Model)> = Vec::new();
    let cards = outcomes.iter().zip(1..);
    for (outcome, number) in cards.filter(|(outcome, _)| !outcome.adapter.is_software()) {
        let key = key(outcome);
        match models.iter_mut().find(|(known, _)| *known == key) {
            Some((_, model)) => model.numbers.push(number),
            None => {
                let model = Model {
                    name: outcome.adapter.name.clone(),
                    numbers: vec![number],
                };
                models.push((key, model));
            }
        }
    }
    let models = models.into_iter().map(|(_, model)| model);
    models.filter(|model| model.numbers.len() > 1).collect()
}

/// How far the cards of a model lie apart in a case: in its figure, in power and in
/// what they do with it, as far as these were measured.
pub(super) fn spreads(model: &Model, measured: &[Measured], concurrent: bool) -> Vec<Spread> {
    let cards = measured
        .iter()
        .filter(|m| model.numbers.contains(&m.number));
    let cards: Vec<Measured> = cards.copied().collect();
    let reason = incomparable(&cards, concurrent);
    let spread = |quantity: Figure| {
        let values = cards.iter().filter_map(|card| {
            let (quantity, value) = quantity(card.measurement)?;
            Some((quantity, (card.number, value)))
        });
        let (quantities, values): (Vec<Quantity>, Vec<(usize, f64)>) = values.unzip();
        let quantity = *quantities.first()?;
        let reason = match (&reason, &values[..]) {
            (Some(reason), _) => Some(reason.clone()),
            (None, [(number, _)]) => Some(format!("only [{number}] has a figure")),
            (None, _) => None,
        };
        Some(Spread {
            model: model.name.clone(),
            adapters: values.iter().map(|(number, _)| *number).collect(),
            quantity,
            found: reason.is_none().then(|| distribution(&values)),
            reason,
        })
    };
    let quantities: [Figure; 3] = [figure, power, efficiency];
    quantities.into_iter().filter_map(spread).collect()
}

fn power(measurement: &Measurement) -> Option<(Quantity, f64)> {
    let power = measurement.power.as_ref()?;
    Some((Quantity::PowerW, power.median_w.0))
}

fn efficiency(measurement: &Measurement) -> Option<(Quantity, f64)> {
    let (quantity, _) = figure(measurement)?;
    let efficiency = measurement.gflops_per_watt?;
    Some((quantity.per_watt()?, efficiency.gross.0))
}

/// Why the figures of these cards do not show how the cards differ.
fn incomparable(cards: &[Measured], concurrent: bool) -> Option<String> {
    let [first, others @ ..] = cards else {
        return None;
    };
    let ceiling = first.measurement.operation.is_ceiling();
    let program = first.measurement.program();
    let other = others
        .iter()
        .find(|card| card.measurement.program() != program);
    if let (false, Some(other)) = (ceiling, other) {
        return Some(format!(
            "[{}] and [{}] ran different programs",
            first.number, other.number
        ));
    }
    let (overlap, pair) = least_overlap(cards).filter(|_| concurrent)?;
    (overlap < Beside::THROUGHOUT).then(|| not_together(overlap, pair))
}

/// How values lie, each with the number of its card; there are at least two.
fn distribution(values: &[(usize, f64)]) -> Distribution {
    let (numbers, values): (Vec<usize>, Vec<f64>) = values.iter().copied().unzip();
    let at = |q| stats::quantile(&values, q).unwrap_or(f64::NAN);
    let (lowest, median, highest) = (at(0.0), at(0.5), at(1.0));
    let outliers = stats::outliers(&values, ORDINARY_SPREAD).map(|out| out.found);
    let outliers = outliers
        .into_iter()
        .flatten()
        .map(|(position, deviation)| Outlier {
            adapter: numbers[position],
            percent: 100.0 * deviation,
        });
    Distribution {
        median,
        lowest,
        highest,
        percent: 100.0 * (highest - lowest) / median,
        outliers: outliers.collect(),
    }
}
