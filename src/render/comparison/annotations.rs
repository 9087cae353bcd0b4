//! Lines that GitHub shows beside the change.

use super::super::untrusted::plain;
use super::junit::message;
use super::label;
use crate::compare::{Comparison, Verdict};

/// An error for what fails, a warning for what could not be decided, a notice for
/// what somebody has accepted and for what is a little slower.
pub fn annotations(comparison: &Comparison) -> String {
    let whole = comparison.incomparable.iter();
    let whole = whole.map(|why| line("warning", "flopwatt", &format!("INCOMPARABLE: {why}")));
    let warnings = comparison.warnings.iter();
    let warnings = warnings.map(|text| line("warning", "flopwatt", text));
    let cases = comparison.cases.iter().filter_map(|case| {
        let level = match (case.fails, &case.accepted, case.verdict) {
            (true, _, _) => "error",
            (false, Some(_), _) => "notice",
            (false, None, Verdict::Slower | Verdict::Ambiguous | Verdict::Incomparable) => {
                "warning"
            }
            _ if case.is_little_slower() => "notice",
            _ => return None,
        };
        let title = format!("flopwatt: {}", label(case));
        Some(line(level, &title, &message(case)))
    });
    whole.chain(warnings).chain(cases).collect()
}

fn line(level: &str, title: &str, message: &str) -> String {
    let data = |text: &str| plain(text).replace('%', "%25");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{}\n", data(message))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;

    #[test]
    fn texts_cannot_become_commands() {
        insta::assert_snapshot!(annotations(&comparison()), @"
        ::warning title=flopwatt::something ::error::is odd
        ::notice title=flopwatt%3A matmul/f32/naive/64x64x64 against v1.0::SAME, slower by 0.6–1.6 %25, head over base 1.012 [1.006, 1.016]
        ::error title=flopwatt%3A matmul/f32/register/64x64x64::SLOWER, head over base 1.100 [1.080, 1.120]
        ::notice title=flopwatt%3A peak/f32/fma/device::GONE: accepted: it is exact now, 50%25; head has no such case
        ::warning title=flopwatt%3A latency/none/dispatch/empty::AMBIGUOUS, head over base 1.000 [0.900, 1.200]: time was up
        ");
    }
}
