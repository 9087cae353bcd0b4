//! Names that tell several reports, and the cases of several reports, apart.

use std::collections::{HashMap, HashSet};

use super::Run;
use super::untrusted::{plain, word};
use crate::record::Report;

/// What tells two reports of one adapter apart, the most telling first.
const DIFFERENCES: [fn(&Report) -> String; 5] = [
    |report| report.adapter.backend.to_string(),
    |report| report.adapter.driver_and_version(),
    |report| report.host.name.clone(),
    |report| {
        let address = report.adapter.pci_address.clone();
        address.unwrap_or_else(|| "no PCI address".into())
    },
    |report| report.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
];

/// A heading for each report: its adapter, and where several have that adapter
/// the backend, driver, host, PCI address or time in which they differ, as far as it
/// takes to tell them apart. No two are the same.
pub(super) fn labels(runs: &[Run]) -> Vec<String> {
    let names = runs.iter().map(|run| plain(&run.report.adapter.name));
    let mut labels: Vec<String> = names.collect();
    for difference in DIFFERENCES {
        let differences: Vec<String> = runs.iter().map(|run| difference(run.report)).collect();
        let before = labels.clone();
        for (index, label) in labels.iter_mut().enumerate() {
            let mut alike = (0..runs.len()).filter(|&other| before[other] == before[index]);
            if alike.any(|other| differences[other] != differences[index]) {
                *label += &format!(", {}", plain(&differences[index]));
            }
        }
    }
    unique(labels)
}

/// A word for each case of each report, by which no other case goes: its
/// [`name`](crate::measure::measurement::Measurement::name), followed by `+` and how
/// many other adapters worked on it at the same time if any did, and by `@` and the
/// report's label where there are several reports.
pub(super) fn cases(runs: &[Run]) -> Vec<Vec<String>> {
    let labels = labels(runs);
    let mut taken = Taken::default();
    let named = runs.iter().zip(labels).map(|(run, label)| {
        let names = run.report.measurements.iter().map(|measurement| {
            let mut name = measurement.name();
            if !measurement.concurrent_with.is_empty() {
                name += &format!("+{}", measurement.concurrent_with.len());
            }
            if runs.len() > 1 {
                name += &format!("@{label}");
            }
            word(&taken.untaken(name))
        });
        names.collect()
    });
    named.collect()
}

/// The same texts, a number behind those that are there already.
fn unique(texts: Vec<String>) -> Vec<String> {
    let mut taken = Taken::default();
    let texts = texts.into_iter();
    texts.map(|text| taken.untaken(text)).collect()
}

/// Texts that are in use, as words.
#[derive(Default)]
struct Taken {
    words: HashSet<String>,
    /// The number that each got last: a report may hold one name a hundred thousand
    /// times.
    numbers: HashMap<String, usize>,
}

impl Taken {
    /// `text`, with a number where it is taken already, as a word.
    fn untaken(&mut self, text: String) -> String {
        let taken = word(&text);
        if self.words.insert(taken.clone()) {
            return text;
        }
        let number = self.numbers.entry(taken).or_insert(1);
        loop {
            *number += 1;
            let numbered = format!("{text} ({number})");
            if self.words.insert(word(&numbered)) {
                return numbered;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::adapter::Backend;
    use crate::measure::measurement::Beside;
    use crate::render::fixture::{self, runs};

    fn with(change: impl FnOnce(&mut Report)) -> Report {
        let mut report = fixture::report();
        report.adapter.name = "Testcard 0".into();
        change(&mut report);
        report
    }

    #[test]
    fn labels_say_no_more_than_it_takes() {
        let reports = [
            with(|r| r.adapter.name = "Testcard 1".into()),
            with(|_| ()),
            with(|r| r.adapter.backend = Backend::Gl),
            with(|r| r.host.name = "node02".into()),
        ];
        assert_eq!(labels(&runs(&reports[..2])), ["Testcard 1", "Testcard 0"]);
        assert_eq!(
            labels(&runs(&reports)),
            [
                "Testcard 1",
                "Testcard 0, vulkan, node01",
                "Testcard 0, gl",
                "Testcard 0, vulkan, node02",
            ]
        );
    }

    #[test]
    fn two_cards_of_one_machine_go_by_their_address() {
        let reports = [
            with(|_| ()),
            with(|r| r.adapter.pci_address = Some("0000:02:00.0".into())),
        ];
        assert_eq!(
            labels(&runs(&reports)),
            ["Testcard 0, 0000:01:00.0", "Testcard 0, 0000:02:00.0"]
        );
    }

    #[test]
    fn a_figure_beside_other_adapters_goes_by_another_name_than_alone() {
        let beside = |index| Beside {
            index,
            adapter: "Testcard 1".into(),
            pci_address: None,
            overlap: 1.0,
        };
        let report = with(|r| {
            r.measurements.truncate(1);
            r.measurements[0].concurrent_with = vec![beside(1), beside(2)];
        });
        assert_eq!(cases(&runs(&[report])), [["peak/f32/fma/device+2"]]);
    }

    #[test]
    fn the_same_report_twice_is_numbered() {
        let reports = [with(|_| ()), with(|_| ()), with(|_| ())];
        assert_eq!(
            labels(&runs(&reports)),
            ["Testcard 0", "Testcard 0 (2)", "Testcard 0 (3)"]
        );
    }

    #[test]
    fn a_case_of_one_report_goes_by_its_name() {
        let reports = [with(|r| r.measurements.truncate(1))];
        assert_eq!(cases(&runs(&reports)), [["peak/f32/fma/device"]]);
    }

    #[test]
    fn no_two_cases_share_a_word() {
        let twice = |r: &mut Report| {
            r.measurements.truncate(1);
            r.measurements.push(r.measurements[0].clone());
        };
        let reports = [with(twice), with(twice)];
        let cases = cases(&runs(&reports));
        assert_eq!(
            cases.concat(),
            [
                "peak/f32/fma/device@Testcard_0",
                "peak/f32/fma/device@Testcard_0_(2)",
                "peak/f32/fma/device@Testcard_0_(2)_(2)",
                "peak/f32/fma/device@Testcard_0_(2)_(3)",
            ]
        );
    }
}
