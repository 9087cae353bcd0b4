//! The command line: one verb a file, each exporting its `Args` and `run`.
//!
//! Standard output is data, standard error is talk.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fmt, panic};

use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::console::{print, say};
use crate::gpu::select::SelectError;
use crate::record::{self, LoadError, Report};
use crate::session::{LockError, SessionError};

pub mod codegen;
pub mod compare;
pub mod datasheets;
pub mod devices;
pub mod estimate;
pub mod fleet;
pub mod gate;
pub mod limit_guard;
mod limits;
pub mod power;
pub mod report;
pub mod run;
pub mod schema;
mod setup;
pub mod shader;
pub mod tune;
mod verdicts;
pub mod worker;

/// Exit statuses, the same for every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well; skipped cases are well too.
    Ok = 0,
    /// A case was rejected or failed.
    Failed = 1,
    /// Wrong usage, an I/O error, or an explicitly named case that cannot run
    /// on this adapter.
    Usage = 2,
    /// Nothing could be measured.
    NothingMeasured = 3,
    /// Interrupted; what was measured is saved.
    Interrupted = 130,
}

/// An error that ends a command, with the exit status it leads to.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit status.
    pub exit: Exit,
    /// What happened, where, and what to do next.
    pub error: anyhow::Error,
}

/// Errors are usage or I/O errors, but for those that leave nothing to measure.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self {
            exit: exit_of(&error),
            error,
        }
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    let nothing_to_measure = error
        .downcast_ref()
        .is_some_and(SelectError::nothing_to_measure);
    if nothing_to_measure || matches!(error.downcast_ref(), Some(SessionError::Adapter(_))) {
        return Exit::NothingMeasured;
    }
    match error.downcast_ref() {
        Some(LockError::Held(_)) => Exit::NothingMeasured,
        Some(LockError::Interrupted) => Exit::Interrupted,
        _ => Exit::Usage,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

/// What every verb returns.
pub type Outcome = Result<Exit, Failure>;

/// GPU compute benchmarks that verify every kernel, time it on the device and
/// set the result against the datasheet.
#[derive(Debug, Parser)]
#[command(
    name = "flopwatt",
    bin_name = "flopwatt",
    version,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Report(report::Args),
    Fleet(fleet::Args),
    Compare(compare::Args),
    Gate(gate::Args),
    Devices(devices::Args),
    Power(power::Args),
    Datasheets(datasheets::Args),
    Estimate(estimate::Args),
    Shader(shader::Args),
    Codegen(codegen::Args),
    Tune(tune::Args),
    Schema(schema::Args),
    #[command(hide = true)]
    Worker(worker::Args),
    #[command(hide = true)]
    LimitGuard(limit_guard::Args),
}

/// Parses the command line, runs the verb and returns its exit status.
pub fn main() -> ExitCode {
    if env::var_os("RUST_BACKTRACE").is_none() {
        panic::set_hook(Box::new(|panic| say(format!("error: a defect: {panic}"))));
    }
    let cli = Cli::try_parse().unwrap_or_else(refuse);
    let outcome = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Report(args) => report::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Power(args) => power::run(args),
        Command::Datasheets(args) => datasheets::run(args),
        Command::Estimate(args) => estimate::run(args),
        Command::Shader(args) => shader::run(args),
        Command::Codegen(args) => codegen::run(args),
        Command::Tune(args) => tune::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Worker(args) => worker::run(args),
        Command::LimitGuard(args) => limit_guard::run(args),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        say(format!("error: {failure}"));
        failure.exit
    });
    ExitCode::from(exit as u8)
}

/// Says what is wrong with the arguments, or shows what they ask clap for, and ends.
fn refuse(told: clap::Error) -> Cli {
    match told.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => told.exit(),
        _ => say(told.to_string()),
    }
    std::process::exit(told.exit_code())
}

/// Starts the threads that share long calculations, one for each processor. rayon would
/// start them when it first needs them, and panic where the system refuses.
fn start_threads() -> anyhow::Result<()> {
    let started = rayon::ThreadPoolBuilder::new().build_global();
    started.map_err(|why| {
        anyhow!(
            "cannot start a thread for each processor ({why}): allow more processes (ulimit -u) \
             or memory (ulimit -v), or set RAYON_NUM_THREADS=1"
        )
    })
}

/// Has Ctrl-C, SIGTERM and SIGHUP call `handler`, in a thread of its own.
fn catch_signals(handler: fn()) -> anyhow::Result<()> {
    ctrlc::set_handler(handler).map_err(|error| match error {
        ctrlc::Error::System(why) => anyhow!("cannot catch signals: {why}"),
        other => anyhow!("cannot catch signals: {other}"),
    })
}

/// Reads a report, and says so where it is not what was once written, or nobody can
/// tell.
fn load(path: &Path) -> Result<Report, LoadError> {
    let (report, content) = record::read(path)?;
    if let Some(doubt) = content.doubt(&report) {
        say(format!("warning: {} {doubt}", path.display()));
    }
    Ok(report)
}
