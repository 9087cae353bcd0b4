//! Rows of the table that `ci/faults` prints: one for every fault that a test
//! provokes, with what came of it.
//!
//! To add a row, provoke the fault in any test and call [`row`]; list the test
//! program in `ci/faults` if it is not there yet.

#![allow(dead_code)] // Each test program uses a part.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::Value;

/// Environment variable with the file that rows are added to.
const TABLE: &str = "FLOPWATT_FAULTS_TABLE";
/// Longest text of a cell.
const WIDTH: usize = 160;

/// What comes of a fault.
pub struct Outcome<'a> {
    /// What the user is told, or a part of it.
    pub said: &'a str,
    /// The exit status; none where a signal ended the program.
    pub status: Option<i32>,
    /// What was kept of the figures.
    pub kept: &'a str,
}

impl<'a> Outcome<'a> {
    pub fn new(said: &'a str, status: impl Into<Option<i32>>, kept: &'a str) -> Self {
        let status = status.into();
        Self { said, status, kept }
    }
}

/// Adds a row to the table, where one is collected, and makes sure that it is as
/// expected.
#[track_caller]
pub fn row(fault: &str, expected: &Outcome, seen: &Outcome) {
    let fits = seen.said.contains(expected.said)
        && (seen.status, seen.kept) == (expected.status, expected.kept);
    let status = seen.status.map_or("signal".into(), |code| code.to_string());
    let verdict = if fits {
        "as expected"
    } else {
        "NOT AS EXPECTED"
    };
    let said = telling(&without_path(seen.said), expected.said);
    let cells = [&program(), fault, &said, &status, seen.kept, verdict].map(cell);
    if let Some(table) = std::env::var_os(TABLE) {
        let file = OpenOptions::new().create(true).append(true).open(table);
        let mut file = file.expect("ci/faults names a file that can be written");
        // In one piece, since tests run side by side.
        let line = cells.join("\t") + "\n";
        file.write_all(line.as_bytes()).expect("it is written");
    }
    assert!(
        fits,
        "{fault}: expected \"{}\", {:?}, {}; got {:?}, {}: {}",
        expected.said, expected.status, expected.kept, seen.status, seen.kept, seen.said
    );
}

/// The same wherever the tests were built: a holder of a lock is named with its path.
fn without_path(said: &str) -> String {
    let path = std::env::current_exe().expect("a test program knows itself");
    said.replace(&*path.to_string_lossy(), &program())
}

/// The line that holds what is expected, from there on where a cell would not show
/// it, or all.
fn telling(said: &str, expected: &str) -> String {
    let line = said.lines().find(|line| line.contains(expected));
    let line = line.unwrap_or(said);
    match line.find(expected) {
        Some(at) if at > 0 && line[..at + expected.len()].chars().count() > WIDTH => {
            format!("…{}", &line[at..])
        }
        _ => line.to_owned(),
    }
}

fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ").replace('|', "\\|");
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The name of this test program.
fn program() -> String {
    let program = std::env::current_exe().expect("a test program knows itself");
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
    name.to_owned()
}

/// How the cases of a report ended, and how many there were to be.
pub fn kept(report: &Value) -> String {
    let cases = report["measurements"].as_array().expect("a report");
    let mut counts = BTreeMap::new();
    for case in cases {
        let status = case["status"].as_str().expect("a status");
        *counts.entry(status).or_insert(0) += 1;
    }
    let counts = counts
        .iter()
        .map(|(status, count)| format!("{count} {status}"));
    let mut counts: Vec<String> = counts.collect();
    if counts.is_empty() {
        counts.push("0".to_owned());
    }
    let planned = report["plan"]["cases"].as_array().map_or(0, Vec::len);
    format!("{} of {planned}", counts.join(", "))
}

/// The same, and whether every case that has figures bears `flag`.
pub fn kept_with(report: &Value, flag: &str) -> String {
    let cases = report["measurements"].as_array().expect("a report");
    let mut measured = cases.iter().filter(|case| case["status"] == "ok");
    let is_flagged = |case: &Value| {
        let flags = case["flags"].as_array().expect("flags");
        flags.iter().any(|other| other == flag)
    };
    match measured.all(is_flagged) {
        true => format!("{}, flagged {flag}", kept(report)),
        false => format!("{}, not flagged {flag}", kept(report)),
    }
}

/// What [`written`] says where there is nothing.
pub const NOTHING: &str = "nothing is written";

/// Whether a run has written to `folder`.
pub fn written(folder: &Path) -> &'static str {
    match folder.exists() {
        true => "a folder is written",
        false => NOTHING,
    }
}

/// The first reason for which a case of a report has no figure.
pub fn reason(report: &Value) -> String {
    let cases = report["measurements"].as_array().expect("a report");
    let mut reasons = cases.iter().filter_map(|case| case["reason"].as_str());
    reasons.next().unwrap_or_default().to_owned()
}

/// The report in `folder`.
pub fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}
