//! A GPU's power and energy through NVML.

use std::time::Instant;

use nvml_wrapper::Device;
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::sys_exports::field_id::{
    NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT, NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
};

use super::gpu::{Field, Gpu, Scope, field_values};
use super::state::Fixed;
use super::{Library, NvmlGpu};
use crate::power::sensor::Averaging;
use crate::power::spec::NvmlDevice;
use crate::power::state::DeviceState;
use crate::power::{
    Coverage, Metric, Missing, PowerError, PowerSource, PowerSpec, RawReading, SourceIdentity,
    Unavailable,
};
use crate::units::{Joules, Seconds, Watts};

/// What tells power.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PowerField {
    /// A field.
    Value(Field),
    /// nvmlDeviceGetPowerUsage.
    Usage,
}

/// What tells energy.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EnergyField {
    /// A field, which comes with that of power in one call.
    Value,
    /// nvmlDeviceGetTotalEnergyConsumption.
    Function,
}

/// The energy counter as a field.
const ENERGY_FIELD: Field = Field {
    id: NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    scope: Scope::Gpu,
};

/// What tells power, the best first: now rather than averaged, and the card
/// rather than the module of which it is a part.
const POWER_FIELDS: [PowerField; 5] = [
    PowerField::Value(Field {
        id: NVML_FI_DEV_POWER_INSTANT,
        scope: Scope::Gpu,
    }),
    PowerField::Value(Field {
        id: NVML_FI_DEV_POWER_AVERAGE,
        scope: Scope::Gpu,
    }),
    PowerField::Usage,
    PowerField::Value(Field {
        id: NVML_FI_DEV_POWER_INSTANT,
        scope: Scope::Module,
    }),
    PowerField::Value(Field {
        id: NVML_FI_DEV_POWER_AVERAGE,
        scope: Scope::Module,
    }),
];

impl PowerField {
    /// As the report states it.
    fn describe(self) -> String {
        match self {
            Self::Usage => "nvmlDeviceGetPowerUsage".into(),
            Self::Value(Field { id, scope }) => {
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
            Self::Value(Field {
                scope: Scope::Module,
                ..
            }) => Coverage::Module,
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
            (Self::Value(field), _) if field.id == NVML_FI_DEV_POWER_INSTANT => Averaging::INSTANT,
            (Self::Value(_), _) => Averaging::documented(Seconds(1.0)),
            (Self::Usage, Some(Ada | Hopper | Blackwell)) => Averaging::documented(Seconds(1.0)),
            (Self::Usage, None | Some(Ampere | Unknown)) => Averaging::UNKNOWN,
            (Self::Usage, Some(_)) => Averaging::INSTANT,
        }
    }

    fn read(self, device: &Device<'_>) -> Result<Watts, NvmlError> {
        let milliwatts = match self {
            Self::Usage => device.power_usage()?.into(),
            Self::Value(field) => {
                let [milliwatts] = field_values(device, [field]);
                milliwatts?
            }
        };
        Ok(watts(milliwatts))
    }
}

impl EnergyField {
    /// As the report states it.
    fn describe(self) -> String {
        match self {
            Self::Function => "nvmlDeviceGetTotalEnergyConsumption".into(),
            Self::Value => format!("NVML field {} TOTAL_ENERGY_CONSUMPTION", ENERGY_FIELD.id),
        }
    }

    fn read(self, device: &Device<'_>) -> Result<Joules, NvmlError> {
        let millijoules = match self {
            Self::Function => device.total_energy_consumption()?,
            Self::Value => {
                let [millijoules] = field_values(device, [ENERGY_FIELD]);
                millijoules?
            }
        };
        Ok(joules(millijoules))
    }
}

fn watts(milliwatts: u64) -> Watts {
    Watts(milliwatts as f64 / 1e3)
}

fn joules(millijoules: u64) -> Joules {
    Joules(millijoules as f64 / 1e3)
}

/// Power and energy now, in one call where both are fields.
fn read_both(
    device: &Device<'_>,
    power: PowerField,
    energy: EnergyField,
) -> (Result<Watts, NvmlError>, Result<Joules, NvmlError>) {
    match (power, energy) {
        (PowerField::Value(field), EnergyField::Value) => {
            let [milliwatts, millijoules] = field_values(device, [field, ENERGY_FIELD]);
            (milliwatts.map(watts), millijoules.map(joules))
        }
        _ => (power.read(device), energy.read(device)),
    }
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
    let energy = choose_energy(&device)?;
    if let (Err(power), Err(energy)) = (&power, &energy) {
        return Err(Unavailable::TellsNothing {
            name,
            power: power.clone(),
            energy: energy.clone(),
        });
    }
    let (power_field, energy_field) = (power.as_ref().ok().copied(), energy.as_ref().ok().copied());
    let architecture = device.architecture().ok();
    let metric = |offer: Result<String, Missing>| match offer {
        Ok(field) => Metric::Field(field),
        Err(why) => Metric::Missing(why),
    };
    let fixed = Fixed::of(&device);
    Ok(NvmlSource {
        identity: SourceIdentity {
            name,
            device: match &gpu.uuid {
                Some(uuid) => format!("{} ({uuid})", gpu.name),
                None => gpu.name.clone(),
            },
            covers: power_field.map_or(Coverage::GpuBoard, PowerField::covers),
            averaging: power_field
                .map_or(Averaging::UNKNOWN, |field| field.averaging(architecture)),
            power: metric(power.map(PowerField::describe)),
            energy: metric(energy.map(EnergyField::describe)),
            pci_address: gpu.pci_address,
        },
        gpu: Gpu::new(library, index).map_err(meaning)?,
        fixed,
        power: power_field,
        energy: energy_field,
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

/// The field, where it and the function tell the same energy, else the function.
fn choose_energy(device: &Device<'_>) -> Result<Result<EnergyField, Missing>, PowerError> {
    let before = value_or_reason(EnergyField::Function.read(device))?;
    let field = value_or_reason(EnergyField::Value.read(device))?;
    let after = value_or_reason(EnergyField::Function.read(device))?;
    Ok(match (before, field, after) {
        (Ok(before), Ok(field), Ok(after)) if (before..=after).contains(&field) => {
            Ok(EnergyField::Value)
        }
        (function, _, _) => function.map(|_| EnergyField::Function),
    })
}

/// A GPU as a power source.
#[derive(Debug)]
pub struct NvmlSource {
    identity: SourceIdentity,
    gpu: Gpu,
    fixed: Fixed,
    power: Option<PowerField>,
    energy: Option<EnergyField>,
}

impl PowerSource for NvmlSource {
    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn read(&mut self) -> Result<RawReading, PowerError> {
        let device = self.gpu.device();
        let at = Instant::now();
        let (power, energy) = match (self.power, self.energy) {
            (Some(power), Some(energy)) => {
                let (power, energy) = read_both(&device, power, energy);
                (value_or_reason(power)?, value_or_reason(energy)?)
            }
            (Some(power), None) => (
                value_or_reason(power.read(&device))?,
                Err(Missing::NotOffered),
            ),
            (None, Some(energy)) => (
                Err(Missing::NotOffered),
                value_or_reason(energy.read(&device))?,
            ),
            (None, None) => (Err(Missing::NotOffered), Err(Missing::NotOffered)),
        };
        if let (Err(power), Err(energy)) = (&power, &energy) {
            let why = if self.power.is_some() { power } else { energy };
            return Err(PowerError::Missing(why.clone()));
        }
        Ok(RawReading {
            at,
            power: power.ok(),
            energy: energy.ok(),
        })
    }

    fn state(&mut self) -> DeviceState {
        self.fixed.state(&self.gpu.device())
    }
}
