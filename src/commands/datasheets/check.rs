//! `flopwatt datasheets --check`: what is wrong with the files, and what they leave
//! open.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::datasheet::{Catalogue, Datasheet, Examined, Figure, FigureKind, Flaw, NamesStatus};

/// What was looked at in a file, and what was found.
#[derive(Serialize)]
struct Findings<'f> {
    file: &'f PathBuf,
    /// Null where the file is not in the format.
    holds: Option<Holdings>,
    /// Ids of earlier files' datasheets whose place its own take.
    replaces: &'f [String],
    flaws: &'f [Flaw],
}

/// What a file holds, and what it leaves open.
#[derive(Serialize)]
struct Holdings {
    datasheets: usize,
    figures: usize,
    sources: usize,
    /// FP32 peaks that were held against lanes × operations × clock.
    fp32_from_lanes_and_clock: usize,
    /// Rates of matrix units, and of them, those of which it is not known whether
    /// sparsity is counted in.
    matrix_rates: usize,
    matrix_rates_without_sparsity: usize,
    /// Rates of floating-point matrix units, and of them, those that do not tell their
    /// accumulator.
    float_matrix_rates: usize,
    float_matrix_rates_without_accumulator: usize,
    /// Peaks of computation, and of them, those stated at a clock of their own, at
    /// the boost clock that the datasheet gives, and at none that is known.
    peaks: usize,
    peaks_at_own_clock: usize,
    peaks_at_boost_clock: usize,
    peaks_at_unknown_clock: usize,
    /// Datasheets without a power, for which there is no rate per watt.
    without_power: usize,
    /// Datasheets without any figure.
    without_figures: usize,
    /// Datasheets of which not all names were seen in drivers.
    with_assumed_names: usize,
}

/// What `--check` prints of these files.
pub fn report(files: &[Examined], json: bool) -> serde_json::Result<String> {
    let findings: Vec<Findings> = files.iter().map(Findings::of).collect();
    if json {
        return Ok(serde_json::to_string_pretty(&findings)? + "\n");
    }
    let pages: Vec<String> = findings.iter().map(Findings::text).collect();
    Ok(pages.join("\n"))
}

impl<'f> Findings<'f> {
    fn of(examined: &'f Examined) -> Self {
        Self {
            file: &examined.file,
            holds: examined.catalogue.as_ref().map(Holdings::of),
            replaces: &examined.replaced,
            flaws: &examined.flaws,
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let _ = match &self.holds {
            Some(holds) => writeln!(out, "{}: {}", self.file.display(), holds.summary()),
            None => writeln!(out, "{}: not in the format", self.file.display()),
        };
        if let Some(holds) = &self.holds {
            out.push_str(&holds.details());
        }
        for id in self.replaces {
            let _ = writeln!(out, "  replaces the datasheet `{id}`");
        }
        for flaw in self.flaws {
            let _ = writeln!(out, "{flaw}");
        }
        let _ = match self.flaws.len() {
            0 => writeln!(out, "no fault"),
            1 => writeln!(out, "1 fault"),
            count => writeln!(out, "{count} faults"),
        };
        out
    }
}

impl Holdings {
    fn of(catalogue: &Catalogue) -> Self {
        let sheets = catalogue.datasheets();
        let figures: Vec<(&Datasheet, FigureKind, &Figure)> = sheets
            .iter()
            .flat_map(|sheet| sheet.all_figures().map(move |(kind, f)| (sheet, kind, f)))
            .collect();
        let count = |test: &dyn Fn(&Datasheet) -> bool| sheets.iter().filter(|s| test(s)).count();
        let of_figures = |test: &dyn Fn(&Datasheet, FigureKind, &Figure) -> bool| {
            figures.iter().filter(|(s, k, f)| test(s, *k, f)).count()
        };
        let is_float_matrix = |kind: FigureKind| kind.has_sparsity() && kind != FigureKind::Int8;
        let has_boost = |sheet: &Datasheet| sheet.figure(FigureKind::BoostClock).is_some();
        Self {
            datasheets: sheets.len(),
            figures: figures.len(),
            sources: catalogue.sources().len(),
            fp32_from_lanes_and_clock: count(&|sheet| {
                let known = |kind| sheet.figure(kind).is_some();
                sheet.fp32_flops_per_lane_clock.is_some()
                    && [FigureKind::Fp32, FigureKind::Fp32Lanes]
                        .into_iter()
                        .all(known)
                    && has_boost(sheet)
            }),
            matrix_rates: of_figures(&|_, kind, _| kind.has_sparsity()),
            matrix_rates_without_sparsity: of_figures(&|_, kind, figure| {
                kind.has_sparsity() && figure.sparsity.is_none()
            }),
            float_matrix_rates: of_figures(&|_, kind, _| is_float_matrix(kind)),
            float_matrix_rates_without_accumulator: of_figures(&|_, kind, figure| {
                is_float_matrix(kind) && figure.accumulate.is_none()
            }),
            peaks: of_figures(&|_, kind, _| kind.is_computation()),
            peaks_at_own_clock: of_figures(&|_, kind, figure| {
                kind.is_computation() && figure.clock_mhz.is_some()
            }),
            peaks_at_boost_clock: of_figures(&|sheet, kind, figure| {
                kind.is_computation() && figure.clock_mhz.is_none() && has_boost(sheet)
            }),
            peaks_at_unknown_clock: of_figures(&|sheet, kind, figure| {
                kind.is_computation() && figure.clock_mhz.is_none() && !has_boost(sheet)
            }),
            without_power: count(&|sheet| sheet.rated_power().is_none()),
            without_figures: count(&|sheet| sheet.figures.is_empty()),
            with_assumed_names: count(&|sheet| sheet.names_status != NamesStatus::Verified),
        }
    }

    fn summary(&self) -> String {
        let counted = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        format!(
            "{}, {}, {}",
            counted(self.datasheets, "datasheet"),
            counted(self.figures, "figure"),
            counted(self.sources, "source")
        )
    }

    fn details(&self) -> String {
        let lines = [
            (
                "FP32 held against lanes × operations × clock",
                self.fp32_from_lanes_and_clock,
                self.datasheets,
            ),
            (
                "peaks at a clock of their own",
                self.peaks_at_own_clock,
                self.peaks,
            ),
            (
                "peaks at the datasheet's boost clock",
                self.peaks_at_boost_clock,
                self.peaks,
            ),
            (
                "peaks at a clock that is not known",
                self.peaks_at_unknown_clock,
                self.peaks,
            ),
            (
                "matrix rates, dense or sparse not known",
                self.matrix_rates_without_sparsity,
                self.matrix_rates,
            ),
            (
                "matrix rates, accumulator not told apart",
                self.float_matrix_rates_without_accumulator,
                self.float_matrix_rates,
            ),
            (
                "without power, and a rate per watt",
                self.without_power,
                self.datasheets,
            ),
            ("without any figure", self.without_figures, self.datasheets),
            (
                "with names that are only assumed",
                self.with_assumed_names,
                self.datasheets,
            ),
        ];
        let line = |(what, count, of)| format!("  {what:<46}{count:>4} of {of}\n");
        lines.into_iter().map(line).collect()
    }
}
