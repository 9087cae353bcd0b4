//! The `flopwatt` command: parse, run the chosen verb, turn its outcome into
//! the exit status.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    silence_device_select();
    ignore_size_limit();
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

/// A file that would be larger than `ulimit -f` allows is then an error that names it.
/// The signal would end the program without a word.
fn ignore_size_limit() {
    #[cfg(unix)]
    // SAFETY: no handler is installed, and no other thread runs yet.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
