//! Reports on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::content::{seal, unsealed};
use super::{Content, Report, SCHEMA_VERSION};
use crate::console::shortened;
use crate::json_file::range::InRange;
use crate::json_file::{self, Misfit, Origin};
use crate::units::Bytes;

/// Name of the report's file in its folder.
pub const REPORT_FILE: &str = "report.json";

/// Reports larger than this are refused: ten thousand cases with raw samples
/// stay below it.
const LARGEST_REPORT: Bytes = Bytes(256 << 20);

/// The longest version that a message quotes, in characters.
const LONGEST_VERSION: usize = 50;
/// In memory the shortest values take a hundred times their text. Of so many …
const MANY_VALUES: usize = 1 << 20;
/// … each has so many bytes on average, its name and spaces included; those of flopwatt's
/// own reports have twenty and more. This keeps a report below eight times its size.
const BYTES_A_VALUE: usize = 8;

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {cause}", path.display())]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

impl SaveError {
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self {
            path: path.clone(),
            cause,
        }
    }
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

/// Writes `report.json` into `folder` as [`write_into`], with its hash.
///
/// # Errors
/// When the file cannot be written; an earlier one is then still there.
pub fn save(report: &Report, folder: &Path) -> Result<(), SaveError> {
    let text = unsealed(report).map_err(|e| SaveError::at(&folder.join(REPORT_FILE))(e.into()))?;
    write_into(folder, REPORT_FILE, seal(&text).as_bytes())
}

/// Writes the file `name`, one that this program has chosen, into an output folder, and
/// makes the folders above it. Links in an output folder are not followed, and what
/// is not a regular file is not replaced: who put it there meant something else.
///
/// Readers see the old contents or the new, never a part: a temporary file beside it
/// is written, flushed and renamed.
///
/// # Errors
/// When any of that fails; the old contents are then untouched.
pub fn write_into(folder: &Path, name: impl AsRef<Path>, contents: &[u8]) -> Result<(), SaveError> {
    stream_into(folder, name, |file| file.write_all(contents))
}

/// The same for contents that are written piece by piece.
///
/// # Errors
/// When any of that fails, or `write` does; the old contents are then untouched.
pub fn stream_into(
    folder: &Path,
    name: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), SaveError> {
    let name = name.as_ref();
    make_folder(folder, name.parent().unwrap_or(Path::new("")))?;
    let path = folder.join(name);
    refuse_what_is_no_file(&path)
        .and_then(|()| replace(&path, write))
        .map_err(SaveError::at(&path))
}

/// Makes an output folder and the folders `below` it, of which none may be a link.
///
/// # Errors
/// When one cannot be made.
pub(super) fn make_folder(folder: &Path, below: &Path) -> Result<PathBuf, SaveError> {
    fs::create_dir_all(folder).map_err(SaveError::at(folder))?;
    let mut path = folder.to_owned();
    for part in below {
        path.push(part);
        let made = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::other(NOT_FOLLOWED)),
            Err(_) => fs::create_dir_all(&path),
        };
        made.map_err(SaveError::at(&path))?;
    }
    Ok(path)
}

/// An error unless there is a regular file in an output folder, or nothing.
pub(super) fn refuse_what_is_no_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other(NOT_FOLLOWED)),
        _ => Ok(()),
    }
}

const NOT_FOLLOWED: &str = "a link, a pipe or something else stands there, which is neither \
                            followed nor replaced: move it away, or choose another folder";

/// Writes the file that a person has named, and makes the folders above it. The file
/// behind a link is replaced as by [`write_into`]; what is not a regular file, such as
/// a pipe, a terminal or /dev/null, is written to.
///
/// # Errors
/// When it cannot be written.
pub fn write_named(path: &Path, contents: &[u8]) -> Result<(), SaveError> {
    let write = || match (fs::metadata(path), fs::symlink_metadata(path)) {
        (Ok(found), _) if found.is_file() => {
            replace(&fs::canonicalize(path)?, |file| file.write_all(contents))
        }
        (Ok(_), _) => OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(contents),
        // A link to nothing.
        (Err(nothing), Ok(_)) => Err(nothing),
        (Err(_), Err(_)) => {
            fs::create_dir_all(folder_of(path))?;
            replace(path, |file| file.write_all(contents))
        }
    };
    write().map_err(SaveError::at(path))
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    let mut temporary = tempfile::Builder::new();
    temporary.prefix(".flopwatt-");
    if let Some(file) = nameless(folder) {
        fill(&file, write)?;
        let named = temporary.make_in(folder, |path| give_name(&file, path))?;
        named.persist(path).map_err(|e| e.error)?;
    } else {
        // Private unless told otherwise; a report is not.
        #[cfg(unix)]
        temporary.permissions(std::os::unix::fs::PermissionsExt::from_mode(MODE));
        let file = temporary.tempfile_in(folder)?;
        fill(file.as_file(), write)?;
        file.persist(path).map_err(|e| e.error)?;
    }
    sync_folder(folder)
}

/// The umask takes its part of this.
#[cfg(unix)]
const MODE: u32 = 0o666;

/// A file without a name, of which nothing is left however the program ends; none where
/// the file system has no such files.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.write(true).mode(MODE);
    options.custom_flags(rustix::fs::OFlags::TMPFILE.bits() as i32);
    // By which it gets its name.
    let file = options.open(folder).ok()?;
    Path::new("/proc/self/fd").is_dir().then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_folder: &Path) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn give_name(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, linkat};

    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn give_name(_file: &File, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn fill(file: &File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    buffer.flush()?;
    file.sync_all()
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
    let content = Content::of(&text, &report);
    Ok((report, content))
}

/// The file of a report, which is given by itself or its folder, and what it holds.
fn text(path: &Path) -> Result<(PathBuf, String), LoadError> {
    let (path, origin) = match path.is_dir() {
        true => (path.join(REPORT_FILE), Origin::Found),
        false => (path.to_owned(), Origin::Named),
    };
    match json_file::read(&path, LARGEST_REPORT, origin) {
        Ok(Some(text)) => Ok((path, text)),
        Ok(None) => Err(LoadError::TooLarge { path }),
        Err(cause) => Err(LoadError::Read { path, cause }),
    }
}

/// Parses the text of `path`, which is named in errors.
///
/// # Errors
/// When it is no report, one of another major version, one of too many values, or one
/// with a number that its field cannot be.
pub fn from_json(text: &str, path: &Path) -> Result<Report, LoadError> {
    let values = text.bytes().filter(|byte| *byte == b',').count();
    if values > MANY_VALUES && text.len() / values < BYTES_A_VALUE {
        return Err(LoadError::Parse {
            path: path.to_owned(),
            line: 1,
            column: 1,
            misfit: format!(
                "it holds {values} values of less than {BYTES_A_VALUE} bytes on average, which \
                 would take too much memory"
            ),
        });
    }
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
        write_into(folder.path(), "a.json", b"old").unwrap();
        let blocked = write_into(folder.path(), "a.json/b.json", b"new");
        let error = blocked.unwrap_err().to_string();
        assert!(error.contains("a.json"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    /// Where a pipe or a device would be replaced, others lose it.
    #[cfg(unix)]
    #[test]
    fn links_in_an_output_folder_are_neither_followed_nor_replaced() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let [out, other] = ["out", "other"].map(|name| folder.path().join(name));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("a.json"), "precious").unwrap();
        symlink(&other, out.join("charts")).unwrap();
        symlink(other.join("a.json"), out.join("a.json")).unwrap();
        symlink(other.join("nothing"), out.join("b.json")).unwrap();
        for name in ["charts/a.json", "charts/deep/a.json", "a.json", "b.json"] {
            let error = write_into(&out, name, b"new").unwrap_err().to_string();
            assert!(error.contains("neither followed nor replaced"), "{error}");
        }
        assert_eq!(fs::read(other.join("a.json")).unwrap(), b"precious");
        assert_eq!((files(&out), files(&other)), (3, 1));
        // The folder itself is one that a person has named.
        symlink(&other, folder.path().join("named")).unwrap();
        write_into(&folder.path().join("named"), "deep/a.json", b"new").unwrap();
        assert_eq!(fs::read(other.join("deep/a.json")).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_a_person_names_may_be_a_link_and_keeps_it() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let [target, link] = ["deep/target", "link"].map(|name| folder.path().join(name));
        write_named(&target, b"old").unwrap();
        symlink(&target, &link).unwrap();
        write_named(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::remove_file(&target).unwrap();
        let error = write_named(&link, b"new").unwrap_err().to_string();
        assert!(error.contains("link"), "{error}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    /// Most file systems have files without a name; both ways leave nothing behind.
    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let failed = stream_into(folder.path(), "a", |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        let error = failed.unwrap_err().to_string();
        assert!(error.ends_with("a: no more"), "{error}");
        assert_eq!(files(folder.path()), 0);
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
