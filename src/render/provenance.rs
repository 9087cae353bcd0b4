//! Where the figures of a report come from.

use super::cells;
use crate::record::{Git, Host, Report};

/// What is known of the run, by name.
pub(super) fn rows(report: &Report) -> [(&'static str, String); 10] {
    let adapter = &report.adapter;
    let started = report.started.strftime("%Y-%m-%d %H:%M:%S UTC");
    [
        ("adapter", adapter.name.clone()),
        ("driver", adapter.driver_and_version()),
        (
            "backend",
            format!("{}, {}", adapter.backend, adapter.device_type),
        ),
        ("datasheet", cells::datasheet(report)),
        ("host", host(&report.host)),
        ("run", cells::effort(report)),
        ("command", report.command.join(" ")),
        ("flopwatt", version(report)),
        ("started", started.to_string()),
        ("run id", report.run_id.to_string()),
    ]
}

fn host(host: &Host) -> String {
    let cpus = host.cpus.map(|count| format!("{count} logical CPUs"));
    let known = [
        Some(&host.name),
        host.os.as_ref(),
        host.kernel.as_ref(),
        Some(&host.arch),
        host.cpu.as_ref(),
        cpus.as_ref(),
    ];
    let known: Vec<_> = known.into_iter().flatten().map(String::as_str).collect();
    known.join(", ")
}

fn version(report: &Report) -> String {
    let commit = |git: &Git| {
        format!(
            " ({}{})",
            git.commit,
            if git.dirty { ", modified" } else { "" }
        )
    };
    format!(
        "{}{}",
        report.flopwatt_version,
        report.git.as_ref().map(commit).unwrap_or_default()
    )
}
