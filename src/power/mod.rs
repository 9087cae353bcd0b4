//! Power sources: which are there, and which belongs to an adapter.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod hwmon;
pub mod nvml;
pub mod rapl;

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
    fn ready(source: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            description: description.into(),
            pci_address: None,
            available: true,
            reason: None,
        }
    }

    /// A source that cannot be read, and why.
    fn unavailable(
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
    fn at(self, pci_address: Option<String>) -> Self {
        Self {
            pci_address,
            ..self
        }
    }
}

/// Every power source of this machine, and one line for each kind of which
/// there is none.
pub fn discover() -> Vec<PowerSourceStatus> {
    let sysfs = Path::new("/sys");
    let mut sources = nvml::sources(&nvml::survey());
    sources.extend(hwmon::discover(sysfs));
    sources.extend(rapl::discover(sysfs));
    sources
}

/// Whether the counter at `path` holds a number, and if not why.
fn probe_counter(path: &Path) -> Result<(), String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
    match text.trim().parse::<u64>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("{name} holds no number: {:?}", text.trim())),
    }
}

fn unreadable(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{name} is readable by root only"),
        io::ErrorKind::NotFound => format!("{name} is missing"),
        _ => format!("{name} cannot be read: {error}"),
    }
}

/// What the folder holds, in the order of names; nothing where it cannot be
/// read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// The text of a one-line sysfs file.
fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_only_root_reads_says_so() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let reason = unreadable("energy_uj", &error);
        assert_eq!(reason, "energy_uj is readable by root only");
    }

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
