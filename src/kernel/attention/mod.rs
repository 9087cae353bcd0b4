//! Scaled dot-product attention.

mod parts;
pub mod problem;
mod reference;
mod split_kv;
mod subgroup;

pub use split_kv::split_kv;
pub use subgroup::flash as flash_subgroup;

use minijinja::context;

use super::capabilities::Unfit;
use super::element::Element;
use super::id::Operation;
use super::program::{BufferSpec, Pass, Program, Role};
use super::shape::{AttentionShape, Shape};
use super::template::TemplateError;
use super::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// Longest rows that the kernels which have whole vectors in registers or workgroup
/// memory take.
const MAX_HEAD_DIM: u32 = 256;
/// Most queries that count as decoding. Tuning's classes of shapes end here too,
/// so that what is offered to one shape of a class is offered to all.
const MAX_DECODED: u32 = 15;

/// Listed sizes of a kernel that has the score matrix in memory.
pub fn short_shapes(software: bool) -> Vec<Shape> {
    let sizes: &[&str] = if software {
        &["b1h8s256d64", "b1h8s512d64", "b1h4s256d128"]
    } else {
        &["b16h32s1024d64", "b16h16s1024d128"]
    };
    full_and_causal(sizes)
}

/// Listed sizes of prefill: as many queries as keys. On GPUs they are the sweep
/// that attention kernels are usually shown on: 16k tokens, heads · head_dim =
/// 2048.
pub fn prefill_shapes(software: bool) -> Vec<Shape> {
    let sizes: &[&str] = if software {
        &["b1h8s256d64", "b1h8s512d64", "b1h8s2048d64", "b1h4s256d128"]
    } else {
        &[
            "b32h32s512d64",
            "b16h32s1024d64",
            "b8h32s2048d64",
            "b4h32s4096d64",
            "b2h32s8192d64",
            "b1h32s16384d64",
            "b32h16s512d128",
            "b16h16s1024d128",
            "b8h16s2048d128",
            "b4h16s4096d128",
            "b2h16s8192d128",
            "b1h16s16384d128",
        ]
    };
    full_and_causal(sizes)
}

/// Listed sizes of decoding: one query, in groups of four heads.
pub fn decode_shapes(software: bool) -> Vec<Shape> {
    let sizes: &[&str] = if software {
        &[
            "b1h8kv2q1k1024d64",
            "b1h8kv2q1k4096d64",
            "b1h8kv2q1k16384d128",
        ]
    } else {
        &[
            "b1h32kv8q1k1024d128",
            "b1h32kv8q1k4096d128",
            "b1h32kv8q1k16384d128",
            "b1h32kv8q1k65536d128",
        ]
    };
    sizes.iter().map(|text| listed(text)).collect()
}

fn full_and_causal(sizes: &[&str]) -> Vec<Shape> {
    let both = |size: &&str| [size.to_string(), format!("{size}-causal")];
    sizes
        .iter()
        .flat_map(both)
        .map(|text| listed(&text))
        .collect()
}

/// A shape by its name in case ids.
fn listed(text: &str) -> Shape {
    Shape::parse(Operation::Attention, text).expect("listed shapes are attention shapes")
}

/// Scores, softmax and output one after the other, with the whole score matrix
/// in memory.
pub fn materialised(build: &Build) -> Candidates {
    let (tile, lanes) = (16, 128);
    let stored = build.precision.operand().wgsl();
    let shape = attention_shape(build)?;
    let heads = shape.batch * shape.heads;
    let mut buffers = tensors(build, &shape);
    buffers.push(BufferSpec {
        role: Role::Scratch,
        size: Bytes(4 * u64::from(heads) * shape.pairs()),
    });
    let pass = |template, values, bindings: &[usize], workgroups| -> Result<Pass, TemplateError> {
        Ok(Pass {
            template,
            wgsl: build.templates.render(template, values)?,
            bindings: bindings.to_vec(),
            workgroups,
        })
    };
    let (q_tiles, kv_tiles) = (shape.q_len.div_ceil(tile), shape.kv_len.div_ceil(tile));
    let d_tiles = shape.head_dim.div_ceil(tile);
    Ok(vec![Program {
        parameters: Parameters::from([("tile".into(), tile), ("lanes".into(), lanes)]),
        buffers,
        passes: vec![
            pass(
                "attention_scores.wgsl.jinja",
                context! { tile, stored },
                &[0, 1, 2, 5],
                [kv_tiles, q_tiles, heads],
            )?,
            pass(
                "attention_softmax.wgsl.jinja",
                context! { lanes },
                &[0, 5],
                [shape.q_len, heads, 1],
            )?,
            pass(
                "attention_values.wgsl.jinja",
                context! { tile, stored },
                &[0, 5, 3, 4],
                [d_tiles, q_tiles, heads],
            )?,
        ],
    }])
}

/// Elements of a query row that a lane holds, and as many of its output, where
/// subgroups have 64 lanes, and where they have fewer: NVK's compiler has several
/// registers for each and spills with more.
const MOST_ELEMENTS: [u32; 2] = [32, 16];
/// Lanes of a workgroup at most; as many rows as that leaves share a tile of keys.
const MOST_LANES: u32 = 256;

/// One pass with an online softmax; a query row stays in the registers of an
/// invocation, or of neighbours in a subgroup where it is too long for one.
pub fn flash(build: &Build) -> Candidates {
    let (tile_kv, keys) = (16, 4);
    let stored = build.precision.operand().wgsl();
    let shape = attention_shape(build)?;
    need_vectors(&shape)?;
    let head_dim = shape.head_dim;
    let split = split(build, head_dim);
    let lanes = MOST_LANES.min(64 * split);
    let template = "attention_flash.wgsl.jinja";
    let rows = lanes / split;
    Ok(vec![Program {
        parameters: Parameters::from([
            ("lanes".into(), lanes),
            ("tile_kv".into(), tile_kv),
            ("keys".into(), keys),
            ("split".into(), split),
        ]),
        buffers: tensors(build, &shape),
        passes: vec![Pass {
            template,
            wgsl: build.templates.render(
                template,
                context! { head_dim, lanes, tile_kv, keys, split, stored },
            )?,
            bindings: vec![0, 1, 2, 3, 4],
            workgroups: [shape.q_len.div_ceil(rows), shape.batch * shape.heads, 1],
        }],
    }])
}

/// Lanes among which a query row is split. A CPU has memory for what does not
/// fit into registers, and pays for every exchange between lanes.
fn split(build: &Build, head_dim: u32) -> u32 {
    let [fewest, most] = match build.capabilities.features.subgroup {
        Some(lanes) if !build.capabilities.software => lanes,
        _ => return 1,
    };
    let elements = if most >= 64 {
        MOST_ELEMENTS[0]
    } else {
        MOST_ELEMENTS[1]
    };
    let whole_vectors = |split: &u32| (head_dim / 4).is_multiple_of(*split);
    let possible = [1, 2, 4, 8, 16]
        .into_iter()
        .filter(|&split| split <= fewest);
    let mut possible = possible.filter(whole_vectors);
    let enough = possible.clone().find(|split| head_dim / split <= elements);
    enough.or(possible.next_back()).unwrap_or(1)
}

/// Queries of a workgroup and keys at a time. Larger tiles read less from
/// memory, smaller ones fit where long heads or single precision fill workgroup
/// memory.
const COOPERATIVE_TILES: [(u32, u32); 3] = [(32, 32), (16, 32), (16, 16)];

/// One pass with an online softmax, both products on matrix units. Workgroups
/// are of four subgroups of the most lanes; where subgroups have fewer there are
/// more of them, which share the fragments out all the same.
pub fn flash_cooperative(build: &Build) -> Candidates {
    flash_cooperative_programs(build, 0)
}

/// The same programs with cooperative matrices emulated in plain WGSL, for
/// adapters without them whose subgroups have `lanes` lanes. They show in tests
/// that the kernel is right, and nothing about its speed.
pub fn flash_cooperative_emulated(build: &Build, lanes: u32) -> Candidates {
    flash_cooperative_programs(build, lanes)
}

fn flash_cooperative_programs(build: &Build, emulated: u32) -> Candidates {
    let shape = attention_shape(build)?;
    let head_dim = shape.head_dim;
    let (edges, [_, lanes]) = build
        .capabilities
        .need_cooperative(build.precision.operand(), Element::F32)?;
    if ![64, 128].contains(&head_dim) {
        let needed = format!("a head_dim of 64 or 128, not {head_dim}");
        return Err(Unfit::Shape(needed).into());
    }
    let stored = build.precision.operand().wgsl();
    let template = "attention_flash_cooperative.wgsl.jinja";
    let program = |edge: u32, (tile_q, tile_kv): (u32, u32)| -> Result<Program, TemplateError> {
        Ok(Program {
            parameters: Parameters::from([
                ("edge".into(), edge),
                ("tile_q".into(), tile_q),
                ("tile_kv".into(), tile_kv),
                ("lanes".into(), lanes),
            ]),
            buffers: tensors(build, &shape),
            passes: vec![Pass {
                template,
                wgsl: build.templates.render(
                    template,
                    context! { head_dim, edge, tile_q, tile_kv, lanes, stored, emulated },
                )?,
                bindings: vec![0, 1, 2, 3, 4],
                workgroups: [shape.q_len.div_ceil(tile_q), shape.batch * shape.heads, 1],
            }],
        })
    };
    let forms = edges
        .iter()
        .flat_map(|&edge| COOPERATIVE_TILES.map(|tiles| (edge, tiles)));
    let programs = forms.map(|(edge, tiles)| program(edge, tiles));
    Ok(programs.collect::<Result<_, _>>()?)
}

fn attention_shape(build: &Build) -> Result<AttentionShape, Unfit> {
    match build.shape {
        Shape::Attention(shape) => Ok(shape),
        _ => Err(Unfit::Shape("an attention shape".into())),
    }
}

/// # Errors
/// When rows are not whole vectors of four, or too long.
fn need_vectors(shape: &AttentionShape) -> Result<(), Unfit> {
    let head_dim = shape.head_dim;
    if head_dim.is_multiple_of(4) && head_dim <= MAX_HEAD_DIM {
        return Ok(());
    }
    Err(Unfit::Shape(format!(
        "a head_dim that divides by 4 and is at most {MAX_HEAD_DIM}, not {head_dim}"
    )))
}

/// Uniform block, Q, K, V and output.
fn tensors(build: &Build, shape: &AttentionShape) -> Vec<BufferSpec> {
    let elements = |heads: u32, length: u32| {
        let dims = [shape.batch, heads, length, shape.head_dim];
        let count = dims.iter().fold(1, |n, &dim| n * u64::from(dim));
        Bytes(build.precision.operand().buffer_size(count))
    };
    let queries = elements(shape.heads, shape.q_len);
    let keys = elements(shape.kv_heads, shape.kv_len);
    let buffer = |role, size| BufferSpec { role, size };
    vec![
        sizes(shape, 1),
        buffer(Role::Input(0), queries),
        buffer(Role::Input(1), keys),
        buffer(Role::Input(2), keys),
        buffer(Role::Output, queries),
    ]
}

/// The uniform block, for keys in so many parts.
fn sizes(shape: &AttentionShape, parts: u32) -> BufferSpec {
    BufferSpec::uniform(vec![
        shape.heads,
        shape.kv_heads,
        shape.q_len,
        shape.kv_len,
        shape.head_dim,
        u32::from(shape.causal),
        problem::scale(shape.head_dim).to_bits(),
        parts,
    ])
}
