//! The script: which devices there are, what they draw and what goes wrong.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Instant;

use sensor_model::{Load, Sensor};
use serde::Deserialize;

use crate::{LIMITS, SCRIPT};

/// An NVML return code.
pub type Code = u32;

/// Everything that the script says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// What `nvmlInit_v2` answers; 0 is success.
    pub init: Code,
    /// What is counted in place of the devices.
    pub count: Option<u32>,
    /// The devices.
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    pub name: String,
    pub uuid: String,
    /// As NVML writes it, with eight digits of domain.
    pub bus_id: String,
    pub pci_device_id: u32,
    pub memory_bytes: u64,
    pub architecture: u32,
    /// Power that it really draws.
    pub load: Load,
    /// What POWER_INSTANT and the energy counter show of it.
    pub sensor: Option<Sensor>,
    /// What POWER_AVERAGE and nvmlDeviceGetPowerUsage show of it, where that is
    /// something else.
    pub average: Option<Sensor>,
    /// Power fields have values for these scopes only: 0 GPU, 1 module.
    pub scopes: Vec<u32>,
    /// Shown in place of every power, in watts.
    pub shown_watts: Option<f64>,
    /// From when the energy counter stands still.
    pub counter_stuck_at: Option<f64>,
    /// When the energy counter begins again from zero.
    pub counter_restarts_at: Option<f64>,
    /// After how long it does so, again and again.
    pub counter_restarts_every: Option<f64>,
    /// The highest power limit, with which the device comes; the lowest is a third
    /// of it.
    pub limit_watts: f64,
    /// Another limit, which no program sets: the enforced one is never higher.
    pub other_limit_watts: Option<f64>,
    pub throttle_reasons: u64,
    /// Until when they apply; for ever where it is not set.
    pub throttled_until: Option<f64>,
    pub utilization_percent: u32,
    /// Counters of the time for which it was slowed down, by the name of the policy:
    /// `POWER`, `THERMAL` or `BOARD_LIMIT`. The driver does not know the others.
    pub slowed: BTreeMap<String, Slowed>,
    /// Processes that use it.
    pub processes: Vec<Process>,
    /// Whether the process that loaded the library is one of them.
    pub lists_itself: bool,
    pub mig: bool,
    /// NVML's number: 0 none, 1 passed through, 2 vGPU.
    pub virtualization_mode: u32,
    /// Error of a function, or of a power field by NVML's name for it
    /// (`POWER_INSTANT`); `*` stands for every function of the device.
    pub faults: BTreeMap<String, Fault>,
}

/// A counter of the time for which a device was slowed down.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slowed {
    /// From when it counts, all of the time.
    #[serde(default)]
    pub from: f64,
    /// When it begins again from zero.
    #[serde(default)]
    pub restarts_at: Option<f64>,
}

impl Slowed {
    /// Nanoseconds on the counter at `t`.
    pub fn nanoseconds(self, t: f64) -> u64 {
        // A counter that has been running for a while when the test begins.
        const HEAD_START: f64 = 1000.0;
        let counted = match self.restarts_at {
            Some(restart) if restart <= t => t - restart,
            _ => HEAD_START + (t - self.from).max(0.0),
        };
        (counted * 1e9) as u64
    }
}

/// A process that uses a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it draws; else it computes.
    #[serde(default)]
    pub graphics: bool,
}

/// An error that a function answers with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub code: Code,
    /// From when.
    #[serde(default)]
    pub after: f64,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            name: "Testcard 1".into(),
            uuid: "GPU-1".into(),
            bus_id: "00000000:0A:00.0".into(),
            pci_device_id: 0x2684_10de,
            memory_bytes: 24 << 30,
            architecture: 7,
            load: Load::default(),
            sensor: None,
            average: None,
            scopes: vec![0],
            shown_watts: None,
            counter_stuck_at: None,
            counter_restarts_at: None,
            counter_restarts_every: None,
            limit_watts: 300.0,
            other_limit_watts: None,
            throttle_reasons: 0,
            throttled_until: None,
            utilization_percent: 100,
            slowed: BTreeMap::new(),
            processes: Vec::new(),
            lists_itself: false,
            mig: false,
            virtualization_mode: 0,
            faults: BTreeMap::new(),
        }
    }
}

impl Device {
    /// Why its clocks are lower than they could be, as NVML's bits, at `t`.
    pub fn reasons(&self, t: f64) -> u64 {
        let is_over = self.throttled_until.is_some_and(|until| until <= t);
        if is_over { 0 } else { self.throttle_reasons }
    }

    /// What `function` answers at `t` when it is told to fail.
    pub fn fault(&self, function: &str, t: f64) -> Option<Code> {
        [function, "*"]
            .iter()
            .filter_map(|name| self.faults.get(*name))
            .find(|fault| fault.after <= t)
            .map(|fault| fault.code)
    }

    /// Milliwatts that a power field shows at `t`.
    pub fn milliwatts(&self, averaged: bool, t: f64) -> Option<u32> {
        let averages = self.average.as_ref().filter(|_| averaged);
        let sensor = averages.or(self.sensor.as_ref())?;
        let watts = self.shown_watts;
        let watts = watts.unwrap_or_else(|| sensor.power(&self.load, t));
        Some((watts * 1e3).round() as u32)
    }

    /// Millijoules on the counter at `t`.
    pub fn millijoules(&self, t: f64) -> Option<u64> {
        let sensor = self.sensor.as_ref()?;
        let at = |t| sensor.energy(&self.load, t);
        let t = self.counter_stuck_at.map_or(t, |stuck| t.min(stuck));
        let again = |every: f64| (t / every).floor() * every;
        let again = self.counter_restarts_every.map(again);
        let before = match self.counter_restarts_at.or(again.filter(|&at| at > 0.0)) {
            Some(restart) if restart <= t => at(restart)?,
            _ => 0.0,
        };
        // A counter that has been running for a while when the test begins.
        const HEAD_START: f64 = 1000.0;
        let restarted = before > 0.0;
        let start = if restarted { 0.0 } else { HEAD_START };
        Some(((at(t)? - before + start) * 1e3).round() as u64)
    }
}

/// The script and what has happened since the library was loaded.
pub struct Stage {
    pub script: Script,
    begin: Instant,
    /// Every limit that was set, by whichever process: a line `DEVICE MILLIWATTS`
    /// each.
    limits: Option<PathBuf>,
}

impl Stage {
    /// Seconds since the library was loaded.
    pub fn now(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// The limit that was set last for the device at `position`, in milliwatts.
    pub fn limit(&self, position: usize) -> Option<u32> {
        let set = std::fs::read_to_string(self.limits.as_ref()?).ok()?;
        let of_device = |line: &str| {
            let (device, milliwatts) = line.split_once(' ')?;
            (device.parse() == Ok(position)).then(|| milliwatts.parse().ok())?
        };
        set.lines().rev().find_map(of_device)
    }

    /// Sets it, for every process that has this copy of the library.
    pub fn set_limit(&self, position: usize, milliwatts: u32) -> io::Result<()> {
        let path = self.limits.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(format!("{position} {milliwatts}\n").as_bytes())
    }
}

/// The one stage of this copy of the library.
pub static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let library = library_path();
    let beside = |name| library.as_ref().map(|library| library.with_file_name(name));
    let text = beside(SCRIPT).and_then(|path| std::fs::read_to_string(path).ok());
    let script = text.map(|text| serde_json::from_str(&text).expect("the script is understood"));
    Stage {
        script: script.unwrap_or_default(),
        begin: Instant::now(),
        limits: beside(LIMITS),
    }
});

/// The file that holds this very code.
fn library_path() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr};
    use std::os::unix::ffi::OsStrExt;

    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let code = library_path as *const libc::c_void;
    // SAFETY: the address is that of a function, and `info` has room for the
    // answer, which is read only where the call says that it is there.
    let file = unsafe {
        if libc::dladdr(code, info.as_mut_ptr()) == 0 {
            return None;
        }
        CStr::from_ptr(info.assume_init().dli_fname)
    };
    Some(PathBuf::from(OsStr::from_bytes(file.to_bytes())))
}
