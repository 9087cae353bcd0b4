//! Adapters, devices, pipelines and timers: everything that talks to wgpu.

pub mod adapter;
pub mod bus;
mod capabilities;
pub mod device;
pub mod identity;
pub mod pci;
pub mod select;
pub mod timer;
mod uuid;
