//! Adapters, devices, pipelines and timers: everything that talks to wgpu.
