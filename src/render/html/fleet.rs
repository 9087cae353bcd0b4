//! The page of many reports.

use minijinja::context;
use minijinja::value::Serde;
use serde::Serialize;

use super::page::{Cell, Heading, Table, figure};
use super::{environment, surroundings};
use crate::fleet::Fleet;
use crate::render::Document;
use crate::render::chart::Distribution;
use crate::render::fleet::{self, Part, of_page, summary};

/// Rows of a long table: a page of many more is slow.
const MOST_ROWS: usize = 500;

const TEMPLATE: &str = "fleet.html";

/// A table, and how many of its rows are not shown.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    table: Table,
    more: usize,
}

/// One page with a chart that opens offline.
pub fn page(fleet: &Fleet) -> Document {
    let text = filled(fleet).expect("the template is part of the program and tested");
    Document {
        file: TEMPLATE.to_owned(),
        text,
    }
}

fn filled(fleet: &Fleet) -> Result<String, minijinja::Error> {
    let parts = of_page(fleet, MOST_ROWS).into_iter();
    let parts: Vec<Shown> = parts.map(shown).collect();
    let distribution = Distribution::of(fleet);
    environment(TEMPLATE, include_str!("fleet.html"))?
        .get_template(TEMPLATE)?
        .render(context! {
            title => format!("flopwatt: {} reports", fleet.reports.merged),
            summary => summary(fleet),
            rows_left_out => distribution.as_ref().map_or(0, |d| d.rows_left_out),
            distribution => Serde(distribution.map(|d| figure(&d.chart, String::new()))),
            parts => Serde(parts),
            ..surroundings()
        })
}

fn shown(part: Part) -> Shown {
    let cell = |(cell, (_, numeric)): (fleet::Cell, &(_, bool))| Cell {
        text: cell.text,
        note: String::new(),
        class: if *numeric { "number" } else { "" }.into(),
        value: cell.value.map(|value| format!("{value:.6e}")),
    };
    let rows = part.rows.into_iter();
    let rows = rows.map(|row| row.into_iter().zip(&part.headings).map(cell).collect());
    let headings = part.headings.iter().map(|(text, numeric)| Heading {
        text: (*text).to_owned(),
        numeric: *numeric,
    });
    Shown {
        more: part.more,
        table: Table {
            title: part.title,
            rows: rows.collect(),
            headings: headings.collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fleet::example;

    #[test]
    fn a_page_has_words_a_chart_and_every_table() {
        let page = page(&example());
        assert_eq!(page.file, "fleet.html");
        let mut rest = page.text.as_str();
        for part in [
            "<title>flopwatt: 4 reports</title>",
            "4 reports of 4 cards on 4 hosts",
            "<svg class=\"chart wide\"",
            "class=\"window\"",
            "data-outlier=",
            "matmul/f32/register/4096x4096x4096",
            "Cards slower than others of their kind",
            "Rate per watt",
            "Hosts, slowest first",
            "Left out: 1 file",
            "</html>\n",
        ] {
            let at = rest.find(part);
            let at = at.unwrap_or_else(|| panic!("{part} is missing, or before the one above"));
            rest = &rest[at..];
        }
    }

    #[test]
    fn hostile_names_are_text() {
        let text = page(&example()).text;
        let scripts = text.matches("<script>").count();
        assert_eq!(scripts, 1, "its own");
        assert!(!text.contains("<b>") && !text.contains("<i>"), "{text}");
        assert!(text.contains("node03&lt;b&gt;"));
        assert!(!text.contains('\u{1b}'));
    }
}
