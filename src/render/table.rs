//! A table for a terminal, without colours.

use std::ops::Range;

use comfy_table::{Cell, CellAlignment, ContentArrangement, presets};

use super::cells::{self, columns};
use super::contrast::{self, Contrast};
use super::limits;
use super::scaling::{self, Scaling};
use super::side_by_side::{Cell as Found, SideBySide};
use super::untrusted::plain;
use super::verdict;
use super::{Document, Renderer, Run};
use crate::gpu::adapter::DeviceType;
use crate::measure::measurement::Measurement;
use crate::record::Report;

/// Width where there is no terminal.
const USUAL_WIDTH: u16 = 120;
/// No narrower, however narrow the terminal is.
const LEAST_WIDTH: u16 = 80;

/// What a run found, one case after the other.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Columns of the terminal; `None` asks it, and takes 120 where there is
    /// none.
    pub width: Option<u16>,
}

impl Renderer for Table {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let width = width(self.width);
        let together = SideBySide::of(runs).map(|all| side_by_side(&all, width));
        let each = runs.iter().map(|run| Self::one(run.report, width));
        let texts: Vec<_> = together.into_iter().chain(each).collect();
        Document::only("report.txt", texts.join("\n"))
    }
}

impl Table {
    /// One report.
    fn one(report: &Report, width: usize) -> String {
        let heading = wrapped(&heading(report), width);
        let notes = wrapped(&notes(report), width);
        let limits = by_limit(report, width);
        let scalings = scaling::scalings(report).into_iter();
        let growth = scalings.map(|scaling| growth(&scaling, width));
        let parts = [heading, cases(report, width)].into_iter();
        parts
            .chain(limits)
            .chain(contrast(report, width))
            .chain(growth)
            .chain([notes])
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Several reports, as many columns at a time as fit. Columns are numbered, since
/// adapters have long names.
pub(super) fn side_by_side(all: &SideBySide, width: usize) -> String {
    let count = all.labels.len();
    let titles: Vec<String> = all.rows().map(|row| plain(&row.title)).collect();
    let in_columns_of = |per: usize| -> Vec<Vec<String>> {
        let chunks = (0..count).step_by(per);
        chunks
            .map(|from| columns_side_by_side(all, from..count.min(from + per)))
            .collect()
    };
    let fits = |lines: &Vec<String>| lines.iter().all(|line| line.chars().count() <= width);
    let per = (2..=count)
        .rev()
        .find(|&per| in_columns_of(per).iter().all(fits));
    let tables = in_columns_of(per.unwrap_or(1)).into_iter().map(|lines| {
        let (header, rows) = lines.split_first().expect("a table has a header");
        let rows = titles.iter().zip(rows);
        let rows: String = rows
            .map(|(title, row)| wrap(title, width) + row + "\n")
            .collect();
        format!("\n{header}\n{rows}")
    });
    let numbered = all.labels.iter().zip(1..);
    let legend = numbered.map(|(label, number)| format!("[{number}] {label}"));
    let legend: Vec<String> = std::iter::once(all.title.clone()).chain(legend).collect();
    wrapped(&legend, width) + &tables.collect::<String>()
}

/// The lines of some columns, the numbers of the reports first.
fn columns_side_by_side(all: &SideBySide, columns: Range<usize>) -> Vec<String> {
    let right = |text: String| aligned(text, true);
    let header = columns
        .clone()
        .map(|index| right(format!("[{}]", index + 1)));
    let rows = all.rows().map(|row| {
        let cells = row.cells[columns.clone()].iter();
        cells.map(Found::line).map(right)
    });
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header)
        .add_rows(rows);
    let lines = table.lines().map(|line| format!(" {}", line.trim_end()));
    lines.collect()
}

/// Columns to fit into: those that are wanted, or the terminal's.
pub(super) fn width(wanted: Option<u16>) -> usize {
    let width = wanted.or_else(|| comfy_table::Table::new().width());
    usize::from(width.unwrap_or(USUAL_WIDTH).max(LEAST_WIDTH))
}

/// What was measured, and how.
fn heading(report: &Report) -> Vec<String> {
    let adapter = &report.adapter;
    vec![
        adapter.name.clone(),
        format!("driver: {}", adapter.driver_and_version()),
        format!("backend: {}, {}", adapter.backend, adapter.device_type),
        format!("run: {}", cells::effort(report)),
        format!("datasheet: {}", cells::datasheet(report)),
    ]
}

/// What has to be known to read the table.
fn notes(report: &Report) -> Vec<String> {
    let note = |label: &str, text: Option<String>| text.map(|text| format!("{label}: {text}"));
    let software = report.adapter.device_type == DeviceType::Cpu;
    let tuning = cells::tuning_notes(report).into_iter();
    let notes = [
        note("shaders", cells::shaders_note(report)),
        note("100 % of ceiling", Some(cells::ceiling_note(report))),
        note("100 % of datasheet", cells::datasheet_note(report)),
        note(
            "software adapter",
            software.then(|| cells::SOFTWARE.to_owned()),
        ),
    ];
    let power = cells::power_notes(report).into_iter();
    let power = power.map(|text| format!("power: {text}"));
    let data = cells::ceiling_data(report).into_iter();
    let data = data.map(|text| format!("ceiling data: {text}"));
    let doubts = verdict::doubtful_ceilings(report).into_iter();
    let doubts = doubts.map(|text| format!("ceiling: {text}"));
    let around = super::notes::surroundings(report).into_iter();
    let around = around.chain(super::notes::not_recorded(report));
    let around = around.map(|text| format!("surroundings: {text}"));
    tuning
        .chain(doubts)
        .chain(around)
        .chain(power)
        .chain(notes.into_iter().flatten())
        .chain(data)
        .collect()
}

/// How the cost of one kernel grows with size.
fn growth(scaling: &Scaling, width: usize) -> String {
    let title = wrapped(&[scaling.title()], width);
    let numeric = scaling::HEADINGS.map(|_| true);
    title + &small(scaling::HEADINGS, numeric, scaling.rows())
}

/// Efficiency against the power limit; `None` where limits were not varied.
fn by_limit(report: &Report, width: usize) -> Option<String> {
    let rows = limits::rows(report);
    let title = wrapped(&[limits::TITLE.to_owned()], width);
    (!rows.is_empty()).then(|| title + &small(limits::HEADINGS, limits::NUMERIC, rows))
}

/// A table that fits every terminal.
pub(super) fn small<const N: usize>(
    headings: [&str; N],
    numeric: [bool; N],
    rows: Vec<[String; N]>,
) -> String {
    let cells = |row: [String; N]| {
        let cells = row.into_iter().zip(numeric);
        cells.map(|(text, numeric)| aligned(plain(&text), numeric))
    };
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(cells(headings.map(str::to_owned)))
        .add_rows(rows.into_iter().map(cells));
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// What the distribution of the inputs does, each case above its rows.
fn contrast(report: &Report, width: usize) -> Option<String> {
    let contrasts = contrast::contrasts(report);
    if contrasts.is_empty() {
        return None;
    }
    let aligned = |(column, text): (usize, String)| aligned(text, column > 0);
    let cells = |row: [String; 7]| row.into_iter().enumerate().map(aligned);
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(cells(contrast::HEADINGS.map(str::to_owned)));
    let rows = contrasts.iter().map(Contrast::rows);
    let (sizes, rows): (Vec<usize>, Vec<_>) = rows.map(|rows| (rows.len(), rows)).unzip();
    for row in rows.into_iter().flatten() {
        table.add_row(cells(row));
    }
    let mut lines = table.lines();
    let mut next = || format!(" {}\n", lines.next().unwrap_or_default().trim_end());
    let mut text = format!("{}\n{}", contrast::TITLE, next());
    for (contrast, size) in contrasts.iter().zip(sizes) {
        text += &wrapped(&[contrast.id().to_owned()], width);
        text.extend((0..size).map(|_| next()));
    }
    Some(text)
}

/// How the cases are laid out.
#[derive(Clone, Copy)]
struct Layout {
    /// The id has a line of its own, above the figures.
    stacked: bool,
    /// Intervals, errors and flags are below what they belong to.
    broken: bool,
}

/// From the one that reads best to the narrowest.
const LAYOUTS: [Layout; 4] = [
    Layout {
        stacked: false,
        broken: false,
    },
    Layout {
        stacked: false,
        broken: true,
    },
    Layout {
        stacked: true,
        broken: false,
    },
    Layout {
        stacked: true,
        broken: true,
    },
];

/// The cases in the first layout that fits, or else in the narrowest.
fn cases(report: &Report, width: usize) -> String {
    let mut text = String::new();
    for layout in LAYOUTS {
        let lines = layout.lines(report);
        text = layout.text(report, &lines, width);
        if lines.iter().all(|line| line.chars().count() <= width) {
            break;
        }
    }
    text
}

/// Holds the place of a line that spans all columns, which the table itself
/// cannot have. No text of a report can be mistaken for it: control characters
/// are replaced there.
const SPANNING: &str = "\0";

impl Layout {
    /// The table's lines, with [`SPANNING`] in place of those that span it.
    fn lines(self, report: &Report) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.header(report));
        for measurement in &report.measurements {
            let absent = cells::absence(measurement).is_some();
            if absent || self.stacked {
                table.add_row([SPANNING]);
            }
            if !absent {
                table.add_row(self.row(report, measurement));
            }
        }
        table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn header(self, report: &Report) -> Vec<Cell> {
        let figures = columns(report)
            .map(|column| aligned(column.heading(report).join("\n"), column.numeric));
        self.with_case(Cell::new("case"), Cell::new("flags"), figures)
    }

    fn row(self, report: &Report, measurement: &Measurement) -> Vec<Cell> {
        let figures = columns(report).map(|column| {
            let text = self.fold((column.text)(measurement), column.breaks.into());
            aligned(text, column.numeric)
        });
        let id = plain(&measurement.name());
        let flags = self.fold(cells::flags(measurement), usize::MAX);
        self.with_case(Cell::new(id), Cell::new(flags), figures)
    }

    /// Breaks a text at its first `breaks` spaces where the layout says so.
    fn fold(self, text: String, breaks: usize) -> String {
        if self.broken {
            text.replacen(' ', "\n", breaks)
        } else {
            text
        }
    }

    /// Id and flags around the figures, unless they stand above.
    fn with_case(self, id: Cell, flags: Cell, figures: impl Iterator<Item = Cell>) -> Vec<Cell> {
        if self.stacked {
            figures.collect()
        } else {
            std::iter::once(id).chain(figures).chain([flags]).collect()
        }
    }

    /// The lines with those that span the table filled in.
    fn text(self, report: &Report, lines: &[String], width: usize) -> String {
        let spans = |m: &&Measurement| self.stacked || cells::absence(m).is_some();
        let mut spanning = report.measurements.iter().filter(spans).map(title);
        let indent = if self.stacked { " " } else { "" };
        let line = |line: &String| {
            if line.contains(SPANNING) {
                wrapped(&Vec::from_iter(spanning.next()), width)
            } else {
                format!("{indent}{}\n", line.strip_prefix(' ').unwrap_or(line))
            }
        };
        lines.iter().map(line).collect()
    }
}

fn aligned(text: String, numeric: bool) -> Cell {
    let alignment = if numeric {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(text).set_alignment(alignment)
}

/// The line of a case that has one to itself: its flags, or why there is no
/// figure.
fn title(measurement: &Measurement) -> String {
    let text = cells::absence(measurement).unwrap_or_else(|| cells::flags(measurement));
    format!("{}  {text}", measurement.name())
}

/// Texts made plain, each from the start of a line, further lines indented.
pub(super) fn wrapped(texts: &[String], width: usize) -> String {
    texts.iter().map(|text| wrap(&plain(text), width)).collect()
}

fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for word in text.trim_end().split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            wrapped.push_str("\n    ");
            used = 4;
        } else if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += length;
    }
    wrapped + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{Interval, IntervalKind, Rate};
    use crate::render::fixture;
    use crate::units::Gflops;

    fn at(width: u16) -> String {
        let table = Table { width: Some(width) };
        fixture::rendered(&table, &fixture::report())
    }

    #[test]
    fn wide_terminals_show_one_row_a_case() {
        insta::assert_snapshot!(at(160), @"
        <script>|x `Testcard 0` �[31m[a](https://b)
        driver: NVIDIA, 550.54.15
        backend: vulkan, discrete-gpu
        run: quick, normal data, seed 7
        datasheet: Testcard 0 (testcard-0)

        case                                             time               GFLOP/s  GB/s      FLOP     % of       % of  verified             flags
                                                                     [spread within        per byte  ceiling  datasheet  error≤bound
                                                                          this run]
        peak/f32/fma/device                            1.00 s  60200 [59722, 60685]     –         –        –       86.0  full 4e-7 ≤ 3e-5
        bandwidth/f32/copy/256MiB                      100 µs                     –  2684         –        –       89.5  full 4e-7 ≤ 3e-5
        latency/none/dispatch/empty                   2.35 µs                     –     –         –        –          –  full 4e-7 ≤ 3e-5
        matmul/f32/register/4096x4096x4096            4.00 ms  34360 [34087, 34637]  50.3       683     57.1       49.1  full 4e-7 ≤ 3e-5     not-converged
        attention/f32/flash/b1h32kv8s4096d128-causal  6.00 ms  22906 [22725, 23091]  28.0       819     38.1       32.7  sampled 4e-7 ≤ 3e-5
        attention/f32/materialised/b1h32kv8s8192d128  skipped: needs 8192 MiB, adapter allows 128 MiB
        matmul/f32/naive/4096x4096x4096  rejected: output not computed (every word reads 0x7fc00000)

        power: not measured: this version measures no power
        100 % of ceiling: peak/f32/fma/device at 60200 GFLOP/s, measured in this run
        100 % of datasheet: FP32 70 TFLOP/s (vendor); memory bandwidth 3000 GB/s (secondary)
        ceiling data: random mantissas in peak/f32/fma/device
        ");
    }

    #[test]
    fn usual_terminals_show_long_ids_above_their_figures() {
        insta::assert_snapshot!(at(120), @"
        <script>|x `Testcard 0` �[31m[a](https://b)
        driver: NVIDIA, 550.54.15
        backend: vulkan, discrete-gpu
        run: quick, normal data, seed 7
        datasheet: Testcard 0 (testcard-0)

            time               GFLOP/s  GB/s      FLOP     % of       % of  verified
                        [spread within        per byte  ceiling  datasheet  error≤bound
                             this run]
        peak/f32/fma/device
          1.00 s  60200 [59722, 60685]     –         –        –       86.0  full 4e-7 ≤ 3e-5
        bandwidth/f32/copy/256MiB
          100 µs                     –  2684         –        –       89.5  full 4e-7 ≤ 3e-5
        latency/none/dispatch/empty
         2.35 µs                     –     –         –        –          –  full 4e-7 ≤ 3e-5
        matmul/f32/register/4096x4096x4096  not-converged
         4.00 ms  34360 [34087, 34637]  50.3       683     57.1       49.1  full 4e-7 ≤ 3e-5
        attention/f32/flash/b1h32kv8s4096d128-causal
         6.00 ms  22906 [22725, 23091]  28.0       819     38.1       32.7  sampled 4e-7 ≤ 3e-5
        attention/f32/materialised/b1h32kv8s8192d128  skipped: needs 8192 MiB, adapter allows 128 MiB
        matmul/f32/naive/4096x4096x4096  rejected: output not computed (every word reads 0x7fc00000)

        power: not measured: this version measures no power
        100 % of ceiling: peak/f32/fma/device at 60200 GFLOP/s, measured in this run
        100 % of datasheet: FP32 70 TFLOP/s (vendor); memory bandwidth 3000 GB/s (secondary)
        ceiling data: random mantissas in peak/f32/fma/device
        ");
    }

    #[test]
    fn narrow_terminals_show_intervals_and_bounds_below_as_well() {
        insta::assert_snapshot!(at(80), @"
        <script>|x `Testcard 0` �[31m[a](https://b)
        driver: NVIDIA, 550.54.15
        backend: vulkan, discrete-gpu
        run: quick, normal data, seed 7
        datasheet: Testcard 0 (testcard-0)

            time         GFLOP/s  GB/s      FLOP     % of       % of  verified
                  [spread within        per byte  ceiling  datasheet  error≤bound
                       this run]
        peak/f32/fma/device
          1.00 s           60200     –         –        –       86.0  full
                  [59722, 60685]                                      4e-7 ≤ 3e-5
        bandwidth/f32/copy/256MiB
          100 µs               –  2684         –        –       89.5  full
                                                                      4e-7 ≤ 3e-5
        latency/none/dispatch/empty
         2.35 µs               –     –         –        –          –  full
                                                                      4e-7 ≤ 3e-5
        matmul/f32/register/4096x4096x4096  not-converged
         4.00 ms           34360  50.3       683     57.1       49.1  full
                  [34087, 34637]                                      4e-7 ≤ 3e-5
        attention/f32/flash/b1h32kv8s4096d128-causal
         6.00 ms           22906  28.0       819     38.1       32.7  sampled
                  [22725, 23091]                                      4e-7 ≤ 3e-5
        attention/f32/materialised/b1h32kv8s8192d128  skipped: needs 8192 MiB, adapter
            allows 128 MiB
        matmul/f32/naive/4096x4096x4096  rejected: output not computed (every word reads
            0x7fc00000)

        power: not measured: this version measures no power
        100 % of ceiling: peak/f32/fma/device at 60200 GFLOP/s, measured in this run
        100 % of datasheet: FP32 70 TFLOP/s (vendor); memory bandwidth 3000 GB/s
            (secondary)
        ceiling data: random mantissas in peak/f32/fma/device
        ");
    }

    #[test]
    fn where_ids_are_short_intervals_and_bounds_give_way_first() {
        let mut report = fixture::report();
        report.measurements.drain(4..);
        report.measurements[3].flags.clear();
        let text = fixture::rendered(&Table { width: Some(120) }, &report);
        let cases: Vec<_> = text.lines().skip(9).take(8).collect();
        insta::assert_snapshot!(cases.join("\n"), @"
        peak/f32/fma/device                  1.00 s           60200     –         –        –       86.0  full
                                                     [59722, 60685]                                      4e-7 ≤ 3e-5
        bandwidth/f32/copy/256MiB            100 µs               –  2684         –        –       89.5  full
                                                                                                         4e-7 ≤ 3e-5
        latency/none/dispatch/empty         2.35 µs               –     –         –        –          –  full
                                                                                                         4e-7 ≤ 3e-5
        matmul/f32/register/4096x4096x4096  4.00 ms           34360  50.3       683     57.1       49.1  full
                                                     [34087, 34637]                                      4e-7 ≤ 3e-5
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [80, 100, 120, 160] {
            let text = at(width);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{text}");
        }
    }

    fn beside(count: usize, width: u16) -> String {
        let table = Table { width: Some(width) };
        let others = (1..count).map(|number| fixture::slower(&format!("Testcard {number}")));
        let reports: Vec<_> = std::iter::once(fixture::report()).chain(others).collect();
        fixture::rendered_together(&table, &reports)
    }

    #[test]
    fn several_reports_stand_side_by_side_above_their_tables() {
        let text = beside(3, 120);
        let (first, rest) = text.split_once("\n<script>").unwrap();
        assert_eq!(rest.matches("driver: NVIDIA, 550.54.15").count(), 3);
        insta::assert_snapshot!(first, @"
        Side by side, in brackets the interval: spread within this run
        [1] <script>|x `Testcard 0` �[31m[a](https://b)
        [2] Testcard 1
        [3] Testcard 2

                           [1]                   [2]                   [3]
        highest measured peak, GFLOP/s
                60200 peak/f32        30100 peak/f32        30100 peak/f32
        fastest kernel, GFLOP/s
              34360 matmul/f32      17180 matmul/f32      17180 matmul/f32
        highest % of datasheet
           89.48 bandwidth/f32   44.74 bandwidth/f32   44.74 bandwidth/f32
        most efficient, GFLOP/s per W
                             –                     –                     –
        peak/f32/fma/device, GFLOP/s
          60200 [59722, 60685]  30100 [29861, 30343]  30100 [29861, 30343]
        bandwidth/f32/copy/256MiB, GB/s
             2684 [2663, 2706]     1342 [1332, 1353]     1342 [1332, 1353]
        latency/none/dispatch/empty, µs
          2.345 [2.326, 2.364]  4.690 [4.652, 4.728]  4.690 [4.652, 4.728]
        matmul/f32/register/4096x4096x4096, GFLOP/s
          34360 [34087, 34637]  17180 [17044, 17318]  17180 [17044, 17318]
        attention/f32/flash/b1h32kv8s4096d128-causal, GFLOP/s
          22906 [22725, 23091]  11453 [11362, 11546]  11453 [11362, 11546]
        attention/f32/materialised/b1h32kv8s8192d128
                       skipped               skipped               skipped
        matmul/f32/naive/4096x4096x4096
                      rejected              rejected              rejected
        ");
    }

    /// A column takes 22 characters, so that three fit, and the fourth goes below.
    #[test]
    fn as_many_reports_as_fit_stand_side_by_side() {
        let text = beside(4, 80);
        let is_header = |line: &&str| line.split_whitespace().all(|w| w.starts_with('['));
        let headers = text.lines().filter(|line| !line.is_empty());
        let headers: Vec<_> = headers.filter(is_header).map(str::trim).collect();
        assert_eq!(headers.len(), 2, "{text}");
        assert!(headers[0].ends_with("[3]") && headers[1] == "[4]");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
    }

    /// Every column as wide as three significant digits and an interval can be.
    #[test]
    fn the_widest_figures_fit_into_eighty_columns() {
        let mut report = fixture::report();
        for measurement in &mut report.measurements {
            if let Some(rate) = &mut measurement.gflops {
                *rate = Rate {
                    median: Gflops(0.4117),
                    interval: Some(Interval {
                        kind: IntervalKind::SpreadWithinRun,
                        low: Gflops(0.3871),
                        high: Gflops(0.4226),
                    }),
                };
                measurement.gbytes_per_s = Some(0.00965);
                measurement.percent_of_ceiling = Some(0.0767);
                measurement.percent_of_datasheet = Some(0.0767);
            }
        }
        let text = fixture::rendered(&Table { width: Some(80) }, &report);
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
    }

    #[test]
    fn long_texts_wrap_between_words() {
        assert_eq!(wrap("aa bb cc dd", 8), "aa bb cc\n    dd\n");
        assert_eq!(wrap("aaaaaaaaaa b", 8), "aaaaaaaaaa\n    b\n");
        assert_eq!(wrap("", 8), "\n");
    }
}
