//! The parent's side of the guard: power limits that are restored whatever
//! happens.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::guard::{Answer, Set, not_restored};
use super::process::{listen, shield_from_interrupt};
use crate::console;
use crate::power::nvml::LimitError;
use crate::units::Watts;

/// The longest that a driver may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Why a power limit is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The guard could not be started.
    #[error("cannot start the process that restores the power limit: {0}")]
    Start(#[source] std::io::Error),
    /// The device or its driver refuses.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The guard has ended by itself.
    #[error("the process that restores the power limit has ended")]
    Ended,
    /// The guard is silent.
    #[error("the driver has not answered for {} s", ANSWER_LIMIT.as_secs())]
    Silent,
    /// The old limit is not in force again.
    #[error("{0}")]
    NotRestored(String),
}

/// Power limits at which cases are measured, and the guard that sets them.
/// Dropping it restores the old limit; [`Self::restore`] tells whether that went
/// well.
#[derive(Debug)]
pub struct PowerLimits {
    watts: Vec<Watts>,
    gpu: u32,
    before_w: Watts,
    guard: Child,
    /// Taken away to have the guard restore the old limit.
    requests: Option<ChildStdin>,
    answers: Receiver<Answer>,
}

impl PowerLimits {
    /// Has `guard` look after the GPU with NVML's number `gpu`, and sets the first
    /// of the limits.
    ///
    /// # Errors
    /// When this user may not set limits, or the device does not allow one of
    /// them. Then nothing has changed.
    pub fn start(mut guard: Command, gpu: u32, watts: Vec<Watts>) -> Result<Self, GuardError> {
        guard.stdin(Stdio::piped()).stdout(Stdio::piped());
        shield_from_interrupt(&mut guard);
        let mut guard = guard.spawn().map_err(GuardError::Start)?;
        let answers = listen(guard.stdout.take()).map_err(GuardError::Start)?;
        let (before_w, allowed) = match next(&answers)? {
            Answer::Ready { limit_w, allowed } => (limit_w, allowed),
            Answer::Refused { why } => return Err(why.into()),
            _ => return Err(GuardError::Ended),
        };
        let limits = Self {
            watts,
            gpu,
            before_w,
            requests: guard.stdin.take(),
            guard,
            answers,
        };
        for watts in &limits.watts {
            allowed.check(*watts)?;
        }
        if let Some(first) = limits.watts.first() {
            limits.set(*first)?;
        }
        Ok(limits)
    }

    /// The limits, in the order in which cases are measured.
    pub fn watts(&self) -> &[Watts] {
        &self.watts
    }

    /// Sets a limit, where it is not set already, and waits until it is in force.
    ///
    /// # Errors
    /// When the guard is gone, or the limit does not come into force.
    pub fn set(&self, set_w: Watts) -> Result<(), GuardError> {
        let line = serde_json::to_string(&Set { set_w }).map_err(std::io::Error::from);
        let written = line.and_then(|line| match self.requests.as_ref() {
            Some(mut requests) => requests.write_all((line + "\n").as_bytes()),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        });
        written.map_err(|_| GuardError::Ended)?;
        match next(&self.answers)? {
            Answer::Set { .. } => Ok(()),
            Answer::Refused { why } => Err(why.into()),
            _ => Err(GuardError::Ended),
        }
    }

    /// Restores the old limit.
    ///
    /// # Errors
    /// When it may not be in force again, with what to do then.
    pub fn restore(mut self) -> Result<(), GuardError> {
        self.end()
    }

    /// Ends the guard's input and waits for its last word. A guard that hangs in
    /// the driver is left alone: it restores the limit once the driver answers.
    fn end(&mut self) -> Result<(), GuardError> {
        if self.requests.take().is_none() {
            return Ok(());
        }
        let why = loop {
            match next(&self.answers) {
                Ok(Answer::Restored) => {
                    // It has nothing left to do, and its status says nothing.
                    let _ = self.guard.wait();
                    return Ok(());
                }
                Ok(Answer::NotRestored { why }) => break why.into(),
                // The late answer to an earlier request.
                Ok(_) => {}
                Err(why) => break why,
            }
        };
        let to_do = not_restored(self.gpu, self.before_w, &why);
        Err(GuardError::NotRestored(to_do))
    }
}

impl Drop for PowerLimits {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            console::say(format!("error: {error}"));
        }
    }
}

fn next(answers: &Receiver<Answer>) -> Result<Answer, GuardError> {
    answers
        .recv_timeout(ANSWER_LIMIT)
        .map_err(|error| match error {
            RecvTimeoutError::Timeout => GuardError::Silent,
            RecvTimeoutError::Disconnected => GuardError::Ended,
        })
}
