//! RAPL: the energy of CPU packages, through the kernel's powercap tree.
//!
//! Domains nest (core, uncore and sometimes DRAM lie within a package, psys
//! around it), so only packages are sources: adding others counts twice.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::discover::PowerSourceStatus;
use super::sensor::Averaging;
use super::sysfs::{entries, line, number};
use super::{
    Coverage, Metric, Missing, PowerError, PowerSource, PowerSpec, RawReading, SourceIdentity,
    Unavailable,
};
use crate::units::Joules;

const WHAT: &str = "energy of a CPU package";

/// The CPU packages of the sysfs tree at `sysfs`.
pub fn discover(sysfs: &Path) -> Vec<PowerSourceStatus> {
    let packages = packages(sysfs);
    if packages.is_empty() {
        return vec![PowerSourceStatus::unavailable("rapl", WHAT, none())];
    }
    let status = |package: &Package| {
        let source = format!("rapl:{}", package.name);
        match number(&package.counter()) {
            Ok(_) => PowerSourceStatus::ready(source, WHAT),
            Err(reason) => PowerSourceStatus::unavailable(source, WHAT, reason),
        }
    };
    packages.iter().map(status).collect()
}

/// Why there is no package at all.
fn none() -> &'static str {
    if cfg!(target_os = "linux") {
        "no CPU package under /sys/class/powercap: a virtual machine, or the kernel module \
         intel_rapl_msr is not loaded"
    } else {
        "RAPL is read through Linux's powercap tree"
    }
}

/// A CPU package in the powercap tree.
struct Package {
    name: String,
    folder: PathBuf,
}

impl Package {
    /// The package whose powercap folder this is. `intel-rapl:0` is one;
    /// `intel-rapl:0:0` is a domain inside it, and `intel-rapl-mmio:0` is the
    /// same package once more.
    fn at(folder: PathBuf) -> Option<Self> {
        let number = folder.file_name()?.to_str()?.strip_prefix("intel-rapl:")?;
        let name = line(&folder.join("name"))?;
        let is_package = !number.contains(':') && name.starts_with("package");
        is_package.then_some(Self { name, folder })
    }

    /// The file that counts its microjoules.
    fn counter(&self) -> PathBuf {
        self.folder.join("energy_uj")
    }
}

fn packages(sysfs: &Path) -> Vec<Package> {
    let domains = entries(&sysfs.join("class/powercap"));
    domains.into_iter().filter_map(Package::at).collect()
}

/// Opens the package of this name, or all of them: their energies are added up,
/// which the identity states.
///
/// # Errors
/// When there is none of that name, or one of the counters cannot be read: a sum
/// without it would be too small.
pub fn open(sysfs: &Path, name: Option<&str>) -> Result<Rapl, Unavailable> {
    let mut packages = packages(sysfs);
    if packages.is_empty() {
        return Err(Unavailable::Platform(none().into()));
    }
    let known = packages.iter().map(|p| format!("rapl:{}", p.name));
    let known: Vec<_> = known.collect();
    packages.retain(|package| name.is_none_or(|name| name == package.name));
    if packages.is_empty() {
        return Err(Unavailable::NotFound {
            wanted: PowerSpec::Rapl(name.map(Into::into)),
            known,
        });
    }
    let names: Vec<_> = packages.iter().map(|p| p.name.clone()).collect();
    let name = match &names[..] {
        [name] => format!("rapl:{name}"),
        _ => "rapl".into(),
    };
    let counters: Result<Vec<_>, String> = packages.iter().map(Counter::open).collect();
    let counters = counters.map_err(|why| Unavailable::TellsNothing {
        name: name.clone(),
        power: Missing::NotOffered,
        energy: Missing::Unreadable(why),
    })?;
    Ok(Rapl {
        identity: SourceIdentity {
            name,
            device: format!("CPU {}", names.join(" + ")),
            covers: match names.len() {
                1 => Coverage::CpuPackage,
                _ => Coverage::CpuPackages,
            },
            power: Metric::Missing(Missing::NotOffered),
            energy: Metric::Field("powercap energy_uj".into()),
            averaging: Averaging::NONE,
            pci_address: None,
        },
        counters,
    })
}

/// CPU packages as a power source.
pub struct Rapl {
    identity: SourceIdentity,
    counters: Vec<Counter>,
}

impl PowerSource for Rapl {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let at = Instant::now();
        let counts = self.counters.iter_mut().map(Counter::microjoules);
        let sum: Result<u64, String> = counts.sum();
        let sum = sum.map_err(|why| PowerError::Missing(Missing::Unreadable(why)))?;
        Ok(RawReading {
            at,
            power: None,
            energy: Some(Joules(sum as f64 / 1e6)),
        })
    }
}

/// A counter that begins again at zero after its highest value.
struct Counter {
    path: PathBuf,
    /// Its highest value; 0 where the kernel does not tell.
    highest: u64,
    last: u64,
    /// What to add for the times that it has begun again.
    wrapped: u64,
}

impl Counter {
    fn open(package: &Package) -> Result<Self, String> {
        let path = package.counter();
        Ok(Self {
            last: number(&path)?,
            highest: number(&package.folder.join("max_energy_range_uj")).unwrap_or(0),
            wrapped: 0,
            path,
        })
    }

    /// Microjoules, unwrapped. The counter must be read more often than it
    /// wraps; it takes minutes even under full load.
    fn microjoules(&mut self) -> Result<u64, String> {
        let now = number(&self.path)?;
        if now < self.last {
            self.wrapped += self.highest;
        }
        self.last = now;
        Ok(self.wrapped + now)
    }
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
    fn a_counter_that_wraps_goes_on() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let count = |package: u32, energy: &str| {
            let folder = format!("intel-rapl:{package}");
            domain(&sysfs, &folder, &format!("package-{package}"), Some(energy));
            let highest = sysfs.path().join("class/powercap").join(folder);
            fs::write(highest.join("max_energy_range_uj"), "9000000\n").expect("a file");
        };
        count(0, "8000000");
        count(1, "1000000");
        let mut both = open(sysfs.path(), None).expect("two readable packages");
        assert_eq!(both.identity().covers, Coverage::CpuPackages);
        assert_eq!(both.identity().name, "rapl");
        // 8 + 1 J; then 1 J more of the first, which wraps at 9 J, and 2 J more
        // of the second.
        assert_eq!(both.read().expect("readable").energy, Some(Joules(9.0)));
        count(0, "0");
        count(1, "3000000");
        assert_eq!(both.read().expect("readable").energy, Some(Joules(12.0)));
        count(1, "much");
        let error = both.read().expect_err("no number");
        assert!(error.to_string().contains("energy_uj holds no number"));
    }

    #[test]
    fn a_package_can_be_chosen_and_a_wrong_name_lists_the_right_ones() {
        let sysfs = TempDir::new().expect("a temporary folder");
        domain(&sysfs, "intel-rapl:0", "package-0", Some("5"));
        domain(&sysfs, "intel-rapl:1", "package-1", Some("7000000"));
        let mut second = open(sysfs.path(), Some("package-1")).expect("a package");
        assert_eq!(second.identity().covers, Coverage::CpuPackage);
        assert_eq!(second.read().expect("readable").energy, Some(Joules(7.0)));
        let error = open(sysfs.path(), Some("core")).err().expect("no package");
        assert!(error.to_string().contains("rapl:package-0, rapl:package-1"));
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
