//! Two builds, measured now, here and in turn: whether head is slower than base.
//!
//! What can be known for certain comes first: outputs, counts of operations, cases
//! that have vanished. Only if all of that is well are pairs of batches timed, until
//! each case is decided or its share of the time is spent.

pub mod accepted;
mod arena;
pub mod base;
mod build;
mod facts;
mod judge;
mod rounds;
pub mod self_test;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

pub use accepted::{Accepted, Usage};

use crate::compare::{self, Case, Comparison, Quantity, Threshold, Verdict};
use crate::gpu::adapter::AdapterDescription;
use crate::power::PowerSpec;
use crate::record::Shaders;
use crate::session::WorkerError;
use crate::session::protocol::{PowerRequest, Request};
use crate::units::Seconds;

/// Probability, over all cases of a gate and all its bases together, of calling any
/// slower (or faster, or the same) that is not.
pub const ALPHA: f64 = 0.05;

/// A build that takes part.
pub struct Contestant<'a> {
    /// What is known of it.
    pub side: compare::Side,
    /// How a worker process of it is started.
    pub worker: &'a dyn Fn() -> Command,
    /// Its templates, as its workers load them.
    pub shaders: Shaders,
}

/// How many threads Mesa's software drivers compute with.
const MESA_THREADS: &str = "LP_NUM_THREADS";

/// A worker process of `program`. On a software adapter it computes with one thread
/// unless the user has said otherwise: two get in each other's way on the halves of
/// one core, or do not, for as long as they happen to be placed so. What is compared
/// is the work of the shader, not how it spreads over processors.
pub fn worker(program: &Path, software: bool) -> Command {
    let mut command = Command::new(program);
    command.arg("worker");
    if software && std::env::var_os(MESA_THREADS).is_none() {
        command.env(MESA_THREADS, "1");
    }
    command
}

/// Where the two sides run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each in a process of its own build.
    TwoProcesses,
    /// Both in one process of head, which differ by their templates only.
    OneProcess,
}

impl Mode {
    /// What the comparison says of it.
    fn method(self) -> &'static str {
        match self {
            Self::TwoProcesses => "pairs measured in turn, in a process of each build",
            Self::OneProcess => "pairs measured in turn, in one process with both sets of shaders",
        }
    }
}

/// What a gate is to compare.
pub struct Plan<'a> {
    /// What head is held against.
    pub base: Contestant<'a>,
    /// What is judged.
    pub head: Contestant<'a>,
    /// Where they run.
    pub mode: Mode,
    /// The adapter that both run on.
    pub adapter: AdapterDescription,
    /// Cases, as `run` takes them.
    pub filters: Vec<String>,
    /// Time for the pairs of all cases together.
    pub budget: Seconds,
    /// What counts as a change of speed.
    pub threshold: Threshold,
    /// Seed of the inputs and of every order that is left to chance.
    pub seed: u64,
    /// The source of power whose energy is compared as well, where one is to be.
    pub power: PowerSpec,
    /// Probability, over all cases together, of a verdict that is wrong.
    pub alpha: f64,
    /// Set when the gate is to end early.
    pub interrupted: &'a AtomicBool,
}

/// Hears how a gate goes on.
pub trait Observer {
    /// A step on case `name`, number `index` of `count`, begins.
    fn case_begins(&mut self, name: &str, index: usize, count: usize);
    /// What it is doing.
    fn phase(&mut self, phase: &str);
    /// The case is decided.
    fn case_ended(&mut self, case: &Case);
}

/// Why a gate cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No worker of head opens the adapter.
    #[error("the adapter cannot be used: {0}")]
    Adapter(#[source] WorkerError),
    /// Neither build knows a case of that name.
    #[error(
        "no case of base or head matches \"{0}\"; cases are operation/precision/variant/shape, such as matmul/f32/*"
    )]
    NoCases(String),
    /// Interrupted before anything was known.
    #[error("interrupted")]
    Interrupted,
}

/// The wait was interrupted.
struct Interrupted;

impl Plan<'_> {
    /// The request with which a worker of `contestant` begins.
    fn open(&self, contestant: &Contestant) -> Request {
        Request::Open {
            adapter: Box::new(self.adapter.clone()),
            shaders: contestant.shaders.clone(),
            power: PowerRequest {
                wanted: self.power.to_string(),
                sensor: None,
            },
        }
    }

    /// Whose time is compared: that of the adapter, which on a software adapter is the
    /// processor's own. What passes meanwhile depends on whoever else is there.
    fn clock(&self) -> &'static str {
        match self.adapter.is_software() {
            true => ", by processor time",
            false => "",
        }
    }

    /// A comparison that holds no case yet.
    fn comparison(&self) -> Comparison {
        let adapter = &self.adapter;
        Comparison {
            schema_version: compare::SCHEMA_VERSION.to_owned(),
            method: format!("{}{}", self.mode.method(), self.clock()),
            base: self.base.side.clone(),
            also_base: None,
            head: self.head.side.clone(),
            adapter: Some(format!(
                "{}, {}",
                adapter.name,
                adapter.driver_and_version()
            )),
            threshold: self.threshold,
            alpha: Some(self.alpha),
            seed: Some(self.seed),
            incomparable: None,
            complete: false,
            warnings: Vec::new(),
            cases: Vec::new(),
        }
    }
}

/// Compares the two builds. What fails passes where `accepted` says so. An interruption
/// leaves the comparison incomplete, with what was decided before.
///
/// # Errors
/// When head cannot be measured at all, or no case is named.
pub fn run(
    plan: &Plan,
    accepted: &mut Usage,
    observer: &mut dyn Observer,
) -> Result<Comparison, GateError> {
    let mut comparison = plan.comparison();
    let known = match facts::Known::of(plan, observer)? {
        Ok(known) => known,
        Err(why) => {
            comparison.incomparable = Some(why);
            comparison.complete = true;
            return Ok(comparison);
        }
    };
    let (mut ended, ready) = (known.ended, known.ready);
    for case in &mut ended {
        accepted.apply(case);
        observer.case_ended(case);
    }
    let fails = ended.iter().any(|case| case.fails);
    comparison.complete = known.complete;
    comparison.cases = ended;
    if fails {
        let untimed = ready.iter().map(|ready| {
            let note = "not timed, since the gate fails already";
            Case::untimed(ready.id.to_string(), Verdict::Incomparable, note)
        });
        comparison.cases.extend(untimed);
    } else if known.complete {
        let mut quantities = vec![Quantity::Time];
        match known.energy {
            Ok(()) => quantities.push(Quantity::Energy),
            Err(why) if plan.power != PowerSpec::None => {
                let warning = format!("energy is not compared: {why}");
                comparison.warnings.push(warning);
            }
            Err(_) => {}
        }
        let done = measure(plan, &ready, &quantities, observer, |mut case, observer| {
            accepted.apply(&mut case);
            observer.case_ended(&case);
            comparison.cases.push(case);
        });
        comparison.complete = done;
    }
    Ok(comparison)
}

/// Measures every case that is ready; whether all were come to.
fn measure(
    plan: &Plan,
    ready: &[facts::Ready],
    quantities: &[Quantity],
    observer: &mut dyn Observer,
    mut on_case: impl FnMut(Case, &mut dyn Observer),
) -> bool {
    let mut left = plan.budget;
    let of_case = |case| quantities.iter().map(move |&quantity| (case, quantity));
    let steps: Vec<(&facts::Ready, Quantity)> = ready.iter().flat_map(of_case).collect();
    for (index, &(case, quantity)) in steps.iter().enumerate() {
        observer.case_begins(&case.id.to_string(), index, steps.len());
        let limits = rounds::Limits {
            // What one case leaves over is there for the others.
            share: Seconds(left.0 / (steps.len() - index) as f64),
            alpha: plan.alpha / steps.len() as f64,
        };
        let Ok(case) = rounds::decide(plan, case, quantity, limits, observer) else {
            return false;
        };
        // A second round has a share of its own.
        let took = case.rounds.first().map_or(0.0, |round| round.took_s.0);
        left.0 = (left.0 - took).max(0.0);
        on_case(case, observer);
    }
    true
}

#[cfg(test)]
mod simulation;
#[cfg(all(test, unix))]
mod tests;
