//! Reports are somebody else's: whatever stands in one, no program is started, no
//! file appears where the person did not ask for it, and what is there stays.

#![cfg(unix)]

#[path = "support/command.rs"]
mod command;
#[path = "support/sealed.rs"]
mod sealed;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

use command::{flopwatt, folder, output, stderr};
use flopwatt::gpu::adapter;
use flopwatt::gpu::device::ShaderMode;
use flopwatt::record;
use sealed::sealed;
use serde_json::{Value, json};
use walkdir::WalkDir;

const REPORT: &str = include_str!("data/reports/testcard/report.json");

/// Every text of a report, once for all items of a list and all cases of a kind.
fn texts(value: &Value, pointer: &str, pattern: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(_) | Value::Null => found.push((pattern.to_owned(), pointer.to_owned())),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            let below = |path: &str| format!("{path}/{name}");
            texts(member, &below(pointer), &below(pattern), found);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            texts(
                item,
                &format!("{pointer}/{index}"),
                &format!("{pattern}/-"),
                found,
            );
        }),
        _ => {}
    }
}

/// A report of a run that was cut short here, on the first adapter where there is one.
fn cut_short() -> Value {
    let mut report: Value = serde_json::from_str(REPORT).expect("JSON");
    let this = record::Host::this();
    report["host"] = serde_json::to_value(this).expect("JSON");
    report["flopwatt_version"] = json!(env!("CARGO_PKG_VERSION"));
    report["schema_version"] = json!(record::SCHEMA_VERSION);
    report["git"] = serde_json::to_value(record::built_from()).expect("JSON");
    let shaders = record::Shaders::new(None, ShaderMode::Unchecked).expect("built in");
    report["shaders"] = serde_json::to_value(shaders).expect("JSON");
    if let Some(adapter) = adapter::enumerate().first() {
        report["adapter"] = serde_json::to_value(&adapter.description).expect("JSON");
    }
    report["complete"] = json!(false);
    let cases = report["measurements"].as_array().expect("a list");
    let cases: Vec<Value> = cases
        .iter()
        .map(|case| json!({"id": case["id"], "data": case["data"], "named": false}))
        .collect();
    report["plan"] = json!({
        "cases": cases, "power_limits_w": [], "power": "auto", "dump": null,
        "retune": false, "concurrent": false,
    });
    report
}

/// Every file and link below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = WalkDir::new(folder).into_iter().filter_map(Result::ok);
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}

#[test]
fn no_text_of_a_report_starts_a_program_or_names_a_file_to_write() {
    let (bed, cache) = (folder(), folder());
    // What `../..` leads to lies in the bed as well.
    let home = bed.path().join("a/b");
    fs::create_dir_all(home.join("reports")).expect("a temporary folder");
    let pwned = bed.path().join("pwned");
    let payloads = [
        format!("command:touch {}", pwned.display()),
        pwned.display().to_string(),
        "../../pwned".to_owned(),
        "../../../pwned".to_owned(),
    ];
    let report = cut_short();
    let mut found = Vec::new();
    texts(&report, "", "", &mut found);
    let mut seen = BTreeSet::new();
    found.retain(|(pattern, _)| seen.insert(pattern.clone()));
    assert!(found.len() > 60, "{}", found.len());
    for plan in ["/plan/power", "/plan/dump", "/shaders/folder"] {
        assert!(seen.contains(plan), "{plan}");
    }
    let mut loadable = Vec::new();
    for (_, pointer) in &found {
        for payload in &payloads {
            let mut report = report.clone();
            *report.pointer_mut(pointer).expect("it was found there") = json!(payload);
            let text = sealed(&report);
            if record::from_json(&text, Path::new("r")).is_ok() {
                let name = format!("reports/{}", loadable.len());
                let file = home.join(&name).join("report.json");
                fs::create_dir_all(home.join(&name)).expect("a temporary folder");
                fs::write(file, text).expect("a temporary file");
                loadable.push((name, pointer));
            }
        }
    }
    let before = files(bed.path());
    let run = |arguments: &[&str]| {
        let mut command = flopwatt(&home);
        command.env("FLOPWATT_LOCKS", home.join("none"));
        // The driver keeps what it has compiled there.
        command.env("XDG_CACHE_HOME", cache.path());
        let output = output(command.args(arguments));
        let (said, after) = (stderr(&output), files(bed.path()));
        let new: Vec<_> = after.symmetric_difference(&before).collect();
        assert!(new.is_empty(), "{arguments:?}: {new:?}: {said}");
        said
    };
    let mut refused = BTreeSet::new();
    for (name, pointer) in &loadable {
        let said = run(&["run", "--resume", name]);
        assert!(
            ["cannot go on", "cannot lock", "is no power source"]
                .iter()
                .any(|end| said.contains(end)),
            "{pointer}: {said}"
        );
        if said.contains("not taken from it") {
            refused.insert(pointer.as_str());
        }
    }
    let asking = ["/plan/dump", "/plan/power", "/shaders/folder"];
    assert_eq!(refused, asking.into());
    let names: Vec<&str> = loadable.iter().map(|(name, _)| name.as_str()).collect();
    run(&[&["report", "--format", "html"], &names[..]].concat());
    run(&["fleet", "--doubtful", "reports"]);
    for pair in names.windows(2) {
        run(&["compare", pair[0], pair[1]]);
    }
    // Where files are asked for, they lie there and nowhere else.
    let before = files(&home.join("reports"));
    let mut command = flopwatt(&home);
    output(command.args(["report", "--out", "out"]).args(&names));
    output(flopwatt(&home).args(["fleet", "--out", "out", "reports"]));
    assert!(home.join("out/report.html").is_file() && home.join("out/fleet.html").is_file());
    assert_eq!(files(&home.join("reports")), before);
    let in_home: BTreeSet<_> = fs::read_dir(&home)
        .expect("a folder")
        .flatten()
        .collect::<Vec<_>>()
        .iter()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(in_home, ["out", "reports"].map(Into::into).into());
    assert!(!pwned.exists());
}

#[test]
fn an_altered_report_goes_on_only_when_told() {
    let bed = folder();
    let text = sealed(&cut_short());
    fs::write(
        bed.path().join("report.json"),
        text.replacen("\"seed\": ", "\"seed\": 1", 1),
    )
    .expect("a temporary file");
    let said = stderr(&output(flopwatt(bed.path()).args(["run", "--resume", "."])));
    assert!(
        said.contains("was changed after it was written") && said.contains("--altered"),
        "{said}"
    );
    let said = stderr(&output(flopwatt(bed.path()).args([
        "run",
        "--resume",
        ".",
        "--altered",
    ])));
    assert!(said.contains("not everything is as it was"), "{said}");
}

/// Names a file of verdicts.
fn junit(bed: &Path, file: &str) -> String {
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reports/testcard");
    let mut command = flopwatt(bed);
    let output = output(
        command
            .arg("compare")
            .args([&report, &report])
            .args(["--junit", file]),
    );
    stderr(&output)
}

#[test]
fn what_is_not_a_regular_file_is_written_to_and_stays() {
    let bed = folder();
    let pipe = bed.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let reader = Command::new("cat")
        .arg(&pipe)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("cat starts");
    assert_eq!(junit(bed.path(), "pipe"), "");
    let read = reader.wait_with_output().expect("cat ends").stdout;
    assert!(String::from_utf8_lossy(&read).contains("</testsuites>"));
    assert!(
        fs::metadata(&pipe)
            .expect("it is there")
            .file_type()
            .is_fifo()
    );
    symlink("/dev/null", bed.path().join("null")).expect("a link");
    assert_eq!(junit(bed.path(), "null"), "");
    assert!(
        fs::metadata("/dev/null")
            .expect("it is there")
            .file_type()
            .is_char_device()
    );
    let link = fs::symlink_metadata(bed.path().join("null")).expect("it is there");
    assert!(link.is_symlink());
}

#[test]
fn a_link_in_an_output_folder_is_named_and_left_alone() {
    let bed = folder();
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reports/testcard");
    for (link, to) in [
        ("charts", "elsewhere"),
        ("report.html", "elsewhere/precious"),
    ] {
        let _ = fs::remove_dir_all(bed.path().join("out"));
        fs::create_dir_all(bed.path().join("out")).expect("a folder");
        fs::create_dir_all(bed.path().join("elsewhere")).expect("a folder");
        fs::write(bed.path().join("elsewhere/precious"), "precious").expect("a file");
        symlink(bed.path().join(to), bed.path().join("out").join(link)).expect("a link");
        let before = files(&bed.path().join("elsewhere"));
        let mut command = flopwatt(bed.path());
        let output = output(command.arg("report").arg(&report).args(["--out", "out"]));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("cannot write out/{link}: ")),
            "{said}"
        );
        assert_eq!(files(&bed.path().join("elsewhere")), before);
        let precious = fs::read_to_string(bed.path().join("elsewhere/precious"));
        assert_eq!(precious.expect("it is there"), "precious");
    }
}

/// Runs the program behind a command of the shell, which sets its limits.
fn limited(bed: &Path, limit: &str) -> (String, Option<i32>) {
    let report = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reports/testcard");
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("{limit}; exec \"$@\""))
        .arg("sh");
    shell
        .arg(env!("CARGO_BIN_EXE_flopwatt"))
        .arg("report")
        .arg(report);
    let output = output(shell.args(["--out", "out"]).current_dir(bed));
    (stderr(&output), output.status.code())
}

#[test]
fn a_file_beyond_the_limit_of_the_shell_is_named_and_leaves_nothing() {
    let bed = folder();
    let (said, status) = limited(bed.path(), "ulimit -f 8");
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("cannot write out/report.html: File too large"),
        "{said}"
    );
    assert_eq!(files(&bed.path().join("out")).len(), 1);
}

#[test]
fn files_have_the_mode_that_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    for (umask, mode) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let bed = folder();
        let (said, status) = limited(bed.path(), &format!("umask {umask}"));
        assert_eq!(status, Some(0), "{said}");
        let page = fs::metadata(bed.path().join("out/report.html")).expect("a page");
        assert_eq!(page.permissions().mode() & 0o777, mode, "{umask}");
    }
}
