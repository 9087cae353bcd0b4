//! Kernels on matrix units. Where the adapter has cooperative matrices their
//! programs compile. Everywhere else the same templates, with the matrices
//! emulated in plain WGSL, show that the rest of the kernels is right: tiles,
//! layouts, edges, masks, barriers. Whether a driver's own matrices are right is
//! shown on every run, by verification.

use std::collections::BTreeSet;

use flopwatt::kernel::capabilities::{Capabilities, Features, Unfit};
use flopwatt::kernel::id::{Operation, Precision};
use flopwatt::kernel::problem::Rejection;
use flopwatt::kernel::program::Program;
use flopwatt::kernel::shader::Footprint;
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{Build, BuildError, CATALOGUE, Kernel, attention, matmul};
use libtest_mimic::Trial;

use crate::cases::edge_shapes;
use crate::correct::faults_of;
use crate::raw::Mode;
use crate::stage::{Stage, case, problem_of, stage};
use crate::trials::{Missing, needing};

pub fn trials() -> Vec<Trial> {
    let kernels = CATALOGUE.iter().filter(|k| {
        // The ceilings' chains leave nothing to be taken the wrong way round.
        k.variant.contains("cooperative") && k.operation != Operation::Peak
    });
    let of_kernels = kernels.flat_map(|kernel| {
        let Kernel {
            operation,
            precision,
            variant,
            ..
        } = kernel;
        let name = format!("{operation}/{precision}/{variant}");
        [
            needing(
                format!("{name}_is_right_on_emulated_matrices"),
                || emulating_stage(kernel),
                |stage| is_right_on_emulated_matrices(stage, kernel),
            ),
            needing(
                format!("{name}_is_right_with_more_or_larger_subgroups"),
                || emulating_stage(kernel),
                |stage| is_right_with_more_or_larger_subgroups(stage, kernel),
            ),
            needing(
                format!("{name}_compiles_for_matrix_units"),
                || stage_with_matrix_units(kernel),
                |stage| compiles_for_matrix_units(stage, kernel),
            ),
        ]
    });
    let others = [
        needing(
            "a_fragment_loaded_the_wrong_way_round_is_wrong",
            || emulating_stage(find("matmul/f32/cooperative/1x1x1")),
            a_fragment_loaded_the_wrong_way_round_is_wrong,
        ),
        needing(
            "a_missing_barrier_before_the_product_is_wrong",
            || emulating_software(find("matmul/f32/cooperative/1x1x1")),
            a_missing_barrier_before_the_product_is_wrong,
        ),
    ];
    of_kernels.chain(others).collect()
}

fn find(id: &str) -> &'static Kernel {
    Kernel::find(&case(id)).expect("a kernel of the catalogue")
}

/// A stage whose adapter can run `kernel` on emulated matrices.
fn emulating_stage(kernel: &Kernel) -> Result<&'static Stage, Missing> {
    let stage = stage()?;
    let capabilities = &stage.capabilities;
    let able = capabilities.need_element(kernel.precision.operand());
    let able = able.and_then(|()| capabilities.need_subgroup());
    match able {
        Ok(_) => Ok(stage),
        Err(unfit) => Err(Missing(unfit.to_string())),
    }
}

/// The same of a software adapter, whose subgroups run one after the other. On a GPU
/// they may happen to be in step.
fn emulating_software(kernel: &Kernel) -> Result<&'static Stage, Missing> {
    let stage = emulating_stage(kernel)?;
    if stage.capabilities.software {
        Ok(stage)
    } else {
        Err(Missing("not a software adapter".into()))
    }
}

/// A stage whose adapter has the matrices that `kernel` multiplies.
fn stage_with_matrix_units(kernel: &Kernel) -> Result<&'static Stage, Missing> {
    let stage = stage()?;
    match stage.programs(kernel, edge_shapes(kernel)[0]) {
        Err(BuildError::Unfit(unfit @ Unfit::Feature(_))) => Err(Missing(unfit.to_string())),
        _ => Ok(stage),
    }
}

/// The programs of `kernel` with emulated matrices, built as for an adapter whose
/// subgroups have from `fewest` to `most` lanes.
fn emulated(
    stage: &Stage,
    kernel: &Kernel,
    shape: Shape,
    [fewest, most]: [u32; 2],
) -> Result<Vec<Program>, BuildError> {
    let lanes = stage.capabilities.need_subgroup()?;
    let capabilities = Capabilities {
        features: Features {
            subgroup: Some([fewest, most]),
            cooperative: Capabilities::imaginary().features.cooperative,
            ..stage.capabilities.features.clone()
        },
        ..stage.capabilities.clone()
    };
    let build = Build {
        shape,
        precision: kernel.precision,
        capabilities: &capabilities,
        templates: Templates::builtin(),
    };
    let mut programs = match kernel.operation {
        Operation::Matmul => matmul::cooperative_emulated(&build, lanes)?,
        _ => attention::flash_cooperative_emulated(&build, lanes)?,
    };
    // Half precision, which CPUs emulate as well, takes minutes to compile for the
    // tiles that hold more fragments; they differ in nothing but their number.
    let slow = kernel.precision != Precision::F32;
    programs.retain(|program| !slow || program.parameter("tile") <= 64);
    programs.retain(|program| {
        let footprints = program.passes.iter().map(|pass| Footprint::of(&pass.wgsl));
        let footprints: Result<Vec<_>, _> = footprints.collect();
        let footprints = footprints.unwrap_or_else(|error| panic!("{error}"));
        capabilities.admit(program, &footprints).is_ok()
    });
    Ok(programs)
}

/// The first program for a case, to be tampered with.
fn one_emulated(stage: &Stage, id: &str) -> Program {
    let lanes = stage.capabilities.need_subgroup().expect("a subgroup");
    let programs = emulated(stage, find(id), case(id).shape, [lanes; 2]);
    let first = programs.expect("the shape fits").into_iter().next();
    first.expect("one program at least")
}

/// What is wrong with `programs` of `kernel` for `shape`. A mode with checks
/// would be a third slow compilation of the emulation.
fn faults(stage: &Stage, kernel: &Kernel, shape: Shape, programs: &[Program]) -> Vec<String> {
    faults_of(stage, &kernel.case(shape), programs, &[Mode::Fenced])
}

/// Shapes and programs are many and emulation is slow: each shape takes the next
/// program in turn.
fn is_right_on_emulated_matrices(stage: &Stage, kernel: &Kernel) {
    let lanes = stage.capabilities.need_subgroup().expect("a subgroup");
    let mut turns = 0;
    let mut wrong = Vec::new();
    for shape in edge_shapes(kernel) {
        let programs = match emulated(stage, kernel, shape, [lanes; 2]) {
            Err(BuildError::Unfit(Unfit::Shape(why))) => {
                assert!(why.contains("head_dim"), "{shape}: {why}");
                continue;
            }
            programs => programs.unwrap_or_else(|error| panic!("{shape}: {error}")),
        };
        let turn = turns % programs.len();
        wrong.extend(faults(stage, kernel, shape, &programs[turn..=turn]));
        turns += 1;
    }
    assert!(turns > 0, "no program was run");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where subgroups come in several sizes workgroups are made for the largest.
/// Here they turn out as large as that, and half as large. Every program is run.
fn is_right_with_more_or_larger_subgroups(stage: &Stage, kernel: &Kernel) {
    let lanes = stage.capabilities.need_subgroup().expect("a subgroup");
    let shape = match kernel.operation {
        Operation::Matmul => "65x130x33-nt",
        _ => "b1h2q17k65d128-causal",
    };
    let shape = Shape::parse(kernel.operation, shape).expect("a shape");
    for subgroups in [[lanes / 2, lanes], [lanes, 2 * lanes]] {
        let programs = emulated(stage, kernel, shape, subgroups).expect("a usual shape");
        assert!(!programs.is_empty(), "no program was run");
        let wrong = faults(stage, kernel, shape, &programs);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// Nothing is run: this is for drivers whose device is not there as well.
fn compiles_for_matrix_units(stage: &Stage, kernel: &Kernel) {
    let mut seen = BTreeSet::new();
    for shape in edge_shapes(kernel) {
        let id = kernel.case(shape);
        let programs = match stage.programs(kernel, shape) {
            Err(BuildError::Unfit(Unfit::Shape(_))) => continue,
            programs => programs.unwrap_or_else(|error| panic!("{id}: {error}")),
        };
        for program in programs {
            if seen.insert(program.passes[0].wgsl.clone()) {
                let loaded = stage.gpu.load(&program, problem_of(&id).inputs());
                let parameters = &program.parameters;
                loaded.unwrap_or_else(|error| panic!("{id} {parameters:?}: {error}"));
            }
        }
    }
    assert!(!seen.is_empty(), "no program was compiled");
}

#[track_caller]
fn assert_wrong(stage: &Stage, id: &str, from: &str, to: &str) {
    let mut program = one_emulated(stage, id);
    let main = program.passes[0].wgsl.find("fn main").expect("a main");
    let (before, after) = program.passes[0].wgsl.split_at(main);
    assert!(after.contains(from), "{id} has no {from}");
    program.passes[0].wgsl = format!("{before}{}", after.replace(from, to));
    let verdict = stage.verify(&program, &*problem_of(&case(id))).verdict;
    assert!(
        matches!(verdict.rejection, Some(Rejection::WrongElement { .. })),
        "{id} with {to} for {from}: {verdict:?}"
    );
}

/// Rows and columns of the tiles have unequal strides, so that a fragment taken
/// the wrong way round is another one, not only a transposed one.
fn a_fragment_loaded_the_wrong_way_round_is_wrong(stage: &'static Stage) {
    let (nn, nt, tn) = ("65x63x31", "65x63x31-nt", "65x63x31-tn");
    for (layout, from, to) in [
        (nn, "fragment_a_by_rows", "fragment_a_by_columns"),
        (nn, "fragment_b_by_rows", "fragment_b_by_columns"),
        (nt, "fragment_b_by_columns", "fragment_b_by_rows"),
        (tn, "fragment_a_by_columns", "fragment_a_by_rows"),
    ] {
        assert_wrong(stage, &format!("matmul/f32/cooperative/{layout}"), from, to);
    }
    let attention = "attention/f32/flash-cooperative/b1h1s65d64";
    for (from, to) in [
        ("fragment_b_by_columns", "fragment_b_by_rows"),
        ("fragment_b_by_rows", "fragment_b_by_columns"),
    ] {
        assert_wrong(stage, attention, from, to);
    }
}

/// The emulation's subgroups are those of the adapter: a workgroup that does not
/// wait for all of them multiplies tiles that are not there.
fn a_missing_barrier_before_the_product_is_wrong(stage: &'static Stage) {
    let from = "workgroupBarrier();\n        for (var k = 0u;";
    let to = "for (var k = 0u;";
    assert_wrong(stage, "matmul/f32/cooperative/65x63x31", from, to);
}
