//! What the verbs that compare have in common: how verdicts are printed and where
//! else they go.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, io};

use super::setup::say;
use super::{Failure, print};
use crate::compare::{Comparison, Verdict};
use crate::console;
use crate::record;
use crate::render::comparison;

/// How verdicts are printed.
#[derive(Debug, clap::Args)]
pub struct Output {
    /// What to print on standard output
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,

    /// File for the verdicts as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// A format of verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for a terminal
    Table,
    /// Everything that is known, for programs
    Json,
    /// For a pull request
    Markdown,
}

/// A verdict that ends a comparison with exit status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FailOn {
    /// A case is slower by more than the threshold
    Slower,
    /// A case is slower, or not decided
    Ambiguous,
}

impl FailOn {
    /// Whether the verdict does.
    pub fn fails(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Slower => true,
            Verdict::Ambiguous => self == Self::Ambiguous,
            _ => false,
        }
    }
}

impl Output {
    /// The wanted format.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// Prints verdicts, writes them where they are wanted besides, and tells GitHub
    /// where it runs this program: its commands are talk, so that they go to standard
    /// error.
    pub fn publish(&self, comparison: &Comparison) -> Result<(), Failure> {
        print(&match self.format() {
            Format::Table => comparison::table(comparison, None),
            Format::Json => comparison::json(comparison),
            Format::Markdown => comparison::markdown(comparison),
        })?;
        if let Some(path) = &self.junit {
            let text = comparison::junit(comparison);
            record::write_named(path, text.as_bytes())?;
        }
        let on_github = env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let annotations = comparison::annotations(comparison);
        if on_github && !annotations.is_empty() {
            console::command_runner(&annotations);
        }
        // A summary that cannot be written must not change the outcome.
        let summary = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        if let Some(path) = summary
            && let Err(error) = append(Path::new(&path), &comparison::markdown(comparison))
        {
            say(format!("warning: no step summary: {error}"));
        }
        Ok(())
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_decided_fails_where_that_is_wanted() {
        let fails = |fail_on: FailOn| Verdict::ALL.into_iter().filter(move |v| fail_on.fails(*v));
        assert!(fails(FailOn::Slower).eq([Verdict::Slower]));
        assert!(fails(FailOn::Ambiguous).eq([Verdict::Slower, Verdict::Ambiguous]));
    }
}
