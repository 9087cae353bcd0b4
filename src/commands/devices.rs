//! `flopwatt devices`: every adapter, what it can do and what it is matched to.
//!
//! The listing is for finding out why something does not work, so a GPU that no
//! driver offers is a warning here and an error only where something would be
//! measured. The exit status is 3 when there is no adapter at all.

use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use super::datasheets::DatasheetFile;
use super::setup::say;
use super::{Exit, Outcome, print};
use crate::console::plain;
use crate::datasheet::Catalogue;
use crate::gpu::adapter::{self, AdapterDescription};
use crate::gpu::bus::{self, VisibleGpu};
use crate::gpu::select::{self, SelectError};
use crate::power::{self, PowerSourceStatus};
use crate::record;
use crate::session::adapter::{descriptions, visible_gpus};
use crate::units::Bytes;

/// List every adapter that can be found on every backend
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    datasheets: DatasheetFile,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Lists the adapters and the power sources on standard output.
pub fn run(args: Args) -> Outcome {
    let (listing, default) = Listing::of_machine(&args.datasheets.load()?);
    let text = if args.json {
        serde_json::to_string_pretty(&listing)? + "\n"
    } else {
        listing.text(width())
    };
    print(&text)?;
    match default {
        Err(error @ SelectError::NoAdapter { .. }) => Err(error.into()),
        Err(error) => {
            say(format!("warning: {error}"));
            Ok(Exit::Ok)
        }
        Ok(_) => {
            if !listing.hidden_gpus.is_empty() {
                let remedies = bus::remedies(&listing.hidden_gpus);
                say(format!("warning: no driver offers these GPUs{remedies}"));
            }
            Ok(Exit::Ok)
        }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Listing {
    adapters: Vec<Row>,
    /// GPUs that no adapter reaches.
    hidden_gpus: Vec<VisibleGpu>,
    power_sources: Vec<PowerSourceStatus>,
    /// Why no adapter is the default; null where one is.
    default_error: Option<String>,
}

/// An adapter and what it is matched to.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    adapter: AdapterDescription,
    /// The hardware's own memory in bytes; null where it is unknown.
    memory: Option<Bytes>,
    /// The datasheet's id; null where none fits.
    datasheet: Option<String>,
    /// Why no datasheet fits; null where one does.
    datasheet_reason: Option<String>,
    /// Whether a command without `--adapter` uses it.
    default: bool,
}

impl Listing {
    /// This machine's listing, and the position of the default adapter.
    fn of_machine(catalogue: &Catalogue) -> (Self, Result<usize, SelectError>) {
        let adapters = descriptions(&adapter::enumerate());
        let visible = visible_gpus();
        let default = select::select(&adapters, None, &visible);
        let listing = Self {
            hidden_gpus: bus::hidden(&adapters, &visible),
            power_sources: power::discover(),
            default_error: default.as_ref().err().map(ToString::to_string),
            adapters: (0..)
                .zip(adapters)
                .map(|(position, adapter)| {
                    let memory = bus::memory_of(&adapter, &visible);
                    Row::new(catalogue, adapter, memory, default == Ok(position))
                })
                .collect(),
        };
        (listing, default)
    }

    /// The listing for people, at most `width` columns wide.
    fn text(&self, width: u16) -> String {
        let mut text = String::new();
        if self.adapters.is_empty() {
            text.push_str("No adapter.\n\n");
        }
        for (position, row) in self.adapters.iter().enumerate() {
            let earlier = &self.adapters[..position];
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", plain(&row.heading(earlier)));
            text.push_str(&aligned(&row.lines(), width));
            text.push('\n');
        }
        if !self.hidden_gpus.is_empty() {
            text.push_str("GPUs that no driver offers\n");
            let gpus: Vec<_> = self.hidden_gpus.iter().map(hidden_line).collect();
            text.push_str(&aligned(&gpus, width));
            text.push('\n');
        }
        text.push_str("Power sources\n");
        let sources: Vec<_> = self.power_sources.iter().map(source_line).collect();
        text.push_str(&aligned(&sources, width));
        text
    }
}

impl Row {
    fn new(
        catalogue: &Catalogue,
        adapter: AdapterDescription,
        memory: Option<Bytes>,
        default: bool,
    ) -> Self {
        let datasheet = record::find_datasheet(catalogue, &adapter, memory).map(|sheet| sheet.id);
        Self {
            adapter,
            memory,
            datasheet_reason: datasheet.as_ref().err().cloned(),
            datasheet: datasheet.ok(),
            default,
        }
    }

    /// Number, name, and how the adapter stands to the others.
    fn heading(&self, earlier: &[Row]) -> String {
        let adapter = &self.adapter;
        let mut heading = format!("#{} {}", adapter.index, adapter.name);
        if self.default {
            heading.push_str("  [default]");
        }
        let twin = earlier
            .iter()
            .find(|row| row.adapter.physical_device == adapter.physical_device);
        if let Some(twin) = twin {
            let _ = write!(heading, "  [same device as #{}]", twin.adapter.index);
        }
        heading
    }

    /// Everything else about the adapter, as labels and texts.
    fn lines(&self) -> Vec<(String, String)> {
        let adapter = &self.adapter;
        let datasheet = match (&self.datasheet, &self.datasheet_reason) {
            (Some(datasheet), _) => datasheet.clone(),
            (None, why) => format!("none: {}", why.as_deref().unwrap_or("unknown")),
        };
        let lines = [
            (
                "backend",
                format!("{}, {}", adapter.backend, adapter.device_type),
            ),
            ("driver", adapter.driver_and_version()),
            ("hardware", hardware(adapter, self.memory)),
            ("features", features(adapter)),
            ("coop matrix", cooperative_matrix(adapter)),
            ("limits", limits(adapter)),
            ("datasheet", datasheet),
        ];
        lines
            .map(|(label, text)| (label.into(), plain(&text)))
            .into()
    }
}

fn hardware(adapter: &AdapterDescription, memory: Option<Bytes>) -> String {
    let address = adapter.pci_address.as_deref();
    let memory = memory.map(|bytes| format!(", memory {bytes}"));
    format!(
        "vendor 0x{:04x}, device 0x{:04x}, PCI address {}{}, key \"{}\"",
        adapter.vendor_id,
        adapter.device_id,
        address.unwrap_or("unknown"),
        memory.unwrap_or_default(),
        adapter.physical_device
    )
}

fn features(adapter: &AdapterDescription) -> String {
    let features = &adapter.features;
    let subgroups = match (adapter.subgroup_min_size, adapter.subgroup_max_size) {
        (Some(min), Some(max)) if min == max => format!("subgroups of {min}"),
        (Some(min), Some(max)) => format!("subgroups of {min} to {max}"),
        _ => "subgroups".into(),
    };
    let all = [
        (features.f16, "f16"),
        (features.f64, "f64"),
        (features.int64, "int64"),
        (features.subgroups, subgroups.as_str()),
        (features.timestamps, "timestamps"),
        (
            features.timestamps_inside_encoders,
            "timestamps inside encoders",
        ),
        (
            features.timestamps_inside_passes,
            "timestamps inside passes",
        ),
    ];
    let those = |present: bool| -> String {
        let names = all.iter().filter(|(has, _)| *has == present);
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    match (those(true), those(false)) {
        (has, lacks) if lacks.is_empty() => has,
        (has, lacks) if has.is_empty() => format!("none; lacks {lacks}"),
        (has, lacks) => format!("{has}; lacks {lacks}"),
    }
}

fn cooperative_matrix(adapter: &AdapterDescription) -> String {
    let shapes = &adapter.features.cooperative_matrix;
    if shapes.is_empty() {
        return "none".into();
    }
    let shapes: Vec<_> = shapes.iter().map(ToString::to_string).collect();
    shapes.join(", ")
}

fn limits(adapter: &AdapterDescription) -> String {
    let limits = &adapter.limits;
    let [x, y, z] = limits.max_workgroup_size;
    format!(
        "buffer {}, storage binding {}; a workgroup: {} memory, {} invocations, {x}x{y}x{z}; \
         {} workgroups a dimension",
        limits.max_buffer_size,
        limits.max_storage_binding,
        limits.max_workgroup_memory,
        limits.max_workgroup_invocations,
        limits.max_workgroups_per_dimension
    )
}

/// A power source as a label and a text.
pub(super) fn source_line(source: &PowerSourceStatus) -> (String, String) {
    let text = match &source.reason {
        Some(why) => format!("unavailable ({}): {why}", source.description),
        None => source.description.clone(),
    };
    let address = source.pci_address.as_deref();
    let place = address.map(|a| format!(", GPU at {a}")).unwrap_or_default();
    (plain(&source.source), plain(&(text + &place)))
}

fn hidden_line(gpu: &VisibleGpu) -> (String, String) {
    let address = gpu.pci_address.as_deref().unwrap_or("unknown");
    let driver = gpu.kernel_driver.as_deref().unwrap_or("none");
    let text = format!(
        "{} [{:04x}:{:04x}], kernel driver {driver}, seen by {}",
        gpu.description, gpu.vendor_id, gpu.device_id, gpu.seen_by
    );
    (plain(address), plain(&text))
}

/// Labels and texts in two columns, indented, long texts wrapped.
pub(super) fn aligned(lines: &[(String, String)], width: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width - 2);
    for (label, text) in lines {
        table.add_row([label, text]);
    }
    let rows = table.lines();
    rows.map(|row| format!("  {}\n", row.trim_end())).collect()
}

/// The terminal's width where that reads well, else what does.
pub(super) fn width() -> u16 {
    Table::new()
        .width()
        .map_or(100, |width| width.clamp(60, 120))
}
