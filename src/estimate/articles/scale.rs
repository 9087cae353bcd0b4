//! Computing power of centres, cities and countries, and what they pay for it.

use super::check::Definition;
use super::check::{Finding, Verdict};
use super::figures::{Facts, FigureError};
use crate::datasheet::FigureKind;
use crate::estimate::text::{money, number, range, rate};
use crate::estimate::{CategoryError, ComputeRate, NumberFormat, Span};

pub(super) const CHECKS: &[Definition] = &[
    Definition {
        id: "C10",
        subject: "definitions of TFLOPS, PFLOPS and EFLOPS",
        figures: &["A23", "A59", "A60", "A61", "A62"],
        judge: definitions,
    },
    Definition {
        id: "C11",
        subject: "Shanghai's targets of 2023 and 2025",
        figures: &["A41", "A42"],
        judge: shanghai,
    },
    Definition {
        id: "C12",
        subject: "AI computing centres of cities",
        figures: &[
            "A22", "A25", "A56", "A57a", "A57b", "A57c", "A57d", "A57e", "A57f", "A57g", "A58",
        ],
        judge: city_centres,
    },
    Definition {
        id: "C22",
        subject: "caps of Chengdu's awards and subsidies",
        figures: &["A45", "A46", "A50", "A51"],
        judge: caps,
    },
];

const CITIES: [&str; 7] = ["A57a", "A57b", "A57c", "A57d", "A57e", "A57f", "A57g"];

fn definitions(facts: &Facts) -> Result<Finding, FigureError> {
    let mut wrong = Vec::new();
    let mut steps = Vec::new();
    for (name, id, prefix) in [
        ("TFLOPS", "A59", 1e12),
        ("PFLOPS", "A62", 1e15),
        ("EFLOPS", "A60", 1e18),
    ] {
        let said = facts.number(id, "FLOP/s")?;
        steps.push(format!("{name} = {said:e} FLOP/s"));
        if said != prefix {
            wrong.push(name);
        }
    }
    let level = facts.number("A61", "FLOP/s")?;
    let forecast = facts.rate("A23")?.rate.low.0;
    if !(1.0..10.0).contains(&(forecast / level)) {
        wrong.push("the level of 2026");
    }
    let finding = if wrong.is_empty() {
        Finding::new(
            Verdict::Holds,
            "The prefixes are right, and so is the level.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            format!("Wrong: {}.", wrong.join(", ")),
        )
    };
    Ok(finding.step(steps.join("; ")).step(format!(
        "level {level:e} FLOP/s; the forecast is {} times that",
        number(forecast / level)
    )))
}

/// In the unit of the articles.
fn petaflops(rate: ComputeRate) -> String {
    range(rate.rate.map(|rate| rate.0 / 1e15), "PFLOPS")
}

/// Number of A100 that have a rate as their peak, where the format says which.
fn in_a100(facts: &Facts, target: ComputeRate) -> Result<String, FigureError> {
    let kind = match target.format {
        Some(NumberFormat::Fp16) => FigureKind::Fp16Tensor,
        Some(NumberFormat::Fp32) => FigureKind::Fp32,
        Some(NumberFormat::Fp64) => FigureKind::Fp64,
        _ => return Ok(format!("{}, precision not stated", petaflops(target))),
    };
    let peak = facts.peak("nvidia-a100-sxm4-40gb", kind)?;
    let format = target
        .format
        .map_or_else(String::new, |format| format.to_string());
    Ok(format!(
        "{} {format} = the {kind} peak ({}) of {} A100",
        petaflops(target),
        rate(Span::of(peak)),
        number(target.rate.low / peak)
    ))
}

fn shanghai(facts: &Facts) -> Result<Finding, FigureError> {
    let (before, after) = (facts.rate("A41")?, facts.rate("A42")?);
    let numbers = number(after.rate.low / before.rate.low);
    let finding = match after.over(before) {
        Ok(_) => Finding::new(
            Verdict::Holds,
            format!("Both are in the same precision: growth by {numbers} times."),
        ),
        Err(error @ CategoryError::Unstated(_)) => {
            Finding::new(Verdict::PrecisionNotStated, format!("{error}."))
        }
        Err(error) => Finding::new(
            Verdict::CategoryError,
            format!("{error}. The numbers' ratio of {numbers} is no growth."),
        ),
    };
    Ok(finding
        .step(format!("2023: {}", in_a100(facts, before)?))
        .step(format!("2025: {}", in_a100(facts, after)?)))
}

fn city_centres(facts: &Facts) -> Result<Finding, FigureError> {
    let threshold = facts.rate("A58")?;
    let country = facts.rate("A22")?;
    let mut rates = Vec::new();
    for id in CITIES {
        rates.push(facts.rate(id)?);
    }
    let mut below = Vec::new();
    for (id, centre) in CITIES.iter().zip(&rates) {
        if centre.over(threshold).is_ok_and(|ratio| ratio.low < 1.0) {
            let name = facts
                .figure(id)?
                .quantity
                .trim_start_matches("AI computing centre in ");
            below.push(format!("{name} {}", petaflops(*centre)));
        }
    }
    let (running, planned) = (
        facts.number("A56", "cities")?,
        facts.number("A25", "cities")?,
    );
    let counted = running == CITIES.len() as f64;
    let sum = rates
        .iter()
        .copied()
        .map(Ok)
        .reduce(|sum, next| sum?.plus(next?));
    let unstated = rates.iter().any(|rate| rate.format.is_none());
    let (mut finding, step) = match sum.unwrap_or(Ok(threshold)) {
        Ok(sum) => {
            let share = sum.over(country).map_or_else(
                |error| error.to_string(),
                |ratio| {
                    format!(
                        "{} % of the country's {}",
                        number(ratio.low * 100.0),
                        petaflops(country)
                    )
                },
            );
            let verdict = if below.is_empty() && counted {
                Verdict::Holds
            } else {
                Verdict::ContradictsItself
            };
            let remark = if below.is_empty() {
                "Every centre reaches the stated threshold."
            } else {
                "Centres that the article lists are below its own threshold."
            };
            (
                Finding::new(verdict, remark),
                format!(
                    "sum of {} centres: {}, {share}",
                    rates.len(),
                    petaflops(sum)
                ),
            )
        }
        Err(error) => (
            Finding::new(
                Verdict::CategoryError,
                format!("The centres cannot be added up: {error}."),
            ),
            "no sum".to_owned(),
        ),
    };
    finding = finding.and_if(unstated, Verdict::PrecisionNotStated);
    let list = if below.is_empty() {
        "none".to_owned()
    } else {
        below.join(", ")
    };
    Ok(finding
        .step(step)
        .step(format!(
            "below the threshold of {}: {list}",
            petaflops(threshold)
        ))
        .step(format!(
            "{} cities in which centres run, {} in which they are laid out, {} listed",
            number(running),
            number(planned),
            rates.len()
        )))
}

fn caps(facts: &Facts) -> Result<Finding, FigureError> {
    let award = facts.money("A45", "")?;
    let units = facts.figure("A45")?.count.unwrap_or(1.0);
    let all = award.times(Span::of(units));
    let cap = facts.money("A46", "")?;
    let per_rack = facts.money("A50", "/rack")?;
    let racks = facts.money("A51", "")?.over(per_rack)?;
    let binds = all.over(cap)?.low > 1.0;
    let finding = if binds {
        Finding::new(
            Verdict::Holds,
            "The cap is below what the highest awards add up to, so it means something: not all can get the highest.",
        )
    } else {
        Finding::new(
            Verdict::ContradictsItself,
            "The cap is never reached, so it means nothing.",
        )
    };
    Ok(finding
        .step(format!(
            "{} units × {} = {}; cap: {}",
            number(units),
            money(award),
            money(all),
            money(cap)
        ))
        .step(format!(
            "{} ÷ {} a rack = {} racks",
            money(facts.money("A51", "")?),
            money(per_rack),
            range(racks, "")
        )))
}
