//! Matrix products.

pub mod problem;
mod subgroup;

pub use subgroup::{subgroup, subgroup_texture};

use minijinja::{Value, context};

use super::capabilities::Unfit;
use super::element::Element;
use super::id::Precision;
use super::program::{BufferSpec, Pass, Program, Role};
use super::shape::{GemmShape, Layout, Shape};
use super::{Build, BuildError, Candidates};
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
    let template = "matmul_naive.wgsl.jinja";
    Ok(vec![one_pass(
        build,
        template,
        (tile, tile),
        &[("tile", tile)],
    )?])
}

/// Square tiles through workgroup memory, one element of C an invocation.
pub fn workgroup(build: &Build) -> Candidates {
    let tile = 16;
    let template = "matmul_workgroup.wgsl.jinja";
    Ok(vec![one_pass(
        build,
        template,
        (tile, tile),
        &[("tile", tile)],
    )?])
}

/// Tiles of C that an invocation helps with: 16×16 invocations every time.
struct RegisterForm {
    /// Elements of C on each side of a workgroup's tile.
    tile: u32,
    /// Steps of K that are in workgroup memory at once.
    tile_k: u32,
    /// Elements of C on each side of what an invocation holds. More read less from
    /// workgroup memory, fewer leave room for more workgroups.
    block: u32,
    /// Steps of K in one pass of the inner loop. More spend less on the loop,
    /// fewer make a shorter shader.
    unroll: u32,
    /// Whether memory is read by vectors of four elements, where rows are whole
    /// ones. Some compilers then lose registers to keep vectors together.
    wide: bool,
}

const fn form(tile: u32, tile_k: u32, block: u32, unroll: u32, wide: bool) -> RegisterForm {
    RegisterForm {
        tile,
        tile_k,
        block,
        unroll,
        wide,
    }
}

/// The last one is for formats of which the longer tile does not fit.
const REGISTER_FORMS: &[RegisterForm] = &[
    form(64, 16, 4, 4, true),
    form(128, 16, 8, 4, true),
    form(128, 16, 8, 8, false),
    form(128, 8, 8, 1, true),
];

/// Tiles through workgroup memory, several rows and columns of C an invocation
/// in named accumulators.
pub fn register(build: &Build) -> Candidates {
    let whole_vectors = whole_vectors(&gemm(build)?, build.precision);
    let program = |form: &RegisterForm| {
        one_pass(
            build,
            "matmul_register.wgsl.jinja",
            (form.tile, form.tile),
            &[
                ("tile_m", form.tile),
                ("tile_n", form.tile),
                ("tile_k", form.tile_k),
                ("rows", form.block),
                ("cols", form.block),
                ("unroll", form.unroll),
                ("wide", (form.wide && whole_vectors).into()),
            ],
        )
    };
    REGISTER_FORMS.iter().map(program).collect()
}

/// Whether rows of A and B in memory are whole vectors of four elements, so that
/// these can be read in one piece. Four 8-bit integers are in one piece anyway.
fn whole_vectors(shape: &GemmShape, precision: Precision) -> bool {
    let row_of_a = if shape.layout == Layout::Tn {
        shape.m
    } else {
        shape.k
    };
    let row_of_b = if shape.layout == Layout::Nt {
        shape.k
    } else {
        shape.n
    };
    let whole = row_of_a.is_multiple_of(4) && row_of_b.is_multiple_of(4);
    whole && precision.operand() != Element::I8
}

/// Tiles of C on each side. The larger one reads half as much from memory for
/// each operation.
const COOPERATIVE_TILES: [u32; 2] = [64, 128];
/// Fragments of C that a subgroup holds: more leave no registers for A and B.
const MOST_FRAGMENTS: u32 = 16;

/// What the template calls the number of lanes that emulate matrix units, or 0.
const EMULATED: &str = "emulated";

/// Tiles through workgroup memory, multiplied by matrix units. Workgroups are of
/// four subgroups of the most lanes. Where subgroups may have fewer lanes there
/// are more of them, and a tile is also divided into eight tasks in place of
/// four: with either number every subgroup size computes the right thing.
/// Where rows are whole vectors, memory is read by these, and one tile ahead.
pub fn cooperative(build: &Build) -> Candidates {
    cooperative_programs(build, 0)
}

/// The same programs with cooperative matrices emulated in plain WGSL, for
/// adapters without them whose subgroups have `lanes` lanes. They show in tests
/// that the kernel is right, and nothing about its speed.
pub fn cooperative_emulated(build: &Build, lanes: u32) -> Candidates {
    cooperative_programs(build, lanes)
}

fn cooperative_programs(build: &Build, emulated: u32) -> Candidates {
    let (ab, cr) = (build.precision.operand(), build.precision.accumulator());
    let (edges, [fewest, lanes]) = build.capabilities.need_cooperative(ab, cr)?;
    let most_slots = if fewest < lanes { 2 } else { 1 };
    let whole_vectors = whole_vectors(&gemm(build)?, build.precision);
    let mut programs = Vec::new();
    for edge in edges {
        for tile in COOPERATIVE_TILES {
            for slots in 1..=most_slots {
                // A quarter of the tile for each of four subgroups.
                if (tile / 2 / edge).pow(2) > MOST_FRAGMENTS {
                    continue;
                }
                let parameters = [
                    ("tile", tile),
                    ("tile_k", 32),
                    ("edge", edge),
                    ("slots", slots),
                    ("lanes", lanes),
                    ("wide", whole_vectors.into()),
                    (EMULATED, emulated),
                ];
                let template = "matmul_cooperative.wgsl.jinja";
                let mut program = one_pass(build, template, (tile, tile), &parameters)?;
                // The tests' switch is no parameter of the program.
                program.parameters.remove(EMULATED);
                programs.push(program);
            }
        }
    }
    Ok(programs)
}

fn gemm(build: &Build) -> Result<GemmShape, Unfit> {
    match build.shape {
        Shape::Gemm(shape) => Ok(shape),
        _ => Err(Unfit::Shape("a matrix product's shape".into())),
    }
}

/// A program of one pass whose workgroups each compute `tile` (rows, columns)
/// of C.
fn one_pass(
    build: &Build,
    template: &'static str,
    tile: (u32, u32),
    parameters: &[(&str, u32)],
) -> Result<Program, BuildError> {
    let shape = gemm(build)?;
    let parameters: super::Parameters = parameters.iter().map(|&(n, v)| (n.into(), v)).collect();
    let wgsl = build.templates.render(
        template,
        context! { ..formats(build.precision, shape.layout), ..Value::from_pairs(parameters.clone()) },
    )?;
    Ok(Program {
        parameters,
        buffers: buffers(build.precision, &shape),
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
    })
}

/// What `matmul_index.wgsl.jinja` has to know of the number formats.
fn formats(precision: Precision, layout: Layout) -> Value {
    let layout = match layout {
        Layout::Nn => "nn",
        Layout::Nt => "nt",
        Layout::Tn => "tn",
    };
    context! {
        layout,
        operand => precision.operand().wgsl(),
        acc => precision.accumulator().wgsl(),
        packed => precision.operand() == Element::I8,
    }
}

/// Uniform block, A, B and C.
fn buffers(precision: Precision, shape: &GemmShape) -> Vec<BufferSpec> {
    let buffer = |role, element: Element, rows: u32, cols: u32| {
        let count = u64::from(shape.batch) * u64::from(rows) * u64::from(cols);
        let size = Bytes(element.buffer_size(count));
        BufferSpec { role, size }
    };
    let operand = precision.operand();
    vec![
        BufferSpec::uniform(vec![shape.m, shape.n, shape.k]),
        buffer(Role::Input(0), operand, shape.m, shape.k),
        buffer(Role::Input(1), operand, shape.k, shape.n),
        buffer(Role::Output, precision.accumulator(), shape.m, shape.n),
    ]
}
