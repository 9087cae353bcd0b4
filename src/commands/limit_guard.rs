//! `flopwatt limit-guard`: the process that sets and restores power limits, for
//! the program's own use.

use super::{Exit, Outcome};
use crate::session::guard;

/// Set power limits that standard input asks for, and restore the old one when it
/// ends (used by flopwatt itself)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// NVML's number of the GPU
    gpu: u32,
}

/// Serves requests until standard input ends.
pub fn run(args: Args) -> Outcome {
    guard::serve(args.gpu)?;
    Ok(Exit::Ok)
}
