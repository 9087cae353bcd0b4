//! Seeded inputs: the same seed gives the same bits on every platform.

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::element::{Element, Tensor};

/// How the elements of the inputs are distributed. Input bits change speed and
/// power (arXiv 2409.18324 measures almost 40 % in power), so the distribution
/// is stored with every figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Independent standard normal values.
    #[default]
    Normal,
}

/// A seed that nobody chose. 32 bits, which every JSON reader keeps exactly.
pub fn fresh_seed() -> u64 {
    u64::from(Uuid::new_v4().as_fields().0)
}

/// Values are drawn in blocks of this many from streams of their own, so that
/// filling a tensor in parallel does not depend on the number of threads.
const BLOCK: usize = 1 << 16;

/// Standard deviation of 8-bit integers: four of them fit into the range, and
/// all bits are in use.
const I8_DEVIATION: f64 = 32.0;

/// `count` normal values for tensor number `tensor` of a problem: of standard
/// deviation 1, or 32 for integers.
pub fn normal(seed: u64, tensor: u64, count: usize, element: Element) -> Tensor {
    let deviation = match element {
        Element::I8 | Element::I32 => I8_DEVIATION,
        _ => 1.0,
    };
    let mut values = Tensor::zeros(element, count);
    let size = element.size() as usize;
    values.bytes[..count * size]
        .par_chunks_mut(BLOCK * size)
        .enumerate()
        .for_each(|(block, chunk)| {
            let mut rng = stream(seed, tensor, block as u64);
            for pair in chunk.chunks_mut(2 * size) {
                let drawn = normal_pair(&mut rng);
                for (slot, value) in pair.chunks_mut(size).zip(drawn) {
                    element.write(deviation * value, slot);
                }
            }
        });
    values
}

/// A generator for one purpose: `seed` is the run's, the other two tell the
/// uses apart.
pub fn stream(seed: u64, tensor: u64, block: u64) -> Pcg64Mcg {
    let low = u128::from(splitmix64(seed ^ splitmix64(block)));
    let high = u128::from(splitmix64(seed.wrapping_add(splitmix64(!tensor))));
    Pcg64Mcg::new(high << 64 | low)
}

/// A uniform index below `bound` (> 0). The modulo bias is below 2⁻³².
pub fn index(rng: &mut Pcg64Mcg, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// Box–Muller with libm's functions, which compute the same bits everywhere;
/// the platform's own do not.
fn normal_pair(rng: &mut Pcg64Mcg) -> [f64; 2] {
    let u = 1.0 - uniform(rng);
    let angle = 2.0 * std::f64::consts::PI * uniform(rng);
    let radius = libm::sqrt(-2.0 * libm::log(u));
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

/// Uniform in [0, 1) with 53 bits.
fn uniform(rng: &mut Pcg64Mcg) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Finaliser of SplitMix64 (Steele, Lea, Flood 2014): spreads nearby seeds.
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_depend_on_the_number_of_threads() {
        let on = |threads| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap()
                .install(|| normal(7, 0, 3 * BLOCK + 5, Element::F32).bytes)
        };
        assert_eq!(on(1), on(3));
    }

    /// Mean 0 ± 4/√n and variance 1 ± 4·√(2/n) for n = 2²⁰ (four standard errors).
    #[test]
    fn values_are_standard_normal_and_differ_by_seed_and_tensor() {
        let n = 1 << 20;
        let values = |seed, tensor| normal(seed, tensor, n, Element::F32).values();
        let drawn = values(1, 0);
        let mean = drawn.iter().sum::<f64>() / n as f64;
        let variance = drawn.iter().map(|v| v.powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 4.0 / 1024.0, "{mean}");
        assert!(
            (variance - 1.0).abs() < 4.0 * f64::sqrt(2.0) / 1024.0,
            "{variance}"
        );
        assert_ne!(drawn, values(2, 0));
        assert_ne!(drawn, values(1, 1));
    }

    /// The same draws in every format, rounded: two values of 2⁻¹¹ and half an
    /// integer at most from the one in double precision.
    #[test]
    fn formats_differ_by_rounding_only() {
        let exact = normal(3, 0, 1001, Element::F64).values();
        let half = normal(3, 0, 1001, Element::F16).values();
        let byte = normal(3, 0, 1001, Element::I8).values();
        for ((exact, half), byte) in exact.iter().zip(half).zip(byte) {
            assert!((exact - half).abs() <= exact.abs() / 2048.0 + 1e-7);
            assert!((I8_DEVIATION * exact - byte).abs() <= 0.5);
        }
    }
}
