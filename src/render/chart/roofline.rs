//! The roofline: rate against arithmetic intensity, under what the adapter was
//! measured to be able to and what its datasheet states (Williams, Waterman and
//! Patterson, CACM 52(4), 2009).

use std::ops::Range;

use plotters::coord::combinators::WithKeyPoints;
use plotters::prelude::*;

use super::bars::tick;
use super::canvas::{AXIS, Anchor, Drawing, FAINT, GRID, Overlay, drawable, fitted, label_style};
use super::labels::{Taken, place};
use super::{Chart, WIDE};
use crate::datasheet::{FigureKind, PeakKind};
use crate::kernel::id::Operation;
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::{Measurement, Status};
use crate::record::Report;
use crate::render::achieved;
use crate::render::cells;
use crate::render::number::{fixed, number, rate_unit};
use crate::render::peaks;

/// More points than this cannot be told apart; the table has them all.
const MOST_POINTS: usize = 120;
/// The same for measured peaks.
const MOST_ROOFS: usize = 60;

/// Numbers at an axis of powers of ten: those of 2 and 5 where few decades leave
/// room, not all of the powers where there are many.
fn ticks(range: &Range<f64>, room: f64) -> Vec<f64> {
    let decades = (range.end / range.start).log10();
    let between: &[f64] = if decades < room {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let step = (decades / 6.0).ceil().max(1.0);
    let powers = (0..=(decades / step) as i32).map(|n| range.start.log10() + f64::from(n) * step);
    let numbers = powers.flat_map(|power| between.iter().map(move |n| n * 10f64.powf(power)));
    numbers.filter(|n| *n <= range.end * 1.000_001).collect()
}

/// The lines between the ticks of an axis that has few decades.
fn between_ticks(range: &Range<f64>) -> Vec<f64> {
    let decades = (range.end / range.start).log10();
    let powers = (0..=decades as i32).map(|n| range.start * 10f64.powi(n));
    let lines = powers.flat_map(|power| (2..10).map(move |n| f64::from(n) * power));
    lines.filter(|n| decades < 4.0 && *n <= range.end).collect()
}

/// What a roof is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Measured,
    Datasheet,
}

impl Origin {
    fn class(self) -> &'static str {
        match self {
            Self::Measured => "ceiling",
            Self::Datasheet => "datasheet",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Datasheet => "datasheet",
        }
    }
}

/// What limits rates: at every intensity alike, or in proportion to it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// 10⁹ operations per second.
    Compute(f64),
    /// 10⁹ bytes per second.
    Memory(f64),
}

#[derive(Clone, Debug, PartialEq)]
struct Roof {
    origin: Origin,
    limit: Limit,
    /// The case or the datasheet's figure.
    name: String,
    /// With its unit.
    value: String,
}

/// An axis of powers of ten with its ticks and lines.
fn axis(range: &Range<f64>, room: f64) -> WithKeyPoints<LogCoord<f64>> {
    range
        .clone()
        .log_scale()
        .with_key_points(ticks(range, room))
        .with_light_points(between_ticks(range))
}

/// Where a memory roof meets a compute roof.
#[derive(Clone, Debug, PartialEq)]
struct Ridge {
    origin: Origin,
    /// Operations per byte.
    intensity: f64,
    rate: f64,
    title: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Point {
    name: String,
    /// Operations per byte of compulsory traffic.
    intensity: f64,
    /// 10⁹ operations per second.
    rate: f64,
    unit: WorkUnit,
    /// The rate, with its unit where it is not that of the axis.
    shown: String,
    title: String,
}

/// All that the chart shows.
#[derive(Clone, Debug)]
struct Roofline {
    points: Vec<Point>,
    roofs: Vec<Roof>,
    ridges: Vec<Ridge>,
    intensities: Range<f64>,
    rates: Range<f64>,
    unit: &'static str,
}

/// Draws the cases that have a rate and an intensity, on a page that has so many
/// reports; `None` without any.
pub(super) fn chart(report: &Report, reports: usize) -> Option<Chart> {
    let roofline = Roofline::of(report, MOST_POINTS / reports)?;
    let title = format!("{}: roofline", report.adapter.name);
    Some(Chart::new("roofline", title, |width| roofline.draw(width)))
}

/// How many cases would be points, were there not too many.
pub(super) fn left_out(report: &Report, reports: usize) -> usize {
    let points = report.measurements.iter().filter_map(point);
    points.count().saturating_sub(MOST_POINTS / reports)
}

impl Roofline {
    fn of(report: &Report, most_points: usize) -> Option<Self> {
        let mut points: Vec<Point> = report.measurements.iter().filter_map(point).collect();
        points.truncate(most_points);
        if points.is_empty() {
            return None;
        }
        let roofs = roofs(report);
        let ridges = ridges(&roofs);
        let levels = roofs.iter().filter_map(|roof| match roof.limit {
            Limit::Compute(rate) => Some(rate),
            Limit::Memory(_) => None,
        });
        let intensities = points.iter().map(|p| p.intensity);
        let intensities = intensities.chain(ridges.iter().map(|r| r.intensity));
        let rates = points.iter().map(|p| p.rate).chain(levels);
        let unit = match points.iter().any(|p| p.unit == WorkUnit::Op) {
            true => "GFLOP/s; GOP/s for diamonds",
            false => "GFLOP/s",
        };
        Some(Self {
            intensities: around(intensities),
            rates: around(rates),
            points,
            roofs,
            ridges,
            unit,
        })
    }
}

/// From a power of ten to 1, 2 or 5 times one, around positive numbers with some
/// room.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let logs = values.map(f64::log10);
    let [low, high] = logs.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], log| {
        [low.min(log), high.max(log)]
    });
    let (low, high) = ((low - 0.1).floor(), high + 0.1);
    let decade = 10f64.powf(high.floor());
    let ends = [1.0, 2.0, 5.0, 10.0].map(|times| times * decade);
    let end = ends.into_iter().find(|end| end.log10() >= high);
    10f64.powf(low)..end.unwrap_or(10.0 * decade)
}

fn point(measurement: &Measurement) -> Option<Point> {
    if measurement.operation.is_ceiling() || measurement.status != Status::Ok {
        return None;
    }
    let rate = drawable(measurement.gflops?.median.0)?;
    let intensity = drawable(cells::intensity(measurement)?)?;
    let with_unit = achieved::rate(measurement)?;
    let value = format!("{with_unit} at {} per byte", number(intensity));
    let shown = match measurement.work_unit {
        WorkUnit::Flop => fixed(rate, 4, rate),
        // The axis is that of FLOPs.
        WorkUnit::Op => with_unit,
    };
    Some(Point {
        name: measurement.name(),
        intensity,
        rate,
        unit: measurement.work_unit,
        title: title(measurement, &value),
        shown,
    })
}

/// A case's numbers, one a line.
fn title(measurement: &Measurement, value: &str) -> String {
    let percent = |percent: Option<f64>, of: &str| {
        percent.map(|percent| format!("{} % of {of}", number(percent)))
    };
    let power = measurement.power.as_ref();
    let power = power.zip(measurement.gflops_per_watt).map(|(power, rate)| {
        let unit = rate_unit(measurement.work_unit);
        let figures = [power.median_w.0, rate.gross.0];
        let [watts, gross] = figures.map(|figure| cells::of_power(measurement, Some(figure)));
        format!("{watts} W, {gross} {unit} per W")
    });
    let flags = cells::flags(measurement);
    let lines = [
        Some(measurement.name()),
        Some(value.to_owned()),
        percent(measurement.percent_of_ceiling, "the measured ceiling"),
        percent(measurement.percent_of_datasheet, "the datasheet's peak"),
        power,
        (!flags.is_empty()).then_some(flags),
    ];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn roofs(report: &Report) -> Vec<Roof> {
    let compute = report.measurements.iter().filter_map(|m| {
        let rate = drawable(m.gflops?.median.0)?;
        (m.operation == Operation::Peak && m.status == Status::Ok).then_some(Roof {
            origin: Origin::Measured,
            limit: Limit::Compute(rate),
            name: m.name(),
            value: achieved::rate(m)?,
        })
    });
    let memory = achieved::memory(report).and_then(|m| {
        let rate = drawable(m.gbytes_per_s?)?;
        Some(Roof {
            origin: Origin::Measured,
            limit: Limit::Memory(rate),
            name: m.name(),
            value: format!("{} GB/s", number(rate)),
        })
    });
    memory
        .into_iter()
        .chain(compute.take(MOST_ROOFS))
        .chain(stated_roofs(report))
        .collect()
}

/// The datasheet's peaks that cases are held against, and its bandwidth.
fn stated_roofs(report: &Report) -> Vec<Roof> {
    let Some(sheet) = &report.datasheet else {
        return Vec::new();
    };
    let mut stated = peaks::datasheet_peaks(report);
    if !stated.iter().any(|p| p.kind == FigureKind::MemoryBandwidth) {
        stated.extend(sheet.peak(PeakKind::MemoryBandwidth));
    }
    let roof = |peak: crate::datasheet::Peak| {
        let limit = match (achieved::peak_rate(&peak), peak.gbytes_per_second()) {
            (Some(rate), _) => Limit::Compute(drawable(rate.0)?),
            (None, bandwidth) => Limit::Memory(drawable(bandwidth?.0)?),
        };
        Some(Roof {
            origin: Origin::Datasheet,
            limit,
            name: format!("{}, {}", sheet.name, peak.kind),
            value: peaks::value(&peak),
        })
    };
    stated.into_iter().filter_map(roof).collect()
}

/// Where roofs of one origin meet.
fn ridges(roofs: &[Roof]) -> Vec<Ridge> {
    let meeting = |memory: &Roof, compute: &Roof| match (memory.limit, compute.limit) {
        (Limit::Memory(bandwidth), Limit::Compute(rate)) if memory.origin == compute.origin => {
            let intensity = drawable(rate / bandwidth)?;
            Some(Ridge {
                origin: memory.origin,
                intensity,
                rate,
                title: format!(
                    "ridge point, {}\n{} per byte\n{} {}\n{} {}",
                    memory.origin.name(),
                    number(intensity),
                    memory.name,
                    memory.value,
                    compute.name,
                    compute.value
                ),
            })
        }
        _ => None,
    };
    let pairs = roofs.iter().flat_map(|m| roofs.iter().map(move |c| (m, c)));
    pairs.filter_map(|(m, c)| meeting(m, c)).collect()
}

const PLOT_WIDE: i32 = 430;
const PLOT_NARROW: i32 = 320;
const TOP: i32 = 10;
const RIGHT: i32 = 26;
const LEFT: i32 = 5;
const RATES: i32 = 74;
const INTENSITIES: i32 = 46;
const LEGEND_ROW: i32 = 17;
/// Half the size of a label of two digits.
const LABEL: (i32, i32) = (9, 7);
const POINT_PX: i32 = 5;

impl Roofline {
    fn draw(&self, width: i32) -> Drawing {
        let plot = if width < WIDE { PLOT_NARROW } else { PLOT_WIDE };
        let columns = if width < WIDE { 1 } else { 2 };
        let entries = self.roofs.len() + self.points.len();
        let legend = LEGEND_ROW * entries.div_ceil(columns) as i32 + 12;
        Drawing::new((width, plot + legend), |area| {
            let (top, _) = area.split_vertically(plot);
            let mut chart = ChartBuilder::on(&top)
                .margin_top(TOP)
                .margin_right(RIGHT)
                .margin_left(LEFT)
                .x_label_area_size(INTENSITIES)
                .y_label_area_size(RATES - LEFT)
                .build_cartesian_2d(
                    axis(&self.intensities, if width < WIDE { 1.6 } else { 2.9 }),
                    axis(&self.rates, 2.9),
                )?;
            chart
                .configure_mesh()
                .x_desc("operations per byte of compulsory traffic")
                .y_desc(self.unit)
                .x_label_formatter(&|value| tick(*value))
                .y_label_formatter(&|value| tick(*value))
                .axis_style(AXIS)
                .bold_line_style(GRID)
                .light_line_style(FAINT)
                .label_style(label_style())
                .draw()?;
            let at = |x: f64, y: f64| chart.backend_coord(&(x, y));
            let mut over = Overlay::default();
            self.draw_over(&mut over, &at, (width, plot));
            self.draw_legend(&mut over, columns, (width, plot));
            Ok(over)
        })
    }

    /// Roofs, ridges and points, with labels that cover none of them.
    fn draw_over(
        &self,
        over: &mut Overlay,
        at: &dyn Fn(f64, f64) -> (i32, i32),
        (width, plot): (i32, i32),
    ) {
        let half = ((width - RIGHT - RATES) / 2, (plot - TOP - INTENSITIES) / 2);
        let bounds = Taken {
            middle: (RATES + half.0, TOP + half.1),
            half,
        };
        let places = self.points.iter().map(|p| at(p.intensity, p.rate));
        let ridges = self.ridges.iter().map(|r| at(r.intensity, r.rate));
        let mut taken: Vec<Taken> = places.clone().chain(ridges).map(Taken::point).collect();
        for (index, roof) in self.roofs.iter().enumerate() {
            let Some([from, to]) = self.ends(roof) else {
                continue;
            };
            let ends = [at(from.0, from.1), at(to.0, to.1)];
            // Letters stand at the end that other roofs leave free.
            let anchor = match roof.limit {
                Limit::Compute(_) => (ends[1].0 - 12 - 22 * (index as i32 % 3), ends[1].1),
                Limit::Memory(_) => along(ends, 0.2 + 0.15 * (index % 3) as f64),
            };
            let above = (anchor.0 - LABEL.0, anchor.1 - LABEL.1 - 3);
            let label = place(above, LABEL, &bounds, &mut taken);
            draw_roof(over, roof, ends, &letter(index), label);
        }
        for ridge in &self.ridges {
            let class = format!("ridge {}", ridge.origin.class());
            let data = data("ridge", ridge.intensity, ridge.rate);
            over.group(&class, &ridge.title, &data, |over| {
                over.diamond(at(ridge.intensity, ridge.rate), POINT_PX);
            });
        }
        for (index, (point, place_of)) in self.points.iter().zip(places).enumerate() {
            let label = place(place_of, LABEL, &bounds, &mut taken);
            draw_point(over, point, place_of, index + 1, label);
        }
    }

    /// The part of a roof within the chart, from low to high intensity.
    fn ends(&self, roof: &Roof) -> Option<[(f64, f64); 2]> {
        let (low, high) = (&self.intensities, &self.rates);
        let own = |limit: &dyn Fn(&Roof) -> Option<f64>| {
            let related = self
                .roofs
                .iter()
                .filter(|other| other.origin == roof.origin);
            related.filter_map(limit).reduce(f64::max)
        };
        match roof.limit {
            Limit::Compute(rate) => {
                let bandwidth = own(&|other| match other.limit {
                    Limit::Memory(bandwidth) => Some(bandwidth),
                    Limit::Compute(_) => None,
                });
                let ridge = bandwidth.map_or(low.start, |bandwidth| rate / bandwidth);
                let from = ridge.max(low.start);
                (from < low.end).then_some([(from, rate), (low.end, rate)])
            }
            Limit::Memory(bandwidth) => {
                let highest = own(&|other| match other.limit {
                    Limit::Compute(rate) => Some(rate),
                    Limit::Memory(_) => None,
                });
                let to = (highest.unwrap_or(high.end) / bandwidth).min(low.end);
                let to = to.min(high.end / bandwidth);
                let from = low.start.max(high.start / bandwidth);
                let end = |x: f64| (x, x * bandwidth);
                (from < to).then_some([end(from), end(to)])
            }
        }
    }

    /// What letters and numbers stand for.
    fn draw_legend(&self, over: &mut Overlay, columns: usize, (width, top): (i32, i32)) {
        let roofs = self.roofs.iter().enumerate().map(|(index, roof)| {
            let value = format!("{} {}", roof.origin.name(), roof.value);
            let class = format!("roof {}", roof.origin.class());
            (class, letter(index), value, &roof.name)
        });
        let points = self.points.iter().enumerate().map(|(index, point)| {
            let value = point.shown.to_string();
            (
                "point".to_owned(),
                (index + 1).to_string(),
                value,
                &point.name,
            )
        });
        let rows = (self.roofs.len() + self.points.len()).div_ceil(columns);
        let column = width / columns as i32;
        for (index, (class, key, value, name)) in roofs.chain(points).enumerate() {
            // The value first: a long name is cut.
            let text = format!("{value} – {name}");
            let x = column * (index / rows) as i32 + 24;
            let y = top + LEGEND_ROW * (index % rows) as i32 + 18;
            // The style sheet has these a size smaller.
            let cut = fitted(&text, (column - 32) * 12 / 11);
            over.group("key", &text, &[], |over| {
                over.group(&class, "", &[], |over| {
                    over.text("", Anchor::End, (x, y), &key);
                });
                over.text("", Anchor::Start, (x + 8, y), &cut);
            });
        }
    }
}

/// A point on a line, at a share of its length.
fn along([from, to]: [(i32, i32); 2], share: f64) -> (i32, i32) {
    let between = |a: i32, b: i32| a + (share * f64::from(b - a)).round() as i32;
    (between(from.0, to.0), between(from.1, to.1))
}

/// Roofs are A, B, C… and, should there be so many, A1 and on.
fn letter(index: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    match index / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

fn data(id: &str, x: f64, y: f64) -> [(&'static str, String); 3] {
    [
        ("id", id.to_owned()),
        ("x", x.to_string()),
        ("y", y.to_string()),
    ]
}

fn draw_roof(
    over: &mut Overlay,
    roof: &Roof,
    [from, to]: [(i32, i32); 2],
    letter: &str,
    label: Option<(i32, i32)>,
) {
    let class = format!("roof {}", roof.origin.class());
    let title = format!(
        "{letter} · {}, {}\n{}",
        roof.name,
        roof.origin.name(),
        roof.value
    );
    let limit = match roof.limit {
        Limit::Compute(rate) => ("rate", rate.to_string()),
        Limit::Memory(bandwidth) => ("bandwidth", bandwidth.to_string()),
    };
    over.group(
        &class,
        &title,
        &[("id", roof.name.clone()), limit],
        |over| {
            over.line("", from, to);
            // A line of two pixels is hard to point at.
            over.line("reach", from, to);
            if let Some((x, y)) = label {
                over.text("halo", Anchor::Middle, (x, y + 4), letter);
            }
        },
    );
}

fn draw_point(
    over: &mut Overlay,
    point: &Point,
    (x, y): (i32, i32),
    number: usize,
    label: Option<(i32, i32)>,
) {
    let title = format!("{number} · {}", point.title);
    let data = data(&point.name, point.intensity, point.rate);
    over.group("point achieved", &title, &data, |over| {
        if let Some(label) = label.filter(|l| (l.0 - x).abs().max((l.1 - y).abs()) > 18) {
            over.line("leader", (x, y), label);
        }
        match point.unit {
            WorkUnit::Flop => over.shape("circle", "", &[("cx", x), ("cy", y), ("r", POINT_PX)]),
            WorkUnit::Op => over.diamond((x, y), POINT_PX + 1),
        }
        if let Some((x, y)) = label {
            over.text("halo", Anchor::Middle, (x, y + 4), &number.to_string());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn roofline() -> Roofline {
        Roofline::of(&fixture::report(), MOST_POINTS).expect("two kernels have an intensity")
    }

    /// 2·4096³ = 137 438 953 472 FLOP, 3·4·4096² = 201 326 592 bytes: 682.67 a byte.
    #[test]
    fn a_point_is_work_over_traffic_against_rate() {
        let roofline = roofline();
        let matmul = &roofline.points[0];
        assert!((matmul.intensity - 682.666_666).abs() < 1e-3);
        assert!((matmul.rate - 34_359.738).abs() < 1.0);
        assert_eq!(roofline.points.len(), 2, "ceilings are roofs, not points");
    }

    /// Measured: 60 200 GFLOP/s over 268 435 456 B in 100 µs = 2684.35 GB/s, 22.43
    /// FLOP a byte. Datasheet: 70 000 over 3000, 23.33.
    #[test]
    fn ridges_are_where_roofs_of_one_origin_meet() {
        let ridges = roofline().ridges;
        let found: Vec<(Origin, f64)> = ridges
            .iter()
            .map(|r| (r.origin, (r.intensity * 100.0).round() / 100.0))
            .collect();
        assert_eq!(
            found,
            [(Origin::Measured, 22.43), (Origin::Datasheet, 23.33)]
        );
    }

    #[test]
    fn memory_roofs_rise_to_the_ridge_and_compute_roofs_go_on_from_it() {
        let roofline = roofline();
        let measured = |limit: fn(&Limit) -> bool| {
            let mut own = roofline
                .roofs
                .iter()
                .filter(|r| r.origin == Origin::Measured);
            let roof = own.find(|r| limit(&r.limit)).expect("both were measured");
            roofline.ends(roof).expect("it is in the chart")
        };
        let memory = measured(|limit| matches!(limit, Limit::Memory(_)));
        let compute = measured(|limit| matches!(limit, Limit::Compute(_)));
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
        assert!(close(memory[1].0, compute[0].0) && close(memory[1].1, compute[0].1));
        assert!(memory[0].0 < memory[1].0 && close(compute[1].1, 60_200.0));
    }

    /// 0.5 and 700 lie within 0.1 and 1000; 950 is too close to 1000, 300 and 20 000
    /// lie within 100 and 50 000.
    #[test]
    fn axes_begin_at_a_power_of_ten_and_have_room() {
        let close = |range: Range<f64>, low: f64, high: f64| {
            (range.start / low - 1.0).abs() < 1e-9 && (range.end / high - 1.0).abs() < 1e-9
        };
        assert!(close(around([0.5, 700.0].into_iter()), 0.1, 1000.0));
        assert!(close(around([950.0].into_iter()), 100.0, 2000.0));
        assert!(close(around([2e4, 300.0].into_iter()), 100.0, 5e4));
    }

    /// The position of a point in a chart of decades is that of its logarithm.
    #[test]
    fn points_are_drawn_where_their_numbers_say() {
        let roofline = roofline();
        let text = roofline.draw(WIDE).document("roofline");
        let left = RATES;
        let right = WIDE - RIGHT;
        for point in &roofline.points {
            let (low, high) = (roofline.intensities.start, roofline.intensities.end);
            let share = (point.intensity / low).log10() / (high / low).log10();
            let x = f64::from(left) + share * f64::from(right - left);
            let group = text.split("<g class=\"point achieved\"");
            let group = group.skip(1).find(|g| g.contains(&point.name));
            let group = group.expect("each point is drawn");
            let cx = group
                .split("cx=\"")
                .nth(1)
                .and_then(|t| t.split('"').next());
            let cx: f64 = cx.and_then(|t| t.parse().ok()).expect("a circle");
            assert!((cx - x).abs() <= 1.5, "{cx} against {x}");
        }
    }

    #[test]
    fn numbers_out_of_every_range_are_no_points() {
        let mut report = fixture::report();
        for measurement in &mut report.measurements {
            if let Some(rate) = &mut measurement.gflops {
                rate.median.0 = 1e300;
            }
        }
        assert!(chart(&report, 1).is_none());
        report.measurements[3].gflops.as_mut().unwrap().median.0 = 1e14;
        assert!(chart(&report, 1).is_some());
    }

    #[test]
    fn ticks_are_as_many_as_have_room() {
        let rounded = |range: Range<f64>, room| -> Vec<f64> {
            let ticks = ticks(&range, room).into_iter();
            ticks.map(|tick| (tick * 1e3).round() / 1e3).collect()
        };
        assert_eq!(rounded(10.0..200.0, 2.9), [10.0, 20.0, 50.0, 100.0, 200.0]);
        assert_eq!(rounded(10.0..200.0, 1.0), [10.0, 100.0]);
        assert_eq!(rounded(1e-2..1e8, 2.9), [1e-2, 1.0, 1e2, 1e4, 1e6, 1e8]);
    }

    #[test]
    fn roofs_have_names_however_many_there_are() {
        assert_eq!([0, 25, 26].map(letter), ["A", "Z", "A1"]);
    }
}
