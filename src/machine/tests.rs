use super::*;
use crate::gpu::adapter::DeviceType;
use crate::kernel::inputs::Data;
use crate::kernel::problem::Work;
use crate::measure::measurement::{
    Beside, Cache, Clock, Efficiency, Flag, Rate, Reason, ReasonCode, Time,
};
use crate::measure::power::Power;
use crate::measure::tier::Tier;
use crate::record::{Shaders, Start};
use crate::units::Gflops;

const KERNEL: &str = "matmul/f32/register/1024x1024x1024";
const COPY: &str = "bandwidth/f32/copy/256MiB";
const LATENCY: &str = "latency/none/dispatch/empty";

/// A card of the kind with this index.
pub(crate) fn card(index: usize) -> AdapterDescription {
    AdapterDescription {
        index,
        name: "Testcard 0".into(),
        device_type: DeviceType::DiscreteGpu,
        pci_address: Some(format!("0000:{index:02x}:00.0")),
        ..serde_json::from_str(include_str!("../../tests/data/adapter.json")).unwrap()
    }
}

pub(crate) fn report(adapter: AdapterDescription, measurements: Vec<Measurement>) -> Report {
    let mut report = Report::begin(Start {
        command: Vec::new(),
        tier: Tier::Quick,
        seed: 7,
        adapter,
        shaders: Shaders::new(None, Default::default()).unwrap(),
        datasheet: Err("a test".into()),
    });
    report.data = Data::Normal;
    report.measurements = measurements;
    report.complete = true;
    report
}

/// A case that does so many operations and moves so many bytes a millisecond.
pub(crate) fn measured(id: &str, operations: u64, bytes: u64) -> Measurement {
    let work = Work {
        operations,
        unit: WorkUnit::Flop,
        bytes,
    };
    let time = Time::summarise(&[1e-3; 11], Clock::Device, Cache::Cold, 1).unwrap();
    let reason = Reason::new(ReasonCode::NotMeasured, "");
    Measurement {
        reason: None,
        work: Some(operations),
        bytes: Some(bytes),
        gflops: Rate::of(&work, &time),
        gbytes_per_s: (bytes > 0).then_some(bytes as f64 / 1e-3 / 1e9),
        time: Some(time),
        ..Measurement::without_figures(&id.parse().unwrap(), Status::Ok, reason)
    }
}

/// A product at so many GFLOP/s.
pub(crate) fn product(gflops: u64) -> Measurement {
    measured(KERNEL, gflops * 1_000_000, 0)
}

/// The same with the power of `source`.
pub(crate) fn powered(measurement: Measurement, source: &str, watts: f64) -> Measurement {
    let power = serde_json::json!({
        "source": source, "covers": "gpu-board", "median_w": watts, "ci95_w": [watts, watts],
        "dispatches": 1000, "j_per_dispatch": watts / 1e3, "energy_delay_js": watts / 1e6,
        "energy": {
            "windows": [], "energy_j": watts, "duration_s": 1.0, "mean_w": watts,
            "mean_ci95_w": [watts, watts], "uncertainty": 0.005, "board_error": 0.05, "flags": [],
        },
        "before": {}, "during": {}, "after": {}, "sampling": {"cpu_s": 0.1, "wall_s": 5.0},
    });
    let power: Power = serde_json::from_value(power).unwrap();
    let gflops = measurement.gflops.map_or(0.0, |rate| rate.median.0);
    Measurement {
        power: Some(Box::new(power)),
        gflops_per_watt: Some(Efficiency {
            gross: Gflops(gflops / watts),
            net: None,
        }),
        ..measurement
    }
}

/// The same beside adapters of these indices, for this share of the time.
pub(crate) fn beside(measurement: Measurement, others: &[(usize, f64)]) -> Measurement {
    let others = others.iter().map(|&(index, overlap)| Beside {
        index,
        adapter: "Testcard 0".into(),
        pci_address: None,
        overlap,
    });
    Measurement {
        concurrent_with: others.collect(),
        ..measurement
    }
}

/// What cards of one model with indices from 1 have measured.
fn of(cards: Vec<Vec<Measurement>>, concurrent: bool) -> Summary {
    let indexed = cards.into_iter().zip(1..);
    let reports = indexed.map(|(measurements, index)| report(card(index), measurements));
    let reports: Vec<Report> = reports.collect();
    Summary::of(&outcomes(&reports), Vec::new(), concurrent)
}

pub(crate) fn outcomes(reports: &[Report]) -> Vec<Outcome<'_>> {
    let outcomes = reports.iter().zip(1..).map(|(report, number)| Outcome {
        adapter: &report.adapter,
        report: Some(report),
        folder: format!("card-{number}"),
        error: None,
    });
    outcomes.collect()
}

fn reason(summary: &Summary) -> &str {
    let [case] = &summary.cases[..] else {
        panic!("{summary:?}")
    };
    assert_eq!(case.total, None);
    case.total_reason.as_deref().unwrap()
}

/// By hand: 5000 and 4000 GFLOP/s at 200 and 160 W are 9000 GFLOP/s at 360 W, 25
/// GFLOP/s per W. The least of the two overlaps is what counts.
#[test]
fn what_worked_at_the_same_time_is_added_up() {
    let summary = of(
        vec![
            vec![powered(
                beside(product(5000), &[(2, 0.97)]),
                "nvml:0",
                200.0,
            )],
            vec![powered(
                beside(product(4000), &[(1, 0.99)]),
                "nvml:1",
                160.0,
            )],
        ],
        true,
    );
    let [case] = &summary.cases[..] else {
        panic!("{summary:?}")
    };
    assert_eq!(case.quantity, Some(Quantity::Gflops));
    assert_eq!(case.figures, [Some(5000.0), Some(4000.0)]);
    let total = case.total.as_ref().unwrap();
    assert_eq!(total.adapters, [1, 2]);
    assert!((total.rate - 9000.0).abs() < 1e-9);
    assert_eq!(total.power_w.map(|watts| watts.0), Some(360.0));
    assert!((total.rate_per_watt.unwrap() - 25.0).abs() < 1e-9);
    assert_eq!(total.least_overlap, 0.97);
    assert_eq!((&case.total_reason, &total.power_reason), (&None, &None));
}

/// By hand: 268 435 456 B a millisecond are 268.435 456 GB/s, thrice.
#[test]
fn traffic_is_added_up_without_operations_per_watt() {
    let all = |index: usize| {
        let others = (1..=3).filter(|&other| other != index);
        let others: Vec<(usize, f64)> = others.map(|other| (other, 1.0)).collect();
        let copy = beside(measured(COPY, 0, 268_435_456), &others);
        vec![powered(copy, &format!("nvml:{index}"), 100.0)]
    };
    let summary = of((1..=3).map(all).collect(), true);
    let total = summary.cases[0].total.as_ref().unwrap();
    assert!((total.rate - 805.306368).abs() < 1e-9, "{total:?}");
    assert_eq!(summary.cases[0].quantity, Some(Quantity::GbytesPerS));
    assert_eq!(total.power_w.map(|watts| watts.0), Some(300.0));
    assert_eq!(total.rate_per_watt, None);
}

#[test]
fn there_is_no_total_of_what_was_not_together() {
    let pair = |first, second| vec![vec![first], vec![second]];
    let sequential = of(pair(product(1), product(2)), false);
    assert!(reason(&sequential).starts_with("measured one after the other"));
    let short = pair(
        beside(product(1), &[(2, 1.0)]),
        beside(product(2), &[(1, 0.4)]),
    );
    let short = of(short, true);
    assert_eq!(
        reason(&short),
        "[2] and [1] worked at the same time for 40 % of it only"
    );
    let latency = || measured(LATENCY, 0, 0);
    let latencies = of(
        pair(
            beside(latency(), &[(2, 1.0)]),
            beside(latency(), &[(1, 1.0)]),
        ),
        true,
    );
    assert_eq!(reason(&latencies), "times of a dispatch have no total");
    let why = Reason::new(ReasonCode::WrongResult, "element 0 is wrong");
    let rejected = Measurement::without_figures(&KERNEL.parse().unwrap(), Status::Rejected, why);
    let one = of(pair(rejected.clone(), product(2)), true);
    assert_eq!(reason(&one), "only [2] has a figure");
    let none = of(pair(rejected.clone(), rejected), true);
    assert_eq!(reason(&none), "no adapter has a figure");
    assert_eq!(none.cases[0].quantity, None);
}

/// Two of three are a total of their own.
#[test]
fn a_card_that_failed_is_left_out_of_the_total() {
    let summary = of(
        vec![
            vec![beside(product(5), &[(3, 1.0)])],
            vec![],
            vec![Measurement {
                flags: vec![Flag::Throttled, Flag::Concurrent],
                ..beside(product(6), &[(1, 1.0)])
            }],
        ],
        true,
    );
    let total = summary.cases[0].total.as_ref().unwrap();
    assert_eq!(total.flags, [Flag::Throttled]);
    assert_eq!((&total.adapters[..], total.rate), (&[1, 3][..], 11.0));
    assert_eq!(summary.cases[0].figures, [Some(5.0), None, Some(6.0)]);
}

#[test]
fn power_that_is_not_whole_or_counts_twice_has_no_total() {
    let together = |sources: [Option<&str>; 2]| {
        let card = |number: usize, source: Option<&str>| {
            let measurement = beside(product(5), &[(3 - number, 1.0)]);
            vec![match source {
                Some(source) => powered(measurement, source, 100.0),
                None => measurement,
            }]
        };
        let [first, second] = sources;
        let summary = of(vec![card(1, first), card(2, second)], true);
        let total = summary.cases[0].total.clone().unwrap();
        assert_eq!((total.power_w, total.rate_per_watt), (None, None));
        total.power_reason.unwrap()
    };
    assert_eq!(
        together([Some("nvml:0"), None]),
        "the power of [2] was not measured"
    );
    assert_eq!(
        together([Some("nvml:0"), Some("nvml:0")]),
        "nvml:0 would be counted more than once"
    );
}

/// By hand: of 100, 101, 99, 102 and 88 the median is 100, from 88 to 102 it is 14 %;
/// 88 is 12 % slower than 100 and 13.7 % slower than 102.
#[test]
fn sister_cards_are_held_against_one_another_and_outliers_named() {
    let rates = [100, 101, 99, 102, 88];
    let summary = of(rates.map(|rate| vec![product(rate)]).into(), false);
    let [spread] = &summary.cases[0].spreads[..] else {
        panic!("{summary:?}")
    };
    assert_eq!(
        (&spread.model[..], spread.quantity),
        ("Testcard 0", Quantity::Gflops)
    );
    assert_eq!(spread.adapters, [1, 2, 3, 4, 5]);
    let found = spread.found.as_ref().unwrap();
    assert_eq!(
        (found.lowest, found.median, found.highest),
        (88.0, 100.0, 102.0)
    );
    assert!((found.percent - 14.0).abs() < 1e-9);
    let [sisters] = &summary.models[..] else {
        panic!("{summary:?}")
    };
    assert_eq!((&sisters.model[..], sisters.cards), ("Testcard 0", 5));
    assert!((sisters.range_percent - 1400.0 / 102.0).abs() < 1e-9);
    let [slow] = &sisters.slow[..] else {
        panic!("{sisters:?}")
    };
    assert_eq!((slow.adapter, slow.cases), (5, 1));
    assert!((slow.percent - 12.0).abs() < 1e-9);
}

/// By hand: 300 and 330 W lie 30/315 apart, 9.5 %; 10 and 9.0909 GFLOP/s per W by
/// 0.90909/9.545, as much.
#[test]
fn of_two_cards_there_is_the_spread_alone_in_power_as_well() {
    let summary = of(
        vec![
            vec![powered(product(3000), "nvml:0", 300.0)],
            vec![powered(product(3000), "nvml:1", 330.0)],
        ],
        false,
    );
    assert_eq!(summary.models[0].slow, []);
    let spreads = summary.cases[0].spreads.iter();
    let spreads: Vec<_> = spreads
        .map(|spread| {
            let found = spread.found.as_ref().unwrap();
            (spread.quantity, (found.percent * 100.0).round() / 100.0)
        })
        .collect();
    let expected = [
        (Quantity::Gflops, 0.0),
        (Quantity::PowerW, 9.52),
        (Quantity::GflopsPerWatt, 9.52),
    ];
    assert_eq!(spreads, expected);
}

#[test]
fn cards_of_different_models_have_no_spread() {
    let mut other = card(2);
    other.driver_info = "another".into();
    let reports = [
        report(card(1), vec![product(1)]),
        report(other, vec![product(2)]),
    ];
    let summary = Summary::of(&outcomes(&reports), Vec::new(), false);
    assert_eq!(summary.cases[0].spreads, []);
}

#[test]
fn a_spread_needs_the_same_program_and_the_same_time() {
    let spread = |first: Measurement, second: Measurement, concurrent: bool| {
        let summary = of(vec![vec![first], vec![second]], concurrent);
        let spread = summary.cases[0].spreads[0].clone();
        assert_eq!(spread.found.is_none(), spread.reason.is_some());
        spread.reason
    };
    let tiled = |id: &str, tile: u32| Measurement {
        parameters: [("tile_m".to_owned(), tile)].into(),
        ..measured(id, 5_000_000, 0)
    };
    assert_eq!(
        spread(tiled(KERNEL, 32), tiled(KERNEL, 64), false).as_deref(),
        Some("[1] and [2] ran different programs")
    );
    let peak = "peak/f32/fma/device";
    assert_eq!(spread(tiled(peak, 32), tiled(peak, 64), false), None);
    let together = |overlap| beside(product(5), &[(1, overlap), (2, overlap)]);
    assert_eq!(spread(together(0.9), together(0.95), true), None);
    assert_eq!(
        spread(together(0.95), together(0.85), true).as_deref(),
        Some("[2] and [1] worked at the same time for 85 % of it only")
    );
    let why = Reason::new(ReasonCode::TooLarge, "too large");
    let skipped = Measurement::without_figures(&KERNEL.parse().unwrap(), Status::Skipped, why);
    assert_eq!(
        spread(product(5), skipped, false).as_deref(),
        Some("only [1] has a figure")
    );
}
