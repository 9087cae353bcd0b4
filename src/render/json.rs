//! The report itself.

use super::{Document, Renderer, Run};
use crate::console::printable;
use crate::record::{self, REPORT_FILE, Report};

/// The report, indented, as it is saved; several as a list, without their hashes.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let (file, json) = match runs {
            // Its hash is that of the file, as standard output shows it.
            [run] => {
                let json = record::unsealed(run.report);
                (
                    REPORT_FILE,
                    json.map(|json| record::seal(&printable(&json))),
                )
            }
            runs => {
                let reports = runs.iter().map(|run| Report {
                    file_sha256: None,
                    ..run.report.clone()
                });
                let json = serde_json::to_string_pretty(&reports.collect::<Vec<_>>());
                ("reports.json", json.map(|json| json + "\n"))
            }
        };
        let json = json.expect("every map of a report has strings as keys");
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
        let file_sha256 = back.file_sha256.clone();
        assert_eq!(
            back,
            Report {
                file_sha256,
                ..report
            }
        );
    }
}
