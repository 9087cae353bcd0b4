//! hwmon: the sensors of AMD's and Intel's GPUs, through the kernel.
//!
//! amdgpu gives power (averaged on some cards, instantaneous on others), i915
//! and xe give an energy counter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::discover::PowerSourceStatus;
use super::sensor::Averaging;
use super::spec::HwmonSensor;
use super::state::DeviceState;
use super::sysfs::{entries, line, number};
use super::{
    Coverage, Metric, Missing, PowerError, PowerSource, PowerSpec, RawReading, SourceIdentity,
    Unavailable,
};
use crate::gpu::pci;
use crate::units::{Joules, Watts};

/// A driver of GPUs and where it shows power and energy.
pub struct Driver {
    /// Its name.
    pub name: &'static str,
    /// Files with microwatts, the best first.
    power: &'static [&'static str],
    /// File with microjoules.
    energy: Option<&'static str>,
    covers: Coverage,
}

/// The drivers whose sensors are read (Linux, Documentation/gpu/amdgpu/thermal.rst
/// and Documentation/ABI/testing/sysfs-driver-intel-i915-hwmon).
pub const DRIVERS: [Driver; 3] = [
    Driver {
        name: "amdgpu",
        power: &["power1_average", "power1_input"],
        energy: None,
        covers: Coverage::GpuChip,
    },
    Driver {
        name: "i915",
        power: &[],
        energy: Some("energy1_input"),
        covers: Coverage::GpuBoard,
    },
    Driver {
        name: "xe",
        power: &[],
        energy: Some("energy1_input"),
        covers: Coverage::GpuBoard,
    },
];

/// The GPU sensors of the sysfs tree at `sysfs`.
pub fn discover(sysfs: &Path) -> Vec<PowerSourceStatus> {
    let sensors = sensors(sysfs);
    if sensors.is_empty() {
        let what = "power of AMD and Intel GPUs";
        return vec![PowerSourceStatus::unavailable("hwmon", what, none())];
    }
    let status = |sensor: &Sensor| {
        let driver = sensor.driver.name;
        let status = match sensor.readable() {
            Ok((_, file)) => PowerSourceStatus::ready(sensor.name(), format!("{driver}'s {file}")),
            Err(reason) => {
                let what = format!("{driver}'s sensor");
                PowerSourceStatus::unavailable(sensor.name(), what, reason)
            }
        };
        status.at(sensor.address.clone())
    };
    sensors.iter().map(status).collect()
}

/// Why there is no sensor at all.
fn none() -> &'static str {
    if cfg!(target_os = "linux") {
        "no sensor of amdgpu, i915 or xe under /sys/class/hwmon"
    } else {
        "hwmon is Linux's"
    }
}

/// A GPU's hwmon folder.
struct Sensor {
    driver: &'static Driver,
    folder: PathBuf,
    address: Option<String>,
}

/// What a file counts.
#[derive(Clone, Copy, PartialEq)]
enum Quantity {
    Power,
    Energy,
}

impl Sensor {
    /// The sensor whose hwmon folder this is, if a GPU's driver made it.
    fn at(folder: PathBuf) -> Option<Self> {
        let name = line(&folder.join("name"))?;
        let driver = DRIVERS.iter().find(|driver| driver.name == name)?;
        Some(Self {
            driver,
            address: pci_address(&folder),
            folder,
        })
    }

    fn name(&self) -> String {
        let driver = self.driver.name;
        match &self.address {
            Some(address) => format!("hwmon:{driver}:{address}"),
            None => format!("hwmon:{driver}"),
        }
    }

    fn matches(&self, wanted: &HwmonSensor) -> bool {
        match wanted {
            HwmonSensor::Driver(name) => self.driver.name == name,
            HwmonSensor::Pci(address) => self.address == Some(address.to_string()),
        }
    }

    /// The first file that holds a number, or why none does.
    fn readable(&self) -> Result<(Quantity, &'static str), String> {
        let power = self.driver.power.iter().map(|f| (Quantity::Power, *f));
        let energy = self.driver.energy.map(|f| (Quantity::Energy, f));
        let mut reasons = Vec::new();
        for (quantity, file) in power.chain(energy) {
            match number(&self.folder.join(file)) {
                Ok(_) => return Ok((quantity, file)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }
}

fn sensors(sysfs: &Path) -> Vec<Sensor> {
    let folders = entries(&sysfs.join("class/hwmon"));
    folders.into_iter().filter_map(Sensor::at).collect()
}

/// The address of the GPU to which the sensor belongs.
fn pci_address(folder: &Path) -> Option<String> {
    let device = fs::canonicalize(folder.join("device")).ok()?;
    pci::normalise(device.file_name()?.to_str()?)
}

/// Opens the one sensor that is wanted.
///
/// # Errors
/// When there is none, more than one, or it cannot be read.
pub fn open(sysfs: &Path, wanted: &HwmonSensor) -> Result<Hwmon, Unavailable> {
    let all = sensors(sysfs);
    if all.is_empty() {
        return Err(Unavailable::Platform(none().into()));
    }
    let known = all.iter().map(Sensor::name).collect();
    let mut fitting: Vec<_> = all.into_iter().filter(|s| s.matches(wanted)).collect();
    let Some(sensor) = fitting.pop() else {
        return Err(Unavailable::NotFound {
            wanted: PowerSpec::Hwmon(Some(wanted.clone())),
            known,
        });
    };
    if !fitting.is_empty() {
        fitting.push(sensor);
        let candidates = fitting.iter().map(Sensor::name).collect();
        return Err(Unavailable::Ambiguous { candidates });
    }
    let (quantity, file) = sensor.readable().map_err(|why| Unavailable::TellsNothing {
        name: sensor.name(),
        power: Missing::Unreadable(why.clone()),
        energy: Missing::Unreadable(why),
    })?;
    let metric = |this| match quantity == this {
        true => Metric::Field(format!("{} {file}", sensor.driver.name)),
        false => Metric::Missing(Missing::NotOffered),
    };
    Ok(Hwmon {
        identity: SourceIdentity {
            name: sensor.name(),
            device: format!("GPU of {}", sensor.driver.name),
            covers: sensor.driver.covers,
            power: metric(Quantity::Power),
            energy: metric(Quantity::Energy),
            averaging: match quantity {
                Quantity::Power => Averaging::UNKNOWN,
                Quantity::Energy => Averaging::NONE,
            },
            pci_address: sensor.address.clone(),
        },
        quantity,
        file: sensor.folder.join(file),
        folder: sensor.folder,
    })
}

/// A GPU's sensor as a power source.
pub struct Hwmon {
    identity: SourceIdentity,
    quantity: Quantity,
    file: PathBuf,
    folder: PathBuf,
}

impl PowerSource for Hwmon {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let at = Instant::now();
        let micro = number(&self.file);
        let micro = micro.map_err(|why| PowerError::Missing(Missing::Unreadable(why)))?;
        let value = micro as f64 / 1e6;
        Ok(RawReading {
            at,
            power: (self.quantity == Quantity::Power).then_some(Watts(value)),
            energy: (self.quantity == Quantity::Energy).then_some(Joules(value)),
        })
    }

    fn state(&mut self) -> DeviceState {
        let read = |file| number(&self.folder.join(file)).ok();
        let watts = |file| read(file).map(|micro| Watts(micro as f64 / 1e6));
        // In hertz (Documentation/hwmon/sysfs-interface.rst).
        let megahertz = |file| read(file).map(|hertz| (hertz / 1_000_000) as u32);
        DeviceState {
            sm_clock_mhz: megahertz("freq1_input"),
            memory_clock_mhz: megahertz("freq2_input"),
            temperature_c: read("temp1_input").map(|milli| milli as f64 / 1e3),
            enforced_limit_w: watts("power1_cap").or_else(|| watts("power1_max")),
            default_limit_w: watts("power1_cap_default").or_else(|| watts("power1_rated_max")),
            ..DeviceState::default()
        }
    }
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
    fn power_and_energy_are_read_in_their_units() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let amd = [
            ("power1_input", "41500000\n"),
            ("power1_cap", "200000000\n"),
            ("freq1_input", "1500000000\n"),
            ("temp1_input", "45500\n"),
        ];
        plug(&sysfs, 0, "amdgpu", "0000:03:00.0", &amd);
        plug(
            &sysfs,
            1,
            "xe",
            "0000:10:00.0",
            &[("energy1_input", "2500000")],
        );
        let wanted = |text: &str| text.parse::<HwmonSensor>().expect("a sensor");
        let mut amd = open(sysfs.path(), &wanted("amdgpu")).expect("a sensor");
        let reading = amd.read().expect("readable");
        assert_eq!((reading.power, reading.energy), (Some(Watts(41.5)), None));
        let state = amd.state();
        assert_eq!(state.enforced_limit_w, Some(Watts(200.0)));
        assert_eq!(state.sm_clock_mhz, Some(1500));
        assert_eq!(state.temperature_c, Some(45.5));
        assert_eq!(state.throttle, None);
        let mut intel = open(sysfs.path(), &wanted("0000:10:00.0")).expect("a sensor");
        let reading = intel.read().expect("readable");
        assert_eq!((reading.power, reading.energy), (None, Some(Joules(2.5))));
        assert!(!intel.identity().power.is_offered());
    }

    #[test]
    fn two_sensors_of_one_driver_are_not_chosen_between() {
        let sysfs = TempDir::new().expect("a temporary folder");
        let watts = [("power1_average", "1\n")];
        plug(&sysfs, 0, "amdgpu", "0000:03:00.0", &watts);
        plug(&sysfs, 1, "amdgpu", "0000:0a:00.0", &watts);
        let driver = HwmonSensor::Driver("amdgpu".into());
        let error = open(sysfs.path(), &driver).err().expect("two fit");
        assert!(matches!(&error, Unavailable::Ambiguous { candidates } if candidates.len() == 2));
        let place = HwmonSensor::Pci("0000:04:00.0".parse().expect("an address"));
        let error = open(sysfs.path(), &place).err().expect("none fits");
        assert!(error.to_string().contains("hwmon:amdgpu:0000:0a:00.0"));
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
