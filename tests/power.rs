//! Power through the real NVML wrapper and a stand-in for the library: what is
//! read, and what a user sees of everything that can go wrong.

#![cfg(target_os = "linux")]

#[path = "support/faults.rs"]
mod faults;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use assert_cmd::Command;
use faults::Outcome;
use flopwatt::gpu::adapter::{AdapterDescription, DeviceType};
use flopwatt::measure::Meter;
use flopwatt::measure::conditions::Conditions;
use flopwatt::measure::measurement::Flag;
use flopwatt::measure::tier::Tier;
use flopwatt::power::energy::{self, Window};
use flopwatt::power::open::Machine;
use flopwatt::power::sampler::Sampler;
use flopwatt::power::sensor::{self, Known};
use flopwatt::power::spec::PowerSpec;
use flopwatt::power::state::ThrottleReason;
use flopwatt::power::{Averaging, Coverage, Metric, Missing, PowerSource, Unavailable};
use flopwatt::units::{Seconds, Watts};
use serde_json::{Value, json};
use support::{card, hide, nvml_stand_in, with_settings};
use tempfile::TempDir;

/// `card` with other settings.
fn card_with(settings: Value) -> Value {
    json!({ "devices": [with_settings(card(), &settings)] })
}

/// A thing that goes wrong, and what a user sees of it.
struct Row {
    fault: &'static str,
    script: Value,
    /// Functions that the library lacks.
    hidden: &'static [&'static str],
    exit: i32,
    /// Part of what is said on standard error.
    said: &'static str,
    /// Values of the JSON on standard output.
    shown: Vec<(&'static str, Value)>,
    /// Whether there is a mean power.
    figure: bool,
}

impl Row {
    /// Nothing is there to watch.
    fn refused(fault: &'static str, script: Value, said: &'static str) -> Self {
        Self {
            fault,
            script,
            hidden: &[],
            exit: 3,
            said,
            shown: vec![],
            figure: false,
        }
    }

    /// Something is watched, with these values.
    fn watched(fault: &'static str, script: Value, shown: Vec<(&'static str, Value)>) -> Self {
        Self {
            exit: 0,
            figure: true,
            shown,
            ..Self::refused(fault, script, "")
        }
    }

    /// Something is watched and yields no figure.
    fn without_figure(self, said: &'static str) -> Self {
        Self {
            exit: 3,
            figure: false,
            said,
            ..self
        }
    }

    /// The user named what is not there.
    fn named(self) -> Self {
        Self { exit: 2, ..self }
    }

    fn lacking(self, hidden: &'static [&'static str]) -> Self {
        Self { hidden, ..self }
    }

    fn check(&self) {
        let folder = TempDir::new().expect("a temporary folder");
        let library = nvml_stand_in(folder.path(), &self.script);
        hide(&library, self.hidden);
        let output = Command::cargo_bin("flopwatt")
            .expect("the binary is built")
            .args(["power", "--json", "--for", "2s", "--power", "nvml:0"])
            .env("LD_LIBRARY_PATH", folder.path())
            .output()
            .expect("the command runs");
        let fault = self.fault;
        let said = String::from_utf8_lossy(&output.stderr);
        let watched: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let kept = |figure| match figure {
            true => "mean power",
            false => "no figure",
        };
        let seen = Outcome {
            said: &said,
            status: output.status.code(),
            kept: kept(watched["mean_w"].is_number()),
        };
        let expected = Outcome {
            said: self.said,
            status: Some(self.exit),
            kept: kept(self.figure),
        };
        faults::row(&format!("power: {fault}"), &expected, &seen);
        for (pointer, value) in &self.shown {
            let shown = watched.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(shown, value, "{fault}: {pointer} of {watched}");
        }
        if self.figure {
            let watts = watched["mean_w"].as_f64().expect("a number");
            assert!((watts - 120.2).abs() < 5.0, "{fault}: {watts}");
        }
    }
}

/// NVML's return codes.
const NOT_SUPPORTED: u32 = 3;
const NO_PERMISSION: u32 = 4;
const NOT_FOUND: u32 = 6;
const DRIVER_NOT_LOADED: u32 = 9;
const GPU_IS_LOST: u32 = 15;
const RESET_REQUIRED: u32 = 16;
const VERSION_MISMATCH: u32 = 18;
const NO_DATA: u32 = 21;

const POWER: [&str; 3] = ["POWER_INSTANT", "POWER_AVERAGE", "nvmlDeviceGetPowerUsage"];
const ENERGY: &str = "nvmlDeviceGetTotalEnergyConsumption";

/// These functions answer with `code`.
fn failing(functions: &[&str], code: u32) -> Value {
    let faults = functions
        .iter()
        .map(|f| ((*f).to_owned(), json!({ "code": code })));
    let faults: serde_json::Map<_, _> = faults.collect();
    card_with(json!({ "faults": faults }))
}

/// Everything fails with `code` in the middle of the watch: sensing takes 2 s.
fn failing_later(code: u32) -> Value {
    card_with(json!({ "faults": { "*": { "code": code, "after": 3.0 } } }))
}

fn nothing_told(code: u32) -> Value {
    let [instant, average, usage] = POWER;
    failing(&[instant, average, usage, ENERGY], code)
}

fn rows() -> Vec<Row> {
    let counts = || ("/counter/void", Value::Null);
    let lost = |fault, code, said| {
        Row::watched(fault, failing_later(code), vec![("/range_w", Value::Null)])
            .without_figure(said)
    };
    let without_counter = |mut settings: Value| {
        settings["faults"] = json!({ ENERGY: { "code": NOT_SUPPORTED } });
        card_with(settings)
    };
    vec![
        Row::watched(
            "nothing",
            card_with(json!({})),
            vec![
                counts(),
                ("/integral/void", Value::Null),
                (
                    "/source/power/field",
                    json!("NVML field 186 POWER_INSTANT, scope GPU"),
                ),
                ("/source/covers", json!("gpu-board")),
            ],
        ),
        Row::refused(
            "driver not loaded",
            json!({ "init": DRIVER_NOT_LOADED }),
            "kernel module is not loaded",
        ),
        Row::refused(
            "library of another version",
            json!({ "init": VERSION_MISMATCH }),
            "of different versions",
        ),
        Row::refused("no entry point", card_with(json!({})), "lacks nvmlInit_v2")
            .lacking(&["nvmlInit_v2", "nvmlShutdown"]),
        Row::refused("no such GPU", json!({}), "there is none of that kind").named(),
        Row::refused(
            "no permission",
            nothing_told(NO_PERMISSION),
            "an administrator may",
        ),
        Row::refused("no sensor", nothing_told(NOT_SUPPORTED), "neither power"),
        Row::refused("not found", nothing_told(NOT_FOUND), "does not find it"),
        Row::refused("MIG", card_with(json!({ "mig": true })), "MIG is on"),
        Row::refused(
            "virtual GPU",
            card_with(json!({ "virtualization_mode": 2 })),
            "is a virtual GPU",
        ),
        Row::refused(
            "lost before",
            failing(&["*"], GPU_IS_LOST),
            "fallen off the bus",
        ),
        lost("lost in between", GPU_IS_LOST, "fallen off the bus"),
        lost("reset required", RESET_REQUIRED, "must be reset"),
        Row::watched(
            "no counter",
            failing(&[ENERGY], NOT_SUPPORTED),
            vec![
                ("/counter/void/code", json!("not-offered")),
                ("/source/energy/missing/code", json!("not-supported")),
            ],
        ),
        Row::watched(
            "function missing",
            card_with(json!({})),
            vec![
                ("/source/energy/missing/code", json!("symbol-missing")),
                ("/source/power/field", json!("nvmlDeviceGetPowerUsage")),
            ],
        )
        .lacking(&[ENERGY, "nvmlDeviceGetFieldValues"]),
        Row::watched(
            "no power",
            failing(&POWER, NOT_SUPPORTED),
            vec![counts(), ("/integral/void/code", json!("not-offered"))],
        ),
        Row::watched(
            "counter stuck",
            card_with(json!({ "counter_stuck_at": 2.5 })),
            vec![("/counter/void/code", json!("counter-stuck"))],
        ),
        Row::watched(
            "counter backwards",
            card_with(json!({ "counter_restarts_at": 3.0 })),
            vec![("/counter/void/code", json!("counter-backwards"))],
        ),
        Row::watched(
            "0 W beside a counter",
            card_with(json!({ "shown_watts": 0.0 })),
            vec![
                ("/integral/void/code", json!("zero-power")),
                ("/range_w", Value::Null),
                counts(),
            ],
        ),
        Row::watched(
            "0 W",
            without_counter(json!({ "shown_watts": 0.0 })),
            vec![("/integral/void/code", json!("zero-power"))],
        )
        .without_figure(""),
        Row::watched(
            "absurd power",
            without_counter(json!({ "shown_watts": 601.0 })),
            vec![("/integral/void/code", json!("absurd-power"))],
        )
        .without_figure(""),
        Row::watched(
            "no data in between",
            card_with(json!({ "faults": {
                "POWER_INSTANT": { "code": NO_DATA, "after": 3.0 },
                ENERGY: { "code": NOT_SUPPORTED },
            } })),
            vec![("/first_failure/code", json!("missing"))],
        ),
        Row::watched(
            "throttled",
            card_with(json!({ "throttle_reasons": 0x44 })),
            vec![
                (
                    "/state/throttle/reasons",
                    json!(["sw-power-cap", "hw-thermal"]),
                ),
                ("/state/throttle/bits", json!(0x44)),
            ],
        ),
    ]
}

#[test]
fn every_fault_is_told_and_no_figure_is_made_up() {
    thread::scope(|scope| {
        for row in rows() {
            scope.spawn(move || row.check());
        }
    });
}

#[test]
fn the_listing_says_why_a_source_cannot_be_read() {
    let folder = TempDir::new().expect("a temporary folder");
    nvml_stand_in(folder.path(), &support::two_cards());
    let flopwatt = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("flopwatt").expect("the binary is built");
        command
            .args(arguments)
            .env("LD_LIBRARY_PATH", folder.path());
        command.assert()
    };
    let listed = flopwatt(&["power", "--json"]).success();
    let listed: Value = serde_json::from_slice(&listed.get_output().stdout).expect("JSON");
    let sources = listed["power_sources"].as_array().expect("a list");
    let source = |name: &str| {
        sources
            .iter()
            .find(|s| s["source"] == name)
            .expect("listed")
    };
    assert_eq!(source("nvml:0")["available"], true);
    assert_eq!(source("nvml:1")["available"], false);
    let text = flopwatt(&["power"]).success();
    let text = String::from_utf8_lossy(&text.get_output().stdout).into_owned();
    assert!(text.contains("neither an energy counter"), "{text}");
    for (wrong, why) in [
        (vec!["power", "--for", "0s"], "above 0"),
        (vec!["power", "--for", "soon"], "soon"),
        (
            vec!["power", "--for", "1s", "--power", "nvidia"],
            "nvml[:index|uuid|pci]",
        ),
        (vec!["power", "--power", "nvml"], "--for"),
        (
            vec!["power", "--for", "1s", "--power", "none"],
            "turned off",
        ),
        (
            vec![
                "power",
                "--for",
                "1s",
                "--power",
                "command:/nonexistent/meter",
            ],
            "cannot run",
        ),
        (
            vec!["power", "--for", "1s", "--power", "nvml:7"],
            "nvml:0 (Testcard 1)",
        ),
    ] {
        let assert = flopwatt(&wrong).code(2);
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
}

#[test]
fn a_command_is_watched() {
    let assert = Command::cargo_bin("flopwatt")
        .expect("the binary is built")
        .args(["power", "--json", "--for", "1s", "--power"])
        .arg("command:sh -c 'while echo 75.5 W; do sleep 0.05; done'")
        .assert()
        .success();
    let watched: Value = serde_json::from_slice(&assert.get_output().stdout).expect("JSON");
    assert_eq!(watched["range_w"], json!([75.5, 75.5]));
    assert_eq!(watched["source"]["covers"], "command");
    assert_eq!(watched["counter"]["void"]["code"], "not-offered");
}

/// An adapter as its driver describes it.
fn adapter(kind: DeviceType, place: Option<&str>, ids: (u32, u32)) -> AdapterDescription {
    let text = include_str!("data/adapter.json");
    let described: AdapterDescription = serde_json::from_str(text).expect("an adapter");
    AdapterDescription {
        device_type: kind,
        pci_address: place.map(Into::into),
        vendor_id: ids.0,
        device_id: ids.1,
        ..described
    }
}

const TESTCARD: (u32, u32) = (0x10de, 0x2684);

/// Opens on a machine with this script and an empty tree of sensors.
fn open_on(
    sysfs: &Path,
    script: &Value,
    spec: &str,
    adapter: &AdapterDescription,
) -> Result<Box<dyn PowerSource>, Unavailable> {
    let folder = TempDir::new().expect("a temporary folder");
    let library = nvml_stand_in(folder.path(), script);
    let machine = Machine {
        sysfs,
        nvml: &[&library],
    };
    let spec: PowerSpec = spec.parse().expect("a source");
    machine.open(&spec, Some(adapter))
}

fn open(
    script: &Value,
    spec: &str,
    adapter: &AdapterDescription,
) -> Result<Box<dyn PowerSource>, Unavailable> {
    let sysfs = TempDir::new().expect("a temporary folder");
    open_on(sysfs.path(), script, spec, adapter)
}

/// Two cards of one model.
fn twins() -> Value {
    let mut second = card();
    second["bus_id"] = json!("00000000:0B:00.0");
    second["uuid"] = json!("GPU-2");
    json!({ "devices": [card(), second] })
}

#[test]
fn an_adapter_gets_the_source_at_its_address() {
    let gpu = |place| adapter(DeviceType::DiscreteGpu, place, TESTCARD);
    for spec in ["auto", "nvml"] {
        let source = open(&twins(), spec, &gpu(Some("0000:0b:00.0"))).expect("the second card");
        assert_eq!(source.identity().name, "nvml:1");
    }
    let elsewhere = open(&twins(), "auto", &gpu(Some("0000:0c:00.0"))).err();
    assert!(matches!(
        elsewhere,
        Some(Unavailable::NoneForAdapter { .. })
    ));
    for (spec, name) in [
        ("nvml:1", "nvml:1"),
        ("nvml:GPU-2", "nvml:1"),
        ("nvml:0a:00.0", "nvml:0"),
    ] {
        let source = open(&twins(), spec, &gpu(None)).expect("a named card");
        assert_eq!(source.identity().name, name);
    }
    assert!(matches!(
        open(&twins(), "none", &gpu(None)).err(),
        Some(Unavailable::NotWanted)
    ));
}

#[test]
fn between_two_cards_of_one_model_nothing_is_guessed() {
    let unplaced = adapter(DeviceType::Other, None, TESTCARD);
    let one = json!({ "devices": [card()] });
    let source = open(&one, "auto", &unplaced).expect("the only card");
    assert_eq!(source.identity().name, "nvml:0");
    let error = open(&twins(), "auto", &unplaced).err().expect("two fit");
    let said = error.to_string();
    assert!(matches!(error, Unavailable::Ambiguous { .. }), "{said}");
    assert!(
        said.contains("nvml:0000:0a:00.0, nvml:0000:0b:00.0"),
        "{said}"
    );
    let other = adapter(DeviceType::Other, None, (0x10de, 0x1234));
    assert!(open(&one, "auto", &other).is_err());
    let unknown = adapter(DeviceType::Other, None, (0, 0));
    assert!(open(&one, "auto", &unknown).is_err());
}

#[test]
fn a_software_adapter_gets_the_cpu_and_never_a_gpu() {
    let sysfs = TempDir::new().expect("a temporary folder");
    let software = adapter(DeviceType::Cpu, None, TESTCARD);
    let error = open_on(sysfs.path(), &twins(), "auto", &software)
        .err()
        .expect("no RAPL");
    assert!(error.to_string().contains("powercap"), "{error}");
    for package in 0..2 {
        let folder = sysfs
            .path()
            .join(format!("class/powercap/intel-rapl:{package}"));
        fs::create_dir_all(&folder).expect("a temporary folder");
        fs::write(folder.join("name"), format!("package-{package}")).expect("a file");
        fs::write(folder.join("energy_uj"), "1000000").expect("a file");
    }
    let source = open_on(sysfs.path(), &twins(), "auto", &software).expect("RAPL");
    assert_eq!(source.identity().covers, Coverage::CpuPackages);
    let one = open_on(sysfs.path(), &twins(), "rapl:package-1", &software).expect("RAPL");
    assert_eq!(one.identity().covers, Coverage::CpuPackage);
}

#[test]
fn fields_are_chosen_from_the_best_down_and_labelled() {
    let gpu = adapter(DeviceType::DiscreteGpu, None, TESTCARD);
    let opened = |script: Value| open(&script, "nvml:0", &gpu).expect("a source");
    let field = |source: &dyn PowerSource| match &source.identity().power {
        Metric::Field(field) => field.clone(),
        Metric::Missing(why) => panic!("{why}"),
    };
    let source = opened(failing(&["POWER_INSTANT"], NOT_SUPPORTED));
    assert_eq!(field(&*source), "NVML field 185 POWER_AVERAGE, scope GPU");
    assert_eq!(source.identity().averaging.window_s, Some(Seconds(1.0)));
    let source = opened(failing(&POWER[..2], NOT_SUPPORTED));
    assert_eq!(field(&*source), "nvmlDeviceGetPowerUsage");
    // The chip is an Ampere, which may or may not average.
    assert_eq!(source.identity().averaging.window_s, None);
    let source = opened(card_with(json!({
        "scopes": [1],
        "faults": { "nvmlDeviceGetPowerUsage": { "code": NOT_SUPPORTED } },
    })));
    assert_eq!(
        field(&*source),
        "NVML field 186 POWER_INSTANT, scope module"
    );
    assert_eq!(source.identity().covers, Coverage::Module);
    let source = opened(failing(&POWER, NO_PERMISSION));
    assert_eq!(
        source.identity().power.missing(),
        Some(&Missing::NoPermission)
    );
}

#[test]
fn the_state_is_what_the_device_says() {
    let gpu = adapter(DeviceType::DiscreteGpu, None, TESTCARD);
    let script = card_with(json!({
        "throttle_reasons": 0x4,
        "faults": { "nvmlDeviceGetTemperature": { "code": NOT_SUPPORTED } },
    }));
    let state = open(&script, "nvml:0", &gpu).expect("a source").state();
    assert_eq!(state.sm_clock_mhz, Some(1500));
    assert_eq!(state.max_sm_clock_mhz, Some(2000));
    assert_eq!(state.enforced_limit_w, Some(Watts(300.0)));
    assert_eq!(state.temperature_c, None);
    assert_eq!(state.mig, Some(false));
    assert_eq!(state.p_state, Some(0));
    assert_eq!(state.driver_version.as_deref(), Some("575.0"));
    let throttle = state.throttle.expect("it tells");
    assert_eq!(throttle.reasons, [ThrottleReason::SwPowerCap]);
}

/// 60 W, and 300 W from 5.5 to 10.5 s after the library was loaded: 1500 J.
#[test]
fn a_window_has_its_energy_through_all_layers() {
    const BEGIN: f64 = 5.5;
    const END: f64 = 10.5;
    let script = card_with(json!({ "load": [
        { "shape": "constant", "watts": 60.0 },
        { "shape": "square", "watts": 0.5, "period": 0.0371, "duty": 0.43 },
        { "shape": "constant", "watts": 240.0, "begin": BEGIN, "end": END },
    ] }));
    let gpu = adapter(DeviceType::DiscreteGpu, None, TESTCARD);
    let loaded = Instant::now();
    let mut source = open(&script, "nvml:0", &gpu).expect("a source");
    let sensor = sensor::detect(source.as_mut()).expect("it can be read");
    let sampler = Sampler::start(source, sensor.clone());
    let update = sampler.wait_for_update(Duration::from_secs(1));
    assert!(update.is_some(), "the sensor updates every 100 ms");
    let until = loaded + Duration::from_secs_f64(END + sensor.settling().0 + 1.2);
    thread::sleep(until - Instant::now());
    let at = |seconds| sampler.time_of(loaded + Duration::from_secs_f64(seconds));
    let window = Window {
        begin_s: at(BEGIN),
        end_s: at(END),
        idle_before_s: Seconds(1.5),
        idle_after_s: Seconds(sensor.settling().0 + 1.0),
    };
    let trace = sampler.stop();
    assert_eq!((trace.failed_reads, &trace.ended_by), (0, &None));
    assert!(trace.cost.cpu_s.0 > 0.0 && trace.cost.wall_s.0 > END - BEGIN);
    let limit = trace.states[0].state.enforced_limit_w;
    let found = energy::of_window(&trace.readings, &window, &trace.sensor, limit);
    for outcome in [&found.counter, &found.integral] {
        let joules = outcome.energy().expect("a figure").0;
        assert!((joules - 1500.0).abs() < 45.0, "{found:?}");
    }
}

/// What is known of a card that averages over `window` of every `period` once it
/// has been seen to work: 60 W, and 300 W from 6 to 8 s after the library was loaded.
/// The function that it is read with may average over a second, or not at all.
fn known_after_a_window((period, window): (f64, f64)) -> Averaging {
    const BEGIN: f64 = 6.0;
    const END: f64 = 8.0;
    let not_supported = json!({ "code": NOT_SUPPORTED });
    let script = card_with(json!({
        "load": [
            { "shape": "constant", "watts": 60.0 },
            { "shape": "square", "watts": 0.5, "period": 0.0371, "duty": 0.43 },
            { "shape": "constant", "watts": 240.0, "begin": BEGIN, "end": END },
        ],
        "sensor": { "period": period, "window": window },
        "average": null,
        "faults": { "POWER_INSTANT": not_supported, "POWER_AVERAGE": not_supported },
    }));
    let gpu = adapter(DeviceType::DiscreteGpu, None, TESTCARD);
    let loaded = Instant::now();
    let source = open(&script, "nvml:0", &gpu).expect("a source");
    assert_eq!(source.identity().averaging, Averaging::UNKNOWN);
    let (meter, _) = Meter::start(source, None).expect("it can be read");
    let dispatch = Seconds(0.001);
    let mut windows = meter.windows(Tier::Quick, [dispatch; 2], &mut |_| {});
    assert!(windows.begin());
    let [begin, end] = [BEGIN, END].map(|at| loaded + Duration::from_secs_f64(at));
    thread::sleep(end - Instant::now());
    windows.end([begin, end], &mut |_| {});
    assert_eq!(windows.finish().trace.sensor.averaging, Averaging::UNKNOWN);
    meter.sensor().averaging
}

/// What flags the state of a card raises that works from 6 to 7 s and from 9 to 10 s
/// after its library was loaded, which lacks some functions, and what it was.
fn conditions(settings: Value, hidden: &[&str]) -> Conditions {
    let gpu = adapter(DeviceType::DiscreteGpu, None, TESTCARD);
    let folder = TempDir::new().expect("a temporary folder");
    let library = nvml_stand_in(folder.path(), &card_with(settings));
    hide(&library, hidden);
    let loaded = Instant::now();
    let machine = Machine {
        sysfs: folder.path(),
        nvml: &[&library],
    };
    let spec: PowerSpec = "nvml:0".parse().expect("a source");
    let source = machine.open(&spec, Some(&gpu)).expect("a source");
    let (meter, _) = Meter::start(source, None).expect("it can be read");
    let mut windows = meter.windows(Tier::Standard, [Seconds(0.001); 2], &mut |_| {});
    for window in [[6.0, 7.0], [9.0, 10.0]] {
        let [begin, end] = window.map(|at| loaded + Duration::from_secs_f64(at));
        thread::sleep(end.saturating_duration_since(Instant::now()));
        windows.end([begin, end], &mut |_| {});
    }
    let conditions = windows.finish().conditions(Some(Watts(60.0)));
    conditions.expect("the state was read")
}

/// All of it, whenever it was; and what contradicts itself is not believed.
#[test]
fn the_state_in_every_window_counts() {
    const FIELDS: &str = "nvmlDeviceGetFieldValues";
    const VIOLATIONS: &str = "nvmlDeviceGetViolationStatus";
    const REASONS: &str = "nvmlDeviceGetCurrentClocksThrottleReasons";
    let hot = json!({ "slowed": { "THERMAL": { "from": 9.5 } } });
    let backwards = json!({ "slowed": { "THERMAL": { "from": 99.0, "restarts_at": 9.5 } } });
    let unsupported = json!({
        "slowed": { "THERMAL": { "from": 9.5 } },
        "faults": { REASONS: { "code": NOT_SUPPORTED }, VIOLATIONS: { "code": NOT_SUPPORTED } },
    });
    let trials: [(Value, &[&str], &[Flag]); 9] = [
        (json!({}), &[], &[]),
        // In the first window only.
        (
            json!({ "throttle_reasons": 0x40, "throttled_until": 8.0 }),
            &[],
            &[Flag::Throttled],
        ),
        (
            json!({ "throttle_reasons": 0x4 }),
            &[],
            &[Flag::PowerCapped],
        ),
        (
            json!({ "throttle_reasons": 0x41 }),
            &[],
            &[Flag::StateContradicts],
        ),
        (json!({ "throttle_reasons": 0x40 }), &[REASONS], &[]),
        (hot.clone(), &[], &[Flag::Throttled]),
        (hot.clone(), &[FIELDS], &[Flag::Throttled]),
        (backwards, &[], &[]),
        (hot, &[FIELDS, VIOLATIONS], &[]),
    ];
    thread::scope(|scope| {
        let all = trials.map(|(settings, hidden, expected)| {
            let seen = settings.clone();
            let trial = scope.spawn(move || conditions(settings, hidden));
            (seen, expected, trial)
        });
        for (settings, expected, trial) in all {
            let found = trial.join().expect("no panic");
            assert_eq!(found.flags(), expected, "{settings}: {found:?}");
            assert_eq!(found.sm_clock_mhz.map(|clock| clock.median), Some(1500));
        }
        let by_fields = scope.spawn(move || conditions(unsupported, &[]));
        let found = by_fields.join().expect("no panic");
        assert_eq!(found.flags(), [Flag::Throttled]);
        assert_eq!(found.throttle, None, "it is not told");
    });
}

/// An edge bounds the averaging from above, unless it takes as long as had to be
/// allowed for.
#[test]
fn what_a_sensor_averages_over_is_bounded_by_the_first_window() {
    let sensors = [(0.1, 0.1), (0.1, 0.025), (0.02, 0.01), (0.1, 1.0)];
    let known = thread::scope(|scope| {
        let all = sensors.map(|sensor| scope.spawn(move || known_after_a_window(sensor)));
        all.map(|one| one.join().expect("no panic"))
    });
    for ((period, window), averaging) in sensors.into_iter().zip(known) {
        if window == 1.0 {
            assert_eq!(averaging, Averaging::UNKNOWN);
            continue;
        }
        assert_eq!(averaging.known, Known::StepResponse, "{period}/{window}");
        let at_most = averaging.at_most_s.expect("a bound").0;
        assert!(
            (window..0.8).contains(&at_most),
            "{period}/{window}: {at_most}"
        );
    }
}
