//! What else goes on while flopwatt measures, from the outside: another run on the
//! adapter, load on the processors, other processes on the GPU, a lowered limit, a
//! battery.

#![cfg(target_os = "linux")]

#[path = "support/command.rs"]
mod command;
#[path = "support/faults.rs"]
mod faults;
#[path = "support/running.rs"]
mod running;
mod support;
// Each test program uses a part.
#[allow(dead_code)]
#[path = "support/trials.rs"]
mod trials;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use command::{output, printed, stderr, wanted};
use faults::{NOTHING, Outcome, kept, kept_with, report, row, written};
use flopwatt::gpu::adapter::AdapterDescription;
use flopwatt::session::lock::{AdapterLock, FOLDER_VARIABLE, LockError, Locks};
use running::{Running, signal, wait_for};
use serde_json::{Value, json};
use support::{card, hide, nvml_stand_in, with_settings};
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
        needing("without_a_folder_there_is_no_lock", adapter, no_folder),
        needing("a_link_is_no_lock", adapter, link),
        alone("load_on_the_processors_is_flagged", software, |()| load()),
        needing("time_that_was_stolen_is_flagged", changeable, |()| stolen()),
        needing("a_low_clock_is_flagged", changeable, |()| held_down()),
        needing("a_battery_is_flagged", changeable, |()| battery()),
        needing("other_processes_are_flagged", adapter, |_| others()),
        needing("processes_that_are_not_told_are_null", adapter, |_| {
            untold()
        }),
        needing("a_list_without_this_process_is_null", adapter, |_| blind()),
        needing("a_lowered_limit_is_flagged", adapter, |_| lowered()),
        needing("a_throttled_gpu_is_flagged_without_power", adapter, |_| {
            throttled()
        }),
    ]);
}

/// Cases that take no time to speak of.
const SMALL: &str = "latency/none/dispatch/empty";
const OTHER: &str = "latency/none/submit/empty";
const BEST: &str = "matmul/i8-i32acc/best/48x40x56";

/// What is said of figures, by flag.
const SHARED: &str = "another run may have measured on the adapter";
const CPU_LOAD: &str = "other processes, or the hypervisor, took over 5 % of the processors' time";
const OTHERS: &str = "other processes used the GPU";
const LIMITED: &str = "the power limit was below the one that the device comes with";

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

/// Whether there is a software adapter, and this user may show a process other files
/// of the system than there are.
fn changeable() -> Result<(), Missing> {
    software()?;
    let showing = Command::new("unshare")
        .args(OWN_MOUNTS)
        .arg("true")
        .output();
    let may = showing.is_ok_and(|output| output.status.success());
    may.then_some(())
        .ok_or_else(|| Missing("mount points of its own need a user namespace".into()))
}

/// A machine with locks of its own, which is also a user's home.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(command::folder())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// The lock of `adapter`, held by this process.
    fn held(&self, adapter: &AdapterDescription) -> AdapterLock {
        let held = Locks::in_folder(self.path()).alone(adapter);
        held.expect("nobody else is there")
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
        self.measure_on(&wanted(), arguments)
    }

    fn measure_on(&self, adapter: &str, arguments: &[&str]) -> Command {
        let mut command = self.flopwatt_on(adapter, "run", &["--power", "none", "--out", "out"]);
        command.args(arguments);
        command
    }

    /// Begins to wait for an adapter in use. What it says goes into a file.
    fn waiting(&self) -> Running {
        let said = File::create(self.path().join("said")).expect("a temporary file");
        let mut command = self.measure(&[SMALL, "--wait"]);
        let run = Running::start(command.stdout(Stdio::null()).stderr(said));
        wait_for("it waits", || self.said().contains("waiting: "));
        assert_eq!(written(&self.out()), NOTHING, "it waits");
        run
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path().join("said")).expect("text")
    }

    /// Runs one small case that reads the stand-in's card, with these settings and
    /// without these functions.
    fn on_card(&self, settings: &Value, hidden: &[&str]) -> Output {
        let card = with_settings(card(), settings);
        let library = nvml_stand_in(self.path(), &json!({ "devices": [card] }));
        hide(&library, hidden);
        let arguments = [SMALL, "--power", "nvml:0", "--out", "out"];
        output(&mut self.flopwatt("run", &arguments))
    }

    /// Adds the row of a fault that leaves figures, with the flag and what is printed
    /// of it, and returns the first case.
    fn flags(&self, fault: &str, output: &Output, flag: &str, said: &str) -> Value {
        let report = report(&self.out());
        let planned = report["plan"]["cases"].as_array().map_or(0, Vec::len);
        let expected = format!("{planned} ok of {planned}, flagged {flag}");
        let expected = Outcome::new(said, 0, &expected);
        let kept = kept_with(&report, flag);
        let shown = printed(output);
        let seen = Outcome::new(&shown, output.status.code(), &kept);
        row(fault, &expected, &seen);
        report["measurements"][0].clone()
    }

    /// Adds the row of a fault that keeps the command from writing anything.
    fn refuses(&self, fault: &str, output: &Output, said: &str, status: i32) {
        let expected = Outcome::new(said, status, NOTHING);
        let folder = self.path().to_str().expect("Unicode");
        let told = stderr(output).replace(folder, "DIR");
        let kept = written(&self.out());
        let seen = Outcome::new(&told, output.status.code(), kept);
        row(fault, &expected, &seen);
        assert!(output.stdout.is_empty(), "{fault}");
    }
}

fn in_use(adapter: AdapterDescription) {
    let machine = Machine::new();
    let _held = machine.held(&adapter);
    for (fault, verb, arguments) in [
        ("adapter in use", "run", &[SMALL, "--out", "out"][..]),
        ("tune: adapter in use", "tune", &[BEST]),
        (
            "gate: adapter in use",
            "gate",
            &["--self-test", "--cases", SMALL],
        ),
    ] {
        let output = output(&mut machine.flopwatt(verb, arguments));
        machine.refuses(fault, &output, "is in use: ", 3);
        let said = stderr(&output);
        let process = format!("(process {}, since ", std::process::id());
        for part in [&process, "--wait", "--shared"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

fn shared(adapter: AdapterDescription) {
    let machine = Machine::new();
    let held = machine.held(&adapter);
    let watch = held.watch();
    let output = output(&mut machine.measure(&[SMALL, OTHER, "--shared"]));
    let fault = "adapter in use, --shared";
    machine.flags(fault, &output, "shared-adapter", SHARED);
    assert!(watch.was_shared(), "whoever was alone has seen it");
    // What is the fastest beside another run is chosen, but not remembered.
    for _ in 0..2 {
        let tuned = command::output(&mut machine.flopwatt("tune", &[BEST, "--shared", "--json"]));
        assert_eq!(tuned.status.code(), Some(0), "{}", stderr(&tuned));
        let tuning: Value = serde_json::from_slice(&tuned.stdout).expect("JSON");
        assert_eq!(tuning[0]["cached"], false);
    }
}

fn killed(adapter: AdapterDescription) {
    let machine = Machine::new();
    let arguments = ["*", "--tier", "reference"];
    let mut first = machine.measure(&arguments);
    let first = Running::start(first.stdout(Stdio::null()).stderr(Stdio::null()));
    let taken = || Locks::in_folder(machine.path()).alone(&adapter);
    wait_for("it takes the lock", || {
        matches!(taken(), Err(LockError::Held(_)))
    });
    signal("-KILL", &first.id().to_string());
    assert_eq!(first.end().status.code(), None, "no time to tidy up");
    wait_for("the lock is released", || taken().is_ok());
    // It may have begun its report.
    let next = output(&mut machine.flopwatt("run", &[SMALL, "--power", "none", "--out", "next"]));
    let expected = Outcome::new("report: next/report.json", 0, "1 ok of 1");
    let kept = kept(&report(&machine.path().join("next")));
    let said = stderr(&next);
    let seen = Outcome::new(&said, next.status.code(), &kept);
    row("holder of the adapter killed", &expected, &seen);
}

fn waits(adapter: AdapterDescription) {
    let machine = Machine::new();
    let held = machine.held(&adapter);
    let run = machine.waiting();
    drop(held);
    let output = run.end();
    let expected = Outcome::new("waiting: ", 0, "1 ok of 1, not flagged shared-adapter");
    let kept = kept_with(&report(&machine.out()), "shared-adapter");
    let said = machine.said();
    let seen = Outcome::new(&said, output.status.code(), &kept);
    row("adapter in use, --wait", &expected, &seen);
}

fn interrupted(adapter: AdapterDescription) {
    let machine = Machine::new();
    let _held = machine.held(&adapter);
    let run = machine.waiting();
    signal("-TERM", &run.id().to_string());
    let output = run.end();
    let expected = Outcome::new("interrupted while waiting for the adapter", 130, NOTHING);
    let kept = written(&machine.out());
    let said = machine.said();
    let seen = Outcome::new(&said, output.status.code(), kept);
    row("--wait interrupted", &expected, &seen);
}

fn contradiction() {
    let machine = Machine::new();
    for (fault, verb) in [
        ("--wait with --shared", "run"),
        ("tune: --wait with --shared", "tune"),
    ] {
        let output = output(&mut machine.flopwatt(verb, &["--wait", "--shared"]));
        machine.refuses(fault, &output, "cannot be used with", 2);
    }
}

fn no_folder(_: AdapterDescription) {
    let machine = Machine::new();
    let measure = |arguments: &[&str]| {
        let mut command = machine.measure(arguments);
        output(command.env(FOLDER_VARIABLE, "/nonexistent"))
    };
    let fault = "no folder for the lock";
    let said = "cannot lock /nonexistent/flopwatt-";
    machine.refuses(fault, &measure(&[SMALL]), said, 2);
    let fault = "no folder for the lock, --shared";
    let output = measure(&[SMALL, "--shared"]);
    machine.flags(fault, &output, "shared-adapter", SHARED);
}

/// A lock that is a link could make an administrator's run write to any file.
fn link(adapter: AdapterDescription) {
    let machine = Machine::new();
    drop(machine.held(&adapter));
    let mut files = fs::read_dir(machine.path()).expect("the folder");
    let lock = files.find_map(|file| {
        let path = file.expect("a file").path();
        path.extension()
            .is_some_and(|kind| kind == "lock")
            .then_some(path)
    });
    let lock = lock.expect("there is a lock");
    let precious = machine.path().join("precious");
    fs::rename(&lock, &precious).expect("renamed");
    fs::write(&precious, "precious").expect("written");
    symlink(&precious, &lock).expect("a link");
    let output = output(&mut machine.measure(&[SMALL]));
    let said = "cannot lock ";
    machine.refuses("link in place of the lock", &output, said, 2);
    let left = fs::read_to_string(&precious).expect("it is there");
    assert_eq!(left, "precious");
}

/// Twice as many processes as there are processors leave the adapter a third of their
/// time, wherever the scheduler puts them.
fn load() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let burn = || Running::start(Command::new("sh").args(["-c", "while :; do :; done"]));
    let _burners: Vec<Running> = (0..2 * processors).map(|_| burn()).collect();
    let machine = Machine::new();
    let output = output(&mut machine.measure_on("cpu", &[SMALL]));
    let fault = "load on the processors";
    let case = machine.flags(fault, &output, "cpu-load", CPU_LOAD);
    let taken = case["surroundings"]["others_share"].as_f64();
    assert!(taken.is_some_and(|share| share > 0.05), "{case}");
}

/// Lets `unshare` give a program mount points of its own, without root.
const OWN_MOUNTS: [&str; 2] = ["--map-root-user", "--mount"];
/// Mounts pairs of paths, the first over the second, and then runs what follows `--`.
const MOUNT_AND_RUN: &str = "
    while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$2\" || exit; shift 2; done
    shift
    exec \"$@\"
";

/// The command where it finds the first path of each pair in place of the second.
fn showing(pairs: &[(&Path, &Path)], command: &Command) -> Command {
    let mut shown = Command::new("unshare");
    shown
        .args(OWN_MOUNTS)
        .args(["sh", "-c", MOUNT_AND_RUN, "sh"]);
    for (shown_path, place) in pairs {
        shown.args([shown_path, place]);
    }
    shown
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
    if let Some(folder) = command.get_current_dir() {
        shown.current_dir(folder);
    }
    shown
}

/// Names of this machine's processors, such as `cpu0`.
fn processors() -> Vec<String> {
    let stat = fs::read_to_string("/proc/stat").expect("procfs");
    let names = stat.lines().filter_map(|line| line.split(' ').next());
    let is_one = |name: &&str| {
        let number = name.strip_prefix("cpu");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    names.filter(is_one).map(str::to_owned).collect()
}

/// The kernel's account of processors that idle half of the time, while the
/// hypervisor keeps the other half; of the same length whenever it is written.
fn half_stolen(since: Instant) -> String {
    let half = since.elapsed().as_millis() / 20;
    let mut stat = String::new();
    for processor in processors() {
        let _ = writeln!(stat, "{processor} 0 0 0 {half:020} 0 0 0 {half:020} 0 0");
    }
    stat
}

fn stolen() {
    let machine = Machine::new();
    let path = machine.path().join("stat");
    let begin = Instant::now();
    fs::write(&path, half_stolen(begin)).expect("written");
    let file = File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    let mut command = machine.measure_on("cpu", &[SMALL]);
    command = showing(&[(&path, Path::new("/proc/stat"))], &command);
    let has_ended = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                // In place: the mount holds on to this file.
                let written = file.write_all_at(half_stolen(begin).as_bytes(), 0);
                written.expect("there is room");
                thread::sleep(Duration::from_millis(20));
            }
        });
        let output = command.output();
        has_ended.store(true, Ordering::Relaxed);
        output.expect("unshare starts")
    });
    let fault = "time kept by the hypervisor";
    let case = machine.flags(fault, &output, "cpu-load", CPU_LOAD);
    let surroundings = &case["surroundings"];
    let stolen = surroundings["stolen_share"].as_f64();
    assert!(stolen.is_some_and(|share| share > 0.05), "{surroundings}");
}

/// Held at half of their highest clock.
fn held_down() {
    let machine = Machine::new();
    let folder = machine.path().join("cpu");
    fs::create_dir_all(folder.join("cpufreq")).expect("a folder");
    for (file, khz) in [
        ("cpuinfo_max_freq", 4_000_000),
        ("scaling_max_freq", 2_000_000),
    ] {
        fs::write(folder.join("cpufreq").join(file), format!("{khz}\n")).expect("written");
    }
    let places: Vec<PathBuf> = processors()
        .iter()
        .map(|name| Path::new("/sys/devices/system/cpu").join(name))
        .collect();
    let pairs: Vec<(&Path, &Path)> = places.iter().map(|place| (&*folder, &**place)).collect();
    let output = output(&mut showing(&pairs, &machine.measure_on("cpu", &[SMALL])));
    let fault = "processors held below their clock";
    let said = "slowed down by heat or the power supply, or at a low clock";
    machine.flags(fault, &output, "throttled", said);
}

fn battery() {
    let machine = Machine::new();
    let supplies = machine.path().join("power_supply");
    let battery = supplies.join("BAT0");
    fs::create_dir_all(&battery).expect("a folder");
    for (file, text) in [("type", "Battery\n"), ("status", "Discharging\n")] {
        fs::write(battery.join(file), text).expect("written");
    }
    let place = Path::new("/sys/class/power_supply");
    let command = machine.measure_on("cpu", &[SMALL]);
    let output = output(&mut showing(&[(&supplies, place)], &command));
    let said = "the machine ran on a battery";
    machine.flags("on a battery", &output, "on-battery", said);
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
    let fault = "other processes on the GPU";
    let case = machine.flags(fault, &output, "other-processes", OTHERS);
    let expected = json!([{ "pid": 1, "name": null }, { "pid": 2, "name": "/opt/train" }]);
    assert_eq!(case["surroundings"]["gpu_processes"], expected);
    let shown = printed(&output);
    assert!(shown.contains("(/opt/train)"), "{shown}");
    let mut anonymous = command::flopwatt(machine.path());
    anonymous.args(["report", "out", "--anonymise", "--format", "json"]);
    let anonymous = printed(&command::output(&mut anonymous));
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
    let output = machine.on_card(&processes, &both);
    let report = report(&machine.out());
    let expected = Outcome::new("", 0, "1 ok of 1, not flagged other-processes");
    let kept = kept_with(&report, "other-processes");
    let seen = Outcome::new("", output.status.code(), &kept);
    row("GPU that tells no processes", &expected, &seen);
    let surroundings = &report["measurements"][0]["surroundings"];
    assert_eq!(surroundings["gpu_processes"], Value::Null);

    let machine = Machine::new();
    let output = machine.on_card(&processes, &both[1..]);
    let fault = "GPU that tells only processes that compute";
    machine.flags(fault, &output, "other-processes", OTHERS);
}

/// In many containers NVML lists nobody, not even whoever asks.
fn blind() {
    let machine = Machine::new();
    let output = machine.on_card(&json!({ "lists_itself": false }), &[]);
    let first = report(&machine.out());
    let expected = Outcome::new("", 0, "1 ok of 1, not flagged other-processes");
    let kept = kept_with(&first, "other-processes");
    let seen = Outcome::new("", output.status.code(), &kept);
    row("GPU whose list of processes is blind", &expected, &seen);
    let surroundings = &first["measurements"][0]["surroundings"];
    assert_eq!(surroundings["gpu_processes"], Value::Null);
    let why = surroundings["gpu_processes_reason"].as_str();
    assert!(why.is_some_and(|why| why.contains("not even list this process")));

    let machine = Machine::new();
    machine.on_card(&json!({ "lists_itself": true }), &[]);
    let surroundings = &report(&machine.out())["measurements"][0]["surroundings"];
    assert_eq!(surroundings["gpu_processes"], json!([]), "nobody else");
    assert_eq!(surroundings["gpu_processes_reason"], Value::Null);
}

/// The case has no power, since the device waits between its dispatches.
fn throttled() {
    let machine = Machine::new();
    let output = machine.on_card(&json!({ "throttle_reasons": 0x40 }), &[]);
    let fault = "GPU slowed down by heat, without power";
    let said = "slowed down by heat or the power supply, or at a low clock";
    let case = machine.flags(fault, &output, "throttled", said);
    assert_eq!(case["power"], Value::Null);
    let clock = json!({ "min": 1500, "median": 1500, "max": 1500 });
    assert_eq!(case["conditions"]["sm_clock_mhz"], clock);
}

/// The card comes with 300 W.
fn lowered() {
    let machine = Machine::new();
    let output = machine.on_card(&json!({ "other_limit_watts": 250.0 }), &[]);
    let fault = "power limit below the usual one";
    let case = machine.flags(fault, &output, "power-limited", LIMITED);
    let limits = |case: &Value| case["surroundings"]["gpu_limits"]["default_w"].clone();
    assert_eq!(limits(&case), 300.0);

    let machine = Machine::new();
    machine.on_card(&json!({}), &[]);
    let report = report(&machine.out());
    let kept = kept_with(&report, "power-limited");
    assert_eq!(kept, "1 ok of 1, not flagged power-limited");
    assert_eq!(limits(&report["measurements"][0]), 300.0);
}
