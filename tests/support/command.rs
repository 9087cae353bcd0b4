//! The program that is tested, in a folder of its own.

#![allow(dead_code)] // Each test program uses a part.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The adapter that tests run on. Any will do, a software one beside a hidden GPU as
/// well.
pub fn wanted() -> String {
    std::env::var("FLOPWATT_TEST_ADAPTER").unwrap_or_else(|_| "0".into())
}

/// The program, to be run in `folder`.
pub fn flopwatt(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flopwatt"));
    command
        .current_dir(folder)
        // Tests run side by side.
        .env("FLOPWATT_LOCKS", folder)
        // A user without datasheets of their own.
        .env("XDG_CONFIG_HOME", folder.join("config"));
    command
}

pub fn output(command: &mut Command) -> Output {
    command.output().expect("flopwatt starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// What it printed, with every note on one line however wide the page is.
pub fn printed(output: &Output) -> String {
    stdout(output).replace("\n    ", " ")
}
