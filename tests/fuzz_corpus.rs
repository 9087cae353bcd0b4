//! The fuzz targets over their corpora, over cut and changed versions of these, and
//! over what is too deep or too large for anything: without libFuzzer, so that it
//! runs everywhere and every time the same.

use std::collections::HashSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use clap::ValueEnum;
use flopwatt::compare;
use flopwatt::fleet::{Fleet, Ledger};
use flopwatt::record::{self, Report, Traces};
use flopwatt::render::fleet::{html as fleet_html, table as fleet_table};
use flopwatt::render::{self, Format, Run, comparison};
use serde_json::Value;

#[path = "../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../fuzz/src/targets.rs"]
mod targets;

use mutate::{Random, changed};
use targets::Target;

/// Lengths at which each file is cut.
const CUTS: usize = 12;
/// Changed versions of each file.
const CHANGES: u64 = 60;

/// What a folder holds, in the order of names; nothing where there is no folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path| fs::read(path).expect("a file of the project");
    paths.into_iter().map(read).collect()
}

/// What a target's fuzzing starts from.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = files(&Path::new("fuzz/corpus").join(name));
    assert!(!files.is_empty(), "{name} has no corpus");
    files
}

/// Inputs that no corpus holds: nested deeper than any document, numbers with
/// thousands of digits, patterns that a matcher is large for.
fn excessive() -> Vec<Vec<u8>> {
    let within =
        |key: &str, value: &str| format!("{{\"schema_version\":\"1.0\",\"{key}\":{value}}}");
    let texts = [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        within("measurements", &"[".repeat(100_000)),
        within("unknown", &"[".repeat(100_000)),
        within("seed", &"9".repeat(10_000)),
        within("seed", "1e999999"),
        format!("{{\"{}\": 1}}", "k".repeat(100_000)),
        "?".repeat(100_000),
        "{".repeat(900),
        format!("{}{}", "{a,".repeat(300), "}".repeat(300)),
        format!("matmul/f32/{}", "[!a]".repeat(200)),
        format!("run\n--shape\n{}x1x1", "9".repeat(1000)),
        "power\n--for\n1e300".to_owned(),
        "power\n--for\n9223372036854775807h".to_owned(),
        "gate\n--budget\n9223372036854775807s".to_owned(),
        format!("time_s,power_w\n{}", "1,".repeat(50_000)),
    ];
    texts.map(String::into_bytes).into()
}

fn all_inputs(name: &str) -> Vec<Vec<u8>> {
    let mut inputs = excessive();
    inputs.extend(files(&Path::new("fuzz/found").join(name)));
    for (file, seed) in corpus(name).into_iter().zip(1..) {
        inputs.extend((0..CUTS).map(|cut| file[..cut * file.len() / CUTS].to_vec()));
        let mut random = Random(seed);
        inputs.extend((0..CHANGES).map(|_| changed(&file, &mut random)));
        inputs.push(file);
    }
    inputs
}

fn run(name: &str, target: Target) {
    for input in all_inputs(name) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| target(&input)));
        assert!(
            outcome.is_ok(),
            "{name}: {}",
            String::from_utf8_lossy(&input)
        );
    }
}

macro_rules! tests {
    ($($name:ident),+) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name), targets::$name);
            }
        )+

        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),+];
            assert_eq!(targets::ALL.map(|(name, _)| name), run);
            let folders = fs::read_dir("fuzz/corpus").expect("the corpora").count();
            let binaries = fs::read_dir("fuzz/fuzz_targets").expect("the targets").count();
            assert_eq!([folders, binaries], [run.len(); 2]);
        }
    };
}

tests!(
    reports, traces, datasheets, workloads, accepted, surveys, arguments, events
);

/// Puts each of `values` in place of each value of a report that `is_meant`, in the first
/// of alike items only, and does `what` with the path and the changed report.
fn each(
    file: &str,
    is_meant: fn(&Value) -> bool,
    values: &[Value],
    what: &mut dyn FnMut(&str, &Value, &str),
) {
    let text = fs::read_to_string(Path::new("fuzz/corpus/reports").join(file));
    let report: Value = serde_json::from_str(&text.expect("a file")).expect("a report");
    let mut places = Vec::new();
    find(&report, String::new(), is_meant, &mut places);
    let mut seen = HashSet::new();
    let alike = |place: &String| place.replace(|c: char| c.is_ascii_digit(), "");
    places.retain(|place| seen.insert(alike(place)));
    assert!(places.len() > 40, "{places:?}");
    for place in places {
        for value in values {
            let mut report = report.clone();
            *report.pointer_mut(&place).expect("it was found") = value.clone();
            what(&place, value, &report.to_string());
        }
    }
}

/// The places of the values that are meant, as JSON Pointers.
fn find(value: &Value, place: String, is_meant: fn(&Value) -> bool, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => (0..).zip(items).for_each(|(index, item)| {
            find(item, format!("{place}/{index}"), is_meant, places);
        }),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            find(member, format!("{place}/{name}"), is_meant, places);
        }),
        value if is_meant(value) => places.push(place),
        _ => {}
    }
}

/// All texts that a report comes to.
fn texts(report: &Report) -> Vec<(String, String)> {
    let run = || Run {
        report,
        traces: Traces::new(),
    };
    let formats = Format::value_variants().iter();
    let documents = formats.flat_map(|&format| render::renderer(format).render(&[run(), run()]));
    let pages = render::pages(&[run()]);
    let mut texts: Vec<(String, String)> = documents
        .chain(pages)
        .map(|document| (document.file, document.text))
        .collect();
    let compared = compare::reports(report, report, None);
    texts.extend([
        (
            "verdicts.txt".to_owned(),
            comparison::table(&compared, None),
        ),
        ("verdicts.md".to_owned(), comparison::markdown(&compared)),
        ("verdicts.xml".to_owned(), comparison::junit(&compared)),
        ("verdicts.json".to_owned(), comparison::json(&compared)),
        ("annotations".to_owned(), comparison::annotations(&compared)),
    ]);
    let mut ledger = Ledger::default();
    let content = record::Content {
        stated: None,
        found: String::new(),
    };
    ledger.add(Ledger::judge(Path::new("a.json"), report, &content));
    if let Some(fleet) = Fleet::of(&ledger.close(), true) {
        let documents = [fleet_table(&fleet, None), fleet_html(&fleet)];
        texts.extend(documents.map(|document| (document.file, document.text)));
    }
    texts
}

/// A report with a number beyond what its field can be is refused with the field's name;
/// with any other, no figure is infinite or none at all.
#[test]
fn no_number_makes_a_figure_that_is_none() {
    let extremes = [0.0, -0.0, 5e-324, -5e-324, 1e300, 1e308, -1e308];
    let extremes = extremes.map(Value::from);
    let is_none = |word: &str| matches!(word, "inf" | "NaN" | "Infinity");
    let mut wrong = Vec::new();
    for file in ["metered.json", "sweeps.json", "lives.json"] {
        each(
            file,
            Value::is_number,
            &extremes,
            &mut |place, value, text| {
                // A shape is read as a whole.
                let names = place.rsplit('/').filter(|part| part.parse::<u8>().is_err());
                let names: Vec<&str> = names
                    .take(1 + usize::from(place.contains("/shape/")))
                    .collect();
                match record::from_json(text, Path::new("report.json")) {
                    Err(error) => {
                        let message = error.to_string();
                        if !names.iter().any(|name| message.contains(name)) {
                            wrong.push(format!("{place}: {message}"));
                        }
                    }
                    Ok(report) => {
                        for (file, text) in texts(&report) {
                            let words = text.split(|c: char| !c.is_alphanumeric());
                            if words.into_iter().any(is_none) {
                                wrong.push(format!("{place}: {value}: {file}"));
                            }
                        }
                    }
                }
            },
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whatever a report says is shown on one line, not too long, and nothing obeys it.
#[test]
fn no_text_is_obeyed_or_endless() {
    let hostile =
        "- \u{1b}[2J\u{9b}\r\n::error::x\n##[group]\u{202e}\0\t;=1+1 #777 GH-777 \u{ffff}|";
    let hostile = [Value::from(hostile.to_owned() + &"x".repeat(100_000))];
    let is_text = |c: char| match c {
        '\n' => true,
        '\u{202a}'..='\u{202e}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => !c.is_control(),
    };
    let mut wrong = Vec::new();
    for file in ["metered.json", "lives.json"] {
        each(file, Value::is_string, &hostile, &mut |place, _, text| {
            let report = match record::from_json(text, Path::new("report.json")) {
                Ok(report) => report,
                Err(error) if error.to_string().len() < 3000 => return,
                Err(_) => return wrong.push(format!("{place}: a long message")),
            };
            for (file, text) in texts(&report) {
                let kind = file.rsplit_once('.').map_or("", |(_, kind)| kind);
                let forbidden: &[&str] = match kind {
                    "json" | "jsonl" => continue,
                    "csv" => &[";=", "; ="],
                    "md" => &["#777", "GH-777", "\n- - "],
                    _ => &[],
                };
                let found = forbidden.iter().find(|obeyed| text.contains(**obeyed));
                let steers = text.chars().find(|c| !is_text(*c));
                let longest = text.lines().map(str::len).max().filter(|&l| l > 60_000);
                if found.is_some() || steers.is_some() || longest.is_some() {
                    wrong.push(format!("{place}: {file}: {found:?} {steers:?} {longest:?}"));
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The files of a corpus are what their target is about, and not turned away at the
/// door.
#[test]
fn corpora_are_accepted() {
    use flopwatt::{datasheet::Catalogue, estimate::Workloads, gate::Accepted, record};
    let file = Path::new("a file");
    for text in corpus("reports") {
        let text = String::from_utf8(text).expect("text");
        record::from_json(&text, file).expect("a report");
    }
    for text in corpus("datasheets") {
        let text = String::from_utf8(text).expect("text");
        Catalogue::from_json(&text, file).expect("datasheets");
    }
    for text in corpus("workloads") {
        let text = String::from_utf8(text).expect("text");
        Workloads::from_json(&text, file).expect("workloads");
    }
    for text in corpus("accepted") {
        Accepted::parse(str::from_utf8(&text).expect("text")).expect("a list");
    }
    for text in corpus("traces") {
        record::trace_points(str::from_utf8(&text).expect("text")).expect("readings");
    }
}
