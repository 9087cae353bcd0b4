//! Peaks as vendors state them, with their sources, and the match from an
//! adapter to its datasheet.
//!
//! The catalogue is data ([`accelerators.json`](Catalogue::builtin)), and files in
//! the same format can add to it ([`Installed`]). A
//! figure that no source gives is absent, never zero, and an adapter whose
//! identity leaves any doubt has no datasheet at all: a percentage of the
//! wrong peak is worse than none.

mod catalogue;
mod installed;
mod matching;
mod model;
mod peak;

pub use catalogue::{Catalogue, Flaw, LoadError, SCHEMA_VERSION};
pub use installed::{Examined, Installed};
pub use matching::{Identity, Match};
pub use model::{
    Accumulate, Datasheet, Figure, FigureKind, Lookalike, NamesStatus, PciDevice, PciId, Source,
    SourceTier, Sparsity, Tier, Unit, Variant,
};
pub use peak::{Peak, PeakKind, Rate};
