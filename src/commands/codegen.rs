//! `flopwatt codegen`: what the driver's compiler made of each kernel, without
//! running any.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use comfy_table::{Cell, CellAlignment, Table, presets};

use super::setup::say;
use super::{Exit, Failure, Outcome, print};
use crate::codegen::bound::Architecture;
use crate::codegen::compare::Comparison;
use crate::codegen::survey::{Shader, Survey, Surveyor};
use crate::codegen::{CodegenError, Compiler, listing};
use crate::console::plain;
use crate::gpu::adapter::AdapterDescription;
use crate::json_file::range::InRange;
use crate::json_file::{self, Misfit, Origin};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::template::Templates;
use crate::kernel::{self, BuildError, select};
use crate::session;
use crate::units::Bytes;

/// Larger files are no surveys; one of all kernels is a hundredth of it.
const LARGEST_SURVEY: Bytes = Bytes(16 << 20);

/// Show what the driver's compiler made of the kernels: registers, spills,
/// instructions of the hot loop
///
/// Nothing is run. The bound is by counting instructions, never a measurement.
/// Works where a Vulkan driver has VK_KHR_pipeline_executable_properties.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kernels by leading parts of an id, full ids, or globs such as '*/f32/*'.
    /// Without any, all of them
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,

    /// The adapter whose driver compiles, as `run` takes it [default: the default
    /// adapter]
    #[arg(long)]
    adapter: Option<String>,

    /// What the bound is computed for, where the driver does not tell
    #[arg(long, value_enum)]
    architecture: Option<Architecture>,

    /// With checks of bounds, loops and divisors, instead of without as measured
    #[arg(long)]
    checked: bool,

    /// Folder of templates to use in place of the built-in ones
    #[arg(long, value_name = "DIR")]
    shaders: Option<PathBuf>,

    /// Print the driver's disassembly of this case: a full id
    #[arg(long, value_name = "CASE", conflicts_with_all = ["filters", "json", "compare"])]
    text: Option<String>,

    /// List what changed since FILE, which `--json` has written. More spills, a
    /// lower occupancy or FLOP share, matrix instructions or shaders that vanished
    /// fail, unless another compiler version made them
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Compiles, and prints a table, JSON, a disassembly or a comparison.
pub fn run(args: Args) -> Outcome {
    let templates = Templates::of(args.shaders.as_deref())?;
    let before = args.compare.as_deref().map(load).transpose()?;
    let adapter = session::adapter::choose(args.adapter.as_deref())?.adapter;
    let description = &adapter.description;
    let capabilities = Capabilities::from(description);
    let compiler = Compiler::open(&adapter.wgpu, &capabilities.features)
        .map_err(|reason| nothing_told(description, reason))?;
    let surveyor = Surveyor {
        compiler: &compiler,
        architecture: args.architecture.or_else(|| Architecture::of(description)),
        capabilities: &capabilities,
        templates: &templates,
        checked: args.checked,
    };
    if let Some(case) = &args.text {
        print(&disassembly(&surveyor, case)?)?;
        return Ok(Exit::Ok);
    }
    let cases = select::kernels(&args.filters, capabilities.software)?;
    let (shaders, skipped) = surveyor.survey(&cases)?;
    for case in &skipped {
        say(format!("skipped: {} {}", case.case, case.reason));
    }
    let survey = Survey {
        adapter: description.name.trim().to_owned(),
        architecture: surveyor.architecture,
        compiler: compiler_name(description),
        shaders,
        skipped,
    };
    if survey.shaders.is_empty() {
        return Ok(Exit::NothingMeasured);
    }
    match before {
        Some(before) => {
            let comparison = Comparison::of(&before, &survey, args.filters.is_empty());
            print(&if args.json {
                serde_json::to_string_pretty(&comparison)? + "\n"
            } else {
                changes(&comparison)
            })?;
            Ok(if comparison.is_worse() {
                Exit::Failed
            } else {
                Exit::Ok
            })
        }
        None => {
            print(&if args.json {
                serde_json::to_string_pretty(&survey)? + "\n"
            } else {
                table(&survey)
            })?;
            Ok(Exit::Ok)
        }
    }
}

/// A driver that tells nothing leaves nothing to show.
fn nothing_told(adapter: &AdapterDescription, reason: CodegenError) -> Failure {
    Failure {
        exit: Exit::NothingMeasured,
        error: anyhow!(reason).context(adapter.summary()),
    }
}

/// What compiles, by name and version.
fn compiler_name(adapter: &AdapterDescription) -> String {
    format!("{}, {}", adapter.driver, adapter.driver_info)
}

fn load(path: &Path) -> Result<Survey, Failure> {
    let text = json_file::read(path, LARGEST_SURVEY, Origin::Named)
        .with_context(|| format!("cannot read {}", path.display()))?
        .ok_or_else(|| anyhow!("{} is larger than {LARGEST_SURVEY}", path.display()))?;
    let survey = serde_json::from_str(&text);
    let sound = survey.and_then(|survey| serde_json::from_str(&text).map(|InRange| survey));
    Ok(sound.map_err(|error| {
        let misfit = Misfit::of(&text, &error);
        let (line, column) = misfit.line_and_column(&text);
        anyhow!(
            "{}:{line}:{column}: no output of `flopwatt codegen --json`: {misfit}",
            path.display()
        )
    })?)
}

/// The disassembly of every candidate's passes, with a heading before each.
fn disassembly(surveyor: &Surveyor, case: &str) -> Result<String, Failure> {
    let (id, kernel) = select::named(case)?;
    let programs = surveyor
        .programs(&id, kernel)
        .map_err(|error| match error {
            BuildError::Unfit(unfit) => anyhow!("{id} cannot run on this adapter: {unfit}"),
            BuildError::Template(error) => error.into(),
        })?;
    let mut text = String::new();
    for program in &programs {
        for (number, pass) in (1..).zip(&program.passes) {
            let parameters = kernel::in_words(&program.parameters);
            for executable in surveyor.compile(&id, program, pass)? {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "# {id} ({parameters}), pass {number} {}",
                    pass.template
                );
                let printed = listing::text(&executable);
                text += printed.unwrap_or("(the driver gives no text)").trim_end();
                text += "\n\n";
            }
        }
    }
    Ok(text)
}

fn changes(comparison: &Comparison) -> String {
    let mut text = String::new();
    if let Some(compiler) = &comparison.other_compiler {
        let compiler = plain(compiler);
        text += &format!("compiled by another version before ({compiler}): for information only\n");
    }
    for change in &comparison.changes {
        let verdict = if change.worse { "WORSE " } else { "change" };
        let change = plain(&format!("{}: {}", change.shader, change.what));
        text += &format!("{verdict}  {change}\n");
    }
    if comparison.changes.is_empty() {
        text += "no change\n";
    }
    text
}

fn table(survey: &Survey) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "kernel",
        "parameters",
        "pass",
        "registers",
        "spills",
        "scratch B",
        "workgroup B",
        "code B",
        "instructions",
        "occupancy",
        "FMA %",
        "matrix %",
        "memory %",
        "address %",
        "control %",
        "FLOP %",
        "bound %",
    ]);
    for shader in &survey.shaders {
        table.add_row(row(shader));
    }
    let architecture = survey.architecture.map_or_else(
        || "an architecture that the driver does not tell".to_owned(),
        |known| format!("{known:?}"),
    );
    format!(
        "{}: {}, {architecture}\n{table}\n\
         occupancy: subgroups of a SIMD unit. FMA to FLOP %: instructions of the hot loop; FLOP is\n\
         FMA and matrix. bound: of the peak, by counting instructions; no measurement\n",
        survey.adapter, survey.compiler
    )
}

fn row(shader: &Shader) -> Vec<Cell> {
    let statistics = &shader.statistics;
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let count = |value: Option<u64>| right(value.map_or_else(|| "-".into(), |v| v.to_string()));
    let percent =
        |value: Option<f64>| right(value.map_or_else(|| "-".into(), |v| format!("{v:.1}")));
    let share = |part: fn(&listing::Mix) -> u32| {
        percent(
            shader
                .hot_loop
                .map(|mix| 100.0 * f64::from(part(&mix)) / f64::from(mix.total())),
        )
    };
    vec![
        Cell::new(&shader.case),
        Cell::new(kernel::in_words(&shader.parameters)),
        Cell::new(shader.template.trim_end_matches(".wgsl.jinja")),
        count(statistics.registers),
        count(statistics.spills),
        count(statistics.scratch_bytes),
        count(statistics.workgroup_bytes),
        count(statistics.code_bytes),
        count(statistics.instructions),
        count(statistics.occupancy),
        share(|mix| mix.fma),
        share(|mix| mix.matrix),
        share(|mix| mix.memory),
        share(|mix| mix.address),
        share(|mix| mix.control),
        percent(shader.percent_flop),
        percent(shader.bound_percent_of_peak),
    ]
}
