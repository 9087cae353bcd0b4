//! A report in the formats that people and programs read, one renderer a file.
//!
//! Renderers return text and print nothing. Every string of a report is
//! untrusted, since drivers choose adapter names and reports travel: each
//! renderer escapes for its format.
//!
//! Adding a format is adding a file, a line in [`Format`] and one in
//! [`renderer`].

mod cells;
pub mod comparison;
mod contrast;
mod csv;
mod flat;
mod fom;
mod json;
mod jsonl;
mod limits;
mod markdown;
mod number;
mod peaks;
mod scaling;
mod table;
mod untrusted;

#[cfg(test)]
mod fixture;

pub use self::csv::Csv;
pub use fom::FiguresOfMerit;
pub use json::Json;
pub use jsonl::JsonLines;
pub use markdown::Markdown;
pub use table::Table;

use std::path::Path;

use crate::record::{self, Report, SaveError, Traces};

/// A report, and the readings of power that lie beside it.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The report.
    pub report: &'a Report,
    /// Its traces; those that could not be read are missing.
    pub traces: Traces,
}

impl<'a> Run<'a> {
    /// A report with the traces in its folder.
    pub fn in_folder(report: &'a Report, folder: &Path) -> Self {
        Self {
            report,
            traces: record::load_traces(report, folder),
        }
    }
}

/// A file of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name in a folder, which does not depend on what the reports hold.
    pub file: String,
    /// Its text, ending in a line feed.
    pub text: String,
}

impl Document {
    /// The one file of a format.
    fn only(file: &str, text: String) -> Vec<Self> {
        let file = file.to_owned();
        vec![Self { file, text }]
    }
}

/// Turns reports into documents.
pub trait Renderer {
    /// At least one document, the main one first.
    fn render(&self, runs: &[Run]) -> Vec<Document>;
}

/// A format in which a report can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for a terminal
    Table,
    /// The report itself
    Json,
    /// One flat measurement a line, for DuckDB, pandas and polars
    Jsonl,
    /// The same columns as comma-separated values
    Csv,
    /// One figure of merit a line, for ReFrame, Ramble and JUBE
    Fom,
    /// For a pull request or a job summary
    Markdown,
}

/// The renderer of a format.
pub fn renderer(format: Format) -> &'static dyn Renderer {
    match format {
        Format::Table => &Table { width: None },
        Format::Json => &Json,
        Format::Jsonl => &JsonLines,
        Format::Csv => &Csv,
        Format::Fom => &FiguresOfMerit,
        Format::Markdown => &Markdown,
    }
}

/// Writes a report and what people read of it into `folder`, which is created
/// where it is missing: `report.json` and `report.md`.
///
/// # Errors
/// When a file cannot be written; earlier ones are then still there.
pub fn save(report: &Report, folder: &Path) -> Result<(), SaveError> {
    record::save(report, folder)?;
    for document in Markdown.render(&[Run::in_folder(report, folder)]) {
        record::write_atomically(&folder.join(document.file), document.text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_format_renders_whole_lines_without_control_characters() {
        let report = fixture::report();
        for &format in Format::value_variants() {
            let text = fixture::rendered(renderer(format), &report);
            assert!(text.ends_with('\n'), "{format:?}");
            let controls = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(controls), "{format:?}: {text:?}");
        }
    }

    #[test]
    fn a_report_without_measurements_renders_in_every_format() {
        let mut report = fixture::report();
        report.measurements.clear();
        for &format in Format::value_variants() {
            fixture::rendered(renderer(format), &report);
        }
    }
}
