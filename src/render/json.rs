//! The report itself.

use super::Renderer;
use crate::record::Report;

/// The report, indented, as it is saved.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Renderer for Json {
    fn render(&self, report: &Report) -> String {
        let json = serde_json::to_string_pretty(report);
        json.expect("every map of a report has strings as keys") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    #[test]
    fn the_report_can_be_read_back() {
        let report = fixture::report();
        let back: Report = serde_json::from_str(&Json.render(&report)).unwrap();
        assert_eq!(back, report);
    }
}
