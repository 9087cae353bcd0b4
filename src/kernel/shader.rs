//! What a shader's text says about itself.

use naga::proc::Layouter;
use naga::valid::{
    Capabilities as Allowed, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags,
    Validator,
};
use naga::{AddressSpace, Module};

use super::capabilities::Features;
use crate::units::Bytes;

/// A text that is no shader.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShaderError(String);

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
        let main = module.entry_points.iter().find(|e| e.name == "main");
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
}
