//! One case: verify it, warm it up, sample it, check that it still computes the
//! same, and put the figures together.

pub mod again;
mod bench;
pub mod clock;
pub mod conditions;
pub mod lives;
pub mod measurement;
pub mod meter;
mod others;
pub mod period;
pub mod power;
mod prepared;
mod processor;
pub mod sampling;
mod stopped;
pub mod surroundings;
pub mod tier;
pub mod verify;

pub use bench::Bench;
pub use meter::Meter;
pub use others::{Nobody, Others};
pub use prepared::{Prepared, Timed};
pub use stopped::Stopped;
pub use surroundings::{Surroundings, Watch};

use crate::kernel::problem::Work;
use crate::units::Seconds;

/// What a case is doing, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Generating inputs.
    Inputs,
    /// Compiling a program, computing once and comparing.
    Verifying {
        /// What that takes.
        effort: FirstRun,
    },
    /// Trying candidates to find the fastest.
    Tuning {
        /// Candidates tried so far.
        tried: usize,
        /// Candidates there are.
        count: usize,
        /// What the next takes.
        effort: FirstRun,
    },
    /// Running until clocks and caches have settled.
    WarmingUp {
        /// What one dispatch took when it was verified.
        dispatch: Seconds,
    },
    /// Taking samples.
    Sampling {
        /// Samples so far.
        samples: usize,
        /// What one takes.
        sample: Seconds,
    },
    /// Leaving the device idle, to see what it draws then.
    Resting,
    /// Working on, since other adapters still measure.
    StayingBusy {
        /// What a sample takes.
        sample: Seconds,
    },
    /// Writing inputs, output and reference to disk.
    Dumping,
}

/// What it takes to run a program for the first time, when nobody knows yet how
/// fast it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FirstRun {
    /// What one dispatch does.
    pub work: Work,
    /// Whether the device is a software adapter.
    pub software: bool,
    /// Multiply-adds of the references that the output is compared with, at most.
    pub reference_macs: u64,
}
