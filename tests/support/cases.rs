//! Shapes at the edges of what kernels divide their work into, shared by the
//! tests that run shaders and those that only look at their texts.

use flopwatt::kernel::Kernel;
use flopwatt::kernel::id::{Operation, Precision};
use flopwatt::kernel::shape::Shape;

/// One element; less than a vector, a tile, a workgroup; exactly one; one more
/// or less; rows that are whole words and longer than a tile; long and thin both
/// ways; each memory layout, in vectors of four and not; several in a batch.
const MATMUL: &[&str] = &[
    "1x1x1",
    "1x1x17",
    "3x5x7",
    "17x1x33",
    "65x63x31",
    "64x64x64",
    "129x130x131",
    "66x68x70",
    "1000x7x3",
    "1x1000x1",
    "17x1x33-nt",
    "17x1x33-tn",
    "65x63x31-nt",
    "65x63x31-tn",
    "129x130x131-nt",
    "129x130x131-tn",
    "66x68x70-nt",
    "68x66x70-tn",
    "70x66x36-nt",
    "68x132x35-tn",
    "b2-36x132x100",
    "b3-65x63x31",
    "b3-33x18x5-nt",
    "b3-33x18x5-tn",
];

/// Lengths around tiles of 16 and workgroups of 64; more keys than queries and
/// the other way round, where a causal mask leaves the first rows no key at all;
/// blocks of 8 keys; few queries and thousands of keys; grouped heads; the usual
/// head sizes and some that fill no vector or tile.
const ATTENTION: &[&str] = &[
    "b1h2s1d64",
    "b1h2s2d64",
    "b1h2s15d64",
    "b1h2s16d64",
    "b1h2s17d64",
    "b1h1s63d64",
    "b1h1s64d64",
    "b1h1s65d64",
    "b1h1s100d64",
    "b1h1s1d64-causal",
    "b1h2s2d64-causal",
    "b1h2s15d64-causal",
    "b1h2s16d64-causal",
    "b1h2s17d64-causal",
    "b1h1s63d64-causal",
    "b1h1s64d64-causal",
    "b1h1s65d64-causal",
    "b1h1s100d64-causal",
    "b1h2q1k77d64",
    "b1h2q1k77d64-causal",
    "b1h2q5k130d64",
    "b1h2q5k130d64-causal",
    "b1h2q130k5d64",
    "b1h2q130k5d64-causal",
    "b1h2q64k7d64",
    "b1h2q65k8d64",
    "b1h2q63k9d64-causal",
    "b1h2q12k5d64-causal",
    "b1h4q1k3001d64",
    "b1h8kv2q1k2049d64",
    "b2h8kv1q2k1500d128-causal",
    "b1h16kv1q15k300d64-causal",
    "b1h5kv1q3k600d64",
    "b2h4kv2s33d64",
    "b2h4kv2s33d64-causal",
    "b2h6kv1q3k70d64-causal",
    "b1h1s33d128",
    "b1h2q17k65d128-causal",
    "b1h2s19d8",
    "b1h2s35d20-causal",
    "b2h2kv1s18d40",
    "b1h2s9d22",
    "b1h2q3k65d256",
    "b1h1s5d1",
    "b1h2s18d17-causal",
];

/// Less than one workgroup's share, and an odd number of such shares.
const BANDWIDTH: &[&str] = &["4KiB", "1028KiB"];

/// Tiles of less than a vector an invocation, and of a size that is no power of
/// two.
const WORKGROUP: &[&str] = &["1KiB", "12KiB"];

/// The edge shapes of `kernel`.
pub fn edge_shapes(kernel: &Kernel) -> Vec<Shape> {
    let texts = match kernel.operation {
        Operation::Matmul => MATMUL,
        Operation::Attention => ATTENTION,
        Operation::Bandwidth if kernel.variant == "workgroup" => WORKGROUP,
        Operation::Bandwidth => BANDWIDTH,
        Operation::Peak => &["device"],
        Operation::Latency => &["empty"],
    };
    let parse = |text: &&str| Shape::parse(kernel.operation, text).expect("an edge shape parses");
    let shapes = texts.iter().map(parse);
    // Half precision differs from single in how elements are loaded, and takes
    // software adapters long to compile: one head size of each kind is enough.
    let spared = |shape: &Shape| match shape {
        Shape::Attention(s) => {
            kernel.precision == Precision::F16 && ![64, 20, 17].contains(&s.head_dim)
        }
        _ => false,
    };
    shapes.filter(|shape| !spared(shape)).collect()
}
