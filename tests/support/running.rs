//! Runs that tests signal in the middle and must not leave behind.

#![allow(dead_code)] // Each test program uses a part.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

/// A run that a failing test does not leave behind.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().expect("flopwatt starts")))
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().expect("it runs").id()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Output {
        let run = self.0.take().expect("it runs");
        run.wait_with_output().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(run) = &mut self.0 {
            run.kill().expect("a child");
            run.wait().expect("a child");
        }
    }
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends the signal `-NAME` to a process, or to a group of which the number is
/// negative. By the shell's own `kill`: slim systems have no program of that name.
pub fn signal(name: &str, target: &str) {
    let kill = ["-c", "kill \"$@\"", "sh", name, target];
    let status = Command::new("sh").args(kill).status();
    assert!(status.expect("a shell").success(), "{target}");
}

/// The child of process `parent` that carries out `verb` in `folder`.
pub fn child(parent: u32, verb: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().expect("it is there");
    let is_it = |pid: &String| {
        let process = PathBuf::from("/proc").join(pid);
        let read = |file| fs::read_to_string(process.join(file)).unwrap_or_default();
        let parents = read("status");
        let is_child = parents.lines().any(|l| l == format!("PPid:\t{parent}"));
        let is_here = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        is_child && is_here && read("cmdline").split('\0').nth(1) == Some(verb)
    };
    let processes = fs::read_dir("/proc").expect("procfs");
    let mut pids = processes.filter_map(|e| e.ok()?.file_name().into_string().ok());
    pids.find(is_it).expect("the child runs")
}

/// Waits until a case that has figures is in the report.
pub fn wait_for_a_case(report: &Path) {
    wait_for("a case is saved", || {
        fs::read_to_string(report).is_ok_and(|text| text.contains("\"status\": \"ok\""))
    });
}
