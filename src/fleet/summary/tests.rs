use super::*;
use crate::fleet::identity::Run;
use crate::measure::measurement::Flag;

/// A report of a card with one case.
fn entry(card: &str, host: &str, case: Case) -> Entry {
    Entry {
        file: format!("{card}.json").into(),
        run: Run::Content(card.into()),
        attempt: None,
        started: "2026-01-02T03:04:05Z".parse().unwrap(),
        ended: "2026-01-02T03:09:05Z".parse().unwrap(),
        complete: true,
        synthetic: false,
        hashed: true,
        accelerator: "Testcard".into(),
        card: card.into(),
        tells_card: true,
        host: host.into(),
        driver: "550".into(),
        kernels: "abc".into(),
        cases: vec![case],
        absent: 0,
    }
}

fn gflops(value: f64) -> Case {
    Case {
        name: "matmul/f32/best/4096x4096x4096".into(),
        precision: Precision::F32,
        ranks: true,
        unit: Unit::Gflops,
        value,
        percent_of_datasheet: None,
        power: None,
        flags: Vec::new(),
        doubtful: false,
    }
}

fn metered(value: f64, watts: f64) -> Case {
    Case {
        power: Some(CasePower {
            covers: Coverage::GpuBoard,
            watts: Watts(watts),
            per_watt: Some(value / watts),
            doubtful: false,
        }),
        ..gflops(value)
    }
}

fn fleet(entries: Vec<Entry>) -> Fleet {
    let merged = Merged {
        entries,
        left_out: Vec::new(),
    };
    Fleet::of(&merged, false).expect("there are reports")
}

/// Four cards at 100, 101, 99 and 80, the last the only one of its host; the first was
/// measured three times, at 100, 100 and 300.
fn four_cards() -> Vec<Entry> {
    vec![
        entry("a", "n1", gflops(100.0)),
        entry("a", "n1", gflops(100.0)),
        entry("a", "n1", gflops(300.0)),
        entry("b", "n1", gflops(101.0)),
        entry("c", "n2", gflops(99.0)),
        entry("d", "n3", gflops(80.0)),
    ]
}

/// Cards: 80, 99, 100, 101. Median 99.5; 25th percentile at 0.75: 80 + 0.75 · 19 =
/// 94.25; range 21 / 99.5 = 21.1 %.
#[test]
fn a_card_counts_once_however_often_it_was_measured() {
    let fleet = fleet(four_cards());
    assert_eq!((fleet.cards, fleet.reports.merged), (4, 6));
    let [testcard] = &fleet.accelerators[..] else {
        panic!("one accelerator");
    };
    assert_eq!((testcard.cards, testcard.reports), (4, 6));
    let case = &testcard.cases[0];
    assert_eq!((case.cards, case.figures), (4, 6));
    assert_eq!((case.spread.lowest, case.spread.highest), (80.0, 101.0));
    assert_eq!((case.spread.median, case.spread.p25), (99.5, 94.25));
    let range = case.range_percent.unwrap();
    assert!((range - 21.105_527_638).abs() < 1e-6, "{range}");
}

/// Over 99.5: 1.005025, 1.015075, 0.994975 and 0.804020, of which the median is 1. The
/// logarithms of the first three have the mean 0.004979 and the standard deviation
/// 0.010000; t of 2 degrees of freedom at 1 − 0.05/4 is 6.2053, so that the limit is
/// 0.004979 − 6.2053·0.010000·√(4/3) = −0.066674, 6.45 % below the median card.
#[test]
fn a_card_far_from_its_sisters_is_named_with_its_host() {
    let fleet = fleet(four_cards());
    let [outlier] = &fleet.outliers[..] else {
        panic!("{:?}", fleet.outliers);
    };
    assert_eq!((outlier.card.as_str(), outlier.compared), ("d", 1));
    assert_eq!(outlier.hosts, ["n3"]);
    assert!((outlier.limit_percent + 6.45).abs() < 0.01, "{outlier:?}");
    let case = &outlier.cases[0];
    assert_eq!((case.value, case.median), (80.0, 99.5));
    assert!((case.percent + 19.597_989_95).abs() < 1e-6, "{case:?}");
}

/// n1 has cards at 100 and 101, of 99.5: 100.50 and 101.51 %, median 101.005.
#[test]
fn hosts_come_from_the_slowest() {
    let fleet = fleet(four_cards());
    let hosts = fleet.hosts.iter().map(|host| {
        let standing = host.standing.as_ref().expect("there are sisters");
        (
            host.name.as_str(),
            host.cards,
            (100.0 * standing.median_percent).round(),
        )
    });
    let hosts: Vec<_> = hosts.collect();
    assert_eq!(
        hosts,
        [("n3", 1, 8040.0), ("n2", 1, 9950.0), ("n1", 2, 10101.0)]
    );
    assert_eq!(
        fleet.hosts[0]
            .standing
            .as_ref()
            .unwrap()
            .slowest
            .percent
            .round(),
        80.0
    );
}

#[test]
fn a_card_without_sisters_has_no_standing() {
    let fleet = fleet(vec![entry("a", "n1", gflops(100.0))]);
    assert_eq!(fleet.hosts[0].standing, None);
    assert_eq!(fleet.drivers[0].standing, None);
    assert_eq!(fleet.accelerators[0].cases[0].range_percent, None);
    assert!(fleet.outliers.is_empty());
}

/// The same two cards under two drivers: 100 and 102, then 90 and 92. Medians of the
/// cards are 95 and 97, of these 96; under the newer driver 90 and 92 of 96 are 93.75
/// and 95.83 %, median 94.79.
#[test]
fn a_slower_driver_shows_on_the_same_cards() {
    let under = |driver: &str, card: &str, value| {
        let mut entry = entry(card, "n1", gflops(value));
        entry.driver = driver.into();
        entry
    };
    let fleet = fleet(vec![
        under("550", "a", 100.0),
        under("550", "b", 102.0),
        under("560", "a", 90.0),
        under("560", "b", 92.0),
    ]);
    let drivers = fleet.drivers.iter().map(|driver| {
        let standing = driver.standing.as_ref().expect("there are two");
        (
            driver.name.as_str(),
            driver.cards,
            (100.0 * standing.median_percent).round(),
        )
    });
    // 100 and 102 of 96 are 104.17 and 106.25 %.
    assert_eq!(
        drivers.collect::<Vec<_>>(),
        [("550", 2, 10521.0), ("560", 2, 9479.0)]
    );
}

#[test]
fn of_times_the_longest_is_the_slowest() {
    let seconds = |value| Case {
        unit: Unit::Seconds,
        ..gflops(value)
    };
    let fleet = fleet(vec![
        entry("a", "n1", seconds(1.0)),
        entry("b", "n2", seconds(1.0)),
        entry("c", "n2", seconds(1.0)),
        entry("d", "n3", seconds(2.0)),
    ]);
    assert_eq!(fleet.hosts[0].name, "n3");
    assert_eq!(fleet.outliers[0].cases[0].percent, -50.0);
    assert!((fleet.outliers[0].percent + 50.0).abs() < 1e-9);
}

/// From 100 down to 90 it is 10 %; nobody knows which of the three is slow.
#[test]
fn three_cards_differ_and_none_is_named() {
    let fleet = fleet(vec![
        entry("a", "n1", gflops(100.0)),
        entry("b", "n2", gflops(100.0)),
        entry("c", "n3", gflops(90.0)),
    ]);
    assert_eq!(fleet.outliers, []);
    let range = fleet.accelerators[0].cards_range_percent.unwrap();
    assert!((range - 10.0).abs() < 1e-9, "{range}");
}

#[test]
fn doubtful_figures_are_counted_and_left_out() {
    let doubtful = Case {
        flags: vec![Flag::NotConverged],
        doubtful: true,
        ..metered(500.0, 100.0)
    };
    let mut aliased = metered(100.0, 1000.0);
    if let Some(power) = &mut aliased.power {
        power.doubtful = true;
    }
    let merged = Merged {
        entries: vec![entry("a", "n1", doubtful), entry("b", "n1", aliased)],
        left_out: Vec::new(),
    };
    let without = Fleet::of(&merged, false).unwrap();
    assert_eq!(without.figures.counted, 1);
    assert_eq!(
        (without.figures.doubtful, without.figures.doubtful_power),
        (1, 1)
    );
    assert_eq!(without.accelerators[0].cases[0].spread.median, 100.0);
    assert_eq!(without.flags["not-converged"], 1);
    assert_eq!(
        (without.power.watts, without.power.cards_without),
        (None, 2)
    );
    let with = Fleet::of(&merged, true).unwrap();
    assert_eq!(with.figures.counted, 2);
    assert_eq!(with.accelerators[0].cases[0].spread.median, 300.0);
    assert_eq!(with.power.watts, Some(Watts(1100.0)));
}

/// 50 and 60 GFLOP/s per W, median 55, against 40: the second place.
#[test]
fn the_most_efficient_accelerator_comes_first() {
    let other = |mut entry: Entry| {
        entry.accelerator = "Other".into();
        entry
    };
    let mut ceiling = metered(1e6, 1.0);
    ceiling.ranks = false;
    ceiling.name = "peak/f32/fma/device".into();
    let fleet = fleet(vec![
        other(entry("x", "n1", metered(400.0, 10.0))),
        entry("a", "n1", metered(500.0, 10.0)),
        entry("b", "n1", metered(600.0, 10.0)),
        entry("b", "n1", ceiling),
    ]);
    let ranking = fleet.efficiency.iter();
    let ranking = ranking.map(|r| (r.rank, r.accelerator.as_str(), r.per_watt, r.cards));
    assert_eq!(
        ranking.collect::<Vec<_>>(),
        [(1, "Testcard", 55.0, 2), (2, "Other", 40.0, 1)]
    );
}

/// Card a draws 300 W and, in another case, 310 and 330, median 320; card b 400 W. Two
/// software adapters of one host share 90 W; a command's 5 W may be anything.
#[test]
fn powers_are_added_up_where_they_are_drawn() {
    let of = |covers, watts| {
        let mut case = metered(100.0, watts);
        if let Some(power) = &mut case.power {
            power.covers = covers;
        }
        case
    };
    let named = |name: &str, case: Case| Case {
        name: name.into(),
        ..case
    };
    let fleet = fleet(vec![
        entry("a", "n1", metered(100.0, 300.0)),
        entry("a", "n1", named("attention", metered(100.0, 310.0))),
        entry("a", "n1", named("attention", metered(100.0, 330.0))),
        entry("b", "n1", metered(100.0, 400.0)),
        entry("s", "n2", of(Coverage::CpuPackage, 90.0)),
        entry("t", "n2", of(Coverage::CpuPackage, 80.0)),
        entry("c", "n3", of(Coverage::Command, 5.0)),
        entry("d", "n3", gflops(100.0)),
    ]);
    assert_eq!(
        fleet.power,
        TotalPower {
            watts: Some(Watts(320.0 + 400.0 + 90.0)),
            cards: 2,
            cpu_hosts: 1,
            cards_without: 1,
            cards_of_commands: 1,
        }
    );
}

#[test]
fn nothing_is_no_fleet() {
    assert_eq!(Fleet::of(&Merged::default(), true), None);
}
