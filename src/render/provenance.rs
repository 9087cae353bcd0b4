//! Where the figures of a report come from.

use jiff::Timestamp;

use super::cells;
use crate::record::{Container, Git, Host, Report, SlurmTask};

/// What is known of the run, by name.
pub(super) fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let adapter = &report.adapter;
    let container = report.host.container.as_ref().map(container);
    let made_up = "a copy of another report under changed names: the figures are nobody's";
    let sometimes = [
        ("container", container),
        ("Slurm", report.slurm.as_ref().map(slurm)),
        ("resumed", resumed(report)),
        ("synthetic", report.synthetic.then(|| made_up.to_owned())),
    ];
    let sometimes = sometimes
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    let always = [
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
        ("started", moment(report.started)),
        ("run id", report.run_id.to_string()),
    ];
    always.into_iter().chain(sometimes).collect()
}

fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// When the run went on, and after how many cases; `None` if it did not.
fn resumed(report: &Report) -> Option<String> {
    let each = report.resumed.iter().map(|resumption| {
        let after = resumption.after_cases;
        let altered = match resumption.altered {
            true => ", which may have been changed since they were measured",
            false => "",
        };
        format!("{}, after {after} cases{altered}", moment(resumption.at))
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| each.join("; "))
}

fn container(container: &Container) -> String {
    let Container { engine, image } = container;
    match image {
        Some(image) => format!("{engine}, {image}"),
        None => format!("{engine}, which does not tell the image"),
    }
}

fn slurm(task: &SlurmTask) -> String {
    let number = |what: &str, number: Option<u64>| number.map(|n| format!("{what} {n}"));
    let array = task.array_job_id.zip(task.array_task_id);
    let known = [
        Some(format!("job {}", task.job_id)),
        array.map(|(job, task)| format!("task {task} of array {job}")),
        number("process", task.process_id),
        number("restart", Some(task.restart_count).filter(|&n| n > 0)),
        task.node.as_ref().map(|node| format!("on {node}")),
        task.cluster
            .as_ref()
            .map(|cluster| format!("cluster {cluster}")),
    ];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Resumption;
    use crate::render::fixture;

    #[test]
    fn a_run_in_several_stretches_says_so() {
        let mut report = fixture::report();
        let named = |report: &Report| {
            let mut rows = rows(report).into_iter();
            rows.find(|(name, _)| *name == "resumed")
        };
        assert_eq!(named(&report), None);
        report.resumed = [(3, "2026-01-02T04:00:00Z"), (7, "2026-01-03T05:06:07Z")]
            .map(|(after_cases, at)| Resumption {
                at: at.parse().unwrap(),
                after_cases,
                altered: after_cases == 7,
            })
            .into();
        let (_, text) = named(&report).unwrap();
        assert_eq!(
            text,
            "2026-01-02 04:00:00 UTC, after 3 cases; 2026-01-03 05:06:07 UTC, after 7 cases, \
             which may have been changed since they were measured"
        );
    }
}
