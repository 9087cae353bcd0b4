//! The state of a GPU while its dispatches were timed: all of what was read, not one
//! moment. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::measurement::Flag;
use super::power::Power;
use crate::power::nvml::Limits;
use crate::power::sampler::StateAt;
use crate::power::state::{Slowed, Throttle, ThrottleReason};
use crate::power::{DeviceState, Reading};
use crate::stats;
use crate::units::{Seconds, Watts};

/// A clock below this share of the highest counts as throttled (as in NVBench).
const THROTTLED_CLOCK: f64 = 0.75;
/// A device that works for a larger share of the time than this is not idle.
const MOST_IDLE_PERCENT: u32 = 50;
/// A device that draws more than this many times what it draws idle is not idle.
const MOST_IDLE_POWER: f64 = 2.0;
/// Clocks and what a driver says of the load follow it within this time: what is read
/// earlier in a stretch says nothing of them.
const RISE: Seconds = Seconds(0.5);
/// A counter may run ahead of the moments at which it was read by this much.
const LATE: Seconds = Seconds(1.0);

/// The state of a GPU over all of its timed dispatches. Null is what its driver does not
/// tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// So many times it was read while timed dispatches ran.
    pub readings: usize,
    /// Clock of the processors.
    pub sm_clock_mhz: Option<Course>,
    /// Highest clock that the processors can be set to, in MHz.
    pub max_sm_clock_mhz: Option<u32>,
    /// Clock of the memory.
    pub memory_clock_mhz: Option<Course>,
    /// The highest temperature of the chip, in °C.
    pub temperature_c: Option<f64>,
    /// Power limit in force, the lowest of all readings.
    pub enforced_limit_w: Option<Watts>,
    /// Power limit that the device comes with.
    pub default_limit_w: Option<Watts>,
    /// Every reason that any reading gave for lower clocks. Null also where the driver
    /// contradicts itself.
    pub throttle: Option<Throttle>,
    /// How the driver contradicts itself; null where it does not.
    pub contradiction: Option<String>,
    /// For how long the driver slowed the device down, from the first timed dispatch to
    /// the last. Null also where a counter ran backwards or ahead of time.
    pub slowed: Option<Slowed>,
}

/// The course of a quantity, in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Course {
    /// The lowest reading.
    pub min: u32,
    /// The median.
    pub median: u32,
    /// The highest reading.
    pub max: u32,
}

impl Course {
    fn of(values: impl Iterator<Item = u32>) -> Option<Self> {
        let values: Vec<u32> = values.collect();
        let median = stats::median(&values.iter().copied().map(f64::from).collect::<Vec<_>>())?;
        Some(Self {
            min: *values.iter().min()?,
            median: median.round() as u32,
            max: *values.iter().max()?,
        })
    }
}

/// What was read around timed dispatches, on one clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched<'a> {
    /// States of the device, in the order of time.
    pub states: &'a [StateAt],
    /// Readings of its power, in the order of time.
    pub readings: &'a [Reading],
    /// Its power when idle, where that is known.
    pub idle: Option<Watts>,
}

impl Conditions {
    /// What was read in `stretches` of time. `None` where nothing was.
    pub(super) fn of(watched: Watched, stretches: &[[Seconds; 2]]) -> Option<Self> {
        let told = |at: &&StateAt| at.state != DeviceState::default();
        let within = |[begin, end]: [Seconds; 2]| {
            let states = watched.states.iter().filter(told);
            states.filter(move |at| (begin..=end).contains(&at.at_s))
        };
        let all: Vec<&StateAt> = stretches.iter().flat_map(|s| within(*s)).collect();
        let risen = |[begin, end]: [Seconds; 2]| [Seconds(begin.0 + RISE.0), end];
        let mut settled: Vec<&StateAt> = stretches.iter().flat_map(|s| within(risen(*s))).collect();
        if settled.is_empty() {
            settled.clone_from(&all);
        }
        let states = || all.iter().map(|at| &at.state);
        let clocks = |of: fn(&DeviceState) -> Option<u32>| {
            Course::of(settled.iter().filter_map(|at| of(&at.state)))
        };
        let contradiction = settled.iter().find_map(|at| watched.contradiction(at));
        let throttles = states().filter_map(|state| state.throttle.as_ref());
        let bits = throttles.map(|throttle| throttle.bits).reduce(|a, b| a | b);
        let span = [stretches.first()?[0], stretches.last()?[1]];
        Some(Self {
            readings: (!all.is_empty()).then_some(all.len())?,
            sm_clock_mhz: clocks(|state| state.sm_clock_mhz),
            max_sm_clock_mhz: states().find_map(|state| state.max_sm_clock_mhz),
            memory_clock_mhz: clocks(|state| state.memory_clock_mhz),
            temperature_c: states().filter_map(|s| s.temperature_c).reduce(f64::max),
            enforced_limit_w: states()
                .filter_map(|s| s.enforced_limit_w)
                .reduce(|a, b| if b < a { b } else { a }),
            default_limit_w: states().find_map(|state| state.default_limit_w),
            throttle: bits
                .filter(|_| contradiction.is_none())
                .map(Throttle::from_nvml),
            contradiction,
            slowed: watched.slowed(span),
        })
    }

    /// What an older version recorded of a case's power: one moment.
    pub(super) fn of_one_moment(power: &Power) -> Option<Self> {
        let at_s = Seconds(0.0);
        let state = StateAt {
            at_s,
            state: power.during.clone(),
        };
        let reading = Reading {
            at_s,
            power_w: Some(power.energy.mean_w),
            energy_j: None,
        };
        let watched = Watched {
            states: &[state],
            readings: &[reading],
            idle: power.energy.idle_w,
        };
        Self::of(watched, &[[at_s, at_s]])
    }

    /// Whether they are those of one moment only.
    pub fn are_of_one_moment(&self) -> bool {
        self.readings == 1
    }

    /// What to know of a figure that was measured under them.
    pub fn flags(&self) -> Vec<Flag> {
        let reasons = self.throttle.iter().flat_map(|throttle| &throttle.reasons);
        let is_slow = self.sm_clock_mhz.zip(self.max_sm_clock_mhz);
        let is_slow = is_slow
            .is_some_and(|(clock, most)| f64::from(clock.min) < THROTTLED_CLOCK * f64::from(most));
        let slowed = self.slowed.unwrap_or_default();
        let counts = |for_s: Option<Seconds>| for_s.is_some_and(|for_s| for_s.0 > 0.0);
        let faults = [slowed.thermal_s, slowed.board_limit_s];
        let limits = Limits {
            enforced_w: self.enforced_limit_w,
            default_w: self.default_limit_w,
        };
        let flags = [
            (
                is_slow
                    || reasons.clone().any(|reason| reason.is_a_fault())
                    || faults.into_iter().any(counts),
                Flag::Throttled,
            ),
            (
                reasons
                    .clone()
                    .any(|reason| *reason == ThrottleReason::SwPowerCap)
                    || counts(slowed.power_s),
                Flag::PowerCapped,
            ),
            (self.contradiction.is_some(), Flag::StateContradicts),
            (limits.are_lowered(), Flag::PowerLimited),
        ];
        let raised = flags.into_iter().filter(|(raised, _)| *raised);
        raised.map(|(_, flag)| flag).collect()
    }
}

impl Watched<'_> {
    /// What is wrong with a state that says idle of a device that is not.
    fn contradiction(&self, at: &StateAt) -> Option<String> {
        let throttle = at.state.throttle.as_ref()?;
        if !throttle.reasons.contains(&ThrottleReason::GpuIdle) {
            return None;
        }
        let next = self
            .readings
            .partition_point(|reading| reading.at_s <= at.at_s);
        let drawn = self.readings[..next].iter().rev().find_map(|r| r.power_w);
        let drawn = drawn.zip(self.idle);
        let drawn = drawn.filter(|(drawn, idle)| drawn.0 > MOST_IDLE_POWER * idle.0);
        let busy = at.state.utilization_percent;
        let busy = busy.filter(|percent| *percent > MOST_IDLE_PERCENT);
        let at_power = drawn.map(|(drawn, idle)| {
            format!(
                "{:.0} W, {:.1} times that of the idle device",
                drawn.0,
                drawn.0 / idle.0
            )
        });
        let at_load = busy.map(|percent| format!("{percent} % utilisation"));
        let shown: Vec<String> = at_load.into_iter().chain(at_power).collect();
        (!shown.is_empty()).then(|| format!("the driver says gpu-idle at {}", shown.join(" and ")))
    }

    /// By how much its counters moved, from the last reading before `span` to the first
    /// one after it.
    fn slowed(&self, [begin, end]: [Seconds; 2]) -> Option<Slowed> {
        let first = self.states.partition_point(|at| at.at_s <= begin);
        let last = self.states.partition_point(|at| at.at_s < end);
        let around = first.saturating_sub(1)..self.states.len().min(last + 1);
        let states = self.states.get(around)?;
        let moved = |counter: fn(&Slowed) -> Option<Seconds>| {
            let read = states.iter().filter_map(|at| {
                let count = counter(at.state.slowed.as_ref()?)?;
                Some((at.at_s.0, count.0))
            });
            let read: Vec<(f64, f64)> = read.collect();
            let is_sound = read.windows(2).all(|pair| {
                let (time, count) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
                (0.0..=time + LATE.0).contains(&count)
            });
            let ends = read.first().zip(read.last()).filter(|_| read.len() > 1);
            ends.filter(|_| is_sound)
                .map(|(first, last)| Seconds(last.1 - first.1))
        };
        let slowed = Slowed {
            power_s: moved(|slowed| slowed.power_s),
            thermal_s: moved(|slowed| slowed.thermal_s),
            board_limit_s: moved(|slowed| slowed.board_limit_s),
        };
        (slowed != Slowed::default()).then_some(slowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state at some second, at this clock of at most 2000 MHz, with these of NVML's
    /// bits, at full load.
    fn at(at_s: f64, mhz: u32, bits: u64) -> StateAt {
        StateAt {
            at_s: Seconds(at_s),
            state: DeviceState {
                sm_clock_mhz: Some(mhz),
                max_sm_clock_mhz: Some(2000),
                throttle: Some(Throttle::from_nvml(bits)),
                utilization_percent: Some(100),
                ..DeviceState::default()
            },
        }
    }

    fn of(states: &[StateAt], stretches: &[[f64; 2]]) -> Conditions {
        let stretches: Vec<[Seconds; 2]> = stretches.iter().map(|s| s.map(Seconds)).collect();
        let watched = Watched {
            states,
            readings: &[],
            idle: None,
        };
        Conditions::of(watched, &stretches).expect("something was read")
    }

    const TWO: [[f64; 2]; 2] = [[2.0, 7.0], [9.0, 14.0]];

    /// Idle at 400 MHz before, between and after two windows.
    fn two_windows(first: u64, second: u64) -> Vec<StateAt> {
        let state = |i: u32| {
            let t = f64::from(i) / 2.0;
            match TWO
                .iter()
                .position(|[begin, end]| (*begin..=*end).contains(&t))
            {
                Some(0) => at(t, 1900, first),
                Some(_) => at(t, 1800, second),
                None => at(t, 400, 0x1),
            }
        };
        (0..32).map(state).collect()
    }

    #[test]
    fn what_slows_any_window_down_counts() {
        let calm = of(&two_windows(0, 0), &TWO);
        assert_eq!(calm.flags(), []);
        // Eleven readings in each window, of which ten are later than its rise.
        assert_eq!(calm.readings, 22);
        let course = Course {
            min: 1800,
            median: 1850,
            max: 1900,
        };
        assert_eq!(calm.sm_clock_mhz, Some(course));
        assert_eq!(of(&two_windows(0x40, 0), &TWO).flags(), [Flag::Throttled]);
        assert_eq!(of(&two_windows(0, 0x20), &TWO).flags(), [Flag::Throttled]);
        let both = of(&two_windows(0x4, 0x40), &TWO);
        assert_eq!(both.flags(), [Flag::Throttled, Flag::PowerCapped]);
        assert_eq!(both.throttle.expect("it is told").bits, 0x44);
    }

    /// 1499 of 2000 MHz, once.
    #[test]
    fn a_low_clock_in_any_reading_counts() {
        let mut states = two_windows(0, 0);
        states[8].state.sm_clock_mhz = Some(1500);
        assert_eq!(of(&states, &TWO).flags(), []);
        states[8].state.sm_clock_mhz = Some(1499);
        assert_eq!(of(&states, &TWO).flags(), [Flag::Throttled]);
        // On its way up at the begin of a window.
        states[8].state.sm_clock_mhz = Some(1900);
        states[4].state.sm_clock_mhz = Some(400);
        assert_eq!(of(&states, &TWO).flags(), []);
    }

    #[test]
    fn a_device_that_is_called_idle_at_work_is_not_judged() {
        let idle = of(&two_windows(0x41, 0x1), &TWO);
        assert_eq!(
            (&idle.throttle, idle.flags()),
            (&None, vec![Flag::StateContradicts])
        );
        let why = idle.contradiction.expect("it says idle");
        assert_eq!(why, "the driver says gpu-idle at 100 % utilisation");
        // Half of the time it may be; then only the power tells.
        let mut states = two_windows(0x1, 0x1);
        for state in &mut states {
            state.state.utilization_percent = Some(50);
        }
        assert_eq!(of(&states, &TWO).flags(), []);
        let drawing = |watts| {
            let reading = Reading {
                at_s: Seconds(0.0),
                power_w: Some(Watts(watts)),
                energy_j: None,
            };
            let watched = Watched {
                states: &states,
                readings: &[reading],
                idle: Some(Watts(130.0)),
            };
            let conditions = Conditions::of(watched, &[[Seconds(2.0), Seconds(7.0)]]);
            conditions.expect("something was read")
        };
        assert_eq!(drawing(260.0).flags(), []);
        let why = drawing(520.0).contradiction.expect("it says idle");
        assert_eq!(
            why,
            "the driver says gpu-idle at 520 W, 4.0 times that of the idle device"
        );
    }

    fn counting(thermal: impl Fn(f64) -> f64) -> Vec<StateAt> {
        let mut states = two_windows(0, 0);
        for state in &mut states {
            state.state.slowed = Some(Slowed {
                thermal_s: Some(Seconds(thermal(state.at_s.0))),
                ..Slowed::default()
            });
        }
        states
    }

    /// Half a second from 4 s on, between two readings. From the last reading before the
    /// first window to the first one after the last, that is all.
    #[test]
    fn counters_tell_what_no_reading_saw() {
        let thermal = |states: &[StateAt]| {
            let slowed = of(states, &TWO).slowed?;
            assert_eq!(slowed.power_s, None, "it is not counted");
            slowed.thermal_s
        };
        let half = counting(|t| 70.0 + (t - 4.0).clamp(0.0, 0.5));
        assert_eq!(thermal(&half), Some(Seconds(0.5)));
        assert_eq!(of(&half, &TWO).flags(), [Flag::Throttled]);
        let earlier = counting(|t| 70.0 + t.min(1.5));
        assert_eq!(thermal(&earlier), Some(Seconds(0.0)));
        assert_eq!(of(&earlier, &TWO).flags(), []);
    }

    #[test]
    fn counters_that_run_backwards_or_ahead_tell_nothing() {
        for broken in [
            counting(|t| if t < 5.0 { 70.0 } else { 1.0 }),
            counting(|t| if t < 5.0 { 70.0 } else { 18.4e9 }),
        ] {
            let conditions = of(&broken, &TWO);
            assert_eq!((conditions.slowed, conditions.flags()), (None, vec![]));
        }
    }

    #[test]
    fn a_device_that_tells_nothing_has_no_conditions() {
        let silent = StateAt {
            at_s: Seconds(3.0),
            state: DeviceState::default(),
        };
        let watched = Watched {
            states: &[silent],
            readings: &[],
            idle: None,
        };
        assert_eq!(
            Conditions::of(watched, &[[Seconds(2.0), Seconds(7.0)]]),
            None
        );
        assert_eq!(Conditions::of(watched, &[]), None);
    }
}
