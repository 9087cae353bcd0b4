//! What the verbs that work on an adapter share: their options, the worker, and
//! what a person sees meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fmt};

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::SignedDuration;

use super::{Failure, catch_signals};
pub(crate) use crate::console::say;
use crate::console::{begin, is_watched, show};
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::device::ShaderMode;
use crate::measure::measurement::Measurement;
use crate::power::{PowerSetup, PowerSpec};
use crate::record::{Planned, PowerTrace, Report, SaveError, Shaders};
use crate::render;
use crate::session::{
    self, AdapterLock, Choices, Ended, Goal, Locks, Member, Observer, Plan, PowerLimits,
};
use crate::tune::{Cache, Key, Tuning};
use crate::units::Seconds;

/// How often what moves on a terminal does.
const TICK: Duration = Duration::from_millis(200);

/// Options of every verb that works on an adapter.
#[derive(Debug, clap::Args)]
pub struct Setup {
    /// Index, part of the name, PCI address or backend of the adapter, or cpu; for
    /// run also all, or several of these separated by commas
    #[arg(long)]
    pub adapter: Option<String>,

    /// Seed of the inputs; without one, a fresh seed that the report states
    #[arg(long)]
    pub seed: Option<u64>,

    /// Choose the kernels of 'best' cases afresh, whatever an earlier run chose
    #[arg(long)]
    pub retune: bool,

    /// Shader templates to use in place of the built-in ones
    #[arg(long, value_name = "DIR")]
    pub shaders: Option<PathBuf>,

    /// Compile shaders with WGSL's bounds and loop checks
    #[arg(long)]
    checked: bool,

    #[command(flatten)]
    pub turn: Turn,
}

/// What to do where another run measures on the adapter.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Turn {
    /// Wait while another run measures on the adapter
    #[arg(long, conflicts_with = "shared")]
    wait: bool,

    /// Measure although another run may do so on the adapter, and flag every figure
    #[arg(long)]
    shared: bool,
}

impl Turn {
    /// The adapter, for this run alone unless others were to be put up with.
    pub fn take(&self, adapter: &AdapterDescription) -> Result<AdapterLock, Failure> {
        let locks = Locks::of_this_machine();
        if self.shared {
            return Ok(locks.shared(adapter));
        }
        if !self.wait {
            return Ok(locks.alone(adapter)?);
        }
        let interrupted = interruption()?;
        let bar = ProgressBar::new_spinner();
        show(&bar, "waiting for the adapter");
        bar.enable_steady_tick(TICK);
        let mut told = String::new();
        let taken = locks.wait(adapter, &mut |in_use| {
            let in_use = in_use.to_string();
            if in_use != told {
                bar.suspend(|| say(format!("waiting: {in_use}")));
                told = in_use;
            }
            !interrupted.load(Ordering::Relaxed)
        });
        bar.finish_and_clear();
        Ok(taken?)
    }
}

impl Setup {
    /// The wanted templates and checks.
    pub fn shaders(&self) -> Result<Shaders, Failure> {
        let mode = if self.checked {
            ShaderMode::Checked
        } else {
            ShaderMode::Unchecked
        };
        Ok(Shaders::new(self.shaders.clone(), mode)?)
    }
}

/// This very program, to be started once more.
pub fn this_program() -> Result<Command, Failure> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    Ok(Command::new(program))
}

/// What a run shares with others of the same command.
#[derive(Clone, Copy)]
pub struct Among<'a> {
    /// The adapter, for this command alone or not.
    pub lock: &'a AdapterLock,
    /// What they have chosen.
    pub choices: &'a Choices,
    /// Its place among those that go on at the same time.
    pub member: Option<&'a Member<'a>>,
    /// Where they show how far they are, if more than one does.
    pub screen: Option<&'a MultiProgress>,
    /// What its lines begin with.
    pub label: &'a str,
}

impl<'a> Among<'a> {
    /// The only run of its command at the time.
    pub fn alone(choices: &'a Choices, lock: &'a AdapterLock) -> Self {
        Self {
            lock,
            choices,
            member: None,
            screen: None,
            label: "",
        }
    }
}

/// Works through `cases` in a worker process, at each of `limits` where they are
/// varied; saves into `folder`, where there is one, after every case.
pub fn execute(
    goal: Goal,
    retune: bool,
    cases: &[Planned],
    report: &mut Report,
    folder: Option<&Path>,
    limits: Option<&PowerLimits>,
    among: Among,
) -> Result<Ended, Failure> {
    let program = this_program()?;
    let worker = || {
        let mut command = Command::new(program.get_program());
        command.arg("worker");
        command
    };
    let plan = Plan {
        cases,
        worker: &worker,
        goal,
        retune,
        limits,
        lock: among.lock,
        choices: among.choices,
        member: among.member,
        interrupted: interruption()?,
    };
    let templates = report.shaders.load()?;
    let key = Key::new(&report.adapter, &templates, report.shaders.mode);
    let (mut cache, warning) = Cache::open(key);
    if let Some(warning) = warning {
        say(format!("{}warning: {warning}", among.label));
    }
    if let Some(folder) = folder {
        render::save(report, folder)?;
    }
    let steps = plan.steps().len();
    let mut observer = OnScreen {
        bar: match among.screen {
            Some(screen) => screen.add(progress_bar(steps)),
            None => progress_bar(steps),
        },
        folder,
        label: among.label,
        steps,
        told: report.measurements.len(),
    };
    let ended = session::execute(&plan, &mut cache, report, &mut observer);
    observer.bar.finish_and_clear();
    Ok(ended?)
}

/// A length of time above 0, such as 30s or 5m.
pub fn length_of_time(text: &str) -> Result<Seconds, String> {
    let time: Result<SignedDuration, _> = text.parse();
    let time = time.map(|time| Seconds(time.as_secs_f64())).ok();
    time.filter(|time| time.0 > 0.0)
        .ok_or_else(|| "expected a length of time above 0, such as 30s or 5m".to_owned())
}

/// Set by Ctrl-C, SIGTERM and SIGHUP.
pub fn interruption() -> Result<&'static AtomicBool, Failure> {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    if !CAUGHT.swap(true, Ordering::Relaxed) {
        catch_signals(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
    }
    Ok(&INTERRUPTED)
}

/// Progress on a terminal; elsewhere a line for every case that has ended, and for
/// what took long or went wrong.
struct OnScreen<'a> {
    bar: ProgressBar,
    folder: Option<&'a Path>,
    /// What its lines begin with.
    label: &'a str,
    /// Cases that there are to be.
    steps: usize,
    /// Cases of the report that have been told.
    told: usize,
}

impl OnScreen<'_> {
    /// A line above the bar, or on standard error where there is none.
    fn say(&self, line: &str) {
        self.bar.suspend(|| say(format!("{}{line}", self.label)));
    }

    /// Tells of a case that has just been saved.
    fn tell(&mut self, report: &Report) {
        let count = report.measurements.len();
        let last = report.measurements.last().filter(|_| count > self.told);
        if let Some(measurement) = last {
            let line = outcome_line(measurement);
            self.say(&format!("[{count}/{}] {line}", self.steps));
        }
        self.told = count;
    }
}

impl Observer for OnScreen<'_> {
    fn case_begins(&mut self, index: usize, case: &Planned) {
        self.bar.set_position(index as u64);
        begin(&self.bar, &format!("{}{}", self.label, case.id));
    }

    fn phase(&mut self, phase: &str) {
        show(&self.bar, phase);
    }

    fn tuned(&mut self, tuning: &Tuning) {
        if !tuning.cached {
            self.say(&tuning_line(tuning));
        }
    }

    fn warn(&mut self, warning: &dyn fmt::Display) {
        self.say(&format!("warning: {warning}"));
    }

    fn power(&mut self, power: Option<&PowerSetup>) {
        // Sources that nobody named are looked for on every machine.
        let unnamed = [PowerSpec::Auto, PowerSpec::None].map(|spec| spec.to_string());
        let named = power.filter(|power| !unnamed.contains(&power.wanted));
        if let Some(why) = named.and_then(|power| power.reason.as_ref()) {
            self.say(&format!("warning: power is not measured: {why}"));
        }
    }

    fn case_ended(&mut self, report: &Report, trace: Option<&PowerTrace>) -> Result<(), SaveError> {
        if let Some(folder) = self.folder {
            if let Some((trace, measurement)) = trace.zip(report.measurements.last()) {
                trace.save(measurement, folder)?;
            }
            render::save(report, folder)?;
        }
        // What is told is on disk.
        self.tell(report);
        Ok(())
    }
}

/// Progress through so many cases, on a terminal.
pub fn progress_bar(cases: usize) -> ProgressBar {
    // indicatif hides a bar whose target is no terminal, but its println does not.
    if !is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {prefix}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(cases as u64).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}

/// One line on a choice that was made just now.
fn tuning_line(tuning: &Tuning) -> String {
    let tried = tuning.candidates.iter().filter(|c| c.gflops.is_some());
    let chosen = tuning.chosen.as_ref();
    format!(
        "tuned {}/{} for {} in {:.1} s: {} of {} candidates measured, {}",
        tuning.operation,
        tuning.precision,
        tuning.shape_class,
        tuning.took_s.0,
        tried.count(),
        tuning.candidates.len(),
        chosen.map_or("none is right".to_owned(), |c| format!(
            "{} is the fastest",
            c.variant
        )),
    )
}

/// One line on a case that has ended.
fn outcome_line(measurement: &Measurement) -> String {
    let what = match (
        &measurement.gflops,
        measurement.gbytes_per_s,
        &measurement.reason,
    ) {
        (_, _, Some(reason)) => format!("{}: {}", measurement.status, reason.message),
        (Some(rate), _, _) => format!("{:.1} GFLOP/s", rate.median.0),
        (_, Some(gbytes), _) => format!("{gbytes:.1} GB/s"),
        _ => measurement.time.as_ref().map_or_else(String::new, |time| {
            format!("{:.2} µs", time.median_s.0 * 1e6)
        }),
    };
    format!("{:<44}  {what}", measurement.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit_and_are_above_0() {
        assert_eq!(length_of_time("5m"), Ok(Seconds(300.0)));
        assert_eq!(length_of_time("90s"), Ok(Seconds(90.0)));
        for text in ["0s", "-1m", "5", "soon", ""] {
            let error = length_of_time(text).unwrap_err();
            assert!(error.contains("30s or 5m"), "{text}: {error}");
        }
    }
}
