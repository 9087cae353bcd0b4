//! The SPIR-V that drivers get, in the eyes of Khronos' validator.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/rendered.rs"]
mod rendered;
#[path = "support/trials.rs"]
#[expect(dead_code, reason = "the other tests' adapters")]
mod trials;

use std::io::Write;
use std::process::{Command, Stdio};

use flopwatt::kernel::shader::{self, Robustness};
use trials::Missing;

fn main() {
    let spirv = "every_shader_is_valid_spirv_for_vulkan";
    trials::run(vec![trials::needing(spirv, validator, |()| {
        every_shader_is_valid_spirv_for_vulkan()
    })]);
}

fn validator() -> Result<(), Missing> {
    match Command::new("spirv-val").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(Missing(
            "spirv-val is not installed: package spirv-tools".into(),
        )),
    }
}

/// What the validator says of a capability that is younger than itself, whose
/// modules it cannot judge.
const TOO_OLD: &str = "Invalid capability operand";

/// wgpu writes the newest SPIR-V that a driver takes: 1.6 for Vulkan 1.3.
fn every_shader_is_valid_spirv_for_vulkan() {
    let nonsense = validate(&[0; 20]).expect_err("this is no module");
    assert!(nonsense.contains("magic number"), "{nonsense}");
    let mut objections = Vec::new();
    for shader in rendered::texts() {
        let module = shader.parse();
        let info = shader.validate(&module);
        for checked in [false, true] {
            let words = shader::spirv(&module, &info, checked, Robustness::default());
            let words = words.expect("SPIR-V expresses it");
            match validate(bytemuck::cast_slice(&words)) {
                Err(objection) if objection.contains(TOO_OLD) => {
                    eprintln!("not judged: {}: {objection}", shader.origin);
                }
                Err(objection) => {
                    objections.push(format!("{}, checked {checked}: {objection}", shader.origin));
                }
                Ok(()) => {}
            }
        }
    }
    assert!(objections.is_empty(), "{objections:#?}");
}

fn validate(module: &[u8]) -> Result<(), String> {
    let mut validator = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.3", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it has just started");
    let mut stdin = validator.stdin.take().expect("a pipe");
    // One that stops reading says why.
    let _ = stdin.write_all(module);
    drop(stdin);
    let output = validator.wait_with_output().expect("it ends");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
