//! Which power sources a machine has, and why one cannot be read.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{hwmon, nvml, rapl, sysfs};

/// A place from which power or energy may be read, and whether it can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PowerSourceStatus {
    /// Its name: `nvml:0`, `rapl:package-0`, `hwmon:amdgpu:0000:03:00.0`; the
    /// bare kind where none of that kind was found.
    pub source: String,
    /// What it measures.
    pub description: String,
    /// Place on the PCI bus of the GPU that it measures.
    pub pci_address: Option<String>,
    /// Whether it can be read.
    pub available: bool,
    /// Why it cannot be read; null where it can.
    pub reason: Option<String>,
}

impl PowerSourceStatus {
    /// A source that can be read.
    pub(super) fn ready(source: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            description: description.into(),
            pci_address: None,
            available: true,
            reason: None,
        }
    }

    /// A source that cannot be read, and why.
    pub(super) fn unavailable(
        source: impl Into<String>,
        description: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            available: false,
            reason: Some(reason.into()),
            ..Self::ready(source, description)
        }
    }

    /// The same source, of the GPU at this address.
    pub(super) fn at(self, pci_address: Option<String>) -> Self {
        Self {
            pci_address,
            ..self
        }
    }
}

/// Every power source of this machine, and one line for each kind of which
/// there is none.
pub fn discover() -> Vec<PowerSourceStatus> {
    let sysfs = Path::new(sysfs::ROOT);
    let mut sources = nvml::sources(&nvml::survey());
    sources.extend(hwmon::discover(sysfs));
    sources.extend(rapl::discover(sysfs));
    #[cfg(target_os = "macos")]
    sources.push(super::ioreport::discover());
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_source_is_accounted_for_and_every_refusal_explained() {
        let sources = discover();
        for kind in ["nvml", "hwmon", "rapl"] {
            assert!(sources.iter().any(|s| s.source.starts_with(kind)), "{kind}");
        }
        for source in sources {
            assert_eq!(source.available, source.reason.is_none(), "{source:?}");
        }
    }
}
