//! What an adapter offers, as far as the catalogue has to know.

use crate::units::Bytes;

use super::program::Program;

/// Limits and features that decide which programs an adapter can run, and how
/// large a case should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    /// A CPU pretending to be a GPU: shapes and lane counts are kept small.
    pub software: bool,
    /// Largest buffer that may be bound as storage.
    pub max_storage_binding: Bytes,
    /// Largest buffer.
    pub max_buffer: Bytes,
    /// Workgroup memory of one workgroup.
    pub max_workgroup_memory: Bytes,
    /// Invocations of one workgroup.
    pub max_workgroup_invocations: u32,
    /// Workgroups along one dimension of a dispatch.
    pub max_workgroups_per_dimension: u32,
    /// Size of the last-level cache where it is known.
    pub last_level_cache: Option<Bytes>,
}

/// Why an adapter cannot run a case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A buffer exceeds what the adapter lets a shader bind.
    #[error("needs {} MiB, adapter allows {} MiB", .needed.mebibytes_ceil(), .allowed.0 >> 20)]
    Memory {
        /// Size of the largest buffer.
        needed: Bytes,
        /// The adapter's limit on one buffer.
        allowed: Bytes,
    },
    /// A dispatch exceeds the adapter's grid.
    #[error("needs {needed} workgroups along one dimension, adapter allows {allowed}")]
    Grid {
        /// Workgroups along the largest dimension.
        needed: u32,
        /// The adapter's limit.
        allowed: u32,
    },
    /// The kernel does not handle such shapes.
    #[error("needs {0}")]
    Shape(String),
}

impl Capabilities {
    /// An adapter without limits worth naming, for tests that need none.
    #[cfg(test)]
    pub fn generous() -> Self {
        Self {
            software: false,
            max_storage_binding: Bytes(1 << 32),
            max_buffer: Bytes(1 << 32),
            max_workgroup_memory: Bytes(32 << 10),
            max_workgroup_invocations: 1024,
            max_workgroups_per_dimension: 65_535,
            last_level_cache: None,
        }
    }

    /// Whether the adapter's limits admit `program`.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn admit(&self, program: &Program) -> Result<(), Unfit> {
        let allowed = self.max_storage_binding.min(self.max_buffer);
        let needed = program.buffers.iter().map(|b| b.size).max();
        if let Some(needed) = needed.filter(|&n| n > allowed) {
            return Err(Unfit::Memory { needed, allowed });
        }
        let grid = program.passes.iter().flat_map(|p| p.workgroups).max();
        match grid.filter(|&g| g > self.max_workgroups_per_dimension) {
            Some(needed) => Err(Unfit::Grid {
                needed,
                allowed: self.max_workgroups_per_dimension,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::shape::Shape;
    use crate::kernel::{BuildError, CATALOGUE};

    #[test]
    fn a_case_that_does_not_fit_says_what_it_needs_and_what_there_is() {
        let small = Capabilities {
            max_storage_binding: Bytes(1 << 20),
            ..Capabilities::generous()
        };
        let kernel = CATALOGUE.iter().find(|k| k.variant == "naive").unwrap();
        let shape = Shape::parse(kernel.operation, "1024x1024x1024").unwrap();
        let refused = kernel.candidates(shape, &small).unwrap_err();
        assert!(matches!(refused, BuildError::Unfit(_)));
        assert_eq!(refused.to_string(), "needs 4 MiB, adapter allows 1 MiB");

        let flat = Shape::parse(kernel.operation, "2000000x1x1").unwrap();
        let refused = kernel
            .candidates(flat, &Capabilities::generous())
            .unwrap_err();
        assert!(
            refused.to_string().contains("125000 workgroups"),
            "{refused}"
        );
    }
}
