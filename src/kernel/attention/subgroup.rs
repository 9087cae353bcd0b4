//! Attention without workgroup memory: query rows in the lanes of a subgroup,
//! keys and values broadcast among them.

use minijinja::context;

use super::{MAX_HEAD_DIM, attention_shape, tensors};
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

/// CPUs keep what does not fit into their registers in the first cache, and gain
/// from every row that a broadcast serves. Vectors of lanes are short, so that
/// few rows leave little to add up at a time.
const SOFTWARE_FORMS: &[Form] = &[form(8, 8, 1), form(4, 8, 2), form(1, 8, 8)];
/// A query row and its output fill the registers of a GPU's lane.
const GPU_FORMS: &[Form] = &[form(1, 8, 8), form(1, 4, 4)];
/// Elements of query rows of a lane. Compiling takes longer than the work is
/// worth beyond that.
const MAX_ELEMENTS: u32 = 512;
/// Forms that are tried: compiling one takes a software adapter seconds.
const MAX_FORMS: usize = 2;

/// Candidates of attention in the lanes of a subgroup.
pub fn flash(build: &Build) -> Candidates {
    let shape = attention_shape(build)?;
    let lanes = build.capabilities.need_subgroup()?;
    let forms = if build.capabilities.software {
        SOFTWARE_FORMS
    } else {
        GPU_FORMS
    };
    let words = Words::of(build, &shape)?;
    let is_suitable = |form: &&Form| {
        let no_row_is_idle = (form.rows - 1) * lanes < shape.q_len;
        form.rows == 1 || no_row_is_idle && form.rows * shape.head_dim <= MAX_ELEMENTS
    };
    forms
        .iter()
        .filter(is_suitable)
        .take(MAX_FORMS)
        .map(|form| program(build, &shape, form, lanes, words))
        .collect()
}

/// What Q, K, V and the output are read and written in.
#[derive(Clone, Copy)]
struct Words {
    /// Words of 64 bits instead of 32.
    wide: bool,
}

impl Words {
    /// The widest words that make up a row.
    fn of(build: &Build, shape: &AttentionShape) -> Result<Self, Unfit> {
        let head_dim = shape.head_dim;
        let halves = build.precision.operand() == Element::F16;
        if head_dim > MAX_HEAD_DIM {
            let needs = format!("a head_dim of at most {MAX_HEAD_DIM}, not {head_dim}");
            return Err(Unfit::Shape(needs));
        }
        if halves && head_dim % 2 != 0 {
            return Err(Unfit::Shape(format!("an even head_dim, not {head_dim}")));
        }
        let elements = if halves { 4 } else { 2 };
        Ok(Self {
            wide: build.capabilities.features.int64 && head_dim % elements == 0,
        })
    }
}

fn program(
    build: &Build,
    shape: &AttentionShape,
    form: &Form,
    lanes: u32,
    words: Words,
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
            lanes, rows, keys, together,
            head_dim => shape.head_dim,
            stored => build.precision.operand().wgsl(),
            wide => words.wide,
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
