//! Kernels that compute something else, made from the real ones, are rejected
//! for what they do.

use flopwatt::kernel::problem::{Checked, Problem, Rejection, Verdict};
use flopwatt::kernel::program::{BufferSpec, Pass, Program, Role};
use flopwatt::kernel::{CATALOGUE, Kernel};
use flopwatt::measure::verify::{self, Witness};
use flopwatt::units::Bytes;
use libtest_mimic::Trial;

use crate::cases::edge_shapes;
use crate::raw::Mode;
use crate::stage::{Stage, case, problem_of, stage};
use crate::trials::needing;

pub fn trials() -> Vec<Trial> {
    vec![
        needing(
            "a_kernel_that_never_starts_is_not_computed",
            stage,
            a_kernel_that_never_starts_is_not_computed,
        ),
        needing(
            "a_kernel_that_writes_nothing_is_not_computed",
            stage,
            a_kernel_that_writes_nothing_is_not_computed,
        ),
        needing(
            "a_write_behind_the_end_breaks_the_fence",
            stage,
            a_write_behind_the_end_breaks_the_fence,
        ),
        needing(
            "a_missing_pass_is_noticed",
            stage,
            a_missing_pass_is_noticed,
        ),
        needing(
            "swapped_operands_are_wrong",
            stage,
            swapped_operands_are_wrong,
        ),
        needing(
            "one_wrong_element_of_four_million_is_found",
            stage,
            one_wrong_element_of_four_million_is_found,
        ),
        needing(
            "sampling_finds_one_wrong_element",
            stage,
            sampling_finds_one_wrong_element,
        ),
        needing(
            "half_precision_cannot_pose_as_single",
            stage,
            half_precision_cannot_pose_as_single,
        ),
        needing(
            "attention_without_its_mask_is_wrong",
            stage,
            attention_without_its_mask_is_wrong,
        ),
        needing(
            "attention_that_forgets_the_last_key_is_wrong",
            stage,
            attention_that_forgets_the_last_key_is_wrong,
        ),
        needing(
            "attention_that_ignores_its_scores_is_wrong",
            stage,
            attention_that_ignores_its_scores_is_wrong,
        ),
        needing(
            "a_witness_in_parts_finds_a_row_that_no_sample_sees",
            stage,
            a_witness_in_parts_finds_a_row_that_no_sample_sees,
        ),
        needing(
            "keys_are_split_where_a_driver_ends_long_loops",
            stage,
            keys_are_split_where_a_driver_ends_long_loops,
        ),
    ]
}

/// A case with one of its kernel's programs, to be tampered with.
struct Fake {
    problem: Box<dyn Problem>,
    program: Program,
}

impl Fake {
    fn of(stage: &Stage, id: &str) -> Self {
        let id = case(id);
        let kernel = Kernel::find(&id).expect("a kernel of the catalogue");
        let programs = stage.programs(kernel, id.shape).expect("the shape fits");
        Self {
            problem: problem_of(&id),
            program: programs.into_iter().next().expect("one program at least"),
        }
    }

    /// Replaces the one place in the shaders where `from` stands. Text that
    /// several passes include may be changed in any number of them.
    fn edit(mut self, from: &str, to: &str) -> Self {
        let mut edited = 0;
        for pass in &mut self.program.passes {
            assert!(pass.wgsl.matches(from).count() <= 1, "{from} is ambiguous");
            if pass.wgsl.contains(from) {
                pass.wgsl = pass.wgsl.replace(from, to);
                edited += 1;
            }
        }
        assert!(edited > 0, "no shader has {from}");
        self
    }

    /// The program with `delta` added to one element of the finished output.
    fn spoilt(&self, element: usize, delta: f32) -> Program {
        let mut program = self.program.clone();
        let output = program.buffers.iter().position(|b| b.role == Role::Output);
        program.passes.push(Pass {
            template: "spoil",
            wgsl: format!(
                "@group(0) @binding(0) var<storage, read_write> output: array<f32>;
                 @compute @workgroup_size(1)
                 fn main() {{ output[{element}u] += {delta:?}f; }}"
            ),
            bindings: vec![output.expect("an output")],
            workgroups: [1, 1, 1],
        });
        program
    }

    fn verdict(&self, stage: &Stage) -> Verdict {
        stage.verify(&self.program, &*self.problem).verdict
    }

    fn rejection(&self, stage: &Stage) -> Rejection {
        self.verdict(stage)
            .rejection
            .expect("a wrong output is rejected")
    }
}

/// What stands in an output that nobody wrote: the harness' NaN.
const POISON: u32 = 0xffff_ffff;

#[track_caller]
fn assert_not_computed(rejection: &Rejection) {
    assert_eq!(*rejection, Rejection::NotComputed { pattern: POISON });
    assert!(rejection.to_string().starts_with("output not computed"));
}

fn a_kernel_that_never_starts_is_not_computed(stage: &'static Stage) {
    for kernel in CATALOGUE {
        let mut shapes = edge_shapes(kernel).into_iter();
        let Some(shape) = shapes.find(|&shape| stage.programs(kernel, shape).is_ok()) else {
            continue;
        };
        let id = kernel.case(shape).to_string();
        let mut fake = Fake::of(stage, &id);
        for pass in &mut fake.program.passes {
            pass.workgroups = [0; 3];
        }
        assert_not_computed(&fake.rejection(stage));
    }
}

/// The driver runs the kernel, which keeps all it computes to itself.
fn a_kernel_that_writes_nothing_is_not_computed(stage: &'static Stage) {
    let fake = Fake::of(stage, "matmul/f32/naive/33x17x5").edit(
        "c[index_c(id.z, row, col)] = acc;",
        "if params.m == 0u { c[0] = acc; }",
    );
    assert_not_computed(&fake.rejection(stage));
}

/// Without the guard on rows, workgroups of 16 rows store rows 17 to 31 of a
/// column of 17 elements behind its end. The output itself is right.
fn a_write_behind_the_end_breaks_the_fence(stage: &'static Stage) {
    let fake = Fake::of(stage, "matmul/f32/naive/17x1x33").edit("row >= params.m || ", "");
    let fenced = stage
        .raw
        .run(&fake.program, fake.problem.inputs(), Mode::Fenced);
    assert_eq!(fenced, Err("0 bytes behind the end of Output".into()));
}

/// Scores or weights that were never computed are poison, which spreads to the
/// output; without the last pass there is no output.
fn a_missing_pass_is_noticed(stage: &'static Stage) {
    let id = "attention/f32/materialised/b1h2s17d64";
    let passes = Fake::of(stage, id).program.passes.len();
    for missing in 0..passes {
        let mut fake = Fake::of(stage, id);
        fake.program.passes.remove(missing);
        assert!(fake.verdict(stage).rejection.is_some(), "pass {missing}");
    }
}

/// A·B and B·A of square matrices have the same size and the same magnitude.
fn swapped_operands_are_wrong(stage: &'static Stage) {
    for variant in ["naive", "workgroup", "register"] {
        let mut fake = Fake::of(stage, &format!("matmul/f32/{variant}/65x65x65"));
        let [_, a, b, _] = fake.program.passes[0].bindings[..] else {
            panic!("a product binds sizes, A, B and C");
        };
        fake.program.passes[0].bindings[1..3].copy_from_slice(&[b, a]);
        let rejection = fake.rejection(stage);
        assert!(
            matches!(rejection, Rejection::WrongElement { .. }),
            "{rejection}"
        );
    }
}

/// With K = 64 an element is a sum of 64 products of normal values: about ±8,
/// with magnitudes that add up to about 64·2/π = 41. The tolerance is
/// 10.6·√64·2⁻²⁴ = 5·10⁻⁶ of that, 2·10⁻⁴: an error of 10⁻² in one of 2²²
/// elements must show, and one of 10⁻⁶ is rounding.
fn one_wrong_element_of_four_million_is_found(stage: &'static Stage) {
    let right = Fake::of(stage, "matmul/f32/register/2048x2048x64");
    let (row, col) = (2047, 1234);
    let verdict = |delta| {
        let program = right.spoilt(row * 2048 + col, delta);
        stage.verify(&program, &*right.problem).verdict
    };
    let wrong = verdict(1e-2);
    assert_eq!(wrong.checked, Checked::Full);
    let place = format!("row {row}, column {col}");
    assert_eq!(place_of(wrong.rejection), Some(place));
    assert_eq!(verdict(1e-6).rejection, None);
}

/// 2048·2048·1025 multiply-adds are just past the budget of a full reference.
/// The last row is among those computed in full all the same: the tolerance is
/// 11.4·√1025·2⁻²⁴ = 2.2·10⁻⁵ of magnitudes that add up to about 1025·2/π = 650,
/// so 0.014, and an error of 0.2 shows as that element.
///
/// Elsewhere one element shows through the product of its block of 32 columns
/// with random signs: the bound is 8.6·2.2·10⁻⁵·‖a‖·‖B‖ with ‖a‖ = √1025 and
/// ‖B‖ = √(1025·32), about 1.1, and a typical element is ±32.
fn sampling_finds_one_wrong_element(stage: &'static Stage) {
    let right = Fake::of(stage, "matmul/f32/register/2048x2048x1025");
    let spoilt = |row: usize, col: usize, delta| {
        let program = right.spoilt(row * 2048 + col, delta);
        let verdict = stage.verify(&program, &*right.problem).verdict;
        assert_eq!(verdict.checked, Checked::Sampled);
        place_of(verdict.rejection)
    };
    let last_row = spoilt(2047, 1234, 0.2);
    assert_eq!(last_row.as_deref(), Some("row 2047, column 1234"));
    let interior = spoilt(1000, 1001, 32.0);
    assert_eq!(interior.as_deref(), Some("row 1000, columns 992 to 1023"));
}

fn place_of(rejection: Option<Rejection>) -> Option<String> {
    match rejection? {
        Rejection::NotComputed { .. }
        | Rejection::RoundedOperands { .. }
        | Rejection::Unverifiable { .. } => None,
        Rejection::WrongElement { place, .. }
        | Rejection::WrongProduct { place, .. }
        | Rejection::WrongAverage { place, .. } => Some(place),
    }
}

/// Packing and unpacking rounds the accumulator to half precision after every
/// step, on adapters without half precision, too. Already a few steps must show,
/// and long sums must not hide it.
/// The sum is rounded to the 11 significant bits of half precision after every step:
/// half of the last of 24 − 11 = 13 bits is added and all 13 are cut off. Packing into
/// half precision and unpacking would not do, since NVIDIA's compiler leaves it out.
fn half_precision_cannot_pose_as_single(stage: &'static Stage) {
    for k in [4, 16, 256, 4096] {
        let fake = Fake::of(stage, &format!("matmul/f32/naive/64x64x{k}")).edit(
            "acc = multiply_add(fetch_a(id.z, row, step), fetch_b(id.z, step, col), acc);",
            "acc = multiply_add(fetch_a(id.z, row, step), fetch_b(id.z, step, col), acc);
             acc = bitcast<f32>((bitcast<u32>(acc) + 0x1000u) & 0xffffe000u);",
        );
        let rejection = fake.rejection(stage);
        assert!(
            matches!(rejection, Rejection::WrongElement { .. }),
            "K = {k}: {rejection}"
        );
    }
}

const ATTENTION: [&str; 2] = ["materialised", "flash"];

fn attention_without_its_mask_is_wrong(stage: &'static Stage) {
    for variant in ATTENTION {
        for shape in [
            "b1h2s2d64-causal",
            "b1h1s65d64-causal",
            "b1h2q5k130d64-causal",
        ] {
            let fake = Fake::of(stage, &format!("attention/f32/{variant}/{shape}"))
                .edit("if params.causal == 0u {", "if params.causal != 2u {");
            let rejection = fake.rejection(stage);
            // The first query is the one that sees least.
            let place = place_of(Some(rejection)).unwrap_or_default();
            assert!(place.contains("query 0,"), "{variant} {shape}: {place}");
        }
    }
}

fn attention_that_forgets_the_last_key_is_wrong(stage: &'static Stage) {
    for variant in ATTENTION {
        for shape in ["b1h2s2d64", "b1h1s65d64", "b1h1q3k400d64"] {
            let fake = Fake::of(stage, &format!("attention/f32/{variant}/{shape}"))
                .edit("return params.kv_len;", "return params.kv_len - 1u;");
            let rejection = fake.rejection(stage);
            assert!(
                matches!(rejection, Rejection::WrongElement { .. }),
                "{variant} {shape}"
            );
        }
    }
}

/// The average of all values is what long attention comes close to.
fn attention_that_ignores_its_scores_is_wrong(stage: &'static Stage) {
    for precision in ["f32", "f16"] {
        for shape in ["b1h8kv2q1k1024d64", "b1h4kv1q1k16384d128"] {
            let id = format!("attention/{precision}/split-kv/{shape}");
            if stage.programs(kernel_of(&id), case(&id).shape).is_err() {
                continue;
            }
            let fake = Fake::of(stage, &id).edit("* (params.scale * LOG2_E)", "* 0.0");
            let rejection = fake.rejection(stage);
            assert!(matches!(rejection, Rejection::WrongElement { .. }), "{id}");
        }
    }
}

fn kernel_of(id: &str) -> &'static Kernel {
    Kernel::find(&case(id)).expect("a kernel of the catalogue")
}

/// The scores take 144 MB: the witness computes the queries in two parts.
fn a_witness_in_parts_finds_a_row_that_no_sample_sees(stage: &'static Stage) {
    let id = "attention/f32/flash/b1h1s6000d64-causal";
    let right = Fake::of(stage, id);
    assert_eq!(right.problem.parts().count(), 2);
    // A row that no sample sees, as the checks pass it.
    let wrong = (4001..5000)
        .map(|row| right.spoilt(row * 64, 0.01))
        .find(|wrong| {
            let verdict = stage.verify(wrong, &*right.problem).verdict;
            verdict.rejection.is_none()
        });
    let witness = |program: &Program| {
        let output = stage.verify(program, &*right.problem).output;
        let materialised = kernel_of("attention/f32/materialised/b1h1s6000d64");
        let build = |shape| stage.programs(materialised, shape).ok()?.pop();
        verify::witness(&stage.gpu, build, &*right.problem, &output).expect("it runs")
    };
    assert!(matches!(witness(&right.program), Witness::Agrees));
    let wrong = wrong.expect("most rows are not sampled");
    assert!(matches!(witness(&wrong), Witness::Disagrees(_)));
}

/// llvmpipe of Mesa 22 and others before it ends all loops of an invocation after
/// 65,535 rounds together. This shader shows whether a driver does.
fn keys_are_split_where_a_driver_ends_long_loops(stage: &'static Stage) {
    const ROUNDS: u32 = 70_000;
    let counting = Program {
        parameters: Default::default(),
        buffers: vec![
            BufferSpec::uniform(vec![ROUNDS]),
            BufferSpec {
                role: Role::Output,
                size: Bytes(16),
            },
        ],
        passes: vec![Pass {
            template: "counting",
            wgsl: "@group(0) @binding(0) var<uniform> rounds: vec4<u32>;
                   @group(0) @binding(1) var<storage, read_write> count: array<u32>;
                   @compute @workgroup_size(1)
                   fn main() {
                       for (var round = 0u; round < rounds.x; round++) {
                           count[0] = count[0] + 1u;
                       }
                   }"
            .into(),
            bindings: vec![0, 1],
            workgroups: [1, 1, 1],
        }],
    };
    let counting = stage.gpu.load(&counting, &[]).expect("it loads");
    stage.gpu.run_once(&counting).expect("it runs");
    let count = stage.gpu.output(&counting).expect("a count");
    let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]);
    eprintln!("{count} of {ROUNDS} rounds");
    assert!(count == ROUNDS || stage.capabilities.software && count <= 1 << 16);

    let id = "attention/f32/split-kv/b1h8kv2q15k50000d64";
    assert_eq!(Fake::of(stage, id).verdict(stage).rejection, None);
}
