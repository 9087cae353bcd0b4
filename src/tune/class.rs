//! Shapes that share a choice, and small shapes that stand for large ones.

use crate::kernel::shape::{AttentionShape, GemmShape, Layout, Shape};

/// The class of a shape: dimensions by powers of four, and exactly what kernels
/// are written for: layout, head size, whether rows are whole vectors. A choice
/// made on one shape of a class serves all of it.
pub fn shape_class(shape: Shape) -> String {
    match shape {
        Shape::Gemm(s) => {
            let batch = if s.batch > 1 { "batched-" } else { "" };
            let layout = match s.layout {
                Layout::Nn => "",
                Layout::Nt => "-nt",
                Layout::Tn => "-tn",
            };
            let whole = [s.m, s.n, s.k].iter().all(|dim| dim % 4 == 0);
            let odd = if whole { "" } else { "-odd" };
            let [m, n, k] = [s.m, s.n, s.k].map(power_of_four);
            format!("{batch}m{m}n{n}k{k}{layout}{odd}")
        }
        Shape::Attention(s) => {
            let group = match s.heads / s.kv_heads {
                1 => "",
                _ => "-grouped",
            };
            let [q, k] = [s.q_len, s.kv_len].map(power_of_four);
            format!("q{q}k{k}d{}{group}", s.head_dim)
        }
        other => other.to_string(),
    }
}

/// The largest power of four that is not above `dim`.
fn power_of_four(dim: u32) -> u32 {
    1 << (dim.max(1).ilog2() / 2 * 2)
}

/// Multiply-adds that the slowest kernel does in a fraction of a second.
fn screening_macs(software: bool) -> u64 {
    if software { 1 << 24 } else { 1 << 30 }
}

/// A shape of the same proportions that even the slowest kernel computes at once;
/// `None` where the shape itself is one.
pub fn screening_shape(shape: Shape, software: bool) -> Option<Shape> {
    let limit = screening_macs(software);
    match shape {
        Shape::Gemm(s) if s.macs() > limit => Some(Shape::Gemm(smaller_gemm(s, limit))),
        Shape::Attention(s) if s.macs() > limit => {
            Some(Shape::Attention(smaller_attention(s, limit)))
        }
        _ => None,
    }
}

/// Halves the largest dimension until the product is small enough.
fn smaller_gemm(mut s: GemmShape, limit: u64) -> GemmShape {
    while s.macs() > limit {
        let dims = [&mut s.batch, &mut s.m, &mut s.n, &mut s.k];
        halve_largest(dims);
    }
    s
}

/// Halves batch and heads first, which repeat the same work, then lengths. All
/// heads of a group go together.
fn smaller_attention(mut s: AttentionShape, limit: u64) -> AttentionShape {
    while s.macs() > limit {
        if s.batch > 1 {
            s.batch = s.batch.div_ceil(2);
        } else if s.kv_heads > 1 {
            let group = s.heads / s.kv_heads;
            s.kv_heads = s.kv_heads.div_ceil(2);
            s.heads = group * s.kv_heads;
        } else if s.q_len > 1 || s.kv_len > 1 {
            halve_largest([&mut s.q_len, &mut s.kv_len]);
        } else {
            break;
        }
    }
    s
}

fn halve_largest<const N: usize>(dims: [&mut u32; N]) {
    if let Some(largest) = dims.into_iter().max_by_key(|dim| **dim) {
        *largest = largest.div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::id::Operation;

    fn class(operation: Operation, shape: &str) -> String {
        shape_class(Shape::parse(operation, shape).unwrap())
    }

    #[test]
    fn near_shapes_share_a_class_and_different_ones_do_not() {
        let matmul = |shape| class(Operation::Matmul, shape);
        assert_eq!(matmul("1024x1024x1024"), "m1024n1024k1024");
        assert_eq!(matmul("2048x4092x1024"), matmul("1024x1024x1024"));
        assert_eq!(matmul("1000x777x333"), "m256n256k256-odd");
        assert_eq!(matmul("1x4096x4096"), "m1n4096k4096-odd");
        assert_eq!(matmul("b4-512x512x512-nt"), "batched-m256n256k256-nt");
        let attention = |shape| class(Operation::Attention, shape);
        assert_eq!(attention("b1h8s512d64"), "q256k256d64");
        assert_eq!(attention("b1h8s512d64-causal"), "q256k256d64");
        assert_eq!(attention("b1h32kv8q1k16384d128"), "q1k16384d128-grouped");
    }

    #[test]
    fn screening_shapes_are_small_and_keep_proportions_and_groups() {
        let screen = |operation, shape| {
            screening_shape(Shape::parse(operation, shape).unwrap(), true).map(|s| s.to_string())
        };
        assert_eq!(screen(Operation::Matmul, "256x256x256"), None);
        let small = screen(Operation::Matmul, "2048x2048x2048");
        assert_eq!(small.as_deref(), Some("256x256x256"));
        let small = screen(Operation::Matmul, "8x65536x4096");
        assert_eq!(small.as_deref(), Some("8x2048x1024"));
        // Two heads of one group stay, with 2·2·256·256·64 = 2²⁴ multiply-adds.
        let small = screen(Operation::Attention, "b3h16kv8s1024d64");
        assert_eq!(small.as_deref(), Some("b1h2kv1s256d64"));
    }
}
