//! Attention of few queries over many keys (decoding): the keys are split among
//! workgroups, and a second pass puts the parts together.

use minijinja::context;

use super::{MAX_DECODED, attention_shape, need_vectors, sizes, tensors};
use crate::kernel::capabilities::Unfit;
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::shape::AttentionShape;
use crate::kernel::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// Query heads that read a key/value head together, each with sums of its own in
/// registers.
const MAX_HEADS: u32 = 8;
/// Fewer keys in a part are not worth a second pass.
const KEYS_A_PART: u32 = 256;
/// Most keys in a part on a software adapter: llvmpipe of Mesa 22 and before ends all
/// loops of an invocation after 65,535 rounds together, of which a key takes two and
/// a bit.
const SOFTWARE_KEYS_A_PART: u32 = 16_384;
/// Lanes of a workgroup of the second pass.
const REDUCE_LANES: u32 = 32;

/// Candidates of attention with split keys. Every query reads all keys anew, so
/// many of them are left to kernels that share a load among queries.
pub fn split_kv(build: &Build) -> Candidates {
    let shape = attention_shape(build)?;
    need_vectors(&shape)?;
    if shape.q_len > MAX_DECODED {
        let needs = format!("at most {MAX_DECODED} queries, not {}", shape.q_len);
        return Err(Unfit::Shape(needs).into());
    }
    let vectors = shape.head_dim / 4;
    let lanes = lanes(build).max(vectors.next_power_of_two());
    let heads_together = heads_together(&shape);
    let groups = shape.batch * shape.heads / heads_together;
    let parts = parts(build, &shape, groups);

    let head_dim = shape.head_dim;
    let stored = build.precision.operand().wgsl();
    let pass = |template, values, bindings: &[usize], workgroups| {
        let wgsl = build.templates.render(template, values)?;
        Ok::<_, super::TemplateError>(Pass {
            template,
            wgsl,
            bindings: bindings.to_vec(),
            workgroups,
        })
    };
    let mut buffers = tensors(build, &shape);
    buffers[0] = sizes(&shape, parts);
    let rows = u64::from(shape.batch * shape.heads) * u64::from(shape.q_len);
    buffers.extend([u64::from(head_dim), 2].map(|numbers| BufferSpec {
        role: Role::Scratch,
        size: Bytes(4 * rows * u64::from(parts) * numbers),
    }));
    Ok(vec![Program {
        parameters: Parameters::from([("lanes".into(), lanes), ("part_keys".into(), KEYS_A_PART)]),
        buffers,
        passes: vec![
            pass(
                "attention_split.wgsl.jinja",
                context! { head_dim, stored, lanes, heads_together },
                &[0, 1, 2, 3, 5, 6],
                [parts, shape.q_len, groups],
            )?,
            pass(
                "attention_reduce.wgsl.jinja",
                context! { head_dim, stored, lanes => REDUCE_LANES },
                &[0, 5, 6, 4],
                [shape.q_len, shape.batch * shape.heads, 1],
            )?,
        ],
    }])
}

/// Lanes of a workgroup of the first pass: a software adapter pays for every
/// barrier by the lane.
fn lanes(build: &Build) -> u32 {
    if build.capabilities.software { 32 } else { 128 }
}

/// The largest number of heads, up to [`MAX_HEADS`], that divides a group.
fn heads_together(shape: &AttentionShape) -> u32 {
    let group = shape.heads / shape.kv_heads;
    let divides = |heads: &u32| group.is_multiple_of(*heads);
    (1..=MAX_HEADS).rev().find(divides).unwrap_or(1)
}

/// Parts of the keys, so that `groups` key/value heads' queries fill the device
/// and no part is too small.
fn parts(build: &Build, shape: &AttentionShape, groups: u32) -> u32 {
    let (wanted, least): (u32, u32) = if build.capabilities.software {
        (16, shape.kv_len.div_ceil(SOFTWARE_KEYS_A_PART))
    } else {
        (1024, 1)
    };
    let without = groups.saturating_mul(shape.q_len);
    wanted
        .div_ceil(without)
        .max(least)
        .min(shape.kv_len / KEYS_A_PART)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::capabilities::Capabilities;
    use crate::kernel::id::{Operation, Precision};
    use crate::kernel::shape::Shape;
    use crate::kernel::template::Templates;

    fn built(shape: &str) -> Result<Program, String> {
        let capabilities = Capabilities::generous();
        let build = Build {
            shape: Shape::parse(Operation::Attention, shape).unwrap(),
            precision: Precision::F32,
            capabilities: &capabilities,
            templates: Templates::builtin(),
        };
        let programs = split_kv(&build).map_err(|error| error.to_string());
        programs.map(|mut programs| programs.remove(0))
    }

    /// 8 key/value heads: 1024/8 = 128 parts fill the device, as 16384/128 = 128
    /// keys they would be too small; 64 parts of 256 are not.
    #[test]
    fn parts_fill_the_device_but_are_not_small() {
        let split = |shape| built(shape).unwrap().passes[0].workgroups;
        assert_eq!(split("b1h32kv8q1k16384d128"), [64, 1, 8]);
        assert_eq!(split("b1h32kv8q1k65536d128"), [128, 1, 8]);
        assert_eq!(split("b1h32q1k65536d128"), [32, 1, 32]);
        assert_eq!(split("b1h8q1k100d64"), [1, 1, 8]);
        assert_eq!(split("b64h32q15k4096d64"), [1, 15, 2048]);
    }

    #[test]
    fn heads_of_a_group_go_together() {
        let groups = |shape| built(shape).unwrap().passes[0].workgroups[2];
        assert_eq!(groups("b1h8q1k64d64"), 8);
        assert_eq!(groups("b1h8kv2q1k64d64"), 2);
        assert_eq!(groups("b1h6kv1q1k64d64"), 1);
        assert_eq!(groups("b1h32kv1q1k64d64"), 4, "eight at a time");
        assert_eq!(groups("b1h22kv2q1k64d64"), 22, "eleven is too many");
    }

    #[test]
    fn many_queries_are_refused() {
        assert_eq!(
            built("b1h8s512d64").unwrap_err(),
            "needs at most 15 queries, not 512"
        );
    }
}
