//! A Vulkan layer that has a driver fail on purpose, for tests.
//!
//! It stands between the loader and whatever driver there is, so that the program
//! under test is the one that users have. What fails is said by the environment:
//! [`FAULT`] holds one of the names below.
//!
//! | name | what happens |
//! |---|---|
//! | `lost:N` | submission number N and all that follow it on the device: lost |
//! | `crash:N` | submission number N ends the process by a signal |
//! | `hang:N` | submission number N never returns |
//! | `memory:N` | for an allocation of N MiB or more there is no memory |
//! | `gone` | a worker process finds no device at all |
//! | `idle` | dispatches that are recorded while the file [`ONCE`] is there: left out |
//! | `zero`, `constant`, `backwards`, `other-clock` | timestamps |
//! | `scaled:N` | timestamps count N percent of the time |
//! | `first-only` | of a command buffer only the first dispatch is run |
//! | `one-in:N` | one dispatch in N, as if by chance, is not run |
//!
//! Submissions are counted from 0 in each process, and what has a number strikes once
//! among all processes that share [`ONCE`].

#[cfg(unix)]
mod layer;

/// Environment variable that names the fault.
pub const FAULT: &str = "FLOPWATT_TEST_FAULT";
/// Environment variable with the path of a file that does not exist yet; whichever
/// process makes it is the one that is struck.
pub const ONCE: &str = "FLOPWATT_TEST_FAULT_ONCE";
/// Name of the layer, as the loader's `VK_INSTANCE_LAYERS` takes it.
pub const LAYER: &str = "VK_LAYER_FLOPWATT_faults";

/// The manifest by which the loader finds the layer in the library at `path`.
pub fn manifest(path: &str) -> String {
    format!(
        "{{\"file_format_version\": \"1.1.2\", \"layer\": {{\"name\": {LAYER:?}, \
         \"type\": \"GLOBAL\", \"library_path\": {path:?}, \"api_version\": \"1.3.0\", \
         \"implementation_version\": \"1\", \"description\": \"faults on purpose\"}}}}\n"
    )
}
