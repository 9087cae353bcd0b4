//! What else goes on while flopwatt measures, from the outside: another run on the
//! adapter, load on the processors, other processes on the GPU, a lowered limit.

#![cfg(target_os = "linux")]

#[path = "support/command.rs"]
mod command;
// Each test program uses a part of what they share.
#[allow(dead_code)]
mod support;
#[allow(dead_code)]
#[path = "support/trials.rs"]
mod trials;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use command::wanted;
use flopwatt::gpu::adapter::AdapterDescription;
use flopwatt::session::lock::{LockError, Locks};
use serde_json::{Value, json};
use support::{card, hide, nvml_stand_in};
use tempfile::TempDir;
use trials::{Missing, adapters, alone, anywhere, needing, run};

fn main() {
    run(vec![
        needing("an_adapter_in_use_is_refused", adapter, in_use),
        needing("a_shared_adapter_flags_every_figure", adapter, shared),
        needing("a_killed_run_leaves_no_lock", adapter, killed),
        needing("a_run_waits_for_its_turn", adapter, waits),
        needing("a_wait_can_be_interrupted", adapter, interrupted),
        anywhere("who_waits_does_not_share", contradiction),
        alone("load_on_the_processors_is_flagged", software, |()| load()),
        needing("other_processes_are_flagged", adapter, |_| others()),
        needing("processes_that_are_not_told_are_null", adapter, |_| {
            untold()
        }),
        needing("a_lowered_limit_is_flagged", adapter, |_| lowered()),
    ]);
}

/// A case that takes no time to speak of.
const SMALL: &str = "latency/none/dispatch/empty";
const BEST: &str = "matmul/i8-i32acc/best/48x40x56";

/// The adapter that the tests measure on.
fn adapter() -> Result<AdapterDescription, Missing> {
    adapters()?;
    let chosen = flopwatt::session::adapter::choose(Some(&wanted()));
    let chosen = chosen.map_err(|error| Missing(error.to_string()))?;
    Ok(chosen.adapter.description)
}

fn software() -> Result<(), Missing> {
    let any = adapters()?.iter().any(|a| a.description.is_software());
    any.then_some(())
        .ok_or_else(|| Missing("no software adapter on this machine".into()))
}

/// A machine with locks of its own, which is also a user's home.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn locks(&self) -> Locks {
        Locks::in_folder(self.path())
    }

    /// A command on the usual adapter.
    fn flopwatt(&self, verb: &str, arguments: &[&str]) -> Command {
        self.flopwatt_on(&wanted(), verb, arguments)
    }

    fn flopwatt_on(&self, adapter: &str, verb: &str, arguments: &[&str]) -> Command {
        let mut command = command::flopwatt(self.path());
        command
            .env("LD_LIBRARY_PATH", self.path())
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .args([verb, "--adapter", adapter])
            .args(arguments);
        command
    }

    fn measure(&self, arguments: &[&str]) -> Command {
        let mut command = self.flopwatt("run", &["--power", "none", "--out", "out"]);
        command.args(arguments);
        command
    }

    /// Runs one small case that reads the stand-in's card, with these settings and
    /// without these functions.
    fn on_card(&self, settings: &Value, hidden: &[&str]) -> Output {
        let mut card = card();
        for (key, value) in settings.as_object().expect("settings") {
            card[key] = value.clone();
        }
        let library = nvml_stand_in(self.path(), &json!({ "devices": [card] }));
        hide(&library, hidden);
        let arguments = [SMALL, "--power", "nvml:0", "--out", "out"];
        let output = output(&mut self.flopwatt("run", &arguments));
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        output
    }

    fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.path().join("out/report.json"));
        serde_json::from_str(&text.expect("a report")).expect("JSON")
    }
}

fn output(command: &mut Command) -> Output {
    command.output().expect("flopwatt starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What it printed, on one line.
fn printed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn flags(measurement: &Value) -> Vec<&str> {
    let flags = measurement["flags"].as_array().expect("flags");
    flags.iter().filter_map(Value::as_str).collect()
}

fn in_use(adapter: AdapterDescription) {
    let machine = Machine::new();
    let _held = machine
        .locks()
        .alone(&adapter)
        .expect("nobody else is there");
    let refused = |mut command: Command| {
        let output = output(&mut command);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for part in [
            &format!("(process {}, since ", std::process::id()),
            "is in use",
            "--wait",
            "--shared",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(output.stdout.is_empty());
    };
    refused(machine.measure(&[SMALL]));
    refused(machine.flopwatt("tune", &[BEST]));
    refused(machine.flopwatt("gate", &["--self-test", "--cases", SMALL]));
    assert!(!machine.path().join("out").exists(), "nothing was begun");
}

fn shared(adapter: AdapterDescription) {
    let machine = Machine::new();
    let held = machine
        .locks()
        .alone(&adapter)
        .expect("nobody else is there");
    let watch = held.watch();
    let output = output(&mut machine.measure(&["latency", "--shared"]));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = machine.report();
    let cases = report["measurements"].as_array().expect("cases");
    assert!(cases.len() > 1);
    for case in cases.iter().filter(|case| case["status"] == "ok") {
        assert!(flags(case).contains(&"shared-adapter"), "{case}");
    }
    let printed = printed(&output);
    assert!(
        printed.contains("another run may have measured on the adapter"),
        "{printed}"
    );
    assert!(watch.was_shared(), "whoever was alone has seen it");
    // What is the fastest beside another run is chosen, but not remembered.
    for _ in 0..2 {
        let tuned = self::output(&mut machine.flopwatt("tune", &[BEST, "--shared", "--json"]));
        assert_eq!(tuned.status.code(), Some(0), "{}", said(&tuned));
        let tuning: Value = serde_json::from_slice(&tuned.stdout).expect("JSON");
        assert_eq!(tuning[0]["cached"], false);
    }
}

/// Ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::piped());
        Self(quiet.spawn().expect("it starts"))
    }

    /// Reads what it says until a line begins so.
    fn until(&mut self, begin: &str) {
        let stderr = self.0.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.starts_with(begin)),
            "it never said {begin}"
        );
        // The pipe stays open, so that nothing it says later is an error.
        std::thread::spawn(move || lines.for_each(drop));
    }

    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        let killed = kill.args([signal, &self.0.id().to_string()]).status();
        assert!(killed.expect("kill is there").success());
    }

    fn exit(&mut self) -> Option<i32> {
        self.0.wait().expect("it ends").code()
    }
}

/// Waits for what cannot fail to come.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn killed(adapter: AdapterDescription) {
    let machine = Machine::new();
    let arguments = ["*", "--tier", "reference"];
    let mut run = Running::start(&mut machine.measure(&arguments));
    let taken = || machine.locks().alone(&adapter);
    until("the lock was never taken", || {
        matches!(taken(), Err(LockError::Held(_)))
    });
    run.signal("-KILL");
    assert_eq!(run.exit(), None, "it had no time to tidy up");
    until("the lock was never released", || taken().is_ok());
}

fn waits(adapter: AdapterDescription) {
    let machine = Machine::new();
    let held = machine
        .locks()
        .alone(&adapter)
        .expect("nobody else is there");
    let mut run = Running::start(&mut machine.measure(&[SMALL, "--wait"]));
    run.until("waiting: ");
    assert!(!machine.path().join("out").exists(), "it waits");
    drop(held);
    assert_eq!(run.exit(), Some(0));
    let report = machine.report();
    assert!(!flags(&report["measurements"][0]).contains(&"shared-adapter"));
}

fn interrupted(adapter: AdapterDescription) {
    let machine = Machine::new();
    let _held = machine
        .locks()
        .alone(&adapter)
        .expect("nobody else is there");
    let mut run = Running::start(&mut machine.measure(&[SMALL, "--wait"]));
    run.until("waiting: ");
    run.signal("-TERM");
    assert_eq!(run.exit(), Some(130));
    assert!(!machine.path().join("out").exists());
}

fn contradiction() {
    let machine = Machine::new();
    for verb in ["run", "tune"] {
        let output = output(&mut machine.flopwatt(verb, &["--wait", "--shared"]));
        assert_eq!(output.status.code(), Some(2));
        let said = said(&output);
        assert!(said.contains("cannot be used with"), "{said}");
    }
}

/// Twice as many processes as there are processors leave the adapter a third of their
/// time, wherever the scheduler puts them.
fn load() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let burn = || Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    let _burners: Vec<Running> = (0..2 * processors).map(|_| burn()).collect();
    let machine = Machine::new();
    let arguments = [SMALL, "--power", "none", "--out", "out"];
    let output = output(&mut machine.flopwatt_on("cpu", "run", &arguments));
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = machine.report();
    let case = &report["measurements"][0];
    assert!(flags(case).contains(&"cpu-load"), "{case}");
    let taken = case["surroundings"]["others_share"].as_f64();
    assert!(taken.is_some_and(|share| share > 0.05), "{case}");
    let printed = printed(&output);
    assert!(printed.contains("of the processors' time"), "{printed}");
}

/// Process 1 draws and process 2 does both; the worker lists itself.
fn others() {
    let machine = Machine::new();
    let processes = json!({
        "lists_itself": true,
        "processes": [
            { "pid": 2, "name": "/opt/train", "graphics": true },
            { "pid": 2, "name": "/opt/train" },
            { "pid": 1, "graphics": true },
        ],
    });
    let output = machine.on_card(&processes, &[]);
    let report = machine.report();
    let case = &report["measurements"][0];
    assert!(flags(case).contains(&"other-processes"), "{case}");
    let expected = json!([{ "pid": 1, "name": null }, { "pid": 2, "name": "/opt/train" }]);
    assert_eq!(case["surroundings"]["gpu_processes"], expected);
    let printed = printed(&output);
    assert!(printed.contains("(/opt/train)"), "{printed}");
    let arguments = ["report", "out", "--anonymise", "--format", "json"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_flopwatt"));
    let anonymous = self::output(command.current_dir(machine.path()).args(arguments));
    let anonymous = self::printed(&anonymous);
    assert!(anonymous.contains("other-processes"), "{anonymous}");
    assert!(!anonymous.contains("/opt/train"), "{anonymous}");
}

/// What a driver's library does not know is not taken for nobody, nor for somebody.
fn untold() {
    let both = [
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
    ];
    let processes = json!({ "processes": [{ "pid": 1 }] });
    let machine = Machine::new();
    machine.on_card(&processes, &both);
    let report = machine.report();
    let case = &report["measurements"][0];
    assert_eq!(case["surroundings"]["gpu_processes"], Value::Null);
    assert!(!flags(case).contains(&"other-processes"), "{case}");

    let machine = Machine::new();
    machine.on_card(&processes, &both[1..]);
    let report = machine.report();
    let case = &report["measurements"][0];
    assert!(flags(case).contains(&"other-processes"), "{case}");
}

/// The card comes with 300 W.
fn lowered() {
    for (settings, is_lowered) in [
        (json!({ "other_limit_watts": 250.0 }), true),
        (json!({}), false),
    ] {
        let machine = Machine::new();
        machine.on_card(&settings, &[]);
        let report = machine.report();
        let case = &report["measurements"][0];
        let flagged = flags(case).contains(&"power-limited");
        assert_eq!(flagged, is_lowered, "{case}");
        let limits = &case["surroundings"]["gpu_limits"];
        assert_eq!(limits["default_w"], 300.0);
    }
}
