//! Which reports count: each run once, and nothing that cannot be relied on.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::mem;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::{Attempt, Entry};
use super::identity::Run;
use crate::record::{Content, LoadError, Report};

/// A file that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The file.
    pub file: String,
    /// What kind of reason.
    pub why: Why,
    /// The particulars, for a person.
    pub message: String,
}

/// Kinds of reasons for which a file does not count.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It cannot be read.
    Unreadable,
    /// It is no report, a broken one, or one of a version that is not known.
    NotAReport,
    /// It was changed after it was written.
    Altered,
    /// Another file holds the same run, saved later or at the same time.
    Repeated,
    /// It ended before its time, and its Slurm task was run again.
    Superseded,
}

impl LeftOut {
    /// A file that does not count, and why.
    pub fn new(file: &Path, why: Why, message: String) -> Self {
        Self {
            file: file.display().to_string(),
            why,
            message,
        }
    }

    /// A file that could not be loaded.
    pub fn unloadable(file: &Path, error: &LoadError) -> Self {
        let why = match error {
            LoadError::Read { .. } => Why::Unreadable,
            LoadError::Parse { .. } | LoadError::Version { .. } | LoadError::TooLarge { .. } => {
                Why::NotAReport
            }
        };
        Self::new(file, why, error.to_string())
    }
}

/// Takes reports in and keeps those that count.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    /// Where the entry of a run is.
    runs: HashMap<Run, usize>,
    left_out: Vec<LeftOut>,
}

/// The reports that count, in the order in which they came, and the files that do
/// not.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// One for each run.
    pub entries: Vec<Entry>,
    /// Files that do not count.
    pub left_out: Vec<LeftOut>,
}

impl Ledger {
    /// Takes in a report that was loaded from `file`.
    pub fn judge(file: &Path, report: &Report, content: &Content) -> Result<Entry, LeftOut> {
        if let (true, Some(doubt)) = (content.is_altered(), content.doubt(report)) {
            let message = format!("{} {doubt}", file.display());
            return Err(LeftOut::new(file, Why::Altered, message));
        }
        Ok(Entry::of(file, report, content))
    }

    /// Takes in what became of a file.
    pub fn add(&mut self, read: Result<Entry, LeftOut>) {
        let entry = match read {
            Ok(entry) => entry,
            Err(left_out) => return self.left_out.push(left_out),
        };
        let repeated = match self.runs.entry(entry.run.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(self.entries.len());
                self.entries.push(entry);
                return;
            }
            Slot::Occupied(slot) => {
                let known = &mut self.entries[*slot.get()];
                // A run is saved after each case.
                let age = |entry: &Entry| (entry.ended, entry.cases.len() + entry.absent);
                match age(known) < age(&entry) {
                    true => mem::replace(known, entry),
                    false => entry,
                }
            }
        };
        let kept = &self.entries[self.runs[&repeated.run]];
        let message = format!(
            "{} holds a run that {} holds as well",
            repeated.file.display(),
            kept.file.display()
        );
        let repeated = LeftOut::new(&repeated.file, Why::Repeated, message);
        self.left_out.push(repeated);
    }

    /// Ends it. What a Slurm task left unfinished gives way to what it left when it
    /// was run again.
    pub fn close(self) -> Merged {
        let mut left_out = self.left_out;
        let mut entries = self.entries;
        let attempts = entries.iter().filter_map(|entry| entry.attempt.clone());
        let mut last: HashMap<_, u64> = HashMap::new();
        for Attempt {
            task,
            restart_count,
        } in attempts
        {
            let known = last.entry(task).or_default();
            *known = restart_count.max(*known);
        }
        entries.retain(|entry| {
            let again = entry.attempt.as_ref().is_some_and(|attempt| {
                let last = last.get(&attempt.task);
                last.is_some_and(|last| attempt.restart_count < *last)
            });
            let superseded = again && !entry.complete;
            if superseded {
                let message = format!(
                    "{} ended before its time, and its Slurm task was run again",
                    entry.file.display()
                );
                left_out.push(LeftOut::new(&entry.file, Why::Superseded, message));
            }
            !superseded
        });
        Merged { entries, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SlurmTask;
    use crate::render::fixture;
    use crate::units::Gflops;

    fn content() -> Content {
        Content {
            stated: Some("abc".into()),
            found: "abc".into(),
        }
    }

    fn read(file: &str, report: &Report) -> Result<Entry, LeftOut> {
        Ledger::judge(Path::new(file), report, &content())
    }

    fn merged(reports: &[(&str, &Report)]) -> (Vec<String>, Vec<(String, Why)>) {
        let mut ledger = Ledger::default();
        for (file, report) in reports {
            ledger.add(read(file, report));
        }
        let merged = ledger.close();
        let kept = merged.entries.iter().map(|e| e.file.display().to_string());
        let left_out = merged.left_out.into_iter().map(|l| (l.file, l.why));
        (kept.collect(), left_out.collect())
    }

    #[test]
    fn the_same_run_counts_once_and_its_last_save_counts() {
        let whole = fixture::report();
        let mut earlier = whole.clone();
        earlier.measurements.truncate(2);
        let (kept, left_out) = merged(&[("a", &earlier), ("b", &whole), ("c", &whole)]);
        assert_eq!(kept, ["b"]);
        let repeated = |file: &str| (file.to_owned(), Why::Repeated);
        assert_eq!(left_out, [repeated("a"), repeated("c")]);
        // Whichever comes first.
        let (kept, _) = merged(&[("b", &whole), ("a", &earlier)]);
        assert_eq!(kept, ["b"]);
        let mut later = earlier;
        later.ended = "2026-01-03T00:00:00Z".parse().unwrap();
        let (kept, _) = merged(&[("b", &whole), ("a", &later)]);
        assert_eq!(kept, ["a"]);
    }

    #[test]
    fn reports_for_publication_are_told_apart_by_their_content() {
        let one = crate::record::anonymise(fixture::report(), 1);
        let mut ledger = Ledger::default();
        for (file, found) in [("a", "1"), ("b", "2"), ("c", "1")] {
            let content = Content {
                stated: None,
                found: found.into(),
            };
            ledger.add(Ledger::judge(Path::new(file), &one, &content));
        }
        let kept = ledger.close().entries.into_iter();
        let kept: Vec<_> = kept.map(|entry| entry.file).collect();
        assert_eq!(kept, [Path::new("a"), Path::new("b")]);
    }

    #[test]
    fn an_altered_report_does_not_count() {
        let altered = Content {
            stated: Some("abc".into()),
            found: "def".into(),
        };
        let mut report = fixture::report();
        report.measurements[0].gflops.as_mut().unwrap().median = Gflops(1e9);
        let left_out = Ledger::judge(Path::new("a"), &report, &altered).unwrap_err();
        assert_eq!(left_out.why, Why::Altered);
        assert!(
            left_out.message.starts_with("a was changed"),
            "{left_out:?}"
        );
    }

    #[test]
    fn an_unfinished_attempt_gives_way_to_a_later_one_of_its_task() {
        let attempt = |restart_count, run: u128, complete| {
            let mut report = fixture::report();
            report.run_id = uuid::Uuid::from_u128(report.run_id.as_u128() + run);
            report.complete = complete;
            report.slurm = Some(SlurmTask {
                job_id: 7,
                array_job_id: None,
                array_task_id: None,
                process_id: Some(0),
                restart_count,
                node: None,
                cluster: None,
            });
            report
        };
        let [killed, again] = [attempt(0, 1, false), attempt(1, 2, true)];
        let (kept, left_out) = merged(&[("a", &killed), ("b", &again)]);
        assert_eq!(kept, ["b"]);
        assert_eq!(left_out, [("a".to_owned(), Why::Superseded)]);
        // A whole run is one, whatever became of its task, and so is a partial one of
        // another task.
        let whole = attempt(0, 3, true);
        let mut other = attempt(0, 4, false);
        other.slurm.as_mut().unwrap().process_id = Some(1);
        let (kept, left_out) = merged(&[("a", &whole), ("b", &again), ("c", &other)]);
        assert_eq!((kept.len(), left_out.len()), (3, 0));
    }
}
