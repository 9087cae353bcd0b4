//! The latest value of a source that reads by itself, in a thread of its own, so
//! that whoever asks never waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{PowerError, RawReading};
use crate::units::{Joules, Watts};

/// A quantity that a source says by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Power.
    Power(Watts),
    /// A counter's energy.
    Energy(Joules),
}

/// Shared by the thread that reads and the one that asks.
#[derive(Clone, Debug, Default)]
pub struct Latest(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    value: Option<(Instant, Value)>,
    ended: Option<PowerError>,
}

impl Latest {
    /// Takes over a value that has just arrived.
    pub fn set(&self, value: Value) {
        self.state().value = Some((Instant::now(), value));
    }

    /// No further value will come, for this reason; the first one counts.
    pub fn end(&self, why: PowerError) {
        self.state().ended.get_or_insert(why);
    }

    /// The latest value and when it arrived; nothing before the first.
    ///
    /// # Errors
    /// The reason for which no further value will come.
    pub fn get(&self) -> Result<Option<RawReading>, PowerError> {
        let state = self.state();
        if let Some(why) = &state.ended {
            return Err(why.clone());
        }
        Ok(state.value.map(|(at, value)| RawReading {
            at,
            power: match value {
                Value::Power(watts) => Some(watts),
                Value::Energy(_) => None,
            },
            energy: match value {
                Value::Power(_) => None,
                Value::Energy(joules) => Some(joules),
            },
        }))
    }

    /// A state is written whole, so that one left by a panic is still good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
