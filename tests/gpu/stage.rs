//! The adapter under test, opened once for every thread that runs tests.

use flopwatt::gpu::adapter::{Adapter, AdapterDescription};
use flopwatt::gpu::device::{Gpu, ShaderMode};
use flopwatt::gpu::select;
use flopwatt::kernel::capabilities::Capabilities;
use flopwatt::kernel::id::CaseId;
use flopwatt::kernel::inputs::Draw;
use flopwatt::kernel::problem::{self, Problem};
use flopwatt::kernel::program::Program;
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{BuildError, Kernel};
use flopwatt::measure::verify::{self, Verified};

use crate::raw::Raw;
use crate::trials::{self, Missing};

/// Names another adapter than the default, in the way of `--adapter`.
const VARIABLE: &str = "FLOPWATT_TEST_ADAPTER";
/// Seed of all inputs.
pub const SEED: u64 = 20;

/// An open adapter.
pub struct Stage {
    pub description: AdapterDescription,
    pub capabilities: Capabilities,
    pub gpu: Gpu,
    pub raw: Raw,
}

/// The stage that all tests of a thread share, where this machine has an adapter.
/// Drivers compile in the thread that asks: with a device for each, threads do so
/// side by side.
pub fn stage() -> Result<&'static Stage, Missing> {
    thread_local! {
        static STAGE: &'static Stage = Box::leak(Box::new(open()));
    }
    fn open() -> Stage {
        let adapters = trials::adapters().unwrap_or_default();
        let wanted = std::env::var(VARIABLE).ok();
        let descriptions: Vec<_> = adapters.iter().map(|a| a.description.clone()).collect();
        // No GPU counts as hidden: here the software adapter will do.
        let position = select::select(&descriptions, wanted.as_deref(), &[]);
        let position = position.unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
        let stage = Stage::open(&adapters[position]);
        eprintln!("adapter {}", stage.description.summary());
        stage
    }
    trials::adapters().map(|_| STAGE.with(|stage| *stage))
}

impl Stage {
    pub fn open(adapter: &Adapter) -> Self {
        Self {
            description: adapter.description.clone(),
            capabilities: Capabilities::from(&adapter.description),
            gpu: Gpu::open(&adapter.wgpu, ShaderMode::Unchecked).expect("the adapter opens"),
            raw: Raw::open(&adapter.wgpu),
        }
    }

    pub fn programs(&self, kernel: &Kernel, shape: Shape) -> Result<Vec<Program>, BuildError> {
        kernel.candidates(shape, &self.capabilities, Templates::builtin())
    }

    /// Runs `program` once on poisoned outputs and checks what it wrote.
    pub fn verify(&self, program: &Program, problem: &dyn Problem) -> Verified {
        let loaded = self.gpu.load(program, problem.inputs());
        let loaded = loaded.expect("the program loads");
        verify::verify(&self.gpu, &loaded, program, problem).expect("the program runs")
    }
}

/// The problem that a case poses.
pub fn problem_of(id: &CaseId) -> Box<dyn Problem> {
    problem::problem(id, Draw::normal(SEED)).unwrap_or_else(|| panic!("{id} poses no problem"))
}

/// A case id from its text.
pub fn case(id: &str) -> CaseId {
    id.parse().unwrap_or_else(|error| panic!("{error}"))
}
