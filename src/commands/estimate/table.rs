//! An estimate as text: what went in, each with its source, and what follows.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::super::devices::{aligned, width};
use super::{Cited, Estimated, ForClaim};
use crate::console::plain;
use crate::estimate::{Basis, Line, text};

/// Untrusted text on one line, without characters that steer a terminal.
pub(super) fn clean(text: &str) -> String {
    plain(text)
}

/// Everything, workload by workload.
pub(super) fn page(estimated: &Estimated) -> String {
    let basis = match estimated.basis {
        Basis::Measured => "measured",
        Basis::Datasheet => "from its datasheet, not measured",
    };
    let mut page = format!("{}: {basis}\n", clean(&estimated.device));
    let inputs = estimated.inputs.iter().map(|input| {
        [
            input.name.to_owned(),
            input.text.clone(),
            clean(&input.source),
        ]
    });
    page += &three_columns(inputs);
    page += &results(&estimated.per_eflop);
    let mut sources = Vec::new();
    for workload in &estimated.workloads {
        page += &format!("\n{} ({})\n", clean(workload.title), clean(workload.id));
        for claim in &workload.estimates {
            page += &claimed(claim, &mut sources);
        }
    }
    page += "\nSources\n";
    let numbered = sources.iter().enumerate();
    let rows: Vec<_> = numbered
        .map(|(index, title)| (format!("[{}]", index + 1), clean(title)))
        .collect();
    page + &aligned(&rows, width())
}

/// The claims that go in, and what follows from them. Sources not yet in `sources`
/// are added to it, and claims refer to them by number.
fn claimed<'a>(claim: &ForClaim<'a>, sources: &mut Vec<&'a str>) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    for cited in &claim.claims {
        rows.push(row(cited, sources));
    }
    if let Some(format) = claim.assumed_precision {
        let source = "--precision; the source states none";
        rows.push([
            "precision".to_owned(),
            format.to_string(),
            source.to_owned(),
        ]);
    }
    let claims = three_columns(rows.into_iter());
    let follows = match (&claim.results, &claim.reason) {
        (Some(lines), _) => results(lines),
        (None, reason) => {
            let reason = clean(reason.as_deref().unwrap_or_default());
            aligned(&[("→ no estimate".to_owned(), reason)], width())
        }
    };
    format!("\n{claims}{follows}")
}

fn results(lines: &[Line]) -> String {
    let row = |line: &Line| (format!("→ {}", line.label), line.to_string());
    let rows: Vec<_> = lines.iter().map(row).collect();
    aligned(&rows, width())
}

fn row<'a>(cited: &Cited<'a>, sources: &mut Vec<&'a str>) -> [String; 3] {
    let claim = cited.claim;
    let precision = claim
        .precision
        .map_or_else(String::new, |precision| format!(" {precision}"));
    let value = text::as_stated(claim.value, &claim.unit.to_string());
    let known = sources
        .iter()
        .position(|title| *title == cited.source_title);
    let index = known.unwrap_or_else(|| {
        sources.push(cited.source_title);
        sources.len() - 1
    });
    let mut source = format!("[{}]", index + 1);
    if let Some(quotation) = &claim.quotation {
        source += &format!(" “{}”", clean(quotation));
    }
    if let Some(note) = &claim.note {
        source += &format!(" ({})", clean(note));
    }
    [clean(&claim.what), format!("{value}{precision}"), source]
}

/// Names, values and sources, indented, long texts wrapped.
fn three_columns(rows: impl Iterator<Item = [String; 3]>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width() - 2)
        .add_rows(rows);
    let lines = table.lines();
    lines
        .map(|line| format!("  {}\n", line.trim_end()))
        .collect()
}
