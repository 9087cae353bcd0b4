//! What an adapter offers, as far as the catalogue has to know.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

use super::element::Element;
use super::program::Program;
use super::shader::Footprint;

/// Limits and features that decide which programs an adapter can run, and how
/// large a case should be.
#[derive(Clone, Debug, PartialEq)]
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
    /// Texels on a side of a two-dimensional texture.
    pub max_texture_dimension: u32,
    /// Size of the last-level cache where it is known.
    pub last_level_cache: Option<Bytes>,
    /// Optional abilities.
    pub features: Features,
}

/// Optional abilities that some kernels need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// 16-bit floats.
    pub f16: bool,
    /// 64-bit floats.
    pub f64: bool,
    /// 64-bit integers.
    pub int64: bool,
    /// Subgroup operations, and the fewest and most lanes of a subgroup.
    pub subgroup: Option<[u32; 2]>,
    /// Shapes of cooperative matrices.
    pub cooperative: Vec<CooperativeShape>,
}

/// Sides of the cooperative matrices that WGSL has types for.
const COOPERATIVE_SIDES: [u32; 2] = [8, 16];

/// One supported cooperative matrix product, C += A·B.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct CooperativeShape {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A and rows of B.
    pub k: u32,
    /// Element type of A and B.
    pub ab: Scalar,
    /// Element type of C and of the result.
    pub cr: Scalar,
}

impl fmt::Display for CooperativeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, n, k, ab, cr } = self;
        write!(f, "{m}x{n}x{k} {ab}→{cr}")
    }
}

/// Element type of a cooperative matrix.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// 16-bit float.
    F16,
    /// 32-bit float.
    F32,
    /// 32-bit signed integer.
    I32,
    /// 32-bit unsigned integer.
    U32,
}

impl Scalar {
    fn is(self, element: Element) -> bool {
        match self {
            Self::F16 => element == Element::F16,
            Self::F32 => element == Element::F32,
            Self::I32 => element == Element::I32,
            Self::U32 => false,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::U32 => "u32",
        })
    }
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
    /// A texture is larger than the adapter's.
    #[error("needs {needed} texels on a side of a texture, adapter allows {allowed}")]
    Texture {
        /// Texels on the longest side.
        needed: u32,
        /// The adapter's limit.
        allowed: u32,
    },
    /// A workgroup shares more memory than the adapter has for it.
    #[error("needs {} bytes of workgroup memory, adapter allows {}", .needed.0, .allowed.0)]
    WorkgroupMemory {
        /// What the largest workgroup shares.
        needed: Bytes,
        /// The adapter's limit.
        allowed: Bytes,
    },
    /// A workgroup has more invocations than the adapter runs.
    #[error("needs {needed} invocations in a workgroup, adapter allows {allowed}")]
    Invocations {
        /// Invocations of the largest workgroup.
        needed: u32,
        /// The adapter's limit.
        allowed: u32,
    },
    /// The adapter lacks an optional ability.
    #[error("needs {0}")]
    Feature(String),
    /// The kernel does not handle such shapes.
    #[error("needs {0}")]
    Shape(String),
}

impl Capabilities {
    /// An adapter that can do all that the catalogue knows to use, with the limits
    /// of a large GPU: for looking at shaders where there is no adapter.
    pub fn imaginary() -> Self {
        let formats = [
            (Scalar::F32, Scalar::F32),
            (Scalar::F16, Scalar::F16),
            (Scalar::F16, Scalar::F32),
        ];
        let squares = |side| {
            formats.map(|(ab, cr)| CooperativeShape {
                m: side,
                n: side,
                k: side,
                ab,
                cr,
            })
        };
        Self {
            software: false,
            max_storage_binding: Bytes(4 << 30),
            max_buffer: Bytes(4 << 30),
            max_workgroup_memory: Bytes(48 << 10),
            max_workgroup_invocations: 1024,
            max_workgroups_per_dimension: 65_535,
            max_texture_dimension: 16_384,
            last_level_cache: None,
            features: Features {
                f16: true,
                f64: true,
                int64: true,
                subgroup: Some([32, 32]),
                cooperative: [8, 16].into_iter().flat_map(squares).collect(),
            },
        }
    }

    /// An adapter without limits worth naming or optional abilities, for tests.
    #[cfg(test)]
    pub fn generous() -> Self {
        Self {
            features: Features::default(),
            ..Self::imaginary()
        }
    }

    /// Whether the adapter's limits admit `program`, whose workgroups leave these
    /// footprints.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn admit(&self, program: &Program, footprints: &[Footprint]) -> Result<(), Unfit> {
        let allowed = self.max_storage_binding.min(self.max_buffer);
        let storage = program
            .buffers
            .iter()
            .filter(|b| b.longest_side().is_none());
        let needed = storage.map(|b| b.size).max();
        if let Some(needed) = needed.filter(|&n| n > allowed) {
            return Err(Unfit::Memory { needed, allowed });
        }
        let allowed = self.max_texture_dimension;
        let sides = program.buffers.iter().filter_map(|b| b.longest_side());
        if let Some(needed) = sides.max().filter(|&n| n > allowed) {
            return Err(Unfit::Texture { needed, allowed });
        }
        let allowed = self.max_workgroups_per_dimension;
        let grid = program.passes.iter().flat_map(|p| p.workgroups).max();
        if let Some(needed) = grid.filter(|&n| n > allowed) {
            return Err(Unfit::Grid { needed, allowed });
        }
        let allowed = self.max_workgroup_invocations;
        let needed = footprints.iter().map(|f| f.invocations).max();
        if let Some(needed) = needed.filter(|&n| n > allowed) {
            return Err(Unfit::Invocations { needed, allowed });
        }
        let allowed = self.max_workgroup_memory;
        let needed = footprints.iter().map(|f| f.workgroup_memory).max();
        if let Some(needed) = needed.filter(|&n| n > allowed) {
            return Err(Unfit::WorkgroupMemory { needed, allowed });
        }
        Ok(())
    }

    /// Whether the adapter can hold and compute with `element`.
    ///
    /// # Errors
    /// The missing ability, by the name of wgpu's feature.
    pub fn need_element(&self, element: Element) -> Result<(), Unfit> {
        let missing = match element {
            Element::F16 if !self.features.f16 => "SHADER_F16",
            Element::F64 if !self.features.f64 => "SHADER_F64",
            _ => return Ok(()),
        };
        Err(Unfit::Feature(missing.into()))
    }

    /// Lanes of a subgroup, where every subgroup has the same number: kernels
    /// that pass values between lanes are written for one.
    ///
    /// # Errors
    /// When there are no subgroup operations, or subgroups come in several sizes
    /// (WGSL cannot choose among them).
    pub fn need_subgroup(&self) -> Result<u32, Unfit> {
        match self.features.subgroup {
            Some([min, max]) if min == max => Ok(max),
            Some([min, max]) => Err(Unfit::Feature(format!(
                "subgroups of one size, adapter has {min} to {max} lanes"
            ))),
            None => Err(Unfit::Feature("SUBGROUP".into())),
        }
    }

    /// Sides of the square cooperative matrices that multiply `ab` and add up in
    /// `cr`, smallest first, and the fewest and most lanes of the subgroups that
    /// hold them.
    ///
    /// # Errors
    /// The missing ability, by the name of wgpu's feature, or the missing shapes
    /// and formats and what the adapter has instead.
    pub fn need_cooperative(
        &self,
        ab: Element,
        cr: Element,
    ) -> Result<(Vec<u32>, [u32; 2]), Unfit> {
        let Features {
            subgroup,
            cooperative,
            ..
        } = &self.features;
        let missing = |name: &str| Unfit::Feature(name.into());
        if cooperative.is_empty() {
            return Err(missing("cooperative matrices"));
        }
        let lanes = subgroup.ok_or_else(|| missing("SUBGROUP"))?;
        let listed = |side: &u32| {
            let square = |s: &CooperativeShape| [s.m, s.n, s.k] == [*side; 3];
            let mut shapes = cooperative.iter().filter(|shape| square(shape));
            shapes.any(|shape| shape.ab.is(ab) && shape.cr.is(cr))
        };
        let sides: Vec<u32> = COOPERATIVE_SIDES.into_iter().filter(listed).collect();
        if sides.is_empty() {
            let has: Vec<String> = cooperative.iter().map(ToString::to_string).collect();
            return Err(Unfit::Feature(format!(
                "cooperative matrices 8x8x8 or 16x16x16 {}→{}, adapter has {}",
                ab.wgsl(),
                cr.wgsl(),
                has.join(", ")
            )));
        }
        Ok((sides, lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Operation;
    use crate::kernel::shape::Shape;
    use crate::kernel::template::Templates;
    use crate::kernel::{BuildError, CATALOGUE};

    #[test]
    fn a_case_that_does_not_fit_says_what_it_needs_and_what_there_is() {
        let small = Capabilities {
            max_storage_binding: Bytes(1 << 20),
            ..Capabilities::generous()
        };
        let kernel = CATALOGUE.iter().find(|k| k.variant == "naive").unwrap();
        let shape = Shape::parse(kernel.operation, "1024x1024x1024").unwrap();
        let templates = Templates::builtin();
        let refused = kernel.candidates(shape, &small, templates).unwrap_err();
        assert!(matches!(refused, BuildError::Unfit(_)));
        assert_eq!(refused.to_string(), "needs 4 MiB, adapter allows 1 MiB");

        let flat = Shape::parse(kernel.operation, "2000000x1x1").unwrap();
        let refused = kernel
            .candidates(flat, &Capabilities::generous(), templates)
            .unwrap_err();
        assert!(
            refused.to_string().contains("125000 workgroups"),
            "{refused}"
        );
    }

    #[test]
    fn workgroups_that_are_too_large_are_refused() {
        let tight = Capabilities {
            max_workgroup_invocations: 64,
            ..Capabilities::generous()
        };
        let refusal = |variant, capabilities: &Capabilities| {
            let kernel = CATALOGUE
                .iter()
                .find(|k| k.operation == Operation::Matmul && k.variant == variant)
                .unwrap();
            let shape = Shape::parse(kernel.operation, "64x64x64").unwrap();
            let refused = kernel.candidates(shape, capabilities, Templates::builtin());
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            refusal("naive", &tight),
            "needs 256 invocations in a workgroup, adapter allows 64"
        );
        // Two tiles of 16×16 float32 are 2 KiB.
        let tight = Capabilities {
            max_workgroup_memory: Bytes(1024),
            ..Capabilities::generous()
        };
        assert_eq!(
            refusal("workgroup", &tight),
            "needs 2048 bytes of workgroup memory, adapter allows 1024"
        );
    }

    #[test]
    fn missing_abilities_are_named() {
        let mut capabilities = Capabilities::generous();
        let missing = capabilities.need_element(Element::F16).unwrap_err();
        assert_eq!(missing.to_string(), "needs SHADER_F16");
        assert_eq!(capabilities.need_element(Element::F32), Ok(()));
        let missing = capabilities.need_subgroup().unwrap_err();
        assert_eq!(missing.to_string(), "needs SUBGROUP");
        capabilities.features.subgroup = Some([8, 32]);
        let mixed = capabilities.need_subgroup().unwrap_err();
        assert!(mixed.to_string().ends_with("8 to 32 lanes"), "{mixed}");
        capabilities.features.subgroup = Some([32, 32]);
        assert_eq!(capabilities.need_subgroup(), Ok(32));
    }

    #[test]
    fn cooperative_matrices_are_square_and_of_the_very_formats() {
        let mut capabilities = Capabilities::generous();
        let needed = |capabilities: &Capabilities, ab, cr| {
            let needed = capabilities.need_cooperative(ab, cr);
            needed.map_err(|unfit| unfit.to_string())
        };
        let missing = needed(&capabilities, Element::F16, Element::F32);
        let name = "needs cooperative matrices";
        assert_eq!(missing, Err(name.to_owned()));
        let shape = |n, cr| CooperativeShape {
            m: 16,
            n,
            k: 16,
            ab: Scalar::F16,
            cr,
        };
        capabilities.features.cooperative = vec![shape(16, Scalar::F32), shape(8, Scalar::F16)];
        capabilities.features.subgroup = Some([32, 64]);
        assert_eq!(
            needed(&capabilities, Element::F16, Element::F32),
            Ok((vec![16], [32, 64]))
        );
        assert_eq!(
            needed(&capabilities, Element::F16, Element::F16),
            Err("needs cooperative matrices 8x8x8 or 16x16x16 f16→f16, \
                 adapter has 16x16x16 f16→f32, 16x8x16 f16→f16"
                .to_owned())
        );
    }
}
