//! The report itself.

use super::{Document, Renderer, Run};

/// The report, indented, as it is saved.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let json = match runs {
            [run] => serde_json::to_string_pretty(run.report),
            runs => {
                serde_json::to_string_pretty(&Vec::from_iter(runs.iter().map(|run| run.report)))
            }
        };
        let json = json.expect("every map of a report has strings as keys") + "\n";
        Document::only("report.json", json)
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
