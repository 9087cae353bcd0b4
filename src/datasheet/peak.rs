//! Which figure a measured rate is held against.

use super::model::{Datasheet, Figure, FigureKind};
use crate::units::{GbytesPerSecond, Tflops, Watts};

/// What a kernel exercises, as far as datasheets tell the rates apart.
///
/// Packed INT8 dot products are left out on purpose: datasheets state INT8 for
/// matrix units, which those instructions do not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeakKind {
    /// Vector FP64.
    Fp64,
    /// Vector FP32.
    Fp32,
    /// FP32 on matrix units.
    Fp32Matrix,
    /// Vector FP16.
    Fp16,
    /// FP16 on matrix units, dense, accumulating in FP32.
    Fp16TensorF32Acc,
    /// FP16 on matrix units, dense, accumulating in FP16.
    Fp16TensorF16Acc,
    /// Device memory.
    MemoryBandwidth,
}

impl PeakKind {
    /// All of them.
    pub const ALL: [PeakKind; 7] = [
        PeakKind::Fp64,
        PeakKind::Fp32,
        PeakKind::Fp32Matrix,
        PeakKind::Fp16,
        PeakKind::Fp16TensorF32Acc,
        PeakKind::Fp16TensorF16Acc,
        PeakKind::MemoryBandwidth,
    ];

    /// The figure that states this peak.
    pub fn figure(self) -> FigureKind {
        match self {
            PeakKind::Fp64 => FigureKind::Fp64,
            PeakKind::Fp32 => FigureKind::Fp32,
            PeakKind::Fp32Matrix => FigureKind::Fp32Matrix,
            PeakKind::Fp16 => FigureKind::Fp16,
            PeakKind::Fp16TensorF32Acc => FigureKind::Fp16Tensor,
            PeakKind::Fp16TensorF16Acc => FigureKind::Fp16TensorFp16Acc,
            PeakKind::MemoryBandwidth => FigureKind::MemoryBandwidth,
        }
    }
}

/// A rate with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Operations.
    Compute(Tflops),
    /// Memory traffic.
    Memory(GbytesPerSecond),
}

/// The peak of one reported device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak<'c> {
    /// The peak, for one reported device.
    pub rate: Rate,
    /// What the datasheet calls it.
    pub kind: FigureKind,
    /// The figure as stated, for the whole product.
    pub figure: &'c Figure,
}

impl Peak<'_> {
    /// The peak in TFLOP/s, if it is one of computation.
    pub fn tflops(&self) -> Option<Tflops> {
        match self.rate {
            Rate::Compute(tflops) => Some(tflops),
            Rate::Memory(_) => None,
        }
    }

    /// The peak in GB/s, if it is one of memory.
    pub fn gbytes_per_second(&self) -> Option<GbytesPerSecond> {
        match self.rate {
            Rate::Memory(bandwidth) => Some(bandwidth),
            Rate::Compute(_) => None,
        }
    }
}

impl Datasheet {
    /// The peak of one reported device, or `None` where no source gives the
    /// figure.
    pub fn peak(&self, kind: PeakKind) -> Option<Peak<'_>> {
        let figure_kind = kind.figure();
        let figure = self.figure(figure_kind)?;
        let value = self.per_device(figure_kind)?;
        let rate = match kind {
            PeakKind::MemoryBandwidth => Rate::Memory(GbytesPerSecond(value)),
            _ => Rate::Compute(Tflops(value)),
        };
        Some(Peak {
            rate,
            kind: figure_kind,
            figure,
        })
    }

    /// The vendor's board power for one reported device. It is not the limit
    /// that is configured on a machine.
    pub fn board_power(&self) -> Option<Watts> {
        self.per_device(FigureKind::BoardPower).map(Watts)
    }

    /// The power at which the peaks of one reported device are quoted: the board's, or
    /// the TDP where nothing else is stated.
    pub fn rated_power(&self) -> Option<Watts> {
        let tdp = || self.per_device(FigureKind::Tdp).map(Watts);
        self.board_power().or_else(tdp)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    fn builtin(id: &str) -> &'static Datasheet {
        Catalogue::builtin()
            .get(id)
            .unwrap_or_else(|| panic!("{id} is not in the catalogue"))
    }

    fn tflops(id: &str, kind: PeakKind) -> Option<f64> {
        builtin(id).peak(kind)?.tflops().map(|t| t.0)
    }

    #[test]
    fn each_kind_reads_its_own_figure() {
        let id = "nvidia-rtx-4090";
        assert_eq!(tflops(id, PeakKind::Fp64), Some(1.29));
        assert_eq!(tflops(id, PeakKind::Fp32), Some(82.6));
        assert_eq!(tflops(id, PeakKind::Fp16), Some(82.6));
        assert_eq!(tflops(id, PeakKind::Fp16TensorF32Acc), Some(165.2));
        assert_eq!(tflops(id, PeakKind::Fp16TensorF16Acc), Some(330.3));
        let memory = builtin(id).peak(PeakKind::MemoryBandwidth).unwrap();
        assert_eq!(memory.gbytes_per_second(), Some(GbytesPerSecond(1008.0)));
        assert_eq!(memory.tflops(), None);
        assert_eq!(memory.kind, FigureKind::MemoryBandwidth);
    }

    #[test]
    fn a_figure_that_no_source_gives_is_no_peak() {
        assert_eq!(tflops("nvidia-h100-pcie", PeakKind::Fp16), None);
        assert_eq!(tflops("nvidia-rtx-4080", PeakKind::Fp16TensorF32Acc), None);
        assert_eq!(tflops("nvidia-a10", PeakKind::Fp16TensorF16Acc), None);
        for kind in PeakKind::ALL {
            assert_eq!(builtin("hygon-dcu-z100").peak(kind), None);
        }
    }

    #[test]
    fn a_reported_device_of_the_mi250x_has_half_of_everything_but_the_clock() {
        let module = builtin("amd-mi250x");
        assert_eq!(tflops("amd-mi250x", PeakKind::Fp32), Some(23.95));
        assert_eq!(tflops("amd-mi250x", PeakKind::Fp32Matrix), Some(47.85));
        assert_eq!(
            module
                .peak(PeakKind::MemoryBandwidth)
                .and_then(|peak| peak.gbytes_per_second()),
            Some(GbytesPerSecond(1640.0))
        );
        assert_eq!(module.board_power(), Some(Watts(280.0)));
        assert_eq!(module.per_device(FigureKind::BoostClock), Some(1700.0));
        assert_eq!(module.figure(FigureKind::Fp32).map(|f| f.value), Some(47.9));
    }
}
