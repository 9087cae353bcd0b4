//! Number formats in memory, and the tensors made of them.

use std::ops::Range;

use half::f16;

use super::id::Precision;
use super::tolerance::{U_F16, U_F32, U_F64};

/// Format of one element of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// Signed 8-bit integer.
    I8,
    /// Signed 32-bit integer.
    I32,
}

impl Element {
    /// Bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// Bytes of a buffer of `count` elements: whole vectors of 16 bytes, so that
    /// kernels may load the last elements together with what is behind them.
    pub fn buffer_size(self, count: u64) -> u64 {
        (self.size() * count).next_multiple_of(16)
    }

    /// The name in WGSL. 8-bit integers have none: they are packed into words.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "u32",
            Self::I32 => "i32",
        }
    }

    /// Unit roundoff; 0 for integers, whose arithmetic is exact.
    pub fn roundoff(self) -> f64 {
        match self {
            Self::F64 => U_F64,
            Self::F32 => U_F32,
            Self::F16 => U_F16,
            Self::I8 | Self::I32 => 0.0,
        }
    }

    /// Smallest positive normal number; 0 for integers. Devices may take
    /// anything smaller for zero.
    pub fn smallest_normal(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 => f64::from(f32::MIN_POSITIVE),
            Self::F16 => f16::MIN_POSITIVE.to_f64(),
            Self::I8 | Self::I32 => 0.0,
        }
    }

    /// Largest finite number.
    pub fn largest(self) -> f64 {
        match self {
            Self::F64 => f64::MAX,
            Self::F32 => f64::from(f32::MAX),
            Self::F16 => f16::MAX.to_f64(),
            Self::I8 => f64::from(i8::MAX),
            Self::I32 => f64::from(i32::MAX),
        }
    }

    /// Writes `value` in this format into the first bytes of `bytes`, rounded to
    /// the nearest representable number.
    pub fn write(self, value: f64, bytes: &mut [u8]) {
        match self {
            Self::F64 => bytes[..8].copy_from_slice(&value.to_le_bytes()),
            Self::F32 => bytes[..4].copy_from_slice(&(value as f32).to_le_bytes()),
            Self::F16 => bytes[..2].copy_from_slice(&nearest_f16(value).to_le_bytes()),
            Self::I8 => bytes[0] = (value.round() as i8).to_le_bytes()[0],
            Self::I32 => bytes[..4].copy_from_slice(&(value.round() as i32).to_le_bytes()),
        }
    }

    /// The number of this format that is nearest to `value`, ties to even; of floats.
    pub fn nearest(self, value: f64) -> f64 {
        match self {
            Self::F16 => nearest_f16(value).to_f64(),
            Self::F32 => f64::from(value as f32),
            _ => value,
        }
    }

    /// The first `count` elements of `bytes`, widened for the reference, which is
    /// exact.
    pub fn read(self, bytes: &[u8], count: usize) -> Vec<f64> {
        let bytes = &bytes[..bytes.len().min(count * self.size() as usize)];
        match self {
            Self::F64 => elements(bytes, f64::from_le_bytes),
            Self::F32 => elements(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Self::F16 => elements(bytes, |b| f16::from_le_bytes(b).to_f64()),
            Self::I8 => elements(bytes, |b| f64::from(i8::from_le_bytes(b))),
            Self::I32 => elements(bytes, |b| f64::from(i32::from_le_bytes(b))),
        }
    }
}

/// The nearest half-precision number, ties to even, by the same bits everywhere:
/// processors' own instructions round once or twice, and the library without them
/// drops the lower 32 bits. Those are rounded to odd here, after which no later
/// rounding to nearest goes wrong (Boldo and Melquiond, IEEE Trans. Comput. 57(4),
/// 2008).
fn nearest_f16(value: f64) -> f16 {
    let bits = value.to_bits();
    let dropped = bits & 0xffff_ffff != 0;
    f16::from_f64_const(f64::from_bits(bits | u64::from(dropped) << 32))
}

fn elements<const N: usize>(bytes: &[u8], widen: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|&b| widen(b)).collect()
}

impl Precision {
    /// Format of the operands.
    pub fn operand(self) -> Element {
        match self {
            Self::F64 => Element::F64,
            Self::F32 | Self::None => Element::F32,
            Self::F16 | Self::F16F32acc => Element::F16,
            Self::I8I32acc => Element::I8,
            Self::I32 => Element::I32,
        }
    }

    /// Format in which products are added up, and of a matrix product's result.
    pub fn accumulator(self) -> Element {
        match self {
            Self::F16F32acc => Element::F32,
            Self::I8I32acc => Element::I32,
            other => other.operand(),
        }
    }
}

/// A buffer's contents and how to read them.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Little-endian elements, filled up with zeros to whole vectors.
    pub bytes: Vec<u8>,
    /// Their format.
    pub element: Element,
    /// How many there are.
    pub count: usize,
}

/// Elements that are widened at a time where all of them would fill memory.
const PART: usize = 1 << 16;

impl Tensor {
    /// A tensor of `count` zeros.
    pub fn zeros(element: Element, count: usize) -> Self {
        Self {
            bytes: vec![0; element.buffer_size(count as u64) as usize],
            element,
            count,
        }
    }

    /// A tensor of `values`, rounded to the element's format.
    pub fn new(element: Element, values: &[f64]) -> Self {
        let mut tensor = Self::zeros(element, values.len());
        let slots = tensor.bytes.chunks_mut(element.size() as usize);
        for (&value, slot) in values.iter().zip(slots) {
            element.write(value, slot);
        }
        tensor
    }

    /// The elements, widened.
    pub fn values(&self) -> Vec<f64> {
        self.part(0..self.count)
    }

    /// Some of the elements, widened.
    pub fn part(&self, range: Range<usize>) -> Vec<f64> {
        let first = range.start * self.element.size() as usize;
        self.element.read(&self.bytes[first..], range.len())
    }

    /// A tensor of some of the elements.
    pub fn cut(&self, range: Range<usize>) -> Self {
        let mut tensor = Self::zeros(self.element, range.len());
        let size = self.element.size() as usize;
        let bytes = &self.bytes[range.start * size..range.end * size];
        tensor.bytes[..bytes.len()].copy_from_slice(bytes);
        tensor
    }

    /// The root of the mean of the elements' squares.
    pub fn root_mean_square(&self) -> f64 {
        let square = |first| {
            let part = self.part(first..self.count.min(first + PART));
            part.iter().map(|v| v * v).sum::<f64>()
        };
        let sum: f64 = (0..self.count).step_by(PART).map(square).sum();
        (sum / self.count.max(1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_keeps_what_it_can_represent() {
        for element in [
            Element::F64,
            Element::F32,
            Element::F16,
            Element::I8,
            Element::I32,
        ] {
            let values = [0.0, 1.0, -1.0, 2.0, -127.0];
            let tensor = Tensor::new(element, &values);
            assert_eq!(tensor.values(), values, "{element:?}");
            assert_eq!(tensor.bytes.len() % 16, 0);
        }
    }

    /// 1 + 2⁻¹¹ lies half-way between 1 and the next half-precision number, and
    /// goes to the even one, 1; integers round to the nearest and saturate.
    #[test]
    fn values_are_rounded_to_the_nearest() {
        let through = |element, value| Tensor::new(element, &[value]).values()[0];
        assert_eq!(through(Element::F16, 1.0 + 1.0 / 2048.0), 1.0);
        assert_eq!(
            through(Element::F16, 1.0 + 3.0 / 2048.0),
            1.0 + 2.0 / 1024.0
        );
        // The least above a tie goes up, which rounding to single precision first, or
        // leaving out the last bits, would not find.
        assert_eq!(
            through(Element::F16, (1.0 + 1.0 / 2048.0f64).next_up()),
            1.0 + 1.0 / 1024.0
        );
        assert_eq!(
            through(Element::F16, (1.0 + 1.0 / 2048.0f64).next_down()),
            1.0
        );
        // 65520 is half-way from the largest number to the next power of two; half of
        // the least subnormal number, 2⁻²⁵, is half-way to zero.
        assert_eq!(through(Element::F16, 65520f64.next_down()), 65504.0);
        assert_eq!(through(Element::F16, 65520.0), f64::INFINITY);
        let least = 2f64.powi(-24);
        assert_eq!(through(Element::F16, least / 2.0), 0.0);
        assert_eq!(through(Element::F16, (least / 2.0).next_up()), least);
        assert_eq!(through(Element::F16, -1.5 * least), -2.0 * least);
        assert!(through(Element::F16, f64::NAN).is_nan());
        assert_eq!(through(Element::I8, 2.6), 3.0);
        assert_eq!(through(Element::I8, 1e9), 127.0);
    }
}
