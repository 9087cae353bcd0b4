//! What 100 % stands for in a report.

use std::collections::HashSet;

use crate::datasheet::{Catalogue, Datasheet, Peak, PeakKind, Rate, Source};
use crate::measure::measurement::Measurement;
use crate::record::{Report, peak_kind};

/// The measured ceilings that percentages of a report refer to.
pub(super) fn ceilings(report: &Report) -> Vec<&Measurement> {
    let limit = |m: &Measurement| m.power_limit_w.map(|limit| limit.0.to_bits());
    let related = report.measurements.iter();
    let related = related.filter(|m| m.percent_of_ceiling.is_some());
    let used: HashSet<_> = related
        .filter_map(|m| Some((m.ceiling_id.as_ref()?, limit(m))))
        .collect();
    let measured = report.measurements.iter();
    measured
        .filter(|m| used.contains(&(&m.id, limit(m))))
        .collect()
}

/// The datasheet's peaks that percentages of a report refer to.
pub(super) fn datasheet_peaks(report: &Report) -> Vec<Peak<'_>> {
    let Some(sheet) = &report.datasheet else {
        return Vec::new();
    };
    let is_used = |kind: &PeakKind| {
        let mut related = report.measurements.iter();
        related.any(|m| m.percent_of_datasheet.is_some() && peak_kind(m) == Some(*kind))
    };
    let kinds = PeakKind::ALL.into_iter().filter(is_used);
    kinds.filter_map(|kind| sheet.peak(kind)).collect()
}

/// The value of a peak for one reported device, with its unit.
pub(super) fn value(peak: &Peak) -> String {
    match peak.rate {
        Rate::Compute(tflops) => tflops.to_string(),
        Rate::Memory(bandwidth) => bandwidth.to_string(),
    }
}

/// The document that a figure of `sheet` cites by `id`. Only the built-in
/// catalogue's documents are known, so only for its own datasheets.
pub(super) fn source(sheet: &Datasheet, id: &str) -> Option<&'static Source> {
    let builtin = Catalogue::builtin();
    let is_builtin = builtin.get(&sheet.id) == Some(sheet);
    builtin.sources().get(id).filter(|_| is_builtin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasheet::FigureKind;
    use crate::render::fixture;

    #[test]
    fn only_what_percentages_refer_to_is_named() {
        let report = fixture::report();
        let ids = ceilings(&report).iter().map(|m| &m.id).collect::<Vec<_>>();
        assert_eq!(ids, ["peak/f32/fma/device"]);
        let kinds = datasheet_peaks(&report)
            .iter()
            .map(|p| p.kind)
            .collect::<Vec<_>>();
        assert_eq!(kinds, [FigureKind::Fp32, FigureKind::MemoryBandwidth]);
    }

    #[test]
    fn documents_of_other_catalogues_are_not_guessed() {
        let mut sheet = Catalogue::builtin()
            .get("nvidia-h100-sxm5")
            .unwrap()
            .clone();
        let id = sheet.figures[&FigureKind::Fp32].sources[0].clone();
        assert!(source(&sheet, &id).is_some());
        sheet.vendor = "another".into();
        assert_eq!(source(&sheet, &id), None);
    }
}
