//! The adapters that a run measures on.

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

/// Adapters that a run measures on, and those that it does not.
pub struct ChosenSeveral {
    /// Each with its memory, where NVML or the bus tells.
    pub chosen: Vec<(AdapterDescription, Option<Bytes>)>,
    /// Those that `all` does not stand for, and why.
    pub left_out: Vec<(AdapterDescription, String)>,
    /// GPUs that no adapter reaches.
    pub hidden: Vec<VisibleGpu>,
}

/// Chooses by the names in `--adapter`'s text.
///
/// # Errors
/// As [`select::several`].
pub fn choose_several(names: &[String]) -> Result<ChosenSeveral, SelectError> {
    let adapters = descriptions(&adapter::enumerate());
    let visible = visible_gpus();
    let several = select::several(&adapters, names, &visible)?;
    let chosen = several.chosen.into_iter().map(|position| {
        let adapter = adapters[position].clone();
        let memory = bus::memory_of(&adapter, &visible);
        (adapter, memory)
    });
    let left_out = several.left_out.into_iter();
    Ok(ChosenSeveral {
        chosen: chosen.collect(),
        left_out: left_out
            .map(|(position, why)| (adapters[position].clone(), why))
            .collect(),
        hidden: bus::hidden(&adapters, &visible),
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
