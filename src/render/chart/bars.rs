//! Horizontal bars in groups, each with its value at its end.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::WIDE;
use super::canvas::{
    AXIS, Anchor, Drawing, GRID, Overlay, drawable, fitted, label_style, text_width,
};

/// Bars that are to be compared.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What they are of.
    pub heading: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// A value, or why there is none.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    /// What it is, and its class in the style sheet.
    pub kind: Kind,
    /// The value; a reason where there is none, which is not a bar of length 0.
    pub value: Result<Value, String>,
}

/// What a bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a case reached.
    Achieved,
    /// What the adapter was measured to be able to.
    Ceiling,
    /// What its datasheet states.
    Datasheet,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Achieved => "achieved",
            Self::Ceiling => "ceiling",
            Self::Datasheet => "datasheet",
        }
    }
}

/// A value as it is drawn and written.
#[derive(Clone, Debug)]
pub(super) struct Value {
    /// On the axis.
    pub number: f64,
    /// With its unit.
    pub text: String,
    /// What else there is to say where there is room.
    pub more: String,
    /// What hovering shows.
    pub title: String,
}

const HEADING: i32 = 20;
const ROW: i32 = 19;
const BAR: i32 = 14;
const GAP: i32 = 10;
const TOP: i32 = 4;
const RIGHT: i32 = 12;
const NAMES: i32 = 72;
const AXIS_ROOM: i32 = 42;
/// Between the end of a bar and its value.
const SPACE: i32 = 6;

/// Draws groups above an axis that is described by `axis`.
pub(super) fn draw(groups: &[Group], axis: &str, width: i32) -> Drawing {
    let heights = groups
        .iter()
        .map(|g| HEADING + ROW * g.bars.len() as i32 + GAP);
    let plot: i32 = heights.sum();
    let longest = longest(groups, width);
    Drawing::new((width, TOP + plot + AXIS_ROOM), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(TOP)
            .margin_right(RIGHT)
            .x_label_area_size(AXIS_ROOM)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(0.0..longest, 0.0..f64::from(plot))?;
        draw_axis_below(&mut chart, axis, width)?;
        let mut over = Overlay::default();
        // The library counts from below, readers from above.
        let at = |number: f64, down: i32| chart.backend_coord(&(number, f64::from(plot - down)));
        let mut down = 0;
        for group in groups {
            // Bold text is wider.
            let heading = fitted(&group.heading, (width - RIGHT) * 7 / 8);
            over.group("title", &group.heading, &[], |over| {
                let (_, y) = at(0.0, down + HEADING - 6);
                over.text("heading", Anchor::Start, (2, y), &heading);
            });
            down += HEADING;
            for bar in &group.bars {
                let ends = |number| [at(0.0, down), at(number, down + BAR)];
                let room = width - RIGHT;
                one(&mut over, &group.heading, bar, ends, room);
                down += ROW;
            }
            down += GAP;
        }
        Ok(over)
    })
}

/// The end of the axis, such that the values have room behind their bars.
fn longest(groups: &[Group], width: i32) -> f64 {
    let values = groups.iter().flat_map(|g| &g.bars);
    let values = values.filter_map(|bar| bar.value.as_ref().ok());
    let plot = width - NAMES - RIGHT;
    let ends = values.filter_map(|value| {
        let room = text_width(&written(value, width)) + SPACE;
        let share = f64::from((plot - room).max(plot / 4)) / f64::from(plot);
        Some(drawable(value.number)? / share)
    });
    ends.reduce(f64::max).unwrap_or(1.0)
}

fn written(value: &Value, width: i32) -> String {
    if width < WIDE || value.more.is_empty() {
        value.text.clone()
    } else {
        format!("{} · {}", value.text, value.more)
    }
}

fn one(
    over: &mut Overlay,
    heading: &str,
    bar: &Bar,
    ends: impl Fn(f64) -> [(i32, i32); 2],
    room: i32,
) {
    let kind = bar.kind.name();
    let name = |over: &mut Overlay, y: i32| {
        over.text("muted", Anchor::End, (NAMES - SPACE, y), kind);
    };
    let case = ("case", heading.to_owned());
    match &bar.value {
        Ok(value) => {
            let [(x0, y0), (x1, y1)] = ends(drawable(value.number).unwrap_or(0.0));
            let data = [case, ("value", value.number.to_string())];
            over.group(&format!("bar {kind}"), &value.title, &data, |over| {
                over.rect((x0, y0), (x1, y1));
                name(over, y1 - 2);
                let text = written(value, room + RIGHT);
                let text = fitted(&text, room - x1 - SPACE);
                over.text("", Anchor::Start, (x1 + SPACE, y1 - 2), &text);
            });
        }
        Err(why) => {
            let [(x0, _), (_, y1)] = ends(0.0);
            over.group(&format!("bar {kind} missing"), why, &[case], |over| {
                name(over, y1 - 2);
                let text = fitted(why, room - x0 - SPACE);
                over.text("", Anchor::Start, (x0 + SPACE, y1 - 2), &text);
            });
        }
    }
}

/// Draws the axis of a chart that has lines of its own for everything else, and its
/// grid: as many numbers as `width` pixels have room for.
pub(super) fn draw_axis_below<B: DrawingBackend>(
    chart: &mut ChartContext<B, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    description: &str,
    width: i32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_labels(if width < WIDE { 4 } else { 9 })
        .x_label_formatter(&|value| tick(*value))
        .x_desc(description)
        .axis_style(AXIS)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(label_style())
        .draw()
}

/// A number at an axis: as short as it can be said.
pub(super) fn tick(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: f64) -> Result<Value, String> {
        Ok(Value {
            number,
            text: number.to_string(),
            more: String::new(),
            title: "a title".into(),
        })
    }

    fn group(bars: Vec<(Kind, Result<Value, String>)>) -> Group {
        let bar = |(kind, value)| Bar { kind, value };
        Group {
            heading: "f32".into(),
            bars: bars.into_iter().map(bar).collect(),
        }
    }

    /// Widths of the bars that were drawn.
    fn widths(text: &str) -> Vec<f64> {
        let bars = text.split("<rect x=").skip(1);
        let width = |bar: &str| {
            bar.split("width=\"")
                .nth(1)?
                .split('"')
                .next()?
                .parse()
                .ok()
        };
        bars.filter_map(width).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_say() {
        let bars = vec![
            (Kind::Achieved, value(25.0)),
            (Kind::Ceiling, value(50.0)),
            (Kind::Datasheet, value(100.0)),
        ];
        let text = draw(&[group(bars)], "GFLOP/s", WIDE).document("bars");
        let widths = widths(&text);
        // A pixel is the least that can be drawn.
        assert!((widths[1] - 2.0 * widths[0]).abs() <= 2.0, "{widths:?}");
        assert!((widths[2] - 4.0 * widths[0]).abs() <= 4.0, "{widths:?}");
        assert!(widths[2] < f64::from(WIDE - NAMES - RIGHT));
    }

    #[test]
    fn what_is_missing_is_a_reason_and_no_bar() {
        let bars = vec![
            (Kind::Achieved, Err("no <sensor>".into())),
            (Kind::Datasheet, value(f64::NAN)),
        ];
        let text = draw(&[group(bars)], "GFLOPS/W", WIDE).document("bars");
        assert!(text.contains("no &lt;sensor&gt;"), "{text}");
        assert_eq!(widths(&text), [0.0], "the number that is none");
    }

    #[test]
    fn ticks_are_short() {
        let ticks = [0.0, 0.1 + 0.2, 1e5, 0.001].map(tick);
        assert_eq!(ticks, ["0", "0.3", "100000", "0.001"]);
    }
}
