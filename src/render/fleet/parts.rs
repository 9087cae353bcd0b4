//! The tables of a fleet, as text and page show them.

use super::words::count;
use crate::fleet::{
    Accelerator, CaseSpread, Driver, Fleet, Host, LeftOut, Outlier, PowerSpread, Ranked, Standing,
    Unit,
};
use crate::render::number::{MISSING, fixed, number, time_unit};
use crate::units::Seconds;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::render) struct Part {
    /// What stands above it.
    pub title: String,
    /// Its columns, which may be of several lines, and whether they are of numbers.
    pub headings: Vec<(&'static str, bool)>,
    /// Its rows, with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// Rows that are not shown.
    pub more: usize,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::render) struct Cell {
    /// What it says.
    pub text: String,
    /// The number that it says.
    pub value: Option<f64>,
}

/// The tables that have rows, of the longer ones the first `most` rows.
pub(in crate::render) fn of_page(fleet: &Fleet, most: usize) -> Vec<Part> {
    let accelerators = fleet.accelerators.iter().map(accelerator);
    let others = [
        outliers(&fleet.outliers),
        efficiency(&fleet.efficiency),
        hosts(&fleet.hosts),
        drivers(&fleet.drivers),
        left_out(&fleet.left_out),
    ];
    let others = others.into_iter().map(|part| part.cut(most));
    let all = accelerators.chain(others);
    all.filter(|part| !part.rows.is_empty()).collect()
}

impl Part {
    /// Columns without a single value are left out.
    fn new(title: String, headings: &[(&'static str, bool)], rows: Vec<Vec<Cell>>) -> Self {
        let is_known = |column: usize| rows.iter().any(|row| row[column].text != MISSING);
        let known: Vec<usize> = (0..headings.len()).filter(|&c| is_known(c)).collect();
        let row = |row: &Vec<Cell>| known.iter().map(|&column| row[column].clone()).collect();
        Self {
            title,
            headings: known.iter().map(|&column| headings[column]).collect(),
            rows: rows.iter().map(row).collect(),
            more: 0,
        }
    }

    fn cut(mut self, most: usize) -> Self {
        self.more = self.rows.len().saturating_sub(most);
        self.rows.truncate(most);
        self
    }
}

fn text(text: impl ToString) -> Cell {
    Cell {
        text: text.to_string(),
        value: None,
    }
}

fn whole(value: usize) -> Cell {
    Cell {
        text: value.to_string(),
        value: Some(value as f64),
    }
}

fn known(value: Option<f64>) -> Cell {
    Cell {
        text: value.map_or_else(|| MISSING.to_owned(), number),
        value,
    }
}

/// Figures of one row, in a unit that suits the middle one.
struct Scale {
    middle: f64,
    factor: f64,
    unit: String,
}

impl Scale {
    fn of(middle: f64, unit: Unit) -> Self {
        let (factor, unit) = match unit {
            Unit::Seconds => {
                let (factor, unit) = time_unit(Seconds(middle));
                (factor, unit.to_owned())
            }
            other => (1.0, other.to_string()),
        };
        Self {
            middle: middle / factor,
            factor,
            unit,
        }
    }

    /// Four digits; the number is in the record's unit.
    fn cell(&self, value: f64) -> Cell {
        Cell {
            text: fixed(value / self.factor, 4, self.middle),
            value: Some(value),
        }
    }

    fn with_unit(&self, value: f64) -> Cell {
        let cell = self.cell(value);
        Cell {
            text: format!("{} {}", cell.text, self.unit),
            ..cell
        }
    }
}

fn accelerator(accelerator: &Accelerator) -> Part {
    let title = format!(
        "{}: {}, {}",
        accelerator.name,
        count(accelerator.cards, "card"),
        count(accelerator.reports, "report")
    );
    let headings = [
        ("case", false),
        ("cards", true),
        ("median", true),
        ("p5", true),
        ("p95", true),
        ("range\n%", true),
        ("% of\ndatasheet", true),
        ("W", true),
        ("per W", true),
    ];
    let rows = accelerator.cases.iter().map(case).collect();
    Part::new(title, &headings, rows)
}

fn case(case: &CaseSpread) -> Vec<Cell> {
    let spread = &case.spread;
    let scale = Scale::of(spread.median, case.unit);
    // Of one card there is no distribution.
    let percentile = |value: f64| match case.cards {
        1 => known(None),
        _ => scale.cell(value),
    };
    let power: Option<&PowerSpread> = case.power.first();
    vec![
        text(&case.case),
        whole(case.cards),
        scale.with_unit(spread.median),
        percentile(spread.p5),
        percentile(spread.p95),
        known(case.range_percent),
        known(case.percent_of_datasheet),
        known(power.map(|power| power.watts.median)),
        known(power.and_then(|power| Some(power.per_watt?.median))),
    ]
}

/// A number to one decimal.
fn tenths(number: f64) -> Cell {
    Cell {
        text: format!("{number:.1}"),
        value: Some(number),
    }
}

fn outliers(outliers: &[Outlier]) -> Part {
    let headings = [
        ("card", false),
        ("host", false),
        ("accelerator", false),
        ("slower\nby %", true),
        ("limit %", true),
        ("cases", true),
        ("most in", false),
        ("reached", true),
        ("median", true),
    ];
    let row = |outlier: &Outlier| {
        let worst = outlier.cases.first()?;
        let scale = Scale::of(worst.median, worst.unit);
        Some(vec![
            text(&outlier.card),
            text(outlier.hosts.join(", ")),
            text(&outlier.accelerator),
            tenths(-outlier.percent),
            tenths(-outlier.limit_percent),
            whole(outlier.compared),
            text(&worst.case),
            scale.cell(worst.value),
            scale.with_unit(worst.median),
        ])
    };
    let title = "Cards slower than others of their kind, over all their cases".to_owned();
    Part::new(title, &headings, outliers.iter().filter_map(row).collect())
}

fn efficiency(ranking: &[Ranked]) -> Part {
    let headings = [
        ("format", false),
        ("rank", true),
        ("accelerator", false),
        ("per W", true),
        ("W", true),
        ("power of", false),
        ("cards", true),
        ("case", false),
    ];
    let row = |ranked: &Ranked| {
        vec![
            text(ranked.precision),
            whole(ranked.rank),
            text(&ranked.accelerator),
            Cell {
                text: format!("{} {}", number(ranked.per_watt), ranked.unit),
                value: Some(ranked.per_watt),
            },
            known(Some(ranked.watts)),
            text(ranked.covers.describe()),
            whole(ranked.cards),
            text(&ranked.case),
        ]
    };
    let title = "Rate per watt: the most efficient kernel of each".to_owned();
    Part::new(title, &headings, ranking.iter().map(row).collect())
}

/// Speed, and the case that is slowest.
fn standing(standing: &Option<Standing>) -> [Cell; 3] {
    let slowest = standing.as_ref().map(|standing| &standing.slowest);
    [
        known(standing.as_ref().map(|standing| standing.median_percent)),
        text(slowest.map_or(MISSING, |slowest| &slowest.case)),
        known(slowest.map(|slowest| slowest.percent)),
    ]
}

fn hosts(hosts: &[Host]) -> Part {
    let headings = [
        ("host", false),
        ("cards", true),
        ("reports", true),
        ("speed %", true),
        ("slowest in", false),
        ("at %", true),
    ];
    let row = |host: &Host| {
        let members = [text(&host.name), whole(host.cards), whole(host.reports)];
        members
            .into_iter()
            .chain(standing(&host.standing))
            .collect()
    };
    let title = "Hosts, slowest first: 100 % is the median of all cards of a kind".to_owned();
    Part::new(title, &headings, hosts.iter().map(row).collect())
}

fn drivers(drivers: &[Driver]) -> Part {
    let headings = [
        ("accelerator", false),
        ("driver", false),
        ("cards", true),
        ("reports", true),
        ("speed %", true),
        ("slowest in", false),
        ("at %", true),
    ];
    let row = |driver: &Driver| {
        let members = [
            text(&driver.accelerator),
            text(&driver.name),
            whole(driver.cards),
            whole(driver.reports),
        ];
        members
            .into_iter()
            .chain(standing(&driver.standing))
            .collect()
    };
    let title = "Drivers: 100 % is the median of all cards of a kind".to_owned();
    Part::new(title, &headings, drivers.iter().map(row).collect())
}

fn left_out(files: &[LeftOut]) -> Part {
    let row = |file: &LeftOut| vec![text(&file.message)];
    let title = format!("Left out: {}", count(files.len(), "file"));
    Part::new(title, &[("why", false)], files.iter().map(row).collect())
}
