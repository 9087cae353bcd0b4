//! Files of workloads and of figures: read with a limit on their size, and with
//! errors that name the file, the line and the field.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::json_file::{self, Misfit, Origin, position};
use crate::units::Bytes;

/// A file above this size is none; the built-in ones are a fiftieth of it.
const LARGEST_FILE: Bytes = Bytes(2 << 20);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is too large.
    #[error("{} is larger than {limit}: it cannot be a file of workloads", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest size accepted.
        limit: Bytes,
    },
    /// The content is not what such a file holds.
    #[error("{}:{line}:{column}: {field}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, counted from one.
        line: usize,
        /// Column in bytes, counted from one.
        column: usize,
        /// The path of the field, such as `workloads[0].claims[1].unit`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A field with a wrong value.
#[derive(Debug)]
pub(super) struct Fault {
    /// The path of the field.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, LoadError> {
    let read_error = |cause| LoadError::Read {
        file: path.to_owned(),
        cause,
    };
    json_file::read(path, LARGEST_FILE, Origin::Named)
        .map_err(read_error)?
        .ok_or_else(|| LoadError::TooLarge {
            file: path.to_owned(),
            limit: LARGEST_FILE,
        })
}

/// Parses the text of `file`, which is named in errors, and checks what its types
/// cannot rule out.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    file: &Path,
    check: impl FnOnce(&T) -> Result<(), Fault>,
) -> Result<T, LoadError> {
    let invalid =
        |(line, column): (usize, usize), field: String, problem: String| LoadError::Invalid {
            file: file.to_owned(),
            line,
            column,
            field: if field.is_empty() {
                "the file".to_owned()
            } else {
                field
            },
            problem,
        };
    let document = serde_json::from_str(text).map_err(|error| {
        let misfit = Misfit::of(text, &error);
        invalid(misfit.line_and_column(text), misfit.field, misfit.problem)
    })?;
    check(&document).map_err(|Fault { path, problem }| {
        let place = position::places_of(text, [path.as_str()])
            .into_values()
            .next();
        invalid(place.unwrap_or((1, 1)), path, problem)
    })?;
    Ok(document)
}
