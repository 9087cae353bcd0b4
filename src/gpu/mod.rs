//! Adapters, devices, pipelines and timers: everything that talks to wgpu.

pub mod adapter;
pub mod bus;
pub mod identity;
pub mod pci;
pub mod select;
