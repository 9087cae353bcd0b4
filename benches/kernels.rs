//! Benchmarks of the catalogue through criterion.
fn main() {}
