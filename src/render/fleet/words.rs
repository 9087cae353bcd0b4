//! What is to be known before the tables.

use crate::fleet::{Figures, Fleet, Reports, TotalPower};
use crate::render::number::number;
use crate::stats::{FEWEST_TO_NAME, ORDINARY_SPREAD};

/// In the order in which it is to be read, each on one line.
pub(in crate::render) fn summary(fleet: &Fleet) -> Vec<String> {
    let extent = format!(
        "{} of {} on {}, {} to {} UTC",
        count(fleet.reports.merged, "report"),
        count(fleet.cards, "card"),
        count(fleet.hosts.len(), "host"),
        fleet.started.strftime("%Y-%m-%d %H:%M"),
        fleet.ended.strftime("%Y-%m-%d %H:%M"),
    );
    let kernels = (fleet.kernels > 1).then(|| {
        format!(
            "{} versions of the kernels: a difference between cards may be one between kernels",
            fleet.kernels
        )
    });
    let flags = fleet
        .flags
        .iter()
        .map(|(flag, cases)| format!("{flag} {cases}"));
    let flags: Vec<String> = flags.collect();
    let flags = (!flags.is_empty()).then(|| format!("cases with flags: {}", flags.join(", ")));
    let left_out = fleet.left_out.len();
    let left_out = (left_out > 0).then(|| format!("left out: {}", count(left_out, "file")));
    std::iter::once(extent)
        .chain(of_reports(&fleet.reports))
        .chain([of_figures(&fleet.figures)])
        .chain(flags)
        .chain(kernels)
        .chain(too_few_to_tell(fleet))
        .chain([of_power(&fleet.power)])
        .chain(left_out)
        .collect()
}

/// Of so few cards it is not known which is slow where they differ.
fn too_few_to_tell(fleet: &Fleet) -> Vec<String> {
    let few = fleet
        .accelerators
        .iter()
        .filter(|accelerator| accelerator.cards < FEWEST_TO_NAME);
    let differ = few.filter_map(|accelerator| {
        let range = accelerator.cards_range_percent?;
        (range > 100.0 * ORDINARY_SPREAD).then(|| {
            format!(
                "the {} of {} differ by {range:.1} %: of so few nobody knows which is slow",
                count(accelerator.cards, "card"),
                accelerator.name
            )
        })
    });
    differ.collect()
}

/// What not all reports are like.
fn of_reports(reports: &Reports) -> Vec<String> {
    let remark = |reports: usize, what: &str| {
        let of_them = format!("{reports} of the reports {what}");
        (reports > 0).then_some(of_them)
    };
    let remarks = [
        remark(
            reports.synthetic,
            "SYNTHETIC: copies under changed names, whose figures are nobody's",
        ),
        remark(
            reports.incomplete,
            "incomplete: the run ended before its last case",
        ),
        remark(
            reports.without_hash,
            "without a hash of the content, in which a change would not show",
        ),
        remark(
            reports.without_card,
            "silent about their card: each counts as a card of its own",
        ),
    ];
    remarks.into_iter().flatten().collect()
}

fn of_figures(figures: &Figures) -> String {
    let doubtful = match (figures.doubtful, figures.with_doubtful) {
        (0, _) => String::new(),
        (doubtful, true) => format!(", {doubtful} of them doubtful by their flags"),
        (doubtful, false) => {
            format!(
                "; {doubtful} are doubtful by their flags and left out (--doubtful counts them)"
            )
        }
    };
    let power = match figures.doubtful_power {
        0 => String::new(),
        powers if figures.with_doubtful => format!("; {powers} powers are doubtful"),
        powers => format!("; {powers} powers are doubtful and left out"),
    };
    let absent = match figures.absent {
        0 => String::new(),
        absent => format!("; {absent} cases have no figure"),
    };
    format!(
        "{} counted{doubtful}{power}{absent}",
        count(figures.counted, "figure")
    )
}

fn of_power(power: &TotalPower) -> String {
    let unknown = match power.cards_of_commands {
        0 => String::new(),
        cards => format!(
            "; {} by a command, which may cover anything, not added",
            count(cards, "card")
        ),
    };
    let Some(watts) = power.watts else {
        return format!("power: none was measured{unknown}");
    };
    let cards = (power.cards > 0).then(|| count(power.cards, "card"));
    let hosts = (power.cpu_hosts > 0).then(|| {
        let hosts = count(power.cpu_hosts, "host");
        format!("the CPUs of {hosts}")
    });
    let of: Vec<String> = cards.into_iter().chain(hosts).collect();
    let without = match power.cards_without {
        0 => String::new(),
        cards => format!("; {} without", count(cards, "card")),
    };
    format!(
        "power: {} W, the highest of {}, added up, not drawn at one time{without}{unknown}",
        number(watts.0),
        of.join(" and "),
    )
}

/// A number of things.
pub(super) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
