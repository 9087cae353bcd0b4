//! What several test programs share.

#![allow(dead_code)] // Each test program uses a part.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Puts the stand-in for NVML into `folder` under its real name, with this
/// script, and returns where it is. Cargo has built it as a dependency of the
/// tests, beside them.
pub fn nvml_stand_in(folder: &Path, script: &Value) -> PathBuf {
    let tests = std::env::current_exe().expect("a test program knows itself");
    let built = format!("{DLL_PREFIX}nvml_stand_in{DLL_SUFFIX}");
    let built = tests.parent().expect("it lies in a folder").join(built);
    let library = folder.join(flopwatt::power::nvml::LIBRARIES[0]);
    std::fs::copy(&built, &library).expect("cargo builds the stand-in beside the tests");
    let script = script.to_string();
    std::fs::write(folder.join(nvml_stand_in::SCRIPT), script).expect("a temporary file");
    library
}

/// Takes functions out of a library: whoever looks for their names does not find
/// them, since no name is there twice.
pub fn hide(library: &Path, functions: &[&str]) {
    let mut bytes = std::fs::read(library).expect("the library is there");
    for function in functions {
        let name = format!("\0{function}\0");
        let finder = |window: &[u8]| window == name.as_bytes();
        while let Some(at) = bytes.windows(name.len()).position(finder) {
            bytes[at + 1] = b'?';
        }
    }
    std::fs::write(library, bytes).expect("a temporary file");
}

/// Two cards, of which the second tells neither power nor energy.
pub fn two_cards() -> Value {
    let second = json!({
        "uuid": "GPU-2",
        "bus_id": "00000000:0B:00.0",
    });
    json!({ "devices": [card(), second] })
}

/// A card that draws 120 W, with a ripple, and tells it every 100 ms.
pub fn card() -> Value {
    json!({
        "load": [
            { "shape": "constant", "watts": 120.0 },
            { "shape": "square", "watts": 0.5, "period": 0.0371, "duty": 0.43 },
        ],
        "sensor": { "period": 0.1, "window": 0.025, "counter": { "step": 0.1, "phase": 0.03 } },
        "average": { "period": 0.1, "window": 1.0 },
    })
}

/// `card` with these settings in place of its own.
pub fn with_settings(mut card: Value, settings: &Value) -> Value {
    for (key, value) in settings.as_object().expect("settings") {
        card[key] = value.clone();
    }
    card
}
