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
    insta::assert_snapshot!(with("report.json", &report, &["report", "report.json"]), @r#"error: report.json:2:7: not a flopwatt report: measurements[0].time.samples_s[0]: invalid type: string "often", expected f64"#);
    insta::assert_snapshot!(with("deep.json", &"[".repeat(100_000), &["report", "deep.json"]), @"error: deep.json:1:1: not a flopwatt report: invalid type: sequence, expected a string");
    let workloads = include_str!("../fuzz/corpus/workloads/training.json");
    let workloads = workloads.replace("\"claims\":[", "\"claims\":[\n1,");
    let arguments = [
        "estimate",
        "--accelerator",
        "nvidia-h100-sxm5",
        "--workload",
        "w.json",
    ];
    insta::assert_snapshot!(with("w.json", &workloads, &arguments), @"error: w.json:2:1: workloads[0].claims[0]: invalid type: integer `1`, expected struct Claim");
    let datasheets = include_str!("../fuzz/corpus/datasheets/one.json");
    let datasheets = datasheets.replace("\"value\":", "\"value\":\n-");
    let arguments = ["datasheets", "--datasheets", "d.json"];
    insta::assert_snapshot!(with("d.json", &datasheets, &arguments), @"error: d.json:2:1: accelerators[0].figures.fp64.value: -33.5 is not above zero (in `nvidia-h100-sxm5`)");
    let accepted =
        r#"{"version": 1, "accepted": [{"case": "[", "change": "gone", "reason": "x"}]}"#;
    let arguments = ["gate", "--base", "HEAD", "--accepted", "a.json"];
    insta::assert_snapshot!(with("a.json", accepted, &arguments), @"error: a.json: entry 1 ([): unclosed character class; missing ']'");
    let accepted = accepted.replace("\"x\"", "\n7");
    insta::assert_snapshot!(with("a.json", &accepted, &arguments), @"error: a.json: line 2, column 1: accepted[0].reason: invalid type: integer `7`, expected a string");
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
    insta::assert_snapshot!(refused(&["run", "matmul", "--shape", "99999999999x1x1"]), @r#"error: "99999999999x1x1" is not a shape of any selected operation: expected one such as 1000x777x333 for matmul, b1h8s512d64-causal for attention or 64MiB for bandwidth"#);
    insta::assert_snapshot!(refused(&["run", "matmul/f32/naive/4294967295x4294967295x4294967295"]), @r#"error: "4294967295x4294967295x4294967295" is not a shape of matmul: expected [bBATCH-]MxNxK[-nt|-tn] with sizes of at least 1 and at most 2^58 multiply-adds, such as 1024x1024x1024"#);
    insta::assert_snapshot!(refused(&["run", "attention/f32/flash/b65536h65536s1d1"]), @r#"error: "b65536h65536s1d1" is not a shape of attention: expected bBATCHhHEADS[kvHEADS]sLENGTHdDIM[-causal] or …qLENGTHkLENGTHd…, such as b1h8s512d64-causal, where the key/value heads divide the heads"#);
    insta::assert_snapshot!(refused(&["run", &"?".repeat(2000)]).replace(&"?".repeat(2000), "?…"), @r#"error: "?…" is not a valid filter: it is longer than 1000 bytes"#);
    insta::assert_snapshot!(refused(&["run", &"{".repeat(400)]).replace(&"{".repeat(400), "{…"), @r#"error: "{…" is not a valid filter: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"#);
    insta::assert_snapshot!(refused(&["power", "--for", "1e300"]), @r#"
    error: invalid value '1e300' for '--for <DURATION>': expected a length of time above 0, such as 30s or 5m

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&["run", "--data", "sparse:NaN"]), @r#"
    error: invalid value 'sparse:NaN' for '--data <LIST>': "NaN" is not a share of zeros: expected a number from 0 to 1, as in sparse:0.5

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(refused(&["run", "--power-limits", "1e999"]), @"
    error: invalid value '1e999' for '--power-limits <WATTS>': it must be more than 0 W

    For more information, try '--help'.
    ");
}
