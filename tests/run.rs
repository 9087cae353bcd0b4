//! `flopwatt run` from the outside: what it leaves, what it prints, how it ends.

mod support {
    pub mod command;
    pub mod trials;
}

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use flopwatt::kernel::element::Element;
use serde_json::Value;
use support::command::{self, folder, output, stderr, stdout, wanted};
use support::trials::{adapters, anywhere, needing, run};

fn main() {
    run(vec![
        needing("a_run_leaves_a_valid_report", adapters, |_| {
            report_is_valid()
        }),
        needing("every_format_prints_the_same_run", adapters, |_| formats()),
        needing("a_report_is_never_overwritten", adapters, |_| {
            no_overwriting()
        }),
        needing("a_terminated_run_keeps_what_it_has", adapters, |_| {
            termination()
        }),
        needing("input_data_is_contrasted_in_one_run", adapters, |_| {
            contrast()
        }),
        needing("a_dump_is_what_was_computed", adapters, |_| dump()),
        anywhere("the_schema_is_printed", schema),
    ]);
}

/// A case that takes no time to speak of, with its ceiling.
const SMALL: &str = "matmul/f32/naive/33x17x65";

fn flopwatt(folder: &Path) -> Command {
    let mut command = command::flopwatt(folder);
    // Where there is a source of power, its windows would only take long.
    command.args(["run", "--adapter", &wanted(), "--power", "none"]);
    command
}

fn read_report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("report.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// Without `--out`, one new folder under reports/.
fn only_report(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("reports")).expect("reports/");
    let paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths[0].clone()
}

fn report_is_valid() {
    let folder = folder();
    let mut command = flopwatt(folder.path());
    command
        .args([SMALL, "--seed", "7"])
        .env("SLURM_JOB_ID", "12");
    let output = output(&mut command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = only_report(folder.path());
    let report = read_report(&path);
    let (_, content) = flopwatt::record::read(&path).expect("a report");
    assert!(content.stated.is_some() && !content.is_altered());
    assert_eq!(report["slurm"]["job_id"], 12);

    let schema = serde_json::to_value(flopwatt::record::Report::schema()).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");

    assert_eq!(report["seed"], 7);
    assert_eq!(report["complete"], true);
    let cases = report["measurements"].as_array().expect("a list");
    let ids: Vec<&str> = cases.iter().filter_map(|m| m["id"].as_str()).collect();
    assert_eq!(ids, ["peak/f32/fma/device", SMALL]);
    let case = &cases[1];
    assert_eq!(case["status"], "ok");
    // 2·33·17·65 operations; A, B and C of four bytes each.
    assert_eq!(case["work"], 2 * 33 * 17 * 65);
    assert_eq!(case["bytes"], 4 * (33 * 65 + 65 * 17 + 33 * 17));
    assert_eq!(case["verification"]["checked"], "full");
    assert_eq!(case["ceiling_id"], "peak/f32/fma/device");
    assert!(case["power"].is_null() && case["power_reason"].is_string());
    let number = |pointer: &str| {
        case.pointer(pointer)
            .and_then(Value::as_f64)
            .expect("a number")
    };
    let rate = number("/work") / number("/time/median_s") / 1e9;
    assert!((number("/gflops/median") / rate - 1.0).abs() < 1e-12);
    let peak = cases[0]
        .pointer("/gflops/median")
        .and_then(Value::as_f64)
        .expect("a peak");
    assert!((number("/percent_of_ceiling") / (100.0 * rate / peak) - 1.0).abs() < 1e-12);

    let markdown = std::fs::read_to_string(path.join("report.md")).expect("report.md");
    assert!(markdown.contains("33x17x65"));
    assert!(markdown.contains("](charts/roofline.svg)"));
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).expect("the folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.collect::<BTreeSet<_>>()
    };
    // Temporary files are gone.
    let expected = ["charts", "report.html", "report.json", "report.md"];
    assert_eq!(files(&path), expected.map(OsString::from).into());
    // Where there is a datasheet or a sensor there are more.
    let charts = ["rates.svg", "roofline.svg"].map(OsString::from);
    assert!(files(&path.join("charts")).is_superset(&charts.into()));
}

fn formats() {
    let folder = folder();
    let printed = |format: &str, out: &str| {
        let arguments = ["latency/none/dispatch", "--format", format, "--out", out];
        let output = output(flopwatt(folder.path()).args(arguments));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert!(printed("table", "a").contains("latency/none/dispatch/empty"));
    let json: Value = serde_json::from_str(&printed("json", "b")).expect("JSON");
    assert_eq!(json, read_report(&folder.path().join("b")));
    let line: Value = serde_json::from_str(&printed("jsonl", "c")).expect("JSON");
    assert_eq!(line["id"], "latency/none/dispatch/empty");
    assert_eq!(printed("csv", "d").lines().count(), 2);
    let fom = printed("fom", "e");
    assert!(
        fom.contains("fom latency/none/dispatch/empty median_s "),
        "{fom}"
    );
    assert!(fom.ends_with("status VALID\n"), "{fom}");
}

fn no_overwriting() {
    let folder = folder();
    std::fs::write(folder.path().join("report.json"), "precious").expect("written");
    let output = output(flopwatt(folder.path()).args(["latency", "--out", "."]));
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("already holds a report"),
        "{}",
        stderr(&output)
    );
    let kept = std::fs::read_to_string(folder.path().join("report.json")).expect("kept");
    assert_eq!(kept, "precious");
}

/// SIGTERM once the first case is saved: exit status 130, and a report that
/// holds what was measured. Elsewhere than on Unix there is no such signal.
#[cfg(unix)]
fn termination() {
    use std::time::{Duration, Instant};
    let folder = folder();
    let mut run = flopwatt(folder.path())
        .args(["*", "--tier", "reference", "--out", "o"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flopwatt starts");
    let deadline = Instant::now() + Duration::from_secs(300);
    let saved = folder.path().join("o/report.json");
    let has_case = |_: &()| {
        std::fs::read_to_string(&saved).is_ok_and(|text| text.contains("\"status\": \"ok\""))
    };
    while !has_case(&()) {
        assert!(Instant::now() < deadline, "no case was saved");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Slurm signals every process of a job. The worker comes first, whose end would
    // be taken for a crash. Where there is no procfs it is left out.
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let kill = format!("kill {children} {}", run.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("a shell").success());
    assert_eq!(run.wait().expect("it ends").code(), Some(130));
    let report = read_report(&folder.path().join("o"));
    assert_eq!(report["complete"], false);
    assert_eq!(report["measurements"][0]["status"], "ok");
    let measurements = report["measurements"].as_array().expect("a list");
    assert!(measurements.iter().all(|m| m["status"] != "failed"));
}

#[cfg(not(unix))]
fn termination() {}

/// Dimensions and elements of a file that NumPy would read.
fn read_npy(path: &Path, element: Element) -> (String, Vec<f64>) {
    let bytes = std::fs::read(path).expect("an array");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = String::from_utf8(bytes[10..header].to_vec()).expect("text");
    let elements = &bytes[header..];
    let count = elements.len() / element.size() as usize;
    (text, element.read(elements, count))
}

/// One product on two distributions, its ceiling once.
fn contrast() {
    let folder = folder();
    let arguments = [SMALL, "--data", "normal,zeros", "--dump", "d", "--out", "o"];
    let output = output(flopwatt(folder.path()).args(arguments));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = read_report(&folder.path().join("o"));
    assert_eq!(report["data"], "normal");
    let cases = report["measurements"].as_array().expect("a list");
    let outcomes: Vec<_> = cases
        .iter()
        .map(|m| [&m["id"], &m["data"], &m["status"]].map(|value| value.as_str().unwrap_or("")))
        .collect();
    let expected = [
        ["peak/f32/fma/device", "random-mantissas", "ok"],
        [SMALL, "normal", "ok"],
        [SMALL, "zeros", "ok"],
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(cases[1]["parameters"], cases[2]["parameters"]);
    assert!(cases[2]["percent_of_ceiling"].is_number());
    assert_eq!(cases[2]["verification"]["max_scaled_error"], 0.0);
    let text = stdout(&output);
    assert!(text.contains(&format!("{SMALL}[zeros]")), "{text}");
    assert!(text.contains("By input data"), "{text}");
    let zeros = "matmul_f32_naive_33x17x65_zeros/a.npy";
    let (_, a) = read_npy(&folder.path().join("d").join(zeros), Element::F32);
    assert!(a.len() == 33 * 65 && a.iter().all(|v| *v == 0.0));
    let dense = "d/matmul_f32_naive_33x17x65/meta.json";
    assert!(folder.path().join(dense).exists());
}

/// C = Aᵀ·B of the dumped A (5 rows of 3, twice) and B (5 rows of 7), multiplied
/// here once more.
fn dump() {
    let folder = folder();
    let arguments = ["matmul/f32/naive/b2-3x7x5-tn", "--dump", "d", "--out", "o"];
    let output = output(flopwatt(folder.path()).args(arguments));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let cases: Vec<_> = std::fs::read_dir(folder.path().join("d"))
        .expect("the dump")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(cases.len(), 1, "the ceiling leaves nothing: {cases:?}");
    assert!(cases[0].ends_with("matmul_f32_naive_b2-3x7x5-tn"));

    let read = |name: &str, element| read_npy(&cases[0].join(name), element);
    let (header, a) = read("a.npy", Element::F32);
    let described = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5, 3, ), }";
    assert_eq!(header.trim_end(), described);
    let (header, b) = read("b.npy", Element::F32);
    assert!(header.contains("(2, 5, 7, )"), "{header}");
    let (header, c) = read("output.npy", Element::F32);
    assert!(
        header.contains("'<f4'") && header.contains("(2, 3, 7, )"),
        "{header}"
    );
    let (header, reference) = read("reference.npy", Element::F64);
    assert!(
        header.contains("'<f8'") && header.contains("(2, 3, 7, )"),
        "{header}"
    );
    assert_eq!(
        (a.len(), b.len(), c.len(), reference.len()),
        (30, 70, 42, 42)
    );
    for at in 0..42 {
        let (batch, row, col) = (at / 21, at % 21 / 7, at % 7);
        let terms = (0..5).map(|k| a[(batch * 5 + k) * 3 + row] * b[(batch * 5 + k) * 7 + col]);
        let (sum, magnitude) = terms.fold((0.0, 0.0), |(s, m), t| (s + t, m + f64::abs(t)));
        assert!(
            (reference[at] - sum).abs() <= 1e-15 * magnitude,
            "element {at}"
        );
        assert!((c[at] - sum).abs() <= 1e-6 * magnitude, "element {at}");
    }
    let meta = std::fs::read_to_string(cases[0].join("meta.json")).expect("meta.json");
    let meta: Value = serde_json::from_str(&meta).expect("JSON");
    assert_eq!(meta["seed"], read_report(&folder.path().join("o"))["seed"]);
    assert_eq!(meta["shape"]["layout"], "tn");
    assert!(meta["reference_reason"].is_null());

    std::fs::write(folder.path().join("file"), "").expect("written");
    let arguments = ["latency", "--dump", "file/below", "--out", "p"];
    let blocked = self::output(flopwatt(folder.path()).args(arguments));
    assert_eq!(blocked.status.code(), Some(2));
    let message = stderr(&blocked);
    assert!(
        message.contains("cannot create the folder file/below"),
        "{message}"
    );
    assert!(!folder.path().join("p").exists());
}

fn schema() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flopwatt"));
    let output = output(command.arg("schema"));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(jsonschema::validator_for(&schema).is_ok());
    for field in [
        "schema_version",
        "run_id",
        "adapter",
        "datasheet",
        "measurements",
    ] {
        assert!(!schema["properties"][field].is_null(), "{field}");
    }
}
