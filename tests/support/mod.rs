//! What several test programs share.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the stand-in for NVML in `folder` under its real name, with these
/// `--cfg` flags, and returns where it is.
pub fn build_nvml_stand_in(folder: &Path, flags: &[&str]) -> PathBuf {
    let library = folder.join(flopwatt::power::nvml::LIBRARIES[0]);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .args(["--edition=2024", "--crate-type=cdylib", "-Adead_code", "-o"])
        .arg(&library)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/nvml_stand_in.rs"
        ));
    for flag in flags {
        command.args(["--cfg", flag]);
    }
    let output = command.output().expect("rustc is installed beside cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}
