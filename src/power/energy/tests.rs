use proptest::prelude::*;

use super::*;
use crate::power::case::{EnergyFlag, combine};
use crate::power::sensor::{Averaging, Cadence};

fn sensor() -> Sensor {
    let cadence = Cadence {
        period_s: Seconds(0.1),
        changes: 20,
        at_most: false,
    };
    Sensor {
        power: Some(cadence),
        energy: Some(cadence),
        averaging: Averaging::INSTANT,
    }
}

const WINDOW: Window = Window {
    begin_s: Seconds(10.0),
    end_s: Seconds(15.0),
    idle_before_s: Seconds(1.3),
    idle_after_s: Seconds(1.3),
};
const LIMIT: Option<Watts> = Some(Watts(400.0));

/// A reading every 50 ms of a sensor that updates every 100 ms: the power of
/// `watts` at the update, and the energy until then of a device that draws it.
fn readings(watts: impl Fn(f64) -> f64) -> Vec<Reading> {
    let mut energy = 1000.0;
    let mut shown = None;
    let mut reading = |i: i32| {
        let t = f64::from(i) * 0.05;
        let update = (Watts(watts(t)), Joules(energy));
        energy += watts(t) * 0.05;
        let (power, counted) = match shown {
            Some(before) if i % 2 == 1 => before,
            _ => update,
        };
        shown = Some((power, counted));
        Reading {
            at_s: Seconds(t),
            power_w: Some(power),
            energy_j: Some(counted),
        }
    };
    (0..400).map(&mut reading).collect()
}

/// 60 W idle and `load` W from 10 to 15 s.
fn square(load: f64) -> Vec<Reading> {
    readings(move |t| {
        if (10.0..15.0).contains(&t) {
            load
        } else {
            60.0
        }
    })
}

fn of(readings: &[Reading]) -> WindowEnergy {
    of_window(readings, &WINDOW, &sensor(), LIMIT)
}

fn close(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * b.abs()
}

#[test]
fn a_steady_load_has_its_energy_by_both_ways() {
    let found = of(&square(300.0));
    // 300 W for 5 s; the edges are known to a read of 50 ms.
    let by = |outcome: &Outcome| outcome.energy().expect("a figure").0;
    assert!(close(by(&found.counter), 1500.0, 0.005), "{found:?}");
    assert!(close(by(&found.integral), 1500.0, 0.01), "{found:?}");
    assert_eq!(found.method, Some(Method::Counter));
    assert!(found.disagreement.expect("both ways") < 0.01);
    assert_eq!(found.steady_w, Some(Watts(300.0)));
    assert!(close(found.idle().expect("idle").0, 60.0, 0.01));
    // 1500 J less 60 W for 5 s.
    assert!(close(found.net().expect("idle").0, 1200.0, 0.01));
    assert!(found.uncertainty_j.expect("a figure").0 < 10.0);
}

#[test]
fn a_counter_that_runs_backwards_is_void_and_power_is_integrated() {
    let mut readings = square(300.0);
    for reading in &mut readings[250..] {
        reading.energy_j = reading.energy_j.map(|j| Joules(j.0 - 3000.0));
    }
    let found = of(&readings);
    assert!(matches!(
        found.counter.void(),
        Some(Void::CounterBackwards { .. })
    ));
    assert_eq!(found.method, Some(Method::Integral));
    let case = combine(vec![found], false).expect("the integral is good");
    assert_eq!(case.flags, [EnergyFlag::NoCounter]);
    assert!(close(case.energy_j.0, 1500.0, 0.01));
}

#[test]
fn a_counter_that_stands_still_is_void() {
    let mut readings = square(300.0);
    let stuck = readings[260].energy_j;
    for reading in &mut readings[260..] {
        reading.energy_j = stuck;
    }
    let found = of(&readings);
    assert!(matches!(found.counter.void(), Some(Void::CounterStuck { for_s }) if for_s.0 >= 1.0));
    assert_eq!(found.method, Some(Method::Integral));
}

#[test]
fn powers_that_cannot_be_are_void_and_leave_the_counter() {
    type Case = (f64, fn(&Void) -> bool);
    let cases: [Case; 3] = [
        (0.0, |void| matches!(void, Void::ZeroPower { .. })),
        (-5.0, |void| matches!(void, Void::ZeroPower { .. })),
        (801.0, |void| matches!(void, Void::AbsurdPower { .. })),
    ];
    for (watts, expected) in cases {
        let mut readings = square(300.0);
        for reading in &mut readings[220..230] {
            reading.power_w = Some(Watts(watts));
        }
        let found = of(&readings);
        assert!(found.integral.void().is_some_and(expected), "{watts}");
        assert_eq!(found.steady_w, None, "{watts}");
        assert!(close(found.energy_j.expect("the counter").0, 1500.0, 0.005));
        // Without a counter nothing is left, and nothing is made up.
        for reading in &mut readings {
            reading.energy_j = None;
        }
        let found = of(&readings);
        assert_eq!((found.energy_j, found.method), (None, None), "{watts}");
        assert!(found.why_not().is_some_and(expected), "{watts}");
        assert_eq!(
            combine(vec![found], false).err().as_ref().map(expected),
            Some(true)
        );
    }
}

#[test]
fn a_counter_that_counts_too_much_is_void() {
    let mut readings = square(300.0);
    for reading in &mut readings {
        reading.energy_j = reading.energy_j.map(|j| Joules(j.0 * 10.0));
    }
    assert!(matches!(
        of(&readings).counter.void(),
        Some(Void::AbsurdPower { .. })
    ));
}

#[test]
fn readings_that_stop_in_between_are_void() {
    let mut readings = square(300.0);
    readings.retain(|r| !(11.0..12.0).contains(&r.at_s.0));
    let found = of(&readings);
    assert!(matches!(found.integral.void(), Some(Void::Gap { .. })));
    readings.retain(|r| r.at_s.0 < 12.5);
    let found = of(&readings);
    assert_eq!(found.energy_j, None);
    assert_eq!(of(&[]).why_not(), Some(&Void::NotOffered));
}

#[test]
fn a_window_without_idle_edges_has_no_energy() {
    let window = Window {
        idle_after_s: Seconds(0.0),
        ..WINDOW
    };
    let found = of_window(&square(300.0), &window, &sensor(), LIMIT);
    assert_eq!(found.why_not(), Some(&Void::IdleUnknown));
}

#[test]
fn ways_that_disagree_are_flagged() {
    let mut readings = square(300.0);
    for reading in &mut readings {
        reading.energy_j = reading.energy_j.map(|j| Joules(j.0 * 1.1));
    }
    let case = combine(vec![of(&readings)], true).expect("both ways work");
    assert_eq!(
        case.flags,
        [
            EnergyFlag::MethodsDisagree,
            EnergyFlag::Aliased,
            EnergyFlag::Uneven
        ]
    );
}

/// Updates of an H100's POWER_INSTANT during dispatches of 0.8 ms in batches of 24.2 ms,
/// read off the chart of its trace: every other one shows another part of the work.
const ALTERNATING: [f64; 47] = [
    577.0, 509.0, 577.0, 532.0, 577.0, 555.0, 577.0, 573.0, 577.0, 577.0, 573.0, 577.0, 559.0,
    582.0, 527.0, 577.0, 523.0, 577.0, 505.0, 582.0, 527.0, 582.0, 564.0, 577.0, 582.0, 577.0,
    582.0, 573.0, 582.0, 564.0, 582.0, 545.0, 582.0, 532.0, 582.0, 509.0, 582.0, 509.0, 582.0,
    514.0, 582.0, 509.0, 582.0, 514.0, 582.0, 523.0, 582.0,
];
/// The same during attention.
const CALM: [f64; 47] = [
    454.0, 450.0, 439.0, 454.0, 450.0, 443.0, 457.0, 454.0, 436.0, 454.0, 450.0, 454.0, 454.0,
    446.0, 457.0, 454.0, 443.0, 454.0, 454.0, 439.0, 457.0, 454.0, 450.0, 454.0, 450.0, 454.0,
    454.0, 446.0, 457.0, 446.0, 443.0, 454.0, 454.0, 439.0, 457.0, 446.0, 457.0, 454.0, 446.0,
    454.0, 454.0, 443.0, 454.0, 454.0, 439.0, 454.0, 457.0,
];

#[test]
fn readings_that_alternate_are_flagged() {
    let of_updates = |updates: [f64; 47]| {
        let watts = move |t: f64| match (10.0..15.0).contains(&t) {
            true => updates[((t - 10.0) / 0.1).round() as usize % updates.len()],
            false => 130.0,
        };
        let window = of_window(&readings(watts), &WINDOW, &sensor(), Some(Watts(700.0)));
        combine(vec![window], false).expect("a figure")
    };
    let alternating = of_updates(ALTERNATING);
    assert_eq!(alternating.flags, [EnergyFlag::Aliased, EnergyFlag::Uneven]);
    // By hand, from 0.8 s on: 52 W, the median difference, of 549 W.
    let alternation = alternating.windows[0].alternation.expect("many updates");
    assert!((0.09..0.10).contains(&alternation), "{alternation}");
    assert_eq!(of_updates(CALM).flags, []);
    // As much to and fro, in steps of a second: no alternation.
    let slow: [f64; 47] = std::array::from_fn(|i| if i / 10 % 2 == 0 { 505.0 } else { 577.0 });
    assert!(!of_updates(slow).flags.contains(&EnergyFlag::Aliased));
}

#[test]
fn windows_that_scatter_widen_the_interval() {
    let windows = [280.0, 300.0, 320.0].map(|watts| of(&square(watts)));
    let case = combine(windows.to_vec(), false).expect("three windows");
    // 20/√3 W of 300 W, times 4.303/1.960 for three windows.
    let scatter = 20.0 / 3f64.sqrt() / 300.0 * 4.303 / 1.960;
    assert!(close(case.uncertainty, scatter, 0.02));
    assert!(close(case.mean_w.0, 300.0, 0.005));
    let [low, high] = case.mean_ci95_w;
    assert!(close(
        high - low,
        4.0 * case.uncertainty * case.mean_w.0,
        1e-9
    ));
}

#[test]
fn a_stretch_that_is_only_watched_has_mean_power() {
    let watched = of_stretch(&readings(|_| 120.0), &sensor(), LIMIT);
    assert!(close(watched.mean_w.expect("both ways").0, 120.0, 1e-6));
    // The readings span 399 intervals of 50 ms.
    assert!(close(watched.duration_s.0, 19.95, 1e-9));
    let by_power = watched.integral.energy().expect("power").0;
    assert!(close(by_power, 120.0 * 19.95, 1e-6));
    assert_eq!(watched.range_w, Some([Watts(120.0), Watts(120.0)]));
    let nothing = of_stretch(&[], &sensor(), LIMIT);
    assert_eq!((nothing.mean_w, nothing.range_w), (None, None));
    assert_eq!(nothing.counter, Outcome::Void(Void::NotOffered));
    let one = of_stretch(&readings(|_| 120.0)[..1], &sensor(), LIMIT);
    assert_eq!((one.mean_w, one.counter.void().is_some()), (None, true));
    let off = of_stretch(&readings(|_| 0.0), &sensor(), LIMIT);
    assert_eq!((off.mean_w, off.range_w), (None, None));
}

proptest! {
    /// The same power all the time is exact, whatever the window.
    #[test]
    fn constant_power_is_exact(watts in 1.0f64..799.0, begin in 2.0f64..8.0, length in 2.0f64..9.0) {
        let window = Window {
            begin_s: Seconds(begin),
            end_s: Seconds(begin + length),
            ..WINDOW
        };
        let found = of_window(&readings(|_| watts), &window, &sensor(), LIMIT);
        for outcome in [&found.counter, &found.integral] {
            let energy = outcome.energy().expect("a figure").0;
            prop_assert!(close(energy, watts * length, 1e-6), "{energy}");
        }
        prop_assert!(found.net().expect("idle").0.abs() < 1e-6 * watts * length);
    }

    /// Energy is in proportion to power.
    #[test]
    fn energy_scales_with_power(load in 61.0f64..300.0, factor in 0.1f64..2.0) {
        let one = of(&square(load));
        let mut scaled = square(load);
        for reading in &mut scaled {
            reading.power_w = reading.power_w.map(|w| Watts(w.0 * factor));
            reading.energy_j = reading.energy_j.map(|j| Joules(j.0 * factor));
        }
        let scaled = of(&scaled);
        for (one, scaled) in [(&one.counter, &scaled.counter), (&one.integral, &scaled.integral)] {
            let (one, scaled) = (one.energy().expect("a figure"), scaled.energy().expect("a figure"));
            prop_assert!(close(scaled.0, one.0 * factor, 1e-9));
        }
    }

    /// The area under the readings adds up over adjacent stretches.
    #[test]
    fn integrals_add_up(middle in 10.5f64..14.5, load in 61.0f64..300.0) {
        let readings = square(load);
        let sensor = sensor();
        let look = Look::new(&readings, &WINDOW, &sensor, LIMIT);
        let parts = look.integrate(10.0, middle) + look.integrate(middle, 15.0);
        prop_assert!(close(parts, look.integrate(10.0, 15.0), 1e-9));
    }
}
