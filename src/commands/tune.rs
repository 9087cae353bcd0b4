//! `flopwatt tune`: chooses the kernels of 'best' cases, and shows what was tried.

use anyhow::anyhow;
use comfy_table::{Cell, CellAlignment, Table, presets};

use super::setup::{self, Among, Setup};
use super::{Exit, Outcome, print};
use crate::kernel;
use crate::kernel::inputs::{self, Data};
use crate::kernel::select;
use crate::measure::tier::Tier;
use crate::record::{self, Planned, Report, Start};
use crate::session::{self, Choices, Ended, Goal};
use crate::tune::{Tried, Tuning};

/// Choose the fastest kernels for an adapter and remember them
///
/// Candidates are verified before they may win. A choice serves all shapes of its
/// class, and later runs until the driver, the shaders or this program change.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Cases of the best kernel, or anything that selects some: matmul,
    /// 'matmul/f16/*', matmul/f32/best/1024x1024x1024. Without any, the headline
    /// list's
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// Add a shape to every selected operation that takes it
    #[arg(long = "shape", value_name = "SHAPE")]
    shapes: Vec<String>,

    #[command(flatten)]
    setup: Setup,

    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
}

/// Chooses, class by class, and prints every candidate with its figure.
pub fn run(args: Args) -> Outcome {
    let shaders = args.setup.shaders()?;
    select::select(&args.filters, &args.shapes, false, true)?;
    let adapter = session::adapter::choose(args.setup.adapter.as_deref())?
        .adapter
        .description;
    let cases = select::select(&args.filters, &args.shapes, false, adapter.is_software())?;
    let best: Vec<Planned> = cases
        .into_iter()
        .filter(|case| case.id.is_best())
        .map(|case| Planned {
            id: case.id,
            data: Data::Normal,
            named: case.explicit,
        })
        .collect();
    if best.is_empty() {
        return Err(anyhow!(
            "nothing to tune: no case of a best kernel is selected; try matmul/f32/best"
        )
        .into());
    }
    let lock = args.setup.turn.take(&adapter)?;
    let mut report = Report::begin(Start {
        command: record::command_line(),
        tier: Tier::Quick,
        seed: args.setup.seed.unwrap_or_else(inputs::fresh_seed),
        shaders,
        datasheet: Err("not looked for".into()),
        adapter,
    });
    let ended = setup::execute(
        Goal::Choose,
        args.setup.retune,
        &best,
        &mut report,
        None,
        None,
        Among::alone(&Choices::default(), &lock),
    )?;
    print(&if args.json {
        serde_json::to_string_pretty(&report.tuning)? + "\n"
    } else {
        let tables: Vec<String> = report.tuning.iter().map(table).collect();
        tables.join("\n")
    })?;
    Ok(match ended {
        Ended::Interrupted => Exit::Interrupted,
        Ended::DeviceGone => Exit::Failed,
        Ended::Complete if report.tuning.iter().all(|t| t.chosen.is_none()) => {
            Exit::NothingMeasured
        }
        Ended::Complete if report.measurements.is_empty() => Exit::Ok,
        Ended::Complete => Exit::Failed,
    })
}

/// One class of shapes: what was tried, the fastest first.
fn table(tuning: &Tuning) -> String {
    let when = if tuning.cached {
        "chosen by an earlier run".to_owned()
    } else {
        format!("chosen in {:.1} s", tuning.took_s.0)
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["kernel", "parameters", "GFLOP/s", ""]);
    let mut candidates: Vec<&Tried> = tuning.candidates.iter().collect();
    let rate = |tried: &Tried| tried.gflops.map_or(f64::NEG_INFINITY, |rate| rate.0);
    candidates.sort_by(|a, b| f64::total_cmp(&rate(b), &rate(a)));
    for tried in candidates {
        let chosen = tuning
            .chosen
            .as_ref()
            .is_some_and(|c| (&c.variant, &c.parameters) == (&tried.variant, &tried.parameters));
        let note = match &tried.reason {
            Some(reason) => reason.message.clone(),
            None if chosen => "chosen".to_owned(),
            None => String::new(),
        };
        let figure = tried
            .gflops
            .map_or_else(|| "-".to_owned(), |rate| format!("{:.2}", rate.0));
        table.add_row([
            Cell::new(&tried.variant),
            Cell::new(kernel::in_words(&tried.parameters)),
            Cell::new(figure).set_alignment(CellAlignment::Right),
            Cell::new(note),
        ]);
    }
    format!(
        "{}/{} {}, measured on {}, {when}\n{table}\n",
        tuning.operation, tuning.precision, tuning.shape_class, tuning.shape
    )
}
