//! stub
use crate::record::Report;
/// f
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Format {
    /// t
    Table,
    /// j
    Json,
    /// l
    Jsonl,
    /// c
    Csv,
    /// f
    Fom,
    /// m
    Markdown,
}
/// r
pub struct R(Format);
impl R {
    /// r
    pub fn render(&self, r: &Report) -> String {
        if matches!(self.0, Format::Json) {
            return serde_json::to_string_pretty(r).unwrap();
        }
        r.measurements
            .iter()
            .map(|m| {
                format!(
                    "{} {:?} {:?} {:?} {:?} {:?}\n",
                    m.id, m.status, m.reason, m.gflops, m.percent_of_ceiling, m.flags
                )
            })
            .collect()
    }
}
/// r
pub fn renderer(f: Format) -> R {
    R(f)
}

/// Saves
pub fn save(report: &Report, folder: &std::path::Path) -> Result<(), crate::record::SaveError> {
    crate::record::save(report, folder)?;
    let markdown = renderer(Format::Markdown).render(report);
    crate::record::write_atomically(&folder.join("report.md"), markdown.as_bytes())
}
