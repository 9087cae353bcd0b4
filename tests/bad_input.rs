//! What the program says of input that is no good, from the outside: always a
//! message, never a panic, and nothing that a terminal or a build server obeys.

use std::fs;
use std::path::Path;

use assert_cmd::cargo::cargo_bin_cmd;

/// Standard error of a command that is refused, with the folder's name taken out.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = cargo_bin_cmd!("flopwatt")
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .assert()
        .code(2)
        .stdout("");
    let text = String::from_utf8(output.get_output().stderr.clone());
    text.expect("UTF-8 on standard error")
}

#[test]
fn files_are_refused_with_their_line_and_field() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = |name: &str, contents: &str, arguments: &[&str]| {
        fs::write(folder.path().join(name), contents).expect("a temporary file");
        refused(folder.path(), arguments)
    };
    let report = include_str!("../fuzz/corpus/reports/software.json");
    let report = report.replace("\"samples_s\":[", "\"samples_s\":[\n\"often\",");
    insta::assert_snapshot!(with("report.json", &report, &["report", "report.json"]), @"");
    insta::assert_snapshot!(with("deep.json", &"[".repeat(100_000), &["report", "deep.json"]), @"");
    let workloads = include_str!("../fuzz/corpus/workloads/training.json");
    let workloads = workloads.replace("\"claims\":[", "\"claims\":[\n1,");
    let arguments = [
        "estimate",
        "--accelerator",
        "nvidia-h100-sxm5",
        "--workload",
        "w.json",
    ];
    insta::assert_snapshot!(with("w.json", &workloads, &arguments), @"");
    let datasheets = include_str!("../fuzz/corpus/datasheets/one.json");
    let datasheets = datasheets.replace("\"value\":", "\"value\":\n-");
    let arguments = ["datasheets", "--datasheets", "d.json"];
    insta::assert_snapshot!(with("d.json", &datasheets, &arguments), @"");
    let accepted =
        r#"{"version": 1, "accepted": [{"case": "[", "change": "gone", "reason": "x"}]}"#;
    let arguments = ["gate", "--base", "HEAD", "--accepted", "a.json"];
    insta::assert_snapshot!(with("a.json", accepted, &arguments), @"");
    let accepted = accepted.replace("\"x\"", "\n7");
    insta::assert_snapshot!(with("a.json", &accepted, &arguments), @"");
}

/// A quotation of what is wrong is as harmless as a table, and not as long as the
/// file.
#[test]
fn messages_cannot_be_obeyed_and_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hostile = "\u{1b}[2J\u{9b}1m\u{202e}##[group]x".repeat(10_000);
    let report = include_str!("../fuzz/corpus/reports/software.json");
    let report = report.replace(
        "\"tier\":\"quick\"",
        &format!("\"tier\":{}", quoted(&hostile)),
    );
    assert!(report.contains("group"), "the report has a tier");
    fs::write(folder.path().join("report.json"), report).expect("a temporary file");
    let message = refused(folder.path(), &["report", "report.json"]);
    assert!(message.contains("tier"), "{message}");
    assert!(
        !message.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
        "{message}"
    );
    assert!(!message.contains("##["), "{message}");
    assert!(message.chars().count() < 10_000, "{}", message.len());
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

#[test]
fn arguments_that_no_run_could_carry_out_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = |arguments: &[&str]| refused(folder.path(), arguments);
    insta::assert_snapshot!(refused(&["run", "matmul", "--shape", "99999999999x1x1"]), @"");
    insta::assert_snapshot!(refused(&["run", "matmul/f32/naive/4294967295x4294967295x4294967295"]), @"");
    insta::assert_snapshot!(refused(&["run", "attention/f32/flash/b65536h65536s1d1"]), @"");
    insta::assert_snapshot!(refused(&["run", &"?".repeat(2000)]).replace(&"?".repeat(2000), "?…"), @"");
    insta::assert_snapshot!(refused(&["run", &"{".repeat(400)]).replace(&"{".repeat(400), "{…"), @"");
    insta::assert_snapshot!(refused(&["power", "--for", "1e300"]), @"");
    insta::assert_snapshot!(refused(&["run", "--data", "sparse:NaN"]), @"");
    insta::assert_snapshot!(refused(&["run", "--power-limits", "1e999"]), @"");
}
