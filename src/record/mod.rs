//! The report: the one record of a run, from which everything else is derived.

mod anonymise;
mod container;
mod content;
mod dump;
mod environment;
mod folder;
mod npy;
mod plan;
mod relate;
mod shaders;
mod slurm;
mod store;
mod trace;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Uuid};

pub use anonymise::{WITHHELD, anonymise};
pub use container::Container;
pub use content::{Content, seal, unsealed};
pub use dump::Computed;
pub use environment::{Git, Host, UNKNOWN_HOST, built_from, command_line};
pub use folder::{adapter_names, folder_name, group_name};
pub use plan::{Planned, Resumption, RunPlan, steps};
pub use relate::{find_datasheet, peak_kind};
pub use shaders::{Shaders, ShadersError};
pub use slurm::SlurmTask;
pub use store::{
    LoadError, REPORT_FILE, SaveError, from_json, is_readable, load, read, save, stream_into,
    write_into, write_named,
};
pub use trace::{PowerTrace, TracePoint, Traces, load_traces, trace_name, trace_points};

use crate::datasheet::Datasheet;
use crate::gpu::adapter::AdapterDescription;
use crate::kernel::inputs::Data;
use crate::measure::again::{Again, When};
use crate::measure::measurement::{Flag, Measurement, Status};
use crate::measure::tier::Tier;
use crate::power::PowerSetup;
use crate::tune::Tuning;

/// Version of the record: readers of the same major version understand each
/// other.
pub const SCHEMA_VERSION: &str = "1.5";

/// One run: a process, a machine, an adapter, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this schema, `MAJOR.MINOR`.
    pub schema_version: String,
    /// Time-ordered unique id (UUIDv7).
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub run_id: Uuid,
    /// SHA-256 of the report's file without these 64 digits, see docs/fleet.md; null in
    /// reports before schema 1.5, and in a list of several.
    #[serde(default)]
    pub file_sha256: Option<String>,
    /// Whether the report is a copy of another under changed names, made to try out
    /// programs with many reports: its figures are nobody's.
    #[serde(default)]
    pub synthetic: bool,
    /// Start of the run, UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// Time of the last save, UTC; the end of the run once it has ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ended: Timestamp,
    /// Whether every planned case is in the report.
    pub complete: bool,
    /// When the run went on after it had been cut short, each time; figures are
    /// then of several stretches.
    #[serde(default)]
    pub resumed: Vec<Resumption>,
    /// The command line.
    pub command: Vec<String>,
    /// What the run set out to measure; null where it cannot be resumed.
    #[serde(default)]
    pub plan: Option<RunPlan>,
    /// Version of the program that measured.
    pub flopwatt_version: String,
    /// Source revision that the program was built from.
    pub git: Option<Git>,
    /// Effort of the run.
    pub tier: Tier,
    /// Seed of all inputs.
    pub seed: u64,
    /// Distribution of the inputs.
    pub data: Data,
    /// The machine.
    pub host: Host,
    /// The Slurm task that measured; null outside of Slurm.
    #[serde(default)]
    pub slurm: Option<SlurmTask>,
    /// The adapter, as its driver describes it.
    pub adapter: AdapterDescription,
    /// The datasheet that belongs to the adapter.
    pub datasheet: Option<Datasheet>,
    /// Why there is none; `null` when there is.
    pub datasheet_reason: Option<String>,
    /// Templates and checks of the kernels.
    pub shaders: Shaders,
    /// The source of power, or why there is none; null where none was looked for.
    #[serde(default)]
    pub power: Option<PowerSetup>,
    /// How the best kernels were chosen, one entry a class of shapes.
    pub tuning: Vec<Tuning>,
    /// One entry a case, ceilings first.
    pub measurements: Vec<Measurement>,
}

/// What a run is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The command line.
    pub command: Vec<String>,
    /// Effort.
    pub tier: Tier,
    /// Seed of all inputs.
    pub seed: u64,
    /// The adapter.
    pub adapter: AdapterDescription,
    /// Templates and checks of the kernels.
    pub shaders: Shaders,
    /// The datasheet that belongs to it, or why none does.
    pub datasheet: Result<Datasheet, String>,
}

impl Report {
    /// A report that starts now and holds no measurement yet.
    pub fn begin(start: Start) -> Self {
        let now = Timestamp::now();
        Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            run_id: fresh_id(now),
            file_sha256: None,
            synthetic: false,
            started: now,
            ended: now,
            complete: false,
            resumed: Vec::new(),
            command: start.command,
            plan: None,
            flopwatt_version: env!("CARGO_PKG_VERSION").to_owned(),
            git: environment::built_from(),
            tier: start.tier,
            seed: start.seed,
            data: Data::default(),
            host: Host::this(),
            slurm: SlurmTask::this(),
            adapter: start.adapter,
            datasheet_reason: start.datasheet.as_ref().err().cloned(),
            datasheet: start.datasheet.ok(),
            shaders: start.shaders,
            power: None,
            tuning: Vec::new(),
            measurements: Vec::new(),
        }
    }

    /// Adds a case, related to the ceilings and the datasheet.
    pub fn push(&mut self, mut measurement: Measurement) {
        relate::relate(
            &mut measurement,
            &self.measurements,
            self.datasheet.as_ref(),
        );
        self.measurements.push(measurement);
        self.ended = Timestamp::now();
    }

    /// Enters what the ceiling at `position` is now. Where it has drifted at the end, the
    /// cases of this sitting that are held against it are flagged.
    pub fn enter_again(&mut self, position: usize, again: Again) {
        let since = self.resumed.last().map_or(0, |resumed| resumed.after_cases);
        let drifted = again.when == When::End && again.has_drifted();
        self.measurements[position].again.push(again);
        let ceiling = self.measurements[position].clone();
        let cases = self.measurements.iter_mut().skip(since);
        for case in cases.filter(|case| drifted && case.is_held_against(&ceiling)) {
            if case.percent_of_ceiling.is_some() {
                case.flag(Flag::CeilingDrifted);
            }
        }
        self.ended = Timestamp::now();
    }

    /// Judges what an older version has measured as this version does, as far as it
    /// recorded what that takes.
    fn renew(&mut self) {
        self.measurements.iter_mut().for_each(Measurement::renew);
        relate::label_ceilings(self);
    }

    /// Whether any case has a figure.
    pub fn measured_anything(&self) -> bool {
        self.measurements.iter().any(|m| m.status == Status::Ok)
    }

    /// The report's JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Report)
    }
}

/// A new id that begins with the time, which a UUIDv7 counts from 1970: a clock that is
/// not set is often before that.
fn fresh_id(now: Timestamp) -> Uuid {
    let since = now.as_duration();
    let seconds = u64::try_from(since.as_secs()).unwrap_or(0);
    let nanoseconds = u32::try_from(since.subsec_nanos()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gpu::device::ShaderMode;

    #[test]
    fn an_id_begins_with_the_time_or_with_1970() {
        let at = |second| fresh_id(Timestamp::from_second(second).unwrap());
        let millis = |id: Uuid| id.as_u128() >> 80;
        assert_eq!(millis(at(1_767_322_980)), 1_767_322_980_000);
        for before in [-1, -86_400, Timestamp::MIN.as_second()] {
            let [first, second] = [at(before), at(before)];
            assert_eq!((millis(first), first.get_version_num()), (0, 7));
            assert_ne!(first, second);
        }
    }

    /// A report without measurements, of an adapter that exists in no machine.
    pub fn report() -> Report {
        let adapter = include_str!("../../tests/data/adapter.json");
        Report::begin(Start {
            command: Vec::new(),
            tier: Tier::Quick,
            seed: 1,
            adapter: serde_json::from_str(adapter).unwrap(),
            shaders: Shaders::new(None, ShaderMode::Unchecked).unwrap(),
            datasheet: Err("a test".into()),
        })
    }
}
