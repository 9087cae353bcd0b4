//! Every shader that the templates render: on adapters that differ in what
//! programs are made of, for every kernel, candidate, precision and layout, in
//! the edge shapes.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use flopwatt::kernel::canary::Canary;
use flopwatt::kernel::capabilities::{Capabilities, Features};
use flopwatt::kernel::program::Pass;
use flopwatt::kernel::shader;
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{CATALOGUE, Candidates, Kernel};
use flopwatt::units::Bytes;
use naga::Module;
use naga::valid::ModuleInfo;

use super::cases::edge_shapes;

/// Adapters that differ in what programs are sized by and made of.
pub static ADAPTERS: LazyLock<[Capabilities; 4]> =
    LazyLock::new(|| [guaranteed(), large(true), large(false), without_int64()]);

/// The limits that WebGPU guarantees, and so the least that an adapter has.
fn guaranteed() -> Capabilities {
    Capabilities {
        software: false,
        max_storage_binding: Bytes(128 << 20),
        max_buffer: Bytes(256 << 20),
        max_workgroup_memory: Bytes(16 << 10),
        max_workgroup_invocations: 256,
        max_workgroups_per_dimension: 65_535,
        max_texture_dimension: 8192,
        last_level_cache: None,
        features: Features::default(),
    }
}

/// Everything that the catalogue knows to use.
pub fn large(software: bool) -> Capabilities {
    let lanes = if software { 8 } else { 32 };
    let imaginary = Capabilities::imaginary();
    Capabilities {
        software,
        features: Features {
            subgroup: Some([lanes, lanes]),
            ..imaginary.features
        },
        ..imaginary
    }
}

/// Some drivers have all of that but 64-bit integers.
fn without_int64() -> Capabilities {
    let mut adapter = large(false);
    adapter.features.int64 = false;
    adapter
}

/// One distinct shader, and a case that it is from.
#[derive(Debug)]
pub struct Shader {
    pub origin: String,
    pub pass: Pass,
    pub features: Features,
}

impl Shader {
    pub fn parse(&self) -> Module {
        shader::parse(&self.pass.wgsl).unwrap_or_else(|error| panic!("{}: {error}", self.origin))
    }

    pub fn validate(&self, module: &Module) -> ModuleInfo {
        shader::validate(module, &self.features)
            .unwrap_or_else(|error| panic!("{}: {error}", self.origin))
    }
}

/// Every shader that the catalogue renders on `adapter` for its edge shapes.
pub fn shaders_on(adapter: &Capabilities) -> Vec<Shader> {
    let mut seen = BTreeSet::new();
    let mut shaders = Vec::new();
    for kernel in CATALOGUE {
        for shape in edge_shapes(kernel) {
            let programs = candidates(kernel, shape, adapter).unwrap_or_default();
            for program in programs {
                let origin = format!("{} {:?}", kernel.case(shape), program.parameters);
                for pass in program.passes {
                    if seen.insert(pass.wgsl.clone()) {
                        let origin = format!("{origin} ({})", pass.template);
                        let features = adapter.features.clone();
                        shaders.push(Shader {
                            origin,
                            pass,
                            features,
                        });
                    }
                }
            }
        }
    }
    shaders
}

/// Every shader of the catalogue, and the canary that every device must answer:
/// rendered once for all tests, which takes a while.
pub fn shaders() -> &'static [Shader] {
    static SHADERS: LazyLock<Vec<Shader>> = LazyLock::new(rendered);
    &SHADERS
}

fn rendered() -> Vec<Shader> {
    let canary = Canary::new(0).program().expect("it renders").passes;
    let canary = canary.into_iter().map(|pass| Shader {
        origin: "canary".into(),
        pass,
        features: Features::default(),
    });
    let catalogue = ADAPTERS.iter().flat_map(shaders_on);
    catalogue.chain(canary).collect()
}

/// Each of them once, although several adapters may share it: what languages make
/// of a shader depends on its text.
pub fn texts() -> impl Iterator<Item = &'static Shader> {
    let mut seen = BTreeSet::new();
    let shaders = shaders().iter();
    shaders.filter(move |shader| seen.insert(&shader.pass.wgsl))
}

pub fn candidates(kernel: &Kernel, shape: Shape, adapter: &Capabilities) -> Candidates {
    kernel.candidates(shape, adapter, Templates::builtin())
}
