//! `flopwatt shader` as a user runs it. No test needs an adapter.

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;

/// The command for an adapter that is in no machine, and so the same everywhere.
fn shader(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command
        .args(["shader", "--adapter", "none"])
        .args(arguments);
    command
}

fn printed(arguments: &[&str]) -> String {
    let output = shader(arguments).assert().success().get_output().clone();
    String::from_utf8(output.stdout).expect("text")
}

fn complaint(arguments: &[&str]) -> String {
    let output = shader(arguments).assert().code(2).get_output().clone();
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn a_kernel_is_printed_in_every_language() {
    let case = "latency/none/dispatch/empty";
    let all =
        ["wgsl", "spirv-asm", "msl", "hlsl"].map(|format| printed(&[case, "--format", format]));
    insta::assert_snapshot!(all.join("----\n"));
}

#[test]
fn checks_are_printed_where_they_are_asked_for() {
    let case = "matmul/f32/naive/7x5x3";
    let msl = |more: &[&str]| printed(&[&[case, "--format", "msl"], more].concat());
    assert!(!msl(&[]).contains("metal::min(unsigned("));
    assert!(msl(&["--checked"]).contains("metal::min(unsigned("));
}

#[test]
fn one_candidate_is_printed_and_the_others_are_told_of() {
    let case = "matmul/f32/register/64x64x64";
    let output = shader(&[case]).assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.starts_with(&format!("// {case}, candidate 1 of 4: cols 4, rows 4")),
        "{text}"
    );
    assert_eq!(text.matches("fn main(").count(), 1);
    let talk = String::from_utf8(output.stderr).expect("text");
    assert!(talk.contains("4 candidates"), "{talk}");

    assert!(printed(&[case, "--candidate", "2"]).contains("candidate 2 of 4: cols 8, rows 8"));
    assert_eq!(
        printed(&[case, "--candidate", "all"])
            .matches("fn main(")
            .count(),
        4
    );
    let none = complaint(&[case, "--candidate", "5"]);
    assert!(none.contains("has 4 candidates"), "{none}");
    assert!(complaint(&[case, "--candidate", "0"]).contains("expected a number from 1 or all"));
}

#[test]
fn every_pass_is_printed() {
    let text = printed(&["attention/f32/materialised/b1h2s5d8"]);
    for pass in [
        "1 of 3: attention_scores",
        "2 of 3: attention_softmax",
        "3 of 3: attention_values",
    ] {
        assert!(
            text.contains(&format!("// pass {pass}.wgsl.jinja")),
            "{pass}"
        );
    }
}

#[test]
fn what_cannot_be_printed_says_why() {
    let unknown = complaint(&["matmul/f32/fastest/1x1x1"]);
    assert!(
        unknown.contains("no case matches") && unknown.contains("matmul/f32/naive"),
        "{unknown}"
    );
    let best = complaint(&["matmul/f32/best/1x1x1"]);
    assert!(
        best.contains("flopwatt tune matmul/f32/best/1x1x1"),
        "{best}"
    );
    let malformed = complaint(&["matmul/f32/naive"]);
    assert!(
        malformed.contains("operation/precision/variant/shape"),
        "{malformed}"
    );
    let unfit = complaint(&["attention/f32/flash/b1h1s8d7"]);
    assert!(
        unfit.contains("needs a head_dim that divides by 4"),
        "{unfit}"
    );
    let double = complaint(&["matmul/f64/naive/1x1x1", "--format", "msl"]);
    assert!(double.contains("Metal has no double precision"), "{double}");
    assert!(complaint(&["matmul/f32/naive/1x1x1", "--format", "ptx"]).contains("spirv-asm"));
}

#[test]
fn templates_of_a_folder_take_the_place_of_the_built_in_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let case = "latency/none/dispatch/empty";
    assert!(complaint(&[case, "--shaders", path]).contains("holds no"));
    let write = |text: &str| {
        std::fs::write(folder.path().join("empty.wgsl.jinja"), text).expect("written");
    };
    write("@compute @workgroup_size({{ 1 + 1 }}) fn main() {}");
    assert!(printed(&[case, "--shaders", path]).contains("@workgroup_size(2)"));
    write("fn main( {}");
    let broken = complaint(&[case, "--shaders", path]);
    assert!(
        broken.contains("empty.wgsl.jinja") && broken.contains("wgsl:1:10"),
        "{broken}"
    );
    let missing = complaint(&["matmul/f32/naive/1x1x1", "--shaders", path]);
    assert!(missing.contains("matmul_naive.wgsl.jinja"), "{missing}");
}
