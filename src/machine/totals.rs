//! What several adapters reached together, at the same time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Measured, Quantity, figure, least_overlap, not_together};
use crate::measure::measurement::{Beside, Flag};
use crate::units::Watts;

/// The sum over adapters that worked on one case at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// Their numbers.
    pub adapters: Vec<usize>,
    /// Sum of their rates, in the unit of the case's figures.
    pub rate: f64,
    /// Sum of the power that each drew meanwhile.
    pub power_w: Option<Watts>,
    /// Why there is none; null where there is.
    pub power_reason: Option<String>,
    /// The rate over the power; null for cases without operations.
    pub rate_per_watt: Option<f64>,
    /// The least share of any adapter's timed dispatches in which another of them
    /// worked as well.
    pub least_overlap: f64,
    /// What to know before quoting it: every flag that one of the figures carries,
    /// beside that it was not measured alone.
    pub flags: Vec<Flag>,
}

/// The total of figures of `quantity`, or why there is none.
pub(super) fn total(
    quantity: Quantity,
    measured: &[Measured],
    concurrent: bool,
) -> Result<Total, String> {
    let Some((overlap, pair)) = least_overlap(measured) else {
        let number = measured.first().map_or(0, |m| m.number);
        return Err(format!("only [{number}] has a figure"));
    };
    if !concurrent {
        return Err(
            "measured one after the other, each with the machine's power and cooling to itself: \
             what they reach at the same time is for --concurrent to find out"
                .into(),
        );
    }
    if quantity == Quantity::MedianS {
        return Err("times of a dispatch have no total".into());
    }
    if overlap < Beside::THROUGHOUT {
        return Err(not_together(overlap, pair));
    }
    let rates = measured.iter().filter_map(|m| figure(m.measurement));
    let rate: f64 = rates.map(|(_, value)| value).sum();
    let power = power(measured);
    let per_watt = power.as_ref().ok().map(|power| rate / power.0);
    Ok(Total {
        adapters: measured.iter().map(|m| m.number).collect(),
        rate,
        power_reason: power.as_ref().err().cloned(),
        rate_per_watt: per_watt.filter(|_| quantity.per_watt().is_some()),
        power_w: power.ok(),
        least_overlap: overlap,
        flags: flags(measured),
    })
}

/// The flags of all, each once.
fn flags(measured: &[Measured]) -> Vec<Flag> {
    let mut flags = Vec::new();
    for flag in measured.iter().flat_map(|m| &m.measurement.flags) {
        if *flag != Flag::Concurrent && !flags.contains(flag) {
            flags.push(*flag);
        }
    }
    flags
}

/// The sum of what the adapters drew, or why there is none.
fn power(measured: &[Measured]) -> Result<Watts, String> {
    let mut sources: Vec<&str> = Vec::new();
    let mut watts = 0.0;
    for Measured {
        number,
        measurement,
        ..
    } in measured
    {
        let Some(power) = &measurement.power else {
            return Err(format!("the power of [{number}] was not measured"));
        };
        if sources.contains(&&power.source[..]) {
            let source = &power.source;
            return Err(format!("{source} would be counted more than once"));
        }
        sources.push(&power.source);
        watts += power.median_w.0;
    }
    Ok(Watts(watts))
}
