//! The JSON of Google Benchmark, for its compare.py and whatever else reads it.

use serde::Serialize;

use super::names;
use super::{Document, Renderer, Run};
use crate::measure::measurement::{Measurement, Time};
use crate::record::Report;

/// A context and a row for every sample, which Google Benchmark calls a
/// repetition.
#[derive(Clone, Copy, Debug)]
pub struct GoogleBenchmark;

/// Nothing measures the CPU's time here, but compare.py drops rows without.
const CPU_TIME: &str = "not measured: cpu_time repeats real_time, since readers require it";

#[derive(Serialize)]
struct Output {
    context: Context,
    benchmarks: Vec<Row>,
}

#[derive(Serialize)]
struct Context {
    date: String,
    host_name: String,
    executable: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_cpus: Option<usize>,
    caches: [(); 0],
    flopwatt_version: String,
    adapter: String,
    cpu_time: &'static str,
}

#[derive(Serialize)]
struct Row {
    name: String,
    family_index: usize,
    per_family_instance_index: usize,
    run_name: String,
    run_type: &'static str,
    repetitions: usize,
    repetition_index: usize,
    threads: usize,
    iterations: u32,
    real_time: f64,
    cpu_time: f64,
    time_unit: &'static str,
}

impl Renderer for GoogleBenchmark {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let cases = runs.iter().zip(names::cases(runs));
        let cases = cases.flat_map(|(run, names)| run.report.measurements.iter().zip(names));
        let benchmarks = cases.enumerate();
        let benchmarks = benchmarks.flat_map(|(index, (m, name))| rows(index, m, &name));
        let outputs = runs.first().map(|run| Output {
            context: context(run.report, &names::labels(runs)),
            benchmarks: benchmarks.collect(),
        });
        let json = serde_json::to_string_pretty(&outputs);
        let json = json.expect("rows have strings as keys") + "\n";
        Document::only("google-benchmark.json", json)
    }
}

/// Where and when; of several reports, the first's host and date.
fn context(report: &Report, adapters: &[String]) -> Context {
    Context {
        date: report.started.to_string(),
        host_name: report.host.name.clone(),
        executable: "flopwatt",
        num_cpus: report.host.cpus,
        caches: [],
        flopwatt_version: report.flopwatt_version.clone(),
        adapter: adapters.join("; "),
        cpu_time: CPU_TIME,
    }
}

/// The samples of a case; none where it was not measured.
fn rows(index: usize, measurement: &Measurement, name: &str) -> Vec<Row> {
    let samples = |time: &Time| {
        let rows = time
            .samples_s
            .iter()
            .enumerate()
            .map(|(repetition, sample)| {
                let nanoseconds = 1e9 * sample.0;
                Row {
                    name: name.to_owned(),
                    family_index: index,
                    per_family_instance_index: 0,
                    run_name: name.to_owned(),
                    run_type: "iteration",
                    repetitions: time.samples_s.len(),
                    repetition_index: repetition,
                    threads: 1,
                    iterations: time.dispatches_per_sample,
                    real_time: nanoseconds,
                    cpu_time: nanoseconds,
                    time_unit: "ns",
                }
            });
        rows.collect()
    };
    measurement.time.as_ref().map_or_else(Vec::new, samples)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::render::fixture;

    fn rendered(reports: &[Report]) -> Value {
        let text = fixture::rendered_together(&GoogleBenchmark, reports);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_sample_is_a_repetition() {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        let mut output = rendered(&[report]);
        let rows = output["benchmarks"].as_array_mut().unwrap();
        // Eleven samples of each of the five cases that were measured.
        assert_eq!(rows.len(), 55);
        rows.drain(..10);
        rows.drain(1..);
        insta::assert_json_snapshot!(output, @r#"
        {
          "benchmarks": [
            {
              "cpu_time": 1010000000.0,
              "family_index": 0,
              "iterations": 10,
              "name": "peak/f32/fma/device",
              "per_family_instance_index": 0,
              "real_time": 1010000000.0,
              "repetition_index": 10,
              "repetitions": 11,
              "run_name": "peak/f32/fma/device",
              "run_type": "iteration",
              "threads": 1,
              "time_unit": "ns"
            }
          ],
          "context": {
            "adapter": "Testcard 0",
            "caches": [],
            "cpu_time": "not measured: cpu_time repeats real_time, since readers require it",
            "date": "2026-01-02T03:04:05Z",
            "executable": "flopwatt",
            "flopwatt_version": "0.1.0",
            "host_name": "node01",
            "num_cpus": 16
          }
        }
        "#);
    }

    #[test]
    fn cases_of_several_reports_have_names_of_their_own() {
        let output = rendered(&[fixture::report(), fixture::slower("Testcard 1")]);
        let rows = output["benchmarks"].as_array().unwrap();
        let keys: std::collections::HashSet<_> = rows
            .iter()
            .map(|row| (row["name"].as_str(), row["repetition_index"].as_u64()))
            .collect();
        assert_eq!(keys.len(), 110);
    }
}
