//! What can be wrong with power, and what follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::nvml;
use super::spec::PowerSpec;

/// Why a source does not tell a quantity: the quantity is null, the rest goes on.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", content = "detail", rename_all = "kebab-case")]
pub enum Missing {
    /// The device has no such sensor.
    #[error("this device does not have it")]
    NotSupported,
    /// The driver keeps it from this user.
    #[error("the driver keeps it from this user; an administrator may read it")]
    NoPermission,
    /// The driver's library is older than the function.
    #[error("the driver's library lacks a function, an update may bring it: {0}")]
    SymbolMissing(String),
    /// There is no value at present.
    #[error("the sensor has no value at present")]
    NoData,
    /// The driver does not find it.
    #[error("the driver does not find it")]
    NotFound,
    /// A file of the kernel cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The kind of source never tells it.
    #[error("this kind of source never tells it")]
    NotOffered,
    /// Another error of the driver.
    #[error("the driver says: {0}")]
    Driver(String),
}

/// Why a reading failed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", content = "detail", rename_all = "kebab-case")]
pub enum PowerError {
    /// The GPU is gone.
    #[error(
        "the GPU has fallen off the bus: nothing measured since can be trusted. Look at the \
         kernel's log, at cabling and at the power supply, and reboot"
    )]
    GpuLost,
    /// The GPU has stopped.
    #[error(
        "the GPU must be reset before it can be used again (nvidia-smi --gpu-reset, or reboot)"
    )]
    ResetRequired,
    /// Neither power nor energy can be had at present.
    #[error("no reading: {0}")]
    Missing(Missing),
    /// The program of a `command:` source ended.
    #[error("the power command has ended: {0}")]
    CommandEnded(String),
    /// The program of a `command:` source prints something else than numbers that a
    /// meter can show.
    #[error(
        "the power command printed {0:?}, which is neither watts nor joules: one value a line is \
         expected, from 0 to 1e9 W or 1e18 J, such as 123.4, 123.4 W, 5678 J or 5678 mJ"
    )]
    CommandUnclear(String),
    /// The program of a `command:` source prints lines without end, and no values.
    #[error("the power command has printed {0} lines in a row without a value")]
    CommandFloods(usize),
    /// The program of a `command:` source is silent.
    #[error("the power command has printed nothing for {0} s")]
    CommandSilent(u64),
}

impl PowerError {
    /// Whether the device itself is gone, so that a run on it must end.
    pub fn ends_the_run(&self) -> bool {
        matches!(self, Self::GpuLost | Self::ResetRequired)
    }
}

/// Why there is no source. The run goes on without power.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// The user wants none.
    #[error("power was turned off with --power none")]
    NotWanted,
    /// NVML cannot be used.
    #[error(transparent)]
    Nvml(#[from] nvml::Unavailable),
    /// No source is that of the adapter.
    #[error("no power source belongs to {adapter}: {}", tried.join("; "))]
    NoneForAdapter {
        /// The adapter's name.
        adapter: String,
        /// What was found of each kind.
        tried: Vec<String>,
    },
    /// More than one source might be that of the adapter.
    #[error(
        "the adapter's driver does not tell its PCI address, and {} fit it: choose one with \
         --power", candidates.join(", ")
    )]
    Ambiguous {
        /// The names of those that fit.
        candidates: Vec<String>,
    },
    /// There is no such source.
    #[error("there is no power source {wanted}; {}", list(known))]
    NotFound {
        /// What was asked for.
        wanted: PowerSpec,
        /// What there is of that kind.
        known: Vec<String>,
    },
    /// The GPU is divided.
    #[error(
        "MIG is on: the power of {0} is that of the whole card, and the share of one instance \
         cannot be told"
    )]
    Mig(String),
    /// The GPU is lent by a hypervisor.
    #[error(
        "{0} is a virtual GPU: the power of the card below it is shared with other machines and \
         cannot be told apart"
    )]
    Virtual(String),
    /// It tells nothing.
    #[error("{name} tells neither power ({power}) nor energy ({energy})")]
    TellsNothing {
        /// The source's name.
        name: String,
        /// Why it tells no power.
        power: Missing,
        /// Why it has no energy counter.
        energy: Missing,
    },
    /// The device is gone.
    #[error(transparent)]
    Device(#[from] PowerError),
    /// The command cannot be run.
    #[error("cannot run the power command {command:?}: {error}")]
    Command {
        /// The program.
        command: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system has no such sensors.
    #[error("{0}")]
    Platform(String),
}

fn list(known: &[String]) -> String {
    if known.is_empty() {
        return "there is none of that kind".into();
    }
    format!("there is {}", known.join(", "))
}
