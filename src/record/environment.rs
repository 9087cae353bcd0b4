//! Where a report comes from: machine and source revision.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sysinfo::System;

use super::Container;
use crate::units::Bytes;

/// Name of a host that does not tell its own.
pub const UNKNOWN_HOST: &str = "unknown";

/// The machine that measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Operating system and its version.
    pub os: Option<String>,
    /// Kernel version.
    pub kernel: Option<String>,
    /// Instruction set architecture.
    pub arch: String,
    /// Processor model.
    pub cpu: Option<String>,
    /// Logical processors that this process may use.
    pub cpus: Option<usize>,
    /// Main memory.
    pub memory_bytes: Option<Bytes>,
    /// The container that this program ran in; null where nothing tells of one.
    #[serde(default)]
    pub container: Option<Container>,
}

impl Host {
    /// Its processors, which are what a software adapter computes on: `2 × MODEL`.
    pub fn processors(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or("an unknown CPU");
        match self.cpus {
            Some(cpus) => format!("{cpus} × {cpu}"),
            None => cpu.to_owned(),
        }
    }

    /// This machine.
    pub fn this() -> Self {
        let system = System::new().ok().map(|mut system| {
            system.refresh_cpu_all();
            system.refresh_memory();
            system
        });
        let brand = system.as_ref().and_then(|system| system.cpus().first());
        let brand = brand.map(|cpu| cpu.brand().trim().to_owned());
        let memory = system.as_ref().map(|system| Bytes(system.total_memory()));
        Self {
            name: System::host_name().unwrap_or_else(|_| UNKNOWN_HOST.into()),
            os: System::long_os_version().ok(),
            kernel: System::kernel_version().ok(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: brand.filter(|brand| !brand.is_empty()),
            cpus: std::thread::available_parallelism().ok().map(Into::into),
            memory_bytes: memory.filter(|m| m.0 > 0),
            container: Container::this(),
        }
    }
}

/// The command line, for the record; what is not Unicode is replaced.
pub fn command_line() -> Vec<String> {
    let arguments = std::env::args_os();
    arguments
        .map(|a| a.to_string_lossy().into_owned())
        .collect()
}

/// A source revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Git {
    /// Commit hash.
    pub commit: String,
    /// Whether files differed from that commit.
    pub dirty: bool,
}

/// The revision that this program was built from, where the build knew it.
pub fn built_from() -> Option<Git> {
    let described = option_env!("FLOPWATT_GIT")?;
    let commit = described.trim_end_matches("-dirty");
    Some(Git {
        commit: commit.to_owned(),
        dirty: commit != described,
    })
}
