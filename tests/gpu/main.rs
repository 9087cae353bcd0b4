//! What needs a device to be shown: kernels compute what they should, wrong ones
//! are rejected, and only right ones get figures.
//!
//! They run on the adapter that `flopwatt` itself would use, or on the one that
//! `FLOPWATT_TEST_ADAPTER` names in the way of `--adapter`. On a machine without
//! any they are reported as ignored.

mod batches;
#[path = "../support/cases.rs"]
mod cases;
mod cooperative;
mod correct;
mod data;
mod faults;
mod measuring;
mod raw;
mod stage;
#[path = "../support/trials.rs"]
mod trials;

fn main() {
    let groups = [
        correct::trials(),
        data::trials(),
        cooperative::trials(),
        faults::trials(),
        measuring::trials(),
        batches::trials(),
    ];
    trials::run(groups.into_iter().flatten().collect())
}
