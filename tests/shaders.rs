//! The shaders that the templates render, looked at without a device: naga
//! accepts them, every back end of wgpu can express them, and what should stay
//! in registers can.

#[path = "support/cases.rs"]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic;
use std::sync::LazyLock;

use cases::edge_shapes;
use flopwatt::kernel::canary::Canary;
use flopwatt::kernel::capabilities::{Capabilities, CooperativeShape, Features, Scalar};
use flopwatt::kernel::id::{Operation, Precision};
use flopwatt::kernel::program::Pass;
use flopwatt::kernel::shader;
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{Build, CATALOGUE, Candidates, Kernel, matmul};
use flopwatt::units::Bytes;
use naga::valid::ModuleInfo;
use naga::{AddressSpace, Expression, Function, Handle, Module, ShaderStage};

/// Adapters that differ in what programs are sized by and made of.
static ADAPTERS: LazyLock<[Capabilities; 3]> =
    LazyLock::new(|| [guaranteed(), large(true), large(false)]);

/// The limits that WebGPU guarantees, and so the least that an adapter has.
fn guaranteed() -> Capabilities {
    Capabilities {
        software: false,
        max_storage_binding: Bytes(128 << 20),
        max_buffer: Bytes(256 << 20),
        max_workgroup_memory: Bytes(16 << 10),
        max_workgroup_invocations: 256,
        max_workgroups_per_dimension: 65_535,
        last_level_cache: None,
        features: Features::default(),
    }
}

/// Everything that the catalogue knows to use.
fn large(software: bool) -> Capabilities {
    let lanes = if software { 8 } else { 32 };
    let cooperative = [8, 16].into_iter().flat_map(|side| {
        let formats = [
            (Scalar::F32, Scalar::F32),
            (Scalar::F16, Scalar::F16),
            (Scalar::F16, Scalar::F32),
        ];
        formats.map(|(ab, cr)| CooperativeShape {
            m: side,
            n: side,
            k: side,
            ab,
            cr,
        })
    });
    Capabilities {
        software,
        max_storage_binding: Bytes(4 << 30),
        max_buffer: Bytes(4 << 30),
        max_workgroup_memory: Bytes(48 << 10),
        max_workgroup_invocations: 1024,
        features: Features {
            f16: true,
            f64: true,
            int64: true,
            subgroup: Some([lanes, lanes]),
            cooperative: cooperative.collect(),
        },
        ..guaranteed()
    }
}

/// One distinct shader, and a case that it is from.
#[derive(Debug)]
struct Shader {
    origin: String,
    pass: Pass,
    features: Features,
}

impl Shader {
    fn parse(&self) -> Module {
        shader::parse(&self.pass.wgsl).unwrap_or_else(|error| panic!("{}: {error}", self.origin))
    }

    fn validate(&self, module: &Module) -> ModuleInfo {
        shader::validate(module, &self.features)
            .unwrap_or_else(|error| panic!("{}: {error}", self.origin))
    }
}

/// Every shader that the catalogue renders on `adapter` for its edge shapes.
fn shaders_on(adapter: &Capabilities) -> Vec<Shader> {
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

/// Every shader of the catalogue, and the canary that every device must answer.
fn shaders() -> Vec<Shader> {
    let canary = Canary::new(0).program().expect("it renders").passes;
    let canary = canary.into_iter().map(|pass| Shader {
        origin: "canary".into(),
        pass,
        features: Features::default(),
    });
    let catalogue = ADAPTERS.iter().flat_map(shaders_on);
    catalogue.chain(canary).collect()
}

fn candidates(kernel: &Kernel, shape: Shape, adapter: &Capabilities) -> Candidates {
    kernel.candidates(shape, adapter, Templates::builtin())
}

#[test]
fn every_kernel_and_every_template_renders_a_shader() {
    let rendered: BTreeSet<&str> = shaders().iter().map(|s| s.pass.template).collect();
    let files = flopwatt::kernel::template::BUILTIN.iter();
    let kernels = files
        .map(|(name, _)| *name)
        .filter(|name| !name.contains("_index.") && *name != "cooperative.wgsl.jinja");
    assert_eq!(rendered, kernels.collect());
    for kernel in CATALOGUE {
        for adapter in &ADAPTERS[1..] {
            let takes = |&shape: &_| candidates(kernel, shape, adapter).is_ok();
            assert!(edge_shapes(kernel).iter().any(takes), "{kernel:?}");
        }
    }
}

#[test]
fn every_shader_is_valid_on_the_adapter_that_it_is_built_for() {
    for shader in shaders() {
        shader.validate(&shader.parse());
    }
}

/// The languages that wgpu hands to drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    SpirV,
    Msl,
    Hlsl,
    Glsl,
}

/// What a language cannot express, by a piece of the text that uses it, and why
/// not. Every line is tested: one that no longer holds fails.
const EXCEPTIONS: &[(Language, &str, &str)] = &[
    (Language::Msl, "= f64;", "Metal has no double precision"),
    (
        Language::Glsl,
        "= f64;",
        "OpenGL ES has no double precision",
    ),
    (
        Language::Hlsl,
        "enable wgpu_cooperative_matrix;",
        "naga writes no cooperative store in HLSL",
    ),
    (
        Language::Glsl,
        "enable wgpu_cooperative_matrix;",
        "OpenGL ES has no cooperative matrices",
    ),
    (
        Language::Glsl,
        "enable f16;",
        "OpenGL ES has no half precision",
    ),
    (
        Language::Hlsl,
        "enable wgpu_cooperative_matrix;",
        "naga writes no cooperative store in HLSL",
    ),
    (
        Language::Glsl,
        "enable wgpu_cooperative_matrix;",
        "OpenGL ES has no cooperative matrices",
    ),
];

/// Writes `module` without checks, as it is measured.
fn write(module: &Module, info: &ModuleInfo, language: Language) -> Result<(), String> {
    fn told(error: impl Debug) -> String {
        format!("{error:?}")
    }
    let entry_point = Some((ShaderStage::Compute, "main".to_owned()));
    match language {
        Language::SpirV => {
            let options = naga::back::spv::Options {
                lang_version: (1, 3),
                force_loop_bounding: false,
                ..Default::default()
            };
            naga::back::spv::write_vec(module, info, &options, None)
                .map(drop)
                .map_err(told)
        }
        Language::Msl => {
            let options = naga::back::msl::Options {
                lang_version: (2, 4),
                zero_initialize_workgroup_memory: false,
                force_loop_bounding: false,
                ..Default::default()
            };
            let pipeline = naga::back::msl::PipelineOptions {
                entry_point,
                ..Default::default()
            };
            naga::back::msl::write_string(module, info, &options, &pipeline)
                .map_err(told)
                .and_then(|(_, info)| {
                    info.entry_point_names
                        .into_iter()
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(told)
                })
                .map(drop)
        }
        Language::Hlsl => {
            let options = naga::back::hlsl::Options {
                shader_model: naga::back::hlsl::ShaderModel::V6_0,
                zero_initialize_workgroup_memory: false,
                restrict_indexing: false,
                force_loop_bounding: false,
                ..Default::default()
            };
            let pipeline = naga::back::hlsl::PipelineOptions { entry_point };
            let mut text = String::new();
            let mut writer = naga::back::hlsl::Writer::new(&mut text, &options, &pipeline);
            writer.write(module, info, None).map(drop).map_err(told)
        }
        Language::Glsl => {
            let options = naga::back::glsl::Options {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            };
            let pipeline = naga::back::glsl::PipelineOptions {
                shader_stage: ShaderStage::Compute,
                entry_point: "main".into(),
                multiview: None,
            };
            let mut text = String::new();
            let policies = naga::proc::BoundsCheckPolicies::default();
            naga::back::glsl::Writer::new(&mut text, module, info, &options, &pipeline, policies)
                .and_then(|mut writer| writer.write())
                .map(drop)
                .map_err(told)
        }
    }
}

#[test]
fn every_backend_can_express_every_shader_but_for_known_exceptions() {
    let mut refused = BTreeMap::new();
    let mut excepted = BTreeSet::new();
    for shader in shaders() {
        let module = shader.parse();
        let info = shader.validate(&module);
        for language in [
            Language::SpirV,
            Language::Msl,
            Language::Hlsl,
            Language::Glsl,
        ] {
            let exception = EXCEPTIONS.iter().position(|(excepted, text, _)| {
                *excepted == language && shader.pass.wgsl.contains(text)
            });
            // Some of naga's writers panic over what they cannot express.
            let written = panic::catch_unwind(|| write(&module, &info, language));
            match (written, exception) {
                (Ok(Ok(())), None) => {}
                (Ok(Ok(())), Some(exception)) => {
                    let (_, _, why) = EXCEPTIONS[exception];
                    panic!("{language:?} can now express {}: {why}", shader.origin);
                }
                (_, Some(exception)) => {
                    excepted.insert(exception);
                }
                (error, None) => {
                    refused.insert(
                        (language, shader.pass.template),
                        (shader.origin.clone(), error),
                    );
                }
            }
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(excepted.len(), EXCEPTIONS.len(), "an exception is not used");
}

/// Invocations and bytes of workgroup memory of `module`'s entry point.
fn workgroup(module: &Module) -> (u32, u32) {
    let entry = &module.entry_points[0];
    let mut layouter = naga::proc::Layouter::default();
    layouter
        .update(module.to_ctx())
        .expect("types have a layout");
    let shared = module.global_variables.iter();
    let shared = shared.filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    let bytes = shared.map(|(_, v)| layouter[v.ty].size).sum();
    (entry.workgroup_size.iter().product(), bytes)
}

#[test]
fn workgroups_stay_within_the_adapter_that_they_are_built_for() {
    for adapter in ADAPTERS.iter() {
        for shader in shaders_on(adapter) {
            let (invocations, bytes) = workgroup(&shader.parse());
            let Shader { origin, .. } = &shader;
            assert!(invocations <= adapter.max_workgroup_invocations, "{origin}");
            assert!(
                u64::from(bytes) <= adapter.max_workgroup_memory.0,
                "{origin}"
            );
        }
    }
}

/// Names of variables of a function that are indexed by a value known only when
/// it runs. Such an index needs an address, so that what it points into leaves
/// the registers; memory has addresses.
fn indexed_locals(module: &Module) -> Vec<String> {
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let functions = module.functions.iter().map(|(_, function)| function);
    let indexed = |function: &Function| -> Vec<String> {
        let expressions = function.expressions.iter();
        expressions
            .filter_map(|(_, expression)| match expression {
                Expression::Access { base, .. } => local_under(function, *base),
                _ => None,
            })
            .collect()
    };
    entries.chain(functions).flat_map(indexed).collect()
}

/// The local variable or value of which `expression` is a part; `None` where it
/// lies in memory.
fn local_under(function: &Function, expression: Handle<Expression>) -> Option<String> {
    match function.expressions[expression] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            local_under(function, base)
        }
        Expression::GlobalVariable(_) => None,
        Expression::LocalVariable(variable) => {
            let name = function.local_variables[variable].name.as_deref();
            Some(name.unwrap_or("a variable").to_owned())
        }
        ref value => Some(format!("{value:?}")),
    }
}

#[test]
fn nothing_in_registers_is_indexed_at_run_time() {
    for shader in shaders() {
        let indexed = indexed_locals(&shader.parse());
        assert!(indexed.is_empty(), "{}: {indexed:?}", shader.origin);
    }
}

#[test]
fn an_array_of_accumulators_would_be_noticed() {
    let indexed = |body: &str| {
        let wgsl = format!(
            "@group(0) @binding(0) var<storage, read_write> out: array<f32>;
             var<workgroup> tile: array<f32, 4>;
             @compute @workgroup_size(1)
             fn main(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        );
        let module = naga::front::wgsl::parse_str(&wgsl).expect("WGSL");
        indexed_locals(&module)
    };
    assert_eq!(
        indexed("var acc: array<f32, 4>; acc[i] = 1.0; out[0] = acc[0];"),
        ["acc"]
    );
    assert_eq!(
        indexed("var acc = vec4<f32>(); acc[i] = 1.0; out[0] = acc.x;"),
        ["acc"]
    );
    assert_eq!(
        indexed("let v = vec4<f32>(out[0]); out[1] = v[i];").len(),
        1
    );
    let none: [&str; 0] = [];
    assert_eq!(
        indexed("var acc: array<f32, 4>; acc[1] = 1.0; out[0] = acc[1];"),
        none
    );
    assert_eq!(indexed("tile[i] = 1.0; out[i] = tile[3u - i];"), none);
}

/// Roles are part of the fragments' types, so that a fragment of A cannot be
/// taken for one of B, in emulation as little as on matrix units.
#[test]
fn a_fragment_in_the_wrong_role_is_invalid() {
    let build = Build {
        shape: Shape::parse(Operation::Matmul, "64x64x64").expect("a shape"),
        precision: Precision::F16F32acc,
        capabilities: &large(true),
        templates: Templates::builtin(),
    };
    let real = matmul::cooperative(&build).expect("programs");
    let emulated = matmul::cooperative_emulated(&build, 8).expect("programs");
    for program in real.iter().chain(&emulated) {
        let wgsl = &program.passes[0].wgsl;
        let valid = |wgsl: &str| {
            let module = shader::parse(wgsl)?;
            shader::validate(&module, &build.capabilities.features)
        };
        valid(wgsl).unwrap_or_else(|error| panic!("{error}"));
        let wrong = wgsl.replace("= fragment_a_by_rows(", "= fragment_b_by_rows(");
        assert_ne!(*wgsl, wrong);
        assert!(valid(&wrong).is_err(), "{:?}", program.parameters);
    }
}
