//! `flopwatt gate` and `flopwatt compare` from the outside: what they find, what
//! they print, how they end.

mod support {
    pub mod command;
    pub mod trials;
}

use std::path::Path;
use std::process::Output;

use flopwatt::compare::{Comparison, Verdict};
use flopwatt::kernel::template::BUILTIN;
use serde_json::Value;
use support::command::{self, folder, wanted};
use support::trials::{adapters, anywhere, needing, run};

fn main() {
    run(vec![
        needing("shaders_are_compared_in_one_process", adapters, |_| {
            one_process()
        }),
        needing("programs_are_compared_in_two_processes", adapters, |_| {
            two_processes()
        }),
        needing("a_wrong_shader_fails_untimed", adapters, |_| wrong_shader()),
        needing("a_self_test_tells_of_this_machine", adapters, |_| {
            self_test()
        }),
        needing("two_runs_are_compared", adapters, |_| two_runs()),
        anywhere("wrong_usage_is_one_message", wrong_usage),
    ]);
}

/// A case that takes no time to speak of.
const SMALL: &str = "matmul/f32/naive/33x17x65";

fn flopwatt(folder: &Path, arguments: &[&str]) -> Output {
    command::flopwatt(folder)
        .env_remove("GITHUB_ACTIONS")
        .env_remove("GITHUB_STEP_SUMMARY")
        .args(arguments)
        .output()
        .expect("flopwatt starts")
}

/// A gate of one small case with half a minute at most.
fn gate(folder: &Path, arguments: &[&str]) -> Output {
    let wanted = wanted();
    let usual = ["gate", "--adapter", &wanted, "--cases", SMALL, "--json"];
    flopwatt(folder, &[&usual[..], arguments].concat())
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn comparison(output: &Output) -> Comparison {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", talk(output)))
}

/// The built-in templates, with `from` in matmul_naive turned into `to`.
fn templates(folder: &Path, from: &str, to: &str) {
    std::fs::create_dir(folder).expect("a folder");
    for (name, text) in BUILTIN {
        let text = match *name {
            "matmul_naive.wgsl.jinja" => {
                assert!(text.contains(from));
                text.replace(from, to)
            }
            _ => (*text).to_owned(),
        };
        std::fs::write(folder.join(name), text).expect("written");
    }
}

/// What equals are called is a matter of chance; that they were timed is not.
fn assert_timed(output: &Output, comparison: &Comparison) {
    assert!(comparison.complete && comparison.incomparable.is_none());
    for case in &comparison.cases {
        assert_eq!(case.name, SMALL);
        let round = &case.rounds[0];
        assert!(!round.ln_ratios.is_empty() && round.took_s.0 > 0.0);
        assert_eq!(round.lives.iter().sum::<usize>(), round.ln_ratios.len());
        let ratio = case.ratio.expect("a ratio");
        let times = case.base_s.zip(case.head_s).expect("times");
        assert!(ratio.median > 0.0 && times.0.0 > 0.0 && times.1.0 > 0.0);
        let timed = [
            Verdict::Same,
            Verdict::Faster,
            Verdict::Slower,
            Verdict::Ambiguous,
        ];
        assert!(timed.contains(&case.verdict), "{case:?}");
        assert_eq!(case.fails, case.verdict == Verdict::Slower);
    }
    let fails = comparison.cases.iter().any(|case| case.fails);
    assert_eq!(output.status.code(), Some(i32::from(fails)));
}

fn one_process() {
    let folder = folder();
    let path = folder.path();
    templates(&path.join("before"), "id.y", "id.y");
    templates(&path.join("release"), "id.y", "id.y");
    let arguments = ["--base", "before", "--also-base", "release"];
    let arguments = [&arguments[..], &["--budget", "20s", "--seed", "3"]].concat();
    let output = gate(
        path,
        &[&arguments[..], &["--junit", "out/junit.xml"]].concat(),
    );
    let comparison = comparison(&output);
    assert_timed(&output, &comparison);
    assert!(
        comparison.method.contains("in one process"),
        "{comparison:?}"
    );
    assert_eq!(comparison.seed, Some(3));
    assert_eq!(comparison.base.shader_hash, comparison.head.shader_hash);
    let bases = comparison.cases.iter().map(|case| case.against.as_deref());
    assert_eq!(bases.collect::<Vec<_>>(), [None, Some("release")]);
    assert_eq!(comparison.alpha, Some(0.05));
    let junit = std::fs::read_to_string(path.join("out/junit.xml")).expect("JUnit XML");
    assert!(
        junit.contains(&format!("<testcase name=\"{SMALL}\"")),
        "{junit}"
    );
    let schema = serde_json::to_value(Comparison::schema()).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}

fn two_processes() {
    let folder = folder();
    let base = env!("CARGO_BIN_EXE_flopwatt");
    let output = gate(folder.path(), &["--base", base, "--budget", "10s"]);
    let comparison = comparison(&output);
    assert_timed(&output, &comparison);
    assert_eq!(comparison.cases.len(), 1);
    assert!(
        comparison.method.contains("a process of each"),
        "{comparison:?}"
    );
}

/// One step of the sum is left out.
fn wrong_shader() {
    let folder = folder();
    let path = folder.path();
    templates(&path.join("wrong"), "var step = 0u;", "var step = 1u;");
    templates(&path.join("before"), "id.y", "id.y");
    let output = gate(path, &["--base", "before", "--shaders", "wrong"]);
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    let case = &comparison(&output).cases[0];
    assert!(case.fails && case.rounds.is_empty(), "{case:?}");
    assert!(case.notes[0].starts_with("head rejected: "), "{case:?}");
    // The other way round nothing has got worse.
    let output = gate(path, &["--base", "wrong"]);
    assert_eq!(output.status.code(), Some(3), "{}", talk(&output));
    assert!(!comparison(&output).cases[0].fails);
}

fn self_test() {
    let folder = folder();
    let output = gate(folder.path(), &["--self-test", "--budget", "2s"]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let test: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(test["complete"], true);
    let case = &test["cases"][0];
    assert_eq!(case["name"], SMALL);
    assert!(
        case["pairs"].as_u64().is_some_and(|pairs| pairs > 0),
        "{case}"
    );
    assert!(case["lives"].as_u64().is_some_and(|lives| lives > 0));
    assert!(
        case["spread"].as_f64().is_some_and(|spread| spread >= 0.0),
        "{case}"
    );
}

fn two_runs() {
    let folder = folder();
    let path = folder.path();
    let wanted = wanted();
    for out in ["a", "b"] {
        let arguments = [
            "run",
            SMALL,
            "--adapter",
            &wanted,
            "--power",
            "none",
            "--out",
            out,
        ];
        let output = flopwatt(path, &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    }
    let output = flopwatt(path, &["compare", "a", "b/report.json", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let comparison = comparison(&output);
    let names: Vec<&str> = comparison.cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["peak/f32/fma/device", SMALL]);
    assert!(comparison.cases.iter().all(|case| case.ratio.is_some()));
    // The run against itself has changed in nothing, however far samples scatter.
    let output = flopwatt(path, &["compare", "a", "a", "--fail-on", "slower"]);
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    // A tenth of all times in base: everything has become ten times slower.
    let text = std::fs::read_to_string(path.join("a/report.json")).expect("a report");
    let mut faster: Value = serde_json::from_str(&text).expect("JSON");
    for case in faster["measurements"].as_array_mut().expect("a list") {
        // Tests beside this one leave no verdict, and neither does a single life.
        case["flags"] = Value::Array(Vec::new());
        let life = case["time"]["lives"][0].clone();
        case["time"]["lives"] = vec![life; 3].into();
    }
    std::fs::write(path.join("quiet.json"), faster.to_string()).expect("written");
    for case in faster["measurements"].as_array_mut().expect("a list") {
        let time = &mut case["time"];
        let tenth = |time: &mut Value| *time = (time.as_f64().expect("a time") / 10.0).into();
        tenth(&mut time["median_s"]);
        for life in time["lives"].as_array_mut().expect("lives") {
            tenth(&mut life["median_s"]);
            let ends = life["spread_s"].as_array_mut();
            ends.into_iter().flatten().for_each(tenth);
        }
    }
    std::fs::write(path.join("faster.json"), faster.to_string()).expect("written");
    let slower = ["compare", "faster.json", "quiet.json"];
    assert_eq!(
        flopwatt(path, &slower).status.code(),
        Some(0),
        "information only"
    );
    let output = flopwatt(path, &[&slower[..], &["--fail-on", "slower"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("SLOWER, fails"), "{text}");
}

fn wrong_usage() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    std::fs::write(folder.path().join("list.json"), "{}").expect("written");
    let cases: &[(&[&str], &str)] = &[
        (&["gate"], "--base"),
        (
            &["gate", "--base", "a", "--self-test"],
            "cannot be used with",
        ),
        (&["gate", "--also-base", "a"], "--base"),
        (
            &["gate", "--self-test", "--fail-on", "ambiguous"],
            "cannot be used with",
        ),
        (
            &["gate", "--base", "no-such-thing"],
            "neither a program, nor a folder",
        ),
        (&["gate", "--base", "empty"], "holds no *.wgsl.jinja"),
        (
            &["gate", "--base", "list.json"],
            "list.json is not a flopwatt program",
        ),
        (
            &["gate", "--self-test", "--budget", "0s"],
            "expected a length of time above 0",
        ),
        (
            &["gate", "--self-test", "--threshold", "0"],
            "not a threshold",
        ),
        (
            &["gate", "--base", "empty", "--accepted", "list.json"],
            "missing field `version`",
        ),
    ];
    for (arguments, message) in cases {
        let output = flopwatt(folder.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            talk(&output)
        );
        assert!(
            talk(&output).contains(message),
            "{arguments:?}: {}",
            talk(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
