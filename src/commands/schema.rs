//! `flopwatt schema`: the JSON Schema of the report.

use super::{Exit, Outcome, print};
use crate::record::Report;

/// Print the JSON Schema of report.json
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema on standard output.
pub fn run(_args: Args) -> Outcome {
    print(&(serde_json::to_string_pretty(&Report::schema())? + "\n"))?;
    Ok(Exit::Ok)
}
