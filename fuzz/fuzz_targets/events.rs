#![no_main]

use flopwatt_fuzz::{change_in_place, targets};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| targets::events(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    change_in_place(data, size, max_size, seed)
});
