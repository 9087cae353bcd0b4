//! What the page's template is filled with.

use serde::Serialize;

use super::super::achieved::{self, Achieved, by_precision, rate};
use super::super::cells::{self, columns};
use super::super::chart::{Chart, Charts};
use super::super::number::{MISSING, duration, number, rate_unit};
use super::super::side_by_side::{self, SideBySide};
use super::super::untrusted::link;
use super::super::verdict::Verdict;
use super::super::{contrast, limits, names, notes, peaks, provenance, scaling};
use crate::datasheet::{Datasheet, Peak};
use crate::measure::measurement::Measurement;
use crate::power::sensor::Cadence;
use crate::record::Report;
use crate::render::Run;

/// Several reports beside one another.
#[derive(Serialize)]
pub(super) struct Together {
    title: String,
    labels: Vec<String>,
    rows: Vec<TogetherRow>,
}

#[derive(Serialize)]
struct TogetherRow {
    title: String,
    cells: Vec<TogetherCell>,
}

#[derive(Serialize)]
struct TogetherCell {
    text: String,
    note: String,
}

impl Together {
    /// `None` for fewer than two reports.
    pub(super) fn of(runs: &[Run]) -> Option<Self> {
        let all = SideBySide::of(runs)?;
        let cell = |cell: &side_by_side::Cell| TogetherCell {
            text: cell.text.clone(),
            note: cell.note.clone(),
        };
        let row = |row: &side_by_side::Row| TogetherRow {
            title: row.title.clone(),
            cells: row.cells.iter().map(cell).collect(),
        };
        Some(Self {
            rows: all.rows().map(row).collect(),
            title: all.title,
            labels: all.labels,
        })
    }
}

/// One report.
#[derive(Serialize)]
pub(super) struct Section {
    id: String,
    /// The adapter, told apart from the others on the page.
    pub(super) label: String,
    subtitle: String,
    headline: String,
    tiles: Vec<Tile>,
    found: Vec<String>,
    missing: Vec<String>,
    rates: Figure,
    roofline: Option<Figure>,
    points_left_out: usize,
    efficiency: Option<Figure>,
    power: Vec<String>,
    traces: Vec<Figure>,
    traces_left_out: usize,
    no_traces: String,
    cases: Table,
    flags: Vec<[String; 2]>,
    tables: Vec<Table>,
    provenance: Vec<[String; 2]>,
    ceiling: String,
    peaks: Vec<Stated>,
    tuning: Vec<String>,
    notes: Vec<String>,
}

/// A number that stands out.
#[derive(Serialize)]
struct Tile {
    what: &'static str,
    value: String,
    unit: &'static str,
    of: String,
    known: bool,
}

#[derive(Serialize)]
pub(super) struct Figure {
    caption: String,
    wide: String,
    narrow: String,
}

#[derive(Serialize)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) headings: Vec<Heading>,
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Serialize)]
pub(super) struct Heading {
    pub(super) text: String,
    pub(super) numeric: bool,
}

#[derive(Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What goes on below the text.
    pub(super) note: String,
    pub(super) class: String,
    /// What a column of numbers is sorted by.
    pub(super) value: Option<String>,
}

/// A peak of the datasheet and where it is stated.
#[derive(Serialize)]
struct Stated {
    text: String,
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Source {
    title: String,
    url: Option<String>,
}

impl Section {
    /// Those of a page.
    pub(super) fn all(runs: &[Run]) -> Vec<Self> {
        let labels = names::labels(runs).into_iter().enumerate();
        let reports = runs.len();
        let of_one = |((index, label), run)| Self::of(index + 1, label, run, reports);
        labels.zip(runs).map(of_one).collect()
    }

    fn of(number: usize, label: String, run: &Run, reports: usize) -> Self {
        let report = run.report;
        let verdict = Verdict::of(report);
        let charts = Charts::of(run, reports);
        Self {
            id: format!("report-{number}"),
            label,
            subtitle: subtitle(report),
            headline: verdict.headline,
            tiles: tiles(report),
            found: verdict.found,
            missing: verdict.missing,
            rates: figure(&charts.rates, String::new()),
            roofline: charts.roofline.as_ref().map(|c| figure(c, String::new())),
            points_left_out: charts.points_left_out,
            efficiency: charts.efficiency.as_ref().map(|c| figure(c, String::new())),
            power: power(report),
            traces_left_out: charts.traces_left_out,
            traces: charts
                .traces
                .iter()
                .map(|c| figure(c, c.title.clone()))
                .collect(),
            no_traces: no_traces(report),
            cases: cases(report),
            flags: flags(report),
            tables: tables(report),
            provenance: provenance(report),
            ceiling: cells::ceiling_note(report),
            peaks: stated(report),
            tuning: cells::tuning_notes(report),
            notes: notes::conventions(report),
        }
    }
}

fn subtitle(report: &Report) -> String {
    let adapter = &report.adapter;
    let started = report.started.strftime("%Y-%m-%d");
    format!(
        "{}, {} · {} · {} · {started}",
        adapter.backend,
        adapter.device_type,
        adapter.driver_and_version(),
        cells::effort(report)
    )
}

pub(super) fn figure(chart: &Chart, caption: String) -> Figure {
    let [wide, narrow] = chart.inline();
    Figure {
        caption,
        wide,
        narrow,
    }
}

/// How power was measured, and why it is missing where it is.
fn power(report: &Report) -> Vec<String> {
    let source = cells::power_source(report).into_iter();
    let source = source.map(|note| format!("Power is that of {note}."));
    let missing = cells::power_missing(report).into_iter();
    let missing = missing.map(|note| format!("Power was {note}."));
    source.chain(missing).collect()
}

fn no_traces(report: &Report) -> String {
    let why = match report.measurements.iter().any(|m| m.power.is_some()) {
        true => "its files are not beside the report",
        false => "no power was measured",
    };
    why.to_owned()
}

/// The fastest kernel, its shares, its power, and memory.
fn tiles(report: &Report) -> Vec<Tile> {
    let formats = by_precision(report);
    let fastest = achieved::fastest_of(&formats);
    let kernel = fastest.and_then(|format| format.kernel);
    let percent = |value: Option<f64>| value.map(|p| (number(p), "%"));
    let power = kernel.and_then(|m| m.power.as_ref());
    let with_uncertainty = |m, figure| cells::of_power(m, Some(figure));
    let moved = achieved::memory(report);
    vec![
        tile(
            "fastest kernel",
            kernel.and_then(split_rate),
            of_kernel(fastest),
        ),
        tile(
            "of its measured ceiling",
            percent(kernel.and_then(|m| m.percent_of_ceiling)),
            fastest
                .and_then(|f| rate(f.ceiling?))
                .unwrap_or_else(|| "not measured".into()),
        ),
        tile(
            "of the datasheet’s peak",
            percent(kernel.and_then(|m| m.percent_of_datasheet)),
            of_datasheet(report, fastest),
        ),
        tile(
            "power, median",
            kernel.and_then(|m| {
                let watts = m.power.as_ref()?.median_w.0;
                Some((with_uncertainty(m, watts), "W"))
            }),
            match power {
                Some(power) => power.covers.describe().into(),
                None => "not measured".into(),
            },
        ),
        tile(
            "rate per watt",
            kernel.and_then(|m| {
                let gross = m.gflops_per_watt?.gross.0;
                Some((with_uncertainty(m, gross), rate_unit(m.work_unit)))
            }),
            match kernel.and_then(|m| Some((m, m.power.as_ref()?.percent_of_datasheet_efficiency)))
            {
                Some((m, Some(percent))) => format!(
                    "per W; {} % of the datasheet’s",
                    with_uncertainty(m, percent)
                ),
                Some((_, None)) => "per W".into(),
                None => "not measured".into(),
            },
        ),
        tile(
            "memory",
            moved.and_then(|m| Some((number(m.gbytes_per_s?), "GB/s"))),
            match moved.map(|m| m.percent_of_datasheet) {
                None if achieved::cached(report) => "in a cache, not through memory".into(),
                None => "not measured".into(),
                Some(None) => "no datasheet figure".into(),
                Some(Some(percent)) => format!("{} % of the datasheet’s", number(percent)),
            },
        ),
    ]
}

fn tile(what: &'static str, value: Option<(String, &'static str)>, of: String) -> Tile {
    let known = value.is_some();
    let (value, unit) = value.unwrap_or_else(|| (MISSING.into(), ""));
    Tile {
        what,
        value,
        unit,
        of,
        known,
    }
}

fn split_rate(measurement: &Measurement) -> Option<(String, &'static str)> {
    let value = measurement.gflops?.median.0;
    Some((number(value), rate_unit(measurement.work_unit)))
}

fn of_kernel(fastest: Option<&Achieved>) -> String {
    let Some(format) = fastest else {
        return "none was measured".into();
    };
    let operation = format.kernel.map(|m| m.operation.to_string());
    format!("{} in {}", operation.unwrap_or_default(), format.precision)
}

fn of_datasheet(report: &Report, fastest: Option<&Achieved>) -> String {
    let peak = fastest.and_then(|format| format.peak.as_ref());
    match (peak, &report.datasheet) {
        (Some(peak), _) => format!("{}, {}", peaks::value(peak), peak.kind),
        (None, Some(_)) => "none stated for this arithmetic".into(),
        (None, None) => "no datasheet".into(),
    }
}

/// Every case with everything that tables have.
fn cases(report: &Report) -> Table {
    let heading = |text: &str, numeric| Heading {
        text: text.into(),
        numeric,
    };
    let figures = columns(report).map(|c| heading(&c.heading(report).join(" "), c.numeric));
    let first = [heading("case", false), heading("status", false)];
    let headings = first.into_iter().chain(figures);
    let row = |m: &Measurement| {
        let figures = columns(report).map(|column| {
            let whole = (column.text)(m);
            let parts = whole.split_once(' ').filter(|_| column.breaks);
            let (figure, note) = parts.unwrap_or((&whole, ""));
            Cell {
                note: note.into(),
                class: if column.numeric { "number" } else { "" }.into(),
                value: (column.value)(m).map(|value| format!("{value:.6e}")),
                ..text(figure.into())
            }
        });
        // Its flags, or why there is no figure.
        let remark = match &m.reason {
            Some(reason) => reason.message.clone(),
            None => cells::flags(m),
        };
        let status = m.status.to_string();
        let status = Cell {
            note: remark,
            class: format!("status-{status}"),
            ..text(status)
        };
        let first = [text(m.name()), status].into_iter();
        first.chain(figures).collect()
    };
    Table {
        title: "All cases".into(),
        headings: headings.collect(),
        rows: report.measurements.iter().map(row).collect(),
    }
}

fn text(text: String) -> Cell {
    Cell {
        text,
        note: String::new(),
        class: String::new(),
        value: None,
    }
}

fn flags(report: &Report) -> Vec<[String; 2]> {
    let flags = notes::flags(report).into_iter();
    flags
        .map(|flag| [flag.to_string(), flag.meaning().to_owned()])
        .collect()
}

/// What was varied: power limits, input data, sizes.
fn tables(report: &Report) -> Vec<Table> {
    let limits = small(
        limits::TITLE.into(),
        limits::HEADINGS.into_iter().zip(limits::NUMERIC).collect(),
        limits::rows(report).into_iter().map(Vec::from).collect(),
    );
    let contrasts = contrast::contrasts(report);
    let contrasts = contrasts.iter().flat_map(|contrast| {
        let rows = contrast.rows().into_iter();
        rows.map(|row| {
            std::iter::once(contrast.id().to_owned())
                .chain(row)
                .collect()
        })
    });
    let headings = contrast::HEADINGS.into_iter().enumerate();
    let headings = headings.map(|(index, heading)| (heading, index > 0));
    let contrast = small(
        contrast::TITLE.into(),
        std::iter::once(("case", false)).chain(headings).collect(),
        contrasts.collect(),
    );
    let growth = scaling::scalings(report).into_iter().map(|scaling| {
        let headings = scaling::HEADINGS.map(|heading| (heading, true));
        let rows = scaling.rows().into_iter().map(Vec::from).collect();
        small(scaling.title(), headings.into(), rows)
    });
    let all = [limits, contrast].into_iter().chain(growth);
    all.filter(|table| !table.rows.is_empty()).collect()
}

fn small(title: String, headings: Vec<(&str, bool)>, rows: Vec<Vec<String>>) -> Table {
    let numeric: Vec<bool> = headings.iter().map(|(_, numeric)| *numeric).collect();
    let cells = |row: Vec<String>| {
        let cells = row.into_iter().zip(&numeric);
        let cell = |(content, numeric): (String, &bool)| Cell {
            class: if *numeric { "number" } else { "" }.into(),
            ..text(content)
        };
        cells.map(cell).collect()
    };
    Table {
        title,
        rows: rows.into_iter().map(cells).collect(),
        headings: headings
            .into_iter()
            .map(|(text, numeric)| Heading {
                text: text.into(),
                numeric,
            })
            .collect(),
    }
}

fn provenance(report: &Report) -> Vec<[String; 2]> {
    let rows = provenance::rows(report).into_iter();
    let rows = rows.map(|(name, value)| [name.to_owned(), value]);
    let verification = "each error stands beside its bound, which is derived from the number of roundings and not tuned";
    let own = [
        ("sensor", sensor(report)),
        ("tolerances", Some(verification.into())),
        ("shaders", Some(format!("SHA-256 {}", report.shaders.hash))),
    ];
    let own = own
        .into_iter()
        .filter_map(|(name, value)| Some([name.to_owned(), value?]));
    rows.chain(own).collect()
}

/// What the power sensor is and does with time, or why there is none.
fn sensor(report: &Report) -> Option<String> {
    let setup = report.power.as_ref()?;
    let Some(source) = &setup.source else {
        return setup.reason.clone().map(|why| format!("none: {why}"));
    };
    let every = |cadence: &Option<Cadence>, what: &str| {
        let period = duration(cadence.as_ref()?.period_s);
        Some(format!("{what} every {period}"))
    };
    let sensor = setup.sensor.as_ref();
    let parts = [
        Some(format!("{} ({})", source.name, source.device)),
        sensor.and_then(|s| every(&s.power, "power updates")),
        sensor.and_then(|s| every(&s.energy, "the energy counter moves")),
        sensor.and_then(|s| {
            let window = s.averaging.window_s.filter(|window| window.0 > 0.0)?;
            Some(format!("readings average over {}", duration(window)))
        }),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The datasheet's peaks that percentages refer to.
fn stated(report: &Report) -> Vec<Stated> {
    let sheet = report.datasheet.iter();
    let peaks = sheet.flat_map(|sheet| {
        let peaks = peaks::datasheet_peaks(report).into_iter();
        peaks.map(|peak| of_peak(sheet, &peak))
    });
    peaks.collect()
}

fn of_peak(sheet: &Datasheet, peak: &Peak) -> Stated {
    let source = |id: &String| match peaks::source(sheet, id) {
        None => Source {
            title: id.clone(),
            url: None,
        },
        Some(source) => Source {
            title: source.title.clone(),
            url: source.url.as_deref().and_then(link).map(str::to_owned),
        },
    };
    Stated {
        text: format!(
            "{}, {}: {} ({})",
            sheet.name,
            peak.kind,
            peaks::value(peak),
            peak.figure.tier
        ),
        sources: peak.figure.sources.iter().map(source).collect(),
    }
}
