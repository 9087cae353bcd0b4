//! What two articles say about computing power and electricity, and whether it
//! holds.
//!
//! The figures are data (`articles.json`), each with the article's words. A check
//! calculates with them and with reference figures that have sources of their
//! own; datasheet values come from the catalogue. A verdict is the outcome of
//! that calculation: another figure may lead to another verdict.

mod check;
mod energy;
mod figures;
mod growth;
mod hardware;
mod model;
mod scale;

pub use check::{Check, Finding, Verdict};
pub use figures::{Articles, Figure, FigureError};

use check::Definition;

use crate::datasheet::Catalogue;

/// All checks, in the order of their ids.
fn definitions() -> Vec<Definition> {
    let mut all: Vec<Definition> = [
        energy::CHECKS,
        growth::CHECKS,
        hardware::CHECKS,
        model::CHECKS,
        scale::CHECKS,
    ]
    .concat();
    all.sort_by_key(|definition| definition.id);
    all
}

/// Runs every check.
///
/// # Errors
/// When a figure is missing or in another unit than a check needs.
pub fn check(articles: &Articles, catalogue: &Catalogue) -> Result<Vec<Check>, FigureError> {
    let facts = figures::Facts::new(articles, catalogue);
    definitions()
        .into_iter()
        .map(|definition| definition.run(&facts))
        .collect()
}

#[cfg(test)]
mod tests;
