//! The datasheets in use: the built-in ones, and on top of them those of the user's
//! own files.

use std::io;
use std::path::{Path, PathBuf};

use super::catalogue::{self, Catalogue, Flaw, LoadError};
use crate::json_file::Origin;

/// Where users keep datasheets of their own, below their configuration folder.
const USER_FILE: &str = "flopwatt/datasheets.json";

/// All files of datasheets, and what they come to.
pub struct Installed {
    /// The datasheets of all files that have no flaw. A later file's datasheet takes
    /// the place of that with the same id.
    pub catalogue: Catalogue,
    /// The files, the built-in one first.
    pub files: Vec<Examined>,
    /// Why the user's own file is left out, where nobody can read it.
    pub unread: Option<LoadError>,
}

/// A file of datasheets that was looked at.
pub struct Examined {
    /// The file.
    pub file: PathBuf,
    /// What it holds; nothing where it is not in the format.
    pub catalogue: Option<Catalogue>,
    /// Everything that is wrong with it.
    pub flaws: Vec<Flaw>,
    /// Datasheets of earlier files whose place its own have taken.
    pub replaced: Vec<String>,
}

/// The user's own file, whether it is there or not; nothing where the user has no
/// configuration folder.
fn user_file() -> Option<PathBuf> {
    dirs::config_dir().map(|folder| folder.join(USER_FILE))
}

/// Whether an error says that there is no such file: a service may have /dev/null for
/// its home.
fn is_absence(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Installed {
    /// Looks at the built-in datasheets, at the user's own file if it can be read, and
    /// at `given`.
    ///
    /// # Errors
    /// When the given file cannot be read.
    pub fn examine(given: Option<&Path>) -> Result<Self, LoadError> {
        let builtin = Catalogue::builtin();
        let (text, file) = (Catalogue::BUILTIN_TEXT, Path::new(Catalogue::BUILTIN_FILE));
        let mut installed = Self {
            catalogue: builtin.clone(),
            files: vec![Examined {
                file: file.to_owned(),
                catalogue: Some(builtin.clone()),
                flaws: builtin.flaws(text, file, None),
                replaced: Vec::new(),
            }],
            unread: None,
        };
        if let Some(own) = user_file() {
            installed.unread = match installed.examine_file(&own, Origin::Found) {
                Err(LoadError::Read { source, .. }) if is_absence(&source) => None,
                examined => examined.err(),
            };
        }
        if let Some(given) = given {
            installed.examine_file(given, Origin::Named)?;
        }
        Ok(installed)
    }

    fn examine_file(&mut self, path: &Path, origin: Origin) -> Result<(), LoadError> {
        let text = catalogue::read(path, origin)?;
        let mut examined = Examined {
            file: path.to_owned(),
            catalogue: None,
            flaws: Vec::new(),
            replaced: Vec::new(),
        };
        match Catalogue::parse(&text, path) {
            Ok(catalogue) => {
                examined.flaws = catalogue.flaws(&text, path, Some(&self.catalogue));
                if examined.flaws.is_empty() {
                    examined.replaced = self.catalogue.add(catalogue.clone());
                }
                examined.catalogue = Some(catalogue);
            }
            Err(flaw) => examined.flaws.push(flaw),
        }
        self.files.push(examined);
        Ok(())
    }

    /// The same, if no file has a flaw.
    ///
    /// # Errors
    /// The first flaw.
    pub fn sound(self) -> Result<Self, LoadError> {
        let flaw = self.files.iter().find_map(|file| file.flaws.first());
        match flaw {
            Some(flaw) => Err(flaw.clone().into()),
            None => Ok(self),
        }
    }
}
