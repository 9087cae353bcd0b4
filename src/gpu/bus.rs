//! GPUs that the machine has whether or not a driver offers them.
//!
//! A GPU without its driver is no adapter, and the software adapter beside it
//! would be measured in its place. The PCI bus tells.

use std::fmt;
use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adapter::{AdapterDescription, Backend};
use super::pci;
use crate::units::Bytes;

/// NVIDIA's PCI vendor number.
pub const NVIDIA: u32 = 0x10de;
/// AMD's (ATI's) PCI vendor number.
pub const AMD: u32 = 0x1002;
/// Intel's PCI vendor number.
pub const INTEL: u32 = 0x8086;
/// Moore Threads' PCI vendor number.
pub const MOORE_THREADS: u32 = 0x1ed5;
/// Hygon's PCI vendor number.
pub const HYGON: u32 = 0x1d94;

/// Makers of GPUs that compute. Makers of display chips (ASPEED, Matrox,
/// Silicon Motion, HiSilicon…) and virtual displays (QEMU, virtio, VMware,
/// Hyper-V, Cirrus, QXL…) are absent on purpose.
const VENDORS: [(u32, &str); 5] = [
    (NVIDIA, "NVIDIA"),
    (AMD, "AMD"),
    (INTEL, "Intel"),
    (MOORE_THREADS, "Moore Threads"),
    (HYGON, "Hygon"),
];

/// A GPU seen by other means than a graphics API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisibleGpu {
    /// Its model where that is known, else its maker.
    pub description: String,
    /// Place on the PCI bus, `dddd:bb:dd.f`.
    pub pci_address: Option<String>,
    /// PCI vendor.
    pub vendor_id: u32,
    /// PCI device of the vendor.
    pub device_id: u32,
    /// The kernel driver bound to it; null where there is none or it is
    /// unknown.
    pub kernel_driver: Option<String>,
    /// Its own memory, where that is known.
    pub memory: Option<Bytes>,
    /// What saw it.
    pub seen_by: String,
}

impl fmt::Display for VisibleGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.pci_address.as_deref();
        let driver = self.kernel_driver.as_deref();
        write!(
            f,
            "{} [{:04x}:{:04x}] at {}, kernel driver {}, seen by {}",
            self.description,
            self.vendor_id,
            self.device_id,
            address.unwrap_or("an unknown address"),
            driver.unwrap_or("none"),
            self.seen_by
        )
    }
}

/// The name of a maker of GPUs that compute.
pub fn vendor_name(vendor_id: u32) -> Option<&'static str> {
    let known = VENDORS.iter().find(|(id, _)| *id == vendor_id);
    known.map(|(_, name)| *name)
}

/// GPUs on this machine's PCI bus; empty where the system does not tell.
pub fn scan_machine() -> Vec<VisibleGpu> {
    if cfg!(target_os = "linux") {
        scan(Path::new("/sys"))
    } else {
        Vec::new()
    }
}

/// GPUs on the PCI bus as the sysfs tree at `sysfs` shows it, by address.
pub fn scan(sysfs: &Path) -> Vec<VisibleGpu> {
    let Ok(entries) = fs::read_dir(sysfs.join("bus/pci/devices")) else {
        return Vec::new();
    };
    let mut gpus: Vec<VisibleGpu> = entries
        .flatten()
        .filter_map(|entry| gpu_at(&entry.path()))
        .collect();
    gpus.sort_by(|a, b| a.pci_address.cmp(&b.pci_address));
    gpus
}

/// The GPU whose sysfs folder this is, if it is one.
fn gpu_at(folder: &Path) -> Option<VisibleGpu> {
    let class = hex_file(&folder.join("class"))?;
    let vendor_id = hex_file(&folder.join("vendor"))?;
    let device_id = hex_file(&folder.join("device"))?;
    if !computes(class, vendor_id, device_id) {
        return None;
    }
    let name = folder.file_name()?.to_string_lossy();
    let driver = fs::read_link(folder.join("driver")).ok();
    let driver = driver.and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned()));
    Some(VisibleGpu {
        description: format!("{} GPU", vendor_name(vendor_id)?),
        pci_address: pci::normalise(&name),
        vendor_id,
        device_id,
        kernel_driver: driver,
        memory: amdgpu_memory(folder),
        seen_by: "the PCI bus".into(),
    })
}

/// The memory that the kernel's amdgpu driver tells.
fn amdgpu_memory(folder: &Path) -> Option<Bytes> {
    let text = fs::read_to_string(folder.join("mem_info_vram_total")).ok()?;
    text.trim().parse().ok().map(Bytes)
}

/// Whether a PCI function of this class and make is a GPU that computes.
fn computes(class: u32, vendor_id: u32, device_id: u32) -> bool {
    if vendor_name(vendor_id).is_none() {
        return false;
    }
    // AMD's numbers from 0x3000 to 0x5fff are Rage, ES1000 and Radeons before
    // 2007: display chips, the ES1000 still soldered to servers.
    if vendor_id == AMD && (0x3000..=0x5fff).contains(&device_id) {
        return false;
    }
    match class >> 8 {
        // VGA, 3D and other display controllers.
        0x0300 | 0x0302 | 0x0380 => true,
        // Processing accelerators: AMD's Instinct cards are GPUs, Intel's NPUs
        // are not.
        0x1200 => vendor_id == AMD,
        _ => false,
    }
}

/// The number in a sysfs file such as `0x10de`.
fn hex_file(path: &Path) -> Option<u32> {
    let text = fs::read_to_string(path).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

/// One list of two: a GPU in both is named by `better`, which knows its model,
/// and keeps the kernel driver that `seen` read.
pub fn merge(seen: Vec<VisibleGpu>, better: Vec<VisibleGpu>) -> Vec<VisibleGpu> {
    let mut merged = seen;
    for gpu in better {
        let twin = merged
            .iter_mut()
            .find(|m| m.pci_address.is_some() && m.pci_address == gpu.pci_address);
        match twin {
            Some(twin) => {
                twin.seen_by = format!("{} and {}", twin.seen_by, gpu.seen_by);
                twin.description = gpu.description;
                twin.kernel_driver = twin.kernel_driver.take().or(gpu.kernel_driver);
                twin.memory = twin.memory.or(gpu.memory);
            }
            None => merged.push(gpu),
        }
    }
    merged
}

/// The GPUs that no adapter reaches.
///
/// An adapter without a PCI address may be any GPU of its maker, so it counts
/// as reaching them.
pub fn hidden(adapters: &[AdapterDescription], visible: &[VisibleGpu]) -> Vec<VisibleGpu> {
    let reaches = |adapter: &AdapterDescription, gpu: &VisibleGpu| {
        if adapter.is_software() || adapter.backend == Backend::Noop {
            return false;
        }
        match (&adapter.pci_address, &gpu.pci_address) {
            (Some(adapter), Some(gpu)) => adapter == gpu,
            _ => {
                let known = vendor_name(adapter.vendor_id).is_some();
                !known || adapter.vendor_id == gpu.vendor_id
            }
        }
    };
    visible
        .iter()
        .filter(|gpu| !adapters.iter().any(|adapter| reaches(adapter, gpu)))
        .cloned()
        .collect()
}

/// The GPUs, one a line, each kind followed by what to do about it.
pub fn remedies(gpus: &[VisibleGpu]) -> String {
    let mut remedies: Vec<(String, String)> = Vec::new();
    for gpu in gpus {
        let advice = advice(gpu);
        match remedies.iter_mut().find(|(_, known)| *known == advice) {
            Some((lines, _)) => lines.push_str(&format!("\n  {gpu}")),
            None => remedies.push((format!("\n  {gpu}"), advice)),
        }
    }
    let each = remedies.iter();
    each.map(|(lines, advice)| format!("{lines}\n    {advice}"))
        .collect()
}

/// The memory of the GPU that the adapter is, where something else than wgpu
/// (which does not tell) saw it.
pub fn memory_of(adapter: &AdapterDescription, visible: &[VisibleGpu]) -> Option<Bytes> {
    let address = adapter.pci_address.as_ref()?;
    let gpu = visible
        .iter()
        .find(|g| g.pci_address.as_ref() == Some(address))?;
    gpu.memory
}

/// What to install or change so that a driver offers `gpu`.
pub fn advice(gpu: &VisibleGpu) -> String {
    let driver = gpu.kernel_driver.as_deref();
    let user_space = match (gpu.vendor_id, driver) {
        (NVIDIA, Some("nouveau")) => {
            "install Mesa's Vulkan drivers (NVK, Mesa 24 or newer: Debian, Ubuntu and Fedora \
             mesa-vulkan-drivers, Arch vulkan-nouveau) or replace nouveau by NVIDIA's driver"
        }
        (NVIDIA, _) => {
            "install the Vulkan part of NVIDIA's driver, of the kernel module's version (Debian \
             nvidia-vulkan-icd, Ubuntu libnvidia-gl-<version>, Fedora xorg-x11-drv-nvidia, Arch \
             nvidia-utils); in a container, start it with NVIDIA_DRIVER_CAPABILITIES=all and \
             install what that driver loads (Debian, Ubuntu libvulkan1 libegl1 libgl1)"
        }
        (AMD, Some("radeon")) => {
            "the kernel's radeon driver has no Vulkan: boot with radeon.si_support=0 \
             radeon.cik_support=0 amdgpu.si_support=1 amdgpu.cik_support=1, and install Mesa's \
             Vulkan drivers"
        }
        (AMD, _) => {
            "install Mesa's RADV (Debian, Ubuntu and Fedora mesa-vulkan-drivers, Arch \
             vulkan-radeon, openSUSE libvulkan_radeon) and see that this user may open \
             /dev/dri/renderD* (group render)"
        }
        (INTEL, _) => {
            "install Mesa's ANV (Debian, Ubuntu and Fedora mesa-vulkan-drivers, Arch \
             vulkan-intel, openSUSE libvulkan_intel) and see that this user may open \
             /dev/dri/renderD* (group render)"
        }
        _ => "install the maker's Vulkan driver",
    };
    match driver {
        Some("vfio-pci" | "pci-stub" | "xen-pciback") => {
            "it is set aside for a virtual machine: measure inside that machine".into()
        }
        Some(_) => user_space.into(),
        None => format!("no kernel driver is bound: load it, then {user_space}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::super::adapter::DeviceType;
    use super::super::adapter::tests::described;
    use super::*;

    /// Puts a function on the bus of the sysfs tree at `sysfs`.
    fn plug(sysfs: &Path, address: &str, class: &str, ids: (u32, u32), driver: Option<&str>) {
        let folder = sysfs.join("bus/pci/devices").join(address);
        fs::create_dir_all(&folder).expect("a temporary folder");
        let write = |file: &str, text: String| {
            fs::write(folder.join(file), text).expect("a temporary file");
        };
        write("class", format!("{class}\n"));
        write("vendor", format!("0x{:04x}\n", ids.0));
        write("device", format!("0x{:04x}\n", ids.1));
        #[cfg(unix)]
        if let Some(driver) = driver {
            let target = format!("../../../../bus/pci/drivers/{driver}");
            std::os::unix::fs::symlink(target, folder.join("driver")).expect("a link");
        }
        #[cfg(not(unix))]
        let _ = driver;
    }

    /// What is found on a bus with this one function.
    fn alone(class: &str, ids: (u32, u32)) -> Vec<VisibleGpu> {
        let sysfs = TempDir::new().expect("a temporary folder");
        plug(sysfs.path(), "0000:01:00.0", class, ids, None);
        scan(sysfs.path())
    }

    pub(crate) fn rtx_4090(kernel_driver: Option<&str>) -> VisibleGpu {
        VisibleGpu {
            description: "NVIDIA GPU".into(),
            pci_address: Some("0000:01:00.0".into()),
            vendor_id: NVIDIA,
            device_id: 0x2684,
            kernel_driver: kernel_driver.map(Into::into),
            memory: None,
            seen_by: "the PCI bus".into(),
        }
    }

    #[test]
    fn a_card_without_a_driver_is_seen() {
        assert_eq!(alone("0x030000", (NVIDIA, 0x2684)), [rtx_4090(None)]);
    }

    #[cfg(unix)]
    #[test]
    fn the_kernel_driver_is_named() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let ids = (NVIDIA, 0x2684);
        plug(
            sysfs.path(),
            "0000:01:00.0",
            "0x030000",
            ids,
            Some("nouveau"),
        );
        assert_eq!(scan(sysfs.path()), [rtx_4090(Some("nouveau"))]);
    }

    #[test]
    fn gpus_of_every_class_are_seen() {
        for (class, ids) in [
            ("0x030000", (AMD, 0x744c)),
            ("0x030200", (NVIDIA, 0x20b2)),
            ("0x038000", (AMD, 0x740f)),
            ("0x038000", (INTEL, 0x0bd5)),
            ("0x120000", (AMD, 0x74a1)),
            ("0x030000", (INTEL, 0x56a0)),
            ("0x030000", (MOORE_THREADS, 0x0201)),
        ] {
            assert_eq!(alone(class, ids).len(), 1, "{class} {ids:04x?}");
        }
    }

    #[test]
    fn display_chips_virtual_displays_and_npus_are_not_gpus() {
        for (what, class, ids) in [
            ("ASPEED BMC", "0x030000", (0x1a03, 0x2000)),
            ("Matrox G200", "0x030000", (0x102b, 0x0536)),
            ("ATI ES1000", "0x030000", (AMD, 0x515e)),
            ("ATI ES1000", "0x030000", (AMD, 0x5969)),
            ("ATI Rage XL", "0x030000", (AMD, 0x4752)),
            ("Cirrus", "0x030000", (0x1013, 0x00b8)),
            ("QEMU", "0x030000", (0x1234, 0x1111)),
            ("virtio", "0x030000", (0x1af4, 0x1050)),
            ("VMware", "0x030000", (0x15ad, 0x0405)),
            ("Hyper-V", "0x030000", (0x1414, 0x5353)),
            ("QXL", "0x030000", (0x1b36, 0x0100)),
            ("Silicon Motion", "0x030000", (0x126f, 0x0750)),
            ("XGI", "0x030000", (0x18ca, 0x0020)),
            ("HiSilicon", "0x030000", (0x19e5, 0x1711)),
            ("Intel NPU", "0x120000", (INTEL, 0x7d1d)),
            ("NVIDIA's sound", "0x040300", (NVIDIA, 0x22ba)),
            ("NVSwitch", "0x068000", (NVIDIA, 0x1af1)),
        ] {
            assert_eq!(alone(class, ids), [], "{what}");
        }
    }

    #[test]
    fn an_unreadable_bus_is_an_empty_one() {
        let sysfs = TempDir::new().expect("a temporary folder");
        assert_eq!(scan(sysfs.path()), []);
        let broken = sysfs.path().join("bus/pci/devices/0000:01:00.0");
        fs::create_dir_all(&broken).expect("a temporary folder");
        assert_eq!(scan(sysfs.path()), []);
        fs::write(broken.join("class"), "no number").expect("a temporary file");
        assert_eq!(scan(sysfs.path()), []);
    }

    #[test]
    fn a_gpu_seen_twice_is_listed_once_with_its_model() {
        let nvml = VisibleGpu {
            description: "NVIDIA GeForce RTX 4090".into(),
            kernel_driver: Some("nvidia".into()),
            memory: Some(Bytes(24 << 30)),
            seen_by: "NVML".into(),
            ..rtx_4090(None)
        };
        let other = VisibleGpu {
            pci_address: Some("0000:02:00.0".into()),
            ..nvml.clone()
        };
        let merged = merge(vec![rtx_4090(Some("nvidia"))], vec![nvml, other.clone()]);
        assert_eq!(merged.len(), 2);
        assert_eq!(merged[0].description, "NVIDIA GeForce RTX 4090");
        assert_eq!(merged[0].seen_by, "the PCI bus and NVML");
        assert_eq!(merged[0].memory, Some(Bytes(24 << 30)));
        assert_eq!(merged[1], other);
    }

    #[test]
    fn a_gpu_is_hidden_unless_a_hardware_adapter_may_be_it() {
        let adapter =
            |address, vendor, kind| described(0, "x", Backend::Vulkan, kind, address, (vendor, 0));
        let here = Some("0000:01:00.0");
        let there = Some("0000:02:00.0");
        let gpu = [rtx_4090(None)];
        let is_hidden = |adapter| !hidden(&[adapter], &gpu).is_empty();
        assert!(!is_hidden(adapter(here, NVIDIA, DeviceType::DiscreteGpu)));
        assert!(is_hidden(adapter(there, NVIDIA, DeviceType::DiscreteGpu)));
        assert!(!is_hidden(adapter(None, NVIDIA, DeviceType::Other)));
        assert!(is_hidden(adapter(None, INTEL, DeviceType::IntegratedGpu)));
        assert!(!is_hidden(adapter(None, 0, DeviceType::Other)));
        assert!(is_hidden(adapter(None, 0x10005, DeviceType::Cpu)));
    }

    #[test]
    fn memory_is_that_of_the_gpu_at_the_adapters_address() {
        let at = |address| {
            let kind = DeviceType::DiscreteGpu;
            described(0, "x", Backend::Vulkan, kind, address, (NVIDIA, 0x2684))
        };
        let gpu = [VisibleGpu {
            memory: Some(Bytes(24 << 30)),
            ..rtx_4090(None)
        }];
        let memory = memory_of(&at(Some("0000:01:00.0")), &gpu);
        assert_eq!(memory, Some(Bytes(24 << 30)));
        assert_eq!(memory_of(&at(Some("0000:02:00.0")), &gpu), None);
        assert_eq!(memory_of(&at(None), &gpu), None);
    }

    #[test]
    fn amdgpus_memory_is_read_from_the_bus() {
        let sysfs = TempDir::new().expect("a temporary folder");
        plug(
            sysfs.path(),
            "0000:03:00.0",
            "0x030000",
            (AMD, 0x744c),
            None,
        );
        let folder = sysfs.path().join("bus/pci/devices/0000:03:00.0");
        fs::write(folder.join("mem_info_vram_total"), "25753026560\n").expect("a temporary file");
        assert_eq!(scan(sysfs.path())[0].memory, Some(Bytes(25_753_026_560)));
    }

    #[test]
    fn gpus_with_one_remedy_share_it() {
        let second = VisibleGpu {
            pci_address: Some("0000:02:00.0".into()),
            ..rtx_4090(None)
        };
        let text = remedies(&[rtx_4090(None), second]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(text.matches("nvidia-vulkan-icd").count(), 1, "{text}");
    }

    #[test]
    fn advice_fits_the_maker_and_the_bound_driver() {
        for (vendor_id, driver, expected) in [
            (NVIDIA, Some("nvidia"), "nvidia-vulkan-icd"),
            (NVIDIA, Some("nouveau"), "NVK"),
            (NVIDIA, None, "no kernel driver is bound"),
            (NVIDIA, Some("vfio-pci"), "virtual machine"),
            (AMD, Some("amdgpu"), "RADV"),
            (AMD, Some("radeon"), "amdgpu.si_support=1"),
            (INTEL, Some("i915"), "ANV"),
            (MOORE_THREADS, Some("mtgpu"), "maker's Vulkan driver"),
        ] {
            let gpu = VisibleGpu {
                vendor_id,
                ..rtx_4090(driver)
            };
            let text = advice(&gpu);
            assert!(
                text.contains(expected),
                "{vendor_id:04x} {driver:?}: {text}"
            );
        }
    }
}
