//! `flopwatt report`: reports in the formats that people and programs read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::setup::say;
use super::{Exit, Failure, Outcome, print};
use crate::record::{self, REPORT_FILE, Report, Traces};
use crate::render::{self, Document, Format, Run, SortField};

/// Show reports, side by side where there are several, or turn them into what
/// other tools read
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Reports: files, or folders that hold a report.json
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,

    /// Folder to write files into, which is created where it is missing. Without
    /// one, a single format goes to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Formats, separated by commas. Without any: a table, or with --out the pages
    /// that `flopwatt run` leaves, report.html and report.md with its charts
    #[arg(long, value_enum, value_name = "FORMAT", value_delimiter = ',')]
    format: Vec<Format>,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// Sort by a field, that is a column of --format csv: cases, and reports by
    /// their best cases. Rates and percentages come from the highest, everything
    /// else from the lowest, what is missing last
    #[arg(long, value_name = "FIELD")]
    sort: Option<SortField>,

    /// Leave out what tells where it was measured: host, UUIDs, PCI addresses,
    /// paths, command line and messages of drivers
    #[arg(long, alias = "anonymize")]
    anonymise: bool,
}

/// Reads the reports, and prints or writes them.
pub fn run(args: Args) -> Outcome {
    let formats = formats(&args)?;
    let mut reports: Vec<(Report, Traces)> = Vec::new();
    for path in &args.reports {
        let report = super::load(path)?;
        let traces = record::load_traces(&report, folder_of(path));
        reports.push((report, traces));
    }
    if let Some(field) = args.sort {
        reports.sort_by(|(a, _), (b, _)| field.compare(a, b));
        for (report, _) in &mut reports {
            field.sort_cases(report);
        }
    }
    if args.anonymise {
        let numbered = reports.into_iter().zip(1..);
        reports = numbered
            .map(|((report, traces), number)| (record::anonymise(report, number), traces))
            .collect();
    }
    let (reports, traces): (Vec<Report>, Vec<Traces>) = reports.into_iter().unzip();
    let runs = reports.iter().zip(traces);
    let runs: Vec<Run> = runs
        .map(|(report, traces)| Run { report, traces })
        .collect();
    let documents = documents(&formats, &runs);
    match &args.out {
        Some(out) => write(&documents, out, &args.reports)?,
        None => print_first(&documents)?,
    }
    Ok(Exit::Ok)
}

/// The formats that are wanted; none for the pages that people read.
fn formats(args: &Args) -> Result<Vec<Format>, Failure> {
    let wanted = match (args.json, args.format.as_slice(), &args.out) {
        (true, ..) => vec![Format::Json],
        (false, [], None) => vec![Format::Table],
        (false, formats, _) => formats.to_vec(),
    };
    if wanted.len() > 1 && args.out.is_none() {
        return Err(anyhow!(
            "only one format fits on standard output: choose one, or a folder with --out DIR"
        )
        .into());
    }
    Ok(wanted)
}

fn documents(formats: &[Format], runs: &[Run]) -> Vec<Document> {
    if formats.is_empty() {
        return render::pages(runs);
    }
    let rendered = formats.iter().map(|&f| render::renderer(f).render(runs));
    rendered.collect::<Vec<_>>().concat()
}

/// Where a report's traces are: the folder itself, or that of the file.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !path.is_dir() => parent,
        _ => path,
    }
}

/// Prints the main document of a format and says what else there would be.
pub(super) fn print_first(documents: &[Document]) -> Result<(), Failure> {
    let Some((first, others)) = documents.split_first() else {
        return Ok(());
    };
    print(&first.text)?;
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|d| d.file.as_str()).collect();
        say(format!(
            "this is {}; `flopwatt report --out DIR` also writes {}",
            first.file,
            names.join(", ")
        ));
    }
    Ok(())
}

/// Writes all documents, or none where one would take the place of a report.
fn write(documents: &[Document], out: &Path, sources: &[PathBuf]) -> Result<(), Failure> {
    let sources = sources.iter().map(|source| match source.is_dir() {
        true => source.join(REPORT_FILE),
        false => source.clone(),
    });
    let sources: Vec<PathBuf> = sources.filter_map(|s| fs::canonicalize(s).ok()).collect();
    for document in documents {
        let path = out.join(&document.file);
        let is_source = fs::canonicalize(&path).is_ok_and(|path| sources.contains(&path));
        if is_source || (document.file == REPORT_FILE && path.exists()) {
            return Err(anyhow!(
                "{} is a report, which is never overwritten: choose another --out",
                path.display()
            )
            .into());
        }
    }
    render::write(documents, out)?;
    let names: Vec<_> = documents.iter().map(|d| d.file.as_str()).collect();
    say(format!("{}: {}", out.display(), names.join(", ")));
    Ok(())
}
