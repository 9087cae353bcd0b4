//! Every adapter of every backend, described in plain data.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{identity, pci, uuid};
use crate::kernel::capabilities::{CooperativeShape, Scalar};
use crate::units::Bytes;

/// An adapter that can be opened, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// The handle from which a device is requested.
    pub wgpu: wgpu::Adapter,
    /// What the adapter is and can do.
    pub description: AdapterDescription,
}

/// The API through which an adapter is reached.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Apple's API.
    Metal,
    /// Vulkan, on macOS through MoltenVK.
    Vulkan,
    /// Direct3D 12.
    Dx12,
    /// OpenGL or OpenGL ES.
    Gl,
    /// A stand-in that accepts work and does nothing.
    Noop,
}

impl Backend {
    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Dx12 => "dx12",
            Self::Gl => "gl",
            Self::Noop => "noop",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<wgpu::Backend> for Backend {
    fn from(backend: wgpu::Backend) -> Self {
        match backend {
            wgpu::Backend::Metal => Self::Metal,
            wgpu::Backend::Vulkan => Self::Vulkan,
            wgpu::Backend::Dx12 => Self::Dx12,
            wgpu::Backend::Gl => Self::Gl,
            // WebGPU in a browser cannot be reached by a native program.
            wgpu::Backend::Noop | wgpu::Backend::BrowserWebGpu => Self::Noop,
        }
    }
}

/// What kind of hardware an adapter is, as its driver says.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceType {
    /// A GPU with memory of its own.
    DiscreteGpu,
    /// A GPU that shares the CPU's memory.
    IntegratedGpu,
    /// A GPU lent to a virtual machine.
    VirtualGpu,
    /// Unknown; OpenGL does not tell.
    Other,
    /// A software adapter: the CPU computes.
    Cpu,
}

impl DeviceType {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiscreteGpu => "discrete-gpu",
            Self::IntegratedGpu => "integrated-gpu",
            Self::VirtualGpu => "virtual-gpu",
            Self::Other => "other",
            Self::Cpu => "cpu",
        }
    }
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<wgpu::DeviceType> for DeviceType {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Self::DiscreteGpu,
            wgpu::DeviceType::IntegratedGpu => Self::IntegratedGpu,
            wgpu::DeviceType::VirtualGpu => Self::VirtualGpu,
            wgpu::DeviceType::Other => Self::Other,
            wgpu::DeviceType::Cpu => Self::Cpu,
        }
    }
}

/// What an adapter is and can do, as far as it tells before a device is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterDescription {
    /// Position in the list of adapters of this run.
    pub index: usize,
    /// The name, as the driver gives it.
    pub name: String,
    /// The API through which it is reached.
    pub backend: Backend,
    /// What kind of hardware it is.
    pub device_type: DeviceType,
    /// The driver's name; empty where the backend has none.
    pub driver: String,
    /// The driver's version and build, in its own words.
    pub driver_info: String,
    /// Place on the PCI bus, `dddd:bb:dd.f` in lower case.
    pub pci_address: Option<String>,
    /// The device's UUID, as its Vulkan driver has it. NVIDIA's driver gives each card
    /// one of its own, the same that NVML knows; others may give one to many.
    #[serde(default)]
    pub uuid: Option<String>,
    /// PCI vendor, or a Khronos vendor number above 0xffff; 0 is unknown.
    pub vendor_id: u32,
    /// PCI device of the vendor; 0 is unknown.
    pub device_id: u32,
    /// Key of the hardware: the same under every backend and driver that
    /// reaches it, and different for two cards of one model.
    pub physical_device: String,
    /// Fewest lanes in a subgroup; null where subgroups are not supported.
    pub subgroup_min_size: Option<u32>,
    /// Most lanes in a subgroup; null where subgroups are not supported.
    pub subgroup_max_size: Option<u32>,
    /// Optional abilities.
    pub features: AdapterFeatures,
    /// Largest sizes that a device of this adapter can be asked for.
    pub limits: AdapterLimits,
}

/// Optional abilities that kernels and timers need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterFeatures {
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// 64-bit floats in shaders.
    pub f64: bool,
    /// 64-bit integers in shaders.
    pub int64: bool,
    /// Subgroup operations in compute shaders.
    pub subgroups: bool,
    /// Timestamps at the edges of a pass.
    pub timestamps: bool,
    /// Timestamps between passes.
    pub timestamps_inside_encoders: bool,
    /// Timestamps between dispatches of one pass.
    pub timestamps_inside_passes: bool,
    /// Shapes of cooperative matrices; empty where there are none.
    pub cooperative_matrix: Vec<CooperativeShape>,
}

impl From<wgpu::CooperativeScalarType> for Scalar {
    fn from(scalar: wgpu::CooperativeScalarType) -> Self {
        match scalar {
            wgpu::CooperativeScalarType::F16 => Self::F16,
            wgpu::CooperativeScalarType::F32 => Self::F32,
            wgpu::CooperativeScalarType::I32 => Self::I32,
            wgpu::CooperativeScalarType::U32 => Self::U32,
        }
    }
}

/// Largest sizes that a device of an adapter can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdapterLimits {
    /// Bytes in one buffer.
    pub max_buffer_size: Bytes,
    /// Bytes of one storage binding.
    pub max_storage_binding: Bytes,
    /// Bytes that a workgroup shares.
    pub max_workgroup_memory: Bytes,
    /// Invocations in a workgroup.
    pub max_workgroup_invocations: u32,
    /// Invocations in a workgroup along x, y and z.
    pub max_workgroup_size: [u32; 3],
    /// Workgroups of one dispatch along each dimension.
    pub max_workgroups_per_dimension: u32,
    /// Texels on a side of a two-dimensional texture; 0 in reports of schema 1.1.
    #[serde(default)]
    pub max_texture_dimension: u32,
}

impl From<&wgpu::Limits> for AdapterLimits {
    fn from(limits: &wgpu::Limits) -> Self {
        Self {
            max_buffer_size: Bytes(limits.max_buffer_size),
            max_storage_binding: Bytes(limits.max_storage_buffer_binding_size),
            max_workgroup_memory: Bytes(limits.max_compute_workgroup_storage_size.into()),
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_size: [
                limits.max_compute_workgroup_size_x,
                limits.max_compute_workgroup_size_y,
                limits.max_compute_workgroup_size_z,
            ],
            max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            max_texture_dimension: limits.max_texture_dimension_2d,
        }
    }
}

impl AdapterDescription {
    /// The driver and its version, as far as they are known.
    pub fn driver_and_version(&self) -> String {
        let parts = [self.driver.as_str(), self.driver_info.as_str()];
        let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if known.is_empty() {
            return "unknown".into();
        }
        known.join(", ")
    }

    /// Whether the CPU does the computing.
    pub fn is_software(&self) -> bool {
        self.device_type == DeviceType::Cpu
    }

    /// One line that tells this adapter from the others, for messages.
    pub fn summary(&self) -> String {
        let address = self.pci_address.as_deref();
        let place = address.map(|a| format!(", {a}")).unwrap_or_default();
        format!(
            "#{} {} ({}, {}{place})",
            self.index, self.name, self.backend, self.device_type
        )
    }

    /// Describes one adapter by itself: its key of the hardware is not yet set
    /// against the others.
    fn alone(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let features = AdapterFeatures::of(adapter);
        let subgroup = |size| features.subgroups.then_some(size);
        let software = identity::is_software_name(&info.name);
        Self {
            index,
            backend: info.backend.into(),
            device_type: if software {
                DeviceType::Cpu
            } else {
                info.device_type.into()
            },
            pci_address: pci::normalise(&info.device_pci_bus_id),
            uuid: uuid::of(adapter),
            vendor_id: info.vendor,
            device_id: info.device,
            physical_device: String::new(),
            subgroup_min_size: subgroup(info.subgroup_min_size),
            subgroup_max_size: subgroup(info.subgroup_max_size),
            features,
            limits: AdapterLimits::from(&adapter.limits()),
            name: info.name,
            driver: info.driver,
            driver_info: info.driver_info,
        }
    }
}

impl AdapterFeatures {
    fn of(adapter: &wgpu::Adapter) -> Self {
        let features = adapter.features();
        let has = |feature| features.contains(feature);
        Self {
            f16: has(wgpu::Features::SHADER_F16),
            f64: has(wgpu::Features::SHADER_F64),
            int64: has(wgpu::Features::SHADER_INT64),
            subgroups: has(wgpu::Features::SUBGROUP),
            timestamps: has(wgpu::Features::TIMESTAMP_QUERY),
            timestamps_inside_encoders: has(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
            timestamps_inside_passes: has(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            cooperative_matrix: if has(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
                cooperative_shapes(&adapter.cooperative_matrix_properties())
            } else {
                Vec::new()
            },
        }
    }
}

/// The distinct shapes; saturation tells integer shapes apart, which no kernel
/// here uses.
fn cooperative_shapes(properties: &[wgpu::CooperativeMatrixProperties]) -> Vec<CooperativeShape> {
    let mut shapes: Vec<_> = properties
        .iter()
        .map(|p| CooperativeShape {
            m: p.m_size,
            n: p.n_size,
            k: p.k_size,
            ab: p.ab_type.into(),
            cr: p.cr_type.into(),
        })
        .collect();
    shapes.sort();
    shapes.dedup();
    shapes
}

/// Every adapter that any backend of this machine offers.
///
/// Nothing is hidden, not even drivers that say that they do not conform:
/// every kernel's result is checked anyway. Validation layers stay off, since
/// they would be measured too.
pub fn enumerate() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::all();
    descriptor.flags = wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER;
    let instance = wgpu::Instance::new(descriptor);
    describe(pollster::block_on(
        instance.enumerate_adapters(wgpu::Backends::all()),
    ))
}

/// Describes `adapters`, which become the whole list in the given order.
pub fn describe(adapters: Vec<wgpu::Adapter>) -> Vec<Adapter> {
    let mut descriptions: Vec<_> = adapters
        .iter()
        .enumerate()
        .map(|(index, adapter)| AdapterDescription::alone(index, adapter))
        .collect();
    identity::assign_physical_devices(&mut descriptions);
    adapters
        .into_iter()
        .zip(descriptions)
        .map(|(wgpu, description)| Adapter { wgpu, description })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A description with the parts that selection looks at.
    pub(crate) fn described(
        index: usize,
        name: &str,
        backend: Backend,
        device_type: DeviceType,
        pci_address: Option<&str>,
        ids: (u32, u32),
    ) -> AdapterDescription {
        AdapterDescription {
            index,
            name: name.into(),
            backend,
            device_type,
            driver: String::new(),
            driver_info: String::new(),
            pci_address: pci_address.map(Into::into),
            uuid: None,
            vendor_id: ids.0,
            device_id: ids.1,
            physical_device: String::new(),
            subgroup_min_size: None,
            subgroup_max_size: None,
            features: AdapterFeatures::default(),
            limits: AdapterLimits::default(),
        }
    }

    #[test]
    fn a_noop_adapter_is_described_and_does_not_pass_for_another_backend() {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        let instance = wgpu::Instance::new(descriptor);
        let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
        let adapters = describe(found);
        assert_eq!(adapters.len(), 1);
        let description = &adapters[0].description;
        assert_eq!(description.backend, Backend::Noop);
        assert!(!description.physical_device.is_empty());
    }

    #[test]
    fn shapes_that_differ_in_saturation_only_are_one() {
        let shape = |saturating_accumulation| wgpu::CooperativeMatrixProperties {
            m_size: 16,
            n_size: 16,
            k_size: 16,
            ab_type: wgpu::CooperativeScalarType::F16,
            cr_type: wgpu::CooperativeScalarType::F32,
            saturating_accumulation,
        };
        let shapes = cooperative_shapes(&[shape(false), shape(true)]);
        assert_eq!(shapes.len(), 1);
        assert_eq!(shapes[0].to_string(), "16x16x16 f16→f32");
    }

    #[test]
    fn names_in_json_are_those_in_messages() {
        for backend in [
            Backend::Metal,
            Backend::Vulkan,
            Backend::Dx12,
            Backend::Gl,
            Backend::Noop,
        ] {
            let json = serde_json::to_value(backend).expect("an enum serialises");
            assert_eq!(json, backend.name());
        }
        for kind in [
            DeviceType::DiscreteGpu,
            DeviceType::IntegratedGpu,
            DeviceType::VirtualGpu,
            DeviceType::Other,
            DeviceType::Cpu,
        ] {
            let json = serde_json::to_value(kind).expect("an enum serialises");
            assert_eq!(json, kind.name());
        }
    }
}
