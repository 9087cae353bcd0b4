//! How fast cards of a kind are, one line a case.

use plotters::prelude::*;

use super::Chart;
use super::bars::draw_axis_below;
use super::canvas::{Anchor, Drawing, Overlay, drawable, fitted, text_width};
use crate::fleet::{Accelerator, CaseSpread, Fleet};
use crate::render::number::number;

/// More lines than this are no picture; the tables have them all.
const MOST_ROWS: usize = 60;

/// The chart of a fleet.
pub(in crate::render) struct Distribution {
    /// One line a case of an accelerator of which there are several cards.
    pub chart: Chart,
    /// Cases that are not on it.
    pub rows_left_out: usize,
}

/// The cards of an accelerator in a case, in percent of their median speed.
struct Row {
    heading: String,
    /// Cards and figures, for hovering.
    title: String,
    /// 5th, 25th, 75th and 95th percentile.
    percentiles: [f64; 4],
    /// Cards that stand out, and their names.
    outliers: Vec<(f64, String)>,
}

impl Distribution {
    /// `None` where no accelerator has several cards.
    pub(in crate::render) fn of(fleet: &Fleet) -> Option<Self> {
        let accelerators = fleet.accelerators.iter();
        let cases = accelerators.flat_map(|a| a.cases.iter().map(move |case| (a, case)));
        let several = cases.filter(|(_, case)| case.cards > 1);
        let mut rows: Vec<Row> = several.map(|(a, case)| Row::of(fleet, a, case)).collect();
        let rows_left_out = rows.len().saturating_sub(MOST_ROWS);
        rows.truncate(MOST_ROWS);
        let title = "Speed of each accelerator's cards in percent of their median".to_owned();
        (!rows.is_empty()).then(|| Self {
            chart: Chart::new("distribution", title, |width| draw(&rows, width)),
            rows_left_out,
        })
    }
}

impl Row {
    fn of(fleet: &Fleet, accelerator: &Accelerator, case: &CaseSpread) -> Self {
        let spread = &case.spread;
        let percent = |value: f64| case.unit.speed(value, spread.median);
        let mut percentiles = [spread.p5, spread.p25, spread.p75, spread.p95].map(percent);
        // The longest times are the lowest speeds.
        percentiles.sort_by(f64::total_cmp);
        let own = fleet.outliers.iter();
        let own = own.filter(|outlier| outlier.accelerator == accelerator.name);
        let outliers = own.filter_map(|outlier| {
            let at = outlier.cases.iter().find(|at| at.case == case.case)?;
            let place = format!("{} on {}", outlier.card, outlier.hosts.join(", "));
            Some((percent(at.value), place))
        });
        let [p5, .., p95] = percentiles.map(number);
        Self {
            heading: format!("{}: {}", accelerator.name, case.case),
            title: format!(
                "{}\n{} cards, median {} {}\nnine in ten from {p5} to {p95} % of it",
                case.case,
                case.cards,
                number(spread.median),
                case.unit
            ),
            percentiles,
            outliers: outliers.collect(),
        }
    }
}

const HEADING: i32 = 18;
const ROW: i32 = 20;
const BOX: i32 = 12;
const TOP: i32 = 4;
const SIDE: i32 = 14;
const AXIS_ROOM: i32 = 42;
/// From the middle of a diamond to its corner.
const REACH: i32 = 5;
/// More names than this on one line would cover one another.
const MOST_NAMES: usize = 2;

fn draw(rows: &[Row], width: i32) -> Drawing {
    let plot = (HEADING + ROW) * rows.len() as i32;
    let [low, high] = ends(rows);
    Drawing::new((width, TOP + plot + AXIS_ROOM), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(TOP)
            .margin_left(SIDE)
            .margin_right(SIDE)
            .x_label_area_size(AXIS_ROOM)
            .build_cartesian_2d(low..high, 0.0..f64::from(plot))?;
        draw_axis_below(&mut chart, "speed, % of the median card", width)?;
        let mut over = Overlay::default();
        for (index, row) in rows.iter().enumerate() {
            // The library counts from below, readers from above.
            let top = (HEADING + ROW) * index as i32;
            let at = |percent: f64| {
                let down = f64::from(plot - top - HEADING - ROW / 2);
                let percent = drawable(percent).unwrap_or(low).clamp(low, high);
                chart.backend_coord(&(percent, down))
            };
            let (x, y) = chart.backend_coord(&(low, f64::from(plot - top - HEADING)));
            let heading = fitted(&row.heading, width - 2 * SIDE);
            over.text("", Anchor::Start, (x, y - 4), &heading);
            one(&mut over, row, at, width);
        }
        Ok(over)
    })
}

/// From the slowest to the fastest that is drawn, with some room.
fn ends(rows: &[Row]) -> [f64; 2] {
    let outliers = rows.iter().flat_map(|row| &row.outliers).map(|(at, _)| *at);
    let all = rows.iter().flat_map(|row| row.percentiles).chain(outliers);
    let drawn = all.filter_map(drawable);
    let [low, high] = drawn.fold([100.0, 100.0], |[low, high]: [f64; 2], percent| {
        [low.min(percent), high.max(percent)]
    });
    let room = ((high - low) * 0.04).max(1.0);
    [low - room, high + room]
}

fn one(over: &mut Overlay, row: &Row, at: impl Fn(f64) -> (i32, i32), width: i32) {
    let [p5, p25, p75, p95] = row.percentiles.map(&at);
    let data = [("row", row.heading.clone())];
    over.group("window", &row.title, &data, |over| {
        over.line("leader", p5, p95);
        over.rect(
            (p25.0, p25.1 - BOX / 2),
            (p75.0.max(p25.0 + 1), p75.1 + BOX / 2),
        );
    });
    let (x, y) = at(100.0);
    over.group("median", "", &[], |over| {
        over.line("", (x, y - BOX / 2 - 2), (x, y + BOX / 2 + 2));
    });
    for (percent, place) in &row.outliers {
        let point = at(*percent);
        let title = format!("{place}\n{} %", number(*percent));
        let data = [("outlier", place.clone())];
        over.group("point achieved", &title, &data, |over| {
            over.diamond(point, REACH);
            if row.outliers.len() > MOST_NAMES {
                return;
            }
            let name = fitted(place, width / 3);
            let (anchor, shift) = match point.0 + 2 * REACH + text_width(&name) < width - SIDE {
                true => (Anchor::Start, 2 * REACH),
                false => (Anchor::End, -2 * REACH),
            };
            over.text("", anchor, (point.0 + shift, point.1 + 4), &name);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fleet::example;

    /// Three cards alike and one of half the speed: the fastest is the median, the
    /// slow one at half of it. By numpy, of [50, 100, 100, 100] the 5th percentile is
    /// at 0.15: 57.5; the 25th at 0.75: 87.5.
    #[test]
    fn a_line_is_in_percent_of_the_median_card() {
        let fleet = example();
        let accelerator = &fleet.accelerators[0];
        let row = Row::of(&fleet, accelerator, &accelerator.cases[0]);
        let percentiles = row.percentiles.map(|percent| (1e6 * percent).round() / 1e6);
        assert_eq!(percentiles, [57.5, 87.5, 100.0, 100.0]);
        let outliers: Vec<f64> = row.outliers.iter().map(|(at, _)| at.round()).collect();
        assert_eq!(outliers, [50.0]);
        let [low, high] = ends(&[row]);
        assert!(low < 50.0 && high > 100.0, "{low} {high}");
    }

    /// A time of [1, 1, 1, 2] has its 95th percentile at 1.85: 54.05 % of the speed.
    #[test]
    fn a_long_time_is_a_low_speed() {
        let fleet = example();
        let accelerator = &fleet.accelerators[0];
        let latency = accelerator
            .cases
            .iter()
            .find(|c| c.case.starts_with("latency"));
        let row = Row::of(&fleet, accelerator, latency.unwrap());
        assert!((row.percentiles[0] - 100.0 / 1.85).abs() < 1e-9);
        assert_eq!(row.percentiles[3], 100.0);
    }

    #[test]
    fn single_cards_are_no_distribution() {
        let mut fleet = example();
        for case in fleet.accelerators.iter_mut().flat_map(|a| &mut a.cases) {
            case.cards = 1;
        }
        assert!(Distribution::of(&fleet).is_none());
    }

    #[test]
    fn more_lines_than_can_be_seen_are_left_out() {
        let mut fleet = example();
        let case = fleet.accelerators[0].cases[0].clone();
        fleet.accelerators[0].cases = vec![case; MOST_ROWS + 3];
        assert_eq!(Distribution::of(&fleet).map(|d| d.rows_left_out), Some(3));
    }
}
