//! The adapter that a run measures on.

use crate::gpu::adapter::{self, Adapter, AdapterDescription};
use crate::gpu::bus::{self, VisibleGpu};
use crate::gpu::select::{self, SelectError};
use crate::power::nvml;
use crate::units::Bytes;

/// The chosen adapter.
pub struct Chosen {
    /// The adapter and what its driver says of it.
    pub adapter: Adapter,
    /// Its memory, where NVML or the bus tells.
    pub memory: Option<Bytes>,
}

/// Chooses by `--adapter`'s text, or the default.
///
/// # Errors
/// As [`select::select`].
pub fn choose(wanted: Option<&str>) -> Result<Chosen, SelectError> {
    let mut adapters = adapter::enumerate();
    let visible = visible_gpus();
    let position = select::select(&descriptions(&adapters), wanted, &visible)?;
    let adapter = adapters.swap_remove(position);
    Ok(Chosen {
        memory: bus::memory_of(&adapter.description, &visible),
        adapter,
    })
}

/// What the drivers say of `adapters`.
pub fn descriptions(adapters: &[Adapter]) -> Vec<AdapterDescription> {
    adapters.iter().map(|a| a.description.clone()).collect()
}

/// GPUs that this machine has, whether or not a driver offers them.
pub fn visible_gpus() -> Vec<VisibleGpu> {
    bus::merge(bus::scan_machine(), nvml::visible_gpus(&nvml::survey()))
}
