//! An estimate as text: what went in, each with its source, and what follows.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::super::devices::{aligned, width};
use super::{Cited, Estimated, ForClaim};
use crate::estimate::{Basis, text};
use crate::render::plain;

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
    for workload in &estimated.workloads {
        page += &format!("\n{} ({})\n", clean(workload.title), clean(workload.id));
        for claim in &workload.estimates {
            page += &claimed(claim);
        }
    }
    page
}

/// The claims that go in, and what follows from them.
fn claimed(claim: &ForClaim) -> String {
    let mut rows: Vec<[String; 3]> = claim.claims.iter().map(cited).collect();
    if let Some(format) = claim.assumed_precision {
        let source = "the source states no precision; this one is the user's (--precision)";
        rows.push([
            "precision".to_owned(),
            format.to_string(),
            source.to_owned(),
        ]);
    }
    let mut block = format!("\n{}", three_columns(rows.into_iter()));
    match (&claim.results, &claim.reason) {
        (Some(lines), _) => {
            let rows: Vec<_> = lines
                .iter()
                .map(|line| (format!("→ {}", line.label), line.to_string()))
                .collect();
            block += &aligned(&rows, width());
        }
        (None, reason) => {
            let reason = clean(reason.as_deref().unwrap_or_default());
            block += &aligned(&[("→ no estimate".to_owned(), reason)], width());
        }
    }
    block
}

fn cited(
    Cited {
        claim,
        source_title,
    }: &Cited,
) -> [String; 3] {
    let precision = claim
        .precision
        .map_or_else(String::new, |p| format!(" {p}"));
    let value = format!(
        "{}{precision}",
        text::range(claim.value, &claim.unit.to_string())
    );
    let mut source = clean(source_title);
    if let Some(quotation) = &claim.quotation {
        source += &format!(": “{}”", clean(quotation));
    }
    if let Some(note) = &claim.note {
        source += &format!(" ({})", clean(note));
    }
    [clean(&claim.what), value, source]
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
