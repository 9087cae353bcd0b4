//! Runs beside one another, with workers that a script stands in for.

use std::fs;
use std::path::Path;
use std::thread;

use super::tests::{Heard, adapter, plan};
use super::*;
use crate::gpu::adapter::AdapterDescription;
use crate::record::tests::report as begun;
use crate::session::{Locks, Together, process};
use crate::tune::Key;

/// Says when it is ready, when it was let go, when it has measured and when it was
/// told to finish, in a file that all share. Every case takes place in a minute of its
/// own. Crashes in the midst of "register" if it is to.
const WORKER: &str = r#"
    echo '{"event":"hello","protocol":7,"version":"x","schema":"1.5"}'
    note() { echo "$1 $NAME" >>"$LOG"; }
    while read -r line; do
        case "$line" in
            *'"open"'*) echo '{"event":"opened","power":{"wanted":"none","source":null,"sensor":null,"reason":"none"}}' ;;
            *'"beside_others":true'*)
                note ready; echo '{"event":"ready"}'; read -r answer; note "$answer"
                case "$line" in *register*) [ -z "$CRASHES" ] || kill -KILL $$ ;; esac
                case "$line" in *1x1x1*) minute=1 ;; *) minute=2 ;; esac
                case "$line" in *register*) minute=3 ;; esac
                note measured; echo '{"event":"measured"}'; read -r answer; note "$answer"
                printf '{"event":"done","measurement":%s,"trace":null,"sensor":null,"device_is_gone":false,"busy":[%s]}\n' "$MEASUREMENT" "$BUSY" | sed "s/T03:00/T03:0$minute/g" ;;
        esac
    done"#;

const CASES: [&str; 3] = [
    "matmul/f32/naive/1x1x1",
    "matmul/f32/register/1x1x1",
    "matmul/f32/naive/2x2x2",
];

/// From second to second of the minute that stands for every case's own.
fn period(begin: u8, end: u8) -> Period {
    let at = |second| format!("2026-01-02T03:00:{second:02}Z").parse().unwrap();
    Period {
        begin: at(begin),
        end: at(end),
        since_boot_s: None,
    }
}

/// A run on card `name`, whose worker tells that its timed dispatches took `timed` and
/// that it was `busy`.
fn run_beside(
    member: Member,
    name: &str,
    [timed, busy]: [Period; 2],
    crashes: bool,
    log: &Path,
) -> (Report, Ended) {
    let planned = |id: &&str| Planned {
        id: id.parse().unwrap(),
        data: Data::Normal,
        named: false,
    };
    let cases: Vec<Planned> = CASES.iter().map(planned).collect();
    let reason = Reason::new(ReasonCode::NotMeasured, "a script measures nothing");
    let measured = Measurement {
        timed: vec![timed],
        ..Measurement::without_figures(&cases[0].id, Status::Skipped, reason)
    };
    let worker = || {
        let mut command = Command::new("sh");
        command
            .args(["-c", WORKER])
            .env("NAME", name)
            .env("LOG", log)
            .env("CRASHES", if crashes { "1" } else { "" })
            .env("MEASUREMENT", serde_json::to_string(&measured).unwrap())
            .env("BUSY", serde_json::to_string(&busy).unwrap());
        command
    };
    let folder = tempfile::tempdir().unwrap();
    let locks = Locks::in_folder(folder.path());
    let lock = locks.alone(&adapter()).unwrap();
    let (choices, interrupted) = (Choices::default(), AtomicBool::new(false));
    let plan = Plan {
        member: Some(&member),
        ..plan(&cases, &worker, &lock, &choices, &interrupted)
    };
    let mut report = begun();
    let ended = execute(
        &plan,
        &mut Cache::none(),
        &mut report,
        &mut Heard::default(),
    );
    (report, ended.unwrap())
}

/// Two runs at the same time, and what their workers have noted.
fn two(crashes: bool) -> ([Report; 2], Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let card = |index: usize| AdapterDescription {
        index,
        name: format!("Testcard {index}"),
        ..adapter()
    };
    let interrupted = AtomicBool::new(false);
    let together = Together::new(vec![card(0), card(1)], &interrupted);
    let mut members = together.members().into_iter();
    let (first, second) = (members.next().unwrap(), members.next().unwrap());
    let reports = thread::scope(|scope| {
        let first = scope.spawn(|| {
            let times = [period(0, 10), period(0, 12)];
            run_beside(first, "a", times, false, &log)
        });
        let times = [period(2, 4), period(1, 10)];
        let second = run_beside(second, "b", times, crashes, &log);
        [first.join().unwrap(), second]
    });
    let reports = reports.map(|(report, ended)| {
        assert_eq!(ended, Ended::Complete);
        assert_eq!(report.measurements.len(), CASES.len());
        report
    });
    let log = fs::read_to_string(log).unwrap();
    (reports, log.lines().map(str::to_owned).collect())
}

/// What was noted, sorted until all are ready, from then until all have measured, and
/// from then until all have finished.
fn stretches(log: &[String]) -> Vec<String> {
    let part = |line: &String| match line {
        line if line.starts_with("ready") => 0,
        line if line.contains("finish") => 2,
        _ => 1,
    };
    let stretches = log.chunk_by(|a, b| part(a) == part(b));
    let sorted = stretches.flat_map(|stretch| {
        let mut stretch = stretch.to_vec();
        stretch.sort();
        stretch
    });
    sorted.collect()
}

/// A case in which both take part.
const BOTH: [&str; 8] = [
    "ready a",
    "ready b",
    "measured a",
    "measured b",
    r#"{"request":"begin"} a"#,
    r#"{"request":"begin"} b"#,
    r#"{"request":"finish"} a"#,
    r#"{"request":"finish"} b"#,
];

/// The whole of the second's two seconds lies in the first's twelve, nine of the
/// first's ten in the second's.
#[test]
fn every_case_begins_and_ends_together_and_says_so() {
    let ([first, second], log) = two(false);
    assert_eq!(stretches(&log), BOTH.repeat(CASES.len()));
    let beside = |report: &Report| {
        let beside = report.measurements.iter().map(|m| {
            assert_eq!(m.flags, [Flag::Concurrent]);
            let [beside] = &m.concurrent_with[..] else {
                panic!("{m:?}")
            };
            (beside.adapter.clone(), beside.overlap)
        });
        beside.collect::<Vec<_>>()
    };
    assert_eq!(beside(&first), vec![("Testcard 1".to_owned(), 0.9); 3]);
    assert_eq!(beside(&second), vec![("Testcard 0".to_owned(), 1.0); 3]);
}

#[test]
fn a_card_that_fails_is_not_waited_for_and_is_back_for_the_next_case() {
    let ([first, second], log) = two(true);
    let alone = [
        "ready a",
        "ready b",
        "measured a",
        r#"{"request":"begin"} a"#,
        r#"{"request":"begin"} b"#,
        r#"{"request":"finish"} a"#,
    ];
    let expected = [&BOTH[..], &alone, &BOTH].concat();
    assert_eq!(stretches(&log), expected);
    let statuses: Vec<Status> = second.measurements.iter().map(|m| m.status).collect();
    assert_eq!(statuses, [Status::Skipped, Status::Failed, Status::Skipped]);
    let alone: Vec<bool> = first
        .measurements
        .iter()
        .map(|m| m.concurrent_with.is_empty())
        .collect();
    assert_eq!(alone, [false, true, false]);
}

fn key(adapter: &AdapterDescription) -> Key {
    let templates = crate::kernel::template::Templates::builtin();
    Key::new(adapter, templates, Default::default())
}

#[test]
fn cards_of_one_model_run_what_the_first_of_them_ran() {
    let choices = Choices::default();
    let mut other = adapter();
    other.name = "Testcard 9".into();
    let (ours, theirs) = (key(&adapter()), key(&other));
    let id: CaseId = "matmul/f32/register/64x64x64".parse().unwrap();
    let measured = |tile, status| {
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        Measurement {
            parameters: [("tile_m".to_owned(), tile)].into(),
            ..Measurement::without_figures(&id, status, reason)
        }
    };
    choices.ran(&ours, &measured(16, Status::Rejected));
    choices.ran(&ours, &measured(32, Status::Ok));
    choices.ran(&ours, &measured(64, Status::Ok));
    let program = choices.program(&ours, &id.to_string()).unwrap();
    assert_eq!(program.parameters["tile_m"], 32);
    assert_eq!(choices.program(&theirs, &id.to_string()), None);
}

#[test]
fn one_run_chooses_at_a_time_and_an_interruption_ends_the_wait() {
    let choices = Choices::default();
    let interrupted = AtomicBool::new(true);
    let turn = choices.turn(&interrupted).unwrap();
    let second = choices.turn(&interrupted);
    assert!(matches!(
        second.err(),
        Some(process::WorkerError::Interrupted)
    ));
    drop(turn);
    assert!(choices.turn(&interrupted).is_ok());
}
