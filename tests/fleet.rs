//! `flopwatt fleet` from the outside, on stored reports and changed copies of them.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};
use tempfile::TempDir;

const LAVAPIPE: &str = "tests/data/reports/lavapipe.json";
const TESTCARD: &str = "tests/data/reports/testcard/report.json";

fn fleet(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command.arg("fleet").args(arguments);
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.assert().success();
    String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8 on standard output")
}

fn merged(arguments: &[&str]) -> Value {
    let text = stdout(&mut fleet(&[arguments, &["--json"]].concat()));
    serde_json::from_str(&text).expect("JSON")
}

fn read(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Writes a report as flopwatt would: with the hash of its content.
fn save(report: &Value, path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
    fs::write(path, report.to_string()).expect("a temporary file");
    let mut command = cargo_bin_cmd!("flopwatt");
    let printed = command
        .args(["report", text(path), "--json"])
        .assert()
        .success();
    fs::write(path, &printed.get_output().stdout).expect("a temporary file");
}

/// Card number `n` of ten of the same model, two a host, of which the eighth is a
/// quarter slower.
fn sister(n: u64) -> Value {
    let mut report = read(TESTCARD);
    report["run_id"] = json!(format!("01980000-0000-7000-8000-0000000001{n:02}"));
    report["host"]["name"] = json!(format!("node{:02}", n / 2));
    report["adapter"]["uuid"] = json!(format!("67304ee1-2ab0-d7cc-6e01-fedcba9876{n:02}"));
    let slower = if n == 7 {
        1.25
    } else {
        1.0 + n as f64 / 1000.0
    };
    for m in report["measurements"].as_array_mut().expect("a list") {
        if let Some(rate) = m["gflops"]["median"].as_f64() {
            m["gflops"]["median"] = json!(rate / slower);
        }
    }
    report
}

/// A folder of ten cards, a report that is there twice, one that was altered, one that is
/// cut and a file of another program.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for n in 0..10 {
        save(&sister(n), &path(&format!("cards/{n}/report.json")));
    }
    let first = fs::read_to_string(path("cards/0/report.json")).expect("a report");
    fs::write(path("again.json"), &first).expect("a temporary file");
    let faster = first.replacen("\"median_w\": 430.0", "\"median_w\": 130.0", 1);
    assert_ne!(faster, first);
    fs::write(path("altered.json"), faster).expect("a temporary file");
    fs::write(path("cut.json"), &first[..1000]).expect("a temporary file");
    fs::write(path("other.json"), "{\"name\": 1}").expect("a temporary file");
    fs::write(path("notes.txt"), "no report").expect("a temporary file");
    folder
}

#[test]
fn every_run_counts_once_and_what_does_not_count_is_named() {
    let folder = folder();
    let fleet = merged(&[text(folder.path())]);
    assert_eq!(fleet["reports"]["merged"], 10);
    assert_eq!(fleet["cards"], 10);
    let left_out = fleet["left_out"].as_array().expect("a list").iter();
    let mut left_out: Vec<_> = left_out
        .map(|file| {
            let name = Path::new(file["file"].as_str().expect("a path"));
            let name = name.strip_prefix(folder.path()).expect("below the folder");
            (
                text(name).to_owned(),
                file["why"].as_str().expect("a code").to_owned(),
            )
        })
        .collect();
    left_out.sort();
    let named = [
        ("altered.json", "altered"),
        ("cards/0/report.json", "repeated"),
        ("cut.json", "not-a-report"),
        ("other.json", "not-a-report"),
    ];
    assert_eq!(
        left_out,
        named.map(|(file, why)| (file.to_owned(), why.to_owned()))
    );
}

#[test]
fn the_slow_card_is_named_with_its_host() {
    let folder = folder();
    let fleet = merged(&[text(folder.path())]);
    let outliers = fleet["outliers"].as_array().expect("a list");
    assert_eq!(outliers.len(), 1, "{outliers:?}");
    assert_eq!(
        outliers[0]["card"],
        "GPU-67304ee1-2ab0-d7cc-6e01-fedcba987607"
    );
    assert_eq!(outliers[0]["hosts"], json!(["node03"]));
    // 80 % and 100.4 % of a card between 1/1.004 and 1/1.005, whose median is hidden by
    // the faster one; both cards of the last host are slower, at 99.65 and 99.56 %.
    let hosts = fleet["hosts"].as_array().expect("a list");
    assert_eq!(hosts[0]["name"], "node04");
    let slow = hosts
        .iter()
        .find(|host| host["name"] == "node03")
        .expect("it is there");
    let slowest = slow["standing"]["slowest"]["percent"]
        .as_f64()
        .expect("a number");
    assert!((slowest - 80.36).abs() < 0.01, "{slowest}");
}

#[test]
fn a_table_says_it_in_words() {
    let folder = folder();
    let table = stdout(fleet(&[text(folder.path())]).env("COLUMNS", "120"));
    let table = table.replace(text(folder.path()), "DIR");
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_printed_keeps_to_its_schema() {
    let schema = stdout(cargo_bin_cmd!("flopwatt").args(["schema", "fleet"]));
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let folder = folder();
    for paths in [&[text(folder.path())][..], &[LAVAPIPE, TESTCARD]] {
        let fleet = merged(paths);
        let errors = validator.iter_errors(&fleet);
        let errors: Vec<String> = errors
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn rows_are_those_of_every_report_that_counts() {
    let folder = folder();
    let rows = stdout(&mut fleet(&[
        text(folder.path()),
        LAVAPIPE,
        "--format",
        "jsonl",
    ]));
    let rows = rows
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let rows: Vec<Value> = rows.collect();
    let cases = |path: &str| read(path)["measurements"].as_array().map_or(0, Vec::len);
    assert_eq!(rows.len(), 10 * cases(TESTCARD) + cases(LAVAPIPE));
    let runs: std::collections::BTreeSet<_> = rows
        .iter()
        .map(|row| &row["run_id"])
        .map(Value::to_string)
        .collect();
    assert_eq!(runs.len(), 11);
    assert!(rows.iter().all(|row| row["doubtful"].is_boolean()));
}

#[test]
fn files_are_written_where_they_are_wanted() {
    let out = TempDir::new().expect("a temporary folder");
    let formats = [
        "--format",
        "table,json,jsonl,html",
        "--out",
        text(out.path()),
    ];
    fleet(&[&[TESTCARD, LAVAPIPE][..], &formats].concat())
        .assert()
        .success()
        .stdout("");
    for (file, holds) in [
        ("fleet.txt", "2 reports of 2 cards on 2 hosts"),
        ("fleet.json", "\"accelerators\""),
        ("fleet.jsonl", "\"accelerator\":\"Testcard 0, vulkan\""),
        ("fleet.html", "</html>\n"),
    ] {
        let text = fs::read_to_string(out.path().join(file)).expect(file);
        assert!(text.contains(holds), "{file}");
    }
    let two = fleet(&[TESTCARD, "--format", "json,html"]).assert().code(2);
    assert!(String::from_utf8_lossy(&two.get_output().stderr).contains("--out DIR"));
}

#[test]
fn without_a_report_there_is_a_reason() {
    let folder = TempDir::new().expect("a temporary folder");
    let said = |path: &Path| {
        let output = fleet(&[text(path)]).assert().code(2).stdout("");
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        said.replace(text(folder.path()), "DIR")
    };
    assert_eq!(
        said(folder.path()),
        "error: no .json is there: name reports, or folders that hold some\n"
    );
    let missing = said(&folder.path().join("a.json"));
    assert!(
        missing.starts_with("error: no report among 1 files; of the first: cannot read DIR/a.json"),
        "{missing}"
    );
}

/// A link to a folder above it is not followed.
#[cfg(unix)]
#[test]
fn a_loop_of_links_is_not_entered() {
    let folder = folder();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("cards/loop")).expect("a link");
    let fleet = merged(&[text(folder.path())]);
    assert_eq!(fleet["reports"]["merged"], 10);
}

#[test]
fn a_report_is_read_back_with_its_hash_and_a_change_is_said() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("report.json");
    save(&read(TESTCARD), &path);
    let report = |path: &Path| {
        cargo_bin_cmd!("flopwatt")
            .args(["report", text(path), "--json"])
            .assert()
            .success()
    };
    let first = report(&path);
    assert_eq!(
        first.get_output().stdout,
        fs::read(&path).expect("a report")
    );
    assert!(first.get_output().stderr.is_empty());
    let hash = &read(text(&path))["file_sha256"];
    assert_eq!(hash.as_str().map(str::len), Some(64));
    // What no printed text may hold is escaped in the file as well, before it is hashed.
    let mut steering = read(text(&path));
    steering["host"]["name"] = json!("##[group]\u{202e}");
    save(&steering, &path);
    assert!(report(&path).get_output().stderr.is_empty());
    let said = |changed: String| {
        fs::write(&path, changed).expect("a temporary file");
        String::from_utf8_lossy(&report(&path).get_output().stderr).into_owned()
    };
    let whole = fs::read_to_string(&path).expect("a report");
    let altered = said(whole.replacen("\n ", "\n", 1));
    assert!(
        altered.contains("was changed after it was written"),
        "{altered}"
    );
    let mut without = read(text(&path));
    without["file_sha256"] = Value::Null;
    without["schema_version"] = json!("1.4");
    let silent = said(without.to_string());
    assert!(silent.contains("states no file_sha256"), "{silent}");
    without["schema_version"] = json!("1.3");
    assert_eq!(said(without.to_string()), "", "it never had one");
}

/// With stacks larger than all memory the system refuses every thread.
#[cfg(target_os = "linux")]
#[test]
fn without_threads_there_is_an_error() {
    let mut command = fleet(&[LAVAPIPE]);
    command.env("RUST_MIN_STACK", (1_u64 << 46).to_string());
    let output = command.assert().code(2).stdout("");
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        said.starts_with("error: cannot start a thread for each processor"),
        "{said}"
    );
}
