//! `flopwatt shader`: what a kernel's programs look like, without running them.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, anyhow};

use super::setup::say;
use super::{Exit, Failure, Outcome, print};
use crate::kernel::capabilities::Capabilities;
use crate::kernel::id::CaseId;
use crate::kernel::program::Program;
use crate::kernel::select;
use crate::kernel::shader::{self, Format};
use crate::kernel::template::Templates;
use crate::kernel::{self, BuildError, Kernel, Parameters};
use crate::session;

/// Print the shaders of a case, as WGSL or as drivers get them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Full id, such as matmul/f16/register/1024x1024x1024; any shape will do
    case: String,

    /// Language to print
    #[arg(long, value_enum, default_value = "wgsl")]
    format: Format,

    /// The adapter to render for, as `run` takes it, or none for one that can do
    /// everything [default: the default adapter; without any, none]
    #[arg(long)]
    adapter: Option<String>,

    /// Where the case has several candidates, which of them: a number, or all
    #[arg(long, value_name = "N|all", default_value = "1")]
    candidate: Which,

    /// With checks of bounds, loops and divisors, instead of without as measured;
    /// WGSL is the same either way
    #[arg(long)]
    checked: bool,

    /// Folder of templates to use in place of the built-in ones
    #[arg(long, value_name = "DIR")]
    shaders: Option<PathBuf>,
}

/// Which candidates to print.
#[derive(Clone, Copy, Debug)]
enum Which {
    All,
    /// Counted from one.
    Nth(NonZeroUsize),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Nth)
                .map_err(|_| "expected a number from 1 or all".into()),
        }
    }
}

/// Prints the shaders on standard output.
pub fn run(args: Args) -> Outcome {
    let case = &args.case;
    if case.parse().is_ok_and(|id: CaseId| id.is_best()) {
        let hint = format!("`flopwatt tune {case}` shows which it is, to be named here");
        return Err(anyhow!("the best kernel is chosen by measurement: {hint}").into());
    }
    let (id, kernel) = select::named(case)?;
    let templates = Templates::of(args.shaders.as_deref())?;
    let capabilities = capabilities(args.adapter.as_deref())?;
    let programs = candidates(&id, kernel, &capabilities, &templates)?;
    let offered = programs.len();
    let chosen: Vec<(usize, Program)> = (1..)
        .zip(programs)
        .filter(|(number, _)| match args.candidate {
            Which::All => true,
            Which::Nth(wanted) => *number == wanted.get(),
        })
        .collect();
    if chosen.is_empty() {
        return Err(anyhow!("{id} has {offered} candidates: choose one of those, or all").into());
    }
    let mut text = String::new();
    for (number, program) in &chosen {
        let title = format!(
            "{id}, candidate {number} of {offered}{}",
            list(&program.parameters)
        );
        text += &translated(&title, program, &capabilities, &args)?;
    }
    print(&text)?;
    if chosen.len() < offered {
        say(format!(
            "{offered} candidates: --candidate N prints another, --candidate all every one"
        ));
    }
    Ok(Exit::Ok)
}

/// What the shaders are rendered for. Standard error says so.
fn capabilities(wanted: Option<&str>) -> Result<Capabilities, Failure> {
    if wanted == Some("none") {
        say("rendered for no adapter of this machine, but one that can do everything".to_owned());
        return Ok(Capabilities::imaginary());
    }
    match session::adapter::choose(wanted) {
        Ok(chosen) => {
            let description = &chosen.adapter.description;
            say(format!("rendered for {}", description.name));
            Ok(description.into())
        }
        Err(error) if wanted.is_none() && error.nothing_to_measure() => {
            say("no adapter to use here: rendered for one that can do everything".to_owned());
            Ok(Capabilities::imaginary())
        }
        Err(error) => Err(error.into()),
    }
}

fn candidates(
    id: &CaseId,
    kernel: &Kernel,
    capabilities: &Capabilities,
    templates: &Templates,
) -> Result<Vec<Program>, Failure> {
    let programs = kernel.candidates(id.shape, capabilities, templates);
    programs.map_err(|error| match error {
        BuildError::Unfit(unfit) => anyhow!("{id} cannot run on this adapter: {unfit}").into(),
        BuildError::Template(error) => error.into(),
    })
}

/// The passes of a program one after the other, with a heading before each.
fn translated(
    title: &str,
    program: &Program,
    capabilities: &Capabilities,
    args: &Args,
) -> Result<String, Failure> {
    let comment = match args.format {
        Format::SpirvAsm => ";",
        Format::Wgsl | Format::Msl | Format::Hlsl => "//",
    };
    let mut text = format!("{comment} {title}\n");
    for (number, pass) in (1..).zip(&program.passes) {
        let [x, y, z] = pass.workgroups;
        let template = pass.template;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{comment} pass {number} of {}: {template}, {x}x{y}x{z} workgroups\n",
            program.passes.len()
        );
        let features = &capabilities.features;
        let written = shader::translate(&pass.wgsl, features, args.format, args.checked);
        text += written
            .with_context(|| format!("cannot print {template} in this language"))?
            .trim();
        text += "\n\n";
    }
    Ok(text)
}

/// Parameters behind a title.
fn list(parameters: &Parameters) -> String {
    if parameters.is_empty() {
        String::new()
    } else {
        format!(": {}", kernel::in_words(parameters))
    }
}
