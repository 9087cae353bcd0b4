//! Sums over what each batch wrote: the output is read and compared only once, at the
//! end, and would not tell of a batch in between that computed something else.

use std::cell::Cell;

use super::{Gpu, GpuError, Loaded, POISON};

/// Bytes of the output that a batch poisons beforehand and sums up afterwards; the next
/// batch does so with the next stretch. Writing and reading them takes a GPU some ten
/// microseconds, well below 1 % of a batch.
const STRETCH: u64 = 256 << 10;
/// Sums that the device holds until they are read.
const SLOTS: u64 = 4096;
/// Bytes from one sum to the next: part of a buffer is bound at a multiple of this.
const SLOT: u64 = 256;
/// Lanes of a workgroup, and words that a lane takes.
const LANES: u32 = 256;
const WORDS: u32 = 16;

/// A word and its place count, so that neither a changed word nor two that are swapped
/// leave the sum as it was, but for one case in 2³². (Finaliser of MurmurHash3.)
const WGSL: &str = "
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> sum: atomic<u32>;

const LANES = 256u;
const WORDS = 16u;
const POISON = 0xffffffffu;

@compute @workgroup_size(LANES)
fn poison(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    for (var i = 0u; i < WORDS; i++) {
        let index = (group.x * WORDS + i) * LANES + lane;
        if index < arrayLength(&words) {
            words[index] = POISON;
        }
    }
    if group.x == 0u && lane == 0u {
        atomicStore(&sum, 0u);
    }
}

fn mixed(word: u32, index: u32) -> u32 {
    var h = word ^ (index * 0x9e3779b9u);
    h = (h ^ (h >> 16u)) * 0x85ebca6bu;
    h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
    return h ^ (h >> 16u);
}

@compute @workgroup_size(LANES)
fn add(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var of_lane = 0u;
    for (var i = 0u; i < WORDS; i++) {
        let index = (group.x * WORDS + i) * LANES + lane;
        if index < arrayLength(&words) {
            of_lane += mixed(words[index], index);
        }
    }
    atomicAdd(&sum, of_lane);
}
";

/// What the shaders' `add` makes of these bytes.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(4).zip(0u32..).map(|(word, index)| {
        let mut padded = [POISON; 4];
        padded[..word.len()].copy_from_slice(word);
        let mut h = u32::from_le_bytes(padded) ^ index.wrapping_mul(0x9e37_79b9);
        h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
        h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
        h ^ (h >> 16)
    });
    words.fold(0, u32::wrapping_add)
}

/// The shaders, compiled.
pub(super) struct Shaders {
    layout: wgpu::BindGroupLayout,
    poison: wgpu::ComputePipeline,
    add: wgpu::ComputePipeline,
}

impl Shaders {
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let entry = |binding| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: false },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("checksum"),
            entries: &[entry(0), entry(1)],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("checksum"),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("checksum"),
            source: wgpu::ShaderSource::Wgsl(WGSL.into()),
        });
        let pipeline = |entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some("checksum"),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        Self {
            poison: pipeline("poison"),
            add: pipeline("add"),
            layout,
        }
    }
}

/// The sums of one program's batches.
pub struct Checksums {
    output: wgpu::Buffer,
    sums: wgpu::Buffer,
    /// Batches so far.
    begun: Cell<u64>,
    /// Those whose sums have been read.
    read: Cell<u64>,
    /// Those whose sums were others than that of the output.
    wrong: Cell<u64>,
}

impl Checksums {
    /// How many batches wrote something else than the output, of how many.
    pub fn wrong(&self) -> (u64, u64) {
        (self.wrong.get(), self.read.get())
    }

    /// Leaves the last batch out.
    pub(super) fn forget(&self) {
        self.begun.set(self.begun.get().saturating_sub(1));
    }

    fn stretches(&self) -> u64 {
        self.output.size().div_ceil(STRETCH)
    }
}

/// The part of an output that one batch poisons and sums up.
pub(super) struct Stretch<'a> {
    shaders: &'a Shaders,
    bindings: wgpu::BindGroup,
    workgroups: u32,
}

impl Stretch<'_> {
    pub(super) fn poison(&self, encoder: &mut wgpu::CommandEncoder) {
        self.run(encoder, &self.shaders.poison);
    }

    pub(super) fn add(&self, encoder: &mut wgpu::CommandEncoder) {
        self.run(encoder, &self.shaders.add);
    }

    fn run(&self, encoder: &mut wgpu::CommandEncoder, pipeline: &wgpu::ComputePipeline) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}

impl Gpu {
    /// Sums for the output of `loaded`, none so far.
    ///
    /// # Errors
    /// When the device is out of memory.
    pub fn checksums(&self, loaded: &Loaded) -> Result<Checksums, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let checksums = Checksums {
            output: loaded.output.clone(),
            sums: self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("checksums"),
                size: SLOTS * SLOT,
                usage,
                mapped_at_creation: false,
            }),
            begun: Cell::new(0),
            read: Cell::new(0),
            wrong: Cell::new(0),
        };
        self.check()?;
        Ok(checksums)
    }

    /// The next stretch, for the next batch. There must be room for its sum.
    pub(super) fn stretch(&self, checksums: &Checksums) -> Stretch<'_> {
        let shaders = self.checksum_shaders();
        let number = checksums.begun.replace(checksums.begun.get() + 1);
        let offset = number % checksums.stretches() * STRETCH;
        let size = (checksums.output.size() - offset).min(STRETCH);
        let slot = (number - checksums.read.get()) % SLOTS;
        let part = |buffer, offset, size| {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: std::num::NonZero::new(size),
            })
        };
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        Stretch {
            shaders,
            bindings: self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("checksum"),
                layout: &shaders.layout,
                entries: &[
                    entry(0, part(&checksums.output, offset, size)),
                    entry(1, part(&checksums.sums, slot * SLOT, 4)),
                ],
            }),
            workgroups: (size.div_ceil(4) as u32).div_ceil(LANES * WORDS),
        }
    }

    /// Reads sums unless there is room for those of so many more batches.
    pub(super) fn make_room(
        &self,
        checksums: &Checksums,
        batches: u32,
        output: &[u8],
    ) -> Result<(), GpuError> {
        let waiting = checksums.begun.get() - checksums.read.get();
        match waiting + u64::from(batches) > SLOTS {
            true => self.compare_sums(checksums, output),
            false => Ok(()),
        }
    }

    /// Reads the sums that have not been read yet and compares them with those of
    /// `output`, which is right.
    ///
    /// # Errors
    /// When the device is lost or out of memory.
    pub fn compare_sums(&self, checksums: &Checksums, output: &[u8]) -> Result<(), GpuError> {
        let (read, begun) = (checksums.read.get(), checksums.begun.get());
        if read == begun {
            return Ok(());
        }
        let sums = self.contents(&checksums.sums, (begun - read) * SLOT)?;
        let mut expected = vec![None; checksums.stretches() as usize];
        for (number, slot) in (read..begun).zip(sums.chunks(SLOT as usize)) {
            let stretch = (number % checksums.stretches()) as usize;
            let expected = expected[stretch].get_or_insert_with(|| {
                let begin = (stretch * STRETCH as usize).min(output.len());
                sum(&output[begin..(begin + STRETCH as usize).min(output.len())])
            });
            if slot[..4] != expected.to_le_bytes() {
                checksums.wrong.set(checksums.wrong.get() + 1);
            }
        }
        checksums.read.set(begun);
        Ok(())
    }

    /// Runs the program so many times in one submission, poisoning a stretch of the
    /// output before and summing it up after each: every single dispatch has to write
    /// it.
    ///
    /// # Errors
    /// When the driver refuses the work or the device is lost.
    pub fn run_each(
        &self,
        loaded: &Loaded,
        times: u32,
        checksums: &Checksums,
        output: &[u8],
    ) -> Result<(), GpuError> {
        self.make_room(checksums, times, output)?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        for _ in 0..times {
            let stretch = self.stretch(checksums);
            stretch.poison(&mut encoder);
            loaded.record(&mut encoder.begin_compute_pass(&Default::default()));
            stretch.add(&mut encoder);
        }
        self.queue.submit([encoder.finish()]);
        self.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two words at places 0 and 1, by the formula of MurmurHash3's finaliser: of 0 it is
    /// 0, and of 0x9e3779b9 with the multiplier of place 1 taken out again as well.
    #[test]
    fn a_sum_tells_words_and_their_places() {
        assert_eq!(sum(&[0; 4]), 0);
        let mut words = [0; 8];
        words[4..].copy_from_slice(&0x9e37_79b9u32.to_le_bytes());
        assert_eq!(sum(&words), 0);
        assert_ne!(
            sum(&[1, 0, 0, 0, 2, 0, 0, 0]),
            sum(&[2, 0, 0, 0, 1, 0, 0, 0])
        );
        assert_ne!(sum(&[0; 8]), sum(&[0; 4]));
        assert_eq!(
            sum(&[7]),
            sum(&[7, 0xff, 0xff, 0xff]),
            "poison is not written"
        );
    }

    #[test]
    fn lanes_and_words_are_those_of_the_shader() {
        assert!(WGSL.contains(&format!("const LANES = {LANES}u;")));
        assert!(WGSL.contains(&format!("const WORDS = {WORDS}u;")));
        assert!(WGSL.contains(&format!(
            "const POISON = {:#x}u;",
            u32::from_le_bytes([POISON; 4])
        )));
    }
}
