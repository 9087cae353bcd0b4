//! Choosing kernels from the outside: what wins, what is remembered, what other
//! templates change.

mod support {
    pub mod command;
    pub mod trials;
}

use std::path::{Path, PathBuf};
use std::process::Output;

use flopwatt::kernel::template::BUILTIN;
use serde_json::Value;
use support::command::{self, wanted};
use support::trials::{adapters, anywhere, needing, run};
use tempfile::TempDir;

fn main() {
    run(vec![
        needing("a_choice_is_made_once_and_remembered", adapters, |_| {
            remembered()
        }),
        needing("a_broken_cache_is_a_warning", adapters, |_| broken_cache()),
        needing("an_edited_cache_costs_no_figure", adapters, |_| {
            edited_cache()
        }),
        needing(
            "a_home_that_takes_no_cache_is_one_warning",
            adapters,
            |_| homeless(),
        ),
        needing("a_wrong_kernel_cannot_win", adapters, |_| wrong_kernel()),
        needing("a_run_measures_what_was_chosen", adapters, |_| {
            best_is_measured()
        }),
        needing("a_defective_template_costs_its_kernel", adapters, |_| {
            defective_template()
        }),
        needing("checks_can_be_compiled_in", adapters, |_| checked()),
        anywhere("folders_without_templates_are_refused", no_templates),
    ]);
}

/// Small enough to be tried at once by every kernel, and of a precision whose kernels
/// drivers compile soon.
const BEST: &str = "matmul/i8-i32acc/best/48x40x56";

/// A user with a home of their own.
struct User(TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        command::flopwatt(self.path())
            .env("HOME", self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .args([verb, "--adapter", &wanted(), "--json"])
            .args(arguments)
            .output()
            .expect("flopwatt starts")
    }

    /// The JSON that a command prints that ends well.
    fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        let output = self.run(verb, arguments);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{talk}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn cache_file(&self) -> PathBuf {
        let folder = self.path().join("cache/flopwatt/tuning");
        let entries = std::fs::read_dir(folder).expect("a cache");
        let files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    /// A copy of the templates in which `from` in `template` has become `to`.
    fn templates(&self, template: &str, from: &str, to: &str) -> String {
        let folder = self.path().join("shaders");
        std::fs::create_dir(&folder).expect("a folder");
        for (name, text) in BUILTIN {
            let changed = if *name == template {
                assert!(text.contains(from), "{name} has no {from}");
                text.replace(from, to)
            } else {
                (*text).to_owned()
            };
            std::fs::write(folder.join(name), changed).expect("a file");
        }
        folder.to_str().expect("a plain path").to_owned()
    }
}

fn candidates(tuning: &Value) -> &Vec<Value> {
    tuning["candidates"].as_array().expect("a list")
}

fn remembered() {
    let user = User::new();
    let first = user.json("tune", &[BEST]);
    let tuning = &first[0];
    assert_eq!(tuning["cached"], false);
    assert_eq!(tuning["shape"], "48x40x56");
    assert!(tuning["took_s"].as_f64() > Some(0.0));
    let tried = candidates(tuning);
    assert!(tried.len() >= 4, "naive, workgroup and two register tiles");
    for candidate in tried {
        let outcomes = (candidate["gflops"].is_null(), candidate["reason"].is_null());
        assert!(
            matches!(outcomes, (true, false) | (false, true)),
            "{candidate}"
        );
    }
    let rate = |c: &Value| c["gflops"].as_f64().unwrap_or(0.0);
    let fastest = tried.iter().max_by(|a, b| rate(a).total_cmp(&rate(b)));
    assert_eq!(
        fastest.expect("one")["variant"],
        tuning["chosen"]["variant"]
    );

    let again = user.json("tune", &[BEST]);
    assert_eq!(again[0]["cached"], true);
    assert_eq!(again[0]["chosen"], tuning["chosen"]);
    // Another shape of the same class: dimensions of 16 to 63 and 4 to 15.
    let near = user.json("tune", &["matmul/i8-i32acc/best/60x44x20"]);
    assert_eq!(near[0]["cached"], true);
    assert_eq!(user.json("tune", &[BEST, "--retune"])[0]["cached"], false);
    assert_eq!(user.json("tune", &[BEST, "--checked"])[0]["cached"], false);
}

fn broken_cache() {
    let user = User::new();
    user.json("tune", &[BEST]);
    std::fs::write(user.cache_file(), "{\"key\":").expect("a file");
    let output = user.run("tune", &[BEST]);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        talk.contains("warning: ignoring the tuning cache"),
        "{talk}"
    );
    assert_eq!(output.status.code(), Some(0));
    // It is replaced by a good one.
    assert_eq!(user.json("tune", &[BEST])[0]["cached"], true);
}

/// Anybody who may write the file can make it name anything: kernels are chosen anew.
fn edited_cache() {
    let user = User::new();
    user.json("tune", &[BEST]);
    let good = std::fs::read_to_string(user.cache_file()).expect("a cache");
    let edited = |everywhere: bool, edit: fn(&mut Value)| {
        let mut cache: Value = serde_json::from_str(&good).expect("JSON");
        let tuning = &mut cache["tunings"][0];
        let chosen = tuning["chosen"].clone();
        edit(&mut tuning["chosen"]);
        let tried = tuning["candidates"].as_array_mut().expect("a list");
        let is_chosen = |tried: &&mut Value| {
            everywhere
                && ["variant", "parameters"]
                    .iter()
                    .all(|key| tried[key] == chosen[key])
        };
        tried.iter_mut().filter(is_chosen).for_each(edit);
        cache.to_string()
    };
    let abacus: fn(&mut Value) = |choice| choice["variant"] = "abacus".into();
    let none: fn(&mut Value) = |choice| choice["parameters"]["rows"] = 0.into();
    let most: fn(&mut Value) = |choice| choice["parameters"]["cols"] = u32::MAX.into();
    for (text, why) in [
        (
            edited(false, abacus),
            "is not the fastest of its candidates",
        ),
        (edited(true, abacus), "names no program for"),
        (edited(true, none), "names no program for"),
        (edited(true, most), "names no program for"),
    ] {
        std::fs::write(user.cache_file(), text).expect("a file");
        let output = user.run("run", &[BEST]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("warning: ").count(), 1, "{said}");
        assert!(said.contains(why), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(report["tuning"][0]["cached"], false);
        // And what was chosen is kept in place of what was edited.
        assert_eq!(user.json("tune", &[BEST])[0]["cached"], true);
    }
}

/// Choices are not kept, which is said once and not for each of them.
#[cfg(unix)]
fn homeless() {
    let user = User::new();
    let endless = user.path().join("loop");
    std::os::unix::fs::symlink(&endless, &endless).expect("a link");
    for home in [Path::new("/dev/null"), &endless] {
        let output = command::flopwatt(user.path())
            .env("HOME", home)
            .env_remove("XDG_CACHE_HOME")
            .args(["tune", "--adapter", &wanted(), "--json"])
            .args([BEST, "matmul/i8-i32acc/best/8x8x8"])
            .output()
            .expect("flopwatt starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("warning: ").count(), 1, "{said}");
        assert!(said.contains("tuning"), "{said}");
    }
}

#[cfg(not(unix))]
fn homeless() {}

/// A kernel that does next to nothing is the fastest, and wrong.
fn wrong_kernel() {
    let user = User::new();
    let templates = user.templates("matmul_naive.wgsl.jinja", "step < steps()", "step < 1u");
    let tuned = user.json("tune", &[BEST, "--shaders", &templates]);
    assert_ne!(tuned[0]["chosen"]["variant"], "naive");
    let naive = candidates(&tuned[0])
        .iter()
        .find(|c| c["variant"] == "naive");
    let reason = naive.expect("it was tried")["reason"]
        .as_str()
        .expect("a reason");
    // On a machine that does other things it may not be its turn in time.
    assert!(
        ["wrong-result: ", "out-of-time: "]
            .iter()
            .any(|why| reason.starts_with(why)),
        "{reason}"
    );
    // What other templates were found to be says nothing about the built-in ones.
    assert_eq!(user.json("tune", &[BEST])[0]["cached"], false);
}

fn best_is_measured() {
    let user = User::new();
    let case = "matmul/f32/best/48x40x56";
    let report = user.json("run", &[case]);
    let cases = report["measurements"].as_array().expect("a list");
    let best = cases.iter().find(|m| m["id"] == case).expect("the case");
    assert_eq!(best["status"], "ok");
    let chosen = &report["tuning"][0]["chosen"];
    assert_eq!(best["chosen"], chosen["variant"]);
    assert_eq!(best["parameters"], chosen["parameters"]);
    assert_eq!(best["ceiling_id"], "peak/f32/fma/device");
    assert!(best["percent_of_ceiling"].as_f64() > Some(0.0));
    assert_eq!(report["shaders"]["mode"], "unchecked");
    assert!(report["shaders"]["folder"].is_null());
}

fn defective_template() {
    let user = User::new();
    let templates = user.templates("matmul_naive.wgsl.jinja", "return;", "retrun;");
    let case = "matmul/f32/naive/8x8x8";
    let output = user.run("run", &[case, "--shaders", &templates]);
    assert_eq!(output.status.code(), Some(1), "the ceiling is fine");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cases = report["measurements"].as_array().expect("a list");
    let naive = cases.iter().find(|m| m["id"] == case).expect("the case");
    let reason = naive["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("template: "), "{reason}");
    assert!(reason.contains("matmul_naive.wgsl.jinja"), "{reason}");
    assert!(reason.contains("retrun"), "{reason}");
    assert_eq!(report["shaders"]["folder"], templates.as_str());
}

fn checked() {
    let user = User::new();
    let report = user.json("run", &["matmul/f32/naive/33x17x65", "--checked"]);
    for case in report["measurements"].as_array().expect("a list") {
        assert_eq!(
            (&case["status"], &case["shader_mode"]),
            (&"ok".into(), &"checked".into())
        );
    }
}

fn no_templates() {
    let user = User::new();
    for (folder, message) in [("nowhere", "cannot read nowhere"), (".", "holds no")] {
        let output = user.run("run", &["matmul/f32/naive/8x8x8", "--shaders", folder]);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2));
        assert!(talk.contains(message), "{talk}");
    }
}
