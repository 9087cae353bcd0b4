//! JSON Lines: one flat object a measurement.

use super::flat::Row;
use super::{Document, Renderer, Run};
use crate::record::Report;

/// One measurement a line, with the same keys in the same order on each; what
/// is missing is null.
#[derive(Clone, Copy, Debug)]
pub struct JsonLines;

impl Renderer for JsonLines {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let lines = runs.iter().map(|run| rows(run.report));
        Document::only("report.jsonl", lines.collect())
    }
}

/// The lines of one report.
pub fn rows(report: &Report) -> String {
    let rows = report.measurements.iter().map(|m| Row(report, m));
    let lines = rows.map(|row| {
        let line = serde_json::to_string(&row);
        line.expect("a row has strings as keys") + "\n"
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::render::fixture;
    use crate::render::flat::COLUMNS;

    #[test]
    fn every_line_is_an_object_with_the_same_keys() {
        let text = fixture::rendered(&JsonLines, &fixture::report());
        assert_eq!(text.lines().count(), fixture::report().measurements.len());
        for line in text.lines() {
            let Value::Object(object) = serde_json::from_str(line).unwrap() else {
                panic!("{line}");
            };
            assert_eq!(object.len(), COLUMNS.len());
            assert!(COLUMNS.iter().all(|(name, _)| object.contains_key(*name)));
            assert!(object.values().all(|v| !v.is_object() && !v.is_array()));
        }
    }

    #[test]
    fn a_line_holds_run_case_and_figures() {
        let report = fixture::report();
        let text = fixture::rendered(&JsonLines, &report);
        // Any change to a shader changes it.
        let text = text.replace(&report.shaders.hash, "HASH");
        let kernel = text.lines().find(|l| l.contains("matmul/f32/register"));
        insta::assert_snapshot!(kernel.unwrap().replace(",\"", ",\n\""), @r#"
        {"run_id":"01980000-0000-7000-8000-000000000001",
        "started":"2026-01-02T03:04:05Z",
        "ended":"2026-01-02T03:04:05Z",
        "complete":true,
        "synthetic":false,
        "file_sha256":null,
        "flopwatt_version":"0.1.0",
        "git_commit":null,
        "git_dirty":null,
        "tier":"quick",
        "seed":7,
        "data":"normal",
        "host":"node01",
        "os":"Linux (Ubuntu 24.04)",
        "cpu":null,
        "container_engine":null,
        "container_image":null,
        "slurm_cluster":null,
        "slurm_job_id":null,
        "slurm_array_job_id":null,
        "slurm_array_task_id":null,
        "slurm_process_id":null,
        "slurm_restart_count":null,
        "slurm_node":null,
        "accelerator":"Testcard 0, vulkan",
        "card":"node01 0000:01:00.0",
        "adapter":"<script>|x\n`Testcard 0` \u001b[31m[a](https://b)",
        "device_type":"discrete-gpu",
        "backend":"vulkan",
        "driver":"NVIDIA",
        "driver_info":"550.54.15",
        "pci_address":"0000:01:00.0",
        "uuid":null,
        "vendor_id":4318,
        "device_id":1,
        "datasheet":"testcard-0",
        "id":"matmul/f32/register/4096x4096x4096",
        "operation":"matmul",
        "precision":"f32",
        "variant":"register",
        "shape":"4096x4096x4096",
        "batch":1,
        "m":4096,
        "n":4096,
        "k":4096,
        "layout":"nn",
        "heads":null,
        "kv_heads":null,
        "q_len":null,
        "kv_len":null,
        "head_dim":null,
        "causal":null,
        "working_set_bytes":null,
        "work":137438953472,
        "work_unit":"FLOP",
        "bytes":201326592,
        "power_limit_w":null,
        "timed_begin":null,
        "timed_end":null,
        "concurrent_adapters":0,
        "status":"ok",
        "reason_code":null,
        "reason":null,
        "verified":"full",
        "max_scaled_error":4.2e-7,
        "tolerance":0.00003,
        "clock":"device",
        "cache":"cold",
        "median_s":0.004,
        "interval_low_s":0.003968,
        "interval_high_s":0.004032,
        "interval_kind":"spread-within-run",
        "lives":1,
        "p5_s":0.0039640000000000005,
        "p95_s":0.004036,
        "samples":11,
        "dispatches_per_sample":10,
        "gflops_median":34359.738368,
        "gflops_low":34087.04203174603,
        "gflops_high":34636.833032258066,
        "gbytes_per_s":50.331648,
        "ceiling_id":"peak/f32/fma/device",
        "percent_of_ceiling":57.075977355481726,
        "percent_of_datasheet":49.08534052571428,
        "gflops_per_watt_gross":null,
        "gflops_per_watt_net":null,
        "power_source":null,
        "power_covers":null,
        "power_median_w":null,
        "power_ci95_low_w":null,
        "power_ci95_high_w":null,
        "power_repeatability_w":null,
        "power_idle_w":null,
        "j_per_dispatch":null,
        "net_j_per_dispatch":null,
        "j_per_tflop":null,
        "energy_delay_js":null,
        "percent_of_datasheet_efficiency":null,
        "percent_of_limit_efficiency":null,
        "sm_clock_mhz":null,
        "sm_clock_min_mhz":null,
        "sm_clock_max_mhz":null,
        "temperature_c":null,
        "enforced_limit_w":null,
        "power_reason":"no-power-source: this version measures no power",
        "shader_mode":"unchecked",
        "shaders_hash":"HASH",
        "parameters":"{\"tile_m\":64}",
        "flags":"not-converged",
        "doubtful":true,
        "doubtful_power":false}
        "#);
    }

    #[test]
    fn what_is_missing_is_null() {
        let text = fixture::rendered(&JsonLines, &fixture::report());
        let skipped = text.lines().find(|l| l.contains("\"skipped\"")).unwrap();
        let row: Value = serde_json::from_str(skipped).unwrap();
        assert_eq!(row["gflops_median"], Value::Null);
        assert_eq!(row["median_s"], Value::Null);
        assert_eq!(row["m"], Value::Null);
        assert_eq!(row["head_dim"], 128);
        assert_eq!(row["reason_code"], "too-large");
    }
}
