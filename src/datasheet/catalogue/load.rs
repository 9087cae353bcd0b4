//! From a file to a catalogue, or to what is wrong with the file, and where.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Catalogue;
use crate::json_file::{self, Misfit, Origin, position};
use crate::units::Bytes;

/// A file above this size is no datasheet file; the built-in one is a
/// seventieth of it.
const LARGEST_FILE: Bytes = Bytes(8 << 20);

/// Why a datasheet file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the datasheets in {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is too large to be a list of datasheets.
    #[error("{} is larger than {limit}: it cannot be a datasheet file", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest size accepted.
        limit: Bytes,
    },
    /// The content is not what a datasheet file holds.
    #[error(transparent)]
    Invalid(#[from] Flaw),
}

/// Something that is wrong with a datasheet file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}:{line}:{column}: {}{problem}", file.display(), prefix(field))]
pub struct Flaw {
    /// The file.
    pub file: PathBuf,
    /// Line, counted from one.
    pub line: usize,
    /// Column in bytes, counted from one.
    pub column: usize,
    /// The path of the field, such as `accelerators[0].figures.fp32`;
    /// empty for the document itself.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

fn prefix(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    }
}

impl Catalogue {
    /// Reads and checks a file in the format of the built-in catalogue.
    ///
    /// # Errors
    /// When it cannot be read, or for the first thing that is wrong with it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Catalogue, LoadError> {
        let path = path.as_ref();
        Catalogue::from_json(&read(path, Origin::Named)?, path)
    }

    /// Parses and checks the text of `file`, which is named in errors.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_json(text: &str, file: &Path) -> Result<Catalogue, LoadError> {
        let catalogue = Catalogue::parse(text, file)?;
        match catalogue.flaws(text, file, None).into_iter().next() {
            Some(flaw) => Err(flaw.into()),
            None => Ok(catalogue),
        }
    }

    /// Parses the text of `file`, of which the types say what it may hold.
    pub(in crate::datasheet) fn parse(text: &str, file: &Path) -> Result<Catalogue, Flaw> {
        serde_json::from_str(text).map_err(|error| syntax_flaw(text, file, &error))
    }

    /// Everything that is wrong with this catalogue, which the text of `file` holds,
    /// by itself or as an addition to `base`.
    pub(in crate::datasheet) fn flaws(
        &self,
        text: &str,
        file: &Path,
        base: Option<&Catalogue>,
    ) -> Vec<Flaw> {
        let faults = self.faults(base);
        let paths = faults.iter().map(|fault| fault.path.as_str());
        let places = position::places_of(text, paths);
        let flaws = faults.iter().map(|fault| {
            let place = places.get(fault.path.as_str()).copied();
            let (line, column) = place.unwrap_or((1, 1));
            Flaw {
                file: file.to_owned(),
                line,
                column,
                field: fault.path.clone(),
                problem: fault.problem.clone(),
            }
        });
        flaws.collect()
    }
}

/// The text of a file that is not too large.
pub(in crate::datasheet) fn read(path: &Path, origin: Origin) -> Result<String, LoadError> {
    let read_error = |source| LoadError::Read {
        file: path.to_owned(),
        source,
    };
    json_file::read(path, LARGEST_FILE, origin)
        .map_err(read_error)?
        .ok_or_else(|| LoadError::TooLarge {
            file: path.to_owned(),
            limit: LARGEST_FILE,
        })
}

fn syntax_flaw(text: &str, file: &Path, error: &serde_json::Error) -> Flaw {
    let Misfit { field, problem, .. } = Misfit::of(text, error);
    Flaw {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
        field,
        problem,
    }
}
