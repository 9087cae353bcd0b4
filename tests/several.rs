//! `flopwatt run` on several adapters: what it leaves, what it prints, how it ends.

#[path = "support/command.rs"]
mod command;
#[path = "support/sealed.rs"]
mod sealed;
mod support;
#[path = "support/trials.rs"]
mod trials;

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::thread;

use command::{folder, output, stderr, stdout};
use flopwatt::gpu::adapter::AdapterDescription;
use flopwatt::kernel::inputs::Data;
use flopwatt::kernel::template::Templates;
use flopwatt::machine::{Outcome, Summary};
use flopwatt::measure::measurement::{Flag, Status};
use flopwatt::measure::tier::Tier;
use flopwatt::power::PowerSetup;
use flopwatt::record::{Planned, PowerTrace, Report, SaveError, Shaders, Start};
use flopwatt::session::{self, Choices, Ended, Goal, Locks, Member, Observer, Plan, Together};
use flopwatt::tune::{Cache, Key, Tuning};
use sealed::sealed;
use serde_json::Value;
use trials::{Missing, adapters, alone, anywhere, needing, run};

fn main() {
    run(vec![
        needing("each_adapter_leaves_a_report", adapters, |_| each_report()),
        needing("other_formats_hold_every_report", adapters, |_| formats()),
        needing("nothing_is_overwritten", adapters, |_| no_overwriting()),
        needing("one_of_several_goes_on_by_itself", adapters, |_| goes_on()),
        needing("an_adapter_in_use_is_not_measured", adapters, |all| {
            in_use(&all[0].description)
        }),
        needing("an_unknown_name_is_an_error", adapters, |_| unknown()),
        alone("two_runs_measure_together", adapters, |all| {
            together(&all[0].description)
        }),
        alone("power_is_measured_together", adapters, |all| {
            power_together(&all[0].description)
        }),
        alone("two_adapters_are_added_up", two_adapters, |()| added_up()),
        anywhere("wrong_usage_is_one_message", wrong_usage),
        anywhere("without_any_adapter_nothing_is_left", no_adapter),
    ]);
}

/// A case that takes no time to speak of, with its ceiling.
const SMALL: &str = "matmul/f32/naive/33x17x65";

fn flopwatt(folder: &Path, adapters: &str) -> Command {
    let mut command = command::flopwatt(folder);
    // Where there is a source of power, its windows would only take long.
    command.args(["run", "--adapter", adapters, "--power", "none"]);
    command
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

/// The summary in a folder, which its schema admits.
fn summary(folder: &Path) -> Value {
    let summary = read(&folder.join("summary.json"));
    let schema = serde_json::to_value(Summary::schema()).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let errors = validator.iter_errors(&summary).map(|e| e.to_string());
    let errors: Vec<String> = errors.collect();
    assert!(errors.is_empty(), "{errors:?}");
    summary
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// An adapter that is named twice is measured once.
fn each_report() {
    let folder = folder();
    let arguments = [SMALL, "--out", "o", "--seed", "7", "--json"];
    let output = output(flopwatt(folder.path(), "0,0").args(arguments));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let out = folder.path().join("o");
    let summary = summary(&out);
    let printed: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(printed, summary);
    assert_eq!(summary["concurrent"], false);
    let [adapter] = array(&summary["adapters"]) else {
        panic!("{summary}")
    };
    let ended = [&adapter["measured"], &adapter["cases"], &adapter["error"]];
    assert_eq!(ended, [&Value::from(2), &Value::from(2), &Value::Null]);
    let report = out.join(adapter["folder"].as_str().expect("a folder"));
    let report = read(&report.join("report.json"));
    assert_eq!(report["run_id"], adapter["run_id"]);
    assert_eq!(
        (&report["seed"], &report["complete"]),
        (&7.into(), &true.into())
    );
    for case in array(&report["measurements"]) {
        assert_eq!(case["concurrent_with"], serde_json::json!([]));
        assert_eq!(array(&case["timed"]).len(), 1);
    }
    let rates = array(&summary["cases"]).iter().map(|case| {
        assert!(case["total"].is_null() && case["total_reason"].is_string());
        (&case["name"], &case["figures"][0])
    });
    let measured = array(&report["measurements"]).iter();
    let expected = measured.map(|case| (&case["id"], &case["gflops"]["median"]));
    assert_eq!(rates.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    for page in ["report.html", "report.md"] {
        assert!(out.join(page).exists(), "{page}");
    }
}

fn formats() {
    let folder = folder();
    let printed = |format: &str, out: &str| {
        let arguments = ["latency/none/dispatch", "--format", format, "--out", out];
        let output = output(flopwatt(folder.path(), "0,0").args(arguments));
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert!(printed("table", "a").contains("latency/none/dispatch/empty"));
    let line: Value = serde_json::from_str(&printed("jsonl", "b")).expect("JSON");
    assert_eq!(line["concurrent_adapters"], 0);
    assert!(line["timed_begin"].is_string() && line["timed_end"].is_string());
}

fn no_overwriting() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("o")).expect("a folder");
    let precious = folder.path().join("o/summary.json");
    std::fs::write(&precious, "precious").expect("written");
    let arguments = ["latency/none/dispatch", "--out", "o"];
    let output = output(flopwatt(folder.path(), "0,0").args(arguments));
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("o already holds a report"), "{message}");
    let kept = std::fs::read_to_string(&precious).expect("kept");
    assert_eq!(kept, "precious");
}

/// A run that was cut short leaves a report that can be gone on with, unless the cases
/// that it holds were measured beside others.
fn goes_on() {
    let folder = folder();
    let arguments = [SMALL, "--out", "o", "--seed", "7"];
    let ended = output(flopwatt(folder.path(), "0,0").args(arguments));
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    let summary = summary(&folder.path().join("o"));
    let name = summary["adapters"][0]["folder"].as_str().expect("a folder");
    let file = folder.path().join("o").join(name).join("report.json");
    let whole = read(&file);
    assert_eq!(whole["plan"]["concurrent"], false);
    let cut_short = |concurrent: bool| {
        let mut report = whole.clone();
        report["complete"] = false.into();
        report["plan"]["concurrent"] = concurrent.into();
        let cases = report["measurements"].as_array_mut().expect("cases");
        cases.pop();
        std::fs::write(&file, sealed(&report)).expect("written");
        let mut resumed = command::flopwatt(folder.path());
        resumed
            .current_dir(folder.path().join("o"))
            .args(["run", "--resume", name]);
        output(&mut resumed)
    };
    let refused = cut_short(true);
    assert_eq!(refused.status.code(), Some(2));
    let message = stderr(&refused);
    assert!(
        message.contains("it measured beside other adapters"),
        "{message}"
    );
    let resumed = cut_short(false);
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    let report = read(&file);
    let ids = |report: &Value| {
        let cases = array(&report["measurements"]).iter();
        cases.map(|case| case["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&report), ids(&whole));
    assert_eq!(array(&report["resumed"]).len(), 1);
}

/// Nothing is left where nothing could begin.
fn in_use(adapter: &AdapterDescription) {
    let folder = folder();
    let locks = Locks::in_folder(folder.path());
    let _held = locks.alone(adapter).expect("the adapter for this test");
    let output = output(flopwatt(folder.path(), "0,0").args([SMALL, "--out", "o"]));
    assert_eq!(output.status.code(), Some(3));
    let message = stderr(&output);
    assert!(
        message.contains("[1] error: ") && message.contains("--wait"),
        "{message}"
    );
    assert!(output.stdout.is_empty() && !folder.path().join("o").exists());
}

fn unknown() {
    let folder = folder();
    let output = output(flopwatt(folder.path(), "0,nosuchadapter").arg("latency"));
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("no adapter fits `--adapter nosuchadapter`"),
        "{message}"
    );
    assert!(!folder.path().join("reports").exists());
}

/// Reports of two workers on one adapter, which each takes for another one; they read
/// these sources of power, by a library in `libraries` if any.
fn two_runs(adapter: &AdapterDescription, power: [&str; 2], libraries: &Path) -> Vec<Report> {
    let number = |index| AdapterDescription {
        index,
        ..adapter.clone()
    };
    let interrupted = AtomicBool::new(false);
    let together = Together::new(vec![number(0), number(1)], &interrupted);
    let adapters = [number(0), number(1)].into_iter().zip(power);
    let members = together.members().into_iter().zip(adapters);
    thread::scope(|scope| {
        let runs = members.map(|(member, (adapter, power))| {
            scope.spawn(move || measure(&member, adapter, power, libraries))
        });
        let runs: Vec<_> = runs.collect();
        let reports = runs.into_iter().map(|run| run.join().expect("a report"));
        reports.collect()
    })
}

fn together(adapter: &AdapterDescription) {
    let reports = two_runs(adapter, ["none", "none"], folder().path());
    for (report, other) in reports.iter().zip([1, 0]) {
        let [case] = &report.measurements[..] else {
            panic!("{report:?}")
        };
        assert_eq!(case.status, Status::Ok, "{:?}", case.reason);
        assert!(case.flags.contains(&Flag::Concurrent), "{:?}", case.flags);
        assert_eq!(case.timed.len(), 1);
        assert!(case.timed[0].begin < case.timed[0].end);
        let [beside] = &case.concurrent_with[..] else {
            panic!("{case:?}")
        };
        assert_eq!(beside.index, other);
        assert!(beside.overlap > 0.0 && beside.overlap <= 1.0, "{beside:?}");
    }
}

/// Two cards, each of which draws 120.2 W on average whatever the adapter does: 240.4
/// W together, if they worked together. The second sees a quarter of the time only,
/// and may need more windows for it.
fn power_together(adapter: &AdapterDescription) {
    let libraries = folder();
    let mut first = support::card();
    first["sensor"]["window"] = 0.1.into();
    let mut second = support::card();
    second["uuid"] = "GPU-2".into();
    second["bus_id"] = "00000000:0B:00.0".into();
    let script = serde_json::json!({ "devices": [first, second] });
    support::nvml_stand_in(libraries.path(), &script);
    let reports = two_runs(adapter, ["nvml:0", "nvml:1"], libraries.path());
    for report in &reports {
        let case = &report.measurements[0];
        let power = case.power.as_ref();
        let power = power.unwrap_or_else(|| panic!("{:?}", case.power_reason));
        assert!((power.median_w.0 / 120.2 - 1.0).abs() < 0.02, "{power:?}");
        assert_eq!(case.timed.len(), power.energy.windows.len());
        assert_eq!(case.concurrent_with.len(), 1);
    }
    let outcomes: Vec<Outcome> = reports
        .iter()
        .map(|report| Outcome {
            adapter: &report.adapter,
            report: Some(report),
            folder: String::new(),
            error: None,
        })
        .collect();
    let summary = Summary::of(&outcomes, Vec::new(), true);
    match (&summary.cases[0].total, &summary.cases[0].total_reason) {
        (Some(total), None) => {
            let watts = total.power_w.expect("power").0;
            assert!((watts / 240.4 - 1.0).abs() < 0.02, "{total:?}");
        }
        // A machine that is busy otherwise may keep them apart.
        (None, Some(why)) => assert!(why.contains("at the same time for"), "{why}"),
        (total, why) => panic!("{total:?} and {why:?}"),
    }
}

struct Silent;

impl Observer for Silent {
    fn case_begins(&mut self, _: usize, _: &Planned) {}
    fn phase(&mut self, _: &str) {}
    fn power(&mut self, _: Option<&PowerSetup>) {}
    fn tuned(&mut self, _: &Tuning) {}
    fn warn(&mut self, _: &dyn fmt::Display) {}
    fn case_ended(&mut self, _: &Report, _: Option<&PowerTrace>) -> Result<(), SaveError> {
        Ok(())
    }
}

/// The small case on `adapter`, among the others.
fn measure(member: &Member, adapter: AdapterDescription, power: &str, libraries: &Path) -> Report {
    let shaders = Shaders::new(None, Default::default()).expect("built in");
    let key = Key::new(&adapter, Templates::builtin(), shaders.mode);
    let mut report = Report::begin(Start {
        command: Vec::new(),
        tier: Tier::Quick,
        seed: 7,
        adapter,
        shaders,
        datasheet: Err("a test".into()),
    });
    let worker = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flopwatt"));
        command.arg("worker").env("LD_LIBRARY_PATH", libraries);
        command
    };
    let folder = folder();
    let locks = Locks::in_folder(folder.path());
    let plan = Plan {
        cases: &[Planned {
            id: SMALL.parse().expect("an id"),
            data: Data::Normal,
            named: true,
        }],
        worker: &worker,
        goal: Goal::Measure {
            dump: None,
            power: power.parse().expect("a source of power"),
        },
        retune: false,
        limits: None,
        lock: &locks.alone(&report.adapter).expect("a lock"),
        choices: &Choices::default(),
        member: Some(member),
        interrupted: &AtomicBool::new(false),
    };
    let (mut cache, _) = Cache::open(key);
    let ended = session::execute(&plan, &mut cache, &mut report, &mut Silent);
    assert_eq!(ended.expect("a run"), Ended::Complete);
    report
}

fn two_adapters() -> Result<(), Missing> {
    match adapters()? {
        [first, second, ..]
            if first.description.is_software()
                || first.description.physical_device != second.description.physical_device =>
        {
            Ok(())
        }
        [_, _, ..] => Err(Missing("two drivers of one GPU".into())),
        _ => Err(Missing(
            "a single adapter; ci/other-adapters installs more that need no GPU".into(),
        )),
    }
}

/// Of two adapters at the same time the total is the sum of their rates, if each
/// worked for nine tenths of the other's time at least.
fn added_up() {
    let folder = folder();
    let arguments = [SMALL, "--concurrent", "--out", "o"];
    let output = output(flopwatt(folder.path(), "0,1").args(arguments));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let summary = summary(&folder.path().join("o"));
    assert_eq!(summary["concurrent"], true);
    let folders = array(&summary["adapters"]).iter().map(|adapter| {
        let name = adapter["folder"].as_str().expect("a folder");
        read(&folder.path().join("o").join(name).join("report.json"))
    });
    let reports: Vec<Value> = folders.collect();
    for (position, case) in array(&summary["cases"]).iter().enumerate() {
        let measured = reports
            .iter()
            .map(|report| &report["measurements"][position]);
        let measured: Vec<&Value> = measured.collect();
        let number = |value: &Value| value.as_f64().expect("a number");
        let overlaps = measured.iter().map(|m| {
            assert!(array(&m["flags"]).contains(&"concurrent".into()), "{m}");
            number(&m["concurrent_with"][0]["overlap"])
        });
        let least = overlaps.fold(1.0, f64::min);
        if least < 0.9 {
            assert!(case["total_reason"].is_string(), "{case}");
            continue;
        }
        let rates = measured.iter().map(|m| number(&m["gflops"]["median"]));
        assert_eq!(number(&case["total"]["rate"]), rates.sum::<f64>());
        assert_eq!(number(&case["total"]["least_overlap"]), least);
    }
}

fn wrong_usage() {
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "cpu",
            &["--concurrent"],
            "--concurrent is for several adapters",
        ),
        (
            "all",
            &["--power-limits", "300"],
            "--power-limits sets the limit of one GPU",
        ),
        ("all", &["conv"], "no case matches \"conv\""),
    ];
    let folder = folder();
    for (adapters, arguments, message) in cases {
        let output = output(flopwatt(folder.path(), adapters).args(*arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains(message), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let mut one_sensor = Command::new(env!("CARGO_BIN_EXE_flopwatt"));
    one_sensor.args(["run", "--adapter", "0,1", "--power", "nvml:0"]);
    let one_sensor = output(one_sensor.current_dir(folder.path()));
    assert_eq!(one_sensor.status.code(), Some(2));
    let message = stderr(&one_sensor);
    assert!(
        message.contains("--power nvml:0 is the sensor of one GPU"),
        "{message}"
    );
    assert!(!folder.path().join("reports").exists());
}

fn no_adapter() {
    let folder = folder();
    let mut command = flopwatt(folder.path(), "all");
    let nowhere = "/nonexistent";
    for variable in [
        "VK_DRIVER_FILES",
        "VK_ICD_FILENAMES",
        "__EGL_VENDOR_LIBRARY_FILENAMES",
    ] {
        command.env(variable, nowhere);
    }
    let output = output(command.arg("latency"));
    // Where the system has an API of its own there are adapters all the same.
    if cfg!(target_os = "linux") {
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(!folder.path().join("reports").exists());
    }
}
