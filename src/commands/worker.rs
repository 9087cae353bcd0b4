//! `flopwatt worker`: the process that measures, for the program's own use.

use super::{Exit, Outcome};
use crate::session::worker;

/// Measure what standard input asks for (used by flopwatt itself)
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves requests until standard input ends.
pub fn run(_args: Args) -> Outcome {
    worker::serve()?;
    Ok(Exit::Ok)
}
