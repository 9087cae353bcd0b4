//! Rate, power and efficiency against the power limit.

use super::grouped::grouped;
use super::number::{MISSING, fixed, number, rate_unit};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::record::Report;

/// What stands above [`rows`].
pub(super) const TITLE: &str = "By power limit";

/// Headings of [`rows`].
pub(super) const HEADINGS: [&str; 7] = [
    "case", "limit", "GFLOP/s", "W", "GFLOPS/W", "SM clock", "best",
];

/// Which of them hold numbers.
pub(super) const NUMERIC: [bool; 7] = [false, true, true, true, true, true, false];

/// What the row of the highest efficiency of a case says.
const MOST_EFFICIENT: &str = "most efficient";

/// The limits of every case that the report has at several, in the order
/// measured; no row without such a case.
pub(super) fn rows(report: &Report) -> Vec<[String; 7]> {
    let sweeps = sweeps(report);
    let of_one = |sweep: &Vec<&Measurement>| {
        let best = most_efficient(sweep);
        let is_best = |m| best.is_some_and(|best| std::ptr::eq(best, m));
        let rows = sweep.iter().map(|m| row(m, is_best(*m)));
        rows.collect::<Vec<_>>()
    };
    sweeps.iter().flat_map(of_one).collect()
}

/// Measurements of the same case at different limits, at least two of them, of
/// which any has a figure.
fn sweeps(report: &Report) -> Vec<Vec<&Measurement>> {
    let limited = report.measurements.iter();
    let limited = limited.filter(|m| m.power_limit_w.is_some());
    let mut sweeps = grouped(limited, |m| &m.id);
    sweeps.retain(|sweep| sweep.len() > 1 && sweep.iter().any(|m| m.time.is_some()));
    sweeps
}

/// The one of the highest efficiency, where there is something to choose from.
fn most_efficient<'a>(sweep: &[&'a Measurement]) -> Option<&'a Measurement> {
    let known = sweep.iter().filter(|m| efficiency(m).is_some());
    if known.clone().count() < 2 {
        return None;
    }
    let best = known.max_by(|a, b| {
        let [a, b] = [a, b].map(|m| efficiency(m).unwrap_or(f64::NEG_INFINITY));
        a.total_cmp(&b)
    });
    best.copied()
}

/// 10⁹ operations per second and watt, of all power drawn.
fn efficiency(measurement: &Measurement) -> Option<f64> {
    measurement.gflops_per_watt.map(|rate| rate.gross.0)
}

fn row(m: &Measurement, best: bool) -> [String; 7] {
    let rate = m.gflops.map(|rate| {
        let unit = match m.work_unit {
            WorkUnit::Flop => String::new(),
            unit @ WorkUnit::Op => format!(" {}", rate_unit(unit)),
        };
        let median = rate.median.0;
        format!("{}{unit}", fixed(median, 4, median))
    });
    let power = m.power.as_ref();
    [
        m.id.clone(),
        or_missing(m.power_limit_w.map(|limit| limit.to_string())),
        or_missing(rate),
        or_missing(power.map(|power| number(power.median_w.0))),
        or_missing(efficiency(m).map(number)),
        or_missing(m.sm_clock_mhz().map(|mhz| format!("{mhz} MHz"))),
        if best { MOST_EFFICIENT } else { "" }.into(),
    ]
}

fn or_missing(text: Option<String>) -> String {
    text.unwrap_or_else(|| MISSING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measurement::{
        Cache, Clock, Efficiency, Rate, Reason, ReasonCode, Status, Time,
    };
    use crate::measure::power::Power;
    use crate::power::Coverage;
    use crate::power::case::CaseEnergy;
    use crate::power::sampler::Cost;
    use crate::power::state::DeviceState;
    use crate::render::{Markdown, Table, fixture};
    use crate::units::{Gflops, Joules, Seconds, Watts};

    const KERNEL: &str = "matmul/f32/register/1024x1024x1024";

    fn power(watts: f64, mhz: Option<u32>) -> Power {
        let energy = CaseEnergy {
            windows: Vec::new(),
            energy_j: Joules(5.0 * watts),
            duration_s: Seconds(5.0),
            mean_w: Watts(watts),
            mean_ci95_w: [0.99 * watts, 1.01 * watts],
            steady_w: None,
            idle_w: None,
            net_j: None,
            disagreement: None,
            uncertainty: 0.005,
            board_error: 0.05,
            flags: Vec::new(),
        };
        Power {
            source: "nvml:0".into(),
            covers: Coverage::GpuBoard,
            median_w: Watts(watts),
            ci95_w: energy.mean_ci95_w.map(Watts),
            uncertainty: None,
            dispatches: 5000,
            j_per_dispatch: Joules(watts / 1e3),
            net_j_per_dispatch: None,
            j_per_tflop: None,
            energy_delay_js: watts / 1e6,
            percent_of_datasheet_efficiency: None,
            percent_of_limit_efficiency: None,
            busy: None,
            board_error: Some(energy.board_error),
            energy,
            before: DeviceState::default(),
            during: DeviceState {
                sm_clock_mhz: mhz,
                ..DeviceState::default()
            },
            after: DeviceState::default(),
            sampling: Cost::default(),
            trace: None,
        }
    }

    fn without_figure(limit: f64) -> Measurement {
        let reason = Reason::new(ReasonCode::Worker, "the worker ended");
        Measurement {
            power_limit_w: Some(Watts(limit)),
            ..Measurement::without_figures(&KERNEL.parse().unwrap(), Status::Failed, reason)
        }
    }

    fn measured(limit: f64, gflops: f64, power: Option<Power>) -> Measurement {
        Measurement {
            status: Status::Ok,
            reason: None,
            time: Time::summarise(&[1e-3], Clock::Device, Cache::Hot, 1),
            gflops: Some(Rate {
                median: Gflops(gflops),
                interval: None,
            }),
            gflops_per_watt: power.as_ref().map(|power| Efficiency {
                gross: Gflops(gflops / power.median_w.0),
                net: None,
            }),
            power_reason: None,
            power: power.map(Box::new),
            ..without_figure(limit)
        }
    }

    /// 6000 / 240 = 25, 5400 / 180 = 30 and 2600 / 100 = 26 GFLOPS/W.
    fn sweep() -> Vec<Measurement> {
        vec![
            measured(300.0, 6000.0, Some(power(240.0, Some(1800)))),
            measured(200.0, 5400.0, Some(power(180.0, Some(1500)))),
            measured(112.5, 2600.0, Some(power(100.0, None))),
        ]
    }

    fn report(measurements: Vec<Measurement>) -> Report {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        report.datasheet = None;
        report.measurements = measurements;
        report.measurements.iter_mut().for_each(Measurement::renew);
        report
    }

    #[test]
    fn the_most_efficient_limit_is_named() {
        let rows = rows(&report(sweep()));
        let column = |index: usize| {
            rows.iter()
                .map(|row| row[index].as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(column(1), ["300 W", "200 W", "112.5 W"]);
        assert_eq!(column(4), ["25.0", "30.0", "26.0"]);
        assert_eq!(column(5), ["1800 MHz", "1500 MHz", MISSING]);
        assert_eq!(column(6), ["", MOST_EFFICIENT, ""]);
    }

    #[test]
    fn what_is_missing_is_shown_as_such_and_never_the_best() {
        let mut cases = sweep();
        cases[1] = measured(200.0, 5400.0, None);
        cases[2] = without_figure(112.5);
        let rows = rows(&report(cases));
        assert_eq!(rows[1][2..], ["5400", MISSING, MISSING, MISSING, ""]);
        assert_eq!(rows[2][2..], [MISSING, MISSING, MISSING, MISSING, ""]);
        assert_eq!(rows[0][6], "", "one of one is not the best");
    }

    #[test]
    fn one_limit_or_no_figure_shows_nothing() {
        assert!(rows(&report(sweep().split_off(2))).is_empty());
        let failed = [300.0, 200.0].map(without_figure);
        assert!(rows(&report(failed.into())).is_empty());
        assert!(rows(&fixture::report()).is_empty());
    }

    /// The title and the lines of the table below it.
    fn part(text: &str, lines: usize) -> String {
        let part = text.lines().skip_while(|line| !line.contains(TITLE));
        part.take(lines).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_terminal_shows_it() {
        let text = fixture::rendered(&Table { width: Some(120) }, &report(sweep()));
        insta::assert_snapshot!(part(&text, 5), @r"
        By power limit
         case                                  limit  GFLOP/s    W  GFLOPS/W  SM clock  best
         matmul/f32/register/1024x1024x1024    300 W     6000  240      25.0  1800 MHz
         matmul/f32/register/1024x1024x1024    200 W     5400  180      30.0  1500 MHz  most efficient
         matmul/f32/register/1024x1024x1024  112.5 W     2600  100      26.0         –
        ");
    }

    #[test]
    fn markdown_shows_it() {
        let text = fixture::rendered(&Markdown, &report(sweep()));
        insta::assert_snapshot!(part(&text, 7), @r"
        ## By power limit

        | case | limit | GFLOP/s | W | GFLOPS/W | SM clock | best |
        | --- | ---: | ---: | ---: | ---: | ---: | --- |
        | matmul/f32/register/1024x1024x1024 | 300 W | 6000 | 240 | 25.0 | 1800 MHz |  |
        | matmul/f32/register/1024x1024x1024 | 200 W | 5400 | 180 | 30.0 | 1500 MHz | most efficient |
        | matmul/f32/register/1024x1024x1024 | 112.5 W | 2600 | 100 | 26.0 | – |  |
        ");
    }
}
