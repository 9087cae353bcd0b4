use std::fs::File;

use super::*;
use crate::datasheet::{FigureKind, PciId, SourceTier, Tier};

/// A small file, to be broken in one place after another.
const SMALL: &str = r#"{
  "schema_version": 1,
  "sources": {
    "paper": {"title": "A paper", "url": null, "tier": "vendor"}
  },
  "accelerators": [
    {
      "id": "one",
      "vendor": "Maker",
      "name": "Maker One",
      "names": ["One"],
      "names_status": "verified",
      "pci_vendor": "10de",
      "figures": {
        "fp32": {"value": 2.5, "unit": "TFLOP/s", "tier": "vendor", "sources": ["paper"]},
        "board_power": {"value": 75, "unit": "W", "tier": "derived", "sources": ["paper"]}
      }
    },
    {
      "id": "two",
      "vendor": "Maker",
      "name": "Maker Two",
      "names": ["Two"],
      "names_status": "constructed",
      "pci_vendor": "10de",
      "figures": {}
    }
  ]
}
"#;

fn load(text: &str) -> Result<Catalogue, LoadError> {
    Catalogue::from_json(text, Path::new("mine.json"))
}

/// The message for the small file with one text replaced by another.
fn message_with(old: &str, new: &str) -> String {
    assert!(SMALL.contains(old), "{old} is not in the file");
    match load(&SMALL.replacen(old, new, 1)) {
        Ok(_) => panic!("the file with {new} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_file_is_read() {
    let catalogue = load(SMALL).unwrap();
    let one = catalogue.get("one").unwrap();
    assert_eq!(one.pci_vendor, PciId(0x10de));
    assert_eq!(one.devices_reported.get(), 1);
    assert_eq!(one.per_device(FigureKind::Fp32), Some(2.5));
    assert_eq!(one.best_tier(), Some(Tier::Vendor));
    assert_eq!(catalogue.get("two").unwrap().best_tier(), None);
    assert_eq!(catalogue.sources()["paper"].tier, SourceTier::Vendor);
}

#[test]
fn a_catalogue_survives_being_written_and_read() {
    let builtin = Catalogue::builtin();
    let text = serde_json::to_string(builtin).unwrap();
    assert_eq!(&load(&text).unwrap(), builtin);
}

#[test]
fn every_fault_is_named_with_its_file_place_and_field() {
    insta::assert_snapshot!(message_with(": 75,", ": -75,"),
        @"mine.json:16:34: accelerators[0].figures.board_power.value: -75 is not above zero (in `one`)");
    insta::assert_snapshot!(message_with(": 2.5,", ": 0,"),
        @"mine.json:15:27: accelerators[0].figures.fp32.value: 0 is not above zero (in `one`)");
    insta::assert_snapshot!(message_with("\"id\": \"two\"", "\"id\": \"one\""),
        @"mine.json:20:13: accelerators[1].id: `one` is used more than once");
    insta::assert_snapshot!(message_with("\"id\": \"two\"", "\"id\": \" \""),
        @"mine.json:20:13: accelerators[1].id: an id must not be empty");
    insta::assert_snapshot!(message_with("[\"Two\"]", "[\"Second\", \"One/PCIe/SSE2\"]"),
        @"mine.json:23:27: accelerators[1].names[1]: the adapter name `One` is also that of `one`: which of the two an adapter is could not be told");
    insta::assert_snapshot!(message_with("[\"paper\"]", "[\"paper\", \"rumour\"]"),
        @"mine.json:15:90: accelerators[0].figures.fp32.sources[1]: there is no source `rumour` (in `one`)");
    insta::assert_snapshot!(message_with("[\"paper\"]", "[]"),
        @"mine.json:15:80: accelerators[0].figures.fp32.sources: a figure needs at least one source (in `one`)");
    insta::assert_snapshot!(message_with("\"unit\": \"W\"", "\"unit\": \"MHz\""),
        @"mine.json:16:46: accelerators[0].figures.board_power.unit: board power is stated in W, not MHz (in `one`)");
    insta::assert_snapshot!(message_with("\"schema_version\": 1", "\"schema_version\": 2"),
        @"mine.json:2:21: schema_version: this build reads version 1, not 2");
}

#[test]
fn what_the_types_rule_out_names_the_field_too() {
    insta::assert_snapshot!(message_with(": 2.5,", ": \"fast\","),
        @r#"mine.json:15:32: accelerators[0].figures.fp32.value: invalid type: string "fast", expected f64"#);
    insta::assert_snapshot!(message_with("\"vendor\": \"Maker\"", "\"maker\": \"Maker\""),
        @"mine.json:9:13: accelerators[0].maker: unknown field `maker`, expected one of `id`, `vendor`, `name`, `names`, `names_status`, `pci_vendor`, `pci_devices`, `lookalikes`, `year`, `devices_reported`, `fp32_flops_per_lane_clock`, `figures`, `variants`, `notes`");
    insta::assert_snapshot!(message_with("\"10de\"", "\"0x10DE\""),
        @"mine.json:13:28: accelerators[0].pci_vendor: `0x10DE` is not a PCI id: four lower-case hexadecimal digits are expected, as in `10de`");
    insta::assert_snapshot!(message_with("\"board_power\"", "\"fp32\""),
        @"mine.json:16:14: accelerators[0].figures.fp32: this key occurs more than once");
    insta::assert_snapshot!(message_with("      \"vendor\": \"Maker\",\n", ""),
        @"mine.json:17:5: accelerators[0]: missing field `vendor`");
}

#[test]
fn a_file_cut_off_anywhere_is_refused_with_the_place() {
    let end = SMALL.trim_end().len();
    for length in (0..end).filter(|&length| SMALL.is_char_boundary(length)) {
        let error = load(&SMALL[..length]).unwrap_err().to_string();
        assert!(error.starts_with("mine.json:"), "{error}");
    }
    let half = SMALL.find("\"unit\": \"W\"").unwrap();
    insta::assert_snapshot!(load(&SMALL[..half]).unwrap_err(),
        @"mine.json:16:37: accelerators[0].figures.board_power: EOF while parsing a value");
}

#[test]
fn files_are_read_up_to_a_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sheets.json");
    std::fs::write(&path, SMALL).unwrap();
    assert_eq!(Catalogue::from_file(&path).unwrap(), load(SMALL).unwrap());

    File::create(&path).unwrap().set_len((8 << 20) + 1).unwrap();
    let error = Catalogue::from_file(&path).unwrap_err().to_string();
    assert!(error.ends_with("sheets.json is larger than 8 MiB: it cannot be a datasheet file"));

    std::fs::write(&path, b"{\"sch\xff").unwrap();
    let error = anyhow::Error::from(Catalogue::from_file(&path).unwrap_err());
    let error = format!("{error:#}");
    assert!(
        error.contains("sheets.json") && error.contains("utf-8"),
        "{error}"
    );

    let missing = Catalogue::from_file(dir.path().join("none.json")).unwrap_err();
    assert!(matches!(missing, LoadError::Read { .. }));
    assert!(missing.to_string().contains("none.json"));
}

#[test]
fn the_builtin_catalogue_is_whole() {
    let sheets = Catalogue::builtin().datasheets();
    assert_eq!(sheets.len(), 63);
    let figures = |sheet: &Datasheet| sheet.figures.len();
    let in_variants =
        |sheet: &Datasheet| -> usize { sheet.variants.iter().map(|v| v.figures.len()).sum() };
    // 522 figures in the columns that all parts share (precisions, memory,
    // power, clock, lanes), and 11 that few have: FP16 tensor with FP16
    // accumulation (3), FP8 likewise (2), FP4 (1), FP32 matrix (3), a
    // second boost clock (1), a TDP beside the board power (1).
    assert_eq!(sheets.iter().map(figures).sum::<usize>(), 522 + 11);
    // The RTX 2080 Ti Founders Edition (7), another document on the B200
    // (4), and the 32 GB versions of two V100 (2).
    assert_eq!(sheets.iter().map(in_variants).sum::<usize>(), 7 + 4 + 2);
}

/// That it holds is part of every check.
#[test]
fn operations_a_lane_are_stated_where_they_can_be_checked() {
    let mut checked = 0;
    for sheet in Catalogue::builtin().datasheets() {
        let known = |kind| sheet.figure(kind).is_some();
        let parts = [
            FigureKind::Fp32,
            FigureKind::Fp32Lanes,
            FigureKind::BoostClock,
        ];
        let known = parts.into_iter().all(known);
        let per_lane = sheet.fp32_flops_per_lane_clock;
        assert_eq!(known, per_lane.is_some(), "{}", sheet.id);
        checked += usize::from(known);
    }
    assert_eq!(checked, 42);
}

#[test]
fn dual_issue_and_packed_fp32_are_counted_where_vendors_count_them() {
    let four: Vec<_> = Catalogue::builtin()
        .datasheets()
        .iter()
        .filter(|sheet| {
            sheet
                .fp32_flops_per_lane_clock
                .is_some_and(|n| n.get() == 4)
        })
        .map(|sheet| sheet.id.as_str())
        .collect();
    let expected = [
        "amd-mi300x",
        "amd-mi325x",
        "amd-rx-7900-xtx",
        "amd-rx-9070-xt",
    ];
    assert_eq!(four, expected);
}

#[test]
fn apple_peaks_are_256_operations_for_each_gpu_core_and_clock() {
    for id in ["apple-m1", "apple-m1-max", "apple-m2", "apple-m2-max"] {
        let sheet = Catalogue::builtin().get(id).unwrap();
        let value = |kind| sheet.figure(kind).unwrap().value;
        let computed = value(FigureKind::GpuCores) * 256.0 * value(FigureKind::BoostClock);
        let ratio = computed * 1e-6 / value(FigureKind::Fp32);
        assert!((ratio - 1.0).abs() < 0.02, "{id}: {ratio}");
        assert!(sheet.figure(FigureKind::Fp32Lanes).is_none());
    }
}

#[test]
fn widely_quoted_figures_stand_with_the_variant_they_fit() {
    use FigureKind::{BoardPower, Fp16Tensor, Fp32};
    let expect = |id: &str, kind, value| {
        let sheet = Catalogue::builtin().get(id).unwrap();
        assert_eq!(sheet.figure(kind).map(|f| f.value), Some(value), "{id}");
    };
    let a100 = ["sxm4-40gb", "sxm4-80gb", "pcie-40gb", "pcie-80gb"];
    for form in a100 {
        expect(&format!("nvidia-a100-{form}"), Fp32, 19.5);
    }
    expect("nvidia-h100-sxm5", Fp32, 66.9);
    expect("nvidia-h100-sxm5", BoardPower, 700.0);
    expect("nvidia-h100-pcie", Fp32, 51.2);
    expect("nvidia-h100-pcie", BoardPower, 350.0);
    for card in ["s4", "s8"] {
        expect(&format!("cambricon-mlu370-{card}"), Fp32, 18.0);
        expect(&format!("cambricon-mlu370-{card}"), BoardPower, 75.0);
    }
    for card in ["x4", "x8"] {
        expect(&format!("cambricon-mlu370-{card}"), Fp32, 24.0);
    }
    expect("nvidia-v100-sxm2", Fp16Tensor, 125.0);
    expect("huawei-ascend-910", Fp16Tensor, 256.0);
    expect("google-tpu-v4", FigureKind::Bf16Tensor, 275.0);
    expect("hygon-dcu-k100-ai", Fp32, 49.0);

    for id in [
        "nvidia-a100-sxm4-40gb",
        "nvidia-h100-pcie",
        "cambricon-mlu370-x8",
    ] {
        let notes = &Catalogue::builtin().get(id).unwrap().notes;
        let mentions = notes.iter().any(|n| n.contains("widely quoted figure"));
        assert!(mentions, "{id}");
    }
}

#[test]
fn the_data_file_follows_the_published_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(Catalogue)).unwrap();
    let data: serde_json::Value = serde_json::from_str(Catalogue::BUILTIN_TEXT).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert_eq!(validator.validate(&data).map_err(|e| e.to_string()), Ok(()));
}

#[test]
fn names_are_found_by_id_or_by_part() {
    let ids = |query: &str| -> Vec<&str> {
        let found = Catalogue::builtin().find(query);
        found.iter().map(|sheet| sheet.id.as_str()).collect()
    };
    assert_eq!(ids("nvidia-a10"), ["nvidia-a10"]);
    assert_eq!(ids("NVIDIA-A10"), ["nvidia-a10"]);
    assert_eq!(ids("rtx 4090"), ["nvidia-rtx-4090"]);
    assert_eq!(
        ids("A100-PCIE"),
        ["nvidia-a100-pcie-40gb", "nvidia-a100-pcie-80gb"]
    );
    assert_eq!(
        ids("h200"),
        ["nvidia-h200-sxm", "nvidia-h200-nvl", "nvidia-gh200"]
    );
    assert_eq!(ids("  "), [""; 0]);
    assert_eq!(ids("voodoo"), [""; 0]);
}

#[test]
fn the_nearest_names_come_first() {
    let nearest = Catalogue::builtin().nearest("rtx 4091", 3);
    assert_eq!(nearest[0].id, "nvidia-rtx-4090");
    assert!(Catalogue::builtin().nearest("%%%", 3).is_empty());
}

#[test]
fn a_part_of_a_catalogue_keeps_the_sources_it_cites() {
    let builtin = Catalogue::builtin();
    let part = builtin.only(&[builtin.get("nvidia-b200-sxm").unwrap()]);
    assert_eq!(part.datasheets().len(), 1);
    assert!(part.sources().contains_key("lockwood_b200"));
    assert!(!part.sources().contains_key("philipturner"));
    assert_eq!(part.faults(None), []);
}

/// The small file with these figures and operations a lane in place of its own.
fn flaws_of(figures: &str, per_lane: u8) -> String {
    let begin = SMALL.find("\"fp32\": {").expect("figures");
    let end = SMALL.find("\n      }\n    },").expect("their end");
    let text = format!("{}{figures}{}", &SMALL[..begin], &SMALL[end..]);
    let figures = "\"figures\": {";
    let per_lane = format!("\"fp32_flops_per_lane_clock\": {per_lane}, {figures}");
    let text = text.replacen(figures, &per_lane, 1);
    let file = Path::new("mine.json");
    let catalogue = Catalogue::parse(&text, file).unwrap();
    let flaws = catalogue.flaws(&text, file, None);
    let lines: Vec<String> = flaws.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn figure(kind: &str, value: f64, unit: &str, more: &str) -> String {
    format!(
        r#""{kind}": {{"value": {value}, "unit": "{unit}", "tier": "vendor", "sources": ["paper"]{more}}}"#
    )
}

/// 1000 lanes × 2 × 1500 MHz are 3 TFLOP/s; 3.06 TFLOP/s are 1.96 % above, 2.93
/// TFLOP/s 2.33 % below; at 1467 MHz they are right.
#[test]
fn fp32_is_held_against_lanes_and_clock() {
    let card = |peak, more| {
        let figures = [
            figure("fp32", peak, "TFLOP/s", more),
            figure("fp32_lanes", 1000.0, "lanes", ""),
            figure("boost_clock", 1500.0, "MHz", ""),
        ];
        flaws_of(&figures.join(",\n"), 2)
    };
    assert_eq!(card(3.0, ""), "");
    assert_eq!(card(3.06, ""), "");
    insta::assert_snapshot!(card(2.93, ""),
        @"mine.json:15:17: accelerators[0].figures.fp32: 2.93 TFLOP/s is more than 2 % off 1000 lanes × 2 × 1500 MHz = 3.0 TFLOP/s (in `one`)");
    assert_eq!(card(2.93, r#", "clock_mhz": 1467"#), "");
}

#[test]
fn every_flaw_is_told_not_only_the_first() {
    let figures = [
        figure("fp16", 40.0, "TFLOP/s", ""),
        figure("fp16_tensor", 20.0, "TFLOP/s", ""),
        figure(
            "fp16_tensor_fp16_acc",
            15.0,
            "TFLOP/s",
            r#", "accumulate": "f16""#,
        ),
    ];
    insta::assert_snapshot!(flaws_of(&figures.join(",\n"), 2), @r#"
    mine.json:16:16: accelerators[0].figures.fp16_tensor: FP16 tensor (20) is below FP16 (40), which it never is (in `one`)
    mine.json:17:25: accelerators[0].figures.fp16_tensor_fp16_acc: FP16 tensor, FP16 accumulate (15) is below FP16 tensor (20), which it never is (in `one`)
    mine.json:16:16: accelerators[0].figures.fp16_tensor: next to FP16 tensor, FP16 accumulate its `accumulate` must be "f32" (in `one`)
    "#);
}

/// What a user's file does as an addition to the small one.
fn added(text: &str) -> Vec<String> {
    let base = load(SMALL).unwrap();
    let file = Path::new("own.json");
    let own = Catalogue::parse(text, file).unwrap();
    let flaws = own.flaws(text, file, Some(&base));
    flaws.iter().map(ToString::to_string).collect()
}

#[test]
fn an_addition_may_replace_an_id_and_share_no_name() {
    assert_eq!(added(SMALL), [""; 0]);
    let renamed = SMALL.replace("\"id\": \"one\"", "\"id\": \"three\"");
    insta::assert_snapshot!(added(&renamed).join("\n"),
        @"own.json:11:17: accelerators[0].names[0]: the adapter name `One` is also that of `one`: which of the two an adapter is could not be told");
    let document = SMALL.replace("A paper", "Another paper");
    insta::assert_snapshot!(added(&document).join("\n"),
        @"own.json:4:14: sources.paper: this id stands for another document in the datasheets that these are added to: choose another");
    let mut base = load(SMALL).unwrap();
    let own = SMALL.replace("2.5", "3.5").replace("\"two\"", "\"three\"");
    let own = own.replace("[\"Two\"]", "[\"Three\"]");
    assert_eq!(base.add(load(&own).unwrap()), ["one"]);
    let ids: Vec<&str> = base.datasheets().iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["one", "two", "three"]);
    assert_eq!(
        base.get("one").unwrap().per_device(FigureKind::Fp32),
        Some(3.5)
    );
}

/// A part that another datasheet knows for a lookalike may get a datasheet of its own.
#[test]
fn a_lookalike_may_get_its_own_datasheet() {
    let lookalike = r#""lookalikes": [{"what": "the Two", "names": ["Second"], "differs": "in all"}], "pci_devices": [{"id": "0001"}],"#;
    let base = SMALL.replacen(
        "\"pci_vendor\": \"10de\",",
        &format!("\"pci_vendor\": \"10de\", {lookalike}"),
        1,
    );
    let base = load(&base).unwrap();
    let file = Path::new("own.json");
    let own = |devices: &str| {
        format!(
            r#"{{"schema_version": 1, "sources": {{}}, "accelerators": [{{
"id": "second", "vendor": "Maker", "name": "Maker Second", "names": ["Second"],
"names_status": "verified", "pci_vendor": "10de", "pci_devices": [{devices}], "figures": {{}}}}]}}"#
        )
    };
    let flaws = |text: String| {
        let own = Catalogue::parse(&text, file).unwrap();
        own.flaws(&text, file, Some(&base))
    };
    assert_eq!(flaws(own("")), []);
    let shared = own(r#"{"id": "0001", "shared_with": ["the One"]}"#);
    assert_eq!(flaws(shared), []);
    insta::assert_snapshot!(flaws(own(r#"{"id": "0001"}"#))[0],
        @"own.json:3:74: accelerators[0].pci_devices[0].id: PCI device 10de:0001 is also that of `one`: say so in `shared_with`");
}
