//! The datasheets that a verb goes by.

use std::path::PathBuf;

use crate::commands::setup::say;
use crate::datasheet::{Catalogue, Installed, LoadError};

/// The option that adds to them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DatasheetFile {
    /// Add the datasheets of this file to the built-in ones and to those of the user's
    /// own file, flopwatt/datasheets.json in the configuration folder. Of datasheets
    /// with one id the last one counts
    #[arg(long, value_name = "FILE")]
    datasheets: Option<PathBuf>,
}

impl DatasheetFile {
    /// Looks at every file; says on standard error why the user's own is left out, if it
    /// is.
    ///
    /// # Errors
    /// When the given one cannot be read.
    pub fn examine(&self) -> Result<Installed, LoadError> {
        let mut installed = Installed::examine(self.datasheets.as_deref())?;
        if let Some(why) = installed.unread.take() {
            let why = anyhow::Error::from(why);
            say(format!(
                "warning: your own datasheets are left out: {why:#}"
            ));
        }
        Ok(installed)
    }

    /// All datasheets; says on standard error whose place others have taken.
    ///
    /// # Errors
    /// When the given file cannot be read, or something is wrong with one.
    pub fn load(&self) -> Result<Catalogue, LoadError> {
        let installed = self.examine()?.sound()?;
        for file in &installed.files {
            for id in &file.replaced {
                say(format!(
                    "note: {} replaces the datasheet `{id}`",
                    file.file.display()
                ));
            }
        }
        Ok(installed.catalogue)
    }
}
