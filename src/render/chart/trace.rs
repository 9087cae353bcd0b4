//! Power, clock and temperature over time, with the windows in which a case ran.

use std::ops::Range;

use plotters::prelude::*;

use super::bars::tick;
use super::canvas::{
    AXIS, Anchor, Area, Drawing, Failure, GRID, LINE, Overlay, SECOND_LINE, drawable, label_style,
};
use super::{Chart, WIDE};
use crate::measure::measurement::Measurement;
use crate::record::TracePoint;
use crate::render::Run;
use crate::render::number::number;

/// More traces than this make a page that nobody reads; their files have them all.
const MOST_TRACES: usize = 16;
/// Columns of pixels in all traces of a report together: what keeps a page small.
const MOST_COLUMNS: usize = 3000;
/// Fewer columns show no course.
const LEAST_COLUMNS: usize = 50;

/// Draws the first traces of a run, on a page that has so many reports.
pub(super) fn charts(run: &Run, reports: usize) -> Vec<Chart> {
    let metered = run.report.measurements.iter();
    let traced = metered.filter_map(|m| Some((m, Trace::of(run.traces.get(&m.name())?)?)));
    let traced: Vec<(&Measurement, Trace)> = traced.take((MOST_TRACES / reports).max(1)).collect();
    let columns = (MOST_COLUMNS / reports / traced.len().max(1)).max(LEAST_COLUMNS);
    let chart = |(index, (measurement, trace)): (usize, &(&Measurement, Trace))| {
        let title = format!("{}: power over time", measurement.name());
        Chart::new(&format!("trace-{}", index + 1), title, |width| {
            trace.draw(measurement, width, columns)
        })
    };
    traced.iter().enumerate().map(chart).collect()
}

/// A quantity over time; what was not known at a moment is a gap.
#[derive(Clone, Debug, PartialEq)]
struct Course {
    what: &'static str,
    color: RGBColor,
    points: Vec<(f64, Option<f64>)>,
}

/// What was read of a case.
#[derive(Clone, Debug)]
struct Trace {
    courses: Vec<Course>,
    /// Number, beginning and end of each window.
    windows: Vec<(usize, Range<f64>)>,
    end_s: f64,
}

impl Trace {
    /// `None` where nothing of it can be drawn. Readings at no moment since the first
    /// are none.
    fn of(points: &[TracePoint]) -> Option<Self> {
        let is_since_first = |p: &&TracePoint| p.time_s.0 >= 0.0;
        let points: Vec<TracePoint> = points.iter().filter(is_since_first).copied().collect();
        let points = points.as_slice();
        let course = |what, color, value: &dyn Fn(&TracePoint) -> Option<f64>| Course {
            what,
            color,
            points: points
                .iter()
                .map(|p| (p.time_s.0, value(p).filter(is_shown)))
                .collect(),
        };
        let read = course("W", LINE, &|p| Some(p.power_w?.0));
        let power = if read.is_empty() {
            Course {
                points: slope(points),
                ..read
            }
        } else {
            read
        };
        let clock = course("MHz", SECOND_LINE, &|p| p.sm_clock_mhz.map(f64::from));
        let heat = course("°C", SECOND_LINE, &|p| p.temperature_c);
        let courses = [power, clock, heat].into_iter();
        let courses: Vec<Course> = courses.filter(|c| !c.is_empty()).collect();
        let times = points.iter().map(|p| p.time_s.0);
        let end_s = drawable(times.reduce(f64::max)?)?;
        (!courses.is_empty()).then(|| Self {
            courses,
            windows: windows(points),
            end_s,
        })
    }
}

/// A value that a chart can show; a file may hold any number.
fn is_shown(value: &f64) -> bool {
    value.abs() < 1e12
}

impl Course {
    fn is_empty(&self) -> bool {
        self.points.iter().all(|(_, value)| value.is_none())
    }

    /// From 0, which temperatures do not have, and with some room.
    fn range(&self) -> Range<f64> {
        let values = self.points.iter().filter_map(|(_, value)| *value);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let low = if self.what == "°C" {
            low
        } else {
            low.min(0.0)
        };
        let room = (0.08 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
        let below = if low == 0.0 { 0.0 } else { room };
        low - below..high + room
    }

    /// The lowest and the highest in each of `columns` parts of the time, in the
    /// order in which they were read, between gaps.
    fn decimated(&self, end_s: f64, columns: usize) -> Vec<Vec<(f64, f64)>> {
        let column = |time: f64| ((time / end_s * columns as f64) as usize).min(columns - 1);
        let mut parts: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
        let mut of_column: Vec<(f64, f64)> = Vec::new();
        let close = |of_column: &mut Vec<(f64, f64)>, part: &mut Vec<(f64, f64)>| {
            part.extend(extremes(of_column));
            of_column.clear();
        };
        for &(time, value) in &self.points {
            let last = of_column.last().map(|(time, _)| column(*time));
            if value.is_none() || last.is_some_and(|last| last != column(time)) {
                close(&mut of_column, parts.last_mut().expect("one part at least"));
            }
            match value {
                Some(value) => of_column.push((time, value)),
                None => parts.push(Vec::new()),
            }
        }
        close(&mut of_column, parts.last_mut().expect("one part at least"));
        parts.retain(|part| !part.is_empty());
        parts.into_iter().map(without_repeats).collect()
    }
}

/// The lowest and the highest point, in their order.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    let (Some(&low), Some(&high)) = (
        points.iter().min_by(by_value),
        points.iter().max_by(by_value),
    ) else {
        return Vec::new();
    };
    match low.0.total_cmp(&high.0) {
        std::cmp::Ordering::Less => vec![low, high],
        std::cmp::Ordering::Equal => vec![low],
        std::cmp::Ordering::Greater => vec![high, low],
    }
}

/// Points between two others of the same value add nothing to a line.
fn without_repeats(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if let [.., before, last] = kept[..]
            && before.1 == last.1
            && last.1 == point.1
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

/// The power that an energy counter's moves amount to, each at the moment of the
/// move.
fn slope(points: &[TracePoint]) -> Vec<(f64, Option<f64>)> {
    let mut moves: Vec<(f64, f64)> = Vec::new();
    for point in points {
        let Some(energy) = point.energy_j else {
            continue;
        };
        if moves.last().is_none_or(|last| last.1 != energy.0) {
            moves.push((point.time_s.0, energy.0));
        }
    }
    let power = |pair: &[(f64, f64)]| {
        let [(from, before), (to, after)] = *pair else {
            return (0.0, None);
        };
        let watts = (after - before) / (to - from);
        (to, Some(watts).filter(|w| is_shown(w) && *w >= 0.0))
    };
    moves.windows(2).map(power).collect()
}

fn windows(points: &[TracePoint]) -> Vec<(usize, Range<f64>)> {
    let mut windows: Vec<(usize, Range<f64>)> = Vec::new();
    for point in points {
        let Some(number) = point.window else {
            continue;
        };
        let time = point.time_s.0;
        match windows.last_mut() {
            Some((last, range)) if *last == number => range.end = time,
            _ => windows.push((number, time..time)),
        }
    }
    windows
}

const POWER: i32 = 156;
const OTHER: i32 = 74;
const SECONDS: i32 = 42;
const TOP: i32 = 16;
const RIGHT: i32 = 20;
const LEFT: i32 = 5;
const VALUES: i32 = 66;

impl Trace {
    fn draw(&self, measurement: &Measurement, width: i32, columns: usize) -> Drawing {
        let columns = columns.min((width - VALUES - RIGHT).unsigned_abs() as usize);
        let others = self.courses.len() as i32 - 1;
        let height = POWER + OTHER * others + SECONDS;
        Drawing::new((width, height), |area| {
            let mut over = Overlay::default();
            let mut rest = area.clone();
            for (index, course) in self.courses.iter().enumerate() {
                let is_last = index + 1 == self.courses.len();
                let height = if index == 0 { POWER } else { OTHER };
                let (panel, below) =
                    rest.split_vertically(height + if is_last { SECONDS } else { 0 });
                rest = below;
                let layout = Layout {
                    columns,
                    ticks: if width < WIDE { 5 } else { 10 },
                    is_last,
                };
                self.draw_panel(&panel, course, &layout, measurement, &mut over)?;
            }
            Ok(over)
        })
    }

    /// One quantity, above the next.
    fn draw_panel(
        &self,
        panel: &Area,
        course: &Course,
        layout: &Layout,
        measurement: &Measurement,
        over: &mut Overlay,
    ) -> Result<(), Failure> {
        let range = course.range();
        let (low, high) = (range.start, range.end);
        let mut chart = ChartBuilder::on(panel)
            .margin_top(TOP)
            .margin_right(RIGHT)
            .margin_left(LEFT)
            .x_label_area_size(if layout.is_last { SECONDS } else { 0 })
            .y_label_area_size(VALUES - LEFT)
            .build_cartesian_2d(0.0..self.end_s, range)?;
        chart
            .configure_mesh()
            .x_desc("seconds since the first reading")
            .y_desc(course.what)
            .x_labels(layout.ticks)
            .y_labels(if course.what == "W" { 6 } else { 3 })
            .x_label_formatter(&|value| tick(*value))
            .y_label_formatter(&|value| tick(*value))
            .axis_style(AXIS)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(label_style())
            .draw()?;
        for part in course.decimated(self.end_s, layout.columns) {
            chart.draw_series(LineSeries::new(part, course.color.stroke_width(2)))?;
        }
        let at = |x: f64, y: f64| chart.backend_coord(&(x, y));
        for (number, range) in &self.windows {
            let (from, to) = (at(range.start, high), at(range.end, low));
            let data = [
                ("from", range.start.to_string()),
                ("to", range.end.to_string()),
            ];
            let title = window_title(measurement, *number, range);
            over.group("window", &title, &data, |over| over.rect(from, to));
        }
        let median = measurement.power.as_ref().map(|power| power.median_w.0);
        let median = median.filter(|w| course.what == "W" && (low..high).contains(w));
        if let Some(watts) = median {
            let title = format!("median of the windows: {} W", number(watts));
            over.group("median", &title, &[("y", watts.to_string())], |over| {
                let (right, y) = at(self.end_s, watts);
                over.line("", at(0.0, watts), (right, y));
                let text = format!("{} W", number(watts));
                over.text("halo", Anchor::End, (right - 4, y - 5), &text);
            });
        }
        Ok(())
    }
}

/// How a panel is laid out.
struct Layout {
    /// Columns of pixels that the line is drawn in.
    columns: usize,
    /// Labels on the axis of time, at most.
    ticks: usize,
    /// The last panel has the axis of time.
    is_last: bool,
}

fn window_title(measurement: &Measurement, index: usize, range: &Range<f64>) -> String {
    let duration = number(range.end - range.start);
    let energy = measurement.power.as_ref().map(|power| &power.energy);
    let window = energy.and_then(|energy| energy.windows.get(index.checked_sub(1)?));
    let watts = window.and_then(|window| window.mean_power());
    let mean = watts.map_or_else(String::new, |watts| format!(", mean {} W", number(watts.0)));
    format!("{}\nwindow {index}: {duration} s{mean}", measurement.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;
    use crate::units::{Joules, Seconds, Watts};

    fn point(time: f64, power: Option<f64>, energy: Option<f64>) -> TracePoint {
        TracePoint {
            time_s: Seconds(time),
            power_w: power.map(Watts),
            energy_j: energy.map(Joules),
            window: None,
            sm_clock_mhz: None,
            memory_clock_mhz: None,
            temperature_c: None,
        }
    }

    fn course(points: &[(f64, Option<f64>)]) -> Course {
        Course {
            what: "W",
            color: LINE,
            points: points.to_vec(),
        }
    }

    /// A spike between 999 level readings must not be lost in 10 columns.
    #[test]
    fn decimation_keeps_the_extremes() {
        let value = |i: u32| if i == 537 { 900.0 } else { 300.0 };
        let points: Vec<_> = (0..1000).map(|i| (f64::from(i), Some(value(i)))).collect();
        let parts = course(&points).decimated(999.0, 10);
        assert_eq!(parts.len(), 1);
        assert!(parts[0].len() <= 20, "{parts:?}");
        assert!(parts[0].contains(&(537.0, 900.0)), "{parts:?}");
        assert_eq!(parts[0][0], (0.0, 300.0));
    }

    #[test]
    fn what_was_not_read_is_a_gap() {
        let points = [(0.0, Some(1.0)), (1.0, None), (2.0, Some(3.0))];
        let parts = course(&points).decimated(2.0, 100);
        assert_eq!(parts, [vec![(0.0, 1.0)], vec![(2.0, 3.0)]]);
    }

    /// 10 J in 0.1 s are 100 W; the counter stands still in between.
    #[test]
    fn an_energy_counter_shows_power_where_it_moves() {
        let points = [
            (0.0, 0.0),
            (0.05, 0.0),
            (0.1, 10.0),
            (0.15, 10.0),
            (0.2, 40.0),
        ];
        let points = points.map(|(time, energy)| point(time, None, Some(energy)));
        let power: Vec<f64> = slope(&points).iter().filter_map(|p| p.1).collect();
        assert!((power[0] - 100.0).abs() < 1e-9 && (power[1] - 300.0).abs() < 1e-9);
    }

    #[test]
    fn windows_are_from_their_first_reading_to_their_last() {
        let windows = [None, Some(1), Some(1), None, Some(2)];
        let at = |(i, window): (usize, Option<usize>)| TracePoint {
            window,
            ..point(i as f64, Some(1.0), None)
        };
        let points: Vec<_> = windows.into_iter().enumerate().map(at).collect();
        assert_eq!(super::windows(&points), [(1, 1.0..2.0), (2, 4.0..4.0)]);
    }

    #[test]
    fn empty_and_absurd_traces_are_no_charts() {
        let absurd = [
            [(0.0, f64::NAN, 0.0), (f64::INFINITY, 1.0, 1.0)],
            [(f64::NAN, 1.0, 1.0), (-1.0, 1.0, 2.0)],
            [(0.0, 1e300, 0.0), (1e-300, -1e300, 1e300)],
        ];
        for readings in absurd {
            let (report, mut traces) = fixture::metered();
            for trace in traces.values_mut() {
                let readings = readings.iter();
                let read = |&(at, watts, joules)| point(at, Some(watts), Some(joules));
                *trace = readings.map(read).collect();
            }
            let report = &report;
            assert!(charts(&Run { report, traces }, 1).is_empty());
        }
    }

    #[test]
    fn readings_from_before_the_first_are_left_out() {
        let mut points = vec![point(0.0, Some(1.0), None), point(1.0, Some(2.0), None)];
        points[1].window = Some(1);
        let usual = Trace::of(&points).unwrap();
        let mut before = point(-1e300, Some(1e11), None);
        before.window = Some(1);
        points.push(before);
        let trace = Trace::of(&points).unwrap();
        assert_eq!(
            (trace.courses, trace.windows),
            (usual.courses, usual.windows)
        );
    }

    #[test]
    fn each_metered_case_has_a_trace_with_its_windows() {
        let (report, traces) = fixture::metered();
        let metered = report.measurements.iter().filter(|m| m.power.is_some());
        let metered = metered.count();
        let report = &report;
        let charts = charts(&Run { report, traces }, 1);
        assert_eq!(charts.len(), metered);
        let text = charts[0].document().text;
        for what in [
            "\nW\n",
            "\nMHz\n",
            "\n°C\n",
            "class=\"window\"",
            "window 1: ",
        ] {
            assert!(text.contains(what), "{what}: {text}");
        }
    }
}
