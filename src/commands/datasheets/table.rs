//! `flopwatt datasheets --table`: all accelerators side by side.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::Serialize;

use super::{align_right, bare_table, lines_of};
use crate::console::plain;
use crate::datasheet::{Datasheet, FigureKind, Unit};
use crate::units::Watts;

/// The columns, with their headings. TF32, FP64 and FP32 on matrix units and FP4 are
/// few; `--json` has them.
const COLUMNS: [(FigureKind, &str); 7] = [
    (FigureKind::Fp64, "FP64"),
    (FigureKind::Fp32, "FP32"),
    (FigureKind::Fp16, "FP16"),
    (FigureKind::Fp16Tensor, "FP16\ntensor"),
    (FigureKind::Bf16Tensor, "BF16\ntensor"),
    (FigureKind::Fp8, "FP8\ntensor"),
    (FigureKind::Int8, "INT8\ntensor"),
];

/// By what the rows are sorted.
const SORTED_BY: FigureKind = FigureKind::Fp32;

/// An accelerator as `--json` prints it.
#[derive(Serialize)]
struct Row<'s> {
    id: &'s str,
    name: &'s str,
    vendor: &'s str,
    /// Devices that it appears as; figures are for all of them together.
    devices_reported: u8,
    /// Board power, or TDP where no board power is known; null where neither is.
    rated_power_w: Option<Watts>,
    peaks: BTreeMap<FigureKind, Peak>,
}

/// A peak, and what it is for each watt.
#[derive(Serialize)]
struct Peak {
    value: f64,
    unit: Unit,
    /// 10⁹ operations for each joule; null where the power is not known.
    giga_per_watt: Option<f64>,
}

impl<'s> Row<'s> {
    fn of(sheet: &'s Datasheet) -> Self {
        let devices = sheet.devices_reported.get();
        let power = sheet.rated_power();
        let power = power.map(|watts| Watts(watts.0 * f64::from(devices)));
        let computation = sheet
            .figures
            .iter()
            .filter(|(kind, _)| kind.is_computation());
        let peak = |figure: &crate::datasheet::Figure| Peak {
            value: figure.value,
            unit: figure.unit,
            giga_per_watt: power.map(|watts| 1e3 * figure.value / watts.0),
        };
        Self {
            id: &sheet.id,
            name: &sheet.name,
            vendor: &sheet.vendor,
            devices_reported: devices,
            rated_power_w: power,
            peaks: computation
                .map(|(kind, figure)| (*kind, peak(figure)))
                .collect(),
        }
    }

    fn per_watt(&self, kind: FigureKind) -> Option<f64> {
        self.peaks.get(&kind)?.giga_per_watt
    }
}

/// What `--table` prints of these datasheets.
pub fn report(sheets: &[&Datasheet], json: bool) -> serde_json::Result<String> {
    let mut rows: Vec<Row> = sheets.iter().map(|sheet| Row::of(sheet)).collect();
    rows.sort_by(|a, b| best_first(a.per_watt(SORTED_BY), b.per_watt(SORTED_BY)));
    if json {
        return Ok(serde_json::to_string_pretty(&rows)? + "\n");
    }
    Ok(text(&rows))
}

/// The highest first, what is missing last.
fn best_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        _ => b.is_some().cmp(&a.is_some()),
    }
}

fn text(rows: &[Row]) -> String {
    let mut table = bare_table();
    let mut header = vec!["accelerator".to_owned(), "W".to_owned()];
    for (_, heading) in COLUMNS {
        header.push(heading.to_owned());
        header.push("per\nW".to_owned());
    }
    table.set_header(header);
    for row in rows {
        let mut cells = vec![plain(row.id)];
        cells.push(digits(row.rated_power_w.map(|watts| watts.0)));
        for (kind, _) in COLUMNS {
            cells.push(digits(row.peaks.get(&kind).map(|peak| peak.value)));
            cells.push(digits(row.per_watt(kind)));
        }
        table.add_row(cells);
    }
    for index in 0..table.column_count() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 1));
        }
        if index > 0 {
            align_right(&mut table, index);
        }
    }
    format!(
        "Peaks in TFLOP/s (INT8: TOP/s), and GFLOP/s per watt of board power or TDP; by {SORTED_BY} \
         per watt.\nMatrix units without sparsity, as far as that is known; what no source gives is missing \
         (-).\n\n{}",
        lines_of(&table)
    )
}

/// Three digits, or all before the point: `1979`, `66.9`, `0.42`.
fn digits(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}
