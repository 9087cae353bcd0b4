//! `flopwatt compare`: what changed from one report to another.

use std::path::{Path, PathBuf};

use super::verdicts::{FailOn, Output};
use super::{Exit, Failure, Outcome};
use crate::compare::{self, Comparison, Threshold};
use crate::record::{LoadError, Report};

/// Compare two reports case by case. Runs of different times are information, not a
/// judgement: for that there is gate
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Report of the earlier run: a report.json, or its folder
    base: PathBuf,

    /// Report of the later run
    head: PathBuf,

    /// Which verdicts end with exit status 1
    #[arg(long, value_enum, value_name = "VERDICT")]
    fail_on: Option<FailOn>,

    /// What counts as a change of speed, in percent [default: 5 on a software
    /// adapter, 2 on a GPU]
    #[arg(long, value_name = "PERCENT")]
    threshold: Option<Threshold>,

    #[command(flatten)]
    output: Output,
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
    if let Some(fail_on) = args.fail_on {
        for case in &mut comparison.cases {
            case.fails = fail_on.fails(case.verdict);
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
