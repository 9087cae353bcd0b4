//! Which programs the runs of one command have come to. Cards of one model run the
//! same ones, so that what differs between their figures is the cards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use super::process::{GLANCE, WorkerError};
use crate::kernel::Choice;
use crate::kernel::id::CaseId;
use crate::measure::measurement::{Measurement, Status};
use crate::tune::{Key, Tuning};

/// What has been chosen and measured so far, by what it depends on.
#[derive(Debug, Default)]
pub struct Choices {
    tunings: Mutex<Vec<(Key, Tuning)>>,
    programs: Mutex<Vec<(Key, String, Choice)>>,
}

/// The only run that chooses at the moment: where others do so meanwhile, none finds
/// out what is the fastest.
pub(super) struct Turn<'a>(MutexGuard<'a, Vec<(Key, Tuning)>>);

impl Choices {
    /// Waits until no other run chooses.
    ///
    /// # Errors
    /// When the wait is interrupted.
    pub(super) fn turn(&self, interrupted: &AtomicBool) -> Result<Turn<'_>, WorkerError> {
        loop {
            match self.tunings.try_lock() {
                Ok(tunings) => return Ok(Turn(tunings)),
                // What a panic elsewhere left is whole: every change is one push.
                Err(TryLockError::Poisoned(left)) => return Ok(Turn(left.into_inner())),
                Err(TryLockError::WouldBlock) if interrupted.load(Ordering::Relaxed) => {
                    return Err(WorkerError::Interrupted);
                }
                Err(TryLockError::WouldBlock) => thread::sleep(GLANCE),
            }
        }
    }

    /// Takes down which program a case ran.
    pub(super) fn ran(&self, key: &Key, measurement: &Measurement) {
        if measurement.status == Status::Ok {
            let program = (key.clone(), measurement.id.clone(), measurement.program());
            self.programs().push(program);
        }
    }

    /// The program that case `id` ran first.
    pub(super) fn program(&self, key: &Key, id: &str) -> Option<Choice> {
        let programs = self.programs();
        let ran = programs.iter().find(|(k, i, _)| k == key && i == id);
        ran.map(|(_, _, program)| program.clone())
    }

    fn programs(&self) -> MutexGuard<'_, Vec<(Key, String, Choice)>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The choice that another run has made for the class of `id`'s shape. For this
    /// run it is one that was there already.
    pub(super) fn find(&self, key: &Key, id: &CaseId) -> Option<Tuning> {
        let made = self
            .0
            .iter()
            .find(|(k, tuning)| k == key && tuning.covers(id));
        made.map(|(_, tuning)| Tuning {
            cached: true,
            ..tuning.clone()
        })
    }

    /// Keeps a choice for other runs.
    pub(super) fn keep(&mut self, key: &Key, tuning: &Tuning) {
        self.0.push((key.clone(), tuning.clone()));
    }
}
