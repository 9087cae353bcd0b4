//! Carries out a plan case by case.

mod ceilings;

use std::fmt;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;

use super::choices::Choices;
use super::limits::{GuardError, PowerLimits};
use super::lock::AdapterLock;
use super::process::{Process, Survivors, WorkerError};
use super::protocol::{Event, PowerRequest, Request};
use super::together::{Member, Part};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::{CaseId, Operation};
use crate::kernel::inputs::{Data, Draw};
use crate::kernel::select;
use crate::kernel::{Choice, Kernel};
use crate::measure::again::When;
use crate::measure::lives;
use crate::measure::measurement::{Flag, Measurement, Reason, ReasonCode, Status};
use crate::measure::period::{Moment, Period};
use crate::measure::tier::Tier;
use crate::power::{PowerSetup, PowerSpec};
use crate::record::{self, Planned, PowerTrace, Report, SaveError};
use crate::tune::{Cache, Tuning};
use crate::units::Watts;

/// What a run is to measure.
pub struct Plan<'a> {
    /// Cases in order: ceilings come before what is held against them.
    pub cases: &'a [Planned],
    /// How a worker process is started.
    pub worker: &'a dyn Fn() -> Command,
    /// What is done with each case.
    pub goal: Goal,
    /// Whether kernels are chosen afresh, whatever the cache says.
    pub retune: bool,
    /// Power limits at each of which every case is measured, where they are
    /// varied.
    pub limits: Option<&'a PowerLimits>,
    /// The adapter, for this run alone or not.
    pub lock: &'a AdapterLock,
    /// What cards of one model have to run alike.
    pub choices: &'a Choices,
    /// Its place among the runs that go on at the same time, on other adapters and
    /// with the same cases.
    pub member: Option<&'a Member<'a>>,
    /// Set when the run is to end early.
    pub interrupted: &'a AtomicBool,
}

impl Plan<'_> {
    /// Every case, at each of the power limits in turn.
    pub fn steps(&self) -> Vec<(Option<Watts>, &Planned)> {
        record::steps(self.cases, self.limits.map_or(&[], PowerLimits::watts))
    }
}

/// What a run does with its cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Measure every case.
    Measure {
        /// Folder for what was computed, where it is to be kept.
        dump: Option<String>,
        /// The source of power that is to be read.
        power: PowerSpec,
    },
    /// Choose the kernels of the cases of the best one, and measure nothing.
    Choose,
}

/// Hears how a run goes on.
pub trait Observer {
    /// Case number `index` begins.
    fn case_begins(&mut self, index: usize, case: &Planned);
    /// What the case is doing.
    fn phase(&mut self, phase: &str);
    /// Which source of power is read, or why there is none.
    fn power(&mut self, power: Option<&PowerSetup>);
    /// A kernel has been chosen, in this run or an earlier one.
    fn tuned(&mut self, tuning: &Tuning);
    /// Something that does not end the run.
    fn warn(&mut self, warning: &dyn fmt::Display);
    /// The case has ended and stands in the report, which is to be saved, with what
    /// was read of its power.
    ///
    /// # Errors
    /// When it cannot be saved: the run ends.
    fn case_ended(&mut self, report: &Report, trace: Option<&PowerTrace>) -> Result<(), SaveError>;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every case is in the report.
    Complete,
    /// Interrupted; the report holds what was measured before.
    Interrupted,
    /// The device is gone; the report holds what was measured before.
    DeviceGone,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The report cannot be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// No worker opens the adapter.
    #[error("the adapter cannot be used: {0}")]
    Adapter(WorkerError),
    /// A power limit cannot be set.
    #[error("the run has ended before its time, with the report as it is: {0}")]
    Limit(#[from] GuardError),
}

/// Measures the plan's cases and puts them into `report`, but for those that it
/// holds already. A worker that dies or hangs costs its case; the next case gets a
/// fresh one.
///
/// # Errors
/// When the report cannot be saved, no worker opens the adapter for the first
/// case, or a power limit cannot be set.
pub fn execute(
    plan: &Plan,
    cache: &mut Cache,
    report: &mut Report,
    observer: &mut dyn Observer,
) -> Result<Ended, SessionError> {
    let mut worker = None;
    let steps = plan.steps();
    let done = report.measurements.len();
    // Beside others every adapter would have to do so at the same time.
    let again = matches!(plan.goal, Goal::Measure { .. }) && plan.member.is_none();
    if again {
        let ceilings = ceilings::to_go_on(plan, report);
        let measured = plan.measure_again(&mut worker, report, observer, When::Resumed, &ceilings);
        if let Some(ended) = measured? {
            return Ok(ended);
        }
    }
    let mut survivors = Survivors::default();
    for (index, &(limit, planned)) in steps.iter().enumerate().skip(done) {
        observer.case_begins(index, planned);
        if let Some((limits, watts)) = plan.limits.zip(limit) {
            limits.set(watts)?;
        }
        let mut process = match plan.ready(worker.take(), report, observer)? {
            Ok(process) => process,
            Err(ended) => return Ok(ended),
        };
        let after_hang = survivors.any_is_left();
        let id = &planned.id;
        let sharing = plan.lock.watch();
        let mut case = Case {
            step: index,
            began: None,
            id,
            data: planned.data,
            plan,
            cache,
            report,
            observer,
        };
        let outcome = match &plan.goal {
            Goal::Measure { dump, .. } => case.measure(&mut process, dump.as_deref()).map(Some),
            Goal::Choose => {
                let chosen = case.choose(&mut process);
                chosen.map(|choice| choice.err().map(|m| Outcome::from(*m)))
            }
        };
        let outcome = match outcome {
            Ok(outcome) => {
                worker = Some(process);
                outcome
            }
            Err(WorkerError::Interrupted) => return Ok(Ended::Interrupted),
            Err(mut error) => {
                survivors.add(&mut error);
                let reason = Reason::new(ReasonCode::Worker, error);
                let failed = Measurement::without_figures(id, Status::Failed, reason);
                Some(Outcome::from(failed))
            }
        };
        let began = case.began;
        let (trace, device_is_gone) = match outcome {
            Some(mut outcome) => {
                if outcome.measurement.status == Status::Ok && sharing.was_shared() {
                    outcome.measurement.flag(Flag::SharedAdapter);
                }
                if outcome.measurement.status == Status::Ok && after_hang {
                    outcome.measurement.flag(Flag::AfterHang);
                }
                if let Some(member) = plan.member {
                    outcome.stood_beside(member, index, began);
                }
                let device_is_gone = outcome.device_is_gone;
                (outcome.enter(report, planned.data, limit), device_is_gone)
            }
            None => (None, false),
        };
        let to_check = again && !ceilings::held_against(report, done).is_empty();
        report.complete = index + 1 == steps.len() && !to_check;
        observer.case_ended(report, trace.as_deref())?;
        if device_is_gone {
            return Ok(Ended::DeviceGone);
        }
    }
    if !report.complete {
        let ceilings = ceilings::held_against(report, done);
        let measured = plan.measure_again(&mut worker, report, observer, When::End, &ceilings);
        if let Some(Ended::Interrupted) = measured? {
            return Ok(Ended::Interrupted);
        }
        report.complete = true;
        observer.case_ended(report, None)?;
    }
    Ok(Ended::Complete)
}

/// What became of a case.
struct Outcome {
    measurement: Measurement,
    trace: Option<Box<PowerTrace>>,
    device_is_gone: bool,
    /// When the device worked on it, once that is known.
    busy: Vec<Period>,
}

impl Outcome {
    /// Waits until step number `step` is over for all others, and notes who of them
    /// worked during the timed dispatches. A case that failed after it `began` may
    /// have worked until now.
    fn stood_beside(&mut self, member: &Member, step: usize, began: Option<Moment>) {
        let mut busy = std::mem::take(&mut self.busy);
        if let (true, Some(began)) = (busy.is_empty(), began) {
            busy.push(Period::since(began));
        }
        member.end_step(step, busy);
        let measurement = &mut self.measurement;
        measurement.concurrent_with = member.beside(&measurement.timed);
        if !measurement.concurrent_with.is_empty() {
            measurement.flag(Flag::Concurrent);
        }
    }

    /// Enters the case, measured on these inputs and at this power limit, into the report. Hands back
    /// what was read of its power, which is to be kept where the report says.
    fn enter(
        self,
        report: &mut Report,
        data: Data,
        limit: Option<Watts>,
    ) -> Option<Box<PowerTrace>> {
        let mut measurement = self.measurement;
        measurement.data = data;
        measurement.power_limit_w = limit;
        if limit.is_some() {
            // It is meant, and stands in the case's name.
            measurement.flags.retain(|flag| *flag != Flag::PowerLimited);
        }
        let trace = record::trace_name(&measurement);
        if let Some(power) = &mut measurement.power {
            power.trace = Some(trace);
        }
        report.push(measurement);
        self.trace
    }
}

impl From<Measurement> for Outcome {
    fn from(measurement: Measurement) -> Self {
        Self {
            measurement,
            trace: None,
            device_is_gone: false,
            busy: Vec::new(),
        }
    }
}

impl<'a> Plan<'a> {
    /// The worker that there is, or a fresh one; how the run ends where none can be had
    /// any more.
    fn ready(
        &self,
        worker: Option<Process<'a>>,
        report: &mut Report,
        observer: &mut dyn Observer,
    ) -> Result<Result<Process<'a>, Ended>, SessionError> {
        if let Some(process) = worker {
            return Ok(Ok(process));
        }
        match Process::start((self.worker)(), &self.open(report), self.interrupted) {
            Ok(process) => {
                if let (None, Goal::Measure { .. }) = (&report.power, &self.goal) {
                    report.power = process.power().cloned();
                    observer.power(report.power.as_ref());
                }
                Ok(Ok(process))
            }
            Err(WorkerError::Interrupted) => Ok(Err(Ended::Interrupted)),
            Err(error) if report.measured_anything() => {
                observer.warn(&SessionError::Adapter(error));
                Ok(Err(Ended::DeviceGone))
            }
            Err(error) => Err(SessionError::Adapter(error)),
        }
    }

    /// Measures these ceilings once more; how the run ends, if it does. A worker that
    /// fails costs what it did not measure.
    fn measure_again(
        &self,
        worker: &mut Option<Process<'a>>,
        report: &mut Report,
        observer: &mut dyn Observer,
        when: When,
        ceilings: &[usize],
    ) -> Result<Option<Ended>, SessionError> {
        if ceilings.is_empty() {
            return Ok(None);
        }
        let mut process = match self.ready(worker.take(), report, observer)? {
            Ok(process) => process,
            Err(ended) => return Ok(Some(ended)),
        };
        let begun = Timestamp::now();
        match ceilings::measure(self, &mut process, report, observer, when, ceilings) {
            Ok(()) => *worker = Some(process),
            Err(WorkerError::Interrupted) => return Ok(Some(Ended::Interrupted)),
            Err(why) => {
                observer.warn(&format!("ceilings could not be measured again: {why}"));
                ceilings::not_measured(report, when, begun, ceilings, &why);
            }
        }
        Ok(None)
    }

    /// The request with which a worker begins.
    fn open(&self, report: &Report) -> Request {
        let wanted = match &self.goal {
            Goal::Measure { power, .. } => power,
            Goal::Choose => &PowerSpec::None,
        };
        let known = report.power.as_ref();
        Request::Open {
            adapter: Box::new(report.adapter.clone()),
            shaders: report.shaders.clone(),
            power: PowerRequest {
                wanted: wanted.to_string(),
                sensor: known.and_then(|setup| setup.sensor.clone()),
            },
        }
    }
}

/// One case of a run.
struct Case<'a> {
    step: usize,
    /// When its timed dispatches were first told to begin beside those of others.
    began: Option<Moment>,
    id: &'a CaseId,
    data: Data,
    plan: &'a Plan<'a>,
    cache: &'a mut Cache,
    report: &'a mut Report,
    observer: &'a mut dyn Observer,
}

impl Case<'_> {
    /// Has the worker measure the case, with the best kernel if it asks for that, in as
    /// many lives as the tier has. The first chooses the program, and power is that of
    /// the first; a life without a figure leaves the case without.
    fn measure(
        &mut self,
        process: &mut Process,
        dump: Option<&str>,
    ) -> Result<Outcome, WorkerError> {
        let choice = match self.measured_before() {
            None if self.id.is_best() => match self.choose(process)? {
                Ok(choice) => Some(choice),
                Err(measurement) => return Ok(Outcome::from(*measurement)),
            },
            known => known,
        };
        let metered = self.is_metered();
        let mut outcome = self.live(process, 0, choice, metered.is_ok(), dump)?;
        if let (Status::Ok, Err(why)) = (outcome.measurement.status, metered) {
            outcome.measurement.power_reason = Some(why);
        }
        let program = outcome.measurement.program();
        let (tier, mut others) = (self.report.tier, Vec::new());
        while outcome.measurement.status == Status::Ok && others.len() + 1 < tier.lives() {
            if tier == Tier::Reference {
                process.restart((self.plan.worker)(), &self.plan.open(self.report))?;
            }
            let number = others.len() + 1;
            let next = self.live(process, number, Some(program.clone()), false, None)?;
            outcome.busy.extend(next.busy);
            outcome.device_is_gone |= next.device_is_gone;
            match next.measurement.status {
                Status::Ok => others.push(next.measurement),
                _ => outcome.measurement = in_life(number + 1, next.measurement),
            }
        }
        if outcome.measurement.status == Status::Ok {
            let half_width = tier.effort().half_width;
            outcome.measurement = lives::united(outcome.measurement, others, half_width);
        }
        self.plan
            .choices
            .ran(self.cache.key(), &outcome.measurement);
        Ok(outcome)
    }

    /// Has the worker measure the case in life number `number`.
    fn live(
        &mut self,
        process: &mut Process,
        number: usize,
        choice: Option<Choice>,
        metered: bool,
        dump: Option<&str>,
    ) -> Result<Outcome, WorkerError> {
        let request = Request::Measure {
            id: self.id.to_string(),
            choice,
            tier: self.report.tier,
            draw: Draw {
                seed: self.report.seed,
                data: self.data,
            },
            metered,
            dump: dump.map(str::to_owned),
            fresh_device: number > 0 && self.report.tier == Tier::Standard,
            beside_others: self.plan.member.is_some(),
        };
        match self.ask_beside_others(process, number, request)? {
            Event::Done {
                measurement,
                trace,
                sensor,
                device_is_gone,
                busy,
            } => {
                if let (Some(setup), Some(_)) = (&mut self.report.power, &sensor) {
                    setup.sensor = sensor;
                }
                Ok(Outcome {
                    measurement: *measurement,
                    trace,
                    device_is_gone,
                    busy,
                })
            }
            other => Err(WorkerError::out_of_turn(&other)),
        }
    }

    /// Has the worker measure, and holds it where others are not as far.
    fn ask_beside_others(
        &mut self,
        process: &mut Process,
        life: usize,
        mut request: Request,
    ) -> Result<Event, WorkerError> {
        let lives = self.report.tier.lives();
        let mut window = 0;
        loop {
            let observer = &mut *self.observer;
            let event = process.ask(&request, &mut |phase| match lives {
                1 => observer.phase(phase),
                _ => observer.phase(&format!("life {} of {lives}: {phase}", life + 1)),
            })?;
            let (member, part, answer) = match (&event, self.plan.member) {
                (Event::Ready, Some(member)) => (member, Part::Window(window), Request::Begin),
                (Event::Measured, Some(member)) => (member, Part::Measured, Request::Finish),
                _ => return Ok(event),
            };
            member.arrive((self.step, life), part)?;
            self.began.get_or_insert_with(Moment::now);
            window += 1;
            request = answer;
        }
    }

    /// Whether the power of the case is read, or why not.
    fn is_metered(&self) -> Result<(), Reason> {
        let unread = |code, why: &str| Err(Reason::new(code, why));
        let setup = self.report.power.as_ref();
        let why = setup.and_then(|setup| setup.reason.as_deref());
        if let Some(why) = why {
            return unread(ReasonCode::NoPowerSource, why);
        }
        let source = setup.and_then(|setup| setup.source.as_ref());
        let shared = source.filter(|source| !source.covers.is_of_one_adapter());
        if let (Some(source), Some(_)) = (shared, self.plan.member) {
            let why = format!(
                "{} shows {}, and with it what the other adapters do",
                source.name,
                source.covers.describe()
            );
            return unread(ReasonCode::NoPowerSource, &why);
        }
        if self.id.operation == Operation::Latency {
            return unread(
                ReasonCode::NotBusy,
                "the device waits between the dispatches of a latency",
            );
        }
        let software = self.report.adapter.is_software();
        let few = self.plan.cases.len() <= select::MOST_HEADLINE_CASES;
        if self.report.tier == Tier::Quick && !few && !select::is_headline(self.id, software) {
            return unread(
                ReasonCode::NotMeasured,
                "of a long list the quick tier reads the power of headline cases only: select \
                 fewer cases, or --tier standard",
            );
        }
        Ok(())
    }

    /// The program that was measured on another distribution, at another power limit
    /// or on another card of the model: only the same one shows what these do. A card
    /// has the best kernels of another by way of their choice.
    fn measured_before(&self) -> Option<Choice> {
        let id = self.id.to_string();
        let mut measured = self.report.measurements.iter();
        match measured.find(|m| m.id == id && m.status == Status::Ok) {
            Some(other) => Some(other.program()),
            None if self.id.is_best() => None,
            None => self.plan.choices.program(self.cache.key(), &id),
        }
    }

    /// The choice for the case's class of shapes: this run's, or that of the adapter's
    /// model. Without a right candidate the case has no figure.
    fn choose(
        &mut self,
        process: &mut Process,
    ) -> Result<Result<Choice, Box<Measurement>>, WorkerError> {
        let ours = self.report.tuning.iter().find(|t| t.covers(self.id));
        let tuning = match ours.cloned() {
            Some(tuning) => tuning,
            None => match self.choice_of_the_model(process)? {
                Ok(tuning) => tuning,
                Err(reason) => {
                    // A driver that does not do the work is rejected here as well.
                    let status = if reason.code.is_rejection() {
                        Status::Rejected
                    } else {
                        Status::Failed
                    };
                    return Ok(Err(self.without_choice(status, reason)));
                }
            },
        };
        if !self.report.tuning.iter().any(|t| t.covers(self.id)) {
            self.observer.tuned(&tuning);
            self.report.tuning.push(tuning.clone());
        }
        let refusal = tuning.refusal();
        Ok(tuning.chosen.ok_or_else(|| {
            let (status, reason) = refusal;
            self.without_choice(status, reason)
        }))
    }

    /// The choice of another card of the model, of an earlier run, or one that is made
    /// now, by one run at a time.
    fn choice_of_the_model(
        &mut self,
        process: &mut Process,
    ) -> Result<Result<Tuning, Reason>, WorkerError> {
        let mut turn = self.plan.choices.turn(self.plan.interrupted)?;
        if let Some(tuning) = turn.find(self.cache.key(), self.id) {
            self.cache.insert(&tuning);
            return Ok(Ok(tuning));
        }
        if let (false, Some(tuning)) = (self.plan.retune, self.choice_of_an_earlier_run()) {
            return Ok(Ok(tuning));
        }
        let tuning = self.tune(process)?;
        if let Ok(tuning) = &tuning {
            turn.keep(self.cache.key(), tuning);
        }
        Ok(tuning)
    }

    /// The choice in the cache, a file that anybody may have changed.
    fn choice_of_an_earlier_run(&mut self) -> Option<Tuning> {
        // The worker says what is wrong with templates.
        let templates = self.report.shaders.load().ok()?;
        let capabilities = Capabilities::from(&self.report.adapter);
        let shape = self.id.shape;
        let programs = |kernel: &Kernel| kernel.candidates(shape, &capabilities, &templates);
        match self.cache.find(self.id, &programs) {
            Ok(found) => found,
            Err(unfit) => {
                self.observer.warn(&unfit);
                None
            }
        }
    }

    /// Has the worker try the candidates, and keeps the outcome for later runs.
    fn tune(&mut self, process: &mut Process) -> Result<Result<Tuning, Reason>, WorkerError> {
        let request = Request::Tune {
            id: self.id.to_string(),
            seed: self.report.seed,
        };
        let sharing = self.plan.lock.watch();
        let tuning = match process.ask(&request, &mut |phase| self.observer.phase(phase))? {
            Event::Tuned { tuning } => tuning,
            other => return Err(WorkerError::out_of_turn(&other)),
        };
        // What is the fastest at a lower limit, or beside another run, need not be so
        // without it.
        if let (Ok(tuning), None, false) = (&tuning, self.plan.limits, sharing.was_shared()) {
            self.cache.insert(tuning);
            if let Err(error) = keep(self.cache) {
                self.observer.warn(&error);
                self.cache.forget_place();
            }
        }
        Ok(tuning)
    }

    fn without_choice(&self, status: Status, reason: Reason) -> Box<Measurement> {
        Box::new(Measurement::without_figures(self.id, status, reason))
    }
}

/// A case that ended without a figure in a further life, which its reason says.
fn in_life(number: usize, mut measurement: Measurement) -> Measurement {
    if let Some(reason) = &mut measurement.reason {
        reason.message = format!("in life {number}: {}", reason.message);
    }
    measurement
}

/// Writes the cache where the user has a place for it.
///
/// # Errors
/// When the file or its folder cannot be written.
pub fn keep(cache: &Cache) -> Result<(), SaveError> {
    let Some((path, text)) = cache.to_file() else {
        return Ok(());
    };
    let Some((folder, name)) = path.parent().zip(path.file_name()) else {
        return Ok(());
    };
    record::write_into(folder, name, text.as_bytes())
}

#[cfg(all(test, unix))]
mod beside_tests;

#[cfg(all(test, unix))]
pub(super) mod tests {
    use super::*;
    use crate::gpu::adapter::AdapterDescription;
    use crate::measure::measurement::{self, Clock, IntervalKind, Time};
    use crate::power::sensor::{Averaging, Known, Sensor};
    use crate::record::tests::report as begun;
    use crate::session::lock::Locks;
    use crate::units::Seconds;

    /// An adapter that exists in no machine.
    pub fn adapter() -> AdapterDescription {
        begun().adapter
    }

    /// A request to open it.
    pub fn open() -> Request {
        let report = begun();
        Request::Open {
            adapter: Box::new(report.adapter),
            shaders: report.shaders,
            power: PowerRequest {
                wanted: "none".into(),
                sensor: None,
            },
        }
    }

    /// A plan to measure these cases, once each and without power.
    pub fn plan<'a>(
        cases: &'a [Planned],
        worker: &'a dyn Fn() -> Command,
        lock: &'a AdapterLock,
        choices: &'a Choices,
        interrupted: &'a AtomicBool,
    ) -> Plan<'a> {
        Plan {
            cases,
            worker,
            goal: Goal::Measure {
                dump: None,
                power: PowerSpec::None,
            },
            retune: false,
            limits: None,
            lock,
            choices,
            member: None,
            interrupted,
        }
    }

    #[derive(Default)]
    pub struct Heard {
        /// How many cases the report held each time that it was to be saved.
        saves: Vec<usize>,
        warnings: Vec<String>,
    }

    impl Observer for Heard {
        fn case_begins(&mut self, _: usize, _: &Planned) {}
        fn phase(&mut self, _: &str) {}
        fn tuned(&mut self, _: &Tuning) {}
        fn warn(&mut self, warning: &dyn fmt::Display) {
            self.warnings.push(warning.to_string());
        }
        fn power(&mut self, _: Option<&PowerSetup>) {}
        fn case_ended(&mut self, report: &Report, _: Option<&PowerTrace>) -> Result<(), SaveError> {
            self.saves.push(report.measurements.len());
            Ok(())
        }
    }

    /// What a worker has learned of its sensor.
    fn sensor() -> Sensor {
        Sensor {
            power: None,
            energy: None,
            averaging: Averaging {
                window_s: None,
                at_most_s: Some(Seconds(0.2)),
                known: Known::StepResponse,
            },
        }
    }

    /// Answers every request with a measured case. What becomes of one of "register"
    /// is `$FAULT`; in the folder `$OPENED` only the first worker opens the adapter.
    const WORKER: &str = r#"
        echo '{"event":"hello","protocol":5,"version":"x","schema":"1.0"}'
        while read -r line; do
            [ -z "$HEARD" ] || echo "$line" >>"$HEARD"
            case "$line" in
                *2x2x2*'"fresh_device":true'*) eval "$FURTHER" ;;
            esac
            case "$line" in
                *'"open"'*) if [ -z "$OPENED" ] || mkdir "$OPENED/once"; then
                        echo '{"event":"opened","power":{"wanted":"none","source":null,"sensor":null,"reason":"none"}}'
                    else
                        echo '{"event":"error","message":"the adapter is gone"}'
                    fi ;;
                *register*) eval "$FAULT" ;;
                *) printf '{"event":"done","measurement":%s,"trace":null,"sensor":%s,"device_is_gone":false}\n' "$MEASUREMENT" "$SENSOR" ;;
            esac
        done"#;
    const CRASH: &str = "echo 'GPU hang' >&2; kill -KILL $$";
    const HANG: &str =
        r#"echo '{"event":"phase","phase":"verifying","limit_s":0.1}'; exec sleep 60"#;

    fn cases() -> Vec<Planned> {
        let ids = [
            "matmul/f32/naive/1x1x1",
            "matmul/f32/register/1x1x1",
            "matmul/f32/naive/2x2x2",
        ];
        let planned = |id: &str| Planned {
            id: id.parse().unwrap(),
            data: Data::Zeros,
            named: false,
        };
        ids.map(planned).into()
    }

    /// Case number `index`, as if it had been measured.
    fn measured(index: usize) -> Measurement {
        let reason = Reason::new(ReasonCode::NotMeasured, "a test");
        Measurement::without_figures(&cases()[index].id, Status::Ok, reason)
    }

    /// Goes through the cases that `report` lacks with workers to which `variables`
    /// are given.
    fn run(
        mut report: Report,
        variables: &[(&str, &str)],
        interrupted: bool,
    ) -> (Report, Ended, Heard) {
        let cases = cases();
        let worker = || {
            let mut command = Command::new("sh");
            let measurement = serde_json::to_string(&measured(0)).unwrap();
            command.args(["-c", WORKER]).env("MEASUREMENT", measurement);
            command.env("SENSOR", serde_json::to_string(&sensor()).unwrap());
            command.envs(variables.iter().copied());
            command
        };
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::in_folder(folder.path());
        let lock = locks.alone(&report.adapter).unwrap();
        let (choices, interrupted) = (Choices::default(), AtomicBool::new(interrupted));
        let plan = plan(&cases, &worker, &lock, &choices, &interrupted);
        let mut heard = Heard::default();
        let ended = execute(&plan, &mut Cache::none(), &mut report, &mut heard).unwrap();
        (report, ended, heard)
    }

    fn statuses(report: &Report) -> Vec<Status> {
        report.measurements.iter().map(|m| m.status).collect()
    }

    /// Why the second case has failed, which the others have not.
    fn only_failure(report: &Report) -> String {
        assert_eq!(statuses(report), [Status::Ok, Status::Failed, Status::Ok]);
        report.measurements[1].reason.as_ref().unwrap().to_string()
    }

    #[test]
    fn a_crash_costs_one_case_and_every_case_is_saved() {
        let (report, ended, heard) = run(begun(), &[("FAULT", CRASH)], false);
        assert_eq!((ended, heard.saves), (Ended::Complete, vec![1, 2, 3]));
        assert!(report.complete);
        let reason = only_failure(&report);
        assert!(
            reason.contains("signal: 9") && reason.contains("GPU hang"),
            "{reason}"
        );
        let learned = report.power.and_then(|power| power.sensor);
        assert_eq!(learned, Some(sensor()));
        let data = |m: &Measurement| m.data == Data::Zeros;
        assert!(report.measurements.iter().all(data));
    }

    #[test]
    fn a_hang_costs_one_case() {
        let (report, ended, _) = run(begun(), &[("FAULT", HANG)], false);
        assert_eq!(ended, Ended::Complete);
        let reason = only_failure(&report);
        assert!(reason.contains("while verifying"), "{reason}");
    }

    /// The worker of the first two cases crashes, and no other opens the adapter.
    #[test]
    fn an_adapter_that_is_gone_in_the_middle_ends_the_run_with_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let opened = folder.path().to_str().unwrap();
        let variables = [("FAULT", CRASH), ("OPENED", opened)];
        let (report, ended, heard) = run(begun(), &variables, false);
        assert_eq!(ended, Ended::DeviceGone);
        assert_eq!(statuses(&report), [Status::Ok, Status::Failed]);
        assert!(!report.complete);
        assert_eq!(
            heard.warnings,
            ["the adapter cannot be used: the adapter is gone"]
        );
    }

    /// A failed case is an outcome and stays.
    #[test]
    fn a_run_goes_on_behind_the_cases_that_it_has() {
        let mut report = begun();
        let failed = Measurement {
            status: Status::Failed,
            ..measured(1)
        };
        report.measurements = vec![measured(0), failed];
        let (report, ended, heard) = run(report, &[], false);
        assert_eq!((ended, heard.saves), (Ended::Complete, vec![3]));
        assert_eq!(statuses(&report), [Status::Ok, Status::Failed, Status::Ok]);
        assert!(report.complete);
    }

    #[test]
    fn an_interrupted_run_ends_without_inventing_cases() {
        let (report, ended, heard) = run(begun(), &[], true);
        assert_eq!((ended, heard.saves), (Ended::Interrupted, vec![]));
        assert!(!report.complete && report.measurements.is_empty());
    }

    /// A case that was measured in a second.
    fn timed() -> Measurement {
        Measurement {
            time: Time::summarise(&[1.0; 10], Clock::Device, measurement::Cache::Hot, 1),
            parameters: [("tile_m".to_owned(), 64)].into(),
            ..measured(0)
        }
    }

    /// Every case in the lives of `tier`, the requests that the workers have heard, and
    /// those to open the adapter among them.
    fn in_lives(tier: Tier, further: &str) -> (Report, Vec<String>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let heard = folder.path().join("heard");
        let answer = r#"printf '{"event":"done","measurement":%s,"trace":null,"sensor":null,"device_is_gone":false}\n' "$MEASUREMENT""#;
        let measurement = serde_json::to_string(&timed()).unwrap();
        let variables = [
            ("HEARD", heard.to_str().unwrap()),
            ("FAULT", answer),
            ("FURTHER", further),
            ("MEASUREMENT", &measurement),
        ];
        let mut report = begun();
        report.tier = tier;
        let (report, ended, _) = run(report, &variables, false);
        assert_eq!(ended, Ended::Complete);
        let heard = std::fs::read_to_string(heard).unwrap();
        let (opened, asked): (Vec<_>, Vec<_>) = heard
            .lines()
            .map(str::to_owned)
            .partition(|line| line.contains(r#""request":"open""#));
        (report, asked, opened.len())
    }

    #[test]
    fn a_quick_case_has_a_single_life() {
        let (report, asked, opened) = in_lives(Tier::Quick, "");
        assert_eq!((asked.len(), opened), (3, 1));
        let lives = |m: &Measurement| m.time.as_ref().map(|time| time.lives.len());
        assert!(report.measurements.iter().all(|m| lives(m) == Some(1)));
    }

    /// Of three cases; the further lives run the program of the first.
    #[test]
    fn a_standard_case_has_three_lives_on_fresh_devices() {
        let (report, asked, opened) = in_lives(Tier::Standard, "");
        assert_eq!((asked.len(), opened), (9, 1));
        let program = r#""choice":{"variant":"naive","parameters":{"tile_m":64}}"#;
        for (index, request) in asked.iter().enumerate() {
            let further = index % 3 > 0;
            assert_eq!(
                request.contains(r#""fresh_device":true"#),
                further,
                "{request}"
            );
            assert!(!further || request.contains(program), "{request}");
        }
        for measurement in &report.measurements {
            let time = measurement.time.as_ref().unwrap();
            assert_eq!((time.lives.len(), time.samples_s.len()), (3, 30));
            assert_eq!(time.interval_s.unwrap().kind, IntervalKind::OverLives);
        }
    }

    #[test]
    fn a_reference_case_has_five_lives_in_fresh_processes() {
        let (report, asked, opened) = in_lives(Tier::Reference, "");
        assert_eq!((asked.len(), opened), (15, 13), "one, and four more a case");
        assert!(!asked.concat().contains("fresh_device"));
        let lives = |m: &Measurement| m.time.as_ref().map(|time| time.lives.len());
        assert!(report.measurements.iter().all(|m| lives(m) == Some(5)));
    }

    #[test]
    fn a_case_that_fails_in_one_life_has_no_figure() {
        let (report, ..) = in_lives(Tier::Standard, CRASH);
        assert_eq!(statuses(&report), [Status::Ok, Status::Ok, Status::Failed]);
        let reason = Reason::new(ReasonCode::Unstable, "another output");
        let id = &cases()[2].id;
        let rejected = Measurement::without_figures(id, Status::Rejected, reason);
        let rejected = serde_json::to_string(&rejected).unwrap();
        let answer = format!(
            r#"echo '{{"event":"done","measurement":{rejected},"trace":null,"sensor":null,"device_is_gone":false}}'; continue"#
        );
        let (report, asked, _) = in_lives(Tier::Standard, &answer);
        assert_eq!(asked.len(), 8, "the third life of the last case is none");
        assert_eq!(
            statuses(&report),
            [Status::Ok, Status::Ok, Status::Rejected]
        );
        let last = &report.measurements[2];
        let reason = last.reason.as_ref().unwrap().to_string();
        assert_eq!(reason, "unstable: in life 2: another output");
        assert!(last.time.is_none() && last.gflops.is_none());
    }
}
