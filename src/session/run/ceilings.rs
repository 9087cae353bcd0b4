//! Ceilings that are measured again: where a run goes on after it had been cut short,
//! since percentages are to refer to the device as it is now, and at the end of a run,
//! to show whether they still hold.

use jiff::Timestamp;

use super::{Observer, Plan};
use crate::kernel::id::Operation;
use crate::kernel::inputs::Draw;
use crate::measure::again::{Again, When};
use crate::measure::measurement::{Measurement, Reason, ReasonCode, Status};
use crate::measure::tier::Tier;
use crate::record::Report;
use crate::session::process::{Process, WorkerError};
use crate::session::protocol::{Event, Request};

/// Positions of the ceilings of an earlier sitting that cases still to be measured, at
/// these power limits, may be held against.
pub(super) fn to_go_on(plan: &Plan, report: &Report) -> Vec<usize> {
    let steps = plan.steps();
    let missing = steps.get(report.measurements.len()..).unwrap_or(&[]);
    positions(report, |m| {
        let at_its_limit = missing.iter().any(|(limit, _)| *limit == m.power_limit_w);
        m.operation == Operation::Peak && m.status == Status::Ok && at_its_limit
    })
}

/// Positions of the ceilings that cases measured `since` are held against.
pub(super) fn held_against(report: &Report, since: usize) -> Vec<usize> {
    let cases = report.measurements.get(since..).unwrap_or(&[]);
    let has_percentage = |case: &&Measurement| case.percent_of_ceiling.is_some();
    let held = |ceiling: &Measurement| {
        let mut held = cases.iter().filter(has_percentage);
        held.any(|case| case.is_held_against(ceiling))
    };
    positions(report, held)
}

fn positions(report: &Report, wanted: impl Fn(&Measurement) -> bool) -> Vec<usize> {
    let cases = report.measurements.iter().enumerate();
    cases.filter(|(_, m)| wanted(m)).map(|(at, _)| at).collect()
}

/// Measures the ceilings at these positions once more, by the programs that were their
/// fastest, and enters what they are now. One that fails is entered with the reason.
///
/// # Errors
/// When the worker dies, hangs or refuses, or the wait is interrupted.
pub(super) fn measure(
    plan: &Plan,
    process: &mut Process,
    report: &mut Report,
    observer: &mut dyn Observer,
    when: When,
    positions: &[usize],
) -> Result<(), WorkerError> {
    let tier = match when {
        When::Resumed => report.tier,
        When::End => Tier::Quick,
    };
    for &position in positions {
        let ceiling = &report.measurements[position];
        if let Some((limits, watts)) = plan.limits.zip(ceiling.power_limit_w) {
            limits
                .set(watts)
                .map_err(|error| WorkerError::Refused(error.to_string()))?;
        }
        let request = Request::Measure {
            id: ceiling.id.clone(),
            choice: Some(ceiling.program()),
            tier,
            draw: Draw {
                seed: report.seed,
                data: ceiling.data,
            },
            metered: false,
            dump: None,
            beside_others: false,
            fresh_device: false,
        };
        let announced = format!("{} again", ceiling.id);
        let event = process.ask(&request, &mut |phase| {
            observer.phase(&format!("{announced}: {phase}"));
        })?;
        let Event::Done { measurement, .. } = event else {
            return Err(WorkerError::out_of_turn(&event));
        };
        let again = Again::of(when, Timestamp::now(), ceiling, &measurement);
        report.enter_again(position, again);
    }
    Ok(())
}

/// Enters that those of these ceilings could not be measured again which have not been
/// since it was begun.
pub(super) fn not_measured(
    report: &mut Report,
    when: When,
    begun: Timestamp,
    positions: &[usize],
    why: &WorkerError,
) {
    for &position in positions {
        let has_it = |again: &Again| again.at >= begun;
        if !report.measurements[position].again.iter().any(has_it) {
            let reason = Reason::new(ReasonCode::Worker, why);
            let again = Again::without_figure(when, Timestamp::now(), reason);
            report.enter_again(position, again);
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    use super::super::tests::{Heard, plan};
    use super::super::{Ended, execute};
    use super::*;
    use crate::kernel::inputs::Data;
    use crate::kernel::problem::{Work, WorkUnit};
    use crate::measure::measurement::{Cache, Clock, Flag, Rate, Time};
    use crate::record::tests::report as begun;
    use crate::record::{Planned, Resumption};
    use crate::session::Choices;
    use crate::session::lock::Locks;
    use crate::tune;

    const PEAK: &str = "peak/f32/fma/device";
    const KERNEL: &str = "matmul/f32/naive/1x1x1";

    /// Answers with the measurements in the folder `$ANSWERS`: 1 to the first request to
    /// measure, and on. Where there is none it dies.
    const WORKER: &str = r#"
        echo '{"event":"hello","protocol":5,"version":"x","schema":"1.0"}'
        number=0
        while read -r line; do
            case "$line" in
                *'"open"'*) echo '{"event":"opened","power":{"wanted":"none","source":null,"sensor":null,"reason":"none"}}' ;;
                *) number=$((number + 1))
                    echo "$line" >"$ANSWERS/request$number"
                    printf '{"event":"done","measurement":%s,"trace":null,"sensor":null,"device_is_gone":false}\n' "$(cat "$ANSWERS/$number" || kill -KILL $$)" ;;
            esac
        done"#;

    /// A case of 10⁹ operations in these times.
    fn measured(id: &str, samples: &[f64]) -> Measurement {
        let work = Work {
            operations: 1_000_000_000,
            unit: WorkUnit::Flop,
            bytes: 0,
        };
        let time = Time::summarise(samples, Clock::Device, Cache::Hot, 1);
        let reason = Reason::new(ReasonCode::NotMeasured, "a test");
        Measurement {
            gflops: time.as_ref().and_then(|time| Rate::of(&work, time)),
            time,
            reason: None,
            ..Measurement::without_figures(&id.parse().unwrap(), Status::Ok, reason)
        }
    }

    /// Ten samples of so many seconds, and two on either side so far apart.
    fn about(seconds: f64, apart: f64) -> Vec<f64> {
        let mut samples = vec![seconds; 6];
        for _ in 0..7 {
            samples.extend([seconds - apart, seconds + apart]);
        }
        samples
    }

    /// Runs a ceiling and as many kernels as there are, from where `report` is, and the
    /// requests that were made.
    fn run(mut report: Report, kernels: usize, answers: &[Measurement]) -> (Report, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (answer, number) in answers.iter().zip(1..) {
            let json = serde_json::to_string(answer).unwrap();
            std::fs::write(folder.path().join(format!("{number}")), json).unwrap();
        }
        let case = |id: &str, data| Planned {
            id: id.parse().unwrap(),
            data,
            named: false,
        };
        let mut cases = vec![case(PEAK, Data::RandomMantissas)];
        cases.extend((0..kernels).map(|_| case(KERNEL, Data::Normal)));
        let worker = || {
            let mut command = Command::new("sh");
            command.args(["-c", WORKER]).env("ANSWERS", folder.path());
            command
        };
        let locks = Locks::in_folder(folder.path());
        let lock = locks.alone(&report.adapter).unwrap();
        let (choices, interrupted) = (Choices::default(), AtomicBool::new(false));
        let plan = plan(&cases, &worker, &lock, &choices, &interrupted);
        let mut heard = Heard::default();
        let ended = execute(&plan, &mut tune::Cache::none(), &mut report, &mut heard).unwrap();
        assert_eq!(ended, Ended::Complete);
        assert!(report.complete);
        let request = |number: usize| {
            std::fs::read_to_string(folder.path().join(format!("request{number}"))).ok()
        };
        let requests = (1..).map_while(request).collect();
        (report, requests)
    }

    fn flagged(report: &Report) -> Vec<bool> {
        let cases = report.measurements.iter();
        let flagged = cases.map(|m| m.flags.contains(&Flag::CeilingDrifted));
        flagged.collect()
    }

    /// 1 s, then 1.03 s: 1/1.03 − 1 = −2.91 %; 1.005 s: −0.50 %.
    #[test]
    fn a_ceiling_that_has_drifted_at_the_end_is_told_on_the_cases_held_against_it() {
        let end = |seconds: f64| {
            let ceiling = measured(PEAK, &[1.0; 10]);
            let kernel = measured(KERNEL, &[2.0; 10]);
            let again = measured(PEAK, &[seconds; 10]);
            run(begun(), 1, &[ceiling, kernel, again])
        };
        let (report, requests) = end(1.03);
        assert_eq!(requests.len(), 3);
        assert!(requests[2].contains(r#""choice":{"variant":"fma","parameters":{}}"#));
        assert!(requests[2].contains(r#""tier":"quick""#), "{}", requests[2]);
        assert!(requests[2].contains(r#""data":"random-mantissas""#));
        let [again] = &report.measurements[0].again[..] else {
            panic!("{:?}", report.measurements[0].again);
        };
        assert_eq!(again.when, When::End);
        assert!((again.drift_percent.unwrap() + 2.9126).abs() < 1e-3);
        assert_eq!(again.drift_uncertainty_percent, Some(0.0));
        assert_eq!(flagged(&report), [false, true]);
        assert_eq!(report.measurements[1].percent_of_ceiling, Some(50.0));
        let (report, _) = end(1.005);
        assert_eq!(flagged(&report), [false, false]);
        assert!((report.measurements[0].again[0].drift_percent.unwrap() + 0.4975).abs() < 1e-3);
    }

    /// The same 3 %, where samples lie 4 % to either side.
    #[test]
    fn scatter_that_explains_a_drift_is_counted() {
        let ceiling = measured(PEAK, &about(1.0, 0.04));
        let kernel = measured(KERNEL, &[2.0; 10]);
        let again = measured(PEAK, &about(1.03, 0.04));
        let (report, _) = run(begun(), 1, &[ceiling, kernel, again]);
        let again = &report.measurements[0].again[0];
        assert!((again.drift_percent.unwrap() + 2.9126).abs() < 1e-3);
        assert!(
            again
                .drift_uncertainty_percent
                .is_some_and(|open| open > 2.0)
        );
        assert_eq!(flagged(&report), [false, false]);
    }

    #[test]
    fn a_ceiling_that_nothing_is_held_against_is_measured_once() {
        let (report, requests) = run(begun(), 0, &[measured(PEAK, &[1.0; 10])]);
        assert_eq!((requests.len(), report.measurements[0].again.len()), (1, 0));
    }

    #[test]
    fn a_ceiling_that_fails_at_the_end_is_told_and_figures_stay() {
        let answers = [measured(PEAK, &[1.0; 10]), measured(KERNEL, &[2.0; 10])];
        let (report, _) = run(begun(), 1, &answers);
        let again = &report.measurements[0].again[0];
        assert_eq!((again.gflops, again.drift_percent), (None, None));
        let reason = again.reason.as_ref().unwrap().to_string();
        assert!(reason.contains("signal: 9"), "{reason}");
        assert_eq!(report.measurements[1].percent_of_ceiling, Some(50.0));
        assert_eq!(flagged(&report), [false, false]);
    }

    /// The ceiling was 1 GFLOP/s in the first sitting and is 1/1.25 = 0.8 in the second:
    /// half a GFLOP/s is 50 % and 62.5 % of it. At the end it is held against the 0.8.
    #[test]
    fn a_run_that_goes_on_is_held_against_the_ceiling_of_its_own_sitting() {
        let mut report = begun();
        let mut ceiling = measured(PEAK, &[1.0; 10]);
        ceiling.data = Data::RandomMantissas;
        report.push(ceiling);
        report.push(measured(KERNEL, &[2.0; 10]));
        report.resumed.push(Resumption {
            at: Timestamp::now(),
            after_cases: 2,
            altered: false,
        });
        let answers = [
            measured(PEAK, &[1.25; 10]),
            measured(KERNEL, &[2.0; 10]),
            measured(PEAK, &[1.3; 10]),
        ];
        let (report, _) = run(report, 2, &answers);
        let percent = |at: usize| report.measurements[at].percent_of_ceiling.unwrap();
        assert!((percent(1) - 50.0).abs() < 1e-9 && (percent(2) - 62.5).abs() < 1e-9);
        let [resumed, end] = &report.measurements[0].again[..] else {
            panic!("{:?}", report.measurements[0].again);
        };
        assert_eq!((resumed.when, end.when), (When::Resumed, When::End));
        assert!((resumed.drift_percent.unwrap() + 20.0).abs() < 1e-9);
        // 1.25/1.3 − 1.
        assert!((end.drift_percent.unwrap() + 3.8462).abs() < 1e-3);
        assert_eq!(flagged(&report), [false, false, true]);
    }

    /// Without a ceiling of this sitting there is nothing to hold a case against.
    #[test]
    fn a_ceiling_that_fails_when_a_run_goes_on_is_none() {
        let mut report = begun();
        report.push(measured(PEAK, &[1.0; 10]));
        let failed = Measurement::without_figures(
            &PEAK.parse().unwrap(),
            Status::Failed,
            Reason::new(ReasonCode::Device, "out of memory"),
        );
        let (report, requests) = run(report, 1, &[failed, measured(KERNEL, &[2.0; 10])]);
        assert_eq!(requests.len(), 2);
        assert_eq!(report.measurements[1].percent_of_ceiling, None);
        let reason = report.measurements[0].again[0].reason.clone().unwrap();
        assert_eq!(reason.to_string(), "device: out of memory");
    }
}
