//! `flopwatt datasheets`: peaks with their sources.

use super::{Exit, Outcome};

/// Print datasheet peaks with their sources
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Prints the datasheets on standard output.
pub fn run(_args: Args) -> Outcome {
    Ok(Exit::Ok)
}
