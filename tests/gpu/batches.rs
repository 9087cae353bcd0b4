//! What single batches and single dispatches wrote is compared, not only what stands
//! there in the end.

use std::collections::BTreeMap;

use flopwatt::kernel::program::{BufferSpec, Pass, Program, Role};
use flopwatt::units::Bytes;
use libtest_mimic::Trial;

use crate::stage::{Stage, stage};
use crate::trials::needing;

pub fn trials() -> Vec<Trial> {
    vec![
        needing(
            "sums_of_right_batches_are_right",
            stage,
            sums_of_right_batches_are_right,
        ),
        needing(
            "one_wrong_value_in_a_hundred_thousand_is_found",
            stage,
            one_wrong_value_in_a_hundred_thousand_is_found,
        ),
        needing(
            "one_lost_write_in_a_hundred_thousand_is_found",
            stage,
            one_lost_write_in_a_hundred_thousand_is_found,
        ),
        needing("invocations_are_counted", stage, invocations_are_counted),
    ]
}

/// An output of 256×256 words.
const WORDS: u32 = 256 * 256;
/// Words of the larger output, which takes ten stretches.
const MANY: u32 = 600_000;
const LANES: u32 = 64;

/// A program that writes 7·i to word i, but does `instead` to one in a hundred thousand,
/// another in every dispatch.
fn program(words: u32, instead: &str) -> Program {
    let buffer = |role, words: u32| BufferSpec {
        role,
        size: Bytes(4 * u64::from(words)),
    };
    let wgsl = format!(
        "@group(0) @binding(0) var<storage, read_write> output: array<u32>;
         @group(0) @binding(1) var<storage, read_write> turn: atomic<u32>;
         @compute @workgroup_size({LANES})
         fn main(@builtin(global_invocation_id) id: vec3u) {{
             var h = (id.x + 1u) * 0x9e3779b9u ^ atomicAdd(&turn, 1u) * 0x85ebca6bu;
             h = (h ^ (h >> 16u)) * 0x85ebca6bu;
             h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
             h ^= h >> 16u;
             if id.x >= {words}u {{ return; }}
             if h % 100000u == 0u {{ {instead} }} else {{ output[id.x] = 7u * id.x; }}
         }}"
    );
    Program {
        parameters: BTreeMap::new(),
        buffers: vec![buffer(Role::Output, words), buffer(Role::Scratch, 1)],
        passes: vec![Pass {
            template: "racy",
            wgsl,
            bindings: vec![0, 1],
            workgroups: [words.div_ceil(LANES), 1, 1],
        }],
    }
}

const RIGHT: &str = "output[id.x] = 7u * id.x;";

fn right(words: u32) -> Vec<u8> {
    (0..words).flat_map(|i| (7 * i).to_le_bytes()).collect()
}

/// How many of so many batches, or of so many single dispatches, wrote something else.
fn wrong(stage: &Stage, program: &Program, words: u32, batches: u32, singles: u32) -> (u64, u64) {
    let (gpu, output) = (&stage.gpu, right(words));
    let loaded = gpu.load(program, &[]).expect("it loads");
    let checksums = gpu.checksums(&loaded).expect("there is memory");
    for _ in 0..batches {
        gpu.run(&loaded, 4, &checksums, &output).expect("it runs");
    }
    if singles > 0 {
        let run = gpu.run_each(&loaded, singles, &checksums, &output);
        run.expect("it runs");
    }
    gpu.compare_sums(&checksums, &output).expect("sums");
    checksums.wrong()
}

fn sums_of_right_batches_are_right(stage: &'static Stage) {
    for words in [WORDS, MANY] {
        let found = wrong(stage, &program(words, RIGHT), words, 10, 10);
        assert_eq!(found, (0, 20), "{words} words");
    }
}

/// 65536 words at 10⁻⁵ are 0.66 wrong ones in the last dispatch of a batch: 48 % of
/// batches show one, and fifty of them none with 10⁻¹⁴.
fn one_wrong_value_in_a_hundred_thousand_is_found(stage: &'static Stage) {
    let (wrong, all) = wrong(stage, &program(WORDS, "output[id.x] = 0u;"), WORDS, 50, 0);
    println!("{wrong} of {all} batches");
    assert!(wrong > 0);
}

/// A write that is lost leaves what the dispatch before wrote, which is right: only
/// dispatches that are poisoned one by one show it.
fn one_lost_write_in_a_hundred_thousand_is_found(stage: &'static Stage) {
    let lossy = program(WORDS, "");
    assert_eq!(wrong(stage, &lossy, WORDS, 50, 0).1, 50);
    let (wrong, all) = wrong(stage, &lossy, WORDS, 0, 50);
    println!("{wrong} of {all} dispatches");
    assert!(wrong > 0);
}

/// Where the device counts, ten dispatches are ten times one.
fn invocations_are_counted(stage: &'static Stage) {
    let loaded = stage.gpu.load(&program(WORDS, RIGHT), &[]).expect("loads");
    let checksums = stage.gpu.checksums(&loaded).expect("there is memory");
    let one = stage.gpu.run_once(&loaded).expect("it runs").invocations;
    let ten = stage.gpu.run(&loaded, 10, &checksums, &right(WORDS));
    println!("{one:?}");
    assert_eq!(ten.expect("it runs").invocations, one.map(|one| 10 * one));
    if let Some(one) = one {
        assert_eq!(one, u64::from(WORDS));
    }
}
