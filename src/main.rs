//! The `flopwatt` command: parse, run the chosen verb, turn its outcome into
//! the exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    flopwatt::commands::main()
}
