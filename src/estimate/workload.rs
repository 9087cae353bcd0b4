//! Workloads: what somebody says that a model, a service or a computing centre
//! takes, each figure with its source.
//!
//! The built-in ones are data ([`Workloads::builtin`]), and a file in the same
//! format brings others ([`Workloads::from_file`]).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{self, Fault, LoadError};
use super::money::{Currency, Money, Tariff};
use super::quantity::{self, ComputeUnit, Pue};
use super::rate::{ComputeRate, NumberFormat};
use super::span::Span;
use crate::datasheet::Source;
use crate::json_file::{fault_of_id, without_duplicates};
use crate::units::{Flop, FlopPerSecond, Joules, Seconds};

/// The version of the file format that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Workloads and the documents that they cite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workloads {
    /// Version of the format, [`SCHEMA_VERSION`].
    schema_version: u32,
    /// The documents, by the id under which claims cite them.
    #[serde(deserialize_with = "without_duplicates")]
    sources: BTreeMap<String, Source>,
    /// The workloads.
    workloads: Vec<Workload>,
}

/// A model to train, a service to run, a centre to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Short identifier, unique in the file.
    pub id: String,
    /// What it is, for people.
    pub title: String,
    /// What is said of it. Claims of the same thing stand side by side and are
    /// never averaged.
    pub claims: Vec<Claim>,
}

/// One figure and who states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What the figure is of.
    pub what: String,
    /// The figure, or the range that the source leaves it in.
    pub value: Span<f64>,
    /// Its unit, which decides what can be concluded from it.
    pub unit: ClaimUnit,
    /// Number format of a computing power; `null` where the source does not
    /// state it.
    #[serde(default)]
    pub precision: Option<NumberFormat>,
    /// For `devices`: ids of the datasheets that the source may mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accelerators: Vec<String>,
    /// The source's own words.
    #[serde(default)]
    pub quotation: Option<String>,
    /// Id of the source.
    pub source: String,
    /// What has to be known to read the figure rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The unit of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ClaimUnit {
    spelling: String,
    kind: UnitKind,
}

/// What one unit of a claim is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum UnitKind {
    Work(Flop),
    Rate(FlopPerSecond),
    Devices,
    Servers,
    RequestsPer(Seconds),
    EnergyPer(Joules, Seconds),
    MoneyPer(Currency, Seconds),
    Tariff(Currency),
    Pue,
}

/// What a claim says, in types.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stated {
    /// Operations to do.
    Work(Span<Flop>),
    /// Operations per second to offer.
    Rate(ComputeRate),
    /// Accelerators.
    Devices(Span<f64>),
    /// Servers.
    Servers(Span<f64>),
    /// Requests in a time.
    Requests(Span<f64>, Seconds),
    /// Electricity, at the wall, in a time.
    Energy(Span<Joules>, Seconds),
    /// A bill for the electricity of a time.
    Bill(Money, Seconds),
    /// The price of electricity.
    Tariff(Tariff),
    /// Energy of a centre over that of its computers.
    Pue(Pue),
}

impl TryFrom<String> for ClaimUnit {
    type Error = String;

    fn try_from(spelling: String) -> Result<Self, String> {
        let kind = unit_kind(&spelling).ok_or_else(|| {
            format!(
                "`{spelling}` is no unit of a claim; known: FLOP, PFLOPS-days, PFLOPS, devices, servers, requests/day, kWh/day, TWh/year, USD/day, USD/kWh (any currency), PUE"
            )
        })?;
        Ok(Self { spelling, kind })
    }
}

fn unit_kind(text: &str) -> Option<UnitKind> {
    match text {
        "devices" => return Some(UnitKind::Devices),
        "servers" => return Some(UnitKind::Servers),
        "PUE" => return Some(UnitKind::Pue),
        _ => {}
    }
    if let Some(unit) = quantity::compute_unit(text) {
        return Some(match unit {
            ComputeUnit::Work(one) => UnitKind::Work(one),
            ComputeUnit::Rate(one) => UnitKind::Rate(one),
        });
    }
    let (amount, per) = text.split_once('/')?;
    if per == "kWh" {
        return amount.parse().ok().map(UnitKind::Tariff);
    }
    let period = quantity::time_unit(per)?;
    if amount == "requests" {
        return Some(UnitKind::RequestsPer(period));
    }
    match quantity::energy_unit(amount) {
        Some(energy) => Some(UnitKind::EnergyPer(energy, period)),
        None => Some(UnitKind::MoneyPer(amount.parse().ok()?, period)),
    }
}

impl From<ClaimUnit> for String {
    fn from(unit: ClaimUnit) -> Self {
        unit.spelling
    }
}

impl fmt::Display for ClaimUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.spelling)
    }
}

impl Claim {
    /// What the claim says, in types.
    ///
    /// # Errors
    /// When its value cannot be one of its unit.
    pub fn stated(&self) -> Result<Stated, String> {
        let value = self.value;
        let money = |currency| Money {
            amount: value,
            currency,
        };
        Ok(match self.unit.kind {
            UnitKind::Work(one) => Stated::Work(value.map(|n| one * n)),
            UnitKind::Rate(one) => Stated::Rate(ComputeRate {
                rate: value.map(|n| one * n),
                format: self.precision,
            }),
            UnitKind::Devices => Stated::Devices(value),
            UnitKind::Servers => Stated::Servers(value),
            UnitKind::RequestsPer(period) => Stated::Requests(value, period),
            UnitKind::EnergyPer(one, period) => Stated::Energy(value.map(|n| one * n), period),
            UnitKind::MoneyPer(currency, period) => Stated::Bill(money(currency), period),
            UnitKind::Tariff(currency) => Stated::Tariff(Tariff {
                per_kwh: money(currency),
            }),
            UnitKind::Pue => Stated::Pue(Pue::new(value)?),
        })
    }
}

impl Workload {
    /// Other claims of the workload by the same source: figures of different
    /// sources are not put together.
    pub fn beside<'a>(&'a self, claim: &'a Claim) -> impl Iterator<Item = &'a Claim> {
        let same_source = |other: &&Claim| other.source == claim.source;
        self.claims.iter().filter(same_source)
    }
}

impl Workloads {
    /// The workloads that are part of the program.
    pub fn builtin() -> &'static Workloads {
        static BUILTIN: LazyLock<Workloads> = LazyLock::new(|| {
            Workloads::from_json(include_str!("workloads.json"), Path::new("workloads.json"))
                .expect("the built-in workloads are valid, which a test asserts")
        });
        &BUILTIN
    }

    /// Reads and checks a file in the format of the built-in workloads.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn from_file(path: &Path) -> Result<Workloads, LoadError> {
        Workloads::from_json(&document::read(path)?, path)
    }

    /// Parses and checks the text of `file`, which is named in errors.
    ///
    /// # Errors
    /// When it holds something else.
    pub fn from_json(text: &str, file: &Path) -> Result<Workloads, LoadError> {
        document::parse(text, file, Workloads::check)
    }

    /// One workload of one claim that the user made on the command line.
    pub fn of_work(work: Span<Flop>) -> Workloads {
        let source = Source {
            title: "--flops".to_owned(),
            url: None,
            tier: crate::datasheet::SourceTier::Reference,
        };
        let claim = Claim {
            what: "work".to_owned(),
            value: work.map(|flop| flop.0),
            unit: ClaimUnit {
                spelling: "FLOP".to_owned(),
                kind: UnitKind::Work(Flop(1.0)),
            },
            precision: None,
            accelerators: Vec::new(),
            quotation: None,
            source: "user".to_owned(),
            note: None,
        };
        Workloads {
            schema_version: SCHEMA_VERSION,
            sources: BTreeMap::from([("user".to_owned(), source)]),
            workloads: vec![Workload {
                id: "flops".to_owned(),
                title: "the work given with --flops".to_owned(),
                claims: vec![claim],
            }],
        }
    }

    /// All of them.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// Only the one with that id.
    pub fn only(&self, id: &str) -> Option<Workloads> {
        let found = self.workloads.iter().find(|workload| workload.id == id)?;
        Some(Workloads {
            workloads: vec![found.clone()],
            ..self.clone()
        })
    }

    /// The title of a source.
    pub fn title<'a>(&'a self, source: &'a str) -> &'a str {
        let found = self.sources.get(source);
        found.map_or(source, |source| source.title.as_str())
    }

    /// Checks everything that the format's types cannot rule out.
    fn check(&self) -> Result<(), Fault> {
        let fault = |path: &str, problem: String| {
            let path = path.to_owned();
            Err(Fault { path, problem })
        };
        if self.schema_version != SCHEMA_VERSION {
            let problem = format!(
                "this build reads version {SCHEMA_VERSION}, not {}",
                self.schema_version
            );
            return fault("schema_version", problem);
        }
        if self.workloads.is_empty() {
            return fault("workloads", "there is no workload".to_owned());
        }
        let mut ids = HashSet::new();
        for (index, workload) in self.workloads.iter().enumerate() {
            let at = format!("workloads[{index}]");
            if let Some(problem) = fault_of_id(&workload.id) {
                return fault(&format!("{at}.id"), problem);
            }
            if !ids.insert(&workload.id) {
                let problem = format!("`{}` is used more than once", workload.id);
                return fault(&format!("{at}.id"), problem);
            }
            if workload.claims.is_empty() {
                return fault(&format!("{at}.claims"), "there is no claim".to_owned());
            }
            for (index, claim) in workload.claims.iter().enumerate() {
                self.check_claim(claim).map_err(|(field, problem)| Fault {
                    path: format!("{at}.claims[{index}].{field}"),
                    problem,
                })?;
            }
        }
        Ok(())
    }

    /// Checks one claim; an error is the field and what is wrong with it.
    fn check_claim(&self, claim: &Claim) -> Result<(), (&'static str, String)> {
        if !self.sources.contains_key(&claim.source) {
            return Err(("source", format!("there is no source `{}`", claim.source)));
        }
        let stated = claim.stated().map_err(|problem| ("value", problem))?;
        let is_rate = matches!(stated, Stated::Rate(_));
        if claim.precision.is_some() && !is_rate {
            let problem = format!("a precision belongs to a rate, not to {}", claim.unit);
            return Err(("precision", problem));
        }
        let counts_devices = matches!(stated, Stated::Devices(_));
        if counts_devices && claim.accelerators.is_empty() {
            let problem = "a number of devices needs the ids of the accelerators meant".to_owned();
            return Err(("unit", problem));
        }
        if !counts_devices && !claim.accelerators.is_empty() {
            return Err((
                "accelerators",
                format!(
                    "accelerators belong to a number of devices, not to {}",
                    claim.unit
                ),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::articles::Articles;
    use super::*;
    use crate::datasheet::Catalogue;

    const SMALL: &str = r#"{
  "schema_version": 1,
  "sources": {"plan": {"title": "A plan", "url": null, "tier": "reference"}},
  "workloads": [
    {
      "id": "ours",
      "title": "what we want",
      "claims": [
        {"what": "work", "value": {"low": 1, "high": 2}, "unit": "PFLOPS-days", "source": "plan"},
        {"what": "power", "value": 5, "unit": "PFLOPS", "precision": "FP32", "source": "plan"}
      ]
    }
  ]
}
"#;

    fn message_with(old: &str, new: &str) -> String {
        assert!(SMALL.contains(old), "{old} is not in the file");
        let text = SMALL.replacen(old, new, 1);
        match Workloads::from_json(&text, Path::new("mine.json")) {
            Ok(_) => panic!("the file with {new} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    /// By hand: a PFLOPS-day is 8.64·10¹⁹ FLOP.
    #[test]
    fn a_good_file_is_read_in_types() {
        let ours = Workloads::from_json(SMALL, Path::new("mine.json")).unwrap();
        let claims = &ours.workloads()[0].claims;
        let work = Span {
            low: Flop(8.64e19),
            high: Flop(17.28e19),
        };
        assert_eq!(claims[0].stated(), Ok(Stated::Work(work)));
        let rate = ComputeRate {
            rate: Span::of(FlopPerSecond(5e15)),
            format: Some(NumberFormat::Fp32),
        };
        assert_eq!(claims[1].stated(), Ok(Stated::Rate(rate)));
        let text = serde_json::to_string(&ours).unwrap();
        assert_eq!(Workloads::from_json(&text, Path::new("x")).unwrap(), ours);
    }

    #[test]
    fn every_fault_is_named_with_its_file_place_and_field() {
        insta::assert_snapshot!(message_with("\"PFLOPS-days\"", "\"parsec\""), @"mine.json:9:73: workloads[0].claims[0].unit: `parsec` is no unit of a claim; known: FLOP, PFLOPS-days, PFLOPS, devices, servers, requests/day, kWh/day, TWh/year, USD/day, USD/kWh (any currency), PUE");
        insta::assert_snapshot!(message_with("\"low\": 1", "\"low\": -1"), @"mine.json:9:56: workloads[0].claims[0].value: -1 is not above zero");
        insta::assert_snapshot!(message_with("\"source\": \"plan\"", "\"source\": \"rumour\""), @"mine.json:9:91: workloads[0].claims[0].source: there is no source `rumour`");
        insta::assert_snapshot!(message_with("\"PFLOPS\", \"precision\"", "\"kWh/day\", \"precision\""), @"mine.json:10:71: workloads[0].claims[1].precision: a precision belongs to a rate, not to kWh/day");
        insta::assert_snapshot!(message_with("\"PFLOPS\", \"precision\": \"FP32\"", "\"devices\""), @"mine.json:10:47: workloads[0].claims[1].unit: a number of devices needs the ids of the accelerators meant");
        insta::assert_snapshot!(message_with("\"FP32\"", "\"FP33\""), @"mine.json:10:75: workloads[0].claims[1].precision: unknown variant `FP33`, expected one of `FP64`, `FP32`, `TF32`, `FP16`, `BF16`, `FP8`, `FP4`");
        insta::assert_snapshot!(message_with("\"schema_version\": 1", "\"schema_version\": 9"), @"mine.json:2:21: schema_version: this build reads version 1, not 9");
        insta::assert_snapshot!(message_with("\"id\": \"ours\"", "\"id\": \"\""), @"mine.json:6:13: workloads[0].id: an id must not be empty");
        insta::assert_snapshot!(message_with("\"title\": \"what we want\",", ""), @"mine.json:12:5: workloads[0]: missing field `title`");
    }

    #[test]
    fn the_file_follows_the_published_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(Workloads)).unwrap();
        let data: serde_json::Value = serde_json::from_str(include_str!("workloads.json")).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert_eq!(validator.validate(&data).map_err(|e| e.to_string()), Ok(()));
    }

    /// Numbers stand in two files: once as a figure of an article, once as a
    /// workload. Both must be the same.
    #[test]
    fn built_in_claims_are_figures_of_the_articles() {
        let articles = Articles::builtin();
        for workload in Workloads::builtin().workloads() {
            for claim in &workload.claims {
                let quotation = claim.quotation.as_deref().unwrap_or_default();
                let last = quotation.rsplit(" … ").next().unwrap_or_default();
                let figure = articles
                    .figures()
                    .find(|figure| figure.quotation.as_deref() == Some(last))
                    .unwrap_or_else(|| panic!("{}: no figure says {last}", workload.id));
                let value = figure.value.unwrap();
                assert_eq!(claim.value.stated(), value.stated(), "{}", workload.id);
                assert_eq!(claim.precision, figure.precision, "{}", workload.id);
                assert_eq!(claim.source, figure.source, "{}", workload.id);
            }
        }
    }

    #[test]
    fn accelerators_of_built_in_claims_have_datasheets() {
        let claims = Workloads::builtin()
            .workloads()
            .iter()
            .flat_map(|w| &w.claims);
        for id in claims.flat_map(|claim| &claim.accelerators) {
            assert!(Catalogue::builtin().get(id).is_some(), "{id}");
        }
    }
}
