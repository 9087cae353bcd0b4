//! `--power-limits`: from the command line to limits that can be set.

use anyhow::{Context, anyhow};

use super::{Failure, setup};
use crate::gpu::adapter::AdapterDescription;
use crate::power::spec::{NvmlDevice, PowerSpec};
use crate::power::{self, SourceIdentity};
use crate::session::PowerLimits;
use crate::units::Watts;

/// A limit as people write it, to the milliwatt, which is what NVML takes.
pub fn watts(text: &str) -> Result<Watts, String> {
    let watts: f64 = text
        .trim()
        .parse()
        .map_err(|_| "it is no number of watts")?;
    if watts.is_finite() && watts > 0.0 {
        return Ok(Watts((watts * 1e3).round() / 1e3));
    }
    Err("it must be more than 0 W".into())
}

/// The limits in their order, each once.
pub fn distinct(wanted: &[Watts]) -> Vec<Watts> {
    let mut limits: Vec<Watts> = Vec::new();
    for watts in wanted {
        if !limits.contains(watts) {
            limits.push(*watts);
        }
    }
    limits
}

/// Takes charge of the limit of the GPU that `spec` names; `None` without limits.
pub fn start(
    wanted: &[Watts],
    spec: &PowerSpec,
    adapter: &AdapterDescription,
) -> Result<Option<PowerLimits>, Failure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let refused = "no power limit can be set";
    let gpu = gpu(spec, adapter).context(refused)?;
    let mut guard = setup::this_program()?;
    guard.args(["limit-guard", &gpu.to_string()]);
    let limits = PowerLimits::start(guard, gpu, wanted.to_vec()).context(refused)?;
    Ok(Some(limits))
}

/// NVML's number of the GPU that is measured.
fn gpu(spec: &PowerSpec, adapter: &AdapterDescription) -> anyhow::Result<u32> {
    let (name, place) = match spec {
        PowerSpec::Auto | PowerSpec::Nvml(None) if adapter.is_software() => {
            return Err(anyhow!(
                "limits are set through NVML, and {} is a software adapter: choose a GPU with \
                 --adapter, or set the limits of one with --power nvml:0",
                adapter.name
            ));
        }
        PowerSpec::Auto | PowerSpec::Nvml(_) => {
            let source = power::open(spec, Some(adapter))
                .context("limits are set through NVML, and no GPU of it can be used")?;
            let SourceIdentity {
                name, pci_address, ..
            } = source.identity();
            (name.clone(), pci_address.clone())
        }
        other => (other.to_string(), None),
    };
    let elsewhere = place.zip(adapter.pci_address.as_ref());
    if let Some((place, adapter)) = elsewhere.filter(|(place, adapter)| place != *adapter) {
        return Err(anyhow!(
            "{name} is at {place}, but the adapter that is measured at {adapter}"
        ));
    }
    match name.parse() {
        Ok(PowerSpec::Nvml(Some(NvmlDevice::Index(gpu)))) => Ok(gpu),
        _ => Err(anyhow!(
            "limits are set through NVML, and the power source {name} is another: choose a GPU of \
             NVML with --power nvml:0 (`flopwatt power` lists them)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_whole_milliwatts() {
        assert_eq!(watts("300"), Ok(Watts(300.0)));
        assert_eq!(watts(" 250.1234"), Ok(Watts(250.123)));
        for wrong in ["", "0", "-5", "NaN", "inf", "300 W", "all"] {
            assert!(watts(wrong).is_err(), "{wrong}");
        }
    }
}
