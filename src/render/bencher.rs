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
        time.ci95_s = None;
        report.measurements[1].gflops.as_mut().unwrap().ci95 = None;
        insta::assert_snapshot!(fixture::rendered(&Bencher, &report), @"");
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
