//! What an efficiency, measured or of a datasheet, means for a workload: from
//! FLOPS per watt to device-hours, megawatt-hours and money.
//!
//! Everything here is arithmetic over a report, a datasheet and figures that
//! somebody states, each of which keeps its source. Ranges stay ranges, figures
//! of different sources are not put together, and rates in different number
//! formats are neither added nor compared.

pub mod articles;
mod document;
mod efficiency;
mod money;
mod outcome;
mod quantity;
mod rate;
mod span;
pub mod text;
mod workload;

pub use document::LoadError;
pub use efficiency::{Basis, Device, EfficiencyError, measured, stated};
pub use money::{Currency, MixedCurrencies, Money, Tariff};
pub use outcome::{Assumptions, Estimate, Hardware, Line, Value, costs_of_an_eflop, estimate};
pub use quantity::{CarbonIntensity, Lifetime, Pue, QuantityError, Utilisation, Work};
pub use rate::{Amount, CategoryError, ComputeRate, NumberFormat};
pub use span::Span;
pub use workload::{Claim, ClaimUnit, SCHEMA_VERSION, Stated, Workload, Workloads};
