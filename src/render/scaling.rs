//! How the cost of square products grows with their size.

use super::grouped::grouped;
use super::number::{MISSING, duration, number, rate_unit};
use crate::kernel::id::CaseId;
use crate::kernel::inputs::Data;
use crate::kernel::shape::{GemmShape, Layout, Shape};
use crate::measure::measurement::Measurement;
use crate::record::Report;
use crate::units::Watts;

/// Fewer sizes than this show no growth.
const LEAST_SIZES: usize = 3;

/// The sizes of one kernel.
pub(super) struct Scaling<'a> {
    kernel: CaseId,
    data: Data,
    /// At which power limit, where limits were varied.
    limit: Option<Watts>,
    /// Side and measurement, from small to large.
    sizes: Vec<(u32, &'a Measurement)>,
}

/// Headings of [`Scaling::rows`].
pub(super) const HEADINGS: [&str; 6] = [
    "M = N = K",
    "time",
    "× time",
    "× work",
    "GFLOP/s",
    "% of ceiling",
];

/// Kernels of which the report has enough square sizes.
pub(super) fn scalings(report: &Report) -> Vec<Scaling<'_>> {
    let squares = report.measurements.iter().filter_map(|m| {
        let (kernel, side) = square(m)?;
        Some((kernel, side, m))
    });
    let alike = |(kernel, _, m): &(CaseId, u32, &Measurement)| {
        let limit = m.power_limit_w.map(|limit| limit.0.to_bits());
        (kernel.clone(), m.data.to_string(), limit)
    };
    let kernels = grouped(squares, alike).into_iter();
    let scalings = kernels.filter_map(|squares| {
        let (kernel, _, first) = squares.first().filter(|_| squares.len() >= LEAST_SIZES)?;
        let mut sizes: Vec<_> = squares.iter().map(|(_, side, m)| (*side, *m)).collect();
        sizes.sort_by_key(|(side, _)| *side);
        Some(Scaling {
            kernel: kernel.clone(),
            data: first.data,
            limit: first.power_limit_w,
            sizes,
        })
    });
    scalings.collect()
}

/// The kernel of a measured square product, as a case of one element, and the side.
fn square(measurement: &Measurement) -> Option<(CaseId, u32)> {
    measurement.gflops?;
    let id: CaseId = measurement.id.parse().ok()?;
    let Shape::Gemm(shape) = id.shape else {
        return None;
    };
    let cube = |side| GemmShape {
        batch: 1,
        m: side,
        n: side,
        k: side,
        layout: Layout::Nn,
    };
    let side = shape.m;
    let unit = Shape::Gemm(cube(1));
    (shape == cube(side)).then_some((CaseId { shape: unit, ..id }, side))
}

impl Scaling<'_> {
    /// What the sizes say together: the kernel and the highest rate it reached.
    pub(super) fn title(&self) -> String {
        let CaseId {
            operation,
            precision,
            variant,
            ..
        } = &self.kernel;
        let rate = |m: &Measurement| m.gflops.map_or(0.0, |rate| rate.median.0);
        let best = self
            .sizes
            .iter()
            .max_by(|(_, a), (_, b)| f64::total_cmp(&rate(a), &rate(b)));
        let peak = best.map(|(side, m)| {
            format!(
                "achievable peak {} {} at {side}",
                number(rate(m)),
                rate_unit(m.work_unit)
            )
        });
        let peak = peak.unwrap_or_default();
        let data = match self.data {
            Data::Normal => String::new(),
            data => format!("[{data}]"),
        };
        let limit = self.limit.map(|limit| format!(" at {limit}"));
        let limit = limit.unwrap_or_default();
        format!("{operation}/{precision}/{variant}{data} by size{limit}: {peak}")
    }

    /// One row a size, growth against the row above.
    pub(super) fn rows(&self) -> Vec<[String; 6]> {
        let before = std::iter::once(None).chain(self.sizes.iter().map(|(_, m)| Some(*m)));
        let rows = self.sizes.iter().zip(before);
        rows.map(|((side, m), before)| {
            let time = |m: &Measurement| m.time.as_ref().map(|t| t.median_s.0);
            let work = |m: &Measurement| m.work.map(|work| work as f64);
            let growth = |of: &dyn Fn(&Measurement) -> Option<f64>| {
                or_missing(before.and_then(|before| Some(number(of(m)? / of(before)?))))
            };
            [
                side.to_string(),
                or_missing(m.time.as_ref().map(|t| duration(t.median_s))),
                growth(&time),
                growth(&work),
                or_missing(m.gflops.map(|rate| number(rate.median.0))),
                or_missing(m.percent_of_ceiling.map(number)),
            ]
        })
        .collect()
    }
}

fn or_missing(text: Option<String>) -> String {
    text.unwrap_or_else(|| MISSING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{Cache, Clock, Rate, Reason, ReasonCode, Status, Time};
    use crate::render::fixture;
    use crate::units::Gflops;

    fn measured(side: u32, seconds: f64, gflops: f64) -> Measurement {
        let id = format!("matmul/f32/best/{side}x{side}x{side}");
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        Measurement {
            work: Some(2 * u64::from(side).pow(3)),
            time: Time::summarise(&[seconds], Clock::Device, Cache::Hot, 1),
            gflops: Some(Rate {
                median: Gflops(gflops),
                interval: None,
            }),
            ..Measurement::without_figures(&id.parse().unwrap(), Status::Ok, reason)
        }
    }

    /// Twice the side is eight times the work; the time here grows fourfold, then
    /// tenfold.
    #[test]
    fn growth_is_against_the_next_smaller_size() {
        let mut report = fixture::report();
        report.measurements = vec![
            measured(2048, 0.4, 42.9),
            measured(512, 0.01, 26.8),
            measured(1024, 0.04, 53.7),
        ];
        let scalings = scalings(&report);
        assert_eq!(scalings.len(), 1);
        assert_eq!(
            scalings[0].title(),
            "matmul/f32/best by size: achievable peak 53.7 GFLOP/s at 1024"
        );
        let rows = scalings[0].rows();
        let column = |index: usize| {
            rows.iter()
                .map(|row| row[index].as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(column(0), ["512", "1024", "2048"]);
        assert_eq!(column(2), ["–", "4.00", "10.0"]);
        assert_eq!(column(3), ["–", "8.00", "8.00"]);
    }

    #[test]
    fn distributions_grow_apart() {
        let mut report = fixture::report();
        let sizes = [(512, 0.01), (1024, 0.04), (2048, 0.4)];
        let on = |data| {
            sizes.map(|(side, time)| Measurement {
                data,
                ..measured(side, time, 1.0)
            })
        };
        report.measurements = [on(Data::Normal), on(Data::Zeros)].concat();
        let titles: Vec<_> = scalings(&report).iter().map(Scaling::title).collect();
        assert!(titles[0].starts_with("matmul/f32/best by size"));
        assert!(titles[1].starts_with("matmul/f32/best[zeros] by size"));
    }

    #[test]
    fn two_sizes_or_oblong_ones_show_no_growth() {
        let mut report = fixture::report();
        report.measurements = vec![measured(512, 0.01, 26.8), measured(1024, 0.04, 53.7)];
        assert!(scalings(&report).is_empty());
    }
}
