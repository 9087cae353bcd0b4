//! Which kernel, with which tile sizes, is the fastest on this adapter: measured,
//! among candidates that have been verified, within a budget of time.

mod cache;
mod class;

use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cache::{Cache, CacheError, Key};
pub use class::shape_class;

use crate::kernel::id::{CaseId, Operation, Precision};
use crate::kernel::inputs::Draw;
use crate::kernel::problem::{self, Problem};
use crate::kernel::program::Program;
use crate::kernel::shape::Shape;
use crate::kernel::{Candidates, Choice, Kernel, Parameters, contenders};
use crate::measure::measurement::{Reason, ReasonCode, Status};
use crate::measure::{Bench, Phase, Stopped};
use crate::units::{Gflops, Seconds};

/// Once this long has been spent, no further candidate is begun.
pub const BUDGET: Seconds = Seconds(20.0);
/// Candidates that come this close to the fastest are tried again, in turn: a
/// short trial beside whatever else the machine does proves little.
const CLOSE: f64 = 0.8;
/// How many times they are tried again.
const RUN_OFFS: usize = 2;
/// Candidates slower than this share of the fastest are not tried on the shape
/// itself: no tile size makes up for it.
const WORTH_TRYING: f64 = 1.0 / 3.0;

/// How the kernel for a class of shapes was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tuning {
    /// What is computed.
    pub operation: Operation,
    /// In which number formats.
    pub precision: Precision,
    /// Shapes that share the choice.
    pub shape_class: String,
    /// The shape that was measured.
    pub shape: String,
    /// What was chosen; `null` where no candidate is right.
    pub chosen: Option<Choice>,
    /// How long choosing took.
    pub took_s: Seconds,
    /// After how long no further candidate was begun.
    pub budget_s: Seconds,
    /// Whether the choice is from an earlier run.
    pub cached: bool,
    /// Every candidate, in the order tried.
    pub candidates: Vec<Tried>,
}

impl Tuning {
    /// Whether the choice serves case `id`.
    pub fn covers(&self, id: &CaseId) -> bool {
        self.class() == (id.operation, id.precision, shape_class(id.shape).as_str())
    }

    /// What is chosen for.
    fn class(&self) -> (Operation, Precision, &str) {
        (self.operation, self.precision, &self.shape_class)
    }

    /// Whether the choice is the fastest of the candidates, as tuning makes it.
    fn is_consistent(&self) -> bool {
        let chosen = self.chosen.as_ref().map(|c| (&c.variant, &c.parameters));
        let rate = |tried: &Tried| tried.gflops.map_or(0.0, |rate| rate.0);
        let fastest = self.candidates.iter().map(rate).fold(0.0, f64::max);
        let mut tried = self.candidates.iter();
        let is_chosen = |tried: &Tried| chosen == Some((&tried.variant, &tried.parameters));
        fastest > 0.0 && tried.any(|tried| is_chosen(tried) && rate(tried) == fastest)
    }

    /// Whether the choice is a program for case `id`, of which kernels have `programs`.
    fn is_a_program(&self, id: &CaseId, programs: &dyn Fn(&Kernel) -> Candidates) -> bool {
        self.chosen.as_ref().is_some_and(|chosen| {
            let kernel = contenders(id).find(|kernel| kernel.variant == chosen.variant);
            let programs = kernel.and_then(|kernel| programs(kernel).ok());
            let mut programs = programs.into_iter().flatten();
            programs.any(|program| program.parameters == chosen.parameters)
        })
    }

    /// How a case ends for which nothing could be chosen, and the first reason.
    pub fn refusal(&self) -> (Status, Reason) {
        let reasons = self
            .candidates
            .iter()
            .filter_map(|tried| tried.reason.as_ref());
        let wrong = reasons.clone().find(|reason| reason.code.is_rejection());
        match (wrong, reasons.clone().next()) {
            (Some(wrong), _) => (Status::Rejected, wrong.clone()),
            (None, Some(first)) => (Status::Skipped, first.clone()),
            (None, None) => {
                let reason = Reason::new(ReasonCode::UnsupportedShape, "needs a kernel");
                (Status::Skipped, reason)
            }
        }
    }
}

/// One candidate and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    /// The kernel's variant.
    pub variant: String,
    /// Tile sizes and the like.
    pub parameters: Parameters,
    /// Achieved 10⁹ operations per second in a short trial on the shape itself.
    pub gflops: Option<Gflops>,
    /// Why there is no figure; `null` when there is.
    pub reason: Option<Reason>,
}

/// A candidate on its way to a figure.
struct Contender {
    variant: &'static str,
    program: Program,
    outcome: Outcome,
}

enum Outcome {
    Waiting { screened: Option<f64> },
    Measured(f64),
    Out(Reason),
}

/// Finds the fastest kernel and parameters for `id`, whose problem on normal
/// inputs is `problem`. What is chosen on those serves every distribution, so that
/// distributions are compared on one program.
///
/// Candidates are first tried on a small shape of the same proportions where the
/// shape itself would take long, since the slowest may need minutes for what the
/// fastest does in a second.
///
/// # Errors
/// When the device fails; a candidate that is refused or wrong is no error.
pub fn tune(
    bench: &Bench,
    id: &CaseId,
    problem: &dyn Problem,
    seed: u64,
    on_phase: &mut dyn FnMut(Phase),
) -> Result<Tuning, Stopped> {
    // The reference is drawn and computed once, for whoever measures next as well.
    on_phase(Phase::Inputs);
    problem.inputs();
    let mut search = Search {
        bench,
        begin: Instant::now(),
        on_phase,
    };
    let (mut contenders, absent) = entered(bench, id);
    if let Some(small) = class::screening_shape(id.shape, bench.is_software())
        && let Some(screen) = problem::problem(
            &CaseId {
                shape: small,
                ..id.clone()
            },
            Draw::normal(seed),
        )
    {
        search.screen(&mut contenders, id, small, &*screen)?;
    }
    search.measure(&mut contenders, problem)?;
    search.run_off(&mut contenders, problem)?;
    let fastest = contenders
        .iter()
        .filter_map(|c| c.rate().map(|rate| (rate, c)))
        .max_by(|a, b| f64::total_cmp(&a.0, &b.0));
    let chosen = fastest.map(|(_, contender)| Choice {
        variant: contender.variant.to_owned(),
        parameters: contender.program.parameters.clone(),
    });
    Ok(Tuning {
        operation: id.operation,
        precision: id.precision,
        shape_class: shape_class(id.shape),
        shape: id.shape.to_string(),
        chosen,
        took_s: Seconds(search.begin.elapsed().as_secs_f64()),
        budget_s: BUDGET,
        cached: false,
        candidates: contenders
            .into_iter()
            .map(Tried::from)
            .chain(absent)
            .collect(),
    })
}

/// The candidates that the adapter admits, and the kernels that it does not.
fn entered(bench: &Bench, id: &CaseId) -> (Vec<Contender>, Vec<Tried>) {
    let (mut admitted, mut absent) = (Vec::new(), Vec::new());
    for kernel in contenders(id) {
        match bench.programs(kernel, id.shape) {
            Ok(programs) => admitted.extend(programs.into_iter().map(|program| Contender {
                variant: kernel.variant,
                program,
                outcome: Outcome::Waiting { screened: None },
            })),
            Err(error) => absent.push(Tried {
                variant: kernel.variant.to_owned(),
                parameters: Parameters::new(),
                gflops: None,
                reason: Some(Stopped::from(error).reason().clone()),
            }),
        }
    }
    (admitted, absent)
}

struct Search<'a> {
    bench: &'a Bench<'a, 'a>,
    begin: Instant,
    on_phase: &'a mut dyn FnMut(Phase),
}

impl Search<'_> {
    fn spent(&self) -> bool {
        self.begin.elapsed().as_secs_f64() > BUDGET.0
    }

    /// Tells that `program` is tried next, after so many of all.
    fn announce(&mut self, tried: usize, count: usize, program: &Program, problem: &dyn Problem) {
        let effort = self.bench.first_run(program, problem);
        (self.on_phase)(Phase::Tuning {
            tried,
            count,
            effort,
        });
    }

    /// Tries every candidate on `small` and brings the promising ones to the front.
    fn screen(
        &mut self,
        contenders: &mut [Contender],
        id: &CaseId,
        small: Shape,
        problem: &dyn Problem,
    ) -> Result<(), Stopped> {
        let count = contenders.len();
        for (tried, contender) in contenders.iter_mut().enumerate() {
            if self.spent() {
                break;
            }
            let Some(program) = self.resized(contender, id, small) else {
                continue;
            };
            self.announce(tried, count, &program, problem);
            contender.outcome = match self.attempt(&program, problem)? {
                Ok(rate) => Outcome::Waiting {
                    screened: Some(rate),
                },
                Err(reason) => Outcome::Out(reason),
            };
        }
        contenders.sort_by(|a, b| f64::total_cmp(&b.screened(), &a.screened()));
        let fastest = contenders.first().map_or(0.0, Contender::screened);
        for contender in contenders {
            if matches!(contender.outcome, Outcome::Waiting { screened: Some(rate) } if rate < WORTH_TRYING * fastest)
            {
                let message = format!(
                    "{:.2} GFLOP/s on {small}, where the fastest reaches {:.2}",
                    contender.screened() / 1e9,
                    fastest / 1e9
                );
                contender.outcome = Outcome::Out(Reason::new(ReasonCode::TooSlow, message));
            }
        }
        Ok(())
    }

    /// The same kernel with the same parameters on another shape.
    fn resized(&self, contender: &Contender, id: &CaseId, shape: Shape) -> Option<Program> {
        let kernel = Kernel::find(&id.with_variant(contender.variant))?;
        let programs = self.bench.programs(kernel, shape).ok()?;
        programs
            .into_iter()
            .find(|p| p.parameters == contender.program.parameters)
    }

    /// Measures the remaining candidates on the shape itself: the first in any
    /// case, the others while there is time.
    fn measure(
        &mut self,
        contenders: &mut [Contender],
        problem: &dyn Problem,
    ) -> Result<(), Stopped> {
        let count = contenders.len();
        let mut any = false;
        for (tried, contender) in contenders.iter_mut().enumerate() {
            if !matches!(contender.outcome, Outcome::Waiting { .. }) {
                continue;
            }
            if any && self.spent() {
                let message = format!("the {BUDGET} for choosing were spent");
                contender.outcome = Outcome::Out(Reason::new(ReasonCode::OutOfTime, message));
                continue;
            }
            self.announce(tried, count, &contender.program, problem);
            contender.outcome = match self.attempt(&contender.program, problem)? {
                Ok(rate) => Outcome::Measured(rate),
                Err(reason) => Outcome::Out(reason),
            };
            any |= matches!(contender.outcome, Outcome::Measured(_));
        }
        Ok(())
    }

    /// Tries the closest candidates again while there is time. Each keeps its best
    /// rate, since what disturbs a trial only slows it.
    fn run_off(
        &mut self,
        contenders: &mut [Contender],
        problem: &dyn Problem,
    ) -> Result<(), Stopped> {
        let rates = contenders.iter().filter_map(Contender::rate);
        let fastest = rates.fold(0.0, f64::max);
        let close = |c: &Contender| c.rate().is_some_and(|rate| rate >= CLOSE * fastest);
        if contenders.iter().filter(|c| close(c)).count() < 2 {
            return Ok(());
        }
        let count = contenders.len();
        for _ in 0..RUN_OFFS {
            for contender in contenders.iter_mut().filter(|c| close(c)) {
                if self.spent() {
                    return Ok(());
                }
                self.announce(count, count, &contender.program, problem);
                if let Ok(again) = self.attempt(&contender.program, problem)? {
                    let best = contender.rate().unwrap_or(0.0).max(again);
                    contender.outcome = Outcome::Measured(best);
                }
            }
        }
        Ok(())
    }

    /// Verifies and briefly times one program: operations per second, or why not.
    ///
    /// # Errors
    /// When the device is no longer to be trusted.
    fn attempt(
        &self,
        program: &Program,
        problem: &dyn Problem,
    ) -> Result<Result<f64, Reason>, Stopped> {
        match self.bench.trial(program, problem) {
            Ok(rate) => Ok(Ok(rate)),
            Err(stopped) if stopped.wants_fresh_device() => Err(stopped),
            Err(stopped) => Ok(Err(stopped.reason().clone())),
        }
    }
}

impl Contender {
    fn screened(&self) -> f64 {
        match self.outcome {
            Outcome::Waiting { screened } => screened.unwrap_or(0.0),
            _ => 0.0,
        }
    }

    fn rate(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Measured(rate) => Some(rate),
            _ => None,
        }
    }
}

impl From<Contender> for Tried {
    fn from(contender: Contender) -> Self {
        let (gflops, reason) = match contender.outcome {
            Outcome::Measured(rate) => (Some(Gflops(rate / 1e9)), None),
            Outcome::Out(reason) => (None, Some(reason)),
            Outcome::Waiting { .. } => (
                None,
                Some(Reason::new(ReasonCode::NotMeasured, "not tried")),
            ),
        };
        Self {
            variant: contender.variant.to_owned(),
            parameters: contender.program.parameters,
            gflops,
            reason,
        }
    }
}
