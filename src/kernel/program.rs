//! What the GPU is to run for one case: shader texts, buffers, dispatches.

use std::collections::BTreeMap;

use crate::units::Bytes;

/// One candidate way to compute a case.
#[derive(Clone, Debug)]
pub struct Program {
    /// Tile sizes and the like, stored with the figure.
    pub parameters: BTreeMap<String, u32>,
    /// Every buffer of the program; passes refer to them by position.
    pub buffers: Vec<BufferSpec>,
    /// Dispatches in order; each sees what the one before wrote.
    pub passes: Vec<Pass>,
}

/// One buffer, or texture, of a [`Program`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// What it holds.
    pub role: Role,
    /// Its size.
    pub size: Bytes,
}

impl BufferSpec {
    /// A uniform block of `words`, padded to the 16 bytes that every backend
    /// accepts.
    pub fn uniform(mut words: Vec<u32>) -> Self {
        words.resize(words.len().next_multiple_of(4), 0);
        let size = Bytes(4 * words.len() as u64);
        Self {
            role: Role::Uniform(words),
            size,
        }
    }

    /// Texels on the longest side of a texture; `None` for a buffer.
    pub fn longest_side(&self) -> Option<u32> {
        match self.role {
            Role::Texture { width, height } => Some(width.max(height)),
            _ => None,
        }
    }

    /// A texture of so many texels on each side.
    pub fn texture(width: u32, height: u32) -> Self {
        Self {
            role: Role::Texture { width, height },
            size: Bytes(TEXEL * u64::from(width) * u64::from(height)),
        }
    }
}

/// Bytes of a texel: four 32-bit words, `rgba32uint` in WGSL.
pub const TEXEL: u64 = 16;

/// What a buffer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The problem's input tensor of this number.
    Input(usize),
    /// The result that is checked. Poisoned before it is computed.
    Output,
    /// Handed from one pass to the next. Poisoned as well.
    Scratch,
    /// Handed from one pass to the next as a storage texture of so many texels on
    /// each side, of [`TEXEL`] bytes each. Poisoned as well.
    Texture {
        /// Texels in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Sizes and strides, as a uniform block.
    Uniform(Vec<u32>),
}

/// One dispatch of a compute shader whose entry point is `main`, with its
/// buffers at bindings 0, 1, … of group 0.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Name of the template, for messages.
    pub template: &'static str,
    /// Rendered WGSL.
    pub wgsl: String,
    /// Positions in [`Program::buffers`].
    pub bindings: Vec<usize>,
    /// Workgroups along x, y, z.
    pub workgroups: [u32; 3],
}

impl Program {
    /// The parameter `name`, which the program's builder has set.
    pub fn parameter(&self, name: &str) -> u32 {
        self.parameters.get(name).copied().unwrap_or(0)
    }

    /// Whether some pass multiplies cooperative matrices.
    pub fn uses_matrix_units(&self) -> bool {
        let mut shaders = self.passes.iter().map(|pass| &pass.wgsl);
        shaders.any(|wgsl| wgsl.contains("coopMultiplyAdd"))
    }

    /// Size of the output.
    pub fn output_size(&self) -> Bytes {
        let output = self.buffers.iter().find(|b| b.role == Role::Output);
        output.map_or(Bytes(0), |b| b.size)
    }
}
