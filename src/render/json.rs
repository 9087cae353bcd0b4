//! The report itself.

use super::{Document, Renderer, Run};
use crate::record::{self, REPORT_FILE, Report};

/// The report, indented, as it is saved; several as a list.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let reports = runs.iter().map(|run| record::sealed(run.report));
        let reports: serde_json::Result<Vec<Report>> = reports.collect();
        let reports = reports.expect("every map of a report has strings as keys");
        let (file, json) = match &reports[..] {
            [report] => (REPORT_FILE, serde_json::to_string_pretty(report)),
            reports => ("reports.json", serde_json::to_string_pretty(reports)),
        };
        let json = json.expect("every map of a report has strings as keys") + "\n";
        Document::only(file, json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    #[test]
    fn the_report_can_be_read_back() {
        let report = fixture::report();
        let back: Report = serde_json::from_str(&fixture::rendered(&Json, &report)).unwrap();
        assert_eq!(back, record::sealed(&report).unwrap());
    }
}
