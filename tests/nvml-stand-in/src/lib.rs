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

/// Name of the file beside it that holds every power limit that was set, one a
/// line: the device's number and milliwatts. The last one is in force, in all
/// processes that have this copy of the library.
pub const LIMITS: &str = "stand-in-limits.txt";

#[cfg(unix)]
mod interface;
#[cfg(unix)]
mod script;
