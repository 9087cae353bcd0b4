//! Every kernel computes what it should, on every edge shape, and reads and
//! writes nothing beside its buffers.

use flopwatt::kernel::capabilities::Unfit;
use flopwatt::kernel::element::{Element, Tensor};
use flopwatt::kernel::id::{CaseId, Operation};
use flopwatt::kernel::inputs;
use flopwatt::kernel::problem::Checked;
use flopwatt::kernel::program::Program;
use flopwatt::kernel::shape::{AttentionShape, GemmShape, Layout, Shape};
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::tolerance::U_F32;
use flopwatt::kernel::{BuildError, CATALOGUE, Kernel};
use libtest_mimic::Trial;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::cases::edge_shapes;
use crate::raw::Mode;
use crate::stage::{SEED, Stage, case, problem_of, stage};
use crate::trials::{Missing, needing};

pub fn trials() -> Vec<Trial> {
    let edges = CATALOGUE.iter().map(|kernel| {
        let Kernel {
            operation,
            precision,
            variant,
            ..
        } = kernel;
        let name = format!("{operation}/{precision}/{variant}_computes_every_edge_shape");
        needing(
            name,
            || stage_for(kernel),
            |stage| computes_every_edge_shape(stage, kernel),
        )
    });
    let others = [
        needing(
            "products_are_right_in_forms_for_other_adapters",
            stage,
            products_are_right_in_forms_for_other_adapters,
        ),
        needing(
            "attention_is_right_with_rows_split_among_lanes",
            stage,
            attention_is_right_with_rows_split_among_lanes,
        ),
        needing(
            "random_products_are_right",
            stage,
            random_products_are_right,
        ),
        needing(
            "random_attention_is_right",
            stage,
            random_attention_is_right,
        ),
        needing(
            "a_row_that_sees_no_key_is_zero",
            stage,
            a_row_that_sees_no_key_is_zero,
        ),
        needing(
            "large_scores_do_not_overflow",
            stage,
            large_scores_do_not_overflow,
        ),
    ];
    edges.chain(others).collect()
}

/// The stage, where its adapter has what `kernel` needs.
fn stage_for(kernel: &Kernel) -> Result<&'static Stage, Missing> {
    let stage = stage()?;
    match stage.programs(kernel, edge_shapes(kernel)[0]) {
        Err(BuildError::Unfit(unfit @ Unfit::Feature(_))) => Err(Missing(unfit.to_string())),
        _ => Ok(stage),
    }
}

/// Whether the shape is one that a kernel may leave out: an unusual head size,
/// queries by the dozen where it is for decoding, or rows that need more registers
/// than a lane of a GPU has.
fn may_be_left_out(stage: &Stage, kernel: &Kernel, shape: Shape) -> bool {
    let Shape::Attention(shape) = shape else {
        return false;
    };
    ![64, 128].contains(&shape.head_dim)
        || kernel.variant == "split-kv" && shape.q_len > 8
        || kernel.variant == "flash-subgroup" && !stage.capabilities.software
}

/// What is wrong with any of the kernel's programs for `shape`; `None` when the
/// kernel does not take it.
fn faults(stage: &Stage, kernel: &Kernel, shape: Shape) -> Option<Vec<String>> {
    let id = kernel.case(shape);
    let programs = match stage.programs(kernel, shape) {
        Err(BuildError::Unfit(Unfit::Shape(_))) if may_be_left_out(stage, kernel, shape) => {
            return None;
        }
        Err(BuildError::Unfit(Unfit::Feature(_))) => return None,
        programs => programs.unwrap_or_else(|error| panic!("{id}: {error}")),
    };
    let modes = [Mode::Checked, Mode::Fenced];
    Some(faults_of(stage, &id, &programs, &modes))
}

/// What is wrong with any of `programs`, which are to compute the case `id`, as
/// the harness runs them and in other `modes`.
pub fn faults_of(stage: &Stage, id: &CaseId, programs: &[Program], modes: &[Mode]) -> Vec<String> {
    let problem = problem_of(id);
    let mut faults = Vec::new();
    for program in programs {
        let mut fault =
            |what: String| faults.push(format!("{id} {:?}: {what}", program.parameters));
        let verified = stage.verify(program, &*problem);
        let verdict = &verified.verdict;
        if let Some(rejection) = &verdict.rejection {
            fault(rejection.to_string());
        }
        if verdict.checked != Checked::Full {
            fault(format!("checked {:?}", verdict.checked));
        }
        for &mode in modes {
            match stage.raw.run(program, problem.inputs(), mode) {
                Ok(output) if output == verified.output => {}
                // A GPU's compiler may round sums of half precision elsewhere where
                // there are checks between them.
                Ok(output)
                    if mode == Mode::Checked
                        && !stage.capabilities.software
                        && problem.check(program, &output).rejection.is_none() => {}
                Ok(_) => fault(format!("{mode:?}, it writes something else")),
                Err(place) => fault(format!("{mode:?}, it writes {place}")),
            }
        }
    }
    faults
}

fn computes_every_edge_shape(stage: &Stage, kernel: &Kernel) {
    let shapes = edge_shapes(kernel);
    let outcomes: Vec<_> = shapes
        .iter()
        .filter_map(|&shape| faults(stage, kernel, shape))
        .collect();
    assert!(!outcomes.is_empty(), "no shape was run");
    let faults: Vec<String> = outcomes.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Runs every kernel of `operation` on random shapes, the same ones each time.
fn on_random_shapes(
    stage: &Stage,
    operation: Operation,
    cases: u32,
    shapes: impl Strategy<Value = Shape>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        // A step towards a smaller failure is a case of its own.
        max_shrink_iters: 4 * cases,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&shapes, |shape| {
        for kernel in CATALOGUE.iter().filter(|k| k.operation == operation) {
            let faults = faults(stage, kernel, shape).unwrap_or_default();
            prop_assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// Programs are built for what the adapter is. Those for a GPU, and for one
/// without 64-bit integers, are right on any adapter that runs them.
fn products_are_right_in_forms_for_other_adapters(stage: &'static Stage) {
    let mut capabilities = stage.capabilities.clone();
    capabilities.software = false;
    for int64 in [stage.capabilities.features.int64, false] {
        capabilities.features.int64 = int64;
        for kernel in CATALOGUE
            .iter()
            .filter(|k| k.variant.starts_with("subgroup"))
        {
            for text in ["33x66x70", "65x63x31-nt", "b2-68x34x9-tn"] {
                let shape = Shape::parse(kernel.operation, text).expect("a shape");
                let programs = kernel.candidates(shape, &capabilities, Templates::builtin());
                let faults = match programs {
                    Err(BuildError::Unfit(Unfit::Feature(_))) => continue,
                    programs => {
                        let programs = programs.unwrap_or_else(|error| panic!("{error}"));
                        faults_of(stage, &kernel.case(shape), &programs, &[Mode::Fenced])
                    }
                };
                assert!(faults.is_empty(), "{}", faults.join("\n"));
            }
        }
    }
}

/// As for a GPU whose subgroups have at most as many lanes as here, and for one
/// with more, where a row is split among fewer of them. Rows of 20 elements cannot
/// be split, those of 40 only once.
fn attention_is_right_with_rows_split_among_lanes(stage: &'static Stage) {
    let mut capabilities = stage.capabilities.clone();
    capabilities.software = false;
    let Some([fewest, most]) = capabilities.features.subgroup else {
        return;
    };
    for most in [most, 64] {
        capabilities.features.subgroup = Some([fewest, most]);
        for kernel in CATALOGUE.iter().filter(|k| k.variant == "flash") {
            for text in [
                "b1h2s65d64",
                "b1h2q17k65d128-causal",
                "b1h2s35d20-causal",
                "b2h2kv1s70d40",
            ] {
                let shape = Shape::parse(kernel.operation, text).expect("a shape");
                let programs = kernel.candidates(shape, &capabilities, Templates::builtin());
                let programs = programs.unwrap_or_else(|error| panic!("{error}"));
                let faults = faults_of(stage, &kernel.case(shape), &programs, &[Mode::Fenced]);
                assert!(faults.is_empty(), "{}", faults.join("\n"));
            }
        }
    }
}

fn random_products_are_right(stage: &'static Stage) {
    let size = || 1u32..=150;
    let layout = prop::sample::select(vec![Layout::Nn, Layout::Nt, Layout::Tn]);
    let shapes = (1u32..=3, size(), size(), size(), layout).prop_map(|(batch, m, n, k, layout)| {
        Shape::Gemm(GemmShape {
            batch,
            m,
            n,
            k,
            layout,
        })
    });
    on_random_shapes(stage, Operation::Matmul, 12, shapes);
}

fn random_attention_is_right(stage: &'static Stage) {
    let length = || 1u32..=80;
    let head_dim = prop::sample::select(vec![4u32, 12, 64, 76]);
    let sizes = (1u32..=2, 1u32..=2, 1u32..=3);
    let shapes = (sizes, length(), length(), head_dim, any::<bool>()).prop_map(
        |((batch, kv_heads, group), q_len, kv_len, head_dim, causal)| {
            Shape::Attention(AttentionShape {
                batch,
                heads: kv_heads * group,
                kv_heads,
                q_len,
                kv_len,
                head_dim,
                causal,
            })
        },
    );
    on_random_shapes(stage, Operation::Attention, 8, shapes);
}

/// More queries than keys: query i sees keys up to i + 5 − q_len, so all rows of
/// each head but the last five see none. Softmax over nothing is defined as zero.
fn a_row_that_sees_no_key_is_zero(stage: &'static Stage) {
    const HEAD_DIM: usize = 64;
    for kernel in attention_kernels() {
        let queries = if kernel.variant == "split-kv" { 8 } else { 130 };
        let shape = format!("attention/f32/any/b1h2q{queries}k5d64-causal");
        let id = kernel.case(case(&shape).shape);
        for program in usable_programs(stage, kernel, id.shape) {
            let output = stage.verify(&program, &*problem_of(&id)).output;
            let element = kernel.precision.operand();
            let values = element.read(&output, 2 * queries * HEAD_DIM);
            let rows = values.chunks(HEAD_DIM).enumerate();
            for (row, values) in rows {
                let blind = row % queries < queries - 5;
                assert_eq!(values.iter().all(|&v| v == 0.0), blind, "{id}, row {row}");
            }
        }
    }
}

fn attention_kernels() -> impl Iterator<Item = &'static Kernel> {
    let kernels = CATALOGUE.iter();
    kernels.filter(|k| k.operation == Operation::Attention)
}

/// The programs of a kernel that takes `shape`; none where the adapter lacks
/// something that it needs, or the kernel may leave the shape out.
fn usable_programs(stage: &Stage, kernel: &Kernel, shape: Shape) -> Vec<Program> {
    match stage.programs(kernel, shape) {
        Err(BuildError::Unfit(Unfit::Feature(_))) => Vec::new(),
        Err(BuildError::Unfit(Unfit::Shape(_))) if may_be_left_out(stage, kernel, shape) => {
            Vec::new()
        }
        programs => programs.unwrap_or_else(|error| panic!("{kernel:?}: {error}")),
    }
}

/// exp overflows single precision at 89 and half precision at 12, so that kernels
/// must subtract the largest score of a row. Normal Q and K times 60 give scores
/// q·k/√d of a standard deviation of 60² = 3600, and among thousands of them
/// some beyond ±10⁴.
fn large_scores_do_not_overflow(stage: &'static Stage) {
    for kernel in attention_kernels() {
        let id = kernel.case(case("attention/f32/any/b1h4kv2q8k333d64-causal").shape);
        let element = kernel.precision.operand();
        let draw = |number, count, factor: f64| {
            let values = inputs::normal(SEED, number, count, element).values();
            let values: Vec<f64> = values.iter().map(|v| factor * v).collect();
            Tensor::new(element, &values)
        };
        let tensors = [
            draw(0, 4 * 8 * 64, 60.0),
            draw(1, 2 * 333 * 64, 60.0),
            draw(2, 2 * 333 * 64, 1.0),
        ];
        let expected = sharp_attention(tensors.each_ref().map(Tensor::values), element);
        for program in usable_programs(stage, kernel, id.shape) {
            let output = stage.raw.run(&program, &tensors, Mode::Fenced);
            let found = element.read(&output.expect("it stays inside"), expected.len());
            for (at, (found, [value, bound])) in found.iter().zip(&expected).enumerate() {
                assert!(
                    (found - value).abs() <= *bound,
                    "{id} {:?}, element {at}: {found} instead of {value} ± {bound}",
                    program.parameters
                );
            }
        }
    }
}

/// Attention in float64 of 8 causal queries in 4 heads on 333 keys in 2, and how
/// far an element may be from it. A score is a sum of 64 products, scaled: in
/// single precision it errs by δ = 70·2⁻²⁴·Σ|q·k|·scale at most. Both the weights
/// and their total move by a factor of up to exp(2δ), and an element by
/// (exp(4δ) − 1)·Σ p·|v|; rounding of all else is within 10⁻³ of that sum.
fn sharp_attention([q, k, v]: [Vec<f64>; 3], element: Element) -> Vec<[f64; 2]> {
    const D: usize = 64;
    let dot = |a: &[f64], b: &[f64], of: fn(f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| of(a * b)).sum::<f64>() / 8.0
    };
    let mut largest = 0f64;
    let mut elements = Vec::new();
    for (row, q) in q.chunks(D).enumerate() {
        let (head, query) = (row / 8, row % 8);
        let first = head / 2 * 333 * D;
        let visible = 333 - 8 + query + 1;
        let (k, v) = (&k[first..][..visible * D], &v[first..][..visible * D]);
        let scores: Vec<f64> = k.chunks(D).map(|k| dot(q, k, |x| x)).collect();
        let magnitude = k.chunks(D).map(|k| dot(q, k, f64::abs)).fold(0.0, f64::max);
        let highest = scores.iter().copied().fold(f64::MIN, f64::max);
        largest = scores.iter().fold(largest, |l, s| l.max(s.abs()));
        let weights: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let spread = (4.0 * 70.0 * U_F32 * magnitude).exp_m1() + 1e-3 + 2.0 * element.roundoff();
        elements.extend((0..D).map(|d| {
            let terms = weights
                .iter()
                .zip(v.chunks(D))
                .map(|(p, v)| p / total * v[d]);
            let sizes: f64 = terms.clone().map(f64::abs).sum();
            [terms.sum(), spread * sizes]
        }));
    }
    assert!(largest > 1e4, "scores reach {largest} only");
    elements
}
