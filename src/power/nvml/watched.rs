//! What a figure measured on a GPU depends on besides the work: which processes use
//! it as well, and its power limit.

use std::ffi::OsStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gpu::Gpu;
use super::state::Fixed;
use super::{Library, source};
use crate::power::DeviceState;
use crate::power::spec::NvmlDevice;
use crate::units::Watts;

/// What is kept of a process's name.
const LONGEST_NAME: usize = 256;

/// A process that uses a GPU, as NVML lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuProcess {
    /// Its number.
    pub pid: u32,
    /// Its program, where NVML tells it.
    pub name: Option<String>,
}

/// The power limits of a GPU at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// In force, the lowest of all that apply; null where it is not told.
    pub enforced_w: Option<Watts>,
    /// With which the device comes; null where it is not told.
    pub default_w: Option<Watts>,
}

impl Limits {
    /// Whether the device may draw less than it comes with.
    pub fn are_lowered(self) -> bool {
        let both = self.enforced_w.zip(self.default_w);
        both.is_some_and(|(enforced, default)| enforced < default)
    }
}

/// A GPU that is watched while something is measured on it.
#[derive(Debug)]
pub struct WatchedGpu {
    gpu: Gpu,
    fixed: Fixed,
}

impl WatchedGpu {
    /// The GPU, if one of the libraries `names` is there and knows it.
    pub fn find(names: &[impl AsRef<OsStr>], wanted: &NvmlDevice) -> Option<Self> {
        let library = Library::open(names).ok()?;
        let (index, _) = source::find(&library, wanted).ok()?;
        let gpu = Gpu::new(library, index).ok()?;
        let fixed = Fixed::of(&gpu.device());
        Some(Self { gpu, fixed })
    }

    /// Its clocks, limits and modes, as far as NVML tells them.
    pub fn state(&self) -> DeviceState {
        self.fixed.state(&self.gpu.device())
    }

    /// Processes that compute or draw on it; `None` where NVML tells of neither.
    pub fn processes(&self) -> Option<Vec<GpuProcess>> {
        let device = self.gpu.device();
        let lists = [
            device.running_compute_processes(),
            device.running_graphics_processes(),
        ];
        let told: Vec<_> = lists.into_iter().flatten().collect();
        if told.is_empty() {
            return None;
        }
        // What does both stands in both.
        let mut pids: Vec<u32> = told.iter().flatten().map(|process| process.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let named = |pid| GpuProcess {
            pid,
            name: self
                .gpu
                .library()
                .nvml()
                .sys_process_name(pid, LONGEST_NAME)
                .ok(),
        };
        Some(pids.into_iter().map(named).collect())
    }

    /// Its power limits, as far as NVML tells them.
    pub fn limits(&self) -> Limits {
        self.state().limits()
    }
}
