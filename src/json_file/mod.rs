//! Files that others have written: opened without waiting for what is no file, read
//! with a limit on their size, and with errors that tell the line and the field.

pub(crate) mod position;
pub(crate) mod range;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::console::shortened;
use crate::units::Bytes;

/// The longest path of a field, in characters. A file that is nested a thousand deep
/// has a longer one, behind which nobody would find what is wrong.
const LONGEST_FIELD: usize = 200;
/// The longest that is said of it: a list of all names that a field can have is
/// shorter, and the name that it has may be of any length.
const LONGEST_PROBLEM: usize = 600;

/// The longest id of a datasheet or a workload, in bytes: messages and tables show it.
const LONGEST_ID: usize = 200;

/// What is wrong with the id of a datasheet or a workload by itself; nothing where it can
/// be one.
pub(crate) fn fault_of_id(id: &str) -> Option<String> {
    if id.trim().is_empty() {
        return Some("an id must not be empty".to_owned());
    }
    (id.len() > LONGEST_ID).then(|| format!("an id has at most {LONGEST_ID} bytes"))
}

/// How a file came to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A person named it, and it may be a pipe or a device.
    Named,
    /// It lies where flopwatt looks. Whoever can write there could put a pipe that
    /// nobody writes to in its place: only a regular file is read.
    Found,
}

/// Opens a file for reading.
///
/// # Errors
/// When it cannot be opened, or is no regular file although it was found.
fn open(path: &Path, origin: Origin) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    if origin == Origin::Found {
        use std::os::unix::fs::OpenOptionsExt;
        // Opening a pipe would wait for somebody who writes to it.
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let file = options.open(path)?;
    // Asked of what is open: the path may lead elsewhere by now.
    if origin == Origin::Found && !file.metadata()?.is_file() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(kind, "it is not a regular file"));
    }
    Ok(file)
}

/// The text of a file; `None` where it is larger than `limit`.
///
/// # Errors
/// When it cannot be opened or read, or is no text.
pub(crate) fn read(path: &Path, limit: Bytes, origin: Origin) -> io::Result<Option<String>> {
    let file = open(path, origin)?;
    if file.metadata()?.len() > limit.0 {
        return Ok(None);
    }
    // Devices and pipes have no length.
    let mut bytes = Vec::new();
    file.take(limit.0 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit.0 {
        return Ok(None);
    }
    let text = String::from_utf8(bytes);
    text.map(Some)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Where a text does not fit the types that it is read into.
pub(crate) struct Misfit {
    /// The byte just behind it.
    pub end: usize,
    /// The path of the field; empty for the document itself.
    pub field: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.problem),
            field => write!(f, "{field}: {}", self.problem),
        }
    }
}

impl Misfit {
    /// Its line and column in `text`, counted from one.
    pub(crate) fn line_and_column(&self, text: &str) -> (usize, usize) {
        position::line_and_column(text, self.end.saturating_sub(1))
    }

    /// What serde_json says of `text`, with the field added and its own words on the
    /// place taken off.
    pub(crate) fn of(text: &str, error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let problem = message.rsplit_once(" at line ");
        let problem = problem.map_or(message.as_str(), |(problem, _)| problem);
        let end = position::offset_from(text, error.line(), error.column());
        Self {
            end,
            field: shortened(&position::path_at(text, end), LONGEST_FIELD).into_owned(),
            problem: shortened(problem, LONGEST_PROBLEM).into_owned(),
        }
    }
}

/// Reads a map in which a key that occurs twice is an error; serde itself keeps
/// the last value.
pub(crate) fn without_duplicates<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct Unique<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Unique<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom("this key occurs more than once"));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_end_leaves_room_for_what_is_wrong() {
        let text = "[".repeat(100_000);
        let error = serde_json::from_str::<serde::de::IgnoredAny>(&text).unwrap_err();
        let said = Misfit::of(&text, &error).to_string();
        assert!(said.starts_with("[0][0]"), "{said}");
        assert!(said.ends_with("[0]: EOF while parsing a list"), "{said}");
        assert!(said.chars().count() < 250, "{said}");
    }
}
