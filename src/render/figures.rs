//! The figures of a case under the names that other programs know them by.

use super::number::rate_unit;
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::{Interval, Measurement, Status};
use crate::units::Seconds;

/// A number that was measured, as the record has it: never rescaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    /// What it is: `gflops`.
    pub metric: &'static str,
    /// The number.
    pub value: f64,
    /// Its interval, low to high, where it has one: a time, and what follows from it, has
    /// that of which `Time::interval_in_words` tells what it says.
    pub interval: Option<[f64; 2]>,
    /// Its unit.
    pub unit: &'static str,
}

/// Every figure that a case has, the one to quote first: the rate of computing,
/// that of moving data, or the time where nothing is computed or moved. None
/// where the case was not measured.
pub(super) fn figures(measurement: &Measurement) -> Vec<Figure> {
    if measurement.status != Status::Ok {
        return Vec::new();
    }
    let all = [rate(measurement), shares(measurement), power(measurement)];
    let finite = |figure: &Figure| figure.value.is_finite();
    let known = all.into_iter().flatten().flatten();
    known.filter(finite).collect()
}

/// The figure to quote; `None` where the case was not measured.
pub(super) fn headline(measurement: &Measurement) -> Option<Figure> {
    figures(measurement).into_iter().next()
}

fn figure(metric: &'static str, value: Option<f64>, unit: &'static str) -> Option<Figure> {
    Some(Figure {
        metric,
        value: value?,
        interval: None,
        unit,
    })
}

/// Rates and the time they follow from.
fn rate(m: &Measurement) -> Vec<Option<Figure>> {
    let time = m.time.as_ref();
    let bandwidth = |s: Seconds| Some(m.bytes? as f64 / s.0 / 1e9);
    let times = time.and_then(|t| t.interval_s).map(Interval::ends);
    let bandwidths = times.and_then(|[low, high]| {
        // The shortest time is the highest rate.
        Some([bandwidth(high)?, bandwidth(low)?])
    });
    let with = |interval, figure: Option<Figure>| {
        Some(Figure {
            interval,
            ..figure?
        })
    };
    vec![
        with(
            m.gflops
                .and_then(|r| r.interval)
                .map(|interval| interval.ends().map(|r| r.0)),
            figure(
                "gflops",
                m.gflops.map(|r| r.median.0),
                rate_unit(m.work_unit),
            ),
        ),
        with(bandwidths, figure("gbytes_per_s", m.gbytes_per_s, "GB/s")),
        with(
            times.map(|ends| ends.map(|s| s.0)),
            figure("median_s", time.map(|t| t.median_s.0), "s"),
        ),
    ]
}

/// What the rate is in percent of the peaks.
fn shares(m: &Measurement) -> Vec<Option<Figure>> {
    vec![
        figure("percent_of_ceiling", m.percent_of_ceiling, "%"),
        figure("percent_of_datasheet", m.percent_of_datasheet, "%"),
    ]
}

/// Power, and what follows from it.
fn power(m: &Measurement) -> Vec<Option<Figure>> {
    let power = m.power.as_ref();
    let per_watt = match m.work_unit {
        WorkUnit::Flop => "GFLOP/s/W",
        WorkUnit::Op => "GOP/s/W",
    };
    let gross = m.gflops_per_watt.map(|e| e.gross.0);
    let net = m.gflops_per_watt.and_then(|e| Some(e.net?.0));
    // The interval is that of the expanded uncertainty.
    let uncertain = |metric, value: Option<f64>, unit| {
        let expanded = power.and_then(|p| p.uncertainty_of(value?));
        Some(Figure {
            interval: expanded.zip(value).map(|(u, value)| [value - u, value + u]),
            ..figure(metric, value, unit)?
        })
    };
    vec![
        uncertain("power_w", power.map(|p| p.median_w.0), "W"),
        uncertain("gflops_per_watt", gross, per_watt),
        figure("gflops_per_watt_net", net, per_watt),
        uncertain("j_per_dispatch", power.map(|p| p.j_per_dispatch.0), "J"),
        figure("energy_delay", power.map(|p| p.energy_delay_js), "Js"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    /// Bandwidth by hand: 268 435 456 B in 99.2 to 100.8 µs, the interval of the
    /// fixture's samples, are 2706.0 to 2663.0 GB/s.
    #[test]
    fn the_figure_to_quote_is_what_the_case_is_about() {
        let report = fixture::report();
        let of = |index: usize| headline(&report.measurements[index]);
        let names: Vec<_> = (0..7).map(|i| of(i).map(|f| (f.metric, f.unit))).collect();
        assert_eq!(
            names,
            [
                Some(("gflops", "GFLOP/s")),
                Some(("gbytes_per_s", "GB/s")),
                Some(("median_s", "s")),
                Some(("gflops", "GFLOP/s")),
                Some(("gflops", "GFLOP/s")),
                None,
                None,
            ]
        );
        let [low, high] = of(1).and_then(|f| f.interval).unwrap();
        assert!((low - 2663.05).abs() < 0.01 && (high - 2706.0).abs() < 0.01);
    }

    #[test]
    fn what_is_no_number_is_no_figure() {
        let mut report = fixture::report();
        report.measurements[0].percent_of_datasheet = Some(f64::INFINITY);
        let metrics = figures(&report.measurements[0]);
        assert!(metrics.iter().all(|f| f.metric != "percent_of_datasheet"));
        assert_eq!(metrics.len(), 2);
    }
}
