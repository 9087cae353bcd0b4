//! Arithmetic ceilings: how fast the device can multiply and add when nothing
//! else is in the way.
//!
//! All of them compute with whole numbers that their formats hold exactly, so
//! that the result is exact whatever the order of roundings, a single step that
//! is left out shows, and so does a format of fewer bits.

pub mod chains;
pub mod cooperative;
