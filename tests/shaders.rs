//! The shaders that the templates render, looked at without a device: naga
//! accepts them, every back end of wgpu can express them, and what should stay
//! in registers can.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/rendered.rs"]
mod rendered;

use std::collections::{BTreeMap, BTreeSet};

use cases::edge_shapes;
use flopwatt::kernel::id::{Operation, Precision};
use flopwatt::kernel::shader::{self, Format};
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::Templates;
use flopwatt::kernel::{Build, CATALOGUE, matmul};
use naga::compact::{KeepUnused, compact};
use naga::{AddressSpace, Expression, Function, Handle, Module, Scalar, ShaderStage, TypeInner};
use rendered::{ADAPTERS, Shader, candidates, large, shaders, shaders_on, texts};

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

/// Writes a shader in a language.
type Write = fn(&Shader) -> Result<(), String>;

/// The languages that wgpu hands to drivers.
const LANGUAGES: &[(&str, Write)] = &[
    ("SPIR-V", |shader| translate(shader, Format::SpirvAsm)),
    ("MSL", |shader| translate(shader, Format::Msl)),
    ("HLSL", |shader| translate(shader, Format::Hlsl)),
    ("GLSL", glsl),
];

/// Whether a type needs something that a language may lack.
type Needs = fn(&TypeInner) -> bool;

/// What a language lacks, and the types that need it. Every line is tested: one
/// that no longer holds fails.
const EXCEPTIONS: &[(&str, &str, Needs)] = &[
    ("MSL", "double precision", is_f64),
    ("GLSL", "double precision", is_f64),
    ("GLSL", "half precision", is_f16),
    ("GLSL", "64-bit integers", is_u64),
    ("HLSL", "cooperative matrices", is_cooperative),
    ("GLSL", "cooperative matrices", is_cooperative),
];

fn is_f64(inner: &TypeInner) -> bool {
    inner.scalar() == Some(Scalar::F64)
}

fn is_f16(inner: &TypeInner) -> bool {
    inner.scalar() == Some(Scalar::F16)
}

fn is_u64(inner: &TypeInner) -> bool {
    inner.scalar() == Some(Scalar::U64)
}

fn is_cooperative(inner: &TypeInner) -> bool {
    matches!(inner, TypeInner::CooperativeMatrix { .. })
}

/// Types that a shader computes with, not only names.
fn used_types(shader: &Shader) -> Vec<TypeInner> {
    let mut module = shader.parse();
    compact(&mut module, KeepUnused::No);
    let types = module.types.iter();
    types.map(|(_, used)| used.inner.clone()).collect()
}

/// As it is measured, and with checks.
fn translate(shader: &Shader, format: Format) -> Result<(), String> {
    for checked in [false, true] {
        let Shader { pass, features, .. } = shader;
        shader::translate(&pass.wgsl, features, format, checked).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// OpenGL is no language to look at a kernel in, so the program does not write it.
fn glsl(shader: &Shader) -> Result<(), String> {
    use naga::back::glsl;
    let module = shader.parse();
    let info = shader.validate(&module);
    let options = glsl::Options {
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let pipeline = glsl::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: "main".into(),
        multiview: None,
    };
    let mut text = String::new();
    let policies = naga::proc::BoundsCheckPolicies::default();
    glsl::Writer::new(&mut text, &module, &info, &options, &pipeline, policies)
        .and_then(|mut writer| writer.write())
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn every_backend_can_express_every_shader_but_for_known_exceptions() {
    let mut refused = BTreeMap::new();
    let mut excepted = BTreeSet::new();
    for shader in texts() {
        let types = used_types(shader);
        for &(language, write) in LANGUAGES {
            let exception = EXCEPTIONS
                .iter()
                .position(|(lacking, _, needs)| *lacking == language && types.iter().any(needs));
            match (write(shader), exception) {
                (Ok(()), None) => {}
                (Ok(()), Some(exception)) => {
                    let (_, lack, _) = EXCEPTIONS[exception];
                    panic!("{language} now has {lack}: {}", shader.origin);
                }
                (Err(_), Some(exception)) => {
                    excepted.insert(exception);
                }
                (Err(error), None) => {
                    let place = (language, shader.pass.template);
                    refused.insert(place, (shader.origin.clone(), error));
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
