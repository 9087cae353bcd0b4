//! `flopwatt run`: measures the selected cases and leaves a report.

mod several;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::datasheets::DatasheetFile;
use super::report::print_first;
use super::setup::{self, Among, Setup, say};
use super::{Exit, Failure, Outcome, limits};
use crate::datasheet::Datasheet;
use crate::gpu;
use crate::gpu::adapter::AdapterDescription;
use crate::kernel::inputs::{self, Data};
use crate::kernel::select::{self, Selected};
use crate::measure::measurement::{Measurement, Status};
use crate::measure::tier::Tier;
use crate::power::PowerSpec;
use crate::record::{self, Report, Shaders, Start};
use crate::render::{self, Format, Run};
use crate::session::{self, Choices, Ended, Goal, Planned, PowerLimits};
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
    /// arguments', a program that prints watts or joules
    #[arg(long, value_name = "SOURCE", default_value_t)]
    power: PowerSpec,

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

    #[command(flatten)]
    datasheets: DatasheetFile,

    /// What to print on standard output
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

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
    // Everything that can be wrong with the command line is found before the
    // first case runs and before anything is written.
    let catalogue = args.datasheets.load()?;
    let shaders = args.setup.shaders()?;
    // Filters are tried on a software adapter's list first: a wrong one is wrong
    // on every adapter, and the message must not depend on finding one.
    let select = |software| select::select(&args.filters, &args.shapes, args.sweep, software);
    on_each(&args.data, select(true)?)?;
    let chosen = session::adapter::choose(args.setup.adapter.as_deref())?;
    let adapter = chosen.adapter.description;
    let cases = select(adapter.is_software())?;
    let (cases, planned) = on_each(&args.data, cases)?;
    let seed = args.setup.seed.unwrap_or_else(inputs::fresh_seed);
    let datasheet = record::find_datasheet(&catalogue, &adapter, chosen.memory);
    let mut report = begin(&args, seed, shaders, adapter, datasheet);
    let folder = report_folder(args.out, &report)?;
    if let Some(dump) = &args.dump {
        fs::create_dir_all(dump).with_context(|| format!("cannot create the folder {dump}"))?;
    }
    let limits = limits::start(&args.power_limits, &args.power, &report.adapter)?;
    let steps = planned.len() * limits.as_ref().map_or(1, |limits| limits.watts().len());
    let retune = args.setup.retune;
    let goal = Goal::Measure {
        dump: args.dump,
        power: args.power,
    };
    let out = Some(folder.as_path());
    let choices = Choices::default();
    let among = Among::alone(&choices);
    let limits_set = limits.as_ref();
    let ended = setup::execute(goal, retune, &planned, &mut report, out, limits_set, among);
    let restored = limits.map_or(Ok(()), PowerLimits::restore);
    if let Err(error) = &restored {
        say(format!("error: {error}"));
    }
    let ended = ended?;

    let format = if args.json { Format::Json } else { args.format };
    let documents = render::renderer(format).render(&[Run::in_folder(&report, &folder)]);
    print_first(&documents)?;
    talk("", &cases, steps, &report, ended);
    let file = folder.join(record::REPORT_FILE);
    say(format!("report: {}", file.display()));
    Ok(match ended {
        _ if restored.is_err() => Exit::Usage,
        Ended::Interrupted => Exit::Interrupted,
        Ended::Complete => exit(&cases, &report.measurements),
        Ended::DeviceGone => Exit::Failed,
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

/// Every case on each distribution, one after the other; ceilings, which have
/// inputs of their own, once.
fn on_each(data: &[Data], cases: Vec<Selected>) -> Result<(Vec<Selected>, Vec<Planned>), Failure> {
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
        let data = if case.id.operation.is_ceiling() {
            vec![Data::Normal]
        } else {
            distinct.clone()
        };
        data.into_iter().map(move |data| {
            let id = case.id.clone();
            (case.clone(), Planned { id, data })
        })
    });
    Ok(on_each.unzip())
}

/// Says what the exit status stands for, where the table alone does not; each line
/// begins with `label`.
fn talk(label: &str, cases: &[Selected], steps: usize, report: &Report, ended: Ended) {
    let early = match ended {
        Ended::Complete => None,
        Ended::Interrupted => Some("interrupted"),
        Ended::DeviceGone => Some("the run ends, since the GPU is gone"),
    };
    if let Some(why) = early {
        let measured = report.measurements.len();
        say(format!(
            "{label}{why}: {measured} of {steps} cases are in the report"
        ));
    }
    for measurement in named_but_skipped(cases, &report.measurements) {
        let why = measurement.reason.as_ref().map_or("", |r| &r.message);
        say(format!(
            "{label}error: {} cannot run on this adapter: {why}",
            measurement.name()
        ));
    }
}

/// Cases named by their full id that this adapter cannot run.
fn named_but_skipped<'a>(
    cases: &'a [Selected],
    measurements: &'a [Measurement],
) -> impl Iterator<Item = &'a Measurement> {
    let pairs = cases.iter().zip(measurements);
    pairs
        .filter(|(case, m)| case.explicit && m.status == Status::Skipped)
        .map(|(_, measurement)| measurement)
}

/// The status that the cases' outcomes amount to.
fn exit(cases: &[Selected], measurements: &[Measurement]) -> Exit {
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
        let case = |&(_, explicit): &(Status, bool)| Selected {
            id: id.clone(),
            explicit,
        };
        let cases: Vec<Selected> = outcomes.iter().map(case).collect();
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
        let (cases, planned) = on_each(&data, vec![ceiling.clone(), kernel.clone()]).unwrap();
        assert_eq!(cases, [ceiling.clone(), kernel.clone(), kernel]);
        let data: Vec<Data> = planned.iter().map(|p| p.data).collect();
        assert_eq!(data, [Data::Normal, Data::Zeros, Data::Normal]);
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
