//! The catalogue: every kernel, what it computes, how it is verified.
//!
//! Adding a kernel is adding a template under `shaders/`, a function that turns
//! a shape into [`Program`]s, and a line in [`CATALOGUE`]. Adding an operation
//! or precision adds a [`problem::Problem`]. The measuring code knows neither.

pub mod attention;
pub mod bandwidth;
pub mod canary;
pub mod capabilities;
pub mod id;
pub mod inputs;
pub mod latency;
pub mod matmul;
pub mod peak;
pub mod problem;
pub mod program;
pub mod select;
pub mod shape;
pub mod template;
pub mod tolerance;

use std::collections::BTreeMap;

use capabilities::{Capabilities, Unfit};
use id::{CaseId, Operation, Precision};
use program::Program;
use shape::Shape;
use template::TemplateError;

/// Tile sizes and the like, by name.
pub type Parameters = BTreeMap<String, u32>;

/// What a kernel's programs are built for.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Problem size.
    pub shape: Shape,
    /// What the adapter offers.
    pub capabilities: &'a Capabilities,
}

/// Why a kernel has no program for a shape on an adapter.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The adapter or the kernel cannot do this shape: the case is skipped.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The shader template is defective: the case fails.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Programs that compute the same, with different parameters.
pub type Candidates = Result<Vec<Program>, BuildError>;

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Kernel {
    /// What it computes.
    pub operation: Operation,
    /// In which number formats.
    pub precision: Precision,
    /// Its name among the kernels of that operation and precision.
    pub variant: &'static str,
    /// Shapes that `'*'` selects, by whether the adapter is a software adapter.
    shapes: fn(bool) -> Vec<Shape>,
    /// Programs for a shape, any of which computes it.
    build: fn(&Build) -> Candidates,
}

/// Every kernel, ceilings first, from simple to refined.
pub static CATALOGUE: &[Kernel] = &[
    Kernel {
        operation: Operation::Peak,
        precision: Precision::F32,
        variant: "fma",
        shapes: |_| vec![Shape::Device],
        build: peak::fma,
    },
    Kernel {
        operation: Operation::Bandwidth,
        precision: Precision::F32,
        variant: "copy",
        shapes: bandwidth::shapes,
        build: bandwidth::copy,
    },
    Kernel {
        operation: Operation::Latency,
        precision: Precision::None,
        variant: "dispatch",
        shapes: |_| vec![Shape::Empty],
        build: latency::dispatch,
    },
    Kernel {
        operation: Operation::Matmul,
        precision: Precision::F32,
        variant: "naive",
        shapes: matmul::shapes,
        build: matmul::naive,
    },
    Kernel {
        operation: Operation::Matmul,
        precision: Precision::F32,
        variant: "workgroup",
        shapes: matmul::shapes,
        build: matmul::workgroup,
    },
    Kernel {
        operation: Operation::Matmul,
        precision: Precision::F32,
        variant: "register",
        shapes: matmul::shapes,
        build: matmul::register,
    },
    Kernel {
        operation: Operation::Attention,
        precision: Precision::F32,
        variant: "materialised",
        shapes: attention::shapes,
        build: attention::materialised,
    },
    Kernel {
        operation: Operation::Attention,
        precision: Precision::F32,
        variant: "flash",
        shapes: attention::shapes,
        build: attention::flash,
    },
];

impl Kernel {
    /// The catalogue's kernel for `id`, whatever its shape.
    pub fn find(id: &CaseId) -> Option<&'static Self> {
        CATALOGUE
            .iter()
            .find(|k| k.matches(id) && k.variant == id.variant)
    }

    fn matches(&self, id: &CaseId) -> bool {
        self.operation == id.operation && self.precision == id.precision
    }

    /// Other kernels that compute the same as this one.
    pub fn siblings(&self) -> impl Iterator<Item = &'static Self> + '_ {
        CATALOGUE.iter().filter(|k| {
            k.operation == self.operation
                && k.precision == self.precision
                && k.variant != self.variant
        })
    }

    /// The case of this kernel on `shape`.
    pub fn case(&self, shape: Shape) -> CaseId {
        CaseId {
            operation: self.operation,
            precision: self.precision,
            variant: self.variant.to_owned(),
            shape,
        }
    }

    /// Programs that the adapter admits, at least one.
    ///
    /// # Errors
    /// [`BuildError::Unfit`] where the adapter or the kernel cannot do the shape.
    pub fn candidates(&self, shape: Shape, capabilities: &Capabilities) -> Candidates {
        let programs = (self.build)(&Build {
            shape,
            capabilities,
        })?;
        let mut refused = None;
        let admitted: Vec<Program> = programs
            .into_iter()
            .filter(|program| match capabilities.admit(program) {
                Ok(()) => true,
                Err(unfit) => {
                    refused = Some(unfit);
                    false
                }
            })
            .collect();
        match refused {
            Some(unfit) if admitted.is_empty() => Err(unfit.into()),
            _ => Ok(admitted),
        }
    }
}

/// The measured ceiling that a case is held against, if it has one.
pub fn ceiling_of(id: &CaseId) -> Option<CaseId> {
    let compute = matches!(id.operation, Operation::Matmul | Operation::Attention);
    let peak = CATALOGUE
        .iter()
        .find(|k| k.operation == Operation::Peak && k.precision == id.precision);
    peak.filter(|_| compute).map(|k| k.case(Shape::Device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_unique_and_every_listed_shape_is_one_of_their_operation() {
        let mut seen = std::collections::HashSet::new();
        for kernel in CATALOGUE {
            assert!(seen.insert((kernel.operation, kernel.precision, kernel.variant)));
            for software in [true, false] {
                for shape in (kernel.shapes)(software) {
                    let id = kernel.case(shape);
                    assert_eq!(id.to_string().parse(), Ok(id.clone()));
                    assert!(problem_exists(&id), "{id} has no problem");
                }
            }
        }
    }

    /// Building the inputs of the largest shapes takes gigabytes; the smallest
    /// of each kernel is enough to show that the combination is implemented.
    fn problem_exists(id: &CaseId) -> bool {
        let shape = match id.shape {
            Shape::Gemm(s) => Shape::Gemm(shape::GemmShape {
                m: 1,
                n: 1,
                k: 1,
                ..s
            }),
            Shape::Attention(s) => Shape::Attention(shape::AttentionShape {
                batch: 1,
                q_len: 1,
                kv_len: 1,
                ..s
            }),
            Shape::WorkingSet { .. } => Shape::WorkingSet { bytes: 1024 },
            other => other,
        };
        problem::problem(id.operation, id.precision, shape, 0).is_some()
    }

    #[test]
    fn compute_cases_are_held_against_the_peak_of_their_precision() {
        let ceiling = |id: &str| ceiling_of(&id.parse().unwrap()).map(|c| c.to_string());
        assert_eq!(
            ceiling("attention/f32/flash/b1h8s512d64").as_deref(),
            Some("peak/f32/fma/device")
        );
        assert_eq!(ceiling("bandwidth/f32/copy/256MiB"), None);
        assert_eq!(ceiling("peak/f32/fma/device"), None);
    }
}
