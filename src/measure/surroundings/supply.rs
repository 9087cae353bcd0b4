//! Where a machine's power comes from, as Linux tells it.

use std::path::Path;

use crate::power::sysfs::{entries, line, number};

/// Whether the machine runs on a battery (Linux,
/// Documentation/ABI/testing/sysfs-class-power); `None` where no power supply is
/// told of.
///
/// Firmware differs in what it says: a battery that a charger holds at its level may
/// be "Discharging" a little, so that a charger that is plugged in counts first.
pub(super) fn is_battery(sysfs: &Path) -> Option<bool> {
    let supplies = entries(&sysfs.join("class/power_supply"));
    let of_machine: Vec<_> = supplies.iter().filter(|s| !is_of_a_device(s)).collect();
    let kind = |supply: &Path| line(&supply.join("type"));
    let is_charging = |supply: &Path| {
        let is_charger = kind(supply).is_some_and(|kind| kind == "Mains" || kind == "USB");
        is_charger && number(&supply.join("online")).is_ok_and(|online| online > 0)
    };
    let is_drained = |supply: &Path| {
        let status = line(&supply.join("status"));
        kind(supply).as_deref() == Some("Battery") && status.as_deref() == Some("Discharging")
    };
    if of_machine.is_empty() {
        return None;
    }
    let charged = of_machine.iter().any(|supply| is_charging(supply));
    Some(!charged && of_machine.iter().any(|supply| is_drained(supply)))
}

/// A mouse has a battery as well.
fn is_of_a_device(supply: &Path) -> bool {
    line(&supply.join("scope")).as_deref() == Some("Device")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn plug(sysfs: &TempDir, name: &str, files: &[(&str, &str)]) {
        let folder = sysfs.path().join("class/power_supply").join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        for (file, text) in files {
            fs::write(folder.join(file), format!("{text}\n")).expect("a temporary file");
        }
    }

    fn laptop(charger: &str, battery: &str) -> TempDir {
        let sysfs = TempDir::new().expect("a temporary folder");
        plug(&sysfs, "AC", &[("type", "Mains"), ("online", charger)]);
        plug(&sysfs, "BAT0", &[("type", "Battery"), ("status", battery)]);
        sysfs
    }

    #[test]
    fn a_laptop_without_its_charger_runs_on_its_battery() {
        assert_eq!(is_battery(laptop("0", "Discharging").path()), Some(true));
        assert_eq!(is_battery(laptop("1", "Charging").path()), Some(false));
        assert_eq!(is_battery(laptop("1", "Full").path()), Some(false));
        // Held at 80 % by its firmware.
        let held = laptop("1", "Discharging");
        assert_eq!(is_battery(held.path()), Some(false));
    }

    #[test]
    fn a_battery_alone_tells_by_its_status() {
        let sysfs = TempDir::new().expect("a temporary folder");
        plug(
            &sysfs,
            "BAT1",
            &[("type", "Battery"), ("status", "Discharging")],
        );
        assert_eq!(is_battery(sysfs.path()), Some(true));
        plug(&sysfs, "BAT1", &[("status", "Unknown")]);
        assert_eq!(is_battery(sysfs.path()), Some(false));
    }

    #[test]
    fn chargers_through_usb_count_and_batteries_of_devices_do_not() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let mouse = [
            ("type", "Battery"),
            ("scope", "Device"),
            ("status", "Discharging"),
        ];
        plug(&sysfs, "hidpp_battery_0", &mouse);
        assert_eq!(is_battery(sysfs.path()), None);
        plug(
            &sysfs,
            "BAT0",
            &[("type", "Battery"), ("status", "Discharging")],
        );
        assert_eq!(is_battery(sysfs.path()), Some(true));
        plug(
            &sysfs,
            "ucsi-source-psy-1",
            &[("type", "USB"), ("online", "1")],
        );
        assert_eq!(is_battery(sysfs.path()), Some(false));
    }

    #[test]
    fn a_machine_that_tells_of_no_supply_is_not_judged() {
        let sysfs = TempDir::new().expect("a temporary folder");
        assert_eq!(is_battery(sysfs.path()), None);
    }
}
