//! An opened adapter: loads programs, runs batches of dispatches, reads results.

mod checksum;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::checksum::Checksums;
use self::checksum::{Shaders, Stretch};
use super::timer::{DeviceSpan, Timer};
use crate::kernel::element::Tensor;
use crate::kernel::program::{BufferSpec, Pass, Program, Role, TEXEL};
use crate::units::{Bytes, Seconds};

/// Why something could not be done on the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The adapter gives no device.
    #[error("the adapter cannot be opened: {0}")]
    Open(String),
    /// The device is gone; a fresh one has to be opened.
    #[error("the device was lost: {0}")]
    Lost(String),
    /// Memory ran out.
    #[error("the device is out of memory: {0}")]
    OutOfMemory(String),
    /// A shader, pipeline or call was refused.
    #[error("refused by validation: {0}")]
    Validation(String),
    /// The driver accepts work and does not do it.
    #[error("output not computed: the driver accepts work and does not do it")]
    Undone,
    /// The driver leaves out some of the dispatches of a batch.
    #[error("the driver leaves out dispatches: {0}")]
    Dropped(String),
    /// The driver failed in a way that fits nowhere else.
    #[error("the driver failed: {0}")]
    Internal(String),
}

/// Features that kernels or timers use; each is requested where it is offered.
pub(crate) const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::PIPELINE_STATISTICS_QUERY)
    .union(wgpu::Features::SHADER_F16)
    .union(wgpu::Features::SHADER_F64)
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// Run-time checks compiled into a shader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShaderMode {
    /// Bounds and loop checks as WGSL prescribes.
    Checked,
    /// Without; the kernels guard their own indices.
    #[default]
    Unchecked,
}

/// Every output byte is set to this before the output is computed: a NaN in
/// every float format.
const POISON: u8 = 0xff;
/// … in pieces, since a staging copy of all of it may not fit.
const PIECE: u64 = 16 << 20;

/// An open device and its queue.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    timer: Option<Timer>,
    /// Made when the first series is run.
    series_timer: OnceLock<Option<Timer>>,
    mode: ShaderMode,
    trouble: Arc<Mutex<Option<GpuError>>>,
    /// By their text. Sizes are in uniforms, so that many shapes share a text, and
    /// drivers take seconds to compile some.
    pipelines: Mutex<HashMap<String, wgpu::ComputePipeline>>,
    /// Made when the first output is summed up.
    checksum_shaders: OnceLock<Shaders>,
}

/// A program with its buffers on the device.
pub struct Loaded {
    passes: Vec<LoadedPass>,
    specs: Vec<BufferSpec>,
    resources: Vec<Resource>,
    poisoned: Vec<Resource>,
    output: wgpu::Buffer,
    output_size: Bytes,
}

impl Loaded {
    /// Records one run of the program.
    fn record(&self, recorder: &mut wgpu::ComputePass) {
        for pass in &self.passes {
            recorder.set_pipeline(&pass.pipeline);
            recorder.set_bind_group(0, &pass.bindings, &[]);
            let [x, y, z] = pass.workgroups;
            recorder.dispatch_workgroups(x, y, z);
        }
    }
}

/// Something that a pass binds.
#[derive(Clone)]
enum Resource {
    Buffer(wgpu::Buffer),
    Texture(wgpu::TextureView),
}

impl Resource {
    fn binding(&self) -> wgpu::BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => buffer.as_entire_binding(),
            Self::Texture(view) => wgpu::BindingResource::TextureView(view),
        }
    }
}

struct LoadedPass {
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
    workgroups: [u32; 3],
}

/// Times of one batch of dispatches that was submitted alone, or of several
/// submissions together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// From before the submission to the end of waiting for it.
    pub wall: Seconds,
    /// The same with everything around it: recording, reading the timestamps.
    pub cost: Seconds,
    /// What the device's timestamps say; `None` where it has none.
    pub device: Option<DeviceSpan>,
    /// Invocations of shaders that the device counted; `None` where it does not.
    pub invocations: Option<u64>,
}

/// Batches that were submitted one behind the other, so that the queue was never
/// empty between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// When the first was handed over.
    pub begin: Instant,
    /// When the queue was empty again.
    pub end: Instant,
    /// Each batch: from the end of the one before, as the host heard of it, to its
    /// own, and what the device's timestamps say.
    pub batches: Vec<Batch>,
}

/// Submissions that wait in the queue while a series runs: one is computed, the
/// next is there when it ends, and one more covers for a host that is late.
const IN_FLIGHT: usize = 3;

impl Gpu {
    /// Opens `adapter` with all of its own limits. Shaders are compiled in `mode`.
    ///
    /// # Errors
    /// [`GpuError::Open`] when the driver refuses.
    pub fn open(adapter: &wgpu::Adapter, mode: ShaderMode) -> Result<Self, GpuError> {
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("flopwatt"),
            required_features: adapter.features() & WANTED,
            required_limits: adapter.limits(),
            // SAFETY: of what wgpu calls experimental only cooperative matrices are
            // asked for. Kernels use them in the shapes that the adapter lists and
            // keep loads and stores inside of their buffers; their results are
            // verified like all others.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        });
        let (device, queue) =
            pollster::block_on(request).map_err(|e| GpuError::Open(e.to_string()))?;
        let trouble = Arc::default();
        watch(&device, &trouble);
        let timer = Timer::new(&device, &queue, 1);
        Ok(Self {
            device,
            queue,
            timer,
            series_timer: OnceLock::new(),
            mode,
            trouble,
            pipelines: Mutex::default(),
            checksum_shaders: OnceLock::new(),
        })
    }

    fn checksum_shaders(&self) -> &Shaders {
        let shaders = || Shaders::new(&self.device);
        self.checksum_shaders.get_or_init(shaders)
    }

    /// Whether shaders are compiled with checks.
    pub fn mode(&self) -> ShaderMode {
        self.mode
    }

    /// Compiles `program`, if it has not been yet, and fills its buffers.
    ///
    /// # Errors
    /// When the driver refuses a shader or runs out of memory.
    pub fn load(&self, program: &Program, inputs: &[Tensor]) -> Result<Loaded, GpuError> {
        let mut resources = Vec::new();
        let mut poisoned = Vec::new();
        let mut output = None;
        for spec in &program.buffers {
            let resource = self.resource(spec, inputs);
            if let (Role::Output, Resource::Buffer(buffer)) = (&spec.role, &resource) {
                output = Some(buffer.clone());
            }
            if matches!(
                spec.role,
                Role::Output | Role::Scratch | Role::Texture { .. }
            ) {
                poisoned.push(resource.clone());
            }
            resources.push(resource);
        }
        let passes = program.passes.iter();
        let loaded = Loaded {
            passes: passes.map(|pass| self.pass(pass, &resources)).collect(),
            specs: program.buffers.clone(),
            resources,
            poisoned,
            output: output
                .ok_or_else(|| GpuError::Validation("the program has no output".into()))?,
            output_size: program.output_size(),
        };
        self.check()?;
        let mut known = self.pipelines();
        for (pass, loaded) in program.passes.iter().zip(&loaded.passes) {
            known.insert(pass.wgsl.clone(), loaded.pipeline.clone());
        }
        drop(known);
        Ok(loaded)
    }

    /// Compiles `program` to run on the buffers of another that was loaded with the
    /// same inputs; `None` where it needs others.
    ///
    /// # Errors
    /// When the driver refuses a shader.
    pub fn load_onto(&self, program: &Program, other: &Loaded) -> Result<Option<Loaded>, GpuError> {
        if program.buffers != other.specs {
            return Ok(None);
        }
        let passes = program.passes.iter();
        let loaded = Loaded {
            passes: passes
                .map(|pass| self.pass(pass, &other.resources))
                .collect(),
            specs: other.specs.clone(),
            resources: other.resources.clone(),
            poisoned: other.poisoned.clone(),
            output: other.output.clone(),
            output_size: other.output_size,
        };
        self.check()?;
        Ok(Some(loaded))
    }

    /// What a panic elsewhere left is whole: every change is one statement.
    fn pipelines(&self) -> MutexGuard<'_, HashMap<String, wgpu::ComputePipeline>> {
        let locked = self.pipelines.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    fn resource(&self, spec: &BufferSpec, inputs: &[Tensor]) -> Resource {
        let storage = wgpu::BufferUsages::STORAGE;
        Resource::Buffer(match &spec.role {
            &Role::Texture { width, height } => return self.texture(width, height),
            Role::Uniform(words) => {
                self.filled(bytemuck::cast_slice(words), wgpu::BufferUsages::UNIFORM)
            }
            Role::Input(number) => {
                let bytes = inputs.get(*number).map_or(&[][..], |tensor| &tensor.bytes);
                self.filled(bytes, storage)
            }
            Role::Output | Role::Scratch => self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: spec.size.0,
                usage: storage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        })
    }

    /// A buffer that holds `contents`. wgpu's own function for that panics where
    /// there is no memory, of which the device has told by then.
    fn filled(&self, contents: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let length = (contents.len() as u64).max(wgpu::COPY_BUFFER_ALIGNMENT);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: length.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
            usage,
            mapped_at_creation: true,
        });
        if let Ok(mut range) = buffer.get_mapped_range_mut(..) {
            range.slice(..contents.len()).copy_from_slice(contents);
        }
        buffer.unmap();
        buffer
    }

    fn texture(&self, width: u32, height: u32) -> Resource {
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Uint,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        Resource::Texture(texture.create_view(&Default::default()))
    }

    fn compile(&self, pass: &Pass) -> wgpu::ComputePipeline {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(pass.template),
            source: wgpu::ShaderSource::Wgsl(pass.wgsl.as_str().into()),
        };
        let module = match self.mode {
            ShaderMode::Checked => self.device.create_shader_module(descriptor),
            // SAFETY: the shaders are this crate's own, or of a folder that its user
            // vouches for. Each guards every index by the sizes in its uniform block,
            // which describe the bound buffers, and every loop ends; tests run them
            // in sizes that divide by nothing, compare every output with a
            // reference, and run them once more with checks.
            ShaderMode::Unchecked => unsafe {
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
                    zero_initialize_workgroup_memory: self.mode == ShaderMode::Checked,
                    ..Default::default()
                },
                cache: None,
            })
    }

    fn pass(&self, pass: &Pass, resources: &[Resource]) -> LoadedPass {
        let known = self.pipelines().get(&pass.wgsl).cloned();
        let pipeline = known.unwrap_or_else(|| self.compile(pass));
        let entries: Vec<wgpu::BindGroupEntry> = pass
            .bindings
            .iter()
            .zip(0..)
            .map(|(&resource, binding)| wgpu::BindGroupEntry {
                binding,
                resource: resources[resource].binding(),
            })
            .collect();
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(pass.template),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        LoadedPass {
            pipeline,
            bindings,
            workgroups: pass.workgroups,
        }
    }

    /// Fills the output and everything in between with NaN.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn poison(&self, loaded: &Loaded) -> Result<(), GpuError> {
        for resource in &loaded.poisoned {
            match resource {
                Resource::Buffer(buffer) => self.poison_buffer(buffer),
                Resource::Texture(view) => self.poison_texture(view.texture()),
            }
        }
        self.wait()
    }

    fn poison_buffer(&self, buffer: &wgpu::Buffer) {
        let piece = vec![POISON; PIECE.min(buffer.size()) as usize];
        for offset in (0..buffer.size()).step_by(PIECE as usize) {
            let length = (buffer.size() - offset).min(PIECE);
            let bytes = &piece[..length as usize];
            self.queue.write_buffer(buffer, offset, bytes);
            self.queue.submit([]);
        }
    }

    fn poison_texture(&self, texture: &wgpu::Texture) {
        let row = TEXEL as u32 * texture.width();
        let rows = (PIECE as u32 / row).clamp(1, texture.height());
        let piece = vec![POISON; row as usize * rows as usize];
        for y in (0..texture.height()).step_by(rows as usize) {
            let height = rows.min(texture.height() - y);
            self.queue.write_texture(
                wgpu::TexelCopyTextureInfo {
                    origin: wgpu::Origin3d { x: 0, y, z: 0 },
                    ..texture.as_image_copy()
                },
                &piece,
                wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row),
                    rows_per_image: None,
                },
                wgpu::Extent3d {
                    height,
                    ..texture.size()
                },
            );
            self.queue.submit([]);
        }
    }

    /// Submits a timed pass without any dispatch: what a submission costs.
    ///
    /// # Errors
    /// When the device is lost.
    pub fn run_nothing(&self) -> Result<Batch, GpuError> {
        self.submit(self.timer.as_ref(), None, |_| {})
    }

    /// Runs the program once and waits for it.
    ///
    /// # Errors
    /// When the driver refuses the work or the device is lost.
    pub fn run_once(&self, loaded: &Loaded) -> Result<Batch, GpuError> {
        self.submit(self.timer.as_ref(), None, |pass| loaded.record(pass))
    }

    /// Runs the program `dispatches` times in one submission and waits for it.
    /// wgpu puts a barrier between dispatches that write the same buffer, so each
    /// starts when the one before has ended. What they write is summed up; `output`
    /// is what that should be.
    ///
    /// # Errors
    /// When the driver refuses the work or the device is lost.
    pub fn run(
        &self,
        loaded: &Loaded,
        dispatches: u32,
        checksums: &Checksums,
        output: &[u8],
    ) -> Result<Batch, GpuError> {
        self.make_room(checksums, 1, output)?;
        let stretch = self.stretch(checksums);
        let batch = self.submit(self.timer.as_ref(), Some(&stretch), |pass| {
            for _ in 0..dispatches {
                loaded.record(pass);
            }
        });
        if dispatches == 0 {
            // Nothing has been written: the next batch takes the stretch.
            checksums.forget();
        }
        batch
    }

    /// Runs the program in `submissions` of their own, one after the other, each
    /// waited for. They hold nothing else, no timestamps either. Times are the
    /// sums over all of them. What the last of them wrote is summed up.
    ///
    /// # Errors
    /// When the driver refuses the work or the device is lost.
    pub fn run_one_by_one(
        &self,
        loaded: &Loaded,
        submissions: u32,
        checksums: &Checksums,
        output: &[u8],
    ) -> Result<Batch, GpuError> {
        self.make_room(checksums, 1, output)?;
        let mut sum = Batch {
            wall: Seconds(0.0),
            cost: Seconds(0.0),
            device: None,
            invocations: None,
        };
        let begin = Instant::now();
        for number in 1..=submissions {
            let is_last = number == submissions;
            let stretch = is_last.then(|| self.stretch(checksums));
            let batch = self.submit(None, stretch.as_ref(), |pass| loaded.record(pass))?;
            sum.wall.0 += batch.wall.0;
        }
        sum.cost = Seconds(begin.elapsed().as_secs_f64());
        Ok(sum)
    }

    /// Runs batches of `dispatches` one behind the other for `length`, with work
    /// waiting in the queue until the last; it is empty before and after.
    /// Timestamps are read at the very end. `on_batch` hears how many are done. What
    /// they write is summed up; `output` is what that should be.
    ///
    /// # Errors
    /// When the driver refuses the work or the device is lost.
    pub fn run_series(
        &self,
        loaded: &Loaded,
        dispatches: u32,
        length: Seconds,
        (checksums, output): (&Checksums, &[u8]),
        mut on_batch: impl FnMut(usize),
    ) -> Result<Series, GpuError> {
        let timer = self
            .series_timer
            .get_or_init(|| Timer::new(&self.device, &self.queue, Timer::MOST));
        self.make_room(checksums, Timer::MOST, output)?;
        self.wait()?;
        let begin = Instant::now();
        let mut ends: Vec<Instant> = Vec::new();
        let mut waiting = VecDeque::new();
        for pass in 0..Timer::MOST {
            let planned = begin.elapsed().as_secs_f64();
            if planned >= length.0 && pass > 0 {
                break;
            }
            let stretch = self.stretch(checksums);
            let mut encoder = self.device.create_command_encoder(&Default::default());
            stretch.poison(&mut encoder);
            let timed = timer.as_ref().map(|timer| (timer, pass));
            encode(&mut encoder, timed, |recorder| {
                for _ in 0..dispatches {
                    loaded.record(recorder);
                }
            });
            stretch.add(&mut encoder);
            waiting.push_back(self.queue.submit([encoder.finish()]));
            if waiting.len() == IN_FLIGHT {
                self.wait_for(waiting.pop_front())?;
                ends.push(Instant::now());
                on_batch(ends.len());
            }
        }
        while let Some(submission) = waiting.pop_front() {
            self.wait_for(Some(submission))?;
            ends.push(Instant::now());
        }
        let end = ends.last().copied().unwrap_or(begin);
        let seen = match timer {
            Some(timer) => self.seen(timer, ends.len() as u32)?,
            None => Vec::new(),
        };
        let starts = std::iter::once(begin).chain(ends.iter().copied());
        let batch = |(number, (start, end)): (usize, (Instant, &Instant))| {
            let wall = Seconds((*end - start).as_secs_f64());
            Batch {
                wall,
                cost: wall,
                device: seen.get(number).map(|seen| seen.0),
                invocations: seen.get(number).and_then(|seen| seen.1),
            }
        };
        let batches = starts.zip(&ends).enumerate().map(batch).collect();
        Ok(Series {
            begin,
            end,
            batches,
        })
    }

    /// What a series' queries say of its first `passes` passes.
    fn seen(&self, timer: &Timer, passes: u32) -> Result<Vec<(DeviceSpan, Option<u64>)>, GpuError> {
        let mut encoder = self.device.create_command_encoder(&Default::default());
        timer.resolve(&mut encoder, passes);
        self.queue.submit([encoder.finish()]);
        let bytes = self.read(&timer.readback)?;
        let seen = |pass| (timer.span(&bytes, pass), timer.invocations(&bytes, pass));
        Ok((0..passes).map(seen).collect())
    }

    /// Records one compute pass, timed by `timer`, submits it alone and waits for
    /// it. A stretch of the output is poisoned before and summed up after it, neither
    /// of them timed by the device; the host's time holds the poisoning where the
    /// device has a clock, which makes no difference then.
    fn submit(
        &self,
        timer: Option<&Timer>,
        stretch: Option<&Stretch>,
        record: impl FnOnce(&mut wgpu::ComputePass),
    ) -> Result<Batch, GpuError> {
        let encoder = || self.device.create_command_encoder(&Default::default());
        let begin = Instant::now();
        let mut commands = encoder();
        if let Some(stretch) = stretch {
            stretch.poison(&mut commands);
            if timer.is_none() {
                self.queue.submit([commands.finish()]);
                self.wait()?;
                commands = encoder();
            }
        }
        encode(&mut commands, timer.map(|timer| (timer, 0)), record);
        if let Some(timer) = timer {
            timer.resolve(&mut commands, 1);
        }
        let commands = commands.finish();
        let start = Instant::now();
        self.queue.submit([commands]);
        self.wait()?;
        let wall = Seconds(start.elapsed().as_secs_f64());
        if let Some(stretch) = stretch {
            let mut commands = encoder();
            stretch.add(&mut commands);
            self.queue.submit([commands.finish()]);
        }
        let (device, invocations) = match timer {
            Some(timer) => {
                let bytes = self.read(&timer.readback)?;
                (Some(timer.span(&bytes, 0)), timer.invocations(&bytes, 0))
            }
            None => (None, None),
        };
        Ok(Batch {
            wall,
            cost: Seconds(begin.elapsed().as_secs_f64()),
            device,
            invocations,
        })
    }

    /// The output as it stands.
    ///
    /// # Errors
    /// When the device is lost or out of memory.
    pub fn output(&self, loaded: &Loaded) -> Result<Vec<u8>, GpuError> {
        self.contents(&loaded.output, loaded.output_size.0)
    }

    /// The first bytes of a buffer.
    fn contents(&self, buffer: &wgpu::Buffer, size: u64) -> Result<Vec<u8>, GpuError> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        self.read(&staging)
    }

    /// Maps `buffer`, copies its contents and unmaps it.
    fn read(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>, GpuError> {
        let slice = buffer.slice(..);
        let (sender, receiver) = std::sync::mpsc::channel();
        slice.map_async(wgpu::MapMode::Read, move |mapped| {
            // The receiver may be gone when waiting failed; nothing is lost then.
            let _ = sender.send(mapped);
        });
        self.wait()?;
        match receiver.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(GpuError::Internal(format!("cannot map: {error}"))),
            Err(_) => return Err(GpuError::Internal("mapping was never answered".into())),
        }
        let view = slice
            .get_mapped_range()
            .map_err(|e| GpuError::Internal(e.to_string()))?;
        let bytes = view.to_vec();
        drop(view);
        buffer.unmap();
        Ok(bytes)
    }

    /// Waits until the queue is empty.
    fn wait(&self) -> Result<(), GpuError> {
        self.wait_for(None)
    }

    /// Waits for a submission, or for all.
    fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let polled = self.device.poll(wgpu::PollType::Wait {
            submission_index,
            timeout: None,
        });
        self.check()?;
        match polled {
            Ok(_) => Ok(()),
            // The wait has no limit of its own, so it is the driver that gave up.
            Err(wgpu::PollError::Timeout) => Err(GpuError::Undone),
            Err(error) => Err(GpuError::Internal(error.to_string())),
        }
    }

    /// The first error that the device has reported since the last look.
    fn check(&self) -> Result<(), GpuError> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.take().map_or(Ok(()), Err)
    }
}

/// Records one compute pass, whose number the timer knows.
fn encode(
    encoder: &mut wgpu::CommandEncoder,
    timed: Option<(&Timer, u32)>,
    record: impl FnOnce(&mut wgpu::ComputePass),
) {
    let mut recorder = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
        label: None,
        timestamp_writes: timed.map(|(timer, pass)| timer.pass_writes(pass)),
    });
    match timed {
        Some((timer, pass)) => timer.count(&mut recorder, pass, record),
        None => record(&mut recorder),
    }
}

/// Collects what wgpu would otherwise panic over.
fn watch(device: &wgpu::Device, trouble: &Arc<Mutex<Option<GpuError>>>) {
    let note = |trouble: &Mutex<Option<GpuError>>, error| {
        let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert(error);
    };
    let seen = Arc::clone(trouble);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        let text = one_line(&error);
        note(
            &seen,
            match error {
                wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory(text),
                wgpu::Error::Validation { .. } => GpuError::Validation(text),
                wgpu::Error::Internal { .. } => GpuError::Internal(text),
            },
        );
    }));
    let seen = Arc::clone(trouble);
    device.set_device_lost_callback(move |reason, message| {
        // Dropping the device ends it as well, which is no trouble.
        if reason != wgpu::DeviceLostReason::Destroyed {
            note(&seen, GpuError::Lost(message));
        }
    });
}

/// An error and its causes on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
