//! RAPL: the energy of CPU packages, through the kernel's powercap tree.
//!
//! Domains nest (core, uncore and sometimes DRAM lie within a package, psys
//! around it), so only packages are sources: adding others counts twice.

use std::path::Path;

use super::{PowerSourceStatus, entries, line, probe_counter};

const WHAT: &str = "energy of a CPU package";

/// The CPU packages of the sysfs tree at `sysfs`.
pub fn discover(sysfs: &Path) -> Vec<PowerSourceStatus> {
    let packages: Vec<_> = entries(&sysfs.join("class/powercap"))
        .iter()
        .filter_map(|domain| package(domain))
        .collect();
    if packages.is_empty() {
        let reason = if cfg!(target_os = "linux") {
            "no CPU package under /sys/class/powercap: a virtual machine, or the kernel module \
             intel_rapl_msr is not loaded"
        } else {
            "RAPL is read through Linux's powercap tree"
        };
        return vec![PowerSourceStatus::unavailable("rapl", WHAT, reason)];
    }
    packages
}

/// The package whose powercap folder this is. `intel-rapl:0` is one;
/// `intel-rapl:0:0` is a domain inside it, and `intel-rapl-mmio:0` is the same
/// package once more.
fn package(domain: &Path) -> Option<PowerSourceStatus> {
    let folder = domain.file_name()?.to_str()?;
    let number = folder.strip_prefix("intel-rapl:")?;
    let name = line(&domain.join("name"))?;
    if number.contains(':') || !name.starts_with("package") {
        return None;
    }
    let source = format!("rapl:{name}");
    Some(match probe_counter(&domain.join("energy_uj")) {
        Ok(()) => PowerSourceStatus::ready(source, WHAT),
        Err(reason) => PowerSourceStatus::unavailable(source, WHAT, reason),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn domain(sysfs: &TempDir, folder: &str, name: &str, energy: Option<&str>) {
        let folder = sysfs.path().join("class/powercap").join(folder);
        fs::create_dir_all(&folder).expect("a temporary folder");
        fs::write(folder.join("name"), format!("{name}\n")).expect("a temporary file");
        if let Some(energy) = energy {
            fs::write(folder.join("energy_uj"), energy).expect("a temporary file");
        }
    }

    #[test]
    fn only_packages_are_sources() {
        let sysfs = TempDir::new().expect("a temporary folder");
        domain(&sysfs, "intel-rapl:0", "package-0", Some("123456\n"));
        domain(&sysfs, "intel-rapl:0:0", "core", Some("1\n"));
        domain(&sysfs, "intel-rapl:0:1", "dram", Some("1\n"));
        domain(&sysfs, "intel-rapl:1", "package-1", Some("654321\n"));
        domain(&sysfs, "intel-rapl:2", "psys", Some("1\n"));
        domain(&sysfs, "intel-rapl-mmio:0", "package-0", Some("1\n"));
        let found = discover(sysfs.path());
        let names: Vec<_> = found.iter().map(|s| s.source.as_str()).collect();
        assert_eq!(names, ["rapl:package-0", "rapl:package-1"]);
        assert!(found.iter().all(|s| s.available && s.reason.is_none()));
    }

    #[test]
    fn a_package_without_a_readable_counter_says_why() {
        for (energy, reason) in [
            (None, "energy_uj is missing"),
            (Some("much"), "energy_uj holds no number: \"much\""),
        ] {
            let sysfs = TempDir::new().expect("a temporary folder");
            domain(&sysfs, "intel-rapl:0", "package-0", energy);
            let found = discover(sysfs.path());
            assert_eq!(found.len(), 1);
            assert!(!found[0].available);
            assert_eq!(found[0].reason.as_deref(), Some(reason));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_counter_for_root_only_is_named_as_such() {
        use std::os::unix::fs::PermissionsExt;

        let sysfs = TempDir::new().expect("a temporary folder");
        domain(&sysfs, "intel-rapl:0", "package-0", Some("1"));
        let counter = sysfs.path().join("class/powercap/intel-rapl:0/energy_uj");
        fs::set_permissions(&counter, fs::Permissions::from_mode(0o000)).expect("own file");
        let found = discover(sysfs.path());
        // Root reads it in spite of its mode.
        if fs::read(&counter).is_ok() {
            assert!(found[0].available);
        } else {
            let reason = found[0].reason.as_deref();
            assert_eq!(reason, Some("energy_uj is readable by root only"));
        }
    }

    #[test]
    fn a_machine_without_rapl_has_one_line_that_says_so() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let found = discover(sysfs.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].source, "rapl");
        assert!(!found[0].available && found[0].reason.is_some());
    }
}
