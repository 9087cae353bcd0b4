//! Kernels on inputs of every distribution: right ones pass, and a figure is
//! absent with a reason where rounding leaves nothing to verify.

use flopwatt::kernel::CATALOGUE;
use flopwatt::kernel::inputs::{Data, Draw};
use flopwatt::kernel::problem::{self, Checked, Rejection};
use libtest_mimic::Trial;

use crate::stage::{SEED, Stage, case, stage};
use crate::trials::needing;

const DATA: [&str; 5] = ["uniform", "zeros", "sparse:0.5", "sparse:0.99", "sorted"];

pub fn trials() -> Vec<Trial> {
    vec![
        needing(
            "kernels_are_right_on_every_distribution",
            stage,
            kernels_are_right_on_every_distribution,
        ),
        needing(
            "long_sorted_sums_in_half_precision_have_no_figure",
            stage,
            long_sorted_sums_in_half_precision_have_no_figure,
        ),
    ]
}

fn kernels_are_right_on_every_distribution(stage: &'static Stage) {
    let mut verified = 0;
    for kernel in CATALOGUE.iter().filter(|k| !k.operation.is_ceiling()) {
        let shapes: &[&str] = match kernel.operation.to_string().as_str() {
            "matmul" => &["matmul/f32/any/65x63x31", "matmul/f32/any/33x34x30-nt"],
            _ => &["attention/f32/any/b1h2kv1q7k133d64-causal"],
        };
        for id in shapes.iter().map(|id| kernel.case(case(id).shape)) {
            let Ok(programs) = stage.programs(kernel, id.shape) else {
                continue;
            };
            for data in DATA.map(|text| text.parse::<Data>().expect("a distribution")) {
                let draw = Draw { seed: SEED, data };
                let problem = problem::problem(&id, draw).expect("a problem");
                for program in &programs {
                    let verdict = stage.verify(program, &*problem).verdict;
                    let parameters = &program.parameters;
                    let rejection = verdict.rejection.map(|r| r.to_string());
                    assert_eq!(rejection, None, "{id} {parameters:?} on {data}");
                    assert_eq!(verdict.checked, Checked::Full);
                    verified += 1;
                }
            }
        }
    }
    assert!(verified > 0, "no kernel was run");
}

/// γ of half precision is 1 at 1024 terms: no output could be wrong.
fn long_sorted_sums_in_half_precision_have_no_figure(stage: &'static Stage) {
    let id = case("matmul/f16/naive/16x16x1024");
    let naive = CATALOGUE.iter().find(|k| id == k.case(id.shape));
    let programs = stage.programs(naive.expect("the kernel"), id.shape);
    for program in programs.unwrap_or_default() {
        let rejection = |data| {
            let problem = problem::problem(&id, Draw { seed: SEED, data }).expect("a problem");
            stage.verify(&program, &*problem).verdict.rejection
        };
        assert_eq!(rejection(Data::Uniform), None);
        let sorted = rejection(Data::Sorted);
        assert!(
            matches!(sorted, Some(Rejection::Unverifiable { .. })),
            "{sorted:?}"
        );
    }
}
