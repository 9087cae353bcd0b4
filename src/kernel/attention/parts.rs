//! Attention in parts that need little memory, whichever kernel computes them.

use crate::kernel::shape::AttentionShape;

/// Some heads and queries of an attention call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first query head, over all batches.
    pub head: u32,
    /// The first query.
    pub query: u32,
    /// The attention call that these heads and queries are, whose keys and values are
    /// the first of their own.
    pub shape: AttentionShape,
}

/// Parts of `shape`, in the order of their outputs, of which neither the scores in
/// single precision nor a tensor is larger than `limit` bytes, as far as shapes
/// can be divided: some key/value heads with all of their queries, else some of the
/// query heads that share one, else some queries of one head.
pub fn parts(shape: &AttentionShape, limit: u64) -> Vec<Part> {
    let s = shape;
    let group = s.heads / s.kv_heads;
    let vectors = |length: u32| u64::from(length) * u64::from(s.head_dim);
    let scores = |queries: u32| u64::from(queries) * u64::from(s.kv_len);
    // Bytes of the largest buffer for so many key/value heads and query heads.
    let largest = |kv_heads: u32, heads: u32| {
        let of_queries = u64::from(heads) * scores(s.q_len).max(vectors(s.q_len));
        4 * of_queries.max(u64::from(kv_heads) * vectors(s.kv_len))
    };
    let fit = |bytes: u64| u32::try_from(limit / bytes).unwrap_or(u32::MAX);
    let all_heads = s.batch * s.heads;
    let [key_heads, query_heads] = [fit(largest(1, group)), fit(largest(0, 1))];
    let (heads, queries) = if key_heads > 0 {
        (key_heads.min(s.batch * s.kv_heads) * group, s.q_len)
    } else if query_heads > 0 || s.causal && s.q_len > s.kv_len {
        // Queries that see no key are left with those that do.
        let divides = |heads: &u32| group.is_multiple_of(*heads);
        let heads = (1..=query_heads.min(group)).rev().find(divides);
        (heads.unwrap_or(1), s.q_len)
    } else {
        (1, fit(4 * scores(1).max(vectors(1))).max(1))
    };
    let of_heads = |head: u32| {
        let heads = heads.min(all_heads - head);
        let firsts = (0..s.q_len).step_by(queries as usize);
        firsts.map(move |query| {
            let end = s.q_len.min(query.saturating_add(queries));
            let shape = AttentionShape {
                batch: 1,
                heads,
                kv_heads: (heads / group).max(1),
                q_len: end - query,
                kv_len: s.visible_keys(end - 1).max(1),
                ..*s
            };
            Part { head, query, shape }
        })
    };
    let firsts = (0..all_heads).step_by(heads as usize);
    firsts.flat_map(of_heads).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{decode_shapes, materialised, prefill_shapes, short_shapes};
    use super::*;
    use crate::kernel::Build;
    use crate::kernel::capabilities::Capabilities;
    use crate::kernel::id::{Operation, Precision};
    use crate::kernel::shape::Shape;
    use crate::kernel::template::Templates;

    fn shape(text: &str) -> AttentionShape {
        match Shape::parse(Operation::Attention, text) {
            Ok(Shape::Attention(shape)) => shape,
            _ => panic!("{text}"),
        }
    }

    fn names(text: &str, limit: u64) -> Vec<String> {
        let name = |part: Part| {
            let shape = Shape::Attention(part.shape);
            format!("{} {} {shape}", part.head, part.query)
        };
        parts(&shape(text), limit).into_iter().map(name).collect()
    }

    /// Scores of a head take 4·8·8 = 256 bytes, as much as 8 vectors of 8 elements.
    #[test]
    fn parts_are_heads_then_heads_of_a_group_then_queries() {
        assert_eq!(names("b2h4kv2s8d8", 1 << 20), ["0 0 b1h8kv4s8d8"]);
        assert_eq!(
            names("b2h4kv2s8d8", 1600),
            ["0 0 b1h6kv3s8d8", "6 0 b1h2kv1s8d8"]
        );
        assert_eq!(
            names("b1h4kv1s8d8", 900),
            ["0 0 b1h2kv1s8d8", "2 0 b1h2kv1s8d8"]
        );
        assert_eq!(
            names("b1h1s8d8-causal", 100),
            [
                "0 0 b1h1s3d8-causal",
                "0 3 b1h1q3k6d8-causal",
                "0 6 b1h1q2k8d8-causal"
            ]
        );
        assert_eq!(names("b1h1q8k3d8-causal", 10), ["0 0 b1h1q8k3d8-causal"]);
    }

    /// A gibibyte holds a case of any listed shape and a part of it for a witness.
    #[test]
    fn every_listed_shape_and_a_part_of_it_fit_into_a_gibibyte() {
        let capabilities = Capabilities {
            max_storage_binding: crate::units::Bytes(128 << 20),
            ..Capabilities::imaginary()
        };
        for list in [short_shapes, prefill_shapes, decode_shapes] {
            for listed in list(false).into_iter().chain(list(true)) {
                let Shape::Attention(whole) = listed else {
                    panic!("{listed}")
                };
                let tensors = u64::from(whole.batch)
                    * u64::from(whole.head_dim)
                    * (2 * u64::from(whole.heads) * u64::from(whole.q_len)
                        + 2 * u64::from(whole.kv_heads) * u64::from(whole.kv_len));
                for part in parts(&whole, 128 << 20) {
                    let build = Build {
                        shape: Shape::Attention(part.shape),
                        precision: Precision::F32,
                        capabilities: &capabilities,
                        templates: Templates::builtin(),
                    };
                    let Ok([program]) = <[_; 1]>::try_from(materialised(&build).unwrap()) else {
                        panic!("one program")
                    };
                    assert_eq!(capabilities.admit(&program, &[]), Ok(()), "{listed}");
                    let needed: u64 = program.buffers.iter().map(|b| b.size.0).sum();
                    assert!(4 * tensors + needed <= 1 << 30, "{listed}: {needed}");
                }
            }
        }
    }
}
