//! Clocks, limits and modes of a GPU through NVML.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, PerformancePolicy, TemperatureSensor};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT, NVML_FI_DEV_PERF_POLICY_POWER,
    NVML_FI_DEV_PERF_POLICY_THERMAL,
};

use super::gpu::{Field, Scope, field_values};
use crate::power::state::{DeviceState, Slowed, Throttle};
use crate::units::{Seconds, Watts};

/// What does not change while a GPU is watched, asked for once.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    max_sm_clock_mhz: Option<u32>,
    default_limit_w: Option<Watts>,
    persistence_mode: Option<bool>,
    ecc: Option<bool>,
    mig: Option<bool>,
    driver_version: Option<String>,
}

impl Fixed {
    pub(super) fn of(device: &Device<'_>) -> Self {
        Self {
            max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
            default_limit_w: device.power_management_limit_default().ok().map(watts),
            persistence_mode: persistence_mode(device),
            ecc: device
                .is_ecc_enabled()
                .ok()
                .map(|mode| mode.currently_enabled),
            mig: device.mig_mode().ok().map(|mode| mode.current != 0),
            driver_version: device.nvml().sys_driver_version().ok(),
        }
    }

    /// The state of `device` now.
    pub(super) fn state(&self, device: &Device<'_>) -> DeviceState {
        DeviceState {
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            max_sm_clock_mhz: self.max_sm_clock_mhz,
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_c: device
                .temperature(TemperatureSensor::Gpu)
                .ok()
                .map(f64::from),
            enforced_limit_w: device.enforced_power_limit().ok().map(watts),
            default_limit_w: self.default_limit_w,
            // The states that are not known are numbered above 15.
            p_state: device
                .performance_state()
                .ok()
                .map(|p| p.as_c())
                .filter(|p| *p < 16),
            throttle: throttle_bits(device).ok().map(Throttle::from_nvml),
            slowed: slowed(device),
            persistence_mode: self.persistence_mode,
            ecc: self.ecc,
            mig: self.mig,
            driver_version: self.driver_version.clone(),
            utilization_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
        }
    }
}

fn watts(milliwatts: u32) -> Watts {
    Watts(f64::from(milliwatts) / 1e3)
}

#[cfg(target_os = "linux")]
fn persistence_mode(device: &Device<'_>) -> Option<bool> {
    device.is_in_persistent_mode().ok()
}

/// The mode is Linux's.
#[cfg(not(target_os = "linux"))]
fn persistence_mode(_device: &Device<'_>) -> Option<bool> {
    None
}

/// All bits, also those that the wrapper does not know.
fn throttle_bits(device: &Device<'_>) -> Result<u64, NvmlError> {
    let library = device.nvml().lib();
    let function = nvml_sym(library.nvmlDeviceGetCurrentClocksThrottleReasons.as_ref())?;
    let mut bits = 0;
    // SAFETY: the handle lives as long as the library, and `bits` can be written.
    nvml_try(unsafe { function(device.handle(), &raw mut bits) })?;
    Ok(bits)
}

/// For how long the driver has slowed the GPU down, in nanoseconds by its own count:
/// fields, in one call, and where a driver does not have one, the function that came
/// before. `None` where it has neither.
fn slowed(device: &Device<'_>) -> Option<Slowed> {
    let counters = [
        (NVML_FI_DEV_PERF_POLICY_POWER, PerformancePolicy::Power),
        (NVML_FI_DEV_PERF_POLICY_THERMAL, PerformancePolicy::Thermal),
        (
            NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT,
            PerformancePolicy::BoardLimit,
        ),
    ];
    let fields = counters.each_ref().map(|(id, _)| Field {
        id: *id,
        scope: Scope::Gpu,
    });
    let values = field_values(device, fields);
    let of_function = |policy: PerformancePolicy| {
        let violation = device.violation_status(policy).ok()?;
        Some(violation.violation_time)
    };
    let mut told = counters.map(|(_, policy)| policy).into_iter().zip(values);
    let mut next = || {
        let (policy, value) = told.next()?;
        let nanoseconds = value.ok().or_else(|| of_function(policy))?;
        Some(Seconds(nanoseconds as f64 / 1e9))
    };
    let slowed = Slowed {
        power_s: next(),
        thermal_s: next(),
        board_limit_s: next(),
    };
    (slowed != Slowed::default()).then_some(slowed)
}
