//! What the readers of the kernel's files share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel shows its sensors.
pub const ROOT: &str = "/sys";

/// The number in the file at `path`, or why there is none.
pub fn number(path: &Path) -> Result<u64, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
    let number = text.trim().parse();
    number.map_err(|_| format!("{name} holds no number: {:?}", text.trim()))
}

fn unreadable(name: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{name} is readable by root only"),
        io::ErrorKind::NotFound => format!("{name} is missing"),
        _ => format!("{name} cannot be read: {error}"),
    }
}

/// What the folder holds, in the order of names; nothing where it cannot be
/// read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

/// The text of a one-line file.
pub fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_only_root_reads_says_so() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let reason = unreadable("energy_uj", &error);
        assert_eq!(reason, "energy_uj is readable by root only");
    }
}
