//! Power beside time: windows of dispatches that are timed and metered at once.

use std::thread;
use std::time::{Duration, Instant};

use super::Phase;
use super::conditions::{Conditions, Watched};
use super::power::States;
use super::tier::Tier;
use crate::gpu::adapter::AdapterDescription;
use crate::power::case::{self, CaseEnergy};
use crate::power::energy::{self, Void, Window};
use crate::power::protocol::{self, Effort, Plan};
use crate::power::sampler::{Sampler, Trace};
use crate::power::{self, response, sensor};
use crate::power::{
    DeviceState, PowerError, PowerSetup, PowerSource, PowerSpec, Sensor, SourceIdentity,
};
use crate::units::{Seconds, Watts};

/// Waiting is announced this often.
const ANNOUNCED: Duration = Duration::from_secs(1);
/// An update of the sensor is waited for over this many of its periods.
const PATIENCE: f64 = 3.0;

/// A power source that is being read.
pub struct Meter {
    sampler: Sampler,
}

/// The windows of one case while they are taken, one after the other. The device
/// is idle until [`begin`](Self::begin) has returned and from [`end`](Self::end) on.
pub struct Windows<'a> {
    sampler: &'a Sampler,
    sensor: Sensor,
    plan: Plan,
    cycles: [Seconds; 2],
    idle_since: Instant,
    taken: Vec<Window>,
}

/// Windows of one case, and what was read around them.
pub struct Metered {
    /// When the device worked, on the sampler's clock.
    pub windows: Vec<Window>,
    /// What was read.
    pub trace: Trace,
    /// Whether the sensor may have seen the same part of every dispatch.
    pub aliased: bool,
}

impl Meter {
    /// Begins to read the source that is wanted for `adapter`, if there is one, and
    /// tells which it is or why there is none. What its sensor does is found out
    /// first, unless it is `known`, and with it what the device draws, which is not to be
    /// open then.
    pub fn open(
        wanted: &PowerSpec,
        adapter: Option<&AdapterDescription>,
        known: Option<Sensor>,
    ) -> (Option<Self>, PowerSetup) {
        let setup = PowerSetup {
            wanted: wanted.to_string(),
            source: None,
            sensor: None,
            before_open_w: None,
            reason: None,
        };
        let opened = power::open(wanted, adapter);
        match opened.and_then(|source| Ok(Self::look_and_start(source, known)?)) {
            Ok((meter, source, before_open_w)) => {
                let setup = PowerSetup {
                    source: Some(source),
                    sensor: Some(meter.sensor()),
                    before_open_w,
                    ..setup
                };
                (Some(meter), setup)
            }
            Err(why) => {
                let reason = Some(why.to_string());
                (None, PowerSetup { reason, ..setup })
            }
        }
    }

    /// Begins to read `source`, and tells what that is.
    ///
    /// # Errors
    /// When the device is lost while its sensor is looked at.
    pub fn start(
        source: Box<dyn PowerSource>,
        known: Option<Sensor>,
    ) -> Result<(Self, SourceIdentity), PowerError> {
        let (meter, identity, _) = Self::look_and_start(source, known)?;
        Ok((meter, identity))
    }

    /// The same, and what the device drew while its sensor was looked at.
    fn look_and_start(
        mut source: Box<dyn PowerSource>,
        known: Option<Sensor>,
    ) -> Result<(Self, SourceIdentity, Option<Watts>), PowerError> {
        let identity = source.identity().clone();
        let (sensor, drawn) = match known {
            Some(sensor) => (sensor, None),
            None => {
                let readings = sensor::look(source.as_mut())?;
                let sensor = Sensor::detect(&readings, identity.averaging);
                let limit = source.state().enforced_limit_w;
                let drawn = energy::of_stretch(&readings, &sensor, limit).mean_w;
                (sensor, drawn)
            }
        };
        let sampler = Sampler::start(source, sensor);
        Ok((Self { sampler }, identity, drawn))
    }

    /// Whether what is read is the state of one adapter as well.
    pub fn is_of_one_adapter(&self) -> bool {
        self.sampler.covers().is_of_one_adapter()
    }

    /// What is known of the source's sensor by now.
    pub fn sensor(&self) -> Sensor {
        self.sampler.sensor()
    }

    /// The windows that the tier and the sensor ask for, of work that repeats every one
    /// of `cycles`: a dispatch and a batch of them. Forgets what was read before, and
    /// leaves the device idle.
    pub fn windows(
        &self,
        tier: Tier,
        cycles: [Seconds; 2],
        on_phase: &mut dyn FnMut(Phase),
    ) -> Windows<'_> {
        let sensor = self.sensor();
        let plan = Plan::new(effort(tier), &sensor, &cycles);
        self.sampler.take();
        let idle_since = Instant::now();
        rest(plan.idle_before, on_phase);
        Windows {
            sampler: &self.sampler,
            sensor,
            plan,
            cycles,
            idle_since,
            taken: Vec::new(),
        }
    }
}

impl Windows<'_> {
    /// How many there are to be.
    pub fn planned(&self) -> usize {
        self.plan.delays.len()
    }

    /// How long each is, at least.
    pub fn length(&self) -> Seconds {
        self.plan.length
    }

    /// Waits for the moment at which the next window is to begin; false once all
    /// have been taken.
    pub fn begin(&self) -> bool {
        let next = self.plan.delays.get(self.taken.len());
        if let Some(delay) = next {
            self.align(*delay);
        }
        next.is_some()
    }

    /// Waits until `delay` after an update of the sensor.
    fn align(&self, delay: Seconds) {
        let patience = Duration::from_secs_f64(PATIENCE * self.sensor.period().0);
        let update = self.sampler.wait_for_update(patience);
        let begin = update.unwrap_or_else(Instant::now) + Duration::from_secs_f64(delay.0);
        thread::sleep(begin.saturating_duration_since(Instant::now()));
    }

    /// Takes down a window in which the device was never idle, and leaves it idle.
    pub fn end(&mut self, [begin, end]: [Instant; 2], on_phase: &mut dyn FnMut(Phase)) {
        self.taken.push(Window {
            begin_s: self.sampler.time_of(begin),
            end_s: self.sampler.time_of(end),
            idle_before_s: Seconds((begin - self.idle_since).as_secs_f64()),
            idle_after_s: self.plan.idle_after,
        });
        self.idle_since = end;
        rest(self.plan.idle_after, on_phase);
    }

    /// Hands over what was read. What the edges show of the sensor counts from the
    /// next case on.
    pub fn finish(self) -> Metered {
        let delays = self.plan.delays.iter().take(self.taken.len());
        let plan = Plan {
            delays: delays.copied().collect(),
            ..self.plan
        };
        let trace = self.sampler.take();
        let (sensor, [dispatch, _]) = (&self.sensor, self.cycles);
        if let Some(sensor) = response::learn(sensor, dispatch, &trace.readings, &self.taken) {
            self.sampler.set_sensor(sensor);
        }
        Metered {
            aliased: plan.is_aliased(&self.sensor, &self.cycles),
            windows: self.taken,
            trace,
        }
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

    /// State of the device over all windows; `None` where the source tells nothing of it.
    /// The idle device draws `idle`, as far as that is known.
    pub fn conditions(&self, idle: Option<Watts>) -> Option<Conditions> {
        let stretches = self.windows.iter().map(|w| [w.begin_s, w.end_s]);
        let stretches: Vec<[Seconds; 2]> = stretches.collect();
        let watched = Watched {
            states: &self.trace.states,
            readings: &self.trace.readings,
            idle,
        };
        Conditions::of(watched, &stretches)
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
