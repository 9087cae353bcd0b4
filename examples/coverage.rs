//! Whether intervals hold what they say, on this machine.
//!
//!     cargo build --release && cargo run --release --example coverage
//!
//! Measures one case in many fresh processes, each of which leaves its report in a
//! folder of its own, so that the trial can be stopped and continued. What is true is
//! taken to be the median of the figures of all runs without a flag. Printed is how many
//! of the runs' intervals hold that, with Clopper and Pearson's bounds at 95 %, of runs
//! without a flag and of those with one. Fails where less than 90 % of the former do.
//! Where every run carries a flag nothing is shown of the former: that fails as well,
//! and the median of all is taken for the truth.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Parser;
use flopwatt::measure::measurement::{Measurement, Status, Time};
use flopwatt::record;
use flopwatt::stats;

/// Less than this share of intervals that hold the truth is a failure.
const LEAST: f64 = 0.9;

/// Measure one case again and again, and count the intervals that hold the median
#[derive(Debug, Parser)]
struct Arguments {
    /// The program whose intervals are tried
    #[arg(long, default_value = "target/release/flopwatt")]
    program: PathBuf,
    /// Folder with a folder for each run
    #[arg(long, default_value = "target/coverage")]
    out: PathBuf,
    /// Runs that there are to be
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// The case
    #[arg(long, default_value = "matmul/f32/register/256x256x256")]
    case: String,
    /// Effort
    #[arg(long, default_value = "standard")]
    tier: String,
    /// Adapter, as for flopwatt
    #[arg(long, default_value = "cpu")]
    adapter: String,
    /// Only count what the folder holds
    #[arg(long)]
    table: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let out = arguments.out.join(&arguments.tier).join(&arguments.case);
    for number in (1..=arguments.runs).filter(|_| !arguments.table) {
        let folder = out.join(format!("{number:03}"));
        if !folder.join(record::REPORT_FILE).exists() {
            measure(&arguments, &folder)?;
            eprintln!("{number} of {}", arguments.runs);
        }
    }
    let measured = load(&out)?;
    let (text, share) = table(&measured)?;
    print!("{text}");
    Ok(match share >= LEAST {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs the case in a process of its own. What it leaves is moved to `folder` once it
/// is whole.
fn measure(arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    let begun = folder.with_extension("begun");
    if begun.exists() {
        fs::remove_dir_all(&begun)?;
    }
    let mut command = Command::new(&arguments.program);
    command.args(["run", &arguments.case, "--tier", &arguments.tier]);
    command.args(["--adapter", &arguments.adapter, "--power", "none", "--json"]);
    let output = command.arg("--out").arg(&begun).output();
    let output = output.with_context(|| format!("cannot run {}", arguments.program.display()))?;
    ensure!(
        output.status.success(),
        "a run ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&begun, folder)?;
    Ok(())
}

/// The case of every run that is whole.
fn load(out: &Path) -> anyhow::Result<Vec<Measurement>> {
    let folders = fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))?;
    let folders: std::io::Result<Vec<PathBuf>> = folders.map(|entry| Ok(entry?.path())).collect();
    let mut folders = folders?;
    folders.retain(|folder| folder.extension().is_none());
    folders.sort();
    let cases = folders.iter().map(|folder| {
        let report = record::load(folder)?;
        let mut cases = report.measurements.into_iter();
        let case = cases.next_back().filter(|case| case.status == Status::Ok);
        case.with_context(|| format!("{}: no figure", folder.display()))
    });
    cases.collect()
}

/// What was found, and the share of runs without a flag whose intervals hold the truth.
fn table(measured: &[Measurement]) -> anyhow::Result<(String, f64)> {
    let (quiet, flagged): (Vec<_>, Vec<_>) =
        measured.iter().partition(|case| case.flags.is_empty());
    let medians = |of: &[&Measurement]| -> Vec<f64> { times(of).map(|t| t.median_s.0).collect() };
    let (taken, whose) = match quiet.len() {
        0 => (flagged.clone(), "all"),
        _ => (quiet.clone(), "the latter"),
    };
    let taken_medians = medians(&taken);
    let truth = stats::median(&taken_medians).context("there is no run")?;
    let percent = |q: f64| {
        let at = stats::quantile(&taken_medians, q).unwrap_or(truth);
        100.0 * (at / truth - 1.0)
    };
    let says = times(&taken).find_map(Time::interval_in_words);
    let mut text = format!(
        "{} runs, {} without a flag; the median of {whose} is {truth:.6e} s; half of them from {:+.2} to \
         {:+.2} %\nintervals: {}\n",
        measured.len(),
        quiet.len(),
        percent(0.25),
        percent(0.75),
        says.unwrap_or_else(|| "none".to_owned()),
    );
    let interval = |t: &Time| t.interval_s.map(|i| i.ends().map(|s| s.0));
    let of_first_life = |t: &Time| t.lives.first()?.spread_s.map(|ends| ends.map(|s| s.0));
    let (line, share) = holding("without a flag", &quiet, truth, interval);
    text += &line;
    text += &holding(
        "  spread of the first life alone",
        &quiet,
        truth,
        of_first_life,
    )
    .0;
    text += &holding("with a flag", &flagged, truth, interval).0;
    let mut flags = BTreeMap::<String, usize>::new();
    for flag in flagged.iter().flat_map(|case| &case.flags) {
        *flags.entry(flag.to_string()).or_default() += 1;
    }
    for (flag, count) in flags {
        text += &format!("  {flag} {count}\n");
    }
    Ok((text, share))
}

/// How many of these intervals hold the truth.
fn holding(
    name: &str,
    of: &[&Measurement],
    truth: f64,
    interval: impl Fn(&Time) -> Option<[f64; 2]>,
) -> (String, f64) {
    let intervals: Vec<[f64; 2]> = times(of).filter_map(interval).collect();
    let holds = intervals
        .iter()
        .filter(|[low, high]| (*low..=*high).contains(&truth));
    let holds = holds.count();
    let halves: Vec<f64> = intervals
        .iter()
        .map(|[low, high]| 50.0 * (high - low) / truth)
        .collect();
    let bounds = stats::clopper_pearson(holds as u64, intervals.len() as u64, 0.95);
    let bounds = bounds.zip(stats::median(&halves));
    let bounds = bounds.map_or_else(String::new, |([low, high], half)| {
        format!(
            ", {:.1} % to {:.1} % at 95 %; half of them narrower than ±{half:.2} %",
            100.0 * low,
            100.0 * high
        )
    });
    let line = format!("{name}: {holds} of {} hold it{bounds}\n", intervals.len());
    (line, holds as f64 / intervals.len().max(1) as f64)
}

fn times<'a>(of: &[&'a Measurement]) -> impl Iterator<Item = &'a Time> {
    let times: Vec<&Time> = of.iter().filter_map(|case| case.time.as_ref()).collect();
    times.into_iter()
}
