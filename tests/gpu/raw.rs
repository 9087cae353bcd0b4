//! A second way to run a program: plain wgpu, apart from the harness that is
//! tested, in two modes that show whether the kernel guards its own indices.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::mpsc;

use flopwatt::kernel::element::Tensor;
use flopwatt::kernel::program::{BufferSpec, Pass, Program, Role, TEXEL};
use wgpu::util::DeviceExt;

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// With the bounds and loop checks that WGSL prescribes, and workgroup memory
    /// that starts as zero. An index that only a check keeps inside reads or
    /// writes something else here than without.
    Checked,
    /// As it is measured, with a fence behind every storage buffer. A read beyond
    /// the end finds what no input holds; a write beyond it breaks the fence.
    Fenced,
}

/// Bytes of a fence: a tile of rows of the largest edge shape.
const FENCE: usize = 64 << 10;
/// Texels of a texture's fence, on its right and below it.
const FENCE_TEXELS: u32 = 64;
/// NaN in every float format: in outputs to be, as in the harness, and in the
/// fences of inputs.
const NAN: u8 = 0xff;
/// In the fences of what is written: enormous float32 numbers. NaN would not do,
/// since arithmetic hands on the very bits of a NaN read behind an input's end.
const ENORMOUS: u8 = 0x7f;

/// Something that a pass binds.
enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

/// A device of its own.
pub struct Raw {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// By their text and how it is compiled.
    pipelines: RefCell<HashMap<(String, Mode), wgpu::ComputePipeline>>,
}

impl Raw {
    pub fn open(adapter: &wgpu::Adapter) -> Self {
        let wanted = wgpu::Features::SHADER_F16
            | wgpu::Features::SHADER_F64
            | wgpu::Features::SHADER_INT64
            | wgpu::Features::SUBGROUP
            | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & wanted,
            required_limits: adapter.limits(),
            // SAFETY: for the kernels that the harness runs, under its conditions.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        });
        let (device, queue) = pollster::block_on(request).expect("the adapter opens twice");
        Self {
            device,
            queue,
            pipelines: RefCell::default(),
        }
    }

    /// The output of `program`, or which fence it broke.
    pub fn run(&self, program: &Program, inputs: &[Tensor], mode: Mode) -> Result<Vec<u8>, String> {
        let fence = match mode {
            Mode::Checked => 0,
            Mode::Fenced => FENCE,
        };
        let specs = &program.buffers;
        let resources: Vec<Resource> = specs
            .iter()
            .map(|spec| match spec.role {
                Role::Texture { width, height } => {
                    Resource::Texture(self.texture(width, height, mode))
                }
                _ => Resource::Buffer(self.buffer(spec, inputs, fence)),
            })
            .collect();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for pass in &program.passes {
            self.record(&mut encoder, pass, &resources, mode);
        }
        self.queue.submit([encoder.finish()]);

        let mut output = Vec::new();
        for (spec, resource) in specs.iter().zip(&resources) {
            if let (Role::Output | Role::Scratch, Resource::Buffer(buffer)) = (&spec.role, resource)
            {
                let mut bytes = self.read(buffer);
                let behind = bytes.split_off(spec.size.0 as usize);
                if let Some(at) = behind.iter().position(|&byte| byte != ENORMOUS) {
                    return Err(format!("{at} bytes behind the end of {:?}", spec.role));
                }
                if spec.role == Role::Output {
                    output = bytes;
                }
            }
        }
        Ok(output)
    }

    fn buffer(&self, spec: &BufferSpec, inputs: &[Tensor], fence: usize) -> wgpu::Buffer {
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let fenced = |mut contents: Vec<u8>, post| {
            contents.resize(contents.len() + fence, post);
            (contents, storage)
        };
        let (contents, usage) = match &spec.role {
            Role::Uniform(words) => (
                bytemuck::cast_slice(words).to_vec(),
                wgpu::BufferUsages::UNIFORM,
            ),
            Role::Input(number) => fenced(inputs[*number].bytes.clone(), NAN),
            _ => fenced(vec![NAN; spec.size.0 as usize], ENORMOUS),
        };
        self.device
            .create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: None,
                contents: &contents,
                usage,
            })
    }

    /// Full of NaN, and where it is to be fenced, with more of it on two sides.
    fn texture(&self, width: u32, height: u32, mode: Mode) -> wgpu::TextureView {
        let fence = match mode {
            Mode::Checked => 0,
            Mode::Fenced => FENCE_TEXELS,
        };
        let size = wgpu::Extent3d {
            width: width + fence,
            height: height + fence,
            depth_or_array_layers: 1,
        };
        let descriptor = wgpu::TextureDescriptor {
            label: None,
            size,
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Uint,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        };
        let bytes = vec![NAN; TEXEL as usize * (size.width * size.height) as usize];
        let order = wgpu::util::TextureDataOrder::LayerMajor;
        let texture = self
            .device
            .create_texture_with_data(&self.queue, &descriptor, order, &bytes);
        texture.create_view(&Default::default())
    }

    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        pass: &Pass,
        resources: &[Resource],
        mode: Mode,
    ) {
        let mut pipelines = self.pipelines.borrow_mut();
        let pipeline = pipelines
            .entry((pass.wgsl.clone(), mode))
            .or_insert_with(|| self.compile(pass, mode));
        let entries: Vec<wgpu::BindGroupEntry> = (0..)
            .zip(&pass.bindings)
            .map(|(binding, &resource)| wgpu::BindGroupEntry {
                binding,
                resource: match &resources[resource] {
                    Resource::Buffer(buffer) => buffer.as_entire_binding(),
                    Resource::Texture(view) => wgpu::BindingResource::TextureView(view),
                },
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(pass.template),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut recorder = encoder.begin_compute_pass(&Default::default());
        recorder.set_pipeline(pipeline);
        recorder.set_bind_group(0, &group, &[]);
        let [x, y, z] = pass.workgroups;
        recorder.dispatch_workgroups(x, y, z);
    }

    fn compile(&self, pass: &Pass, mode: Mode) -> wgpu::ComputePipeline {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(pass.template),
            source: wgpu::ShaderSource::Wgsl(pass.wgsl.as_str().into()),
        };
        let module = match mode {
            Mode::Checked => self.device.create_shader_module(descriptor),
            // SAFETY: what the harness does with the same text. Should the text be
            // wrong, the fence is where it reaches first.
            Mode::Fenced => unsafe {
                self.device.create_shader_module_trusted(
                    descriptor,
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            },
        };
        self.device
            .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(pass.template),
                layout: None,
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: matches!(mode, Mode::Checked),
                    ..Default::default()
                },
                cache: None,
            })
    }

    fn read(&self, buffer: &wgpu::Buffer) -> Vec<u8> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| {
            sender.send(mapped).expect("somebody waits");
        });
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .expect("the device works");
        receiver
            .recv()
            .expect("mapping is answered")
            .expect("the buffer maps");
        let view = staging.slice(..).get_mapped_range();
        view.expect("a mapped range").to_vec()
    }
}
