//! What a device says of itself beside its power.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nvml::Limits;
use crate::units::{Seconds, Watts};

/// Clocks, limits and modes at one moment. Null is what the source does not
/// tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceState {
    /// Clock of the processors, in MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Highest clock that the processors can be set to, in MHz.
    pub max_sm_clock_mhz: Option<u32>,
    /// Clock of the memory, in MHz.
    pub memory_clock_mhz: Option<u32>,
    /// Temperature of the chip, in °C.
    pub temperature_c: Option<f64>,
    /// Power limit in force, the lowest of all that apply.
    pub enforced_limit_w: Option<Watts>,
    /// Power limit that the device comes with.
    pub default_limit_w: Option<Watts>,
    /// Performance state: 0 is the fastest, 15 the slowest.
    pub p_state: Option<u32>,
    /// Why clocks are lower than they could be.
    pub throttle: Option<Throttle>,
    /// For how long they were, by the driver's own count since it was loaded.
    #[serde(default)]
    pub slowed: Option<Slowed>,
    /// Whether the driver stays loaded while nothing uses it.
    pub persistence_mode: Option<bool>,
    /// Whether memory is error-corrected.
    pub ecc: Option<bool>,
    /// Whether the GPU is divided into instances.
    pub mig: Option<bool>,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// Share of the last sensing period in which a kernel ran, in percent.
    pub utilization_percent: Option<u32>,
}

impl DeviceState {
    /// The power limits of that moment.
    pub fn limits(&self) -> Limits {
        Limits {
            enforced_w: self.enforced_limit_w,
            default_w: self.default_limit_w,
        }
    }
}

/// For how long a driver has slowed a GPU down. Null is what it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slowed {
    /// To stay within the power limit.
    pub power_s: Option<Seconds>,
    /// Because of heat.
    pub thermal_s: Option<Seconds>,
    /// To stay within what the board can carry.
    pub board_limit_s: Option<Seconds>,
}

/// Why clocks are lower than they could be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Throttle {
    /// The reasons that are known.
    pub reasons: Vec<ThrottleReason>,
    /// The driver's bits.
    pub bits: u64,
}

/// A reason for which clocks are lower than they could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ThrottleReason {
    /// Nothing runs.
    GpuIdle,
    /// A clock was set by hand.
    ApplicationsClocks,
    /// The power limit is reached; normal under a full load.
    SwPowerCap,
    /// Hardware slows down: heat, a power brake or too high a draw.
    HwSlowdown,
    /// Another GPU of the group is slower.
    SyncBoost,
    /// Software slows down because of heat.
    SwThermal,
    /// Hardware slows down because of heat.
    HwThermal,
    /// The power supply asks for less.
    HwPowerBrake,
    /// A display's clock is set.
    DisplayClock,
}

/// NVML's bits (nvmlClocksEventReasons in nvml.h).
const BITS: [(u64, ThrottleReason); 9] = [
    (0x1, ThrottleReason::GpuIdle),
    (0x2, ThrottleReason::ApplicationsClocks),
    (0x4, ThrottleReason::SwPowerCap),
    (0x8, ThrottleReason::HwSlowdown),
    (0x10, ThrottleReason::SyncBoost),
    (0x20, ThrottleReason::SwThermal),
    (0x40, ThrottleReason::HwThermal),
    (0x80, ThrottleReason::HwPowerBrake),
    (0x100, ThrottleReason::DisplayClock),
];

impl ThrottleReason {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::GpuIdle => "gpu-idle",
            Self::ApplicationsClocks => "applications-clocks",
            Self::SwPowerCap => "sw-power-cap",
            Self::HwSlowdown => "hw-slowdown",
            Self::SyncBoost => "sync-boost",
            Self::SwThermal => "sw-thermal",
            Self::HwThermal => "hw-thermal",
            Self::HwPowerBrake => "hw-power-brake",
            Self::DisplayClock => "display-clock",
        }
    }

    /// Whether a figure measured under it is not that of the device at its best:
    /// heat or the power supply, as opposed to idling and limits.
    pub fn is_a_fault(self) -> bool {
        matches!(
            self,
            Self::HwSlowdown | Self::SwThermal | Self::HwThermal | Self::HwPowerBrake
        )
    }
}

impl Throttle {
    /// From NVML's bits.
    pub fn from_nvml(bits: u64) -> Self {
        let set = BITS.iter().filter(|(bit, _)| bits & bit != 0);
        Self {
            reasons: set.map(|(_, reason)| *reason).collect(),
            bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_kept() {
        let throttle = Throttle::from_nvml(0x4 | 0x40 | 0x8000);
        assert_eq!(
            throttle.reasons,
            [ThrottleReason::SwPowerCap, ThrottleReason::HwThermal]
        );
        assert_eq!(throttle.bits, 0x8044);
        assert_eq!(Throttle::from_nvml(0).reasons, []);
    }

    #[test]
    fn names_in_json_are_those_in_messages() {
        for (_, reason) in BITS {
            let json = serde_json::to_value(reason).expect("an enum serialises");
            assert_eq!(json, reason.name());
        }
    }
}
