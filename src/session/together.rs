//! Runs that go on at the same time, one an adapter. Every case begins on all of
//! them together and has ended on all before the next is begun; one that fails is
//! not waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::process::{GLANCE, WorkerError};
use crate::gpu::adapter::AdapterDescription;
use crate::measure::measurement::Beside;
use crate::measure::period::{self, Period};

/// A part of a life, in the order in which they follow one another. A run may leave
/// out some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Timed dispatches number so many are ready to begin.
    Window(usize),
    /// They have ended.
    Measured,
    /// The step has ended, whatever became of the case.
    Over,
}

/// A life of a step's case: the number of the step and its own.
type Life = (usize, usize);

/// How far a run is: the life and its part.
type Stage = (Life, Part);

/// The last life of a step, however many there are.
const LAST: usize = usize::MAX;

/// Where a run is that has ended.
const GONE: Stage = ((usize::MAX, LAST), Part::Over);

/// All the runs.
pub struct Together<'a> {
    adapters: Vec<AdapterDescription>,
    runs: Mutex<Vec<Run>>,
    /// Signalled when one of them has come a stage further.
    news: Condvar,
    interrupted: &'a AtomicBool,
}

#[derive(Default)]
struct Run {
    /// `None` before the first.
    stage: Option<Stage>,
    /// When its device worked beside the others, in all steps.
    busy: Vec<Period>,
}

/// The place of one run among them. Dropping it leaves the others to themselves.
pub struct Member<'a> {
    all: &'a Together<'a>,
    index: usize,
}

impl<'a> Together<'a> {
    /// A run on each of `adapters`. Nobody waits any more once `interrupted` is set.
    pub fn new(adapters: Vec<AdapterDescription>, interrupted: &'a AtomicBool) -> Self {
        let runs = adapters.iter().map(|_| Run::default());
        Self {
            runs: Mutex::new(runs.collect()),
            adapters,
            news: Condvar::new(),
            interrupted,
        }
    }

    /// The place of each, in the order of the adapters. Each is waited for until it
    /// is dropped.
    pub fn members(&'a self) -> Vec<Member<'a>> {
        let indices = 0..self.adapters.len();
        indices.map(|index| Member { all: self, index }).collect()
    }

    /// What a panic elsewhere left is whole: every change is one statement.
    fn runs(&self) -> MutexGuard<'_, Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member<'_> {
    /// Comes to a part of a life, and waits until all others have come there, or further.
    ///
    /// # Errors
    /// When the wait is interrupted.
    pub(super) fn arrive(&self, life: Life, part: Part) -> Result<(), WorkerError> {
        let stage = (life, part);
        let mut runs = self.all.runs();
        runs[self.index].stage = Some(stage);
        self.all.news.notify_all();
        while runs.iter().any(|run| run.stage < Some(stage)) {
            if self.all.interrupted.load(Ordering::Relaxed) {
                return Err(WorkerError::Interrupted);
            }
            let waited = self.all.news.wait_timeout(runs, GLANCE);
            runs = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Ends step number `step`, in which the device was `busy`, and waits until it has
    /// ended for all others. An interruption ends the wait as well: what was measured
    /// until then is to be saved.
    pub(super) fn end_step(&self, step: usize, busy: Vec<Period>) {
        self.all.runs()[self.index].busy.extend(busy);
        let _ = self.arrive((step, LAST), Part::Over);
    }

    /// The others that worked in the time `timed`, for which share of it.
    pub(super) fn beside(&self, timed: &[Period]) -> Vec<Beside> {
        let runs = self.all.runs();
        let others = self.all.adapters.iter().zip(runs.iter()).enumerate();
        let others = others.filter(|(index, _)| *index != self.index);
        let beside = others.map(|(_, (adapter, run))| Beside {
            index: adapter.index,
            adapter: adapter.name.clone(),
            pci_address: adapter.pci_address.clone(),
            overlap: period::overlap(timed, &run.busy),
        });
        beside.filter(|beside| beside.overlap > 0.0).collect()
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.all.runs()[self.index].stage = Some(GONE);
        self.all.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn adapters(count: usize) -> Vec<AdapterDescription> {
        let adapter = |index| AdapterDescription {
            index,
            name: format!("Testcard {index}"),
            ..serde_json::from_str(include_str!("../../tests/data/adapter.json")).unwrap()
        };
        (0..count).map(adapter).collect()
    }

    /// What each of two members has passed, in the order of time, while both walk
    /// their own way; the second dawdles before every stage.
    fn walk(ways: [&'static [Stage]; 2]) -> Vec<(usize, Stage)> {
        let interrupted = AtomicBool::new(false);
        let together = Together::new(adapters(2), &interrupted);
        let (passed, heard) = mpsc::channel();
        thread::scope(|scope| {
            for (number, (member, way)) in together.members().into_iter().zip(ways).enumerate() {
                let passed = passed.clone();
                scope.spawn(move || {
                    for &(life, part) in way {
                        if number == 1 {
                            thread::sleep(Duration::from_millis(20));
                        }
                        // Told before it waits, so that whoever passes has heard of it.
                        passed.send((number, (life, part), false)).unwrap();
                        member.arrive(life, part).unwrap();
                        passed.send((number, (life, part), true)).unwrap();
                    }
                });
            }
        });
        drop(passed);
        let mut arrived = [None; 2];
        let mut order = Vec::new();
        for (number, stage, is_through) in heard {
            if is_through {
                let other = arrived[1 - number];
                let is_gone = ways[1 - number].last().copied() <= other;
                assert!(other >= Some(stage) || is_gone, "{number} at {stage:?}");
                order.push((number, stage));
            } else {
                arrived[number] = Some(stage);
            }
        }
        order
    }

    #[test]
    fn nobody_begins_before_all_are_ready_nor_goes_on_before_all_have_ended() {
        const WAY: &[Stage] = &[
            ((0, 0), Part::Window(0)),
            ((0, 0), Part::Measured),
            ((0, LAST), Part::Over),
            ((1, 0), Part::Window(0)),
            ((1, 0), Part::Measured),
            ((1, LAST), Part::Over),
        ];
        assert_eq!(walk([WAY, WAY]).len(), 12);
    }

    /// One has four windows, the other one and nothing in the second step.
    #[test]
    fn parts_that_a_run_leaves_out_are_not_waited_for() {
        const LONG: &[Stage] = &[
            ((0, 0), Part::Window(0)),
            ((0, 0), Part::Window(1)),
            ((0, 0), Part::Window(2)),
            ((0, 0), Part::Window(3)),
            ((0, 0), Part::Measured),
            ((0, LAST), Part::Over),
            ((1, 0), Part::Window(0)),
            ((1, 0), Part::Measured),
            ((1, LAST), Part::Over),
        ];
        const SHORT: &[Stage] = &[
            ((0, 0), Part::Window(0)),
            ((0, 0), Part::Measured),
            ((0, LAST), Part::Over),
            ((1, LAST), Part::Over),
        ];
        assert_eq!(walk([LONG, SHORT]).len(), 13);
        assert_eq!(walk([SHORT, LONG]).len(), 13);
    }

    #[test]
    fn a_run_that_has_ended_leaves_the_others_to_themselves() {
        const ALL: &[Stage] = &[
            ((0, 0), Part::Window(0)),
            ((0, LAST), Part::Over),
            ((1, LAST), Part::Over),
        ];
        assert_eq!(walk([ALL, &[]]).len(), 3);
        assert_eq!(walk([ALL, &[((0, 0), Part::Window(0))]]).len(), 4);
    }

    #[test]
    fn an_interruption_ends_every_wait() {
        let interrupted = AtomicBool::new(true);
        let together = Together::new(adapters(2), &interrupted);
        let members = together.members();
        let waited = members[0].arrive((0, 0), Part::Window(0));
        assert!(matches!(waited, Err(WorkerError::Interrupted)));
        members[0].end_step(0, Vec::new());
    }

    /// Of ten seconds the second was busy in the last six, the third in none.
    #[test]
    fn whoever_worked_at_the_same_time_is_named_with_the_share() {
        let at = |second: i64| Timestamp::from_second(1_767_322_980 + second).unwrap();
        let period = |begin, end| Period {
            begin: at(begin),
            end: at(end),
            since_boot_s: None,
        };
        let interrupted = AtomicBool::new(true);
        let together = Together::new(adapters(3), &interrupted);
        let members = together.members();
        members[1].end_step(0, vec![period(-9, -5), period(4, 12)]);
        members[2].end_step(0, vec![period(10, 12)]);
        let beside = members[0].beside(&[period(0, 10)]);
        assert_eq!(beside.len(), 1);
        assert_eq!((beside[0].index, &beside[0].adapter[..]), (1, "Testcard 1"));
        assert!((beside[0].overlap - 0.6).abs() < 1e-12);
        assert!(!beside[0].is_throughout());
        assert!(members[0].beside(&[]).is_empty());
    }
}
