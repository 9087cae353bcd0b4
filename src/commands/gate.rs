//! `flopwatt gate`: whether this build is slower than another, measured now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use indicatif::ProgressBar;
use tempfile::TempDir;

use super::setup::{self, Turn, interruption, progress_bar, say, this_program};
use super::verdicts::{FailOn, Format, Output};
use super::{Exit, Failure, Outcome, print};
use crate::compare::{Case, Comparison, Side, Threshold, Verdict};
use crate::console::{begin, show};
use crate::gate::base::{Base, BaseError, Difference, Revision};
use crate::gate::self_test::SelfTest;
use crate::gate::{self, Accepted, Contestant, GateError, Mode, Observer, Plan, accepted};
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::device::ShaderMode;
use crate::kernel::{inputs, select};
use crate::measure::Watch;
use crate::measure::measurement::Flag;
use crate::measure::surroundings::Begun;
use crate::power::PowerSpec;
use crate::record::{self, Shaders};
use crate::render::comparison;
use crate::session::lock::Sharing;
use crate::session::{self, AdapterLock};
use crate::units::Seconds;

/// Measure this build and another in turn, here and now, and fail if this one is
/// slower
#[derive(Debug, clap::Args)]
#[group(id = "against", required = true, args = ["base", "self_test"])]
pub struct Args {
    /// What this build is held against: a git revision, which is built; a flopwatt
    /// program; or a folder of shader templates
    #[arg(long, value_name = "REVISION|PROGRAM|DIR")]
    base: Option<String>,

    /// A second base, such as the last release: small steps that all pass one by one add
    /// up to what this shows. Each base has half of the budget
    #[arg(long, value_name = "REVISION|PROGRAM|DIR", requires = "base")]
    also_base: Option<String>,

    /// Measure this build against itself: the noise of this machine, and what a gate
    /// could find
    #[arg(long, conflicts_with_all = ["base", "junit", "accepted", "fail_on"])]
    self_test: bool,

    /// Which verdicts end with exit status 1
    #[arg(long, value_enum, value_name = "VERDICT", default_value = "slower")]
    fail_on: FailOn,

    /// Cases: full ids, globs or leading parts of ids, as for run. Without any, the
    /// headline list
    #[arg(long, value_name = "GLOB")]
    cases: Vec<String>,

    /// Time for timing, all cases and bases together: each goes on until it is decided or
    /// its share is spent
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = setup::length_of_time)]
    budget: Seconds,

    /// What counts as a change of speed, in percent [default: 5 on a software
    /// adapter, 2 on a GPU]
    #[arg(long, value_name = "PERCENT")]
    threshold: Option<Threshold>,

    /// Regressions that are meant, with a reason for each [default:
    /// ci/accepted-changes.json, where there is one]
    #[arg(long, value_name = "FILE")]
    accepted: Option<PathBuf>,

    /// Source of power, as for run. With one, the energy of a dispatch is compared as
    /// well, on a GPU: a pair takes some fifteen seconds, and ten at least decide
    #[arg(long, value_name = "SOURCE", default_value = "none")]
    power: PowerSpec,

    /// Run each side in a process of its own even where only shaders differ
    #[arg(long)]
    two_processes: bool,

    /// Index, part of the name, PCI address or backend of the adapter, or cpu
    #[arg(long)]
    adapter: Option<String>,

    /// Seed of the inputs and of the order within the pairs [default: a fresh one]
    #[arg(long)]
    seed: Option<u64>,

    /// Shader templates of this build in place of the built-in ones
    #[arg(long, value_name = "DIR")]
    shaders: Option<PathBuf>,

    #[command(flatten)]
    turn: Turn,

    #[command(flatten)]
    output: Output,
}

/// Runs the gate or the self-test and prints what came of it.
pub fn run(args: Args) -> Outcome {
    let accepted = accepted_changes(args.accepted.as_deref())?;
    let shaders = Shaders::new(args.shaders.clone(), ShaderMode::Unchecked)?;
    let interrupted = interruption()?;
    if args.self_test {
        let opponent = Opponent::itself(&shaders)?;
        return measure(&args, &[opponent], shaders, &accepted, interrupted);
    }
    let mut opponents = Vec::new();
    for name in args.base.iter().chain(&args.also_base) {
        opponents.push(Opponent::named(name, &args, &shaders, interrupted)?);
    }
    if opponents.iter().any(|opponent| opponent.program.is_some()) {
        return measure(&args, &opponents, shaders, &accepted, interrupted);
    }
    known_to_this_build(&args.cases)?;
    let needless =
        |opponent: &Opponent| Comparison::needless(opponent.side.clone(), this_build(&shaders));
    let all = opponents.iter().map(needless).reduce(Comparison::and);
    args.output.publish(&all.expect("clap demands a base"))?;
    Ok(Exit::Ok)
}

/// Whether every filter selects something, where no worker is asked.
fn known_to_this_build(filters: &[String]) -> Result<(), Failure> {
    let unknown = filters
        .iter()
        .find(|filter| select::listing(std::slice::from_ref(filter), true).is_empty());
    match unknown {
        Some(filter) => Err(failure(GateError::NoCases(filter.clone()))),
        None => Ok(()),
    }
}

/// The file that is named, or the usual one.
fn accepted_changes(named: Option<&Path>) -> Result<Accepted, Failure> {
    let usual = Path::new(accepted::USUAL_FILE);
    match named {
        Some(path) => Ok(Accepted::load(path)?),
        None if usual.exists() => Ok(Accepted::load(usual)?),
        None => Ok(Accepted::default()),
    }
}

/// The other side of a gate.
struct Opponent {
    side: Side,
    /// Absent where it is no different from head.
    program: Option<PathBuf>,
    shaders: Shaders,
    mode: Mode,
    /// Holds the templates where they had to be taken out of a revision.
    _templates: Option<TempDir>,
}

impl Opponent {
    /// This build, in a process of its own.
    fn itself(shaders: &Shaders) -> Result<Self, Failure> {
        Ok(Self {
            side: this_build(shaders),
            program: Some(this_program()?.get_program().into()),
            shaders: shaders.clone(),
            mode: Mode::TwoProcesses,
            _templates: None,
        })
    }

    /// What `--base` and `--also-base` name.
    fn named(
        name: &str,
        args: &Args,
        head: &Shaders,
        interrupted: &AtomicBool,
    ) -> Result<Self, Failure> {
        match Base::named(name)? {
            Base::Program(program) => Ok(Self::program(program, name, None)),
            Base::Templates(folder) => {
                let shaders = Shaders::new(Some(folder), ShaderMode::Unchecked)?;
                Self::templates(shaders, name, args.two_processes)
            }
            Base::Revision(revision) => Self::revision(&revision, name, args, head, interrupted),
        }
    }

    fn program(program: PathBuf, name: &str, commit: Option<String>) -> Self {
        Self {
            side: Side {
                name: name.to_owned(),
                commit,
                shader_hash: None,
            },
            program: Some(program),
            shaders: Shaders {
                folder: None,
                // Its own templates, which it knows best.
                hash: String::new(),
                mode: ShaderMode::Unchecked,
            },
            mode: Mode::TwoProcesses,
            _templates: None,
        }
    }

    /// Other templates, rendered by this build.
    fn templates(shaders: Shaders, name: &str, apart: bool) -> Result<Self, Failure> {
        let mode = if apart {
            Mode::TwoProcesses
        } else {
            Mode::OneProcess
        };
        Ok(Self {
            side: Side {
                name: name.to_owned(),
                commit: None,
                shader_hash: Some(shaders.hash.clone()),
            },
            shaders,
            mode,
            ..Self::itself(&Shaders::new(None, ShaderMode::Unchecked)?)?
        })
    }

    fn revision(
        revision: &Revision,
        name: &str,
        args: &Args,
        head: &Shaders,
        interrupted: &AtomicBool,
    ) -> Result<Self, Failure> {
        let commit = Some(revision.commit.clone());
        let difference = revision.difference(record::built_from().as_ref())?;
        if difference == Difference::Code || args.two_processes {
            say(format!("building {} …", revision.commit));
            let program = revision.build(interrupted).map_err(|error| match error {
                BaseError::Interrupted => failure(GateError::Interrupted),
                error => error.into(),
            })?;
            return Ok(Self::program(program, name, commit));
        }
        let folder = revision.templates()?;
        let shaders = Shaders::new(Some(folder.path().to_owned()), ShaderMode::Unchecked)?;
        let mut opponent = Self::templates(shaders, name, false)?;
        opponent.side.commit = commit;
        opponent._templates = Some(folder);
        if opponent.shaders.hash == head.hash {
            opponent.program = None;
            return Ok(opponent);
        }
        say("only shaders differ: this build runs both sets in one process".to_owned());
        Ok(opponent)
    }
}

/// What is known of this program.
fn this_build(shaders: &Shaders) -> Side {
    let commit = record::built_from().map(|git| {
        let changed = if git.dirty { " with changes" } else { "" };
        format!("{}{changed}", git.commit)
    });
    let name = match &shaders.folder {
        Some(folder) => format!("this program with the templates of {}", folder.display()),
        None => "this program".to_owned(),
    };
    Side {
        name,
        commit,
        shader_hash: Some(shaders.hash.clone()),
    }
}

fn measure(
    args: &Args,
    opponents: &[Opponent],
    shaders: Shaders,
    accepted: &Accepted,
    interrupted: &AtomicBool,
) -> Outcome {
    let chosen = session::adapter::choose(args.adapter.as_deref())?;
    let adapter = chosen.adapter.description;
    let lock = args.turn.take(&adapter)?;
    let software = adapter.is_software();
    let power = power(&args.power, software);
    let beside = Beside::begin(&adapter, &power, &lock);
    let this = this_program()?;
    let of_head = || gate::worker(Path::new(this.get_program()), software);
    let seed = args.seed.unwrap_or_else(inputs::fresh_seed);
    let measured = opponents.iter().filter(|o| o.program.is_some()).count() as f64;
    let mut screen = OnScreen {
        bar: progress_bar(0),
    };
    let mut usage = accepted.usage();
    let mut all: Option<Comparison> = None;
    for opponent in opponents {
        let head = Contestant {
            side: this_build(&shaders),
            worker: &of_head,
            shaders: shaders.clone(),
        };
        let Some(program) = &opponent.program else {
            let needless = Comparison::needless(opponent.side.clone(), head.side);
            all = Some(joined(all, needless));
            continue;
        };
        let of_base = || -> Command { gate::worker(program, software) };
        let plan = Plan {
            head,
            base: Contestant {
                side: opponent.side.clone(),
                worker: &of_base,
                shaders: opponent.shaders.clone(),
            },
            mode: opponent.mode,
            threshold: args.threshold.unwrap_or(Threshold::usual(software)),
            adapter: adapter.clone(),
            filters: args.cases.clone(),
            budget: Seconds(args.budget.0 / measured),
            seed,
            power: power.clone(),
            alpha: gate::ALPHA / measured,
            interrupted,
        };
        if args.self_test {
            let test = gate::self_test::run(&plan, &mut screen);
            screen.bar.finish_and_clear();
            return told(args, &test.map_err(failure)?, &beside);
        }
        if opponents.len() > 1 {
            say(format!("against {}", opponent.side.name));
        }
        let comparison = gate::run(&plan, &mut usage, &mut screen);
        screen.bar.finish_and_clear();
        let comparison = joined(all, comparison.map_err(failure)?);
        let interrupted = !comparison.complete;
        all = Some(comparison);
        if interrupted {
            break;
        }
    }
    let mut comparison = all.expect("clap demands a base");
    for case in &mut comparison.cases {
        case.fails |= case.verdict == Verdict::Ambiguous && args.fail_on == FailOn::Ambiguous;
    }
    if exit(&comparison) == Exit::Ok {
        let unused = usage.unused(args.cases.is_empty());
        comparison.warnings.extend(unused);
    }
    comparison.warnings.extend(beside.end());
    args.output.publish(&comparison)?;
    if let Some(why) = &comparison.incomparable {
        say(format!("warning: nothing was compared: {why}"));
    }
    Ok(exit(&comparison))
}

fn joined(first: Option<Comparison>, second: Comparison) -> Comparison {
    match first {
        Some(first) => first.and(second),
        None => second,
    }
}

/// Prints what a self-test found.
fn told(args: &Args, test: &SelfTest, beside: &Beside) -> Outcome {
    for warning in beside.end() {
        say(format!("warning: {warning}"));
    }
    print(&match args.output.format() {
        Format::Json => serde_json::to_string_pretty(test)? + "\n",
        Format::Table | Format::Markdown => comparison::self_test(test, None),
    })?;
    Ok(match (test.complete, test.cases.is_empty()) {
        (false, _) => Exit::Interrupted,
        (true, true) => Exit::NothingMeasured,
        (true, false) => Exit::Ok,
    })
}

/// What goes on beside a gate.
struct Beside<'a> {
    watch: Watch,
    begun: Begun,
    sharing: Sharing<'a>,
}

impl<'a> Beside<'a> {
    /// Begins to look, before any worker runs: whoever uses the GPU now is another.
    fn begin(adapter: &AdapterDescription, power: &PowerSpec, lock: &'a AdapterLock) -> Self {
        let watch = Watch::new(adapter, power);
        Self {
            begun: watch.begin(),
            watch,
            sharing: lock.watch(),
        }
    }

    /// What it was, once all workers have ended. The two sides of a pair share it, and
    /// chance decides which of them it hits.
    fn end(&self) -> Vec<String> {
        let shared = self.sharing.was_shared().then_some(Flag::SharedAdapter);
        let around = self.watch.end(&self.begun).flags();
        let flags = shared.into_iter().chain(around);
        flags
            .map(|flag| format!("{flag}: {}", flag.meaning()))
            .collect()
    }
}

/// The source of power that is read: none where watts would be those of everything
/// else as well.
fn power(wanted: &PowerSpec, software: bool) -> PowerSpec {
    if software && *wanted != PowerSpec::None {
        say("warning: energy is not compared on a software adapter".to_owned());
        return PowerSpec::None;
    }
    wanted.clone()
}

/// The status that the verdicts amount to.
fn exit(comparison: &Comparison) -> Exit {
    let timed = comparison.cases.iter().any(|case| case.ratio.is_some());
    if !comparison.complete {
        Exit::Interrupted
    } else if comparison.cases.iter().any(|case| case.fails) {
        Exit::Failed
    } else if !timed && comparison.incomparable.is_none() {
        Exit::NothingMeasured
    } else {
        Exit::Ok
    }
}

fn failure(error: GateError) -> Failure {
    let exit = match error {
        GateError::Adapter(_) => Exit::NothingMeasured,
        GateError::NoCases(_) => Exit::Usage,
        GateError::Interrupted => Exit::Interrupted,
    };
    Failure {
        exit,
        error: anyhow!(error),
    }
}

/// Progress on a terminal; elsewhere a line a case.
struct OnScreen {
    bar: ProgressBar,
}

impl Observer for OnScreen {
    fn case_begins(&mut self, name: &str, index: usize, count: usize) {
        self.bar.set_length(count as u64);
        self.bar.set_position(index as u64);
        begin(&self.bar, name);
    }

    fn phase(&mut self, phase: &str) {
        show(&self.bar, phase);
    }

    fn case_ended(&mut self, case: &Case) {
        let ratio = case.ratio.map(|ratio| ratio.to_string());
        let line = format!(
            "{:<44}  {}  {}",
            case.name,
            case.in_words(),
            ratio.unwrap_or_default()
        );
        self.bar.suspend(|| say(line.trim_end().to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Ratio;

    #[test]
    fn exit_statuses_follow_the_verdicts() {
        let mut comparison = Comparison::impossible(["a".into(), "b".into()], "why".into());
        assert_eq!(exit(&comparison), Exit::Ok, "incomparable is a warning");
        comparison.incomparable = None;
        assert_eq!(exit(&comparison), Exit::NothingMeasured);
        let case = |verdict, fails| Case {
            ratio: Some(Ratio {
                median: 1.0,
                interval: None,
            }),
            fails,
            ..Case::untimed("a", verdict, "")
        };
        comparison.cases = vec![case(Verdict::Same, false), case(Verdict::Ambiguous, false)];
        assert_eq!(exit(&comparison), Exit::Ok, "undecided is a warning");
        comparison.cases.push(case(Verdict::Slower, true));
        assert_eq!(exit(&comparison), Exit::Failed);
        comparison.complete = false;
        assert_eq!(exit(&comparison), Exit::Interrupted);
    }
}
