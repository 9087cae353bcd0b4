//! `flopwatt fleet`: any number of reports as one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::setup::{progress_bar, say};
use super::{Exit, Failure, Outcome, print, start_threads};
use crate::console::Stdout;
use crate::fleet::{Entry, Fleet, Ledger, LeftOut, Merged, Why};
use crate::machine::SUMMARY_FILE;
use crate::record;
use crate::render::{self, Document, fleet};

/// Merge any number of reports: by accelerator, host and driver, with the cards that
/// stand out, the most efficient and the power of all
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Reports, and folders in which every .json is looked at, however deep; neither links
    /// in them are followed nor other file systems entered
    #[arg(value_name = "REPORT|DIR", required = true)]
    paths: Vec<PathBuf>,

    /// Count figures whose flags make them doubtful as well
    #[arg(long)]
    doubtful: bool,

    /// Folder to write files into, which is created where it is missing. Without
    /// one, a single format goes to standard output
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Formats, separated by commas. Without any: a table, or with --out the page
    #[arg(long, value_enum, value_name = "FORMAT", value_delimiter = ',')]
    format: Vec<Format>,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// A format in which many reports can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tables for a terminal
    Table,
    /// Everything that is known of the whole; `flopwatt schema fleet` describes it
    Json,
    /// Every case of every report that counts, one flat measurement a line, for DuckDB,
    /// pandas and Spark; doubtful ones are marked
    Jsonl,
    /// One page with a chart that opens offline
    Html,
}

/// So many reports are read before they are taken in, and so many are in memory
/// with all their samples at most.
const AT_A_TIME: usize = 64;

/// The file of [`Format::Jsonl`].
const ROWS_FILE: &str = "fleet.jsonl";

/// Reads the reports, and prints or writes what they come to.
pub fn run(args: Args) -> Outcome {
    let formats = formats(&args)?;
    start_threads()?;
    let merged = merge(&args.paths);
    let Some(fleet) = Fleet::of(&merged, args.doubtful) else {
        return Err(nothing(&merged.left_out));
    };
    match (&args.out, formats.as_slice()) {
        (Some(out), formats) => write(&merged, &fleet, formats, out)?,
        (None, [Format::Jsonl]) => print_rows(&merged)?,
        (None, formats) => {
            let mut documents = formats.iter().filter_map(|f| document(&fleet, *f));
            documents.try_for_each(|document| print(&document.text))?;
        }
    }
    if let (Some(first), false) = (merged.left_out.first(), formats == [Format::Table]) {
        let files = merged.left_out.len();
        say(format!("left out, of {files} the first: {}", first.message));
    }
    Ok(Exit::Ok)
}

/// The formats that are wanted.
fn formats(args: &Args) -> Result<Vec<Format>, Failure> {
    let wanted = match (args.json, args.format.as_slice(), &args.out) {
        (true, ..) => vec![Format::Json],
        (false, [], None) => vec![Format::Table],
        (false, [], Some(_)) => vec![Format::Html],
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

/// Why there is nothing to show.
fn nothing(left_out: &[LeftOut]) -> Failure {
    let error = match left_out.first() {
        None => anyhow!("no .json is there: name reports, or folders that hold some"),
        Some(first) => anyhow!(
            "no report among {} files; of the first: {}",
            left_out.len(),
            first.message
        ),
    };
    error.into()
}

/// Reads every report, with progress on a terminal.
fn merge(paths: &[PathBuf]) -> Merged {
    let files: Vec<Result<PathBuf, LeftOut>> = paths.iter().flat_map(|p| files(p)).collect();
    let bar = progress_bar(files.len());
    let mut ledger = Ledger::default();
    for files in files.chunks(AT_A_TIME) {
        let read = files.par_iter().map(|file| {
            bar.inc(1);
            read(file.as_ref().map_err(Clone::clone)?)
        });
        for read in read.collect::<Vec<_>>() {
            ledger.add(read);
        }
    }
    bar.finish_and_clear();
    ledger.close()
}

/// A file that is named, or all in a folder that may be reports.
fn files(path: &Path) -> Vec<Result<PathBuf, LeftOut>> {
    if !path.is_dir() {
        return vec![Ok(path.to_owned())];
    }
    // A link could lead anywhere, such as to the whole system or to /proc.
    let entries = WalkDir::new(path)
        .same_file_system(true)
        .sort_by_file_name();
    let files = entries.into_iter().filter_map(|entry| match entry {
        Ok(entry) => {
            let path = entry.path();
            let is_json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            // What a run on several adapters leaves beside their reports.
            let is_summary = path.file_name().is_some_and(|name| name == SUMMARY_FILE);
            (entry.file_type().is_file() && is_json && !is_summary).then(|| Ok(entry.into_path()))
        }
        Err(error) => {
            let file = error.path().unwrap_or(path);
            Some(Err(LeftOut::new(file, Why::Unreadable, error.to_string())))
        }
    });
    files.collect()
}

fn read(path: &Path) -> Result<Entry, LeftOut> {
    match record::read(path) {
        Ok((report, content)) => Ledger::judge(path, &report, &content),
        Err(error) => Err(LeftOut::unloadable(path, &error)),
    }
}

/// What the reports come to; `None` for rows, which are theirs.
fn document(fleet: &Fleet, format: Format) -> Option<Document> {
    match format {
        Format::Table => Some(fleet::table(fleet, None)),
        Format::Json => Some(fleet::json(fleet)),
        Format::Html => Some(fleet::html(fleet)),
        Format::Jsonl => None,
    }
}

fn write(merged: &Merged, fleet: &Fleet, formats: &[Format], out: &Path) -> Result<(), Failure> {
    let documents = formats.iter().filter_map(|format| document(fleet, *format));
    let documents: Vec<Document> = documents.collect();
    render::write(&documents, out)?;
    let mut names: Vec<&str> = documents.iter().map(|d| d.file.as_str()).collect();
    if formats.contains(&Format::Jsonl) {
        record::stream_into(out, ROWS_FILE, |file| rows(merged, file))?;
        names.push(ROWS_FILE);
    }
    say(format!("{}: {}", out.display(), names.join(", ")));
    Ok(())
}

/// A reader that has seen enough is no error.
fn print_rows(merged: &Merged) -> io::Result<()> {
    match rows(merged, &mut Stdout) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Reads once more the reports that count, of which only the first reading could tell
/// which they are, and writes their cases.
fn rows(merged: &Merged, out: &mut dyn Write) -> io::Result<()> {
    let bar = progress_bar(merged.entries.len());
    for entries in merged.entries.chunks(AT_A_TIME) {
        let lines = entries.par_iter().map(|entry| {
            bar.inc(1);
            let report = record::load(&entry.file);
            report.map(|report| render::rows(&report))
        });
        for lines in lines.collect::<Vec<_>>() {
            let lines =
                lines.map_err(|gone| io::Error::other(format!("a report is gone: {gone}")))?;
            out.write_all(lines.as_bytes())?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}
