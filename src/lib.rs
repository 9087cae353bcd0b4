//! `flopwatt` measures what a GPU really computes per second and per watt.
//!
//! WGSL kernels run on whatever adapter is present, every result is compared
//! with a float64 reference before a speed is reported, time comes from the
//! device's own timestamps, and the outcome is set against the datasheet peaks
//! that people quote.
//!
//! Modules are listed in the order in which data flows: a module uses those
//! above it, never those below.

#![warn(missing_docs)]
// What a person reads goes through `console`; tests have no such readers.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod units;

mod console;
mod json_file;
mod likeness;

pub mod stats;

pub mod datasheet;

pub mod kernel;

pub mod gpu;
pub mod power;

pub mod measure;

pub mod tune;

pub mod codegen;

pub mod record;

pub mod session;

pub mod estimate;

pub mod compare;

pub mod gate;

pub mod machine;

pub mod fleet;

pub mod render;

pub mod commands;
