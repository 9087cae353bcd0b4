//! What the fuzz targets are made of. `tests/fuzz_corpus.rs` of flopwatt runs the
//! same over the corpus, without libFuzzer.

pub mod mutate;
pub mod targets;

use mutate::{Random, changed};

/// Changes the first `size` bytes of libFuzzer's buffer, every other time with the
/// structure of JSON in mind; returns how many there are afterwards.
pub fn change_in_place(buffer: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(seed.into());
    if random.below(2) == 0 {
        return libfuzzer_sys::fuzzer_mutate(buffer, size, max_size);
    }
    let input = changed(&buffer[..size], &mut random);
    if input.is_empty() || input.len() > max_size {
        return libfuzzer_sys::fuzzer_mutate(buffer, size, max_size);
    }
    buffer[..input.len()].copy_from_slice(&input);
    input.len()
}
