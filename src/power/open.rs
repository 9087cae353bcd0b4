//! From `--power` and an adapter to the one source that is read.

use std::path::Path;

use super::nvml::{self, Library};
use super::spec::{HwmonSensor, NvmlDevice};
use super::{Opened, PowerSpec, Unavailable, command, hwmon, rapl, sysfs};
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::bus::{self, VisibleGpu};
use crate::gpu::pci::PciAddress;

/// PCI vendor whose GPUs NVML knows.
const NVIDIA: u32 = 0x10de;

/// Where sources are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Root of the kernel's sensors.
    pub sysfs: &'a Path,
    /// Names of the NVML library, in the order in which they are tried.
    pub nvml: &'a [&'a Path],
}

/// Opens the source that is wanted, on this machine.
///
/// `auto`, `nvml` and `hwmon` without a choice take the source of the adapter:
/// that at its PCI address, and where its driver does not tell the address, the
/// only one with its vendor and device; between two of them nothing is guessed.
/// The power of a software adapter is that of all CPU packages.
///
/// # Errors
/// When there is no such source, or it tells nothing: a run goes on without
/// power.
pub fn open(spec: &PowerSpec, adapter: Option<&AdapterDescription>) -> Opened {
    let names: Vec<_> = nvml::LIBRARIES.iter().map(Path::new).collect();
    let machine = Machine {
        sysfs: Path::new(sysfs::ROOT),
        nvml: &names,
    };
    machine.open(spec, adapter)
}

impl Machine<'_> {
    /// As [`open`], on this machine.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(&self, spec: &PowerSpec, adapter: Option<&AdapterDescription>) -> Opened {
        match spec {
            PowerSpec::None => Err(Unavailable::NotWanted),
            PowerSpec::Auto => self.of_adapter(adapter, &[NVML, HWMON]),
            PowerSpec::Nvml(None) => self.of_adapter(adapter, &[NVML]),
            PowerSpec::Hwmon(None) => self.of_adapter(adapter, &[HWMON]),
            PowerSpec::Nvml(Some(device)) => self.nvml(device),
            PowerSpec::Hwmon(Some(sensor)) => Ok(Box::new(hwmon::open(self.sysfs, sensor)?)),
            PowerSpec::Rapl(package) => self.rapl(package.as_deref()),
            PowerSpec::IoReport => ioreport(),
            PowerSpec::Command(words) => Ok(Box::new(command::open(words)?)),
        }
    }

    fn nvml(&self, device: &NvmlDevice) -> Opened {
        Ok(Box::new(nvml::open(Library::open(self.nvml)?, device)?))
    }

    fn rapl(&self, package: Option<&str>) -> Opened {
        Ok(Box::new(rapl::open(self.sysfs, package)?))
    }

    /// The source of `adapter`, of one of these kinds.
    fn of_adapter(&self, adapter: Option<&AdapterDescription>, kinds: &[Kind]) -> Opened {
        let adapter = adapter.ok_or_else(|| none_for("no adapter", vec![]))?;
        if adapter.is_software() {
            // A GPU's source says nothing of work that the CPU does.
            return self.rapl(None);
        }
        if cfg!(target_os = "macos") {
            return ioreport();
        }
        let place = self.place_of(adapter)?;
        let fitting = kinds
            .iter()
            .filter(|kind| adapter.vendor_id == 0 || kind.knows(adapter.vendor_id));
        let mut tried = Vec::new();
        for kind in fitting {
            match (kind.open)(self, place) {
                Ok(source) => return Ok(source),
                // These are about the very GPU: no other kind knows better.
                Err(certain @ (Unavailable::Mig(_) | Unavailable::Virtual(_))) => {
                    return Err(certain);
                }
                Err(why) => tried.push(why.to_string()),
            }
        }
        if tried.is_empty() {
            tried.push("its vendor's sensors are not known".into());
        }
        Err(none_for(&adapter.summary(), tried))
    }

    /// Where the adapter is on the PCI bus.
    fn place_of(&self, adapter: &AdapterDescription) -> Result<PciAddress, Unavailable> {
        if let Some(place) = adapter.pci_address.as_deref() {
            return place
                .parse()
                .map_err(|_| none_for(&adapter.summary(), vec![format!("{place} is no address")]));
        }
        let gpus = bus::merge(
            bus::scan(self.sysfs),
            nvml::visible_gpus(&nvml::survey_with(self.nvml)),
        );
        let known = adapter.vendor_id != 0 && adapter.device_id != 0;
        let is_it = |gpu: &&VisibleGpu| {
            known && (gpu.vendor_id, gpu.device_id) == (adapter.vendor_id, adapter.device_id)
        };
        let mut places: Vec<PciAddress> = gpus
            .iter()
            .filter(is_it)
            .filter_map(|gpu| gpu.pci_address.as_deref()?.parse().ok())
            .collect();
        match (places.pop(), &places[..]) {
            (Some(place), []) => Ok(place),
            (Some(last), others) => {
                let kind = if NVML.knows(adapter.vendor_id) {
                    NVML
                } else {
                    HWMON
                };
                let all = others.iter().chain([&last]);
                let candidates = all.map(|place| format!("{}:{place}", kind.name));
                Err(Unavailable::Ambiguous {
                    candidates: candidates.collect(),
                })
            }
            (None, _) => Err(none_for(
                &adapter.summary(),
                vec!["its driver does not tell its PCI address, and no GPU has its ids".into()],
            )),
        }
    }
}

/// A kind of source that knows GPUs by their place.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    open: fn(&Machine<'_>, PciAddress) -> Opened,
}

const NVML: Kind = Kind {
    name: "nvml",
    open: |machine, place| machine.nvml(&NvmlDevice::Pci(place)),
};

const HWMON: Kind = Kind {
    name: "hwmon",
    open: |machine, place| {
        let source = hwmon::open(machine.sysfs, &HwmonSensor::Pci(place))?;
        Ok(Box::new(source))
    },
};

impl Kind {
    fn knows(&self, vendor_id: u32) -> bool {
        (vendor_id == NVIDIA) == (self.name == NVML.name)
    }
}

fn none_for(adapter: &str, tried: Vec<String>) -> Unavailable {
    Unavailable::NoneForAdapter {
        adapter: adapter.into(),
        tried,
    }
}

#[cfg(target_os = "macos")]
fn ioreport() -> Opened {
    Ok(Box::new(super::ioreport::open()?))
}

#[cfg(not(target_os = "macos"))]
fn ioreport() -> Opened {
    Err(Unavailable::Platform("IOReport is Apple's".into()))
}
