//! What a driver's compiler made of a kernel: registers, spills, occupancy, and
//! the instructions of its hot loop. Nothing is run, so no GPU is needed where a
//! driver's compiler can be loaded without one.

pub mod bound;
pub mod compare;
pub mod listing;
pub mod statistics;
pub mod survey;
#[cfg(not(target_vendor = "apple"))]
mod vulkan;
#[cfg(target_vendor = "apple")]
#[path = "no_vulkan.rs"]
mod vulkan;

pub use vulkan::Compiler;

use crate::kernel::shader::ShaderError;

/// Why a driver's compiler does not tell what it made of a shader.
#[derive(Debug, thiserror::Error)]
pub enum CodegenError {
    /// Only Vulkan has a way to ask.
    #[error("only Vulkan drivers tell what they compile, and this is no Vulkan adapter")]
    NotVulkan,
    /// The driver is older than the SPIR-V that is written here.
    #[error("needs Vulkan 1.3, the driver has {0}")]
    Old(String),
    /// The driver lacks the extension or the feature.
    #[error("the driver does not tell: it has no VK_KHR_pipeline_executable_properties")]
    NotTold,
    /// The adapter gives no device.
    #[error("the adapter cannot be opened: {0}")]
    Open(String),
    /// The text is no shader for this adapter.
    #[error(transparent)]
    Shader(#[from] ShaderError),
    /// The driver refused.
    #[error("the driver refused: {0}")]
    Driver(String),
}

/// One program that the driver made, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Executable {
    /// What it is.
    pub name: String,
    /// Lanes of its subgroups, where they are fixed.
    pub subgroup_size: Option<u32>,
    /// Numbers about it.
    pub statistics: Vec<Statistic>,
    /// Its text in the compiler's stages, the last one last.
    pub representations: Vec<Representation>,
}

/// A number about an [`Executable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// What it counts.
    pub name: String,
    /// The number.
    pub value: Value,
}

/// A whole or real number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Most are.
    Whole(i64),
    /// Some are not.
    Real(f64),
}

/// The text of an [`Executable`] in a stage of the compiler.
#[derive(Clone, Debug, PartialEq)]
pub struct Representation {
    /// The stage.
    pub name: String,
    /// The text.
    pub text: String,
}
