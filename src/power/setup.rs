//! What a run knows of its power source before the first case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Sensor, SourceIdentity};

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
    /// Why there is no source; null where there is one.
    pub reason: Option<String>,
}
