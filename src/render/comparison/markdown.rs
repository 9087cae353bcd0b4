//! For a pull request or a job summary.

use super::super::untrusted;
use super::{HEADINGS, NUMERIC, conditions, notes, row, summary};
use crate::compare::Comparison;

/// The verdicts as Markdown with a heading.
pub fn markdown(comparison: &Comparison) -> String {
    let mut text = format!("### flopwatt: {}\n\n", summary(comparison));
    if !comparison.cases.is_empty() {
        let alignment = NUMERIC.map(|numeric| if numeric { "---:" } else { "---" });
        text += &line(HEADINGS.map(str::to_owned));
        text += &line(alignment.map(str::to_owned));
        for case in &comparison.cases {
            text += &line(row(case).map(|cell| untrusted::markdown(&cell)));
        }
        text += "\n";
    }
    let items = |texts: Vec<String>| -> String {
        let item = |text: &String| format!("- {}\n", untrusted::markdown(text));
        texts.iter().map(item).collect()
    };
    let notes = items(notes(comparison));
    if !notes.is_empty() {
        text += &format!("{notes}\n");
    }
    let conditions = conditions(comparison).into_iter();
    let conditions = items(
        conditions
            .map(|(label, text)| format!("{label}: {text}"))
            .collect(),
    );
    text + &format!("<details><summary>What was compared</summary>\n\n{conditions}\n</details>\n")
}

fn line(cells: [String; 6]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::comparison;
    use super::*;

    #[test]
    fn verdicts_are_a_table_under_a_heading() {
        insta::assert_snapshot!(markdown(&comparison()), @"
        ### flopwatt: 1 SLOWER, 1 GONE, 1 AMBIGUOUS, 2 SAME (1 of them a little slower)

        | case | verdict | head / base | base | head | pairs |
        | --- | --- | --- | ---: | ---: | ---: |
        | matmul/f32/naive/64x64x64 | SAME | 1.000 &#91;0.990, 1.010&#93; | 1.00 ms | 1.00 ms | 2 |
        | matmul/f32/naive/64x64x64 against v1.0 | SAME, slower by 0.6–1.6 % | 1.012 &#91;1.006, 1.016&#93; | 1.00 ms | 1.01 ms | 2 |
        | matmul/f32/register/64x64x64 | SLOWER, fails | 1.100 &#91;1.080, 1.120&#93; | 1.00 ms | 1.10 ms | 3 |
        | peak/f32/fma/device | GONE, accepted | – | – | – | – |
        | latency/none/dispatch/empty | AMBIGUOUS | 1.000 &#91;0.900, 1.200&#93; | 1.00 ms | 1.00 ms | 1 |

        - warning: something ::error::is odd
        - peak/f32/fma/device: accepted: it is exact now, 50%; head has no such case
        - latency/none/dispatch/empty: time was up

        <details><summary>What was compared</summary>

        - base: main (0123abc)
        - base as well: v1.0
        - head: this program
        - adapter: &#60;b&#62;Testcard 0&#60;/b&#62;&#124;x, 1.2
        - method: pairs measured in turn, seed 7
        - threshold: 2 %, wrong with probability 0.05 at most

        </details>
        ");
    }
}
