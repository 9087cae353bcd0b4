//! Which shaders a run was made of.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gpu::device::ShaderMode;
use crate::kernel::template::{FolderError, Templates};

/// The templates of a run, and how what they render is compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shaders {
    /// The templates' folder; `null` for those built into the program.
    pub folder: Option<PathBuf>,
    /// SHA-256 over the templates' names and texts.
    pub hash: String,
    /// Whether shaders run with bounds and loop checks.
    pub mode: ShaderMode,
}

/// Templates that are not those of the report.
#[derive(Debug, thiserror::Error)]
pub enum ShadersError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A template was edited while a run was using it.
    #[error("the templates in {} have changed since the run began", .0.display())]
    Changed(PathBuf),
}

impl Shaders {
    /// The templates of `folder`, or the built-in ones.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn new(folder: Option<PathBuf>, mode: ShaderMode) -> Result<Self, FolderError> {
        let hash = Templates::of(folder.as_deref())?.hash().to_owned();
        Ok(Self { folder, hash, mode })
    }

    /// The templates themselves.
    ///
    /// # Errors
    /// When they cannot be read, or are no longer the same.
    pub fn load(&self) -> Result<Arc<Templates>, ShadersError> {
        let templates = Templates::of(self.folder.as_deref())?;
        match &self.folder {
            Some(folder) if templates.hash() != self.hash => {
                Err(ShadersError::Changed(folder.clone()))
            }
            _ => Ok(templates),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_that_change_during_a_run_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.wgsl.jinja");
        std::fs::write(&file, "before").unwrap();
        let mode = ShaderMode::Unchecked;
        let shaders = Shaders::new(Some(folder.path().to_owned()), mode).unwrap();
        assert!(shaders.load().is_ok());
        std::fs::write(&file, "after").unwrap();
        let error = shaders.load().unwrap_err().to_string();
        assert!(error.contains("have changed"), "{error}");
        assert!(Shaders::new(None, mode).unwrap().load().is_ok());
    }
}
