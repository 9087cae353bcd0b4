//! Where wgpu has no Vulkan backend there is nothing to ask.

use std::convert::Infallible;

use super::{CodegenError, Executable};
use crate::kernel::capabilities::Features;
use crate::kernel::program::{Pass, Program};

/// A driver's compiler, which there is none of.
pub struct Compiler(Infallible);

impl Compiler {
    /// Opens nothing.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &wgpu::Adapter, _: &Features) -> Result<Self, CodegenError> {
        Err(CodegenError::NotVulkan)
    }

    /// Compiles nothing.
    ///
    /// # Errors
    /// Never, since there is no compiler.
    pub fn compile(&self, _: &Program, _: &Pass, _: bool) -> Result<Vec<Executable>, CodegenError> {
        match self.0 {}
    }
}
