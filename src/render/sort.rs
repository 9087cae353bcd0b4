//! The order of cases and of reports, by a column of the flat formats.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::Value;

use super::flat::{COLUMNS, Column};
use crate::likeness::{likeness, nearest};
use crate::measure::measurement::Measurement;
use crate::record::Report;

/// A column of [`JsonLines`](super::JsonLines) to sort by.
#[derive(Clone, Copy, Debug)]
pub struct SortField(&'static Column);

/// Columns of which the highest value is the best, by how their names begin.
const HIGHER_IS_BETTER: [&str; 3] = ["gflops", "gbytes", "percent"];

impl FromStr for SortField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut columns = COLUMNS.iter();
        let found = columns.find(|(name, _)| *name == text);
        found.map(Self).ok_or_else(|| unknown(text))
    }
}

/// What to choose instead of `text`.
fn unknown(text: &str) -> String {
    let names = COLUMNS.iter().map(|(name, _)| *name);
    let near = nearest(names, |name| likeness(text, name), 5);
    let near = match near.as_slice() {
        [] => String::new(),
        near => format!(" like it are {};", near.join(", ")),
    };
    format!("there is no such field;{near} all are the columns of --format csv")
}

impl SortField {
    /// Sorts the cases of a report: rates and percentages from the highest,
    /// everything else from the lowest or by the alphabet; cases without a value
    /// last, and as they were where values are equal.
    pub fn sort_cases(self, report: &mut Report) {
        let cases = std::mem::take(&mut report.measurements).into_iter();
        let value = |m: &Measurement| (self.0.1)(report, m);
        let mut cases: Vec<_> = cases.map(|m| (value(&m), m)).collect();
        cases.sort_by(|(a, _), (b, _)| self.order(a, b));
        report.measurements = cases.into_iter().map(|(_, m)| m).collect();
    }

    /// The order of two reports: that of their best cases.
    pub fn compare(self, a: &Report, b: &Report) -> Ordering {
        let best = |report: &Report| {
            let values = report.measurements.iter().map(|m| (self.0.1)(report, m));
            values.min_by(|a, b| self.order(a, b)).unwrap_or_default()
        };
        self.order(&best(a), &best(b))
    }

    fn order(self, a: &Value, b: &Value) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Null => 1,
            _ => 0,
        };
        rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
            (Value::Number(a), Value::Number(b)) => {
                let [a, b] = [a, b].map(|n| n.as_f64().unwrap_or(f64::NAN));
                let ascending = a.total_cmp(&b);
                let from_highest = HIGHER_IS_BETTER.iter().any(|p| self.0.0.starts_with(p));
                if from_highest {
                    ascending.reverse()
                } else {
                    ascending
                }
            }
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            _ => Ordering::Equal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn sorted(field: &str) -> Vec<String> {
        let field: SortField = field.parse().unwrap();
        let mut report = fixture::report();
        field.sort_cases(&mut report);
        let ids = report.measurements.into_iter().map(|m| m.id);
        ids.map(|id| id.split('/').take(3).collect::<Vec<_>>().join("/"))
            .collect()
    }

    #[test]
    fn rates_come_from_the_highest_and_what_is_missing_last() {
        let by_rate = sorted("gflops_median");
        assert_eq!(
            by_rate[..4],
            [
                "peak/f32/fma",
                "matmul/f32/register",
                "attention/f32/flash",
                // Without a rate, in the order of the run.
                "bandwidth/f32/copy",
            ]
        );
    }

    #[test]
    fn times_come_from_the_lowest_and_texts_by_the_alphabet() {
        let by_time = sorted("median_s");
        assert_eq!(by_time[0], "latency/none/dispatch");
        assert_eq!(by_time[4], "peak/f32/fma");
        let by_id = sorted("id");
        assert_eq!(by_id[0], "attention/f32/flash");
        assert_eq!(by_id[6], "peak/f32/fma");
    }

    #[test]
    fn reports_are_in_the_order_of_their_best_cases() {
        let (fast, slow) = (fixture::report(), fixture::slower("Testcard 1"));
        let compare = |field: &str| {
            let field: SortField = field.parse().unwrap();
            field.compare(&fast, &slow)
        };
        assert_eq!(compare("gflops_median"), Ordering::Less);
        assert_eq!(compare("median_s"), Ordering::Less);
        assert_eq!(compare("adapter"), Ordering::Less);
        assert_eq!(compare("power_median_w"), Ordering::Equal);
        let mut empty = fixture::report();
        empty.measurements.clear();
        let field: SortField = "gflops_median".parse().unwrap();
        assert_eq!(field.compare(&empty, &slow), Ordering::Greater);
    }

    #[test]
    fn an_unknown_field_is_answered_with_those_like_it() {
        let error = "gflops".parse::<SortField>().unwrap_err();
        assert!(error.contains("gflops_median"), "{error}");
        let error = "%".parse::<SortField>().unwrap_err();
        assert_eq!(
            error,
            "there is no such field; all are the columns of --format csv"
        );
    }

    /// By the names of all columns: no other quantity is better when higher.
    #[test]
    fn these_columns_are_better_when_higher() {
        let better = COLUMNS.iter().map(|(name, _)| *name);
        let better: Vec<_> = better
            .filter(|name| HIGHER_IS_BETTER.iter().any(|p| name.starts_with(p)))
            .collect();
        assert_eq!(
            better,
            [
                "gflops_median",
                "gflops_low",
                "gflops_high",
                "gbytes_per_s",
                "percent_of_ceiling",
                "percent_of_datasheet",
                "gflops_per_watt_gross",
                "gflops_per_watt_net",
                "percent_of_datasheet_efficiency",
                "percent_of_limit_efficiency",
            ]
        );
    }
}
