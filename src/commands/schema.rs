//! `flopwatt schema`: the JSON Schemas of what is written as JSON.

use super::{Exit, Outcome, print};
use crate::fleet::Fleet;
use crate::record::Report;

/// Print the JSON Schema of report.json, or of what `flopwatt fleet --json` prints
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of what
    #[arg(value_enum, default_value = "report")]
    of: Record,
}

/// A record with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Record {
    /// The report of a run
    Report,
    /// Many reports as one
    Fleet,
}

/// Prints the schema on standard output.
pub fn run(args: Args) -> Outcome {
    let schema = match args.of {
        Record::Report => Report::schema(),
        Record::Fleet => Fleet::schema(),
    };
    print(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
    Ok(Exit::Ok)
}
