//! `flopwatt devices` as a user runs it. The tests that look at an adapter are
//! ignored on a machine that has none.

#[cfg(target_os = "linux")]
mod support;
#[path = "support/trials.rs"]
mod trials;

use assert_cmd::Command;
use serde_json::Value;
use trials::{adapters as an_adapter, anywhere, needing};

fn main() {
    let mut trials = vec![
        needing(
            "every_adapter_is_listed_with_all_that_is_known",
            an_adapter,
            |_| every_adapter_is_listed_with_all_that_is_known(),
        ),
        needing(
            "there_is_one_default_or_a_reason_why_not",
            an_adapter,
            |_| there_is_one_default_or_a_reason_why_not(),
        ),
        needing(
            "the_text_has_every_adapter_and_fits_the_page",
            an_adapter,
            |_| the_text_has_every_adapter_and_fits_the_page(),
        ),
        anywhere(
            "every_power_source_is_available_or_says_why_not",
            every_power_source_is_available_or_says_why_not,
        ),
    ];
    #[cfg(target_os = "linux")]
    trials.extend(linux::trials());
    trials::run(trials)
}

fn devices() -> Command {
    let mut command = Command::cargo_bin("flopwatt").expect("the binary is built");
    // A user without datasheets of their own.
    command
        .arg("devices")
        .env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// The command on a machine where no driver can be found.
fn devices_without_drivers() -> Command {
    let mut command = devices();
    command
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent");
    command
}

fn json(output: &[u8]) -> Value {
    serde_json::from_slice(output).expect("standard output is one JSON value")
}

/// The listing of this machine.
fn listing() -> Value {
    let output = devices().arg("--json").output().expect("the command runs");
    json(&output.stdout)
}

fn adapters(listing: &Value) -> &[Value] {
    listing["adapters"].as_array().expect("a list of adapters")
}

fn every_adapter_is_listed_with_all_that_is_known() {
    let listing = listing();
    assert!(!adapters(&listing).is_empty());
    for (index, adapter) in adapters(&listing).iter().enumerate() {
        assert_eq!(adapter["index"], index);
        for text in ["name", "backend", "device_type", "physical_device"] {
            let value = adapter[text].as_str();
            assert!(value.is_some_and(|v| !v.is_empty()), "{text}: {adapter}");
        }
        for number in ["vendor_id", "device_id"] {
            assert!(adapter[number].is_u64(), "{number}: {adapter}");
        }
        assert!(adapter["features"]["f16"].is_boolean());
        assert!(adapter["features"]["cooperative_matrix"].is_array());
        assert!(adapter["limits"]["max_buffer_size"].as_u64() > Some(0));
        let subgroups = adapter["features"]["subgroups"] == true;
        assert_eq!(adapter["subgroup_min_size"].is_u64(), subgroups);
        assert_ne!(
            adapter["datasheet"].is_null(),
            adapter["datasheet_reason"].is_null()
        );
    }
}

fn there_is_one_default_or_a_reason_why_not() {
    let listing = listing();
    let default = |adapter: &&Value| adapter["default"] == true;
    let defaults = adapters(&listing).iter().filter(default).count();
    let expected = usize::from(listing["default_error"].is_null());
    assert_eq!(defaults, expected);
}

fn every_power_source_is_available_or_says_why_not() {
    let listing = listing();
    let sources = listing["power_sources"].as_array().expect("a list");
    for kind in ["nvml", "hwmon", "rapl"] {
        let of_kind = |s: &Value| s["source"].as_str().is_some_and(|s| s.starts_with(kind));
        assert!(sources.iter().any(of_kind), "{kind}");
    }
    for source in sources {
        assert_eq!(source["available"] == true, source["reason"].is_null());
    }
}

fn the_text_has_every_adapter_and_fits_the_page() {
    let listing = listing();
    let assert = devices().assert().success();
    let text = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for adapter in adapters(&listing) {
        let name = adapter["name"].as_str().expect("a name");
        let heading = format!("#{} {name}", adapter["index"]);
        assert!(text.contains(&heading), "{text}");
    }
    assert!(text.contains("Power sources"), "{text}");
    let details = text.lines().filter(|line| !line.starts_with('#'));
    for line in details {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::{Path, PathBuf};

    use libtest_mimic::Trial;

    use super::*;
    use crate::trials::Missing;

    pub fn trials() -> Vec<Trial> {
        vec![
            needing(
                "mesas_software_adapters_are_one_device",
                lavapipe,
                mesas_software_adapters_are_one_device,
            ),
            anywhere(
                "without_any_driver_the_packages_to_install_are_named",
                without_any_driver_the_packages_to_install_are_named,
            ),
            anywhere(
                "without_any_driver_json_is_still_a_listing",
                without_any_driver_json_is_still_a_listing,
            ),
            needing(
                "a_gpu_without_a_driver_is_a_warning_here_and_leaves_no_default",
                software_alone,
                |_| a_gpu_without_a_driver_is_a_warning_here_and_leaves_no_default(),
            ),
            anywhere(
                "a_broken_nvml_is_a_line_in_the_listing",
                a_broken_nvml_is_a_line_in_the_listing,
            ),
        ]
    }

    /// The manifest of Mesa's software adapter.
    fn lavapipe() -> Result<PathBuf, Missing> {
        let manifests = std::fs::read_dir("/usr/share/vulkan/icd.d");
        let mut paths = manifests.into_iter().flatten().flatten().map(|e| e.path());
        let found = paths.find(|path| path.to_string_lossy().contains("lvp_icd"));
        found.ok_or_else(|| Missing("Mesa's lavapipe is not installed".into()))
    }

    /// Beside a GPU with a driver, one without is no more than a line of the listing.
    fn software_alone() -> Result<(), Missing> {
        let all = an_adapter()?.iter().all(|a| a.description.is_software());
        all.then_some(())
            .ok_or_else(|| Missing("a GPU with a driver on this machine".into()))
    }

    fn mesas_software_adapters_are_one_device(lavapipe: PathBuf) {
        let output = devices()
            .arg("--json")
            .env("VK_DRIVER_FILES", lavapipe)
            .output()
            .expect("the command runs");
        let listing = json(&output.stdout);
        let of = |backend: &str| {
            adapters(&listing).iter().find(|a| {
                let name = a["name"].as_str().unwrap_or_default();
                a["backend"] == backend && name.starts_with("llvmpipe")
            })
        };
        let vulkan = of("vulkan").expect("lavapipe is listed");
        assert_eq!(vulkan["device_type"], "cpu");
        if let Some(gl) = of("gl") {
            assert_eq!(gl["physical_device"], vulkan["physical_device"]);
            assert_eq!(gl["default"], false);
        }
    }

    fn without_any_driver_the_packages_to_install_are_named() {
        let assert = devices_without_drivers().assert().code(3);
        let help = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        for package in [
            "mesa-vulkan-drivers",
            "vulkan-swrast",
            "libvulkan_lvp",
            "ci/setup",
        ] {
            assert!(help.contains(package), "{help}");
        }
    }

    fn without_any_driver_json_is_still_a_listing() {
        let assert = devices_without_drivers().arg("--json").assert().code(3);
        let listing = json(&assert.get_output().stdout);
        assert!(adapters(&listing).is_empty());
        assert!(listing["default_error"].is_string());
        assert!(
            !listing["power_sources"]
                .as_array()
                .expect("a list")
                .is_empty()
        );
    }

    /// The command on a machine with two NVIDIA GPUs for which no graphics
    /// driver is installed, beside this machine's Mesa.
    fn devices_with_hidden_gpus(folder: &Path) -> Command {
        support::nvml_stand_in(folder, &support::two_cards());
        let mut command = devices();
        command.env("LD_LIBRARY_PATH", folder);
        command
    }

    fn a_gpu_without_a_driver_is_a_warning_here_and_leaves_no_default() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let assert = devices_with_hidden_gpus(folder.path())
            .arg("--json")
            .assert()
            .success();
        let output = assert.get_output();
        let listing = json(&output.stdout);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(talk.contains("warning: "), "{talk}");
        assert!(
            talk.contains("Testcard 1 [10de:2684] at 0000:0a:00.0"),
            "{talk}"
        );
        assert!(talk.contains("nvidia-vulkan-icd"), "{talk}");
        let hidden = listing["hidden_gpus"].as_array().expect("a list");
        assert!(
            hidden
                .iter()
                .any(|gpu| gpu["pci_address"] == "0000:0b:00.0")
        );
        assert!(listing["default_error"].is_string());
        assert!(talk.contains("--adapter cpu"), "{talk}");
        let sources = listing["power_sources"].as_array().expect("a list");
        let nvml = sources.iter().find(|s| s["source"] == "nvml:0");
        assert_eq!(nvml.expect("the stand-in")["pci_address"], "0000:0a:00.0");
    }

    fn a_broken_nvml_is_a_line_in_the_listing() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let library = support::nvml_stand_in(folder.path(), &support::two_cards());
        support::hide(&library, &["nvmlShutdown"]);
        let output = devices()
            .arg("--json")
            .env("LD_LIBRARY_PATH", folder.path())
            .output()
            .expect("the command runs");
        let listing = json(&output.stdout);
        let sources = listing["power_sources"].as_array().expect("a list");
        let nvml = sources.iter().find(|s| s["source"] == "nvml");
        let reason = nvml.expect("a line about NVML")["reason"].as_str();
        assert!(
            reason.is_some_and(|r| r.contains("nvmlShutdown")),
            "{reason:?}"
        );
    }
}
