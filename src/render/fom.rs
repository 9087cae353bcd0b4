//! Figures of merit: lines that regular expressions of other harnesses pick
//! up.
//!
//! `fom CASE METRIC VALUE UNIT` for every figure, `case CASE STATUS` for every
//! case without one, and `status VALID` or `status INVALID` at the end. A case
//! goes by its id, followed by the distribution of the inputs, as in `[zeros]`,
//! unless that is normal, by `@` and the power limit where limits were varied,
//! and by `@` and the adapter where there are several reports. Units are never
//! rescaled, values have all their digits and never an exponent.

use super::figures::figures;
use super::names;
use super::{Document, Renderer, Run};
use crate::measure::measurement::{Measurement, Status};
use crate::record::Report;

/// One figure of merit a line.
#[derive(Clone, Copy, Debug)]
pub struct FiguresOfMerit;

impl Renderer for FiguresOfMerit {
    fn render(&self, runs: &[Run]) -> Vec<Document> {
        let named = names::cases(runs).into_iter().zip(runs);
        let mut text: String = named
            .flat_map(|(names, run)| names.into_iter().zip(&run.report.measurements))
            .map(|(name, measurement)| lines(&name, measurement))
            .collect();
        let valid = runs.iter().all(|run| is_valid(run.report));
        let validity = if valid { "VALID" } else { "INVALID" };
        text.push_str(&format!("status {validity}\n"));
        Document::only("report.fom", text)
    }
}

/// Whether every planned case ran, some gave a figure, and none was rejected or
/// failed.
fn is_valid(report: &Report) -> bool {
    let bad = |m: &Measurement| matches!(m.status, Status::Rejected | Status::Failed);
    report.complete && report.measured_anything() && !report.measurements.iter().any(bad)
}

fn lines(name: &str, measurement: &Measurement) -> String {
    if measurement.status != Status::Ok {
        return format!("case {name} {}\n", measurement.status);
    }
    let figures = figures(measurement).into_iter();
    let lines = figures.map(|f| format!("fom {name} {} {} {}\n", f.metric, f.value, f.unit));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::inputs::Data;
    use crate::render::fixture;

    #[test]
    fn figures_come_one_a_line() {
        insta::assert_snapshot!(fixture::rendered(&FiguresOfMerit, &fixture::report()), @"
        fom peak/f32/fma/device gflops 60200 GFLOP/s
        fom peak/f32/fma/device median_s 1 s
        fom peak/f32/fma/device percent_of_datasheet 86 %
        fom bandwidth/f32/copy/256MiB gbytes_per_s 2684.35456 GB/s
        fom bandwidth/f32/copy/256MiB median_s 0.0001 s
        fom bandwidth/f32/copy/256MiB percent_of_datasheet 89.47848533333334 %
        fom latency/none/dispatch/empty median_s 0.000002345 s
        fom matmul/f32/register/4096x4096x4096 gflops 34359.738368 GFLOP/s
        fom matmul/f32/register/4096x4096x4096 gbytes_per_s 50.331648 GB/s
        fom matmul/f32/register/4096x4096x4096 median_s 0.004 s
        fom matmul/f32/register/4096x4096x4096 percent_of_ceiling 57.075977355481726 %
        fom matmul/f32/register/4096x4096x4096 percent_of_datasheet 49.08534052571428 %
        fom attention/f32/flash/b1h32kv8s4096d128-causal gflops 22906.49224533333 GFLOP/s
        fom attention/f32/flash/b1h32kv8s4096d128-causal gbytes_per_s 27.962026666666667 GB/s
        fom attention/f32/flash/b1h32kv8s4096d128-causal median_s 0.006 s
        fom attention/f32/flash/b1h32kv8s4096d128-causal percent_of_ceiling 38.05065157032114 %
        fom attention/f32/flash/b1h32kv8s4096d128-causal percent_of_datasheet 32.723560350476184 %
        case attention/f32/materialised/b1h32kv8s8192d128 skipped
        case matmul/f32/naive/4096x4096x4096 rejected
        status INVALID
        ");
    }

    /// `fom (\S+) (\S+) ([0-9.]+) (\S+)`, spelt out.
    fn is_figure(line: &str) -> bool {
        let words: Vec<_> = line.split(' ').collect();
        let &["fom", id, metric, value, unit] = words.as_slice() else {
            return false;
        };
        let digits = value.chars().all(|c| c.is_ascii_digit() || c == '.');
        ![id, metric, value, unit].contains(&"") && digits && value.parse::<f64>().is_ok()
    }

    #[test]
    fn every_line_is_a_figure_a_case_or_the_status() {
        let mut report = fixture::report();
        report.measurements[0].id = "an id\nwith spaces".into();
        let text = fixture::rendered(&FiguresOfMerit, &report);
        let lines = text.strip_suffix("status INVALID\n").unwrap().lines();
        for line in lines {
            assert!(is_figure(line) || line.starts_with("case "), "{line}");
        }
        assert!(text.starts_with("fom an_id_with_spaces gflops "));
    }

    #[test]
    fn distributions_have_ids_of_their_own() {
        let mut report = fixture::report();
        report.measurements.truncate(1);
        report.measurements[0].data = Data::Zeros;
        let text = fixture::rendered(&FiguresOfMerit, &report);
        assert!(text.starts_with("fom peak/f32/fma/device[zeros] gflops 60200 GFLOP/s\n"));
        assert!(text.lines().next().is_some_and(is_figure));
    }

    #[test]
    fn skipped_cases_leave_a_run_valid_and_an_end_before_time_does_not() {
        let mut report = fixture::report();
        let last_line = |report: &Report| {
            let text = fixture::rendered(&FiguresOfMerit, report);
            text.lines().last().map(str::to_owned)
        };
        report.measurements.retain(|m| m.status != Status::Rejected);
        assert_eq!(last_line(&report).as_deref(), Some("status VALID"));
        report.complete = false;
        assert_eq!(last_line(&report).as_deref(), Some("status INVALID"));
        report.complete = true;
        report.measurements.retain(|m| m.status != Status::Ok);
        assert_eq!(last_line(&report).as_deref(), Some("status INVALID"));
    }
}
