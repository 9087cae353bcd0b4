//! The share of an architecture's peak that a loop's instructions leave within
//! reach: a bound from counting, never a measurement.
//!
//! One iteration keeps every port busy for at least the cycles that its
//! instructions need there; the fullest port bounds the rate. `docs/codegen.md`
//! has the figures' sources and what the model leaves out. Where documents leave
//! something open the faster answer is taken, so that the bound stays one.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::listing::{HotLoop, Instruction, Unit};
use crate::gpu::adapter::AdapterDescription;
use crate::kernel::COOPERATIVE;
use crate::kernel::id::{CaseId, Precision};

/// GPU architectures whose issue rates are written down here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// AMD RDNA 2.
    Rdna2,
    /// AMD RDNA 3.
    Rdna3,
    /// NVIDIA Turing.
    Turing,
    /// NVIDIA Ampere as in GeForce cards; not the A100.
    Ampere,
}

impl Architecture {
    /// The architecture, where the driver's name of the adapter tells.
    pub fn of(adapter: &AdapterDescription) -> Option<Self> {
        let named = |part| adapter.name.contains(part);
        if named("RADV NAVI2") {
            Some(Self::Rdna2)
        } else if named("RADV NAVI3") {
            Some(Self::Rdna3)
        } else {
            None
        }
    }

    /// Cycles for which an instruction of a subgroup of `lanes` keeps the unit that
    /// computes with lanes busy. On NVIDIA GPUs other units than those of its own
    /// number format are free meanwhile.
    fn cycles(self, instruction: &Instruction, lanes: u32) -> f64 {
        let waves = f64::from(lanes) / 32.0;
        match (self, instruction.unit) {
            (_, Unit::None) => 0.0,
            (Self::Rdna2 | Self::Rdna3, Unit::Double) => 16.0 * waves,
            (Self::Rdna2 | Self::Turing | Self::Ampere, Unit::Matrix) => 0.0,
            // 256 operations a cycle.
            (Self::Rdna3, Unit::Matrix) => f64::from(instruction.operations) / 256.0,
            // A subgroup of 64 lanes is two waves issued at once; one of 32 needs two
            // operations in an instruction.
            (Self::Rdna3, Unit::Single | Unit::Half) if lanes == 64 => 1.0,
            (Self::Rdna2 | Self::Rdna3, _) => waves,
            (Self::Ampere, Unit::Single) => 1.0,
            (Self::Turing, Unit::Single) => 2.0,
            (Self::Turing | Self::Ampere, Unit::Half | Unit::Integer) => 2.0,
            (Self::Turing | Self::Ampere, Unit::Double) => 64.0,
        }
    }

    /// Operations a cycle at the peak, of a SIMD unit (AMD) or of a quarter of a
    /// multiprocessor (NVIDIA).
    fn peak(self, peak: Peak) -> Option<f64> {
        Some(match (self, peak) {
            (Self::Rdna2, Peak::Single) => 64.0,
            (Self::Rdna2, Peak::Half) => 128.0,
            (Self::Rdna2 | Self::Rdna3, Peak::Double) => 4.0,
            (Self::Rdna3, Peak::Single) => 128.0,
            (Self::Rdna3, Peak::Half | Peak::Matrix) => 256.0,
            (Self::Turing, Peak::Single) => 32.0,
            (Self::Turing | Self::Ampere, Peak::Half) => 64.0,
            (Self::Ampere, Peak::Single) => 64.0,
            (Self::Turing | Self::Ampere, Peak::Double) => 1.0,
            (Self::Rdna2 | Self::Turing | Self::Ampere, Peak::Matrix) => return None,
        })
    }

    /// Cycles of one iteration of `hot` at least.
    fn fewest_cycles(self, hot: &HotLoop, lanes: u32) -> f64 {
        let instructions = &hot.instructions;
        let busy = |units: &[Unit]| -> f64 {
            let of = instructions.iter().filter(|i| units.contains(&i.unit));
            of.map(|i| self.cycles(i, lanes)).sum()
        };
        match self {
            // Scalar, memory and control instructions of other subgroups are issued
            // at the same time; all that lanes compute goes through one port.
            Self::Rdna2 | Self::Rdna3 => busy(&[
                Unit::Single,
                Unit::Half,
                Unit::Double,
                Unit::Integer,
                Unit::Matrix,
            ]),
            // One instruction a cycle, whatever it is.
            Self::Turing | Self::Ampere => [
                instructions.len() as f64,
                busy(&[Unit::Single]),
                busy(&[Unit::Half]),
                busy(&[Unit::Double]),
                busy(&[Unit::Integer]),
            ]
            .into_iter()
            .fold(0.0, f64::max),
        }
    }
}

/// A peak of a datasheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// Single precision.
    Single,
    /// Half precision outside of matrix units.
    Half,
    /// Double precision.
    Double,
    /// Half precision in matrix units.
    Matrix,
}

impl Peak {
    /// The peak that a ceiling stands for; none for integers and for memory.
    pub fn of_ceiling(ceiling: &CaseId) -> Option<Self> {
        match (ceiling.precision, ceiling.variant == COOPERATIVE) {
            (Precision::F32, false) => Some(Self::Single),
            (Precision::F16, false) => Some(Self::Half),
            (Precision::F64, false) => Some(Self::Double),
            (Precision::F16 | Precision::F16F32acc, true) => Some(Self::Matrix),
            _ => None,
        }
    }
}

/// The bound on the percentage of the peak, 0 to 100.
///
/// # Errors
/// Why there is none, in words.
pub fn percent_of_peak(
    architecture: Architecture,
    peak: Peak,
    hot: &HotLoop,
    lanes: u32,
) -> Result<f64, String> {
    let peak = architecture
        .peak(peak)
        .ok_or("the architecture has no such peak")?;
    let work: u64 = hot.instructions.iter().map(|i| i.work(lanes)).sum();
    let cycles = architecture.fewest_cycles(hot, lanes);
    if cycles == 0.0 {
        return Err("nothing in the loop takes time in this model".into());
    }
    Ok(100.0 * (work as f64 / cycles / peak).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::listing::Class;

    fn hot(parts: &[(usize, Class, Unit, u32)]) -> HotLoop {
        let instruction = |&(times, class, unit, operations): &(usize, _, _, _)| {
            vec![
                Instruction {
                    class,
                    unit,
                    operations
                };
                times
            ]
        };
        HotLoop {
            instructions: parts.iter().flat_map(instruction).collect(),
        }
    }

    fn bound(architecture: Architecture, peak: Peak, hot: &HotLoop, lanes: u32) -> f64 {
        percent_of_peak(architecture, peak, hot, lanes).unwrap()
    }

    const FMA: (Class, Unit, u32) = (Class::Fma, Unit::Single, 2);

    fn fma_and_integers(fmas: usize, integers: usize) -> HotLoop {
        let (class, unit, operations) = FMA;
        hot(&[
            (fmas, class, unit, operations),
            (integers, Class::Address, Unit::Integer, 0),
        ])
    }

    #[test]
    fn nothing_but_fma_reaches_the_peak() {
        let only = fma_and_integers(8, 0);
        for (architecture, lanes) in [
            (Architecture::Rdna2, 32),
            (Architecture::Rdna2, 64),
            (Architecture::Rdna3, 64),
            (Architecture::Turing, 32),
            (Architecture::Ampere, 32),
        ] {
            let reached = bound(architecture, Peak::Single, &only, lanes);
            assert_eq!(reached, 100.0, "{architecture:?} {lanes}");
        }
        // In 32 lanes one operation an instruction is half of what RDNA 3 can do,
        // and two are all.
        assert_eq!(bound(Architecture::Rdna3, Peak::Single, &only, 32), 50.0);
        let dual = hot(&[(8, Class::Fma, Unit::Single, 4)]);
        assert_eq!(bound(Architecture::Rdna3, Peak::Single, &dual, 32), 100.0);
    }

    /// 6 FMA and 2 integer instructions. RDNA 2: 6 of 8 of equal length. RDNA 3 in
    /// 64 lanes: 6 cycles of 6 + 2·2. Turing: 12 cycles in the FMA unit, 8 slots, 4 in
    /// the integer unit: 100. Ampere: 6 in the FMA unit, 8 slots: 75.
    #[test]
    fn integers_cost_what_their_port_is() {
        let mixed = fma_and_integers(6, 2);
        let of = |architecture, lanes| bound(architecture, Peak::Single, &mixed, lanes);
        assert_eq!(of(Architecture::Rdna2, 64), 75.0);
        assert!((of(Architecture::Rdna3, 64) - 60.0).abs() < 1e-9);
        assert_eq!(of(Architecture::Turing, 32), 100.0);
        assert_eq!(of(Architecture::Ampere, 32), 75.0);
    }

    /// 4 matrix instructions of 8192 operations are 4·32 cycles; 16 integer ones in
    /// 64 lanes are 32: 128 of 160.
    #[test]
    fn matrix_instructions_take_their_time() {
        let products = hot(&[
            (4, Class::Matrix, Unit::Matrix, 8192),
            (16, Class::Address, Unit::Integer, 0),
            (50, Class::Memory, Unit::None, 0),
        ]);
        assert_eq!(
            bound(Architecture::Rdna3, Peak::Matrix, &products, 64),
            80.0
        );
        let none = percent_of_peak(Architecture::Turing, Peak::Matrix, &products, 32);
        assert!(none.is_err());
    }

    #[test]
    fn double_precision_is_held_against_its_own_peak() {
        let doubles = hot(&[(8, Class::Fma, Unit::Double, 2)]);
        for (architecture, lanes) in [
            (Architecture::Rdna2, 64),
            (Architecture::Rdna3, 64),
            (Architecture::Ampere, 32),
        ] {
            let reached = bound(architecture, Peak::Double, &doubles, lanes);
            assert_eq!(reached, 100.0, "{architecture:?}");
        }
    }

    #[test]
    fn ceilings_without_a_peak_have_no_bound() {
        let peak = |id: &str| Peak::of_ceiling(&id.parse().unwrap());
        assert_eq!(peak("peak/f32/fma/device"), Some(Peak::Single));
        assert_eq!(peak("peak/f16/cooperative/device"), Some(Peak::Matrix));
        assert_eq!(peak("peak/i8-i32acc/dot/device"), None);
        assert_eq!(peak("peak/f32/cooperative/device"), None);
    }
}
