//! The charts as SVG files.

use super::chart::{Chart, Charts};
use super::{Document, Renderer, Run};

/// A file a chart; those of several reports have the report's number before
/// their name.
#[derive(Clone, Copy, Debug)]
pub struct Svg;

impl Renderer for Svg {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let charts = charts(runs);
        charts.iter().flatten().map(Chart::document).collect()
    }
}

/// The charts of each report, each under a file's name of its own.
pub(super) fn charts(runs: &[Run]) -> Vec<Vec<Chart>> {
    let numbered = runs.iter().zip(1..);
    let charts = numbered.map(|(run, number)| {
        let mut charts: Vec<Chart> = Charts::of(run, 1).all().cloned().collect();
        if runs.len() > 1 {
            for chart in &mut charts {
                chart.file = format!("{number}-{}", chart.file);
            }
        }
        charts
    });
    charts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn files(runs: &[Run]) -> Vec<String> {
        let documents = Svg.render(runs).into_iter();
        documents.map(|document| document.file).collect()
    }

    #[test]
    fn each_chart_is_a_file() {
        let (report, traces) = fixture::metered();
        let run = Run {
            report: &report,
            traces,
        };
        let files = files(std::slice::from_ref(&run));
        assert_eq!(
            files[..4],
            ["rates.svg", "roofline.svg", "efficiency.svg", "trace-1.svg"]
        );
    }

    #[test]
    fn charts_of_several_reports_do_not_share_a_name() {
        let reports = [fixture::report(), fixture::slower("Testcard 1")];
        let files = files(&fixture::runs(&reports));
        let names = ["rates.svg", "roofline.svg", "efficiency.svg"];
        let expected = ["1", "2"].map(|n| names.map(|name| format!("{n}-{name}")));
        assert_eq!(files, expected.concat());
    }

    #[test]
    fn files_are_whole_and_a_hostile_name_is_text() {
        for document in Svg.render(&fixture::runs(&[fixture::report()])) {
            let text = document.text;
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
            assert!(!text.contains("<script"), "{}", document.file);
        }
    }
}
