//! Adapters, devices, pipelines and timers: everything that talks to wgpu.

pub mod device;
pub mod timer;
