//! What the program says of input that is no good, from the outside: always a
//! message, never a panic, and nothing that a terminal or a build server obeys.

mod support {
    pub mod command;
    pub mod faults;
    pub mod trials;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::command::{flopwatt, folder, output, printed, stderr, stdout, wanted};
use support::faults::{NOTHING, Outcome, kept, report, row};
use support::trials::{adapters, anywhere, needing, run};
use walkdir::WalkDir;

fn main() {
    let mut trials = vec![
        anywhere("files_are_refused_with_their_line_and_field", files),
        anywhere("what_is_no_report_is_neither_shown_nor_compared", reports),
        anywhere("a_report_of_another_schema_is_not_compared", other_schema),
        anywhere("arguments_that_mean_nothing_are_refused", arguments),
        anywhere("messages_cannot_be_obeyed_and_end", messages),
        anywhere("numbers_beyond_their_field_are_refused", numbers),
        anywhere("names_in_a_report_are_text", names),
        anywhere("names_in_a_report_do_not_lead_out_of_a_folder", paths),
        needing(
            "an_unknown_adapter_is_answered_with_those_there",
            adapters,
            |_| unknown_adapter(),
        ),
        needing(
            "a_shape_too_large_for_the_adapter_is_skipped",
            adapters,
            |_| too_large(),
        ),
    ];
    trials.push(anywhere("names_that_are_equal_or_long", equal_names));
    #[cfg(unix)]
    trials.extend([
        anywhere("devices_are_no_files", devices),
        anywhere("what_is_found_is_a_regular_file", special_files),
        anywhere("a_pipe_that_a_person_names_is_read", named_pipe),
        anywhere("a_folder_is_not_left", links_in_a_folder),
        anywhere("a_report_takes_no_more_memory_than_it_may", memory),
    ]);
    run(trials)
}

const REPORT: &str = include_str!("../fuzz/corpus/reports/software.json");
const WORKLOADS: &str = include_str!("../fuzz/corpus/workloads/training.json");
const DATASHEETS: &str = include_str!("../fuzz/corpus/datasheets/one.json");
const SURVEY: &str = include_str!("../fuzz/corpus/surveys/two.json");
const ACCEPTED: &str =
    r#"{"version": 1, "accepted": [{"case": "[", "change": "gone", "reason": "x"}]}"#;

/// How these files are given to the program.
const SHOW: &[&str] = &["report"];
const COMPARE: &[&str] = &["compare", "good.json"];
const ESTIMATE: &[&str] = &[
    "estimate",
    "--accelerator",
    "nvidia-h100-sxm5",
    "--workload",
];
const DATASHEETS_OF: &[&str] = &["datasheets", "--datasheets"];
const GATE: &[&str] = &["gate", "--base", "HEAD", "--accepted"];

/// The report with another name for its adapter.
fn named(name: &str) -> String {
    let usual = quoted("llvmpipe (LLVM 15.0.6, 256 bits)");
    let [usual, other] = [usual, quoted(name)].map(|name| format!("\"name\":{name}"));
    let report = REPORT.replace(&usual, &other);
    assert_ne!(report, REPORT, "the report has an adapter");
    report
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

/// Everything in a folder, files with their size.
fn everything(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter();
    let entries = entries.map(|entry| entry.expect("a temporary file"));
    let entry = |entry: walkdir::DirEntry| {
        let metadata = entry.metadata().expect("a temporary file");
        let size = if metadata.is_file() {
            metadata.len()
        } else {
            0
        };
        (entry.into_path(), size)
    };
    entries.map(entry).collect()
}

/// Adds the row of a command that is refused in `folder`, and returns what it says.
fn refused(fault: &str, folder: &Path, arguments: &[&str], said: &str) -> String {
    refused_with(2, fault, folder, arguments, said)
}

fn refused_with(status: i32, fault: &str, folder: &Path, arguments: &[&str], said: &str) -> String {
    let before = everything(folder);
    let output = output(flopwatt(folder).args(arguments));
    let kept = match output.stdout.is_empty() && everything(folder) == before {
        true => NOTHING,
        false => "something is written",
    };
    let told = stderr(&output);
    let seen = Outcome::new(&told, output.status.code(), kept);
    row(fault, &Outcome::new(said, status, NOTHING), &seen);
    told
}

fn files() {
    let folder = folder();
    let rows = [
        (
            "datasheets: wrong number",
            DATASHEETS_OF,
            DATASHEETS.replace("\"value\":", "\"value\":\n-"),
            "error: bad.json:2:1: accelerators[0].figures.fp64.value: -33.5 is not above zero (in `nvidia-h100-sxm5`)",
        ),
        (
            "datasheets: cut off",
            DATASHEETS_OF,
            "{\"schema_version\": 1,".to_owned(),
            "error: bad.json:1:21: EOF while parsing a value",
        ),
        (
            "workloads: wrong type",
            ESTIMATE,
            WORKLOADS.replace("\"claims\":[", "\"claims\":[\n1,"),
            "error: bad.json:2:1: workloads[0].claims[0]: invalid type: integer `1`, expected struct Claim",
        ),
        (
            "accepted changes: wrong pattern",
            GATE,
            ACCEPTED.to_owned(),
            "error: bad.json: entry 1 ([): unclosed character class; missing ']'",
        ),
        (
            "accepted changes: wrong type",
            GATE,
            ACCEPTED.replace("\"x\"", "\n7"),
            "error: bad.json: line 2, column 1: accepted[0].reason: invalid type: integer `7`, expected a string",
        ),
    ];
    for (fault, command, contents, said) in rows {
        fs::write(folder.path().join("bad.json"), contents).expect("a temporary file");
        refused(
            fault,
            folder.path(),
            &[command, &["bad.json"]].concat(),
            said,
        );
    }
}

fn reports() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("good.json"), REPORT).expect("a temporary file");
    let huge = fs::File::create(path("huge.json")).expect("a temporary file");
    huge.set_len(257 << 20).expect("a file with a hole");
    let deep = |close: &str| {
        let [open, close] = ["[", close].map(|bracket| bracket.repeat(100_000));
        REPORT.replacen('{', &format!("{{\"unknown\":{open}{close},"), 1)
    };
    let texts = [
        ("cut.json", REPORT[..21].to_owned()),
        (
            "type.json",
            REPORT.replace("\"samples_s\":[", "\"samples_s\":[\n\"often\","),
        ),
        ("other.json", "{\"measurements\": []}".to_owned()),
        ("deep.json", deep("]")),
        ("open.json", deep("")),
    ];
    for (name, text) in texts {
        fs::write(path(name), text).expect("a temporary file");
    }
    fs::write(path("binary.json"), b"\x7fELF\xff\x00").expect("a temporary file");
    for (what, name, said) in [
        (
            "cut off",
            "cut.json",
            "error: cut.json:1:21: not a flopwatt report: schema_version: EOF while parsing a string",
        ),
        (
            "wrong type",
            "type.json",
            "error: type.json:2:7: not a flopwatt report: measurements[0].time.samples_s[0]: invalid type: string \"often\", expected f64",
        ),
        (
            "another document",
            "other.json",
            "error: other.json:1:20: not a flopwatt report: missing field `schema_version`",
        ),
        ("nested too deep", "deep.json", ": recursion limit exceeded"),
        ("never closed", "open.json", ": expected value"),
        (
            "too large",
            "huge.json",
            "error: huge.json is larger than 256 MiB: not a report",
        ),
        (
            "binary",
            "binary.json",
            "error: cannot read binary.json: invalid utf-8 sequence",
        ),
        (
            "not there",
            "nowhere.json",
            "error: cannot read nowhere.json: ",
        ),
    ] {
        for command in [SHOW, COMPARE] {
            let fault = format!("{}: {what}", command[0]);
            refused(&fault, folder.path(), &[command, &[name]].concat(), said);
        }
    }
}

/// Whether two reports can be compared is a result.
fn other_schema() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let other = REPORT.replace("\"schema_version\":\"1.2\"", "\"schema_version\":\"9.0\"");
    assert_ne!(other, REPORT, "the report has a schema");
    fs::write(path("good.json"), REPORT).expect("a temporary file");
    fs::write(path("other.json"), other).expect("a temporary file");
    let said = "other.json has schema version 9.0, this program reads 1.";
    refused(
        "report: another schema",
        folder.path(),
        &["report", "other.json"],
        said,
    );
    let command = [COMPARE, &["other.json", "--fail-on", "slower"]].concat();
    let output = output(flopwatt(folder.path()).args(command));
    let told = printed(&output);
    let verdicts = match told.contains("\nINCOMPARABLE\n") {
        true => "no verdict",
        false => "verdicts",
    };
    let seen = Outcome::new(&told, output.status.code(), verdicts);
    row(
        "compare: another schema",
        &Outcome::new(said, 0, "no verdict"),
        &seen,
    );
}

#[cfg(unix)]
fn devices() {
    let folder = folder();
    fs::write(folder.path().join("good.json"), REPORT).expect("a temporary file");
    for (what, command, said) in [
        (
            "report",
            SHOW,
            "/dev/zero is larger than 256 MiB: not a report",
        ),
        (
            "compare",
            COMPARE,
            "/dev/zero is larger than 256 MiB: not a report",
        ),
        (
            "fleet",
            &["fleet"],
            "/dev/zero is larger than 256 MiB: not a report",
        ),
        (
            "estimate",
            &["estimate", "--flops", "1e20", "--report"],
            "/dev/zero is larger than 256 MiB: not a report",
        ),
        (
            "datasheets",
            DATASHEETS_OF,
            "/dev/zero is larger than 8 MiB: it cannot be a datasheet file",
        ),
        (
            "workloads",
            ESTIMATE,
            "/dev/zero is larger than 2 MiB: it cannot be a file of workloads",
        ),
        (
            "accepted changes",
            GATE,
            "/dev/zero: too large to be a list of accepted changes",
        ),
    ] {
        let fault = format!("{what}: device without end");
        refused(
            &fault,
            folder.path(),
            &[command, &["/dev/zero"]].concat(),
            said,
        );
    }
    let command = ["power", "--for", "1s", "--power", "command:cat /dev/zero"];
    let said = "which is neither watts nor joules";
    refused_with(
        3,
        "power: command without end",
        folder.path(),
        &command,
        said,
    );
}

/// Each of these would wait for ever, or be read without end.
#[cfg(unix)]
fn special_files() {
    use std::os::unix::fs::symlink;

    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    for name in [
        "pipe",
        "traces/power",
        "config/flopwatt",
        "templates",
        "zeros",
    ] {
        fs::create_dir_all(path(name)).expect("a temporary folder");
    }
    symlink("/dev/zero", path("zeros/a.wgsl.jinja")).expect("a link");
    let metered = include_str!("../fuzz/corpus/reports/metered.json");
    fs::write(path("traces/report.json"), metered).expect("a temporary file");
    let report: serde_json::Value = serde_json::from_str(metered).expect("a report");
    for case in report["measurements"].as_array().expect("cases") {
        if let Some(trace) = case["power"]["trace"].as_str() {
            pipe(&path("traces").join(trace));
        }
    }
    pipe(&path("pipe/report.json"));
    pipe(&path("config/flopwatt/datasheets.json"));
    pipe(&path("templates/a.wgsl.jinja"));
    let shader = ["shader", "matmul/f32/naive/8x8x8", "--shaders"];
    for (fault, arguments) in [
        ("report: a pipe in a folder", &["report", "pipe"][..]),
        ("--resume: a pipe", &["run", "--resume", "pipe"]),
        ("--shaders: a pipe", &[&shader[..], &["templates"]].concat()),
        ("--shaders: a device", &[&shader[..], &["zeros"]].concat()),
    ] {
        refused(fault, folder.path(), arguments, "it is not a regular file");
    }
    let shown = output(flopwatt(folder.path()).arg("datasheets"));
    let said = stderr(&shown);
    let kept = "the built-in datasheets";
    let left_out = "datasheets.json: it is not a regular file";
    row(
        "datasheets of the user: a pipe",
        &Outcome::new(left_out, 0, kept),
        &Outcome::new(&said, shown.status.code(), kept),
    );
    let shown = output(flopwatt(folder.path()).args(["report", "traces", "--format", "html"]));
    let said = stderr(&shown);
    let seen = Outcome::new(&said, shown.status.code(), "all figures");
    row(
        "report: a pipe for a trace",
        &Outcome::new("", 0, "all figures"),
        &seen,
    );
}

#[cfg(unix)]
fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.expect("mkfifo starts").success(), "{}", path.display());
}

#[cfg(unix)]
fn named_pipe() {
    let folder = folder();
    let written = folder.path().join("report.json");
    fs::write(&written, REPORT).expect("a temporary file");
    pipe(&folder.path().join("pipe"));
    let writer = std::thread::spawn({
        let pipe = folder.path().join("pipe");
        move || fs::write(pipe, REPORT)
    });
    let shown = output(flopwatt(folder.path()).args(["report", "pipe"]));
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    writer.join().expect("it ends").expect("it is read");
    let file = fs::File::open(written).expect("a temporary file");
    let shown = flopwatt(folder.path())
        .args(["report", "/dev/stdin"])
        .stdin(file)
        .output()
        .expect("flopwatt starts");
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
}

#[cfg(unix)]
fn links_in_a_folder() {
    use std::os::unix::fs::symlink;

    let [folder, other] = [folder(), folder()];
    fs::write(other.path().join("other.json"), REPORT).expect("a temporary file");
    fs::write(folder.path().join("own.json"), REPORT).expect("a temporary file");
    let elsewhere = other.path().to_str().expect("a path of text");
    for (name, target) in [("root", "/"), ("self", "/proc/self"), ("other", elsewhere)] {
        symlink(target, folder.path().join(name)).expect("a link");
    }
    let merged = output(flopwatt(folder.path()).args(["fleet", ".", "--json"]));
    let merged: serde_json::Value = serde_json::from_str(&stdout(&merged)).expect("JSON");
    let counted = format!(
        "{} left out",
        merged["left_out"].as_array().map_or(0, Vec::len)
    );
    let seen = Outcome::new("", 0, &counted);
    row(
        "fleet: links to / and /proc/self",
        &Outcome::new("", 0, "0 left out"),
        &seen,
    );
}

/// A good report counts beside one that is made to fill memory. The limit is on
/// addresses, of which flopwatt and its threads take a part.
#[cfg(unix)]
fn memory() {
    let folder = folder();
    fs::write(folder.path().join("good.json"), REPORT).expect("a temporary file");
    let with = |member: &str, items: &str| {
        let items = vec![items; (32 << 20) / items.len()].join(",");
        REPORT.replacen('{', &format!("{{\"{member}\":[{items}],"), 1)
    };
    let samples = vec!["1"; 16 << 20].join(",");
    let samples = REPORT.replacen("\"samples_s\":[", &format!("\"samples_s\":[{samples},"), 1);
    for (what, left_out, report) in [
        ("unknown members", 1, with("unknown", "{\"\":0}")),
        (
            "long unknown members",
            0,
            with("unknown", "{\"unknown\":{\"\":[0]}}"),
        ),
        ("numbers", 1, samples),
    ] {
        fs::write(
            folder.path().join("large.json"),
            report.replace("01a2162b", "0199162b"),
        )
        .expect("a temporary file");
        let limited = "ulimit -v 1000000; exec \"$0\" fleet good.json large.json --json";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", limited, env!("CARGO_BIN_EXE_flopwatt")]);
        let output = output(command.current_dir(folder.path()));
        let merged = serde_json::from_str(&stdout(&output)).unwrap_or(serde_json::Value::Null);
        let counted = merged["left_out"].as_array().map(Vec::len);
        let kept = match counted == Some(left_out) {
            true => "the other report counts",
            false => "nothing",
        };
        let said = stderr(&output);
        let seen = Outcome::new(&said, output.status.code(), kept);
        let expected = Outcome::new("", 0, "the other report counts");
        row(&format!("fleet: memory of {what}"), &expected, &seen);
    }
}

/// Ten thousand of one name, and names without end: none takes as long as the square
/// of their number.
fn equal_names() {
    let folder = folder();
    let write = |name: &str, text: &str| {
        fs::create_dir_all(folder.path().join("o/power")).expect("a temporary folder");
        fs::write(folder.path().join(name), text).expect("a temporary file");
    };
    let mut sheets: serde_json::Value = serde_json::from_str(DATASHEETS).expect("datasheets");
    let sheet = &mut sheets["accelerators"][0];
    let fp64 = sheet["figures"]["fp64"].take();
    // All in 8 MiB.
    let names = [
        "id",
        "vendor",
        "name",
        "names",
        "names_status",
        "pci_vendor",
        "pci_devices",
    ];
    let sheet = sheet.as_object_mut().expect("a datasheet");
    sheet.retain(|name, _| names.contains(&name.as_str()));
    sheet.insert("figures".into(), serde_json::json!({ "fp64": fp64 }));
    let sheet = serde_json::Value::from(sheet.clone());
    sheets["accelerators"] = vec![sheet.clone(); 10_000].into();
    write("same.json", &sheets.to_string());
    let mut long = sheet;
    long["id"] = "x".repeat(400_000).into();
    sheets["accelerators"] = vec![long].into();
    write("long.json", &sheets.to_string());
    let workload = format!("\"id\":\"{}\"", "x".repeat(400_000));
    let workloads = WORKLOADS.replacen("\"id\":\"", "\"id\":\"xxx", 1);
    let (before, after) = workloads.split_once("\"id\":\"xxx").expect("an id");
    let after = after.split_once('"').expect("its end").1;
    write("workloads.json", &format!("{before}{workload}{after}"));
    for (fault, arguments, said) in [
        (
            "datasheets: 10,000 of one id",
            &["datasheets", "--datasheets", "same.json"][..],
            "is used more than once",
        ),
        (
            "datasheets: a long id",
            &["datasheets", "--datasheets", "long.json"],
            "an id has at most 200 bytes",
        ),
        (
            "workloads: a long id",
            &[ESTIMATE, &["workloads.json"]].concat(),
            "an id has at most 200 bytes",
        ),
    ] {
        let told = refused(fault, folder.path(), arguments, said);
        assert!(told.len() < 1000, "{told:.300}");
    }
    let metered = include_str!("../fuzz/corpus/reports/metered.json");
    let mut report: serde_json::Value = serde_json::from_str(metered).expect("a report");
    let cases = report["measurements"].as_array().expect("cases");
    let case = cases.iter().find(|case| case["power"]["trace"].is_string());
    let case = case.expect("a case with a trace").clone();
    let trace = format!("o/{}", case["power"]["trace"].as_str().expect("a path"));
    report["measurements"] = vec![case; 500].into();
    write("o/report.json", &report.to_string());
    write(
        &trace,
        &format!("time_s,power_w\n{}x", "0.5,50\n".repeat(1_000_000)),
    );
    let shown = output(flopwatt(folder.path()).args(["report", "o", "--format", "html"]));
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
}

fn arguments() {
    let folder = folder();
    let long = "?".repeat(2000);
    let open = "{".repeat(400);
    let rows: [(&str, &[&str], &str); 18] = [
        (
            "unknown case",
            &["run", "conv"],
            "error: no case matches \"conv\"; cases are operation/precision/variant/shape",
        ),
        (
            "filter of 2000 question marks",
            &["run", &long],
            "\" is not a valid filter: it is longer than 1000 bytes",
        ),
        (
            "filter of open braces",
            &["run", &open],
            "\" is not a valid filter: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)",
        ),
        (
            "shape of another operation",
            &["run", "peak", "--shape", "7x7x7"],
            "error: \"7x7x7\" is not a shape of any selected operation",
        ),
        (
            "shape with a size of 0",
            &["run", "matmul/f32/naive/0x1x1"],
            "error: \"0x1x1\" is not a shape of matmul",
        ),
        (
            "shape with a size of too many digits",
            &["run", "matmul", "--shape", "99999999999x1x1"],
            "error: \"99999999999x1x1\" is not a shape of any selected operation: expected one such as 1000x777x333 for matmul, b1h8s512d64-causal for attention or 64MiB for bandwidth",
        ),
        (
            "shape of too many operations",
            &["run", "matmul/f32/naive/4294967295x4294967295x4294967295"],
            "error: \"4294967295x4294967295x4294967295\" is not a shape of matmul: expected [bBATCH-]MxNxK[-nt|-tn] with sizes of at least 1 and at most 2^58 multiply-adds, such as 1024x1024x1024",
        ),
        (
            "attention of too many operations",
            &["run", "attention/f32/flash/b65536h65536s1d1"],
            "error: \"b65536h65536s1d1\" is not a shape of attention: expected bBATCHhHEADS[kvHEADS]sLENGTHdDIM[-causal] or …qLENGTHkLENGTHd…, such as b1h8s512d64-causal, where the key/value heads divide the heads",
        ),
        (
            "power: time without end",
            &["power", "--for", "1e300"],
            "error: invalid value '1e300' for '--for <DURATION>': expected a length of time above 0, such as 30s or 5m",
        ),
        (
            "share that is no number",
            &["run", "--data", "sparse:NaN"],
            "error: invalid value 'sparse:NaN' for '--data <LIST>': \"NaN\" is not a share of zeros: expected a number from 0 to 1, as in sparse:0.5",
        ),
        (
            "share above 1",
            &["run", "--data", "normal,sparse:2"],
            "a number from 0 to 1",
        ),
        (
            "unknown data",
            &["run", "--data", "gaussian"],
            "known: normal, uniform, zeros",
        ),
        (
            "data for a case without inputs",
            &["run", "latency", "--data", "zeros"],
            "--data is about the inputs of matrix products and attention",
        ),
        (
            "unknown tier",
            &["run", "--tier", "fast"],
            "error: invalid value 'fast' for '--tier <TIER>'",
        ),
        (
            "power limit without end",
            &["run", "--power-limits", "1e999"],
            "error: invalid value '1e999' for '--power-limits <WATTS>': it must be more than 0 W",
        ),
        (
            "datasheets: not there",
            &["run", "latency", "--datasheets", "nowhere.json"],
            "nowhere.json",
        ),
        (
            "unknown workload",
            &[ESTIMATE, &["centre:atlantis"]].concat(),
            "error: `centre:atlantis` is neither a workload nor a file",
        ),
        (
            "unknown source of power",
            &["power", "--power", "steam"],
            "error: invalid value 'steam' for '--power <SOURCE>'",
        ),
    ];
    for (fault, arguments, said) in rows {
        refused(fault, folder.path(), arguments, said);
    }
}

/// A quotation of what is wrong is as harmless as a table, on one line, and not as long
/// as the file, the name or the argument that it is of.
fn messages() {
    let folder = folder();
    let commands = "\u{1b}[2J\u{9b}1m\u{202e}##[group]x\r\n::error::y\n";
    let hostile = commands.repeat(3000);
    let tier = format!("\"tier\":{}", quoted(&hostile));
    let report = REPORT.replace("\"tier\":\"quick\"", &tier);
    assert_ne!(report, REPORT, "the report has a tier");
    fs::write(folder.path().join("report.json"), report).expect("a temporary file");
    for (fault, arguments, said) in [
        (
            "report: commands to a terminal in place of a word",
            &["report", "report.json"][..],
            "tier: unknown variant `\\u001b[2J",
        ),
        (
            "fleet: commands to a terminal in place of a word",
            &["fleet", "report.json"],
            "tier: unknown variant `\\u001b[2J",
        ),
        (
            "argument of commands to a terminal",
            &["run", "--tier", &hostile],
            "error: invalid value '",
        ),
        (
            "name of commands to a terminal",
            &["report", &format!("{commands}.json")],
            "error: cannot read \\u001b[2J",
        ),
        (
            "case of commands to a terminal",
            &["run", commands],
            "error: no case matches",
        ),
    ] {
        let message = refused(fault, folder.path(), arguments, said);
        let steers = ['\u{1b}', '\u{9b}', '\u{202e}', '\r'];
        assert!(!message.contains(steers), "{message}");
        assert!(!message.contains("##["), "{message}");
        assert!(message.chars().count() < 20_000, "{}", message.len());
        for line in message.lines().skip(1) {
            assert!(line.starts_with("  "), "{line}");
            assert!(!line.trim().starts_with("::"), "{line}");
        }
    }
}

/// A number that no machine has is an error where it is read: figures made of it would be
/// infinite.
fn numbers() {
    let folder = folder();
    let seconds = REPORT.replacen("\"median_s\":", "\"median_s\":\n-", 1);
    let peak = DATASHEETS.replacen("\"value\":33.5", "\"value\":1e308", 1);
    let share = SURVEY.replacen("\"percent_flop\":", "\"percent_flop\":\n1e300,\"was\":", 1);
    for (fault, command, contents, said) in [
        (
            "survey: share beyond all numbers",
            &["codegen", "--compare"][..],
            share,
            "error: bad.json:2:5: no output of `flopwatt codegen --json`: shaders[0].percent_flop: 1e300 is not",
        ),
        (
            "report: time below zero",
            SHOW,
            seconds,
            "measurements[0].time.median_s: -",
        ),
        (
            "datasheets: peak beyond all computers",
            DATASHEETS_OF,
            peak,
            "is not from 1e-6 to 1e9",
        ),
    ] {
        fs::write(folder.path().join("bad.json"), contents).expect("a temporary file");
        let arguments = [command, &["bad.json"]].concat();
        refused(fault, folder.path(), &arguments, said);
    }
    let meter = "command:echo 1e308 kW";
    refused_with(
        3,
        "power: command beyond all meters",
        folder.path(),
        &["power", "--for", "1s", "--power", meter],
        "from 0 to 1e9 W",
    );
}

/// A name that one format's readers would obey, as that format shows it.
fn names() {
    let script = "<script>alert(1)</script>";
    for (fault, name, format, shown, obeyed) in [
        (
            "HTML: script for a name",
            script,
            "html",
            "<h1>&lt;script&gt;alert(1)&lt;/script&gt;</h1>",
            "<script>alert",
        ),
        (
            "Markdown: script for a name",
            script,
            "markdown",
            "# flopwatt: &#60;script&#62;alert(1)&#60;/script&#62;",
            "<script",
        ),
        (
            "CSV: formula for a name",
            "=HYPERLINK(\"http://x\")",
            "csv",
            ",\"'=HYPERLINK(\"\"http://x\"\")\",",
            "\"=HYPERLINK",
        ),
        (
            "table: commands to a terminal for a name",
            "\u{1b}[2Jcard",
            "table",
            "\u{fffd}[2Jcard",
            "\u{1b}",
        ),
    ] {
        let folder = folder();
        fs::write(folder.path().join("report.json"), named(name)).expect("a temporary file");
        let arguments = ["report", "report.json", "--format", format];
        let output = output(flopwatt(folder.path()).args(arguments));
        let text = stdout(&output);
        let kept = match text.contains(obeyed) {
            true => "the name as it is",
            false => "the name as text",
        };
        let seen = Outcome::new(&text, output.status.code(), kept);
        row(fault, &Outcome::new(shown, 0, "the name as text"), &seen);
    }
}

/// Every name that a file could be called by.
fn paths() {
    let folder = folder();
    let away = "../../away";
    let report = named(away).replace("\"id\":\"", &format!("\"id\":\"{away}"));
    let inside = folder.path().join("in/side");
    fs::create_dir_all(&inside).expect("a folder");
    fs::write(inside.join("report.json"), report).expect("a temporary file");
    let outside = || {
        let mut all = everything(folder.path());
        all.retain(|(path, _)| !path.starts_with(inside.join("out")));
        all
    };
    let before = outside();
    let output = report_into(&inside);
    let kept = match outside() == before {
        true => "files in the folder",
        false => "files elsewhere",
    };
    let told = stderr(&output);
    let seen = Outcome::new(&told, output.status.code(), kept);
    let expected = Outcome::new("out: report.html, ", 0, "files in the folder");
    row("report: names that lead out of a folder", &expected, &seen);
}

fn report_into(folder: &Path) -> Output {
    let formats = "html,markdown,svg,csv,json,github-benchmark,openmetrics";
    let arguments = ["report", "report.json", "--out", "out", "--format", formats];
    output(flopwatt(folder).args(arguments))
}

fn unknown_adapter() {
    let folder = folder();
    let arguments = ["run", "latency", "--adapter", "nosuchadapter"];
    let said = "error: no adapter fits `--adapter nosuchadapter`; there are";
    let told = refused("unknown adapter", folder.path(), &arguments, said);
    assert!(told.contains("\n    #0 "), "{told}");
}

/// 10⁶ × 10⁶ elements of C are more than any adapter binds. What can be measured
/// still is.
fn too_large() {
    let folder = folder();
    let huge = "matmul/f32/naive/1000000x1000000x1";
    let mut command = flopwatt(folder.path());
    command.args(["run", huge, "--adapter", &wanted()]);
    let output = output(command.args(["--power", "none", "--out", "o"]));
    let report = report(&folder.path().join("o"));
    let shown = printed(&output);
    let kept = kept(&report);
    let seen = Outcome::new(&shown, output.status.code(), &kept);
    let said = "skipped: needs 3814698 MiB, adapter allows";
    let expected = Outcome::new(said, 2, "1 ok, 1 skipped of 2");
    row("shape larger than the adapter allows", &expected, &seen);
    let skipped = &report["measurements"][1];
    assert_eq!(skipped["status"], "skipped");
    assert!(skipped["gflops"].is_null());
}
