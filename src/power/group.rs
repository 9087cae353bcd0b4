//! Processes that end together: what a program has started would outlive it.

use std::io;
use std::process::{Child, Command};

/// A group of processes, killed as one when it is dropped, and also when this process
/// ends, however that comes about.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Group {
    /// Leads the group, kills it once the pipe from this process ends, and keeps its
    /// number from being given to another.
    guard: Child,
}

#[cfg(unix)]
impl Group {
    /// # Errors
    /// When the guard, a shell, cannot be started.
    pub fn new() -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        use std::process::Stdio;

        // Whoever ends a whole job may signal the guard as well, which has still work to do.
        let script = "trap '' HUP INT TERM; read line; kill -KILL 0";
        let guard = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let failed = |error| io::Error::other(format!("no shell to end it with: {error}"));
        guard.map(|guard| Self { guard }).map_err(failed)
    }

    /// Starts a program in the group.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        use std::os::unix::process::CommandExt;

        let group = i32::try_from(self.guard.id()).map_err(io::Error::other)?;
        command.process_group(group).spawn()
    }

    /// Kills all that is in the group.
    pub fn kill(&self) {
        use rustix::process::{Pid, Signal, kill_process_group};

        // What has just ended cannot be killed, and needs not be.
        let _ = kill_process_group(Pid::from_child(&self.guard), Signal::KILL);
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.guard.wait();
    }
}

/// Elsewhere a program is killed alone, by whoever started it.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Group;

#[cfg(not(unix))]
impl Group {
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    pub fn kill(&self) {}
}
