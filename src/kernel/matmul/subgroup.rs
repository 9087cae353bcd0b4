//! A product of packed panels, one subgroup a workgroup.
//!
//! Two passes rewrite A and B into panels, a third multiplies them: loads are
//! what costs where many elements of C are kept in registers, and a panel is
//! read in whole words, side by side, without a guard.

use minijinja::{Value, context};

use super::{buffers, gemm};
use crate::kernel::capabilities::Unfit;
use crate::kernel::program::{BufferSpec, Pass, Program, Role};
use crate::kernel::shape::{GemmShape, Layout};
use crate::kernel::template::TemplateError;
use crate::kernel::{Build, Candidates, Parameters};
use crate::units::Bytes;

/// Words along K that one workgroup of `matmul_pack.wgsl.jinja` packs.
const DEPTH: u32 = 32;

/// What a lane of the multiplying pass holds.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Rows of A, which it hands to all lanes.
    rows: u32,
    /// Columns of B and of C.
    cols: u32,
    /// Steps along K in one pass of the loop.
    unroll: u32,
}

/// For CPUs, which spill accumulators to a cache that holds them: the larger
/// tile needs fewer loads, the smaller one wastes less at the edges.
const SPILLING: &[Form] = &[
    Form {
        rows: 4,
        cols: 8,
        unroll: 2,
    },
    Form {
        rows: 8,
        cols: 8,
        unroll: 2,
    },
];

/// Accumulators that a lane of a GPU has registers for, beside the operands.
const GPU_ACCUMULATORS: u32 = 128;

/// Forms whose accumulators an adapter with subgroups of `lanes` can hold.
fn forms(software: bool, lanes: u32) -> Result<Vec<Form>, Unfit> {
    if software {
        return Ok(SPILLING.to_vec());
    }
    let rows = (32 / lanes).max(1);
    let form = |cols| Form {
        rows,
        cols,
        unroll: 4,
    };
    let fits = |f: &Form| lanes * f.rows * f.cols <= GPU_ACCUMULATORS;
    let forms: Vec<Form> = [2, 4].map(form).into_iter().filter(fits).collect();
    if forms.is_empty() {
        return Err(Unfit::Feature(format!(
            "subgroups of at most {} lanes, adapter has {lanes}",
            GPU_ACCUMULATORS / 2
        )));
    }
    Ok(forms)
}

/// A or B in memory and in panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operand {
    /// Rows of A or columns of B.
    outers: u32,
    /// Such in a panel.
    panel: u32,
    /// Whether neighbours in memory are neighbours along K.
    along_k: bool,
    /// Steps of K in a word.
    deep: u32,
    /// Rows or columns in a word.
    across: u32,
    /// Elements that the packing pass reads at once.
    run: u32,
}

impl Operand {
    /// An operand of which a lane holds `vectors` rows or columns, in words of
    /// `fill` elements. A word holds neighbours in memory if the form allows it,
    /// so that packing copies whole words wherever these are aligned.
    fn new(
        (outers, k, along_k): (u32, u32, bool),
        (lanes, vectors, unroll): (u32, u32, u32),
        fill: u32,
    ) -> Self {
        let across = if along_k || !vectors.is_multiple_of(fill) {
            fill / fill.min(unroll)
        } else {
            fill
        };
        let deep = fill / across;
        let (stride, run) = match along_k {
            true => (k, deep),
            false if deep == 1 => (outers, across),
            false => (outers, 1),
        };
        Self {
            outers,
            panel: lanes * vectors,
            along_k,
            deep,
            across,
            run: if stride.is_multiple_of(run) { run } else { 1 },
        }
    }

    fn panels(&self) -> u32 {
        self.outers.div_ceil(self.panel)
    }
}

/// Packs both operands, then multiplies.
pub fn subgroup(build: &Build) -> Candidates {
    let shape = gemm(build)?;
    let lanes = build.capabilities.need_subgroup()?;
    let forms = forms(build.capabilities.software, lanes)?;
    let program = |form| program(build, &shape, lanes, form).map_err(Into::into);
    forms.into_iter().map(program).collect()
}

fn program(
    build: &Build,
    shape: &GemmShape,
    lanes: u32,
    form: Form,
) -> Result<Program, TemplateError> {
    let Form { rows, cols, unroll } = form;
    let &GemmShape { batch, m, n, k, .. } = shape;
    let element = build.precision.operand().size() as u32;
    let word = if build.capabilities.features.int64 {
        8
    } else {
        4
    };
    let operand = |outers, along_k, vectors| {
        Operand::new(
            (outers, k, along_k),
            (lanes, vectors, unroll),
            word / element,
        )
    };
    let a = operand(m, shape.layout != Layout::Tn, rows);
    let b = operand(n, shape.layout == Layout::Nt, cols);
    let bits = 8 * element;

    let mut buffers = buffers(build.precision, shape);
    let mut passes = Vec::new();
    for (input, operand) in [(1, &a), (2, &b)] {
        let steps = k.next_multiple_of(unroll) / operand.deep;
        let words = u64::from(operand.panel / operand.across) * u64::from(steps);
        let panels = u64::from(batch) * u64::from(operand.panels());
        let params = buffers.len();
        buffers.push(BufferSpec::uniform(vec![operand.outers, k, steps]));
        buffers.push(BufferSpec {
            role: Role::Scratch,
            size: Bytes(u64::from(word) * words * panels),
        });
        let template = "matmul_pack.wgsl.jinja";
        passes.push(Pass {
            template,
            wgsl: build.templates.render(
                template,
                context! { bits, depth => DEPTH, ..packing(operand) },
            )?,
            bindings: vec![params, input, params + 1],
            workgroups: [steps.div_ceil(DEPTH), operand.panels(), batch],
        });
    }
    let parameters = [
        ("lanes", lanes),
        ("rows", rows),
        ("cols", cols),
        ("unroll", unroll),
    ];
    let parameters: Parameters = parameters.map(|(n, v)| (n.into(), v)).into();
    let template = "matmul_subgroup.wgsl.jinja";
    passes.push(Pass {
        template,
        wgsl: build.templates.render(
            template,
            context! {
                bits, a => packing(&a), b => packing(&b),
                ..Value::from_pairs(parameters.clone())
            },
        )?,
        bindings: vec![0, 5, 7, 3],
        workgroups: [b.panels(), a.panels(), batch],
    });
    Ok(Program {
        parameters,
        buffers,
        passes,
    })
}

/// What the templates have to know of an operand.
fn packing(operand: &Operand) -> Value {
    let &Operand {
        panel,
        along_k,
        deep,
        across,
        run,
        ..
    } = operand;
    context! { panel, along_k, deep, across, run }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_of_a_gpu_holds_no_more_than_its_registers() {
        for lanes in [4, 8, 16, 32, 64] {
            for form in forms(false, lanes).unwrap() {
                let accumulators = lanes * form.rows * form.cols;
                assert!(accumulators <= 128, "{lanes} lanes: {accumulators}");
            }
        }
        let refused = forms(false, 128).unwrap_err().to_string();
        assert_eq!(
            refused,
            "needs subgroups of at most 64 lanes, adapter has 128"
        );
    }

    /// 100 rows or columns by `k`, 8 lanes with 8 of them each, 2 steps at once:
    /// (steps and rows or columns in a word, elements read at once).
    fn packed(k: u32, along_k: bool, fill: u32) -> (u32, u32, u32) {
        let operand = Operand::new((100, k, along_k), (8, 8, 2), fill);
        (operand.deep, operand.across, operand.run)
    }

    #[test]
    fn words_are_copied_whole_where_they_are_aligned() {
        // Two floats in a word.
        assert_eq!(packed(6, true, 2), (2, 1, 2));
        assert_eq!(packed(7, true, 2), (2, 1, 1));
        assert_eq!(packed(7, false, 2), (1, 2, 2));
        // Four halves, of which only two steps of K are wanted at once.
        assert_eq!(packed(6, true, 4), (2, 2, 2));
        assert_eq!(packed(7, false, 4), (1, 4, 4));
        // One float: nothing to align.
        assert_eq!(packed(7, true, 1), (1, 1, 1));
    }

    /// A lane with a single row cannot fill a word with rows.
    #[test]
    fn a_single_row_fills_words_along_k() {
        let operand = Operand::new((100, 6, false), (32, 1, 4), 2);
        assert_eq!((operand.deep, operand.across, operand.run), (2, 1, 1));
        assert_eq!(operand.panels(), 4);
    }
}
