//! The custom format of github-action-benchmark, which draws figures over time.
//!
//! It takes the direction of a figure from the file, so there are two. A case
//! goes by its name for its rate and its time; what else is known of it has the
//! metric behind the name. What was not measured is left out.

use serde::Serialize;

use super::figures::{Figure, figures};
use super::names;
use super::number::number;
use super::untrusted::plain;
use super::{Document, Renderer, Run};
use crate::measure::measurement::{Measurement, Time};
use crate::record::Report;

/// `[{"name", "unit", "value", "range", "extra"}]`, a file for what had better be
/// large and one for what had better be small.
#[derive(Clone, Copy, Debug)]
pub struct GithubBenchmark;

/// Rates, and those per watt.
const BIGGER: Kind = Kind {
    file: "github-bigger-is-better.json",
    metrics: &["gflops", "gbytes_per_s", "gflops_per_watt"],
};
/// Time and energy of one dispatch.
const SMALLER: Kind = Kind {
    file: "github-smaller-is-better.json",
    metrics: &["median_s", "j_per_dispatch"],
};

/// Figures of one direction, those that a case may go by first.
struct Kind {
    file: &'static str,
    metrics: &'static [&'static str],
}

#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

impl Renderer for GithubBenchmark {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let names = names::cases(runs);
        let document = |kind: Kind| {
            let entries = entries(&kind, runs, &names);
            let json = serde_json::to_string_pretty(&entries);
            Document {
                file: kind.file.to_owned(),
                text: json.expect("entries have strings as keys") + "\n",
            }
        };
        vec![document(BIGGER), document(SMALLER)]
    }
}

fn entries(kind: &Kind, runs: &[Run], names: &[Vec<String>]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (run, names) in runs.iter().zip(names) {
        for (measurement, name) in run.report.measurements.iter().zip(names) {
            let known = figures(measurement).into_iter();
            let known = known.filter(|f| kind.metrics.contains(&f.metric));
            // A product moves data too, but its rate of computing says as much.
            let computes = measurement.gflops.is_some();
            let known = known.filter(|f| !(computes && f.metric == "gbytes_per_s"));
            entries.extend(known.map(|figure| entry(&figure, name, measurement, run.report)));
        }
    }
    entries
}

fn entry(figure: &Figure, case: &str, measurement: &Measurement, report: &Report) -> Entry {
    // Milliseconds are what its charts can show.
    let (factor, unit) = match figure.unit {
        "s" => (1e3, "ms"),
        unit => (1.0, unit),
    };
    let range = figure.interval.map(|[low, high]| {
        let half = f64::max(figure.value - low, high - figure.value);
        format!("± {}", number(factor * half))
    });
    let words = measurement.time.as_ref().and_then(Time::interval_in_words);
    let words = words.filter(|_| range.is_some());
    Entry {
        name: match figure.metric {
            "gflops" | "gbytes_per_s" | "median_s" => quiet(case),
            metric => format!("{} {metric}", quiet(case)),
        },
        unit,
        value: factor * figure.value,
        range,
        extra: format!(
            "adapter: {}\ndriver: {}{}",
            plain(&report.adapter.name),
            plain(&report.adapter.driver_and_version()),
            words.map_or_else(String::new, |words| format!("\nrange: {words}")),
        ),
    }
}

/// A name as it can stand between backticks in a table of Markdown, which is
/// where the action's comments have it.
fn quiet(name: &str) -> String {
    name.replace(['`', '|'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn rendered(reports: &[Report]) -> [String; 2] {
        let documents = GithubBenchmark.render(&fixture::runs(reports));
        let files: Vec<_> = documents.iter().map(|d| d.file.as_str()).collect();
        assert_eq!(files, [BIGGER.file, SMALLER.file]);
        let texts = documents.into_iter().map(|document| document.text);
        Vec::from_iter(texts).try_into().unwrap()
    }

    #[test]
    fn rates_are_in_one_file_and_times_in_the_other() {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        report.measurements.drain(4..);
        report.measurements.remove(0);
        let [bigger, smaller] = rendered(&[report]);
        insta::assert_snapshot!(bigger, @r#"
        [
          {
            "name": "bandwidth/f32/copy/256MiB",
            "unit": "GB/s",
            "value": 2684.35456,
            "range": "± 21.6",
            "extra": "adapter: Testcard 0\ndriver: NVIDIA, 550.54.15\nrange: spread within this run"
          },
          {
            "name": "matmul/f32/register/4096x4096x4096",
            "unit": "GFLOP/s",
            "value": 34359.738368,
            "range": "± 277",
            "extra": "adapter: Testcard 0\ndriver: NVIDIA, 550.54.15\nrange: spread within this run"
          }
        ]
        "#);
        insta::assert_snapshot!(smaller, @r#"
        [
          {
            "name": "bandwidth/f32/copy/256MiB",
            "unit": "ms",
            "value": 0.1,
            "range": "± 0.000800",
            "extra": "adapter: Testcard 0\ndriver: NVIDIA, 550.54.15\nrange: spread within this run"
          },
          {
            "name": "latency/none/dispatch/empty",
            "unit": "ms",
            "value": 0.002345,
            "range": "± 0.0000188",
            "extra": "adapter: Testcard 0\ndriver: NVIDIA, 550.54.15\nrange: spread within this run"
          },
          {
            "name": "matmul/f32/register/4096x4096x4096",
            "unit": "ms",
            "value": 4.0,
            "range": "± 0.0320",
            "extra": "adapter: Testcard 0\ndriver: NVIDIA, 550.54.15\nrange: spread within this run"
          }
        ]
        "#);
    }

    /// 100 W and 0.4 J a dispatch, whose 2·4096³ operations take 4 ms: the rate
    /// per watt is 343.6 GFLOP/s/W.
    #[test]
    fn power_has_entries_of_its_own_where_it_was_measured() {
        let report = fixture::powered();
        let [bigger, smaller] = rendered(&[report]);
        let named = |text: &str, name: &str| -> serde_json::Value {
            let entries: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
            entries.into_iter().find(|e| e["name"] == name).unwrap()
        };
        let case = "matmul/f32/register/4096x4096x4096";
        let efficiency = named(&bigger, &format!("{case} gflops_per_watt"));
        assert_eq!(efficiency["unit"], "GFLOP/s/W");
        assert_eq!(efficiency["value"], 343.59738368);
        let energy = named(&smaller, &format!("{case} j_per_dispatch"));
        assert_eq!(
            (&energy["unit"], &energy["value"]),
            (&"J".into(), &0.4.into())
        );
    }
}
