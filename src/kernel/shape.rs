//! Problem sizes, as they stand in case ids and in the record.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::Operation;

/// How A and B of a product lie in memory, row-major.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// A is M×K, B is K×N.
    #[default]
    Nn,
    /// B is stored transposed, N×K.
    Nt,
    /// A is stored transposed, K×M.
    Tn,
}

/// Size of a matrix product: C (M×N) = A (M×K) · B (K×N), `batch` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct GemmShape {
    /// Independent products of this size.
    pub batch: u32,
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// Memory layout of A and B.
    pub layout: Layout,
}

impl GemmShape {
    /// Multiply-adds of the whole product, batch·M·N·K.
    pub fn macs(&self) -> u64 {
        [self.m, self.n, self.k]
            .iter()
            .fold(u64::from(self.batch), |p, &d| p * u64::from(d))
    }
}

/// Size of an attention call. Q is `[batch, heads, q_len, head_dim]`, K and V
/// are `[batch, kv_heads, kv_len, head_dim]`, all row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: u32,
    /// Query heads.
    pub heads: u32,
    /// Key/value heads; divides `heads` (grouped-query attention).
    pub kv_heads: u32,
    /// Query positions.
    pub q_len: u32,
    /// Key positions.
    pub kv_len: u32,
    /// Elements of one head's vector.
    pub head_dim: u32,
    /// Query i sees key j only where j ≤ i + kv_len − q_len.
    pub causal: bool,
}

impl AttentionShape {
    /// (query, key) pairs of one head before masking.
    pub fn pairs(&self) -> u64 {
        u64::from(self.q_len) * u64::from(self.kv_len)
    }

    /// Multiply-adds of Q·Kᵀ and P·V together, before masking.
    pub fn macs(&self) -> u64 {
        2 * u64::from(self.batch) * u64::from(self.heads) * self.pairs() * u64::from(self.head_dim)
    }

    /// Number of keys that query `i` sees.
    pub fn visible_keys(&self, i: u32) -> u32 {
        if !self.causal {
            return self.kv_len;
        }
        let last = i64::from(i) + i64::from(self.kv_len) - i64::from(self.q_len);
        u32::try_from(last + 1).unwrap_or(0).min(self.kv_len)
    }
}

/// Problem size of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Shape {
    /// A matrix product.
    Gemm(GemmShape),
    /// An attention call.
    Attention(AttentionShape),
    /// The whole device, sized by the harness (peak).
    Device,
    /// Working set: all arrays of the kernel together (bandwidth).
    WorkingSet {
        /// Bytes of all arrays together.
        bytes: u64,
    },
    /// One workgroup that stores one word (latency).
    Empty,
}

/// A shape that does not parse, with what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a shape of {operation}: expected {expected}")]
pub struct ShapeError {
    text: String,
    operation: Operation,
    expected: &'static str,
}

/// Multiply-adds beyond which a shape is refused: far more than a run has time for,
/// and so few that neither counts of operations nor of bytes overflow.
const MAX_MACS: u128 = 1 << 58;

impl Shape {
    /// Parses the shape part of a case id of `operation`.
    ///
    /// # Errors
    /// [`ShapeError`] when the text is not of that operation's form, a dimension
    /// is zero, or the whole is absurdly large.
    pub fn parse(operation: Operation, text: &str) -> Result<Self, ShapeError> {
        let (parsed, expected) = match operation {
            Operation::Matmul => (
                parse_gemm(text).map(Self::Gemm),
                "[bBATCH-]MxNxK[-nt|-tn] with sizes of at least 1 and at most 2^58 multiply-adds, such as 1024x1024x1024",
            ),
            Operation::Attention => (
                parse_attention(text).map(Self::Attention),
                "bBATCHhHEADS[kvHEADS]sLENGTHdDIM[-causal] or …qLENGTHkLENGTHd…, such as b1h8s512d64-causal, where the key/value heads divide the heads",
            ),
            Operation::Peak => ((text == "device").then_some(Self::Device), "device"),
            Operation::Bandwidth => (
                parse_bytes(text).map(|bytes| Self::WorkingSet { bytes }),
                "a working set in whole KiB, MiB or GiB, such as 256MiB",
            ),
            Operation::Latency => ((text == "empty").then_some(Self::Empty), "empty"),
        };
        parsed.ok_or_else(|| ShapeError {
            text: text.to_owned(),
            operation,
            expected,
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gemm(g) => {
                if g.batch > 1 {
                    write!(f, "b{}-", g.batch)?;
                }
                write!(f, "{}x{}x{}", g.m, g.n, g.k)?;
                f.write_str(match g.layout {
                    Layout::Nn => "",
                    Layout::Nt => "-nt",
                    Layout::Tn => "-tn",
                })
            }
            Self::Attention(a) => {
                write!(f, "b{}h{}", a.batch, a.heads)?;
                if a.kv_heads != a.heads {
                    write!(f, "kv{}", a.kv_heads)?;
                }
                if a.q_len == a.kv_len {
                    write!(f, "s{}", a.q_len)?;
                } else {
                    write!(f, "q{}k{}", a.q_len, a.kv_len)?;
                }
                write!(f, "d{}", a.head_dim)?;
                f.write_str(if a.causal { "-causal" } else { "" })
            }
            Self::Device => f.write_str("device"),
            Self::WorkingSet { bytes } => {
                let (shift, unit) = [(30, "GiB"), (20, "MiB")]
                    .into_iter()
                    .find(|(shift, _)| bytes % (1 << shift) == 0)
                    .unwrap_or((10, "KiB"));
                write!(f, "{}{unit}", bytes >> shift)
            }
            Self::Empty => f.write_str("empty"),
        }
    }
}

/// A decimal number ≥ 1 at the start of `text`, without sign or leading zero,
/// and the rest.
fn take_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.starts_with('0') {
        return None;
    }
    Some((digits.parse::<NonZeroU32>().ok()?.get(), rest))
}

fn take_prefixed<'a>(text: &'a str, prefix: &str) -> Option<(u32, &'a str)> {
    take_number(text.strip_prefix(prefix)?)
}

fn within_limit(dims: &[u32]) -> bool {
    dims.iter()
        .try_fold(1u128, |p, &d| p.checked_mul(u128::from(d)))
        .is_some_and(|p| p <= MAX_MACS)
}

fn parse_gemm(text: &str) -> Option<GemmShape> {
    let (batch, rest) = match take_prefixed(text, "b") {
        Some((batch, rest)) => (batch, rest.strip_prefix('-')?),
        None => (1, text),
    };
    let (m, rest) = take_number(rest)?;
    let (n, rest) = take_prefixed(rest, "x")?;
    let (k, rest) = take_prefixed(rest, "x")?;
    let layout = match rest {
        "" => Layout::Nn,
        "-nt" => Layout::Nt,
        "-tn" => Layout::Tn,
        _ => return None,
    };
    within_limit(&[batch, m, n, k]).then_some(GemmShape {
        batch,
        m,
        n,
        k,
        layout,
    })
}

fn parse_attention(text: &str) -> Option<AttentionShape> {
    let (batch, rest) = take_prefixed(text, "b")?;
    let (heads, rest) = take_prefixed(rest, "h")?;
    let (kv_heads, rest) = take_prefixed(rest, "kv").unwrap_or((heads, rest));
    let (q_len, kv_len, rest) = match take_prefixed(rest, "s") {
        Some((s, rest)) => (s, s, rest),
        None => {
            let (q, rest) = take_prefixed(rest, "q")?;
            let (k, rest) = take_prefixed(rest, "k")?;
            (q, k, rest)
        }
    };
    let (head_dim, rest) = take_prefixed(rest, "d")?;
    let causal = match rest {
        "" => false,
        "-causal" => true,
        _ => return None,
    };
    // A device counts the heads of all sequences in 32 bits.
    batch.checked_mul(heads)?;
    let fits = within_limit(&[batch, heads, q_len, kv_len, head_dim]);
    (fits && heads % kv_heads == 0).then_some(AttentionShape {
        batch,
        heads,
        kv_heads,
        q_len,
        kv_len,
        head_dim,
        causal,
    })
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (count, unit) = take_number(text)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    u64::from(count)
        .checked_mul(1 << shift)
        .filter(|&b| u128::from(b) <= MAX_MACS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gemm_shapes_round_trip(batch in 1u32..9, m in 1u32..9000, n in 1u32..9000, k in 1u32..9000, l in 0..3) {
            let layout = [Layout::Nn, Layout::Nt, Layout::Tn][l as usize];
            let shape = Shape::Gemm(GemmShape { batch, m, n, k, layout });
            prop_assert_eq!(Shape::parse(Operation::Matmul, &shape.to_string()), Ok(shape));
        }

        #[test]
        fn attention_shapes_round_trip(batch in 1u32..9, kv in 1u32..9, group in 1u32..9, q in 1u32..9000, k in 1u32..9000, d in 1u32..257, causal: bool) {
            let shape = Shape::Attention(AttentionShape {
                batch, heads: kv * group, kv_heads: kv, q_len: q, kv_len: k, head_dim: d, causal,
            });
            prop_assert_eq!(Shape::parse(Operation::Attention, &shape.to_string()), Ok(shape));
        }

        #[test]
        fn working_sets_round_trip(kib in 1u64..(1 << 26)) {
            let shape = Shape::WorkingSet { bytes: kib << 10 };
            prop_assert_eq!(Shape::parse(Operation::Bandwidth, &shape.to_string()), Ok(shape));
        }

        #[test]
        fn no_text_panics_the_parser(text in ".{0,40}") {
            for &operation in Operation::ALL {
                if let Ok(shape) = Shape::parse(operation, &text) {
                    let again = Shape::parse(operation, &shape.to_string());
                    prop_assert_eq!(again, Ok(shape));
                }
            }
        }
    }

    #[test]
    fn malformed_and_absurd_shapes_are_refused() {
        for text in [
            "", "1x1", "1x1x", "0x1x1", "-1x1x1", "01x1x1", "1x1x1-tt", "b0-1x1x1",
        ] {
            assert!(Shape::parse(Operation::Matmul, text).is_err(), "{text}");
        }
        let absurd = "4294967295x4294967295x4294967295";
        assert!(Shape::parse(Operation::Matmul, absurd).is_err());
        assert!(Shape::parse(Operation::Attention, "b1h8kv3s16d64").is_err());
        assert!(Shape::parse(Operation::Attention, "b65536h65536s1d1").is_err());
        // 2¹⁵·2¹⁶·2²⁹ = 2⁶⁰ elements of each of Q, K, V and O have 2⁶⁴ bytes.
        assert!(Shape::parse(Operation::Attention, "b32768h65536s1d536870912").is_err());
        assert!(Shape::parse(Operation::Bandwidth, "256MB").is_err());
    }

    #[test]
    fn causal_masks_align_at_the_last_query_and_key() {
        let shape = |q_len, kv_len| AttentionShape {
            batch: 1,
            heads: 1,
            kv_heads: 1,
            q_len,
            kv_len,
            head_dim: 64,
            causal: true,
        };
        assert_eq!([0, 3].map(|i| shape(4, 4).visible_keys(i)), [1, 4]);
        assert_eq!([0, 1].map(|i| shape(2, 5).visible_keys(i)), [4, 5]);
        assert_eq!([0, 2, 3].map(|i| shape(4, 2).visible_keys(i)), [0, 1, 2]);
    }
}
