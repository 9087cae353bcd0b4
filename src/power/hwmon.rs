//! hwmon: the sensors of AMD's and Intel's GPUs, through the kernel.
//!
//! amdgpu gives power (averaged on some cards, instantaneous on others), i915
//! and xe give an energy counter.

use std::fs;
use std::path::Path;

use super::{PowerSourceStatus, entries, line, probe_counter};
use crate::gpu::pci;

/// The drivers of GPUs, and the files of which one is enough.
const DRIVERS: [(&str, &[&str]); 3] = [
    ("amdgpu", &["power1_average", "power1_input"]),
    ("i915", &["energy1_input"]),
    ("xe", &["energy1_input"]),
];

/// The GPU sensors of the sysfs tree at `sysfs`.
pub fn discover(sysfs: &Path) -> Vec<PowerSourceStatus> {
    let sensors: Vec<_> = entries(&sysfs.join("class/hwmon"))
        .iter()
        .filter_map(|folder| sensor(folder))
        .collect();
    if sensors.is_empty() {
        let reason = if cfg!(target_os = "linux") {
            "no sensor of amdgpu, i915 or xe under /sys/class/hwmon"
        } else {
            "hwmon is Linux's"
        };
        let what = "power of AMD and Intel GPUs";
        return vec![PowerSourceStatus::unavailable("hwmon", what, reason)];
    }
    sensors
}

/// The sensor whose hwmon folder this is, if a GPU's driver made it.
fn sensor(folder: &Path) -> Option<PowerSourceStatus> {
    let name = line(&folder.join("name"))?;
    let (driver, files) = DRIVERS.iter().find(|(driver, _)| *driver == name)?;
    let address = pci_address(folder);
    let source = match &address {
        Some(address) => format!("hwmon:{driver}:{address}"),
        None => format!("hwmon:{driver}"),
    };
    let status = match readable(folder, files) {
        Ok(file) => PowerSourceStatus::ready(source, format!("{driver}'s {file}")),
        Err(reason) => PowerSourceStatus::unavailable(source, format!("{driver}'s sensor"), reason),
    };
    Some(status.at(address))
}

/// The first of `files` that holds a number, or why none does.
fn readable<'a>(folder: &Path, files: &[&'a str]) -> Result<&'a str, String> {
    let mut reasons = Vec::new();
    for file in files {
        match probe_counter(&folder.join(file)) {
            Ok(()) => return Ok(file),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

/// The address of the GPU to which the sensor belongs.
fn pci_address(folder: &Path) -> Option<String> {
    let device = fs::canonicalize(folder.join("device")).ok()?;
    pci::normalise(device.file_name()?.to_str()?)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A sensor of `driver` for the GPU at `address`, with these files.
    fn plug(sysfs: &TempDir, number: u32, driver: &str, address: &str, files: &[(&str, &str)]) {
        let device = sysfs.path().join("devices/pci0000:00").join(address);
        fs::create_dir_all(&device).expect("a temporary folder");
        let folder = sysfs.path().join(format!("class/hwmon/hwmon{number}"));
        fs::create_dir_all(&folder).expect("a temporary folder");
        symlink(&device, folder.join("device")).expect("a link");
        fs::write(folder.join("name"), format!("{driver}\n")).expect("a temporary file");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("a temporary file");
        }
    }

    #[test]
    fn gpu_sensors_are_found_with_their_addresses_and_others_are_not() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let watts = [("power1_average", "41000000\n")];
        let now = [("power1_input", "41000000\n")];
        let joules = [("energy1_input", "123\n")];
        plug(&sysfs, 0, "amdgpu", "0000:03:00.0", &watts);
        plug(&sysfs, 1, "amdgpu", "0000:0a:00.0", &now);
        plug(&sysfs, 2, "xe", "0000:10:00.0", &joules);
        plug(&sysfs, 3, "i915", "0000:11:00.0", &joules);
        plug(&sysfs, 4, "nvme", "0000:12:00.0", &watts);
        let found = discover(sysfs.path());
        let rows: Vec<_> = found
            .iter()
            .map(|s| (s.source.as_str(), s.description.as_str(), s.available))
            .collect();
        assert_eq!(
            rows,
            [
                ("hwmon:amdgpu:0000:03:00.0", "amdgpu's power1_average", true),
                ("hwmon:amdgpu:0000:0a:00.0", "amdgpu's power1_input", true),
                ("hwmon:xe:0000:10:00.0", "xe's energy1_input", true),
                ("hwmon:i915:0000:11:00.0", "i915's energy1_input", true),
            ]
        );
        assert_eq!(found[0].pci_address.as_deref(), Some("0000:03:00.0"));
    }

    #[test]
    fn a_card_without_a_power_sensor_says_so() {
        let sysfs = TempDir::new().expect("a temporary folder");
        plug(&sysfs, 0, "amdgpu", "0000:03:00.0", &[]);
        let found = discover(sysfs.path());
        assert_eq!(found.len(), 1);
        assert!(!found[0].available);
        let reason = found[0].reason.as_deref();
        assert_eq!(
            reason,
            Some("power1_average is missing; power1_input is missing")
        );
    }

    #[test]
    fn a_machine_without_gpu_sensors_has_one_line_that_says_so() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let found = discover(sysfs.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].source, "hwmon");
        assert!(!found[0].available && found[0].reason.is_some());
    }
}
