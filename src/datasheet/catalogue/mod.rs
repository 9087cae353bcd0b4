//! The catalogue of datasheets: the built-in one, and files in its format.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matching::normalise;
use super::model::{Datasheet, Source};
use crate::json_file::without_duplicates;
use crate::likeness::{likeness, nearest};

mod check;
mod load;
#[cfg(test)]
mod tests;

pub(super) use load::read;
pub use load::{Flaw, LoadError};

/// The version of the file format that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Datasheets and the documents that they cite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Version of the format, [`SCHEMA_VERSION`].
    schema_version: u32,
    /// The documents, by the id under which figures cite them.
    #[serde(deserialize_with = "without_duplicates")]
    sources: BTreeMap<String, Source>,
    /// The datasheets.
    accelerators: Vec<Datasheet>,
}

impl Catalogue {
    /// The catalogue that is part of the program.
    pub fn builtin() -> &'static Catalogue {
        static BUILTIN: LazyLock<Catalogue> = LazyLock::new(|| {
            Catalogue::from_json(Catalogue::BUILTIN_TEXT, Path::new(Catalogue::BUILTIN_FILE))
                .expect("the built-in catalogue is valid, which a test asserts")
        });
        &BUILTIN
    }

    /// The file that the built-in catalogue is made from, as errors call it.
    pub(super) const BUILTIN_FILE: &str = "accelerators.json";
    /// Its content.
    pub(super) const BUILTIN_TEXT: &str = include_str!("../accelerators.json");

    /// Adds the datasheets and sources of another catalogue, whose datasheets take
    /// the place of those with the same ids. Returns these ids.
    pub(super) fn add(&mut self, other: Catalogue) -> Vec<String> {
        let mut replaced = Vec::new();
        let ids = self.accelerators.iter().map(|sheet| sheet.id.clone());
        let places: HashMap<String, usize> = ids.zip(0..).collect();
        for sheet in other.accelerators {
            match places.get(&sheet.id) {
                Some(&place) => {
                    replaced.push(sheet.id.clone());
                    self.accelerators[place] = sheet;
                }
                None => self.accelerators.push(sheet),
            }
        }
        self.sources.extend(other.sources);
        replaced
    }

    /// All datasheets.
    pub fn datasheets(&self) -> &[Datasheet] {
        &self.accelerators
    }

    /// The documents that figures cite, by id.
    pub fn sources(&self) -> &BTreeMap<String, Source> {
        &self.sources
    }

    /// The datasheet with exactly that id.
    pub fn get(&self, id: &str) -> Option<&Datasheet> {
        self.accelerators.iter().find(|sheet| sheet.id == id)
    }

    /// The datasheets that a person may mean: the one with that id, or else all
    /// whose id, name or adapter name contains the query, in any case.
    pub fn find(&self, query: &str) -> Vec<&Datasheet> {
        let query = normalise(query).to_lowercase();
        if query.is_empty() {
            return Vec::new();
        }
        if let Some(sheet) = self.get(&query) {
            return vec![sheet];
        }
        let mentions = |text: &String| text.to_lowercase().contains(&query);
        self.accelerators
            .iter()
            .filter(|sheet| {
                mentions(&sheet.id) || mentions(&sheet.name) || sheet.names.iter().any(mentions)
            })
            .collect()
    }

    /// Up to `count` datasheets whose name looks most like the query, best
    /// first; those that look nothing like it are left out.
    pub fn nearest(&self, query: &str, count: usize) -> Vec<&Datasheet> {
        let score = |sheet: &&Datasheet| {
            let by_id = likeness(query, &sheet.id);
            by_id.max(likeness(query, &sheet.name))
        };
        nearest(&self.accelerators, score, count)
    }

    /// A catalogue of some of the datasheets, with the sources they cite.
    pub fn only(&self, chosen: &[&Datasheet]) -> Catalogue {
        let cited: HashSet<&String> = chosen
            .iter()
            .flat_map(|sheet| sheet.all_figures())
            .flat_map(|(_, figure)| &figure.sources)
            .collect();
        Catalogue {
            schema_version: self.schema_version,
            sources: self
                .sources
                .iter()
                .filter(|(id, _)| cited.contains(id))
                .map(|(id, source)| (id.clone(), source.clone()))
                .collect(),
            accelerators: chosen.iter().map(|&sheet| sheet.clone()).collect(),
        }
    }
}
