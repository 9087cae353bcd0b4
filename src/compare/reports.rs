//! Two reports: information, not a judgement, since they were measured at
//! different times.

use std::collections::HashMap;

use super::{Case, Comparison, Ratio, SCHEMA_VERSION, Side, Threshold, Verdict};
use crate::kernel::inputs::Data;
use crate::measure::measurement::{Clock, Flag, Life, Measurement, Status, Time};
use crate::record::Report;
use crate::stats::{self, LifeMedian};

/// What is compared of reports whose cases have several lives each.
const OVER_LIVES: &str = "two reports, measured at different times; the interval of a ratio holds \
     with 95 % what differs between lives, nothing else of the time between the runs";
/// … and where one has a single life.
const SINGLE_LIVES: &str = "two reports, measured at different times; spread within each run: what \
     differs between two processes is not in it, so that no verdict is certain";

/// Compares two reports case by case. Which values the inputs have does not matter
/// for their time, so that seeds may differ; how they are distributed does. Without
/// a threshold the adapter's usual one is taken.
pub fn reports(base: &Report, head: &Report, threshold: Option<Threshold>) -> Comparison {
    let usual = Threshold::usual(base.adapter.is_software() || head.adapter.is_software());
    let threshold = threshold.unwrap_or(usual);
    let incomparable = difference(base, head);
    let cases = match incomparable {
        Some(_) => Vec::new(),
        None => cases(base, head, threshold),
    };
    let adapter = &head.adapter;
    Comparison {
        schema_version: SCHEMA_VERSION.to_owned(),
        method: method(base, head).to_owned(),
        base: side(base),
        also_base: None,
        head: side(head),
        adapter: incomparable
            .is_none()
            .then(|| format!("{}, {}", adapter.name, adapter.driver_and_version())),
        threshold,
        alpha: None,
        seed: None,
        incomparable,
        complete: true,
        warnings: warnings(base, head),
        cases,
    }
}

fn method(base: &Report, head: &Report) -> &'static str {
    let timed = [base, head].map(|report| report.measurements.iter().flat_map(|m| &m.time));
    match timed.into_iter().flatten().any(is_single) {
        true => SINGLE_LIVES,
        false => OVER_LIVES,
    }
}

/// Whether a case was measured once only, so that nobody knows how far it is from itself
/// in another process.
fn is_single(time: &Time) -> bool {
    time.lives.len() < 2
}

fn side(report: &Report) -> Side {
    Side {
        name: format!(
            "run of {}",
            report.started.strftime("%Y-%m-%d %H:%M:%S UTC")
        ),
        commit: report.git.as_ref().map(|git| {
            let dirty = if git.dirty { " with changes" } else { "" };
            format!("{}{dirty}", git.commit)
        }),
        shader_hash: Some(report.shaders.hash.clone()),
    }
}

/// Why two runs cannot be held against one another at all.
fn difference(base: &Report, head: &Report) -> Option<String> {
    let adapter = |report: &Report| {
        let adapter = &report.adapter;
        let ids = format!("{:04x}:{:04x}", adapter.vendor_id, adapter.device_id);
        format!("{} [{ids}] through {}", adapter.name, adapter.backend)
    };
    let driver = |report: &Report| report.adapter.driver_and_version();
    let tier = |report: &Report| format!("{:?}", report.tier).to_lowercase();
    let checks = |report: &Report| format!("{:?}", report.shaders.mode).to_lowercase();
    // The adapter of a software driver is the machine's processor.
    let processor = |report: &Report| match report.adapter.is_software() {
        true => report.host.processors(),
        false => String::new(),
    };
    type Property<'a> = (&'a str, &'a dyn Fn(&Report) -> String);
    let properties: [Property; 5] = [
        ("adapters", &adapter),
        ("drivers", &driver),
        ("processors", &processor),
        ("tiers", &tier),
        ("checks in shaders", &checks),
    ];
    let different = properties.into_iter().find_map(|(what, property)| {
        let (base, head) = (property(base), property(head));
        (base != head).then(|| format!("the {what} differ: {base} in base, {head} in head"))
    });
    different.or_else(|| different_data(base, head))
}

/// Where the two runs have no distribution of inputs in common.
fn different_data(base: &Report, head: &Report) -> Option<String> {
    let drawn = |report: &Report| {
        let mut drawn: Vec<Data> = Vec::new();
        let kernels = report
            .measurements
            .iter()
            .filter(|m| !m.operation.is_ceiling());
        for measurement in kernels {
            if !drawn.contains(&measurement.data) {
                drawn.push(measurement.data);
            }
        }
        drawn
    };
    let (base, head) = (drawn(base), drawn(head));
    let in_words = |data: &[Data]| {
        let words: Vec<String> = data.iter().map(Data::to_string).collect();
        words.join(", ")
    };
    let apart = !base.is_empty() && !head.is_empty() && !base.iter().any(|d| head.contains(d));
    apart.then(|| {
        format!(
            "the input data differ: {} in base, {} in head",
            in_words(&base),
            in_words(&head)
        )
    })
}

fn warnings(base: &Report, head: &Report) -> Vec<String> {
    let incomplete = [("base", base), ("head", head)].into_iter();
    incomplete
        .filter(|(_, report)| !report.complete)
        .map(|(side, _)| format!("the run of {side} ended before its last case"))
        .collect()
}

/// Every case of either report, in the order of head.
fn cases(base: &Report, head: &Report, threshold: Threshold) -> Vec<Case> {
    let (in_base, names) = (by_name(base), by_name(head));
    let in_head = head.measurements.iter().map(|measured| {
        let name = measured.name();
        match in_base.get(&name) {
            Some(before) => case(before, measured, threshold),
            None => Case::untimed(name, Verdict::New, "base has no such case"),
        }
    });
    let gone = base.measurements.iter().map(Measurement::name);
    let gone = gone.filter(|name| !names.contains_key(name));
    let gone = gone.map(|name| Case::untimed(name, Verdict::Gone, "head has no such case"));
    in_head.chain(gone).collect()
}

/// The cases of a report; the first of those that share a name.
fn by_name(report: &Report) -> HashMap<String, &Measurement> {
    let mut named = HashMap::new();
    for measurement in &report.measurements {
        named.entry(measurement.name()).or_insert(measurement);
    }
    named
}

/// One case that both reports have.
fn case(base: &Measurement, head: &Measurement, threshold: Threshold) -> Case {
    let name = head.name();
    let incomparable = |why: String| Case::untimed(name.clone(), Verdict::Incomparable, why);
    for (side, measured) in [("base", base), ("head", head)] {
        if measured.status != Status::Ok {
            let why = measured
                .reason
                .as_ref()
                .map_or("", |reason| &reason.message);
            return incomparable(format!("{} in {side}: {why}", measured.status));
        }
    }
    let (Some(before), Some(after)) = (&base.time, &head.time) else {
        return incomparable("not timed".to_owned());
    };
    if let Some(why) = different_work(base, head) {
        return Case {
            different_work: true,
            ..incomparable(why)
        };
    }
    if let Some(why) = different_clock(before, after) {
        return incomparable(why);
    }
    if let Some(why) = different_company(base, head) {
        return incomparable(why);
    }
    let ratio = ratio(base, head, before, after);
    let mut notes = doubts(base, head);
    let found = ratio.interval.and_then(|ends| threshold.verdict(ends));
    let single = is_single(before) || is_single(after);
    let certain = found.filter(|_| notes.is_empty() && !single);
    if ratio.interval.is_none() {
        notes.push("too few samples for an interval".to_owned());
    } else if let (Some(found), true) = (found, single) {
        notes.push(in_these_two_runs(found).to_owned());
    } else if found.is_none() && notes.is_empty() {
        notes.push("the interval holds more than one answer".to_owned());
    }
    if base.chosen != head.chosen {
        let chosen = |m: &Measurement| m.chosen.clone().unwrap_or_default();
        notes.push(format!("best was {}, is {}", chosen(base), chosen(head)));
    }
    let work = more_work(base, head);
    // Times of different work would contradict the ratio beside them.
    let time = |time: &Time| (work == 1.0).then_some(time.median_s);
    if work != 1.0 {
        notes.push(format!(
            "a dispatch of head does {work:.3} times the work of one of base: the ratio is for the same work"
        ));
    }
    Case {
        ratio: Some(ratio),
        base_s: time(before),
        head_s: time(after),
        notes,
        ..Case::untimed(name, certain.unwrap_or(Verdict::Ambiguous), "")
    }
}

/// What single runs say, which another pair of processes may not.
fn in_these_two_runs(found: Verdict) -> &'static str {
    match found {
        Verdict::Slower => "slower in these two runs",
        Verdict::Faster => "faster in these two runs",
        _ => "the same in these two runs",
    }
}

/// Why the times tell nothing of the two programs: something else was at work while
/// one of them was measured, or only one of the devices could not do its best. A GPU
/// that drives a display always has other processes; the same ones count on neither
/// side.
fn doubts(base: &Measurement, head: &Measurement) -> Vec<String> {
    let mut doubts = Vec::new();
    for (side, measured, other) in [("base", base, head), ("head", head, base)] {
        let doubtful = |flag: &&Flag| match flag {
            Flag::OtherProcesses => programs(measured) != programs(other),
            flag if flag.is_a_restraint() => !other.flags.contains(flag),
            flag => flag.is_a_disturbance(),
        };
        let flags = measured.flags.iter().filter(doubtful);
        doubts.extend(flags.map(|flag| format!("{side} {flag}: {}", flag.meaning())));
    }
    doubts
}

/// The names of other processes on the GPU, in order.
fn programs(measured: &Measurement) -> Vec<Option<&String>> {
    let processes = measured.surroundings.iter();
    let processes = processes.filter_map(|around| around.gpu_processes.as_ref());
    let mut programs: Vec<_> = processes.flatten().map(|p| p.name.as_ref()).collect();
    programs.sort_unstable();
    programs
}

/// Whether the two count other operations or bytes. What a ceiling computes depends
/// on the program that was the fastest.
fn different_work(base: &Measurement, head: &Measurement) -> Option<String> {
    let work = |m: &Measurement| (m.work, m.bytes);
    if head.operation.is_ceiling() || work(base) == work(head) {
        return None;
    }
    let counts = |m: &Measurement| {
        let count = |n: Option<u64>| n.map_or("unknown".to_owned(), |n| n.to_string());
        format!("{} operations and {} bytes", count(m.work), count(m.bytes))
    };
    let (base, head) = (counts(base), counts(head));
    Some(format!("the work differs: {base} in base, {head} in head"))
}

fn different_clock(base: &Time, head: &Time) -> Option<String> {
    let clock = |time: &Time| match time.clock {
        Clock::Device => "the device",
        Clock::Host => "the host",
    };
    let (base, head) = (clock(base), clock(head));
    (base != head).then(|| format!("base was timed by {base}, head by {head}"))
}

/// Adapters that work at the same time share power and cooling: figures of other
/// company, or of company that did not stay throughout, are of other conditions.
fn different_company(base: &Measurement, head: &Measurement) -> Option<String> {
    let partly = [("base", base), ("head", head)];
    let partly = partly.iter().find_map(|(side, m)| {
        let beside = m.concurrent_with.iter().find(|b| !b.is_throughout())?;
        let percent = 100.0 * beside.overlap;
        let name = &beside.adapter;
        Some(format!(
            "in {side} {name} worked beside it for {percent:.0} % of the time only"
        ))
    });
    let company = |m: &Measurement| {
        let mut names: Vec<&str> = m.concurrent_with.iter().map(|b| &b.adapter[..]).collect();
        names.sort_unstable();
        match names[..] {
            [] => "alone".to_owned(),
            _ => format!("beside {}", names.join(" and ")),
        }
    };
    let (base, head) = (company(base), company(head));
    let differ = (base != head).then(|| format!("base was measured {base}, head {head}"));
    differ.or(partly)
}

/// How many times the work of base's dispatch one of head does: ceilings choose among
/// programs that do more or less a dispatch.
fn more_work(base: &Measurement, head: &Measurement) -> f64 {
    let amount = |m: &Measurement| match (m.work, m.bytes) {
        (Some(work), _) if work > 0 => work as f64,
        (_, Some(bytes)) if bytes > 0 => bytes as f64,
        _ => 1.0,
    };
    amount(head) / amount(base)
}

/// Times for the same work.
fn ratio(base: &Measurement, head: &Measurement, before: &Time, after: &Time) -> Ratio {
    let work = 1.0 / more_work(base, head);
    let lives = |time: &Time| -> Vec<LifeMedian> { time.lives.iter().map(Life::median).collect() };
    let interval = match is_single(before) || is_single(after) {
        true => ratio_of_ends(before, after),
        false => stats::ratio_over_lives(&lives(before), &lives(after)),
    };
    Ratio {
        median: after.median_s.0 / before.median_s.0 * work,
        interval: interval.map(|ends| ends.map(|ratio| ratio * work)),
    }
}

/// The farthest apart that the two medians can be within their own intervals.
fn ratio_of_ends(base: &Time, head: &Time) -> Option<[f64; 2]> {
    let (base, head) = base.interval_s.zip(head.interval_s)?;
    Some([head.low.0 / base.high.0, head.high.0 / base.low.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Surroundings;
    use crate::measure::measurement::{Beside, Cache, Reason, ReasonCode};
    use crate::measure::tier::Tier;
    use crate::power::nvml::GpuProcess;
    use crate::record::{Shaders, Start};

    const CASE: &str = "matmul/f32/naive/64x64x64";

    fn report(cases: &[Measurement]) -> Report {
        let adapter = serde_json::from_str(include_str!("../../tests/data/adapter.json")).unwrap();
        let mut report = Report::begin(Start {
            command: Vec::new(),
            tier: Tier::Quick,
            seed: 1,
            adapter,
            shaders: Shaders::new(None, Default::default()).unwrap(),
            datasheet: Err("a test".into()),
        });
        cases.iter().for_each(|case| report.push(case.clone()));
        report.complete = true;
        report
    }

    /// Three lives, 0.1 % apart.
    fn measured(id: &str, samples: &[f64]) -> Measurement {
        let life = |share: f64| single(id, &samples.iter().map(|s| s * share).collect::<Vec<_>>());
        let lives = [0.999, 1.0, 1.001].map(|share| life(share).time.unwrap());
        Measurement {
            time: Time::over_lives(&lives),
            ..life(1.0)
        }
    }

    fn single(id: &str, samples: &[f64]) -> Measurement {
        let id = id.parse().unwrap();
        let reason = Reason::new(ReasonCode::NotMeasured, "");
        Measurement {
            reason: None,
            work: Some(524_288),
            bytes: Some(49_152),
            time: Time::summarise(samples, Clock::Device, Cache::Hot, 1),
            ..Measurement::without_figures(&id, Status::Ok, reason)
        }
    }

    /// Twenty samples around `median_s`, the spread a hundredth of it, to and fro, so
    /// that neighbours are not alike.
    fn around(median_s: f64) -> Vec<f64> {
        let share = |i: i32| 1.0 + f64::from(i - 10) * 1e-3 + 5e-4;
        let to_and_fro = |i: i32| i * 9 % 20;
        (0..20).map(|i| median_s * share(to_and_fro(i))).collect()
    }

    fn only(base: &Report, head: &Report) -> Case {
        let comparison = reports(base, head, "2%".parse().ok());
        assert_eq!(comparison.incomparable, None);
        assert_eq!(comparison.cases.len(), 1);
        comparison.cases[0].clone()
    }

    /// The threshold is 2 %. Lives 0.1 % apart leave 2.776·√(2·0.001²/3) = 0.23 % open.
    /// More than that comes of the spread within each: twenty samples give the 6th and
    /// the 15th, ∓0.45 %, and of two sides √2 times as much.
    #[test]
    fn a_ratio_has_an_interval_over_lives() {
        let base = report(&[measured(CASE, &around(1e-3))]);
        let verdict = |median_s: f64| only(&base, &report(&[measured(CASE, &around(median_s))]));
        let same = verdict(1.005e-3);
        assert_eq!(same.verdict, Verdict::Same);
        let ratio = same.ratio.unwrap();
        let [low, high] = ratio.interval.unwrap();
        let half = 2f64.sqrt() * (1.0045f64 / 0.9955).ln() / 2.0;
        assert!((ratio.median - 1.005).abs() < 1e-9);
        assert!((low / 1.005 - (-half).exp()).abs() < 1e-6, "{low}");
        assert!((high / 1.005 - half.exp()).abs() < 1e-6, "{high}");
        assert_eq!(verdict(1.10e-3).verdict, Verdict::Slower);
        assert_eq!(verdict(0.90e-3).verdict, Verdict::Faster);
        let unsure = verdict(1.018e-3);
        assert_eq!(unsure.verdict, Verdict::Ambiguous);
        assert_eq!(unsure.notes, ["the interval holds more than one answer"]);
        let method = reports(&base, &base, None).method;
        assert_eq!(method, OVER_LIVES);
    }

    /// Ten times as slow, and yet nobody knows how far two processes of one program are
    /// apart there. The ends are 0.9955 and 1.0045 of each median.
    #[test]
    fn single_lives_are_never_certain() {
        let fast = report(&[single(CASE, &around(1e-3))]);
        let slow = report(&[single(CASE, &around(1e-2))]);
        let several = report(&[measured(CASE, &around(1e-2))]);
        for head in [&slow, &several] {
            let case = only(&fast, head);
            assert_eq!(case.verdict, Verdict::Ambiguous);
            assert_eq!(case.notes, ["slower in these two runs"]);
            assert_eq!(reports(&fast, head, None).method, SINGLE_LIVES);
        }
        let [low, high] = only(&fast, &slow).ratio.unwrap().interval.unwrap();
        assert!((low - 10.0 * 0.9955 / 1.0045).abs() < 1e-9, "{low}");
        assert!((high - 10.0 * 1.0045 / 0.9955).abs() < 1e-9, "{high}");
        assert_eq!(only(&slow, &fast).notes, ["faster in these two runs"]);
        assert_eq!(only(&slow, &slow).notes, ["the same in these two runs"]);
        let few = report(&[single(CASE, &[1e-3; 5])]);
        assert_eq!(only(&few, &few).notes, ["too few samples for an interval"]);
    }

    /// A case that ran beside these programs.
    fn beside(flags: &[Flag], programs: &[&str]) -> Report {
        let process = |name: &&str| GpuProcess {
            pid: 7,
            name: Some((*name).to_owned()),
        };
        report(&[Measurement {
            flags: flags.to_vec(),
            surroundings: Some(Box::new(Surroundings {
                gpu_processes: Some(programs.iter().map(process).collect()),
                ..Surroundings::default()
            })),
            ..measured(CASE, &around(1e-3))
        }])
    }

    #[test]
    fn a_disturbed_case_has_no_verdict() {
        let quiet = beside(&[], &[]);
        for flag in [Flag::SharedAdapter, Flag::CpuLoad] {
            let disturbed = beside(&[flag], &[]);
            let case = only(&quiet, &disturbed);
            assert_eq!(case.verdict, Verdict::Ambiguous, "{flag}");
            assert!(case.ratio.is_some(), "{flag}");
            let note = case.notes.join("; ");
            assert!(note.starts_with(&format!("head {flag}: ")), "{note}");
            assert_eq!(only(&disturbed, &disturbed).verdict, Verdict::Ambiguous);
        }
        let harmless = beside(&[Flag::LongDispatch], &[]);
        assert_eq!(only(&harmless, &quiet).verdict, Verdict::Same);
    }

    #[test]
    fn what_both_sides_had_to_put_up_with_counts_on_neither() {
        let quiet = beside(&[], &[]);
        for flag in [Flag::OnBattery, Flag::PowerLimited, Flag::Throttled] {
            let restrained = beside(&[flag], &[]);
            assert_eq!(only(&restrained, &quiet).verdict, Verdict::Ambiguous);
            assert_eq!(only(&restrained, &restrained).verdict, Verdict::Same);
        }
        let others = |programs: &[&str]| beside(&[Flag::OtherProcesses], programs);
        let display = others(&["display", "panel"]);
        let game = others(&["panel", "display", "game"]);
        assert_eq!(only(&display, &quiet).verdict, Verdict::Ambiguous);
        assert_eq!(only(&display, &game).verdict, Verdict::Ambiguous);
        let same = others(&["panel", "display"]);
        assert_eq!(only(&display, &same).verdict, Verdict::Same);
    }

    #[test]
    fn cases_come_go_and_fail() {
        let other = "matmul/f32/register/64x64x64";
        let base = report(&[measured(CASE, &around(1.0)), measured(other, &around(1.0))]);
        let reason = Reason::new(ReasonCode::WrongResult, "element 0 is wrong");
        let id = other.parse().unwrap();
        let rejected = Measurement::without_figures(&id, Status::Rejected, reason);
        let new = measured("matmul/f32/naive/65x65x65", &around(1.0));
        let comparison = reports(&base, &report(&[rejected, new]), None);
        let verdicts: Vec<_> = comparison.cases.iter().map(|c| c.verdict).collect();
        let expected = [Verdict::Incomparable, Verdict::New, Verdict::Gone];
        assert_eq!(verdicts, expected);
        assert_eq!(
            comparison.cases[0].notes,
            ["rejected in head: element 0 is wrong"]
        );
        assert_eq!(comparison.count(Verdict::Gone), 1);
    }

    #[test]
    fn other_conditions_are_incomparable_and_named() {
        let base = report(&[measured(CASE, &around(1.0))]);
        let reason = |change: &dyn Fn(&mut Report)| {
            let mut head = base.clone();
            change(&mut head);
            let comparison = reports(&base, &head, None);
            assert!(comparison.cases.is_empty());
            comparison.incomparable.unwrap()
        };
        let named = [
            reason(&|r| r.adapter.name = "Testcard 9".into()),
            reason(&|r| r.adapter.driver_info = "9.9".into()),
            reason(&|r| r.tier = Tier::Reference),
            reason(&|r| r.measurements[0].data = Data::Zeros),
        ];
        let expected = ["adapters", "drivers", "tiers", "input data"];
        for (reason, what) in named.iter().zip(expected) {
            let start = format!("the {what} differ: ");
            assert!(reason.starts_with(&start), "{reason}");
        }
        let mut other_seed = base.clone();
        other_seed.seed = 2;
        assert_eq!(reports(&base, &other_seed, None).incomparable, None);
    }

    #[test]
    fn figures_of_other_work_or_another_clock_are_not_compared() {
        let base = report(&[measured(CASE, &around(1.0))]);
        let mut more = measured(CASE, &around(1.0));
        more.work = Some(524_289);
        let case = only(&base, &report(&[more]));
        assert_eq!(case.verdict, Verdict::Incomparable);
        assert!(case.notes[0].contains("524289 operations"), "{case:?}");
        let mut by_host = measured(CASE, &around(1.0));
        by_host.time.as_mut().unwrap().clock = Clock::Host;
        let case = only(&base, &report(&[by_host]));
        assert_eq!(
            case.notes,
            ["base was timed by the device, head by the host"]
        );
    }

    #[test]
    fn figures_beside_other_adapters_are_not_compared_with_lone_ones() {
        let alone = report(&[measured(CASE, &around(1.0))]);
        let beside = |overlaps: &[f64]| {
            let company = overlaps.iter().zip(1..).map(|(&overlap, index)| Beside {
                index,
                adapter: format!("Testcard {index}"),
                pci_address: None,
                overlap,
            });
            report(&[Measurement {
                concurrent_with: company.collect(),
                ..measured(CASE, &around(1.0))
            }])
        };
        let refused = |base: &Report, head: &Report| {
            let case = only(base, head);
            assert_eq!(case.verdict, Verdict::Incomparable);
            case.notes[0].clone()
        };
        assert_eq!(
            refused(&alone, &beside(&[0.99])),
            "base was measured alone, head beside Testcard 1"
        );
        assert_eq!(
            refused(&beside(&[1.0, 1.0]), &beside(&[1.0])),
            "base was measured beside Testcard 1 and Testcard 2, head beside Testcard 1"
        );
        assert_eq!(
            refused(&beside(&[1.0]), &beside(&[0.4])),
            "in head Testcard 1 worked beside it for 40 % of the time only"
        );
        let same = only(&beside(&[0.98]), &beside(&[0.91]));
        assert_eq!(same.verdict, Verdict::Same);
    }

    /// Twice the work in twice the time is no slowdown of a ceiling.
    #[test]
    fn ceilings_are_compared_by_their_rate() {
        let peak = "peak/f32/fma/device";
        let base = report(&[measured(peak, &around(1.0))]);
        let mut twice = measured(peak, &around(2.0));
        twice.work = Some(2 * 524_288);
        let case = only(&base, &report(&[twice]));
        assert_eq!(case.verdict, Verdict::Same);
        assert!((case.ratio.unwrap().median - 1.0).abs() < 1e-9);
        // 1 s and 2 s beside a ratio of 1 would be nonsense to a reader.
        assert_eq!((case.base_s, case.head_s), (None, None));
        assert!(
            case.notes[0].starts_with("a dispatch of head does 2.000 times the work"),
            "{:?}",
            case.notes
        );
    }
}
