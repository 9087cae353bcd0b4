//! One case: verify it, warm it up, sample it, check that it still computes the
//! same, and put the figures together.

mod bench;
pub mod clock;
pub mod measurement;
pub mod meter;
mod others;
pub mod period;
pub mod power;
mod prepared;
mod processor;
pub mod sampling;
mod stopped;
pub mod tier;
pub mod verify;

pub use bench::Bench;
pub use meter::Meter;
pub use others::{Nobody, Others};
pub use prepared::Prepared;
pub use stopped::Stopped;

/// What a case is doing, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Generating inputs.
    Inputs,
    /// Compiling, computing once and comparing; the reference takes this many
    /// multiply-adds at most.
    Verifying {
        /// Multiply-adds of the reference.
        reference_macs: u64,
    },
    /// Trying candidates to find the fastest.
    Tuning {
        /// Candidates tried so far.
        tried: usize,
        /// Candidates there are.
        count: usize,
    },
    /// Running until clocks and caches have settled.
    WarmingUp,
    /// Taking samples.
    Sampling {
        /// Samples so far.
        samples: usize,
        /// Median so far, seconds per dispatch.
        median_s: f64,
    },
    /// Leaving the device idle, to see what it draws then.
    Resting,
    /// Working on, since other adapters still measure.
    StayingBusy,
    /// Writing inputs, output and reference to disk.
    Dumping,
}
