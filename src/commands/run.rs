//! `flopwatt run`: measures the selected cases and leaves a report.

mod resume;
mod several;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::datasheets::DatasheetFile;
use super::report::print_first;
use super::setup::{self, Among, Setup, Turn, say};
use super::{Exit, Failure, Outcome, limits};
use crate::datasheet::Datasheet;
use crate::gpu;
use crate::gpu::adapter::AdapterDescription;
use crate::kernel::id::Operation;
use crate::kernel::inputs::{self, Data};
use crate::kernel::peak;
use crate::kernel::select::{self, Selected};
use crate::measure::measurement::{Measurement, Status};
use crate::measure::tier::Tier;
use crate::power::PowerSpec;
use crate::record::{self, Planned, Report, RunPlan, Shaders, Start};
use crate::render::{self, Document, Format, Run};
use crate::session::{self, Choices, Ended, Goal, PowerLimits};
use crate::units::Watts;

/// Measure kernels on an adapter and leave a report
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Cases: full ids, globs ('matmul/f32/*', '*' for all) or leading parts of
    /// ids (attention/f32/flash). Without any, a headline list
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    #[command(flatten)]
    setup: Setup,

    /// Measure on several adapters at the same time, each case begun together, and not
    /// on one after the other
    #[arg(long)]
    concurrent: bool,

    /// How long and how carefully each case is measured
    #[arg(long, value_enum, default_value = "quick")]
    tier: Tier,

    /// Add a shape to every selected operation that takes it, such as
    /// 1000x777x333 or b1h8s512d64-causal
    #[arg(long = "shape", value_name = "SHAPE")]
    shapes: Vec<String>,

    /// Add square products of 512 to 4096 for every selected product kernel, or
    /// for the best f32 one; shows the achievable peak and how cost grows
    #[arg(long)]
    sweep: bool,

    /// Source of power: auto (that of the adapter), none, nvml[:index|uuid|pci],
    /// rapl[:package-0], hwmon[:driver|pci], ioreport, or command:'program
    /// arguments', a program that prints watts or joules [default: auto]
    #[arg(long, value_name = "SOURCE")]
    power: Option<PowerSpec>,

    /// Distributions of the inputs of products and attention, separated by commas:
    /// normal, uniform, zeros, sparse:SHARE (of zeros) or sorted. Every case is
    /// measured on each
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "normal"
    )]
    data: Vec<Data>,

    /// Folder for report.json, report.html, report.md and charts [default: a new folder under reports/]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Folder for inputs, output and float64 reference of every verified matrix
    /// product and attention, as .npy files in a folder for each case. Ceilings
    /// (peak, bandwidth, latency) leave nothing there
    #[arg(long, value_name = "DIR")]
    dump: Option<String>,

    /// Measure every case at each of these power limits of the GPU, in this order,
    /// and restore the old one in the end; needs NVML, and root or administrator
    #[arg(long, value_name = "WATTS", value_delimiter = ',', value_parser = limits::watts)]
    power_limits: Vec<Watts>,

    /// Go on with the run that left its report in this folder and was cut short: the
    /// cases that are missing, with the options that it was started with. Programs
    /// and folders are not taken from a report: give --power command:…, --dump and
    /// --shaders once more. Refused where the machine, the adapter, its driver, the
    /// shaders or flopwatt are others by now
    #[arg(long, value_name = "DIR", conflicts_with_all = BEGINNING)]
    resume: Option<PathBuf>,

    /// Go on with a report that was changed after it was written, or does not tell
    /// whether it was. The report says so from then on
    #[arg(long, requires = "resume")]
    altered: bool,

    #[command(flatten)]
    datasheets: DatasheetFile,

    /// What to print on standard output
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Options that only a new run has; one that goes on has them in its report.
const BEGINNING: [&str; 13] = [
    "filters",
    "adapter",
    "concurrent",
    "seed",
    "retune",
    "checked",
    "tier",
    "shapes",
    "sweep",
    "data",
    "out",
    "power_limits",
    "datasheets",
];

/// Runs the cases, saving after each, and prints the outcome.
pub fn run(args: Args) -> Outcome {
    match args.setup.adapter.as_deref().and_then(gpu::select::listed) {
        Some(names) => several::run(&args, &names),
        None => one(args),
    }
}

/// Runs the cases on one adapter.
fn one(args: Args) -> Outcome {
    if args.concurrent {
        return Err(anyhow!(
            "--concurrent is for several adapters: choose them with --adapter all, or a list such \
             as --adapter 0,1"
        )
        .into());
    }
    let format = if args.json { Format::Json } else { args.format };
    let turn = args.setup.turn;
    let (mut report, plan, folder) = match &args.resume {
        Some(folder) => {
            let (report, plan) = resume::load(folder, &args)?;
            (report, plan, folder.clone())
        }
        None => {
            let (report, plan, folder) = new_run(args)?;
            (report, Some(plan), folder)
        }
    };
    let exit = match plan {
        Some(plan) => measure(&plan, &mut report, &folder, format, turn)?,
        None => {
            print_first(&documents(&report, &folder, format))?;
            say("nothing is missing: the run is complete".into());
            Exit::Ok
        }
    };
    let file = folder.join(record::REPORT_FILE);
    say(format!("report: {}", file.display()));
    Ok(exit)
}

/// What the command line asks for, and the folder for its report. Everything that
/// can be wrong with it is found before the first case runs and before anything is
/// written.
fn new_run(args: Args) -> Result<(Report, RunPlan, PathBuf), Failure> {
    let catalogue = args.datasheets.load()?;
    let shaders = args.setup.shaders()?;
    // Filters are tried on a software adapter's list first: a wrong one is wrong
    // on every adapter, and the message must not depend on finding one.
    plan(&args, true)?;
    let chosen = session::adapter::choose(args.setup.adapter.as_deref())?;
    let adapter = chosen.adapter.description;
    let mut plan = plan(&args, adapter.is_software())?;
    let seed = args.setup.seed.unwrap_or_else(inputs::fresh_seed);
    let datasheet = record::find_datasheet(&catalogue, &adapter, chosen.memory);
    let mut report = begin(&args, seed, shaders, adapter, datasheet);
    let folder = report_folder(args.out, &report)?;
    plan.dump = args.dump.map(dump_folder).transpose()?;
    report.plan = Some(plan.clone());
    Ok((report, plan, folder))
}

/// What is to be done on a software adapter or on a GPU. The folder for what is
/// computed is not yet made.
fn plan(args: &Args, software: bool) -> Result<RunPlan, Failure> {
    let cases = select::select(&args.filters, &args.shapes, args.sweep, software)?;
    Ok(RunPlan {
        cases: on_each(&args.data, cases)?,
        power_limits_w: limits::distinct(&args.power_limits),
        power: args.power.clone().unwrap_or_default().to_string(),
        dump: None,
        retune: args.setup.retune,
        concurrent: args.concurrent,
    })
}

/// A report on `adapter` that begins now.
fn begin(
    args: &Args,
    seed: u64,
    shaders: Shaders,
    adapter: AdapterDescription,
    datasheet: Result<Datasheet, String>,
) -> Report {
    let mut report = Report::begin(Start {
        command: record::command_line(),
        tier: args.tier,
        seed,
        shaders,
        datasheet,
        adapter,
    });
    report.data = args.data.first().copied().unwrap_or_default();
    report
}

/// Measures what the plan has and the report has not, once it is this run's turn on
/// the adapter, and prints the outcome.
fn measure(
    plan: &RunPlan,
    report: &mut Report,
    folder: &Path,
    format: Format,
    turn: Turn,
) -> Outcome {
    let lock = turn.take(&report.adapter)?;
    let power: PowerSpec = plan.power.parse()?;
    let limits = limits::start(&plan.power_limits_w, &power, &report.adapter)?;
    let goal = Goal::Measure {
        dump: plan.dump.clone(),
        power,
    };
    let ended = setup::execute(
        goal,
        plan.retune,
        &plan.cases,
        report,
        Some(folder),
        limits.as_ref(),
        Among::alone(&Choices::default(), &lock),
    );
    let restored = limits.map_or(Ok(()), PowerLimits::restore);
    if let Err(error) = &restored {
        say(format!("error: {error}"));
    }
    let ended = ended?;
    let printed = print_first(&documents(report, folder, format));
    talk("", plan, report, folder, ended);
    if ended != Ended::Interrupted {
        // Otherwise nobody may be left to print to: a terminal that is closed interrupts.
        printed?;
    }
    Ok(match ended {
        _ if restored.is_err() => Exit::Usage,
        Ended::Interrupted => Exit::Interrupted,
        Ended::Complete => exit(&plan.cases, &report.measurements),
        Ended::DeviceGone => Exit::Failed,
    })
}

fn documents(report: &Report, folder: &Path, format: Format) -> Vec<Document> {
    render::renderer(format).render(&[Run::in_folder(report, folder)])
}

/// Makes the folder for what is computed, and returns where it is from the root,
/// so that a run can go on from elsewhere.
fn dump_folder(wanted: impl AsRef<Path>) -> Result<String, Failure> {
    let wanted = wanted.as_ref();
    let made = fs::create_dir_all(wanted).and_then(|()| fs::canonicalize(wanted));
    let folder = made.with_context(|| format!("cannot create the folder {}", wanted.display()))?;
    folder
        .into_os_string()
        .into_string()
        .map_err(|folder| anyhow!("the folder {} has no Unicode name", folder.display()).into())
}

/// Every case on each distribution, one after the other; ceilings, which have
/// inputs of their own, once.
fn on_each(data: &[Data], cases: Vec<Selected>) -> Result<Vec<Planned>, Failure> {
    let mut distinct: Vec<Data> = Vec::new();
    for &data in data {
        if !distinct.contains(&data) {
            distinct.push(data);
        }
    }
    if distinct != [Data::Normal] && cases.iter().all(|c| c.id.operation.is_ceiling()) {
        return Err(anyhow!(
            "--data is about the inputs of matrix products and attention, and none is selected: leave it out, or select one, such as matmul/f32/best"
        )
        .into());
    }
    let on_each = cases.into_iter().flat_map(|case| {
        let data = match case.id.operation {
            Operation::Peak => vec![peak::data(case.id.precision, &case.id.variant)],
            Operation::Bandwidth | Operation::Latency => vec![Data::Normal],
            Operation::Matmul | Operation::Attention => distinct.clone(),
        };
        data.into_iter().map(move |data| Planned {
            id: case.id.clone(),
            data,
            named: case.explicit,
        })
    });
    Ok(on_each.collect())
}

/// Says what the exit status stands for, where the table alone does not; each line
/// begins with `label`.
fn talk(label: &str, plan: &RunPlan, report: &Report, folder: &Path, ended: Ended) {
    let early = match ended {
        Ended::Complete => None,
        Ended::Interrupted => Some("interrupted"),
        Ended::DeviceGone => Some("the run ends, since the GPU is gone"),
    };
    if let Some(why) = early {
        let (measured, steps) = (report.measurements.len(), plan.steps().len());
        let others = match plan.concurrent {
            true => String::new(),
            false => format!(
                "; `flopwatt run --resume {}` measures the others",
                folder.display()
            ),
        };
        say(format!(
            "{label}{why}: {measured} of {steps} cases are in the report{others}"
        ));
    }
    for measurement in named_but_skipped(&plan.cases, &report.measurements) {
        let why = measurement.reason.as_ref().map_or("", |r| &r.message);
        say(format!(
            "{label}error: {} cannot run on this adapter: {why}",
            measurement.name()
        ));
    }
}

/// Cases named by their full id that this adapter cannot run.
fn named_but_skipped<'a>(
    cases: &'a [Planned],
    measurements: &'a [Measurement],
) -> impl Iterator<Item = &'a Measurement> {
    // Every case comes once at each power limit.
    let pairs = cases.iter().cycle().zip(measurements);
    pairs
        .filter(|(case, m)| case.named && m.status == Status::Skipped)
        .map(|(_, measurement)| measurement)
}

/// The status that the cases' outcomes amount to.
fn exit(cases: &[Planned], measurements: &[Measurement]) -> Exit {
    let any = |status| measurements.iter().any(|m| m.status == status);
    if !any(Status::Ok) && (any(Status::Rejected) || any(Status::Failed)) {
        Exit::NothingMeasured
    } else if any(Status::Rejected) || any(Status::Failed) {
        Exit::Failed
    } else if named_but_skipped(cases, measurements).next().is_some() {
        Exit::Usage
    } else if !any(Status::Ok) {
        Exit::NothingMeasured
    } else {
        Exit::Ok
    }
}

/// Where the report goes: a folder that must not hold one already.
fn report_folder(out: Option<PathBuf>, report: &Report) -> Result<PathBuf, Failure> {
    let path = out.unwrap_or_else(|| Path::new("reports").join(record::folder_name(report)));
    refuse_to_overwrite(&path, record::REPORT_FILE)?;
    Ok(path)
}

/// An error if the folder holds a report already, in a file of this name.
fn refuse_to_overwrite(folder: &Path, file: &str) -> Result<(), Failure> {
    if folder.join(file).exists() {
        return Err(anyhow!(
            "{} already holds a report: choose another --out, or move it away",
            folder.display()
        )
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::CaseId;
    use crate::measure::measurement::{Reason, ReasonCode};

    fn exit_of(outcomes: &[(Status, bool)]) -> Exit {
        let id: CaseId = "matmul/f32/naive/1x1x1".parse().unwrap();
        let case = |&(_, named): &(Status, bool)| Planned {
            id: id.clone(),
            data: Data::Normal,
            named,
        };
        let cases: Vec<Planned> = outcomes.iter().map(case).collect();
        let outcome = |&(status, _): &(Status, bool)| {
            let reason = Reason::new(ReasonCode::NotMeasured, "");
            Measurement::without_figures(&id, status, reason)
        };
        let measurements: Vec<Measurement> = outcomes.iter().map(outcome).collect();
        exit(&cases, &measurements)
    }

    #[test]
    fn kernels_run_on_every_distribution_and_ceilings_once() {
        let selected = |id: &str| Selected {
            id: id.parse().unwrap(),
            explicit: false,
        };
        let ceiling = selected("peak/f32/fma/device");
        let kernel = selected("matmul/f32/naive/1x1x1");
        let data = [Data::Zeros, Data::Normal, Data::Zeros];
        let planned = on_each(&data, vec![ceiling.clone(), kernel.clone()]).unwrap();
        let ids: Vec<&CaseId> = planned.iter().map(|p| &p.id).collect();
        assert_eq!(ids, [&ceiling.id, &kernel.id, &kernel.id]);
        let data: Vec<Data> = planned.iter().map(|p| p.data).collect();
        assert_eq!(data, [Data::RandomMantissas, Data::Zeros, Data::Normal]);
        let refused = on_each(&[Data::Zeros], vec![ceiling.clone()]).unwrap_err();
        assert!(
            refused.to_string().contains("none is selected"),
            "{refused}"
        );
        assert!(on_each(&[Data::Normal], vec![ceiling]).is_ok());
    }

    #[test]
    fn exit_statuses_follow_the_outcomes() {
        use Status::{Failed, Ok, Rejected, Skipped};
        assert_eq!(exit_of(&[(Ok, false), (Skipped, false)]), Exit::Ok);
        assert_eq!(exit_of(&[(Ok, false), (Rejected, false)]), Exit::Failed);
        assert_eq!(exit_of(&[(Ok, false), (Failed, false)]), Exit::Failed);
        assert_eq!(exit_of(&[(Ok, false), (Skipped, true)]), Exit::Usage);
        assert_eq!(exit_of(&[(Skipped, true)]), Exit::Usage);
        assert_eq!(exit_of(&[(Skipped, false)]), Exit::NothingMeasured);
        assert_eq!(
            exit_of(&[(Rejected, false), (Rejected, true)]),
            Exit::NothingMeasured
        );
    }
}
