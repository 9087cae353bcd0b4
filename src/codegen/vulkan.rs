//! Asks a Vulkan driver what its compiler makes of a shader, through
//! VK_KHR_pipeline_executable_properties.
//!
//! The device is opened by wgpu, with one extension more; the pipeline is created
//! as wgpu creates it, with two flags more.

use std::ffi::CStr;

use ash::khr::pipeline_executable_properties;
use ash::vk;
use wgpu::hal::api::Vulkan;

use super::{CodegenError, Executable, Representation, Statistic, Value};
use crate::gpu::device::WANTED;
use crate::kernel::capabilities::Features;
use crate::kernel::program::{Pass, Program, Role};
use crate::kernel::shader::{self, Robustness};

/// The entry point of every shader.
const ENTRY_POINT: &CStr = c"main";

/// A driver's compiler, ready to be asked.
pub struct Compiler {
    /// Keeps the raw device alive.
    device: wgpu::Device,
    executables: pipeline_executable_properties::Device,
    stage: vk::PipelineShaderStageCreateFlags,
    features: Features,
    robustness: Robustness,
}

impl Compiler {
    /// Opens `adapter`, whose features the catalogue knows as `features`.
    ///
    /// # Errors
    /// When it is no Vulkan adapter, its driver lacks the extension, or it cannot
    /// be opened.
    pub fn open(adapter: &wgpu::Adapter, features: &Features) -> Result<Self, CodegenError> {
        let wanted = adapter.features() & WANTED;
        // SAFETY: the handle is only used to ask and to open, never destroyed.
        let hal = unsafe { adapter.as_hal::<Vulkan>() }.ok_or(CodegenError::NotVulkan)?;
        let offered = Offered::of(&hal)?;
        let mut enabled = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        // SAFETY: the driver offers the extension and the feature, and nothing is
        // taken away from what wgpu asks for.
        let open = unsafe {
            hal.open_with_callback(
                wanted,
                &adapter.limits(),
                &wgpu::MemoryHints::default(),
                Some(Box::new(|args| {
                    args.extensions.push(pipeline_executable_properties::NAME);
                    *args.create_info = args.create_info.push_next(&mut enabled);
                })),
            )
        };
        let open = open.map_err(|error| CodegenError::Open(error.to_string()))?;
        let raw = open.device.raw_device().clone();
        let descriptor = wgpu::DeviceDescriptor {
            required_features: wanted,
            required_limits: adapter.limits(),
            // SAFETY: as in [`crate::gpu::device::Gpu::open`]; nothing is run here.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        };
        // SAFETY: it was opened from this adapter, with these features.
        let device = unsafe { adapter.create_device_from_hal(open, &descriptor) };
        let (device, _queue) = device.map_err(|error| CodegenError::Open(error.to_string()))?;
        let mut stage = vk::PipelineShaderStageCreateFlags::empty();
        if wanted.contains(wgpu::Features::SUBGROUP) {
            stage |= vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
        }
        Ok(Self {
            executables: pipeline_executable_properties::Device::new(
                hal.shared_instance().raw_instance(),
                &raw,
            ),
            device,
            stage,
            features: features.clone(),
            robustness: offered.robustness,
        })
    }

    /// What the driver makes of one pass of `program`: usually one executable.
    ///
    /// # Errors
    /// When the text is no shader for this adapter, or the driver refuses it.
    pub fn compile(
        &self,
        program: &Program,
        pass: &Pass,
        checked: bool,
    ) -> Result<Vec<Executable>, CodegenError> {
        let module = shader::parse(&pass.wgsl)?;
        let info = shader::validate(&module, &self.features)?;
        let words = shader::spirv(&module, &info, checked, self.robustness)?;
        // SAFETY: the handle is not kept, and what is made of it is destroyed here.
        let device = unsafe { self.device.as_hal::<Vulkan>() }.ok_or(CodegenError::NotVulkan)?;
        let mut made = Made::new(device.raw_device());
        // SAFETY: the words are a valid module whose bindings are those of the pass.
        let pipeline = unsafe { made.pipeline(&words, self.stage, &kinds(program, pass)) };
        // SAFETY: it was created with both flags, and lives until `made` is dropped.
        let told = pipeline.and_then(|pipeline| unsafe { self.ask(pipeline) });
        told.map_err(|refusal| CodegenError::Driver(refusal.to_string()))
    }

    /// # Safety
    /// The pipeline must have been created with the flags that capture both.
    unsafe fn ask(&self, pipeline: vk::Pipeline) -> Result<Vec<Executable>, vk::Result> {
        let info = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // SAFETY: passed on to the caller.
        let properties = unsafe { self.executables.get_pipeline_executable_properties(&info) }?;
        let executable = |(index, properties): (u32, &vk::PipelineExecutablePropertiesKHR)| {
            let info = vk::PipelineExecutableInfoKHR::default()
                .pipeline(pipeline)
                .executable_index(index);
            // SAFETY: passed on to the caller.
            let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&info) }?;
            Ok(Executable {
                name: text(&properties.name),
                subgroup_size: Some(properties.subgroup_size).filter(|&size| size > 0),
                statistics: statistics.iter().map(statistic).collect(),
                // SAFETY: passed on to the caller.
                representations: unsafe { self.representations(&info) }?,
            })
        };
        (0..).zip(&properties).map(executable).collect()
    }

    /// # Safety
    /// As for [`Self::ask`].
    unsafe fn representations(
        &self,
        info: &vk::PipelineExecutableInfoKHR,
    ) -> Result<Vec<Representation>, vk::Result> {
        let extension = &self.executables;
        // SAFETY: passed on to the caller. Without places to write to, the driver
        // gives the sizes.
        let mut wanted =
            unsafe { extension.get_pipeline_executable_internal_representations(info) }?;
        let mut texts: Vec<Vec<u8>> = wanted.iter().map(|r| vec![0; r.data_size]).collect();
        for (representation, text) in wanted.iter_mut().zip(&mut texts) {
            representation.p_data = text.as_mut_ptr().cast();
        }
        let mut count = wanted.len() as u32;
        // SAFETY: there are `count` places, each with room for `data_size` bytes.
        unsafe {
            (extension
                .fp()
                .get_pipeline_executable_internal_representations_khr)(
                extension.device(),
                info,
                &mut count,
                wanted.as_mut_ptr(),
            )
        }
        .result()?;
        let named = wanted.iter().zip(&texts).filter(|(r, _)| r.is_text != 0);
        Ok(named
            .map(|(representation, bytes)| Representation {
                name: text(&representation.name),
                text: String::from_utf8_lossy(bytes)
                    .trim_end_matches('\0')
                    .to_owned(),
            })
            .collect())
    }
}

/// What of the driver decides how it is asked.
struct Offered {
    robustness: Robustness,
}

impl Offered {
    fn of(adapter: &wgpu::hal::vulkan::Adapter) -> Result<Self, CodegenError> {
        let capabilities = adapter.physical_device_capabilities();
        let version = capabilities.properties().api_version;
        if version < vk::API_VERSION_1_3 {
            let (major, minor) = (
                vk::api_version_major(version),
                vk::api_version_minor(version),
            );
            return Err(CodegenError::Old(format!("{major}.{minor}")));
        }
        if !capabilities.supports_extension(pipeline_executable_properties::NAME) {
            return Err(CodegenError::NotTold);
        }
        let mut told = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut newer = vk::PhysicalDeviceVulkan13Features::default();
        let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let has_robustness = capabilities.supports_extension(ash::ext::robustness2::NAME);
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut told)
            .push_next(&mut newer);
        if has_robustness {
            features = features.push_next(&mut robust);
        }
        let instance = adapter.shared_instance().raw_instance();
        // SAFETY: the handle is that of a living adapter of this instance.
        unsafe {
            instance.get_physical_device_features2(adapter.raw_physical_device(), &mut features);
        }
        if told.pipeline_executable_info == 0 {
            return Err(CodegenError::NotTold);
        }
        Ok(Self {
            robustness: Robustness {
                buffers: robust.robust_buffer_access2 != 0,
                images: robust.robust_image_access2 != 0 || newer.robust_image_access != 0,
            },
        })
    }
}

/// What each binding of a pass is.
fn kinds(program: &Program, pass: &Pass) -> Vec<vk::DescriptorType> {
    let kind = |&buffer: &usize| match program.buffers[buffer].role {
        Role::Uniform(_) => vk::DescriptorType::UNIFORM_BUFFER,
        Role::Texture { .. } => vk::DescriptorType::STORAGE_IMAGE,
        Role::Input(_) | Role::Output | Role::Scratch => vk::DescriptorType::STORAGE_BUFFER,
    };
    pass.bindings.iter().map(kind).collect()
}

/// Handles that are destroyed together, the last one first.
struct Made<'a> {
    device: &'a ash::Device,
    module: vk::ShaderModule,
    set: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
}

impl<'a> Made<'a> {
    fn new(device: &'a ash::Device) -> Self {
        Self {
            device,
            module: Default::default(),
            set: Default::default(),
            layout: Default::default(),
            pipeline: Default::default(),
        }
    }

    /// Creates the pipeline of a module, as wgpu's Vulkan backend does.
    ///
    /// # Safety
    /// The words must be a valid module with the entry point `main`, and `kinds`
    /// what is bound in its group 0, from 0 on.
    unsafe fn pipeline(
        &mut self,
        words: &[u32],
        stage: vk::PipelineShaderStageCreateFlags,
        kinds: &[vk::DescriptorType],
    ) -> Result<vk::Pipeline, vk::Result> {
        let device = self.device;
        let module = vk::ShaderModuleCreateInfo::default().code(words);
        let bindings: Vec<vk::DescriptorSetLayoutBinding> = (0..)
            .zip(kinds)
            .map(|(binding, &kind)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: passed on to the caller; every handle was just created here.
        unsafe {
            self.module = device.create_shader_module(&module, None)?;
            self.set = device.create_descriptor_set_layout(&set, None)?;
            let sets = [self.set];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            self.layout = device.create_pipeline_layout(&layout, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(stage)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(self.module)
                .name(ENTRY_POINT);
            let pipeline = vk::ComputePipelineCreateInfo::default()
                .flags(
                    vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                        | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
                )
                .stage(stage)
                .layout(self.layout);
            let made =
                device.create_compute_pipelines(vk::PipelineCache::null(), &[pipeline], None);
            let pipelines = made.map_err(|(_, error)| error)?;
            self.pipeline = pipelines[0];
        }
        Ok(self.pipeline)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let device = self.device;
        // SAFETY: nothing uses them, and destroying what was never created is
        // allowed.
        unsafe {
            device.destroy_pipeline(self.pipeline, None);
            device.destroy_pipeline_layout(self.layout, None);
            device.destroy_descriptor_set_layout(self.set, None);
            device.destroy_shader_module(self.module, None);
        }
    }
}

fn statistic(statistic: &vk::PipelineExecutableStatisticKHR) -> Statistic {
    use vk::PipelineExecutableStatisticFormatKHR as Format;
    // SAFETY: the format says which of the union's members was written.
    let value = unsafe {
        match statistic.format {
            Format::BOOL32 => Value::Whole(statistic.value.b32.into()),
            Format::INT64 => Value::Whole(statistic.value.i64),
            Format::UINT64 => Value::Whole(statistic.value.u64.try_into().unwrap_or(i64::MAX)),
            _ => Value::Real(statistic.value.f64),
        }
    };
    Statistic {
        name: text(&statistic.name),
        value,
    }
}

/// A name in a field of fixed size, which a driver ought to end with a zero.
fn text(field: &[std::ffi::c_char]) -> String {
    let bytes = field.iter().map(|&c| c as u8).take_while(|&byte| byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}
