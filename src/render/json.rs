//! The report itself.

use super::{Document, Renderer, Run};
use crate::record::REPORT_FILE;

/// The report, indented, as it is saved; several as a list.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let (file, json) = match runs {
            [run] => (REPORT_FILE, serde_json::to_string_pretty(run.report)),
            runs => {
                let reports: Vec<_> = runs.iter().map(|run| run.report).collect();
                ("reports.json", serde_json::to_string_pretty(&reports))
            }
        };
        let json = json.expect("every map of a report has strings as keys") + "\n";
        Document::only(file, json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Report;
    use crate::render::fixture;

    #[test]
    fn the_report_can_be_read_back() {
        let report = fixture::report();
        let back: Report = serde_json::from_str(&fixture::rendered(&Json, &report)).unwrap();
        assert_eq!(back, report);
    }
}
