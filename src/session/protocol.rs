//! What parent and worker say to each other, one JSON object a line.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::watchdog;
use crate::console;
use crate::gpu::adapter::AdapterDescription;
use crate::kernel::inputs::Draw;
use crate::kernel::problem::Work;
use crate::kernel::{Choice, Parameters};
use crate::measure::Phase;
use crate::measure::measurement::{Clock, Measurement, Reason};
use crate::measure::period::Period;
use crate::measure::tier::Tier;
use crate::power::{PowerSetup, Sensor};
use crate::record::{PowerTrace, Shaders};
use crate::tune::Tuning;
use crate::units::{Joules, Seconds};

/// Version of the protocol that this program speaks. Whatever changes it raises
/// this number.
pub const PROTOCOL: u32 = 7;
/// The oldest version whose workers this program can still lead: a change that they
/// would not understand raises this number as well. 5 is the first in which a case
/// can be held; 6 adds cases that are measured beside others, which none has to be; 7
/// fresh devices, and the clock by which a batch was timed.
pub const OLDEST_PROTOCOL: u32 = 5;

/// From the parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Open this adapter. Answered by [`Event::Opened`] or [`Event::Error`].
    Open {
        /// As the parent sees it.
        adapter: Box<AdapterDescription>,
        /// Templates and checks, as the report states them.
        shaders: Shaders,
        /// The source of power that is to be read.
        power: PowerRequest,
    },
    /// Choose the kernel for a case of the best one. Answered by
    /// [`Event::Phase`]s and one [`Event::Tuned`].
    Tune {
        /// Full case id.
        id: String,
        /// Seed of the inputs, which are normal.
        seed: u64,
    },
    /// Measure a case. Answered by [`Event::Phase`]s and one [`Event::Done`]; before
    /// that, beside others, by [`Event::Ready`]s and one [`Event::Measured`], each of
    /// which wants an answer.
    Measure {
        /// Full case id.
        id: String,
        /// For a case of the best kernel: which one that is.
        choice: Option<Choice>,
        /// Effort.
        tier: Tier,
        /// What the inputs are drawn from.
        draw: Draw,
        /// Whether the power of its dispatches is read as well.
        metered: bool,
        /// Folder for inputs, output and reference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dump: Option<String>,
        /// Whether on a device that is opened for this: for a further life of a case.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fresh_device: bool,
        /// Whether other adapters are measured at the same time.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        beside_others: bool,
    },
    /// The answer to [`Event::Ready`]: all others are ready, too.
    Begin,
    /// The answer to [`Event::Measured`]: all others have measured, too.
    Finish,
    /// Name the cases that filters select. Answered by [`Event::Listed`].
    List {
        /// As `run` takes them; one that selects nothing is no error here.
        filters: Vec<String>,
        /// Whether for a software adapter.
        software: bool,
    },
    /// Verify a case without timing it. Answered by [`Event::Phase`]s and one
    /// [`Event::Checked`], or [`Event::Done`] where it has no right output.
    Check {
        /// Full case id.
        id: String,
        /// For a case of the best kernel: which one that is.
        choice: Option<Choice>,
        /// What the inputs are drawn from.
        draw: Draw,
    },
    /// Verify a case, warm it up and keep it on the device, beside those that are
    /// held already. Answered by [`Event::Phase`]s and one [`Event::Held`], or
    /// [`Event::Done`] where it cannot be measured; nothing is held then.
    Hold {
        /// Full case id.
        id: String,
        /// Kernel and parameters, where they are not left to the worker.
        choice: Option<Choice>,
        /// Templates in place of those that the adapter was opened with.
        shaders: Option<Shaders>,
        /// Effort of the warm-up.
        tier: Tier,
        /// What the inputs are drawn from.
        draw: Draw,
    },
    /// Run one batch of a held case. Answered by [`Event::Sampled`], or
    /// [`Event::Done`] where the device fails or the output is wrong; nothing is held
    /// then.
    Sample {
        /// Which one, in the order in which they were held.
        held: usize,
        /// Whether processor time is asked for in place of the device's or the host's.
        processor: bool,
        /// Whether the output is poisoned before the batch and compared after it, outside
        /// of its time.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        checked: bool,
    },
    /// Run a held case long enough to read its energy. Answered by [`Event::Phase`]s
    /// and one [`Event::Metered`], or [`Event::Done`] where there is none to be had;
    /// nothing is held then.
    Meter {
        /// Which one, in the order in which they were held.
        held: usize,
    },
    /// Hold nothing any more. Answered by [`Event::Released`].
    Release,
}

/// The line to the parent: what standard output was. From now on standard output is
/// standard error, since drivers print to it whatever and whenever they like.
///
/// # Errors
/// When there is no standard output.
#[cfg(unix)]
pub(super) fn line_to_parent() -> io::Result<File> {
    use std::os::fd::AsFd;

    let line = console::to_parent().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(line.into())
}

/// The line to the parent, which is standard output: what drivers print to it is
/// passed over.
///
/// # Errors
/// When there is no standard output.
#[cfg(windows)]
pub(super) fn line_to_parent() -> io::Result<File> {
    use std::os::windows::io::AsHandle;

    Ok(console::to_parent()
        .as_handle()
        .try_clone_to_owned()?
        .into())
}

/// A program whose output is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RightProgram {
    /// Tile sizes and the like.
    pub parameters: Parameters,
    /// What one dispatch does.
    pub work: Work,
}

/// Which source of power is to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerRequest {
    /// As `--power` takes it.
    pub wanted: String,
    /// What an earlier worker found out about its sensor.
    pub sensor: Option<Sensor>,
}

/// From the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// First of all.
    Hello {
        /// [`PROTOCOL`] of the worker.
        protocol: u32,
        /// Version of the program.
        version: String,
        /// Version of the record that its measurements are in.
        #[serde(default)]
        schema: String,
    },
    /// The adapter is open.
    Opened {
        /// The source of power, or why there is none.
        power: PowerSetup,
    },
    /// What the worker does now, and the longest that it may be silent.
    Phase {
        /// For a person.
        phase: String,
        /// After this long without a word it counts as hung.
        limit_s: Seconds,
    },
    /// The outcome of tuning; the reason where it came to none.
    Tuned {
        /// What was tried and chosen.
        tuning: Result<Tuning, Reason>,
    },
    /// Timed dispatches are to begin; the device is idle until [`Request::Begin`].
    Ready,
    /// Timed dispatches have ended; the device is kept busy until
    /// [`Request::Finish`].
    Measured,
    /// The case's outcome.
    Done {
        /// The record of the case.
        measurement: Box<Measurement>,
        /// What was read of its power.
        trace: Option<Box<PowerTrace>>,
        /// What is known by now of the sensor of the source of power.
        sensor: Option<Sensor>,
        /// Whether the device is gone, so that no further case can be measured.
        device_is_gone: bool,
        /// When it worked, beside others, while these may have measured.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        busy: Vec<Period>,
    },
    /// The cases that the filters select, in the order of the catalogue.
    Listed {
        /// Full case ids.
        ids: Vec<String>,
    },
    /// The case's output is right.
    Checked {
        /// Its programs, at least one.
        programs: Vec<RightProgram>,
    },
    /// The case is on the device, warm.
    Held {
        /// The kernel and its parameters.
        choice: Choice,
        /// What one dispatch does.
        work: Work,
    },
    /// One batch has run.
    Sampled {
        /// Mean over its dispatches: processor time where it was asked for, and else by
        /// `clock`.
        dispatch_s: Seconds,
        /// The device's where its timestamps can be trusted; absent from older programs,
        /// which do not tell.
        #[serde(default)]
        clock: Option<Clock>,
        /// The same mean by the host's clock; absent from older programs.
        #[serde(default)]
        host_s: Option<Seconds>,
    },
    /// A held case has run for the windows that its energy takes.
    Metered {
        /// Energy of one dispatch.
        dispatch_j: Joules,
    },
    /// What was held is no longer. What timed batches wrote last was compared, and after
    /// that what each writes once more.
    Released {
        /// For each case, in the order in which they were held, nothing where it was
        /// right to the end, and else the record that says why it was not.
        wrong: Vec<Option<Measurement>>,
    },
    /// The request cannot be carried out; the worker exits.
    Error {
        /// Why.
        message: String,
    },
}

impl Event {
    /// Announces a phase of a measurement.
    pub fn phase(phase: Phase) -> Self {
        let text = match phase {
            Phase::Inputs => "generating inputs".to_owned(),
            Phase::Verifying { .. } => "verifying".to_owned(),
            Phase::Tuning { tried, count, .. } => format!("tuning, {tried} of {count} candidates"),
            Phase::WarmingUp { .. } => "warming up".to_owned(),
            Phase::Resting => "leaving the device idle".to_owned(),
            Phase::StayingBusy { .. } => "waiting for other adapters".to_owned(),
            Phase::Dumping => "writing what was computed".to_owned(),
            Phase::Sampling { samples, .. } => format!("sampling, {samples} so far"),
        };
        Self::Phase {
            phase: text,
            limit_s: watchdog::limit(phase),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_events_are_single_tagged_lines() {
        let request = Request::Measure {
            id: "peak/f32/fma/device".into(),
            choice: None,
            tier: Tier::Quick,
            draw: Draw::normal(7),
            metered: false,
            dump: None,
            fresh_device: false,
            beside_others: false,
        };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(
            line,
            r#"{"request":"measure","id":"peak/f32/fma/device","choice":null,"tier":"quick","draw":{"seed":7,"data":"normal"},"metered":false}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
        let event = Event::phase(Phase::WarmingUp {
            dispatch: Seconds(0.5),
        });
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"phase","phase":"warming up","limit_s":100.0}"#
        );
    }
}
