//! The `flopwatt` command: parse, run the chosen verb, turn its outcome into
//! the exit status.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    silence_device_select();
    flopwatt::commands::main()
}

/// Mesa's device-select layer asks a window system for its default GPU and
/// prints an error where there is none. flopwatt chooses for itself.
fn silence_device_select() {
    let chosen_by_user = std::env::var_os("MESA_VK_DEVICE_SELECT").is_some();
    if !chosen_by_user {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
