//! A library with NVML's C interface and scripted devices, for tests.
//!
//! It is loaded as NVML itself would be, so that the real wrapper is what runs.
//! Its script is the file [`SCRIPT`] beside the library: every copy of the
//! library has its own, and tests of one process do not disturb each other.
//! Without a script it counts no device.
//!
//! Power is what [`sensor_model`] shows of a scripted load. Any function can be
//! told to answer with an error, from the beginning or from some moment on.

/// Name of the script, in the folder that holds the library.
pub const SCRIPT: &str = "stand-in.json";

#[cfg(unix)]
mod interface;
#[cfg(unix)]
mod script;
