//! What a report is of: which run, which card, which model.

use uuid::Uuid;

use crate::record::{Content, Report, UNKNOWN_HOST, WITHHELD};

/// What no two reports of different runs share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Run {
    /// The run's id.
    Id(Uuid),
    /// What the report holds, where its run's id is none.
    Content(String),
}

impl Run {
    /// The run of a report. Those for publication have a number in place of an id, by
    /// which two of different publications cannot be told apart.
    pub(super) fn of(report: &Report, content: &Content) -> Self {
        match report.run_id.get_version_num() {
            7 => Self::Id(report.run_id),
            _ => Self::Content(content.found.clone()),
        }
    }
}

/// The model of a report's adapter and the way to it, by which reports are held
/// against one another: the datasheet's name where one belongs to it, else the
/// driver's, and the backend. A software adapter is as fast as the CPU, which
/// follows.
pub fn accelerator(report: &Report) -> String {
    let adapter = &report.adapter;
    let sheet = report.datasheet.as_ref();
    let model = sheet.map_or(&adapter.name, |sheet| &sheet.name);
    let backend = adapter.backend;
    if !adapter.is_software() {
        return format!("{model}, {backend}");
    }
    format!("{model} on {}, {backend}", report.host.processors())
}

/// What tells a report's card from every other: its UUID where that is unique, as
/// those of NVIDIA's driver are, else the host and the card's place there. `None`
/// where the report does not tell, as one for publication.
pub fn card(report: &Report) -> Option<String> {
    const NVIDIA: u32 = 0x10de;
    let adapter = &report.adapter;
    if let Some(uuid) = &adapter.uuid
        && adapter.vendor_id == NVIDIA
        && adapter.driver == "NVIDIA"
    {
        return Some(format!("GPU-{uuid}"));
    }
    let host = &report.host.name;
    let place = adapter.pci_address.as_ref();
    let place = place.unwrap_or(&adapter.physical_device);
    let told = ![WITHHELD, UNKNOWN_HOST].contains(&host.as_str());
    told.then(|| format!("{host} {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixture;

    fn report() -> Report {
        let mut report = fixture::report();
        report.adapter.name = "Testcard".into();
        report.datasheet = None;
        report
    }

    #[test]
    fn a_card_is_known_by_a_unique_uuid_or_by_its_place() {
        let mut report = report();
        assert_eq!(card(&report).as_deref(), Some("node01 0000:01:00.0"));
        report.adapter.uuid = Some("67304ee1-2ab0-d7cc-6e01-fedcba987654".into());
        let unique = "GPU-67304ee1-2ab0-d7cc-6e01-fedcba987654";
        assert_eq!(card(&report).as_deref(), Some(unique));
        // Other drivers make it from the place, which other hosts have as well.
        report.adapter.driver = "radv".into();
        assert_eq!(card(&report).as_deref(), Some("node01 0000:01:00.0"));
        report.adapter.pci_address = None;
        assert_eq!(card(&report).as_deref(), Some("node01 pci 0000:01:00.0"));
    }

    #[test]
    fn cards_of_reports_for_publication_are_unknown() {
        let mut report = crate::record::anonymise(report(), 1);
        assert_eq!(card(&report), None);
        report.host.name = UNKNOWN_HOST.into();
        assert_eq!(card(&report), None);
    }

    #[test]
    fn a_model_goes_by_its_datasheet_and_a_software_adapter_by_its_cpu() {
        let mut report = report();
        assert_eq!(accelerator(&report), "Testcard, vulkan");
        report.datasheet = fixture::report().datasheet;
        assert_eq!(accelerator(&report), "Testcard 0, vulkan");
        report.datasheet = None;
        report.adapter.device_type = crate::gpu::adapter::DeviceType::Cpu;
        report.host.cpu = Some("AMD EPYC".into());
        assert_eq!(accelerator(&report), "Testcard on 16 × AMD EPYC, vulkan");
    }

    #[test]
    fn only_ids_that_are_unique_are_ids() {
        let content = Content {
            stated: None,
            found: "abc".into(),
        };
        let report = report();
        assert_eq!(Run::of(&report, &content), Run::Id(report.run_id));
        let published = crate::record::anonymise(report, 1);
        assert_eq!(Run::of(&published, &content), Run::Content("abc".into()));
    }
}
