//! A table for a terminal, without colours.

use super::super::table::{small, width, wrapped};
use super::{HEADINGS, NUMERIC, conditions, notes, row, summary};
use crate::compare::Comparison;

/// The verdicts as a table. `columns` are those of the terminal; `None` asks it.
pub fn table(comparison: &Comparison, columns: Option<u16>) -> String {
    let width = width(columns);
    let conditions: Vec<String> = conditions(comparison)
        .into_iter()
        .map(|(label, text)| format!("{label}: {text}"))
        .collect();
    let mut parts = vec![wrapped(&conditions, width)];
    if !comparison.cases.is_empty() {
        let rows = comparison.cases.iter().map(row).collect();
        parts.push(small(HEADINGS, NUMERIC, rows));
    }
    let notes = notes(comparison);
    if !notes.is_empty() {
        parts.push(wrapped(&notes, width));
    }
    parts.push(wrapped(&[summary(comparison)], width));
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;

    #[test]
    fn every_case_has_a_row_and_what_is_odd_a_line() {
        insta::assert_snapshot!(table(&comparison(), Some(130)), @"
        base: main (0123abc)
        base as well: v1.0
        head: this program
        adapter: <b>Testcard 0</b>|x, 1.2
        method: pairs measured in turn, seed 7
        threshold: 2 %, wrong with probability 0.05 at most

         case                                    verdict                    head / base              base     head  pairs
         matmul/f32/naive/64x64x64               SAME                       1.000 [0.990, 1.010]  1.00 ms  1.00 ms      2
         matmul/f32/naive/64x64x64 against v1.0  SAME, slower by 0.6–1.6 %  1.012 [1.006, 1.016]  1.00 ms  1.01 ms      2
         matmul/f32/register/64x64x64            SLOWER, fails              1.100 [1.080, 1.120]  1.00 ms  1.10 ms      3
         peak/f32/fma/device                     GONE, accepted             –                           –        –      –
         latency/none/dispatch/empty             AMBIGUOUS                  1.000 [0.900, 1.200]  1.00 ms  1.00 ms      1

        warning: something ::error::is odd
        peak/f32/fma/device: accepted: it is exact now, 50%; head has no such case
        latency/none/dispatch/empty: time was up

        1 SLOWER, 1 GONE, 1 AMBIGUOUS, 2 SAME (1 of them a little slower)
        ");
    }
}
