//! `flopwatt compare`: what changed from one report to another.

use std::path::{Path, PathBuf};

use super::verdicts::Output;
use super::{Exit, Failure, Outcome};
use crate::compare::{self, Comparison, Threshold, Verdict};
use crate::record::{LoadError, Report};

/// Compare two reports case by case. Runs of different times are information, not a
/// judgement: for that there is gate
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Report of the earlier run: a report.json, or its folder
    base: PathBuf,

    /// Report of the later run
    head: PathBuf,

    /// End with exit status 1 if any case has this verdict
    #[arg(long, value_enum, value_name = "VERDICT")]
    fail_on: Option<FailOn>,

    /// What counts as a change of speed, in percent [default: 5 on a software
    /// adapter, 2 on a GPU]
    #[arg(long, value_name = "PERCENT")]
    threshold: Option<Threshold>,

    #[command(flatten)]
    output: Output,
}

/// A verdict that a comparison can fail on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A case is slower by more than the threshold
    Slower,
}

/// Compares the two reports and prints the verdicts.
pub fn run(args: Args) -> Outcome {
    let mut comparison = match (load(&args.base)?, load(&args.head)?) {
        (Ok(base), Ok(head)) => compare::reports(&base, &head, args.threshold),
        (Err(why), _) | (_, Err(why)) => Comparison::impossible(
            [&args.base, &args.head].map(|p| p.display().to_string()),
            why,
        ),
    };
    if args.fail_on == Some(FailOn::Slower) {
        for case in &mut comparison.cases {
            case.fails = case.verdict == Verdict::Slower;
        }
    }
    args.output.publish(&comparison)?;
    let fails = comparison.cases.iter().any(|case| case.fails);
    Ok(if fails { Exit::Failed } else { Exit::Ok })
}

/// A report, or why it cannot be compared with any.
fn load(path: &Path) -> Result<Result<Report, String>, Failure> {
    match super::load(path) {
        Ok(report) => Ok(Ok(report)),
        Err(error @ LoadError::Version { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
