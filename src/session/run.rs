//! Carries out a plan case by case.

use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::process::{Process, WorkerError};
use super::protocol::{Event, Request};
use crate::kernel::id::CaseId;
use crate::measure::measurement::{Measurement, Reason, ReasonCode, Status};
use crate::record::{Report, SaveError};

/// What a run is to measure.
pub struct Plan<'a> {
    /// Cases in order: ceilings come before what is held against them.
    pub cases: &'a [CaseId],
    /// How a worker process is started.
    pub worker: &'a dyn Fn() -> Command,
    /// Set when the run is to end early.
    pub interrupted: &'a AtomicBool,
}

/// Hears how a run goes on.
pub trait Observer {
    /// Case number `index` begins.
    fn case_begins(&mut self, index: usize, id: &CaseId);
    /// What the case is doing.
    fn phase(&mut self, phase: &str);
    /// The case has ended and stands in the report, which is to be saved.
    ///
    /// # Errors
    /// When the report cannot be saved: the run ends.
    fn case_ended(&mut self, report: &Report) -> Result<(), SaveError>;
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every case is in the report.
    Complete,
    /// Interrupted; the report holds what was measured before.
    Interrupted,
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
}

/// Measures the plan's cases and puts them into `report`. A worker that dies or
/// hangs costs its case; the next case gets a fresh one.
///
/// # Errors
/// When the report cannot be saved or no worker opens the adapter.
pub fn execute(
    plan: &Plan,
    report: &mut Report,
    observer: &mut dyn Observer,
) -> Result<Ended, SessionError> {
    let mut worker = None;
    for (index, id) in plan.cases.iter().enumerate() {
        observer.case_begins(index, id);
        let process = match worker.take() {
            Some(process) => process,
            None => match Process::start((plan.worker)(), &report.adapter, plan.interrupted) {
                Ok(process) => process,
                Err(WorkerError::Interrupted) => return Ok(Ended::Interrupted),
                Err(error) => return Err(SessionError::Adapter(error)),
            },
        };
        let (measurement, process) = match measure(process, id, report, observer) {
            Ok((measurement, process)) => (measurement, Some(process)),
            Err(WorkerError::Interrupted) => return Ok(Ended::Interrupted),
            Err(error) => {
                let reason = Reason::new(ReasonCode::Worker, error);
                (
                    Measurement::without_figures(id, Status::Failed, reason),
                    None,
                )
            }
        };
        worker = process;
        report.push(measurement);
        report.complete = index + 1 == plan.cases.len();
        observer.case_ended(report)?;
    }
    Ok(Ended::Complete)
}

/// Has the worker measure one case. The worker comes back unless it failed.
fn measure<'a>(
    mut process: Process<'a>,
    id: &CaseId,
    report: &Report,
    observer: &mut dyn Observer,
) -> Result<(Measurement, Process<'a>), WorkerError> {
    let request = Request::Measure {
        id: id.to_string(),
        tier: report.tier,
        seed: report.seed,
    };
    match process.ask(&request, &mut |phase| observer.phase(phase))? {
        Event::Done { measurement } => Ok((*measurement, process)),
        other => Err(WorkerError::Refused(format!("out of turn: {other:?}"))),
    }
}

#[cfg(all(test, unix))]
pub(super) mod tests {
    use super::*;
    use crate::gpu::adapter::AdapterDescription;
    use crate::measure::tier::Tier;
    use crate::record::Start;

    /// An adapter that exists in no machine.
    pub fn adapter() -> AdapterDescription {
        serde_json::from_str(include_str!("../../tests/data/adapter.json")).unwrap()
    }

    #[derive(Default)]
    struct Saves(Vec<usize>);

    impl Observer for Saves {
        fn case_begins(&mut self, _: usize, _: &CaseId) {}
        fn phase(&mut self, _: &str) {}
        fn case_ended(&mut self, report: &Report) -> Result<(), SaveError> {
            self.0.push(report.measurements.len());
            Ok(())
        }
    }

    /// Answers every request with a skipped case, but crashes on "register".
    const WORKER: &str = r#"
        echo '{"event":"hello","protocol":1,"version":"x"}'
        while read -r line; do
            case "$line" in
                *'"open"'*) echo '{"event":"opened"}' ;;
                *register*) echo 'GPU hang' >&2; kill -KILL $$ ;;
                *) printf '{"event":"done","measurement":%s}\n' "$MEASUREMENT" ;;
            esac
        done"#;

    fn run(interrupted: bool) -> (Report, Ended, Vec<usize>) {
        let ids = [
            "matmul/f32/naive/1x1x1",
            "matmul/f32/register/1x1x1",
            "matmul/f32/naive/2x2x2",
        ];
        let cases: Vec<CaseId> = ids.iter().map(|id| id.parse().unwrap()).collect();
        let reason = Reason::new(ReasonCode::TooLarge, "needs 2 MiB, adapter allows 1 MiB");
        let skipped = Measurement::without_figures(&cases[0], Status::Skipped, reason);
        let worker = || {
            let mut command = Command::new("sh");
            let measurement = serde_json::to_string(&skipped).unwrap();
            command.args(["-c", WORKER]).env("MEASUREMENT", measurement);
            command
        };
        let mut report = Report::begin(Start {
            command: Vec::new(),
            tier: Tier::Quick,
            seed: 1,
            adapter: adapter(),
            datasheet: Err("a test".into()),
        });
        let plan = Plan {
            cases: &cases,
            worker: &worker,
            interrupted: &AtomicBool::new(interrupted),
        };
        let mut saves = Saves::default();
        let ended = execute(&plan, &mut report, &mut saves).unwrap();
        (report, ended, saves.0)
    }

    #[test]
    fn a_crash_costs_one_case_and_every_case_is_saved() {
        let (report, ended, saves) = run(false);
        assert_eq!((ended, saves), (Ended::Complete, vec![1, 2, 3]));
        assert!(report.complete);
        let statuses: Vec<Status> = report.measurements.iter().map(|m| m.status).collect();
        assert_eq!(statuses, [Status::Skipped, Status::Failed, Status::Skipped]);
        let reason = report.measurements[1].reason.as_ref().unwrap().to_string();
        assert!(
            reason.contains("signal: 9") && reason.contains("GPU hang"),
            "{reason}"
        );
    }

    #[test]
    fn an_interrupted_run_ends_without_inventing_cases() {
        let (report, ended, saves) = run(true);
        assert_eq!((ended, saves), (Ended::Interrupted, vec![]));
        assert!(!report.complete && report.measurements.is_empty());
    }
}
