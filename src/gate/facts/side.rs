//! One side's word on a case: whether its output is right, and which program it is.

use super::super::arena::{Trouble, Who, held, why};
use super::super::{Contestant, Observer, Plan};
use crate::kernel::id::CaseId;
use crate::kernel::inputs::Draw;
use crate::kernel::{Choice, in_words};
use crate::measure::measurement::{Reason, Status};
use crate::measure::tier::Tier;
use crate::power::Coverage;
use crate::session::protocol::{Event, Request, RightProgram};
use crate::session::{Process, WorkerError};
use crate::tune::Tuning;

/// A case that one side computes right.
pub struct Standing {
    /// Kernel and parameters.
    pub choice: Choice,
    /// Every program of that kernel, or the chosen one, whose output is right.
    pub programs: Vec<RightProgram>,
    /// The kernel and parameters of base, where this side has chosen others although
    /// they are right here as well.
    pub passed_over: Option<Choice>,
    /// Changes since base.
    pub notes: Vec<String>,
}

/// Why a side has no figure for a case.
pub enum Unmeasured {
    /// It cannot run it on this adapter.
    Skipped(String),
    /// Its output is wrong, or the device failed.
    Wrong(String),
}

impl Unmeasured {
    fn new(status: Status, why: String) -> Self {
        match status {
            Status::Skipped => Self::Skipped(why),
            _ => Self::Wrong(why),
        }
    }
}

/// What a side takes for the best kernel.
struct Best {
    choice: Choice,
    /// Base's, where that is right on this side as well and was slower in its trials.
    passed_over: Option<Choice>,
}

type Word<T> = Result<Result<T, Unmeasured>, Trouble>;

/// One side and its worker.
pub struct Side<'p, 'a> {
    pub plan: &'p Plan<'a>,
    who: Who,
    /// Absent before the first question, and after one that cost it.
    worker: Option<Process<'a>>,
    tunings: Vec<Tuning>,
}

impl<'p, 'a> Side<'p, 'a> {
    /// A side whose worker does not run yet.
    pub fn new(plan: &'p Plan<'a>, who: Who) -> Self {
        Self {
            plan,
            who,
            worker: None,
            tunings: Vec::new(),
        }
    }

    fn contestant(&self) -> &'p Contestant<'a> {
        match self.who {
            Who::Base => &self.plan.base,
            Who::Head => &self.plan.head,
        }
    }

    /// Works with the worker; an error costs it.
    fn with_worker<T>(
        &mut self,
        work: impl FnOnce(&mut Process) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => {
                let contestant = self.contestant();
                let open = self.plan.open(contestant);
                Process::start((contestant.worker)(), &open, self.plan.interrupted)
                    .map_err(Trouble::of(self.who))?
            }
        };
        let answer = work(&mut worker)?;
        self.worker = Some(worker);
        Ok(answer)
    }

    fn ask(&mut self, request: &Request, observer: &mut dyn Observer) -> Result<Event, Trouble> {
        let who = self.who;
        self.with_worker(|worker| {
            let answer = worker.ask(request, &mut |phase| observer.phase(phase));
            answer.map_err(Trouble::of(who))
        })
    }

    fn out_of_turn(&self, event: &Event) -> Trouble {
        Trouble::of(self.who)(WorkerError::out_of_turn(event))
    }

    /// Whether the worker that runs reads the power of a GPU, or why not.
    pub fn energy(&self) -> Result<(), String> {
        let setup = self.worker.as_ref().and_then(Process::power);
        let setup = setup.ok_or("no worker runs")?;
        match &setup.source {
            None => Err(setup.reason.clone().unwrap_or_default()),
            Some(source) => match source.covers {
                Coverage::GpuBoard | Coverage::GpuChip | Coverage::Module => Ok(()),
                covers => Err(format!("{} is not a GPU", covers.describe())),
            },
        }
    }

    /// The cases that filters select.
    pub fn list(&mut self, filters: &[String]) -> Result<Vec<String>, Trouble> {
        let request = Request::List {
            filters: filters.to_vec(),
            software: self.plan.adapter.is_software(),
        };
        let who = self.who;
        let answer = self.with_worker(|worker| {
            let answer = worker.ask(&request, &mut |_| {});
            answer.map_err(Trouble::of(who))
        })?;
        match answer {
            Event::Listed { ids } => Ok(ids),
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// Those of `ids` that the side has. Without any the list would be the usual one.
    pub fn list_named(&mut self, ids: &[String]) -> Result<Vec<String>, Trouble> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.list(ids)
    }

    /// Verifies the case and settles on a program: as in `base` where that one is
    /// still there, so that two programs of nearly the same speed are not compared
    /// because of a passing disturbance.
    pub fn look(
        &mut self,
        id: &CaseId,
        base: Option<&Standing>,
        observer: &mut dyn Observer,
    ) -> Word<Standing> {
        let before = base.map(|standing| &standing.choice);
        let (best, passed_over) = match self.best(id, before, observer)? {
            Ok(Some(best)) => (Some(best.choice), best.passed_over),
            Ok(None) => (None, None),
            Err(unmeasured) => return Ok(Err(unmeasured)),
        };
        let programs = match self.check(id, best.as_ref(), observer)? {
            Ok(programs) => programs,
            Err(unmeasured) => return Ok(Err(unmeasured)),
        };
        let offered = |choice: &&Choice| {
            let same = |program: &RightProgram| program.parameters == choice.parameters;
            choice.variant == id.variant && programs.iter().any(same)
        };
        let choice = match (best, before.filter(offered)) {
            (Some(best), _) => best,
            (None, Some(before)) => before.clone(),
            (None, None) => match self.fastest(id, &programs, observer)? {
                Ok(choice) => choice,
                Err(unmeasured) => return Ok(Err(unmeasured)),
            },
        };
        let changed = before.filter(|before| **before != choice);
        let notes = changed.map(|before| {
            let (before, now) = (named(before), named(&choice));
            format!("the program was {before} and is {now}")
        });
        Ok(Ok(Standing {
            choice,
            programs,
            passed_over,
            notes: notes.into_iter().collect(),
        }))
    }

    /// For a case of the best kernel, which one that is. Tuning another time may
    /// end with another of several equally fast: what base chose stays unless it is
    /// slower by more than the threshold now.
    fn best(
        &mut self,
        id: &CaseId,
        before: Option<&Choice>,
        observer: &mut dyn Observer,
    ) -> Word<Option<Best>> {
        if !id.is_best() {
            return Ok(Ok(None));
        }
        let tuning = match self.tuning(id, observer)? {
            Ok(tuning) => tuning,
            Err(reason) => {
                let wrong = reason.code.is_rejection();
                let status = if wrong {
                    Status::Rejected
                } else {
                    Status::Failed
                };
                let why = format!("{status}: {}", reason.message);
                return Ok(Err(Unmeasured::Wrong(why)));
            }
        };
        let rate = |choice: &Choice| {
            let mut tried = tuning.candidates.iter();
            let found = tried.find(|tried| {
                (&tried.variant, &tried.parameters) == (&choice.variant, &choice.parameters)
            });
            found.and_then(|tried| tried.gflops)
        };
        let Some(chosen) = &tuning.chosen else {
            let (status, reason) = tuning.refusal();
            let why = format!("{status}: {}", reason.message);
            return Ok(Err(Unmeasured::new(status, why)));
        };
        let slower_from = self.plan.threshold.slower_from();
        let known = before.filter(|before| *before != chosen);
        let known = known.and_then(|before| Some((before, rate(before)?)));
        Ok(Ok(Some(match (known, rate(chosen)) {
            (Some((before, was)), Some(now)) if now.0 <= slower_from * was.0 => Best {
                choice: before.clone(),
                passed_over: None,
            },
            (known, _) => Best {
                choice: chosen.clone(),
                passed_over: known.map(|(before, _)| before.clone()),
            },
        })))
    }

    /// The tuning for a case's class of shapes, made once.
    fn tuning(
        &mut self,
        id: &CaseId,
        observer: &mut dyn Observer,
    ) -> Result<Result<Tuning, Reason>, Trouble> {
        if let Some(known) = self.tunings.iter().find(|tuning| tuning.covers(id)) {
            return Ok(Ok(known.clone()));
        }
        let request = Request::Tune {
            id: id.to_string(),
            seed: self.plan.seed,
        };
        match self.ask(&request, observer)? {
            Event::Tuned { tuning } => {
                self.tunings.extend(tuning.as_ref().ok().cloned());
                Ok(tuning)
            }
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// Has the output compared with the reference.
    fn check(
        &mut self,
        id: &CaseId,
        choice: Option<&Choice>,
        observer: &mut dyn Observer,
    ) -> Word<Vec<RightProgram>> {
        let request = Request::Check {
            id: id.to_string(),
            choice: choice.cloned(),
            draw: Draw::normal(self.plan.seed),
        };
        match self.ask(&request, observer)? {
            Event::Checked { programs } => Ok(Ok(programs)),
            Event::Done { measurement, .. } => {
                let why = why(&measurement);
                Ok(Err(Unmeasured::new(measurement.status, why)))
            }
            other => Err(self.out_of_turn(&other)),
        }
    }

    /// The only program, or the fastest of several.
    fn fastest(
        &mut self,
        id: &CaseId,
        programs: &[RightProgram],
        observer: &mut dyn Observer,
    ) -> Word<Choice> {
        if let [only] = programs {
            return Ok(Ok(Choice {
                variant: id.variant.clone(),
                parameters: only.parameters.clone(),
            }));
        }
        let request = Request::Hold {
            id: id.to_string(),
            choice: None,
            shaders: None,
            tier: Tier::Quick,
            draw: Draw::normal(self.plan.seed),
        };
        let who = self.who;
        let chosen = self.with_worker(|worker| {
            let chosen = held(worker, &request, who, observer)?.0;
            let released = worker.ask(&Request::Release, &mut |_| {});
            released.map_err(Trouble::of(who))?;
            Ok(chosen)
        });
        match chosen {
            Ok(choice) => Ok(Ok(choice)),
            Err(Trouble::Interrupted) => Err(Trouble::Interrupted),
            Err(Trouble::With(_, why)) => Ok(Err(Unmeasured::Wrong(why))),
        }
    }
}

/// A kernel with its parameters.
fn named(choice: &Choice) -> String {
    match in_words(&choice.parameters) {
        parameters if parameters.is_empty() => choice.variant.clone(),
        parameters => format!("{} ({parameters})", choice.variant),
    }
}
