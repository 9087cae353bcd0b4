//! Drivers that fail in the middle of a run, through a layer between the Vulkan
//! loader and whatever driver there is: a fault costs its case and not the run, and
//! no figure is made up.

#[cfg(target_os = "linux")]
#[path = "support/command.rs"]
mod command;
#[cfg(target_os = "linux")]
#[path = "support/faults.rs"]
mod faults;
#[cfg(target_os = "linux")]
#[allow(dead_code)] // Each test program uses a part.
#[path = "support/trials.rs"]
mod trials;

/// Elsewhere the layer is not built.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use tests as t;
    use trials::{needing, run};

    type Test = fn();
    let tests: [(&str, Test); 11] = [
        ("a_lost_device_costs_its_case", t::lost),
        ("a_device_out_of_memory_costs_its_case", t::out_of_memory),
        ("a_refused_shader_costs_its_case", t::refused),
        ("a_driver_that_crashes_costs_its_case", t::crash),
        ("a_driver_that_hangs_costs_its_case", t::hang),
        ("timestamps_that_lie_are_not_believed", t::timestamps),
        ("work_that_is_left_out_while_it_is_timed_is_missed", t::idle),
        ("a_clock_of_another_rate_is_not_believed", t::scaled),
        ("dispatches_that_are_not_run_give_no_figure", t::dropped),
        ("an_adapter_that_is_gone_for_the_worker", t::gone),
        ("an_adapter_that_is_gone_for_the_run", t::no_adapter),
    ];
    let trial = |(name, test): (&str, Test)| needing(name, t::vulkan, move |()| test());
    run(tests.map(trial).into());
}

#[cfg(target_os = "linux")]
mod tests {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};
    use std::sync::atomic::AtomicBool;

    use flopwatt::gpu::adapter::{Adapter, Backend};
    use flopwatt::gpu::device::ShaderMode;
    use flopwatt::kernel::inputs::Draw;
    use flopwatt::measure::measurement::{Measurement, ReasonCode};
    use flopwatt::measure::tier::Tier;
    use flopwatt::record::Shaders;
    use flopwatt::session::Process;
    use flopwatt::session::protocol::{Event, PowerRequest, Request};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::command::{self, stderr};
    use super::faults::{NOTHING, Outcome, kept, reason, report, row, written};
    use super::trials::{Missing, adapters};

    /// Cases that need no other, of some seconds each.
    const CASES: [&str; 2] = ["bandwidth/f32/read/1MiB", "bandwidth/f32/copy/1MiB"];

    /// Whether there is a driver to stand before.
    pub fn vulkan() -> Result<(), Missing> {
        let any = adapters()?
            .iter()
            .any(|a| a.description.backend == Backend::Vulkan);
        any.then_some(())
            .ok_or_else(|| Missing("no Vulkan adapter on this machine".into()))
    }

    /// A folder with the layer.
    struct Bed(TempDir);

    impl Bed {
        fn new() -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let tests = std::env::current_exe().expect("a test program knows itself");
            let built = format!("{DLL_PREFIX}vulkan_faults{DLL_SUFFIX}");
            let built = tests.parent().expect("it lies in a folder").join(built);
            assert!(built.exists(), "cargo builds the layer beside the tests");
            let manifest = vulkan_faults::manifest(built.to_str().expect("Unicode"));
            fs::write(folder.path().join("layer.json"), manifest).expect("written");
            Self(folder)
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        /// The command on the machine's Vulkan adapter with its driver as it is.
        fn run(&self, cases: &[&str]) -> Command {
            let wanted = std::env::var("FLOPWATT_TEST_ADAPTER").unwrap_or_else(|_| "vulkan".into());
            let mut command = command::flopwatt(self.path());
            command
                .env("XDG_CACHE_HOME", self.path().join("cache"))
                .args(["run", "--adapter", &wanted, "--power", "none"])
                .args(["--out", "o"])
                .args(cases);
            command
        }

        /// The same with a fault that strikes one process.
        fn with(&self, fault: &str, cases: &[&str]) -> Output {
            let mut command = self.run(cases);
            command
                .env("VK_LAYER_PATH", self.path())
                .env("VK_INSTANCE_LAYERS", vulkan_faults::LAYER)
                .env(vulkan_faults::FAULT, fault)
                .env(vulkan_faults::ONCE, self.path().join("struck"));
            command.output().expect("flopwatt starts")
        }

        fn report(&self) -> Value {
            report(&self.path().join("o"))
        }
    }

    /// `fault` strikes the first of two cases, which fails for that reason; the
    /// other is measured.
    fn costs_its_case(name: &str, fault: &str, said: &str) {
        let bed = Bed::new();
        let output = bed.with(fault, &CASES);
        check_cost(name, &output, &bed.report(), said);
    }

    fn check_cost(name: &str, output: &Output, report: &Value, said: &str) {
        let expected = Outcome {
            said,
            status: Some(1),
            kept: "1 failed, 1 ok of 2",
        };
        let seen = Outcome {
            said: &reason(report),
            status: output.status.code(),
            kept: &kept(report),
        };
        row(name, &expected, &seen);
        let cases = report["measurements"].as_array().expect("cases");
        let failed = cases.iter().find(|case| case["status"] == "failed");
        let failed = failed.expect("it has failed");
        for figure in ["time", "gflops", "gbytes_per_s"] {
            assert_eq!(failed[figure], Value::Null, "{name}: {figure}");
        }
        assert_eq!(report["complete"], true);
        // Nobody has to look into the report to learn of it.
        assert!(stderr(output).contains("failed: "), "{}", stderr(output));
    }

    pub fn lost() {
        costs_its_case("device lost", "lost:30", "device: the device was lost");
    }

    /// What is refused is each of the case's two buffers. Of a GPU's memory wgpu takes
    /// blocks of 256 MiB for whatever is smaller.
    pub fn out_of_memory() {
        let bed = Bed::new();
        let adapters = adapters().unwrap_or_default();
        let (fault, large) = if adapters.iter().all(|a| a.description.is_software()) {
            ("memory:128", "bandwidth/f32/copy/256MiB")
        } else {
            ("memory:512", "bandwidth/f32/copy/1GiB")
        };
        let output = bed.with(fault, &[large, CASES[0]]);
        let said = "the device is out of memory";
        check_cost("out of memory", &output, &bed.report(), said);
    }

    pub fn crash() {
        costs_its_case("driver crashes", "crash:30", "the worker ended (signal: 6");
    }

    /// The hundredth submission is one of the warm-up or a sample, whose length is
    /// known by then: little more than a minute of silence is enough to tell.
    pub fn hang() {
        costs_its_case("driver hangs", "hang:100", "no sign of life for");
    }

    /// One kernel that no driver would take; its ceiling and another are measured.
    pub fn refused() {
        let bed = Bed::new();
        let shaders = bed.path().join("shaders");
        fs::create_dir(&shaders).expect("a folder");
        for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).expect("shaders")
        {
            let file = file.expect("a file").path();
            let name = file.file_name().expect("a name");
            fs::copy(&file, shaders.join(name)).expect("copied");
        }
        // Valid WGSL, without the buffers that the kernel is given.
        let wrong = "@compute @workgroup_size(1) fn main() {}";
        fs::write(shaders.join("bandwidth_stream.wgsl.jinja"), wrong).expect("written");
        let output = bed.run(&CASES).args(["--shaders", "shaders"]).output();
        let output = output.expect("flopwatt starts");
        check_cost(
            "validation error",
            &output,
            &bed.report(),
            "refused by validation",
        );
    }

    /// The case is timed by the host, and says so.
    pub fn timestamps() {
        for (name, fault) in [
            ("timestamps are 0", "zero"),
            ("timestamps are constant", "constant"),
            ("timestamps run backwards", "backwards"),
            ("timestamps of another clock", "other-clock"),
        ] {
            let bed = Bed::new();
            let output = bed.with(fault, &CASES[..1]);
            let report = bed.report();
            let case = &report["measurements"][0];
            let flags = case["flags"].to_string();
            let clock = case["time"]["clock"].as_str().unwrap_or_default();
            let expected = Outcome {
                said: "timestamps-rejected",
                status: Some(0),
                kept: "1 ok of 1, timed by the host",
            };
            let seen = Outcome {
                said: &flags,
                status: output.status.code(),
                kept: &format!("{}, timed by the {clock}", kept(&report)),
            };
            row(name, &expected, &seen);
            // Other clocks would give a copy of 1 MiB 247 ms, or one that took no
            // time at all.
            let median = case["time"]["median_s"].as_f64().expect("a time");
            assert!(median > 1e-7 && median < 0.1, "{name}: {median}");
        }
    }

    /// A worker that holds a case `sides` times, computes nothing while a batch of its
    /// last one is timed, and is right whenever it is asked again. What it answers to that
    /// batch, and at the end.
    fn timed_idly(sides: usize, checked: bool) -> [Event; 2] {
        let bed = Bed::new();
        let adapters = adapters().unwrap_or_default();
        let vulkan = |a: &&Adapter| a.description.backend == Backend::Vulkan;
        let adapter = adapters.iter().find(vulkan).expect("there is one");
        let idle = bed.path().join("idle");
        let mut worker = command::flopwatt(bed.path());
        worker
            .arg("worker")
            .env("VK_LAYER_PATH", bed.path())
            .env("VK_INSTANCE_LAYERS", vulkan_faults::LAYER)
            .env(vulkan_faults::FAULT, "idle")
            .env(vulkan_faults::ONCE, &idle);
        let open = Request::Open {
            adapter: Box::new(adapter.description.clone()),
            shaders: Shaders::new(None, ShaderMode::Unchecked).expect("built in"),
            power: PowerRequest {
                wanted: "none".to_owned(),
                sensor: None,
            },
        };
        let interrupted = AtomicBool::new(false);
        let mut worker = Process::start(worker, &open, &interrupted).expect("it opens");
        let mut ask = |request| worker.ask(&request, &mut |_| {}).expect("an answer");
        for _ in 0..sides {
            let held = ask(Request::Hold {
                id: "matmul/f32/naive/33x17x65".to_owned(),
                choice: None,
                shaders: None,
                tier: Tier::Quick,
                draw: Draw::normal(1),
            });
            assert!(matches!(held, Event::Held { .. }), "{held:?}");
        }
        fs::write(&idle, "").expect("written");
        let timed = ask(Request::Sample {
            held: sides - 1,
            processor: false,
            checked,
        });
        fs::remove_file(&idle).expect("removed");
        [timed, ask(Request::Release)]
    }

    /// A side that computes only when it is asked again is found out: at once where the
    /// device counts invocations, and at the end elsewhere.
    pub fn idle() {
        let is_missed = |measurement: &Measurement| {
            let reason = measurement.reason.as_ref().expect("a reason");
            let codes = [ReasonCode::DispatchesDropped, ReasonCode::Unstable];
            assert!(codes.contains(&reason.code), "{reason}");
        };
        match timed_idly(1, false) {
            [Event::Done { measurement, .. }, _] => is_missed(&measurement),
            [Event::Sampled { .. }, Event::Released { wrong }] => {
                is_missed(wrong[0].as_ref().expect("it is wrong"));
            }
            other => panic!("{other:?}"),
        }
        // In one process the other side has left what is right in the shared output.
        match timed_idly(2, true) {
            [Event::Done { measurement, .. }, _] => is_missed(&measurement),
            other => panic!("{other:?}"),
        }
    }

    /// Rates of the clock in percent: some, or all that `ci/faults` asks for.
    fn percents() -> Vec<u32> {
        match std::env::var_os("FLOPWATT_FAULTS_ALL_RATES") {
            Some(_) => (80..=120).filter(|percent| *percent != 100).collect(),
            None => vec![80, 99, 101, 120],
        }
    }

    /// The case is timed by the host, or says that the clock is not proven: the wall
    /// clock of a busy machine may not be good enough to tell.
    pub fn scaled() {
        for percent in percents() {
            let bed = Bed::new();
            let output = bed.with(&format!("scaled:{percent}"), &CASES[..1]);
            let report = bed.report();
            let flags = report["measurements"][0]["flags"].to_string();
            let clock = report["measurements"][0]["time"]["clock"].to_string();
            let rejected = flags.contains("timestamps-rejected") && clock.contains("host");
            let told = rejected || flags.contains("clock-unproven");
            let expected = Outcome {
                said: "",
                status: Some(0),
                kept: "1 ok of 1, doubted",
            };
            let seen = Outcome {
                said: &flags,
                status: output.status.code(),
                kept: &format!(
                    "{}, {}",
                    kept(&report),
                    if told { "doubted" } else { "believed" }
                ),
            };
            row(
                &format!("timestamps count {percent} % of the time"),
                &expected,
                &seen,
            );
        }
    }

    /// What the driver leaves out are repetitions, so that single dispatches are right,
    /// or dispatches by chance.
    pub fn dropped() {
        for (name, fault, said) in [
            (
                "repeated dispatches are not run",
                "first-only",
                "dispatches-dropped",
            ),
            ("one dispatch in a hundred is not run", "one-in:100", ""),
        ] {
            let bed = Bed::new();
            let output = bed.with(fault, &CASES[..1]);
            let report = bed.report();
            let expected = Outcome {
                said,
                status: Some(3),
                kept: "1 rejected of 1",
            };
            let seen = Outcome {
                said: &reason(&report),
                status: output.status.code(),
                kept: &kept(&report),
            };
            row(name, &expected, &seen);
            assert_eq!(report["measurements"][0]["time"], Value::Null);
        }
    }

    /// The parent finds the adapter, the worker does not any more.
    pub fn gone() {
        let bed = Bed::new();
        let output = bed.with("gone", &CASES);
        let expected = Outcome {
            said: "the adapter is gone: it is no longer listed",
            status: Some(3),
            kept: "0 of 2",
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept: &kept(&bed.report()),
        };
        row("adapter gone as the run begins", &expected, &seen);
    }

    /// `devices` has listed it, and then there is no driver at all.
    pub fn no_adapter() {
        let bed = Bed::new();
        let mut command = bed.run(&CASES);
        for variable in [
            "VK_DRIVER_FILES",
            "VK_ICD_FILENAMES",
            "__EGL_VENDOR_LIBRARY_FILENAMES",
        ] {
            command.env(variable, "/nonexistent");
        }
        let output = command.output().expect("flopwatt starts");
        let expected = Outcome {
            said: "no GPU adapter on any backend",
            status: Some(3),
            kept: NOTHING,
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept: written(&bed.path().join("o")),
        };
        row("adapter gone since it was listed", &expected, &seen);
    }
}
