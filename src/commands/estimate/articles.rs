//! `flopwatt estimate --check-articles`: what the articles say, recomputed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::devices::{aligned, width};
use crate::datasheet::{Catalogue, Source};
use crate::estimate::articles::{Articles, Check, Figure, Verdict, check};
use crate::estimate::text;

/// The checks as text or as JSON.
pub(super) fn checked(catalogue: &Catalogue, json: bool) -> anyhow::Result<String> {
    let articles = Articles::builtin();
    let checks = check(articles, catalogue)?;
    if json {
        return Ok(serde_json::to_string_pretty(&listing(articles, &checks))? + "\n");
    }
    let mut page = String::new();
    for check in &checks {
        let row = (check.id.to_owned(), block(articles, check));
        page += &aligned(&[row], width());
        page.push('\n');
    }
    page += &summary(articles, &checks);
    Ok(page)
}

#[derive(Serialize)]
struct Listing<'a> {
    checks: &'a [Check],
    figures: Vec<&'a Figure>,
    references: Vec<&'a Figure>,
    sources: &'a BTreeMap<String, Source>,
}

fn listing<'a>(articles: &'a Articles, checks: &'a [Check]) -> Listing<'a> {
    Listing {
        checks,
        figures: articles.figures().collect(),
        references: articles.references().collect(),
        sources: articles.sources(),
    }
}

/// Verdict, calculation, what it means and what went in.
fn block(articles: &Articles, check: &Check) -> String {
    let finding = &check.finding;
    let mut lines = vec![format!(
        "{}: {}",
        check.subject,
        verdicts(&finding.verdicts)
    )];
    lines.extend(finding.calculation.iter().map(|step| format!("= {step}")));
    lines.push(finding.remark.clone());
    let figures = check.figures.iter().filter_map(|id| articles.get(id));
    let figures: Vec<_> = figures.map(brief).collect();
    lines.push(format!("[{}]", figures.join("; ")));
    lines.join("\n")
}

fn verdicts(verdicts: &[Verdict]) -> String {
    let words: Vec<_> = verdicts
        .iter()
        .map(|v| v.to_string().to_uppercase())
        .collect();
    words.join("; ")
}

fn brief(figure: &Figure) -> String {
    let unit = figure.unit.as_deref().unwrap_or_default();
    let count = figure
        .count
        .map_or_else(String::new, |count| format!("{} × ", count));
    let precision = figure
        .precision
        .map_or_else(String::new, |p| format!(" {p}"));
    let said = match (&figure.value, &figure.date, &figure.statement) {
        (Some(value), _, _) => format!("{count}{}{precision}", text::as_stated(*value, unit)),
        (None, Some(date), _) => date.to_string(),
        (None, None, statement) => statement.clone().unwrap_or_default(),
    };
    format!("{} {said}", figure.id)
}

/// How many checks ended how.
fn summary(articles: &Articles, checks: &[Check]) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for verdict in checks.iter().flat_map(|check| &check.finding.verdicts) {
        *counts.entry(*verdict).or_default() += 1;
    }
    let mut rows = vec![(
        format!("{}", checks.len()),
        format!(
            "checks of {} figures; a check may have several verdicts",
            articles.figures().count()
        ),
    )];
    rows.extend(
        counts
            .into_iter()
            .map(|(verdict, count)| (count.to_string(), verdict.to_string())),
    );
    let mut text = aligned(&rows, width());
    text += "  A and B are the two articles, R are references. --json has every figure with its\n  quotation and its source.\n";
    text
}
