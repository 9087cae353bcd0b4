//! What a run knows of its power source before the first case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Sensor, SourceIdentity};
use crate::units::Watts;

/// The power source of a run, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PowerSetup {
    /// What `--power` asked for.
    pub wanted: String,
    /// What is read; null where there is no source.
    pub source: Option<SourceIdentity>,
    /// What its sensor does with time: as found before the first case, and what the
    /// windows have shown since.
    pub sensor: Option<Sensor>,
    /// What the device drew before flopwatt opened it, while the sensor was looked at for
    /// 2 s: less than the power of the open, idle device, which net figures leave out.
    /// Null where its power is not read, and in reports before schema 1.5.
    #[serde(default)]
    pub before_open_w: Option<Watts>,
    /// Why there is no source; null where there is one.
    pub reason: Option<String>,
}
