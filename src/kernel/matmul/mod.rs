//! Matrix products.

pub mod problem;

use minijinja::{Value, context};

use super::capabilities::Unfit;
use super::program::{BufferSpec, Pass, Program, Role};
use super::shape::{GemmShape, Layout, Shape};
use super::{Build, Candidates, template};
use crate::units::Bytes;

/// Listed sizes: square ones that show the approach to the peak, and one that
/// divides by nothing.
pub fn shapes(software: bool) -> Vec<Shape> {
    let squares: &[u32] = if software {
        &[256, 512, 1024]
    } else {
        &[1024, 2048, 4096, 8192]
    };
    let square = |&s: &u32| (s, s, s);
    squares
        .iter()
        .map(square)
        .chain([(1000, 777, 333)])
        .map(|(m, n, k)| {
            Shape::Gemm(GemmShape {
                batch: 1,
                m,
                n,
                k,
                layout: Layout::Nn,
            })
        })
        .collect()
}

/// One element of C an invocation, straight from memory.
pub fn naive(build: &Build) -> Candidates {
    let tile = 16;
    one_pass(
        build,
        "matmul_naive.wgsl.jinja",
        (tile, tile),
        &[("tile", tile)],
    )
}

/// Square tiles through workgroup memory, one element of C an invocation.
pub fn workgroup(build: &Build) -> Candidates {
    let tile = 16;
    one_pass(
        build,
        "matmul_workgroup.wgsl.jinja",
        (tile, tile),
        &[("tile", tile)],
    )
}

/// 64×64 tiles through workgroup memory, 4×4 elements of C an invocation in
/// named accumulators.
pub fn register(build: &Build) -> Candidates {
    let (tile_m, tile_n) = (64, 64);
    one_pass(
        build,
        "matmul_register.wgsl.jinja",
        (tile_m, tile_n),
        &[
            ("tile_m", tile_m),
            ("tile_n", tile_n),
            ("tile_k", 16),
            ("rows", 4),
            ("cols", 4),
        ],
    )
}

/// A program of one pass whose workgroups each compute `tile` (rows, columns)
/// of C.
fn one_pass(
    build: &Build,
    template: &'static str,
    tile: (u32, u32),
    parameters: &[(&str, u32)],
) -> Candidates {
    let Shape::Gemm(shape) = build.shape else {
        return Err(Unfit::Shape("a matrix product's shape".into()).into());
    };
    let layout = match shape.layout {
        Layout::Nn => "nn",
        Layout::Nt => "nt",
        Layout::Tn => "tn",
    };
    let parameters: super::Parameters = parameters.iter().map(|&(n, v)| (n.into(), v)).collect();
    let wgsl = template::render(
        template,
        context! { layout, ..Value::from_pairs(parameters.clone()) },
    )?;
    let elements = |rows: u32, cols: u32| {
        Bytes(4 * u64::from(shape.batch) * u64::from(rows) * u64::from(cols))
    };
    let buffer = |role, size| BufferSpec { role, size };
    Ok(vec![Program {
        parameters,
        buffers: vec![
            BufferSpec::uniform(vec![shape.m, shape.n, shape.k]),
            buffer(Role::Input(0), elements(shape.m, shape.k)),
            buffer(Role::Input(1), elements(shape.k, shape.n)),
            buffer(Role::Output, elements(shape.m, shape.n)),
        ],
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2, 3],
            workgroups: [
                shape.n.div_ceil(tile.1),
                shape.m.div_ceil(tile.0),
                shape.batch,
            ],
        }],
    }])
}
