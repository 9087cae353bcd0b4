//! Seeded inputs: the same seed gives the same bits on every platform.

use std::fmt;
use std::str::FromStr;

use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::element::{Element, Tensor};

/// How the elements of the inputs of products and attention are distributed.
/// Input bits change speed and power (arXiv 2409.18324 measures almost 40 % in
/// power), so the distribution is stored with every figure. In text `normal`,
/// `uniform`, `zeros`, `sparse:0.5` or `sorted`; and for arithmetic ceilings, which
/// have inputs of their own, `random-mantissas`, `random-integers` or
/// `exact-integers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// Independent normal values: of standard deviation 1, or 32 for integers.
    #[default]
    Normal,
    /// Independent values, all equally likely: in [−1, 1), or from −127 to 127
    /// for integers.
    Uniform,
    /// Nothing but zeros.
    Zeros,
    /// Normal values of which this share, chosen at random, is zero.
    Sparse(Share),
    /// Normal values in ascending order as they lie in memory.
    Sorted,
    /// Of a ceiling: floating-point numbers whose mantissas are random in every bit.
    RandomMantissas,
    /// Of a ceiling: integers that are random in every bit.
    RandomIntegers,
    /// Of a ceiling: whole numbers, most of them powers of two, with which every
    /// result is exact.
    ExactIntegers,
}

/// A part of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// The share; `None` for what is below 0, above 1 or no number.
    pub fn new(value: f64) -> Option<Self> {
        // Adding 0 turns −0 into 0, which has another text.
        (0.0..=1.0).contains(&value).then_some(Self(value + 0.0))
    }
}

/// No share is NaN.
impl Eq for Share {}

/// A text that names no distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// The name is unknown.
    #[error("unknown input data \"{0}\"; known: normal, uniform, zeros, sparse:SHARE, sorted")]
    Unknown(String),
    /// The share of zeros is out of range.
    #[error("\"{0}\" is not a share of zeros: expected a number from 0 to 1, as in sparse:0.5")]
    Share(String),
}

impl Data {
    /// What arithmetic ceilings multiply, by name.
    const OF_CEILINGS: [(&'static str, Self); 3] = [
        ("random-mantissas", Self::RandomMantissas),
        ("random-integers", Self::RandomIntegers),
        ("exact-integers", Self::ExactIntegers),
    ];

    /// Whether it is what an arithmetic ceiling multiplies, which no other case does.
    pub fn is_of_a_ceiling(self) -> bool {
        Self::OF_CEILINGS.iter().any(|(_, data)| *data == self)
    }

    /// Whether nobody has to ask for it: normal values, and what ceilings multiply.
    pub fn is_usual(self) -> bool {
        self == Self::Normal || self.is_of_a_ceiling()
    }

    /// Whether power drawn with it is that of ordinary numbers. Multiplying by powers
    /// of two leaves most of a multiplier at rest.
    pub fn shows_efficiency(self) -> bool {
        self != Self::ExactIntegers
    }

    /// Whether elements are drawn independently of one another around a mean of
    /// zero, which bounds on rounding may then rely on.
    pub fn is_independent(self) -> bool {
        self != Self::Sorted
    }

    /// Whether every element is zero, so that nothing is ever rounded.
    pub fn is_zero(self) -> bool {
        self == Self::Zeros || self == Self::Sparse(Share(1.0))
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.pad("normal"),
            Self::Uniform => f.pad("uniform"),
            Self::Zeros => f.pad("zeros"),
            Self::Sparse(Share(share)) => f.pad(&format!("sparse:{share}")),
            Self::Sorted => f.pad("sorted"),
            ceiling => {
                let known = Self::OF_CEILINGS.iter().find(|(_, data)| data == ceiling);
                f.pad(known.map_or("", |(name, _)| name))
            }
        }
    }
}

/// A distribution that can be asked for.
impl FromStr for Data {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text.split_once(':') {
            None => match text {
                "normal" => Ok(Self::Normal),
                "uniform" => Ok(Self::Uniform),
                "zeros" => Ok(Self::Zeros),
                "sorted" => Ok(Self::Sorted),
                "sparse" => Err(DataError::Share(String::new())),
                _ => Err(DataError::Unknown(text.to_owned())),
            },
            Some(("sparse", share)) => {
                let value = share.parse().ok().and_then(Share::new);
                let share = value.ok_or_else(|| DataError::Share(share.to_owned()))?;
                Ok(Self::Sparse(share))
            }
            Some(_) => Err(DataError::Unknown(text.to_owned())),
        }
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let of_a_ceiling = Self::OF_CEILINGS.iter().find(|(name, _)| *name == text);
        match of_a_ceiling {
            Some((_, data)) => Ok(*data),
            None => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Data {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "How the elements of the inputs are distributed; the share of zeros follows `sparse:`. The last three are what arithmetic ceilings multiply.",
            "pattern": "^(normal|uniform|zeros|sorted|sparse:[0-9.]+|random-mantissas|random-integers|exact-integers)$",
        })
    }
}

/// What the inputs of a problem are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// Their distribution.
    pub data: Data,
}

impl Draw {
    /// Normal values.
    pub fn normal(seed: u64) -> Self {
        Self {
            seed,
            data: Data::Normal,
        }
    }

    /// `count` values for tensor number `tensor` of a problem.
    pub fn tensor(self, tensor: u64, count: usize, element: Element) -> Tensor {
        match self.data {
            // Ceilings draw their own.
            Data::Normal | Data::RandomMantissas | Data::RandomIntegers | Data::ExactIntegers => {
                normal(self.seed, tensor, count, element)
            }
            Data::Uniform => uniform(self.seed, tensor, count, element),
            Data::Zeros => Tensor::zeros(element, count),
            Data::Sparse(share) => sparse(self.seed, tensor, count, element, share),
            Data::Sorted => {
                let mut values = normal(self.seed, tensor, count, element).values();
                // The order is total, so that equal elements have equal bits and
                // the outcome does not depend on the number of threads.
                values.par_sort_unstable_by(f64::total_cmp);
                Tensor::new(element, &values)
            }
        }
    }
}

/// A seed that nobody chose. 32 bits, which every JSON reader keeps exactly.
pub fn fresh_seed() -> u64 {
    u64::from(Uuid::new_v4().as_fields().0)
}

/// Values are drawn in blocks of this many from streams of their own, so that
/// filling a tensor in parallel does not depend on the number of threads.
const BLOCK: usize = 1 << 16;

/// Added to a tensor's number for the stream that says which of its elements are
/// zero. Streams of checks have numbers from 100 on.
const MASK: u64 = 200;

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
    let size = element.size() as usize;
    in_blocks(count, element, |block, chunk| {
        let mut rng = stream(seed, tensor, block);
        for pair in chunk.chunks_mut(2 * size) {
            let drawn = normal_pair(&mut rng);
            for (slot, value) in pair.chunks_mut(size).zip(drawn) {
                element.write(deviation * value, slot);
            }
        }
    })
}

/// `count` values that are all equally likely. Floats are multiples of the
/// format's unit roundoff u in [−1, 1): those are exact, so that none is rounded
/// up to 1. Integers take all of their bits.
fn uniform(seed: u64, tensor: u64, count: usize, element: Element) -> Tensor {
    let (unit, least, choices) = match element.roundoff() {
        0.0 => (1.0, -127.0, 255.0),
        u => (u, -1.0, 2.0 / u),
    };
    let size = element.size() as usize;
    in_blocks(count, element, |block, chunk| {
        let mut rng = stream(seed, tensor, block);
        for slot in chunk.chunks_mut(size) {
            element.write(
                least + unit * (choices * unit_interval(&mut rng)).floor(),
                slot,
            );
        }
    })
}

/// The normal values of the same seed, each of them zero with a probability of
/// `zeros`.
fn sparse(seed: u64, tensor: u64, count: usize, element: Element, zeros: Share) -> Tensor {
    let mut values = normal(seed, tensor, count, element);
    let size = element.size() as usize;
    fill_blocks(&mut values, |block, chunk| {
        let mut rng = stream(seed, MASK + tensor, block);
        for slot in chunk.chunks_mut(size) {
            if unit_interval(&mut rng) < zeros.0 {
                slot.fill(0);
            }
        }
    });
    values
}

/// A tensor whose blocks `fill` writes, given their numbers.
fn in_blocks(count: usize, element: Element, fill: impl Fn(u64, &mut [u8]) + Sync) -> Tensor {
    let mut values = Tensor::zeros(element, count);
    fill_blocks(&mut values, fill);
    values
}

fn fill_blocks(values: &mut Tensor, fill: impl Fn(u64, &mut [u8]) + Sync) {
    let size = values.element.size() as usize;
    values.bytes[..values.count * size]
        .par_chunks_mut(BLOCK * size)
        .enumerate()
        .for_each(|(block, chunk)| fill(block as u64, chunk));
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
    let u = 1.0 - unit_interval(rng);
    let angle = 2.0 * std::f64::consts::PI * unit_interval(rng);
    let radius = libm::sqrt(-2.0 * libm::log(u));
    [radius * libm::cos(angle), radius * libm::sin(angle)]
}

/// Uniform in [0, 1) with 53 bits.
fn unit_interval(rng: &mut Pcg64Mcg) -> f64 {
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
    use proptest::prelude::*;

    use super::*;

    /// Every distribution, with a quarter of zeros.
    fn every() -> [Data; 5] {
        let quarter = Data::Sparse(Share(0.25));
        [
            Data::Normal,
            Data::Uniform,
            Data::Zeros,
            quarter,
            Data::Sorted,
        ]
    }

    fn draw(data: Data, count: usize, element: Element) -> Vec<f64> {
        Draw { seed: 3, data }.tensor(0, count, element).values()
    }

    #[test]
    fn values_do_not_depend_on_the_number_of_threads() {
        for data in every() {
            let on = |threads| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap()
                    .install(|| Draw { seed: 7, data }.tensor(0, 3 * BLOCK + 5, Element::F32))
                    .bytes
            };
            assert_eq!(on(1), on(3), "{data}");
        }
    }

    /// A uniform value in [−1, 1) has mean 0 and variance 1/3, its square a
    /// variance of 1/5 − 1/9 = 4/45; an integer from −127 to 127 a variance of
    /// (255² − 1)/12. Four standard errors for n = 2²⁰.
    #[test]
    fn uniform_values_fill_their_range_evenly() {
        let n = 1 << 20;
        let root = 1024.0;
        for (element, unit) in [
            (Element::F64, 1.0),
            (Element::F32, 1.0),
            (Element::F16, 1.0),
            (Element::I8, 127.5),
        ] {
            let drawn = draw(Data::Uniform, n, element);
            let mean = drawn.iter().sum::<f64>() / n as f64 / unit;
            let square = drawn.iter().map(|v| (v / unit).powi(2)).sum::<f64>() / n as f64;
            // The grid of f16 is 2⁻¹¹ wide and its mean half of that below 0.
            assert!((mean + element.roundoff() / 2.0).abs() < 4.0 * (1f64 / 3.0).sqrt() / root);
            assert!((square - 1.0 / 3.0).abs() < 4.0 * (4f64 / 45.0).sqrt() / root);
            let range = -unit.floor()..=unit.floor() - element.roundoff();
            assert!(drawn.iter().all(|v| range.contains(v)), "{element:?}");
        }
        let bytes = draw(Data::Uniform, n, Element::I8);
        let extremes = [-127.0, 127.0].map(|extreme| bytes.contains(&extreme));
        assert_eq!(extremes, [true, true]);
    }

    #[test]
    fn zeros_are_zero() {
        for element in [Element::F32, Element::F16, Element::I8] {
            let all = Data::Sparse(Share(1.0));
            for data in [Data::Zeros, all] {
                assert!(draw(data, 1001, element).iter().all(|v| *v == 0.0));
                assert!(data.is_zero());
            }
        }
    }

    /// A share of 1/4 with a standard error of √(3/16/n), four of which are
    /// allowed for n = 2²⁰; what is not zero is what it was.
    #[test]
    fn a_share_of_sparse_values_is_zero_and_the_rest_is_normal() {
        let n = 1 << 20;
        let dense = draw(Data::Normal, n, Element::F32);
        let sparse = draw(Data::Sparse(Share(0.25)), n, Element::F32);
        let zeros = sparse.iter().filter(|v| **v == 0.0).count();
        let share = zeros as f64 / n as f64;
        assert!(
            (share - 0.25).abs() < 4.0 * (3f64 / 16.0).sqrt() / 1024.0,
            "{share}"
        );
        let kept = dense.iter().zip(&sparse).filter(|(_, v)| **v != 0.0);
        assert!(kept.into_iter().all(|(dense, sparse)| dense == sparse));
        assert_eq!(draw(Data::Sparse(Share(0.0)), n, Element::F32), dense);
    }

    #[test]
    fn sorted_values_are_the_normal_ones_in_order() {
        for element in [Element::F64, Element::F32, Element::F16, Element::I8] {
            let sorted = draw(Data::Sorted, 3 * BLOCK + 5, element);
            assert!(sorted.is_sorted(), "{element:?}");
            let mut normal = draw(Data::Normal, 3 * BLOCK + 5, element);
            normal.sort_by(f64::total_cmp);
            assert_eq!(sorted, normal, "{element:?}");
        }
    }

    #[test]
    fn a_distribution_is_a_text_in_reports() {
        assert_eq!(serde_json::to_string(&Data::Normal).unwrap(), "\"normal\"");
        let sparse: Data = serde_json::from_str("\"sparse:0.5\"").unwrap();
        assert_eq!(sparse, Data::Sparse(Share(0.5)));
        assert!(serde_json::from_str::<Data>("\"nonsense\"").is_err());
    }

    #[test]
    fn errors_name_the_choices_and_the_range() {
        let message = |text: &str| text.parse::<Data>().unwrap_err().to_string();
        assert_eq!(
            message("gaussian"),
            "unknown input data \"gaussian\"; known: normal, uniform, zeros, sparse:SHARE, sorted"
        );
        assert!(message("zeros:1").contains("\"zeros:1\""));
        for text in [
            "sparse",
            "sparse:",
            "sparse:1.1",
            "sparse:-0.1",
            "sparse:NaN",
            "sparse:50%",
        ] {
            assert!(message(text).contains("a number from 0 to 1"), "{text}");
        }
    }

    fn data() -> impl Strategy<Value = Data> {
        prop_oneof![
            prop::sample::select(every().to_vec()),
            (0.0..=1.0).prop_map(|share| Data::Sparse(Share::new(share).unwrap())),
        ]
    }

    proptest! {
        #[test]
        fn every_distribution_survives_a_round_trip(data in data()) {
            prop_assert_eq!(data.to_string().parse(), Ok(data));
            let json = serde_json::to_string(&data).unwrap();
            prop_assert_eq!(serde_json::from_str::<Data>(&json).unwrap(), data);
        }

        #[test]
        fn texts_never_panic(text in "\\PC{0,12}|sparse:\\PC{0,8}") {
            if let Ok(data) = text.parse::<Data>() {
                prop_assert_eq!(data.to_string().parse(), Ok(data));
            }
        }
    }

    /// They stand in reports, and nobody can ask for them.
    #[test]
    fn what_ceilings_multiply_is_read_and_not_parsed() {
        for (name, data) in Data::OF_CEILINGS {
            let json = format!("\"{name}\"");
            assert_eq!(serde_json::to_string(&data).unwrap(), json);
            assert_eq!(serde_json::from_str::<Data>(&json).unwrap(), data);
            assert!(name.parse::<Data>().is_err());
            assert!(data.is_usual() && data.is_of_a_ceiling());
        }
        assert!(Data::Normal.is_usual() && !Data::Normal.is_of_a_ceiling());
        assert!(!Data::Zeros.is_usual());
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
