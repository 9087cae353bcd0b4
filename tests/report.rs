//! `flopwatt report` from the outside, on real reports of three software adapters.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;

const LAVAPIPE: &str = "tests/data/reports/lavapipe.json";
const GL: &str = "tests/data/reports/gl.json";
const SWIFTSHADER: &str = "tests/data/reports/swiftshader.json";
const ALL: [&str; 3] = [LAVAPIPE, GL, SWIFTSHADER];

fn report(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command.arg("report").args(arguments).env("COLUMNS", "80");
    command
}

fn stdout(arguments: &[&str]) -> String {
    let output = report(arguments).assert().success().stderr("");
    String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8 on standard output")
}

/// Standard error of a command line that is refused.
fn usage_error(arguments: &[&str]) -> String {
    let output = report(arguments).assert().code(2).stdout("");
    String::from_utf8(output.get_output().stderr.clone()).expect("UTF-8 on standard error")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

fn ids(report: &Value) -> Vec<&str> {
    let measurements = report["measurements"].as_array().expect("a list");
    measurements
        .iter()
        .filter_map(|m| m["id"].as_str())
        .collect()
}

#[test]
fn the_help_fits_eighty_columns() {
    let help = stdout(&["--help"]);
    let widest = help.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{help}");
    let options: Vec<_> = help.split("Options:\n").skip(1).collect();
    insta::assert_snapshot!(options.concat(), @"
        --out <DIR>
            Folder to write files into, which is created where it is missing.
            Without one, a single format goes to standard output

        --format <FORMAT>
            Formats, separated by commas. Without any: a table, or with --out the
            pages that `flopwatt run` leaves, report.html and report.md with its
            charts

            Possible values:
            - table:            A table for a terminal
            - json:             The report itself
            - jsonl:            One flat measurement a line, for DuckDB, pandas
              and polars
            - csv:              The same columns as comma-separated values
            - markdown:         For a pull request or a job summary; md for short
            - fom:              One figure of merit a line, for ReFrame, Ramble
              and JUBE
            - html:             One page with charts that opens offline
            - svg:              The charts, a file each
            - github-benchmark: For github-action-benchmark: rates in one file,
              times in another
            - bencher:          Bencher Metric Format
            - openmetrics:      For node_exporter's textfile collector, and
              whatever else reads Prometheus's formats

        --json
            Short for --format json

        --sort <FIELD>
            Sort by a field, that is a column of --format csv: cases, and reports
            by their best cases. Rates and percentages come from the highest,
            everything else from the lowest, what is missing last

        --anonymise
            Leave out what tells where it was measured: host, UUIDs, PCI
            addresses, paths, command line and messages of drivers

    -h, --help
            Print help (see a summary with '-h')
    ");
}

#[test]
fn several_reports_are_set_side_by_side() {
    let table = stdout(&ALL);
    let (side_by_side, rest) = table.split_once("\n\nllvmpipe").expect("the first report");
    assert_eq!(rest.matches("\ndatasheet: ").count(), 3);
    insta::assert_snapshot!(side_by_side, @"
    Side by side, in brackets the interval: spread within this run
    [1] llvmpipe (LLVM 15.0.6, 256 bits), vulkan
    [2] llvmpipe (LLVM 15.0.6, 256 bits), gl
    [3] SwiftShader Device (Subzero)

                          [1]                      [2]                      [3]
    highest measured peak, GFLOP/s
               44.63 peak/f32           67.70 peak/f32           4.507 peak/f32
    fastest kernel, GFLOP/s
             11.45 matmul/f32         7.263 matmul/f32         1.026 matmul/f32
    highest % of datasheet
                            –                        –                        –
    most efficient, GFLOP/s per W
                            –                        –                        –
    peak/f32/fma/device, GFLOP/s
         44.63 [36.28, 63.42]    67.70 [49.16, 112.07]     4.507 [3.617, 5.150]
    bandwidth/f32/copy/256MiB, GB/s
         1.735 [1.481, 2.359]     1.967 [1.846, 2.109]     2.107 [2.077, 2.166]
    latency/none/dispatch/empty, µs
         15.90 [13.87, 23.93]     15.68 [13.99, 82.69]      13.32 [9.06, 51.54]
    matmul/f32/naive/256x256x256, GFLOP/s
      0.3569 [0.3375, 0.3814]  0.4664 [0.4441, 0.4907]  0.2095 [0.2000, 0.2155]
    matmul/f32/register/256x256x256, GFLOP/s
         2.625 [1.695, 7.231]     7.263 [7.144, 7.373]  0.8508 [0.8284, 0.8976]
    matmul/f32/best/512x512x512, GFLOP/s
          11.45 [9.06, 13.14]     3.322 [3.009, 3.982]     1.026 [1.015, 1.034]
    matmul/f16-f32acc/register/256x256x256, GFLOP/s
         7.199 [7.099, 7.337]                  skipped                  skipped
    attention/f32/materialised/b1h8s256d64, GFLOP/s
                       0.1933                   0.1927                   0.1160
    attention/f32/flash/b1h8s256d64, GFLOP/s
      0.7822 [0.7663, 0.7963]  0.7850 [0.7649, 0.8208]  0.4382 [0.3725, 0.4523]
    ");
}

#[test]
fn one_report_is_shown_as_after_the_run() {
    let table = stdout(&["reports/example"]);
    assert!(
        table.starts_with("llvmpipe (LLVM 15.0.6, 256 bits)\ndriver: "),
        "{table}"
    );
    let saved = read(Path::new("reports/example/report.md"));
    assert!(saved.starts_with("# flopwatt: llvmpipe"));
    let markdown = stdout(&["reports/example", "--format", "md"]);
    assert!(markdown.starts_with("# flopwatt: llvmpipe"));
    assert_eq!(
        markdown,
        stdout(&["reports/example/report.json", "--format", "markdown"])
    );
}

#[test]
fn reports_and_cases_are_sorted_by_any_column() {
    let sorted = |field: &str| -> Vec<Value> {
        let sorted = json(&stdout(&[&ALL[..], &["--json", "--sort", field]].concat()));
        sorted.as_array().expect("a list").clone()
    };
    let adapters = |reports: &[Value]| -> Vec<String> {
        let adapters = reports.iter().map(|r| &r["adapter"]);
        adapters
            .map(|a| format!("{} {}", a["name"], a["backend"]).replace('"', ""))
            .collect()
    };
    // By the highest rate of each: 67.70, 44.63 and 4.507 GFLOP/s.
    let by_rate = sorted("gflops_median");
    assert_eq!(
        adapters(&by_rate),
        [
            "llvmpipe (LLVM 15.0.6, 256 bits) gl",
            "llvmpipe (LLVM 15.0.6, 256 bits) vulkan",
            "SwiftShader Device (Subzero) vulkan",
        ]
    );
    assert_eq!(
        ids(&by_rate[0])[..3],
        [
            "peak/f32/fma/device",
            "matmul/f32/register/256x256x256",
            "matmul/f32/best/512x512x512",
        ]
    );
    // What could not be measured has no rate, and so have ceilings of other kinds.
    let last = ids(&by_rate[0])[6..].concat();
    assert!(last.contains("matmul/f16-f32acc"), "{last}");
    // By the shortest time: 13.32, 15.68 and 15.90 µs for an empty dispatch.
    let by_time = sorted("median_s");
    assert_eq!(
        by_time[0]["adapter"]["name"],
        "SwiftShader Device (Subzero)"
    );
    assert_eq!(by_time[1]["adapter"]["backend"], "gl");
    assert_eq!(ids(&by_time[0])[0], "latency/none/dispatch/empty");
}

#[test]
fn an_unknown_field_is_answered_with_those_like_it() {
    insta::assert_snapshot!(usage_error(&[GL, "--sort", "gflop"]), @"
    error: invalid value 'gflop' for '--sort <FIELD>': there is no such field; like it are gflops_low, gflops_high, gflops_median, j_per_tflop, gflops_per_watt_net; all are the columns of --format csv
      For more information, try '--help'.
    ");
}

/// What the readers of a format ask of it, and that names are unique.
fn assert_valid(format: &str, document: &Value) {
    let schema = read(Path::new(&format!("tests/data/schemas/{format}.json")));
    let validator = jsonschema::validator_for(&json(&schema)).expect("a valid schema");
    let errors = validator.iter_errors(document);
    let errors: Vec<String> = errors
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{format}: {errors:?}");
}

fn assert_unique<T: std::hash::Hash + Eq + std::fmt::Debug>(names: Vec<T>) {
    let count = names.len();
    let unique: HashSet<T> = names.into_iter().collect();
    assert_eq!(unique.len(), count, "{unique:?}");
}

#[test]
fn github_action_benchmark_takes_both_files() {
    for (reports, measured) in [(&ALL[..1], 9), (&ALL[..], 25)] {
        let out = folder();
        let arguments = ["--format", "github-benchmark", "--out", text(out.path())];
        report(&[reports, &arguments].concat()).assert().success();
        for (file, unit) in [
            ("github-bigger-is-better.json", "GFLOP/s"),
            ("github-smaller-is-better.json", "ms"),
        ] {
            let document = json(&read(&out.path().join(file)));
            assert_valid("github-benchmark", &document);
            let entries = document.as_array().expect("a list");
            assert_unique(entries.iter().map(|e| &e["name"]).collect());
            // Latency has no rate.
            let without = if unit == "ms" { 0 } else { reports.len() };
            assert_eq!(entries.len(), measured - without, "{file}");
            assert!(entries.iter().any(|e| e["unit"] == unit));
        }
    }
}

#[test]
fn bencher_takes_the_metric_format() {
    for (reports, measured) in [(&ALL[..1], 9), (&ALL[..], 25)] {
        let document = json(&stdout(&[reports, &["--format", "bencher"]].concat()));
        assert_valid("bencher", &document);
        assert_eq!(document.as_object().expect("an object").len(), measured);
    }
    let document = json(&stdout(&[LAVAPIPE, "--format", "bencher"]));
    let record = json(&stdout(&[LAVAPIPE, "--json"]));
    let rate = &record["measurements"][0]["gflops"];
    let metric = &document["peak/f32/fma/device"]["gflops"];
    assert_eq!(metric["value"], rate["median"]);
    assert_eq!(metric["lower_value"], rate["interval"]["low"]);
    assert_eq!(metric["upper_value"], rate["interval"]["high"]);
}

#[test]
fn figures_of_merit_of_several_reports_have_names_of_their_own() {
    let lines = stdout(&[&ALL[..], &["--format", "fom"]].concat());
    let named = |line: &str| line.split(' ').take(3).collect::<Vec<_>>().join(" ");
    assert_unique(lines.lines().map(named).collect());
    let rates: Vec<_> = lines
        .lines()
        .filter(|line| line.contains("matmul/f16-f32acc") && !line.contains("_s "))
        .collect();
    insta::assert_snapshot!(rates.join("\n"), @"
    fom matmul/f16-f32acc/register/256x256x256@llvmpipe_(LLVM_15.0.6,_256_bits),_vulkan gflops 7.1987807026396 GFLOP/s
    fom matmul/f16-f32acc/register/256x256x256@llvmpipe_(LLVM_15.0.6,_256_bits),_vulkan percent_of_ceiling 16.128887137643417 %
    case matmul/f16-f32acc/register/256x256x256@llvmpipe_(LLVM_15.0.6,_256_bits),_gl skipped
    case matmul/f16-f32acc/register/256x256x256@SwiftShader_Device_(Subzero) skipped
    ");
    assert!(lines.ends_with("\nstatus VALID\n"));
}

#[test]
fn a_format_of_several_documents_prints_its_first_and_names_the_rest() {
    let output = report(&[GL, "--format", "github-benchmark"])
        .assert()
        .success();
    let output = output.get_output();
    assert_valid(
        "github-benchmark",
        &json(&String::from_utf8_lossy(&output.stdout)),
    );
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @"this is github-bigger-is-better.json; `flopwatt report --out DIR` also writes github-smaller-is-better.json");
}

#[test]
fn several_formats_need_a_folder() {
    insta::assert_snapshot!(usage_error(&[GL, "--format", "csv,fom"]), @"error: only one format fits on standard output: choose one, or a folder with --out DIR");
}

#[test]
fn files_are_written_and_no_report_is_overwritten() {
    let out = folder();
    let path = out.path().join("new/folder");
    let written = |arguments: &[&str]| {
        let arguments = [arguments, &["--out", text(&path)]].concat();
        let output = report(&arguments).assert().success().stdout("");
        let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        said.replace(text(&path), "OUT")
    };
    insta::assert_snapshot!(written(&[GL, "--format", "csv,jsonl", "--format", "fom"]), @"OUT: report.csv, report.jsonl, report.fom");
    insta::assert_snapshot!(written(&[GL]), @"OUT: report.html, report.md, charts/rates.svg, charts/roofline.svg");
    let page = read(&path.join("report.md"));
    assert!(page.contains("](charts/roofline.svg)\n"), "{page}");
    insta::assert_snapshot!(written(&[GL, "--json"]), @"OUT: report.json");
    // What follows from a report may be written anew beside it, the report not.
    let source = text(&path).to_owned();
    let before = read(&path.join("report.json"));
    assert!(written(&[&source, "--format", "csv"]).contains("report.csv"));
    let refused = usage_error(&[&source, "--format", "csv,json", "--out", &source]);
    insta::assert_snapshot!(refused.replace(text(&path), "OUT"), @"error: OUT/report.json is a report, which is never overwritten: choose another --out");
    assert_eq!(read(&path.join("report.json")), before);
    // Several are a list, which is no report.
    assert!(written(&[&source, GL, "--json"]).contains("reports.json"));
    // A report is one under any name.
    let odd = path.join("report.md");
    fs::copy(GL, &odd).expect("a copy");
    let refused = usage_error(&[text(&odd), "--format", "md", "--out", &source]);
    assert!(refused.contains("never overwritten"), "{refused}");
    assert_eq!(read(&odd), read(Path::new(GL)));
}

#[test]
fn an_anonymous_report_is_still_a_report() {
    let out = folder();
    let original = json(&read(Path::new(GL)));
    let arguments = [GL, "--anonymise", "--json", "--out", text(out.path())];
    report(&arguments).assert().success();
    let anonymous = json(&read(&out.path().join("report.json")));
    assert_eq!(anonymous["host"]["name"], "withheld");
    assert_eq!(anonymous["command"], Value::Array(Vec::new()));
    assert_eq!(anonymous["run_id"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(rates(&anonymous), rates(&original));
    let again = stdout(&[text(out.path()), "--format", "md"]);
    assert!(again.contains("| host | withheld, Linux"), "{again}");
}

fn rates(report: &Value) -> Vec<&Value> {
    let measurements = report["measurements"].as_array().expect("a list");
    measurements
        .iter()
        .map(|m| &m["gflops"]["median"])
        .collect()
}
