//! Bencher Metric Format, which Bencher takes with `--adapter json`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::figures;
use super::names;
use super::{Document, Renderer, Run};

/// `{case: {measure: {"value", "lower_value", "upper_value"}}}`. Bounds are left
/// out where there are none, and cases that were not measured as well.
#[derive(Clone, Copy, Debug)]
pub struct Bencher;

#[derive(Serialize)]
struct Metric {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

impl Renderer for Bencher {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let mut cases: BTreeMap<String, BTreeMap<&str, Metric>> = BTreeMap::new();
        for (run, names) in runs.iter().zip(names::cases(runs)) {
            for (measurement, name) in run.report.measurements.iter().zip(names) {
                let figures = figures(measurement).into_iter();
                let metrics: BTreeMap<_, _> = figures
                    .map(|figure| {
                        let metric = Metric {
                            value: figure.value,
                            lower_value: figure.interval.map(|ends| ends[0]),
                            upper_value: figure.interval.map(|ends| ends[1]),
                        };
                        (figure.metric, metric)
                    })
                    .collect();
                if !metrics.is_empty() {
                    cases.insert(name, metrics);
                }
            }
        }
        let json = serde_json::to_string_pretty(&cases);
        let json = json.expect("metrics have strings as keys") + "\n";
        Document::only("bencher.json", json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    #[test]
    fn every_figure_is_a_measure_with_its_bounds() {
        let mut report = fixture::report();
        report.measurements.drain(5..);
        report.measurements.drain(..3);
        let time = report.measurements[1].time.as_mut().unwrap();
        time.interval_s = None;
        report.measurements[1].gflops.as_mut().unwrap().interval = None;
        insta::assert_snapshot!(fixture::rendered(&Bencher, &report), @r#"
        {
          "attention/f32/flash/b1h32kv8s4096d128-causal": {
            "gbytes_per_s": {
              "value": 27.962026666666667
            },
            "gflops": {
              "value": 22906.49224533333
            },
            "median_s": {
              "value": 0.006
            },
            "percent_of_ceiling": {
              "value": 38.05065157032114
            },
            "percent_of_datasheet": {
              "value": 32.723560350476184
            }
          },
          "matmul/f32/register/4096x4096x4096": {
            "gbytes_per_s": {
              "value": 50.331648,
              "lower_value": 49.93219047619048,
              "upper_value": 50.73754838709677
            },
            "gflops": {
              "value": 34359.738368,
              "lower_value": 34087.04203174603,
              "upper_value": 34636.833032258066
            },
            "median_s": {
              "value": 0.004,
              "lower_value": 0.003968,
              "upper_value": 0.004032
            },
            "percent_of_ceiling": {
              "value": 57.075977355481726
            },
            "percent_of_datasheet": {
              "value": 49.08534052571428
            }
          }
        }
        "#);
    }

    #[test]
    fn cases_of_several_reports_stay_apart() {
        let reports = [fixture::report(), fixture::slower("Testcard 1")];
        let text = fixture::rendered_together(&Bencher, &reports);
        let cases: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        // Five of the fixture's cases were measured.
        assert_eq!(cases.len(), 10);
        assert!(cases.contains_key("peak/f32/fma/device@Testcard_1"));
    }
}
