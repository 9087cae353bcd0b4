//! What the distribution of the inputs does to one program: its rate, its power
//! and its clock, beside one another.

use super::grouped::grouped;
use super::number::{MISSING, number, rate_unit};
use crate::kernel::problem::WorkUnit;
use crate::measure::measurement::Measurement;
use crate::measure::power::Power;
use crate::record::Report;

/// One case on several distributions, the first of which the others are held
/// against.
pub(super) struct Contrast<'a> {
    /// In the order of the report.
    measurements: Vec<&'a Measurement>,
}

/// What stands above the table.
pub(super) const TITLE: &str = "By input data, × that of the first";

/// Headings of [`Contrast::rows`].
pub(super) const HEADINGS: [&str; 7] = [
    "data",
    "GFLOP/s",
    "× GFLOP/s",
    "W",
    "× W",
    "SM MHz",
    "× J per dispatch",
];

/// The cases that a report holds in several distributions.
pub(super) fn contrasts(report: &Report) -> Vec<Contrast<'_>> {
    let cases = grouped(report.measurements.iter(), |m| &m.id).into_iter();
    let contrasts = cases.map(|measurements| Contrast { measurements });
    contrasts
        .filter(|contrast| {
            let first = contrast.measurements[0].data;
            contrast.measurements.iter().any(|m| m.data != first)
        })
        .collect()
}

impl Contrast<'_> {
    /// Id of the case.
    pub(super) fn id(&self) -> &str {
        &self.measurements[0].id
    }

    /// One row a distribution. What was not measured is missing.
    pub(super) fn rows(&self) -> Vec<[String; 7]> {
        let first = self.measurements[0];
        let row = |m: &&Measurement| {
            let ratio = |of: fn(&Measurement) -> Option<f64>| {
                or_missing(of(m).zip(of(first)).map(|(own, first)| number(own / first)))
            };
            [
                m.data.to_string(),
                or_missing(gflops(m).map(|rate| with_unit(rate, m.work_unit))),
                ratio(gflops),
                or_missing(watts(m).map(number)),
                ratio(watts),
                or_missing(m.sm_clock_mhz().map(|mhz| mhz.to_string())),
                ratio(joules),
            ]
        };
        self.measurements.iter().map(row).collect()
    }
}

fn gflops(measurement: &Measurement) -> Option<f64> {
    measurement.gflops.map(|rate| rate.median.0)
}

fn power(measurement: &Measurement) -> Option<&Power> {
    measurement.power.as_deref()
}

fn watts(measurement: &Measurement) -> Option<f64> {
    power(measurement).map(|power| power.median_w.0)
}

fn joules(measurement: &Measurement) -> Option<f64> {
    power(measurement).map(|power| power.j_per_dispatch.0)
}

/// The heading states the unit of most.
fn with_unit(rate: f64, unit: WorkUnit) -> String {
    match unit {
        WorkUnit::Flop => number(rate),
        unit @ WorkUnit::Op => format!("{} {}", number(rate), rate_unit(unit)),
    }
}

fn or_missing(text: Option<String>) -> String {
    text.unwrap_or_else(|| MISSING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::inputs::Data;
    use crate::measure::measurement::{Rate, Reason, ReasonCode, Status};
    use crate::power::case::CaseEnergy;
    use crate::power::{Coverage, DeviceState};
    use crate::render::{Markdown, Table, fixture};
    use crate::units::{Gflops, Joules, Seconds, Watts};

    const CASE: &str = "matmul/f32/best/4096x4096x4096";

    fn measured(id: &str, data: &str, gflops: f64, power: Option<Power>) -> Measurement {
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        Measurement {
            data: data.parse().unwrap(),
            reason: None,
            gflops: Some(Rate {
                median: Gflops(gflops),
                interval: None,
            }),
            power_reason: power
                .is_none()
                .then(|| Reason::new(ReasonCode::NoPowerSource, "a test")),
            power: power.map(Box::new),
            ..Measurement::without_figures(&id.parse().unwrap(), Status::Ok, reason)
        }
    }

    fn drawn(watts: f64, joules: f64, sm_clock_mhz: Option<u32>) -> Option<Power> {
        let state = DeviceState {
            sm_clock_mhz,
            ..DeviceState::default()
        };
        Some(Power {
            source: "nvml:0".into(),
            covers: Coverage::GpuBoard,
            median_w: Watts(watts),
            ci95_w: [Watts(watts); 2],
            uncertainty: None,
            dispatches: 100,
            j_per_dispatch: Joules(joules),
            net_j_per_dispatch: None,
            j_per_tflop: None,
            energy_delay_js: 0.0,
            percent_of_datasheet_efficiency: None,
            percent_of_limit_efficiency: None,
            busy: None,
            board_error: Some(0.05),
            energy: CaseEnergy {
                windows: Vec::new(),
                energy_j: Joules(100.0 * joules),
                duration_s: Seconds(100.0 * joules / watts),
                mean_w: Watts(watts),
                mean_ci95_w: [watts; 2],
                steady_w: None,
                idle_w: None,
                net_j: None,
                disagreement: None,
                uncertainty: 0.0,
                board_error: 0.05,
                flags: Vec::new(),
            },
            before: DeviceState::default(),
            during: state,
            after: DeviceState::default(),
            sampling: Default::default(),
            trace: None,
        })
    }

    /// 700 W and 420 W, 2 J and 1.04 J; a case without power; one on a single
    /// distribution, which is not shown.
    fn report() -> Report {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        report.datasheet = None;
        let attention = "attention/f32/flash/b1h32kv8s4096d128-causal";
        report.measurements = vec![
            measured(CASE, "normal", 50_000.0, drawn(700.0, 2.0, Some(1400))),
            measured(CASE, "zeros", 57_500.0, drawn(420.0, 1.04, Some(1980))),
            measured(CASE, "sparse:0.5", 52_500.0, drawn(600.0, 1.5, None)),
            measured(attention, "normal", 20_000.0, None),
            measured(attention, "sorted", 20_100.0, None),
            measured("matmul/f32/naive/64x64x64", "zeros", 1.0, None),
        ];
        report.measurements.iter_mut().for_each(Measurement::renew);
        report
    }

    fn section(text: &str) -> String {
        let lines = text.lines().skip_while(|line| !line.contains(TITLE));
        let lines = lines.enumerate().take_while(|(at, line)| {
            let heading = line.starts_with("## ") && *at > 0;
            !heading && !line.starts_with("surroundings:")
        });
        lines.map(|(_, line)| format!("{line}\n")).collect()
    }

    #[test]
    fn a_terminal_shows_distributions_below_their_case() {
        insta::assert_snapshot!(section(&fixture::rendered(&Table { width: Some(80) }, &report())), @r"
        By input data, × that of the first
          data        GFLOP/s  × GFLOP/s    W    × W  SM MHz  × J per dispatch
        matmul/f32/best/4096x4096x4096
          normal        50000       1.00  700   1.00    1400              1.00
          zeros         57500       1.15  420  0.600    1980             0.520
          sparse:0.5    52500       1.05  600  0.857       –             0.750
        attention/f32/flash/b1h32kv8s4096d128-causal
          normal        20000       1.00    –      –       –                 –
          sorted        20100       1.00    –      –       –                 –
        ");
    }

    #[test]
    fn markdown_shows_one_table() {
        insta::assert_snapshot!(section(&fixture::rendered(&Markdown, &report())), @r"
        ## By input data, × that of the first

        | case | data | GFLOP/s | × GFLOP/s | W | × W | SM MHz | × J per dispatch |
        | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | matmul/f32/best/4096x4096x4096 | normal | 50000 | 1.00 | 700 | 1.00 | 1400 | 1.00 |
        | matmul/f32/best/4096x4096x4096 | zeros | 57500 | 1.15 | 420 | 0.600 | 1980 | 0.520 |
        | matmul/f32/best/4096x4096x4096 | sparse:0.5 | 52500 | 1.05 | 600 | 0.857 | – | 0.750 |
        | attention/f32/flash/b1h32kv8s4096d128-causal | normal | 20000 | 1.00 | – | – | – | – |
        | attention/f32/flash/b1h32kv8s4096d128-causal | sorted | 20100 | 1.00 | – | – | – | – |
        ");
    }

    /// 57.5/50 = 1.15, 420/700 = 0.6, 1.04/2 = 0.52; what is missing is not 0.
    #[test]
    fn ratios_are_those_to_the_first() {
        let report = report();
        let contrasts = contrasts(&report);
        let rows = contrasts[0].rows();
        let zeros = ["zeros", "57500", "1.15", "420", "0.600", "1980", "0.520"];
        assert_eq!(rows[1], zeros);
        assert_eq!(rows[2][5], MISSING);
        let rows = contrasts[1].rows();
        assert_eq!(rows[1][3..], [MISSING; 4]);
        assert_eq!(contrasts.len(), 2);
    }

    #[test]
    fn distributions_are_named_beside_the_case() {
        let report = report();
        let table = fixture::rendered(&Table { width: Some(180) }, &report);
        assert!(table.contains(&format!("\n{CASE}   ")), "{table}");
        assert!(table.contains(&format!("\n{CASE}[zeros]")), "{table}");
        assert!(table.contains("run: quick, normal and zeros and sparse:0.5 and sorted data"));
        assert!(report.measurements[0].data == Data::Normal);
    }
}
