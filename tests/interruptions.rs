//! Runs that are cut short: what has been measured by then is on disk, nothing goes
//! on working, and `--resume` measures the rest or says why it will not.

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
#[path = "support/sealed.rs"]
mod sealed;
#[cfg(target_os = "linux")]
#[path = "support/trials.rs"]
mod trials;

/// Elsewhere there are no such signals and no procfs.
#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use tests as t;
    use trials::{adapters, anywhere, needing, run};

    type Test = fn();
    let on_adapter: [(&str, Test); 6] = [
        ("a_signal_ends_the_run_with_what_it_has", t::signals),
        ("a_killed_run_goes_on", t::killed),
        ("a_run_goes_on_as_it_was_begun", t::options),
        ("a_run_goes_on_only_where_all_is_as_it_was", t::changed),
        ("a_complete_run_lacks_nothing", t::complete),
        ("nothing_outlives_a_run", t::survivors),
    ];
    let on_disk: [(&str, Test); 2] = [
        ("a_full_disk_is_named_and_costs_nothing_earlier", t::full),
        ("a_disk_that_turns_read_only_is_named", t::read_only),
    ];
    let on_adapter = on_adapter.map(|(name, test)| needing(name, adapters, move |_| test()));
    let on_disk = on_disk.map(|(name, test)| needing(name, t::mounts, move |()| test()));
    let others = [anywhere("what_cannot_go_on_is_refused", t::refused)];
    run(on_adapter
        .into_iter()
        .chain(on_disk)
        .chain(others)
        .collect());
}

#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::command::{self, stderr, wanted};
    use super::faults::{self, Outcome, kept, row};
    use super::running::{Running, child, signal, wait_for, wait_for_a_case};
    use super::sealed::sealed;
    use super::trials::{Missing, adapters};

    /// Three cases that need no other, of some seconds each.
    const CASES: [&str; 3] = [
        "bandwidth/f32/read/1MiB",
        "bandwidth/f32/copy/1MiB",
        "bandwidth/f32/triad/1MiB",
    ];

    /// A folder of its own for every run, with a small file system for the report
    /// where that is wanted.
    struct Bed {
        // Dropped first: what is mounted lies in the folder.
        _mount: Option<Mount>,
        folder: TempDir,
    }

    impl Bed {
        fn new() -> Self {
            Self {
                _mount: None,
                folder: TempDir::new().expect("a temporary folder"),
            }
        }

        fn mounted(size: &str) -> Self {
            let bed = Self::new();
            let mount = Mount::at(&bed.out(), size);
            let mount = mount.expect("it was possible before");
            Self {
                _mount: Some(mount),
                ..bed
            }
        }

        fn path(&self) -> &Path {
            self.folder.path()
        }

        fn out(&self) -> PathBuf {
            self.path().join("o")
        }

        fn flopwatt(&self) -> Command {
            let mut command = command::flopwatt(self.path());
            command
                .env("XDG_CACHE_HOME", self.path().join("cache"))
                .arg("run")
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command
        }

        fn begin(&self) -> Command {
            let mut command = self.flopwatt();
            command.args(["--adapter", &wanted(), "--power", "none", "--out", "o"]);
            command
        }

        fn resume(&self) -> Output {
            let mut command = self.flopwatt();
            let output = command.args(["--resume", "o"]).output();
            output.expect("flopwatt starts")
        }

        /// A run that has saved one of its cases.
        fn in_the_middle(&self) -> Running {
            self.in_the_middle_of(&mut self.begin())
        }

        fn in_the_middle_of(&self, command: &mut Command) -> Running {
            let run = Running::start(command.args(CASES).process_group(0));
            wait_for_a_case(&self.out().join("report.json"));
            run
        }

        /// A run that was killed in the middle.
        fn cut_short(&self) -> Value {
            let run = self.in_the_middle();
            signal("-KILL", &run.id().to_string());
            run.end();
            self.report()
        }

        fn report(&self) -> Value {
            faults::report(&self.out())
        }

        /// Changes what the report says.
        fn edit(&self, pointer: &str, value: Value) {
            let mut report = self.report();
            *report.pointer_mut(pointer).expect(pointer) = value;
            fs::write(self.out().join("report.json"), sealed(&report)).expect("written");
        }
    }

    fn cases(report: &Value) -> &Vec<Value> {
        report["measurements"].as_array().expect("cases")
    }

    /// Cases of which the user was told, `[2/3] …`.
    fn told(output: &Output) -> usize {
        let said = stderr(output);
        said.lines().filter(|line| line.starts_with('[')).count()
    }

    const EVERY: &str = "every case that had ended";

    /// Whether all cases of which the user was told are in the report, in words.
    fn what_was_kept(output: &Output, report: &Value) -> String {
        let (told, kept) = (told(output), cases(report).len());
        if 0 < kept && told <= kept {
            return EVERY.to_owned();
        }
        format!("{kept} cases of {told} that had ended")
    }

    /// The report holds all cases in order, those of `before` as they were.
    fn check_the_rest(before: &Value, after: &Value) {
        assert_eq!(after["complete"], true);
        let ids: Vec<&str> = cases(after)
            .iter()
            .filter_map(|m| m["id"].as_str())
            .collect();
        let planned = after["plan"]["cases"].as_array().expect("a plan");
        let planned: Vec<&str> = planned.iter().filter_map(|c| c["id"].as_str()).collect();
        assert_eq!(ids, planned);
        let done = cases(before).len();
        // Ceilings are measured again when a run goes on and when it ends.
        let once = |case: &Value| {
            let mut case = case.clone();
            case["again"] = Value::Null;
            case
        };
        let [kept, found] = [before, after].map(|report| {
            let first = cases(report)[..done].iter().map(once);
            first.collect::<Vec<_>>()
        });
        assert_eq!(kept, found);
        for same in ["run_id", "started", "seed", "command", "plan", "adapter"] {
            assert_eq!(before[same], after[same], "{same}");
        }
        let resumed = after["resumed"].as_array().expect("a list");
        assert_eq!(resumed.len(), 1);
        assert_eq!(resumed[0]["after_cases"], done);
    }

    /// The run ends with what it says and this status, and keeps every case that had
    /// ended.
    fn is_cut_short(fault: &str, bed: &Bed, run: Running, said: &str, status: i32) {
        let output = run.end();
        let report = bed.report();
        let expected = Outcome {
            said,
            status: Some(status),
            kept: EVERY,
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept: &what_was_kept(&output, &report),
        };
        row(fault, &expected, &seen);
        assert_eq!(report["complete"], false);
    }

    /// Ctrl-C reaches every process of the terminal's group, the others one.
    pub fn signals() {
        for (fault, name, group) in [
            ("Ctrl-C", "-INT", "-"),
            ("SIGTERM", "-TERM", ""),
            ("SIGHUP, of a terminal that is closed", "-HUP", ""),
        ] {
            let bed = Bed::new();
            let mut command = bed.begin();
            if name == "-HUP" {
                // A terminal that is gone takes no more than a full disk.
                let full = fs::File::options().write(true).open("/dev/full");
                command.stdout(full.expect("Linux has it"));
            }
            let run = bed.in_the_middle_of(&mut command);
            let worker = child(run.id(), "worker", bed.path());
            signal(name, &format!("{group}{}", run.id()));
            let said = "cases are in the report; `flopwatt run --resume o` measures the others";
            is_cut_short(fault, &bed, run, said, 130);
            wait_for("the worker ends", || !is_there(&worker));
        }
    }

    fn is_there(pid: &str) -> bool {
        // A process that has ended and that nobody has asked about is still listed.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let zombie = status.lines().any(|l| l.starts_with("State:\tZ"));
        !status.is_empty() && !zombie
    }

    pub fn killed() {
        let bed = Bed::new();
        let run = bed.in_the_middle();
        let worker = child(run.id(), "worker", bed.path());
        signal("-KILL", &run.id().to_string());
        let output = run.end();
        let before = bed.report();
        let expected = Outcome {
            said: "",
            status: None,
            kept: EVERY,
        };
        let seen = Outcome {
            said: "",
            status: output.status.code(),
            kept: &what_was_kept(&output, &before),
        };
        row("SIGKILL", &expected, &seen);
        wait_for("the worker ends by itself", || !is_there(&worker));

        let output = bed.resume();
        let after = bed.report();
        let expected = Outcome {
            said: "report: o/report.json",
            status: Some(0),
            kept: "3 ok of 3",
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept: &kept(&after),
        };
        row("--resume after SIGKILL", &expected, &seen);
        check_the_rest(&before, &after);
        let page = fs::read_to_string(bed.out().join("report.md")).expect("a page");
        assert!(page.contains("| resumed |"), "{page}");
        let schema = serde_json::to_value(flopwatt::record::Report::schema()).expect("a schema");
        let validator = jsonschema::validator_for(&schema).expect("a valid schema");
        assert!(validator.is_valid(&after));
    }

    /// A worker that is stopped does not see that its input ends, and what a meter has
    /// started knows nothing of either.
    pub fn survivors() {
        // Where init, of another session, inherits a stopped worker, the system ends it.
        let this = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(this)).expect("Linux can");
        let meter = "sleep 1000 & echo $$ $! >pids; while echo 5; do sleep 0.1; done";
        let meter = format!("command:sh -c '{meter}'");
        for (fault, power, to_worker, to_run) in [
            (
                "SIGKILL, its worker stopped",
                "none",
                Some("-STOP"),
                "-KILL",
            ),
            ("SIGKILL, a meter", &meter, None, "-KILL"),
            ("Ctrl-C, a meter", &meter, None, "-INT"),
            (
                "SIGKILL of the worker, a meter",
                &meter,
                Some("-KILL"),
                "-TERM",
            ),
        ] {
            let bed = Bed::new();
            let mut command = bed.flopwatt();
            command.args(["--adapter", &wanted(), "--out", "o", "--power", power]);
            let run = Running::start(command.args(CASES).process_group(0));
            let mut left = Vec::new();
            if power == "none" {
                wait_for_a_case(&bed.out().join("report.json"));
            } else {
                wait_for("the meter runs", || {
                    let pids = fs::read_to_string(bed.path().join("pids"));
                    let pids = pids.unwrap_or_default();
                    left = pids.split_whitespace().map(str::to_owned).collect();
                    left.len() == 2
                });
            }
            let worker = child(run.id(), "worker", bed.path());
            left.push(worker.clone());
            if let Some(name) = to_worker {
                signal(name, &worker);
            }
            signal(to_run, &run.id().to_string());
            run.end();
            wait_for(fault, || !left.iter().any(|pid| is_there(pid)));
        }
    }

    /// What the run was told is told once: data, seed and checks hold for the rest as
    /// well, from whatever folder it goes on. Where to write is told again.
    pub fn options() {
        let bed = Bed::new();
        let mut command = bed.begin();
        command.args(["matmul/f32/naive/33x17x65", "--data", "zeros,normal"]);
        command.args(["--seed", "7", "--checked", "--dump", "d"]);
        let run = Running::start(&mut command);
        wait_for_a_case(&bed.out().join("report.json"));
        signal("-TERM", &run.id().to_string());
        assert_eq!(run.end().status.code(), Some(130));
        let before = bed.report();
        assert!(cases(&before).len() < 3, "it was cut short");

        let elsewhere = TempDir::new().expect("a temporary folder");
        let mut command = bed.flopwatt();
        command.current_dir(elsewhere.path());
        command.arg("--resume").arg(bed.out());
        let output = command.arg("--dump").arg(bed.path().join("d")).output();
        let output = output.expect("flopwatt starts");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let after = bed.report();
        check_the_rest(&before, &after);
        let data: Vec<&str> = cases(&after)
            .iter()
            .filter_map(|m| m["data"].as_str())
            .collect();
        assert_eq!(data, ["random-mantissas", "zeros", "normal"]);
        for case in cases(&after) {
            assert_eq!(case["shader_mode"], "checked", "{case}");
        }
        for name in [
            "matmul_f32_naive_33x17x65",
            "matmul_f32_naive_33x17x65_zeros",
        ] {
            let meta = bed.path().join("d").join(name).join("meta.json");
            let meta = fs::read_to_string(meta).expect("it was dumped");
            let meta: Value = serde_json::from_str(&meta).expect("JSON");
            assert_eq!(meta["seed"], 7);
        }
    }

    /// Whatever the figures rest on is named where it is another, and nothing is
    /// measured.
    pub fn changed() {
        let bed = Bed::new();
        bed.cut_short();
        let report = fs::read(bed.out().join("report.json")).expect("a report");
        for (fault, pointer, value, said) in [
            (
                "--resume with another driver",
                "/adapter/driver_info",
                json!("0.0.1"),
                "adapter's driver_info: was \"0.0.1\", is ",
            ),
            (
                "--resume on another machine",
                "/host/name",
                json!("elsewhere"),
                "host: was elsewhere, is ",
            ),
            (
                "--resume by another flopwatt",
                "/flopwatt_version",
                json!("0.0.1"),
                "version of flopwatt: was 0.0.1, is ",
            ),
            (
                "--resume with other shaders",
                "/shaders/hash",
                json!("0000"),
                "shaders: was 0000, is ",
            ),
            (
                "--resume of a report without a plan",
                "/plan",
                Value::Null,
                "cannot go on: the report holds no plan",
            ),
            (
                "--resume of an edited report",
                "/measurements/0/id",
                json!(CASES[2]),
                "its cases are not those of its plan",
            ),
        ] {
            fs::write(bed.out().join("report.json"), &report).expect("written");
            bed.edit(pointer, value);
            let before = bed.report();
            let output = bed.resume();
            let after = bed.report();
            let untouched = if before == after {
                "all as it was"
            } else {
                "it was written"
            };
            let expected = Outcome {
                said,
                status: Some(2),
                kept: "all as it was",
            };
            let seen = Outcome {
                said: &stderr(&output),
                status: output.status.code(),
                kept: untouched,
            };
            row(fault, &expected, &seen);
            assert!(output.stdout.is_empty(), "{fault}");
        }
    }

    pub fn complete() {
        let bed = Bed::new();
        let output = bed.begin().arg(CASES[0]).output().expect("flopwatt starts");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let before = bed.report();
        let output = bed.resume();
        let after = bed.report();
        let kept = if before == after {
            "all as it was"
        } else {
            "it was written"
        };
        let expected = Outcome {
            said: "nothing is missing: the run is complete",
            status: Some(0),
            kept: "all as it was",
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept,
        };
        row("--resume of a complete run", &expected, &seen);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains(CASES[0]), "{printed}");
    }

    /// What needs no adapter to be refused.
    pub fn refused() {
        let bed = Bed::new();
        for (arguments, said) in [
            (&["--resume", "nowhere"][..], "cannot read nowhere"),
            (&["--resume", "o", "--seed", "7"], "cannot be used with"),
            (&["--resume", "o", "--tier", "quick"], "cannot be used with"),
            (&["--resume", "o", "--out", "p"], "cannot be used with"),
            (
                &["--resume", "o", "--power-limits", "9"],
                "cannot be used with",
            ),
            (&["--resume", "o", "--checked"], "cannot be used with"),
            (&["--resume", "o", "peak"], "cannot be used with"),
        ] {
            let output = bed.flopwatt().args(arguments).output();
            let output = output.expect("flopwatt starts");
            let said_all = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said_all}");
            assert!(said_all.contains(said), "{arguments:?}: {said_all}");
        }
    }

    /// A small file system of its own, unmounted on drop.
    struct Mount(PathBuf);

    impl Mount {
        fn at(folder: &Path, size: &str) -> Option<Self> {
            fs::create_dir_all(folder).ok()?;
            let options = format!("size={size}");
            let mounted = mount(&["-t", "tmpfs", "-o", &options, "none"], folder);
            mounted.then(|| Self(folder.to_owned()))
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
            assert!(unmounted.expect("umount is there").success());
        }
    }

    fn mount(arguments: &[&str], folder: &Path) -> bool {
        let mut command = Command::new("mount");
        let output = command.args(arguments).arg(folder).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Whether there is an adapter, and this user may mount.
    pub fn mounts() -> Result<(), Missing> {
        adapters()?;
        let folder = TempDir::new().expect("a temporary folder");
        let mount = Mount::at(folder.path(), "64k");
        let missing = || Missing("mounting a small file system takes root".into());
        mount.map(drop).ok_or_else(missing)
    }

    /// A run whose target fails it after the first case, be it at the report or at a
    /// page that follows. It is stopped while the target is broken, lest it ends before.
    fn fails(fault: &str, said: &str, break_target: impl Fn(&Path) -> bool) -> Bed {
        let bed = Bed::mounted("8m");
        let run = bed.in_the_middle();
        let pid = run.id().to_string();
        wait_for("the target is broken", || {
            signal("-STOP", &pid);
            let broken = break_target(&bed.out());
            signal("-CONT", &pid);
            broken
        });
        is_cut_short(fault, &bed, run, said, 2);
        bed
    }

    /// With room again the run goes on.
    pub fn full() {
        let bed = fails("disk full", "No space left on device", |out| {
            let mut rest = fs::File::create(out.join("rest")).expect("there is some room");
            let chunk = [0; 4096];
            while rest.write_all(&chunk).is_ok() {}
            true
        });
        let before = bed.report();
        fs::remove_file(bed.out().join("rest")).expect("removed");
        let output = bed.resume();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        check_the_rest(&before, &bed.report());
    }

    pub fn read_only() {
        let said = "Read-only file system";
        // Refused while a file is open for writing.
        fails("target becomes read-only", said, |out| {
            mount(&["-o", "remount,ro"], out)
        });
        let said = "cannot write o/report.json: Read-only file system";
        let bed = Bed::mounted("64k");
        assert!(mount(&["-o", "remount,ro"], &bed.out()));
        let output = bed.begin().arg(CASES[0]).output().expect("flopwatt starts");
        let expected = Outcome {
            said,
            status: Some(2),
            kept: "nothing is measured",
        };
        let seen = Outcome {
            said: &stderr(&output),
            status: output.status.code(),
            kept: match told(&output) {
                0 => "nothing is measured",
                _ => "something is measured",
            },
        };
        row("target is read-only", &expected, &seen);
    }
}
