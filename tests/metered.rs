//! `flopwatt run` with a source of power, from the outside: what stands in the
//! report beside the time, and that nothing is invented where the source fails.
//! The source is a stand-in for NVML, whose card is named although the work runs
//! on whatever adapter there is.

#![cfg(target_os = "linux")]

#[path = "support/command.rs"]
mod command;
#[path = "support/faults.rs"]
mod faults;
mod support;
// Each test program uses a part.
#[allow(dead_code)]
#[path = "support/trials.rs"]
mod trials;

use std::process::{Command, Output};

use command::{printed, wanted};
use faults::{Outcome, kept, kept_with, row};
use serde_json::{Value, json};
use support::{card, nvml_stand_in, with_settings};
use tempfile::TempDir;
use trials::{adapters, alone, needing, run};

fn main() {
    type Test = fn();
    let tests: [(&str, Test); 10] = [
        ("a_lost_gpu_ends_the_run", a_lost_gpu_ends_the_run),
        (
            "a_counter_that_runs_backwards_is_not_used",
            a_counter_that_runs_backwards,
        ),
        (
            "a_counter_that_is_stuck_is_not_used",
            a_counter_that_is_stuck,
        ),
        ("no_watts_are_no_figure", no_watts),
        ("absurd_watts_are_no_figure", absurd_watts),
        ("without_a_driver_the_run_goes_on", without_a_driver),
        ("on_a_part_of_a_gpu_the_run_goes_on", on_a_part_of_a_gpu),
        ("without_permission_the_run_goes_on", without_permission),
        ("without_the_gpu_the_run_goes_on", without_the_gpu),
        ("a_meter_that_fails_costs_power_only", failing_meters),
    ];
    let trial = |(name, test): (&str, Test)| needing(name, adapters, move |_| test());
    let beside = alone("power_stands_beside_the_time", adapters, |_| {
        power_stands_beside_the_time();
    });
    run([beside].into_iter().chain(tests.map(trial)).collect());
}

/// A case that needs no other to be held against.
const CASE: &str = "peak/f32/fma/device";

/// One run that reads the card of `script`.
struct Metered {
    folder: TempDir,
    output: Output,
}

impl Metered {
    fn run(script: &Value, cases: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        nvml_stand_in(folder.path(), script);
        Self::by("nvml:0", folder, cases)
    }

    fn by(source: &str, folder: TempDir, cases: &[&str]) -> Self {
        let output = command::flopwatt(folder.path())
            .args(["run", "--adapter", &wanted(), "--power", source])
            .args(["--seed", "7", "--out", "out"])
            .args(cases)
            .env("LD_LIBRARY_PATH", folder.path())
            .output()
            .expect("flopwatt starts");
        Self { folder, output }
    }

    fn exit(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn out(&self) -> std::path::PathBuf {
        self.folder.path().join("out")
    }

    fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.out().join("report.json"));
        serde_json::from_str(&text.expect("a report")).expect("JSON")
    }
}

/// The usual card with other settings, and a sensor that misses nothing, so that
/// one window is enough.
fn with(settings: Value) -> Value {
    let mut card = card();
    card["sensor"]["window"] = json!(0.1);
    json!({ "devices": [with_settings(card, &settings)] })
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[track_caller]
fn near(value: &Value, expected: f64, tolerance: f64) {
    let value = number(value);
    assert!(
        (value / expected - 1.0).abs() <= tolerance,
        "{value} instead of {expected}"
    );
}

/// The card draws 120 W, and on top of that 0.5 W for 43 % of the time, whatever
/// the adapter does: 120.2 W on average.
fn power_stands_beside_the_time() {
    let run = Metered::run(&with(json!({"throttle_reasons": 0x44})), &[CASE]);
    let report = run.report();
    let expected = Outcome {
        said: "slowed down by heat or the power supply",
        status: Some(0),
        kept: "1 ok of 1, flagged throttled",
    };
    let seen = Outcome {
        said: &printed(&run.output),
        status: run.exit(),
        kept: &kept_with(&report, "throttled"),
    };
    row("GPU slowed down by heat", &expected, &seen);
    let schema = Command::new(env!("CARGO_BIN_EXE_flopwatt"))
        .arg("schema")
        .output();
    let schema: Value = serde_json::from_slice(&schema.expect("it runs").stdout).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(&report)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");

    let setup = &report["power"];
    assert_eq!(setup["wanted"], "nvml:0");
    assert_eq!(setup["source"]["name"], "nvml:0");
    near(&setup["sensor"]["energy"]["period_s"], 0.1, 0.05);
    // Its load never changes, so that no edge tells more.
    assert_eq!(setup["sensor"]["averaging"]["known"], "instant");
    let case = &report["measurements"][0];
    let power = &case["power"];
    let watts = 120.0 + 0.43 * 0.5;
    near(&power["median_w"], watts, 0.02);
    let time = number(&case["time"]["median_s"]);
    // The mean of the dispatches, not their median, is what takes energy.
    let samples = case["time"]["samples_s"].as_array().expect("samples");
    let mean = samples.iter().map(number).sum::<f64>() / samples.len() as f64;
    // Where other tests keep the processors busy the device waits between batches.
    let busy = number(&power["busy"]);
    near(&power["j_per_dispatch"], watts * mean / busy, 0.05);
    near(
        &power["energy_delay_js"],
        number(&power["j_per_dispatch"]) * time,
        1e-9,
    );
    let per_watt = number(&case["work"]) / 1e9 / number(&power["j_per_dispatch"]);
    near(&case["gflops_per_watt"]["gross"], per_watt, 1e-9);
    near(&power["j_per_tflop"], 1e3 / per_watt, 1e-9);
    assert_eq!(power["board_error"], 0.05);
    assert_eq!(power["energy"]["windows"][0]["method"], "counter");
    assert!(number(&power["energy"]["windows"][0]["window"]["end_s"]) > 5.0);
    assert!(number(&power["sampling"]["cpu_s"]) > 0.0);
    // Bits 0x4 and 0x40: at the limit, and slowed down by heat.
    let flags = case["flags"].as_array().expect("flags");
    assert!(flags.contains(&json!("power-capped")), "{flags:?}");
    // No datasheet belongs to the card, so there is no percentage.
    assert_eq!(power["percent_of_datasheet_efficiency"], Value::Null);

    let trace = power["trace"].as_str().expect("a file");
    let trace = std::fs::read_to_string(run.out().join(trace)).expect("a trace");
    let mut lines = trace.lines();
    assert_eq!(
        lines.next(),
        Some("time_s,power_w,energy_j,window,sm_clock_mhz,memory_clock_mhz,temperature_c")
    );
    let inside = lines.filter(|line| line.split(',').nth(3) == Some("1"));
    // 100 ms between two readings: fifty in five seconds.
    assert!(inside.count() > 25);
    let markdown = std::fs::read_to_string(run.out().join("report.md")).expect("a page");
    assert!(markdown.contains("GFLOP/s per W"), "{markdown}");
    assert!(markdown.contains("](charts/trace-1.svg)"), "{markdown}");
    let chart = std::fs::read_to_string(run.out().join("charts/trace-1.svg")).expect("a chart");
    assert!(chart.contains("class=\"window\""), "{chart}");
}

/// NVML's code 15, three seconds after the sensor has been looked at.
fn a_lost_gpu_ends_the_run() {
    let lost = json!({"faults": {"*": {"code": 15, "after": 5.0}}});
    let run = Metered::run(&with(lost), &[CASE, "bandwidth/f32/copy/1MiB"]);
    let report = run.report();
    let expected = Outcome {
        said: "the GPU is gone: 1 of 2 cases",
        status: Some(1),
        kept: "1 failed of 2",
    };
    let seen = Outcome {
        said: &run.said(),
        status: run.exit(),
        kept: &kept(&report),
    };
    row("GPU lost in the middle of a case", &expected, &seen);
    assert_eq!(report["complete"], false);
    let cases = report["measurements"].as_array().expect("cases");
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0]["status"], "failed");
    let reason = cases[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("fallen off the bus"), "{reason}");
    assert_eq!(
        (&cases[0]["time"], &cases[0]["power"]),
        (&Value::Null, &Value::Null)
    );
}

/// A window of five seconds holds a restart every three seconds.
fn a_counter_that_runs_backwards() {
    let restarts = json!({"counter_restarts_every": 3.0});
    without_counter("energy counter backwards", restarts, "counter-backwards");
}

fn a_counter_that_is_stuck() {
    let stuck = json!({"counter_stuck_at": 0.5});
    without_counter("energy counter stuck", stuck, "counter-stuck");
}

/// The energy is that of the readings of power.
fn without_counter(fault: &str, settings: Value, code: &str) {
    let run = Metered::run(&with(settings), &[CASE]);
    let report = run.report();
    let power = &report["measurements"][0]["power"];
    let window = &power["energy"]["windows"][0];
    let expected = Outcome {
        said: code,
        status: Some(0),
        kept: "time, energy by integral",
    };
    let method = window["method"].as_str().unwrap_or("nothing");
    let seen = Outcome {
        said: window["counter"]["void"]["code"].as_str().unwrap_or(""),
        status: run.exit(),
        kept: &format!("time, energy by {method}"),
    };
    row(fault, &expected, &seen);
    near(&power["median_w"], 120.2, 0.03);
}

fn no_watts() {
    watts_that_cannot_be("0 W", 0.0, "shows 0 W while the device worked");
}

/// The limit is 300 W.
fn absurd_watts() {
    let why = "more than twice the power limit of 300 W";
    watts_that_cannot_be("absurd power", 700.0, why);
}

fn watts_that_cannot_be(fault: &str, watts: f64, why: &str) {
    let sensor = json!({"period": 0.1, "window": 0.1});
    let settings = json!({"shown_watts": watts, "sensor": sensor, "average": null});
    let run = Metered::run(&with(settings), &[CASE]);
    let report = run.report();
    let case = &report["measurements"][0];
    without_power(fault, &run, "power-invalid: ", why);
    assert_eq!(case["gflops_per_watt"], Value::Null);
    let table = String::from_utf8_lossy(&run.output.stdout).into_owned();
    assert!(!table.contains("per W"), "{table}");
}

// Cases take the longer part; `tests/power.rs` has a row for every fault.

fn without_a_driver() {
    let script = json!({"init": 9});
    without_a_source("no kernel module", &script, "kernel module is not loaded");
}

fn on_a_part_of_a_gpu() {
    without_a_source("MIG", &with(json!({"mig": true})), "MIG is on");
}

fn without_permission() {
    let denied = json!({"faults": {"*": {"code": 4}}});
    without_a_source("no permission", &with(denied), "administrator");
}

fn without_the_gpu() {
    let script = json!({"devices": []});
    without_a_source("no such GPU", &script, "no power source nvml:0");
}

fn without_a_source(fault: &str, script: &Value, why: &str) {
    let run = Metered::run(script, &[CASE]);
    let said = run.said();
    assert!(said.contains("power is not measured"), "{said}");
    without_power(fault, &run, "no-power-source: ", why);
    let report = run.report();
    assert_eq!(report["power"]["source"], Value::Null);
    assert!(!run.out().join("power").exists());
}

/// Programs that print watts for six seconds: two in which the sensor is looked at, and
/// the rest while the case begins.
fn failing_meters() {
    let good = "for i in 1 2 3 4 5 6 7 8 9 10; do echo 5; sleep 0.3; echo 6; sleep 0.3; done; ";
    for (fault, then, why) in [
        (
            "meter ends in the middle",
            "exit 7",
            "the first: the power command has ended: exit status: 7",
        ),
        (
            "meter prints something else in the middle",
            "echo broken; sleep 60",
            "the first: the power command printed \"broken\", which is neither watts nor joules",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = Metered::by(&format!("command:sh -c '{good}{then}'"), folder, &[CASE]);
        without_power(fault, &run, "power-invalid: ", why);
    }
}

/// The case has its time, and in place of its power a reason of that kind.
fn without_power(fault: &str, run: &Metered, kind: &str, why: &str) {
    let report = run.report();
    let case = &report["measurements"][0];
    let has = |field: &str| if case[field].is_null() { "no " } else { "" };
    let reason = case["power_reason"].as_str().unwrap_or_default();
    let expected = Outcome {
        said: why,
        status: Some(0),
        kept: "time, no power",
    };
    let seen = Outcome {
        said: reason,
        status: run.exit(),
        kept: &format!("{}time, {}power", has("time"), has("power")),
    };
    row(fault, &expected, &seen);
    assert!(reason.starts_with(kind), "{reason}");
}
