//! Comma-separated values, safe to open in a spreadsheet.

use std::error::Error;

use serde_json::Value;

use super::flat::COLUMNS;
use super::untrusted::plain;
use super::{Document, Renderer, Run};

/// The columns of [`JsonLines`](super::JsonLines), one measurement a row and a
/// line; what is missing is empty.
#[derive(Clone, Copy, Debug)]
pub struct Csv;

impl Renderer for Csv {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let bytes = write(runs).expect("memory takes every byte, and rows are of one length");
        Document::only("report.csv", String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn write(runs: &[Run]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS.iter().map(|(name, _)| name))?;
    for Run { report, .. } in runs {
        for measurement in &report.measurements {
            let values = COLUMNS.iter().map(|(_, value)| value(report, measurement));
            writer.write_record(values.map(cell))?;
        }
    }
    Ok(writer.into_inner()?)
}

fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => without_formula(plain(&text)),
        other => other.to_string(),
    }
}

/// Spreadsheets run a cell that starts like a formula, whoever wrote it, unless
/// an apostrophe comes first. Some take the signs in their full width as well, and where
/// a comma is in numbers, a semicolon ends a cell.
fn without_formula(text: String) -> String {
    const SIGNS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    if text.parse().is_ok_and(f64::is_finite) {
        return text;
    }
    let cells = text.split(';').map(|cell| {
        let sign = cell.trim_start().starts_with(SIGNS);
        format!("{}{cell}", if sign { "'" } else { "" })
    });
    cells.collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    #[test]
    fn cells_come_back_as_they_were() {
        let mut report = fixture::report();
        report.adapter.driver_info = "comma, \"quoted\"".into();
        let text = fixture::rendered(&Csv, &report);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(reader.headers().unwrap(), names);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), report.measurements.len());
        for (row, measurement) in rows.iter().zip(&report.measurements) {
            for (found, (name, value)) in row.iter().zip(COLUMNS) {
                assert_eq!(found, cell(value(&report, measurement)), "{name}");
            }
        }
    }

    #[test]
    fn nothing_is_run_as_a_formula() {
        let texts = [
            "=1+1", "+x", "-x", "@x", "\t=x", "\r-x", "\u{a0}@x", "＝1", "-inf", "-5", "x=1", "",
        ];
        let cells = texts.map(|text| cell(text.into()));
        let expected = [
            "'=1+1", "'+x", "'-x", "'@x", "' =x", "' -x", "' @x", "'＝1", "'-inf", "-5", "x=1", "",
        ];
        assert_eq!(cells, expected);
        // A semicolon ends a cell where a comma is in numbers.
        let cells = ["a;=1+1;b", "-1;\t-2", "a;b"].map(|text| cell(text.into()));
        assert_eq!(cells, ["a;'=1+1;b", "'-1;' -2", "a;b"]);
    }

    #[test]
    fn a_hostile_adapter_is_text() {
        let mut report = fixture::report();
        report.adapter.name = "=HYPERLINK(\"http://x\")".into();
        assert!(fixture::rendered(&Csv, &report).contains("\"'=HYPERLINK(\"\"http://x\"\")\""));
    }
}
