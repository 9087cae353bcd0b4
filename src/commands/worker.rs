//! `flopwatt worker`: the process that measures, for the program's own use.

use anyhow::Context;

use super::{Exit, Outcome};
use crate::session::worker;

/// Measure what standard input asks for (used by flopwatt itself)
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves requests until standard input ends.
pub fn run(_args: Args) -> Outcome {
    // Whoever ends the parent may signal this process as well, as Slurm signals all
    // of a job's: it ends with its input, and no case fails because of the signal.
    ctrlc::set_handler(|| {}).context("cannot catch signals")?;
    worker::serve()?;
    Ok(Exit::Ok)
}
