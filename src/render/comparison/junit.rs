//! JUnit XML, which most build servers read.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::untrusted::plain;
use super::{case_note, label};
use crate::compare::{Case, Comparison, Verdict};

/// The verdicts as one test suite: a failure for what fails, skipped for what could
/// not be decided.
pub fn junit(comparison: &Comparison) -> String {
    let mut suite = TestSuite::new("flopwatt");
    if let Some(why) = &comparison.incomparable {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("{}: {}", Verdict::Incomparable, plain(why)));
        suite.add_test_case(TestCase::new("comparison", status));
    }
    suite.add_test_cases(comparison.cases.iter().map(test_case));
    let mut report = Report::new("flopwatt");
    report.add_test_suite(suite);
    let text = report.to_string().expect("writing to memory does not fail");
    if text.ends_with('\n') {
        text
    } else {
        text + "\n"
    }
}

fn test_case(case: &Case) -> TestCase {
    let undecided = matches!(case.verdict, Verdict::Ambiguous | Verdict::Incomparable);
    let mut status = if case.fails {
        TestCaseStatus::non_success(NonSuccessKind::Failure)
    } else if undecided {
        TestCaseStatus::skipped()
    } else {
        TestCaseStatus::success()
    };
    if case.fails || undecided {
        status.set_message(message(case));
    }
    let mut test = TestCase::new(plain(&label(case)), status);
    if case.is_little_slower() {
        test.set_system_out(message(case));
    }
    test.set_classname("flopwatt");
    let took: f64 = case.rounds.iter().map(|round| round.took_s.0).sum();
    test.set_time(Duration::try_from_secs_f64(took).unwrap_or_default());
    test
}

/// Verdict, ratio and notes in one line.
pub(super) fn message(case: &Case) -> String {
    let ratio = case.ratio;
    let ratio = ratio.map(|ratio| format!(", head over base {ratio}"));
    let note = Some(case_note(case)).filter(|note| !note.is_empty());
    let note = note.map(|note| format!(": {note}"));
    plain(&format!(
        "{}{}{}",
        case.in_words(),
        ratio.unwrap_or_default(),
        note.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;

    #[test]
    fn what_fails_is_a_failure_and_what_is_undecided_is_skipped() {
        insta::assert_snapshot!(junit(&comparison()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="flopwatt" tests="5" skipped="1" failures="1" errors="0">
            <testsuite name="flopwatt" tests="5" skipped="1" errors="0" failures="1">
                <testcase name="matmul/f32/naive/64x64x64" classname="flopwatt" time="0.500"/>
                <testcase name="matmul/f32/naive/64x64x64 against v1.0" classname="flopwatt" time="0.500">
                    <system-out>SAME, slower by 0.6–1.6 %, head over base 1.012 [1.006, 1.016]</system-out>
                </testcase>
                <testcase name="matmul/f32/register/64x64x64" classname="flopwatt" time="0.500">
                    <failure message="SLOWER, head over base 1.100 [1.080, 1.120]"/>
                </testcase>
                <testcase name="peak/f32/fma/device" classname="flopwatt" time="0.000"/>
                <testcase name="latency/none/dispatch/empty" classname="flopwatt" time="0.500">
                    <skipped message="AMBIGUOUS, head over base 1.000 [0.900, 1.200]: time was up"/>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn nothing_comparable_is_one_skipped_test() {
        let mut comparison = comparison();
        comparison.cases.clear();
        comparison.incomparable = Some("the worker speaks protocol 4".into());
        let text = junit(&comparison);
        assert!(
            text.contains("tests=\"1\" skipped=\"1\" errors=\"0\" failures=\"0\""),
            "{text}"
        );
    }
}
