//! The same seed gives the same bits: of inputs on every platform, of references on
//! every number of threads.

use flopwatt::kernel::element::{Element, Tensor};
use flopwatt::kernel::inputs::{Data, Draw};
use flopwatt::kernel::problem::problem;
use rayon::ThreadPoolBuilder;
use sha2::{Digest, Sha256};

/// Values of two blocks, which are drawn from streams of their own.
const COUNT: usize = (1 << 16) + 5;

fn drawn(data: &str, element: Element) -> Tensor {
    let data: Data = data.parse().expect("a distribution");
    Draw { seed: 7, data }.tensor(3, COUNT, element)
}

fn hash(tensor: &Tensor) -> String {
    let values = &tensor.bytes[..COUNT * tensor.element.size() as usize];
    let bytes = Sha256::digest(values);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `python3 tests/numpy/inputs.py` prints, which has none of this program's
/// code.
const DRAWN: &str = include_str!("numpy/inputs.txt");

#[test]
fn inputs_are_those_that_another_program_draws() {
    let mut lines = String::new();
    for (name, element) in [
        ("f32", Element::F32),
        ("f16", Element::F16),
        ("i8", Element::I8),
    ] {
        for data in ["normal", "uniform", "sparse:0.25"] {
            lines += &format!("{data} {name} {}\n", hash(&drawn(data, element)));
        }
    }
    assert_eq!(lines, DRAWN);
}

/// Doubles show the last place of logarithm, sine and cosine. The hashes were taken
/// on x86-64; what is asserted is that every other platform computes the same.
#[test]
fn doubles_have_the_same_bits_everywhere() {
    let hashes = ["normal", "uniform", "sorted"].map(|data| hash(&drawn(data, Element::F64)));
    insta::assert_snapshot!(hashes.join("\n"), @"
    1e8593d3a2453826987193a87426be9ce0f36406e2b70d1312f51a1f2e5013dd
    b3f0dd9bb665d8638bbce6863e23caac09dcbbfb56538e358a6421469adcfc2e
    8a13866ec7299faefc8554ee15d74a4f91a41b0cc7a4c181310daf3ab4171d7c
    ");
}

/// Bits of a reference that is computed with so many threads.
fn reference(id: &str, data: &str, threads: usize) -> Vec<u8> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads").install(|| {
        let data = data.parse().expect("a distribution");
        let problem = problem(&id.parse().expect("a case"), Draw { seed: 7, data });
        let export = problem.and_then(|problem| problem.export());
        let reference = export.and_then(|export| export.reference);
        reference
            .expect("small problems are computed in full")
            .bytes
    })
}

/// Sizes that divide by nothing, so that the threads' shares differ.
#[test]
fn references_have_the_same_bits_on_every_number_of_threads() {
    for id in [
        "matmul/f32/naive/b3-131x257x67",
        "matmul/f16-f32acc/naive/131x129x300-nt",
        "matmul/f64/naive/67x33x129-tn",
        "matmul/i8-i32acc/naive/35x18x66",
        "attention/f32/flash/b2h6kv2q37k170d24",
        "attention/f16/flash/b1h3s67d40-causal",
    ] {
        for data in ["normal", "uniform", "sparse:0.5", "sorted"] {
            let alone = reference(id, data, 1);
            for threads in [2, 3, 8] {
                let together = reference(id, data, threads);
                assert!(
                    alone == together,
                    "{id} on {data} inputs, {threads} threads"
                );
            }
        }
    }
}
