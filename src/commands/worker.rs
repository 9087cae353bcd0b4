//! `flopwatt worker`: the process that measures, for the program's own use.

use super::{Exit, Outcome, catch_signals, start_threads};
use crate::session::worker;

/// Measure what standard input asks for (used by flopwatt itself)
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves requests until standard input ends.
pub fn run(_args: Args) -> Outcome {
    // Whoever ends the parent may signal this process as well, as Slurm signals all
    // of a job's: it ends with its input, and no case fails because of the signal.
    catch_signals(|| {})?;
    end_with_parent();
    start_threads()?;
    worker::serve()?;
    Ok(Exit::Ok)
}

/// A worker that is stopped, or whose driver hangs, does not see its input end. The
/// thread that starts a worker lives as long as the worker is wanted.
#[cfg(target_os = "linux")]
fn end_with_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // Where that cannot be had, the end of the input is left.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() {}
