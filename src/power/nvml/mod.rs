//! NVML: NVIDIA's management library, if the driver brought one.
//!
//! The library is looked up when asked for, so that the program starts
//! everywhere. Whatever is wrong with it is a reason, never a crash.

use std::ffi::OsStr;
use std::mem;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use thiserror::Error;

mod gpu;
mod limits;
mod source;
mod state;
mod watched;

pub use limits::{Allowed, LimitError, LimitedGpu};
pub use source::{NvmlSource, open};
pub use watched::{GpuProcess, Limits, WatchedGpu};

use super::discover::PowerSourceStatus;
use crate::gpu::bus::VisibleGpu;
use crate::gpu::pci;
use crate::units::Bytes;

/// Where the library is looked for, in this order, by the system's own rules.
pub const LIBRARIES: &[&str] = if cfg!(windows) {
    &["nvml.dll"]
} else {
    &["libnvidia-ml.so.1", "libnvidia-ml.so"]
};

/// More GPUs than any machine has: a library that counts further is broken.
const MOST_GPUS: u32 = 1024;

/// Why NVML cannot be used.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// No library by any of the names could be loaded.
    #[error("no NVML library could be loaded ({0}): NVIDIA's driver is not installed")]
    LibraryNotFound(String),
    /// The library lacks a function without which it cannot be used.
    #[error("{library} is not a usable NVML: it lacks {symbol}")]
    SymbolMissing {
        /// The library's name.
        library: String,
        /// The function.
        symbol: String,
    },
    /// The library is there, the kernel module is not.
    #[error("NVIDIA's kernel module is not loaded")]
    DriverNotLoaded,
    /// The library and the kernel module are of different versions.
    #[error(
        "the NVML library and NVIDIA's kernel module are of different versions: reboot, or \
         reload the module, after an update of the driver"
    )]
    VersionMismatch,
    /// The library answered with another error.
    #[error("NVML refused: {0}")]
    Refused(#[source] NvmlError),
    /// The library counts more GPUs than there can be.
    #[error("NVML counts {0} GPUs")]
    Implausible(u32),
}

/// A GPU as NVML knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct NvmlGpu {
    /// NVML's number of it.
    pub index: u32,
    /// Its model.
    pub name: String,
    /// Its serial identity; null where the driver does not tell.
    pub uuid: Option<String>,
    /// Place on the PCI bus, `dddd:bb:dd.f`.
    pub pci_address: Option<String>,
    /// PCI vendor; 0 is unknown.
    pub vendor_id: u32,
    /// PCI device of the vendor; 0 is unknown.
    pub device_id: u32,
    /// Its memory.
    pub memory: Option<Bytes>,
    /// Whether it counts energy, or why not.
    pub energy: Result<(), String>,
    /// Whether it tells its power, or why not.
    pub power: Result<(), String>,
}

/// What NVML tells of this machine: for each GPU what it is, or why it did not
/// answer.
pub type Survey = Result<Vec<Result<NvmlGpu, String>>, Unavailable>;

/// A loaded NVML that can also be unloaded.
#[derive(Debug)]
pub struct Library(Nvml);

impl Library {
    /// Loads the first of `names` that is there.
    ///
    /// # Errors
    /// When none is there, or the one found cannot be used.
    pub fn open(names: &[impl AsRef<OsStr>]) -> Result<Self, Unavailable> {
        let mut misses = Vec::new();
        for name in names {
            match Nvml::builder().lib_path(name.as_ref()).init() {
                Ok(nvml) => return Self::checked(nvml, name.as_ref()),
                Err(NvmlError::LibloadingError(why)) => misses.push(miss(name.as_ref(), &why)),
                Err(error) => return Err(unavailable(error, name.as_ref())),
            }
        }
        Err(Unavailable::LibraryNotFound(misses.join(", ")))
    }

    /// Refuses a library that the wrapper could not shut down: it would panic.
    fn checked(nvml: Nvml, name: &OsStr) -> Result<Self, Unavailable> {
        if nvml.lib().nvmlShutdown.is_ok() {
            return Ok(Self(nvml));
        }
        // Dropping it is what panics.
        mem::forget(nvml);
        Err(Unavailable::SymbolMissing {
            library: name.to_string_lossy().into_owned(),
            symbol: "nvmlShutdown".into(),
        })
    }

    /// The wrapper, for what this module does not cover.
    pub fn nvml(&self) -> &Nvml {
        &self.0
    }

    /// Every GPU that the library counts.
    ///
    /// # Errors
    /// When it cannot count them.
    pub fn gpus(&self) -> Survey {
        let count = self.0.device_count().map_err(Unavailable::Refused)?;
        if count > MOST_GPUS {
            return Err(Unavailable::Implausible(count));
        }
        let gpu = |index| {
            let device = self.0.device_by_index(index).map_err(|e| e.to_string())?;
            Ok(describe(index, &device))
        };
        Ok((0..count).map(gpu).collect())
    }
}

/// The library's name, and what the loader says if it is more than that there
/// is no such file.
fn miss(name: &OsStr, why: &impl ToString) -> String {
    let (name, why) = (name.to_string_lossy().into_owned(), why.to_string());
    if why.starts_with(&name) && why.ends_with("No such file or directory") {
        return name;
    }
    format!("{name}: {why}")
}

fn unavailable(error: NvmlError, library: &OsStr) -> Unavailable {
    match error {
        NvmlError::FailedToLoadSymbol(_) => Unavailable::SymbolMissing {
            library: library.to_string_lossy().into_owned(),
            symbol: "nvmlInit_v2".into(),
        },
        NvmlError::DriverNotLoaded => Unavailable::DriverNotLoaded,
        NvmlError::LibRmVersionMismatch => Unavailable::VersionMismatch,
        error => Unavailable::Refused(error),
    }
}

fn describe(index: u32, device: &Device<'_>) -> NvmlGpu {
    let bus = device.pci_info().ok();
    let ids = bus.as_ref().map_or(0, |bus| bus.pci_device_id);
    let works = |probe: Result<(), NvmlError>| probe.map_err(|e| e.to_string());
    NvmlGpu {
        index,
        name: device.name().unwrap_or_else(|_| "NVIDIA GPU".into()),
        uuid: device.uuid().ok(),
        pci_address: bus.and_then(|bus| pci::normalise(&bus.bus_id)),
        vendor_id: ids & 0xffff,
        device_id: ids >> 16,
        memory: device.memory_info().ok().map(|m| Bytes(m.total)),
        energy: works(device.total_energy_consumption().map(drop)),
        power: works(device.power_usage().map(drop)),
    }
}

/// Asks this machine's NVML for its GPUs.
///
/// # Errors
/// When there is no usable NVML.
pub fn survey() -> Survey {
    survey_with(LIBRARIES)
}

/// Asks the first of these libraries that is there for its GPUs.
///
/// # Errors
/// When none is there, or the one found cannot be used.
pub fn survey_with(names: &[impl AsRef<OsStr>]) -> Survey {
    Library::open(names)?.gpus()
}

/// The GPUs of a survey, for the search of GPUs without a driver.
pub fn visible_gpus(survey: &Survey) -> Vec<VisibleGpu> {
    let gpus = survey.iter().flatten().flatten();
    gpus.map(|gpu| VisibleGpu {
        description: gpu.name.clone(),
        pci_address: gpu.pci_address.clone(),
        vendor_id: gpu.vendor_id,
        device_id: gpu.device_id,
        kernel_driver: Some("nvidia".into()),
        memory: gpu.memory,
        seen_by: "NVML".into(),
    })
    .collect()
}

/// The power sources of a survey.
pub fn sources(survey: &Survey) -> Vec<PowerSourceStatus> {
    let what = "power and energy of NVIDIA GPUs";
    let absent = |why: String| vec![PowerSourceStatus::unavailable("nvml", what, why)];
    match survey {
        Err(error) => absent(error.to_string()),
        Ok(gpus) if gpus.is_empty() => absent("NVML counts no GPU".into()),
        Ok(gpus) => (0..).zip(gpus).map(|(i, gpu)| source(i, gpu)).collect(),
    }
}

fn source(index: u32, gpu: &Result<NvmlGpu, String>) -> PowerSourceStatus {
    let source = format!("nvml:{index}");
    let gpu = match gpu {
        Ok(gpu) => gpu,
        Err(why) => return PowerSourceStatus::unavailable(source, "NVIDIA GPU", why),
    };
    let uuid = gpu.uuid.as_ref().map(|uuid| format!(" ({uuid})"));
    let name = format!("{}{}", gpu.name, uuid.unwrap_or_default());
    let status = match (&gpu.energy, &gpu.power) {
        (Ok(()), Ok(())) => {
            PowerSourceStatus::ready(source, format!("{name}: energy counter and power"))
        }
        (Ok(()), Err(_)) => PowerSourceStatus::ready(source, format!("{name}: energy counter")),
        (Err(_), Ok(())) => PowerSourceStatus::ready(source, format!("{name}: power")),
        (Err(energy), Err(power)) => {
            let why = format!("neither an energy counter ({energy}) nor power ({power})");
            PowerSourceStatus::unavailable(source, name, why)
        }
    };
    status.at(gpu.pci_address.clone())
}
