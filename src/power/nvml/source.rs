//! A GPU's power and energy through NVML.

use std::mem;
use std::time::Instant;

use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    nvmlFieldValue_t, nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT as UNSIGNED_INT,
};

use super::{Library, NvmlGpu};
use crate::power::sensor::Averaging;
use crate::power::spec::NvmlDevice;
use crate::power::state::{DeviceState, Throttle};
use crate::power::{
    Coverage, Metric, Missing, PowerError, PowerSource, PowerSpec, RawReading, SourceIdentity,
    Unavailable,
};
use crate::units::{Joules, Seconds, Watts};

/// nvmlPowerScopeType_t in nvml.h.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    Gpu = 0,
    Module = 1,
}

/// A function of NVML that tells power.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PowerField {
    /// A field of nvmlDeviceGetFieldValues.
    Value { id: u32, scope: Scope },
    /// nvmlDeviceGetPowerUsage.
    Usage,
}

/// What tells power, the best first: now rather than averaged, and the card
/// rather than the module of which it is a part.
const POWER_FIELDS: [PowerField; 5] = [
    PowerField::Value {
        id: NVML_FI_DEV_POWER_INSTANT,
        scope: Scope::Gpu,
    },
    PowerField::Value {
        id: NVML_FI_DEV_POWER_AVERAGE,
        scope: Scope::Gpu,
    },
    PowerField::Usage,
    PowerField::Value {
        id: NVML_FI_DEV_POWER_INSTANT,
        scope: Scope::Module,
    },
    PowerField::Value {
        id: NVML_FI_DEV_POWER_AVERAGE,
        scope: Scope::Module,
    },
];

impl PowerField {
    /// As the report states it.
    fn describe(self) -> String {
        match self {
            Self::Usage => "nvmlDeviceGetPowerUsage".into(),
            Self::Value { id, scope } => {
                let name = match id {
                    NVML_FI_DEV_POWER_INSTANT => "POWER_INSTANT",
                    _ => "POWER_AVERAGE",
                };
                let scope = match scope {
                    Scope::Gpu => "GPU",
                    Scope::Module => "module",
                };
                format!("NVML field {id} {name}, scope {scope}")
            }
        }
    }

    fn covers(self) -> Coverage {
        match self {
            Self::Value {
                scope: Scope::Module,
                ..
            } => Coverage::Module,
            _ => Coverage::GpuBoard,
        }
    }

    /// Over how long it averages, where NVIDIA says so: nvml.h gives 1 s for
    /// POWER_AVERAGE, and for nvmlDeviceGetPowerUsage on Ampere (but GA100) and
    /// newer. On older chips that function is instantaneous, and GA100 cannot be
    /// told from the other Ampere chips.
    fn averaging(self, architecture: Option<DeviceArchitecture>) -> Averaging {
        use DeviceArchitecture::{Ada, Ampere, Blackwell, Hopper, Unknown};

        match (self, architecture) {
            (Self::Value { id, .. }, _) if id == NVML_FI_DEV_POWER_INSTANT => Averaging::INSTANT,
            (Self::Value { .. }, _) => Averaging::documented(Seconds(1.0)),
            (Self::Usage, Some(Ada | Hopper | Blackwell)) => Averaging::documented(Seconds(1.0)),
            (Self::Usage, None | Some(Ampere | Unknown)) => Averaging::UNKNOWN,
            (Self::Usage, Some(_)) => Averaging::INSTANT,
        }
    }

    fn read(self, device: &Device<'_>) -> Result<Watts, NvmlError> {
        let milliwatts = match self {
            Self::Usage => device.power_usage()?,
            Self::Value { id, scope } => field_value(device, id, scope)?,
        };
        Ok(Watts(f64::from(milliwatts) / 1e3))
    }
}

/// An unsigned field of the device. The wrapper reads fields in the scope of the
/// GPU only. Fields up to 250 have the same numbers in every version of NVML.
fn field_value(device: &Device<'_>, id: u32, scope: Scope) -> Result<u32, NvmlError> {
    let library = device.nvml().lib();
    let function = nvml_sym(library.nvmlDeviceGetFieldValues.as_ref())?;
    // SAFETY: the structure is plain numbers, for which zeros are values.
    let mut field: nvmlFieldValue_t = unsafe { mem::zeroed() };
    field.fieldId = id;
    field.scopeId = scope as u32;
    // SAFETY: the handle lives as long as the library, and there is one field.
    nvml_try(unsafe { function(device.handle(), 1, &raw mut field) })?;
    nvml_try(field.nvmlReturn)?;
    if field.valueType != UNSIGNED_INT {
        return Err(NvmlError::UnexpectedVariant(field.valueType));
    }
    // SAFETY: the type says which part of the union was written.
    Ok(unsafe { field.value.uiVal })
}

/// What an error of NVML means for the quantity that was asked for.
fn meaning(error: NvmlError) -> PowerError {
    PowerError::Missing(match error {
        NvmlError::GpuLost => return PowerError::GpuLost,
        NvmlError::ResetRequired => return PowerError::ResetRequired,
        NvmlError::NotSupported => Missing::NotSupported,
        NvmlError::NoPermission => Missing::NoPermission,
        NvmlError::FailedToLoadSymbol(symbol) => Missing::SymbolMissing(symbol),
        NvmlError::NoData => Missing::NoData,
        NvmlError::NotFound => Missing::NotFound,
        error => Missing::Driver(error.to_string()),
    })
}

/// The value, or why there is none.
///
/// # Errors
/// When the device is gone.
fn value_or_reason<T>(answer: Result<T, NvmlError>) -> Result<Result<T, Missing>, PowerError> {
    match answer.map_err(meaning) {
        Ok(value) => Ok(Ok(value)),
        Err(PowerError::Missing(why)) => Ok(Err(why)),
        Err(gone) => Err(gone),
    }
}

/// Opens the GPU that is wanted.
///
/// # Errors
/// When there is none, its power is shared with others, or it tells nothing.
pub fn open(library: Library, wanted: &NvmlDevice) -> Result<NvmlSource, Unavailable> {
    let (index, gpu) = find(&library, wanted)?;
    let name = format!("nvml:{index}");
    let device = library.nvml().device_by_index(index).map_err(meaning)?;
    let what = format!("{name} ({})", gpu.name);
    if device.mig_mode().is_ok_and(|mode| mode.current != 0) {
        return Err(Unavailable::Mig(what));
    }
    if is_virtual(&device) {
        return Err(Unavailable::Virtual(what));
    }
    let power = choose_power(&device)?;
    let energy = value_or_reason(device.total_energy_consumption())?.map(drop);
    if let (Err(power), Err(energy)) = (&power, &energy) {
        return Err(Unavailable::TellsNothing {
            name,
            power: power.clone(),
            energy: energy.clone(),
        });
    }
    let field = power.as_ref().ok().copied();
    let architecture = device.architecture().ok();
    let metric = |offer: Result<String, Missing>| match offer {
        Ok(field) => Metric::Field(field),
        Err(why) => Metric::Missing(why),
    };
    let energy = energy.map(|()| "nvmlDeviceGetTotalEnergyConsumption".to_owned());
    Ok(NvmlSource {
        identity: SourceIdentity {
            name,
            device: match &gpu.uuid {
                Some(uuid) => format!("{} ({uuid})", gpu.name),
                None => gpu.name.clone(),
            },
            covers: field.map_or(Coverage::GpuBoard, PowerField::covers),
            averaging: field.map_or(Averaging::UNKNOWN, |field| field.averaging(architecture)),
            power: metric(power.map(PowerField::describe)),
            energy: metric(energy),
            pci_address: gpu.pci_address,
        },
        driver_version: library.nvml().sys_driver_version().ok(),
        library,
        index,
        field,
    })
}

/// The GPU and its number.
pub(super) fn find(library: &Library, wanted: &NvmlDevice) -> Result<(u32, NvmlGpu), Unavailable> {
    let mut known = Vec::new();
    for (index, gpu) in (0..).zip(library.gpus()?) {
        let fits = match (wanted, &gpu) {
            (NvmlDevice::Index(number), _) => *number == index,
            (NvmlDevice::Uuid(uuid), Ok(gpu)) => gpu.uuid.as_ref() == Some(uuid),
            (NvmlDevice::Pci(place), Ok(gpu)) => gpu.pci_address == Some(place.to_string()),
            (_, Err(_)) => false,
        };
        match gpu {
            Ok(gpu) if fits => return Ok((index, gpu)),
            // The survey keeps the words only; what they mean decides.
            Err(why) if fits => {
                let asked = library.nvml().device_by_index(index);
                let error = asked.err().map(meaning);
                return Err(error
                    .unwrap_or(PowerError::Missing(Missing::Driver(why)))
                    .into());
            }
            Ok(gpu) => known.push(format!("nvml:{index} ({})", gpu.name)),
            Err(_) => {}
        }
    }
    Err(Unavailable::NotFound {
        wanted: PowerSpec::Nvml(Some(wanted.clone())),
        known,
    })
}

/// Whether a hypervisor lends a part of a card. A card passed through as a whole
/// tells its own power.
#[cfg(target_os = "linux")]
fn is_virtual(device: &Device<'_>) -> bool {
    use nvml_wrapper::enum_wrappers::device::GpuVirtualizationMode;

    matches!(
        device.virtualization_mode(),
        Ok(GpuVirtualizationMode::Vgpu)
    )
}

/// The wrapper asks on Linux only. A virtual GPU tells no power in any case.
#[cfg(not(target_os = "linux"))]
fn is_virtual(_device: &Device<'_>) -> bool {
    false
}

/// The first field that has a value, or why the preferred one has none.
fn choose_power(device: &Device<'_>) -> Result<Result<PowerField, Missing>, PowerError> {
    let mut first = None;
    for field in POWER_FIELDS {
        match value_or_reason(field.read(device))? {
            Ok(_) => return Ok(Ok(field)),
            Err(why) => {
                // A missing permission says more than that a newer field is
                // unknown.
                if first.is_none() || why == Missing::NoPermission {
                    first = Some(why);
                }
            }
        }
    }
    Ok(Err(first.unwrap_or(Missing::NotSupported)))
}

/// A GPU as a power source.
#[derive(Debug)]
pub struct NvmlSource {
    identity: SourceIdentity,
    library: Library,
    driver_version: Option<String>,
    index: u32,
    field: Option<PowerField>,
}

impl NvmlSource {
    fn device(&self) -> Result<Device<'_>, NvmlError> {
        let nvml: &Nvml = self.library.nvml();
        nvml.device_by_index(self.index)
    }
}

impl PowerSource for NvmlSource {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let device = self.device().map_err(meaning)?;
        let at = Instant::now();
        let power = match self.field {
            Some(field) => value_or_reason(field.read(&device)),
            None => Ok(Err(Missing::NotOffered)),
        }?;
        let energy = match self.identity.energy.is_offered() {
            true => value_or_reason(device.total_energy_consumption()),
            false => Ok(Err(Missing::NotOffered)),
        }?;
        if let (Err(power), Err(energy)) = (&power, &energy) {
            let why = if self.field.is_some() { power } else { energy };
            return Err(PowerError::Missing(why.clone()));
        }
        Ok(RawReading {
            at,
            power: power.ok(),
            energy: energy
                .ok()
                .map(|millijoules| Joules(millijoules as f64 / 1e3)),
        })
    }

    fn state(&mut self) -> DeviceState {
        let Ok(device) = self.device() else {
            return DeviceState::default();
        };
        let watts = |milliwatts: u32| Watts(f64::from(milliwatts) / 1e3);
        DeviceState {
            sm_clock_mhz: device.clock_info(Clock::SM).ok(),
            max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
            memory_clock_mhz: device.clock_info(Clock::Memory).ok(),
            temperature_c: device
                .temperature(TemperatureSensor::Gpu)
                .ok()
                .map(f64::from),
            enforced_limit_w: device.enforced_power_limit().ok().map(watts),
            default_limit_w: device.power_management_limit_default().ok().map(watts),
            // The states that are not known are numbered above 15.
            p_state: device
                .performance_state()
                .ok()
                .map(|p| p.as_c())
                .filter(|p| *p < 16),
            throttle: throttle_bits(&device).ok().map(Throttle::from_nvml),
            persistence_mode: persistence_mode(&device),
            ecc: device
                .is_ecc_enabled()
                .ok()
                .map(|mode| mode.currently_enabled),
            mig: device.mig_mode().ok().map(|mode| mode.current != 0),
            driver_version: self.driver_version.clone(),
            utilization_percent: device.utilization_rates().ok().map(|rates| rates.gpu),
        }
    }
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
