//! The gate's logic on workers that are scripts and know their times beforehand.

use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::compare::Side;
use crate::gpu::adapter::DeviceType;
use crate::kernel::Choice;
use crate::measure::measurement::{Measurement, Reason, ReasonCode, Status};
use crate::power::{Averaging, Coverage, Metric, PowerSetup, SourceIdentity};
use crate::units::Joules;

const CASE: &str = "matmul/f32/naive/1x1x1";
const OTHER: &str = "matmul/f32/naive/2x2x2";

/// A worker that does as its environment says:
/// - `CASES`: what it knows; `WRONG`: of these, what it computes wrong
/// - `OPERATIONS`: what it counts
/// - `BASE`, `HEAD`: seconds per dispatch with the one or the other's shaders
/// - `CLOCK`: by which clock, nothing of an old program; `HOST`: seconds by the host's,
///   where they are others
/// - `SKIPS`: the number of what it holds that computes nothing in timed batches
/// - `METER`: whether it reads power
/// - `CRASH`: a request that it does not survive
/// - `RELEASES`: a file that grows by a byte with every release; once it holds `SLOW`
///   of them, `HEAD` is 1
const WORKER: &str = r#"
    held=
    power='{"wanted":"none","source":null,"sensor":null,"reason":"no meter"}'
    if [ -n "$METER" ]; then power=$METERED; fi
    echo '{"event":"hello","protocol":'"$PROTOCOL"',"version":"x","schema":"1.0"}'
    while read -r line; do
        request=${line#*'"request":"'}
        request=${request%%'"'*}
        if [ "$request" = "$CRASH" ]; then echo 'GPU hang' >&2; kill -KILL $$; fi
        if [ -n "$SLOW" ] && [ "$(wc -c < "$RELEASES")" -ge "$SLOW" ]; then HEAD=1; fi
        case "$request" in
        open) echo '{"event":"opened","power":'"$power"'}' ;;
        list)
            ids=
            for id in $CASES; do
                case "$line" in
                *'"filters":[]'* | *"$id"*) ids="$ids,\"$id\"" ;;
                esac
            done
            echo '{"event":"listed","ids":['"${ids#,}"']}' ;;
        check)
            case "$line" in
            *"\"id\":\"$WRONG\""*)
                echo '{"event":"done","measurement":'"$REJECTED"',"trace":null,"device_is_gone":false}' ;;
            *)
                work='{"operations":'"$OPERATIONS"',"unit":"FLOP","bytes":12}'
                echo '{"event":"checked","programs":[{"parameters":{},"work":'"$work"'}]}' ;;
            esac ;;
        hold)
            case "$line" in
            *'"variant":"slow"'*) held="$held 1.3" ;;
            *'"hash":"of base"'*) held="$held $BASE" ;;
            *) held="$held $HEAD" ;;
            esac
            work='{"operations":2,"unit":"FLOP","bytes":12}'
            echo '{"event":"held","choice":{"variant":"naive","parameters":{}},"work":'"$work"'}' ;;
        sample)
            number=${line#*'"held":'}
            set -- $held
            shift "${number%%,*}"
            told=
            if [ -n "$CLOCK" ]; then told=',"clock":"'$CLOCK'","host_s":'${HOST:-$1}; fi
            case "$line" in
            *"\"held\":$SKIPS,"*'"checked":true'*)
                echo '{"event":"done","measurement":'"$REJECTED"',"trace":null,"device_is_gone":false}' ;;
            *) echo '{"event":"sampled","dispatch_s":'"$1$told"'}' ;;
            esac ;;
        meter)
            number=${line#*'"held":'}
            set -- $held
            shift "${number%%\}*}"
            echo '{"event":"metered","dispatch_j":'"$1"'}' ;;
        release)
            if [ -n "$SLOW" ]; then printf . >> "$RELEASES"; fi
            echo '{"event":"released","wrong":[]}' ;;
        esac
    done"#;

#[derive(Clone)]
struct Script(Vec<(&'static str, String)>);

impl Script {
    fn with(self, name: &'static str, value: &str) -> Self {
        let mut variables = self.0;
        variables.push((name, value.to_owned()));
        Self(variables)
    }

    fn command(&self) -> Command {
        let id = CASE.parse().unwrap();
        let reason = Reason::new(ReasonCode::WrongResult, "element 0 is wrong");
        let rejected = Measurement::without_figures(&id, Status::Rejected, reason);
        let field = || Metric::Field("watts".to_owned());
        let power = PowerSetup {
            wanted: "auto".to_owned(),
            source: Some(SourceIdentity {
                name: "stand-in".to_owned(),
                device: "Testcard 0".to_owned(),
                covers: Coverage::GpuBoard,
                power: field(),
                energy: field(),
                averaging: Averaging::UNKNOWN,
                pci_address: None,
            }),
            sensor: None,
            before_open_w: None,
            reason: None,
        };
        let mut command = Command::new("sh");
        command
            .args(["-c", WORKER])
            .env("REJECTED", serde_json::to_string(&rejected).unwrap())
            .env("METERED", serde_json::to_string(&power).unwrap())
            .envs(self.0.iter().cloned());
        command
    }
}

/// Both sides take as long.
fn script() -> Script {
    let usual = [
        ("PROTOCOL", "5"),
        ("CASES", CASE),
        ("WRONG", "none"),
        ("OPERATIONS", "2"),
        ("BASE", "1"),
        ("HEAD", "1"),
        ("METER", ""),
        ("CLOCK", "device"),
        ("HOST", ""),
        ("SKIPS", "none"),
        ("CRASH", "none"),
    ];
    Script(usual.map(|(name, value)| (name, value.to_owned())).into())
}

struct Silent;

impl Observer for Silent {
    fn case_begins(&mut self, _: &str, _: usize, _: usize) {}
    fn phase(&mut self, _: &str) {}
    fn case_ended(&mut self, _: &Case) {}
}

fn contestant<'a>(hash: &str, worker: &'a dyn Fn() -> Command) -> Contestant<'a> {
    Contestant {
        side: Side::default(),
        worker,
        shaders: Shaders {
            folder: None,
            hash: hash.to_owned(),
            mode: Default::default(),
        },
    }
}

/// Has `work` done with a plan of two processes on a GPU and a minute.
fn planned<T>(base: &Script, head: &Script, work: impl FnOnce(Plan) -> T) -> T {
    let (of_base, of_head) = (|| base.command(), || head.command());
    let mut adapter = crate::session::test_adapter();
    adapter.device_type = DeviceType::DiscreteGpu;
    work(Plan {
        base: contestant("of base", &of_base),
        head: contestant("of head", &of_head),
        mode: Mode::TwoProcesses,
        adapter,
        filters: Vec::new(),
        budget: Seconds(60.0),
        threshold: Threshold::usual(true),
        seed: 1,
        power: PowerSpec::None,
        alpha: ALPHA,
        interrupted: &AtomicBool::new(false),
    })
}

fn run_in(mode: Mode, base: &Script, head: &Script, accepted: &Accepted) -> Comparison {
    planned(base, head, |plan| {
        let mut usage = accepted.usage();
        let mut comparison = run(&Plan { mode, ..plan }, &mut usage, &mut Silent).unwrap();
        assert!(comparison.complete);
        comparison.warnings.extend(usage.unused(true));
        comparison
    })
}

/// The gate of a plan, where nothing is accepted.
fn run_plan(plan: &Plan) -> Result<Comparison, GateError> {
    run(plan, &mut Accepted::default().usage(), &mut Silent)
}

fn gate(base: &Script, head: &Script) -> Comparison {
    run_in(Mode::TwoProcesses, base, head, &Accepted::default())
}

fn only(comparison: Comparison) -> Case {
    assert_eq!(comparison.cases.len(), 1, "{comparison:?}");
    comparison.cases.into_iter().next().unwrap()
}

/// Nine pairs of one sign would decide at 5 % (see the sequence's own test), but each
/// verdict rests on six pairs in each of five lives.
#[test]
fn equals_are_the_same_after_five_lives_of_six_pairs() {
    let case = only(gate(&script(), &script()));
    assert_eq!((case.verdict, case.fails), (Verdict::Same, false));
    assert_eq!((case.rounds.len(), case.pairs()), (1, 30));
    assert_eq!(case.rounds[0].ln_ratios, [0.0; 30]);
    assert_eq!(case.rounds[0].lives, [6; 5]);
    assert_eq!(case.base_s, Some(Seconds(1.0)));
}

/// Base went by the host's clock, which head's device knows to be 1.3 s as well.
#[test]
fn both_sides_go_by_one_clock() {
    let by_host = script().with("BASE", "1.3").with("CLOCK", "host");
    let by_device = script().with("HOST", "1.3");
    let case = only(gate(&by_host, &by_device));
    assert_eq!(case.verdict, Verdict::Same, "{case:?}");
    assert_eq!(case.head_s, Some(Seconds(1.3)));
    // Where both go by the device's, what the host says is of no interest.
    let case = only(gate(&script(), &by_device));
    assert_eq!(
        (case.verdict, case.head_s),
        (Verdict::Same, Some(Seconds(1.0)))
    );
}

#[test]
fn an_old_base_is_compared_by_processor_time_alone() {
    let old = script().with("CLOCK", "");
    let case = only(gate(&old, &script()));
    assert_eq!((case.verdict, case.fails), (Verdict::Incomparable, false));
    let why = "base does not tell by which clock it times";
    assert!(case.notes[0].starts_with(why), "{case:?}");
    let case = planned(&old, &script(), |mut plan| {
        plan.adapter.device_type = DeviceType::Cpu;
        only(run_plan(&plan).unwrap())
    });
    assert_eq!(case.verdict, Verdict::Same);
}

/// In one process the other side has written what it leaves out: only a batch on a
/// poisoned output shows it.
#[test]
fn a_side_that_computes_nothing_while_it_is_timed_is_found_out() {
    let comparison = |script: Script| {
        only(run_in(
            Mode::OneProcess,
            &script,
            &script,
            &Accepted::default(),
        ))
    };
    let cases = [0, 1].map(|held: usize| comparison(script().with("SKIPS", &held.to_string())));
    for case in &cases {
        assert_eq!(case.verdict, Verdict::Incomparable, "{case:?}");
        assert!(case.notes[0].contains("rejected: element 0 is wrong"));
    }
    // Which of the two head is, chance has decided.
    assert_ne!(cases[0].fails, cases[1].fails);
}

#[test]
fn a_slowdown_fails_once_a_second_round_confirms_it() {
    for mode in [Mode::TwoProcesses, Mode::OneProcess] {
        let slow = script().with("HEAD", "1.2");
        let case = only(run_in(mode, &script(), &slow, &Accepted::default()));
        assert_eq!((case.verdict, case.fails), (Verdict::Slower, true));
        assert_eq!(case.pairs(), 60);
        assert_ne!(case.rounds[0].seed, case.rounds[1].seed);
        assert!((case.ratio.unwrap().median - 1.2).abs() < 1e-9, "{mode:?}");
        assert_eq!(case.head_s, Some(Seconds(1.2)));
        let fast = script().with("HEAD", "0.8");
        let case = only(run_in(mode, &script(), &fast, &Accepted::default()));
        assert_eq!((case.verdict, case.pairs()), (Verdict::Faster, 60));
    }
}

/// A gate whose head is slow until so many pairs of processes have been released.
fn slow_for_so_many_lives(lives: usize) -> Comparison {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let of_both = |script: Script| {
        let slow = (2 * lives).to_string();
        script.with("RELEASES", file).with("SLOW", &slow)
    };
    let head = of_both(script().with("HEAD", "1.2"));
    gate(&of_both(script()), &head)
}

#[test]
fn a_slowdown_that_does_not_come_back_fails_nothing() {
    let case = only(slow_for_so_many_lives(5));
    assert_eq!((case.verdict, case.fails), (Verdict::Ambiguous, false));
    assert_eq!(case.rounds.len(), 2);
    assert!(
        case.notes[0].starts_with("SLOWER in a first round (1.200 "),
        "{case:?}"
    );
}

/// One life is slow from birth to death. With ln 1.2 = 0.182 once among n medians their
/// mean is 0.182/n and Student's interval reaches t times as far, which is below ln 1.05
/// = 0.0488 once (1 + t)/n < 0.268: from n = 12 on, with t = 2.201.
#[test]
fn what_sticks_to_one_process_takes_more_lives() {
    let case = only(slow_for_so_many_lives(1));
    assert_eq!((case.verdict, case.rounds.len()), (Verdict::Same, 1));
    assert_eq!(case.rounds[0].lives, [6; 12]);
    let slow = case.rounds[0]
        .ln_ratios
        .iter()
        .filter(|ratio| **ratio > 0.1);
    assert_eq!(slow.count(), 6);
}

/// Head's trials put another program ahead that is 30 % slower.
#[test]
fn a_disturbed_choice_of_the_best_kernel_is_no_slowdown() {
    let choice = |variant: &str| Choice {
        variant: variant.to_owned(),
        parameters: Default::default(),
    };
    let ready = |passed_over| facts::Ready {
        id: CASE.parse().unwrap(),
        base: choice("naive"),
        head: choice("slow"),
        passed_over,
        notes: Vec::new(),
    };
    let decided = |ready: facts::Ready| {
        planned(&script(), &script(), |plan| {
            let limits = rounds::Limits {
                share: plan.budget,
                alpha: ALPHA,
            };
            let case = rounds::decide(&plan, &ready, Quantity::Time, limits, &mut Silent);
            case.ok().expect("nobody interrupts")
        })
    };
    let case = decided(ready(Some(choice("naive"))));
    assert_eq!((case.verdict, case.fails), (Verdict::Same, false));
    assert!(
        case.notes[0].starts_with("that is slower (1.300 "),
        "{case:?}"
    );
    // Where head no longer has the program of base, the choice is its own.
    let case = decided(ready(None));
    assert_eq!((case.verdict, case.fails), (Verdict::Slower, true));
}

#[test]
fn a_vanished_case_fails_before_anything_is_timed() {
    let base = script().with("CASES", &format!("{CASE} {OTHER}"));
    let comparison = gate(&base, &script().with("CRASH", "hold"));
    let outcomes: Vec<_> = comparison
        .cases
        .iter()
        .map(|c| (c.verdict, c.fails))
        .collect();
    let expected = [(Verdict::Gone, true), (Verdict::Incomparable, false)];
    assert_eq!(outcomes, expected);
    assert_eq!(comparison.cases[0].name, OTHER);
}

#[test]
fn what_is_accepted_does_not_fail_and_what_is_not_needed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accepted.json");
    let list = r#"{"version": 1, "accepted": [
        {"case": "matmul/f32/naive/2x2x2", "change": "gone", "reason": "too small"},
        {"case": "peak/**", "change": "slower", "reason": "was wrong"}]}"#;
    std::fs::write(&file, list).unwrap();
    let accepted = Accepted::load(&file).unwrap();
    let base = script().with("CASES", &format!("{CASE} {OTHER}"));
    let comparison = run_in(Mode::TwoProcesses, &base, &script(), &accepted);
    let verdicts: Vec<_> = comparison.cases.iter().map(|c| c.verdict).collect();
    assert_eq!(verdicts, [Verdict::Gone, Verdict::Same]);
    assert_eq!(comparison.cases[0].accepted.as_deref(), Some("too small"));
    assert!(comparison.warnings[0].contains("peak/**"), "{comparison:?}");
}

#[test]
fn new_cases_are_no_regression() {
    let head = script().with("CASES", &format!("{CASE} {OTHER}"));
    let comparison = gate(&script(), &head);
    let outcomes: Vec<_> = comparison
        .cases
        .iter()
        .map(|c| (c.verdict, c.fails))
        .collect();
    assert_eq!(outcomes, [(Verdict::New, false), (Verdict::Same, false)]);
}

#[test]
fn other_work_fails_before_anything_is_timed() {
    let head = script().with("OPERATIONS", "3").with("CRASH", "hold");
    let case = only(gate(&script(), &head));
    assert_eq!((case.verdict, case.fails), (Verdict::Incomparable, true));
    assert!(case.different_work, "{case:?}");
    assert!(
        case.notes[0].contains("2 operations and 12 bytes in base, 3"),
        "{case:?}"
    );
}

#[test]
fn a_wrong_output_fails_only_where_base_is_right() {
    let wrong = script().with("WRONG", CASE);
    for (base, head, fails) in [
        (script(), wrong.clone(), true),
        (wrong.clone(), script(), false),
        (wrong.clone(), wrong, false),
    ] {
        let case = only(gate(&base, &head));
        assert_eq!((case.verdict, case.fails), (Verdict::Incomparable, fails));
        assert!(
            case.notes[0].contains("rejected: element 0 is wrong"),
            "{case:?}"
        );
    }
}

#[test]
fn a_crash_is_heads_fault_or_nobodys() {
    for request in ["check", "hold", "sample"] {
        let crash = script().with("CRASH", request);
        for (base, head, who) in [(&script(), &crash, "head"), (&crash, &script(), "base")] {
            let case = only(gate(base, head));
            assert_eq!(case.verdict, Verdict::Incomparable, "{request}");
            assert_eq!(case.fails, who == "head", "{request}");
            let note = &case.notes[0];
            assert!(note.starts_with(who) && note.contains("GPU hang"), "{note}");
        }
    }
}

#[test]
fn a_base_of_another_protocol_is_incomparable() {
    for base in [
        script().with("PROTOCOL", "4"),
        script().with("CRASH", "open"),
    ] {
        let comparison = gate(&base, &script());
        let why = comparison.incomparable.unwrap();
        assert!(why.starts_with("base cannot be measured: "), "{why}");
        assert!(comparison.cases.is_empty());
    }
}

#[test]
fn a_name_that_selects_nothing_is_a_mistake_even_where_base_is_unheard() {
    for base in [script(), script().with("PROTOCOL", "4")] {
        let error = planned(&base, &script(), |plan| {
            let plan = Plan {
                filters: vec![CASE.to_owned(), OTHER.to_owned()],
                ..plan
            };
            run_plan(&plan).unwrap_err()
        });
        assert!(matches!(error, GateError::NoCases(filter) if filter == OTHER));
    }
}

#[test]
fn energy_is_a_case_of_its_own_where_a_gpu_tells_its_power() {
    let metered = |script: Script, head: &str| {
        let (base, head) = (script.clone(), script.with("HEAD", head));
        planned(&base, &head, |plan| {
            let power = PowerSpec::Auto;
            run_plan(&Plan { power, ..plan }).unwrap()
        })
    };
    let comparison = metered(script().with("METER", "yes"), "1.2");
    let outcomes = comparison
        .cases
        .iter()
        .map(|c| (c.quantity, c.verdict, c.fails));
    let expected = [Quantity::Time, Quantity::Energy].map(|q| (q, Verdict::Slower, true));
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    let energy = &comparison.cases[1];
    assert_eq!((energy.head_j, energy.head_s), (Some(Joules(1.2)), None));
    // Of two cases each has 2.5 %: eleven pairs of one sign multiply a stake by
    // 2^11·6/(13·14) = 68, ten by 2^10·6/(12·13) = 39, and 40 decide.
    assert_eq!(energy.pairs(), 2 * 11, "a pair of energies takes long");
    let unread = metered(script(), "1");
    assert_eq!(unread.cases.len(), 1);
    assert_eq!(unread.warnings, ["energy is not compared: no meter"]);
    // A reading that fails makes nothing slower.
    let lost = metered(script().with("METER", "yes").with("CRASH", "meter"), "1");
    assert_eq!(
        (lost.cases[1].verdict, lost.cases[1].fails),
        (Verdict::Incomparable, false)
    );
}

/// Exactly at the threshold neither verdict can ever be certain.
#[test]
fn a_case_that_is_undecided_in_its_time_is_ambiguous() {
    let case = planned(&script(), &script().with("HEAD", "1.05"), |plan| {
        let budget = Seconds(0.2);
        only(run_plan(&Plan { budget, ..plan }).unwrap())
    });
    assert_eq!((case.verdict, case.fails), (Verdict::Ambiguous, false));
    assert!(case.notes[0].starts_with("time was up"), "{case:?}");
}

#[test]
fn an_interruption_ends_the_gate() {
    let outcome = planned(&script(), &script(), |plan| {
        let interrupted = &AtomicBool::new(true);
        let plan = Plan {
            interrupted,
            ..plan
        };
        run_plan(&plan)
    });
    assert!(matches!(outcome, Err(GateError::Interrupted)));
}

#[test]
fn a_self_test_tells_what_could_be_found() {
    let test = planned(&script(), &script(), |plan| {
        let budget = Seconds(0.5);
        self_test::run(&Plan { budget, ..plan }, &mut Silent).unwrap()
    });
    assert!(test.complete && test.untimed.is_empty());
    let noise = &test.cases[0];
    assert_eq!((noise.spread, noise.ratio.median), (0.0, 1.0));
    assert!(noise.lives >= 5 && noise.detectable.is_some(), "{noise:?}");
    assert_eq!(noise.between_lives, Some(0.0));
    assert_eq!(noise.verdicts.slower_or_faster, 0);
}
