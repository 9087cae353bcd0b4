//! Case ids: `operation/precision/variant/shape`, the names by which cases are
//! selected, stored and compared.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::{Shape, ShapeError};

/// What a case computes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Dense matrix product, C = A·B.
    Matmul,
    /// Scaled dot-product attention, softmax(Q·Kᵀ/√d)·V.
    Attention,
    /// Arithmetic ceiling: chains of dependent multiply-adds in registers.
    Peak,
    /// Memory ceiling: traffic between memory and the cores.
    Bandwidth,
    /// Cost of a dispatch or a submission that does next to nothing.
    Latency,
}

impl Operation {
    /// Whether its kernels are ceilings, each of which computes something of its
    /// own, and not different ways to compute the same.
    pub fn is_ceiling(self) -> bool {
        matches!(self, Self::Peak | Self::Bandwidth | Self::Latency)
    }
}

/// Operand type, then the accumulator where it differs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float64 throughout.
    F64,
    /// float32 throughout.
    F32,
    /// float16 throughout.
    F16,
    /// float16 operands, float32 accumulator.
    F16F32acc,
    /// 8-bit integer operands, 32-bit integer accumulator.
    I8I32acc,
    /// 32-bit integers.
    I32,
    /// No arithmetic (latency).
    None,
}

macro_rules! names {
    ($type:ty, $what:literal, $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// Every value, in the order in which it is listed.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in case ids.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::ALL.iter().copied().find(|v| v.name() == text).ok_or_else(|| {
                    IdError::UnknownPart {
                        what: $what,
                        text: text.to_owned(),
                        known: [$($name),+].join(", "),
                    }
                })
            }
        }
    };
}

names!(Operation, "operation",
    Matmul => "matmul", Attention => "attention", Peak => "peak",
    Bandwidth => "bandwidth", Latency => "latency");
names!(Precision, "precision",
    F64 => "f64", F32 => "f32", F16 => "f16", F16F32acc => "f16-f32acc",
    I8I32acc => "i8-i32acc", I32 => "i32", None => "none");

/// Why a text is no case id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not four parts.
    #[error(
        "\"{0}\" is not a case id: expected operation/precision/variant/shape, such as matmul/f32/register/1024x1024x1024"
    )]
    Form(String),
    /// A part that is not in the vocabulary.
    #[error("unknown {what} \"{text}\"; known: {known}")]
    UnknownPart {
        /// Which part.
        what: &'static str,
        /// What stood there.
        text: String,
        /// What may stand there.
        known: String,
    },
    /// The shape does not parse.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// One case: an operation in a precision, by one kernel variant, on one shape.
/// Serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CaseId {
    /// What is computed.
    pub operation: Operation,
    /// In which number formats.
    pub precision: Precision,
    /// By which kernel.
    pub variant: String,
    /// On which problem size.
    pub shape: Shape,
}

impl CaseId {
    /// Whether the kernel is left to tuning.
    pub fn is_best(&self) -> bool {
        self.variant == super::BEST
    }

    /// The same problem by another kernel.
    pub fn with_variant(&self, variant: &str) -> Self {
        Self {
            variant: variant.to_owned(),
            ..self.clone()
        }
    }

    /// Whether `other` computes the same from the same inputs, by whichever
    /// kernel. Each ceiling computes something of its own.
    pub fn same_problem(&self, other: &Self) -> bool {
        let same_kernel = self.variant == other.variant;
        (self.operation, self.precision, self.shape)
            == (other.operation, other.precision, other.shape)
            && (same_kernel || !self.operation.is_ceiling())
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{}/{}/{}/{}",
            self.operation, self.precision, self.variant, self.shape
        ))
    }
}

impl From<CaseId> for String {
    fn from(id: CaseId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for CaseId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl FromStr for CaseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts: Vec<&str> = text.split('/').collect();
        let &[operation, precision, variant, shape] = parts.as_slice() else {
            return Err(IdError::Form(text.to_owned()));
        };
        let operation: Operation = operation.parse()?;
        Ok(Self {
            operation,
            precision: precision.parse()?,
            variant: variant.to_owned(),
            shape: Shape::parse(operation, shape)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_ids_survive_a_round_trip() {
        for id in [
            "matmul/f32/best/1024x1024x1024",
            "matmul/f32/register/b4-1000x777x333-nt",
            "matmul/f16-f32acc/cooperative/4096x4096x4096",
            "attention/f16/flash/b1h32kv8s4096d128-causal",
            "attention/f16/split-kv/b1h32kv8q1k16384d128",
            "peak/f32/fma/device",
            "peak/i8-i32acc/dot/device",
            "bandwidth/f32/copy/256MiB",
            "latency/none/dispatch/empty",
        ] {
            assert_eq!(id.parse::<CaseId>().unwrap().to_string(), id);
        }
    }

    #[test]
    fn kernels_share_a_problem_but_ceilings_do_not() {
        let same = |a: &str, b: &str| {
            let [a, b]: [CaseId; 2] = [a, b].map(|id| id.parse().unwrap());
            a.same_problem(&b)
        };
        assert!(same("matmul/f32/naive/1x1x1", "matmul/f32/register/1x1x1"));
        assert!(!same("matmul/f32/naive/1x1x1", "matmul/f16/naive/1x1x1"));
        assert!(!same("bandwidth/f32/read/1MiB", "bandwidth/f32/copy/1MiB"));
    }

    #[test]
    fn errors_name_the_part_and_what_may_stand_there() {
        let message = |text: &str| text.parse::<CaseId>().unwrap_err().to_string();
        assert!(message("matmul/f32/naive").contains("operation/precision/variant/shape"));
        assert_eq!(
            message("conv/f32/naive/1x1x1"),
            "unknown operation \"conv\"; known: matmul, attention, peak, bandwidth, latency"
        );
        assert!(message("matmul/f33/naive/1x1x1").contains("f16-f32acc"));
        assert!(message("matmul/f32/naive/1x0x1").contains("1x0x1"));
    }
}
