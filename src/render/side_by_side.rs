//! Several reports side by side: a column a report, a row a case.

use std::collections::HashMap;

use super::Run;
use super::cells;
use super::figures::{Figure, headline};
use super::names;
use super::number::{MISSING, fixed, time_unit};
use crate::kernel::id::Operation;
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::units::Seconds;

/// What several reports found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SideBySide {
    /// What stands above it.
    pub title: String,
    /// What stands above the columns; no two are the same.
    pub labels: Vec<String>,
    /// The most that each adapter reached, with what.
    pub summary: Vec<Row>,
    /// Every case, in the order of the first report, then those that only later
    /// ones have.
    pub cases: Vec<Row>,
}

/// A row, with a cell for each label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What the row holds, with the unit of its figures behind a comma.
    pub title: String,
    /// What each report has of it.
    pub cells: Vec<Cell>,
}

/// What a report has of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// The figure, or how the case ended, or a dash where the report lacks it.
    pub text: String,
    /// The figure's interval, or the case that it is from; empty where
    /// neither is known.
    pub note: String,
}

impl SideBySide {
    /// The reports in their order; `None` for fewer than two.
    pub(super) fn of(runs: &[Run]) -> Option<Self> {
        (runs.len() > 1).then(|| Self {
            title: match cells::interval_in_words(runs.iter().map(|run| run.report)) {
                Some(words) => format!("Side by side, in brackets the interval: {words}"),
                None => "Side by side".to_owned(),
            },
            labels: names::labels(runs),
            summary: summary(runs),
            cases: cases(runs),
        })
    }

    /// All rows, the summary first.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> + Clone {
        self.summary.iter().chain(&self.cases)
    }
}

impl Cell {
    /// The text and its note on one line.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.text, self.note).trim_end().to_owned()
    }

    fn missing() -> Self {
        Self {
            text: MISSING.to_owned(),
            note: String::new(),
        }
    }
}

/// A figure of which a report shows its highest, and whether it follows from the power.
type Highest = (&'static str, bool, fn(&Measurement) -> Option<f64>);

/// Only floating-point operations are FLOPs.
const HIGHEST: [Highest; 4] = [
    ("highest measured peak, GFLOP/s", false, |m| {
        (m.operation == Operation::Peak).then(|| gflops(m))?
    }),
    ("fastest kernel, GFLOP/s", false, |m| {
        (!m.operation.is_ceiling()).then(|| gflops(m))?
    }),
    ("highest % of datasheet", false, |m| m.percent_of_datasheet),
    ("most efficient, GFLOP/s per W", true, |m| {
        let floating = m.work_unit == WorkUnit::Flop;
        m.gflops_per_watt.filter(|_| floating).map(|e| e.gross.0)
    }),
];

fn gflops(measurement: &Measurement) -> Option<f64> {
    let floating = measurement.work_unit == WorkUnit::Flop;
    measurement.gflops.filter(|_| floating).map(|r| r.median.0)
}

fn summary(runs: &[Run]) -> Vec<Row> {
    let row = |(title, follows_from_power, figure): Highest| {
        let cells = runs.iter().map(|run| {
            let known = run.report.measurements.iter();
            let known = known.filter_map(|m| Some((figure(m)?, m)));
            let highest = known.max_by(|(a, _), (b, _)| a.total_cmp(b));
            highest.map_or_else(Cell::missing, |(value, m)| Cell {
                text: match follows_from_power {
                    true => cells::of_power(m, Some(value)),
                    false => fixed(value, 4, value),
                },
                note: format!("{}/{}", m.operation, m.precision),
            })
        });
        Row {
            title: title.to_owned(),
            cells: cells.collect(),
        }
    };
    HIGHEST.map(row).into()
}

fn cases(runs: &[Run]) -> Vec<Row> {
    let mut order = Vec::new();
    // What each report has of a case.
    let mut found: HashMap<String, Vec<Option<&Measurement>>> = HashMap::new();
    for (index, run) in runs.iter().enumerate() {
        for measurement in &run.report.measurements {
            let entry = found.entry(measurement.name());
            let of_all = entry.or_insert_with_key(|name| {
                order.push(name.clone());
                vec![None; runs.len()]
            });
            of_all[index].get_or_insert(measurement);
        }
    }
    let rows = order.into_iter();
    rows.map(|name| case(&found[&name], name)).collect()
}

/// What all reports have of the case called `name`, in one unit.
fn case(found: &[Option<&Measurement>], name: String) -> Row {
    let figures = found.iter().flatten().filter_map(|m| headline(m));
    let scale = Scale::of(figures);
    let cell = |m: &Measurement| match headline(m) {
        Some(figure) => scale.cell(&figure),
        None => Cell {
            text: m.status.to_string(),
            note: String::new(),
        },
    };
    let cells = found.iter().map(|m| m.map_or_else(Cell::missing, cell));
    Row {
        cells: cells.collect(),
        title: match scale.unit {
            "" => name,
            unit => format!("{name}, {unit}"),
        },
    }
}

/// The unit of a row, and what it is in that of the record.
struct Scale {
    unit: &'static str,
    factor: f64,
}

impl Scale {
    /// The record's unit, but for times, which take what suits the shortest.
    fn of(figures: impl Iterator<Item = Figure> + Clone) -> Self {
        let unit = figures.clone().next().map_or("", |figure| figure.unit);
        if unit != "s" {
            return Self { unit, factor: 1.0 };
        }
        let shortest = figures.map(|figure| figure.value).fold(f64::MAX, f64::min);
        let (factor, unit) = time_unit(Seconds(shortest));
        Self { unit, factor }
    }

    fn cell(&self, figure: &Figure) -> Cell {
        let value = figure.value / self.factor;
        let digits = |x: f64| fixed(x, 4, value);
        let interval = figure.interval.map(|ends| {
            let [low, high] = ends.map(|end| digits(end / self.factor));
            format!("[{low}, {high}]")
        });
        Cell {
            text: digits(value),
            note: interval.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Report;
    use crate::render::fixture;

    fn of(reports: &[Report]) -> Option<SideBySide> {
        SideBySide::of(&fixture::runs(reports))
    }

    fn lines(row: &Row) -> Vec<String> {
        row.cells.iter().map(Cell::line).collect()
    }

    /// The second card takes twice as long for everything.
    fn two() -> [Report; 2] {
        [fixture::report(), fixture::slower("Testcard 1")]
    }

    #[test]
    fn one_report_stands_beside_nothing() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[fixture::report()]), None);
    }

    /// By hand, from the fixture: 60 200 GFLOP/s of 70 TFLOP/s are 86 %, and half
    /// of that 43 %; the fastest kernel does 2·4096³ in 4 ms and in 8 ms.
    #[test]
    fn the_summary_names_what_each_adapter_reached_and_with_what() {
        let rows = of(&two()).unwrap().summary;
        let rows: Vec<_> = rows.iter().map(|r| (&r.title[..], lines(r))).collect();
        let expected = [
            (
                "highest measured peak, GFLOP/s",
                ["60200 peak/f32", "30100 peak/f32"],
            ),
            (
                "fastest kernel, GFLOP/s",
                ["34360 matmul/f32", "17180 matmul/f32"],
            ),
            (
                "highest % of datasheet",
                ["89.48 bandwidth/f32", "44.74 bandwidth/f32"],
            ),
            ("most efficient, GFLOP/s per W", ["–", "–"]),
        ];
        assert_eq!(rows, expected.map(|(t, c)| (t, c.map(String::from).into())));
    }

    #[test]
    fn a_case_has_one_unit_and_what_is_missing_says_how_it_ended() {
        let [first, mut second] = two();
        let skipped = second.measurements.remove(5);
        second.measurements.remove(3);
        second.measurements.push(skipped);
        let reports = [first, second];
        let side_by_side = of(&reports).unwrap();
        assert_eq!(side_by_side.labels.len(), 2);
        let rows = side_by_side.cases;
        let rows: Vec<_> = rows.iter().map(|r| (&r.title[..], lines(r))).collect();
        let expected = [
            (
                "peak/f32/fma/device, GFLOP/s",
                ["60200 [59722, 60685]", "30100 [29861, 30343]"],
            ),
            (
                "bandwidth/f32/copy/256MiB, GB/s",
                ["2684 [2663, 2706]", "1342 [1332, 1353]"],
            ),
            (
                "latency/none/dispatch/empty, µs",
                ["2.345 [2.326, 2.364]", "4.690 [4.652, 4.728]"],
            ),
            (
                "matmul/f32/register/4096x4096x4096, GFLOP/s",
                ["34360 [34087, 34637]", "–"],
            ),
            (
                "attention/f32/flash/b1h32kv8s4096d128-causal, GFLOP/s",
                ["22906 [22725, 23091]", "11453 [11362, 11546]"],
            ),
            (
                "attention/f32/materialised/b1h32kv8s8192d128",
                ["skipped", "skipped"],
            ),
            ("matmul/f32/naive/4096x4096x4096", ["rejected", "rejected"]),
        ];
        assert_eq!(rows, expected.map(|(t, c)| (t, c.map(String::from).into())));
    }

    #[test]
    fn cases_that_only_later_reports_have_come_last() {
        let [mut first, second] = two();
        first.measurements.truncate(1);
        let rows = of(&[first, second]).unwrap().cases;
        assert_eq!(rows.len(), 7);
        assert_eq!(rows[6].cells[0], Cell::missing());
        assert_eq!(rows[6].cells[1].text, "rejected");
    }
}
