//! Metrics for node_exporter's textfile collector and other readers of Prometheus's
//! formats.
//!
//! The text is valid OpenMetrics 1.0 and Prometheus text format 0.0.4 at once, which
//! is what the collector reads. The latter knows no type `info`, so that information
//! is a gauge of 1; a counter's samples end in `_total`, which its family's name does
//! not, so that there they are samples without a type; units and the end are comments
//! there.

use std::fmt::Write as _;

use super::cells;
use super::names;
use super::untrusted::plain;
use super::{Document, Renderer, Run};
use crate::fleet;
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::record::Report;

/// A sample for every figure, in base units.
#[derive(Clone, Copy, Debug)]
pub struct OpenMetrics;

/// Labels of a sample: names and values.
type Labels = Vec<(&'static str, String)>;

/// Samples of one name.
struct Family<T> {
    name: &'static str,
    kind: Kind,
    /// A base unit, in which the name ends.
    unit: Option<&'static str>,
    help: &'static str,
    /// The values, each with labels of its own.
    values: fn(&T) -> Vec<(Labels, f64)>,
}

/// What kind of number it is.
#[derive(Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

/// Of a run.
const OF_RUNS: [Family<Report>; 4] = [
    Family {
        name: "flopwatt_run_info",
        kind: Kind::Gauge,
        unit: None,
        help: "What was measured, where and by what; always 1.",
        values: |report| vec![(information(report), 1.0)],
    },
    Family {
        name: "flopwatt_run_start_timestamp_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        help: "When the run began, since 1970.",
        values: |report| plainly(Some(report.started.as_millisecond() as f64 / 1e3)),
    },
    Family {
        name: "flopwatt_run_end_timestamp_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        help: "When the run ended, since 1970.",
        values: |report| plainly(Some(report.ended.as_millisecond() as f64 / 1e3)),
    },
    Family {
        name: "flopwatt_run_complete",
        kind: Kind::Gauge,
        unit: None,
        help: "Whether every planned case is there: 1 or 0.",
        values: |report| plainly(Some(f64::from(u8::from(report.complete)))),
    },
];

/// Of a case.
const OF_CASES: [Family<Measurement>; 13] = [
    Family {
        name: "flopwatt_case_status",
        kind: Kind::Gauge,
        unit: None,
        help: "How the case ended; always 1.",
        values: |m| vec![(vec![("status", m.status.to_string())], 1.0)],
    },
    Family {
        name: "flopwatt_case_flag",
        kind: Kind::Gauge,
        unit: None,
        help: "What to know before quoting the figures; always 1.",
        values: |m| {
            let flags = m.flags.iter();
            let labels = flags.map(|flag| vec![("flag", flag.to_string())]);
            labels.map(|labels| (labels, 1.0)).collect()
        },
    },
    Family {
        name: "flopwatt_case_dispatch_seconds",
        kind: Kind::Gauge,
        unit: Some("seconds"),
        help: "Median time of one dispatch.",
        values: |m| plainly(m.time.as_ref().map(|time| time.median_s.0)),
    },
    Family {
        name: "flopwatt_case_operations_per_second",
        kind: Kind::Gauge,
        unit: None,
        help: "Operations over the median time, floating-point (FLOP) or integer (OP).",
        values: |m| of_work(m, m.gflops.map(|rate| 1e9 * rate.median.0)),
    },
    Family {
        name: "flopwatt_case_bytes_per_second",
        kind: Kind::Gauge,
        unit: None,
        help: "Compulsory memory traffic over the median time.",
        values: |m| plainly(m.gbytes_per_s.map(|rate| 1e9 * rate)),
    },
    Family {
        name: "flopwatt_case_ceiling_ratio",
        kind: Kind::Gauge,
        unit: Some("ratio"),
        help: "Rate over the ceiling measured in the same run.",
        values: |m| plainly(m.percent_of_ceiling.map(|percent| percent / 100.0)),
    },
    Family {
        name: "flopwatt_case_datasheet_ratio",
        kind: Kind::Gauge,
        unit: Some("ratio"),
        help: "Rate over the datasheet's peak for the same arithmetic.",
        values: |m| plainly(m.percent_of_datasheet.map(|percent| percent / 100.0)),
    },
    Family {
        name: "flopwatt_case_power_watts",
        kind: Kind::Gauge,
        unit: Some("watts"),
        help: "Median power during the timed dispatches.",
        values: |m| of_power(m, |m| Some(m.power.as_ref()?.median_w.0)),
    },
    Family {
        name: "flopwatt_case_idle_power_watts",
        kind: Kind::Gauge,
        unit: Some("watts"),
        help: "Power of the open, idle device around the timed dispatches.",
        values: |m| of_power(m, |m| Some(m.power.as_ref()?.energy.idle_w?.0)),
    },
    Family {
        name: "flopwatt_case_dispatch_joules",
        kind: Kind::Gauge,
        unit: Some("joules"),
        help: "Energy of one dispatch, that of an idle device included.",
        values: |m| of_power(m, |m| Some(m.power.as_ref()?.j_per_dispatch.0)),
    },
    Family {
        name: "flopwatt_case_energy_joules",
        kind: Kind::Counter,
        unit: Some("joules"),
        help: "Energy of all timed dispatches of the run.",
        values: |m| of_power(m, |m| Some(m.power.as_ref()?.energy.energy_j.0)),
    },
    Family {
        name: "flopwatt_case_operations_per_joule",
        kind: Kind::Gauge,
        unit: None,
        help: "Operations for each joule, which is the rate per watt.",
        values: |m| of_work(m, m.gflops_per_watt.map(|per_watt| 1e9 * per_watt.gross.0)),
    },
    Family {
        name: "flopwatt_case_datasheet_efficiency_ratio",
        kind: Kind::Gauge,
        unit: Some("ratio"),
        help: "Rate per watt over the datasheet's peak per watt of its rated power.",
        values: |m| {
            let percent = m
                .power
                .as_ref()
                .and_then(|p| p.percent_of_datasheet_efficiency);
            plainly(percent.map(|percent| percent / 100.0))
        },
    },
];

/// A value without labels of its own, where there is one.
fn plainly(value: Option<f64>) -> Vec<(Labels, f64)> {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

/// Floating-point and integer operations must not be added up.
fn of_work(m: &Measurement, value: Option<f64>) -> Vec<(Labels, f64)> {
    let unit = match m.work_unit {
        WorkUnit::Flop => "FLOP",
        WorkUnit::Op => "OP",
    };
    let labels = vec![("unit", unit.to_owned())];
    value.map(|value| (labels, value)).into_iter().collect()
}

/// Nor must powers of different things.
fn of_power(m: &Measurement, value: fn(&Measurement) -> Option<f64>) -> Vec<(Labels, f64)> {
    let covers = m.power.as_ref().map(|power| power.covers);
    let labels = vec![("covers", cells::name(covers))];
    value(m).map(|value| (labels, value)).into_iter().collect()
}

/// What is known of a run; without a value what is not.
fn information(report: &Report) -> Labels {
    let adapter = &report.adapter;
    let slurm = report.slurm.as_ref();
    let container = report.host.container.as_ref();
    let commit = report.git.as_ref().map(|git| git.commit.clone());
    let known = [
        ("run_id", Some(report.run_id.to_string())),
        ("host", Some(report.host.name.clone())),
        ("accelerator", Some(fleet::accelerator(report))),
        ("backend", Some(adapter.backend.to_string())),
        ("device_type", Some(adapter.device_type.to_string())),
        ("driver", Some(adapter.driver_and_version())),
        ("pci_address", adapter.pci_address.clone()),
        ("uuid", adapter.uuid.clone()),
        (
            "datasheet",
            report.datasheet.as_ref().map(|sheet| sheet.id.clone()),
        ),
        ("tier", Some(cells::name(report.tier))),
        ("flopwatt_version", Some(report.flopwatt_version.clone())),
        ("flopwatt_commit", commit),
        ("container_engine", container.map(|c| c.engine.clone())),
        ("container_image", container.and_then(|c| c.image.clone())),
        ("slurm_job_id", slurm.map(|task| task.job_id.to_string())),
        ("synthetic", report.synthetic.then(|| "true".to_owned())),
    ];
    let known = known.into_iter();
    known
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

impl Renderer for OpenMetrics {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let mut text = String::new();
        let labels = names::labels(runs);
        let runs: Vec<(&Report, Labels)> = runs
            .iter()
            .zip(labels)
            .map(|(run, label)| (run.report, of_run(run.report, label)))
            .collect();
        for family in &OF_RUNS {
            let of = runs
                .iter()
                .map(|(report, labels)| (*report, labels.clone()));
            family.write(&mut text, of);
        }
        for family in &OF_CASES {
            let of = runs.iter().flat_map(|(report, labels)| {
                cases(report).map(move |(name, measurement)| {
                    let case = [("case", name)].into_iter();
                    (measurement, case.chain(labels.clone()).collect())
                })
            });
            family.write(&mut text, of);
        }
        text.push_str("# EOF\n");
        Document::only("report.prom", text)
    }
}

/// What tells the samples of a report from those of others, in this text and in those
/// of other cards.
fn of_run(report: &Report, label: String) -> Labels {
    let card = fleet::card(report);
    let known = [("adapter", Some(label)), ("card", card)].into_iter();
    known
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// The cases of a report, each under a name of its own.
fn cases(report: &Report) -> impl Iterator<Item = (String, &Measurement)> {
    let run = Run {
        report,
        traces: Default::default(),
    };
    let names = names::cases(std::slice::from_ref(&run)).concat();
    names.into_iter().zip(&report.measurements)
}

impl<T> Family<T> {
    /// All samples of the name, which must not be scattered, below what is to be known
    /// of it. Nothing where there is none.
    fn write<'t>(&self, text: &mut String, of: impl Iterator<Item = (&'t T, Labels)>)
    where
        T: 't,
    {
        let (kind, suffix) = match self.kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        let name = self.name;
        let samples = of.flat_map(|(of, shared)| {
            let values = (self.values)(of).into_iter();
            let values = values.filter(|(_, value)| value.is_finite());
            values.map(move |(own, value)| {
                let labels = shared.iter().chain(&own);
                let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
                let labels: Vec<String> = labels.collect();
                format!("{name}{suffix}{{{}}} {value}\n", labels.join(","))
            })
        });
        let samples: String = samples.collect();
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some(unit) = self.unit {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", self.help);
        text.push_str(&samples);
    }
}

/// As a label's value, on one line.
fn escaped(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::render::fixture;

    #[test]
    fn a_case_has_a_sample_for_every_figure() {
        let text = fixture::rendered(&OpenMetrics, &fixture::powered());
        let case = "case=\"matmul/f32/register/4096x4096x4096\"";
        let lines = text.lines().filter(|line| line.contains(case));
        let adapter = ",adapter=\"<script>|x `Testcard 0` \u{fffd}[31m[a](https://b)\",card=\"node01 0000:01:00.0\"";
        let lines = lines.map(|line| line.replace(case, "C").replace(adapter, ""));
        // 137 438 953 472 FLOP in 4 ms; 201 326 592 B; 0.4 J a dispatch.
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
        flopwatt_case_status{C,status="ok"} 1
        flopwatt_case_flag{C,flag="not-converged"} 1
        flopwatt_case_dispatch_seconds{C} 0.004
        flopwatt_case_operations_per_second{C,unit="FLOP"} 34359738368000
        flopwatt_case_bytes_per_second{C} 50331648000
        flopwatt_case_ceiling_ratio{C} 0.5707597735548172
        flopwatt_case_datasheet_ratio{C} 0.49085340525714277
        flopwatt_case_power_watts{C,covers="gpu-board"} 100
        flopwatt_case_dispatch_joules{C,covers="gpu-board"} 0.4
        flopwatt_case_energy_joules_total{C,covers="gpu-board"} 400
        flopwatt_case_operations_per_joule{C,unit="FLOP"} 343597383680
        "#);
    }

    #[test]
    fn families_are_whole_and_described_and_no_two_samples_are_alike() {
        let reports = [fixture::powered(), fixture::report(), fixture::powered()];
        let text = fixture::rendered_together(&OpenMetrics, &reports);
        let body = text.strip_suffix("# EOF\n").unwrap();
        let mut families = HashSet::new();
        let mut samples = HashSet::new();
        let mut current = "";
        for line in body.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                let (name, kind) = family.split_once(' ').unwrap();
                assert!(["gauge", "counter"].contains(&kind), "{line}");
                assert!(families.insert(name), "{name} is scattered");
                current = name;
            } else if let Some(of) = line.strip_prefix("# UNIT ") {
                let (name, unit) = of.split_once(' ').unwrap();
                assert!(
                    name == current && name.ends_with(&format!("_{unit}")),
                    "{line}"
                );
            } else if let Some(of) = line.strip_prefix("# HELP ") {
                assert!(of.starts_with(&format!("{current} ")), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let name = sample.split('{').next().unwrap();
                assert_eq!(name.strip_suffix("_total").unwrap_or(name), current);
                assert!(samples.insert(sample), "{sample} is there twice");
            }
        }
        assert!(families.contains("flopwatt_run_info"));
    }

    #[test]
    fn labels_cannot_end_before_their_time() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c d");
        let mut report = fixture::report();
        report.host.name = "\"} 5\n# EOF".into();
        let text = fixture::rendered(&OpenMetrics, &report);
        assert_eq!(text.matches("\n# EOF").count(), 1, "{text}");
        assert!(text.contains("host=\"\\\"} 5 # EOF\""), "{text}");
    }

    #[test]
    fn what_is_no_number_is_no_sample() {
        let mut report = fixture::report();
        report.measurements[0].percent_of_datasheet = Some(f64::INFINITY);
        let text = fixture::rendered(&OpenMetrics, &report);
        let case = "flopwatt_case_datasheet_ratio{case=\"peak/f32/fma/device\"";
        assert!(!text.contains(case) && !text.contains(" inf"), "{text}");
    }
}
