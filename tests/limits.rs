//! Power limits: which ones are set, and that the old one is in force again
//! whatever ends a run. The cases run on any adapter; the limits are those of a
//! stand-in's Testcard.

#[cfg(target_os = "linux")]
#[path = "support/command.rs"]
mod command;
#[cfg(target_os = "linux")]
#[path = "support/faults.rs"]
mod faults;
#[cfg(target_os = "linux")]
#[path = "support/running.rs"]
mod running;
#[cfg(target_os = "linux")]
mod support;
#[cfg(target_os = "linux")]
#[path = "support/trials.rs"]
mod trials;

/// Elsewhere there is no stand-in.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use tests as t;
    use trials::{adapters, anywhere, needing, run};

    run(vec![
        anywhere("a_guard_restores_on_drop_and_on_panic", t::drop_and_panic),
        anywhere("a_guard_sets_one_card_only", t::one_card_only),
        anywhere("a_guard_outlives_signals", t::guard_outlives_signals),
        anywhere("a_lost_gpu_is_told_with_what_to_do", t::lost_gpu),
        needing("every_case_is_measured_at_every_limit", adapters, |_| {
            t::normal_end()
        }),
        needing("no_other_run_sets_a_limit", adapters, |_| t::no_limits()),
        needing("what_cannot_be_set_is_refused_first", adapters, |_| {
            t::refused_first()
        }),
        needing("an_interrupted_run_restores", adapters, |_| {
            t::interrupted()
        }),
        needing("a_killed_run_restores", adapters, |_| t::killed()),
        needing("a_crashed_worker_costs_a_case_only", adapters, |_| {
            t::crashed_worker()
        }),
        needing("an_unwritable_report_restores", adapters, |_| {
            t::unwritable()
        }),
        needing("a_killed_guard_is_told_with_what_to_do", adapters, |_| {
            t::killed_guard()
        }),
    ]);
}

#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;
    use std::process::{Command, Output, Stdio};
    use std::thread;
    use std::time::Duration;

    use flopwatt::power::PowerError;
    use flopwatt::power::nvml::LimitError;
    use flopwatt::session::{GuardError, PowerLimits};
    use flopwatt::units::Watts;
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::command::{self, stderr, wanted};
    use super::faults::{self, Outcome};
    use super::running::{Running, child, signal, wait_for, wait_for_a_case};
    use super::support::{card, hide, nvml_stand_in, two_cards, with_settings};
    use super::trials::adapters;

    /// Takes no time to speak of.
    const SHORT: &str = "latency/none/dispatch/empty";
    /// Cases that take seconds each.
    const LONG: [&str; 1] = ["bandwidth/f32/*"];

    const NO_PERMISSION: u32 = 4;
    const NOT_SUPPORTED: u32 = 3;
    const GPU_IS_LOST: u32 = 15;

    /// A folder with a stand-in whose one card allows 100 W to 300 W and comes
    /// with the latter.
    struct Bed(TempDir);

    impl Bed {
        fn new() -> Self {
            Self::with(json!({}))
        }

        /// The card with other settings.
        fn with(settings: Value) -> Self {
            let folder = TempDir::new().expect("a temporary folder");
            let mut card = card();
            // A sensor that misses nothing needs one window a case.
            card["sensor"]["window"] = json!(0.1);
            let mut card = with_settings(card, &settings);
            card["name"] = json!("Testcard 0");
            // Limits are refused where they are another GPU's.
            let mut adapters = adapters().ok().into_iter().flatten();
            if let Some(address) = adapters.find_map(|a| a.description.pci_address.as_ref()) {
                card["bus_id"] = json!(address);
            }
            nvml_stand_in(folder.path(), &json!({ "devices": [card] }));
            Self(folder)
        }

        /// The card with a library that lacks these functions.
        fn lacking(functions: &[&str]) -> Self {
            let bed = Self::new();
            hide(&bed.path("libnvidia-ml.so.1"), functions);
            bed
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Every limit that was set, in milliwatts.
        fn set(&self) -> Vec<u32> {
            let text = fs::read_to_string(self.path(nvml_stand_in::LIMITS)).unwrap_or_default();
            let milliwatts = |line: &str| {
                let number = line.strip_prefix("0 ").expect("the first device");
                number.parse().expect("milliwatts")
            };
            text.lines().map(milliwatts).collect()
        }

        fn flopwatt(&self) -> Command {
            let mut command = command::flopwatt(self.0.path());
            command
                .env("LD_LIBRARY_PATH", self.0.path())
                .env("XDG_CACHE_HOME", self.path("cache"));
            command
        }

        fn run(&self, arguments: &[&str]) -> Command {
            let mut command = self.run_with("nvml:0");
            command.args(arguments);
            command
        }

        fn run_with(&self, source: &str) -> Command {
            let wanted = wanted();
            let mut command = self.flopwatt();
            command
                .args(["run", "--adapter", &wanted, "--power", source])
                .args(["--out", "o"]);
            command
        }

        /// A run of long cases that has saved one, at 200 W.
        fn in_the_middle(&self) -> Running {
            let mut run = self.run(&LONG);
            run.args(["--power-limits", "200,150"])
                .process_group(0)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let run = Running::start(&mut run);
            wait_for_a_case(&self.path("o/report.json"));
            assert_eq!(self.set(), [300_000, 200_000]);
            run
        }

        fn child(&self, parent: u32, verb: &str) -> String {
            child(parent, verb, self.0.path())
        }

        fn report(&self) -> Value {
            let text = fs::read_to_string(self.path("o/report.json")).expect("a report");
            serde_json::from_str(&text).expect("JSON")
        }

        fn limits(&self, watts: &[f64]) -> Result<PowerLimits, GuardError> {
            self.limits_of(0, watts)
        }

        fn limits_of(&self, gpu: u32, watts: &[f64]) -> Result<PowerLimits, GuardError> {
            let mut guard = self.flopwatt();
            guard.args(["limit-guard", &gpu.to_string()]);
            PowerLimits::start(guard, gpu, watts.iter().copied().map(Watts).collect())
        }
    }

    pub fn drop_and_panic() {
        let bed = Bed::new();
        let limits = bed.limits(&[200.0]).expect("limits can be set");
        assert_eq!(limits.watts(), [Watts(200.0)]);
        limits.set(Watts(150.0)).expect("it is allowed");
        drop(limits);
        assert_eq!(bed.set(), [300_000, 200_000, 150_000, 300_000]);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _limits = bed.limits(&[120.0]).expect("limits can be set");
            panic!("a defect of the harness");
        }));
        assert!(panicked.is_err());
        assert_eq!(bed.set()[4..], [300_000, 120_000, 300_000]);
    }

    pub fn one_card_only() {
        let folder = TempDir::new().expect("a temporary folder");
        nvml_stand_in(folder.path(), &two_cards());
        let bed = Bed(folder);
        let limits = bed.limits_of(1, &[200.0]).expect("limits can be set");
        limits.restore().expect("the guard is there");
        let set = fs::read_to_string(bed.path(nvml_stand_in::LIMITS)).expect("set");
        assert_eq!(set, "1 300000\n1 200000\n1 300000\n");
    }

    pub fn guard_outlives_signals() {
        let bed = Bed::new();
        let limits = bed.limits(&[200.0]).expect("limits can be set");
        let guard = bed.child(std::process::id(), "limit-guard");
        for name in ["-INT", "-TERM", "-HUP"] {
            signal(name, &guard);
        }
        limits.set(Watts(150.0)).expect("the guard is there");
        limits.restore().expect("the guard is there");
        assert_eq!(bed.set(), [300_000, 200_000, 150_000, 300_000]);
    }

    /// The GPU falls off the bus 2 s after the guard has loaded the library.
    pub fn lost_gpu() {
        let lost = json!({ "faults": { "*": { "code": GPU_IS_LOST, "after": 2.0 } } });
        let bed = Bed::with(lost);
        let limits = bed.limits(&[200.0]).expect("it is still there");
        thread::sleep(Duration::from_millis(2200));
        let refused = limits.set(Watts(150.0)).expect_err("it is lost");
        let expected = LimitError::Device(PowerError::GpuLost);
        assert!(
            matches!(&refused, GuardError::Limit(why) if *why == expected),
            "{refused}"
        );
        let said = limits.restore().expect_err("it is lost").to_string();
        assert!(said.contains("fallen off the bus"), "{said}");
        assert!(said.contains("`nvidia-smi -i 0 -pl 300`"), "{said}");
    }

    /// The limit before is not the one that the card comes with; a limit that is
    /// listed twice is measured once.
    pub fn normal_end() {
        let bed = Bed::new();
        fs::write(bed.path(nvml_stand_in::LIMITS), "0 250000\n").expect("written");
        let small = "matmul/f32/naive/33x17x65";
        let mut run = bed.run(&[small, "--power-limits", "200,150.5,200"]);
        let output = run.output().expect("flopwatt starts");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        // At the end the ceiling is measured again at each limit.
        let again = [200_000, 150_500];
        let set = [
            &[250_000, 250_000, 200_000, 150_500],
            &again[..],
            &[250_000],
        ]
        .concat();
        assert_eq!(bed.set(), set);
        let report = bed.report();
        assert_eq!(report["complete"], true);
        let cases = report["measurements"].as_array().expect("a list");
        let got: Vec<_> = cases
            .iter()
            .map(|m| (m["id"].as_str(), m["power_limit_w"].as_f64()))
            .collect();
        let peak = "peak/f32/fma/device";
        let expected = [
            (Some(peak), Some(200.0)),
            (Some(small), Some(200.0)),
            (Some(peak), Some(150.5)),
            (Some(small), Some(150.5)),
        ];
        assert_eq!(got, expected);
        for [peak, kernel] in [[0, 1], [2, 3]].map(|pair| pair.map(|i| &cases[i])) {
            let rate = |m: &Value| m["gflops"]["median"].as_f64().expect("a rate");
            let percent = kernel["percent_of_ceiling"].as_f64().expect("a percentage");
            let expected = 100.0 * rate(kernel) / rate(peak);
            assert!((percent / expected - 1.0).abs() < 1e-12, "{percent}");
        }
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("By power limit"), "{printed}");
        assert!(printed.contains(&format!("{small}@150.5W")), "{printed}");
    }

    pub fn no_limits() {
        let bed = Bed::new();
        let output = bed.run(&[SHORT]).output().expect("flopwatt starts");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(!bed.path(nvml_stand_in::LIMITS).exists());
        assert!(bed.report()["measurements"][0]["power_limit_w"].is_null());
    }

    /// What is wrong, the card, further arguments, and what is said.
    type Refusal<'a> = (&'a str, Value, &'a [&'a str], &'a str);

    pub fn refused_first() {
        let failing = |code| {
            json!({ "faults": {
            "nvmlDeviceSetPowerManagementLimit": { "code": code },
        } })
        };
        let some = ["--power-limits", "200"].as_slice();
        let rows: [Refusal; 10] = [
            (
                "permission",
                failing(NO_PERMISSION),
                some,
                "as root, for example with `sudo -E`",
            ),
            // The limit that is set already takes the same rights.
            (
                "permission for the limit in force",
                failing(NO_PERMISSION),
                &["--power-limits", "300,200"],
                "as root, for example with `sudo -E`",
            ),
            ("no limits", failing(NOT_SUPPORTED), some, "cannot be set"),
            (
                "too high",
                json!({}),
                &["--power-limits", "200,301"],
                "301 W is outside of what this device allows: 100 W to 300 W",
            ),
            (
                "too low",
                json!({}),
                &["--power-limits", "99.9"],
                "100 W to 300 W",
            ),
            (
                "another limit",
                json!({ "other_limit_watts": 180.0 }),
                some,
                "200 W was set, yet 180 W is in force",
            ),
            (
                "no number",
                json!({}),
                &["--power-limits", "200,max"],
                "no number of watts",
            ),
            (
                "no power",
                json!({}),
                &["--power-limits", "0"],
                "more than 0 W",
            ),
            ("MIG", json!({ "mig": true }), some, "MIG is on"),
            (
                "lost",
                json!({ "faults": { "*": { "code": GPU_IS_LOST } } }),
                some,
                "fallen off the bus",
            ),
        ];
        for (what, card, arguments, said) in rows {
            let bed = Bed::with(card);
            let output = bed.run(&[SHORT]).args(arguments).output();
            check_refusal(&bed, &output.expect("flopwatt starts"), what, said);
        }
        let bed = Bed::lacking(&["nvmlDeviceSetPowerManagementLimit"]);
        let output = bed.run(&[SHORT]).args(some).output();
        let output = output.expect("flopwatt starts");
        check_refusal(&bed, &output, "no function", "cannot be set");
        for (source, said) in [
            ("nvml:7", "nvml:0 (Testcard 0)"),
            ("nvml", "limits are set through NVML"),
            ("auto", "limits are set through NVML"),
            ("none", "through NVML, and the power source none"),
            ("rapl", "through NVML, and the power source rapl"),
            ("hwmon", "through NVML, and the power source hwmon"),
            ("command:echo 100", "the power source command:echo 100"),
        ] {
            let bed = Bed::new();
            let output = bed.run_with(source).arg(SHORT).args(some).output();
            check_refusal(&bed, &output.expect("flopwatt starts"), source, said);
        }
    }

    /// Adds a row to the table of faults: the limit that the card came with is in
    /// force again.
    fn row(bed: &Bed, fault: &str, output: &Output, said: &str, status: Option<i32>) {
        let restored = |limit: u32| match limit {
            300_000 => "the limit as it was".to_owned(),
            other => format!("a limit of {} W", other / 1000),
        };
        let seen = Outcome {
            said: &stderr(output),
            status: output.status.code(),
            kept: &restored(bed.set().last().copied().unwrap_or(300_000)),
        };
        let expected = Outcome {
            said,
            status,
            kept: "the limit as it was",
        };
        faults::row(fault, &expected, &seen);
    }

    fn check_refusal(bed: &Bed, output: &Output, what: &str, said: &str) {
        row(bed, &format!("power limits: {what}"), output, said, Some(2));
        assert!(output.stdout.is_empty(), "{what}");
        assert!(!bed.path("o").exists(), "{what}: nothing was measured");
        let last = bed.set().last().copied();
        assert!([None, Some(300_000)].contains(&last), "{what}: {last:?}");
    }

    /// Ctrl-C reaches every process of the terminal's group, SIGTERM one.
    pub fn interrupted() {
        for (name, whole_group) in [("-INT", true), ("-TERM", false)] {
            let bed = Bed::new();
            let run = bed.in_the_middle();
            let group = if whole_group { "-" } else { "" };
            signal(name, &format!("{group}{}", run.id()));
            let output = run.end();
            let fault = format!("SIG{} while a limit is set", &name[1..]);
            row(&bed, &fault, &output, "cases are in the report", Some(130));
            assert_eq!(bed.set(), [300_000, 200_000, 300_000], "{name}");
            assert_eq!(bed.report()["complete"], false);
        }
    }

    pub fn killed() {
        let bed = Bed::new();
        let run = bed.in_the_middle();
        signal("-KILL", &run.id().to_string());
        let output = run.end();
        wait_for("the guard restores", || {
            bed.set() == [300_000, 200_000, 300_000]
        });
        row(&bed, "SIGKILL while a limit is set", &output, "", None);
    }

    pub fn crashed_worker() {
        let bed = Bed::new();
        let run = bed.in_the_middle();
        signal("-KILL", &bed.child(run.id(), "worker"));
        let saved = bed.path("o/report.json");
        wait_for("the case has failed", || {
            fs::read_to_string(&saved).is_ok_and(|text| text.contains("\"status\": \"failed\""))
        });
        assert_eq!(
            bed.set(),
            [300_000, 200_000],
            "the limit stays for the next"
        );
        signal("-TERM", &run.id().to_string());
        let output = run.end();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert_eq!(bed.set(), [300_000, 200_000, 300_000]);
    }

    pub fn unwritable() {
        let bed = Bed::new();
        let run = bed.in_the_middle();
        fs::rename(bed.path("o"), bed.path("moved")).expect("renamed");
        fs::write(bed.path("o"), "in the way").expect("written");
        let output = run.end();
        let fault = "report unwritable while a limit is set";
        row(&bed, fault, &output, "cannot write o", Some(2));
        assert_eq!(bed.set(), [300_000, 200_000, 300_000]);
    }

    pub fn killed_guard() {
        let bed = Bed::new();
        let run = bed.in_the_middle();
        signal("-KILL", &bed.child(run.id(), "limit-guard"));
        let output = run.end();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`nvidia-smi -i 0 -pl 300`"), "{said}");
        assert!(said.contains("has ended"), "{said}");
        assert_eq!(
            bed.set(),
            [300_000, 200_000],
            "nobody is left to restore it"
        );
        assert_eq!(bed.report()["complete"], false);
    }
}
