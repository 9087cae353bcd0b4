//! The adapter of a command that measures.

use super::{Exit, Failure};
use crate::gpu::adapter::{self, AdapterDescription};
use crate::gpu::bus::{self, VisibleGpu};
use crate::gpu::select::{self, SelectError};
use crate::power::nvml;
use crate::units::Bytes;

/// The chosen adapter.
pub struct Chosen {
    /// What its driver says.
    pub description: AdapterDescription,
    /// Its memory, where NVML or the bus tells.
    pub memory: Option<Bytes>,
}

/// Chooses by `--adapter`'s text, or the default.
///
/// # Errors
/// As [`select::select`], with the exit status that belongs to it.
pub fn choose(wanted: Option<&str>) -> Result<Chosen, Failure> {
    let mut adapters = descriptions();
    let visible = visible_gpus();
    let position = select::select(&adapters, wanted, &visible).map_err(failure)?;
    let description = adapters.swap_remove(position);
    Ok(Chosen {
        memory: bus::memory_of(&description, &visible),
        description,
    })
}

/// Every adapter of this machine.
pub fn descriptions() -> Vec<AdapterDescription> {
    let adapters = adapter::enumerate().into_iter();
    adapters.map(|adapter| adapter.description).collect()
}

/// GPUs that this machine has, whether or not a driver offers them.
pub fn visible_gpus() -> Vec<VisibleGpu> {
    bus::merge(bus::scan_machine(), nvml::visible_gpus(&nvml::survey()))
}

/// A wish that fits nothing is wrong usage; a machine without an adapter cannot
/// measure.
pub fn failure(error: SelectError) -> Failure {
    let exit = if error.nothing_to_measure() {
        Exit::NothingMeasured
    } else {
        Exit::Usage
    };
    Failure::new(exit, error)
}
