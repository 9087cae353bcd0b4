//! What a shader's text says about itself, and the text in the languages that
//! drivers take.

use std::fmt::Display;

use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy, Layouter};
use naga::valid::{
    Capabilities as Allowed, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags,
    Validator,
};
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};
use rspirv::binary::Disassemble;

use super::capabilities::Features;
use crate::units::Bytes;

/// Name of every shader's entry point.
const ENTRY_POINT: &str = "main";

/// A text that is no shader, or that a language cannot express.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShaderError(String);

/// A language in which a shader can be had. All but WGSL are what wgpu makes of
/// it for a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Format {
    /// As the template renders it
    Wgsl,
    /// SPIR-V for Vulkan, disassembled
    SpirvAsm,
    /// Metal Shading Language
    Msl,
    /// For Direct3D 12
    Hlsl,
}

/// What one workgroup of a shader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Memory that they share.
    pub workgroup_memory: Bytes,
}

impl Footprint {
    /// The footprint of the entry point `main` of a WGSL text.
    ///
    /// # Errors
    /// When the text is not valid WGSL; the message points at the place.
    pub fn of(wgsl: &str) -> Result<Self, ShaderError> {
        let module = parse(wgsl)?;
        let main = module.entry_points.iter().find(|e| e.name == ENTRY_POINT);
        let main = main.ok_or_else(|| ShaderError("there is no entry point \"main\"".into()))?;
        let mut layouter = Layouter::default();
        layouter
            .update(module.to_ctx())
            .map_err(|error| ShaderError(error.to_string()))?;
        let shared = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
            .map(|(_, variable)| u64::from(layouter[variable.ty].size));
        Ok(Self {
            invocations: main.workgroup_size.iter().product(),
            workgroup_memory: Bytes(shared.sum()),
        })
    }
}

/// The module of a WGSL text.
///
/// # Errors
/// When the text is not valid WGSL; the message points at the place.
pub fn parse(wgsl: &str) -> Result<Module, ShaderError> {
    naga::front::wgsl::parse_str(wgsl).map_err(|error| ShaderError(error.emit_to_string(wgsl)))
}

/// Validates a module as a device with `features` would.
///
/// # Errors
/// What the module does that such a device does not allow.
pub fn validate(module: &Module, features: &Features) -> Result<ModuleInfo, ShaderError> {
    let mut allowed = Allowed::empty();
    allowed.set(Allowed::SHADER_FLOAT16, features.f16);
    allowed.set(Allowed::SHADER_FLOAT16_IN_FLOAT32, features.f16);
    allowed.set(Allowed::FLOAT64, features.f64);
    allowed.set(Allowed::SHADER_INT64, features.int64);
    allowed.set(Allowed::SUBGROUP, features.subgroup.is_some());
    allowed.set(
        Allowed::COOPERATIVE_MATRIX,
        !features.cooperative.is_empty(),
    );
    let mut validator = Validator::new(ValidationFlags::all(), allowed);
    if features.subgroup.is_some() {
        validator
            .subgroup_stages(ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all());
    }
    let outcome = validator.validate(module);
    outcome.map_err(|error| ShaderError(format!("{:?}", error.into_inner())))
}

/// A WGSL text in the language that `format` names, as wgpu would hand it to a
/// device with `features`: with its checks of bounds, loops and divisors, or
/// without them, as kernels are measured.
///
/// # Errors
/// When the text is no valid WGSL for such a device, or the language cannot
/// express it.
pub fn translate(
    wgsl: &str,
    features: &Features,
    format: Format,
    checked: bool,
) -> Result<String, ShaderError> {
    let module = parse(wgsl)?;
    let info = validate(&module, features)?;
    match format {
        Format::Wgsl => Ok(wgsl.to_owned()),
        Format::SpirvAsm => disassemble(&spirv(&module, &info, checked, Robustness::default())?),
        Format::Msl => {
            // naga's writer panics over it.
            let without = Features {
                f64: false,
                ..features.clone()
            };
            validate(&module, &without)
                .map_err(|_| ShaderError("Metal has no double precision".into()))?;
            msl(&module, &info, checked)
        }
        Format::Hlsl => {
            // The same.
            let without = Features {
                cooperative: Vec::new(),
                ..features.clone()
            };
            validate(&module, &without)
                .map_err(|_| ShaderError("HLSL has no cooperative matrices".into()))?;
            hlsl(&module, &info, checked)
        }
    }
}

/// Accesses that a driver itself keeps inside of what is bound, for which wgpu
/// writes no checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Robustness {
    /// Of buffers: robustBufferAccess2.
    pub buffers: bool,
    /// Of images: robustImageAccess, or its second version.
    pub images: bool,
}

/// The SPIR-V that wgpu gives a Vulkan 1.3 driver with such `robustness`, and the
/// names of variables besides, which wgpu leaves out of release builds and drivers
/// pass over. The options are those of wgpu-hal's `Adapter::device_from_raw` and
/// `Device::compile_stage`, which are private.
///
/// # Errors
/// When SPIR-V cannot express the module.
pub fn spirv(
    module: &Module,
    info: &ModuleInfo,
    checked: bool,
    robustness: Robustness,
) -> Result<Vec<u32>, ShaderError> {
    use spv::ZeroInitializeWorkgroupMemoryMode as Zeros;
    let restricted = |robust: bool| match checked && !robust {
        true => BoundsCheckPolicy::Restrict,
        false => BoundsCheckPolicy::Unchecked,
    };
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::DEBUG,
        bounds_check_policies: BoundsCheckPolicies {
            index: restricted(false),
            buffer: restricted(robustness.buffers),
            image_load: restricted(robustness.images),
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        zero_initialize_workgroup_memory: if checked { Zeros::Native } else { Zeros::None },
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions {
        shader_stage: ShaderStage::Compute,
        entry_point: ENTRY_POINT.into(),
    };
    spv::write_vec(module, info, &options, Some(&pipeline)).map_err(told)
}

fn disassemble(words: &[u32]) -> Result<String, ShaderError> {
    let module = rspirv::dr::load_words(words).map_err(told)?;
    Ok(module.disassemble() + "\n")
}

/// Metal's version 2.4 is what macOS 12 and newer have. Buffers take the slots in
/// the order of their bindings, and the sizes of runtime-sized arrays the next;
/// textures have slots of their own.
fn msl(module: &Module, info: &ModuleInfo, checked: bool) -> Result<String, ShaderError> {
    let mut bound: Vec<(ResourceBinding, AddressSpace)> = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| Some((variable.binding?, variable.space)))
        .collect();
    bound.sort_by_key(|(binding, _)| *binding);
    let (textures, buffers): (Vec<_>, Vec<_>) = bound
        .into_iter()
        .partition(|(_, space)| *space == AddressSpace::Handle);
    let sizes = u8::try_from(buffers.len()).map_err(told)?;
    let buffer = |((binding, space), slot)| {
        let target = msl::BindTarget {
            buffer: Some(slot),
            mutable: is_written(space),
            ..Default::default()
        };
        (binding, target)
    };
    let texture = |((binding, _), slot)| {
        let target = msl::BindTarget {
            texture: Some(slot),
            ..Default::default()
        };
        (binding, target)
    };
    let buffers = buffers.into_iter().zip(0..).map(buffer);
    let textures = textures.into_iter().zip(0..).map(texture);
    let resources = msl::EntryPointResources {
        resources: buffers.chain(textures).collect(),
        sizes_buffer: Some(sizes),
        ..Default::default()
    };
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [(ENTRY_POINT.to_owned(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: bounds_checks(checked),
        zero_initialize_workgroup_memory: checked,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY_POINT.to_owned())),
        ..Default::default()
    };
    let (text, written) = msl::write_string(module, info, &options, &pipeline).map_err(told)?;
    let names: Result<Vec<String>, _> = written.entry_point_names.into_iter().collect();
    names.map_err(told)?;
    Ok(text)
}

/// Shader model 6.6 is what a driver of 2021 or newer has. Registers bear the
/// numbers of the bindings.
fn hlsl(module: &Module, info: &ModuleInfo, checked: bool) -> Result<String, ShaderError> {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_6,
        zero_initialize_workgroup_memory: checked,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY_POINT.to_owned())),
    };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let written = writer.write(module, info, None).map_err(told)?;
    let names: Result<Vec<String>, _> = written.entry_point_names.into_iter().collect();
    names.map_err(told)?;
    Ok(text)
}

fn bounds_checks(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked {
        BoundsCheckPolicy::Restrict
    } else {
        BoundsCheckPolicy::Unchecked
    };
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        ..Default::default()
    }
}

fn is_written(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE))
}

fn told(error: impl Display) -> ShaderError {
    ShaderError(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workgroups_are_measured_by_the_text_itself() {
        let text = "var<workgroup> tile: array<vec4<f32>, 12>;
            @compute @workgroup_size(8, 4) fn main() { tile[0] = vec4<f32>(); }";
        let expected = Footprint {
            invocations: 32,
            workgroup_memory: Bytes(192),
        };
        assert_eq!(Footprint::of(text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_shader_is_pointed_at() {
        let error = Footprint::of("fn main() {\n  let x = ;\n}").unwrap_err();
        assert!(error.to_string().contains("2:11"), "{error}");
        let error = Footprint::of("@compute @workgroup_size(1) fn other() {}").unwrap_err();
        assert!(error.to_string().contains("main"), "{error}");
    }

    #[test]
    fn what_a_language_cannot_express_is_an_error() {
        let all = Features {
            f64: true,
            ..Features::default()
        };
        // Nothing but a conversion says that this is double precision.
        let text = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
            @compute @workgroup_size(1) fn main() { x[0] = f32(f64(x[1]) * f64(x[2])); }";
        let error = translate(text, &all, Format::Msl, false).unwrap_err();
        assert_eq!(error.to_string(), "Metal has no double precision");
        assert!(translate(text, &all, Format::Hlsl, false).is_ok());
        assert!(translate(text, &Features::default(), Format::Wgsl, false).is_err());
    }

    #[test]
    fn checks_are_written_where_they_are_asked_for() {
        let text = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
            @compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                loop { if x[id.x] == 1u { break; } }
            }";
        let written = |format, checked| translate(text, &Features::default(), format, checked);
        for (format, check) in [
            (Format::SpirvAsm, "OpArrayLength"),
            (Format::Msl, "metal::min("),
            // Direct3D itself keeps indices within a buffer.
            (Format::Hlsl, "loop_bound"),
        ] {
            assert!(written(format, true).unwrap().contains(check), "{format:?}");
            assert!(
                !written(format, false).unwrap().contains(check),
                "{format:?}"
            );
        }
        assert_eq!(written(Format::Wgsl, true).unwrap(), text);
    }
}
