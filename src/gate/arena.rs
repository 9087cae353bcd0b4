//! Both sides of a case, warm on the device, to be run in turn.

use std::fmt;

use super::facts::Ready;
use super::{Contestant, Mode, Observer, Plan};
use crate::compare::Quantity;
use crate::kernel::Choice;
use crate::kernel::inputs::Draw;
use crate::kernel::problem::Work;
use crate::measure::measurement::{Clock, Measurement};
use crate::measure::tier::Tier;
use crate::session::protocol::{Event, Request};
use crate::session::{Process, WorkerError};
use crate::units::{Joules, Seconds};

/// The warm-up of a gate is the shortest: pairs share whatever drifts.
const WARM_UP: Tier = Tier::Quick;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Base,
    Head,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Head => "head",
        })
    }
}

/// Why a case cannot be timed any further.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The wait was interrupted.
    Interrupted,
    /// One side failed.
    With(Who, String),
}

impl Trouble {
    pub(super) fn of(who: Who) -> impl Fn(WorkerError) -> Self {
        move |error| match error {
            WorkerError::Interrupted => Self::Interrupted,
            error => Self::With(who, error.to_string()),
        }
    }
}

/// Both sides of a case.
pub(super) struct Arena<'a> {
    /// Of base and head, or the one that holds both.
    processes: Vec<Process<'a>>,
    base: Place,
    head: Place,
    /// Whether times are those of the processor.
    by_processor: bool,
}

/// Where a side is held.
struct Place {
    process: usize,
    held: usize,
    work: Work,
}

/// What a dispatch of one side took.
#[derive(Clone, Copy, Debug)]
struct Taken {
    /// Seconds or joules.
    amount: f64,
    /// By which clock, and what it was by the host's; unknown of an older program.
    clock: Option<(Clock, f64)>,
}

/// What a dispatch of each of the two sides took, one run right after the other: in
/// seconds by the same clock, or in joules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub base: f64,
    pub head: f64,
    /// Natural logarithm of head's over base's, for the same work.
    pub ln_ratio: f64,
}

impl Pair {
    /// A pair that is known by its ratio alone.
    pub(super) fn of(ln_ratio: f64) -> Self {
        Self {
            base: 1.0,
            head: ln_ratio.exp(),
            ln_ratio,
        }
    }
}

impl<'a> Arena<'a> {
    /// Starts fresh workers and has them hold the case, one side first as told.
    pub(super) fn open(
        plan: &Plan<'a>,
        case: &Ready,
        base_first: bool,
        observer: &mut dyn Observer,
    ) -> Result<Self, Trouble> {
        let start = |contestant: &Contestant, who| {
            let open = plan.open(contestant);
            Process::start((contestant.worker)(), &open, plan.interrupted).map_err(Trouble::of(who))
        };
        let mut processes = vec![start(&plan.head, Who::Head)?];
        if plan.mode == Mode::TwoProcesses {
            processes.push(start(&plan.base, Who::Base)?);
        }
        let mut hold = |who| {
            let (contestant, choice, process) = match who {
                Who::Base => (&plan.base, &case.base, processes.len() - 1),
                Who::Head => (&plan.head, &case.head, 0),
            };
            let request = Request::Hold {
                id: case.id.to_string(),
                choice: Some(choice.clone()),
                shaders: Some(contestant.shaders.clone()),
                tier: WARM_UP,
                draw: Draw::normal(plan.seed),
            };
            let work = held(&mut processes[process], &request, who, observer)?.1;
            Ok((process, work))
        };
        let (base, head);
        if base_first {
            base = hold(Who::Base)?;
            head = hold(Who::Head)?;
        } else {
            head = hold(Who::Head)?;
            base = hold(Who::Base)?;
        }
        let shared = base.0 == head.0;
        let place = |(process, work), second| Place {
            process,
            held: usize::from(shared && second),
            work,
        };
        Ok(Self {
            base: place(base, !base_first),
            head: place(head, base_first),
            by_processor: plan.adapter.is_software(),
            processes,
        })
    }

    /// Runs one batch of each side, or the windows that its energy takes.
    pub(super) fn pair(
        &mut self,
        quantity: Quantity,
        base_first: bool,
        observer: &mut dyn Observer,
    ) -> Result<Pair, Trouble> {
        let (base, head);
        if base_first {
            base = self.sample(quantity, Who::Base, observer)?;
            head = self.sample(quantity, Who::Head, observer)?;
        } else {
            head = self.sample(quantity, Who::Head, observer)?;
            base = self.sample(quantity, Who::Base, observer)?;
        }
        let (base, head) = match quantity {
            Quantity::Time if !self.by_processor => by_one_clock(base, head)?,
            _ => (base.amount, head.amount),
        };
        let work = amount(&self.base.work) / amount(&self.head.work);
        Ok(Pair {
            base,
            head,
            ln_ratio: (head / base * work).ln(),
        })
    }

    fn sample(
        &mut self,
        quantity: Quantity,
        who: Who,
        observer: &mut dyn Observer,
    ) -> Result<Taken, Trouble> {
        let request = match quantity {
            Quantity::Time => self.batch(who, false),
            Quantity::Energy => Request::Meter {
                held: self.place(who).held,
            },
        };
        let answer = self.ask(who, &request, observer)?;
        let taken = match answer {
            Event::Sampled {
                dispatch_s: Seconds(amount),
                clock,
                host_s,
            } => Taken {
                amount,
                clock: clock.zip(host_s.map(|Seconds(host)| host)),
            },
            Event::Metered {
                dispatch_j: Joules(amount),
            } => Taken {
                amount,
                clock: None,
            },
            Event::Done { measurement, .. } => {
                return Err(Trouble::With(who, why(&measurement)));
            }
            other => return Err(Trouble::of(who)(WorkerError::out_of_turn(&other))),
        };
        match taken.amount > 0.0 && taken.clock.is_none_or(|(_, host)| host > 0.0) {
            true => Ok(taken),
            false => Err(Trouble::With(who, format!("cannot be true: {taken:?}"))),
        }
    }

    fn place(&self, who: Who) -> &Place {
        match who {
            Who::Base => &self.base,
            Who::Head => &self.head,
        }
    }

    /// The request for one batch of a side.
    fn batch(&self, who: Who, checked: bool) -> Request {
        Request::Sample {
            held: self.place(who).held,
            processor: self.by_processor,
            checked,
        }
    }

    fn ask(
        &mut self,
        who: Who,
        request: &Request,
        observer: &mut dyn Observer,
    ) -> Result<Event, Trouble> {
        let process = self.place(who).process;
        let answer = self.processes[process].ask(request, &mut |phase| observer.phase(phase));
        answer.map_err(Trouble::of(who))
    }

    /// Has what timed dispatches wrote compared with what was verified. In one process
    /// each side writes over the output of the other, so that a further batch of each is
    /// compared, which is run like those before.
    pub(super) fn close(mut self, observer: &mut dyn Observer) -> Result<(), Trouble> {
        if self.base.process == self.head.process {
            for who in [Who::Base, Who::Head] {
                let request = self.batch(who, true);
                if let Event::Done { measurement, .. } = self.ask(who, &request, observer)? {
                    return Err(Trouble::With(who, why(&measurement)));
                }
            }
        }
        let mut outcomes = Vec::new();
        for (index, process) in self.processes.iter_mut().enumerate() {
            let who = if index == self.head.process {
                Who::Head
            } else {
                Who::Base
            };
            let answer = process.ask(&Request::Release, &mut |_| {});
            match answer.map_err(Trouble::of(who))? {
                Event::Released { wrong } => outcomes.push(wrong),
                other => return Err(Trouble::of(who)(WorkerError::out_of_turn(&other))),
            }
        }
        for (who, place) in [(Who::Head, &self.head), (Who::Base, &self.base)] {
            let outcome = outcomes[place.process].get(place.held);
            if let Some(Some(measurement)) = outcome {
                return Err(Trouble::With(who, why(measurement)));
            }
        }
        Ok(())
    }
}

/// Both amounts by the device's clock where both sides go by it, and else both by the
/// host's: what one leaves out the other may count.
fn by_one_clock(base: Taken, head: Taken) -> Result<(f64, f64), Trouble> {
    let known = |taken: &Taken, who| {
        let why = "does not tell by which clock it times, since it is too old";
        taken
            .clock
            .ok_or_else(|| Trouble::With(who, why.to_owned()))
    };
    let of_base = known(&base, Who::Base)?;
    let of_head = known(&head, Who::Head)?;
    Ok(match (of_base, of_head) {
        ((Clock::Device, _), (Clock::Device, _)) => (base.amount, head.amount),
        ((_, base), (_, head)) => (base, head),
    })
}

/// Has a worker hold a case; the kernel that it chose and what a dispatch does.
pub(super) fn held(
    process: &mut Process,
    request: &Request,
    who: Who,
    observer: &mut dyn Observer,
) -> Result<(Choice, Work), Trouble> {
    let answer = process.ask(request, &mut |phase| observer.phase(phase));
    match answer.map_err(Trouble::of(who))? {
        Event::Held { choice, work } => Ok((choice, work)),
        Event::Done { measurement, .. } => Err(Trouble::With(who, why(&measurement))),
        other => Err(Trouble::of(who)(WorkerError::out_of_turn(&other))),
    }
}

/// Why a case has no figure.
pub(super) fn why(measurement: &Measurement) -> String {
    let reason = measurement.reason.as_ref();
    let reason = reason.map_or("no reason is given", |reason| &reason.message);
    format!("{}: {reason}", measurement.status)
}

/// What a dispatch does, by what it is rated by; one dispatch where it does nothing.
fn amount(work: &Work) -> f64 {
    match (work.operations, work.bytes) {
        (0, 0) => 1.0,
        (0, bytes) => bytes as f64,
        (operations, _) => operations as f64,
    }
}
