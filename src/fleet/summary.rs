//! From the reports that count to what they come to.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::SCHEMA_VERSION;
use super::entry::{Case, CasePower, Entry, Unit};
use super::ledger::Merged;
use super::spread::Spread;
use super::view::{
    Accelerator, CaseSpread, Driver, Figures, Fleet, Host, Outlier, OutlyingCase, PowerSpread,
    Ranked, Reports, Slowest, Standing, TotalPower,
};
use crate::kernel::id::Precision;
use crate::power::Coverage;
use crate::stats::{self, Comparison, SlowCard};
use crate::units::Watts;

impl Fleet {
    /// What the reports come to, doubtful figures left out unless they are wanted.
    /// `None` without reports.
    pub fn of(merged: &Merged, with_doubtful: bool) -> Option<Self> {
        let entries = &merged.entries;
        let counted = samples(entries, with_doubtful);
        let groups = groups(&counted);
        let cards: BTreeSet<&str> = entries.iter().map(|entry| entry.card.as_str()).collect();
        let kernels: BTreeSet<&str> = entries.iter().map(|e| e.kernels.as_str()).collect();
        let accelerators = accelerators(entries, &groups);
        Some(Self {
            schema_version: SCHEMA_VERSION.to_owned(),
            flopwatt_version: env!("CARGO_PKG_VERSION").to_owned(),
            reports: reports(entries),
            started: entries.iter().map(|entry| entry.started).min()?,
            ended: entries.iter().map(|entry| entry.ended).max()?,
            cards: cards.len(),
            figures: figures(entries, counted.len(), with_doubtful),
            flags: flags(entries),
            kernels: kernels.len(),
            outliers: outliers(&accelerators, &groups),
            accelerators,
            hosts: hosts(entries, &groups),
            drivers: drivers(entries, &groups),
            efficiency: efficiency(&groups),
            power: total_power(&counted, &cards),
            left_out: merged.left_out.clone(),
        })
    }
}

/// A figure that counts.
#[derive(Clone, Copy)]
struct Sample<'m> {
    entry: &'m Entry,
    case: &'m Case,
    /// Its power, where that counts.
    power: Option<CasePower>,
}

fn samples(entries: &[Entry], with_doubtful: bool) -> Vec<Sample<'_>> {
    let counts = |doubtful: bool| with_doubtful || !doubtful;
    let cases = entries
        .iter()
        .flat_map(|entry| entry.cases.iter().map(move |case| (entry, case)));
    let counted = cases.filter(|(_, case)| counts(case.doubtful));
    counted
        .map(|(entry, case)| Sample {
            entry,
            case,
            power: case.power.filter(|power| counts(power.doubtful)),
        })
        .collect()
}

/// A case of an accelerator.
struct Group<'m> {
    accelerator: &'m str,
    case: &'m Case,
    samples: Vec<Sample<'m>>,
    /// The median of each card's runs.
    cards: Vec<(&'m str, f64)>,
    /// The median of these.
    median: f64,
}

/// Every case of every accelerator, in the order of the reports.
fn groups<'m>(samples: &[Sample<'m>]) -> Vec<Group<'m>> {
    let mut places: HashMap<(&str, &str, Unit), usize> = HashMap::new();
    let mut grouped: Vec<Vec<Sample>> = Vec::new();
    for sample in samples {
        let key = (
            sample.entry.accelerator.as_str(),
            sample.case.name.as_str(),
            sample.case.unit,
        );
        let place = *places.entry(key).or_insert_with(|| {
            grouped.push(Vec::new());
            grouped.len() - 1
        });
        grouped[place].push(*sample);
    }
    let group = |samples: Vec<Sample<'m>>| {
        let first = samples.first()?;
        let values = samples
            .iter()
            .map(|s| (s.entry.card.as_str(), s.case.value));
        let cards = medians(values);
        Some(Group {
            accelerator: &first.entry.accelerator,
            case: first.case,
            median: stats::median(&values_of(&cards))?,
            cards,
            samples,
        })
    };
    grouped.into_iter().filter_map(group).collect()
}

/// The median of what belongs to each key, by key.
fn medians<K: Ord>(values: impl Iterator<Item = (K, f64)>) -> Vec<(K, f64)> {
    let mut by_key: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    for (key, value) in values {
        by_key.entry(key).or_default().push(value);
    }
    let medians = by_key.into_iter();
    medians
        .filter_map(|(key, values)| Some((key, stats::median(&values)?)))
        .collect()
}

fn values_of<K>(medians: &[(K, f64)]) -> Vec<f64> {
    medians.iter().map(|(_, value)| *value).collect()
}

fn reports(entries: &[Entry]) -> Reports {
    let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
    Reports {
        merged: entries.len(),
        incomplete: count(|entry| !entry.complete),
        synthetic: count(|entry| entry.synthetic),
        without_hash: count(|entry| !entry.hashed),
        without_card: count(|entry| !entry.tells_card),
    }
}

fn figures(entries: &[Entry], counted: usize, with_doubtful: bool) -> Figures {
    let cases = || entries.iter().flat_map(|entry| &entry.cases);
    Figures {
        counted,
        doubtful: cases().filter(|case| case.doubtful).count(),
        doubtful_power: cases()
            .filter(|case| case.power.is_some_and(|power| power.doubtful))
            .count(),
        with_doubtful,
        absent: entries.iter().map(|entry| entry.absent).sum(),
    }
}

fn flags(entries: &[Entry]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let cases = entries.iter().flat_map(|entry| &entry.cases);
    for flag in cases.flat_map(|case| &case.flags) {
        *counts.entry(flag.to_string()).or_default() += 1;
    }
    counts
}

fn accelerators(entries: &[Entry], groups: &[Group]) -> Vec<Accelerator> {
    let mut members = members(entries, |entry| entry.accelerator.as_str());
    members.sort_by_key(|(_, members)| std::cmp::Reverse(members.cards));
    let accelerator = |(name, members): (&str, Members)| {
        let own = own(groups, name);
        Accelerator {
            name: name.to_owned(),
            cards: members.cards,
            reports: members.reports,
            cards_range_percent: compared(&own).map(|found| 100.0 * found.range),
            cases: own.into_iter().filter_map(case_spread).collect(),
        }
    };
    members.into_iter().map(accelerator).collect()
}

/// How many cards and reports a key has.
struct Members {
    cards: usize,
    reports: usize,
}

/// Those of every key, by key.
fn members<'m, K: Ord>(entries: &'m [Entry], key: impl Fn(&'m Entry) -> K) -> Vec<(K, Members)> {
    let mut by_key: BTreeMap<K, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for entry in entries {
        let (cards, reports) = by_key.entry(key(entry)).or_default();
        cards.insert(&entry.card);
        *reports += 1;
    }
    let members = by_key.into_iter();
    members
        .map(|(key, (cards, reports))| {
            let cards = cards.len();
            (key, Members { cards, reports })
        })
        .collect()
}

fn case_spread(group: &Group) -> Option<CaseSpread> {
    let spread = Spread::of(&values_of(&group.cards))?;
    let percent = group.samples.iter().filter_map(|sample| {
        let percent = sample.case.percent_of_datasheet?;
        Some((sample.entry.card.as_str(), percent))
    });
    Some(CaseSpread {
        case: group.case.name.clone(),
        unit: group.case.unit,
        cards: group.cards.len(),
        figures: group.samples.len(),
        range_percent: (group.cards.len() > 1)
            .then(|| 100.0 * (spread.highest - spread.lowest) / spread.median),
        spread,
        percent_of_datasheet: stats::median(&values_of(&medians(percent))),
        power: power_spreads(group),
    })
}

/// The power of a case, that of most cards first.
fn power_spreads(group: &Group) -> Vec<PowerSpread> {
    let metered = group
        .samples
        .iter()
        .filter_map(|s| Some((s.entry.card.as_str(), s.power?)));
    let metered: Vec<(&str, CasePower)> = metered.collect();
    let mut kinds: Vec<Coverage> = Vec::new();
    for (_, power) in &metered {
        if !kinds.contains(&power.covers) {
            kinds.push(power.covers);
        }
    }
    let spread = |covers: Coverage| {
        let own = metered.iter().filter(|(_, power)| power.covers == covers);
        let watts = medians(own.clone().map(|(card, power)| (*card, power.watts.0)));
        let per_watt = own.filter_map(|(card, power)| Some((*card, power.per_watt?)));
        Some(PowerSpread {
            covers,
            cards: watts.len(),
            watts: Spread::of(&values_of(&watts))?,
            per_watt: Spread::of(&values_of(&medians(per_watt))),
        })
    };
    let mut spreads: Vec<PowerSpread> = kinds.into_iter().filter_map(spread).collect();
    spreads.sort_by_key(|spread| std::cmp::Reverse(spread.cards));
    spreads
}

/// Cards that are slower than others of the same accelerator, slowest first.
fn outliers(accelerators: &[Accelerator], groups: &[Group]) -> Vec<Outlier> {
    let of_one = |accelerator: &Accelerator| {
        let own = own(groups, &accelerator.name);
        let slow = compared(&own).map_or_else(Vec::new, |found| found.slow);
        let outlier = |slow: SlowCard<&str>| outlier(&accelerator.name, slow, &own);
        slow.into_iter().map(outlier).collect::<Vec<_>>()
    };
    let mut outliers: Vec<Outlier> = accelerators.iter().flat_map(of_one).collect();
    outliers.sort_by(|a, b| a.percent.total_cmp(&b.percent));
    outliers
}

/// The cases of an accelerator.
fn own<'g, 'm>(groups: &'g [Group<'m>], accelerator: &str) -> Vec<&'g Group<'m>> {
    let own = groups.iter().filter(|g| g.accelerator == accelerator);
    own.collect()
}

/// How the cards of an accelerator lie over all its cases.
fn compared<'m>(own: &[&Group<'m>]) -> Option<Comparison<&'m str>> {
    let speeds = |group: &&Group<'m>| {
        let speed = |value| group.case.unit.speed(value, group.median);
        let cards = group.cards.iter();
        cards.map(|(card, value)| (*card, speed(*value))).collect()
    };
    let cases: Vec<Vec<(&str, f64)>> = own.iter().map(speeds).collect();
    stats::compare_cards(&cases)
}

fn outlier(accelerator: &str, slow: SlowCard<&str>, own: &[&Group]) -> Outlier {
    let mut hosts = BTreeSet::new();
    let mut cases = Vec::new();
    for group in own.iter().filter(|group| group.cards.len() > 1) {
        let unit = group.case.unit;
        for (_, value) in group.cards.iter().filter(|(card, _)| *card == slow.card) {
            hosts.extend(hosts_of(slow.card, group));
            cases.push(OutlyingCase {
                case: group.case.name.clone(),
                value: *value,
                median: group.median,
                unit,
                percent: unit.speed(*value, group.median) - 100.0,
            });
        }
    }
    cases.sort_by(|a, b| a.percent.total_cmp(&b.percent));
    Outlier {
        card: slow.card.to_owned(),
        hosts: hosts.into_iter().collect(),
        accelerator: accelerator.to_owned(),
        compared: slow.cases,
        percent: -100.0 * slow.slower,
        limit_percent: -100.0 * slow.limit,
        scatter_percent: 100.0 * slow.scatter,
        cases,
    }
}

/// The hosts in which a card was measured.
fn hosts_of(card: &str, group: &Group) -> Vec<String> {
    let own = group
        .samples
        .iter()
        .filter(|sample| sample.entry.card == card);
    let hosts: BTreeSet<&str> = own.map(|sample| sample.entry.host.as_str()).collect();
    hosts.into_iter().map(str::to_owned).collect()
}

/// How fast the cards of each key are, in the cases that `is_comparable`.
fn standings<'m, K: Ord>(
    groups: &[Group<'m>],
    key: impl Fn(&'m Entry) -> K,
    is_comparable: impl Fn(&Group<'m>) -> bool,
) -> BTreeMap<K, Standing> {
    let mut speeds: BTreeMap<K, Vec<(f64, &Group)>> = BTreeMap::new();
    for group in groups.iter().filter(|group| is_comparable(group)) {
        let values = group.samples.iter();
        let values = values.map(|s| ((key(s.entry), s.entry.card.as_str()), s.case.value));
        for ((key, _), value) in medians(values) {
            let speed = group.case.unit.speed(value, group.median);
            speeds.entry(key).or_default().push((speed, group));
        }
    }
    let standing = |speeds: Vec<(f64, &Group)>| {
        let percents: Vec<f64> = speeds.iter().map(|(percent, _)| *percent).collect();
        let slowest = speeds.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b));
        let (percent, group) = slowest?;
        Some(Standing {
            median_percent: stats::median(&percents)?,
            slowest: Slowest {
                accelerator: group.accelerator.to_owned(),
                case: group.case.name.clone(),
                percent,
            },
        })
    };
    let standings = speeds.into_iter();
    standings
        .filter_map(|(key, speeds)| Some((key, standing(speeds)?)))
        .collect()
}

fn hosts(entries: &[Entry], groups: &[Group]) -> Vec<Host> {
    let mut standings = standings(groups, |e| e.host.as_str(), |group| group.cards.len() > 1);
    let host = |(name, members): (&str, Members)| Host {
        name: name.to_owned(),
        cards: members.cards,
        reports: members.reports,
        standing: standings.remove(name),
    };
    let members = members(entries, |entry| entry.host.as_str()).into_iter();
    let mut hosts: Vec<Host> = members.map(host).collect();
    hosts.sort_by(|a, b| slowest_first(&a.standing, &b.standing));
    hosts
}

fn drivers<'m>(entries: &'m [Entry], groups: &[Group<'m>]) -> Vec<Driver> {
    fn key(entry: &Entry) -> (&str, &str) {
        (&entry.accelerator, &entry.driver)
    }
    let is_comparable = |group: &Group| {
        let mut drivers = group.samples.iter().map(|sample| &sample.entry.driver);
        let first = drivers.next();
        drivers.any(|driver| Some(driver) != first)
    };
    let mut standings = standings(groups, key, is_comparable);
    let driver = |(key, members): ((&'m str, &'m str), Members)| Driver {
        accelerator: key.0.to_owned(),
        name: key.1.to_owned(),
        cards: members.cards,
        reports: members.reports,
        standing: standings.remove(&key),
    };
    members(entries, key).into_iter().map(driver).collect()
}

/// What cannot be compared last.
fn slowest_first(a: &Option<Standing>, b: &Option<Standing>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.median_percent.total_cmp(&b.median_percent),
        _ => b.is_some().cmp(&a.is_some()),
    }
}

/// Each accelerator's most efficient kernel, best first in each number format.
fn efficiency(groups: &[Group]) -> Vec<Ranked> {
    let mut best: Vec<Ranked> = Vec::new();
    for group in groups.iter().filter(|group| group.case.ranks) {
        for power in power_spreads(group) {
            let Some(per_watt) = power.per_watt else {
                continue;
            };
            let candidate = Ranked {
                precision: group.case.precision,
                rank: 0,
                accelerator: group.accelerator.to_owned(),
                covers: power.covers,
                case: group.case.name.clone(),
                cards: power.cards,
                per_watt: per_watt.median,
                unit: group.case.unit,
                watts: power.watts.median,
            };
            let same = |known: &&mut Ranked| {
                (known.precision, known.covers) == (candidate.precision, candidate.covers)
                    && known.accelerator == candidate.accelerator
            };
            match best.iter_mut().find(same) {
                Some(known) if known.per_watt < candidate.per_watt => *known = candidate,
                Some(_) => {}
                None => best.push(candidate),
            }
        }
    }
    best.sort_by(|a, b| {
        let by_format = a.precision.cmp(&b.precision);
        by_format.then(b.per_watt.total_cmp(&a.per_watt))
    });
    let mut ranks: BTreeMap<Precision, usize> = BTreeMap::new();
    for ranked in &mut best {
        let rank = ranks.entry(ranked.precision).or_default();
        *rank += 1;
        ranked.rank = *rank;
    }
    best
}

/// Where a power is drawn: software adapters of one host share its CPUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'m> {
    Card(&'m str),
    Cpus(&'m str),
}

fn total_power(samples: &[Sample], cards: &BTreeSet<&str>) -> TotalPower {
    let mut metered: BTreeSet<&str> = BTreeSet::new();
    let mut of_commands: BTreeSet<&str> = BTreeSet::new();
    let mut drawn: Vec<((Place, &str, &str), f64)> = Vec::new();
    for sample in samples {
        let Some(power) = &sample.power else {
            continue;
        };
        let card = sample.entry.card.as_str();
        let place = match power.covers {
            Coverage::GpuBoard | Coverage::Module | Coverage::GpuChip => Place::Card(card),
            Coverage::CpuPackage | Coverage::CpuPackages => Place::Cpus(&sample.entry.host),
            Coverage::Command => {
                of_commands.insert(card);
                continue;
            }
        };
        metered.insert(card);
        drawn.push(((place, card, sample.case.name.as_str()), power.watts.0));
    }
    let mut highest: BTreeMap<Place, f64> = BTreeMap::new();
    for ((place, ..), watts) in medians(drawn.into_iter()) {
        let known = highest.entry(place).or_insert(watts);
        *known = known.max(watts);
    }
    let is_card = |place: &&Place| matches!(place, Place::Card(_));
    let of_cards = highest.keys().filter(is_card).count();
    of_commands.retain(|card| !metered.contains(card));
    TotalPower {
        watts: (!highest.is_empty()).then(|| Watts(highest.values().sum())),
        cards: of_cards,
        cpu_hosts: highest.len() - of_cards,
        cards_without: cards.len() - metered.len() - of_commands.len(),
        cards_of_commands: of_commands.len(),
    }
}

#[cfg(test)]
mod tests;
