//! Power beside time: windows of dispatches that are timed and metered at once.

use std::thread;
use std::time::{Duration, Instant};

use super::Phase;
use super::power::States;
use super::tier::Tier;
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::device::{GpuError, Series};
use crate::power::case::{self, CaseEnergy};
use crate::power::energy::{self, Void, Window};
use crate::power::protocol::{self, Effort, Plan};
use crate::power::sampler::{Sampler, Trace};
use crate::power::{self, sensor};
use crate::power::{DeviceState, PowerError, PowerSetup, PowerSource, PowerSpec, Sensor};
use crate::units::Seconds;

/// Waiting is announced this often.
const ANNOUNCED: Duration = Duration::from_secs(1);
/// An update of the sensor is waited for over this many of its periods.
const PATIENCE: f64 = 3.0;

/// A power source that is being read.
pub struct Meter {
    sampler: Sampler,
    setup: PowerSetup,
    sensor: Sensor,
}

/// Windows of one case, and what was read around them.
pub struct Metered {
    /// The dispatches.
    pub series: Vec<Series>,
    /// The same on the sampler's clock.
    pub windows: Vec<Window>,
    /// What was read.
    pub trace: Trace,
    /// Whether the sensor may have seen the same part of every dispatch.
    pub aliased: bool,
}

impl Meter {
    /// Begins to read the source that is wanted for `adapter`, if there is one, and
    /// tells which it is or why there is none. What its sensor does is found out
    /// first, unless it is `known`.
    pub fn open(
        wanted: &PowerSpec,
        adapter: Option<&AdapterDescription>,
        known: Option<Sensor>,
    ) -> (Option<Self>, PowerSetup) {
        let opened = power::open(wanted, adapter);
        match opened.and_then(|source| Ok(Self::start(wanted, source, known)?)) {
            Ok(meter) => {
                let setup = meter.setup.clone();
                (Some(meter), setup)
            }
            Err(why) => {
                let setup = PowerSetup {
                    wanted: wanted.to_string(),
                    source: None,
                    sensor: None,
                    reason: Some(why.to_string()),
                };
                (None, setup)
            }
        }
    }

    fn start(
        wanted: &PowerSpec,
        mut source: Box<dyn PowerSource>,
        known: Option<Sensor>,
    ) -> Result<Self, PowerError> {
        let sensor = match known {
            Some(sensor) => sensor,
            None => sensor::detect(source.as_mut())?,
        };
        let setup = PowerSetup {
            wanted: wanted.to_string(),
            source: Some(source.identity().clone()),
            sensor: Some(sensor.clone()),
            reason: None,
        };
        Ok(Self {
            sampler: Sampler::start(source, sensor.clone()),
            setup,
            sensor,
        })
    }

    /// Has `run` keep the device busy in the windows that the tier and the sensor
    /// ask for, with an idle device before, between and after. A dispatch takes
    /// about `cycle`.
    ///
    /// # Errors
    /// Whatever `run` reports.
    pub fn meter(
        &self,
        tier: Tier,
        cycle: Seconds,
        on_phase: &mut dyn FnMut(Phase),
        mut run: impl FnMut(Seconds, &mut dyn FnMut(Phase)) -> Result<Series, GpuError>,
    ) -> Result<Metered, GpuError> {
        let plan = Plan::new(effort(tier), &self.sensor, Some(cycle));
        let mut idle_since = self.begin(&plan, on_phase);
        let mut series = Vec::new();
        let mut windows: Vec<Window> = Vec::new();
        for &delay in &plan.delays {
            self.align(delay);
            let stretch = run(plan.length, on_phase)?;
            windows.push(Window {
                begin_s: self.sampler.time_of(stretch.begin),
                end_s: self.sampler.time_of(stretch.end),
                idle_before_s: Seconds((stretch.begin - idle_since).as_secs_f64()),
                idle_after_s: plan.idle_after,
            });
            idle_since = stretch.end;
            series.push(stretch);
            rest(plan.idle_after, on_phase);
        }
        Ok(Metered {
            series,
            windows,
            trace: self.sampler.take(),
            aliased: plan.is_aliased(&self.sensor, cycle),
        })
    }

    /// Leaves the device idle before a window that the caller fills, and tells since
    /// when it is.
    pub fn before_window(&self) -> Instant {
        self.begin(&self.plan_of_one(), &mut |_| {})
    }

    /// What was read of one window that the caller has filled from `begin` to `end`
    /// with dispatches of about `cycle`, once the device has been idle again.
    pub fn after_window(
        &self,
        idle_since: Instant,
        [begin, end]: [Instant; 2],
        cycle: Seconds,
    ) -> Metered {
        let plan = self.plan_of_one();
        rest(plan.idle_after, &mut |_| {});
        Metered {
            series: Vec::new(),
            windows: vec![Window {
                begin_s: self.sampler.time_of(begin),
                end_s: self.sampler.time_of(end),
                idle_before_s: Seconds((begin - idle_since).as_secs_f64()),
                idle_after_s: plan.idle_after,
            }],
            trace: self.sampler.take(),
            aliased: plan.is_aliased(&self.sensor, cycle),
        }
    }

    fn plan_of_one(&self) -> Plan {
        Plan::new(protocol::QUICK, &self.sensor, None)
    }

    /// Forgets what was read before and leaves the device idle.
    fn begin(&self, plan: &Plan, on_phase: &mut dyn FnMut(Phase)) -> Instant {
        self.sampler.take();
        let idle_since = Instant::now();
        rest(plan.idle_before, on_phase);
        idle_since
    }

    /// Waits until `delay` after an update of the sensor.
    fn align(&self, delay: Seconds) {
        let patience = Duration::from_secs_f64(PATIENCE * self.sensor.period().0);
        let update = self.sampler.wait_for_update(patience);
        let begin = update.unwrap_or_else(Instant::now) + Duration::from_secs_f64(delay.0);
        thread::sleep(begin.saturating_duration_since(Instant::now()));
    }
}

impl Metered {
    /// Energy of the windows.
    ///
    /// # Errors
    /// Why there is none.
    pub fn energy(&self) -> Result<CaseEnergy, Void> {
        let limit = self.states().during.enforced_limit_w;
        let of_window = |window: &Window| {
            energy::of_window(&self.trace.readings, window, &self.trace.sensor, limit)
        };
        case::combine(self.windows.iter().map(of_window).collect(), self.aliased)
    }

    /// States of the device before the first window, in the middle of the last, and
    /// after it.
    pub fn states(&self) -> States {
        let at = |moment: Seconds| -> DeviceState {
            let states = &self.trace.states;
            let next = states.partition_point(|state| state.at_s <= moment);
            let state = states.get(next.saturating_sub(1));
            state.map(|at| at.state.clone()).unwrap_or_default()
        };
        let middle = |window: &Window| Seconds((window.begin_s.0 + window.end_s.0) / 2.0);
        States {
            before: at(self.windows.first().map_or(Seconds(0.0), |w| w.begin_s)),
            during: at(self.windows.last().map_or(Seconds(0.0), middle)),
            after: at(Seconds(f64::INFINITY)),
        }
    }
}

/// Windows of a tier.
fn effort(tier: Tier) -> Effort {
    match tier {
        Tier::Quick => protocol::QUICK,
        Tier::Standard => protocol::STANDARD,
        Tier::Reference => protocol::REFERENCE,
    }
}

/// Leaves the device idle.
fn rest(time: Seconds, on_phase: &mut dyn FnMut(Phase)) {
    let end = Instant::now() + Duration::from_secs_f64(time.0);
    loop {
        on_phase(Phase::Resting);
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(ANNOUNCED));
    }
}
