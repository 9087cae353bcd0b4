//! Rates of computation, which mean something only together with their number
//! format, and work, which is no rate.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::datasheet::FigureKind;
use crate::kernel::id::Precision;
use crate::units::{Flop, FlopPerSecond};

/// The number format in which a rate is stated, as far as articles and plans
/// tell formats apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum NumberFormat {
    /// Double precision.
    Fp64,
    /// Single precision.
    Fp32,
    /// NVIDIA's format of 19 bits, on matrix units.
    Tf32,
    /// Half precision.
    Fp16,
    /// Brain floating point.
    Bf16,
    /// Eight bits.
    Fp8,
    /// Four bits.
    Fp4,
}

impl NumberFormat {
    /// That of a figure in a datasheet; `None` for what is no floating-point rate.
    pub fn of_figure(kind: FigureKind) -> Option<Self> {
        use FigureKind as F;
        match kind {
            F::Fp64 | F::Fp64Tensor => Some(Self::Fp64),
            F::Fp32 | F::Fp32Matrix => Some(Self::Fp32),
            F::Tf32 => Some(Self::Tf32),
            F::Fp16 | F::Fp16Tensor | F::Fp16TensorFp16Acc => Some(Self::Fp16),
            F::Bf16Tensor => Some(Self::Bf16),
            F::Fp8 | F::Fp8Fp16Acc => Some(Self::Fp8),
            F::Fp4 => Some(Self::Fp4),
            F::Int8
            | F::MemoryBandwidth
            | F::Memory
            | F::BoardPower
            | F::Tdp
            | F::BoostClock
            | F::BoostClockTensor
            | F::Fp32Lanes
            | F::GpuCores => None,
        }
    }

    /// That of a measured case's operands; `None` for integers and for cases that
    /// compute nothing.
    pub fn of_case(precision: Precision) -> Option<Self> {
        match precision {
            Precision::F64 => Some(Self::Fp64),
            Precision::F32 => Some(Self::Fp32),
            Precision::F16 | Precision::F16F32acc => Some(Self::Fp16),
            Precision::I8I32acc | Precision::I32 | Precision::None => None,
        }
    }
}

impl fmt::Display for NumberFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fp64 => "FP64",
            Self::Fp32 => "FP32",
            Self::Tf32 => "TF32",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp8 => "FP8",
            Self::Fp4 => "FP4",
        })
    }
}

/// Why two amounts of computation can be neither added nor compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CategoryError {
    /// Two number formats.
    #[error("{0} and {1} are different operations: their rates can be neither added nor compared")]
    Formats(NumberFormat, NumberFormat),
    /// One format is not stated.
    #[error(
        "a rate in {0} and one whose precision is not stated can be neither added nor compared"
    )]
    Unstated(NumberFormat),
    /// One is work, the other is a rate.
    #[error("PFLOPS-days are work and PFLOPS are a rate: only over a time is one the other")]
    WorkAgainstRate,
}

/// Operations per second in one number format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComputeRate {
    /// Operations per second.
    pub rate: Span<FlopPerSecond>,
    /// The format; `None` where the source does not state it.
    pub format: Option<NumberFormat>,
}

impl ComputeRate {
    fn alike(&self, other: &Self) -> Result<Option<NumberFormat>, CategoryError> {
        match (self.format, other.format) {
            (a, b) if a == b => Ok(a),
            (Some(a), Some(b)) => Err(CategoryError::Formats(a, b)),
            (Some(known), None) | (None, Some(known)) => Err(CategoryError::Unstated(known)),
            (None, None) => Ok(None),
        }
    }

    /// The sum, which is in the same format.
    ///
    /// # Errors
    /// When the formats differ, or only one is stated.
    pub fn plus(self, other: Self) -> Result<Self, CategoryError> {
        let format = self.alike(&other)?;
        let add = |a: FlopPerSecond, b: FlopPerSecond| FlopPerSecond(a.0 + b.0);
        let rate = Span {
            low: add(self.rate.low, other.rate.low),
            high: add(self.rate.high, other.rate.high),
        };
        Ok(Self { rate, format })
    }

    /// How many times the other this is.
    ///
    /// # Errors
    /// When the formats differ, or only one is stated.
    pub fn over(self, other: Self) -> Result<Span<f64>, CategoryError> {
        self.alike(&other)?;
        Ok(self.rate / other.rate)
    }
}

/// An amount of computation, as articles set one beside another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Operations.
    Work(Span<Flop>),
    /// Operations per second.
    Rate(ComputeRate),
}

impl Amount {
    /// How many times the other this is.
    ///
    /// # Errors
    /// When one is work and the other a rate, or two rates are of different formats.
    pub fn over(self, other: Self) -> Result<Span<f64>, CategoryError> {
        match (self, other) {
            (Self::Work(a), Self::Work(b)) => Ok(a / b),
            (Self::Rate(a), Self::Rate(b)) => a.over(b),
            _ => Err(CategoryError::WorkAgainstRate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(petaflops: f64, format: Option<NumberFormat>) -> ComputeRate {
        let rate = Span::of(FlopPerSecond(petaflops * 1e15));
        ComputeRate { rate, format }
    }

    #[test]
    fn unlike_rates_are_neither_added_nor_compared() {
        use NumberFormat::{Fp16, Fp32};
        let (half, single, unstated) = (
            rate(100.0, Some(Fp16)),
            rate(5.0, Some(Fp32)),
            rate(7.0, None),
        );
        assert_eq!(half.plus(half), Ok(rate(200.0, Some(Fp16))));
        assert_eq!(half.plus(single), Err(CategoryError::Formats(Fp16, Fp32)));
        assert_eq!(half.over(single), Err(CategoryError::Formats(Fp16, Fp32)));
        assert_eq!(half.plus(unstated), Err(CategoryError::Unstated(Fp16)));
        assert_eq!(unstated.plus(single), Err(CategoryError::Unstated(Fp32)));
        assert_eq!(unstated.plus(unstated), Ok(rate(14.0, None)));
    }

    #[test]
    fn work_is_no_rate() {
        let work = Amount::Work(Span::of(Flop(3e23)));
        let rate = Amount::Rate(rate(1000.0, None));
        assert_eq!(work.over(rate), Err(CategoryError::WorkAgainstRate));
        assert_eq!(rate.over(work), Err(CategoryError::WorkAgainstRate));
        assert_eq!(work.over(work), Ok(Span::of(1.0)));
    }
}
