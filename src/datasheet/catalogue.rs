//! The catalogue of datasheets: the built-in one, or a file in its format.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::matching::normalise;
use super::model::{Datasheet, Figure, FigureKind, Source};
use super::position;
use crate::units::Bytes;

/// The version of the file format that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// A file above this size is no datasheet file; the built-in one is a
/// seventieth of it.
const LARGEST_FILE: Bytes = Bytes(8 << 20);

/// Datasheets and the documents that they cite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Version of the format, [`SCHEMA_VERSION`].
    schema_version: u32,
    /// The documents, by the id under which figures cite them.
    #[serde(deserialize_with = "without_duplicates")]
    sources: BTreeMap<String, Source>,
    /// The datasheets.
    accelerators: Vec<Datasheet>,
}

/// Why a datasheet file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the datasheets in {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is too large to be a list of datasheets.
    #[error("{} is larger than {limit}: it cannot be a datasheet file", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The largest size accepted.
        limit: Bytes,
    },
    /// The content is not what a datasheet file holds.
    #[error("{}:{line}:{column}: {}{problem}", file.display(), prefix(field))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, counted from one.
        line: usize,
        /// Column in bytes, counted from one.
        column: usize,
        /// The path of the field, such as `accelerators[0].figures.fp32`;
        /// empty for the document itself.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

fn prefix(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    }
}

impl Catalogue {
    /// The catalogue that is part of the program.
    pub fn builtin() -> &'static Catalogue {
        static BUILTIN: LazyLock<Catalogue> = LazyLock::new(|| {
            Catalogue::from_json(
                include_str!("accelerators.json"),
                Path::new("accelerators.json"),
            )
            .expect("the built-in catalogue is valid, which a test asserts")
        });
        &BUILTIN
    }

    /// Reads and checks a file in the format of the built-in catalogue.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Catalogue, LoadError> {
        let path = path.as_ref();
        let read_error = |source| LoadError::Read {
            file: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST_FILE.0 + 1).read_to_end(&mut bytes))
            .map_err(read_error)?;
        if bytes.len() as u64 > LARGEST_FILE.0 {
            return Err(LoadError::TooLarge {
                file: path.to_owned(),
                limit: LARGEST_FILE,
            });
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| read_error(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Catalogue::from_json(&text, path)
    }

    /// Parses and checks the text of `file`, which is named in errors.
    pub fn from_json(text: &str, file: &Path) -> Result<Catalogue, LoadError> {
        let catalogue: Catalogue =
            serde_json::from_str(text).map_err(|error| syntax_error(text, file, &error))?;
        catalogue
            .check()
            .map_err(|fault| fault.locate(text, file))?;
        Ok(catalogue)
    }

    /// All datasheets.
    pub fn datasheets(&self) -> &[Datasheet] {
        &self.accelerators
    }

    /// The documents that figures cite, by id.
    pub fn sources(&self) -> &BTreeMap<String, Source> {
        &self.sources
    }

    /// The datasheet with exactly that id.
    pub fn get(&self, id: &str) -> Option<&Datasheet> {
        self.accelerators.iter().find(|sheet| sheet.id == id)
    }

    /// The datasheets that a person may mean: the one with that id, or else all
    /// whose id, name or adapter name contains the query, in any case.
    pub fn find(&self, query: &str) -> Vec<&Datasheet> {
        let query = normalise(query).to_lowercase();
        if query.is_empty() {
            return Vec::new();
        }
        if let Some(sheet) = self.get(&query) {
            return vec![sheet];
        }
        let mentions = |text: &String| text.to_lowercase().contains(&query);
        self.accelerators
            .iter()
            .filter(|sheet| {
                mentions(&sheet.id) || mentions(&sheet.name) || sheet.names.iter().any(mentions)
            })
            .collect()
    }

    /// Up to `count` datasheets whose name looks most like the query, best
    /// first; those that look nothing like it are left out.
    pub fn nearest(&self, query: &str, count: usize) -> Vec<&Datasheet> {
        const LEAST_LIKENESS: f64 = 0.25;
        let mut scored: Vec<(f64, &Datasheet)> = self
            .accelerators
            .iter()
            .map(|sheet| {
                let by_id = likeness(query, &sheet.id);
                (by_id.max(likeness(query, &sheet.name)), sheet)
            })
            .filter(|(score, _)| *score >= LEAST_LIKENESS)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.truncate(count);
        scored.into_iter().map(|(_, sheet)| sheet).collect()
    }

    /// A catalogue of some of the datasheets, with the sources they cite.
    pub fn only(&self, chosen: &[&Datasheet]) -> Catalogue {
        let cited: HashSet<&String> = chosen
            .iter()
            .flat_map(|sheet| all_figures(sheet))
            .flat_map(|(_, _, figure)| &figure.sources)
            .collect();
        Catalogue {
            schema_version: self.schema_version,
            sources: self
                .sources
                .iter()
                .filter(|(id, _)| cited.contains(id))
                .map(|(id, source)| (id.clone(), source.clone()))
                .collect(),
            accelerators: chosen.iter().map(|&sheet| sheet.clone()).collect(),
        }
    }

    /// Checks everything that the format's types cannot rule out.
    fn check(&self) -> Result<(), Fault> {
        if self.schema_version != SCHEMA_VERSION {
            return Err(Fault {
                path: "schema_version".to_owned(),
                problem: format!(
                    "this build reads version {SCHEMA_VERSION}, not {}",
                    self.schema_version
                ),
            });
        }
        let mut taken = Taken::default();
        for (index, sheet) in self.accelerators.iter().enumerate() {
            let at = format!("accelerators[{index}]");
            taken.check_identity(sheet, &at)?;
            for (place, kind, figure) in all_figures(sheet) {
                self.check_figure(kind, figure)
                    .map_err(|(field, problem)| Fault {
                        path: format!("{at}.{place}figures.{}.{field}", kind.key()),
                        problem: format!("{problem} (in `{}`)", sheet.id),
                    })?;
            }
        }
        Ok(())
    }

    /// Checks one figure; an error is the field and what is wrong with it.
    fn check_figure(&self, kind: FigureKind, figure: &Figure) -> Result<(), (String, String)> {
        let fault = |field: &str, problem: String| Err((field.to_owned(), problem));
        if !is_positive(figure.value) {
            return fault("value", format!("{} is not above zero", figure.value));
        }
        if let Some(clock) = figure.clock_mhz.filter(|&clock| !is_positive(clock)) {
            return fault("clock_mhz", format!("{clock} is not above zero"));
        }
        if figure.unit != kind.unit() {
            let problem = format!("{kind} is stated in {}, not {}", kind.unit(), figure.unit);
            return fault("unit", problem);
        }
        if figure.sources.is_empty() {
            return fault("sources", "a figure needs at least one source".to_owned());
        }
        for (index, id) in figure.sources.iter().enumerate() {
            if !self.sources.contains_key(id) {
                let problem = format!("there is no source `{id}`");
                return fault(&format!("sources[{index}]"), problem);
            }
        }
        Ok(())
    }
}

fn is_positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

/// The ids and adapter names that datasheets before this one have.
#[derive(Default)]
struct Taken {
    ids: HashSet<String>,
    names: HashSet<String>,
}

impl Taken {
    fn check_identity(&mut self, sheet: &Datasheet, at: &str) -> Result<(), Fault> {
        let id = &sheet.id;
        let fault = |field: String, problem: String| {
            let path = format!("{at}.{field}");
            Err(Fault { path, problem })
        };
        if id.trim().is_empty() {
            return fault("id".to_owned(), "an id must not be empty".to_owned());
        }
        if !self.ids.insert(id.clone()) {
            return fault("id".to_owned(), format!("`{id}` is used more than once"));
        }
        let own_names = sheet
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| (format!("names[{index}]"), name));
        let other_names = sheet
            .lookalikes
            .iter()
            .enumerate()
            .flat_map(|(outer, lookalike)| {
                let place = move |inner| format!("lookalikes[{outer}].names[{inner}]");
                lookalike
                    .names
                    .iter()
                    .enumerate()
                    .map(move |(inner, name)| (place(inner), name))
            });
        for (field, name) in own_names.chain(other_names) {
            let name = normalise(name);
            if name.is_empty() {
                return fault(
                    field,
                    format!("an adapter name must not be empty (in `{id}`)"),
                );
            }
            if self.names.contains(&name) {
                return fault(
                    field,
                    format!("the adapter name `{name}` is used more than once"),
                );
            }
            self.names.insert(name);
        }
        for (index, lookalike) in sheet.lookalikes.iter().enumerate() {
            if let Some(gb) = lookalike.memory_gb.filter(|&gb| !is_positive(gb)) {
                return fault(
                    format!("lookalikes[{index}].memory_gb"),
                    format!("{gb} is not above zero (in `{id}`)"),
                );
            }
        }
        Ok(())
    }
}

/// The figures of a datasheet and of its variants, with the path of the object
/// that holds them.
fn all_figures(sheet: &Datasheet) -> impl Iterator<Item = (String, FigureKind, &Figure)> {
    let own = sheet
        .figures
        .iter()
        .map(|(&kind, figure)| (String::new(), kind, figure));
    let others = sheet
        .variants
        .iter()
        .enumerate()
        .flat_map(|(index, variant)| {
            variant
                .figures
                .iter()
                .map(move |(&kind, figure)| (format!("variants[{index}]."), kind, figure))
        });
    own.chain(others)
}

/// A field with a wrong value.
struct Fault {
    path: String,
    problem: String,
}

impl Fault {
    fn locate(self, text: &str, file: &Path) -> LoadError {
        let offset = position::offset_of(text, &self.path).unwrap_or(0);
        let (line, column) = position::line_and_column(text, offset);
        LoadError::Invalid {
            file: file.to_owned(),
            line,
            column,
            field: self.path,
            problem: self.problem,
        }
    }
}

/// What serde_json says, with the field added and its own place taken off.
fn syntax_error(text: &str, file: &Path, error: &serde_json::Error) -> LoadError {
    let message = error.to_string();
    let problem = match message.rsplit_once(" at line ") {
        Some((problem, _)) => problem.to_owned(),
        None => message,
    };
    let offset = position::offset_from(text, error.line(), error.column());
    LoadError::Invalid {
        file: file.to_owned(),
        line: error.line(),
        column: error.column(),
        field: position::path_at(text, offset),
        problem,
    }
}

/// How alike two names look: the share of letter pairs that they have in
/// common, from 0 to 1 (the Sørensen–Dice coefficient).
pub(crate) fn likeness(a: &str, b: &str) -> f64 {
    let pairs = |text: &str| -> HashSet<(char, char)> {
        let letters: Vec<char> = text
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric())
            .collect();
        letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let (a, b) = (pairs(a), pairs(b));
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    2.0 * a.intersection(&b).count() as f64 / (a.len() + b.len()) as f64
}

/// Reads a map in which a key that occurs twice is an error; serde itself keeps
/// the last value.
pub(crate) fn without_duplicates<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct Unique<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Unique<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom("this key occurs more than once"));
                }
                map.insert(key, access.next_value()?);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Unique(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasheet::{PciId, SourceTier, Tier};

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
            @"mine.json:23:27: accelerators[1].names[1]: the adapter name `One` is used more than once");
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

    #[test]
    fn fp32_peaks_are_lanes_times_operations_times_clock() {
        let value = |sheet: &Datasheet, kind| sheet.figure(kind).map(|figure| figure.value);
        let mut checked = 0;
        for sheet in Catalogue::builtin().datasheets() {
            let known = value(sheet, FigureKind::Fp32)
                .zip(value(sheet, FigureKind::Fp32Lanes))
                .zip(value(sheet, FigureKind::BoostClock));
            let per_lane = sheet.fp32_flops_per_lane_clock;
            assert_eq!(known.is_some(), per_lane.is_some(), "{}", sheet.id);
            let (Some(((peak, lanes), mhz)), Some(per_lane)) = (known, per_lane) else {
                continue;
            };
            let computed = lanes * f64::from(per_lane.get()) * mhz * 1e-6;
            let ratio = computed / peak;
            assert!((ratio - 1.0).abs() < 0.02, "{}: {ratio}", sheet.id);
            checked += 1;
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
        let data: serde_json::Value =
            serde_json::from_str(include_str!("accelerators.json")).unwrap();
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
        part.check().map_err(|fault| fault.problem).unwrap();
    }
}
