//! What the adapters of one machine reached, for a terminal: side by side, together,
//! and cards of one model held against one another.

use super::number::{MISSING, duration, fixed, number};
use super::side_by_side::SideBySide;
use super::table::{side_by_side, small, width, wrapped};
use super::{Renderer, Run, Table};
use crate::machine::{CaseSummary, Distribution, Quantity, Sisters, Slow, Spread, Summary, Total};
use crate::stats::{FEWEST_TO_NAME, ORDINARY_SPREAD};
use crate::units::Seconds;

/// What stands above the totals.
const TOGETHER: &str = "Together, at the same time";

/// The summary of `runs`, which are those of its adapters that have a report, in
/// their order. Fits `columns`, or the terminal.
pub fn table(summary: &Summary, runs: &[Run], columns: Option<u16>) -> String {
    let width = width(columns);
    let reports = match SideBySide::of(runs) {
        Some(all) => side_by_side(&all, width),
        None => {
            let alone = Table { width: columns }.render(runs).into_iter();
            alone.map(|document| document.text).collect()
        }
    };
    let parts = [reports, totals(summary, width)].into_iter();
    let parts = parts
        .chain(models(summary, width))
        .chain([notes(summary, width)]);
    let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

/// Totals, and why others are missing; nothing for a single adapter.
fn totals(summary: &Summary, width: usize) -> String {
    if summary.adapters.len() < 2 {
        return String::new();
    }
    let row = |case: &CaseSummary| Some(total_row(case, case.total.as_ref()?, summary));
    let rows: Vec<[String; 7]> = summary.cases.iter().filter_map(row).collect();
    let table = match rows.is_empty() {
        true => String::new(),
        false => {
            const HEADINGS: [&str; 7] = [
                "case", "adapters", "total", "W", "per W", "overlap", "flags",
            ];
            let numeric = [false, true, true, true, true, true, false];
            wrapped(&[TOGETHER.to_owned()], width) + &small(HEADINGS, numeric, rows)
        }
    };
    let absent = summary.cases.iter();
    let absent = absent.filter_map(|case| Some((case.total_reason.as_deref()?, &case.name[..])));
    let no_power = summary.cases.iter().filter_map(|case| {
        let reason = case.total.as_ref()?.power_reason.as_deref()?;
        Some((reason, &case.name[..]))
    });
    let count = summary.cases.len();
    let lines = grouped("no total", absent, count).into_iter();
    let lines = lines.chain(grouped("no total of power", no_power, count));
    table + &wrapped(&lines.collect::<Vec<_>>(), width)
}

fn total_row(case: &CaseSummary, total: &Total, summary: &Summary) -> [String; 7] {
    let or_missing = |value: Option<f64>| value.map_or_else(|| MISSING.to_owned(), number);
    let quantity = case.quantity.unwrap_or(Quantity::Gflops);
    let flags: Vec<String> = total.flags.iter().map(ToString::to_string).collect();
    [
        case.name.clone(),
        format!("{} of {}", total.adapters.len(), summary.adapters.len()),
        in_its_unit(total.rate, quantity),
        or_missing(total.power_w.map(|watts| watts.0)),
        or_missing(total.rate_per_watt),
        format!("{:.0} %", 100.0 * total.least_overlap),
        flags.join(", "),
    ]
}

/// Each model with several cards, and how far these lie apart.
fn models(summary: &Summary, width: usize) -> Vec<String> {
    let mut models: Vec<&str> = Vec::new();
    let spreads = summary.cases.iter().flat_map(|case| &case.spreads);
    for spread in spreads {
        if !models.contains(&&spread.model[..]) {
            models.push(&spread.model);
        }
    }
    models
        .into_iter()
        .map(|name| model(summary, name, width))
        .collect()
}

fn model(summary: &Summary, name: &str, width: usize) -> String {
    let spreads = summary.cases.iter().flat_map(|case| {
        let spreads = case.spreads.iter().filter(|spread| spread.model == name);
        spreads.map(move |spread| (&case.name[..], spread))
    });
    let spreads: Vec<(&str, &Spread)> = spreads.collect();
    let rows = spreads.iter().filter_map(|(case, spread)| {
        let found = spread.found.as_ref()?;
        Some(spread_row(case, spread, found))
    });
    let rows: Vec<[String; 4]> = rows.collect();
    let title = wrapped(&[format!("Between cards of one model, {name}")], width);
    let table = match rows.is_empty() {
        true => String::new(),
        false => {
            const HEADINGS: [&str; 4] = ["case", "cards", "median", "spread"];
            small(HEADINGS, [false, true, true, true], rows)
        }
    };
    let absent = spreads
        .iter()
        .filter_map(|(case, spread)| Some((spread.reason.as_deref()?, *case)));
    let sisters = summary.models.iter().filter(|model| model.model == name);
    let sisters: Vec<String> = sisters.flat_map(slow).collect();
    title
        + &table
        + &wrapped(&sisters, width)
        + &wrapped(&grouped("no spread", absent, spreads.len()), width)
}

/// Which cards are slower than the others, or that it cannot be known.
fn slow(sisters: &Sisters) -> Vec<String> {
    let Sisters {
        cards,
        range_percent,
        ..
    } = *sisters;
    if cards < FEWEST_TO_NAME && range_percent > 100.0 * ORDINARY_SPREAD {
        return vec![format!(
            "the {cards} cards differ by {range_percent:.1} % over all cases: of so few nobody knows which is slow"
        )];
    }
    let card = |slow: &Slow| {
        format!(
            "[{}] is slow: {:.1} % slower than the median card over all cases, where {:.1} % stand out",
            slow.adapter, slow.percent, slow.limit_percent
        )
    };
    sisters.slow.iter().map(card).collect()
}

fn spread_row(case: &str, spread: &Spread, found: &Distribution) -> [String; 4] {
    [
        case.to_owned(),
        spread.adapters.len().to_string(),
        in_its_unit(found.median, spread.quantity),
        format!("{:.1} %", found.percent),
    ]
}

fn in_its_unit(value: f64, quantity: Quantity) -> String {
    match quantity {
        Quantity::MedianS => duration(Seconds(value)),
        _ => format!("{} {}", fixed(value, 4, value), quantity.unit()),
    }
}

/// Each reason once, with the case or the number of cases that it is for, out of
/// `count`.
fn grouped<'a>(
    what: &str,
    reasons: impl Iterator<Item = (&'a str, &'a str)>,
    count: usize,
) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (reason, case) in reasons {
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, cases)) => cases.push(case),
            None => groups.push((reason, vec![case])),
        }
    }
    let line = |(reason, cases): (&str, Vec<&str>)| match &cases[..] {
        cases if cases.len() == count => format!("{what}: {reason}"),
        [case] => format!("{what} for {case}: {reason}"),
        cases => format!("{what} for {} cases: {reason}", cases.len()),
    };
    groups.into_iter().map(line).collect()
}

/// Runs that ended early, and adapters that were not measured.
fn notes(summary: &Summary, width: usize) -> String {
    let early = summary.adapters.iter().filter_map(|run| {
        let error = run.error.as_ref()?;
        Some(format!("[{}] {}: {error}", run.number, run.adapter))
    });
    let left_out = summary.left_out.iter().map(|left| {
        let (index, name, backend) = (left.index, &left.adapter, left.backend);
        format!(
            "not measured: #{index} {name} through {backend}, {}",
            left.why
        )
    });
    wrapped(&early.chain(left_out).collect::<Vec<_>>(), width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapter::Backend;
    use crate::machine::LeftOut;
    use crate::machine::tests::{beside, card, measured, outcomes, powered, product, report};
    use crate::measure::measurement::Flag;
    use crate::record::Report;
    use crate::render::fixture;

    fn rendered(reports: &[Report], left_out: Vec<LeftOut>, concurrent: bool) -> String {
        let summary = Summary::of(&outcomes(reports), left_out, concurrent);
        table(&summary, &fixture::runs(reports), Some(100))
    }

    /// Four cards at these rates and watts, each beside all others.
    fn four(concurrent: bool) -> Vec<Report> {
        let figures = [(5000, 200.0), (5100, 210.0), (4950, 205.0), (4300, 195.0)];
        let cards = figures.into_iter().zip(1..);
        let reports = cards.map(|((gflops, watts), index)| {
            let others = (1..=4).filter(|&other| other != index && concurrent);
            let others: Vec<(usize, f64)> = others.map(|other| (other, 0.98)).collect();
            let source = format!("nvml:{}", index - 1);
            let mut kernel = beside(powered(product(gflops), &source, watts), &others);
            if index == 4 {
                kernel.flags.push(Flag::Throttled);
            }
            let latency = measured("latency/none/dispatch/empty", 0, 0);
            report(card(index), vec![kernel, beside(latency, &others)])
        });
        reports.collect()
    }

    /// The part from a line that begins like this to the next empty one.
    fn part(text: &str, begin: &str) -> String {
        let lines = text.lines().skip_while(|line| !line.starts_with(begin));
        let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        lines.join("\n")
    }

    #[test]
    fn a_terminal_shows_totals_sisters_and_what_is_missing() {
        let left_out = LeftOut {
            index: 5,
            adapter: "llvmpipe".into(),
            backend: Backend::Gl,
            why: "it is a software adapter beside a GPU".into(),
        };
        let text = rendered(&four(true), vec![left_out], true);
        insta::assert_snapshot!(text, @r"
        Side by side, in brackets the interval: spread within this run
        [1] Testcard 0, 0000:01:00.0
        [2] Testcard 0, 0000:02:00.0
        [3] Testcard 0, 0000:03:00.0
        [4] Testcard 0, 0000:04:00.0

                           [1]                   [2]                   [3]                   [4]
        highest measured peak, GFLOP/s
                             –                     –                     –                     –
        fastest kernel, GFLOP/s
               5000 matmul/f32       5100 matmul/f32       4950 matmul/f32       4300 matmul/f32
        highest % of datasheet
                             –                     –                     –                     –
        most efficient, GFLOP/s per W
           25.0 ± ? matmul/f32   24.3 ± ? matmul/f32   24.1 ± ? matmul/f32   22.1 ± ? matmul/f32
        matmul/f32/register/1024x1024x1024, GFLOP/s
             5000 [5000, 5000]     5100 [5100, 5100]     4950 [4950, 4950]     4300 [4300, 4300]
        latency/none/dispatch/empty, ms
          1.000 [1.000, 1.000]  1.000 [1.000, 1.000]  1.000 [1.000, 1.000]  1.000 [1.000, 1.000]

        Together, at the same time
         case                                adapters          total    W  per W  overlap  flags
         matmul/f32/register/1024x1024x1024    4 of 4  19350 GFLOP/s  810   23.9     98 %  throttled
        no total for latency/none/dispatch/empty: times of a dispatch have no total

        Between cards of one model, Testcard 0
         case                                cards               median  spread
         matmul/f32/register/1024x1024x1024      4         4975 GFLOP/s  16.1 %
         matmul/f32/register/1024x1024x1024      4              202.5 W   7.4 %
         matmul/f32/register/1024x1024x1024      4  24.22 GFLOP/s per W  12.2 %
         latency/none/dispatch/empty             4              1.00 ms   0.0 %
        [4] is slow: 7.0 % slower than the median card over all cases, where 5.0 % stand out

        not measured: #5 llvmpipe through gl, it is a software adapter beside a GPU
        ");
    }

    #[test]
    fn one_after_the_other_there_are_no_totals_but_spreads() {
        let text = rendered(&four(false), Vec::new(), false);
        assert!(!text.contains(TOGETHER), "{text}");
        insta::assert_snapshot!(part(&text, "no total"), @r"
        no total: measured one after the other, each with the machine's power and cooling to itself: what
            they reach at the same time is for --concurrent to find out
        ");
        assert!(text.contains("Between cards of one model, Testcard 0"));
    }

    #[test]
    fn one_adapter_is_shown_as_if_it_was_alone() {
        let report = report(card(1), vec![product(5000)]);
        let reports = [report];
        let text = rendered(&reports, Vec::new(), false);
        let alone = fixture::rendered(&Table { width: Some(100) }, &reports[0]);
        assert_eq!(text, alone);
    }
}
