//! A fleet for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::Document;
use super::parts::{Part, of_page};
use super::words::summary;
use crate::fleet::Fleet;
use crate::render::table::{width, wrapped};
use crate::render::untrusted::plain;

/// Rows of a long table: the first are those that matter most.
const MOST_ROWS: usize = 20;

/// Words and tables, as wide as the terminal, or `wanted`.
pub fn table(fleet: &Fleet, wanted: Option<u16>) -> Document {
    let width = width(wanted);
    let parts = of_page(fleet, MOST_ROWS);
    let tables: String = parts.iter().map(|part| one(part, width)).collect();
    Document {
        file: "fleet.txt".to_owned(),
        text: wrapped(&summary(fleet), width) + &tables,
    }
}

fn one(part: &Part, width: usize) -> String {
    let title = wrapped(std::slice::from_ref(&part.title), width);
    let more = match part.more {
        0 => String::new(),
        more => format!("and {more} more: --json has them all\n"),
    };
    let rows = match &part.headings[..] {
        // Sentences need no grid.
        [_] => {
            let lines = part.rows.iter().flatten().map(|cell| cell.text.clone());
            wrapped(&lines.collect::<Vec<_>>(), width)
        }
        _ => grid(part, width),
    };
    format!("\n{title}{rows}{more}")
}

fn grid(part: &Part, width: usize) -> String {
    let mut table = comfy_table::Table::new();
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    let headings = part.headings.iter().map(|(heading, _)| *heading);
    let rows = part
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(&cell.text)));
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(headings)
        .add_rows(rows);
    for (index, (_, numeric)) in part.headings.iter().enumerate() {
        if let (true, Some(column)) = (numeric, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.lines();
    let lines =
        lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn a_hostile_fleet_is_words_and_tables() {
        let text = table(&example(), Some(120)).text;
        let mut rest = text.as_str();
        for part in [
            "4 reports of 4 cards on 4 hosts, 2026-01-02 03:04 to 2026-01-02 03:04 UTC\n",
            "4 of the reports without a hash",
            "cases with flags: not-converged 4\n",
            "power: 300 W, the highest of 3 cards, added up, not drawn at one time; 1 card without\n",
            "vulkan: 4 cards, 4 reports\n",
            "2.345 µs  2.345",
            "Cards slower than others of their kind, over all their cases\n",
            "50.0      5.0      5  peak/f32/fma/device",
            "f32        1",
            "344 GFLOP/s  100  the whole card",
            "node03<b>      1        1     50.0  peak/f32/fma/device  50.0\n",
            "Left out: 1 file\n<i>.json is not a flopwatt report: \u{fffd}[31m\n",
        ] {
            let at = rest.find(part);
            let at = at.unwrap_or_else(|| panic!("{part} is missing, or too early: {text}"));
            rest = &rest[at..];
        }
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }

    #[test]
    fn a_narrow_terminal_is_kept_to() {
        let text = table(&example(), Some(80)).text;
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
    }

    #[test]
    fn long_tables_are_cut_and_say_so() {
        let mut fleet = example();
        fleet.hosts = vec![fleet.hosts[0].clone(); 25];
        let text = table(&fleet, Some(120)).text;
        assert!(text.contains("and 5 more: --json has them all"), "{text}");
    }
}
