//! A report in the formats that people and programs read, one renderer a file.
//!
//! Renderers return text and print nothing. Every string of a report is
//! untrusted, since drivers choose adapter names and reports travel: each
//! renderer escapes for its format.
//!
//! Adding a format is adding a file, a line in [`Format`] and one in
//! [`renderer`].

mod achieved;
mod bencher;
mod cells;
mod chart;
pub mod comparison;
mod contrast;
mod csv;
mod figures;
mod flat;
pub mod fleet;
mod fom;
mod github_benchmark;
mod grouped;
mod html;
mod json;
mod jsonl;
mod limits;
pub mod machine;
mod markdown;
mod names;
mod notes;
mod number;
mod openmetrics;
mod peaks;
mod provenance;
mod scaling;
mod side_by_side;
mod sort;
mod svg;
mod table;
mod untrusted;
mod verdict;

#[cfg(test)]
pub(crate) mod fixture;

pub use self::csv::Csv;
pub use bencher::Bencher;
pub use fom::FiguresOfMerit;
pub use github_benchmark::GithubBenchmark;
pub use html::Html;
pub use json::Json;
pub use jsonl::{JsonLines, rows};
pub use markdown::Markdown;
pub use openmetrics::OpenMetrics;
pub use sort::SortField;
pub use svg::Svg;
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
    /// Its text: whole lines, of which JSON Lines without a case have none.
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
    /// For a pull request or a job summary; md for short
    #[value(alias = "md")]
    Markdown,
    /// One figure of merit a line, for ReFrame, Ramble and JUBE
    Fom,
    /// One page with charts that opens offline
    Html,
    /// The charts, a file each
    Svg,
    /// For github-action-benchmark: rates in one file, times in another
    GithubBenchmark,
    /// Bencher Metric Format
    Bencher,
    /// For node_exporter's textfile collector, and whatever else reads Prometheus's
    /// formats
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// The renderer of a format.
pub fn renderer(format: Format) -> &'static dyn Renderer {
    match format {
        Format::Table => &Table { width: None },
        Format::Json => &Json,
        Format::Jsonl => &JsonLines,
        Format::Csv => &Csv,
        Format::Markdown => &Markdown,
        Format::Html => &Html,
        Format::Svg => &Svg,
        Format::Fom => &FiguresOfMerit,
        Format::GithubBenchmark => &GithubBenchmark,
        Format::Bencher => &Bencher,
        Format::OpenMetrics => &OpenMetrics,
    }
}

/// Where charts lie, beside the page that shows them.
const CHARTS: &str = "charts";

/// What people read of reports: `report.html`, `report.md` and the charts that the
/// latter shows.
pub fn pages(runs: &[Run]) -> Vec<Document> {
    let charts = svg::charts(runs);
    let page = markdown::with_charts(runs, &charts, CHARTS);
    let files = charts.iter().flatten().map(|chart| {
        let Document { file, text } = chart.document();
        let file = format!("{CHARTS}/{file}");
        Document { file, text }
    });
    Html.render(runs)
        .into_iter()
        .chain(page)
        .chain(files)
        .collect()
}

/// Writes a report into `folder`, which is created where it is missing, and beside
/// it its [`pages`].
///
/// # Errors
/// When a file cannot be written; earlier ones are then still there.
pub fn save(report: &Report, folder: &Path) -> Result<(), SaveError> {
    record::save(report, folder)?;
    write(&pages(&[Run::in_folder(report, folder)]), folder)
}

/// Writes documents into `folder`, which is created where it is missing.
///
/// # Errors
/// When a file cannot be written; earlier ones are then there.
pub fn write(documents: &[Document], folder: &Path) -> Result<(), SaveError> {
    for document in documents {
        record::write_into(folder, &document.file, document.text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// All documents of a format.
    fn texts(format: Format, reports: &[Report]) -> String {
        let documents = renderer(format).render(&fixture::runs(reports));
        let texts = documents.into_iter().map(|document| document.text);
        texts.collect()
    }

    #[test]
    fn every_format_renders_whole_lines_without_control_characters() {
        for reports in [vec![fixture::report()], vec![fixture::report(); 2]] {
            for &format in Format::value_variants() {
                let text = texts(format, &reports);
                assert!(text.ends_with('\n'), "{format:?}");
                let controls = |c: char| c.is_control() && c != '\n';
                assert!(!text.contains(controls), "{format:?}: {text:?}");
            }
        }
    }

    #[test]
    fn a_saved_page_shows_the_charts_that_lie_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (report, _) = fixture::metered();
        save(&report, folder.path()).unwrap();
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(read("report.html").ends_with("</html>\n"));
        let page = read("report.md");
        let images = page.split("](charts/").skip(1);
        let images: Vec<&str> = images.filter_map(|rest| rest.split(')').next()).collect();
        assert_eq!(images, ["rates.svg", "roofline.svg", "efficiency.svg"]);
        for image in images {
            assert!(read(&format!("charts/{image}")).starts_with("<svg "));
        }
        // On standard output no file lies beside it.
        assert!(!fixture::rendered(&Markdown, &report).contains("]("));
    }

    #[test]
    fn a_report_without_measurements_renders_in_every_format() {
        let mut report = fixture::report();
        report.measurements.clear();
        for &format in Format::value_variants() {
            texts(format, std::slice::from_ref(&report));
        }
    }

    /// Every text of which the record says that it holds a host, a UUID, an
    /// address, a path or a command, and every message that is not our own.
    fn telling() -> Report {
        const SECRET: &str = "tell-tale";
        let mut report = serde_json::to_value(fixture::powered()).unwrap();
        let secret = || serde_json::json!(SECRET);
        report["command"] = serde_json::json!([SECRET, SECRET]);
        for pointer in [
            "/host/name",
            "/host/kernel",
            "/adapter/pci_address",
            "/adapter/physical_device",
            "/shaders/folder",
            "/power/wanted",
            "/power/reason",
            "/power/source/device",
            "/power/source/pci_address",
            "/measurements/3/power/trace",
        ] {
            *report.pointer_mut(pointer).expect(pointer) = secret();
        }
        report["power"]["source"]["name"] = "nvml:GPU-tell-tale".into();
        report["power"]["source"]["power"] = serde_json::json!({"field": "/sys/tell-tale"});
        let missing = serde_json::json!({"code": "unreadable", "detail": SECRET});
        report["power"]["source"]["energy"] = serde_json::json!({"missing": missing});
        report["measurements"][3]["power"]["source"] = "command:/tell-tale/meter".into();
        for (index, code) in ["device", "worker", "template"].iter().enumerate() {
            report["measurements"][4 + index]["reason"] = format!("{code}: {SECRET}").into();
        }
        report["measurements"][0]["power_reason"] = "no-power-source: tell-tale".into();
        let beside = serde_json::json!({
            "index": 1, "adapter": "Testcard 1", "pci_address": SECRET, "overlap": 1.0,
        });
        report["measurements"][3]["concurrent_with"] = serde_json::json!([beside]);
        report["run_id"] = "01980000-0000-7000-8000-7e117a1e0000".into();
        report["tuning"] = serde_json::json!([{
            "operation": "matmul", "precision": "f32", "shape_class": "square",
            "shape": "64x64x64", "chosen": null, "took_s": 1.0, "budget_s": 20.0,
            "cached": false,
            "candidates": [{
                "variant": "naive", "parameters": {}, "gflops": null,
                "reason": "device: tell-tale",
            }],
        }]);
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn an_anonymous_report_tells_nothing_in_any_format() {
        let (first, second) = (telling(), telling());
        let tells = |text: &str| text.contains("tell-tale") || text.contains("7e117a1e");
        let reports = [first, second];
        let json = texts(Format::Json, &reports);
        // Two arguments, ten texts, four of power, four reasons, one of tuning and one
        // of an adapter beside.
        assert_eq!(json.matches("tell-tale").count(), 2 * 22);
        assert!(tells(&texts(Format::Markdown, &reports)));
        let numbered = reports.into_iter().zip(1..);
        let reports = numbered.map(|(report, number)| record::anonymise(report, number));
        let reports: Vec<Report> = reports.collect();
        assert_ne!(reports[0].run_id, reports[1].run_id);
        for &format in Format::value_variants() {
            let text = texts(format, &reports);
            assert!(!tells(&text), "{format:?}: {text}");
        }
    }

    #[test]
    fn an_anonymous_report_has_the_same_figures() {
        let report = telling();
        let anonymous = record::anonymise(report.clone(), 1);
        assert_eq!(
            texts(Format::Bencher, &[report]),
            texts(Format::Bencher, &[anonymous])
        );
    }
}
