//! What the fuzz targets are made of. `tests/fuzz_corpus.rs` of flopwatt runs the
//! same over the corpus, without libFuzzer.

pub mod mutate;
pub mod targets;
