//! The thread that reads a source while something is measured.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Coverage, DeviceState, PowerError, PowerSource, Reading, Sensor, SourceIdentity};
use crate::units::Seconds;

/// No faster than this: the fastest known sensor updates every 20 ms (10 ms
/// counters exist), and a call of NVML's took 1.3 ms of a CPU on an H100.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(5);
/// No slower than this, so that a window of 5 s holds fifty readings.
pub const LONGEST_INTERVAL: Duration = Duration::from_millis(100);
/// Clocks, temperature and throttle reasons change slowly, and reading them all
/// costs eight calls.
const STATE_INTERVAL: Duration = Duration::from_millis(500);
/// How often a source is read while the moment of an update is wanted.
const ALIGNING_INTERVAL: Duration = Duration::from_millis(2);

/// A state of the device at some moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateAt {
    /// When, since the sampler began.
    pub at_s: Seconds,
    /// The state.
    pub state: DeviceState,
}

/// Everything that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// What was read.
    pub source: SourceIdentity,
    /// What its sensor does with time.
    pub sensor: Sensor,
    /// Readings in the order of time.
    pub readings: Vec<Reading>,
    /// States of the device in the order of time.
    pub states: Vec<StateAt>,
    /// Reads that failed, beside the one that ended the sampling.
    pub failed_reads: usize,
    /// The first failure.
    pub first_failure: Option<PowerError>,
    /// Why sampling ended early; null where it was stopped as planned.
    pub ended_by: Option<PowerError>,
    /// What the sampling cost.
    pub cost: Cost,
}

/// What sampling cost the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Time on a CPU, in seconds.
    pub cpu_s: Seconds,
    /// Time that passed, in seconds.
    pub wall_s: Seconds,
}

impl Cost {
    /// The share of one core; null before any time has passed.
    pub fn share_of_a_core(self) -> Option<f64> {
        (self.wall_s.0 > 0.0).then(|| self.cpu_s.0 / self.wall_s.0)
    }
}

/// A thread that reads a source until it is stopped or dropped.
pub struct Sampler {
    shared: Arc<Shared>,
    begin: Instant,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when the thread is wanted for something, and when it has read.
    news: Condvar,
}

struct State {
    trace: Trace,
    stop: bool,
    /// Whether someone waits for the moment of an update.
    aligning: bool,
    /// The last change of power or energy.
    last_change: Option<Instant>,
}

impl Shared {
    /// What a panic elsewhere left is whole: every change is one statement.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait between two reads: the update period of whatever updates faster,
/// within bounds. A read costs more than it tells where nothing has changed.
pub fn interval(sensor: &Sensor) -> Duration {
    let periods = [sensor.power, sensor.energy].into_iter().flatten();
    let fastest = periods.map(|c| c.period_s.0).fold(f64::INFINITY, f64::min);
    let fastest = if fastest.is_finite() {
        fastest
    } else {
        sensor.period().0
    };
    Duration::from_secs_f64(fastest).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

impl Sampler {
    /// Begins to read `source`, whose sensor is known.
    pub fn start(source: Box<dyn PowerSource>, sensor: Sensor) -> Self {
        let begin = Instant::now();
        let interval = interval(&sensor);
        let trace = Trace {
            source: source.identity().clone(),
            sensor,
            readings: Vec::new(),
            states: Vec::new(),
            failed_reads: 0,
            first_failure: None,
            ended_by: None,
            cost: Cost::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                trace,
                stop: false,
                aligning: false,
                last_change: None,
            }),
            news: Condvar::new(),
        });
        let worker = Worker {
            shared: shared.clone(),
            begin,
            interval,
            source,
        };
        let thread = thread::Builder::new()
            .name("power-sampler".into())
            .spawn(move || worker.run());
        Self {
            shared,
            begin,
            thread: thread.ok(),
        }
    }

    /// The sampler's time of a moment.
    pub fn time_of(&self, moment: Instant) -> Seconds {
        Seconds(moment.saturating_duration_since(self.begin).as_secs_f64())
    }

    /// What the power is that of.
    pub fn covers(&self) -> Coverage {
        self.shared.state().trace.source.covers
    }

    /// What is known of the source's sensor.
    pub fn sensor(&self) -> Sensor {
        self.shared.state().trace.sensor.clone()
    }

    /// Takes note of what has turned out about the sensor's averaging. Its period is
    /// what the thread goes by, and stays.
    pub fn set_sensor(&self, sensor: Sensor) {
        self.shared.state().trace.sensor = sensor;
    }

    /// What was read from `from` on.
    pub fn readings_since(&self, from: Seconds) -> Vec<Reading> {
        let state = self.shared.state();
        let readings = &state.trace.readings;
        let first = readings.partition_point(|reading| reading.at_s < from);
        readings[first..].to_vec()
    }

    /// The latest state of the device; null before the first.
    pub fn state(&self) -> Option<DeviceState> {
        let state = self.shared.state();
        state.trace.states.last().map(|at| at.state.clone())
    }

    /// Why sampling ended early, if it did: the device is gone.
    pub fn ended_by(&self) -> Option<PowerError> {
        self.shared.state().trace.ended_by.clone()
    }

    /// Waits for the next update of the sensor, for `patience` at most, and tells
    /// when it was, to within 2 ms; nothing where none came.
    pub fn wait_for_update(&self, patience: Duration) -> Option<Instant> {
        let begin = Instant::now();
        let mut state = self.shared.state();
        state.aligning = true;
        self.shared.news.notify_all();
        let update = loop {
            if let Some(change) = state.last_change.filter(|change| *change >= begin) {
                break Some(change);
            }
            let left = patience.saturating_sub(begin.elapsed());
            if left.is_zero() || state.trace.ended_by.is_some() {
                break None;
            }
            let woken = self.shared.news.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.aligning = false;
        update
    }

    /// Hands over what was read since the last time, or the beginning; sampling
    /// goes on. The cost is that of the whole sampling so far.
    pub fn take(&self) -> Trace {
        let mut state = self.shared.state();
        let trace = &mut state.trace;
        let rest = Trace {
            readings: Vec::new(),
            states: Vec::new(),
            failed_reads: 0,
            first_failure: None,
            source: trace.source.clone(),
            sensor: trace.sensor.clone(),
            ended_by: trace.ended_by.clone(),
            cost: trace.cost,
        };
        std::mem::replace(trace, rest)
    }

    /// Stops, and hands back everything that was read and not taken.
    pub fn stop(mut self) -> Trace {
        self.end();
        self.shared.state().trace.clone()
    }

    fn end(&mut self) {
        self.shared.state().stop = true;
        self.shared.news.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there ended the sampling; what was read is still good.
            let _ = thread.join();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread's side.
struct Worker {
    shared: Arc<Shared>,
    begin: Instant,
    interval: Duration,
    source: Box<dyn PowerSource>,
}

impl Worker {
    fn run(mut self) {
        let clock = CpuClock::start();
        let mut next_state = self.begin;
        let mut busy = Duration::ZERO;
        loop {
            let began = Instant::now();
            let device = (began >= next_state).then(|| {
                next_state = began + STATE_INTERVAL;
                self.source.state()
            });
            let read = self.source.read();
            busy += began.elapsed();
            let cost = Cost {
                cpu_s: Seconds(clock.elapsed().unwrap_or(busy).as_secs_f64()),
                wall_s: Seconds(self.begin.elapsed().as_secs_f64()),
            };
            if !self.take_over(began, device, read, cost) {
                return;
            }
        }
    }

    /// Takes over what was read and waits for the next read; whether there is to
    /// be one.
    fn take_over(
        &self,
        began: Instant,
        device: Option<DeviceState>,
        read: Result<super::RawReading, PowerError>,
        cost: Cost,
    ) -> bool {
        let mut state = self.shared.state();
        state.trace.cost = cost;
        if let Some(device) = device {
            let at_s = Seconds((began - self.begin).as_secs_f64());
            state.trace.states.push(StateAt {
                at_s,
                state: device,
            });
        }
        match read {
            Ok(raw) => state.add(Reading::since(self.begin, raw), raw.at),
            Err(error) if error.ends_the_run() => {
                state.trace.ended_by = Some(error);
                self.shared.news.notify_all();
                return false;
            }
            Err(error) => {
                state.trace.failed_reads += 1;
                state.trace.first_failure.get_or_insert(error);
            }
        }
        self.shared.news.notify_all();
        loop {
            if state.stop {
                return false;
            }
            let interval = if state.aligning {
                ALIGNING_INTERVAL
            } else {
                self.interval
            };
            let left = interval.saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            let woken = self.shared.news.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// A source that reads by itself may hand out the same value again; it is one
    /// reading.
    fn add(&mut self, reading: Reading, at: Instant) {
        let last = self.trace.readings.last();
        if last.is_some_and(|last| last.at_s >= reading.at_s) {
            return;
        }
        let same =
            |last: &Reading| (last.power_w, last.energy_j) == (reading.power_w, reading.energy_j);
        if last.is_some_and(|last| !same(last)) {
            self.last_change = Some(at);
        }
        self.trace.readings.push(reading);
    }
}

/// The time that this thread has spent on a CPU.
struct CpuClock(Option<Duration>);

impl CpuClock {
    fn start() -> Self {
        Self(thread_time())
    }

    /// Since the start; nothing where the system does not tell.
    fn elapsed(&self) -> Option<Duration> {
        thread_time()?.checked_sub(self.0?)
    }
}

#[cfg(unix)]
fn thread_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};

    clock_gettime(ClockId::ThreadCPUTime).try_into().ok()
}

#[cfg(not(unix))]
fn thread_time() -> Option<Duration> {
    None
}
