//! The charts of a report, as SVG: drawn once for a page and once for a narrow
//! screen, coloured for light and for dark by one style sheet.

mod bars;
mod canvas;
mod distribution;
mod efficiency;
mod labels;
mod rates;
mod roofline;
mod trace;

use self::canvas::Drawing;
pub(super) use self::canvas::STYLE;
pub(super) use self::distribution::Distribution;
use super::{Document, Run};

/// Widths at which charts are drawn, in pixels.
const WIDE: i32 = 860;
const NARROW: i32 = 344;

/// A chart in both its widths.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// Name of its file in a folder, which does not depend on what the report holds.
    pub file: String,
    /// What it shows, for those who do not see it.
    pub title: String,
    wide: Drawing,
    narrow: Drawing,
}

impl Chart {
    /// Draws a chart in both widths.
    fn new(file: &str, title: String, draw: impl Fn(i32) -> Drawing) -> Self {
        Self {
            file: format!("{file}.svg"),
            wide: draw(WIDE),
            narrow: draw(NARROW),
            title,
        }
    }

    /// A file of its own.
    pub(super) fn document(&self) -> Document {
        Document {
            file: self.file.clone(),
            text: self.wide.document(&self.title),
        }
    }

    /// Both widths for a page that has the style sheet and shows one of them.
    pub(super) fn inline(&self) -> [String; 2] {
        [(&self.wide, "wide"), (&self.narrow, "narrow")]
            .map(|(drawing, class)| drawing.inline(&self.title, class))
    }
}

/// The charts of a report.
pub(super) struct Charts {
    /// Achieved against measured ceiling against datasheet peak.
    pub rates: Chart,
    /// Rate against arithmetic intensity; nothing where no case has both.
    pub roofline: Option<Chart>,
    /// Cases that would be points of it, were there not too many.
    pub points_left_out: usize,
    /// Achieved rate per watt against the datasheet's; nothing where neither is
    /// known.
    pub efficiency: Option<Chart>,
    /// Power, clock and temperature over time, one a metered case.
    pub traces: Vec<Chart>,
    /// Metered cases whose traces are only in their files.
    pub traces_left_out: usize,
}

impl Charts {
    /// Draws what the report holds, for a page of so many reports: the more there
    /// are, the fewer traces and points of each keep the page small.
    pub(super) fn of(run: &Run, reports: usize) -> Self {
        let traces = trace::charts(run, reports);
        Self {
            rates: rates::chart(run.report),
            roofline: roofline::chart(run.report, reports),
            points_left_out: roofline::left_out(run.report, reports),
            efficiency: efficiency::chart(run.report),
            traces_left_out: run.traces.len().saturating_sub(traces.len()),
            traces,
        }
    }

    /// All of them, in the order in which a page shows them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Chart> {
        let one = std::iter::once(&self.rates);
        one.chain(&self.roofline)
            .chain(&self.efficiency)
            .chain(&self.traces)
    }
}
