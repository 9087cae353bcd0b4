//! A product of packed panels, one subgroup a workgroup.
//!
//! Two passes rewrite A and B into panels, a third multiplies them: loads are
//! what costs where many elements of C are kept in registers, and a panel is
//! read in whole words, side by side, without a guard. Panels lie in buffers, or
//! in storage textures, which some adapters read in far fewer instructions.

use minijinja::{Value, context};

use super::{buffers, gemm};
use crate::kernel::capabilities::Unfit;
use crate::kernel::program::{BufferSpec, Pass, Program, Role, TEXEL};
use crate::kernel::shape::{GemmShape, Layout};
use crate::kernel::template::TemplateError;
use crate::kernel::{Build, Candidates, Parameters};
use crate::units::Bytes;

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

/// The same for panels in textures: with loads that cheap, more steps of a
/// smaller tile save accumulators that are loaded and stored in each pass.
const SPILLING_TEXTURES: &[Form] = &[Form {
    rows: 4,
    cols: 8,
    unroll: 4,
}];

/// Accumulators that a lane of a GPU has registers for, beside the operands.
const GPU_ACCUMULATORS: u32 = 128;

/// Where panels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panels {
    /// In buffers of words of so many bytes.
    Buffers(u32),
    /// In storage textures.
    Textures,
}

impl Panels {
    /// Bytes of a word.
    fn word(self) -> u32 {
        match self {
            Self::Buffers(word) => word,
            Self::Textures => TEXEL as u32,
        }
    }
}

/// Forms whose accumulators an adapter with subgroups of `lanes` can hold, and in
/// which a lane has whole words of `fill` elements.
fn forms(software: bool, lanes: u32, panels: Panels, fill: u32) -> Result<Vec<Form>, Unfit> {
    if software {
        return Ok(match panels {
            Panels::Buffers(_) => SPILLING.to_vec(),
            Panels::Textures => SPILLING_TEXTURES.to_vec(),
        });
    }
    let rows = (32 / lanes).max(1);
    let form = |cols| Form {
        rows,
        cols,
        unroll: fill.max(4),
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
        let (stride, mut run) = match along_k {
            true => (k, deep),
            false if deep == 1 => (outers, across),
            false => (outers, 1),
        };
        while !stride.is_multiple_of(run) {
            run /= 2;
        }
        Self {
            outers,
            panel: lanes * vectors,
            along_k,
            deep,
            across,
            run,
        }
    }

    fn panels(&self) -> u32 {
        self.outers.div_ceil(self.panel)
    }
}

/// How the packing pass divides its work.
#[derive(Clone, Copy, Debug)]
struct Packing {
    /// Invocations of a workgroup.
    invocations: u32,
    /// Words along K that a workgroup packs.
    depth: u32,
    /// Panels of which it packs them.
    span: u32,
}

impl Packing {
    /// A CPU runs one subgroup after the other: a workgroup of one subgroup reads
    /// memory from one end to the other, as far as possible in one piece.
    fn new(software: bool, lanes: u32, along_k: bool) -> Self {
        let (invocations, depth, span) = match (software, along_k) {
            (true, true) => (lanes, 128, 1),
            (true, false) => (lanes, 32, 16),
            (false, _) => (256, 32, 1),
        };
        Self {
            invocations,
            depth,
            span,
        }
    }
}

/// Packs both operands into buffers, then multiplies.
pub fn subgroup(build: &Build) -> Candidates {
    let word = if build.capabilities.features.int64 {
        8
    } else {
        4
    };
    programs(build, Panels::Buffers(word))
}

/// Packs both operands into storage textures, then multiplies.
pub fn subgroup_texture(build: &Build) -> Candidates {
    programs(build, Panels::Textures)
}

fn programs(build: &Build, panels: Panels) -> Candidates {
    let shape = gemm(build)?;
    let lanes = build.capabilities.need_subgroup()?;
    let fill = panels.word() / build.precision.operand().size() as u32;
    let forms = forms(build.capabilities.software, lanes, panels, fill)?;
    let product = Product {
        build,
        shape,
        lanes,
        panels,
    };
    let program = |form| product.program(form).map_err(Into::into);
    forms.into_iter().map(program).collect()
}

/// A product that is to be computed from panels.
struct Product<'a> {
    build: &'a Build<'a>,
    shape: GemmShape,
    lanes: u32,
    panels: Panels,
}

impl Product<'_> {
    fn program(&self, form: Form) -> Result<Program, TemplateError> {
        let Form { rows, cols, unroll } = form;
        let (lanes, shape) = (self.lanes, &self.shape);
        let bits = 8 * self.build.precision.operand().size() as u32;
        let operand = |outers, along_k, vectors| {
            let fill = 8 * self.panels.word() / bits;
            Operand::new((outers, shape.k, along_k), (lanes, vectors, unroll), fill)
        };
        let a = operand(shape.m, shape.layout != Layout::Tn, rows);
        let b = operand(shape.n, shape.layout == Layout::Nt, cols);

        let mut buffers = buffers(self.build.precision, shape);
        let mut passes = Vec::new();
        for (input, operand) in [(1, &a), (2, &b)] {
            let params = buffers.len();
            buffers.extend(self.panels_of(operand, unroll));
            passes.push(self.packing(operand, unroll, vec![params, input, params + 1])?);
        }
        let sizes = [shape.m, shape.n, shape.k];
        let beside = [&a, &b].map(|operand| self.beside(operand, unroll).ilog2());
        buffers[0] = BufferSpec::uniform([&sizes[..], &beside[..]].concat());
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
            wgsl: self.build.templates.render(
                template,
                context! {
                    bits, a => words(&a), b => words(&b),
                    texture => self.panels == Panels::Textures,
                    ..Value::from_pairs(parameters.clone())
                },
            )?,
            bindings: vec![0, 5, 7, 3],
            workgroups: [a.panels(), b.panels(), shape.batch],
        });
        Ok(Program {
            parameters,
            buffers,
            passes,
        })
    }

    /// Words along K of an operand's panels, zeros at the end included.
    fn steps(&self, operand: &Operand, unroll: u32) -> u32 {
        self.shape.k.next_multiple_of(unroll) / operand.deep
    }

    /// Panels side by side in a texture: as few as fit below each other, so that
    /// a panel lies in one piece wherever possible, and a power of two.
    fn beside(&self, operand: &Operand, unroll: u32) -> u32 {
        let blocks = self.shape.k.div_ceil(unroll);
        let below = self.build.capabilities.max_texture_dimension / blocks;
        let panels = self.shape.batch.saturating_mul(operand.panels());
        panels
            .div_ceil(below.max(1))
            .checked_next_power_of_two()
            .unwrap_or(1 << 31)
    }

    /// The packing pass's uniform block, and where it writes.
    fn panels_of(&self, operand: &Operand, unroll: u32) -> [BufferSpec; 2] {
        let steps = self.steps(operand, unroll);
        let beside = self.beside(operand, unroll);
        let panels = self.shape.batch.saturating_mul(operand.panels());
        let words = operand.panel / operand.across;
        let target = match self.panels {
            Panels::Buffers(word) => BufferSpec {
                role: Role::Scratch,
                size: Bytes(
                    u64::from(word) * u64::from(words) * u64::from(steps) * u64::from(panels),
                ),
            },
            Panels::Textures => BufferSpec::texture(
                beside.saturating_mul(words * unroll / operand.deep),
                panels.div_ceil(beside) * self.shape.k.div_ceil(unroll),
            ),
        };
        let params = vec![operand.outers, self.shape.k, steps, beside.ilog2()];
        [BufferSpec::uniform(params), target]
    }

    fn packing(
        &self,
        operand: &Operand,
        unroll: u32,
        bindings: Vec<usize>,
    ) -> Result<Pass, TemplateError> {
        let software = self.build.capabilities.software;
        let Packing {
            invocations,
            depth,
            span,
        } = Packing::new(software, self.lanes, operand.along_k);
        let &Operand {
            panel,
            along_k,
            deep,
            run,
            ..
        } = operand;
        let template = "matmul_pack.wgsl.jinja";
        let bits = 8 * self.build.precision.operand().size();
        Ok(Pass {
            template,
            wgsl: self.build.templates.render(
                template,
                context! {
                    bits, panel, along_k, run, invocations, depth, span,
                    texture => self.panels == Panels::Textures,
                    per_block => unroll / deep, ..words(operand)
                },
            )?,
            bindings,
            workgroups: [
                self.steps(operand, unroll).div_ceil(depth),
                operand.panels().div_ceil(span),
                self.shape.batch,
            ],
        })
    }
}

/// What a word of an operand holds, for the templates.
fn words(operand: &Operand) -> Value {
    context! { deep => operand.deep, across => operand.across }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_of_a_gpu_holds_no_more_than_its_registers() {
        for lanes in [4, 8, 16, 32, 64] {
            for panels in [Panels::Buffers(8), Panels::Textures] {
                for form in forms(false, lanes, panels, 8).unwrap() {
                    let accumulators = lanes * form.rows * form.cols;
                    assert!(accumulators <= 128, "{lanes} lanes: {accumulators}");
                }
            }
        }
        let refused = forms(false, 128, Panels::Textures, 4)
            .unwrap_err()
            .to_string();
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
