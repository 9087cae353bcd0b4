//! Choices that outlive a run, one file an adapter, driver, set of templates and
//! version of the program.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Tuning;
use crate::gpu::adapter::AdapterDescription;
use crate::gpu::device::ShaderMode;
use crate::json_file::{self, Origin};
use crate::kernel::id::CaseId;
use crate::kernel::template::Templates;
use crate::kernel::{Candidates, Kernel};
use crate::units::Bytes;

/// Larger files are none of ours.
const LARGEST_FILE: Bytes = Bytes(16 << 20);

/// All that a choice depends on besides the problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    adapter: String,
    backend: String,
    device: String,
    driver: String,
    shader_hash: String,
    shader_mode: ShaderMode,
    flopwatt_version: String,
}

impl Key {
    /// The key of an adapter and how its shaders are made.
    pub fn new(adapter: &AdapterDescription, templates: &Templates, mode: ShaderMode) -> Self {
        Self {
            adapter: adapter.name.clone(),
            backend: adapter.backend.to_string(),
            device: format!("{:04x}:{:04x}", adapter.vendor_id, adapter.device_id),
            driver: adapter.driver_and_version(),
            shader_hash: templates.hash().to_owned(),
            shader_mode: mode,
            flopwatt_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// A file name that differs whenever the key does.
    fn file_name(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        let hash = Sha256::digest(text.as_bytes());
        let short: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("{short}.json")
    }
}

/// A cache that is not used; choices are made afresh.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file cannot be read.
    #[error("cannot read the tuning cache {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file is damaged, or of another program.
    #[error("ignoring the tuning cache {}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A choice is none for its case.
    #[error(
        "ignoring a choice in the tuning cache {}: it names no program for {id} on this adapter",
        path.display()
    )]
    Unfit {
        /// The file.
        path: PathBuf,
        /// The case.
        id: String,
    },
}

/// Choices of earlier runs.
#[derive(Debug)]
pub struct Cache {
    path: Option<PathBuf>,
    contents: Contents,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    key: Key,
    tunings: Vec<Tuning>,
}

impl Cache {
    /// The cache of `key` in the user's cache directory; empty where there is
    /// none yet. A broken file is no reason not to measure, so it comes as a
    /// warning beside an empty cache. One that cannot be read is not written either.
    pub fn open(key: Key) -> (Self, Option<CacheError>) {
        Self::open_in(
            dirs::cache_dir().map(|dir| dir.join("flopwatt").join("tuning")),
            key,
        )
    }

    /// A cache that holds nothing and keeps nothing.
    #[cfg(test)]
    pub fn none() -> Self {
        let nothing = serde_json::json!({
            "adapter": "", "backend": "", "device": "", "driver": "", "shader_hash": "",
            "shader_mode": "unchecked", "flopwatt_version": "",
        });
        let key = serde_json::from_value(nothing).expect("a key");
        Self::open_in(None, key).0
    }

    fn open_in(folder: Option<PathBuf>, key: Key) -> (Self, Option<CacheError>) {
        let path = folder.map(|folder| folder.join(key.file_name()));
        let (tunings, warning) = match path.as_deref().map(|path| read(path, &key)) {
            None => (Vec::new(), None),
            Some(Ok(tunings)) => (tunings, None),
            Some(Err(error)) => (Vec::new(), Some(error)),
        };
        let path = path.filter(|_| !matches!(warning, Some(CacheError::Read { .. })));
        let contents = Contents { key, tunings };
        (Self { path, contents }, warning)
    }

    /// What its choices depend on besides the problem.
    pub fn key(&self) -> &Key {
        &self.contents.key
    }

    /// The choice made for the class of `id`'s shape, if one was.
    ///
    /// # Errors
    /// When what was chosen is none of the `programs` that kernels have for `id`.
    pub fn find(
        &self,
        id: &CaseId,
        programs: &dyn Fn(&Kernel) -> Candidates,
    ) -> Result<Option<Tuning>, CacheError> {
        let found = self.contents.tunings.iter().find(|t| t.covers(id));
        let Some(tuning) = found else { return Ok(None) };
        if !tuning.is_a_program(id, programs) {
            return Err(CacheError::Unfit {
                path: self.path.clone().unwrap_or_default(),
                id: id.to_string(),
            });
        }
        Ok(Some(Tuning {
            cached: true,
            ..tuning.clone()
        }))
    }

    /// Keeps nothing from now on: nobody wants to be told of every choice that its place
    /// cannot be written to.
    pub fn forget_place(&mut self) {
        self.path = None;
    }

    /// Keeps a choice in place of an earlier one for the same class. A choice of
    /// nothing is not kept: the next run may do better.
    pub fn insert(&mut self, tuning: &Tuning) {
        let tunings = &mut self.contents.tunings;
        tunings.retain(|known| known.class() != tuning.class());
        if tuning.chosen.is_some() {
            tunings.push(tuning.clone());
        }
    }

    /// The cache's text and where it belongs; `None` where this user has no
    /// cache directory.
    pub fn to_file(&self) -> Option<(&Path, String)> {
        let text = serde_json::to_string_pretty(&self.contents).ok()?;
        Some((self.path.as_deref()?, text + "\n"))
    }
}

fn read(path: &Path, key: &Key) -> Result<Vec<Tuning>, CacheError> {
    let unread = |cause| CacheError::Read {
        path: path.to_owned(),
        cause,
    };
    let damaged = |why: String| CacheError::Damaged {
        path: path.to_owned(),
        why,
    };
    let text = match json_file::read(path, LARGEST_FILE, Origin::Found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
        Ok(None) => return Err(damaged("it is too large".into())),
        Ok(Some(text)) => text,
    };
    let contents: Contents =
        serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if contents.key != *key {
        return Err(damaged("it is of another adapter or driver".into()));
    }
    if let Some(odd) = contents.tunings.iter().find(|t| !t.is_consistent()) {
        let what = format!("{}/{} {}", odd.operation, odd.precision, odd.shape_class);
        return Err(damaged(format!(
            "its choice for {what} is not the fastest of its candidates"
        )));
    }
    Ok(contents.tunings)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::kernel::Choice;
    use crate::kernel::capabilities::Capabilities;
    use crate::tune::Tried;
    use crate::units::{Gflops, Seconds};

    fn key(driver: &str) -> Key {
        Key {
            adapter: "a".into(),
            backend: "vulkan".into(),
            device: "0000:0000".into(),
            driver: driver.into(),
            shader_hash: "h".into(),
            shader_mode: ShaderMode::Unchecked,
            flopwatt_version: "0".into(),
        }
    }

    /// A choice of the kernel's first program, the only one that was tried.
    fn tuning(id: &CaseId, variant: Option<&str>) -> Tuning {
        let chosen = variant.map(|variant| {
            let kernel = Kernel::find(&id.with_variant(variant)).unwrap();
            Choice {
                variant: variant.into(),
                parameters: programs(kernel, id).unwrap()[0].parameters.clone(),
            }
        });
        let tried = chosen.iter().map(|choice| Tried {
            variant: choice.variant.clone(),
            parameters: choice.parameters.clone(),
            gflops: Some(Gflops(1.0)),
            reason: None,
        });
        Tuning {
            operation: id.operation,
            precision: id.precision,
            shape_class: super::super::shape_class(id.shape),
            shape: id.shape.to_string(),
            candidates: tried.collect(),
            chosen,
            took_s: Seconds(1.0),
            budget_s: super::super::BUDGET,
            cached: false,
        }
    }

    fn programs(kernel: &Kernel, id: &CaseId) -> Candidates {
        kernel.candidates(id.shape, &Capabilities::generous(), Templates::builtin())
    }

    fn find(cache: &Cache, id: &CaseId) -> Option<Tuning> {
        cache.find(id, &|kernel| programs(kernel, id)).unwrap()
    }

    fn case(id: &str) -> CaseId {
        id.parse().unwrap()
    }

    fn save(cache: &Cache) {
        let (path, text) = cache.to_file().unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_choice_is_found_again_for_its_class_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let open = |driver| Cache::open_in(Some(folder.path().to_owned()), key(driver));
        let (mut cache, warning) = open("1");
        assert!(warning.is_none());
        let id = case("matmul/f32/best/1024x1024x1024");
        assert_eq!(find(&cache, &id), None);
        cache.insert(&tuning(&id, Some("register")));
        cache.insert(&tuning(&id, Some("workgroup")));
        save(&cache);

        let (again, warning) = open("1");
        assert!(warning.is_none());
        let found = find(&again, &case("matmul/f32/best/2000x1500x1028")).unwrap();
        assert!(found.cached);
        assert_eq!(found.chosen.unwrap().variant, "workgroup", "the later one");
        assert_eq!(find(&again, &case("matmul/f32/best/512x512x512")), None);
        assert_eq!(find(&again, &case("matmul/f16/best/1024x1024x1024")), None);
        assert_eq!(find(&open("2").0, &id), None, "another driver");
    }

    #[test]
    fn a_choice_of_nothing_is_not_kept() {
        let (mut cache, _) = Cache::open_in(None, key("1"));
        let id = case("matmul/f32/best/1024x1024x1024");
        cache.insert(&tuning(&id, Some("register")));
        cache.insert(&tuning(&id, None));
        assert_eq!(find(&cache, &id), None);
        assert!(cache.to_file().is_none(), "nowhere to keep it");
    }

    /// Whoever opens a pipe waits for somebody to write to it.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_a_warning_and_an_empty_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(key("1").file_name());
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
        let (cache, warning) = Cache::open_in(Some(folder.path().into()), key("1"));
        let warning = warning.unwrap().to_string();
        assert!(warning.ends_with("it is not a regular file"), "{warning}");
        assert!(cache.contents.tunings.is_empty());
    }

    #[test]
    fn a_broken_file_is_a_warning_and_an_empty_cache() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Cache::open_in(Some(folder.path().to_owned()), key("1"));
        let id = case("matmul/f32/best/1024x1024x1024");
        let (mut cache, _) = open();
        cache.insert(&tuning(&id, Some("register")));
        save(&cache);
        let (path, text) = cache.to_file().unwrap();
        let other = text.replace("\"driver\": \"1\"", "\"driver\": \"2\"");
        for broken in ["", "{", "[]", "null", &text[..text.len() / 2], &other] {
            fs::write(path, broken).unwrap();
            let (cache, warning) = open();
            let warning = warning.expect("a warning").to_string();
            assert!(warning.contains("ignoring"), "{warning}");
            assert_eq!(find(&cache, &id), None);
        }
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        let (cache, warning) = open();
        assert!(warning.unwrap().to_string().contains("cannot read"));
        assert!(cache.to_file().is_none(), "it is not written either");
    }

    /// `tests/tune.rs` edits what was tried as well.
    #[test]
    fn a_choice_that_is_not_the_fastest_was_edited() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Cache::open_in(Some(folder.path().to_owned()), key("1"));
        let id = case("matmul/f32/best/1024x1024x1024");
        let (mut cache, _) = open();
        let naive = tuning(&id, Some("naive"));
        let mut good = tuning(&id, Some("register"));
        good.candidates.extend(naive.candidates.clone());
        good.candidates[0].gflops = Some(Gflops(2.0));
        let slower = Tuning {
            chosen: naive.chosen,
            ..good.clone()
        };
        let mut unknown = good.clone();
        unknown.chosen.as_mut().unwrap().variant = "abacus".into();
        let mut never_tried = good.clone();
        never_tried.candidates.clear();
        for inconsistent in [slower, unknown, never_tried] {
            cache.insert(&inconsistent);
            save(&cache);
            let (cache, warning) = open();
            let warning = warning.expect("a warning").to_string();
            assert!(warning.contains("not the fastest of its"), "{warning}");
            assert_eq!(find(&cache, &id), None);
        }
    }
}
