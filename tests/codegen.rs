//! What a driver's compiler made of the kernels, where one tells.

#[path = "support/trials.rs"]
#[expect(dead_code, reason = "the other tests' adapters")]
mod trials;

use std::collections::BTreeSet;
use std::process::Command;

use assert_cmd::cargo::cargo_bin_cmd;
use flopwatt::codegen::{Compiler, Executable, Value};
use flopwatt::gpu::adapter::Adapter;
use flopwatt::gpu::device::{Gpu, ShaderMode};
use flopwatt::kernel::capabilities::Capabilities;
use flopwatt::kernel::inputs::Draw;
use flopwatt::kernel::problem::problem;
use flopwatt::kernel::program::Program;
use flopwatt::kernel::select;
use flopwatt::kernel::template::Templates;
use flopwatt::session::adapter::choose;
use trials::{Missing, anywhere, needing};

/// In the environment of the process that creates wgpu's pipelines.
const AS_WGPU: &str = "FLOPWATT_TEST_AS_WGPU";

/// Small, and each with something of its own: workgroup memory, vectors, subgroup
/// operations, halves, matrix units. A case that the adapter cannot run is left out.
const CASES: &[&str] = &[
    "matmul/f32/workgroup/64x64x64",
    "matmul/f32/register/64x64x64",
    "matmul/f16-f32acc/cooperative/64x64x64",
    "attention/f32/flash/b1h1s64d64",
    "attention/f16/split-kv/b1h2kv1q1k64d64",
    "bandwidth/f32/copy/1MiB",
];

fn main() {
    if std::env::var_os(AS_WGPU).is_some() {
        return create_as_wgpu();
    }
    trials::run(vec![
        needing(
            "radv_makes_the_same_of_wgpus_own_pipelines",
            radv,
            radv_makes_the_same_of_wgpus_own_pipelines,
        ),
        anywhere(
            "what_cannot_be_told_is_said_and_fails",
            what_cannot_be_told_is_said_and_fails,
        ),
    ]);
}

fn adapter() -> Result<Adapter, Missing> {
    let wanted = std::env::var("FLOPWATT_TEST_ADAPTER").ok();
    let chosen = choose(wanted.as_deref()).map_err(|error| Missing(error.to_string()))?;
    Ok(chosen.adapter)
}

/// The driver that prints the statistics of every pipeline when it is told to.
fn radv() -> Result<Adapter, Missing> {
    let adapter = adapter()?;
    if adapter.description.driver == "radv" {
        Ok(adapter)
    } else {
        Err(Missing("the adapter's driver is not RADV".into()))
    }
}

/// Every program of [`CASES`] that the adapter can run, with its inputs.
fn programs(adapter: &Adapter) -> Vec<(Program, Box<dyn flopwatt::kernel::problem::Problem>)> {
    let capabilities = Capabilities::from(&adapter.description);
    let mut programs = Vec::new();
    for case in CASES {
        let (id, kernel) = select::named(case).expect("a case of the catalogue");
        let candidates = kernel.candidates(id.shape, &capabilities, Templates::builtin());
        for program in candidates.unwrap_or_default() {
            let problem = problem(&id, Draw::normal(1)).expect("every case has a problem");
            programs.push((program, problem));
        }
    }
    programs
}

/// Creates the pipelines as a run does.
fn create_as_wgpu() {
    let Ok(adapter) = adapter() else {
        panic!("the adapter was there a moment ago")
    };
    let gpu = Gpu::open(&adapter.wgpu, ShaderMode::Unchecked).expect("it opens");
    for (program, problem) in programs(&adapter) {
        gpu.load(&program, problem.inputs()).expect("it loads");
    }
}

/// Statistics by name; a checksum of the machine code is among them.
type Statistics = BTreeSet<(String, String)>;

/// Names a pipeline, not its code.
const PIPELINE: &str = "Driver pipeline hash";

fn radv_makes_the_same_of_wgpus_own_pipelines(adapter: Adapter) {
    let printed = Command::new(std::env::current_exe().expect("this program has a path"))
        .env(AS_WGPU, "1")
        .env("RADV_DEBUG", "shaderstats,nocache")
        .output()
        .expect("this program starts twice");
    let printed = String::from_utf8_lossy(&printed.stderr).into_owned();
    let of_wgpu = printed_statistics(&printed);
    let capabilities = Capabilities::from(&adapter.description);
    let compiler = Compiler::open(&adapter.wgpu, &capabilities.features);
    let compiler = compiler.unwrap_or_else(|error| panic!("{error}"));
    let mut compared = 0;
    for (program, _) in programs(&adapter) {
        for pass in &program.passes {
            let executables = compiler.compile(&program, pass, false);
            for executable in executables.unwrap_or_else(|error| panic!("{error}")) {
                let asked = asked_statistics(&executable);
                assert!(
                    of_wgpu.contains(&asked),
                    "{} {:?}: {asked:?} is not among {of_wgpu:#?}",
                    pass.template,
                    program.parameters
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= CASES.len(), "{compared} pipelines");
}

fn asked_statistics(executable: &Executable) -> Statistics {
    let statistics = executable.statistics.iter();
    let statistics = statistics.filter(|statistic| statistic.name != PIPELINE);
    statistics
        .map(|statistic| match statistic.value {
            Value::Whole(number) => (statistic.name.clone(), number.to_string()),
            Value::Real(number) => (statistic.name.clone(), number.to_string()),
        })
        .collect()
}

/// The blocks that RADV prints between two lines of stars.
fn printed_statistics(text: &str) -> BTreeSet<Statistics> {
    let blocks = text.split("*** SHADER STATS ***\n").skip(1);
    blocks
        .map(|block| {
            let lines = block.lines().take_while(|line| !line.starts_with("****"));
            let pairs = lines.filter_map(|line| line.split_once(": "));
            pairs
                .filter(|(name, _)| *name != PIPELINE)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        })
        .collect()
}

fn what_cannot_be_told_is_said_and_fails() {
    let output = cargo_bin_cmd!("flopwatt")
        .args(["codegen", "latency", "--adapter", "cpu"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    // With a software adapter whose driver tells, there is a table.
    if output.status.success() {
        assert!(!output.stdout.is_empty());
        return;
    }
    let told = [
        "the driver does not tell",
        "fits `--adapter cpu`",
        "no GPU adapter",
    ];
    assert!(told.iter().any(|reason| said.contains(reason)), "{said}");
    assert!(output.stdout.is_empty());
    assert!([2, 3].map(Some).contains(&output.status.code()), "{said}");
}
