//! Regressions that are meant, by a file that is committed beside the change.

use std::io;
use std::path::{Path, PathBuf};

use globset::GlobSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::{Case, Verdict};
use crate::json_file::{self, Misfit, Origin};
use crate::kernel::select;
use crate::units::Bytes;

/// Where the file lies unless it is named.
pub const USUAL_FILE: &str = "ci/accepted-changes.json";

/// Version of the file.
const VERSION: u32 = 1;

/// Files larger than this are none of ours.
const LARGEST_FILE: Bytes = Bytes(1 << 20);

/// The file of accepted changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// Version of the file's form: 1.
    version: u32,
    /// What is accepted, one entry a change.
    accepted: Vec<Entry>,
}

/// One change that is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// A case's id, or a glob over ids.
    case: String,
    /// What may become of it.
    change: Change,
    /// The most by which a slower case may be slower, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_most_percent: Option<f64>,
    /// Why.
    reason: String,
}

/// What may become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Change {
    /// It is slower.
    Slower,
    /// It is no longer there, or cannot be run any more.
    Gone,
    /// It counts other operations or bytes.
    Work,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AcceptedError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It is not of the form that is expected.
    #[error("{}: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
}

/// The changes that are accepted.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    entries: Vec<(Entry, GlobSet)>,
}

impl Accepted {
    /// Reads `path`.
    ///
    /// # Errors
    /// When it cannot be read, has another form, or gives no reason for an entry.
    pub fn load(path: &Path) -> Result<Self, AcceptedError> {
        let read = |cause| AcceptedError::Read {
            path: path.to_owned(),
            cause,
        };
        let form = |why: String| AcceptedError::Form {
            path: path.to_owned(),
            why,
        };
        let text = json_file::read(path, LARGEST_FILE, Origin::Named).map_err(read)?;
        let text =
            text.ok_or_else(|| form("too large to be a list of accepted changes".to_owned()))?;
        Self::parse(&text).map_err(form)
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(text).map_err(|error| {
            let misfit = Misfit::of(text, &error);
            let (line, column) = misfit.line_and_column(text);
            format!("line {line}, column {column}: {misfit}")
        })?;
        if file.version != VERSION {
            return Err(format!(
                "version {} is unknown: this program reads {VERSION}",
                file.version
            ));
        }
        let matcher = |(number, entry): (usize, Entry)| {
            let wrong = |what: &str| format!("entry {} ({}): {what}", number + 1, entry.case);
            if entry.reason.trim().is_empty() {
                return Err(wrong("give a reason"));
            }
            if entry.at_most_percent.is_some() && entry.change != Change::Slower {
                return Err(wrong("at_most_percent belongs to the change \"slower\""));
            }
            let glob = select::glob(&entry.case).map_err(|error| wrong(&error))?;
            Ok((entry, glob))
        };
        let entries = file.accepted.into_iter().enumerate().map(matcher);
        Ok(Self {
            entries: entries.collect::<Result<_, String>>()?,
        })
    }

    /// A record of which entries a gate needs.
    pub fn usage(&self) -> Usage<'_> {
        Usage {
            entries: &self.entries,
            used: vec![false; self.entries.len()],
            met: vec![false; self.entries.len()],
        }
    }

    /// The file's JSON Schema.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(File)
    }
}

/// The entries, and which of them were needed.
pub struct Usage<'a> {
    entries: &'a [(Entry, GlobSet)],
    used: Vec<bool>,
    /// Whether a case of that name was compared.
    met: Vec<bool>,
}

impl Usage<'_> {
    /// Accepts what fails, where an entry says so.
    pub(super) fn apply(&mut self, case: &mut Case) {
        for (at, (entry, glob)) in self.entries.iter().enumerate() {
            if !glob.is_match(&case.name) {
                continue;
            }
            self.met[at] = true;
            if !case.fails || !entry.is_about(case) {
                continue;
            }
            self.used[at] = true;
            match entry.exceeded_by(case) {
                None => {
                    case.accepted = Some(entry.reason.clone());
                    case.fails = false;
                }
                Some(most) => case
                    .notes
                    .push(format!("slower than the {most} % that are accepted")),
            }
        }
    }

    /// What to say of entries that accepted nothing, among those that could have:
    /// all of them if `all` cases were compared.
    pub fn unused(&self, all: bool) -> impl Iterator<Item = String> {
        let entries = self.entries.iter().zip(self.used.iter().zip(&self.met));
        let unused = entries.filter(move |(_, (used, met))| !**used && (all || **met));
        unused.map(|((entry, _), _)| {
            format!(
                "the accepted change of {} is none any more: take it out of the list",
                entry.case
            )
        })
    }
}

impl Entry {
    /// Whether this is what has become of the case.
    fn is_about(&self, case: &Case) -> bool {
        match self.change {
            Change::Gone => case.verdict == Verdict::Gone,
            Change::Work => case.different_work,
            Change::Slower => case.verdict == Verdict::Slower,
        }
    }

    /// The most that is accepted, in percent, where the case is slower than that.
    fn exceeded_by(&self, case: &Case) -> Option<f64> {
        let percent = case.ratio.map(|ratio| 100.0 * (ratio.median - 1.0));
        self.at_most_percent
            .filter(|most| percent.is_none_or(|percent| percent > *most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Ratio;

    fn accepted(entries: &str) -> Result<Accepted, String> {
        Accepted::parse(&format!(r#"{{"version": 1, "accepted": [{entries}]}}"#))
    }

    fn slower(median: f64) -> Case {
        Case {
            ratio: Some(Ratio {
                median,
                interval: None,
            }),
            fails: true,
            ..Case::untimed("matmul/f32/naive/64x64x64", Verdict::Slower, "")
        }
    }

    #[test]
    fn an_entry_accepts_its_change_and_no_other() {
        let list = accepted(
            r#"{"case": "matmul/f32/*", "change": "slower", "at_most_percent": 12.5, "reason": "exact now"},
               {"case": "peak/**", "change": "gone", "reason": "never told much"}"#,
        )
        .unwrap();
        let mut usage = list.usage();
        let mut within = slower(1.125);
        usage.apply(&mut within);
        assert_eq!(within.accepted.as_deref(), Some("exact now"));
        assert!(!within.fails);
        let mut beyond = slower(1.13);
        usage.apply(&mut beyond);
        assert!(beyond.fails && beyond.accepted.is_none());
        assert_eq!(
            beyond.notes.last().unwrap(),
            "slower than the 12.5 % that are accepted"
        );
        // An entry that is exceeded is still about something.
        let mut exceeded = list.usage();
        exceeded.apply(&mut slower(1.2));
        let unused: Vec<String> = exceeded.unused(true).collect();
        assert!(
            !unused.iter().any(|text| text.contains("matmul")),
            "{unused:?}"
        );
        let mut gone = Case {
            fails: true,
            ..Case::untimed("matmul/f32/naive/64x64x64", Verdict::Gone, "")
        };
        usage.apply(&mut gone);
        assert!(gone.fails);
        let unused: Vec<String> = usage.unused(true).collect();
        assert_eq!(unused.len(), 1);
        assert!(unused[0].contains("peak/**"), "{unused:?}");
        assert_eq!(usage.unused(false).count(), 0, "no such case was compared");
        usage.apply(&mut Case::untimed("peak/f32/fma/device", Verdict::Same, ""));
        assert_eq!(usage.unused(false).count(), 1);
    }

    #[test]
    fn defects_are_named_with_their_entry() {
        let error = |entry: &str| accepted(entry).unwrap_err();
        let reasonless = r#"{"case": "a", "change": "gone", "reason": " "}"#;
        assert_eq!(error(reasonless), "entry 1 (a): give a reason");
        let misplaced = r#"{"case": "a", "change": "gone", "at_most_percent": 1, "reason": "b"}"#;
        assert!(error(misplaced).contains("belongs to the change \"slower\""));
        assert!(error(r#"{"case": "[", "change": "gone", "reason": "b"}"#).starts_with("entry 1"));
        assert!(
            error(r#"{"case": "a", "change": "faster", "reason": "b"}"#)
                .starts_with("line 1, column 60: accepted[0].change: unknown variant `faster`")
        );
        assert!(Accepted::parse(r#"{"version": 2, "accepted": []}"#).is_err());
    }

    #[test]
    fn the_projects_own_list_can_be_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(USUAL_FILE);
        assert!(Accepted::load(&path).is_ok());
    }
}
