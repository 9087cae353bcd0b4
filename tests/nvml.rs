//! NVML through the real wrapper, against libraries that are missing, broken or
//! made up.

mod support;

use flopwatt::power::nvml::{self, NvmlGpu, Survey, Unavailable};
use flopwatt::units::Bytes;
use serde_json::{Value, json};
use support::{hide, nvml_stand_in, two_cards};
use tempfile::TempDir;

/// What a stand-in with this script and without these functions tells.
fn survey(script: &Value, hidden: &[&str]) -> Survey {
    let folder = TempDir::new().expect("a temporary folder");
    let library = nvml_stand_in(folder.path(), script);
    hide(&library, hidden);
    nvml::survey_with(&[library])
}

fn error(script: Value, hidden: &[&str]) -> Unavailable {
    survey(&script, hidden).expect_err("this stand-in is not usable")
}

#[test]
fn no_library_is_a_reason() {
    let survey = nvml::survey_with(&["libflopwatt-none.so.1", "libflopwatt-none.so"]);
    let Err(Unavailable::LibraryNotFound(tried)) = &survey else {
        panic!("there is no such library, yet {survey:?}");
    };
    assert!(tried.contains("libflopwatt-none.so.1"), "{tried}");
    assert!(nvml::visible_gpus(&survey).is_empty());
    let sources = nvml::sources(&survey);
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0].source, "nvml");
    assert!(!sources[0].available && sources[0].reason.is_some());
}

#[test]
fn a_file_that_is_no_library_is_a_reason() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("libnvidia-ml.so.1");
    std::fs::write(&file, "no library").expect("a temporary file");
    let survey = nvml::survey_with(&[file]);
    assert!(
        matches!(survey, Err(Unavailable::LibraryNotFound(_))),
        "{survey:?}"
    );
}

#[test]
fn the_next_name_is_tried_when_one_is_missing() {
    let folder = TempDir::new().expect("a temporary folder");
    let there = nvml_stand_in(folder.path(), &two_cards());
    let survey = nvml::survey_with(&["libflopwatt-none.so.1".into(), there]);
    assert_eq!(survey.expect("the second one is there").len(), 2);
}

#[test]
fn a_library_without_an_entry_or_an_exit_is_refused() {
    for (hidden, lacking) in [
        (&["nvmlInit_v2", "nvmlShutdown"][..], "nvmlInit_v2"),
        (&["nvmlShutdown"], "nvmlShutdown"),
    ] {
        let error = error(two_cards(), hidden);
        assert!(
            matches!(&error, Unavailable::SymbolMissing { symbol, .. } if symbol == lacking),
            "{error:?}"
        );
    }
}

#[test]
fn a_library_without_anything_else_is_a_reason() {
    let error = error(two_cards(), &["nvmlDeviceGetCount_v2"]);
    assert!(matches!(error, Unavailable::Refused(_)), "{error:?}");
}

#[test]
fn a_driver_that_is_absent_or_of_another_version_is_named() {
    let absent = error(json!({ "init": 9 }), &[]);
    assert!(matches!(absent, Unavailable::DriverNotLoaded), "{absent:?}");
    let other = error(json!({ "init": 18 }), &[]);
    assert!(matches!(other, Unavailable::VersionMismatch), "{other:?}");
}

#[test]
fn a_library_that_counts_without_end_is_not_believed() {
    let error = error(json!({ "count": u32::MAX }), &[]);
    assert!(
        matches!(error, Unavailable::Implausible(u32::MAX)),
        "{error:?}"
    );
}

#[test]
fn gpus_are_described_and_matched_by_address() {
    let survey = survey(&two_cards(), &[]);
    let sources = nvml::sources(&survey);
    let visible = nvml::visible_gpus(&survey);
    let gpus = survey.expect("the stand-in works");
    let first = NvmlGpu {
        index: 0,
        name: "Testcard 1".into(),
        uuid: Some("GPU-1".into()),
        pci_address: Some("0000:0a:00.0".into()),
        vendor_id: 0x10de,
        device_id: 0x2684,
        memory: Some(Bytes(24 << 30)),
        energy: Ok(()),
        power: Ok(()),
    };
    assert_eq!(gpus[0], Ok(first));
    assert_eq!(sources[0].source, "nvml:0");
    assert_eq!(sources[0].pci_address.as_deref(), Some("0000:0a:00.0"));
    assert!(sources[0].available);
    assert_eq!(sources[1].pci_address.as_deref(), Some("0000:0b:00.0"));
    assert!(
        !sources[1].available,
        "the second one tells neither power nor energy"
    );
    assert_eq!(visible.len(), 2);
    assert_eq!(visible[1].pci_address.as_deref(), Some("0000:0b:00.0"));
}
