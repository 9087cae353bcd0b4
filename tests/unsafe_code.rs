//! docs/unsafe.md lists every unsafe block of the project.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders that hold code.
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "examples", "fuzz"];

/// How often each file's code says `unsafe`.
fn counted() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    FOLDERS
        .iter()
        .for_each(|folder| count(Path::new(folder), &mut counts));
    counts
}

fn count(path: &Path, counts: &mut BTreeMap<String, usize>) {
    if path.ends_with("target") {
        // What was built there.
    } else if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder of the project");
        entries.for_each(|entry| count(&entry.expect("its entry").path(), counts));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let code = fs::read_to_string(path).expect("a file of the project");
        let found = code.lines().map(mentions).sum();
        if found > 0 {
            counts.insert(path.display().to_string(), found);
        }
    }
}

/// How often a line says `unsafe`, comments and texts aside.
fn mentions(line: &str) -> usize {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    let words = outside.flat_map(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.filter(|word| *word == "unsafe").count()
}

/// What the document says of each file.
fn listed() -> BTreeMap<String, usize> {
    let document = fs::read_to_string("docs/unsafe.md").expect("the list");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |line: &str| {
        let (file, rest) = line.split_once("` | ")?;
        let (count, _) = rest.split_once(" |")?;
        Some((file.to_owned(), count.parse().ok()?))
    };
    rows.map(|line| row(line).unwrap_or_else(|| panic!("not a row: {line}")))
        .collect()
}

#[test]
fn every_unsafe_block_is_listed() {
    assert_eq!(counted(), listed(), "left: the code, right: docs/unsafe.md");
}

#[test]
fn comments_and_texts_do_not_count() {
    assert_eq!(mentions("unsafe { f() } // unsafe"), 1);
    assert_eq!(mentions("#[unsafe(no_mangle)] unsafe fn f() {}"), 2);
    assert_eq!(mentions("/// unsafe"), 0);
    assert_eq!(mentions(&format!("let unsafe_code = {:?};", "unsafe")), 0);
}
