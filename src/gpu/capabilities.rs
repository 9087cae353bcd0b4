//! What the catalogue has to know of an adapter.

use std::fs;
use std::path::Path;

use super::adapter::AdapterDescription;
use crate::kernel::capabilities::{Capabilities, Features};
use crate::units::Bytes;

impl From<&AdapterDescription> for Capabilities {
    fn from(adapter: &AdapterDescription) -> Self {
        let software = adapter.is_software();
        let limits = &adapter.limits;
        Self {
            software,
            max_storage_binding: limits.max_storage_binding,
            max_buffer: limits.max_buffer_size,
            max_workgroup_memory: limits.max_workgroup_memory,
            max_workgroup_invocations: limits.max_workgroup_invocations,
            max_workgroups_per_dimension: limits.max_workgroups_per_dimension,
            max_texture_dimension: limits.max_texture_dimension,
            // A software adapter computes on the CPU, whose caches are known.
            last_level_cache: software
                .then(|| cpu_cache(Path::new("/sys/devices/system/cpu/cpu0/cache")))
                .flatten(),
            features: Features {
                f16: adapter.features.f16,
                f64: adapter.features.f64,
                int64: adapter.features.int64,
                subgroup: adapter
                    .subgroup_min_size
                    .zip(adapter.subgroup_max_size)
                    .map(Into::into),
                cooperative: adapter.features.cooperative_matrix.clone(),
            },
        }
    }
}

/// The largest cache under a folder of Linux's cache descriptions.
fn cpu_cache(folder: &Path) -> Option<Bytes> {
    let sizes = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let text = fs::read_to_string(entry.ok()?.path().join("size")).ok()?;
        let kib: u64 = text.trim().strip_suffix('K')?.parse().ok()?;
        Some(Bytes(kib << 10))
    });
    sizes.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cpu_cache_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for (index, size) in [
            ("index0", "32K\n"),
            ("index3", "32768K\n"),
            ("index2", "1024K\n"),
        ] {
            fs::create_dir(folder.path().join(index)).unwrap();
            fs::write(folder.path().join(index).join("size"), size).unwrap();
        }
        assert_eq!(cpu_cache(folder.path()), Some(Bytes(32 << 20)));
        assert_eq!(cpu_cache(&folder.path().join("nowhere")), None);
    }
}
