//! Names of report folders.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{Host, Report, fresh_id};
use crate::gpu::adapter::AdapterDescription;

/// `<UTC time>-<host>-<adapter>-<short id>`, of characters that every file
/// system and shell takes as they are.
pub fn folder_name(report: &Report) -> String {
    let (host, adapter) = (&report.host.name, &report.adapter.name);
    name_of(report.started, host, adapter, report.run_id)
}

/// The same for a folder that holds the reports of so many adapters of this machine,
/// begun now.
pub fn group_name(adapters: usize) -> String {
    let what = format!("{adapters} adapters");
    let now = Timestamp::now();
    name_of(now, &Host::this().name, &what, fresh_id(now))
}

fn name_of(started: Timestamp, host: &str, what: &str, id: Uuid) -> String {
    let time = started.to_zoned(TimeZone::UTC);
    let id = id.simple().to_string();
    format!(
        "{}-{}-{}-{}",
        time.strftime("%Y%m%dT%H%M%SZ"),
        slug(host),
        slug(what),
        // The end of a UUIDv7 is random, the beginning is the time again.
        &id[id.len() - 8..]
    )
}

/// A name for the report of each adapter, the same in every run on this machine: its
/// own name and its place on the PCI bus, or its backend where that is not known. No
/// two are the same.
pub fn adapter_names(adapters: &[&AdapterDescription]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for adapter in adapters {
        let place = adapter.pci_address.as_deref();
        let place = place.unwrap_or_else(|| adapter.backend.name());
        let name = format!("{}-{}", slug(&adapter.name), slug(place));
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut free = std::iter::once(name.clone()).chain(numbered);
        names.extend(free.find(|name| !names.contains(name)));
    }
    names
}

/// Letters, digits and single hyphens, at most 40 characters.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(40);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "unnamed".into()
    } else {
        slug.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_several_adapters_have_names_that_last() {
        let llvmpipe: AdapterDescription =
            serde_json::from_str(include_str!("../../tests/data/adapter.json")).unwrap();
        let card = |address: Option<&str>| AdapterDescription {
            name: "NVIDIA A100-SXM4-80GB".into(),
            pci_address: address.map(Into::into),
            ..llvmpipe.clone()
        };
        let adapters = [
            &card(Some("0000:07:00.0")),
            &card(Some("0000:0f:00.0")),
            &llvmpipe,
            &card(None),
            &card(None),
        ];
        let expected = [
            "nvidia-a100-sxm4-80gb-0000-07-00-0",
            "nvidia-a100-sxm4-80gb-0000-0f-00-0",
            "llvmpipe-llvm-15-0-6-256-bits-vulkan",
            "nvidia-a100-sxm4-80gb-vulkan",
            "nvidia-a100-sxm4-80gb-vulkan-2",
        ];
        assert_eq!(adapter_names(&adapters), expected);
    }

    #[test]
    fn names_are_plain_and_cannot_leave_the_folder() {
        assert_eq!(
            slug("llvmpipe (LLVM 15.0.6, 256 bits)"),
            "llvmpipe-llvm-15-0-6-256-bits"
        );
        assert_eq!(slug("../../etc/passwd"), "etc-passwd");
        assert_eq!(slug("寒武纪"), "unnamed");
        assert_eq!(slug(&"x/".repeat(100)).len(), 39);
    }
}
