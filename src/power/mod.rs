//! Power and energy: sources behind one trait, the sampler, and the energy of a
//! window.
//!
//! A source that is not there, refuses or lies is a typed reason; nothing is ever
//! reported as 0, and a nominal power never stands in for a reading.

use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Joules, Seconds, Watts};

pub mod case;
pub mod command;
pub mod discover;
pub mod energy;
pub mod error;
mod group;
pub mod hwmon;
#[cfg(target_os = "macos")]
pub mod ioreport;
mod latest;
pub mod nvml;
pub mod open;
pub mod protocol;
pub mod rapl;
pub mod response;
pub mod sampler;
pub mod sensor;
pub mod setup;
pub mod spec;
pub mod state;
pub(crate) mod sysfs;

pub use discover::{PowerSourceStatus, discover};
pub use error::{Missing, PowerError, Unavailable};
pub use open::open;
pub use sensor::{Averaging, Sensor};
pub use setup::PowerSetup;
pub use spec::PowerSpec;
pub use state::DeviceState;

/// A place from which power, energy or both can be read.
pub trait PowerSource: Send {
    /// What is read, and of what.
    fn identity(&self) -> &SourceIdentity;

    /// Power and energy now. Must return soon: a source that has to wait reads in
    /// a thread of its own and returns the latest value.
    ///
    /// # Errors
    /// When neither power nor energy can be had; [`PowerError::ends_the_run`]
    /// tells whether the device is gone.
    fn read(&mut self) -> Result<RawReading, PowerError>;

    /// Clocks, limits and the like. What the source does not tell stays null.
    fn state(&mut self) -> DeviceState {
        DeviceState::default()
    }
}

/// A source of whatever kind, or why there is none.
pub type Opened = Result<Box<dyn PowerSource>, Unavailable>;

/// What a source said at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawReading {
    /// When; for a source that reads by itself, when the value arrived.
    pub at: Instant,
    /// Power, where the source tells it.
    pub power: Option<Watts>,
    /// Energy counter, where there is one. A counter that wraps by design is
    /// unwrapped; one that runs backwards is handed on as it is, for the analysis
    /// to refuse.
    pub energy: Option<Joules>,
}

/// A reading on the clock of the sampler that took it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// When, since the sampler began.
    pub at_s: Seconds,
    /// Power.
    pub power_w: Option<Watts>,
    /// Energy counter.
    pub energy_j: Option<Joules>,
}

/// What a source reads, and of what: this stands beside every figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceIdentity {
    /// Its name, as `--power` takes it: `nvml:0`.
    pub name: String,
    /// The device in its driver's words; of a command, the command.
    pub device: String,
    /// What the power is that of.
    pub covers: Coverage,
    /// From what power is read.
    pub power: Metric,
    /// From what energy is read.
    pub energy: Metric,
    /// Over how long the power is averaged, as far as it is documented.
    pub averaging: Averaging,
    /// Place on the PCI bus of the GPU that it measures.
    pub pci_address: Option<String>,
}

/// What a power is that of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// The whole graphics card, memory and regulators included.
    GpuBoard,
    /// A module of GPU and CPU.
    Module,
    /// The GPU's chip or part of a chip.
    GpuChip,
    /// One CPU package: everything that runs on it, not only the measured work.
    CpuPackage,
    /// All CPU packages of the machine, added up.
    CpuPackages,
    /// Whatever the user's program measures.
    Command,
}

impl Coverage {
    /// Whether it is one adapter's, so that what other adapters do is no part of it.
    pub fn is_of_one_adapter(self) -> bool {
        match self {
            Self::GpuBoard | Self::Module | Self::GpuChip => true,
            Self::CpuPackage | Self::CpuPackages | Self::Command => false,
        }
    }

    /// In words, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::GpuBoard => "the whole card",
            Self::Module => "the module of GPU and CPU",
            Self::GpuChip => "the GPU's chip",
            Self::CpuPackage => "the CPU package and all that runs on it",
            Self::CpuPackages => "all CPU packages and all that runs on them",
            Self::Command => "whatever the command measures",
        }
    }
}

/// From what a quantity is read, or why it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The field, function or file, in its vendor's words.
    Field(String),
    /// Why the source does not tell it.
    Missing(Missing),
}

impl Metric {
    /// Whether it can be read.
    pub fn is_offered(&self) -> bool {
        matches!(self, Self::Field(_))
    }

    /// Why it cannot be read.
    pub fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Field(_) => None,
            Self::Missing(why) => Some(why),
        }
    }
}

impl Reading {
    /// A reading on the clock that began at `begin`.
    pub fn since(begin: Instant, raw: RawReading) -> Self {
        Self {
            at_s: Seconds(raw.at.saturating_duration_since(begin).as_secs_f64()),
            power_w: raw.power,
            energy_j: raw.energy,
        }
    }
}
