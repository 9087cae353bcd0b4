//! Builds the program of a revision, once: a later gate finds it in the user's cache.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use super::base::{BaseError, Revision, git, io_error};
use crate::session::shield_from_interrupt;

/// How often an interruption is looked for while waiting.
const GLANCE: Duration = Duration::from_millis(100);

impl Revision {
    /// The revision's program: built in a work tree of its own, or before. What cargo
    /// says goes to standard error.
    ///
    /// # Errors
    /// When git or cargo fails, the user has no cache folder, or the build is
    /// interrupted; nothing of it stays behind then.
    pub fn build(&self, interrupted: &AtomicBool) -> Result<PathBuf, BaseError> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "this user has none");
        let cache = dirs::cache_dir().ok_or_else(none);
        let cache = cache.map_err(io_error("the user's cache folder"))?;
        let cache = cache.join("flopwatt").join("gate");
        fs::create_dir_all(&cache).map_err(io_error(cache.display().to_string()))?;
        // What one gate has built must not be taken for another's revision.
        let _alone = lock(&cache.join("lock"), interrupted)?;
        let name = format!("flopwatt{}", std::env::consts::EXE_SUFFIX);
        let program = cache.join(&self.commit).join(&name);
        if program.is_file() {
            return Ok(program);
        }
        let tree = tempfile::Builder::new()
            .prefix("source-")
            .tempdir_in(&cache)
            .map_err(io_error(cache.display().to_string()))?;
        let built = self.build_in(tree.path(), &cache.join("target"), interrupted);
        // The folder goes either way; git forgets it with the next prune at the latest.
        let remove = ["worktree", "remove", "--force"].map(OsStr::new);
        let _ = git(
            &self.root,
            remove.into_iter().chain([tree.path().as_os_str()]),
        );
        keep(&built?.join(name), &program)
    }

    /// The folder of what cargo has built from the work tree `tree`.
    fn build_in(
        &self,
        tree: &Path,
        target: &Path,
        interrupted: &AtomicBool,
    ) -> Result<PathBuf, BaseError> {
        let add = ["worktree", "add", "--detach", "--force", "--quiet"].map(OsStr::new);
        let place = [tree.as_os_str(), OsStr::new(&self.commit)];
        git(&self.root, add.into_iter().chain(place))?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--release", "--locked", "--bin", "flopwatt"])
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", target);
        let status = finish(&mut cargo, interrupted)?;
        if !status.success() {
            return Err(BaseError::Build {
                commit: self.commit.clone(),
                status: status.to_string(),
            });
        }
        Ok(target.join("release"))
    }
}

/// Waits until no other gate builds.
fn lock(path: &Path, interrupted: &AtomicBool) -> Result<File, BaseError> {
    let failed = || io_error(path.display().to_string());
    let file = File::create(path).map_err(failed())?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(cause)) => return Err(failed()(cause)),
            Err(TryLockError::WouldBlock) if interrupted.load(Ordering::Relaxed) => {
                return Err(BaseError::Interrupted);
            }
            Err(TryLockError::WouldBlock) => thread::sleep(GLANCE),
        }
    }
}

/// Runs a program to its end, or ends it and everything that it has started.
fn finish(command: &mut Command, interrupted: &AtomicBool) -> Result<ExitStatus, BaseError> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Standard output is data.
    command.stdout(Stdio::null()).stdin(Stdio::null());
    shield_from_interrupt(command);
    let mut child = command.spawn().map_err(io_error(name.as_str()))?;
    loop {
        if let Some(status) = child.try_wait().map_err(io_error(name.as_str()))? {
            return Ok(status);
        }
        if interrupted.load(Ordering::Relaxed) {
            end_group(&mut child);
            return Err(BaseError::Interrupted);
        }
        thread::sleep(GLANCE);
    }
}

/// Ends a child and its compilers.
#[cfg(unix)]
fn end_group(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    // What has just ended cannot be killed, and needs not be.
    let _ = kill_process_group(Pid::from_child(child), Signal::TERM);
    let _ = child.wait();
}

/// Ends a child; compilers that it has started end with their own file.
#[cfg(windows)]
fn end_group(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Copies what was built to where the next gate finds it, in one step.
fn keep(built: &Path, program: &Path) -> Result<PathBuf, BaseError> {
    let folder = program.parent().unwrap_or(Path::new("."));
    let copy = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let half = program.with_extension("part");
        fs::copy(built, &half)?;
        fs::rename(half, program)
    };
    copy().map_err(io_error(program.display().to_string()))?;
    Ok(program.to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The child's own child would otherwise live on for a minute.
    #[test]
    fn an_interruption_ends_a_build_and_what_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let mut command = Command::new("sh");
        let script = "sleep 60 & echo $! > pid.part; mv pid.part pid; wait";
        command.args(["-c", script]).current_dir(folder.path());
        let interrupted = AtomicBool::new(false);
        let ended = thread::scope(|scope| {
            let running = scope.spawn(|| finish(&mut command, &interrupted));
            while !pid.exists() {
                thread::sleep(GLANCE);
            }
            interrupted.store(true, Ordering::Relaxed);
            running.join().unwrap()
        });
        assert!(matches!(ended, Err(BaseError::Interrupted)));
        let pid: i32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let begin = Instant::now();
        // Whoever inherits it may take a moment to bury it.
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            assert!(begin.elapsed() < Duration::from_secs(30), "it lives on");
            thread::sleep(GLANCE);
        }
    }

    fn is_zombie(pid: rustix::process::Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_program_ends_with_its_own_status() {
        let mut command = Command::new("sh");
        let status = finish(command.args(["-c", "exit 3"]), &AtomicBool::new(false)).unwrap();
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn one_gate_builds_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path, &AtomicBool::new(false)).unwrap();
        let refused = lock(&path, &AtomicBool::new(true));
        assert!(matches!(refused, Err(BaseError::Interrupted)));
        drop(held);
        assert!(lock(&path, &AtomicBool::new(true)).is_ok());
    }
}
