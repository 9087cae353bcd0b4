//! Rates of growth.

use super::check::Definition;
use super::check::{Finding, Verdict};
use super::figures::{Facts, FigureError};
use crate::estimate::Span;
use crate::estimate::text::{energy, number, range, rate};

pub(super) const CHECKS: &[Definition] = &[
    Definition {
        id: "C09",
        subject: "growth of China's intelligent computing power",
        figures: &["A22", "A23", "A24"],
        judge: intelligent_computing_power,
    },
    Definition {
        id: "C17",
        subject: "doubling times of AI",
        figures: &["A05", "B01", "B07", "R12"],
        judge: doubling_times,
    },
    Definition {
        id: "C19",
        subject: "growth of the number of GPUs made",
        figures: &["B16", "B17", "B18", "R17"],
        judge: gpus_made,
    },
];

/// Percent a year that make `ratio` in some years.
fn percent_a_year(ratio: f64, years: f64) -> f64 {
    (ratio.powf(1.0 / years) - 1.0) * 100.0
}

fn intelligent_computing_power(facts: &Facts) -> Result<Finding, FigureError> {
    let (before, after) = (facts.rate("A22")?, facts.rate("A23")?);
    let years = f64::from(facts.year("A23")? - facts.year("A22")?);
    let stated = facts.number("A24", "%/year")?;
    let unstated = before.format.is_none() || after.format.is_none();
    let step = format!(
        "from {} to {} in {years} years",
        rate(before.rate),
        rate(after.rate)
    );
    let ratio = match after.over(before) {
        Ok(ratio) => ratio.low,
        Err(error) => {
            let finding = Finding::new(Verdict::CategoryError, error.to_string());
            return Ok(finding.step(step));
        }
    };
    let growth = percent_a_year(ratio, years);
    // Stated to one decimal.
    let finding = if (growth - stated).abs() <= 0.05 {
        Finding::new(
            Verdict::Holds,
            "The stated growth is that of the two figures, to its last digit.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The two figures grow at another rate than stated.",
        )
    };
    Ok(finding
        .and_if(unstated, Verdict::PrecisionNotStated)
        .step(format!(
            "{step}: {} % a year; stated: {} %",
            number(growth),
            number(stated)
        )))
}

fn doubling_times(facts: &Facts) -> Result<Finding, FigureError> {
    let compute = facts.span("A05", "months")?;
    let electricity = facts.span("B07", "months")?;
    let of_compute = facts.number("R12", "months")?;
    let (start, end) = (facts.year("B07")?, facts.year("B01")?);
    let months = f64::from(end - start) * 12.0;
    let doublings = Span::of(months) / electricity;
    let (forecast, _) = facts.energy_per("B01")?;
    let implied = forecast.low / doublings.low.exp2();
    let overlap = compute.low <= electricity.high && electricity.low <= compute.high;
    let is_of_compute = electricity.low <= of_compute && of_compute <= electricity.high;
    let finding = if overlap {
        Finding::new(Verdict::Holds, "Both articles name the same doubling time.")
    } else {
        Finding::new(
            Verdict::ArticlesDisagree,
            format!(
                "Article A speaks of compute, article B of electricity, which cannot have doubled that often: by the article's own forecast all AI would have lived on {} in {start}. The known statistic of this size is one of compute.",
                energy(Span::of(implied))
            ),
        )
        .and_if(is_of_compute, Verdict::Conflation)
    };
    Ok(finding
        .step(format!(
            "A: compute doubles every {}: {} times a year",
            range(compute, "months"),
            number((12.0 / compute.low).exp2())
        ))
        .step(format!(
            "B: electricity doubles every {} since {start}: {} to {} times a year",
            range(electricity, "months"),
            number((12.0 / electricity.high).exp2()),
            number((12.0 / electricity.low).exp2())
        ))
        .step(format!(
            "{start} to {end}: at least {} doublings, so {} in {end} were {} in all of {start}",
            number(doublings.low),
            energy(Span::of(forecast.low)),
            energy(Span::of(implied))
        ))
        .step(format!(
            "OpenAI, 2018: compute doubled every {} months",
            number(of_compute)
        )))
}

fn gpus_made(facts: &Facts) -> Result<Finding, FigureError> {
    let (now, then) = (
        facts.number("B16", "chips/year")?,
        facts.number("B17", "chips/year")?,
    );
    let stated = facts.number("B18", "%/year")?;
    let written = facts.number("R17", "year")?;
    let until = f64::from(facts.year("B17")?) - written;
    let ratio = then / now;
    let (one, two) = (
        percent_a_year(ratio, until),
        percent_a_year(ratio, until + 1.0),
    );
    let finding = if two >= stated {
        Finding::new(
            Verdict::Holds,
            "The stated growth is reached whether counted from the year of the article or from the year before.",
        )
    } else if (one - stated).abs() <= 2.0 {
        Finding::new(
            Verdict::Holds,
            "The stated growth is reached if counted from the year of the article.",
        )
    } else {
        Finding::new(
            Verdict::ContradictsItself,
            "The article does not say from which year it counts, and the stated growth fits neither year.",
        )
    };
    Ok(finding.step(format!(
        "{} ÷ {} = {}: {} % a year since {written}, {} % since {}; stated: at least {} %",
        number(then),
        number(now),
        number(ratio),
        number(one),
        number(two),
        written - 1.0,
        number(stated)
    )))
}
