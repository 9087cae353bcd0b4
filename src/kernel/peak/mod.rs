//! Arithmetic ceilings: how fast the device can multiply and add when nothing
//! else is in the way.
//!
//! Their results are known bit by bit, so that a single step that is left out
//! shows, and so does a format of fewer bits. The vector units' chains multiply
//! numbers that are random in every bit, and the host carries out the same
//! roundings. How matrix units round is specified nowhere: theirs compute with whole
//! numbers that the formats hold exactly.

pub mod chains;
pub mod cooperative;

use super::COOPERATIVE;
use super::id::Precision;
use super::inputs::Data;

/// What the ceiling `variant` of a precision multiplies.
pub fn data(precision: Precision, variant: &str) -> Data {
    match precision {
        _ if variant == COOPERATIVE => Data::ExactIntegers,
        Precision::I32 | Precision::I8I32acc => Data::RandomIntegers,
        _ => Data::RandomMantissas,
    }
}

/// The same before the chains of floating-point numbers multiplied random mantissas,
/// when their multipliers were 2 and −2.
pub fn former_data(precision: Precision, variant: &str) -> Data {
    match data(precision, variant) {
        Data::RandomMantissas => Data::ExactIntegers,
        same => same,
    }
}
