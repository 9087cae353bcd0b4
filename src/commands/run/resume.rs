//! `flopwatt run --resume`: whether a run that was cut short can go on here.
//!
//! Figures of one report are compared with each other, so that all of them must
//! come from one program on one adapter of one machine.

use std::path::Path;

use anyhow::anyhow;
use jiff::Timestamp;
use serde_json::Value;

use super::{Args, dump_folder};
use crate::commands::Failure;
use crate::commands::setup::say;
use crate::gpu::adapter::{self, AdapterDescription};
use crate::power::{self, PowerSpec};
use crate::record::{self, Git, Host, REPORT_FILE, Report, Resumption, RunPlan, Shaders};

/// The report in `folder`, and the plan of its run unless nothing is missing. What the
/// report may not decide is that of the command line.
///
/// # Errors
/// When there is no report that can be gone on with, or something is not as it was.
pub fn load(folder: &Path, args: &Args) -> Result<(Report, Option<RunPlan>), Failure> {
    let file = folder.join(REPORT_FILE);
    let (mut report, content) = record::read(folder)?;
    let doubt = content.doubt(&report);
    if report.complete {
        if let Some(doubt) = doubt {
            say(format!("warning: {} {doubt}", file.display()));
        }
        return Ok((report, None));
    }
    let refused = |why: &str| anyhow!("the run of {} cannot go on: {why}", file.display());
    let Some(mut plan) = report.plan.clone() else {
        return Err(refused(
            "the report holds no plan. It is anonymised, of a version of flopwatt before schema \
             1.4, or of another command than `flopwatt run`",
        )
        .into());
    };
    if plan.concurrent {
        return Err(refused(
            "it measured beside other adapters, and the cases that are missing would be measured \
             alone. Start a new run on all of them",
        )
        .into());
    }
    if !plan.is_begun_by(&report) {
        return Err(refused("its cases are not those of its plan; was it edited?").into());
    }
    if let (Some(doubt), false) = (doubt, args.altered) {
        return Err(refused(&format!(
            "it {doubt}. Start a new run, or go on all the same with --altered, which the report \
             will say"
        ))
        .into());
    }
    let planned: PowerSpec = plan.power.parse()?;
    let asked = asked_for(&report, &plan, &planned, args);
    if !asked.is_empty() {
        let why = format!(
            "a report may be somebody else's, so that programs and folders are not taken from \
             it. Give these options once more, with what you want\n{}",
            asked.concat().trim_end()
        );
        return Err(refused(&why).into());
    }
    let shaders = Shaders::new(args.setup.shaders.clone(), report.shaders.mode)?;
    let changed = changed(
        &report,
        &planned,
        &shaders,
        args.power.as_ref().unwrap_or(&planned),
    );
    if !changed.is_empty() {
        let why = format!(
            "not everything is as it was\n{}start a new run, whose figures are then of one setup",
            changed.concat()
        );
        return Err(refused(&why).into());
    }
    report.shaders = shaders;
    plan.dump = args.dump.as_ref().map(dump_folder).transpose()?;
    report.plan = Some(plan.clone());
    report.resumed.push(Resumption {
        at: Timestamp::now(),
        after_cases: report.measurements.len(),
        altered: doubt.is_some(),
    });
    Ok((report, Some(plan)))
}

/// A line for everything that the report asks for, that only the command line may, and
/// that it does not.
fn asked_for(report: &Report, plan: &RunPlan, power: &PowerSpec, args: &Args) -> Vec<String> {
    let program = matches!(power, PowerSpec::Command(_)) && args.power.is_none();
    let shaders = report.shaders.folder.as_ref();
    let shaders = shaders.filter(|_| args.setup.shaders.is_none());
    let asked = [
        ("power", program.then(|| plan.power.clone())),
        ("dump", plan.dump.clone().filter(|_| args.dump.is_none())),
        (
            "shaders",
            shaders.map(|folder| folder.display().to_string()),
        ),
    ];
    let lines = asked.into_iter().filter_map(|(option, text)| {
        let text = text?;
        Some(format!("  --{option}: the report says {text:?}\n"))
    });
    lines.collect()
}

/// A line for everything that is not as it was when the run began, with the source of
/// power that was `planned` then and the one that is `wanted` now.
fn changed(
    report: &Report,
    planned: &PowerSpec,
    shaders: &Shaders,
    wanted: &PowerSpec,
) -> Vec<String> {
    let mut changed = program(report);
    changed.extend(host(&report.host, &Host::this()));
    changed.extend(line("shaders", &report.shaders.hash, &shaders.hash));
    let adapters = adapter::enumerate();
    let adapters: Vec<_> = adapters.iter().map(|a| &a.description).collect();
    let other_adapter = adapter(&report.adapter, &adapters);
    if wanted != planned {
        let [was, is] = [planned, wanted].map(PowerSpec::to_string);
        changed.extend(line("--power", &was, &is));
    } else if other_adapter.is_empty() {
        changed.extend(source_of_power(report, planned));
    }
    changed.extend(other_adapter);
    changed
}

/// `what` has changed, in a line, if it has.
fn line(what: &str, was: &str, is: &str) -> Option<String> {
    (was != is).then(|| format!("  {what}: was {was}, is {is}\n"))
}

/// The program, whose kernels and protocol the figures rest on.
fn program(report: &Report) -> Vec<String> {
    let revision = |git: &Option<Git>| match git {
        Some(Git { commit, dirty }) => {
            format!("{commit}{}", if *dirty { ", modified" } else { "" })
        }
        None => "unknown".to_owned(),
    };
    let lines = [
        line(
            "version of flopwatt",
            &report.flopwatt_version,
            env!("CARGO_PKG_VERSION"),
        ),
        line(
            "source revision",
            &revision(&report.git),
            &revision(&record::built_from()),
        ),
        line(
            "version of the report",
            &report.schema_version,
            record::SCHEMA_VERSION,
        ),
    ];
    lines.into_iter().flatten().collect()
}

/// The machine, but for its memory: what the system tells of it differs from boot
/// to boot.
fn host(was: &Host, is: &Host) -> Vec<String> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let count = |cpus: Option<usize>| cpus.map_or("unknown".to_owned(), |n| n.to_string());
    let lines = [
        line("host", &was.name, &is.name),
        line("operating system", &known(&was.os), &known(&is.os)),
        line("kernel", &known(&was.kernel), &known(&is.kernel)),
        line("architecture", &was.arch, &is.arch),
        line("processor", &known(&was.cpu), &known(&is.cpu)),
        line(
            "processors that may be used",
            &count(was.cpus),
            &count(is.cpus),
        ),
    ];
    lines.into_iter().flatten().collect()
}

/// What tells the adapter from the one among `present` that is most like it;
/// nothing where it is there as it was, at whatever place in the list.
fn adapter(was: &AdapterDescription, present: &[&AdapterDescription]) -> Vec<String> {
    let differences = present.iter().map(|is| between(was, is));
    match differences.min_by_key(Vec::len) {
        Some(fewest) => fewest,
        None => vec![format!("  adapter: was {}, is none\n", was.name)],
    }
}

fn between(was: &AdapterDescription, is: &AdapterDescription) -> Vec<String> {
    let [was, is] = [was, is].map(|description| {
        let description = AdapterDescription {
            index: 0,
            ..description.clone()
        };
        serde_json::to_value(description).unwrap_or_default()
    });
    let fields = was.as_object().into_iter().flatten();
    let differing = fields.filter(|(name, value)| is[*name] != **value);
    let lines = differing.map(|(name, value)| {
        let what = format!("adapter's {name}");
        match (value, &is[name]) {
            (Value::Object(_), _) => format!("  {what}: not the same\n"),
            (was, is) => format!("  {what}: was {was}, is {is}\n"),
        }
    });
    lines.collect()
}

/// The source of power, where one was read. Where none was, none is read now.
fn source_of_power(report: &Report, wanted: &PowerSpec) -> Option<String> {
    let was = report.power.as_ref()?.source.as_ref()?;
    let what = "source of power";
    match power::open(wanted, Some(&report.adapter)) {
        Ok(source) if source.identity() == was => None,
        Ok(source) => {
            let is = source.identity();
            line(what, &was.name, &is.name)
                .or_else(|| line(what, &was.device, &is.device))
                .or_else(|| Some(format!("  {what}: {} reads something else\n", was.name)))
        }
        Err(why) => Some(format!("  {what}: was {}, is none: {why}\n", was.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_at_another_place_in_the_list_is_the_same() {
        let was = record::tests::report().adapter;
        let elsewhere = AdapterDescription {
            index: was.index + 1,
            ..was.clone()
        };
        let other = AdapterDescription {
            name: "Testcard 9".into(),
            driver_info: "9".into(),
            ..was.clone()
        };
        assert_eq!(adapter(&was, &[&other, &elsewhere]), [""; 0]);
        let updated = AdapterDescription {
            driver_info: "1.2.4".into(),
            ..was.clone()
        };
        let expected = format!(
            "  adapter's driver_info: was {:?}, is \"1.2.4\"\n",
            was.driver_info
        );
        assert_eq!(adapter(&was, &[&other, &updated]), [expected]);
        let gone = format!("  adapter: was {}, is none\n", was.name);
        assert_eq!(adapter(&was, &[]), [gone]);
    }

    #[test]
    fn another_machine_is_named_and_its_memory_is_not() {
        let was = Host::this();
        let more = Host {
            memory_bytes: None,
            ..was.clone()
        };
        assert_eq!(host(&was, &more), [""; 0]);
        let other = Host {
            name: "elsewhere".into(),
            cpus: None,
            ..was.clone()
        };
        let lines = host(&was, &other);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("is elsewhere\n"), "{lines:?}");
        assert!(lines[1].ends_with("is unknown\n"), "{lines:?}");
    }

    #[test]
    fn another_program_is_named() {
        let mut report = record::tests::report();
        assert_eq!(program(&report), [""; 0]);
        report.flopwatt_version = "0.0.1".into();
        let expected = format!(
            "  version of flopwatt: was 0.0.1, is {}\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(program(&report), [expected]);
    }
}
