//! `flopwatt datasheets`: peaks with their sources.

use std::fmt::Write as _;

use anyhow::anyhow;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{Exit, Failure, Outcome, print};
use crate::console::plain;
use crate::datasheet::{Accumulate, Catalogue, Datasheet, Figure, FigureKind, Sparsity};

mod check;
mod file;
mod table;

pub use file::DatasheetFile;

/// Print datasheet peaks with their sources
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An id, or a part of a name: its peaks, notes and sources
    name: Option<String>,
    #[command(flatten)]
    file: DatasheetFile,
    /// All of them side by side: peaks, and peaks per watt, by precision
    #[arg(long)]
    table: bool,
    /// Say what is wrong with the datasheets, and what they leave open
    #[arg(long, conflicts_with_all = ["name", "table"])]
    check: bool,
    /// Print JSON instead of a table; without --table and --check, in the format that
    /// --datasheets reads
    #[arg(long)]
    json: bool,
}

/// Prints the datasheets on standard output.
pub fn run(args: Args) -> Outcome {
    if args.check {
        return check(&args);
    }
    let catalogue = &args.file.load()?;
    let chosen = match &args.name {
        Some(name) => named(catalogue, name)?,
        None => catalogue.datasheets().iter().collect(),
    };
    let text = if args.table {
        table::report(&chosen, args.json)?
    } else if args.json {
        serde_json::to_string_pretty(&catalogue.only(&chosen))? + "\n"
    } else if args.name.is_some() {
        let pages: Vec<_> = chosen.iter().map(|sheet| page(catalogue, sheet)).collect();
        pages.join("\n")
    } else {
        overview(&chosen)
    };
    print(&text)?;
    Ok(Exit::Ok)
}

/// Prints what is wrong with the files; the exit status says whether anything is.
fn check(args: &Args) -> Outcome {
    let files = args.file.examine()?.files;
    print(&check::report(&files, args.json)?)?;
    let sound = files.iter().all(|file| file.flaws.is_empty());
    Ok(if sound { Exit::Ok } else { Exit::Failed })
}

/// The datasheets that a person may mean, at least one.
pub(super) fn named<'c>(
    catalogue: &'c Catalogue,
    name: &str,
) -> Result<Vec<&'c Datasheet>, Failure> {
    let found = catalogue.find(name);
    if !found.is_empty() {
        return Ok(found);
    }
    let nearest: Vec<_> = catalogue
        .nearest(name, 3)
        .iter()
        .map(|sheet| sheet.id.as_str())
        .collect();
    let hint = if nearest.is_empty() {
        "`flopwatt datasheets` lists them all".to_owned()
    } else {
        format!("the nearest are {}", nearest.join(", "))
    };
    let error = anyhow!("no datasheet has the id or a name like `{name}`; {hint}");
    Err(error.into())
}

/// One line for each datasheet.
fn overview(sheets: &[&Datasheet]) -> String {
    const COLUMNS: [FigureKind; 4] = [
        FigureKind::Fp32,
        FigureKind::Fp16Tensor,
        FigureKind::MemoryBandwidth,
        FigureKind::BoardPower,
    ];
    let mut table = bare_table();
    let mut header = vec!["name".to_owned()];
    header.extend(COLUMNS.map(|kind| format!("{kind}\n{}", kind.unit())));
    header.push("best\nevidence".to_owned());
    table.set_header(header);
    for sheet in sheets {
        let mut row = vec![plain(&sheet.name)];
        row.extend(COLUMNS.map(|kind| or_dash(sheet.figure(kind).map(|figure| figure.value))));
        row.push(or_dash(sheet.best_tier()));
        table.add_row(row);
    }
    for index in 1..=COLUMNS.len() {
        align_right(&mut table, index);
    }
    lines_of(&table)
}

/// Everything that is known about one accelerator.
fn page(catalogue: &Catalogue, sheet: &Datasheet) -> String {
    let mut cited = Vec::new();
    let mut out = heading(sheet);
    out.push('\n');
    out.push_str(&figures_table(sheet.figures.iter(), &mut cited));
    for variant in &sheet.variants {
        let _ = writeln!(out, "\n{}", plain(&variant.name));
        out.push_str(&figures_table(variant.figures.iter(), &mut cited));
    }
    if !sheet.notes.is_empty() {
        out.push_str("\nNotes\n");
    }
    for note in &sheet.notes {
        let _ = writeln!(out, "- {}", plain(note));
    }
    if !cited.is_empty() {
        out.push_str("\nSources\n");
    }
    for (index, id) in cited.iter().enumerate() {
        let _ = writeln!(out, "[{}] {}", index + 1, source_line(catalogue, id));
    }
    out
}

fn heading(sheet: &Datasheet) -> String {
    let [name, id, vendor] = [&sheet.name, &sheet.id, &sheet.vendor].map(|text| plain(text));
    let mut out = format!("{name} ({id})\n{vendor}");
    if let Some(year) = sheet.year {
        let _ = write!(out, ", {year}");
    }
    let ids: Vec<_> = sheet
        .pci_devices
        .iter()
        .map(|device| format!("{}:{}", sheet.pci_vendor, device.id))
        .collect();
    if !ids.is_empty() {
        let _ = write!(out, ", PCI {}", ids.join(", "));
    }
    let names: Vec<_> = sheet
        .names
        .iter()
        .map(|name| format!("“{}”", plain(name)))
        .collect();
    let _ = writeln!(
        out,
        "\nreports itself as {} ({})",
        names.join(", "),
        sheet.names_status
    );
    if sheet.devices_reported.get() > 1 {
        let _ = writeln!(
            out,
            "appears as {} devices; the figures are for all of them together",
            sheet.devices_reported
        );
    }
    out
}

/// A table of figures. Sources not yet in `cited` are added to it, and the
/// table refers to them by number.
fn figures_table<'c>(
    figures: impl Iterator<Item = (&'c FigureKind, &'c Figure)>,
    cited: &mut Vec<&'c str>,
) -> String {
    let mut table = bare_table();
    for (kind, figure) in figures {
        let numbers: Vec<_> = figure
            .sources
            .iter()
            .map(|id| format!("[{}]", number_of(id, cited)))
            .collect();
        table.add_row([
            kind.to_string(),
            figure.value.to_string(),
            figure.unit.to_string(),
            conditions(figure),
            figure.tier.to_string(),
            numbers.join(" "),
        ]);
    }
    if table.is_empty() {
        return "no figures\n".to_owned();
    }
    align_right(&mut table, 1);
    lines_of(&table)
}

/// The number of a source, counted from one in the order of citation.
fn number_of<'c>(id: &'c str, cited: &mut Vec<&'c str>) -> usize {
    let index = cited.iter().position(|&other| other == id);
    index.unwrap_or_else(|| {
        cited.push(id);
        cited.len() - 1
    }) + 1
}

fn conditions(figure: &Figure) -> String {
    let sparsity = figure.sparsity.map(|Sparsity::Dense| "dense".to_owned());
    let accumulate = figure.accumulate.map(|accumulate| match accumulate {
        Accumulate::F32 => "FP32 accumulate".to_owned(),
        Accumulate::F16 => "FP16 accumulate".to_owned(),
    });
    let clock = figure.clock_mhz.map(|mhz| format!("at {mhz} MHz"));
    let stated: Vec<_> = [sparsity, accumulate, clock]
        .into_iter()
        .flatten()
        .collect();
    stated.join(", ")
}

fn source_line(catalogue: &Catalogue, id: &str) -> String {
    match catalogue.sources().get(id) {
        None => plain(id),
        Some(source) => match &source.url {
            Some(url) => format!("{}\n    {}", plain(&source.title), plain(url)),
            None => plain(&source.title),
        },
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A table without lines or colours, as wide as the terminal; where there is
/// none, as wide as its content.
fn bare_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn align_right(table: &mut Table, index: usize) {
    if let Some(column) = table.column_mut(index) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The table's lines without the padding that the preset leaves around them.
fn lines_of(table: &Table) -> String {
    table
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
        .collect()
}
