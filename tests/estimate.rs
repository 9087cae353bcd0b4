//! What `flopwatt estimate` prints.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::{Value, json};

fn estimate(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command.arg("estimate").args(arguments);
    command
}

fn stdout(arguments: &[&str]) -> String {
    let output = estimate(arguments).assert().success().stderr("");
    String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8 on standard output")
}

fn json(arguments: &[&str]) -> Value {
    let text = stdout(&[arguments, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

fn usage_error(arguments: &[&str]) -> String {
    let output = estimate(arguments).assert().code(2).stdout("");
    String::from_utf8(output.get_output().stderr.clone()).expect("UTF-8 on standard error")
}

/// A report of a card that no one makes: its best product in FP16 has 10 TFLOP/s
/// at 50 GFLOPS per watt.
fn measured(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string("reports/example/report.json").expect("the example");
    let mut report: Value = serde_json::from_str(&text).expect("JSON");
    report["adapter"]["name"] = json!(name);
    let cases = report["measurements"].as_array_mut().expect("cases");
    let case = cases
        .iter_mut()
        .find(|case| case["id"] == "matmul/f16-f32acc/best/1024x1024x1024")
        .expect("a product in half precision");
    let interval = json!({"kind": "spread-within-run", "low": 9_900.0, "high": 10_100.0});
    case["gflops"] = json!({"median": 10_000.0, "interval": interval});
    // As in a report of today, of which nothing is found anew.
    case["time"]["interval_s"] = json!({"kind": "spread-within-run", "low": 1.0, "high": 2.0});
    case["time"]["lives"] = json!([
        {"median_s": 1.5, "spread_s": null, "samples": 1, "dispatches_per_sample": 1}
    ]);
    case["flags"] = json!([]);
    case["gflops_per_watt"] = json!({"gross": 50.0, "net": null});
    let path = folder.join("report.json");
    fs::write(&path, report.to_string()).expect("a temporary file can be written");
    folder.to_str().expect("a UTF-8 path").to_owned()
}

/// By hand: 3.144 96·10²³ FLOP ÷ 5·10¹⁰ FLOP/J = 6.289 92·10¹² J = 1.747 GWh, at
/// 0.08 USD/kWh 139 776 USD, at 0.4 kg/kWh 698.9 t; at 10¹³ FLOP/s 8.736·10⁶ h, by a
/// thousand devices in 364 days.
#[test]
fn a_measured_efficiency_becomes_hours_energy_and_money() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = measured(folder.path(), "Testcard 1");
    let text = stdout(&[
        "--report",
        &report,
        "--precision",
        "f16-f32acc",
        "--workload",
        "gpt3-training",
        "--pue",
        "1",
        "--price",
        "0.08USD/kWh",
        "--carbon",
        "400gCO2/kWh",
        "--devices",
        "1000",
        "--hardware-price",
        "10000USD",
        "--lifetime",
        "4years",
    ]);
    insta::with_settings!({filters => vec![(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[id]")]}, {
        insta::assert_snapshot!("measured", text);
    });
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn a_datasheet_is_labelled_and_needs_a_utilisation() {
    let card = [
        "--accelerator",
        "nvidia-a100-sxm4-80gb",
        "--precision",
        "fp16_tensor",
    ];
    let with = |more: &[&'static str]| [&card[..], more].concat();
    insta::assert_snapshot!(usage_error(&with(&["--flops", "3640PFd"])), @"error: a datasheet states a peak, which no workload gets all the time: say with --utilisation which share it gets. 100% compares peaks; one published training run sustained 48% (MegatronLM v1.0, https://nv-adlr.github.io/MegatronLMV1)");
    let text = stdout(&with(&[
        "--utilisation",
        "30-50%",
        "--pue",
        "1.1-1.5",
        "--workload",
        "chatgpt-day",
    ]));
    insta::assert_snapshot!("datasheet", text);
}

#[test]
fn precisions_are_not_mixed() {
    let card = [
        "--accelerator",
        "nvidia-h100-sxm5",
        "--utilisation",
        "1",
        "--workload",
    ];
    let with = |more: &[&'static str]| [&card[..], more].concat();
    let text = stdout(&with(&["centre:ningbo", "--precision", "fp16_tensor"]));
    assert!(
        text.contains("→ no estimate  stated in FP64: FP16 operations are others"),
        "{text}"
    );
    insta::assert_snapshot!(usage_error(&with(&["centre:ningbo", "--precision", "fp32"])), @"error: nothing can be estimated: stated in FP16: FP32 operations are others, and neither replace them nor add to them; stated in FP64: FP32 operations are others, and neither replace them nor add to them");
}

#[test]
fn what_is_missing_is_said() {
    insta::assert_snapshot!(usage_error(&[]), @"error: say what is to be computed: --workload gpt3-training, gpt4-training, chatgpt-day, centre:shenzhen, centre:wuhan, centre:xian, centre:chengdu, centre:xuchang, centre:nanjing, centre:hangzhou, centre:ningbo, centre:guizhou, centre:shanghai-2023, centre:shanghai-2025, centre:china-2021, centre:china-2026, world-ai-2027, --workload FILE, or --flops 3640PFd");
    insta::assert_snapshot!(usage_error(&["--flops", "3640PFd"]), @"error: say whose efficiency is meant: --report REPORT for a measured one, --accelerator ID for that of a datasheet");
    insta::assert_snapshot!(usage_error(&["--flops", "3640PFd", "--accelerator", "a100"]), @"error: `a100` may be any of nvidia-a100-sxm4-40gb, nvidia-a100-sxm4-80gb, nvidia-a100-pcie-40gb, nvidia-a100-pcie-80gb: say which");
    insta::assert_snapshot!(usage_error(&["--flops", "3640PFd", "--accelerator", "voodoo"]), @"error: no datasheet has the id or a name like `voodoo`; `flopwatt datasheets` lists them all");
    insta::assert_snapshot!(usage_error(&["--flops", "1000PFLOPS"]), @"
    error: invalid value '1000PFLOPS' for '--flops <WORK>': `1000PFLOPS`: PFLOPS is a rate, and work is needed: FLOP, or a rate times a time, such as PFLOPS-days
      For more information, try '--help'.
    ");
    insta::assert_snapshot!(usage_error(&["--workload", "centre:atlantis"]), @"error: `centre:atlantis` is neither a workload nor a file; known: gpt3-training, gpt4-training, chatgpt-day, centre:shenzhen, centre:wuhan, centre:xian, centre:chengdu, centre:xuchang, centre:nanjing, centre:hangzhou, centre:ningbo, centre:guizhou, centre:shanghai-2023, centre:shanghai-2025, centre:china-2021, centre:china-2026, world-ai-2027");
    let shared = [
        "--workload",
        "centre:wuhan",
        "--devices",
        "8",
        "--accelerator",
        "nvidia-t4",
        "--precision",
        "fp32",
        "--utilisation",
        "1",
    ];
    insta::assert_snapshot!(usage_error(&shared), @"error: --devices divides an amount of work, and this workload states none");
    let mixed = [
        "--flops",
        "3640PFd",
        "--accelerator",
        "nvidia-t4",
        "--precision",
        "fp32",
        "--utilisation",
        "1",
        "--price",
        "0.5CNY/kWh",
        "--hardware-price",
        "2000USD",
        "--lifetime",
        "4y",
    ];
    insta::assert_snapshot!(usage_error(&mixed), @"error: USD and CNY cannot be mixed, and no rate of exchange is assumed: give both in one currency");
}

#[test]
fn names_in_a_report_do_not_steer_the_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = measured(folder.path(), "Testcard \u{1b}[31m2\n");
    let known = ["--report", &report, "--flops", "1e20", "--precision"];
    let text = stdout(&[&known[..], &["f16-f32acc"]].concat());
    let error = usage_error(&[&known[..], &["f64"]].concat());
    for said in [text, error] {
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}

#[test]
fn a_file_brings_other_workloads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("ours.json");
    let document = json!({
        "schema_version": 1,
        "sources": {"plan": {"title": "Our plan", "url": null, "tier": "reference"}},
        "workloads": [
            {"id": "small", "title": "a small run", "claims": [
                {"what": "work", "value": {"low": 1, "high": 2}, "unit": "PFLOPS-days", "source": "plan"}
            ]},
            {"id": "room", "title": "a room", "claims": [
                {"what": "computing power", "value": 5, "unit": "PFLOPS", "precision": "FP32", "source": "plan"}
            ]}
        ]
    });
    fs::write(&path, document.to_string()).expect("a temporary file can be written");
    let path = path.to_str().expect("a UTF-8 path");
    let arguments = [
        "--accelerator",
        "nvidia-t4",
        "--precision",
        "fp32",
        "--utilisation",
        "1",
        "--workload",
        path,
    ];
    // By hand: 8.64·10¹⁹ FLOP ÷ 8.1·10¹² FLOP/s = 1.066 667·10⁷ s = 2962.963 h.
    let found = json(&arguments);
    let hours = &found["workloads"][0]["estimates"][0]["results"][1];
    assert_eq!(hours["quantity"], "device_hours");
    let low = hours["value"]["low"].as_f64().expect("a number");
    assert!((low - 2962.963).abs() < 1e-3, "{low}");
    // 5000 ÷ 8.1 devices.
    let devices = &found["workloads"][1]["estimates"][0]["results"][0];
    assert_eq!(devices["quantity"], "devices");
    let count = devices["value"].as_f64().expect("a number");
    assert!((count - 617.284).abs() < 1e-3, "{count}");

    fs::write(path, document.to_string().replace("PFLOPS-days", "stone")).expect("written");
    let message = usage_error(&arguments);
    assert!(message.contains("ours.json:1:"), "{message}");
    assert!(
        message.contains("workloads[0].claims[0].unit: `stone` is no unit"),
        "{message}"
    );
}

#[test]
fn json_names_the_source_of_every_input() {
    let found = json(&[
        "--accelerator",
        "nvidia-t4",
        "--precision",
        "fp32",
        "--utilisation",
        "50%",
        "--flops",
        "3640PFd",
        "--price",
        "0.08USD/kWh",
    ]);
    assert_eq!(found["basis"], "datasheet");
    for input in found["inputs"].as_array().expect("inputs") {
        assert!(
            input["source"]
                .as_str()
                .is_some_and(|source| !source.is_empty()),
            "{input}"
        );
        assert!(
            !input["value"].is_null() && input["unit"].is_string(),
            "{input}"
        );
    }
    let estimate = &found["workloads"][0]["estimates"][0];
    assert_eq!(estimate["claims"][0]["source_title"], "--flops");
    let results = estimate["results"].as_array().expect("results");
    let cost = results
        .iter()
        .find(|line| line["quantity"] == "electricity_cost");
    let cost = cost.expect("a price was given");
    assert!(cost["value"].is_null());
    assert!(
        cost["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("--pue"))
    );
}

#[test]
fn every_built_in_workload_can_be_estimated_and_is_documented() {
    let documented = fs::read_to_string("docs/estimate.md").expect("the documentation");
    for (precision, ids) in [
        (
            "fp16_tensor",
            &[
                "gpt3-training",
                "gpt4-training",
                "chatgpt-day",
                "centre:ningbo",
                "centre:shanghai-2023",
                "centre:shenzhen",
                "centre:wuhan",
                "centre:xian",
                "centre:chengdu",
                "centre:xuchang",
                "centre:nanjing",
                "centre:hangzhou",
                "centre:guizhou",
                "centre:china-2021",
                "centre:china-2026",
                "world-ai-2027",
            ][..],
        ),
        ("fp32", &["centre:shanghai-2025"]),
    ] {
        for id in ids {
            let text = stdout(&[
                "--accelerator",
                "nvidia-h100-sxm5",
                "--precision",
                precision,
                "--utilisation",
                "40%",
                "--pue",
                "1.2",
                "--workload",
                id,
            ]);
            assert!(text.contains(&format!("({id})")), "{text}");
            assert!(documented.contains(&format!("| `{id}` |")), "{id}");
        }
    }
}

#[test]
fn the_articles_are_recomputed() {
    insta::assert_snapshot!("articles", stdout(&["--check-articles"]));
    let found = json(&["--check-articles"]);
    assert_eq!(found["checks"].as_array().map(Vec::len), Some(24));
    assert_eq!(found["figures"].as_array().map(Vec::len), Some(90));
    assert_eq!(found["checks"][0]["verdicts"], json!(["articles-disagree"]));
    let error = usage_error(&["--check-articles", "--flops", "1e20"]);
    assert!(error.contains("cannot be used with"), "{error}");
}
