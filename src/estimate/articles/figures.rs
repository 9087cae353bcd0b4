//! The articles' figures, and typed access to them.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::super::document::{self, Fault, LoadError};
use super::super::money::{Money, Tariff};
use super::super::quantity::{self, ComputeUnit};
use super::super::rate::{ComputeRate, NumberFormat};
use super::super::span::Span;
use crate::datasheet::{Catalogue, Datasheet, FigureKind, Source};
use crate::json_file::without_duplicates;
use crate::units::{Flop, FlopPerSecond, Joules, Seconds, Tflops, Watts};

const SCHEMA_VERSION: u32 = 1;

/// Figures of the articles, figures to hold against them, and their sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Articles {
    schema_version: u32,
    #[serde(deserialize_with = "without_duplicates")]
    sources: BTreeMap<String, Source>,
    figures: Vec<Figure>,
    references: Vec<Figure>,
}

/// One figure and who states it: a value, a date or a statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// `A01`; references are `R01`.
    pub id: String,
    /// What it is of.
    pub quantity: String,
    /// The value, or the range that the source leaves it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Span<f64>>,
    /// How many there are of that value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<f64>,
    /// A day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// What is said without a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The unit of the value.
    pub unit: Option<String>,
    /// Number format of a rate; null where it is not stated or there is none.
    pub precision: Option<NumberFormat>,
    /// The year that the value is of or starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<i16>,
    /// What has to be known to read the figure rightly.
    pub context: Option<String>,
    /// The source's own words.
    pub quotation: Option<String>,
    /// Id of the source.
    pub source: String,
}

/// A figure that a check cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FigureError {
    /// There is none.
    #[error("there is no figure {0}")]
    Missing(String),
    /// The catalogue lacks a datasheet.
    #[error("there is no datasheet {0}, which a check needs")]
    NoDatasheet(&'static str),
    /// It is of another unit.
    #[error("figure {id} is in {found}, and {needed} is needed")]
    Unit {
        /// Which.
        id: String,
        /// Its unit.
        found: String,
        /// What the check needs.
        needed: &'static str,
    },
    /// A datasheet lacks it.
    #[error("the datasheet {id} states no {kind}")]
    Datasheet {
        /// Which.
        id: &'static str,
        /// Of what.
        kind: FigureKind,
    },
    /// Two currencies.
    #[error(transparent)]
    Currencies(#[from] super::super::money::MixedCurrencies),
}

impl Articles {
    /// The figures that are part of the program.
    pub fn builtin() -> &'static Articles {
        static BUILTIN: LazyLock<Articles> = LazyLock::new(|| {
            Articles::from_json(include_str!("../articles.json"), Path::new("articles.json"))
                .expect("the built-in figures are valid, which a test asserts")
        });
        &BUILTIN
    }

    /// Parses and checks the text of `file`, which is named in errors.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn from_json(text: &str, file: &Path) -> Result<Articles, LoadError> {
        document::parse(text, file, Articles::validate)
    }

    /// Figures of the articles.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter()
    }

    /// Figures that those of the articles are held against.
    pub fn references(&self) -> impl Iterator<Item = &Figure> {
        self.references.iter()
    }

    /// The documents that figures cite, by id.
    pub fn sources(&self) -> &BTreeMap<String, Source> {
        &self.sources
    }

    /// The figure or reference with that id.
    pub fn get(&self, id: &str) -> Option<&Figure> {
        self.figures()
            .chain(self.references())
            .find(|figure| figure.id == id)
    }

    fn validate(&self) -> Result<(), Fault> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(Fault {
                path: "schema_version".to_owned(),
                problem: format!("this build reads version {SCHEMA_VERSION}"),
            });
        }
        let mut ids = HashSet::new();
        for (list, figures) in [("figures", &self.figures), ("references", &self.references)] {
            for (index, figure) in figures.iter().enumerate() {
                let fault = |field: &str, problem: &str| {
                    Err(Fault {
                        path: format!("{list}[{index}].{field}"),
                        problem: format!("{problem} (in `{}`)", figure.id),
                    })
                };
                if !ids.insert(&figure.id) {
                    return fault("id", "this id is used more than once");
                }
                if !self.sources.contains_key(&figure.source) {
                    return fault("source", "there is no such source");
                }
                let said = [
                    figure.value.is_some(),
                    figure.date.is_some(),
                    figure.statement.is_some(),
                ];
                if said.iter().filter(|said| **said).count() != 1 {
                    return fault("id", "a figure is a value, a date or a statement");
                }
                if figure.value.is_some() != figure.unit.is_some() {
                    return fault("unit", "values have a unit, and nothing else has one");
                }
            }
        }
        Ok(())
    }
}

/// Typed access to figures and datasheets.
pub(super) struct Facts<'a> {
    articles: &'a Articles,
    catalogue: &'a Catalogue,
}

impl<'a> Facts<'a> {
    pub(super) fn new(articles: &'a Articles, catalogue: &'a Catalogue) -> Self {
        Self {
            articles,
            catalogue,
        }
    }

    /// The figure itself.
    pub(super) fn figure(&self, id: &str) -> Result<&'a Figure, FigureError> {
        let found = self.articles.get(id);
        found.ok_or_else(|| FigureError::Missing(id.to_owned()))
    }

    /// A value that has to be in `unit`.
    pub(super) fn span(&self, id: &str, unit: &'static str) -> Result<Span<f64>, FigureError> {
        let (span, found) = self.value(id, unit)?;
        if found == unit {
            Ok(span)
        } else {
            Err(wrong_unit(id, found, unit))
        }
    }

    /// The one end of a range that the source states, or its only value.
    pub(super) fn number(&self, id: &str, unit: &'static str) -> Result<f64, FigureError> {
        self.span(id, unit).map(Span::stated)
    }

    fn value(&self, id: &str, needed: &'static str) -> Result<(Span<f64>, &'a str), FigureError> {
        let figure = self.figure(id)?;
        let unit = figure.unit.as_deref();
        figure
            .value
            .zip(unit)
            .ok_or_else(|| wrong_unit(id, "words", needed))
    }

    /// A rate with its precision, or work.
    pub(super) fn rate(&self, id: &str) -> Result<ComputeRate, FigureError> {
        const NEEDED: &str = "a rate such as PFLOPS";
        let (span, unit) = self.value(id, NEEDED)?;
        match quantity::compute_unit(unit) {
            Some(ComputeUnit::Rate(one)) => Ok(ComputeRate {
                rate: span.map(|n| one * n),
                format: self.figure(id)?.precision,
            }),
            _ => Err(wrong_unit(id, unit, NEEDED)),
        }
    }

    /// Work in floating-point operations.
    pub(super) fn work(&self, id: &str) -> Result<Flop, FigureError> {
        self.number(id, "FLOP").map(Flop)
    }

    /// An energy for each of something, `kWh/day`, and how long that is.
    pub(super) fn energy_per(&self, id: &str) -> Result<(Span<Joules>, Seconds), FigureError> {
        const NEEDED: &str = "energy per time, such as kWh/day";
        let (span, unit) = self.value(id, NEEDED)?;
        let parts = unit.split_once('/').and_then(|(energy, time)| {
            Some((quantity::energy_unit(energy)?, quantity::time_unit(time)?))
        });
        let (one, period) = parts.ok_or_else(|| wrong_unit(id, unit, NEEDED))?;
        Ok((span.map(|n| one * n), period))
    }

    /// A power.
    pub(super) fn power(&self, id: &str) -> Result<Watts, FigureError> {
        self.number(id, "W").map(Watts)
    }

    /// An amount of money in `USD`, `CNY/rack` or `USD/day`: what stands behind the
    /// currency has to be `per`.
    pub(super) fn money(&self, id: &str, per: &'static str) -> Result<Money, FigureError> {
        let (amount, unit) = self.value(id, "money")?;
        let currency = unit.strip_suffix(per).and_then(|unit| unit.parse().ok());
        match currency {
            Some(currency) => Ok(Money { amount, currency }),
            None => Err(wrong_unit(id, unit, "money")),
        }
    }

    /// A price of electricity.
    pub(super) fn tariff(&self, id: &str) -> Result<Tariff, FigureError> {
        let per_kwh = self.money(id, "/kWh")?;
        Ok(Tariff { per_kwh })
    }

    /// A number of accelerators, and the product that is counted.
    pub(super) fn accelerators(&self, id: &str) -> Result<(f64, &'a str), FigureError> {
        let (span, unit) = self.value(id, "a number of accelerators")?;
        Ok((span.stated(), unit))
    }

    /// The year that a figure is of.
    pub(super) fn year(&self, id: &str) -> Result<i16, FigureError> {
        let year = self.figure(id)?.year;
        year.ok_or_else(|| wrong_unit(id, "no year", "a year"))
    }

    /// A datasheet by its id.
    pub(super) fn datasheet(&self, id: &'static str) -> Result<&'a Datasheet, FigureError> {
        let found = self.catalogue.get(id);
        found.ok_or(FigureError::NoDatasheet(id))
    }

    /// A figure of a datasheet, in its unit.
    pub(super) fn stated(&self, id: &'static str, kind: FigureKind) -> Result<f64, FigureError> {
        let value = self.datasheet(id)?.figure(kind).map(|figure| figure.value);
        value.ok_or(FigureError::Datasheet { id, kind })
    }

    /// A peak of a datasheet.
    pub(super) fn peak(
        &self,
        id: &'static str,
        kind: FigureKind,
    ) -> Result<FlopPerSecond, FigureError> {
        self.stated(id, kind).map(|peak| Tflops(peak).into())
    }

    /// The board power of a datasheet.
    pub(super) fn board_power(&self, id: &'static str) -> Result<Watts, FigureError> {
        self.stated(id, FigureKind::BoardPower).map(Watts)
    }
}

fn wrong_unit(id: &str, found: &str, needed: &'static str) -> FigureError {
    FigureError::Unit {
        id: id.to_owned(),
        found: found.to_owned(),
        needed,
    }
}

/// Whether two values differ by at most a share of the second.
pub(super) fn close(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * b.abs()
}
