//! Tells the program which source revision it is built from.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/index");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=shaders");
    let describe = Command::new("git")
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ])
        .output();
    // A package from the registry has no repository around it, or another's.
    let inside = std::path::Path::new(".git").exists();
    if let Ok(output) = describe
        && inside
        && output.status.success()
    {
        let revision = String::from_utf8_lossy(&output.stdout);
        println!("cargo::rustc-env=FLOPWATT_GIT={}", revision.trim());
    }
}
