//! Cards of one model, held against one another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Measured, Outcome, Quantity, figure, least_overlap, not_together};
use crate::measure::measurement::{Beside, Measurement};
use crate::stats;

/// How fast the cards of a model are, over all their cases together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sisters {
    /// The model, as its driver names it.
    pub model: String,
    /// How many cards were compared.
    pub cards: usize,
    /// How much slower the slowest is than the fastest, in percent of the latter, each
    /// by the median over its cases.
    pub range_percent: f64,
    /// Cards that are slower than the others, slowest first; never any of fewer than
    /// four.
    pub slow: Vec<Slow>,
}

/// A card that is slower than others of its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slow {
    /// Its number.
    pub adapter: usize,
    /// Cases in which it was compared.
    pub cases: usize,
    /// How much slower than the median card it is, in percent, by the median over these
    /// cases.
    pub percent: f64,
    /// From how much on it stands out.
    pub limit_percent: f64,
    /// Standard deviation of that percentage from case to case.
    pub scatter_percent: f64,
}

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
    let cards = of_model(model, measured);
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

fn of_model<'a>(model: &Model, measured: &[Measured<'a>]) -> Vec<Measured<'a>> {
    let cards = measured.iter();
    let cards = cards.filter(|m| model.numbers.contains(&m.number));
    cards.copied().collect()
}

/// How the cards of a model lie over all cases in which they can be held against one
/// another. `None` where there is no such case.
pub(super) fn sisters(model: &Model, cases: &[Vec<Measured>], concurrent: bool) -> Option<Sisters> {
    let cases = cases.iter().map(|measured| {
        let mut cards = of_model(model, measured);
        cards.retain(|card| figure(card.measurement).is_some());
        cards
    });
    let comparable = cases.filter(|cards| incomparable(cards, concurrent).is_none());
    let speeds = comparable.map(|cards| {
        let speed = |card: &Measured| {
            let speed = match figure(card.measurement)? {
                (Quantity::MedianS, seconds) => 1.0 / seconds,
                (_, rate) => rate,
            };
            Some((card.number, speed))
        };
        cards.iter().filter_map(speed).collect()
    });
    let speeds: Vec<Vec<(usize, f64)>> = speeds.collect();
    let found = stats::compare_cards(&speeds)?;
    let slow = found.slow.into_iter().map(|slow| Slow {
        adapter: slow.card,
        cases: slow.cases,
        percent: 100.0 * slow.slower,
        limit_percent: 100.0 * slow.limit,
        scatter_percent: 100.0 * slow.scatter,
    });
    Some(Sisters {
        model: model.name.clone(),
        cards: found.cards,
        range_percent: 100.0 * found.range,
        slow: slow.collect(),
    })
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

/// How values lie, each of them with the number of its card; there are at least two.
fn distribution(values: &[(usize, f64)]) -> Distribution {
    let values: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let at = |q| stats::quantile(&values, q).unwrap_or(f64::NAN);
    let (lowest, median, highest) = (at(0.0), at(0.5), at(1.0));
    Distribution {
        median,
        lowest,
        highest,
        percent: 100.0 * (highest - lowest) / median,
    }
}
