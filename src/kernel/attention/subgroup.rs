//! Attention without workgroup memory: query rows in the lanes of a subgroup,
//! keys and values broadcast among them.

use minijinja::context;

use super::{MAX_DECODED, attention_shape, tensors};
use crate::kernel::capabilities::Unfit;
use crate::kernel::element::Element;
use crate::kernel::program::{Pass, Program};
use crate::kernel::shape::AttentionShape;
use crate::kernel::{Build, BuildError, Candidates, Parameters};

/// How much a lane has in registers.
struct Form {
    /// Query rows of a lane.
    rows: u32,
    /// Keys between two rescalings of the running sums.
    keys: u32,
    /// Keys whose scores are added up side by side; divides `keys`. More hide
    /// the latency of an addition, fewer make a shorter shader.
    together: u32,
}

const fn form(rows: u32, keys: u32, together: u32) -> Form {
    Form {
        rows,
        keys,
        together,
    }
}

/// A query row and its output fill the registers of a GPU's lane.
const GPU_FORMS: &[Form] = &[form(1, 8, 8), form(1, 4, 4)];
/// CPUs keep in their first cache what does not fit into registers, and gain from
/// every row that a broadcast serves.
const SOFTWARE_FORMS: &[Form] = &[form(8, 8, 1), form(4, 8, 2)];
/// There is one row at most for most of the lanes.
const SOFTWARE_DECODING_FORMS: &[Form] = &[form(1, 8, 8)];
/// Beyond this not even one row fits into a GPU's registers, as its driver's
/// compiler uses them.
const GPU_MAX_HEAD_DIM: u32 = 48;
/// Beyond this compiling takes too long for a CPU.
const SOFTWARE_MAX_HEAD_DIM: u32 = 128;
/// Most elements of the query rows of a lane: compiling more takes too long.
const MAX_ELEMENTS: u32 = 512;

/// Candidates of attention in the lanes of a subgroup.
pub fn flash(build: &Build) -> Candidates {
    let shape = attention_shape(build)?;
    let lanes = build.capabilities.need_subgroup()?;
    let forms = match (build.capabilities.software, shape.q_len) {
        (false, _) => GPU_FORMS,
        (true, ..=MAX_DECODED) => SOFTWARE_DECODING_FORMS,
        (true, _) => SOFTWARE_FORMS,
    };
    let wide = wide(build, &shape)?;
    let compiles_soon = |form: &&Form| form.rows * shape.head_dim <= MAX_ELEMENTS;
    forms
        .iter()
        .filter(compiles_soon)
        .map(|form| program(build, &shape, form, lanes, wide))
        .collect()
}

/// Whether a row of Q, K, V or the output is read and written in words of 64 bits
/// instead of 32.
fn wide(build: &Build, shape: &AttentionShape) -> Result<bool, Unfit> {
    let head_dim = shape.head_dim;
    let halves = halves(build);
    let most = if build.capabilities.software {
        SOFTWARE_MAX_HEAD_DIM
    } else {
        GPU_MAX_HEAD_DIM
    };
    if head_dim > most {
        let needs = format!("a head_dim of at most {most}, not {head_dim}");
        return Err(Unfit::Shape(needs));
    }
    if halves && !head_dim.is_multiple_of(2) {
        return Err(Unfit::Shape(format!("an even head_dim, not {head_dim}")));
    }
    let in_wide_words = head_dim.is_multiple_of(if halves { 4 } else { 2 });
    Ok(in_wide_words && build.capabilities.features.int64)
}

fn halves(build: &Build) -> bool {
    build.precision.operand() == Element::F16
}

fn program(
    build: &Build,
    shape: &AttentionShape,
    form: &Form,
    lanes: u32,
    wide: bool,
) -> Result<Program, BuildError> {
    let &Form {
        rows,
        keys,
        together,
    } = form;
    let template = "attention_subgroup.wgsl.jinja";
    let wgsl = build.templates.render(
        template,
        context! {
            lanes, rows, keys, together, wide,
            head_dim => shape.head_dim,
            halves => halves(build),
        },
    )?;
    Ok(Program {
        parameters: Parameters::from([
            ("lanes".into(), lanes),
            ("rows".into(), rows),
            ("keys".into(), keys),
            ("together".into(), together),
        ]),
        buffers: tensors(build, shape),
        passes: vec![Pass {
            template,
            wgsl,
            bindings: vec![0, 1, 2, 3, 4],
            workgroups: [
                shape.q_len.div_ceil(lanes * rows),
                shape.batch * shape.heads,
                1,
            ],
        }],
    })
}
