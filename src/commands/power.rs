//! `flopwatt power`: the power sources, why one cannot be read, and what one says
//! while it is watched.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::devices::{aligned, source_line, width};
use super::{Exit, Failure, Outcome, print, setup};
use crate::console;
use crate::power::energy::{self, Outcome as Energy, Stretch};
use crate::power::sampler::{Cost, Sampler, Trace};
use crate::power::sensor::{Cadence, Known};
use crate::power::{
    self, DeviceState, Metric, PowerError, PowerSource, PowerSourceStatus, PowerSpec, Reading,
    Sensor, SourceIdentity, Unavailable, sensor,
};
use crate::session::adapter;
use crate::units::{Joules, Seconds, Watts};

/// List the power sources, or watch one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,

    /// Watch a source for this long, such as 5s or 2m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,

    /// The source to watch: auto, none, nvml[:INDEX|UUID|PCI], rapl[:PACKAGE],
    /// hwmon[:DRIVER|PCI], ioreport or command:'PROGRAM ARGUMENTS'
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "auto",
        requires = "duration"
    )]
    power: PowerSpec,

    /// The adapter whose source is watched, as in `flopwatt run`
    #[arg(long, requires = "duration")]
    adapter: Option<String>,
}

/// The longest watch: readings are kept in memory.
const LONGEST: Duration = Duration::from_secs(3600);

fn duration(text: &str) -> Result<Duration, String> {
    let Seconds(seconds) = setup::length_of_time(text)?;
    if seconds > LONGEST.as_secs_f64() {
        return Err("an hour is the most".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Lists the sources, or watches one.
pub fn run(args: Args) -> Outcome {
    match args.duration {
        None => list(args.json),
        Some(duration) => watch(&args, duration),
    }
}

fn list(json: bool) -> Outcome {
    #[derive(Serialize)]
    struct Listing {
        power_sources: Vec<PowerSourceStatus>,
    }
    let power_sources = power::discover();
    let text = if json {
        serde_json::to_string_pretty(&Listing { power_sources })? + "\n"
    } else {
        let lines: Vec<_> = power_sources.iter().map(source_line).collect();
        aligned(&lines, width())
    };
    print(&text)?;
    Ok(Exit::Ok)
}

fn watch(args: &Args, duration: Duration) -> Outcome {
    let interrupted = setup::interruption()?;
    let mut source = open(args)?;
    let sensor = sensor::detect(source.as_mut()).map_err(nothing_measured)?;
    let sampler = Sampler::start(source, sensor);
    let begin = Instant::now();
    let line = status_line();
    while begin.elapsed() < duration
        && sampler.ended_by().is_none()
        && !interrupted.load(Ordering::Relaxed)
    {
        console::show(&line, &now(&sampler));
        let left = duration.saturating_sub(begin.elapsed());
        thread::sleep(left.min(Duration::from_millis(100)));
    }
    line.finish_and_clear();
    let watched = Watched::new(sampler.stop());
    let text = if args.json {
        serde_json::to_string_pretty(&watched)? + "\n"
    } else {
        watched.text(width())
    };
    print(&text)?;
    if interrupted.load(Ordering::Relaxed) {
        return Ok(Exit::Interrupted);
    }
    match &watched.ended_by {
        Some(why) => Err(nothing_measured(why.clone())),
        None if watched.stretch.mean_w.is_none() => Ok(Exit::NothingMeasured),
        None => Ok(Exit::Ok),
    }
}

/// Opens the wanted source. One that was named and is not there is wrong usage;
/// without one for the adapter there is nothing to measure.
fn open(args: &Args) -> Result<Box<dyn PowerSource>, Failure> {
    let by_adapter = matches!(
        args.power,
        PowerSpec::Auto | PowerSpec::Nvml(None) | PowerSpec::Hwmon(None)
    );
    let opened = if by_adapter {
        let chosen = adapter::choose(args.adapter.as_deref())?;
        power::open(&args.power, Some(&chosen.adapter.description))
    } else {
        power::open(&args.power, None)
    };
    opened.map_err(|error| {
        let exit = match error {
            Unavailable::NotWanted | Unavailable::NotFound { .. } | Unavailable::Command { .. } => {
                Exit::Usage
            }
            _ => Exit::NothingMeasured,
        };
        let error = anyhow!(error).context("nothing to watch");
        Failure { exit, error }
    })
}

fn nothing_measured(why: PowerError) -> Failure {
    Failure {
        exit: Exit::NothingMeasured,
        error: anyhow!(why),
    }
}

/// A line that is rewritten on a terminal; nothing elsewhere.
fn status_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar
}

/// What the source says at the moment.
fn now(sampler: &Sampler) -> String {
    let recent = sampler.time_of(Instant::now()).0 - 1.0;
    let readings = sampler.readings_since(Seconds(recent.max(0.0)));
    let power = readings.iter().rev().find_map(|reading| reading.power_w);
    let watts = power.or_else(|| rate(readings.first()?, readings.last()?));
    let mut parts = vec![match watts {
        Some(watts) => format!("{:.1} W", watts.0),
        None => "no reading".into(),
    }];
    parts.extend(sampler.state().map(|state| clocks(&state)));
    parts.join("  ")
}

/// Mean power between two readings of a counter.
fn rate(first: &Reading, last: &Reading) -> Option<Watts> {
    let time = last.at_s.0 - first.at_s.0;
    (time > 0.0).then_some(())?;
    Some(Watts((last.energy_j?.0 - first.energy_j?.0) / time))
}

/// Clocks and temperature, as far as they are known.
fn clocks(state: &DeviceState) -> String {
    let mhz = |clock: Option<u32>| clock.map(|mhz| format!("{mhz} MHz"));
    let known = [
        mhz(state.sm_clock_mhz),
        mhz(state.memory_clock_mhz).map(|clock| format!("memory {clock}")),
        state
            .temperature_c
            .map(|celsius| format!("{celsius:.0} °C")),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    known.join(", ")
}

/// What a watch has seen.
#[derive(Debug, Serialize)]
struct Watched {
    source: SourceIdentity,
    sensor: Sensor,
    #[serde(flatten)]
    stretch: Stretch,
    /// The last state of the device.
    state: Option<DeviceState>,
    failed_reads: usize,
    first_failure: Option<PowerError>,
    ended_by: Option<PowerError>,
    sampler_cost: Cost,
}

impl Watched {
    fn new(trace: Trace) -> Self {
        let limits = trace.states.iter().rev();
        let limit = limits.filter_map(|at| at.state.enforced_limit_w).next();
        let mut stretch = energy::of_stretch(&trace.readings, &trace.sensor, limit);
        // A device that was lost said nothing that can be trusted.
        if trace.ended_by.is_some() {
            stretch.mean_w = None;
            stretch.range_w = None;
        }
        Self {
            stretch,
            state: trace.states.last().map(|at| at.state.clone()),
            source: trace.source,
            sensor: trace.sensor,
            failed_reads: trace.failed_reads,
            first_failure: trace.first_failure,
            ended_by: trace.ended_by,
            sampler_cost: trace.cost,
        }
    }

    /// For people.
    fn text(&self, width: u16) -> String {
        let mut lines = vec![
            (
                "source",
                format!("{}, {}", self.source.name, self.source.device),
            ),
            ("covers", self.source.covers.describe().to_owned()),
            ("power", self.power()),
            (
                "energy",
                self.energy(&self.stretch.counter, &self.source.energy),
            ),
            (
                "integral",
                self.energy(&self.stretch.integral, &self.source.power),
            ),
            ("sensor", describe(&self.sensor)),
        ];
        if let Some(state) = &self.state {
            lines.push(("device", device(state)));
        }
        if let Some(failure) = &self.first_failure {
            lines.push((
                "failures",
                format!("{} reads; the first: {failure}", self.failed_reads),
            ));
        }
        let share = self.sampler_cost.share_of_a_core();
        let share = share.map(|share| format!("{:.2} % of a core", 100.0 * share));
        lines.extend(share.map(|share| ("reading cost", share)));
        let lines: Vec<_> = lines
            .into_iter()
            .map(|(l, t)| (l.to_owned(), console::plain(&t)))
            .collect();
        aligned(&lines, width)
    }

    fn power(&self) -> String {
        let Some(mean) = self.stretch.mean_w else {
            return "no figure".into();
        };
        let mut text = format!("{:.1} W over {:.1} s", mean.0, self.stretch.duration_s.0);
        if let Some([low, high]) = self.stretch.range_w {
            let _ = write!(text, ", readings {:.1} to {:.1} W", low.0, high.0);
        }
        text
    }

    fn energy(&self, outcome: &Energy, metric: &Metric) -> String {
        match (outcome, metric) {
            (_, Metric::Missing(why)) => format!("none: {why}"),
            (Energy::Void(why), _) => format!("none: {why}"),
            (Energy::EnergyJ(Joules(joules)), Metric::Field(field)) => {
                format!("{joules:.1} J, from {field}")
            }
        }
    }
}

fn describe(sensor: &Sensor) -> String {
    let cadence = |what: &str, cadence: Option<Cadence>| match cadence {
        None => format!("{what} changed too seldom to tell a period"),
        Some(cadence) => {
            let bound = if cadence.at_most { "at most " } else { "" };
            format!("{what} every {bound}{:.0} ms", 1e3 * cadence.period_s.0)
        }
    };
    let averaging = match (sensor.averaging.window_s, sensor.averaging.known) {
        (Some(window), _) if window.0 == 0.0 => "nothing is averaged".to_owned(),
        (Some(window), _) => format!("averaged over {:.0} ms", 1e3 * window.0),
        (None, Known::Instant) => "called instantaneous".to_owned(),
        (None, _) => "averaging unknown".to_owned(),
    };
    let power = cadence("power", sensor.power);
    let energy = cadence("counter", sensor.energy);
    [power, energy, averaging].join("; ")
}

/// Clocks, limit and what slows the device down.
fn device(state: &DeviceState) -> String {
    let mut text = clocks(state);
    if let Some(limit) = state.enforced_limit_w {
        let _ = write!(text, ", limit {:.0} W", limit.0);
    }
    if let Some(throttle) = &state.throttle {
        let reasons: Vec<_> = throttle.reasons.iter().map(|r| r.name()).collect();
        if !reasons.is_empty() {
            let _ = write!(text, ", slowed by {}", reasons.join(", "));
        }
    }
    match text.strip_prefix(", ") {
        Some(rest) => rest.into(),
        None if text.is_empty() => "tells nothing".into(),
        None => text,
    }
}
