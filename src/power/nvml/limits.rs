//! The power limit of a GPU through NVML: what is allowed, what is in force, and
//! setting it.

use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper::Device;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Library;
use crate::power::PowerError;
use crate::units::Watts;

/// The longest that a limit may take to come into force.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked for meanwhile.
const GLANCE: Duration = Duration::from_millis(20);

/// Why a power limit cannot be read or set.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
#[serde(tag = "code", content = "detail", rename_all = "kebab-case")]
pub enum LimitError {
    /// The driver keeps it from this user.
    #[error(
        "setting a power limit takes the rights of an administrator: run flopwatt as root, for \
         example with `sudo -E`, which keeps the environment"
    )]
    NoPermission,
    /// The device or its driver has no limit to set.
    #[error("this device's power limit cannot be set")]
    NotSupported,
    /// The device does not allow this limit.
    #[error("{wanted_w} is outside of what this device allows: {least_w} to {most_w}")]
    OutOfRange {
        /// What was asked for.
        wanted_w: Watts,
        /// The lowest limit.
        least_w: Watts,
        /// The highest.
        most_w: Watts,
    },
    /// Another limit applies.
    #[error(
        "a power limit of {wanted_w} was set, yet {enforced_w} is in force: another limit applies \
         or another program sets one"
    )]
    NotInForce {
        /// What was set.
        wanted_w: Watts,
        /// What applies.
        enforced_w: Watts,
    },
    /// The device is gone.
    #[error(transparent)]
    Device(PowerError),
    /// Another error of the driver or its library.
    #[error("the driver says: {0}")]
    Driver(String),
}

impl From<NvmlError> for LimitError {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::NoPermission => Self::NoPermission,
            NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) => Self::NotSupported,
            NvmlError::GpuLost => Self::Device(PowerError::GpuLost),
            NvmlError::ResetRequired => Self::Device(PowerError::ResetRequired),
            error => Self::Driver(error.to_string()),
        }
    }
}

/// The limits that a device allows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allowed {
    /// The lowest.
    pub least_w: Watts,
    /// The highest.
    pub most_w: Watts,
}

impl Allowed {
    /// Refuses a limit that the device does not allow.
    ///
    /// # Errors
    /// When it does not, with the limits that it does allow.
    pub fn check(self, wanted_w: Watts) -> Result<(), LimitError> {
        let Self { least_w, most_w } = self;
        if (least_w..=most_w).contains(&wanted_w) {
            return Ok(());
        }
        Err(LimitError::OutOfRange {
            wanted_w,
            least_w,
            most_w,
        })
    }
}

/// A GPU whose power limit can be set.
#[derive(Debug)]
pub struct LimitedGpu {
    library: Library,
    index: u32,
}

impl LimitedGpu {
    /// The GPU with NVML's number `index`.
    pub fn new(library: Library, index: u32) -> Self {
        Self { library, index }
    }

    fn device(&self) -> Result<Device<'_>, LimitError> {
        Ok(self.library.nvml().device_by_index(self.index)?)
    }

    /// The limits that it allows.
    ///
    /// # Errors
    /// When the driver does not tell.
    pub fn allowed(&self) -> Result<Allowed, LimitError> {
        let constraints = self.device()?.power_management_limit_constraints()?;
        Ok(Allowed {
            least_w: watts(constraints.min_limit),
            most_w: watts(constraints.max_limit),
        })
    }

    /// The limit that was set, by whoever set it last.
    ///
    /// # Errors
    /// When the driver does not tell.
    pub fn limit(&self) -> Result<Watts, LimitError> {
        Ok(watts(self.device()?.power_management_limit()?))
    }

    /// Sets the limit.
    ///
    /// # Errors
    /// When the device or the driver refuses.
    pub fn set(&self, wanted_w: Watts) -> Result<(), LimitError> {
        self.allowed()?.check(wanted_w)?;
        // What the range allows fits into NVML's 32 bits of milliwatts.
        let milliwatts = (wanted_w.0 * 1e3).round() as u32;
        Ok(self.device()?.set_power_management_limit(milliwatts)?)
    }

    /// Waits until the limit is the lowest of all that apply.
    ///
    /// # Errors
    /// When it is not within 2 s.
    pub fn wait_until_enforced(&self, wanted_w: Watts) -> Result<(), LimitError> {
        let begin = Instant::now();
        loop {
            let enforced_w = watts(self.device()?.enforced_power_limit()?);
            if enforced_w == wanted_w {
                return Ok(());
            }
            if begin.elapsed() > IN_FORCE_WITHIN {
                return Err(LimitError::NotInForce {
                    wanted_w,
                    enforced_w,
                });
            }
            thread::sleep(GLANCE);
        }
    }
}

fn watts(milliwatts: u32) -> Watts {
    Watts(f64::from(milliwatts) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_range_are_allowed() {
        let allowed = Allowed {
            least_w: Watts(100.0),
            most_w: Watts(300.0),
        };
        assert_eq!(allowed.check(Watts(100.0)), Ok(()));
        assert_eq!(allowed.check(Watts(300.0)), Ok(()));
        let refused = allowed.check(Watts(300.5)).expect_err("too high");
        let range = "300.5 W is outside of what this device allows: 100 W to 300 W";
        assert_eq!(refused.to_string(), range);
        assert!(allowed.check(Watts(f64::NAN)).is_err());
    }
}
