//! The catalogue: every kernel, what it computes, how it is verified.
//!
//! Adding a kernel is adding a template under `shaders/`, a function that turns
//! a shape into [`Program`]s, and a line in [`CATALOGUE`]. Adding an operation
//! or precision adds a [`problem::Problem`]. The measuring code knows neither.

pub mod attention;
pub mod bandwidth;
pub mod canary;
pub mod capabilities;
pub mod element;
pub mod id;
pub mod inputs;
pub mod latency;
pub mod matmul;
pub mod peak;
pub mod problem;
pub mod program;
pub mod select;
pub mod shader;
pub mod shape;
pub mod template;
pub mod tolerance;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use capabilities::{Capabilities, Unfit};
use id::{CaseId, Operation, Precision};
use program::Program;
use shader::Footprint;
use shape::Shape;
use template::{TemplateError, Templates};

/// Tile sizes and the like, by name.
pub type Parameters = BTreeMap<String, u32>;

/// Parameters in words: "cols 8, rows 4".
pub fn in_words(parameters: &Parameters) -> String {
    let words = parameters
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    words.collect::<Vec<_>>().join(", ")
}

/// What a kernel's programs are built for.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// Problem size.
    pub shape: Shape,
    /// Number formats.
    pub precision: Precision,
    /// What the adapter offers.
    pub capabilities: &'a Capabilities,
    /// Where the shaders' texts come from.
    pub templates: &'a Templates,
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
    /// The arithmetic ceiling that it is held against.
    ceiling: Option<Ceiling>,
    /// Shapes that `'*'` selects, by whether the adapter is a software adapter.
    shapes: fn(bool) -> Vec<Shape>,
    /// Programs for a shape, any of which computes it.
    build: fn(&Build) -> Candidates,
    /// What a sample repeats.
    pub repeats: Repeat,
}

/// What a sample repeats until it is long enough, and so what its time is that
/// of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Dispatches within one submission, by the device's clock where there is one.
    Dispatch,
    /// Submissions of one dispatch, each waited for, by the host's clock.
    Submission,
}

/// Every kernel, ceilings first, from simple to refined.
pub static CATALOGUE: &[Kernel] = &[
    peak(Precision::F32, "fma", peak::chains::chains),
    peak(Precision::F16, "fma", peak::chains::chains),
    peak(Precision::F64, "fma", peak::chains::chains),
    peak(Precision::I32, "mad", peak::chains::chains),
    peak(Precision::I8I32acc, "dot", peak::chains::chains),
    peak(Precision::F32, COOPERATIVE, peak::cooperative::cooperative),
    peak(Precision::F16, COOPERATIVE, peak::cooperative::cooperative),
    peak(
        Precision::F16F32acc,
        COOPERATIVE,
        peak::cooperative::cooperative,
    ),
    bandwidth("read", |s| bandwidth::shapes(1, s), bandwidth::read::read),
    bandwidth(
        "write",
        |s| bandwidth::shapes(1, s),
        bandwidth::stream::write,
    ),
    bandwidth("copy", |s| bandwidth::shapes(2, s), bandwidth::stream::copy),
    bandwidth(
        "triad",
        |s| bandwidth::shapes(3, s),
        bandwidth::stream::triad,
    ),
    bandwidth(
        "workgroup",
        bandwidth::tiles,
        bandwidth::workgroup::workgroup,
    ),
    latency("dispatch", Repeat::Dispatch),
    latency("submit", Repeat::Submission),
    matmul(Precision::F32, "naive", F32_FMA, matmul::naive),
    matmul(Precision::F32, "workgroup", F32_FMA, matmul::workgroup),
    matmul(Precision::F32, "register", F32_FMA, matmul::register),
    matmul(Precision::F32, "subgroup", F32_FMA, matmul::subgroup),
    matmul(
        Precision::F32,
        "subgroup-texture",
        F32_FMA,
        matmul::subgroup_texture,
    ),
    matmul(
        Precision::F32,
        COOPERATIVE,
        F32_COOPERATIVE,
        matmul::cooperative,
    ),
    matmul(Precision::F16, "naive", F16_FMA, matmul::naive),
    matmul(Precision::F16, "workgroup", F16_FMA, matmul::workgroup),
    matmul(Precision::F16, "register", F16_FMA, matmul::register),
    matmul(
        Precision::F16,
        COOPERATIVE,
        F16_COOPERATIVE,
        matmul::cooperative,
    ),
    matmul(Precision::F16F32acc, "naive", F32_FMA, matmul::naive),
    matmul(
        Precision::F16F32acc,
        "workgroup",
        F32_FMA,
        matmul::workgroup,
    ),
    matmul(Precision::F16F32acc, "register", F32_FMA, matmul::register),
    matmul(Precision::F16F32acc, "subgroup", F32_FMA, matmul::subgroup),
    matmul(
        Precision::F16F32acc,
        "subgroup-texture",
        F32_FMA,
        matmul::subgroup_texture,
    ),
    matmul(
        Precision::F16F32acc,
        COOPERATIVE,
        F16F32ACC_COOPERATIVE,
        matmul::cooperative,
    ),
    matmul(Precision::I8I32acc, "naive", I8_DOT, matmul::naive),
    matmul(Precision::I8I32acc, "workgroup", I8_DOT, matmul::workgroup),
    matmul(Precision::I8I32acc, "register", I8_DOT, matmul::register),
    matmul(Precision::F64, "naive", F64_FMA, matmul::naive),
    matmul(Precision::F64, "workgroup", F64_FMA, matmul::workgroup),
    matmul(Precision::F64, "register", F64_FMA, matmul::register),
    attention(
        Precision::F32,
        "materialised",
        F32_FMA,
        attention::short_shapes,
        attention::materialised,
    ),
    attention(
        Precision::F32,
        "flash",
        F32_FMA,
        attention::prefill_shapes,
        attention::flash,
    ),
    attention(
        Precision::F32,
        "flash-subgroup",
        F32_FMA,
        attention::prefill_shapes,
        attention::flash_subgroup,
    ),
    attention(
        Precision::F32,
        "split-kv",
        F32_FMA,
        attention::decode_shapes,
        attention::split_kv,
    ),
    attention(
        Precision::F32,
        "flash-cooperative",
        F32_COOPERATIVE,
        attention::prefill_shapes,
        attention::flash_cooperative,
    ),
    attention(
        Precision::F16,
        "materialised",
        F32_FMA,
        attention::short_shapes,
        attention::materialised,
    ),
    attention(
        Precision::F16,
        "flash",
        F32_FMA,
        attention::prefill_shapes,
        attention::flash,
    ),
    attention(
        Precision::F16,
        "flash-subgroup",
        F32_FMA,
        attention::prefill_shapes,
        attention::flash_subgroup,
    ),
    attention(
        Precision::F16,
        "split-kv",
        F32_FMA,
        attention::decode_shapes,
        attention::split_kv,
    ),
    attention(
        Precision::F16,
        "flash-cooperative",
        F16F32ACC_COOPERATIVE,
        attention::prefill_shapes,
        attention::flash_cooperative,
    ),
];

/// The variant of products, and of the ceiling, that run on matrix units.
pub const COOPERATIVE: &str = "cooperative";

/// An arithmetic ceiling: precision and variant of an [`Operation::Peak`] kernel.
type Ceiling = (Precision, &'static str);

/// Kernels that multiply halves and add in single precision are held against
/// the single-precision ceiling, since that is the arithmetic they do.
const F32_FMA: Ceiling = (Precision::F32, "fma");
const F16_FMA: Ceiling = (Precision::F16, "fma");
const F64_FMA: Ceiling = (Precision::F64, "fma");
const I8_DOT: Ceiling = (Precision::I8I32acc, "dot");
const F32_COOPERATIVE: Ceiling = (Precision::F32, COOPERATIVE);
const F16_COOPERATIVE: Ceiling = (Precision::F16, COOPERATIVE);
const F16F32ACC_COOPERATIVE: Ceiling = (Precision::F16F32acc, COOPERATIVE);

type BuildFn = fn(&Build) -> Candidates;

const fn peak(precision: Precision, variant: &'static str, build: BuildFn) -> Kernel {
    Kernel {
        operation: Operation::Peak,
        precision,
        variant,
        ceiling: None,
        shapes: |_| vec![Shape::Device],
        build,
        repeats: Repeat::Dispatch,
    }
}

const fn bandwidth(
    variant: &'static str,
    shapes: fn(bool) -> Vec<Shape>,
    build: BuildFn,
) -> Kernel {
    Kernel {
        operation: Operation::Bandwidth,
        precision: Precision::F32,
        variant,
        ceiling: None,
        shapes,
        build,
        repeats: Repeat::Dispatch,
    }
}

const fn latency(variant: &'static str, repeats: Repeat) -> Kernel {
    Kernel {
        operation: Operation::Latency,
        precision: Precision::None,
        variant,
        ceiling: None,
        shapes: |_| vec![Shape::Empty],
        build: latency::empty,
        repeats,
    }
}

const fn matmul(
    precision: Precision,
    variant: &'static str,
    ceiling: Ceiling,
    build: BuildFn,
) -> Kernel {
    Kernel {
        operation: Operation::Matmul,
        precision,
        variant,
        ceiling: Some(ceiling),
        shapes: matmul::shapes,
        build,
        repeats: Repeat::Dispatch,
    }
}

const fn attention(
    precision: Precision,
    variant: &'static str,
    ceiling: Ceiling,
    shapes: fn(bool) -> Vec<Shape>,
    build: BuildFn,
) -> Kernel {
    Kernel {
        operation: Operation::Attention,
        precision,
        variant,
        ceiling: Some(ceiling),
        shapes,
        build,
        repeats: Repeat::Dispatch,
    }
}

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

    /// Other kernels that compute the same as this one, the simplest first.
    pub fn siblings(&self) -> impl Iterator<Item = &'static Self> + '_ {
        CATALOGUE.iter().filter(|k| {
            !self.operation.is_ceiling()
                && k.operation == self.operation
                && k.precision == self.precision
                && k.variant != self.variant
        })
    }

    fn ceiling_case(&self) -> Option<CaseId> {
        let (precision, variant) = self.ceiling?;
        Some(CaseId {
            operation: Operation::Peak,
            precision,
            variant: variant.to_owned(),
            shape: Shape::Device,
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
    /// [`BuildError::Unfit`] where the adapter or the kernel cannot do the shape,
    /// [`BuildError::Template`] where a template renders no shader.
    pub fn candidates(
        &self,
        shape: Shape,
        capabilities: &Capabilities,
        templates: &Templates,
    ) -> Candidates {
        capabilities.need_element(self.precision.operand())?;
        let programs = (self.build)(&Build {
            shape,
            precision: self.precision,
            capabilities,
            templates,
        })?;
        let mut refused = None;
        let mut admitted = Vec::new();
        for program in programs {
            match capabilities.admit(&program, &footprints(&program)?) {
                Ok(()) => admitted.push(program),
                Err(unfit) => refused = Some(unfit),
            }
        }
        match refused {
            Some(unfit) if admitted.is_empty() => Err(unfit.into()),
            _ => Ok(admitted),
        }
    }
}

fn footprints(program: &Program) -> Result<Vec<Footprint>, TemplateError> {
    let footprint = |pass: &program::Pass| {
        Footprint::of(&pass.wgsl).map_err(|source| TemplateError::Wgsl {
            template: pass.template,
            source,
        })
    };
    program.passes.iter().map(footprint).collect()
}

/// The variant that stands for whichever kernel tuning has found to be fastest.
pub const BEST: &str = "best";

/// The kernel and parameters that tuning has chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// The kernel's variant.
    pub variant: String,
    /// Tile sizes and the like.
    #[serde(deserialize_with = "parameters_without_switches")]
    pub parameters: Parameters,
}

/// Parameters as programs have them. Choices used to hold a switch of the tests as
/// well, `emulated`, which was 0 for every user.
fn parameters_without_switches<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Parameters, D::Error> {
    let mut parameters = Parameters::deserialize(deserializer)?;
    parameters.remove("emulated");
    Ok(parameters)
}

/// The measured ceiling that a case is held against, if it has one.
pub fn ceiling_of(id: &CaseId) -> Option<CaseId> {
    Kernel::find(id)?.ceiling_case()
}

/// Kernels that tuning chooses among for a case of [`BEST`], the most refined
/// first. Empty where there is nothing to choose.
pub fn contenders(id: &CaseId) -> impl Iterator<Item = &'static Kernel> + '_ {
    let tunable = !id.operation.is_ceiling();
    CATALOGUE
        .iter()
        .rev()
        .filter(move |k| tunable && k.matches(id))
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
        let id = CaseId {
            shape,
            ..id.clone()
        };
        problem::problem(&id, inputs::Draw::normal(0)).is_some()
    }

    /// As caches and reports hold choices that were made when every program of matrix
    /// units carried the switch.
    #[test]
    fn a_switch_of_the_tests_is_no_parameter() {
        let json = r#"{"variant":"cooperative","parameters":{"emulated":0,"tile":128}}"#;
        let choice: Choice = serde_json::from_str(json).unwrap();
        assert_eq!(choice.parameters, Parameters::from([("tile".into(), 128)]));
        let capabilities = Capabilities::imaginary();
        for kernel in CATALOGUE.iter().filter(|k| k.variant == COOPERATIVE) {
            let shape = (kernel.shapes)(false)[0];
            let programs = kernel.candidates(shape, &capabilities, Templates::builtin());
            for program in programs.unwrap() {
                assert!(!program.parameters.contains_key("emulated"));
            }
        }
    }

    #[test]
    fn compute_cases_are_held_against_the_peak_of_their_precision() {
        let ceiling = |id: &str| ceiling_of(&id.parse().unwrap()).map(|c| c.to_string());
        assert_eq!(
            ceiling("attention/f32/flash/b1h8s512d64").as_deref(),
            Some("peak/f32/fma/device")
        );
        // Half-precision attention multiplies halves and adds up in single.
        assert_eq!(
            ceiling("attention/f16/flash-cooperative/b1h8s512d64").as_deref(),
            Some("peak/f16-f32acc/cooperative/device")
        );
        assert_eq!(
            ceiling("matmul/f16/cooperative/64x64x64").as_deref(),
            Some("peak/f16/cooperative/device")
        );
        assert_eq!(ceiling("bandwidth/f32/copy/256MiB"), None);
        assert_eq!(ceiling("peak/f32/fma/device"), None);
    }

    #[test]
    fn every_ceiling_is_in_the_catalogue() {
        for kernel in CATALOGUE {
            let (kernel_shape, operation) = ((kernel.shapes)(true)[0], kernel.operation);
            let ceiling = ceiling_of(&kernel.case(kernel_shape));
            assert_eq!(ceiling.is_none(), operation.is_ceiling());
            assert!(ceiling.is_none_or(|id| Kernel::find(&id).is_some()));
        }
    }
}
