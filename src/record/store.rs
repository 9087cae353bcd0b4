//! Reports on disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{Content, Report, SCHEMA_VERSION};
use crate::console::shortened;
use crate::json_file::range::InRange;
use crate::json_file::{self, Misfit};
use crate::units::Bytes;

/// Name of the report's file in its folder.
pub const REPORT_FILE: &str = "report.json";

/// Reports larger than this are refused: ten thousand cases with raw samples
/// stay below it.
const LARGEST_REPORT: Bytes = Bytes(256 << 20);

/// The longest version that a message quotes, in characters.
const LONGEST_VERSION: usize = 50;

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {cause}", path.display())]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

/// A report that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is no report.
    #[error("{}:{line}:{column}: not a flopwatt report: {misfit}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, counted from one.
        line: usize,
        /// Column in bytes, counted from one.
        column: usize,
        /// The field, and what is wrong with it.
        misfit: String,
    },
    /// The report is of a version that this program does not read.
    #[error("{} has schema version {version}, this program reads {SCHEMA_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// The file is too large to be a report.
    #[error("{} is larger than {LARGEST_REPORT}: not a report", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Writes `report.json` into `folder`, which is created where it is missing, with the
/// hash of its content.
///
/// # Errors
/// When the file cannot be written; an earlier one is then still there.
pub fn save(report: &Report, folder: &Path) -> Result<(), SaveError> {
    let path = folder.join(REPORT_FILE);
    let json = sealed(report).and_then(|report| serde_json::to_string_pretty(&report));
    let json = json.map_err(|e| SaveError {
        path: path.clone(),
        cause: e.into(),
    })?;
    write_with_folders(&path, (json + "\n").as_bytes())
}

/// The report as it is written, which is with the hash of its content.
///
/// # Errors
/// When it cannot be JSON: its maps have strings as keys, so that it can.
pub fn sealed(report: &Report) -> serde_json::Result<Report> {
    let text = serde_json::to_string(report)?;
    let content = Content::of(&serde_json::from_str(&text)?);
    Ok(Report {
        content_sha256: Some(content.found),
        ..report.clone()
    })
}

/// Writes a file as [`write_atomically`], with the folders above it.
///
/// # Errors
/// When a folder or the file cannot be written.
pub fn write_with_folders(path: &Path, contents: &[u8]) -> Result<(), SaveError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|cause| SaveError {
            path: folder.to_owned(),
            cause,
        })?;
    }
    write_atomically(path, contents)
}

/// Writes a file so that readers see the old contents or the new, never a part:
/// a temporary file beside it is written, flushed and renamed.
///
/// # Errors
/// When any of that fails; the old contents are then untouched.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), SaveError> {
    stream_atomically(path, |file| file.write_all(contents))
}

/// The same for contents that are written piece by piece.
///
/// # Errors
/// When any of that fails, or `write` does; the old contents are then untouched.
pub fn stream_atomically(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), SaveError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let stream = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".flopwatt-")
            .tempfile_in(folder)?;
        let mut buffer = BufWriter::new(file.as_file_mut());
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        make_readable(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        sync_folder(folder)
    };
    stream().map_err(|cause| SaveError {
        path: path.to_owned(),
        cause,
    })
}

/// Temporary files are private to their owner; a report is not.
#[cfg(unix)]
fn make_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Makes the new name last: after a power cut a folder that was not written may
/// still hold the old file. Network file systems that cannot do this are left alone.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Folders cannot be opened for this elsewhere.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn make_readable(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Reads a report, given its file or its folder.
///
/// # Errors
/// When the file cannot be read, is no report, or is of another major version.
pub fn load(path: &Path) -> Result<Report, LoadError> {
    let (path, text) = text(path)?;
    from_json(&text, &path)
}

/// Reads a report as [`load`], and tells whether it is what was written.
///
/// # Errors
/// As [`load`].
pub fn read(path: &Path) -> Result<(Report, Content), LoadError> {
    let (path, text) = text(path)?;
    let report = from_json(&text, &path)?;
    let content = Content::of(&parse(&text, &path)?);
    Ok((report, content))
}

/// The file of a report, which is given by itself or its folder, and what it holds.
fn text(path: &Path) -> Result<(PathBuf, String), LoadError> {
    let path = if path.is_dir() {
        path.join(REPORT_FILE)
    } else {
        path.to_owned()
    };
    match json_file::read(&path, LARGEST_REPORT) {
        Ok(Some(text)) => Ok((path, text)),
        Ok(None) => Err(LoadError::TooLarge { path }),
        Err(cause) => Err(LoadError::Read { path, cause }),
    }
}

/// Parses the text of `path`, which is named in errors.
///
/// # Errors
/// When it is no report, one of another major version, or one with a number that its
/// field cannot be.
pub fn from_json(text: &str, path: &Path) -> Result<Report, LoadError> {
    // The version first: a report of another version may not parse at all.
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema_version: String,
    }
    let Versioned {
        schema_version: version,
    } = parse(text, path)?;
    if !is_readable(&version) {
        let path = path.to_owned();
        let version = shortened(&version, LONGEST_VERSION).into_owned();
        return Err(LoadError::Version { path, version });
    }
    let mut report: Report = parse(text, path)?;
    parse::<InRange>(text, path)?;
    report.renew();
    Ok(report)
}

fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, LoadError> {
    serde_json::from_str(text).map_err(|error| {
        let misfit = Misfit::of(text, &error);
        let (line, column) = misfit.line_and_column(text);
        LoadError::Parse {
            path: path.to_owned(),
            line,
            column,
            misfit: misfit.to_string(),
        }
    })
}

/// Whether this program reads records of schema `version`: those of its own major
/// version.
pub fn is_readable(version: &str) -> bool {
    major(version) == major(SCHEMA_VERSION)
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unwritable_folder_is_named_and_old_contents_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"old").unwrap();
        let blocked = folder.path().join("a.json/b.json");
        let error = write_atomically(&blocked, b"new").unwrap_err().to_string();
        assert!(error.contains("b.json"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Its mode is set before it is written to disk, with what it holds.
    #[cfg(unix)]
    #[test]
    fn others_may_read_a_report() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"new").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn foreign_broken_and_newer_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let message = |contents: &str| {
            let path = folder.path().join(REPORT_FILE);
            fs::write(&path, contents).unwrap();
            load(folder.path()).unwrap_err().to_string()
        };
        assert!(
            message("{\"schema_version\": \"1")
                .contains("report.json:1:21: not a flopwatt report: ")
        );
        assert!(message("{\"schema_version\": \"2.0\"}").contains("schema version 2.0"));
        assert!(message("{\"schema_version\": \"1.0\"}").contains("missing field `run_id`"));
        assert!(
            load(Path::new("/nonexistent"))
                .unwrap_err()
                .to_string()
                .contains("/nonexistent")
        );
    }
}
