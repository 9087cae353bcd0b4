//! `flopwatt run --adapter all`: the same cases on several adapters of the machine,
//! one after the other or at the same time.

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::anyhow;
use indicatif::MultiProgress;

use super::{Args, begin, dump_folder, exit, plan, refuse_to_overwrite, talk};
use crate::commands::report::print_first;
use crate::commands::setup::{self, Among, interruption, say};
use crate::commands::{Exit, Failure, Outcome, print};
use crate::console;
use crate::datasheet::{Catalogue, Datasheet};
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::bus;
use crate::kernel::inputs;
use crate::machine::{self, LeftOut, SUMMARY_FILE, Summary};
use crate::power::PowerSpec;
use crate::record::{self, Report, RunPlan, Shaders};
use crate::render::{self, Format, Run};
use crate::session::adapter::ChosenSeveral;
use crate::session::{self, AdapterLock, Choices, Ended, Goal, Member, Together, lock};

/// What all the runs have in common.
struct Common<'a> {
    args: &'a Args,
    shaders: Shaders,
    seed: u64,
    /// The folder that holds those of the reports.
    folder: PathBuf,
    choices: Choices,
}

/// A run on one adapter.
struct OneRun {
    /// What its lines begin with: its number.
    label: String,
    adapter: AdapterDescription,
    datasheet: Result<Datasheet, String>,
    plan: RunPlan,
    /// Its folder's name.
    folder: String,
    /// `None` where it has not begun.
    report: Option<Report>,
    /// How it ended; `None` before that.
    ended: Option<Result<Ended, Failure>>,
}

/// Runs the cases on every adapter that `names` stand for, and prints what these
/// reached together.
pub(super) fn run(args: &Args, names: &[String]) -> Outcome {
    refuse_what_is_for_one(args)?;
    let catalogue = args.datasheets.load()?;
    let shaders = args.setup.shaders()?;
    // Before any adapter is looked for, as for a single one.
    plan(args, true)?;
    let chosen = session::adapter::choose_several(names)?;
    let (mut runs, left_out) = prepare(args, &catalogue, chosen)?;
    let seed = args.setup.seed.unwrap_or_else(inputs::fresh_seed);
    let common = Common {
        args,
        folder: folder(args, &mut runs)?,
        shaders,
        seed,
        choices: Choices::default(),
    };
    if args.concurrent {
        common.at_the_same_time(&mut runs)?;
    } else {
        common.one_after_the_other(&mut runs);
    }
    let any_has_begun = runs.iter().any(|run| run.report.is_some());
    if any_has_begun {
        common.publish(&runs, left_out)?;
    }
    runs.iter().for_each(|run| run.talk(&common.folder));
    if any_has_begun {
        say(format!("reports: {}", common.folder.display()));
    }
    Ok(all_in_all(runs.iter().map(OneRun::exit)))
}

/// Options that name one GPU cannot be followed for several.
fn refuse_what_is_for_one(args: &Args) -> Result<(), Failure> {
    if !args.power_limits.is_empty() {
        return Err(anyhow!(
            "--power-limits sets the limit of one GPU: choose that one with --adapter"
        )
        .into());
    }
    match &args.power {
        Some(power @ (PowerSpec::Nvml(Some(_)) | PowerSpec::Hwmon(Some(_)))) => Err(anyhow!(
            "--power {power} is the sensor of one GPU: leave it out, and each adapter's own is read"
        )
        .into()),
        _ => Ok(()),
    }
}

/// What is to be run, and what is not.
fn prepare(
    args: &Args,
    catalogue: &Catalogue,
    chosen: ChosenSeveral,
) -> Result<(Vec<OneRun>, Vec<LeftOut>), Failure> {
    if !chosen.hidden.is_empty() {
        let remedies = bus::remedies(&chosen.hidden);
        say(format!("warning: no driver offers these GPUs{remedies}"));
    }
    let left_out = chosen.left_out.into_iter().map(|(adapter, why)| {
        say(format!("not measured: {}: {why}", adapter.summary()));
        LeftOut {
            index: adapter.index,
            adapter: adapter.name,
            backend: adapter.backend,
            why,
        }
    });
    let left_out = left_out.collect();
    let adapters: Vec<&AdapterDescription> = chosen.chosen.iter().map(|(a, _)| a).collect();
    let folders = record::adapter_names(&adapters);
    let mut runs = Vec::new();
    for (((adapter, memory), folder), number) in chosen.chosen.into_iter().zip(folders).zip(1..) {
        runs.push(OneRun {
            label: format!("[{number}] "),
            plan: plan(args, adapter.is_software())?,
            datasheet: record::find_datasheet(catalogue, &adapter, memory),
            adapter,
            folder,
            report: None,
            ended: None,
        });
    }
    if args.concurrent {
        check_concurrent(&runs)?;
    }
    Ok((runs, left_out))
}

/// Adapters that work at the same time work on the same cases.
fn check_concurrent(runs: &[OneRun]) -> Result<(), Failure> {
    let Some((first, others)) = runs.split_first() else {
        return Ok(());
    };
    if let Some(other) = others.iter().find(|run| run.plan.cases != first.plan.cases) {
        return Err(anyhow!(
            "{} and {} have lists of their own, and --concurrent measures the same cases on all: \
             name them, or measure GPUs and software adapters apart",
            first.adapter.name,
            other.adapter.name
        )
        .into());
    }
    for (position, run) in runs.iter().enumerate() {
        let device = &run.adapter.physical_device;
        let mut earlier = runs[..position].iter();
        if let Some(twin) = earlier.find(|twin| twin.adapter.physical_device == *device) {
            say(format!(
                "warning: {} and {} are one device, which they have to share",
                twin.label.trim_end(),
                run.label.trim_end()
            ));
        }
    }
    Ok(())
}

/// Where the reports' folders and the summary go: a folder that must not hold them
/// already. Each run gets a folder for what is computed, where that is kept.
fn folder(args: &Args, runs: &mut [OneRun]) -> Result<PathBuf, Failure> {
    let folder = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("reports").join(record::group_name(runs.len())),
    };
    refuse_to_overwrite(&folder, SUMMARY_FILE)?;
    for run in runs.iter() {
        refuse_to_overwrite(&folder.join(&run.folder), record::REPORT_FILE)?;
    }
    if let Some(dump) = &args.dump {
        for run in runs {
            run.plan.dump = Some(dump_folder(Path::new(dump).join(&run.folder))?);
        }
    }
    Ok(folder)
}

impl Common<'_> {
    /// Each once its adapter is free. A failure costs its adapter, an interruption all
    /// that have not begun.
    fn one_after_the_other(&self, runs: &mut [OneRun]) {
        let count = runs.len();
        for run in runs {
            say(format!(
                "{}of {count}: {}",
                run.label,
                run.adapter.summary()
            ));
            match self.args.setup.turn.take(&run.adapter) {
                Ok(lock) => self.carry_out(run, Among::alone(&self.choices, &lock)),
                Err(failure) => run.ended = Some(Err(failure)),
            }
            if run.exit() == Exit::Interrupted {
                return;
            }
        }
    }

    /// Each in a thread of its own, which leads a worker process, once all adapters are
    /// free.
    fn at_the_same_time(&self, runs: &mut [OneRun]) -> Result<(), Failure> {
        let adapters: Vec<_> = runs.iter().map(|run| run.adapter.clone()).collect();
        let locks = lock::of_each(&adapters, |adapter| self.args.setup.turn.take(adapter))?;
        for run in runs.iter() {
            say(format!("{}{}", run.label, run.adapter.summary()));
        }
        let together = Together::new(adapters, interruption()?);
        // On no terminal there is nothing to draw on.
        let screen = console::is_watched().then(MultiProgress::new);
        let carry_out = |run: &mut OneRun, member: Member, lock: &AdapterLock| {
            let label = run.label.clone();
            let among = Among {
                lock,
                choices: &self.choices,
                member: Some(&member),
                screen: screen.as_ref(),
                label: &label,
            };
            self.carry_out(run, among);
        };
        let refused = thread::scope(|scope| {
            let members = runs.iter_mut().zip(together.members()).zip(&locks);
            let threads = members.map(|((run, member), lock)| {
                thread::Builder::new().spawn_scoped(scope, move || carry_out(run, member, lock))
            });
            threads.filter_map(Result::err).last()
        });
        if let Some(why) = refused {
            for run in runs.iter_mut().filter(|run| run.ended.is_none()) {
                run.ended = Some(Err(anyhow!("cannot start a thread for it: {why}").into()));
            }
        }
        Ok(())
    }

    fn carry_out(&self, run: &mut OneRun, among: Among) {
        let goal = Goal::Measure {
            dump: run.plan.dump.clone(),
            power: self.args.power.clone().unwrap_or_default(),
        };
        let folder = self.folder.join(&run.folder);
        let mut report = run.begin(self.args, self.seed, &self.shaders);
        run.ended = Some(setup::execute(
            goal,
            run.plan.retune,
            &run.plan.cases,
            &mut report,
            Some(&folder),
            None,
            among,
        ));
        run.report = Some(report);
    }

    /// Prints and saves what was found.
    fn publish(&self, runs: &[OneRun], left_out: Vec<LeftOut>) -> Result<(), Failure> {
        let outcomes: Vec<machine::Outcome> = runs.iter().map(OneRun::outcome).collect();
        let summary = Summary::of(&outcomes, left_out, self.args.concurrent);
        let reports = runs
            .iter()
            .filter_map(|run| Some((run.report.as_ref()?, &run.folder)));
        let reports: Vec<Run> = reports
            .map(|(report, folder)| Run::in_folder(report, &self.folder.join(folder)))
            .collect();
        let json = serde_json::to_string_pretty(&summary)? + "\n";
        record::write_into(&self.folder, SUMMARY_FILE, json.as_bytes())?;
        render::write(&render::pages(&reports), &self.folder)?;
        let printed = match (self.args.json, self.args.format) {
            (true, _) | (_, Format::Json) => print(&json).map_err(Failure::from),
            (_, Format::Table) => {
                let table = render::machine::table(&summary, &reports, None);
                print(&table).map_err(Failure::from)
            }
            (_, format) => print_first(&render::renderer(format).render(&reports)),
        };
        match runs.iter().any(|run| run.exit() == Exit::Interrupted) {
            // Nobody may be left to print to: a terminal that is closed interrupts.
            true => Ok(()),
            false => printed,
        }
    }
}

impl OneRun {
    /// A report that begins now.
    fn begin(&self, args: &Args, seed: u64, shaders: &Shaders) -> Report {
        let (adapter, datasheet) = (self.adapter.clone(), self.datasheet.clone());
        let report = begin(args, seed, shaders.clone(), adapter, datasheet);
        Report {
            plan: Some(self.plan.clone()),
            ..report
        }
    }

    fn outcome(&self) -> machine::Outcome<'_> {
        let error = match &self.ended {
            None => Some("interrupted before it began".to_owned()),
            Some(Ok(Ended::Complete)) => None,
            Some(Ok(Ended::Interrupted)) => Some("interrupted".to_owned()),
            Some(Ok(Ended::DeviceGone)) => Some("the GPU is gone".to_owned()),
            Some(Err(failure)) => Some(failure.to_string()),
        };
        machine::Outcome {
            adapter: &self.adapter,
            report: self.report.as_ref(),
            folder: self.folder.clone(),
            error,
        }
    }

    /// Says what its exit status stands for, where the table alone does not. Its own
    /// folder is in `folder`.
    fn talk(&self, folder: &Path) {
        match (&self.ended, &self.report) {
            (Some(Ok(ended)), Some(report)) => {
                let folder = folder.join(&self.folder);
                talk(&self.label, &self.plan, report, &folder, *ended);
            }
            (Some(Err(failure)), _) => say(format!("{}error: {failure}", self.label)),
            _ => say(format!("{}interrupted before it began", self.label)),
        }
    }

    /// The status that this run alone would end with.
    fn exit(&self) -> Exit {
        match (&self.ended, &self.report) {
            (Some(Ok(Ended::Complete)), Some(report)) => {
                exit(&self.plan.cases, &report.measurements)
            }
            (Some(Ok(Ended::DeviceGone)), _) => Exit::Failed,
            (Some(Err(failure)), _) => failure.exit,
            _ => Exit::Interrupted,
        }
    }
}

/// The status that those of the adapters amount to: an adapter on which nothing could
/// be measured is a failure where something could on another.
fn all_in_all(exits: impl Iterator<Item = Exit>) -> Exit {
    let exits: Vec<Exit> = exits.collect();
    let any = |exit| exits.contains(&exit);
    if any(Exit::Interrupted) {
        Exit::Interrupted
    } else if exits.iter().all(|exit| *exit == Exit::NothingMeasured) {
        Exit::NothingMeasured
    } else if any(Exit::Failed) || any(Exit::NothingMeasured) {
        Exit::Failed
    } else if any(Exit::Usage) {
        Exit::Usage
    } else {
        Exit::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_all_adapters() {
        use Exit::{Failed, Interrupted, NothingMeasured, Ok, Usage};
        let cases = [
            (&[Ok, Ok][..], Ok),
            (&[Ok, Failed], Failed),
            (&[Usage, Failed], Failed),
            (&[Ok, NothingMeasured], Failed),
            (&[NothingMeasured, NothingMeasured], NothingMeasured),
            (&[Ok, Usage], Usage),
            (&[Failed, Interrupted], Interrupted),
        ];
        for (exits, expected) in cases {
            assert_eq!(all_in_all(exits.iter().copied()), expected, "{exits:?}");
        }
    }
}
