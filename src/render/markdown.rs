//! Markdown for a pull request or `$GITHUB_STEP_SUMMARY`.

use super::cells::{self, columns};
use super::chart::Chart;
use super::contrast;
use super::limits;
use super::notes;
use super::peaks;
use super::provenance;
use super::scaling;
use super::side_by_side::{Cell, SideBySide};
use super::untrusted::markdown as escape;
use super::{Document, Renderer, Run};
use crate::datasheet::{Datasheet, Peak};
use crate::record::Report;

/// Heading, provenance, the table of cases, cases without figures, peaks with
/// their sources, and how to read all that. Without charts, which only a page
/// that lies beside them can show.
#[derive(Clone, Copy, Debug)]
pub struct Markdown;

impl Renderer for Markdown {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        page(runs, |_| String::new())
    }
}

/// The page that lies beside the folder of the reports' charts.
pub(super) fn with_charts(runs: &[Run], charts: &[Vec<Chart>], folder: &str) -> Vec<Document> {
    let image = |chart: &Chart| {
        let alternative = escape(&chart.title);
        format!("![{alternative}]({folder}/{})\n", chart.file)
    };
    page(runs, |index| {
        let images: Vec<String> = charts[index].iter().map(image).collect();
        section("Charts", images.join("\n"))
    })
}

/// All reports, the one at an index with what `charts` says of it.
fn page(runs: &[Run], charts: impl Fn(usize) -> String) -> Vec<Document> {
    let together = SideBySide::of(runs).map(|all| side_by_side(&all));
    let numbered = runs.iter().enumerate();
    let each = numbered.map(|(index, run)| one(run.report, charts(index)));
    let texts: Vec<_> = together.into_iter().chain(each).collect();
    Document::only("report.md", texts.join("\n"))
}

/// A column a report, a row a case.
fn side_by_side(all: &SideBySide) -> String {
    let labels = all.labels.iter().map(|label| escape(label));
    let header = row(std::iter::once(String::new()).chain(labels));
    let rules = all.labels.iter().map(|_| "---:".to_owned());
    let rule = row(std::iter::once("---".to_owned()).chain(rules));
    let rows = all.rows().map(|found| {
        let cells = found.cells.iter().map(Cell::line);
        row(std::iter::once(escape(&found.title)).chain(cells))
    });
    let rows: String = rows.collect();
    format!("# {}\n\n{header}{rule}{rows}", all.title)
}

/// One report.
fn one(report: &Report, charts: String) -> String {
    let sections = [
        format!("# flopwatt: {}\n", escape(&report.adapter.name)),
        provenance(report),
        charts,
        cases(report),
        by_limit(report),
        contrast(report),
        growth(report),
        absences(report),
        references(report),
        section(
            "Best kernels",
            cells::tuning_notes(report)
                .iter()
                .map(|n| item(n))
                .collect(),
        ),
        notes(report),
    ];
    let present: Vec<_> = sections.into_iter().filter(|s| !s.is_empty()).collect();
    present.join("\n")
}

/// Where the figures come from.
fn provenance(report: &Report) -> String {
    let rows = provenance::rows(report).into_iter();
    let rows = rows.map(|(label, text)| row([label.to_owned(), escape(&text)]));
    format!("| | |\n|---|---|\n{}", rows.collect::<String>())
}

/// The table of all cases.
fn cases(report: &Report) -> String {
    let headings = columns(report).map(|column| column.heading(report).join(" "));
    let header = row(around("case".into(), headings, "flags".into()));
    let rules =
        columns(report).map(|column| if column.numeric { "---:" } else { "---" }.to_owned());
    let rule = row(around("---".into(), rules, "---".into()));
    let rows = report.measurements.iter().map(|measurement| {
        let last = match cells::absence(measurement) {
            Some(_) => measurement.status.to_string(),
            None => cells::flags(measurement),
        };
        let figures = columns(report).map(|column| (column.text)(measurement));
        row(around(escape(&measurement.name()), figures, last))
    });
    format!("## Cases\n\n{header}{rule}{}", rows.collect::<String>())
}

/// Efficiency against the power limit; nothing where limits were not varied.
fn by_limit(report: &Report) -> String {
    let rows = limits::rows(report).into_iter().map(|mut cells| {
        cells[0] = escape(&cells[0]);
        row(cells)
    });
    let header = row(limits::HEADINGS.map(str::to_owned));
    let rule = |numeric| if numeric { "---:" } else { "---" }.to_owned();
    let lines: String = rows.collect();
    if lines.is_empty() {
        return lines;
    }
    let rule = row(limits::NUMERIC.map(rule));
    section(limits::TITLE, header + &rule + &lines)
}

/// How the cost of kernels grows with size.
fn growth(report: &Report) -> String {
    let tables = scaling::scalings(report).into_iter().map(|scaling| {
        let header = row(scaling::HEADINGS.map(str::to_owned));
        let rule = row(scaling::HEADINGS.map(|_| "---:".to_owned()));
        let rows: String = scaling.rows().into_iter().map(row).collect();
        format!("## {}\n\n{header}{rule}{rows}", escape(&scaling.title()))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// What the distribution of the inputs does.
fn contrast(report: &Report) -> String {
    let contrasts = contrast::contrasts(report);
    if contrasts.is_empty() {
        return String::new();
    }
    let headings = contrast::HEADINGS.map(str::to_owned);
    let header = row(std::iter::once("case".to_owned()).chain(headings));
    let rule = row(["---", "---"]
        .into_iter()
        .chain(contrast::HEADINGS[1..].iter().map(|_| "---:"))
        .map(str::to_owned));
    let rows = contrasts.iter().flat_map(|contrast| {
        let rows = contrast.rows().into_iter();
        rows.map(|cells| row(std::iter::once(escape(contrast.id())).chain(cells)))
    });
    let rows: String = rows.collect();
    format!("## {}\n\n{header}{rule}{rows}", contrast::TITLE)
}

fn around(first: String, middle: impl Iterator<Item = String>, last: String) -> Vec<String> {
    std::iter::once(first).chain(middle).chain([last]).collect()
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<_> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Why cases have no figures.
fn absences(report: &Report) -> String {
    let lines: String = report
        .measurements
        .iter()
        .filter_map(|m| Some(item(&format!("{}: {}", m.name(), cells::absence(m)?))))
        .collect();
    section("Cases without figures", lines)
}

/// What 100 % stands for.
fn references(report: &Report) -> String {
    let ceiling = item(&format!(
        "measured ceiling: {}",
        cells::ceiling_note(report)
    ));
    let sheet = report.datasheet.iter();
    let peaks = sheet.flat_map(|sheet| {
        let peaks = peaks::datasheet_peaks(report).into_iter();
        peaks.map(|peak| stated(sheet, &peak))
    });
    section(
        "What 100 % stands for",
        ceiling + &peaks.collect::<String>(),
    )
}

/// A peak of the datasheet, with its evidence and its sources.
fn stated(sheet: &Datasheet, peak: &Peak) -> String {
    let text = format!(
        "{}, {}: {} ({})",
        sheet.name,
        peak.kind,
        peaks::value(peak),
        peak.figure.tier
    );
    let sources: Vec<_> = peak
        .figure
        .sources
        .iter()
        .map(|id| link(sheet, id))
        .collect();
    format!("- {}: {}\n", escape(&text), sources.join("; "))
}

/// A source by its title, linked where it can be read.
fn link(sheet: &Datasheet, id: &str) -> String {
    match peaks::source(sheet, id) {
        None => escape(id),
        Some(source) => match &source.url {
            None => escape(&source.title),
            Some(url) => format!("[{}](<{url}>)", escape(&source.title)),
        },
    }
}

/// How to read the figures.
fn notes(report: &Report) -> String {
    let lines = notes::notes(report);
    let lines = lines.iter().map(|note| item(note)).collect();
    section("Reading the figures", lines)
}

fn item(text: &str) -> String {
    format!("- {}\n", escape(text))
}

fn section(title: &str, lines: String) -> String {
    if lines.is_empty() {
        lines
    } else {
        format!("## {title}\n\n{lines}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasheet::{Catalogue, FigureKind};
    use crate::gpu::adapter::DeviceType;
    use crate::render::fixture;

    #[test]
    fn a_report_reads_as_a_page() {
        insta::assert_snapshot!(fixture::rendered(&Markdown, &fixture::report()), @"
        # flopwatt: &#60;script&#62;&#124;x &#96;Testcard 0&#96; �&#91;31m&#91;a&#93;(https&#58;//b)

        | | |
        |---|---|
        | adapter | &#60;script&#62;&#124;x &#96;Testcard 0&#96; �&#91;31m&#91;a&#93;(https&#58;//b) |
        | driver | NVIDIA, 550.54.15 |
        | backend | vulkan, discrete-gpu |
        | datasheet | Testcard 0 (testcard-0) |
        | host | node01, Linux (Ubuntu 24.04), 6.8.0, x86&#95;64, 16 logical CPUs |
        | run | quick, normal data, seed 7 |
        | command | flopwatt run &#42; |
        | flopwatt | 0.1.0 |
        | started | 2026-01-02 03:04:05 UTC |
        | run id | 01980000-0000-7000-8000-000000000001 |

        ## Cases

        | case | time | GFLOP/s [spread within this run] | GB/s | FLOP per byte | % of ceiling | % of datasheet | verified error≤bound | flags |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |
        | peak/f32/fma/device | 1.00 s | 60200 [59722, 60685] | – | – | – | 86.0 | full 4e-7 ≤ 3e-5 |  |
        | bandwidth/f32/copy/256MiB | 100 µs | – | 2684 | – | – | 89.5 | full 4e-7 ≤ 3e-5 |  |
        | latency/none/dispatch/empty | 2.35 µs | – | – | – | – | – | full 4e-7 ≤ 3e-5 |  |
        | matmul/f32/register/4096x4096x4096 | 4.00 ms | 34360 [34087, 34637] | 50.3 | 683 | 57.1 | 49.1 | full 4e-7 ≤ 3e-5 | not-converged |
        | attention/f32/flash/b1h32kv8s4096d128-causal | 6.00 ms | 22906 [22725, 23091] | 28.0 | 819 | 38.1 | 32.7 | sampled 4e-7 ≤ 3e-5 |  |
        | attention/f32/materialised/b1h32kv8s8192d128 | – | – | – | – | – | – | – | skipped |
        | matmul/f32/naive/4096x4096x4096 | – | – | – | – | – | – | – | rejected |

        ## Cases without figures

        - attention/f32/materialised/b1h32kv8s8192d128: skipped: needs 8192 MiB, adapter allows 128 MiB
        - matmul/f32/naive/4096x4096x4096: rejected: output not computed (every word reads 0x7fc00000)

        ## What 100 % stands for

        - measured ceiling: peak/f32/fma/device at 60200 GFLOP/s, measured in this run
        - Testcard 0, FP32: 70 TFLOP/s (vendor): testcard
        - Testcard 0, memory bandwidth: 3000 GB/s (secondary): testcard

        ## Reading the figures

        - Every figure belongs to a kernel whose output was compared with a float64 reference in this run.
        - Kernels are flopwatt's own, in WGSL, as any program can run them through Vulkan, Metal or DX12: not the vendor's libraries, which have instructions that no shading language has.
        - Times are medians of one dispatch, rates follow from them, in brackets the interval: spread within this run.
        - Operations of a product are 2·M·N·K, of attention 4·B·H·Sq·Sk·D, halved for causal with Sq = Sk; softmax is not counted.
        - GB/s and FLOP/byte refer to compulsory traffic: inputs read once, outputs written once.
        - Errors are the largest of an element, over what rounding refers to there; the bound is the largest that a correct kernel can show.
        - – stands for what is not known or does not apply.
        - Ceiling data: random mantissas in peak/f32/fma/device.
        - Power: not measured: this version measures no power.
        ");
    }

    #[test]
    fn several_reports_stand_side_by_side_above_their_pages() {
        let reports = [fixture::report(), fixture::slower("Testcard 1")];
        let text = fixture::rendered_together(&Markdown, &reports);
        let (first, rest) = text.split_once("\n# flopwatt").unwrap();
        assert!(rest.contains("\n# flopwatt: Testcard 1\n"));
        insta::assert_snapshot!(first, @"
        # Side by side, in brackets the interval: spread within this run

        |  | &#60;script&#62;&#124;x &#96;Testcard 0&#96; �&#91;31m&#91;a&#93;(https&#58;//b) | Testcard 1 |
        | --- | ---: | ---: |
        | highest measured peak, GFLOP/s | 60200 peak/f32 | 30100 peak/f32 |
        | fastest kernel, GFLOP/s | 34360 matmul/f32 | 17180 matmul/f32 |
        | highest % of datasheet | 89.48 bandwidth/f32 | 44.74 bandwidth/f32 |
        | most efficient, GFLOP/s per W | – | – |
        | peak/f32/fma/device, GFLOP/s | 60200 [59722, 60685] | 30100 [29861, 30343] |
        | bandwidth/f32/copy/256MiB, GB/s | 2684 [2663, 2706] | 1342 [1332, 1353] |
        | latency/none/dispatch/empty, µs | 2.345 [2.326, 2.364] | 4.690 [4.652, 4.728] |
        | matmul/f32/register/4096x4096x4096, GFLOP/s | 34360 [34087, 34637] | 17180 [17044, 17318] |
        | attention/f32/flash/b1h32kv8s4096d128-causal, GFLOP/s | 22906 [22725, 23091] | 11453 [11362, 11546] |
        | attention/f32/materialised/b1h32kv8s8192d128 | skipped | skipped |
        | matmul/f32/naive/4096x4096x4096 | rejected | rejected |
        ");
    }

    #[test]
    fn hostile_names_are_text() {
        let hostile = "<script>|x\n# a [b](c) `d`";
        let mut report = fixture::report();
        report.adapter.name = hostile.into();
        report.adapter.driver = hostile.into();
        report.host.name = hostile.into();
        report.command = vec![hostile.into()];
        report.datasheet = None;
        report.datasheet_reason = Some(hostile.into());
        let usual = fixture::rendered(&Markdown, &fixture::report());
        let text = fixture::rendered(&Markdown, &report);
        assert!(!text.contains("<script"));
        let headings = |text: &str| text.lines().filter(|l| l.starts_with('#')).count();
        assert_eq!(headings(&text), headings(&usual));
        for line in text.lines().filter(|line| line.starts_with("| ")) {
            let columns = line.matches('|').count();
            assert!([3, 10].contains(&columns), "{line}");
        }
    }

    #[test]
    fn sources_are_linked_where_they_can_be_read() {
        let sheet = Catalogue::builtin().get("nvidia-h100-sxm5").unwrap();
        let id = &sheet.figures[&FigureKind::Fp32].sources[0];
        let text = link(sheet, id);
        assert!(
            text.starts_with('[') && text.contains("](<https://"),
            "{text}"
        );
        assert_eq!(link(sheet, "no*where"), "no&#42;where");
    }

    #[test]
    fn software_adapters_are_told_from_gpus() {
        let mut report = fixture::report();
        assert!(!fixture::rendered(&Markdown, &report).contains("not a GPU"));
        report.adapter.device_type = DeviceType::Cpu;
        assert!(fixture::rendered(&Markdown, &report).contains("not a GPU"));
    }
}
