//! Many reports as one: by accelerator, host and driver, with the cards that stand
//! out. Pure.
//!
//! What counts is the card: however often one was measured, it has one value a case,
//! the median of its runs, and medians and percentiles are over cards. Of a report
//! only what is needed for that is kept, so that there may be any number.

mod entry;
mod identity;
mod ledger;
mod spread;
mod summary;
mod view;

pub use entry::{Entry, Unit, is_doubtful, is_power_doubtful};
pub use identity::{accelerator, card};
pub use ledger::{Ledger, LeftOut, Merged, Why};
pub use spread::Spread;
pub use view::{
    Accelerator, CaseSpread, Driver, Figures, Fleet, Host, Outlier, OutlyingCase, PowerSpread,
    Ranked, Reports, Slowest, Standing, TotalPower,
};

/// Version of [`Fleet`], `MAJOR.MINOR`.
pub const SCHEMA_VERSION: &str = "1.0";
