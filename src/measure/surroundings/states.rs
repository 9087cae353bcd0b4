//! The state of a GPU whose power nobody reads: clocks and why they are lower than they
//! could be.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::measure::conditions::{Conditions, Watched};
use crate::measure::period::{Moment, Period};
use crate::power::nvml::WatchedGpu;
use crate::power::sampler::StateAt;
use crate::units::Seconds;

/// How often it is read: a second of samples holds four readings.
const INTERVAL: Duration = Duration::from_millis(250);

/// A thread that reads the state of a GPU until it is ended or dropped.
#[derive(Debug)]
pub(super) struct StateReader {
    begun: Moment,
    stop: Sender<()>,
    thread: JoinHandle<Vec<StateAt>>,
}

impl StateReader {
    /// Begins to read `gpu`; `None` where no thread can be had.
    pub(super) fn start(gpu: &Arc<WatchedGpu>) -> Option<Self> {
        let (stop, stopped) = mpsc::channel();
        let gpu = Arc::clone(gpu);
        let thread = thread::Builder::new()
            .name("gpu-state".into())
            .spawn(move || read(&gpu, &stopped));
        Some(Self {
            begun: Moment::now(),
            stop,
            thread: thread.ok()?,
        })
    }

    /// The state of the GPU while dispatches were `timed`, and just before, when the same
    /// work warmed it up; `None` where nothing was read meanwhile.
    pub(super) fn end(self, timed: &[Period]) -> Option<Conditions> {
        drop(self.stop);
        // A panic there has ended the reading, and leaves nothing.
        let states = self.thread.join().ok()?;
        let stretches = timed.iter().map(|period| {
            let [begin, end] = period.after(self.begun);
            [Seconds(begin.0 - INTERVAL.as_secs_f64()), end]
        });
        let stretches: Vec<[Seconds; 2]> = stretches.collect();
        let watched = Watched {
            states: &states,
            readings: &[],
            idle: None,
        };
        Conditions::of(watched, &stretches)
    }
}

fn read(gpu: &WatchedGpu, stopped: &Receiver<()>) -> Vec<StateAt> {
    let begin = Instant::now();
    let mut states = Vec::new();
    loop {
        let at_s = Seconds(begin.elapsed().as_secs_f64());
        let state = gpu.state();
        states.push(StateAt { at_s, state });
        if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return states;
        }
    }
}
